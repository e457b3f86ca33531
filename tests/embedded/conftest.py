from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bot.database import Database, upgrade
from bot.embedded.tls import Trust

from .fleet import Fleet


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="session")
def trust(fleet: Fleet) -> Trust:
    return Trust(fleet.ca_file)


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/embedded.sqlite3"
    await upgrade(url)
    database = Database(url)
    yield database
    await database.close()
