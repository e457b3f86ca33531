"""Who scans what: leases, so that any number of workers share the monitors without meeting.

A leased monitor carries the worker's name in `lease`, and its `next_scan_at` is the end of the
lease: a worker that dies leaves nothing behind but monitors that are due again by then. A result
is stored only while its lease is held. The workers' clocks must agree to some seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.embedded import job, wire
from bot.embedded.job import Job
from bot.embedded.monitors import HISTORY_COLUMNS, history_row, scan_columns
from bot.embedded.scan.result import Scan
from bot.embedded.scan.verdict import Verdict
from bot.embedded.schedule import TRIES, is_failure, next_scan
from bot.store.database import Database
from bot.store.tables import accounts, monitor_facts, monitor_history, monitors

_LOG = logging.getLogger(__name__)
LEASE = timedelta(seconds=60)
_HISTORY = 200  # pieces of history that a monitor keeps
_TAKEN = (
    monitors.c.id,
    *job.COLUMNS,
    monitors.c.ip,
    monitors.c.failures,
    *(monitors.c[name] for name in HISTORY_COLUMNS),
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to scan a monitor; `before` is what its last stored scan told."""

    id: int
    job: Job
    address: str
    """Where it was last found, else its host: what connections are counted by."""
    failures: int = 0
    before: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """How a monitor stands: whether it is leased, and when the last stored scan was made."""

    active: bool
    scanned_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeaseResult:
    """What the scan of a lease found; `on_demand` stores even a first failure as it is."""

    lease: Lease
    scan: Scan
    on_demand: bool = False

    @property
    def failures(self) -> int:
        """How many scans in a row have failed now."""
        return self.lease.failures + 1 if is_failure(self.scan.verdict) else 0

    @property
    def unconfirmed(self) -> bool:
        """Whether a host that was up is asked again before it is called down."""
        before = self.lease.before.get("verdict")
        was_up = before is not None and not is_failure(Verdict(before))
        return was_up and not self.on_demand and 0 < self.failures < TRIES


