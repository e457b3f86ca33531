"""The migrations, with rows in all tables."""

import pytest
from sqlalchemy import Connection, MetaData, Table, func, insert, inspect, select, table, update

from bot.api.models import MOST_ID
from bot.store.database import Database
from bot.store.tables import claims, metadata, mutes, sightings, standings
from bot.store.upgrade import newest_migration, open_database, upgrade

pytestmark = pytest.mark.slow


def fill(connection: Connection) -> None:
    """Put a row with a value in each column into each table, unless it has one."""
    names = inspect(connection).get_table_names()
    count = select(func.count())
    empty = [name for name in names if not connection.scalar(count.select_from(table(name)))]
    found = MetaData()
    found.reflect(connection, only=empty)  # looking at all columns of all tables takes seconds
    for each in found.sorted_tables:
        if each.name in empty:
            connection.execute(insert(each).values(row_of(each)))


def row_of(filled: Table) -> dict[str, object]:
    texts = {"members": "[]", "messages": "[]", "day": "2026-11-29"}
    values: dict[type, object] = {int: 7, str: "7", bytes: b"{}", bool: True}
    return {c.name: texts.get(c.name, values[c.type.python_type]) for c in filled.columns}


def counts(connection: Connection) -> dict[str, int]:
    names = inspect(connection).get_table_names()
    tables = [metadata.tables[name] for name in names if name in metadata.tables]
    counted = {t.name: connection.scalar(select(func.count()).select_from(t)) for t in tables}
    return {name: number or 0 for name, number in counted.items()}


async def test_the_rows_of_every_schema_survive_all_later_migrations(url: str) -> None:
    before: dict[str, int] = {}
    for version in range(1, int(newest_migration()) + 1):
        await upgrade(url, f"{version:04}")
        database = Database(url)
        async with database.write() as connection:
            kept = await connection.run_sync(counts)
            assert {name: kept[name] for name in before} == before, version
            await connection.run_sync(fill)
            before = await connection.run_sync(counts)
        await database.close()
    async with open_database(url) as database, database.write() as connection:
        for each in metadata.sorted_tables:
            assert (await connection.execute(select(each))).all(), each.name
        for each in (claims, mutes, sightings, standings):
            await connection.execute(update(each).values(monitor_id=MOST_ID - 1))
