"""Notices, claims and several digests, wherever a real process is killed. Run with `-m matrix`."""

import asyncio
from collections.abc import AsyncIterator
from datetime import time, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from bot.dates import DIGEST, Subscription
from bot.playground.objects import ANN, BEN, BOT_USER, CERTS, GENERAL, PostedMessage
from bot.sighting import Claim
from bot.store.database import Database
from bot.store.marks import MarkStore, read_marks
from bot.store.notices import EVENT
from bot.store.subscriptions import Subscriptions
from bot.store.tables import subscriptions, watches
from tests.killed import begin, ended
from tests.postgres import Cluster
from tests.processes import process
from tests.test_edits import edit_times
from tests.test_matrix_processes import KILLED, environ
from tests.world import MakeWorld, World, words

pytestmark = [pytest.mark.matrix, pytest.mark.slow]

NOTICES, BOARDS, WEB = (
    "bot.store.notices:NoticeStore", "bot.store.digests:DigestStore", "bot.slack.web:SlackWeb",
)  # fmt: skip
MARKS = "bot.store.marks:MarkStore"
NEVER = "23:59"
NAMES = {ANN: "Ann", BEN: "Ben"}
BROKEN = [
    f"{NOTICES}.compared before 1",
    f"{NOTICES}.compared after 1",
    f"{NOTICES}.claim after 1",
    f"{NOTICES}.is_claimed after 1",
    f"{WEB}.post before 1",
    f"{WEB}.post after 1",
    f"{NOTICES}.posted before 1",
    f"{NOTICES}.posted after 1",
    f"{WEB}.post after 2",
    f"{NOTICES}.posted before 2",
]
FIXED = [
    f"{NOTICES}.compared after 1",
    f"{BOARDS}.redraw before 1",
    f"{BOARDS}.redraw after 1",
    f"{BOARDS}.turn after 1",
    f"{WEB}.update before 1",
    f"{WEB}.update after 1",
    f"{BOARDS}.drawn before 1",
    f"{BOARDS}.drawn after 1",
    f"{MARKS}.release before 1",
    f"{WEB}.post before 1",
    f"{WEB}.post after 1",
    f"{NOTICES}.posted before 1",
]
TIMES = ("before", "after")
BUTTONS = {
    "I'll take it": f"{MARKS}.take",
    "Release": f"{MARKS}.release",
    "Rescan": "bot.api.client:SSLMonitor.scan",
}
DRAWN = [
    f"{BOARDS}.redraw before 1",
    f"{BOARDS}.redraw after 1",
    f"{BOARDS}.turn after 1",
    f"{WEB}.update after 1",
    f"{BOARDS}.drawn before 1",
]
PRESSED = [
    *((label, f"{action} {when} 1") for label, action in BUTTONS.items() for when in TIMES),
    *((label, point) for label in ("I'll take it", "Rescan") for point in DRAWN),
]
DIGESTS = [
    f"{BOARDS}.claim after 1",
    f"{WEB}.post after 1",
    f"{BOARDS}.posted before 1",
    f"{BOARDS}.claim after 2",
    f"{WEB}.post before 2",
    f"{WEB}.post after 2",
    f"{BOARDS}.posted after 2",
]


@pytest_asyncio.fixture
async def hosts(make_world: MakeWorld) -> AsyncIterator[World]:
    """Two fine hosts in the machine's time; the bot has seen them, and its digest is not due."""
    async with make_world(bots=0, real_time=True) as world:
        for number in range(2):
            world.api.add(f"h{number}.demo.test", days=80)
        yield world


async def look(world: World, **more: str) -> int:
    """Let a process do once what the bot's clock has it do; gives its exit code."""
    return await ended(begin(environ(world, **{"DIGEST_TIME": NEVER, **more}), "look"))


async def until_done(world: World, **more: str) -> None:
    """Run processes until one has nothing left to do: at most six."""
    for _ in range(6):
        if await look(world, **more) == 0:
            return
        await asyncio.sleep(1)  # the lease of the process that was killed
    raise AssertionError("no process could finish")


def notices(world: World, *, replies: bool = False) -> list[PostedMessage]:
    told = [m for m in world.seen(by=BEN) if (m.metadata or {}).get("event_type") == EVENT]
    return [m for m in told if (m.thread_ts is not None) is replies]


async def break_both(world: World, **more: str) -> None:
    await until_done(world, **more)
    for row in world.api.rows.values():
        row["ssl_valid"] = False


