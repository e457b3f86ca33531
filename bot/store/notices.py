"""What was seen of each monitor when the lists were last compared, and the notices to post."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import delete, or_, select, update

from bot.blocks import Message
from bot.sighting import LastSeen
from bot.store.database import Database
from bot.store.tables import notes, notices, small_changes, standings

_SOURCE = "notices source"
#: So many rows are written by one statement: SQLite takes some 30,000 parameters.
_ROWS_AT_ONCE = 5000
_SMALL_KEPT = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class SmallChange:
    """What is only counted in the next digest: `renewed`, `added` or `removed`.

    A key counts once.
    """

    key: str
    kind: str
    target: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for a channel, known by its key; `claimed_at` is set once somebody tried to post.

    A key is told once for good.
    """

    key: str
    channel: str
    message: Message
    claimed_at: datetime | None = None


class NoticeStore:
    """The tables of notices, with one method for each question."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standings(self, source: str) -> dict[int, LastSeen] | None:
        """What was seen last of this API and account; None if nothing was."""
        known = select(notes.c.value).where(notes.c.key == _SOURCE)
        async with self._database.quick_read() as connection:
            if await connection.scalar(known) != source:
                return None
            rows = await connection.execute(select(standings))
            return {
                row.monitor_id: LastSeen(
                    row.rank, row.issuer, row.not_after, row.target, row.missing
                )
                for row in rows
            }

    async def compared(
        self,
        source: str,
        changed: Mapping[int, LastSeen],
        gone: Sequence[int],
        news: Sequence[Notice],
        *,
        small: Sequence[SmallChange],
        now: datetime,
    ) -> None:
        """Keep what changed, and what is to be told of it, in one transaction.

        Of two processes that compare at the same time, the second finds its notices there.
        """
        insert = self._database.insert
        async with self._database.write() as connection:
            await connection.execute(delete(notes).where(notes.c.key == _SOURCE))
            await connection.execute(insert(notes).values(key=_SOURCE, value=source))
            numbers = [*changed, *gone]
            for start in range(0, len(numbers), _ROWS_AT_ONCE):
                some = numbers[start : start + _ROWS_AT_ONCE]
                await connection.execute(delete(standings).where(standings.c.monitor_id.in_(some)))
            rows: list[dict[str, Any]] = [
                {"monitor_id": number, **asdict(each)} for number, each in changed.items()
            ]
            if rows:
                await connection.execute(insert(standings).on_conflict_do_nothing(), rows)
            for each in news:
                row = {
                    "key": each.key,
                    "channel": each.channel,
                    "message": msgspec.json.encode(each.message).decode(),
                }
                await connection.execute(insert(notices).values(row).on_conflict_do_nothing())

            await connection.execute(
                delete(small_changes).where(small_changes.c.at < now - _SMALL_KEPT)
            )
            counted = [{**asdict(each), "at": now} for each in small]
            if counted:
                await connection.execute(insert(small_changes).on_conflict_do_nothing(), counted)

    async def forget_source(self) -> None:
        """Compare with nothing the next time: the account or the API is another one."""
        async with self._database.write() as connection:
            await connection.execute(delete(notes).where(notes.c.key == _SOURCE))
            await connection.execute(delete(standings))

    async def unposted(self, now: datetime, lease: timedelta) -> list[Notice]:
        """The notices that nobody has posted, but for those that somebody is posting now."""
        free = or_(notices.c.claimed_at.is_(None), notices.c.claimed_at < now - lease)
        query = select(notices).where(notices.c.ts.is_(None), free).order_by(notices.c.key)
        async with self._database.quick_read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            Notice(
                row.key, row.channel, msgspec.json.decode(row.message, type=Message), row.claimed_at
            )
            for row in rows
        ]

    async def claim(self, notice: Notice, now: datetime) -> bool:
        """Claim a notice for posting; False where another process was first."""
        same = notices.c.claimed_at == notice.claimed_at
        if notice.claimed_at is None:
            same = notices.c.claimed_at.is_(None)
        mine = (notices.c.key == notice.key) & notices.c.ts.is_(None) & same
        async with self._database.quick_write() as connection:
            statement = update(notices).where(mine).values(claimed_at=now)
            return bool((await connection.execute(statement)).rowcount)

    async def posted(self, key: str, ts: str) -> None:
        """Note that Slack has it."""
        async with self._database.quick_write() as connection:
            await connection.execute(update(notices).where(notices.c.key == key).values(ts=ts))

    async def give_back(self, key: str) -> None:
        """Let it be posted again at once: Slack refused it."""
        async with self._database.quick_write() as connection:
            free = update(notices).where(notices.c.key == key).values(claimed_at=None)
            await connection.execute(free)
