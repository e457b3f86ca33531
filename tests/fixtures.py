"""The fixtures that several test files share, and what makes all tests cheap."""

from __future__ import annotations

import asyncio
import faulthandler
import fcntl
import gc
import os
import shutil
import signal
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import aiohttp
import aiosqlite.core
import pytest
import pytest_asyncio
import stamina
from aiohttp import web_app
from aioresponses import aioresponses
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import await_only

from bot.store.database import Database
from tests import world as world_module
from tests.postgres import Cluster
from tests.world import CERTS, MakeWorld, World, new_world

pytest_plugins = ["tests.postgres"]
# Machines that run tests are busy at times; how long an example takes says nothing.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


#: Where a test that hangs is reported.
_stderr = pytest.StashKey[int]()


class _Statements(dict[Any, Any]):
    """SQLAlchemy's cache of compiled statements, for all databases of one kind."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__((key[0].name, *key[1:]), compiled)


def pytest_configure(config: pytest.Config) -> None:
    """Compile a statement once for all databases, and keep stderr while it is captured."""
    config.stash[_stderr] = os.dup(2)
    if hasattr(config, "workerinput"):  # else asyncio replaces Python's handler for each test
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    options = Engine._execution_options
    Engine._execution_options = options.union({"compiled_cache": _Statements()})


def pytest_collection_finish() -> None:
    """Look for garbage as seldom as the bot does, and not in what is loaded now."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Watch the end of a failed test too, which pytest doesn't."""
    if isinstance(node, pytest.Item):
        seconds = float(node.config.getini("faulthandler_timeout"))
        faulthandler.dump_traceback_later(seconds, exit=True, file=node.config.stash[_stderr])


def pytest_runtest_teardown() -> None:
    """Forget the test's servers: aiohttp caches 1,024 handlers, with all that they refer to."""
    web_app._cached_build_middleware.cache_clear()


