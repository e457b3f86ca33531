"""The one database: SQLite or PostgreSQL, its tables, and their migrations.

The bot and the embedded API share it, each with tables of its own. Times are stored as whole
seconds since 1970 (UTC), so that both engines compare and subtract them alike.
"""

from __future__ import annotations

import asyncio
import importlib
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.types import TypeDecorator

from bot.errors import BotError

# Any number that no other program is likely to lock with (pg_advisory_xact_lock).
_MIGRATION_LOCK = 7_755_001


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as whole seconds since 1970 (rounded down)."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """A datetime to seconds. Raises ValueError for a naive one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a zone can't be stored")
        return int(value.timestamp() // 1)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Seconds to an aware UTC datetime."""
        return None if value is None else datetime.fromtimestamp(value, UTC)


metadata = MetaData()

#: What the bot remembers by name: when it first started, and the like.
notes = Table(
    "notes",
    metadata,
    Column("key", String(100), primary_key=True),
    Column("value", Text, nullable=False),
)

#: One row for each day's digest and channel: the messages, and how many of them are posted.
digests = Table(
    "digests",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("channel", String(40), primary_key=True),
    Column("claimed_at", Instant, nullable=False),
    Column("messages", Text, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("ts", String(40)),
    Column("finished_at", Instant),
)

#: When a certificate is due, where a team set it itself: for a host or a pattern with `*`.
thresholds = Table(
    "thresholds",
    metadata,
    Column("pattern", String(260), primary_key=True),
    Column("rule", String(10), nullable=False),
    Column("set_by", String(40), nullable=False),
    Column("set_at", Instant, nullable=False),
)

#: What the bot last saw of each monitor (JSON), to say after a rescan what changed.
sightings = Table(
    "sightings",
    metadata,
    Column("monitor_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seen_at", Instant, nullable=False),
    Column("seen", Text, nullable=False),
)

#: "Scan & watch": the card that is being edited, who waits, and what the first scan showed (JSON).
watches = Table(
    "watches",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("monitor_id", BigInteger, nullable=False),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
    Column("channel", String(40), nullable=False),
    Column("ts", String(40), nullable=False),
    Column("thread_ts", String(40)),
    Column("asker", String(40), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("scans", Integer, nullable=False),
    Column("first", Text),
    Column("state", String(10), nullable=False),
    Index("watches_state", "state"),
    sqlite_autoincrement=True,
)

#: Every change: who asked for it, when, what, and what became of it. Nothing here is ever edited.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("user_id", String(40), nullable=False),
    Column("user_name", String(100), nullable=False),
    Column("command", String(20), nullable=False),
    Column("target", String(260), nullable=False),
    Column("result", Text, nullable=False),
    Index("audit_target", "target"),
    sqlite_autoincrement=True,
)

#: The embedded API's monitors, each with its last scan. `facts` is JSON: the rest of monitor/get.
monitors = Table(
    "monitors",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("next_scan_at", Instant, nullable=False),
    Column("scanned_at", Instant),
    Column("verdict", String(40)),
    Column("message", Text),
    Column("host_match", Boolean),
    Column("not_before", Instant),
    Column("not_after", Instant),
    Column("issuer", Text),
    Column("http_code", Integer),
    Column("facts", LargeBinary),
    Index("monitors_host_port", "host", "port", unique=True),
    Index("monitors_next_scan_at", "next_scan_at"),
    Index("monitors_not_after", "not_after"),
    sqlite_autoincrement=True,  # an id that was deleted never names another monitor
)


def normal_url(url: str) -> str:
    """A database URL with the driver that this package uses.

    `postgres://` and `postgresql://` mean asyncpg, `sqlite://` means aiosqlite. Raises ValueError
    for what is no URL, or another engine.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("it is not a database URL") from None
    drivers = {
        "postgres": "postgresql+asyncpg",
        "postgresql": "postgresql+asyncpg",
        "postgresql+asyncpg": "postgresql+asyncpg",
        "sqlite": "sqlite+aiosqlite",
        "sqlite+aiosqlite": "sqlite+aiosqlite",
    }
    if parsed.drivername not in drivers:
        raise ValueError("it must start with sqlite:/// or postgresql://")
    return parsed.set(drivername=drivers[parsed.drivername]).render_as_string(hide_password=False)


class Database:
    """The engine, with one door for reading and one for writing."""

    def __init__(self, url: str) -> None:
        self.url = normal_url(url)
        self.engine = create_async_engine(self.url, pool_pre_ping=self.url.startswith("postgresql"))
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        self._reader = self.engine.execution_options(reads_only=True)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection to read with; it never waits for a writer."""
        return self._reader.connect()

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection in a transaction, committed at the end; one writer at a time on SQLite."""
        return self.engine.begin()

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: `_begin_sqlite` does, with the right kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins deferred and writes later can't wait for its turn (SQLITE_BUSY).
    reads_only = connection.get_execution_options().get("reads_only")
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


async def upgrade(url: str) -> None:
    """Bring the schema up to date; processes that start together wait for each other.

    Raises BotError where the schema is newer than this program knows.
    """
    # Alembic takes a tenth of a second to import, and only starting programs need it.
    await asyncio.to_thread(importlib.import_module, "alembic.command")
    database = Database(url)
    try:
        async with database.write() as connection:
            if database.engine.dialect.name == "postgresql":
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            await connection.run_sync(_run_migrations)
    finally:
        await database.close()


def _run_migrations(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - see `upgrade`
    from alembic.config import Config  # noqa: PLC0415 - see `upgrade`
    from alembic.util import CommandError  # noqa: PLC0415 - see `upgrade`

    config = Config()
    config.set_main_option("script_location", "bot:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as fault:
        raise BotError(
            f"The database was made by a newer version of this program ({fault})."
        ) from fault
