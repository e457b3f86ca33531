"""What the bot keeps between starts: when it first started, and which digests were posted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, case, delete, select, update
from sqlalchemy.sql.dml import ReturningInsert

from bot.blocks import Block, Message
from bot.store.database import Database
from bot.store.tables import digests, edits, notes, small_changes
from bot.target import Target

_FIRST_START = "first_start"
#: In milliseconds.
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000


@dataclass(frozen=True, slots=True)
class StoredDigest:
    """A day's digest as it stands: its messages, and how many of them Slack has.

    `ts` is where the first one is. As long as Slack has none, it is the older post that the first
    one is to take the place of, if any. A day without messages needed no digest.
    """

    day: date
    channel: str
    claimed_at: datetime
    messages: tuple[Message, ...]
    sent: int
    ts: str | None
    finished: bool

    @property
    def edits(self) -> str | None:
        """The ts of the post whose place the first message is to take."""
        return None if self.sent else self.ts

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the first message says of itself: when it was gathered, and if all was clear."""
        metadata = self.messages[0].metadata if self.messages else None
        return dict((metadata or {}).get("event_payload", {}))


class Board(msgspec.Struct, frozen=True):
    """The first message of a digest as it stands. It is stored as JSON.

    `stories` are the replies in its thread, by the block ID of the row; `expanded` are the rows
    that show more buttons.
    """

    text: str
    blocks: list[Block]
    stories: dict[str, str] = {}
    expanded: list[str] = []


@dataclass(frozen=True, slots=True)
class StoredBoard:
    """A board, where it is posted, and which version of it this is."""

    day: date
    channel: str
    ts: str
    version: int
    board: Board


