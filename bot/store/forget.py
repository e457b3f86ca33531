"""What the bot forgets by itself, and after how long; SECURITY.md says the same."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Table, bindparam, delete, func, or_, select

from bot.store.database import PATIENT_SECONDS, Database, put
from bot.store.digests import LIST, NOTICES_EDITED
from bot.store.marks import HOST
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


#: The keys of the notes that say which API and account the monitors' IDs belong to, and since when.
#: A marked monitor's host has its own key, as standings have it only where notices run.
_API, _SINCE = "api", "api since"
_SAID = select(notes.c.key, notes.c.value).where(
    notes.c.key.in_([_API, _SINCE]) | notes.c.key.startswith(HOST)
)
_STOOD = select(standings.c.monitor_id, standings.c.target)


async def keep_hosts(database: Database, hosts: Mapping[int, str]) -> None:
    """Store the hosts of marked monitors. Raises DatabaseUnavailable."""
    async with database.quick_write() as connection:
        for number, host in hosts.items():
            row = {"key": f"{HOST}{number}", "value": host}
            await put(connection, notes, row)


async def forget_others(
    database: Database,
    source: str,
    hosts: Callable[[], Awaitable[Iterable[tuple[int, str]]]],
    now: datetime,
) -> tuple[bool, datetime | None]:
    """Forget claims, mutes and sightings of another API's or account's monitors: IDs differ there.

    They stay where an ID still has its stored host, since only the key may have changed.
    `hosts` returns the IDs and hosts of all monitors. Returns whether marks may have been deleted,
    and since when IDs are, or may be, those of other monitors. Raises DatabaseUnavailable, and what
    `hosts` raises.
    """
    async with database.quick_read() as connection:
        said = {row.key: row.value for row in await connection.execute(_SAID)}
        before, since = said.pop(_API, ""), said.pop(_SINCE, "")
        if before == source:
            return False, datetime.fromisoformat(since) if since else None
        stored = await connection.execute(_STOOD)
        known = {(row.monitor_id, row.target) for row in stored}
    known |= {(int(key.removeprefix(HOST)), host) for key, host in said.items()}
    found = dict(await hosts()) if before else {}
    same = {number for number, host in known if found.get(number) == host}
    if before and (not same or any(found.get(number, host) != host for number, host in known)):
        since = now.isoformat()
    async with database.quick_write(PATIENT_SECONDS) as connection:
        for table in (claims, mutes, sightings) if before else ():
            others = set(await connection.scalars(select(table.c.monitor_id))) - same
            if others:
                gone = delete(table).where(table.c.monitor_id == bindparam("number"))
                await connection.execute(gone, [{"number": number} for number in others])
        for key in said:
            if int(key.removeprefix(HOST)) not in same:
                await connection.execute(delete(notes).where(notes.c.key == key))
        for key, value in ((_API, source), (_SINCE, since)):
            await put(connection, notes, {"key": key, "value": value})
    return bool(before), datetime.fromisoformat(since) if since else None
