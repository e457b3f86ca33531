"""Bring the schema up to date with Alembic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import stamina
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from bot.errors import BotError
from bot.store.database import Database

# Any number that no other program is likely to lock with (pg_advisory_xact_lock).
_MIGRATION_LOCK = 7_755_001


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """The database with its schema up to date. Raises BotError where it can't be used."""
    try:
        await upgrade(url)
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise BotError(f"The database can't be used: {reason}") from error
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()


async def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema up to date; processes that start together wait for each other.

    Raises BotError where the schema is newer than this program knows.
    """
    # SQLite refuses at once, whatever its busy timeout, while another process turns WAL on.
    async for attempt in stamina.retry_context(
        on=_is_locked, attempts=None, timeout=10.0, wait_initial=0.05, wait_max=0.5
    ):
        with attempt:
            await _upgrade(url, revision)


async def _upgrade(url: str, revision: str) -> None:
    database = Database(url)
    try:
        async with database.write() as connection:
            if database.engine.dialect.name == "postgresql":
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            await connection.run_sync(_run_migrations, revision)
    finally:
        await database.close()


def _is_locked(error: Exception) -> bool:
    return isinstance(error, OperationalError) and "database is locked" in str(error.orig)


def _run_migrations(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "bot.store:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as fault:
        raise BotError(
            f"The database was made by a newer version of this program ({fault})."
        ) from fault
