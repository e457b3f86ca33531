"""The watches in the database, one row each; moving a watch's next time claims it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Update,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)  # fmt: skip

from bot.blocks import Address, Message
from bot.sighting import Sighting
from bot.store.database import Database, add, put
from bot.store.tables import notes
from bot.store.tables import watches as table
from bot.target import Target

#: A claim without progress for this long belongs to a process that has died.
LEASE = timedelta(minutes=3)
#: Whoever asks to wait longer is asked again after this time: a watch that is due later than that
#: was stored by a clock that has been set back since.
LONGEST_WAIT = timedelta(minutes=15)
#: After this many scans, each wait is half as long again as the last, up to MOST_WAIT.
STEADY_SCANS, GROWTH, MOST_WAIT = 5, 1.5, 5
_STOPPED, _TOLD = "stopped", "told"
_UNSHOWN = select(notes).where(notes.c.key.startswith(f"{_STOPPED} "))
ACTIVE, FIXED, OVER, STOPPED, GONE = "active", "fixed", "over", "stopped", "gone"
_ONE = select(table).where(table.c.id == bindparam("number"))
_RUNNING = select(table).where(table.c.state == ACTIVE).order_by(table.c.ends_at, table.c.id)
_DUE = _RUNNING.where(
    or_(table.c.next_at <= bindparam("now"), table.c.next_at > bindparam("latest"))
)


@dataclass(frozen=True, slots=True)
class Watch:
    """A watch; later scans are compared with `first`."""

    id: int
    monitor_id: int
    target: Target
    address: Address
    asker: str
    ends_at: datetime
    next_at: datetime
    scans: int
    first: Sighting | None
    state: str


class RecheckStore:
    """Reads and writes the table of watches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def running(self) -> Sequence[Watch]:
        """The watches that are running, the first to end first."""
        return await self._select(_RUNNING)

    async def due(self, now: datetime, interval: timedelta) -> Sequence[Watch]:
        """The watches whose next scan is due."""
        latest = now + max(LONGEST_WAIT, interval * MOST_WAIT)
        found = await self._select(_DUE, now=now, latest=latest)
        # the clock was set back: what was left after the next scan is left after this one
        return [
            replace(each, ends_at=now + (each.ends_at - each.next_at))
            if each.next_at > latest
            else each
            for each in found
        ]

    async def get(self, watch_id: int) -> Watch | None:
        """A watch, running or not."""
        return next(iter(await self._select(_ONE, number=watch_id)), None)

    async def reserve(
        self,
        monitor_id: int,
        target: Target,
        asker: str,
        *,
        now: datetime,
        ends_at: datetime,
        most: int,
    ) -> tuple[Watch | None, bool]:
        """Insert a claimed watch, without an address yet; None if `most` are running.

        If the asker is already watching the monitor, that watch is returned, and False.
        """
        count = select(func.count()).select_from(table).where(table.c.state == ACTIVE)
        same = select(table).filter_by(host=target.host, port=target.port, asker=asker)
        query = same.where(table.c.state == ACTIVE).limit(1)
        row = {
            "monitor_id": monitor_id,
            "host": target.host,
            "port": target.port,
            "channel": "",
            "ts": "",
            "asker": asker,
            "started_at": now,
            "ends_at": ends_at,
            "next_at": now + LEASE,
            "scans": 0,
            "state": ACTIVE,
        }
        async with self._database.quick_write() as connection:
            # On PostgreSQL, whoever writes the same note waits for the end of this transaction.
            await put(connection, notes, {"key": "watches", "value": ""})
            if running := (await connection.execute(query)).one_or_none():
                return _watch(running), False
            if (await connection.scalar(count) or 0) >= most:
                return None, False
            made = await connection.execute(insert(table).values(row).returning(table))
            return _watch(made.one()), True

    async def claim(self, watch: Watch, now: datetime) -> Watch | None:
        """Claim this turn, or renew the claim; returns the watch as claimed.

        None if another process was faster, or the watch has ended.
        """
        until = (now + LEASE).replace(microsecond=0)  # as it is stored
        mine = await self._update(
            watch, table.c.next_at == watch.next_at, next_at=until, ends_at=watch.ends_at
        )
        return replace(watch, next_at=until) if mine else None

    async def end(self, watch: Watch, state: str) -> bool:
        """End a watch; False if it had ended already."""
        return await self._update(watch, state=state)

    async def stop(self, watch: Watch, card: Message) -> bool:
        """End a watch that its card must still show; False if it had ended already."""
        note = {"key": _stopped(watch), "value": msgspec.json.encode(card).decode()}
        async with self._database.quick_write() as connection:
            done = await connection.execute(_changed(watch, state=STOPPED))
            if done.rowcount:
                await put(connection, notes, note)
        return done.rowcount == 1

    async def stopped(self) -> list[tuple[Watch, Message]]:
        """The stopped watches whose cards don't show it yet, with those cards."""
        async with self._database.quick_read() as connection:
            rows = (await connection.execute(_UNSHOWN)).all()
            if not rows:
                return []
            cards = {int(row.key.rpartition(" ")[2]): row.value for row in rows}
            ended = await connection.execute(select(table).where(table.c.id.in_(cards)))
            watches = list(map(_watch, ended))
        return [(each, msgspec.json.decode(cards[each.id], type=Message)) for each in watches]

    async def shown(self, watch: Watch) -> None:
        """Note that the card of a stopped watch shows it."""
        async with self._database.quick_write() as connection:
            await connection.execute(delete(notes).where(notes.c.key == _stopped(watch)))

    async def may_tell(self, watch: Watch, attempt: int) -> bool:
        """Whether the reply to a turn has not been sent yet, at this attempt; True once."""
        key = f"{_TOLD} {watch.ends_at.date()} {watch.id} {watch.scans} {watch.state} {attempt}"
        async with self._database.quick_write() as connection:
            return await add(connection, notes, {"key": key, "value": ""})

    async def put_off(self, watch: Watch, next_at: datetime) -> None:
        """Postpone the next turn."""
        await self._update(watch, next_at=next_at)

    async def keep(self, watch: Watch, claimed: Watch) -> bool:
        """Store the result of a turn; False if the watch was stopped or another process has it."""
        return await self._update(
            watch,
            table.c.next_at == claimed.next_at,
            channel=watch.address.channel,
            ts=watch.address.ts,
            thread_ts=watch.address.thread_ts,
            next_at=watch.next_at,
            scans=watch.scans,
            first=msgspec.json.encode(watch.first).decode() if watch.first else None,
            state=watch.state,
        )

    async def _select(self, query: Select[Any], **parameters: Any) -> list[Watch]:
        async with self._database.quick_read() as connection:
            return [_watch(row) for row in await connection.execute(query, parameters)]

    async def _update(self, watch: Watch, *conditions: ColumnElement[bool], **values: Any) -> bool:
        async with self._database.quick_write() as connection:
            done = await connection.execute(_changed(watch, *conditions, **values))
        return done.rowcount == 1


