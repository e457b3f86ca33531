"""Rescans: on demand, and of every monitor once in each interval."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from bot.embedded.job import Job
from bot.embedded.leases import LEASE, Lease, LeaseResult, Leases
from bot.embedded.metrics import Metrics
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner, ScannerClosed
from bot.embedded.turns import Turns
from bot.embedded.vault import Vault
from bot.embedded.writer import Writer

_LOG = logging.getLogger(__name__)
_SWEPT = 3  # scans of the sweep that run at the same time at one address
_ASKED = 2  # those beside them that somebody asked for, and who waits should not wait long
_AT_ONCE = 50  # scans of the sweep that run at the same time
_HELD = 150  # leases that are being scanned or wait for it; _AT_ONCE of them have their turn
_UNSTORED = 200  # results that may wait for the database while others are scanned
_PICK = 50  # leases that are taken at once
_LOOK = 5.0  # seconds between two looks for monitors that are due
_RENEW = LEASE.total_seconds() / 3
_ASK_AGAIN = 0.2  # seconds between two looks at a scan that another process makes

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]


class Rescans:
    """Scans monitors that exist and stores what was found; at most one scan of each at a time."""

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
        self._writer = Writer(leases.save)
        self._swept_turns = Turns(_SWEPT)
        self._asked_turns = Turns(_ASKED)
        self._asked: dict[int, asyncio.Task[None]] = {}
        self._running: dict[int, asyncio.Task[bool]] = {}
        self._in_line: dict[int, Lease] = {}  # begun by the sweep, and waiting for their turn
        self.leased: set[int] = set()
        """The monitors that this process has leased."""
        metrics.leased.set_function(lambda: len(self.leased))

    async def scan(self, id_: int) -> None:
        """Scan and store, now; joins a scan of the same monitor that is under way, here or not.

        Does nothing for a monitor that is gone. Raises ScannerClosed when this server ends before
        the scan does.
        """
        await self._joined(self._asked, id_, lambda: self._on_demand(id_))

    async def check(self, job: Job) -> Scan:
        """Scan something that is no monitor yet, in its turn at its host; stores nothing.

        Raises ScannerClosed when this server ends before the scan does.
        """
        async with self._asked_turns.at(job.target.host):
            return await self._timed(job)

    def begin(self, lease: Lease, slots: asyncio.Semaphore) -> asyncio.Task[bool]:
        """Scan and store a leased monitor when it has its turn at its address, and one of `slots`.

        The task raises what the scan or the database raised, and ScannerClosed when this server
        ends; it is cancelled when somebody asks for the scan before it has its turn.
        """
        self._in_line[lease.id] = lease
        return _task(self._running, lease.id, lambda: self._scan(lease, self._line(lease, slots)))

    @asynccontextmanager
    async def _line(self, lease: Lease, slots: asyncio.Semaphore) -> AsyncIterator[None]:
        async with self._swept_turns.at(lease.address), slots:
            self._in_line.pop(lease.id, None)
            yield

    async def _joined(self, tasks: dict[int, asyncio.Task[T]], id_: int, work: Work[T]) -> T:
        if self._scanner.closed:
            raise ScannerClosed
        # The one who asks may go away, the others still want it.
        return await asyncio.shield(_task(tasks, id_, work))

    async def _on_demand(self, id_: int) -> None:
        while (lease := await self._taken(id_)) is None:
            if await self._made_elsewhere(id_):
                return
        self.leased.add(lease.id)
        turn = self._asked_turns.at(lease.address)
        await self._joined(self._running, id_, lambda: self._scan(lease, turn))

    async def _taken(self, id_: int) -> Lease | None:
        """The lease of a monitor, also when it waits for its turn here, which may be far off."""
        lease, waiting = self._in_line.pop(id_, None), self._running.get(id_)
        if lease is not None and waiting is not None:
            waiting.cancel()
            await asyncio.wait({waiting})
            return lease
        return await self._leases.lease_one(id_, self._clock())

    async def _made_elsewhere(self, id_: int) -> bool:
        """Wait for whoever has the monitor; true when that told something, or the monitor is gone.

        False when it waits in line here, its lease ran out, or it did not believe what it found:
        then it is our turn.
        """
        first = current = await self._leases.status(id_, self._clock())
        while current is not None and current.active:
            if id_ in self._in_line:
                return False
            if running := self._running.get(id_):
                return await asyncio.shield(running)
            if self._scanner.closed:
                raise ScannerClosed
            await asyncio.sleep(_ASK_AGAIN)
            current = await self._leases.status(id_, self._clock())
        return first is None or current is None or current.scanned_at != first.scanned_at

    async def _scan(self, lease: Lease, turn: AbstractAsyncContextManager[None]) -> bool:
        """Scan and store; false when what was found is not believed yet."""
        self.leased.add(lease.id)
        try:
            async with turn:
                found = await self._timed(lease.job.open(self._vault))
            result = LeaseResult(lease, found, on_demand=lease.id in self._asked)
            await self._writer.put(result)
        except ScannerClosed:
            raise  # the lease is held until `release`
        except Exception:
            self.leased.discard(lease.id)
            await self._leases.postpone(lease, self._clock())
            raise
        self.leased.discard(lease.id)
        return not result.unconfirmed

    async def _timed(self, job: Job) -> Scan:
        with self._metrics.running.track_inprogress(), self._metrics.scan_seconds.time():
            found = await self._scanner.scan(
                job.target, self._clock(), protocol=job.protocol, proxy=job.proxy
            )
        self._metrics.scans.labels(found.verdict.value).inc()
        return found

    @property
    def storing(self) -> int:
        """How many scans are done, and on their way to the database."""
        return self._writer.backlog

    def congested(self) -> list[str]:
        """The addresses that wait for their turn here."""
        return [*self._swept_turns.congested(), *self._asked_turns.congested()]

    async def close(self) -> None:
        """Wait until the scans under way are stored, or broken off by the scanner's end."""
        self._writer.flush_now()
        tasks = [*self._running.values(), *self._asked.values()]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._writer.close()

    async def release(self) -> None:
        """Let go of all leases: another worker, or the next start, takes them at once."""
        if self.leased:
            await self._leases.release(self.leased, self._clock())
            self.leased.clear()