def assert_each_is_told_once(world: World) -> None:
    assert sorted(m.text.split()[2] for m in notices(world)) == ["h0.demo.test", "h1.demo.test"]
    assert notices(world, replies=True) == []


@pytest.mark.parametrize("point", BROKEN)
async def test_what_breaks_is_told_once_wherever_a_process_is_killed(
    point: str, hosts: World
) -> None:
    await break_both(hosts)
    assert await look(hosts, KILL_AT=point) == KILLED
    await until_done(hosts)
    assert_each_is_told_once(hosts)


@pytest.mark.parametrize("point", [f"{NOTICES}.claim after 1", f"{WEB}.post after 1"])
async def test_what_breaks_is_told_once_wherever_a_process_is_terminated(
    point: str, hosts: World
) -> None:
    await break_both(hosts)
    assert await look(hosts, TERM_AT=point) == 1
    await until_done(hosts)
    assert_each_is_told_once(hosts)


@pytest.mark.parametrize("point", FIXED)
async def test_what_is_fixed_is_struck_through_and_told_once_wherever_a_process_is_killed(
    point: str, hosts: World
) -> None:
    world = hosts
    await break_both(world)
    await until_done(world)
    first, database = min(world.api.rows), Database(world.settings.database_url)
    earlier = world.clock() - timedelta(seconds=2)  # a look ends no claim of the same second
    await MarkStore(database).take([Claim(first, BEN, "Ben", earlier)])
    world.api.rows[first]["ssl_valid"] = True
    assert await look(world, KILL_AT=point) == KILLED
    await until_done(world)
    fixed, broken = sorted(notices(world), key=lambda m: "h1" in m.text)
    assert "~`h0.demo.test`~" in words(fixed)
    assert "~`" not in words(broken)
    assert [m.thread_ts for m in notices(world, replies=True)] == [fixed.ts]
    async with database.read() as connection:
        assert (await read_marks(connection)).claims == {}
    await database.close()


@pytest.mark.parametrize(("label", "point"), PRESSED)
async def test_a_notice_shows_who_has_it_wherever_the_process_that_was_asked_is_killed(
    label: str, point: str, hosts: World
) -> None:
    await press_and_end(hosts, label, point, KILLED, "KILL_AT")


TERMINATED = [("Rescan", f"{WEB}.update before 1"), ("I'll take it", f"{BOARDS}.redraw after 1")]


@pytest.mark.parametrize(("label", "point"), TERMINATED)
async def test_a_notice_shows_who_has_it_wherever_the_process_that_was_asked_is_terminated(
    label: str, point: str, hosts: World
) -> None:
    await press_and_end(hosts, label, point, 0, "TERM_AT")


async def press_and_end(world: World, label: str, point: str, code: int, signal: str) -> None:
    """Press a button of a notice, and let the process end at this point."""
    database = Database(world.settings.database_url)
    await break_both(world)
    await until_done(world)
    if had := [BEN] * (label == "Release"):
        claim = Claim(min(world.api.rows), BEN, "Ben", world.clock())
        await MarkStore(database).take([claim])
        await until_done(world)
    at = {"SLACK_MODE": "socket", "DIGEST_TIME": NEVER, signal: point}
    serving = begin(environ(world, **at), "run")
    await asyncio.wait_for(connected(world), 20)
    (shown,) = [m for m in notices(world) if "h0" in m.text]
    await world.press(label, on=shown)
    assert await ended(serving) == code
    await until_done(world)
    has_it = had if point == f"{BUTTONS[label]} before 1" else [ANN] * (label == "I'll take it")
    (shown,) = [m for m in notices(world) if "h0" in m.text]
    assert [who for who in (ANN, BEN) if f"🙋 {NAMES[who]}" in words(shown)] == has_it
    assert "Scanning…" not in words(shown)
    async with database.read() as connection:
        claims = (await read_marks(connection)).claims
    assert [each.user for each in claims.values()] == has_it
    await database.close()


async def connected(world: World, sockets: int = 1) -> None:
    """Wait until the processes have opened their sockets."""
    while len(world.playground.delivery.sockets) < sockets:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.05)


