"""Politeness: few connections at once to one address, and few scans on demand for one key."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import case, select, update

from bot.store.database import Database
from bot.store.tables import accounts

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = 60_000_000  # microseconds


@dataclass(slots=True)
class _Queue:
    turn: asyncio.Semaphore
    length: int = field(default=0)


class Turns:
    """Lets at most `most` at once to each address; the others wait in line."""

    def __init__(self, most: int) -> None:
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

    def congested(self) -> list[str]:
        """The addresses where a line has formed: nobody should be sent there now."""
        return [address for address, each in self._queues.items() if each.length > self._most]


class RateLimit:
    """Lets each account do something `most` times a minute; 0 is no limit.

    An account that was idle may do all of them at once; then they come back evenly. The count is
    kept in the database, so that it is one for all processes that share it.
    """

    def __init__(self, database: Database, most: int, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._most = most
        self._clock = clock

    async def take(self, account: int) -> int:
        """Count one; 0 if it may be done, else the seconds until it may."""
        if not self._most:
            return 0
        now = (self._clock() - _EPOCH) // timedelta(microseconds=1)
        one = _MINUTE // self._most
        # Later than a minute from now it can't be, but by a clock that was wrong once.
        known = accounts.c.full_at
        full_at = case((known.between(now, now + 2 * _MINUTE), known), else_=now)
        mine = accounts.c.id == account
        counted = (
            update(accounts)
            .where(mine, full_at + one <= now + _MINUTE)
            .values(full_at=full_at + one)
        )
        async with self._database.write() as connection:
            if (await connection.execute(counted)).rowcount:
                return 0
            until = int((await connection.execute(select(full_at).where(mine))).scalar_one())
        return max(1, math.ceil((until + one - now - _MINUTE) / 1_000_000))