def _task(tasks: dict[int, asyncio.Task[T]], id_: int, work: Work[T]) -> asyncio.Task[T]:
    """The task of that number: the one that runs, or a new one."""
    task = tasks.get(id_)
    if task is None:
        task = tasks[id_] = asyncio.create_task(work())
        task.add_done_callback(lambda _: tasks.pop(id_))
    return task


class Sweep:
    """Keeps every monitor's scan fresh, many at a time.

    `look` are the seconds between two looks for what is due, `renew` those between two renewals.
    """

    def __init__(
        self,
        rescans: Rescans,
        leases: Leases,
        clock: Callable[[], datetime],
        *,
        look: float = _LOOK,
        renew: float = _RENEW,
    ) -> None:
        self._rescans = rescans
        self._leases = leases
        self._clock = clock
        self._look = look
        self._renew = renew
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._scans: set[asyncio.Task[bool]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Begin, in tasks of its own."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._keep())]

    def stop(self) -> None:
        """Begin nothing new; the scans under way belong to `Rescans`."""
        self._stopping.set()
        self._changed.set()

    async def close(self) -> None:
        """Stop, wait until all that was begun has ended, and let go of what was leased."""
        self.stop()
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*self._scans, return_exceptions=True)
        await self._or_log(self._rescans.release)

    async def once(self) -> bool:
        """Scan the monitors that are most overdue; false when none was due."""
        count = await self._begin()
        await asyncio.gather(*self._scans, return_exceptions=True)
        return count > 0

    async def _run(self) -> None:
        while not self._stopping.is_set():
            self._changed.clear()
            count = await self._or_log(self._begin) if self._has_room() else None
            if count == _PICK:
                continue  # there may be more
            # Where scans are in the way of others, the next look is when one ends.
            busy = self._scans and (not self._has_room() or self._rescans.congested())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), None if busy else self._look)

    def _has_room(self) -> bool:
        scans = len(self._scans) - min(self._rescans.storing, _UNSTORED)
        return scans <= _HELD - _PICK

    async def _keep(self) -> None:
        """Hold the leases for as long as their scans wait and run."""
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._renew)
            await self._or_log(self.renew)

    async def renew(self) -> None:
        """Hold all leases of this process for longer."""
        if self._rescans.leased:
            await self._leases.renew(self._rescans.leased, self._clock())

    async def _begin(self) -> int:
        """Lease what is most overdue and start to scan it; how many."""
        leases = await self._leases.lease_due(self._clock(), _PICK, avoid=self._rescans.congested())
        self._rescans.leased.update(lease.id for lease in leases)
        for lease in leases:
            task = self._rescans.begin(lease, self._slots)
            self._scans.add(task)
            task.add_done_callback(partial(self._end, lease))
        return len(leases)

    def _end(self, lease: Lease, task: asyncio.Task[bool]) -> None:
        """One monitor's fault ends no sweep; the lease of a scan broken off, `close` gives back."""
        self._scans.discard(task)
        self._changed.set()
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, ScannerClosed):
            what = "Monitor %d (%s) could not be rescanned."
            _LOG.error(what, lease.id, lease.job.target, exc_info=fault)

    async def _or_log(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do something with the database; one that is away for a while ends no sweep."""
        try:
            return await work()
        except (SQLAlchemyError, OSError):
            _LOG.exception("The sweep could not go on; it tries again soon.")
            return None
