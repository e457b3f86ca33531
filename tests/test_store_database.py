import asyncio
import errno
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.dates import Subscription
from bot.errors import BotError, DatabaseUnavailable
from bot.sighting import Claim, Mute
from bot.store.database import QUICK_SECONDS, Database
from bot.store.digests import DigestStore
from bot.store.marks import read_marks
from bot.store.monitors import AuditLine, Records
from bot.store.tables import (
    Instant,
    accounts,
    metadata,
    monitor_facts,
    monitor_history,
    monitors,
    notes,
)
from bot.store.upgrade import newest_migration, open_database, upgrade
from tests.postgres import Cable, Cluster

Door = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)


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


async def test_upgrading_twice_keeps_what_is_stored(any_database: Database) -> None:
    async with any_database.write() as connection:
        await connection.execute(insert(notes).values(key="a", value="kept"))
    await upgrade(any_database.url)
    async with any_database.read() as connection:
        assert await connection.scalar(select(notes.c.value)) == "kept"


def test_the_newest_migration_is_the_last_of_the_chain() -> None:
    assert newest_migration() == ScriptDirectory("bot/store/migrations").get_current_head()


async def test_an_older_database_is_upgraded_and_a_newer_refused(url: str) -> None:
    await upgrade(url, "0011")
    for version in (newest_migration(), "9999"):
        async with open_database(url) as database, database.write() as connection:
            found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
            assert found == newest_migration()
            await connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))
    with pytest.raises(BotError, match="newer version"):
        async with open_database(url):
            pass


