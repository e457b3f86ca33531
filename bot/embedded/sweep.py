"""Rescans: on demand, and in the sweep, which scans every monitor once per interval."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from bot.embedded.job import Job, Vault
from bot.embedded.leases import LEASE, Lease, LeaseResult, Leases
from bot.embedded.metrics import Metrics
from bot.embedded.scan.certificate import KeyExchange
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner, ScannerClosed
from bot.embedded.turns import Turns
from bot.embedded.writer import Writer

_LOG = logging.getLogger(__name__)
_Place = AbstractAsyncContextManager[None]  # held while a scan runs
_SWEEP_PER_ADDRESS = 3  # concurrent scans of the sweep at one address
_ON_DEMAND_PER_ADDRESS = 2  # scans on demand in addition to those, so that nobody waits for long
_CONCURRENCY = 50  # concurrent scans of the sweep
_MAX_LEASES = 200  # leases being scanned or waiting for it
_MAX_BACKLOG = 200  # results that may wait for the database while further scans start
_BATCH = 100  # leases taken at once
_POLL = 5.0  # seconds between two queries for monitors that are due
_RENEW = LEASE.total_seconds() / 3
_STATUS_POLL = 0.2  # seconds between two queries for a scan that another process is running

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]


class Rescans:
    """Scans monitors and stores the results, at most one scan of each at a time."""

    def __init__(
        self,
        scanner: Scanner,
        leases: Leases,
        metrics: Metrics,
        clock: Callable[[], datetime],
        vault: Vault | None = None,
    ) -> None:
        self._scanner = scanner
        self._leases = leases
        self._metrics = metrics
        self._clock = clock
        self._vault = vault
        self._writer = Writer(leases.save, lambda: not (self._running or self._queue))
        self._sweep_turns = Turns(_SWEEP_PER_ADDRESS)
        self._on_demand_turns = Turns(_ON_DEMAND_PER_ADDRESS)
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._scans: dict[int, asyncio.Task[bool]] = {}
        self._queue: dict[int, Lease] = {}  # started by the sweep, but waiting for a turn
        self.leased: set[int] = set()
        """The IDs of the monitors that this process has leased."""
        self._running = 0
        metrics.leased.set_function(lambda: len(self.leased))
        metrics.running.set_function(lambda: self._running)

    async def scan(self, id_: int) -> None:
        """Scan a monitor now and store the result, or join a scan of it, in any process.

        Does nothing if the monitor was deleted. Raises ScannerClosed if the server shuts down
        before the scan ends.
        """
        await self._join(self._requests, id_, lambda: self._scan_on_demand(id_))

    async def check(self, job: Job, known: KeyExchange | None = None) -> Scan:
        """Scan something without storing the result, taking a turn at its host.

        `known` is as in `Scanner.scan`. Raises ScannerClosed if the server shuts down before the
        scan ends.
        """
        async with self._on_demand_turns.at(job.target.host):
            return await self._run(job, known)

    def start(self, lease: Lease, slots: asyncio.Semaphore) -> asyncio.Task[bool]:
        """Scan a leased monitor, once it has a turn at its address and one of `slots`, and store.

        The task raises what the scan or the database raised, and ScannerClosed at shutdown. It is
        cancelled if a scan of the monitor on demand takes over before it has its turn.
        """
        self._queue[lease.id] = lease
        turn = self._sweep_turns.at(lease.address)
        return _start_once(self._scans, lease.id, lambda: self._scan(lease, turn, slots))

    async def _join(self, tasks: dict[int, asyncio.Task[T]], id_: int, work: Work[T]) -> T:
        if self._scanner.closed:
            raise ScannerClosed
        # One caller may be cancelled while others still want the result.
        return await asyncio.shield(_start_once(tasks, id_, work))

    async def _scan_on_demand(self, id_: int) -> None:
        while (lease := await self._acquire(id_)) is None:
            if await self._await_other(id_):
                return
        self.leased.add(lease.id)
        turn = self._on_demand_turns.at(lease.address)
        await self._join(self._scans, id_, lambda: self._scan(lease, turn, nullcontext()))

    async def _acquire(self, id_: int) -> Lease | None:
        """Lease a monitor, or take over its lease from the queue, where its turn may be far off."""
        lease, waiting = self._queue.pop(id_, None), self._scans.get(id_)
        if lease is not None and waiting is not None:
            waiting.cancel()
            await asyncio.wait({waiting})
            return lease
        return await self._leases.lease_one(id_, self._clock())

    async def _await_other(self, id_: int) -> bool:
        """Wait for whoever scans the monitor; true if a result was stored or it was deleted.

        False if it is in the queue here, its lease ran out, or the result was unconfirmed: then
        this caller scans it.
        """
        first = status = await self._leases.status(id_, self._clock())
        while status is not None and status.active:
            if id_ in self._queue:
                return False
            if scan := self._scans.get(id_):
                return await asyncio.shield(scan)
            if self._scanner.closed:
                raise ScannerClosed
            await asyncio.sleep(_STATUS_POLL)
            status = await self._leases.status(id_, self._clock())
        return first is None or status is None or status.scanned_at != first.scanned_at

    async def _scan(self, lease: Lease, turn: _Place, slot: _Place) -> bool:
        """Scan and store; false if the result is unconfirmed."""
        self.leased.add(lease.id)
        try:
            async with turn, slot:
                self._queue.pop(lease.id, None)
                scan = await self._run(lease.job.open(self._vault), lease.key_exchange)
            result = LeaseResult(lease, scan, on_demand=lease.id in self._requests)
            await self._writer.put(result)
        except ScannerClosed:
            raise  # the lease is kept until `release`
        except Exception:
            self.leased.discard(lease.id)
            await self._leases.postpone(lease, self._clock())
            raise
        self.leased.discard(lease.id)
        return not result.unconfirmed

    async def _run(self, job: Job, known: KeyExchange | None) -> Scan:
        self._running += 1
        began = time.perf_counter()
        try:
            scan = await self._scanner.scan(
                job.target, self._clock(), protocol=job.protocol, proxy=job.proxy, known=known
            )
        finally:
            self._running -= 1
            self._metrics.scan_seconds.observe(time.perf_counter() - began)
        self._metrics.scans.labels(scan.verdict.value).inc()
        return scan

    @property
    def backlog(self) -> int:
        """How many results wait for the database."""
        return self._writer.backlog

    def congested(self) -> list[str]:
        """The addresses where scans wait for a turn."""
        return [*self._sweep_turns.congested(), *self._on_demand_turns.congested()]

    async def close(self) -> None:
        """Wait until the running scans are stored, or aborted by the scanner's close."""
        self._writer.flush_now()
        tasks = [*self._scans.values(), *self._requests.values()]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._writer.close()

    async def release(self) -> None:
        """End all leases, so that another worker or the next start can lease at once."""
        if self.leased:
            await self._leases.release(self.leased, self._clock())
            self.leased.clear()


