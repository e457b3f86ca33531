"""The bot while its own database can't be used: what was done is told as done."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from bot.commands import router
from bot.playground.objects import ANN, BEN
from bot.store.database import Database
from bot.store.monitors import AuditLine
from tests.world import MakeWorld, World, labels, words

pytestmark = pytest.mark.slow

TABLES = ("audit", "sightings", "thresholds", "watches", "digests", "notes", "deliveries")


def file_of(world: World) -> Path:
    return Path(world.settings.database_url.partition("///")[2])


@contextmanager
def no_tables(file: Path) -> Iterator[None]:
    """Nothing can be read or written."""
    with sqlite3.connect(file) as other:
        known = {row[0] for row in other.execute("SELECT name FROM sqlite_master")}
        for table in known.intersection(TABLES):
            other.execute(f"ALTER TABLE {table} RENAME TO lost_{table}")
    other.close()
    yield


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process writes without end: the bot can read, but not write."""
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


@contextmanager
def full(file: Path) -> Iterator[None]:
    """The disk is full: whatever adds a row fails."""
    with sqlite3.connect(file) as other:
        known = {row[0] for row in other.execute("SELECT name FROM sqlite_master")}
        for table in known.intersection(TABLES):
            other.execute(
                f"CREATE TRIGGER full_{table} BEFORE INSERT ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
    other.close()
    yield


async def quiet(world: World) -> None:
    """Wait until the bot is writing nothing in the background: a lock would not be free."""
    async with world.bot.database.write():
        pass


Fault = Callable[[Path], AbstractContextManager[None]]
FAULTS = {"no tables": no_tables, "locked": locked, "full": full}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("database", "placeholders"):
        monkeypatch.setattr(f"bot.store.{module}.QUICK_SECONDS", 0.1)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("during", [False, True], ids=["before", "during"])
async def test_an_added_host_is_reported_as_added_and_announced(
    fault: Fault, during: bool, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    adding = world.api.hold("monitor/add")
    if during:
        await world.say("/ssl add api.demo.test")
        await adding.reached.wait()
        await quiet(world)
    with fault(file_of(world)):
        if not during:
            await world.say("/ssl add api.demo.test")
        adding.release()
        card = await world.card("`api.demo.test`", "added", "could not be recorded")
        await world.card("Ann added `api.demo.test`.", by=BEN)
        await world.settled()
    assert "try again" not in words(card).lower()
    assert len(world.api.rows) == 1
    assert "Could not write the audit entry" in caplog.text
    assert "user_name='Ann', command='add', target='api.demo.test:443'" in caplog.text


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_deleted_monitor_is_reported_as_deleted_and_announced(
    fault: Fault, world: World
) -> None:
    world.api.add("api.demo.test")
    card = await world.ask("/ssl delete api.demo.test", "Delete the monitor")
    with fault(file_of(world)):
        await world.press("Delete", on=card)
        await world.card("no longer monitored", "could not be recorded")
        await world.card("Ann deleted the monitor for `api.demo.test`.", by=BEN)
        await world.settled()
    assert world.api.rows == {}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_scan_is_shown_with_its_result(fault: Fault, world: World) -> None:
    world.api.add("api.demo.test", days=80)
    with fault(file_of(world)):
        await world.ask("/ssl scan api.demo.test", "OK", "asked by Ann", seen_by=BEN)
        await world.settled()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("line", ["/ssl warn api.demo.test 14d", "/ssl watch api.demo.test"])
async def test_what_needs_the_database_says_that_it_can_not_be_used(
    line: str, fault: Fault, world: World
) -> None:
    world.api.add("api.demo.test", days=-1, valid=False)
    with fault(file_of(world)):
        card = await world.ask(line, "The bot's database can't be used")
        await world.settled()
    assert card.ephemeral_for == ANN
    assert "✅" not in words(card)
    assert "Scanning…" not in "".join(map(words, world.seen()))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_an_added_host_is_still_reported_as_added_if_its_watch_can_not_start(
    fault: Fault, world: World
) -> None:
    card = await world.ask("/ssl watch new.demo.test", "NOT MONITORED")
    with fault(file_of(world)):
        await world.press("Add and watch", on=card)
        await world.card("`new.demo.test` is now monitored", "could not start")
        await world.card("Ann added `new.demo.test`.", by=BEN)
        await world.settled()


#: Each command that only changes the bot's own records, and what is told once it is done.
OWN = {
    "take b.demo.test": "has taken", "mute b.demo.test 3d": "Ann muted",
    "note b.demo.test ask Ben": "Note on", "warn b.demo.test 9d": "set the threshold",
    "runbook b.demo.test https://a.test": "is linked", "release b.demo.test": "Ann released",
    "unmute b.demo.test": "Ann unmuted", "digest here at 09:00": "set up a digest",
    "digest pause 3d": "Ann paused", "digest resume": "Ann resumed", "digest off": "turned off",
    "calendar new": "/calendar/", "notices here": "set up notices",
    "notices pause 3d": "Ann paused", "notices resume": "Ann resumed", "notices off": "turned off",
}  # fmt: skip


async def test_a_change_of_the_bots_own_records_is_never_told_wrongly(world: World) -> None:
    """Each fails once before it is stored, and once when nobody knows whether it was stored."""

    def fails(*_: object) -> NoReturn:
        raise OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))

    world.api.add("b.demo.test", days=-1, valid=False)
    engine = world.bot.database.engine.sync_engine
    for line, done in OWN.items():
        with locked(file_of(world)):
            card = await world.ask(f"/ssl {line}", "The bot's database can't be used")
        assert "may have been stored" not in words(card)
        event.listen(engine, "commit", fails)
        await world.ask(f"/ssl {line}", "may have been stored; look before you repeat it")
        event.remove(engine, "commit", fails)
        await world.ask(f"/ssl {line}", done)


