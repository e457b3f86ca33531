"""Who scans what: leases, so that any number of workers share the monitors without collisions.

A leased monitor has the worker's name in `lease`, and its `next_scan_at` is the end of the lease:
when a worker dies, its monitors are due again by then. A result is stored only if its lease is
still held. The workers' clocks must agree to within a few seconds.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    RowMapping,
    Select,
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
from bot.embedded.ca.expected import ends
from bot.embedded.ca.lineages import overtaken
from bot.embedded.changes import Change, record_changes
from bot.embedded.job import Job
from bot.embedded.monitors import HISTORY_COLUMNS, history_row, scan_columns
from bot.embedded.scan.certificate import UNASKED, KeyExchange
from bot.embedded.scan.result import Scan
from bot.embedded.scan.verdict import Verdict
from bot.embedded.schedule import TRIES, is_failure, next_scan
from bot.store.database import Database
from bot.store.tables import accounts, monitor_facts, monitor_history, monitors

_LOG = logging.getLogger(__name__)
LEASE = timedelta(seconds=60)
_HISTORY_ROWS = 200  # the most that a monitor keeps
_AWAITED = (
    monitors.c.id,
    monitors.c.expected,
    monitors.c.expected_at,
    monitors.c.expected_until,
)
# What a scan without news sets; the other columns, and most indexes, stay.
_FRESH = ("scanned_at", "ip", "http_code", "key_exchange_at", "post_quantum")
_NOTHING = dict[str, Any].fromkeys(HISTORY_COLUMNS)
# Since when monitors wait for a certificate, by ID; None for a wait that ends with this scan.
Awaited = Mapping[int, datetime | None]
_LEASE_COLUMNS = (
    monitors.c.id,
    *job.COLUMNS,
    monitors.c.ip,
    monitors.c.failures,
    monitors.c.account_id,
    monitors.c.fingerprint,
    monitors.c.key_exchange_at,
    monitors.c.post_quantum,
    monitors.c.renewal,
    monitors.c.caa_refuses,
    *(monitors.c[name] for name in HISTORY_COLUMNS),
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to scan a monitor."""

    id: int
    job: Job
    address: str
    """The address that its last scan reached, else its host: connections are counted by it."""
    failures: int = 0
    previous: dict[str, Any] = field(default_factory=dict)
    """The HISTORY_COLUMNS of its last stored scan."""
    account: int = 1
    fingerprint: str | None = None
    """That of its certificate in the last stored scan."""
    key_exchange: KeyExchange = UNASKED
    renewal: str | None = None
    """When the CA asked for a renewal, as the last stored scan knew it."""
    caa_refuses: bool = False

    def differs_from(self, row: dict[str, Any]) -> bool:
        """Whether a scan changed any column that a list shows."""
        known = _NOTHING | self.previous
        known |= {"fingerprint": self.fingerprint, "renewal": self.renewal}
        known["caa_refuses"] = self.caa_refuses
        return known != {name: row[name] for name in known}


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """Whether a monitor is leased now, and the time of its last stored scan."""

    active: bool
    scanned_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeaseResult:
    """The scan of a lease; one on demand is stored even if it is a first failure."""

    lease: Lease
    scan: Scan
    on_demand: bool = False

    @property
    def failures(self) -> int:
        """How many scans in a row have failed, including this one."""
        return self.lease.failures + 1 if is_failure(self.scan.verdict) else 0

    def columns(self) -> dict[str, Any]:
        """The columns to store; for the same certificate, unknown values don't replace known ones.

        This concerns CAA records, and a revocation, which only its CA can end.
        """
        row = scan_columns(self.scan)
        same, before = row["fingerprint"] == self.lease.fingerprint, self.lease.previous
        if row["caa_refuses"] is None:
            row["caa_refuses"] = same and self.lease.caa_refuses
        was_revoked = same and before.get("verdict") == Verdict.REVOKED.value
        if was_revoked and self.scan.may_be_revoked:
            row |= {name: before[name] for name in ("verdict", "message")}
        return row

    @property
    def unconfirmed(self) -> bool:
        """Whether a host that was up failed, but not often enough for that to be stored."""
        last = self.lease.previous.get("verdict")
        if self.on_demand or last is None or not 0 < self.failures < TRIES:
            return False
        return not is_failure(Verdict(last))