def _start_once(tasks: dict[int, asyncio.Task[T]], id_: int, work: Work[T]) -> asyncio.Task[T]:
    """The running task with that ID, or a new one."""
    task = tasks.get(id_)
    if task is None:
        task = tasks[id_] = asyncio.create_task(work())
        task.add_done_callback(lambda _: tasks.pop(id_))
    return task


class Sweep:
    """Keeps the result of every monitor fresh; leases are renewed every `renewal` seconds."""

    def __init__(
        self,
        rescans: Rescans,
        leases: Leases,
        clock: Callable[[], datetime],
        *,
        renewal: float = _RENEW,
    ) -> None:
        self._rescans = rescans
        self._leases = leases
        self._clock = clock
        self._renewal = renewal
        self._slots = asyncio.Semaphore(_CONCURRENCY)
        self._scans: set[asyncio.Task[bool]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Start sweeping, in tasks of its own."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._keep_leases())]

    def stop(self) -> None:
        """Start nothing new; the running scans belong to `Rescans`."""
        self._stopping.set()
        self._changed.set()

    async def close(self) -> None:
        """Stop, wait until everything that was started has ended, and release the leases."""
        self.stop()
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*self._scans, return_exceptions=True)
        await self._attempt(self._rescans.release)

    async def once(self) -> bool:
        """Scan a batch of the longest overdue monitors; false if none was due."""
        count = await self._start_due()
        await asyncio.gather(*self._scans, return_exceptions=True)
        return count > 0

    async def _run(self) -> None:
        while not self._stopping.is_set():
            self._changed.clear()
            count = await self._attempt(self._start_due) if self._has_room() else None
            if count == _BATCH:
                continue  # there may be more
            # If scans are what holds up others, wait for one to end.
            busy = self._scans and (not self._has_room() or self._rescans.congested())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), None if busy else _POLL)

    def _has_room(self) -> bool:
        scans = len(self._scans) - min(self._rescans.backlog, _MAX_BACKLOG)
        return scans <= _MAX_LEASES - _BATCH

    async def _keep_leases(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._renewal)
            await self._attempt(self.renew)

    async def renew(self) -> None:
        """Extend all leases of this process."""
        if self._rescans.leased:
            await self._leases.renew(self._rescans.leased, self._clock())

    async def _start_due(self) -> int:
        """Lease the longest overdue monitors and start their scans; returns how many."""
        avoid = self._rescans.congested()
        leases = await self._leases.lease_due(self._clock(), _BATCH, avoid=avoid)
        self._rescans.leased.update(lease.id for lease in leases)
        for lease in leases:
            task = self._rescans.start(lease, self._slots)
            self._scans.add(task)
            task.add_done_callback(partial(self._finish, lease))
        return len(leases)

    def _finish(self, lease: Lease, task: asyncio.Task[bool]) -> None:
        """Log a failed scan and go on; `close` releases the lease of an aborted one."""
        self._scans.discard(task)
        self._changed.set()
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, ScannerClosed):
            what = "Rescan failed for monitor %d (%s)"
            _LOG.error(what, lease.id, lease.job.target, exc_info=fault)

    async def _attempt(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do something with the database; an outage is logged, and the sweep goes on."""
        try:
            return await work()
        except (SQLAlchemyError, OSError):
            _LOG.exception("Sweep failed; retrying shortly")
            return None
