"""The migrations, with rows in all tables."""

from typing import Any

import pytest
from sqlalchemy import (
    Connection,
    column,
    func,
    insert,
    inspect,
    literal,
    select,
    table,
    union_all,
    update,
)
from sqlalchemy.types import TypeEngine

from bot.api.models import MOST_ID
from bot.store.database import Database
from bot.store.tables import claims, metadata, mutes, sightings, standings
from bot.store.upgrade import newest_migration, open_database, upgrade

pytestmark = pytest.mark.slow


def counts(connection: Connection) -> dict[str, int]:
    """How many rows each table has."""
    names = inspect(connection).get_table_names()
    each = (select(literal(name), func.count()).select_from(table(name)) for name in names)
    return {row[0]: row[1] for row in connection.execute(union_all(*each))}


def fill(connection: Connection, names: list[str]) -> None:
    """Put a row with a value in each column into each of these tables."""
    found = inspect(connection).get_multi_columns(filter_names=names)
    for (_, name), columns in found.items():
        row = {each["name"]: value_of(each["name"], each["type"]) for each in columns}
        into = table(name, *(column(each["name"], each["type"]) for each in columns))
        connection.execute(insert(into).values(row))


def value_of(name: str, kind: TypeEngine[Any]) -> object:
    texts = {"members": "[]", "messages": "[]", "day": "2026-11-29"}
    values: dict[type, object] = {int: 7, str: "7", bytes: b"{}", bool: True}
    return texts.get(name, values[kind.python_type])


async def test_the_rows_of_every_schema_survive_all_later_migrations(url: str) -> None:
    before: dict[str, int] = {}
    database = Database(url)
    for version in range(1, int(newest_migration()) + 1):
        await upgrade(url, f"{version:04}")
        async with database.write() as connection:
            kept = await connection.run_sync(counts)
            assert {name: kept[name] for name in before} == before, version
            empty = [name for name, rows in kept.items() if not rows]
            if empty:
                await connection.run_sync(fill, empty)
            before = kept | dict.fromkeys(empty, 1)
    await database.close()
    async with open_database(url) as database, database.write() as connection:
        for each in metadata.sorted_tables:
            assert (await connection.execute(select(each))).all(), each.name
        for each in (claims, mutes, sightings, standings):
            await connection.execute(update(each).values(monitor_id=MOST_ID - 1))
