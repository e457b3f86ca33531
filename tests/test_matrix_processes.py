"""One digest, wherever a real process is killed, paused or loses its database. `-m matrix`."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import update

from bot.playground.objects import BEN, CERTS, PostedMessage
from bot.store.database import Database
from bot.store.tables import digests
from bot.store.upgrade import upgrade
from tests.killed import begin, ended
from tests.postgres import Cluster, standby_of
from tests.stub_api import KEY
from tests.world import MakeWorld, World, environment, words

pytestmark = [pytest.mark.matrix, pytest.mark.slow]

KILLED = -signal.SIGKILL
STORE, WEB = "bot.store.digests:DigestStore", "bot.slack.web:SlackWeb"
POINTS = [
    "bot.api.client:SSLMonitor.measure_clock after 1",
    "bot.digest:gather before 1",
    "bot.digest:gather after 1",
    f"{STORE}.claim after 1",
    "bot.digest:Digest._still_ours after 1",
    f"{WEB}.post before 1",
    f"{WEB}.post after 1",
    f"{WEB}.find_posts after 1",
    f"{STORE}.posted before 1",
    f"{STORE}.posted after 1",
    f"{WEB}.share_file before 1",
    f"{WEB}.share_file after 1",
    f"{WEB}.post before 2",
    f"{WEB}.post after 2",
    f"{STORE}.posted before 2",
    f"{STORE}.posted after 2",
]


@pytest_asyncio.fixture
async def machine_world(make_world: MakeWorld) -> AsyncIterator[World]:
    """A world without a bot, in the machine's time, whose digest has two messages."""
    async with make_world(bots=0, real_time=True) as world:
        for number in range(40):
            world.api.add(f"h{number}.demo.test", days=5.5)
        yield world


def environ(world: World, **more: str) -> dict[str, str]:
    file = Path(world.settings.database_url.removeprefix("sqlite:///"))
    api = {"SSLMONITOR_API_URL": world.api.url, "SSLMONITOR_API_KEY": KEY}
    return {
        "PATH": os.environ["PATH"],
        "DIGEST_CHANNEL": CERTS,
        **environment(world.playground, "http", file),
        **api,
        **more,
    }


def start(world: World, **more: str) -> ForkServerProcess:
    return begin(environ(world, **more), "digest")


async def until_posted(world: World, **more: str) -> None:
    """Run processes until one says that the digest is posted: at most five."""
    for _ in range(5):
        if await ended(start(world, **more)) == 0:
            return
        await asyncio.sleep(1)  # the lease of the process that was killed
    raise AssertionError("no process could finish the digest")


def heads(world: World) -> list[PostedMessage]:
    return [m for m in world.seen(by=BEN) if "Certificates on" in words(m) and not m.in_thread]


def assert_one_digest(world: World) -> None:
    """One head, each host once, and one file."""
    assert len(heads(world)) == 1
    text = "\n".join(words(m) for m in world.seen(by=BEN))
    missing = [n for n in range(40) if f"h{n}.demo.test" not in text]
    assert missing == []
    threads = [m for m in world.seen(by=BEN) if m.in_thread]
    assert len({words(m) for m in threads}) == len(threads)
    assert sum(bool(m.files) for m in threads) == 1


@pytest.mark.parametrize("point", POINTS)
async def test_there_is_one_digest_wherever_a_process_is_killed(
    point: str, machine_world: World
) -> None:
    world = machine_world
    assert await ended(start(world, KILL_AT=point)) == KILLED
    await until_posted(world)
    assert_one_digest(world)


EDIT_POINTS = [
    f"{STORE}.claim after 1",
    f"{WEB}.is_last before 1",
    f"{WEB}.is_last after 1",
    f"{WEB}.update before 1",
    f"{WEB}.update after 1",
    f"{STORE}.posted before 1",
    f"{STORE}.posted after 1",
]


@pytest.mark.parametrize("chat", [False, True], ids=["silence", "others post"])
@pytest.mark.parametrize("point", EDIT_POINTS)
async def test_all_clear_is_told_once_wherever_the_process_that_edits_it_is_killed(
    point: str, chat: bool, machine_world: World
) -> None:
    world = machine_world
    world.api.rows.clear()
    world.api.add("fine.demo.test")
    await until_posted(world)
    await a_day_ago(world)
    assert await ended(start(world, KILL_AT=point)) == KILLED
    if chat:
        world.slack.post(CERTS, BEN, "lunch?")
    await until_posted(world)
    await until_posted(world)
    done = point.startswith((f"{WEB}.update after", STORE + ".posted"))
    assert len(heads(world)) == (2 if chat and not done else 1)
    edited = sum("Updated in place" in words(head) for head in heads(world))
    assert edited == (0 if chat and not done else 1)


async def a_day_ago(world: World) -> None:
    """Let the digest of today be yesterday's."""
    database = Database(world.settings.database_url)
    async with database.quick_write() as connection:
        day = (world.clock() - timedelta(days=1)).date().isoformat()
        await connection.execute(update(digests).values(day=day))
    await database.close()


async def test_a_process_that_slept_between_claim_and_post_posts_no_second_digest(
    machine_world: World,
) -> None:
    world = machine_world
    sleeper = start(world, PAUSE_AT="bot.digest:Digest._still_ours before 1")
    await stopped(sleeper)
    await until_posted(world)
    assert sleeper.pid
    os.kill(sleeper.pid, signal.SIGCONT)
    await ended(sleeper)
    assert_one_digest(world)


async def stopped(running: ForkServerProcess) -> None:
    """Wait until a process is stopped by a signal (proc(5), the third field of stat)."""
    async with asyncio.timeout(30):
        assert running.pid
        while not _is_stopped(running.pid):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_three_processes_on_one_postgresql_post_one_digest(
    machine_world: World, postgres: Cluster
) -> None:
    world, url = machine_world, await asyncio.to_thread(postgres.new_database, "migrated")
    codes = await asyncio.gather(*[ended(start(world, DATABASE_URL=url)) for _ in range(3)])
    await until_posted(world, DATABASE_URL=url)
    assert KILLED not in codes
    assert_one_digest(world)


async def test_a_promotion_in_the_middle_of_a_digest_loses_and_doubles_nothing(
    machine_world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The primary dies between claim and post; the standby is promoted, with the claim in it."""
    world = machine_world
    async with standby_of() as pair:
        await upgrade(pair.url)
        point = f"{WEB}.post after 1"
        assert await ended(start(world, DATABASE_URL=pair.url, KILL_AT=point)) == KILLED
        await asyncio.to_thread(pair.fail_over)
        await until_posted(world, DATABASE_URL=pair.url)
        assert_one_digest(world)


async def test_a_process_goes_on_when_its_primary_dies_and_the_standby_is_promoted(
    machine_world: World,
) -> None:
    world = machine_world
    async with standby_of() as pair:
        await upgrade(pair.url)
        pause = "bot.digest:Digest._still_ours before 1"
        running = start(world, DATABASE_URL=pair.url, PAUSE_AT=pause)
        await stopped(running)
        await asyncio.to_thread(pair.fail_over)
        assert running.pid
        os.kill(running.pid, signal.SIGCONT)
        await ended(running)
        await until_posted(world, DATABASE_URL=pair.url)
        assert_one_digest(world)
