from __future__ import annotations

import asyncio
import shutil
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


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "empty.sqlite3"
    asyncio.run(upgrade(f"sqlite:///{path}"))
    return path


@pytest_asyncio.fixture
async def database(empty_database: Path, tmp_path: Path) -> AsyncIterator[Database]:
    path = shutil.copy(empty_database, tmp_path / "embedded.sqlite3")
    database = Database(f"sqlite:///{path}")
    yield database
    await database.close()
