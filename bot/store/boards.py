"""SQL about the messages of digests and notices, built once because it runs often."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    bindparam,
    case,
    func,
    select,
    true,
    update,
)

from bot.store.tables import DATABASE_NOW, digests, edits, notices

#: In milliseconds.
HOUR = 3_600_000
_NOW, _GAP = DATABASE_NOW, bindparam("gap", type_=BigInteger)


def place(channel: str, ts: str) -> dict[str, Any]:
    """The parameters of `HERE`."""
    return {"in_channel": channel, "at_ts": ts}


def _at(table: FromClause) -> ColumnElement[bool]:
    return (table.c.channel == bindparam("in_channel")) & (table.c.ts == bindparam("at_ts"))


_other = digests.alias()
_newest = select(func.max(_other.c.day)).where(_at(_other), _other.c.sent > 0).scalar_subquery()
#: The newest of the digests posted in a place, or the notice posted there.
HERE = {
    digests: _at(digests) & (digests.c.day == _newest),
    notices: _at(notices) & notices.c.thread.is_(None),
}
BOARD = {table: select(table).where(here) for table, here in HERE.items()}
LOCKED_BOARD = {table: query.with_for_update() for table, query in BOARD.items()}


def _after(last: ColumnElement[int]) -> ColumnElement[int]:
    """The last time plus the gap, or now if that is later; implausible times are ignored."""
    return case((last.between(_NOW - _GAP, _NOW + HOUR), last + _GAP), else_=_NOW)


#: Reserve the next edit of a message.
TURNS = [
    update(table)
    .where(here)
    .values(drawn_at=_after(table.c.drawn_at), drawn=-1)
    .returning(table, (table.c.drawn_at - _NOW).label("wait"))
    for table, here in HERE.items()
]
_version = bindparam("of_version", type_=digests.c.version.type)
_board: dict[str, Any] = {"board": bindparam("new_board"), "version": _version}
#: Replace the board of a message; for a notice, also set whether it is fixed.
CHANGED = {
    digests: update(digests).where(HERE[digests]).values(_board),
    notices: update(notices).where(HERE[notices]).values(fixed=bindparam("is_fixed"), **_board),
}
#: Record that Slack shows this version, if there is no newer one.
DRAWN = [
    update(table).where(here, table.c.version == _version).values(drawn=_version)
    for table, here in HERE.items()
]
_slots = edits.alias()
#: Reserve one of the minute's edits: a free one, or else the next. A slot that another process is
#: reserving is skipped. PostgreSQL may choose a slot by its old time, but checks its new one once
#: the row is locked: a slot just booked isn't booked again.
BOOKINGS = [
    update(edits)
    .where(
        edits.c.slot
        == select(_slots.c.slot)
        .where(is_free)
        .order_by(_slots.c.at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    .values(at=_after(edits.c.at))
    .returning(edits.c.at - _NOW)
    for is_free in (_slots.c.at <= _NOW - _GAP, _slots.c.at <= _NOW, true())
]