def _changed(watch: Watch, *conditions: ColumnElement[bool], **values: Any) -> Update:
    """Changes a watch that runs."""
    runs = (table.c.id == watch.id, table.c.state == ACTIVE, *conditions)
    return update(table).where(*runs).values(**values)


def _stopped(watch: Watch) -> str:
    """The key of the note with the card of a stopped watch."""
    return f"{_STOPPED} {watch.ends_at.date()} {watch.id}"


def _watch(row: Row[Any]) -> Watch:
    return Watch(
        id=row.id,
        monitor_id=row.monitor_id,
        target=Target(row.host, row.port),
        address=Address(row.channel, row.ts, row.thread_ts),
        asker=row.asker,
        ends_at=row.ends_at,
        next_at=row.next_at,
        scans=row.scans,
        first=msgspec.json.decode(row.first, type=Sighting) if row.first else None,
        state=row.state,
    )


def wait_after(scans: int, interval: timedelta, asked: float | None = None) -> timedelta:
    """How long to wait after this many scans: steady at first, then longer and longer.

    `asked` is for how many seconds the API or Slack asks to wait.
    """
    steady = interval * min(MOST_WAIT, GROWTH ** max(0, scans - STEADY_SCANS))
    return max(steady, min(timedelta(seconds=asked or 0), LONGEST_WAIT))
