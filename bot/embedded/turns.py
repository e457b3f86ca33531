"""Limits: connections to one address, scans on demand per account, wrong keys per address."""

import asyncio
import logging
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import case, select, update

from bot.store.database import Database
from bot.store.tables import accounts

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = 60_000_000  # microseconds
_LOG = logging.getLogger(__name__)
#: The most wrong keys from one address in a minute.
MOST_WRONG_KEYS = 30
_WINDOW = timedelta(minutes=1)
_MOST_ADDRESSES = 10_000


@dataclass(slots=True)
class _Queue:
    semaphore: asyncio.Semaphore
    length: int = field(default=0)


@dataclass(slots=True)
class _Turn(AbstractAsyncContextManager[None]):
    queues: dict[str, _Queue]
    address: str
    limit: int

    async def __aenter__(self) -> None:
        queue = self.queues.get(self.address)
        if queue is None:
            queue = self.queues[self.address] = _Queue(asyncio.Semaphore(self.limit))
        queue.length += 1
        try:
            await queue.semaphore.acquire()
        except BaseException:
            self._leave(queue)
            raise

    async def __aexit__(self, *_: object) -> None:
        queue = self.queues[self.address]
        queue.semaphore.release()
        self._leave(queue)

    def _leave(self, queue: _Queue) -> None:
        queue.length -= 1
        if not queue.length:
            del self.queues[self.address]


class Turns:
    """Lets at most `limit` scans run at each address; the others queue."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queues: dict[str, _Queue] = {}

    def at(self, address: str) -> _Turn:
        """Wait for a turn at an address, and keep it until the end of the block."""
        return _Turn(self._queues, address, self._limit)

    def congested(self) -> list[str]:
        """The addresses with a queue."""
        return [address for address, each in self._queues.items() if each.length > self._limit]


class RateLimit:
    """Lets each account do something `limit` times a minute; 0 means no limit.

    An idle account may use them all at once; they come back evenly. The count is kept in the
    database, so that it covers all processes.
    """

    def __init__(self, database: Database, limit: int, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._limit = limit
        self._clock = clock

    async def take(self, account: int) -> int:
        """Count one use: 0 if it is allowed, else the seconds until it is."""
        if not self._limit:
            return 0
        now = (self._clock() - _EPOCH) // timedelta(microseconds=1)
        one = _MINUTE // self._limit
        # Any other time is past, or was stored by a clock that ran far ahead: ignore it.
        stored = accounts.c.full_at
        full_at = case((stored.between(now, now + 2 * _MINUTE), stored), else_=now)
        own = accounts.c.id == account
        use = (
            update(accounts)
            .where(own, full_at + one <= now + _MINUTE)
            .values(full_at=full_at + one)
        )
        async with self._database.write() as connection:
            if (await connection.execute(use)).rowcount:
                return 0
            until = int((await connection.execute(select(full_at).where(own))).scalar_one())
        return max(1, math.ceil((until + one - now - _MINUTE) / 1_000_000))


class WrongKeys:
    """Counts wrong API keys by address, so that nobody can try them one after another."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, deque[datetime]] = OrderedDict()

    def wait(self, address: str) -> float:
        """How many seconds this address has to wait before its next key is looked at."""
        times = self._seen.get(address, deque[datetime]())
        while times and self._clock() - times[0] >= _WINDOW:
            times.popleft()
        if len(times) < MOST_WRONG_KEYS:
            return 0.0
        return (times[0] + _WINDOW - self._clock()).total_seconds()

    def count(self, address: str) -> None:
        """Count a wrong key, and log where it came from."""
        _LOG.warning("A wrong API key came from %s", address)
        self._seen.setdefault(address, deque()).append(self._clock())
        self._seen.move_to_end(address)
        if len(self._seen) > _MOST_ADDRESSES:
            self._seen.popitem(last=False)