async def test_two_processes_edit_a_digest_once_a_second_and_leave_it_in_its_newest_state(
    hosts: World,
) -> None:
    world = hosts
    numbers = [world.api.add(f"b{n}.demo.test", days=-1, valid=False) for n in range(10)]
    await until_done(world, DIGEST_TIME="00:00", NOTICE_INTERVAL="1d")
    (shown,) = [m for m in world.seen(by=BEN) if "Certificates on" in words(m)]
    alone = {"SLACK_MODE": "socket", "DIGEST_TIME": "00:00", "NOTICE_INTERVAL": "1d"}
    two = [process("run", **environ(world, **alone)) for _ in range(2)]
    async with two[0] as one, two[1] as other:
        await asyncio.wait_for(connected(world, 4), 60)
        times = edit_times(world, shown)
        for n in range(10):
            await world.press("Rescan", on=shown, row=f"b{n}.demo.test", by=(ANN, BEN)[n % 2])
        await world.until(lambda: words(shown).count("↻ no change ·") == 10)
        for number in numbers:
            world.api.renew(number, days=80)
        for n in range(10):
            await world.press("Rescan", on=shown, row=f"b{n}.demo.test", by=(ANN, BEN)[n % 2])
        await world.until(lambda: "✅ 10 of 10 fixed." in words(shown))
        for each in (one, other):
            each.terminate()
            await each.communicate()
    assert words(shown).count("↻ fixed ·") == 10
    assert "Scanning…" not in words(shown)
    assert all(n <= at - times[0] + 1.7 for n, at in enumerate(times)), times


@pytest.mark.parametrize("point", DIGESTS)
async def test_two_digests_that_are_due_at_once_are_posted_once_each(
    point: str, hosts: World
) -> None:
    world, always = hosts, {"DIGEST_TIME": "00:00", "NOTICE_INTERVAL": "1d"}
    world.slack.channels[GENERAL].members.add(BOT_USER)  # so that it may read the history
    world.api.add("h9.demo.test", days=2)
    database = Database(world.settings.database_url)
    set_up = Subscription(DIGEST, GENERAL, at=time(0))
    await Subscriptions(database).put(set_up)
    async with database.read() as connection:
        assert await connection.scalar(select(subscriptions.c.channel)) == GENERAL
    await database.close()
    assert await look(world, KILL_AT=point, **always) == KILLED
    await until_done(world, **always)
    for channel in (CERTS, GENERAL):
        posted = world.seen(by=BEN, to=channel)
        assert len([m for m in posted if "Certificates on" in words(m)]) == 1


async def test_three_processes_on_one_postgresql_tell_each_change_once(
    hosts: World, postgres: Cluster
) -> None:
    url = await asyncio.to_thread(postgres.new_database, "migrated")
    await break_both(hosts, DATABASE_URL=url)
    codes = await asyncio.gather(*[look(hosts, DATABASE_URL=url) for _ in range(3)])
    assert KILLED not in codes
    await until_done(hosts, DATABASE_URL=url)
    assert_each_is_told_once(hosts)


WATCHES = [
    f"{WEB}.update after 1",
    f"{WEB}.post_at before 1",
    f"{WEB}.post_at after 1",
    "bot.store.rechecks:RecheckStore.keep after 1",
]


@pytest.mark.parametrize("point", WATCHES)
async def test_a_fix_is_told_once_wherever_the_process_that_watches_is_killed(
    point: str, hosts: World
) -> None:
    hosts.api.rows[101]["ssl_valid"] = False
    async with hosts.running_bot():
        await hosts.ask("/ssl watch h0.demo.test", "Watching until")
        await hosts.settled()
        async with hosts.bot.database.write() as connection:
            await connection.execute(update(watches).values(next_at=hosts.clock()))
    hosts.api.renew(101, days=90)
    assert await look(hosts, KILL_AT=point) == KILLED
    await until_done(hosts)
    said = [words(each) for each in hosts.seen()]
    assert sum("✅ *Fixed*" in each for each in said) == 1
    assert not any("Watching until" in each for each in said)


SCANS = [
    f"{WEB}.post after 1",
    "bot.api.client:SSLMonitor.scan before 1",
    f"{WEB}.update before 1",
    f"{WEB}.update after 1",
]


@pytest.mark.parametrize("point", SCANS)
async def test_scanning_does_not_stay_wherever_the_process_that_scans_is_killed(
    point: str, hosts: World
) -> None:
    serving = begin(environ(hosts, SLACK_MODE="socket", DIGEST_TIME=NEVER, KILL_AT=point), "run")
    await asyncio.wait_for(connected(hosts), 20)
    await hosts.say("/ssl scan h0.demo.test")
    assert await ended(serving) == KILLED
    (shown,) = hosts.seen(by=BEN)
    answered = point == f"{WEB}.update after 1"
    assert ("Scanning…" in words(shown)) is not answered
    await until_done(hosts)
    assert ("The bot was interrupted before" in words(shown)) is not answered
    assert hosts.seen(by=BEN) == [shown]
