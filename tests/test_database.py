from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, inspect, select

from bot.database import Database, Instant, metadata, normal_url, notes, upgrade


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/test.sqlite3"


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
    with pytest.raises(ValueError, match="it "):
        normal_url(url)


async def test_a_time_without_a_zone_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="without a zone"):
        Instant().process_bind_param(datetime(2026, 1, 1), Database(url).engine.dialect)  # noqa: DTZ001 - the point
