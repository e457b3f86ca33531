"""Claims, mutes, notes and runbooks."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.sighting import Claim, Marks, Mute
from bot.store.database import Database, put
from bot.store.tables import claims, mutes, notes, remarks, sightings

_NOTE, _RUNBOOK = "note", "runbook"
#: How the key of the note with a marked monitor's host begins.
HOST = "host "
#: Built once because they run often.
_ALL = (select(claims), select(mutes), select(remarks))


class MarkStore:
    """Writes the tables of marks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, claims_made: Sequence[Claim]) -> list[Claim]:
        """Take monitors, and return their claims: those given, or older ones that stand.

        Those given are all one person's.
        """
        made = {claim.monitor_id: claim for claim in claims_made}
        mark = uuid.uuid4().hex  # in place of the name, until it is known which are new
        rows = {
            number: {
                "monitor_id": number,
                "user_id": claim.user[:40],
                "user_name": mark,
                "at": claim.at,
                "renews": claim.renews,
            }
            for number, claim in made.items()
        }
        if not rows:
            return []
        name = update(claims).where(claims.c.user_name == mark)
        # An update without a change returns the older claim, and locks it.
        new = self._database.insert(claims)
        new = new.on_conflict_do_update(index_elements=["monitor_id"], set_={"at": claims.c.at})
        in_order = [rows[number] for number in sorted(rows)]  # one order, against deadlocks
        async with self._database.quick_write() as connection:
            stand = (await connection.execute(new.returning(claims), in_order)).all()
            await connection.execute(name.values(user_name=claims_made[0].name[:100]))
        return [made[row.monitor_id] if row.user_name == mark else Claim(*row) for row in stand]

    async def release(
        self, monitor_ids: Collection[int], *, before: datetime | None = None
    ) -> set[int]:
        """Release monitors, or only those taken `before` a time; returns those that it released."""
        gone = delete(claims).where(claims.c.monitor_id.in_(monitor_ids))
        if before is not None:
            gone = gone.where(claims.c.at < before)
        async with self._database.quick_write() as connection:
            return set(await connection.scalars(gone.returning(claims.c.monitor_id)))

    async def release_all_of(self, user: str) -> dict[int, str]:
        """Release what a user has taken; returns the monitors, with the user's name."""
        theirs = delete(claims).where(claims.c.user_id == user)
        gone = theirs.returning(claims.c.monitor_id, claims.c.user_name)
        async with self._database.quick_write() as connection:
            return {row.monitor_id: row.user_name for row in await connection.execute(gone)}

    async def mute(self, new: Mapping[int, Mute | None]) -> None:
        """Store mutes; one that is None unmutes its monitor. All or none are stored."""
        async with self._database.quick_write() as connection:
            for number, mute in sorted(new.items()):
                if mute is None:
                    await connection.execute(delete(mutes).where(mutes.c.monitor_id == number))
                else:
                    row = {"monitor_id": number, "mute": msgspec.json.encode(mute).decode()}
                    await put(connection, mutes, row)

    async def end_mutes(self, over: Mapping[int, Mute]) -> None:
        """Delete these mutes, unless their monitors have been muted again since."""
        if not over:
            return
        async with self._database.quick_write() as connection:
            for number, mute in sorted(over.items()):
                same = mutes.c.mute == msgspec.json.encode(mute).decode()
                await connection.execute(delete(mutes).where(mutes.c.monitor_id == number, same))

    async def note(self, hosts: Sequence[str], text: str, *, by: str, now: datetime) -> list[str]:
        """Set the note of all these hosts; an empty text removes it. All or none are changed.

        Returns the hosts that had a note to remove, or have one now.
        """
        return await self._remark(_NOTE, hosts, text, by=by, now=now)

    async def runbook(self, subject: str, link: str, *, by: str, now: datetime) -> bool:
        """Link a runbook to a host, a pattern or an issuer; an empty link removes it.

        Returns False if there was none to remove.
        """
        return bool(await self._remark(_RUNBOOK, [subject], link, by=by, now=now))

    async def _remark(
        self, kind: str, patterns: Sequence[str], text: str, *, by: str, now: datetime
    ) -> list[str]:
        done = []
        async with self._database.quick_write() as connection:
            for pattern in sorted(patterns):
                key = {"kind": kind, "pattern": pattern}
                if text:
                    row = {**key, "text": text, "set_by": by, "set_at": now}
                    await put(connection, remarks, row)
                    done.append(pattern)
                elif (await connection.execute(delete(remarks).filter_by(**key))).rowcount:
                    done.append(pattern)
        return done


async def read_marks(connection: AsyncConnection) -> Marks:
    """All marks."""
    taken, muted, said = [(await connection.execute(query)).all() for query in _ALL]
    return Marks(
        claims={row.monitor_id: Claim(*row) for row in taken},
        mutes={row.monitor_id: msgspec.json.decode(row.mute, type=Mute) for row in muted},
        notes={row.pattern: row.text for row in said if row.kind == _NOTE},
        runbooks={row.pattern: row.text for row in said if row.kind == _RUNBOOK},
    )


async def forget(connection: AsyncConnection, monitor_ids: Collection[int]) -> None:
    """Delete the sightings, claims, mutes and stored hosts of deleted monitors."""
    for table in (sightings, claims, mutes):
        await connection.execute(delete(table).where(table.c.monitor_id.in_(monitor_ids)))
    keys = [f"{HOST}{number}" for number in monitor_ids]
    await connection.execute(delete(notes).where(notes.c.key.in_(keys)))