class DigestStore:
    """The tables of digests and notes, with one method for each question."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def first_start(self, now: datetime) -> datetime:
        """When the bot first started on this database; that is `now` the first time."""
        row = {"key": _FIRST_START, "value": now.isoformat()}
        async with self._database.quick_write() as connection:
            await connection.execute(
                self._database.insert(notes).values(row).on_conflict_do_nothing()
            )
            known = await connection.scalar(
                select(notes.c.value).where(notes.c.key == _FIRST_START)
            )
        return datetime.fromisoformat(str(known))

    async def digest(self, day: date, channel: str) -> StoredDigest | None:
        """The digest of this day and channel, if any process claimed it."""
        async with self._database.quick_read() as connection:
            row = (await connection.execute(_digest(day, channel))).one_or_none()
        return _stored(row) if row else None

    async def claim(
        self,
        day: date,
        channel: str,
        now: datetime,
        messages: Sequence[Message],
        *,
        edits: str | None = None,
    ) -> StoredDigest | None:
        """Claim the day, with the messages to post; None where another process was first.

        `edits` is the ts of the post whose place the first one is to take. Without messages, the
        day is done.
        """
        row = {
            "day": day.isoformat(),
            "channel": channel,
            "claimed_at": now,
            "messages": msgspec.json.encode(messages).decode(),
            "sent": 0,
            "ts": edits,
            "finished_at": None if messages else now,
        }
        statement: ReturningInsert[Any] = (
            self._database.insert(digests)
            .values(row)
            .on_conflict_do_nothing()
            .returning(digests.c.day)
        )
        async with self._database.quick_write() as connection:
            won = (await connection.execute(statement)).one_or_none() is not None
        return await self.digest(day, channel) if won else None

    async def last_digest(self) -> datetime | None:
        """When the newest digest was posted completely."""
        posted = digests.c.finished_at.is_not(None) & digests.c.ts.is_not(None)
        query = select(digests.c.finished_at).where(posted)
        async with self._database.quick_read() as connection:
            newest = query.order_by(digests.c.finished_at.desc()).limit(1)
            return await connection.scalar(newest)

    async def before(self, day: date, channel: str) -> StoredDigest | None:
        """The last digest that was posted completely in this channel before this day."""
        posted = digests.c.finished_at.is_not(None) & digests.c.ts.is_not(None)
        older = (digests.c.channel == channel) & (digests.c.day < day.isoformat()) & posted
        query = select(digests).where(older).order_by(digests.c.day.desc()).limit(1)
        async with self._database.quick_read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return _stored(row) if row else None

    async def was_due(self, since: date, day: date, channel: str) -> bool:
        """Whether this channel had a digest, or needed none, on a day since then, before `day`."""
        same = (digests.c.channel == channel) & (digests.c.day < day.isoformat())
        query = select(digests.c.day).where(same, digests.c.day >= since.isoformat()).limit(1)
        async with self._database.quick_read() as connection:
            return await connection.scalar(query) is not None

    async def post_instead(self, stored: StoredDigest) -> StoredDigest | None:
        """Leave the older post as it is: the first message is to be posted anew.

        Gives the digest as it stands now; None where another process has taken over.
        """
        mine = and_(_is(stored.day, stored.channel), digests.c.claimed_at == stored.claimed_at)
        async with self._database.quick_write() as connection:
            statement = update(digests).where(mine, digests.c.sent == 0).values(ts=None)
            kept = (await connection.execute(statement)).rowcount
        return replace(stored, ts=None) if kept else None

    async def take_over(self, left: StoredDigest, now: datetime) -> StoredDigest | None:
        """Claim a digest that another process left unfinished; one taker wins.

        Gives the digest as it stands now; None where another process was first.
        """
        same = and_(_is(left.day, left.channel), digests.c.claimed_at == left.claimed_at)
        statement = update(digests).where(same).values(claimed_at=now)
        async with self._database.quick_write() as connection:
            taken = (await connection.execute(statement)).rowcount
        return replace(left, claimed_at=_as_stored(now)) if taken else None

    async def posted(
        self, stored: StoredDigest, *, sent: int, ts: str, now: datetime, finished: bool
    ) -> StoredDigest | None:
        """Record that Slack has the first `sent` messages; `ts` is the first one's.

        Gives the digest as it stands now; None where the day was given back meanwhile.
        """
        values = {"sent": sent, "ts": ts, "claimed_at": now}
        if finished:
            values["finished_at"] = now
        mine = and_(_is(stored.day, stored.channel), digests.c.claimed_at == stored.claimed_at)
        statement = update(digests).where(mine).values(values)
        async with self._database.quick_write() as connection:
            kept = (await connection.execute(statement)).rowcount
        return replace(stored, sent=sent, ts=ts, claimed_at=_as_stored(now)) if kept else None

    async def board(self, channel: str, ts: str) -> StoredBoard | None:
        """The digest whose first message is here; None if this is none."""
        async with self._database.quick_read() as connection:
            row = (await connection.execute(_at(channel, ts))).one_or_none()
        return _board(row) if row else None

    async def boards(self, since: date) -> list[StoredBoard]:
        """The digests that are posted, of this day and later ones."""
        posted = (digests.c.day >= since.isoformat()) & digests.c.ts.is_not(None)
        query = select(digests).where(posted, digests.c.sent > 0).order_by(digests.c.day)
        async with self._database.quick_read() as connection:
            rows = (await connection.execute(query)).all()
        return list({(row.channel, row.ts): _board(row) for row in rows}.values())

    async def redraw(
        self, channel: str, ts: str, change: Callable[[Board], Board]
    ) -> StoredBoard | None:
        """Change a board while nobody else does; None if there is no digest here."""
        async with self._database.quick_write() as connection:
            row = (await connection.execute(_at(channel, ts).with_for_update())).one_or_none()
            if row is None:
                return None
            old = _board(row)
            new = replace(old, board=change(old.board), version=old.version + 1)
            values = {"board": msgspec.json.encode(new.board).decode(), "version": new.version}
            same = _is(new.day, channel)
            await connection.execute(update(digests).where(same).values(values))
        return new

    async def turn(self, channel: str, ts: str) -> tuple[StoredBoard | None, float]:
        """Book the next edit of a message: in how many seconds, and the digest if it is one.

        Over all processes, a digest is edited once a second at most, and all messages together as
        often in a minute as `edits` has rows.
        """
        now, last = self._database.milliseconds, digests.c.drawn_at
        mine = (
            update(digests)
            .where(digests.c.channel == channel, digests.c.ts == ts)
            .values(drawn_at=_after(last, SECOND, now), drawn=-1)
            .returning(digests, (last - now).label("wait"))
        )
        oldest = edits.alias()
        slot = select(oldest.c.slot).order_by(oldest.c.at).limit(1)
        booked = (
            update(edits)
            .where(edits.c.slot == slot.with_for_update(skip_locked=True).scalar_subquery())
            .values(at=_after(edits.c.at, MINUTE, now))
            .returning(edits.c.at - now)
        )
        async with self._database.quick_write() as connection:
            row = (await connection.execute(mine)).one_or_none()
            wait = (await connection.execute(booked)).scalar_one_or_none() or 0
        return _board(row) if row else None, max(wait, row.wait if row else 0, 0) / 1000

    async def drawn(self, shown: StoredBoard) -> bool:
        """Record that Slack shows this version; False if there is a newer one."""
        same = (digests.c.channel == shown.channel) & (digests.c.ts == shown.ts)
        newest = same & (digests.c.version == shown.version)
        statement = update(digests).where(newest).values(drawn=shown.version)
        async with self._database.quick_write() as connection:
            return bool((await connection.execute(statement)).rowcount)

    async def undrawn(self, since: date) -> list[StoredBoard]:
        """The digests of this day and later ones that Slack does not show as they stand.

        Those that were edited in the last two minutes may be shown by another process just now.
        """
        left = digests.c.drawn_at < self._database.milliseconds - 2 * MINUTE
        behind = (digests.c.drawn != digests.c.version) & (digests.c.day >= since.isoformat())
        async with self._database.quick_read() as connection:
            rows = (await connection.execute(select(digests).where(behind, left))).all()
        return [_board(row) for row in rows]

    async def may_repeat(self, day: date, channel: str) -> bool:
        """Whether a post may be repeated without knowing that it was lost: once a day."""
        return await self.claim_note(f"repeat {day.isoformat()} {channel}", "1")

    async def claim_note(self, key: str, value: str) -> bool:
        """Keep a note under a key that is free; False where any process keeps one there."""
        row = {"key": key, "value": value}
        statement: ReturningInsert[Any] = (
            self._database.insert(notes).values(row).on_conflict_do_nothing().returning(notes.c.key)
        )
        async with self._database.quick_write() as connection:
            return (await connection.execute(statement)).one_or_none() is not None

    async def take_note(self, key: str) -> str | None:
        """Remove a note and return it; None where there is none, or another process was first."""
        statement = delete(notes).where(notes.c.key == key).returning(notes.c.value)
        async with self._database.quick_write() as connection:
            return await connection.scalar(statement)

    async def small_changes(self, since: datetime) -> list[tuple[str, Target]]:
        """What changed since then without needing anybody: its kind, and which monitor."""
        query = select(small_changes).where(small_changes.c.at >= since)
        async with self._database.quick_read() as connection:
            rows = (await connection.execute(query)).all()
        return [(row.kind, Target.parse(row.target)) for row in rows]

    async def waiting(self, channel: str) -> dict[int, int]:
        """In how many of a channel's digests each monitor was broken without being taken."""
        query = select(notes.c.value).where(notes.c.key == f"waiting {channel}")
        async with self._database.quick_read() as connection:
            known = await connection.scalar(query)
        return msgspec.json.decode(known, type=dict[int, int]) if known else {}

    async def keep_waiting(self, channel: str, counts: Mapping[int, int]) -> None:
        """Keep these counts in place of the old ones."""
        key = f"waiting {channel}"
        row = {"key": key, "value": msgspec.json.encode(counts).decode()}
        async with self._database.quick_write() as connection:
            await connection.execute(delete(notes).where(notes.c.key == key))
            await connection.execute(self._database.insert(notes).values(row))

    async def release(self, day: date, channel: str) -> None:
        """Give the day back: nothing of it was posted, or it is to be posted anew."""
        async with self._database.quick_write() as connection:
            await connection.execute(delete(digests).where(_is(day, channel)))


