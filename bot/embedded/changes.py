"""Changes of monitors, numbered in the order in which they were stored, for monitor/changes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import BigInteger, bindparam, case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.embedded.ca.facts import Date
from bot.embedded.wire import ListRow, Success
from bot.store.tables import change_feed, monitor_changes

_KEPT = timedelta(days=7)
_NAMES_TOLD = 20  # the most names of a certificate in one change
_CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})", re.ASCII)
_FEED, _NEW = select(change_feed), insert(monitor_changes)
_OLD = select(func.max(monitor_changes.c.number)).where(monitor_changes.c.at < bindparam("begins"))
_last, _time = change_feed.c.last, bindparam("time", type_=BigInteger)
_begun = case((_last < _time, _time), else_=_last)
_COUNTED = update(change_feed).values(last=_begun + bindparam("more")).returning(_last)

ChangeKind = Literal["added", "changed", "deleted"]
Names = Annotated[tuple[str, ...], Meta(description="At most 20 of them, in alphabetical order")]


class ChangeRow(Struct):
    """One change of a monitor, and its current row of monitor/list; null if it was deleted."""

    id: int
    date: Date | None
    kind: ChangeKind
    names_added: Names
    names_removed: Names
    monitor: ListRow | None


class ChangesReply(Success, kw_only=True):
    """The reply of monitor/changes."""

    count: int
    list: tuple[ChangeRow, ...]
    next: Annotated[str, Meta(description="The cursor for the next request, as `since`")]
    more: Annotated[bool, Meta(description="Whether more changes follow the last one")] = False


@dataclass(frozen=True, slots=True)
class Feed:
    """Which changes are stored: those after the number `forgotten`, up to `last`."""

    name: str
    last: int
    forgotten: int

    def cursor(self, number: int) -> str:
        """The cursor for a client that has read up to this number."""
        return f"{self.name}-{number}"

    async def position(self, cursor: str, connection: AsyncConnection) -> int | None:
        """The number that a cursor has reached; None if unknown, or if later changes are deleted.

        A number without a change belongs to a history that ended when a backup was restored.
        """
        found = _CURSOR.fullmatch(cursor)
        if found is None or found[1] != self.name:
            return None
        number = int(found[2])
        same = monitor_changes.c.number == number
        known = number == self.forgotten or await connection.scalar(select(same).where(same))
        return number if known else None


async def read_feed(connection: AsyncConnection) -> Feed:
    """The range of changes that are stored now."""
    row = (await connection.execute(_FEED)).one()
    return Feed(row.name, row.last, row.forgotten)


@dataclass(frozen=True, slots=True)
class Change:
    """One change, for monitor/changes, with the names that the certificate gained and lost."""

    account: int
    monitor: int
    at: datetime
    kind: ChangeKind = "changed"
    names: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())


async def record_changes(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """Number the changes of a transaction; this must be the last thing that it does.

    The row of `change_feed` stays locked until the commit, so that changes become visible in the
    order of their numbers: a reader never misses one. The numbers follow the time, so that none is
    used again after a backup was restored.
    """
    if not changes:
        return
    time = max(int(each.at.timestamp()) for each in changes) * 1_000_000
    counted = await connection.execute(_COUNTED, {"time": time, "more": len(changes)})
    last = counted.scalar_one()
    rows = [
        {
            "number": number,
            "account_id": each.account,
            "monitor_id": each.monitor,
            "at": each.at,
            "kind": each.kind,
            "names_added": _some_names(each.names[0]),
            "names_removed": _some_names(each.names[1]),
        }
        for number, each in enumerate(changes, last - len(changes) + 1)
    ]
    await connection.execute(_NEW, rows)
    begins = max(each.at for each in changes) - _KEPT
    if forgotten := await connection.scalar(_OLD, {"begins": begins}):
        await connection.execute(
            delete(monitor_changes).where(monitor_changes.c.number <= forgotten)
        )
        await connection.execute(update(change_feed).values(forgotten=forgotten))


def _some_names(names: frozenset[str]) -> str | None:
    return msgspec.json.encode(sorted(names)[:_NAMES_TOLD]).decode() if names else None
