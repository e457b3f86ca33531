"""The table of monitors: each a target with its last scan."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from bot.database import Database, monitors
from bot.embedded import wire
from bot.embedded.scan import Scan
from bot.target import Target

_CHUNK = 500  # rows read and written at once, so that the loop is free in between
_SUMMARY = (
    monitors.c.id,
    monitors.c.host,
    monitors.c.port,
    monitors.c.scanned_at,
    monitors.c.verdict,
    monitors.c.message,
    monitors.c.host_match,
    monitors.c.not_before,
    monitors.c.not_after,
    monitors.c.issuer,
    monitors.c.http_code,
)


class AlreadyWatched(Exception):
    """The target has a monitor; `id` is its number."""

    def __init__(self, id_: int) -> None:
        super().__init__(id_)
        self.id = id_


def next_scan(target: Target, now: datetime, interval: timedelta) -> datetime:
    """When a target scanned `now` is due again: at its own, steady moment of each interval.

    The moments of all targets are spread over the interval, restarts or not.
    """
    phase = zlib.crc32(str(target).encode()) / 2**32 * interval.total_seconds()
    past = (now.timestamp() - phase) % interval.total_seconds()
    return now + timedelta(seconds=interval.total_seconds() - past)


class Monitors:
    """The store; every method is one transaction."""

    def __init__(self, database: Database, interval: timedelta) -> None:
        self._database = database
        self._interval = interval

    async def count(self) -> int:
        """How many monitors there are."""
        async with self._database.read() as connection:
            return await connection.scalar(select(func.count()).select_from(monitors)) or 0

    async def get(self, id_: int) -> RowMapping | None:
        """A whole row, or None."""
        async with self._database.read() as connection:
            found = await connection.execute(select(monitors).where(monitors.c.id == id_))
            return found.mappings().one_or_none()

    async def find(self, target: Target) -> int | None:
        """The number of the monitor of a target, or None."""
        query = select(monitors.c.id).where(
            monitors.c.host == target.host, monitors.c.port == target.port
        )
        async with self._database.read() as connection:
            return await connection.scalar(query)

    async def chunks(
        self, conditions: Sequence[ColumnElement[bool]]
    ) -> AsyncIterator[Sequence[RowMapping]]:
        """The rows that meet all conditions, by id, some hundreds at a time, as of one moment."""
        query = select(*_SUMMARY).where(*conditions).order_by(monitors.c.id).limit(_CHUNK)
        async with self._database.read() as connection:
            last = 0
            while True:
                found = await connection.execute(query.where(monitors.c.id > last))
                rows = found.mappings().all()
                if rows:
                    yield rows
                    last = rows[-1]["id"]
                if len(rows) < _CHUNK:
                    return

    async def add(self, target: Target, scan: Scan) -> int:
        """Store a new monitor with its first scan; its number. Raises AlreadyWatched."""
        row = self._scanned(target, scan)
        try:
            async with self._database.write() as connection:
                done = await connection.execute(
                    insert(monitors)
                    .values(host=target.host, port=target.port, created_at=scan.at, **row)
                    .returning(monitors.c.id)
                )
                return int(done.scalar_one())
        except IntegrityError:
            taken = await self.find(target)
            if taken is None:  # deleted again in between
                raise
            raise AlreadyWatched(taken) from None

    async def save(self, id_: int, target: Target, scan: Scan) -> None:
        """Keep the newest scan of a monitor; nothing happens when it was deleted meanwhile."""
        row = self._scanned(target, scan)
        async with self._database.write() as connection:
            await connection.execute(update(monitors).where(monitors.c.id == id_).values(**row))

    async def postpone(self, id_: int, target: Target, now: datetime) -> None:
        """Leave a monitor's scan for its next turn."""
        turn = next_scan(target, now, self._interval)
        async with self._database.write() as connection:
            await connection.execute(
                update(monitors).where(monitors.c.id == id_).values(next_scan_at=turn)
            )

    async def delete(self, id_: int) -> bool:
        """Forget a monitor; false when there is none of that number."""
        async with self._database.write() as connection:
            done = await connection.execute(delete(monitors).where(monitors.c.id == id_))
            return done.rowcount > 0

    async def due(self, now: datetime, most: int) -> list[tuple[int, Target]]:
        """The monitors to scan, the longest overdue first."""
        query = (
            select(monitors.c.id, monitors.c.host, monitors.c.port)
            .where(monitors.c.next_scan_at <= now)
            .order_by(monitors.c.next_scan_at)
            .limit(most)
        )
        async with self._database.read() as connection:
            return [(i, Target(host, port)) for i, host, port in await connection.execute(query)]

    def _scanned(self, target: Target, scan: Scan) -> dict[str, Any]:
        leaf = scan.leaf
        return {
            "next_scan_at": next_scan(target, scan.at, self._interval),
            "scanned_at": scan.at.astimezone(UTC),
            "verdict": scan.verdict.value,
            "message": scan.message,
            "host_match": scan.host_match,
            "not_before": leaf and leaf.not_before,
            "not_after": leaf and leaf.not_after,
            # PostgreSQL takes no NUL in text; the facts, which are bytes, keep it.
            "issuer": leaf and leaf.issuer.replace("\0", "\ufffd"),
            "http_code": scan.page.code,
            "facts": wire.facts(scan),
        }
