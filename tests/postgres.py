"""A PostgreSQL of the tests' own: started when first asked for, never as root, gone at the end.

All workers of a run share it. It listens on a Unix socket alone. Without Debian's `postgresql`
the tests that need it are skipped.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from bot.store.upgrade import upgrade

_FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
SOCKET = ".s.PGSQL.5432"
_numbers = itertools.count()


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("There is no PostgreSQL in /usr/lib/postgresql (Debian's package postgresql).")
    return found[-1].parent


class Cluster:
    """A running server, in a directory of its own."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self._user = self._someone() if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(directory, self._user)

    def _someone(self) -> str:
        """A user that is not root: the server refuses to be run by it."""
        names = {entry.pw_name for entry in pwd.getpwall()}
        return "postgres" if "postgres" in names else "nobody"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", f"{self._directory}/data", *arguments]
        done = subprocess.run(
            command,
            user=self._user,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server keeps it open, so it can't be a pipe
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed ({done.returncode})"

    def create(self) -> None:
        self._run("initdb", "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self, options: str = _FAST) -> None:
        options = f"-c listen_addresses= -k {self._directory} {options}"
        self._run("pg_ctl", "start", "-w", "-l", f"{self._directory}/log", "-o", options)

    def copy(self, primary: Cluster) -> None:
        """Become a standby of a primary, which streams to it (pg_basebackup -R)."""
        where = ("-h", str(primary._directory), "-U", "tests")
        self._run("pg_basebackup", *where, "-R", "-X", "stream", "-c", "fast", "--no-sync")

    def promote(self) -> None:
        self._run("pg_ctl", "promote", "-w")

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "immediate")

    def url(self, database: str) -> str:
        return f"postgresql://tests@/{database}?host={self._directory}"

    async def execute(self, *statements: str) -> None:
        connection = await self._connect()
        try:
            for sql in statements:
                await connection.execute(sql)
        finally:
            await connection.close()

    async def _connect(self) -> asyncpg.Connection:
        host = str(self._directory)
        return await asyncpg.connect(host=host, user="tests", database="postgres")

    @contextmanager
    def connected(self) -> Iterator[Cluster]:
        """Keep a connection open for `new_database`: a new process of the server takes time."""
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as self._runner:
            self._connection = self._runner.run(self._connect())
            try:
                yield self
            finally:
                self._runner.run(self._connection.close())

    def new_database(self, template: str = "template0") -> str:
        """The URL of a new database, empty or like its template."""
        name = f"test{os.getpid()}_{next(_numbers)}"
        # FILE_COPY doesn't write the copy to the WAL; before PostgreSQL 15, there was nothing else.
        how = "STRATEGY FILE_COPY" if int(self._programs.parent.name) >= 15 else ""
        sql = f"CREATE DATABASE {name} TEMPLATE {template} {how}"
        self._runner.run(self._connection.execute(sql))
        return self.url(name)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The server, with a database `migrated` whose schema is up to date."""
    programs, shared = _programs(), tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with _users(shared) as users:
        if not users:
            # Not below `shared`, which the server's user may not read. A disk takes minutes to
            # delete the files of hundreds of databases.
            memory = Path("/dev/shm")
            ample = memory.is_dir() and shutil.disk_usage(memory).free > 6 * 2**30
            users.append(tempfile.mkdtemp(prefix="pg", dir=memory if ample else None))
            _start(Cluster(programs, Path(users[0])))
        users.append(str(os.getpid()))
        cluster = Cluster(programs, Path(users[0]))
    try:
        with cluster.connected():
            yield cluster
    finally:
        with _users(shared) as users:
            users.remove(str(os.getpid()))
            if users == [str(cluster._directory)]:
                users.clear()
                cluster.stop()
                shutil.rmtree(cluster._directory, ignore_errors=True)


@contextmanager
def _users(shared: Path) -> Iterator[list[str]]:
    """The server's directory and the processes that use it; one process at a time may look."""
    with (shared / "postgres.txt").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        users = file.read().split()
        yield users
        file.truncate(0)
        file.write(" ".join(users))


def _start(cluster: Cluster) -> None:
    cluster.create()
    cluster.start()
    asyncio.run(cluster.execute("CREATE DATABASE migrated"))
    asyncio.run(upgrade(cluster.url("migrated")))


class Cable:
    """What lies between a program and the server; `cut` makes it silent, and nobody hangs up.

    Connections made later work.
    """

    def __init__(self, cluster: Cluster, url: str, directory: Path) -> None:
        self._cluster, self._directory = cluster, directory
        self._open: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.url = f"{url.partition('?')[0]}?host={directory}"

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = self._cluster._directory / SOCKET
        far_reader, far_writer = await asyncio.open_unix_connection(far)
        self._writers += writer, far_writer
        for source, to in ((reader, far_writer), (far_reader, writer)):
            self._open.append(asyncio.create_task(self._pass_on(source, to)))

    async def _pass_on(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            to.write(data)
        to.close()

    def cut(self) -> None:
        """Pass nothing on any more."""
        for each in self._open:
            each.cancel()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Cable]:
        """The cable while it is there."""
        server = await asyncio.start_unix_server(self._connect, self._directory / SOCKET)
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._open, return_exceptions=True)
            for each in self._writers:
                each.close()


class Pair:
    """A primary and its standby, which confirms each commit; `url` names both."""

    def __init__(self, primary: Cluster, standby: Cluster) -> None:
        self._primary, self._standby = primary, standby
        hosts = f"{primary._directory},{standby._directory}"
        self.url = f"postgresql://tests@/postgres?host={hosts}&target_session_attrs=read-write"

    def fail_over(self) -> None:
        """The primary dies at once, and the standby takes its place."""
        self.lose_primary()
        self.promote()

    def lose_primary(self) -> None:
        """The primary dies at once; until `promote`, there is nothing that can be written to."""
        self._primary.stop()

    def promote(self) -> None:
        """The standby takes the primary's place."""
        self._standby.promote()


@asynccontextmanager
async def standby_of() -> AsyncIterator[Pair]:
    """A new primary with a synchronous standby; what is committed survives the primary."""
    programs = _programs()
    with (
        tempfile.TemporaryDirectory(prefix="pg") as one,
        tempfile.TemporaryDirectory(prefix="pg") as other,
    ):
        primary, standby = Cluster(programs, Path(one)), Cluster(programs, Path(other))
        await asyncio.to_thread(primary.create)
        await asyncio.to_thread(primary.start, "-c fsync=off -c synchronous_commit=remote_apply")
        try:
            await asyncio.to_thread(standby.copy, primary)
            await asyncio.to_thread(standby.start, "-c fsync=off -c hot_standby=on")
            names = "ALTER SYSTEM SET synchronous_standby_names = '*'"
            await primary.execute(names, "SELECT pg_reload_conf()")
            yield Pair(primary, standby)
        finally:
            for each in (primary, standby):
                with suppress(AssertionError):
                    await asyncio.to_thread(each.stop)