class Leases:
    """The leases of one worker; each method is one transaction."""

    def __init__(self, database: Database, interval: timedelta, worker: str) -> None:
        self._database = database
        self._interval = interval
        self._worker = worker

    async def lease_due(
        self, now: datetime, limit: int, *, avoid: Collection[str] = ()
    ) -> list[Lease]:
        """Lease monitors that are due, longest overdue first, but none at an address in `avoid`."""
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
            .with_for_update(skip_locked=True)  # SQLite has a single writer, and ignores this
        )
        # PostgreSQL may run a plain subquery more than once and exceed the limit; a CTE runs once.
        return await self._lease(monitors.c.id.in_(select(due.cte("due").c.id)), now)

    async def lease_one(self, id_: int, now: datetime) -> Lease | None:
        """Lease a monitor, due or not; None if a worker has it or it was deleted."""
        free = or_(monitors.c.lease.is_(None), monitors.c.next_scan_at <= now)
        leases = await self._lease((monitors.c.id == id_) & free, now)
        return leases[0] if leases else None

    async def _lease(self, condition: ColumnElement[bool], now: datetime) -> list[Lease]:
        query = update(monitors).where(condition).returning(*_LEASE_COLUMNS)
        async with self._database.write() as connection:
            rows = await connection.execute(
                query.values(lease=self._worker, next_scan_at=now + LEASE)
            )
            return [_read_lease(row) for row in rows]

    async def status(self, id_: int, now: datetime) -> LeaseStatus | None:
        """Whether any worker has the monitor, and when it was scanned; None if it was deleted."""
        active = and_(monitors.c.lease.is_not(None), monitors.c.next_scan_at > now)
        query = select(active, monitors.c.scanned_at).where(monitors.c.id == id_)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return LeaseStatus(bool(row[0]), row[1]) if row else None

    async def renew(self, ids: Collection[int], now: datetime) -> None:
        """Extend leases."""
        await self._change(ids, next_scan_at=now + LEASE)

    async def release(self, ids: Collection[int], due: datetime) -> None:
        """End leases without a result; the monitors are due at `due`."""
        await self._change(ids, lease=None, next_scan_at=due)

    async def postpone(self, lease: Lease, now: datetime) -> None:
        """End the lease of a monitor that could not be scanned; it is due at its next slot."""
        await self.release([lease.id], next_scan(lease.job.target, now, self._interval))

    async def _change(self, ids: Collection[int], **values: Any) -> None:
        own = self._own(ids).cte("own")  # in a CTE, so that all processes lock in the same order
        change = update(monitors).where(monitors.c.id.in_(select(own.c.id))).values(**values)
        async with self._database.write() as connection:
            await connection.execute(change)

    def _own(self, ids: Collection[int]) -> Select[Any]:
        """Those of the monitors that are still leased; their rows are locked in order."""
        own = monitors.c.id.in_(list(ids)) & (monitors.c.lease == self._worker)
        return select(*_AWAITED).where(own).order_by(monitors.c.id).with_for_update()

    async def save(self, results: Sequence[LeaseResult]) -> None:
        """Store the results whose leases are still held, and end these, in one transaction."""
        # Encoded before the transaction, which others wait for.
        facts = {each.lease.id: wire.facts(each.scan) for each in results}
        async with self._database.write() as connection:
            found = await connection.execute(self._own([result.lease.id for result in results]))
            rows = {row["id"]: row for row in found.mappings()}
            own = [result for result in results if result.lease.id in rows]
            if len(own) < len(results):
                lost = len(results) - len(own)
                _LOG.info("Dropped %d results: their monitors were deleted or taken over.", lost)
            awaited = await _end_waits(own, rows, connection)
            confirmed, others = list[LeaseResult](), list[LeaseResult]()
            for each in own:
                (others if each.unconfirmed else confirmed).append(each)
            await _update_each(connection, [self._reschedule(each, awaited) for each in others])
            await self._save_confirmed(confirmed, facts, awaited, connection)

    async def _save_confirmed(
        self,
        results: list[LeaseResult],
        facts: Mapping[int, bytes],
        awaited: Awaited,
        connection: AsyncConnection,
    ) -> None:
        if not results:
            return
        rows = [result.columns() for result in results]
        changed, updates = list[LeaseResult](), dict[bool, list[dict[str, Any]]]()
        for result, row in zip(results, rows, strict=True):
            differs = result.lease.differs_from(row)
            if differs or awaited.get(result.lease.id, row) is None:
                changed.append(result)
            new = row if differs else {name: row[name] for name in _FRESH}
            updates.setdefault(differs, []).append(self._reschedule(result, awaited) | new)
        for some in updates.values():
            await _update_each(connection, some)
        names = await _names_before(connection, changed)
        store = self._database.insert(monitor_facts)
        store = store.on_conflict_do_update(
            index_elements=["monitor_id"], set_={"facts": store.excluded.facts}
        )
        stored = [{"monitor_id": each.lease.id, "facts": facts[each.lease.id]} for each in results]
        await connection.execute(store, stored)
        changes = [
            history_row(result.lease.id, result.scan.at, row)
            for result, row in zip(results, rows, strict=True)
            if {name: row[name] for name in HISTORY_COLUMNS} != result.lease.previous
        ]
        await _add_history(connection, changes)
        told = [_change(each, names) for each in changed]
        valid = [each.lease.id for each in changed if each.scan.verdict is Verdict.VALID]
        now = results[0].scan.at
        told += [Change(*each, now) for each in await overtaken(connection, valid, now)]
        await record_changes(connection, told)

    def _reschedule(self, result: LeaseResult, awaited: Awaited) -> dict[str, Any]:
        leaf, failures = result.scan.leaf, result.failures
        return {
            "of_id": result.lease.id,
            "lease": None,
            "failures": failures,
            "next_scan_at": next_scan(
                result.lease.job.target,
                result.scan.at,
                self._interval,
                not_before=leaf.not_before if leaf else None,
                not_after=leaf.not_after if leaf else None,
                failures=failures,
                asked=result.scan.asked,
                awaited=awaited.get(result.lease.id),
            ),
        }


