"""The database, SQLite or PostgreSQL: connections for reading and for writing."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from bot.config.database_url import engine_arguments
from bot.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
#: The longest that anybody waits for the bot's own records, in seconds.
QUICK_SECONDS = 2.0
#: How many seconds each query may delay what a press shows at once.
SOON_SECONDS = 0.4
#: After a timeout, further waits are this short, for this many seconds.
SHORT_SECONDS, IMPATIENT_SECONDS = 0.2, 10.0
#: The same for work that nobody waits for.
PATIENT_SECONDS = 30.0
#: How long PostgreSQL may take for a statement: a server may be gone without closing connections.
STATEMENT_SECONDS = 60.0
#: How long closing a connection may take, if the server does not confirm it.
CLOSE_SECONDS = 0.2
#: How many seconds SQLite has to time out by itself before the statement is cancelled.
GRACE_SECONDS = 10.0
#: Concurrent readers of SQLite; with the writer, they fill SQLAlchemy's pool of five.
READERS = 4
#: How many seconds a writer waits for a writer in another process.
BUSY_SECONDS = 10.0

#: SQLSTATE classes: no connection, read-only, no access, no such database, deadlock, out of
#: resources, not ready, operator intervention, system error, configuration, corruption.
_UNUSABLE_STATES = frozenset(
    {"08", "25", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX"} | {"42501"}  # no privilege
)
#: Why the database is neither read nor written any more: writes to a deleted file are lost.
_FILE_GONE = "unable to open its file, which was deleted or replaced; a restart is needed"
#: What SQLite says if the fault is in the file or disk (sqlite.org/rescode.html).
_UNUSABLE_SQLITE = (
    "unable to open", "database is locked", "disk", "malformed", "readonly", "not a database",
    "locking protocol", "out of memory", "interrupted",
)  # fmt: skip


class Database:
    """The engine, with connections for reading and for writing."""

    def __init__(self, url: str, *, statement_seconds: float | None = STATEMENT_SECONDS) -> None:
        arguments = engine_arguments(url)
        is_sqlite = arguments.url.drivername.startswith("sqlite")
        limits = {} if is_sqlite else _limits(statement_seconds)
        self.url = url
        self.faults = {"read": "", "write": ""}
        """Why the last quick read and write failed; empty if they succeeded."""
        self._impatient_until = 0.0
        self.engine = create_async_engine(
            arguments.url,
            connect_args={**arguments.connect_args, **limits},
            pool_pre_ping=not is_sqlite,
            hide_parameters=True,  # errors are logged, and would contain them
        )
        reads: dict[str, Any] = {"reads_only": True}
        if is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", self._begin_sqlite)
        else:
            reads["isolation_level"] = "REPEATABLE READ"  # one snapshot, as on SQLite
        self._reader = self.engine.execution_options(**reads)
        self._writer = cache(lambda tenths: self.engine.execution_options(patience=tenths))
        # SQLite's own writers poll for the lock; within one process, a queue is faster.
        self._turn = asyncio.Lock() if is_sqlite else None
        self._seats = asyncio.Semaphore(READERS) if is_sqlite else None
        self._path, self._file = Path(arguments.url.database or ""), (0, 0)

    def insert(self, table: Table) -> Any:
        """An INSERT that supports `on_conflict_do_nothing` in this engine's dialect."""
        return _inserting(self.engine.dialect.name, table)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection for reading: one snapshot, which never waits for a writer."""
        return self._reader.connect()

    @asynccontextmanager
    async def write(self, patience: float = BUSY_SECONDS) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, committed at the end; SQLite has one writer at a time.

        On SQLite, a writer in another process is waited for up to `patience` seconds.
        """
        writer = self._writer(int(patience * 10))
        async with self._turn or nullcontext(), writer.begin() as connection:
            yield connection

    @asynccontextmanager
    async def quick_read(self, within: float | None = None) -> AsyncIterator[AsyncConnection]:
        """Like `read`, but raises DatabaseUnavailable after QUICK_SECONDS or `within` seconds.

        Bugs are raised as they are.
        """
        async with (
            self._turns("read", self._seats, within) as left,
            self._quickly("read", left),
            self.read() as connection,
        ):
            yield connection

    @asynccontextmanager
    async def quick_write(self, within: float | None = None) -> AsyncIterator[AsyncConnection]:
        """Like `write`, but raises DatabaseUnavailable as `quick_read` does.

        If the changes may have been stored all the same, its `maybe_done` is true.
        """
        async with self._turns("write", self._turn, within) as left:
            # For a writer in another process.
            writer = self._writer(int(min(BUSY_SECONDS, max(0.0, left - GRACE_SECONDS)) * 10))
            written = False
            try:
                async with self._quickly("write", left), writer.begin() as connection:
                    yield connection
                    written = True
            except DatabaseUnavailable as fault:
                raise DatabaseUnavailable(fault.reason, maybe_done=written) from fault.__cause__

    @asynccontextmanager
    async def _turns(
        self, door: str, turns: asyncio.Lock | asyncio.Semaphore | None, within: float | None
    ) -> AsyncIterator[float]:
        """Wait for a turn (on SQLite only); yields how many seconds remain.

        Cancelling a statement of SQLite's blocks its connection for a long time. So only the wait
        for a turn is cut short; SQLite times out by itself, and a statement is only cancelled if it
        hangs for another GRACE_SECONDS.
        """
        loop = asyncio.get_running_loop()
        usual = SHORT_SECONDS if loop.time() < self._impatient_until else QUICK_SECONDS
        seconds = within or usual
        if turns is None:
            yield seconds
            return
        ends = loop.time() + seconds
        try:
            async with asyncio.timeout(seconds):
                await turns.acquire()
        except TimeoutError:
            raise self._unavailable(door, ends - seconds) from None
        try:
            yield max(0.0, ends - loop.time()) + GRACE_SECONDS
        finally:
            turns.release()

    @asynccontextmanager
    async def _quickly(self, door: str, seconds: float) -> AsyncIterator[None]:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise self._unavailable(door, began) from None
        except Exception as error:
            if not (is_database_fault(error) or _lacks_table(error)):
                raise  # a bug, which the operator of the database can't fix
            raise self._unavailable(door, began, reason_of(error)) from error
        self.faults[door] = ""

    def _unavailable(
        self, door: str, began: float, why: str = "no answer in time"
    ) -> DatabaseUnavailable:
        """Note a fault; wait less for a while, unless this wait was short anyway."""
        now = asyncio.get_running_loop().time()
        if began >= self._impatient_until and now - began > SHORT_SECONDS:
            self._impatient_until = now + IMPATIENT_SECONDS
        self.faults[door] = why
        return DatabaseUnavailable(why)

    @property
    def fault(self) -> str:
        """Why the bot's own records can't be written or read, empty if they can."""
        return self.faults["write"] or self.faults["read"]

    async def look_again(self) -> None:
        """Write once if the last write failed. Raises DatabaseUnavailable."""
        if self.faults["write"]:
            async with self.quick_write() as connection:
                await touch(connection)

    def _begin_sqlite(self, connection: Connection) -> None:
        # In WAL mode, SQLite doesn't check this (sqlite.org/rescode.html, SQLITE_READONLY_DBMOVED).
        try:
            file = _identity(self._path)
        except OSError as fault:
            why = sqlite3.OperationalError(f"unable to open its file: {fault.strerror}")
            raise OperationalError("BEGIN", None, why) from fault
        self._file = file if self._file == (0, 0) else self._file
        if file != self._file:
            raise OperationalError("BEGIN", None, sqlite3.OperationalError(_FILE_GONE))
        _begin_sqlite(connection)

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