class _Turns:
    """Serves a connection's calls at once: handing them to its thread takes longer than SQLite.

    Only what has to wait for another connection's transaction has a thread.
    """

    def put_nowait(self, call: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, function = call
        if future and isinstance(function, partial) and "BEGIN IMMEDIATE" in function.args:
            try:
                result = self._try_at_once(function)
            except sqlite3.OperationalError:  # it is locked
                Thread(target=self._wait, args=(future, function)).start()
                return
        else:
            result = function()
        if future:
            future.get_loop().call_soon(aiosqlite.core.set_result, future, result)

    def _try_at_once(self, function: partial[Any]) -> Any:
        connection: sqlite3.Connection = function.func.__self__  # type: ignore[attr-defined]
        (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            return function()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {patience}")

    def _wait(self, future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
        tell = future.get_loop().call_soon_threadsafe
        with suppress(RuntimeError):  # the test has ended, and with it the loop
            try:
                tell(aiosqlite.core.set_result, future, function())
            except sqlite3.Error as error:
                tell(aiosqlite.core.set_exception, future, error)


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """Runs a statement in the test's own thread, once other tasks have had a turn."""

    __slots__ = ()
    _awaitable_cursor_close = False

    def _make_new_cursor(self, connection: Any) -> Any:
        return connection._conn.cursor()

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor

    def execute(self, operation: Any, parameters: Any = ()) -> None:
        await_only(asyncio.sleep(0))
        cursor: Any = self._cursor
        if cursor.execute(operation, parameters or ()).description:
            self._rows = deque(cursor.fetchall())

    def executemany(self, operation: Any, seq_of_parameters: Any) -> None:
        await_only(asyncio.sleep(0))
        cursor: Any = self._cursor
        cursor.executemany(operation, seq_of_parameters)


async def _close(self: AsyncConnection, *_: object) -> None:
    """Close without the extra task that survives a cancellation: here, closing never waits."""
    await self.close()


def _end_at_once(name: str) -> Callable[[AsyncAdapt_aiosqlite_connection], None]:
    def end(connection: Any) -> None:
        if driver := connection._connection._connection:
            getattr(driver, name)()

    return end


class _Response(aiohttp.ClientResponse):
    """aioresponses 0.7.9 leaves out the `stream_writer` that aiohttp 3.14 asks for."""

    def __init__(self, *args: Any, stream_writer: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=stream_writer or Mock(), **kwargs)


@pytest.fixture
def responses(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answers on the wire, given by hand: nothing leaves the process."""
    monkeypatch.setattr("aioresponses.core.ClientResponse", _Response)
    with aioresponses() as mocked:
        yield mocked


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema, made once for all workers and copied by each world."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "empty.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return asyncio.run(world_module.empty_database(shared))


@pytest_asyncio.fixture
async def database(
    no_threads: None, empty_database: Path, tmp_path: Path
) -> AsyncIterator[Database]:
    path = shutil.copy(empty_database, tmp_path / "test.sqlite3")
    database = Database(f"sqlite:///{path}")
    yield database
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(
    request: pytest.FixtureRequest,
    empty_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The URL of a database with the schema, once for each kind of database.

    On a busy machine it must not pass for one that is down.
    """
    monkeypatch.setattr("bot.store.database.QUICK_SECONDS", 60.0)
    if request.param == "sqlite":
        request.getfixturevalue("no_threads")
        return f"sqlite:///{shutil.copy(empty_database, tmp_path / 'test.sqlite3')}"
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.new_database("migrated")


@pytest_asyncio.fixture
async def any_database(any_url: str) -> AsyncIterator[Database]:
    """A database with the schema, once for each kind of database."""
    database = Database(any_url)
    yield database
    await database.close()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run SQLite's statements in the test's own thread."""
    monkeypatch.setattr("aiosqlite.core.SimpleQueue", _Turns)
    monkeypatch.setattr(AsyncAdapt_aiosqlite_connection, "_cursor_cls", _Cursor)
    monkeypatch.setattr(AsyncConnection, "__aexit__", _close)
    for name in ("commit", "rollback"):
        monkeypatch.setattr(AsyncAdapt_aiosqlite_connection, name, _end_at_once(name))
    monkeypatch.setattr("aiosqlite.core.Thread", lambda **_: SimpleNamespace(start=list))


@pytest.fixture
def no_waiting(no_threads: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Let retries not wait; gives the seconds that those to Slack would have waited."""
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async def keep_all(*_: object) -> None:
        """An empty database has nothing to forget, which takes a third of a world's start."""

    monkeypatch.setattr("bot.store.monitors.forget_old", keep_all)
    monkeypatch.setattr("bot.slack.calls.sleep", wait)
    monkeypatch.setattr("bot.slack.surfaces.SLOW_SECONDS", 20.0)  # whose API is slow says so
    monkeypatch.setattr("bot.slack.surfaces.SLOW_PRIVATE_SECONDS", 20.0)
    monkeypatch.setattr("bot.slack.rows.EDIT_SECONDS", 0.0)
    monkeypatch.setattr("bot.slack.rows.EDITS_A_MINUTE", 10_000)
    monkeypatch.setattr("bot.store.digests.SECOND", 0)
    monkeypatch.setattr("bot.store.digests.MINUTE", 0)
    with stamina.set_testing(True, attempts=3, cap=True):
        yield waits


@pytest.fixture
def make_world(tmp_path: Path, empty_database: Path, no_waiting: list[float]) -> MakeWorld:
    """Makes a world with these settings: `async with make_world(bots=0) as world:`."""
    return partial(new_world, tmp_path, empty_database)


@pytest_asyncio.fixture
async def world(make_world: MakeWorld) -> AsyncIterator[World]:
    """The playground, the bot and the stub API, with signed HTTP requests."""
    async with make_world() as running:
        yield running


@pytest_asyncio.fixture(params=["http", "socket"])
async def any_world(request: pytest.FixtureRequest, make_world: MakeWorld) -> AsyncIterator[World]:
    """A world, once with signed HTTP requests and once in Socket Mode."""
    async with make_world(mode=request.param) as running:
        yield running


@pytest_asyncio.fixture
async def digest_world(make_world: MakeWorld) -> AsyncIterator[World]:
    """A world with a digest at 09:00 UTC in #certificates; it is 07:30 there."""
    async with make_world(DIGEST_CHANNEL=CERTS) as running:
        yield running


@pytest_asyncio.fixture
async def socket_world(make_world: MakeWorld) -> AsyncIterator[World]:
    """A world in Socket Mode."""
    async with make_world(mode="socket") as running:
        yield running


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def postgresql_url(postgres: Cluster) -> str:
    """The URL of a database of PostgreSQL with the schema."""
    return postgres.new_database("migrated")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once for each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.sqlite3"
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.new_database()
