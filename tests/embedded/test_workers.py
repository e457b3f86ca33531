"""`python -m bot embedded`, as processes that share a database, and that die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, select

from bot.app import clock
from bot.embedded import EmbeddedAPI, EmbeddedSettings
from bot.embedded.leases import LEASE, Leases, LeaseStatus
from bot.store.database import Database
from bot.store.tables import monitors

from . import fleet as fleets

HOUR = timedelta(hours=1)
LONG = 30.0  # seconds after which a test has failed
LOOK = 0.1  # seconds between two looks at what other processes have stored


@asynccontextmanager
async def process(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker over a database, killed at the end if it still runs."""
    settings = {"EMBEDDED_API_KEY": "k", "DATABASE_URL": url, "SCAN_ALLOW": "127.0.0.1"}
    command = (sys.executable, "-m", "bot", "embedded", "--port", "0")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("SCAN_", "DIGEST_"))}
    worker = await asyncio.create_subprocess_exec(
        *command, env=environ | settings, stderr=asyncio.subprocess.PIPE
    )
    assert worker.stderr is not None
    try:
        await worker.stderr.readuntil(b"answers at")  # from here on it ends in good order
        yield worker
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.wait()


@dataclass
class Hosts:
    """Hosts that speak no TLS; those beyond `quick` say nothing until the test lets go."""

    quick: int
    visits: Counter[int] = field(default_factory=Counter)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    ports: list[int] = field(default_factory=list)

    def talk(self, number: int) -> fleets.Talk:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.visits[number] += 1
            if number >= self.quick:
                self.held.set()
                await self.go.wait()
            writer.write(b"220 no TLS here\r\n")
            await reader.read()  # the visitor hangs up, or a late byte would make it a reset

        return answer


@asynccontextmanager
async def hosts(count: int, quick: int, database: Database) -> AsyncIterator[Hosts]:
    """Serve that many hosts, and watch them all: due, in order."""
    made = Hosts(quick)
    async with AsyncExitStack() as stack:
        for number in range(count):
            serving = fleets.serve(made.talk(number))
            made.ports.append(await stack.enter_async_context(serving))
        now = clock()
        rows = [
            {
                "host": "127.0.0.1",
                "port": port,
                "created_at": now,
                "next_scan_at": now - HOUR + timedelta(seconds=number),
            }
            for number, port in enumerate(made.ports)
        ]
        async with database.write() as connection:
            await connection.execute(insert(monitors), rows)
        try:
            yield made
        finally:
            made.go.set()


async def stored(database: Database) -> dict[int, object]:
    async with database.read() as connection:
        query = select(monitors.c.id, monitors.c.scanned_at).where(
            monitors.c.scanned_at.is_not(None)
        )
        return {row.id: row.scanned_at for row in await connection.execute(query)}


async def when_stored(count: int, database: Database) -> dict[int, object]:
    """What is stored once it is so many; the tests' own deadline bounds the wait."""
    while len(found := await stored(database)) < count:  # noqa: ASYNC110 - nothing calls back here
        await asyncio.sleep(LOOK)  # only the database knows what other processes have stored
    return found


async def test_a_killed_worker_loses_nothing_and_is_replaced_within_a_lease(
    any_url: str, any_database: Database
) -> None:
    async with asyncio.timeout(LONG), hosts(40, 20, any_database) as made:
        async with process(any_url) as worker:
            before = await when_stored(20, any_database)
            await made.held.wait()
            worker.send_signal(signal.SIGKILL)
            await worker.wait()
        assert await stored(any_database) == before
        made.go.set()
        later = clock() + LEASE
        settings = EmbeddedSettings("k", scan_allow="127.0.0.1")
        api = EmbeddedAPI(settings, any_database, clock=lambda: later)
        while await api.sweep.once():
            pass
        await api.close()
        assert len(await stored(any_database)) == 40


async def test_two_workers_share_a_sweep_and_scan_nothing_twice(
    any_url: str, any_database: Database
) -> None:
    async with asyncio.timeout(LONG), hosts(60, 60, any_database) as made:
        async with AsyncExitStack() as stack:
            starts = (stack.enter_async_context(process(any_url)) for _ in range(2))
            workers = await asyncio.gather(*starts)
            await when_stored(60, any_database)
            for worker in workers:
                worker.send_signal(signal.SIGTERM)
                assert await worker.wait() == 0
        assert set(made.visits.values()) == {1}
        async with any_database.read() as connection:
            leases = await connection.scalars(select(monitors.c.lease))
            assert set(leases) == {None}


async def test_a_scan_on_demand_waits_for_another_process(
    any_url: str, any_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, looked = Leases.status, asyncio.Event()

    async def note(self: Leases, id_: int, now: datetime) -> LeaseStatus | None:
        found = await status(self, id_, now)
        looked.set()
        return found

    monkeypatch.setattr(Leases, "status", note)
    async with asyncio.timeout(LONG), hosts(1, 0, any_database) as made:
        async with process(any_url):
            await made.held.wait()
            settings = EmbeddedSettings("k", scan_allow="127.0.0.1")
            api = EmbeddedAPI(settings, any_database, clock=clock)
            asked = asyncio.create_task(api.rescans.scan(1))
            assert not await api.sweep.once()
            await looked.wait()  # from here on it waits for the other process
            made.go.set()
            await asked
            await api.close()
        assert made.visits == {0: 1}
        assert len(await stored(any_database)) == 1