async def add(connection: AsyncConnection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless there is one with its primary key; returns whether it was inserted."""
    new = _adding(connection.dialect.name, table)
    return (await connection.execute(new, row)).one_or_none() is not None


async def put(
    connection: AsyncConnection,
    table: Table,
    row: Mapping[str, Any],
    where: Any = None,
    **bound: Any,
) -> None:
    """Insert a row, or replace the one with its primary key if that meets `where`.

    `where` must be a constant, as statements are cached by it; `bound` are its parameters.
    """
    new = _replacing(connection.dialect.name, table, tuple(row), where)
    await connection.execute(new, {**row, **bound})


# Built once: building a statement takes several times as long as running it.
@cache
def _inserting(dialect: str, table: Table) -> Any:
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


@cache
def _adding(dialect: str, table: Table) -> Any:
    return _inserting(dialect, table).on_conflict_do_nothing().returning(*table.primary_key)


@cache
def _replacing(dialect: str, table: Table, names: tuple[str, ...], where: Any) -> Any:
    new, keys = _inserting(dialect, table), [column.name for column in table.primary_key]
    values = {name: new.excluded[name] for name in names if name not in keys}
    return new.on_conflict_do_update(index_elements=keys, set_=values, where=where)


async def touch(connection: AsyncConnection) -> None:
    """Write something without changing anything."""
    await connection.execute(text("UPDATE alembic_version SET version_num = version_num"))


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Log what keeps the body from recording something already done, and go on."""
    try:
        yield
    except DatabaseUnavailable as fault:
        log.warning("Could not %s: %s", what, fault)
    except Exception:
        log.exception("Could not %s", what)


async def soon(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, if it takes less than SOON_SECONDS; otherwise it continues unobserved.

    Raises DatabaseUnavailable if it takes longer.
    """
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait({task}, timeout=SOON_SECONDS)
    if done:
        return task.result()
    task.add_done_callback(lambda late: late.cancelled() or late.exception())
    raise DatabaseUnavailable("no answer yet")


def reason_of(error: Exception) -> str:
    """What the database says is wrong: SQLite's words, or the name of PostgreSQL's error."""
    fault: BaseException = getattr(error, "orig", None) or error
    return (
        str(fault) if isinstance(fault, sqlite3.Error) else type(fault.__cause__ or fault).__name__
    )


def is_database_fault(error: Exception) -> bool:
    """Whether an error means that the database is unavailable, not that a query is wrong."""
    if not isinstance(error, DBAPIError):
        # While it connects, asyncpg raises its own errors and the system's.
        is_known = isinstance(error, OSError | NoConnection)
        return is_known or type(error).__module__.startswith("asyncpg")
    state = str(getattr(error.orig, "sqlstate", None) or "")
    said = str(error.orig)
    return (
        error.connection_invalidated
        or not _UNUSABLE_STATES.isdisjoint({state, state[:2]})
        or any(words in said for words in _UNUSABLE_SQLITE)
    )


def _lacks_table(error: Exception) -> bool:
    """Whether an error means that somebody has removed a table."""
    fault = getattr(error, "orig", None)
    return getattr(fault, "sqlstate", "") == "42P01" or "no such table" in str(fault)


def _limits(statement_seconds: float | None) -> dict[str, Any]:
    """Keep asyncpg from waiting for a server that is gone without having said so."""
    from asyncpg import Connection as Driver  # noqa: PLC0415 - an extra

    class Closing(Driver):  # type: ignore[misc]
        async def close(self, *, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - theirs
            with suppress(TimeoutError):  # it is cut off then
                await super().close(timeout=CLOSE_SECONDS)

    return {"command_timeout": statement_seconds, "connection_class": Closing}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # `_begin_sqlite` begins the transactions; the driver would choose the wrong kind.
    connection.isolation_level = None
    busy = f"busy_timeout = {BUSY_SECONDS * 1000:.0f}"
    pragmas = ("journal_mode = WAL", "synchronous = NORMAL", busy)
    script = "".join(f"PRAGMA {pragma};" for pragma in pragmas)
    connection.run_async(lambda driver: driver.executescript(script))


def _identity(path: Path) -> tuple[int, int]:
    """Which file this is, whatever its name; zeros for a database in memory, or if it is gone."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return 0, 0
    return found.st_dev, found.st_ino


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that writes later fails at once with SQLITE_BUSY.
    options = connection.get_execution_options()
    if options.get("reads_only"):
        _tell_sqlite(connection, "BEGIN")
        return
    # A statement that waits for a lock can't be cancelled, so SQLite needs the timeout.
    tenths = options.get("patience", int(BUSY_SECONDS * 10))
    if connection.info.get("tenths") != tenths:
        _tell_sqlite(connection, f"PRAGMA busy_timeout = {tenths}00")
        connection.info["tenths"] = tenths
    _tell_sqlite(connection, "BEGIN IMMEDIATE")


def _tell_sqlite(connection: Connection, sql: str) -> None:
    """Run SQL without a result in one turn of the driver's thread (`exec_driver_sql`: three)."""
    try:
        connection.connection.run_async(lambda driver: driver.execute(sql))
    except sqlite3.Error as error:
        raise OperationalError(sql, None, error) from error
