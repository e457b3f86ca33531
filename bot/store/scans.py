"""Which monitors are being scanned now, so that a second process joins the scan of the first."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, bindparam, cast, delete, select, update

from bot.errors import DatabaseUnavailable
from bot.store.database import Database
from bot.store.tables import DATABASE_NOW, notes

log = logging.getLogger(__name__)

#: A process that scans says so every SIGN_SECONDS; one that has been silent for SILENT is gone.
SIGN_SECONDS, SILENT = 1.0, 4000
#: How often a process that waits for another one's scan looks whether that has ended.
LOOK_SECONDS = 0.25
#: How long it is known that a scan has ended, in milliseconds.
KEPT = 600_000


class RunningScans:
    """One note for each monitor: when its scan last gave a sign of life, by the database's clock.

    The time is negative once the scan has succeeded. There is no note of one that failed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tidy_at = 0.0
        new = database.insert(notes).values(value=cast(DATABASE_NOW, Text))
        oldest = DATABASE_NOW - bindparam("silent", type_=BigInteger)
        self._new = new.on_conflict_do_update(
            index_elements=["key"],
            set_={"value": new.excluded.value},
            where=cast(notes.c.value, BigInteger) < oldest,
        ).returning(notes.c.key)

    @asynccontextmanager
    async def turn(self, monitor_id: int) -> AsyncIterator[bool]:
        """Wait until no other process scans the monitor; gives whether one has just done so.

        While the database can't be used, each process scans for itself.
        """
        key = f"scan {monitor_id}"
        if await self._joined(key):
            yield True
            return
        signs, scanned = asyncio.create_task(self._give_signs(key)), False
        try:
            yield False
            scanned = True
        finally:
            signs.cancel()
            with suppress(DatabaseUnavailable):
                await self._end(key, scanned=scanned)

    async def _joined(self, key: str) -> bool:
        """Wait until this process scans; True if the scan of another one has succeeded instead."""
        try:
            while not await self._begin(key):
                if await self._ended_well(key):
                    return True
        except DatabaseUnavailable as fault:
            log.warning("Could not look for another process's %s: %s", key, fault)
        return False

    async def _begin(self, key: str) -> bool:
        """Note that this process scans, unless another one does."""
        async with self._database.quick_write() as connection:
            begun = await connection.execute(self._new, {"key": key, "silent": SILENT})
            return begun.one_or_none() is not None

    async def _ended_well(self, key: str) -> bool:
        """Wait for the scan of another process; whether it has succeeded."""
        query = select(cast(notes.c.value, BigInteger).label("at"), DATABASE_NOW)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            async with self._database.quick_read() as connection:
                row = (await connection.execute(query.where(notes.c.key == key))).one_or_none()
            if row is None or row.at < 0 or row[1] - row.at > SILENT:
                return row is not None and row.at < 0

    async def _give_signs(self, key: str) -> None:
        now = cast(DATABASE_NOW, Text)
        while True:
            await asyncio.sleep(SIGN_SECONDS)
            with suppress(DatabaseUnavailable):  # no statement of SQLite's is to be cancelled
                await asyncio.shield(self._note(key, now, ~notes.c.value.startswith("-")))

    async def _end(self, key: str, *, scanned: bool) -> None:
        if not scanned:
            await self._forget(notes.c.key == key)
            return
        loop = asyncio.get_running_loop()
        await self._note(key, cast(-DATABASE_NOW, Text))
        if loop.time() > self._tidy_at:
            self._tidy_at = loop.time() + KEPT / 1000
            # So many digits that the times compare as text.
            old = notes.c.value.startswith("-") & (notes.c.value < cast(KEPT - DATABASE_NOW, Text))
            await self._forget(notes.c.key.startswith("scan ") & old)

    async def _note(self, key: str, value: Any, *conditions: ColumnElement[bool]) -> None:
        note = update(notes).where(notes.c.key == key, *conditions).values(value=value)
        async with self._database.quick_write() as connection:
            await connection.execute(note)

    async def _forget(self, which: ColumnElement[bool]) -> None:
        async with self._database.quick_write() as connection:
            await connection.execute(delete(notes).where(which))
