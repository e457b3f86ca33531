import asyncio
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.dialects import sqlite

from bot.config.readers import normal_url
from bot.store.database import Database
from bot.store.tables import (
    Instant,
    accounts,
    metadata,
    monitor_facts,
    monitor_history,
    monitors,
    notes,
)
from bot.store.upgrade import upgrade
from tests.postgres import Cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.sqlite3"
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.new_database()


async def test_a_new_database_gets_the_tables_and_indexes_that_the_code_declares(url: str) -> None:
    def shape(connection: Connection) -> dict[str, tuple[set[str], set[str | None]]]:
        found = inspect(connection)
        return {
            table: (
                {column["name"] for column in found.get_columns(table)},
                {index["name"] for index in found.get_indexes(table)},
            )
            for table in found.get_table_names()
            if table not in {"alembic_version", "sqlite_sequence"}
        }

    await upgrade(url)
    database = Database(url)
    async with database.read() as connection:
        migrated = await connection.run_sync(shape)
    await database.close()
    assert migrated == {
        table.name: ({c.name for c in table.columns}, {str(i.name) for i in table.indexes})
        for table in metadata.sorted_tables
    }


async def test_upgrading_twice_keeps_what_is_stored(url: str) -> None:
    await upgrade(url)
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(insert(notes).values(key="a", value="kept"))
    await upgrade(url)
    async with database.read() as connection:
        assert await connection.scalar(select(notes.c.value)) == "kept"
    await database.close()


async def test_processes_that_start_together_upgrade_once(url: str) -> None:
    await asyncio.gather(*(upgrade(url) for _ in range(3)))
    database = Database(url)
    async with database.read() as connection:
        assert await connection.scalar(select(accounts.c.id)) == 1
    await database.close()


async def test_a_reader_sees_one_moment(url: str) -> None:
    await upgrade(url)
    database = Database(url)
    async with database.read() as reader:
        assert await reader.scalar(select(notes.c.value)) is None
        async with database.write() as writer:
            await writer.execute(insert(notes).values(key="a", value="new"))
        assert await reader.scalar(select(notes.c.value)) is None
    await database.close()


async def test_monitors_of_the_first_schema_keep_what_was_known(url: str) -> None:
    await upgrade(url, "0001")
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(
            text(
                "INSERT INTO monitors (host, port, created_at, next_scan_at, scanned_at, verdict,"
                " message, facts) VALUES ('a.test', 443, 1, 2, 3, 'valid', 'Valid', :facts)"
            ),
            {"facts": b"{}"},
        )
    await upgrade(url)
    async with database.read() as connection:
        monitor = (await connection.execute(select(monitors))).mappings().one()
        facts = await connection.scalar(select(monitor_facts.c.facts))
        piece = (await connection.execute(select(monitor_history))).mappings().one()
    await database.close()
    assert (monitor["account_id"], monitor["host"], monitor["failures"]) == (1, "a.test", 0)
    assert facts == b"{}"
    assert (piece["monitor_id"], piece["verdict"]) == (monitor["id"], "valid")
    assert piece["at"] == monitor["scanned_at"]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("sqlite:///x.sqlite3", "sqlite+aiosqlite:///x.sqlite3"),
    ],
)
def test_a_plain_url_means_the_async_driver(given: str, used: str) -> None:
    assert normal_url(given) == used


@pytest.mark.parametrize("url", ["mysql://h/d", "nonsense", ""])
def test_another_engine_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"Use a URL|must start with"):
        normal_url(url)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        Instant().process_bind_param(datetime(2026, 1, 1), sqlite.dialect())  # noqa: DTZ001 - the point
