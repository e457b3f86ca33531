"""The one database: SQLite or PostgreSQL, its tables, and their migrations.

The bot and the embedded API share it, each with tables of its own. Times are stored as whole
seconds since 1970 (UTC), so that both engines compare and subtract them alike.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
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
from sqlalchemy.dialects import postgresql, sqlite
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

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> int | None:
        """A datetime to seconds. Raises ValueError for a naive one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a zone can't be stored")
        return int(value.timestamp() // 1)

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> datetime | None:
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

#: Who may use the embedded API. Account 1 has the key of the environment; the others' are hashed.
#: `full_at` counts scans on demand: when an account may again ask for as many as a minute holds, in
#: microseconds since 1970.
accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False),
    Column("key_hash", String(64)),
    Column("most_monitors", Integer),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("full_at", BigInteger),
    Index("accounts_key_hash", "key_hash", unique=True),
    sqlite_autoincrement=True,  # an id that was used never names another account
)

#: The embedded API's monitors, each with the short part of its last scan. Rows are kept small: the
#: list reads all of them. `lease` names the worker that scans it until `next_scan_at`.
monitors = Table(
    "monitors",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("account_id", Integer, nullable=False, default=1),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
    Column("protocol", String(10), nullable=False, default=""),
    Column("proxy_host", String(253)),
    Column("proxy_port", Integer),
    Column("proxy_username", Text),
    Column("proxy_password", Text),
    Column("created_at", Instant, nullable=False),
    Column("next_scan_at", Instant, nullable=False),
    Column("lease", String(32)),
    Column("failures", Integer, nullable=False, default=0),
    Column("scanned_at", Instant),
    Column("verdict", String(40)),
    Column("message", Text),
    Column("ip", String(45)),
    Column("host_match", Boolean),
    Column("not_before", Instant),
    Column("not_after", Instant),
    Column("issuer", Text),
    Column("http_code", Integer),
    Index("monitors_account_host_port", "account_id", "host", "port", unique=True),
    Index("monitors_next_scan_at", "next_scan_at"),
    Index("monitors_account_not_after", "account_id", "not_after"),
    sqlite_autoincrement=True,  # an id that was deleted never names another monitor
)

#: The long part of each monitor's last scan, as JSON: the rest of monitor/get.
monitor_facts = Table(
    "monitor_facts",
    metadata,
    Column("monitor_id", Integer, primary_key=True, autoincrement=False),
    Column("facts", LargeBinary, nullable=False),
)

#: What changed on a monitor, and when it was first seen: one row for each change, not each scan.
monitor_history = Table(
    "monitor_history",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("monitor_id", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("verdict", String(40), nullable=False),
    Column("message", Text, nullable=False),
    Column("host_match", Boolean),
    Column("not_before", Instant),
    Column("not_after", Instant),
    Column("issuer", Text),
    Index("monitor_history_monitor_id", "monitor_id", "id"),
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


_INSERTS: Mapping[str, Callable[[Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


class Database:
    """The engine, with one door for reading and one for writing."""

    def __init__(self, url: str) -> None:
        self.url = normal_url(url)
        self.engine = create_async_engine(
            self.url,
            pool_pre_ping=self.url.startswith("postgresql"),
            hide_parameters=True,  # they would stand in each fault, and a fault is logged
        )
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        reads: dict[str, Any] = {"reads_only": True}
        if self.engine.dialect.name == "postgresql":
            reads["isolation_level"] = "REPEATABLE READ"  # as SQLite does: one moment for a reader
        self._reader = self.engine.execution_options(**reads)
        # SQLite's writers wait for each other by sleeping; in one process a queue is quicker.
        self._turn = asyncio.Lock() if self.engine.dialect.name == "sqlite" else None

    def insert(self, table: Table) -> Any:
        """An INSERT in the dialect of this engine, which adds `on_conflict_do_nothing`."""
        return _INSERTS[self.engine.dialect.name](table)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection to read with; it never waits for a writer, and sees one moment."""
        return self._reader.connect()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, committed at the end; one writer at a time on SQLite."""
        async with self._turn or nullcontext(), self.engine.begin() as connection:
            yield connection

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


async def upgrade(url: str, revision: str = "head") -> None:
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
            await connection.run_sync(_run_migrations, revision)
    finally:
        await database.close()


def _run_migrations(connection: Connection, revision: str) -> None:
    from alembic import command  # noqa: PLC0415 - see `upgrade`
    from alembic.config import Config  # noqa: PLC0415 - see `upgrade`
    from alembic.util import CommandError  # noqa: PLC0415 - see `upgrade`

    config = Config()
    config.set_main_option("script_location", "bot.store:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as fault:
        raise BotError(
            f"The database was made by a newer version of this program ({fault})."
        ) from fault