class Leases:
    """One worker's door to the leases; every method is one transaction."""

    def __init__(self, database: Database, interval: timedelta, worker: str) -> None:
        self._database = database
        self._interval = interval
        self._worker = worker

    async def lease_due(
        self, now: datetime, limit: int, *, avoid: Collection[str] = ()
    ) -> list[Lease]:
        """Lease the monitors that are due, longest overdue first, none at one to `avoid`."""
        revoked = select(accounts.c.id).where(accounts.c.revoked_at.is_not(None))
        elsewhere = func.coalesce(monitors.c.ip, monitors.c.host).not_in(list(avoid))
        due = (
            select(monitors.c.id)
            .where(
                monitors.c.next_scan_at <= now,
                monitors.c.account_id.not_in(revoked),
                *([elsewhere] if avoid else []),
            )
            .order_by(monitors.c.next_scan_at)
            .limit(limit)
            .with_for_update(skip_locked=True)  # SQLite has one writer at a time, and no such words
        )
        # A named subquery runs once; PostgreSQL may run another kind again, past its limit.
        return await self._lease(monitors.c.id.in_(select(due.cte("due").c.id)), now)

    async def lease_one(self, id_: int, now: datetime) -> Lease | None:
        """Lease a monitor whether it is due or not; None when a worker has it, or it is gone."""
        free = or_(monitors.c.lease.is_(None), monitors.c.next_scan_at <= now)
        taken = await self._lease((monitors.c.id == id_) & free, now)
        return taken[0] if taken else None

    async def _lease(self, which: ColumnElement[bool], now: datetime) -> list[Lease]:
        query = update(monitors).where(which).returning(*_TAKEN)
        async with self._database.write() as connection:
            taken = await connection.execute(
                query.values(lease=self._worker, next_scan_at=now + LEASE)
            )
            return [_lease_of(row) for row in taken]

    async def status(self, id_: int, now: datetime) -> LeaseStatus | None:
        """Whether some worker has the monitor, and when it was scanned; None when it is gone."""
        held = and_(monitors.c.lease.is_not(None), monitors.c.next_scan_at > now)
        query = select(held, monitors.c.scanned_at).where(monitors.c.id == id_)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return LeaseStatus(bool(row[0]), row[1]) if row else None

    async def renew(self, ids: Collection[int], now: datetime) -> None:
        """Hold leases for longer."""
        await self._change(ids, next_scan_at=now + LEASE)

    async def release(self, ids: Collection[int], due: datetime) -> None:
        """Let go of leases without a result; the monitors are due at `due`."""
        await self._change(ids, lease=None, next_scan_at=due)

    async def postpone(self, lease: Lease, now: datetime) -> None:
        """Let go of a monitor that could not be scanned, until its next turn."""
        await self.release([lease.id], next_scan(lease.job.target, now, self._interval))

    async def _change(self, ids: Collection[int], **values: Any) -> None:
        mine = monitors.c.id.in_(list(ids)) & (monitors.c.lease == self._worker)
        async with self._database.write() as connection:
            await connection.execute(update(monitors).where(mine).values(**values))

    async def save(self, results: Sequence[LeaseResult]) -> None:
        """Store results whose leases are still held, and let go of these, in one transaction."""
        async with self._database.write() as connection:
            held = await self._held([result.lease.id for result in results], connection)
            kept = [result for result in results if result.lease.id in held]
            if len(kept) < len(results):
                _LOG.info("%d monitors were deleted or taken over.", len(results) - len(kept))
            await self._save_doubtful([each for each in kept if each.unconfirmed], connection)
            await self._save_confirmed([each for each in kept if not each.unconfirmed], connection)

    async def _held(self, ids: list[int], connection: AsyncConnection) -> set[int]:
        mine = monitors.c.id.in_(ids) & (monitors.c.lease == self._worker)
        query = select(monitors.c.id).where(mine).order_by(monitors.c.id).with_for_update()
        return set(await connection.scalars(query))

    async def _save_doubtful(self, results: list[LeaseResult], connection: AsyncConnection) -> None:
        await _update_each(connection, [self._turn(result) for result in results])

    async def _save_confirmed(
        self, results: list[LeaseResult], connection: AsyncConnection
    ) -> None:
        if not results:
            return
        rows = [scan_columns(result.scan) for result in results]
        turns = [self._turn(result) for result in results]
        await _update_each(connection, [t | row for t, row in zip(turns, rows, strict=True)])
        ids = [result.lease.id for result in results]
        await connection.execute(delete(monitor_facts).where(monitor_facts.c.monitor_id.in_(ids)))
        facts = [{"monitor_id": r.lease.id, "facts": wire.facts(r.scan)} for r in results]
        await connection.execute(insert(monitor_facts), facts)
        news = [
            history_row(result.lease.id, result.scan.at, row)
            for result, row in zip(results, rows, strict=True)
            if {name: row[name] for name in HISTORY_COLUMNS} != result.lease.before
        ]
        await _add_history(connection, news)

    def _turn(self, result: LeaseResult) -> dict[str, Any]:
        leaf = result.scan.leaf
        return {
            "of_id": result.lease.id,
            "lease": None,
            "failures": result.failures,
            "next_scan_at": next_scan(
                result.lease.job.target,
                result.scan.at,
                self._interval,
                not_before=leaf.not_before if leaf else None,
                not_after=leaf.not_after if leaf else None,
                failures=result.failures,
            ),
        }


def _lease_of(row: Row[Any]) -> Lease:
    before = {name: getattr(row, name) for name in HISTORY_COLUMNS}
    return Lease(row.id, Job.from_row(row), row.ip or row.host, row.failures, before)


async def _update_each(connection: AsyncConnection, rows: list[dict[str, Any]]) -> None:
    if rows:
        await connection.execute(update(monitors).where(monitors.c.id == bindparam("of_id")), rows)


async def _add_history(connection: AsyncConnection, news: list[dict[str, Any]]) -> None:
    """Add pieces of history, and forget what is too old of these monitors."""
    if not news:
        return
    await connection.execute(insert(monitor_history), news)
    for id_ in [piece["monitor_id"] for piece in news]:
        oldest_kept = (
            select(monitor_history.c.id)
            .where(monitor_history.c.monitor_id == id_)
            .order_by(monitor_history.c.id.desc())
            .offset(_HISTORY - 1)
            .limit(1)
            .scalar_subquery()
        )
        await connection.execute(
            delete(monitor_history).where(
                monitor_history.c.monitor_id == id_, monitor_history.c.id < oldest_kept
            )
        )