async def test_a_database_that_can_not_be_written_is_told_at_the_start(url: str) -> None:
    async with open_database(url) as database, database.write() as connection:
        if "postgresql" in url:
            name = database.engine.url.database
            sql = f"ALTER DATABASE {name} SET default_transaction_read_only = on"
        else:
            sql = (
                "CREATE TRIGGER full BEFORE UPDATE ON alembic_version "
                "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
            assert mode_of(url) == 0o600
        await connection.execute(text(sql))
    with pytest.raises(BotError, match=r"can't be used: .*(read-only|full)"):
        async with open_database(url):
            pass


async def test_processes_that_start_together_upgrade_once(url: str) -> None:
    await asyncio.gather(*(upgrade(url) for _ in range(3)))
    database = Database(url)
    async with database.read() as connection:
        assert await connection.scalar(select(accounts.c.id)) == 1
    await database.close()


@pytest.mark.slow
async def test_what_several_processes_take_release_and_set_at_once_ends_well(
    any_url: str,
) -> None:
    databases = [Database(any_url) for _ in range(4)]
    mute, together = Mute("U0ANN", "Ann", NOW, NOW), asyncio.Barrier(4)

    async def act(number: int) -> None:
        records = Records(databases[number])
        wanted = [number, *range(7, 47)][:: 1 if number % 2 else -1]
        for turn in range(5):
            await together.wait()
            claims = [Claim(each, f"U{number}", "Ann", NOW) for each in (*wanted, 8)]
            stand = await records.marks.take(claims)
            assert {claim.monitor_id for claim in stand} == set(wanted)
            await records.marks.release([7])
            await records.marks.mute({7: mute if turn % 2 else None})
            await records.marks.note(["a.test"], "x" * (turn % 2), by="U0ANN", now=NOW)
            await records.set_threshold("a.test", "9d" * (turn % 2), by="U0ANN", now=NOW)
            await records.subscriptions.put(Subscription("digest", "C1"))
            await records.subscriptions.new_calendar()
            await DigestStore(databases[number]).keep_waiting("C1", {NOW.date(): {7: turn}})

    await asyncio.gather(*map(act, range(4)))
    many = [Claim(n, "U9", "Ann", NOW) for n in range(100, 7_100)]  # with 35,000 values
    assert len(await Records(databases[0]).marks.take(many)) == len(many)
    for database in databases:
        await database.close()


async def test_a_mark_that_is_set_on_several_is_set_on_all_or_none(any_database: Database) -> None:
    marks, mute = Records(any_database).marks, Mute("U0ANN", "Ann", NOW, NOW)
    with pytest.raises((OverflowError, DBAPIError)):
        await marks.mute({7: mute, 2**70: mute})
    with pytest.raises((UnicodeEncodeError, DBAPIError)):
        await marks.note(["a.test", "b.test\ud800"], "ask Ann", by="U0ANN", now=NOW)
    async with any_database.read() as connection:
        known = await read_marks(connection)
    assert (known.mutes, known.notes) == ({}, {})


async def test_a_bug_is_raised_as_it_is_and_not_as_a_fault_of_the_database(
    any_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_database(any_url) as database:
        for bug in ("SELECT nonsense", "INSERT INTO notes (key) VALUES ('no value')"):
            with pytest.raises(DBAPIError):
                async with database.quick_write() as connection:
                    await connection.execute(text(bug))
        with pytest.raises(ZeroDivisionError):
            async with database.quick_read():
                1 / 0  # noqa: B018 - the point
        assert database.fault == ""
        no_zone = NOW.replace(tzinfo=None)
        line = AuditLine(no_zone, "U0ANN", "Ann", "delete", "a.test", "deleted")
        assert not await Records(database).log(line)  # what was done is told as done all the same
        assert ("Traceback" in caplog.text, "'a.test'" in caplog.text) == (True, True)
        async with database.write() as connection:
            await connection.execute(text("DROP TABLE notes"))
        with pytest.raises(DatabaseUnavailable):
            await DigestStore(database).note("gone")
        assert database.fault


async def test_a_read_only_database_is_at_fault_until_it_is_writable(database: Database) -> None:
    full = (
        "CREATE TRIGGER \"%s\" BEFORE %s BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    store = DigestStore(database)
    async with database.write() as connection:
        for change in ("INSERT ON notes", "UPDATE ON alembic_version"):
            name = change.split()[0]
            await connection.execute(text(full % (name, change)))
    with pytest.raises(DatabaseUnavailable):
        await store.keep_note("a", "1")
    assert await store.note("a") is None
    assert database.fault == "database or disk is full"
    with pytest.raises(DatabaseUnavailable):
        await Records(database).look_again()
    async with database.write() as connection:
        for name in ("INSERT", "UPDATE"):
            await connection.execute(text(f'DROP TRIGGER "{name}"'))
    await Records(database).look_again()
    assert database.fault == ""


async def test_nothing_is_stored_in_a_file_that_was_deleted_or_replaced(tmp_path: Path) -> None:
    file, other = tmp_path / "bot.sqlite3", tmp_path / "other.sqlite3"
    async with open_database(f"sqlite:///{other}"), open_database(f"sqlite:///{file}") as database:
        store = DigestStore(database)
        await store.keep_note("a", "1")
        for change in (file.unlink, lambda: other.rename(file)):
            change()
            for use in (store.keep_note("a", "2"), store.note("a")):
                with pytest.raises(DatabaseUnavailable, match=r"deleted or replaced; a restart"):
                    await use
            with pytest.raises(DatabaseUnavailable):
                await Records(database).look_again()
            assert database.fault.endswith("a restart is needed")


async def test_a_disk_that_does_not_answer_is_not_called_a_deleted_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    async with open_database(f"sqlite:///{tmp_path / 'bot.sqlite3'}") as database:
        store = DigestStore(database)
        await store.keep_note("a", "1")
        with monkeypatch.context() as disk:
            disk.setattr(Path, "stat", fails)
            with pytest.raises(DatabaseUnavailable, match=r"open its file: Input/output error\)"):
                await store.note("a")
        assert await store.note("a") == "1"


async def test_a_reader_sees_one_moment(any_database: Database) -> None:
    async with any_database.read() as reader:
        assert await reader.scalar(select(notes.c.value)) is None
        async with any_database.write() as writer:
            await writer.execute(insert(notes).values(key="a", value="new"))
        assert await reader.scalar(select(notes.c.value)) is None


async def test_monitors_of_the_first_schema_keep_what_was_known(url: str) -> None:
    await upgrade(url, "0001")
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(
            text(
                "INSERT INTO monitors (host, port, created_at, next_scan_at, scanned_at, verdict,"
                " message, facts) VALUES ('a.test', 443, 1, 2, 3, 'valid', 'Valid', :facts)"
            ),
            {"facts": b"{}"},
        )
    await upgrade(url)
    async with database.read() as connection:
        monitor = (await connection.execute(select(monitors))).mappings().one()
        facts = await connection.scalar(select(monitor_facts.c.facts))
        piece = (await connection.execute(select(monitor_history))).mappings().one()
    await database.close()
    assert (monitor["account_id"], monitor["host"], monitor["failures"]) == (1, "a.test", 0)
    assert facts == b"{}"
    assert (piece["monitor_id"], piece["verdict"]) == (monitor["id"], "valid")
    assert piece["at"] == monitor["scanned_at"]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        Instant().process_bind_param(datetime(2026, 1, 1), sqlite.dialect())  # noqa: DTZ001 - the point


@pytest.mark.slow
async def test_writes_that_give_up_leave_no_connection_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.database.QUICK_SECONDS", 0.1)
    file = tmp_path / "bot.sqlite3"
    async with open_database(f"sqlite:///{file}") as database:
        records = Records(database)
        for number in range(2):
            other = sqlite3.connect(file, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            tries = (records.take(f"{number} {each}", NOW) for each in range(20))
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
            other.rollback()
            other.close()
            assert {type(each) for each in outcomes} == {DatabaseUnavailable}
        assert await records.take("at last", NOW)
        assert _opened(file) <= 2  # the pool keeps one connection; a second may be closing


@pytest.mark.slow
async def test_one_command_waits_once_for_a_database_that_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.database.QUICK_SECONDS", 0.6)
    file = tmp_path / "bot.sqlite3"
    async with open_database(f"sqlite:///{file}") as database:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        for number in range(4):
            with pytest.raises(DatabaseUnavailable):
                await Records(database).take(str(number), NOW)
        assert 0.6 < time.monotonic() - began < 4 * 0.6
        other.rollback()
        other.close()
        assert await Records(database).take("at last", NOW)


@pytest.mark.slow
async def test_a_slow_database_is_waited_for_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.database.QUICK_SECONDS", 0.6)
    monkeypatch.setattr("bot.store.database.SHORT_SECONDS", 0.1)
    monkeypatch.setattr("bot.store.database.IMPATIENT_SECONDS", 0.25)
    async with open_database(f"sqlite:///{tmp_path}/bot.sqlite3") as database:
        records, done = Records(database), asyncio.Event()
        async with asyncio.TaskGroup() as group, database.write():
            for number in range(4):  # the last ones give up soon, one after another
                with pytest.raises(DatabaseUnavailable):
                    await records.take(str(number), NOW)
            last = group.create_task(records.take("slowly", NOW))
            asyncio.get_running_loop().call_later(0.2, done.set)
            await done.wait()
        assert await last


async def test_a_server_that_is_gone_without_a_word_keeps_nobody_waiting_postgresql(
    postgres: Cluster, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.database.QUICK_SECONDS", 0.3)
    async with Cable(postgres, postgresql_url, tmp_path).laid() as cable:
        database = Database(cable.url, statement_seconds=0.3)
        began = time.monotonic()

        async def ask(door: Door) -> None:
            async with door() as connection:
                assert await connection.scalar(text("SELECT 1")) == 1
                cable.cut()
                await connection.scalar(text("SELECT 2"))

        for door in (database.quick_read, database.quick_write, database.read, database.write):
            with pytest.raises((DatabaseUnavailable, TimeoutError)):
                await ask(door)
        async with database.read() as connection:
            assert await connection.scalar(text("SELECT 3")) == 3
        cable.cut()
        await database.close()
        assert time.monotonic() - began < 8 * QUICK_SECONDS


def mode_of(url: str) -> int:
    """The permissions of SQLite's file."""
    return Path(url.partition("///")[2]).stat().st_mode & 0o777


def _opened(file: Path) -> int:
    """How often this process has the file open."""
    links = Path("/proc/self/fd").iterdir()
    return len([link for link in links if link.exists() and link.resolve() == file])
