"""What two processes ask of one database at the same moment, once for each kind of database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from bot.blocks import Address
from bot.store import scans
from bot.store.database import Database
from bot.store.placeholders import Placeholder, Placeholders
from bot.store.rechecks import RecheckStore
from bot.store.scans import RunningScans
from bot.target import Target

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest_asyncio.fixture
async def databases(any_url: str) -> AsyncIterator[list[Database]]:
    both = [Database(any_url) for _ in range(2)]
    yield both
    for database in both:
        await database.close()


async def test_of_two_watches_begun_at_once_one_runs(databases: list[Database]) -> None:
    async def reserve(database: Database) -> tuple[int, bool]:
        end = NOW + timedelta(minutes=30)
        watch, is_new = await RecheckStore(database).reserve(
            7, Target("a.example.com"), "U0ANN", now=NOW, ends_at=end, most=10
        )
        assert watch
        return watch.id, is_new

    for database in databases:  # connected
        await RecheckStore(database).running()
    made = await asyncio.gather(*map(reserve, databases))
    assert sorted(is_new for _, is_new in made) == [False, True]
    assert len({number for number, _ in made}) == 1


@pytest.mark.slow
async def test_a_scan_is_joined_until_it_has_ended_and_repeated_if_it_has_failed(
    databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = map(RunningScans, databases)
    monkeypatch.setattr(scans, "LOOK_SECONDS", 0.01)
    order = list[str]()

    async def press() -> None:
        async with second.turn(7) as joined:
            order.append("joined" if joined else "scanned")

    async with first.turn(7) as joined:
        assert not joined
        async with second.turn(8) as other:
            assert not other
        waiting = asyncio.create_task(press())
        await asyncio.sleep(0.1)
        order.append("ended")
    await waiting

    failing = first.turn(7)
    await failing.__aenter__()
    waiting = asyncio.create_task(press())
    await asyncio.sleep(0.1)
    order.append("failed")
    fault = ValueError("no answer")
    assert not await failing.__aexit__(ValueError, fault, None)
    await waiting
    assert order == ["ended", "joined", "failed", "scanned"]
    monkeypatch.setattr(scans, "SILENT", -1)  # its process is gone
    async with first.turn(7):
        await press()
    assert order[4:] == ["scanned"]


async def test_of_two_processes_one_edits_what_a_third_one_has_left(
    databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.placeholders.LEASE_SECONDS", 1e-9)
    place = Address("C0CERTS", "1.5")
    busy = Placeholder("busy:1", place, "C0CERTS", "U0ANN", NOW, "Scanning…", changes=False)
    dead, *others = map(Placeholders, [databases[0], *databases])
    record = dead.record()
    record.put(busy)
    record.close(answered=False)
    await dead.close()
    assert [await each.left() for each in others] == [[], []]
    claimed = await asyncio.gather(*(each.left() for each in others))
    assert sorted(map(len, claimed)) == [0, 1]
    assert [each for found in claimed for each in found] == [busy]
    for each in others:
        await each.forget(busy)
        assert await each.left() == []
