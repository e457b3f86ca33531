"""Results on their way to the database: what comes while one transaction runs shares the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from bot.embedded.leases import LeaseResult

_MOST = 200  # results in one transaction
_LINGER = 0.2  # seconds that results wait for more to share their transaction
_HASTE = 0.02  # those that they wait when the server ends: others want to write too
_Waiting = tuple[LeaseResult, asyncio.Future[None]]


class Writer:
    """Stores results in batches; a transaction costs 2 ms, whatever it holds.

    What somebody waits for (`on_demand`) is stored at once, and all that waits with it.
    """

    def __init__(self, save: Callable[[Sequence[LeaseResult]], Awaitable[None]]) -> None:
        self._save = save
        self._waiting: list[_Waiting] = []
        self.backlog = 0
        """How many results are not stored yet."""
        self._task: asyncio.Task[None] | None = None
        self._linger = _LINGER
        self._hurry = asyncio.Event()

    async def put(self, result: LeaseResult) -> None:
        """Store a result; returns when it is stored, and raises what storing it raised."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((result, done))
        if result.on_demand or len(self._waiting) >= _MOST:
            self._hurry.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        self.backlog += 1
        try:
            await done
        finally:
            self.backlog -= 1

    async def _drain(self) -> None:
        while self._waiting:
            self._hurry.clear()
            if not self._is_urgent():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), self._linger)
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            try:
                await self._save([result for result, _ in batch])
            except Exception as fault:  # noqa: BLE001 - it is raised where the results come from
                await self._one_by_one(batch, fault)
            else:
                _settle(batch)

    def _is_urgent(self) -> bool:
        full = len(self._waiting) >= _MOST
        return full or any(result.on_demand for result, _ in self._waiting)

    async def _one_by_one(self, batch: list[_Waiting], fault: Exception) -> None:
        """Let one result that can't be stored spoil no other."""
        if len(batch) == 1:
            _settle(batch, fault)
            return
        for each in batch:
            try:
                await self._save([each[0]])
            except Exception as own:  # noqa: BLE001 - the same
                _settle([each], own)
            else:
                _settle([each])

    def flush_now(self) -> None:
        """Let nothing wait long for company from now on."""
        self._linger = _HASTE
        self._hurry.set()

    async def close(self) -> None:
        """Wait until all that was put is stored."""
        self.flush_now()
        if self._task is not None:
            await self._task


def _settle(batch: list[_Waiting], fault: Exception | None = None) -> None:
    for _, done in batch:
        if done.done():  # who put it has gone away
            continue
        if fault is None:
            done.set_result(None)
        else:
            done.set_exception(fault)
