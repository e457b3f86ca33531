"""Two servers on one database: scans on demand at one, of monitors that the other is scanning.

Both run in one process, each with its own engine and leases; `test_workers` has real processes.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

import pytest
import pytest_asyncio
from sqlalchemy import insert, select

from bot.embedded import EmbeddedAPI, EmbeddedSettings
from bot.embedded.leases import LEASE, Leases, LeaseStatus
from bot.embedded.scan.scanner import ScannerClosed
from bot.store.database import Database
from bot.store.tables import monitors

from . import fleet as fleets
from .fleet import DAY, HOUR, NOW, Fleet, Leaf

pytestmark = pytest.mark.slow


@dataclass
class Pair:
    """Two servers, `a` and `b`, with one clock; `polled` is set when one waits for the other."""

    databases: tuple[Database, Database]
    fleet: Fleet
    now: datetime = NOW
    polled: asyncio.Event = field(default_factory=asyncio.Event)
    a: EmbeddedAPI = field(init=False)
    b: EmbeddedAPI = field(init=False)

    def __post_init__(self) -> None:
        self.a, self.b = map(self._api, self.databases)

    def _api(self, database: Database) -> EmbeddedAPI:
        settings = EmbeddedSettings(
            "k",
            scan_allow="127.0.0.1",
            ca_file=self.fleet.ca_file,
            scan_deadline=60,
            hosts={"fleet.test": "127.0.0.1"},
        )
        return EmbeddedAPI(settings, database, clock=lambda: self.now)

    async def add(self, port: int, **values: object) -> None:
        row = {"host": "fleet.test", "port": port, "created_at": NOW, "next_scan_at": NOW + HOUR}
        async with self.databases[0].write() as connection:
            await connection.execute(insert(monitors).values(row | values))

    async def message(self) -> str | None:
        async with self.databases[0].read() as connection:
            return await connection.scalar(select(monitors.c.message))


@pytest_asyncio.fixture
async def pair(any_url: str, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    databases = Database(any_url), Database(any_url)
    pair = Pair(databases, fleet)
    status = Leases.status

    async def note(self: Leases, id_: int, now: datetime) -> LeaseStatus | None:
        result = await status(self, id_, now)
        pair.polled.set()
        return result

    monkeypatch.setattr(Leases, "status", note)
    yield pair
    for api in (pair.a, pair.b):
        await api.close()
    for database in databases:
        await database.close()


class GatedServer:
    """A web server that counts its visitors and answers when the test sets `go`."""

    def __init__(self, fleet: Fleet) -> None:
        self.visits = 0
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()
        self._answer = fleets.web_server()
        self._context = fleet.context(fleet.file(Leaf()))

    def serve(self) -> fleets.Serving:
        return fleets.serve(self._talk, context=self._context)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        self.arrived.set()
        await self.go.wait()
        await self._answer(reader, writer)


async def test_a_scan_requested_from_both_servers_runs_once(pair: Pair, fleet: Fleet) -> None:
    server = GatedServer(fleet)
    async with server.serve() as port:
        await pair.add(port)
        first = asyncio.create_task(pair.a.rescans.scan(1))
        await server.arrived.wait()
        second = asyncio.create_task(pair.b.rescans.scan(1))
        await pair.polled.wait()
        assert not second.done()
        server.go.set()
        await asyncio.gather(first, second)
    assert (server.visits, await pair.message()) == (1, "Valid")


async def test_a_scan_on_demand_waits_for_the_other_servers_sweep(pair: Pair, fleet: Fleet) -> None:
    server = GatedServer(fleet)
    async with server.serve() as port:
        await pair.add(port, next_scan_at=NOW)
        sweep = asyncio.create_task(pair.a.sweep.once())
        await server.arrived.wait()
        assert not await pair.b.sweep.once()
        request = asyncio.create_task(pair.b.rescans.scan(1))
        await pair.polled.wait()
        server.go.set()
        await asyncio.gather(sweep, request)
    assert (server.visits, await pair.message()) == (1, "Valid")


async def test_a_waiting_server_scans_when_a_dead_lease_ends(pair: Pair, fleet: Fleet) -> None:
    server = GatedServer(fleet)
    server.go.set()
    async with server.serve() as port:
        await pair.add(port)
        assert await Leases(pair.databases[0], DAY, "dead").lease_one(1, NOW)
        request = asyncio.create_task(pair.b.rescans.scan(1))
        await pair.polled.wait()
        assert (server.visits, request.done()) == (0, False)
        pair.now += LEASE
        await request
    assert (server.visits, await pair.message()) == (1, "Valid")


async def test_a_scan_on_demand_reports_the_others_unconfirmed_failure(pair: Pair) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def close_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await go.wait()

    async with fleets.serve(close_late) as port:
        last = {"verdict": "valid", "message": "Valid", "scanned_at": NOW - DAY}
        await pair.add(port, next_scan_at=NOW, **last)
        sweep = asyncio.create_task(pair.a.sweep.once())
        await arrived.wait()
        request = asyncio.create_task(pair.b.rescans.scan(1))
        await pair.polled.wait()
        go.set()
        await asyncio.gather(sweep, request)
    assert await pair.message() not in (None, "Valid")


async def test_deleting_a_monitor_ends_the_wait_for_it(pair: Pair) -> None:
    await pair.add(443)
    assert await Leases(pair.databases[0], DAY, "other").lease_one(1, NOW)
    request = asyncio.create_task(pair.b.rescans.scan(1))
    await pair.polled.wait()
    async with pair.databases[0].write() as connection:
        await connection.execute(monitors.delete())
    await request


async def test_shutdown_ends_the_wait_for_another_server(pair: Pair) -> None:
    await pair.add(443)
    assert await Leases(pair.databases[0], DAY, "other").lease_one(1, NOW)
    request = asyncio.create_task(pair.b.rescans.scan(1))
    await pair.polled.wait()
    await pair.b.close()
    with pytest.raises(ScannerClosed):
        await request
