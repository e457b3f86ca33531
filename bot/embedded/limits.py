"""Politeness: few connections at once to one address, and few scans on demand for one key."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

AT_ONE_ADDRESS = 3


@dataclass(slots=True)
class _Queue:
    turn: asyncio.Semaphore
    length: int = field(default=0)


class Turns:
    """Lets at most `most` at once to each address; the others wait in line."""

    def __init__(self, most: int = AT_ONE_ADDRESS) -> None:
        self._most = most
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def at(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn at an address, and hold it."""
        queue = self._queues.setdefault(address, _Queue(asyncio.Semaphore(self._most)))
        queue.length += 1
        try:
            async with queue.turn:
                yield
        finally:
            queue.length -= 1
            if not queue.length:
                del self._queues[address]

    def crowded(self) -> list[str]:
        """The addresses where a line has formed: nobody should be sent there now."""
        return [address for address, each in self._queues.items() if each.length > self._most]


class RateLimit:
    """Lets each account do something `most` times a minute; 0 is no limit.

    An account that was idle may do all of them at once; then they come back evenly.
    """

    def __init__(self, most: int, clock: Callable[[], datetime]) -> None:
        self._most = most
        self._clock = clock
        self._full_at: dict[int, datetime] = {}

    def take(self, account: int) -> int:
        """Count one; 0 if it may be done, else the seconds until it may."""
        if not self._most:
            return 0
        now = self._clock()
        one = timedelta(minutes=1) / self._most
        full_at = max(now, self._full_at.get(account, now)) + one
        over = full_at - now - timedelta(minutes=1)
        if over > one / 2:  # only rounding is less
            return max(1, math.ceil(over.total_seconds()))
        self._full_at[account] = full_at
        return 0
