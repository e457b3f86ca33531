"""`python -m bot embedded` in processes that share a database, and that die."""

import asyncio
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from bot.app.outside import clock
from bot.embedded import EmbeddedAPI, EmbeddedSettings
from bot.embedded.leases import LEASE, Leases, LeaseStatus
from bot.store.database import Database
from bot.store.tables import monitors
from bot.store.upgrade import upgrade
from tests import processes
from tests.postgres import standby_of

from . import fleet as fleets

WORKER_KEY = "a-key-of-all-workers"
pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)
LIMIT = 30.0  # seconds after which a test fails
POLL = 0.1  # seconds between two queries for what other processes have stored


@asynccontextmanager
async def process(url: str) -> AsyncIterator[processes.Process]:
    """A worker on a database, killed at the end if it is still running."""
    settings = {"EMBEDDED_API_KEY": WORKER_KEY, "DATABASE_URL": url, "SCAN_ALLOW": "127.0.0.1"}
    async with processes.forked("embedded", "--port", "0", **settings) as worker:
        await processes.log_until(worker, "answers at")  # from here on it handles SIGTERM
        yield worker


@dataclass
class Hosts:
    """Hosts without TLS; those beyond `quick` answer only when the test sets `go`."""

    quick: int
    visits: Counter[int] = field(default_factory=Counter)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    ports: list[int] = field(default_factory=list)

    def talk(self, number: int) -> fleets.Talk:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.visits[number] += 1
            if number >= self.quick:
                self.waiting.set()
                await self.go.wait()
            writer.write(b"220 no TLS here\r\n")
            await (
                reader.read()
            )  # until the visitor closes: an unread byte would turn the close into a reset

        return answer


@asynccontextmanager
async def hosts(count: int, quick: int, database: Database) -> AsyncIterator[Hosts]:
    """Serve that many hosts, with a monitor for each, due in this order."""
    fleet = Hosts(quick)
    async with AsyncExitStack() as stack:
        for number in range(count):
            serving = fleets.serve(fleet.talk(number))
            fleet.ports.append(await stack.enter_async_context(serving))
        now = clock()
        rows = [
            {
                "host": "127.0.0.1",
                "port": port,
                "created_at": now,
                "next_scan_at": now - HOUR + timedelta(seconds=number),
            }
            for number, port in enumerate(fleet.ports)
        ]
        async with database.write() as connection:
            await connection.execute(insert(monitors), rows)
        try:
            yield fleet
        finally:
            fleet.go.set()


async def stored(database: Database) -> dict[int, object]:
    async with database.read() as connection:
        query = select(monitors.c.id, monitors.c.scanned_at).where(
            monitors.c.scanned_at.is_not(None)
        )
        return {row.id: row.scanned_at for row in await connection.execute(query)}


async def when_stored(count: int, database: Database) -> dict[int, object]:
    """The stored scans once there are `count`; the test's time limit bounds the wait."""
    while len(scans := await stored(database)) < count:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(POLL)  # only the database knows what other processes have stored
    return scans


async def test_a_killed_worker_loses_nothing_and_is_replaced_within_a_lease(
    any_url: str, any_database: Database
) -> None:
    async with asyncio.timeout(LIMIT), hosts(40, 20, any_database) as fleet:
        async with process(any_url) as worker:
            before = await when_stored(20, any_database)
            await fleet.waiting.wait()
            worker.send_signal(signal.SIGKILL)
            await worker.wait()
        assert await stored(any_database) == before
        fleet.go.set()
        later = clock() + LEASE
        settings = EmbeddedSettings(WORKER_KEY, scan_allow="127.0.0.1")
        api = EmbeddedAPI(settings, any_database, clock=lambda: later)
        while await api.sweep.once():
            pass
        await api.close()
        assert len(await stored(any_database)) == 40


async def test_two_workers_share_a_sweep_and_scan_nothing_twice(
    any_url: str, any_database: Database
) -> None:
    async with asyncio.timeout(LIMIT), hosts(60, 60, any_database) as fleet:
        async with AsyncExitStack() as stack:
            starts = (stack.enter_async_context(process(any_url)) for _ in range(2))
            workers = await asyncio.gather(*starts)
            await when_stored(60, any_database)
            for worker in workers:
                worker.send_signal(signal.SIGTERM)
                assert await worker.wait() == 0
        assert set(fleet.visits.values()) == {1}
        async with any_database.read() as connection:
            leases = await connection.scalars(select(monitors.c.lease))
            assert set(leases) == {None}


async def test_scans_that_end_without_a_primary_are_stored_on_the_promoted_standby() -> None:
    async with standby_of() as pair, asyncio.timeout(2 * LIMIT):
        await upgrade(pair.url)
        database = Database(pair.url)
        async with hosts(40, 20, database) as fleet, process(pair.url):
            before = await when_stored(20, database)
            await fleet.waiting.wait()
            await asyncio.to_thread(pair.lose_primary)
            fleet.go.set()
            await asyncio.sleep(1)  # the scans end while nothing can be stored
            await asyncio.to_thread(pair.promote)
            after = await when_stored(40, database)
        assert before.items() <= after.items()
        assert set(fleet.visits.values()) == {1}
        await database.close()


async def test_a_scan_on_demand_waits_for_another_process(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'embedded.sqlite3')}"
    database = Database(url)
    status, polled = Leases.status, asyncio.Event()

    async def note(self: Leases, id_: int, now: datetime) -> LeaseStatus | None:
        result = await status(self, id_, now)
        polled.set()
        return result

    monkeypatch.setattr(Leases, "status", note)
    async with asyncio.timeout(LIMIT), hosts(1, 0, database) as fleet:
        async with process(url):
            await fleet.waiting.wait()
            settings = EmbeddedSettings(WORKER_KEY, scan_allow="127.0.0.1")
            api = EmbeddedAPI(settings, database, clock=clock)
            request = asyncio.create_task(api.rescans.scan(1))
            assert not await api.sweep.once()
            await polled.wait()  # from here on it waits for the other process
            fleet.go.set()
            await request
            await api.close()
        assert fleet.visits == {0: 1}
        assert len(await stored(database)) == 1
    await database.close()
