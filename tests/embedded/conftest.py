from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from bot.embedded.scan.tls import Trust
from bot.store.database import Database

from .authority import CA, Scans
from .fleet import Fleet
from .serving import Served, serving


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="session")
def trust(fleet: Fleet) -> Trust:
    return Trust(fleet.ca_file)


@pytest_asyncio.fixture
async def served(fleet: Fleet, database: Database) -> AsyncIterator[Served]:
    """The embedded API, which may scan the fleet."""
    async with serving(fleet, database) as served:
        yield served


@pytest_asyncio.fixture
async def ca() -> AsyncIterator[CA]:
    authority = CA()
    server = web.Server(authority.answer)
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    authority.port = runner.addresses[0][1]
    yield authority
    if authority.gate:
        authority.gate.set()
    await runner.cleanup()


@pytest_asyncio.fixture
async def scans(fleet: Fleet, tmp_path: Path, database: Database) -> AsyncIterator[Scans]:
    scans = Scans(fleet, tmp_path, database)
    yield scans
    await scans.documents.close()
