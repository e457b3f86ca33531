"""Rescans: on demand, and of every monitor once in each interval."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from bot.embedded.monitors import Monitors
from bot.embedded.scan import Scanner, ScannerClosed
from bot.target import Target

_LOG = logging.getLogger(__name__)
_AT_ONCE = 8  # scans of the sweep that run at the same time
_LOOK = 30.0  # seconds between two looks for monitors that are due


class Rescans:
    """Scans monitors that exist and stores what was found; at most one scan of each at a time."""

    def __init__(self, scanner: Scanner, monitors: Monitors, clock: Callable[[], datetime]) -> None:
        self._scanner = scanner
        self._monitors = monitors
        self._clock = clock
        self._running: dict[int, asyncio.Task[None]] = {}

    async def scan(self, id_: int, target: Target) -> None:
        """Scan and store; joins a scan of the same monitor that is under way.

        Raises ScannerClosed when this server ends before the scan does.
        """
        task = self._running.get(id_)
        if task is None:
            task = asyncio.create_task(self._scan(id_, target))
            self._running[id_] = task
            task.add_done_callback(lambda _: self._running.pop(id_))
        await asyncio.shield(task)  # the one who asks may go away, the others still want it

    async def _scan(self, id_: int, target: Target) -> None:
        await self._monitors.save(id_, target, await self._scanner.scan(target, self._clock()))

    async def close(self) -> None:
        """Wait until the scans under way are stored, or broken off by the scanner's end."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)


class Sweep:
    """Keeps every monitor's scan fresh, a few at a time."""

    def __init__(self, rescans: Rescans, monitors: Monitors, clock: Callable[[], datetime]) -> None:
        self._rescans = rescans
        self._monitors = monitors
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Begin, in a task of its own."""
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Begin nothing new; the scans under way belong to `Rescans`."""
        self._stopping.set()

    async def close(self) -> None:
        """Stop, and wait until the last round has ended."""
        self.stop()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = await self.once()
            except (SQLAlchemyError, OSError):  # a database that is away for a while ends no sweep
                _LOG.exception("The sweep could not go on; it tries again soon.")
                busy = False
            if not busy:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _LOOK)

    async def once(self) -> bool:
        """Scan the monitors that are most overdue; false when none was due."""
        due = await self._monitors.due(self._clock(), _AT_ONCE)
        results = await asyncio.gather(
            *(self._rescans.scan(id_, target) for id_, target in due), return_exceptions=True
        )
        for (id_, target), result in zip(due, results, strict=True):
            if isinstance(result, Exception) and not isinstance(result, ScannerClosed):
                _LOG.error("Monitor %d (%s) could not be rescanned.", id_, target, exc_info=result)
                await self._monitors.postpone(id_, target, self._clock())
        return bool(due)