def _after(last: ColumnElement[int], gap: int, now: ColumnElement[int]) -> ColumnElement[int]:
    """The earliest time that is so long after the last one; what makes no sense is ignored."""
    return case((last.between(now - gap, now + HOUR), last + gap), else_=now)


def _as_stored(now: datetime) -> datetime:
    """A time as the database returns it: in whole seconds. A claim is known by its time."""
    return now.replace(microsecond=0)


def _is(day: date, channel: str) -> Any:
    return and_(digests.c.day == day.isoformat(), digests.c.channel == channel)


def _digest(day: date, channel: str) -> Select[Any]:
    return select(digests).where(_is(day, channel))


def _at(channel: str, ts: str) -> Select[Any]:
    """The newest of the digests that have stood here."""
    here = (digests.c.channel == channel) & (digests.c.ts == ts) & (digests.c.sent > 0)
    return select(digests).where(here).order_by(digests.c.day.desc()).limit(1)


def _board(row: Row[Any]) -> StoredBoard:
    if row.board:
        board = msgspec.json.decode(row.board, type=Board)
    else:
        first = msgspec.json.decode(row.messages, type=list[Message])[0]
        board = Board(first.text, list(first.blocks))
    return StoredBoard(date.fromisoformat(row.day), row.channel, row.ts, row.version, board)


def _stored(row: Row[Any]) -> StoredDigest:
    return StoredDigest(
        day=date.fromisoformat(row.day),
        channel=row.channel,
        claimed_at=row.claimed_at,
        messages=tuple(msgspec.json.decode(row.messages, type=list[Message])),
        sent=row.sent,
        ts=row.ts,
        finished=row.finished_at is not None,
    )
