"""Politeness: few connections at once to one address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

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
