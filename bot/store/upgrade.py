"""Upgrades the schema with Alembic."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import stamina
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from bot.errors import BotError
from bot.store.database import Database, is_database_fault, touch

# An arbitrary number, unlikely to be another program's (pg_advisory_xact_lock).
_MIGRATION_LOCK = 7_755_001


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Open the database and upgrade its schema. Raises BotError if it can't be used."""
    database = Database(url)
    try:
        try:
            await _prepare(database)
        except Exception as error:  # asyncpg raises its own errors while it connects
            if not isinstance(error, SQLAlchemyError) and not is_database_fault(error):
                raise
            reason = getattr(error, "orig", None) or str(error) or "no answer in time"
            raise BotError(f"The database can't be used: {reason}") from error
        yield database
    finally:
        await database.close()


async def _prepare(database: Database) -> None:
    """Upgrade the schema, and write once: the disk may be full, or the database read-only."""
    _create_private(database)
    if not await _is_current(database):
        await upgrade(database.url)
    async with database.write() as connection:
        await touch(connection)


def _create_private(database: Database) -> None:
    """Create SQLite's file for its owner alone; SQLite itself would let everybody read it."""
    name = database.engine.url.database or ""
    if database.engine.dialect.name == "sqlite" and not name.startswith((":", "file:")):
        with suppress(OSError):  # it exists, or SQLite tells what is wrong
            Path(name).touch(mode=0o600, exist_ok=False)


async def _is_current(database: Database) -> bool:
    """Whether the last migration was run. Asking Alembic takes longer."""
    try:
        async with database.read() as connection:
            done = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    except SQLAlchemyError:
        return False  # no table, or no database: `upgrade` will tell
    return str(done) == newest_migration()


def newest_migration() -> str:
    """The number of the last migration, with which its file's name begins."""
    files = (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*_*.py")
    return max(file.name.partition("_")[0] for file in files)


async def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade the schema; processes that start at the same time wait for each other.

    Raises BotError if the schema is newer than this program.
    """
    # While another process turns WAL on, SQLite refuses at once, despite its busy timeout.
    async for attempt in stamina.retry_context(
        on=_is_locked, attempts=None, timeout=10.0, wait_initial=0.05, wait_max=0.5
    ):
        with attempt:
            await _upgrade(url, revision)


async def _upgrade(url: str, revision: str) -> None:
    database = Database(url, statement_seconds=None)  # many rows, or another process has its turn
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
    from alembic import command  # noqa: PLC0415 - most starts find the schema up to date
    from alembic.config import Config  # noqa: PLC0415 - so they do without Alembic
    from alembic.util import CommandError  # noqa: PLC0415 - whose import takes 0.1 s

    config = Config()
    config.set_main_option("script_location", "bot.store:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as fault:
        raise BotError(
            "The database was made by a newer version of this program, or by another program "
            f"({fault}). Install the newest version, or use another DATABASE_URL."
        ) from fault
