"""Stores results in batches: those that arrive during a transaction share the next one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from bot.store.database import is_database_fault

if TYPE_CHECKING:  # only for type checking
    from bot.embedded.leases import LeaseResult

_LOG = logging.getLogger(__name__)
_BATCH = 200  # results in one transaction
_LINGER = 0.4  # seconds that a result waits for others; the sweep needs leases meanwhile
_RETRY = 1.0  # seconds before an unavailable database is tried again
_LINGER_AT_CLOSE = 0.02  # the same during shutdown: other processes want to write too
_Entry = tuple["LeaseResult", asyncio.Future[None]]


class Writer:
    """Stores results in batches; a transaction costs 2 ms, whatever its size.

    A result of a scan on demand is stored at once, together with all that wait, and so is the
    `last` one, which no other scan follows. While the database can't be used, the others are kept
    until it can, or until `close`.
    """

    def __init__(
        self,
        save: Callable[[Sequence[LeaseResult]], Awaitable[None]],
        last: Callable[[], bool] = lambda: False,
    ) -> None:
        self._save = save
        self._last = last
        self._queue: list[_Entry] = []
        self.backlog = 0
        """How many results are not stored yet."""
        self._task: asyncio.Task[None] | None = None
        self._linger = _LINGER
        self._flush = asyncio.Event()
        self._closing = asyncio.Event()

    async def put(self, result: LeaseResult) -> None:
        """Store a result: returns once it is stored, or raises what storing it raised."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((result, stored))
        if result.on_demand or len(self._queue) >= _BATCH or self._last():
            self._flush.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        self.backlog += 1
        try:
            await stored
        finally:
            self.backlog -= 1

    async def _drain(self) -> None:
        while self._queue:
            self._flush.clear()
            if not self._is_urgent():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._flush.wait(), self._linger)
            batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
            try:
                await self._save([result for result, _ in batch])
            except Exception as fault:  # noqa: BLE001 - whoever put the results gets it
                if not is_database_fault(fault):
                    await self._save_one_by_one(batch, fault)
                elif self._closing.is_set():  # each try may take as long as the first
                    _settle(batch, fault)
                else:
                    _LOG.warning("Could not store results of scans: %s", fault)
                    await self._wait_for_database(batch, fault)
            else:
                _settle(batch)

    async def _wait_for_database(self, batch: list[_Entry], fault: Exception) -> None:
        """Keep the results until the database is back; fail those that a caller waits for."""
        _settle([entry for entry in batch if entry[0].on_demand], fault)
        self._queue = [entry for entry in batch if not entry[0].on_demand] + self._queue
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), _RETRY)

    def _is_urgent(self) -> bool:
        is_full = len(self._queue) >= _BATCH
        return is_full or self._last() or any(result.on_demand for result, _ in self._queue)

    async def _save_one_by_one(self, batch: list[_Entry], fault: Exception) -> None:
        """Retry a failed batch, so that one bad result spoils no other."""
        if len(batch) == 1:
            _settle(batch, fault)
            return
        for entry in batch:
            try:
                await self._save([entry[0]])
            except Exception as own:  # noqa: BLE001 - the same
                _settle([entry], own)
            else:
                _settle([entry])

    def flush_now(self) -> None:
        """Store what waits, and from now on let results wait only briefly."""
        self._linger = _LINGER_AT_CLOSE
        self._closing.set()
        self._flush.set()

    async def close(self) -> None:
        """Wait until everything is stored."""
        self.flush_now()
        if self._task is not None:
            await self._task


def _settle(batch: list[_Entry], fault: Exception | None = None) -> None:
    for _, stored in batch:
        if stored.done():  # its caller was cancelled
            continue
        if fault is None:
            stored.set_result(None)
        else:
            stored.set_exception(fault)