def _read_lease(row: Row[Any]) -> Lease:
    """Read _LEASE_COLUMNS by their position, which is faster than by name."""
    id_, *target = row[: -len(HISTORY_COLUMNS)]
    target, about = target[: len(job.COLUMNS)], target[len(job.COLUMNS) :]
    ip, failures, account, fingerprint, asked_at, post_quantum, renewal, refuses = about
    known = UNASKED
    if fingerprint and asked_at:
        known = KeyExchange(fingerprint, asked_at, post_quantum)
    previous = dict(zip(HISTORY_COLUMNS, row[-len(HISTORY_COLUMNS) :], strict=True))
    return Lease(
        id_,
        Job.from_row(target),
        ip or target[0],
        failures,
        previous,
        account,
        fingerprint,
        known,
        renewal,
        bool(refuses),
    )


async def _names_before(
    connection: AsyncConnection, changed: Sequence[LeaseResult]
) -> dict[int, frozenset[str]]:
    """The names of the certificates that are being replaced, by monitor ID."""
    ids = [each.lease.id for each in changed if each.lease.fingerprint and each.scan.chain]
    if not ids:
        return {}
    query = select(monitor_facts).where(monitor_facts.c.monitor_id.in_(ids))
    rows = (await connection.execute(query)).all()
    return {row.monitor_id: wire.names_of(row.facts) for row in rows}


def _change(result: LeaseResult, names_before: Mapping[int, frozenset[str]]) -> Change:
    lease, leaf = result.lease, result.scan.leaf
    now = frozenset(leaf.alt_names) if leaf else frozenset()
    before = names_before.get(lease.id, now) if leaf else now
    return Change(lease.account, lease.id, result.scan.at, names=(now - before, before - now))


async def _end_waits(
    results: list[LeaseResult], rows: Mapping[int, RowMapping], connection: AsyncConnection
) -> Awaited:
    """Stop waiting for certificates where a scan ended the wait."""
    waiting = [each for each in results if rows[each.lease.id]["expected"] is not None]
    over = [each.lease.id for each in waiting if ends(rows[each.lease.id], each.scan)]
    if over:
        await connection.execute(
            update(monitors)
            .where(monitors.c.id.in_(over))
            .values(expected=None, expected_at=None, expected_until=None)
        )
    ids = [each.lease.id for each in waiting]
    return {id_: None if id_ in over else rows[id_]["expected_at"] for id_ in ids}


async def _update_each(connection: AsyncConnection, rows: list[dict[str, Any]]) -> None:
    if rows:
        await connection.execute(update(monitors).where(monitors.c.id == bindparam("of_id")), rows)


async def _add_history(connection: AsyncConnection, changes: list[dict[str, Any]]) -> None:
    """Add history rows, and delete the oldest of these monitors beyond the limit."""
    if not changes:
        return
    await connection.execute(insert(monitor_history), changes)
    own = monitor_history.c.monitor_id
    full = (
        select(own)
        .where(own.in_([change["monitor_id"] for change in changes]))
        .group_by(own)
        .having(func.count() > _HISTORY_ROWS)
    )
    for id_ in (await connection.scalars(full)).all():
        kept = (
            select(monitor_history.c.id)
            .where(own == id_)
            .order_by(monitor_history.c.id.desc())
            .limit(_HISTORY_ROWS)
        )
        surplus = (own == id_) & monitor_history.c.id.not_in(kept)
        await connection.execute(delete(monitor_history).where(surplus))