@pytest.mark.parametrize("line", ["digest here daily", "digest resume"])
async def test_a_digest_is_not_set_up_if_the_answer_says_that_it_failed(
    line: str, world: World
) -> None:
    await world.ask("/ssl digest here daily", "set up a digest")
    await world.ask("/ssl digest off", "turned off")
    with sqlite3.connect(file_of(world)) as other:
        other.execute("ALTER TABLE digests RENAME TO lost")
    other.close()
    await world.ask(f"/ssl {line}", "The bot's database can't be used")
    assert world.bot.records.subscriptions.digests() == []


async def test_reading_goes_on_without_the_database(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    reads = (
        ("/ssl status api.demo.test", "`api.demo.test`"),
        ("/ssl list", "1 monitor"),
        ("/ssl digest", "All clear"),
        ("/ssl help", "What /ssl can do"),
        ("/ssl ping", "answers in"),
        ("/ssl", "1 monitor"),
    )
    with no_tables(file_of(world)):
        for line, text in reads:
            await world.ask(line, text)


async def test_home_is_shown_without_the_database(world: World) -> None:
    world.api.add("api.demo.test", days=5.5)
    with no_tables(file_of(world)):
        home = await world.open_home("`api.demo.test`", "database can't be read")
    assert "Rescan" in labels(home)


async def _typed(line: str, world: World) -> None:
    await world.say(f"/ssl {line}")


async def _pressed(line: str, label: str, world: World) -> None:
    await world.say(f"/ssl {line}")
    await world.press(label, on=await world.card(label))


async def _form(world: World) -> None:
    await world.say("/ssl add")
    await world.submit(await world.modal("Add hosts"), targets="new.demo.test")


#: Each command that changes something: how to ask for it, which call of the API does it, what its
#: card says, and what is then monitored.
CHANGES: dict[str, tuple[Callable[[World], Awaitable[None]], str, str, list[str]]] = {
    "add": (partial(_typed, "add new.demo.test"), "monitor/add", "added", ["a", "b", "new"]),
    "add_now": (_form, "monitor/add", "Ann added", ["a", "b", "new"]),
    "add_and_watch": (
        partial(_pressed, "watch new.demo.test", "Add and watch"),
        "monitor/add", "new.demo.test", ["a", "b", "new"],
    ),
    "delete_now": (
        partial(_pressed, "delete a.demo.test", "Delete"),
        "monitor/delete", "no longer monitored", ["b"],
    ),
    "delete_all": (
        partial(_pressed, "delete *.demo.test", "Delete 2"),
        "monitor/delete", "Deleted 2 monitors.", [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("when", ["before", "during", "after"])
@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_is_reported_as_done_whenever_the_database_fails(
    change: str, when: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ask, endpoint, told, left = CHANGES[change]
    for host in ("a.demo.test", "b.demo.test"):
        world.api.add(host)
    with ExitStack() as stack:

        def break_it() -> None:
            stack.enter_context(locked(file_of(world)))

        held = world.api.hold(endpoint)
        if when == "before":
            break_it()
        await ask(world)
        await held.reached.wait()
        if when == "during":
            await quiet(world)
            break_it()
        if when == "after":
            _break_after(world, break_it)
        held.release()
        await world.card(told)
        await world.settled()
    hosts = [row["host"].partition(".")[0] for row in world.api.rows.values()]
    assert hosts == left
    assert "Could not write the audit entry" in caplog.text
    said = "\n".join(words(each) for each in world.seen()).lower()
    assert "try again" not in said


def _break_after(world: World, break_it: Callable[[], None]) -> None:
    """Let the database fail after the API's answer, at the very moment of the record."""
    records = world.bot.slack._records
    log = records.log

    async def broken(line: AuditLine) -> bool:
        records.log = log  # type: ignore[method-assign]
        await quiet(world)
        break_it()
        return await log(line)

    records.log = broken  # type: ignore[method-assign]


def test_the_table_of_changes_is_complete() -> None:
    changing = {name for name, each in router.commands.items() if each.changes}
    assert changing - set(CHANGES) == {
        *("delete", "mute", "mute_certificate", "runbook", "unmute", "unmute_certificate", "warn"),
        *("calendar", "calendar_new"),
        *("digest_here", "digest_pause", "digest_resume", "digest_resume_now", "digest_off"),
        *("notices_here", "notices_mention", "notices_pause", "notices_resume", "notices_off"),
        "notices_resume_now",
    }  # a question, and a record of the bot's own


async def test_a_database_that_bot_and_engine_share_is_named_when_it_can_not_be_reached(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_: Database) -> NoReturn:
        raise OperationalError("SELECT", {}, sqlite3.OperationalError("unable to open the file"))

    async with make_world(scans=True) as world:
        monkeypatch.setattr(Database, "read", unreachable)
        await world.say("/ssl list")
        await world.card(
            "The database of this SSLmonitor API can't be used (unable to open the file)",
            "in a minute",
        )
        await world.ask("/ssl help", "What /ssl can do")
    assert "Could not use the database: unable to open the file" in caplog.text
    assert "Traceback" not in caplog.text
