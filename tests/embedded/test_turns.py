"""The rate limit of an account, shared by all processes, on both databases."""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import event

from bot.embedded import Accounts
from bot.embedded.turns import RateLimit
from bot.store.database import Database

from .fleet import NOW

SECOND = timedelta(seconds=1)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def take(limit: RateLimit, count: int, account: int = 1) -> list[int]:
    return [await limit.take(account) for _ in range(count)]


async def test_a_full_minute_may_be_used_at_once(any_database: Database, clock: Clock) -> None:
    limit = RateLimit(any_database, 3, clock)
    assert await take(limit, 5) == [0, 0, 0, 20, 20]
    clock.now += 19 * SECOND
    assert await take(limit, 1) == [1]
    clock.now += SECOND
    assert await take(limit, 2) == [0, 20]
    clock.now += 300 * SECOND
    assert await take(limit, 4) == [0, 0, 0, 20]


async def test_an_odd_rate_is_exact_over_time(any_database: Database, clock: Clock) -> None:
    limit = RateLimit(any_database, 7, clock)
    assert await take(limit, 8) == [0] * 7 + [9]
    uses = 0
    for _ in range(60):
        clock.now += 3 * SECOND
        uses += await limit.take(1) == 0
    assert uses == 21


async def test_a_clock_wrong_once_locks_nobody_out(any_database: Database, clock: Clock) -> None:
    limit = RateLimit(any_database, 3, clock)
    clock.now += timedelta(days=365)
    assert await take(limit, 4) == [0, 0, 0, 20]
    clock.now -= timedelta(days=365)
    assert await take(limit, 4) == [0, 0, 0, 20]


async def test_two_processes_share_one_limit(any_url: str, clock: Clock) -> None:
    one, other = Database(any_url), Database(any_url)
    limits = [RateLimit(database, 4, clock) for database in (one, other)]
    waits = [await limit.take(1) for limit in limits * 3]
    await one.close()
    await other.close()
    assert waits == [0, 0, 0, 0, 15, 15]


async def test_concurrent_requests_stay_within_the_limit(any_url: str, clock: Clock) -> None:
    databases = [Database(any_url) for _ in range(3)]
    limits = [RateLimit(database, 10, clock) for database in databases]
    waits = await asyncio.gather(*(limit.take(1) for limit in limits for _ in range(10)))
    for database in databases:
        await database.close()
    assert sorted(waits) == [0] * 10 + [6] * 20


async def test_each_account_has_its_own_rate_limit(any_database: Database, clock: Clock) -> None:
    ann, _ = await Accounts(any_database).add("Ann", None, NOW)
    limit = RateLimit(any_database, 1, clock)
    assert await take(limit, 2) == [0, 60]
    assert await take(limit, 2, ann) == [0, 60]


async def test_no_limit_means_no_query(any_database: Database, clock: Clock) -> None:
    queries: list[str] = []
    event.listen(
        any_database.engine.sync_engine,
        "before_cursor_execute",
        lambda *call: queries.append(call[2]),
    )
    assert await take(RateLimit(any_database, 0, clock), 1000) == [0] * 1000
    assert not queries
    assert await take(RateLimit(any_database, 1, clock), 1) == [0]
    assert queries
