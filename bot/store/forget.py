"""What the bot forgets by itself, and after how long; SECURITY.md says the same."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Table, bindparam, delete, func, or_, select

from bot.store.database import PATIENT_SECONDS, Database
from bot.store.digests import LIST, NOTICES_EDITED
from bot.store.rechecks import ACTIVE
from bot.store.tables import (
    claims,
    deliveries,
    digests,
    mutes,
    notes,
    notices,
    sightings,
    small_changes,
    standings,
    watches,
)

#: Slack's signature is valid for five minutes, so a replay can't come later than that.
REPLAYED = timedelta(hours=1)
KEPT, SMALL_KEPT, DIGESTS_KEPT = timedelta(days=30), timedelta(days=8), timedelta(days=90)
#: What the keys of notes begin with that go on with the day that they are about.
DATED = ("repeat", "missed", "file", "stopped", "told")


def _notes(now: datetime) -> ColumnElement[bool]:
    day = (now - KEPT).date()
    begun = ((notes.c.key.startswith(f"{each} "), f"{each} {day}") for each in DATED)
    return or_(*(of_kind & (notes.c.key < oldest) for of_kind, oldest in begun))


def _notices(now: datetime) -> ColumnElement[bool]:
    at, is_list = func.coalesce(notices.c.at, notices.c.claimed_at), notices.c.kind == LIST
    return (at < now - KEPT) | (is_list & (at < now - NOTICES_EDITED))


#: Which rows of which table are too old.
OLD: Mapping[Table, Callable[[datetime], ColumnElement[bool]]] = {
    deliveries: lambda now: deliveries.c.at < now - REPLAYED,
    small_changes: lambda now: small_changes.c.at < now - SMALL_KEPT,
    notices: _notices,
    watches: lambda now: (watches.c.state != ACTIVE) & (watches.c.ends_at < now - KEPT),
    digests: lambda now: digests.c.day < (now - DIGESTS_KEPT).date().isoformat(),
    notes: _notes,
}


async def forget_old(database: Database, now: datetime) -> None:
    """Delete what is too old. Raises DatabaseUnavailable."""
    for table, is_old in OLD.items():
        async with database.quick_write(PATIENT_SECONDS) as connection:
            await connection.execute(delete(table).where(is_old(now)))


#: The key of the note that names the API and account of the monitors' IDs.
_API = "api"


async def forget_others(
    database: Database, source: str, hosts: Callable[[], Awaitable[Iterable[tuple[int, str]]]]
) -> bool:
    """Forget claims, mutes and sightings of another API's or account's monitors: IDs differ there.

    They stay where an ID still has the host of the last comparison, since the key alone may have
    changed. `hosts` returns the IDs and hosts of all monitors. Returns whether the API, account or
    key has changed. Raises DatabaseUnavailable, and what `hosts` raises.
    """
    async with database.quick_read() as connection:
        before = await connection.scalar(select(notes.c.value).where(notes.c.key == _API))
        if before == source:
            return False
        known = (await connection.execute(select(standings.c.monitor_id, standings.c.target))).all()
    same = {number for number, _ in {*map(tuple, known)} & {*await hosts()}} if before else set()
    async with database.quick_write(PATIENT_SECONDS) as connection:
        for table in (claims, mutes, sightings) if before else ():
            others = set(await connection.scalars(select(table.c.monitor_id))) - same
            if others:
                gone = delete(table).where(table.c.monitor_id == bindparam("number"))
                await connection.execute(gone, [{"number": number} for number in others])
        await connection.execute(database.put(notes, {"key": _API, "value": source}))
    return True
