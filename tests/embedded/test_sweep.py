from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from bot.database import Database, monitors
from bot.embedded.monitors import next_scan
from bot.embedded.scan import Scanner
from bot.target import Target

from . import fleet as fleets
from .fleet import DAY, HOUR, NOW, Fleet, Leaf
from .serving import Served, serving

INTERVAL = timedelta(hours=12)


@pytest_asyncio.fixture
async def served(fleet: Fleet, database: Database) -> AsyncIterator[Served]:
    async with serving(fleet, database) as served:
        yield served


async def watch(database: Database, host: str, port: int, due: timedelta) -> None:
    row = {"host": host, "port": port, "created_at": NOW - DAY, "next_scan_at": NOW + due}
    async with database.write() as connection:
        await connection.execute(insert(monitors), [row])


@given(st.text("abc.", min_size=1), st.integers(1, 65535), st.integers(0, 10**6))
def test_each_target_has_its_own_steady_moment_in_each_interval(
    host: str, port: int, seconds: int
) -> None:
    target, now = Target(host, port), NOW + timedelta(seconds=seconds)
    turn = next_scan(target, now, INTERVAL)
    assert now < turn <= now + INTERVAL + timedelta(seconds=1)
    again = next_scan(target, turn, INTERVAL)
    assert abs((again - turn).total_seconds() % INTERVAL.total_seconds()) < 1e-3 or (
        again - turn
    ) == pytest.approx(INTERVAL, abs=timedelta(milliseconds=1))


def test_the_moments_of_many_targets_are_spread_over_the_interval() -> None:
    turns = [next_scan(Target(f"h{n}.test"), NOW, INTERVAL) - NOW for n in range(1200)]
    hours = [sum(1 for t in turns if HOUR * h <= t < HOUR * (h + 1)) for h in range(12)]
    assert all(50 < hour < 150 for hour in hours)


async def test_what_is_due_is_rescanned_when_the_server_starts(
    fleet: Fleet, database: Database
) -> None:
    came = asyncio.Event()
    answer = fleets.web_server()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        came.set()

    async with fleets.serve(note, context=fleet.context(fleet.file(Leaf()))) as port:
        await watch(database, "fleet.test", port, -HOUR)
        async with serving(fleet, database) as served:
            await came.wait()
            await served.call("monitor/scan", id="1")  # joins the scan, which is stored at its end
            row = (await served.call("monitor/list")).body["list"][0]
    assert (row["ssl_message"], row["scan_date"]) == ("Valid", "2027-01-15 12:00")


async def test_only_what_is_due_is_rescanned_and_then_not_before_its_next_turn(
    fleet: Fleet, served: Served, database: Database
) -> None:
    await watch(database, "elsewhere.test", 443, HOUR)
    await watch(database, "elsewhere.test", 444, 3 * HOUR)
    assert not await served.api.sweep.once()
    served.now += 2 * HOUR
    assert await served.api.sweep.once()
    rows = (await served.call("monitor/list")).body["list"]
    assert [row["scan_date"] for row in rows] == ["2027-01-15 14:00", None]
    async with database.read() as connection:
        turn = await connection.scalar(
            select(monitors.c.next_scan_at).where(monitors.c.port == 443)
        )
    assert turn is not None
    assert served.now < turn <= served.now + INTERVAL


async def test_more_monitors_than_slots_are_all_rescanned(
    served: Served, database: Database
) -> None:
    for port in range(1, 21):
        await watch(database, "elsewhere.test", port, HOUR)
    served.now += 2 * HOUR
    while await served.api.sweep.once():
        pass
    rows = (await served.call("monitor/list")).body["list"]
    assert {row["scan_date"] for row in rows} == {"2027-01-15 14:00"}


async def test_a_scan_that_breaks_is_logged_and_left_for_its_next_turn(
    served: Served,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scan = Scanner.scan

    async def break_on_one(self: Scanner, target: Target, now: object) -> object:
        if target.port == 1:
            raise RuntimeError("unforeseen")
        return await scan(self, target, served.now)

    monkeypatch.setattr(Scanner, "scan", break_on_one)
    for port in (1, 2):
        await watch(database, "elsewhere.test", port, HOUR)
    served.now += 2 * HOUR
    assert await served.api.sweep.once()
    assert not await served.api.sweep.once()
    assert "elsewhere.test:1" in caplog.text
    rows = (await served.call("monitor/list")).body["list"]
    assert [row["scan_date"] for row in rows] == [None, "2027-01-15 14:00"]


async def test_closing_breaks_off_a_scan_under_way_and_leaves_no_task(
    fleet: Fleet, database: Database
) -> None:
    came = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()

    before = asyncio.all_tasks()
    async with fleets.serve(hold) as port:
        await watch(database, "fleet.test", port, -HOUR)
        async with serving(fleet, database, deadline=60):
            await came.wait()
    assert asyncio.all_tasks() <= before


async def test_a_host_whose_asker_hung_up_is_not_stored_once_the_server_has_ended(
    fleet: Fleet, database: Database
) -> None:
    came = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()

    before = asyncio.all_tasks()
    async with fleets.serve(hold) as port, serving(fleet, database, deadline=60) as served:
        asking = asyncio.create_task(served.call("monitor/add", host="fleet.test", port=str(port)))
        await came.wait()
        asking.cancel()
        await asyncio.wait({asking})
    assert asyncio.all_tasks() <= before
    async with database.read() as connection:
        assert (await connection.execute(select(monitors))).all() == []
