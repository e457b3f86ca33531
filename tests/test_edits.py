"""How often messages are edited, over all processes; and that no edit is lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from unittest.mock import AsyncMock

import pytest
import pytest_asyncio
from sqlalchemy import delete, select

from bot.blocks import Message, section
from bot.errors import DatabaseUnavailable
from bot.playground.faults import InjectedFault, rate_limit, refusal
from bot.playground.objects import ANN, BEN, Json, PostedMessage
from bot.slack.transport import EVENTS_PATH
from bot.store.database import Database
from bot.store.digests import Board, DigestStore
from bot.store.tables import DATABASE_NOW, digests, edits
from tests.client_wire import slowdown
from tests.test_bot_rows import digest
from tests.world import World, words

NOW, DAY = datetime(2026, 11, 23, 8, tzinfo=UTC), date(2026, 11, 23)
HEAD = Message("four broken", (section("one"),))


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not pass for a database that is down: edits would be counted apart."""
    monkeypatch.setattr("bot.store.database.QUICK_SECONDS", 60.0)


@pytest_asyncio.fixture
async def stores(any_url: str) -> AsyncIterator[list[DigestStore]]:
    """Three processes on one database, once for each kind of database."""
    databases = [Database(any_url) for _ in range(3)]
    yield [DigestStore(database) for database in databases]
    for database in databases:
        await database.close()


async def posted(store: DigestStore) -> None:
    claimed = await store.claim(DAY, "C1", NOW, [HEAD])
    assert claimed
    await store.posted(claimed, sent=1, ts="1.1", now=NOW, finished=True)


@pytest.mark.slow
async def test_of_forty_edits_in_a_minute_the_next_one_waits(stores: list[DigestStore]) -> None:
    waits: list[float] = []
    begun = time.monotonic()
    for n in range(15):  # 45 messages
        turns = await asyncio.gather(*(each.turn("C1", f"{n}.{id(each)}") for each in stores))
        waits += sorted(wait for _, wait in turns)
    assert max(waits[:39]) == 0
    assert sum(wait == 0 for wait in waits) == 40
    took = time.monotonic() - begun  # PostgreSQL's clock stands still during a transaction
    assert all(60 - took < wait < 60 + took for wait in waits if wait), (took, waits)


async def test_a_digest_is_edited_once_a_second(stores: list[DigestStore]) -> None:
    database = stores[0]._database
    async with database.read() as connection:
        before = (await connection.execute(select(DATABASE_NOW))).scalar_one()
    await posted(stores[0])
    turns = await asyncio.gather(*(store.turn("C1", "1.1") for store in stores * 2))
    async with database.read() as connection:
        last = (await connection.execute(select(digests.c.drawn_at))).scalar_one()
    assert last >= before + 5000  # six edits
    assert max(wait for _, wait in turns) <= 5
    assert {stored.board.text for stored, _ in turns if stored} == {HEAD.text}


async def test_what_slack_shows_is_known_to_all(
    stores: list[DigestStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.digests.MINUTE", 0)
    one, other, _ = stores
    await posted(one)
    assert await other.undrawn(NOW) == []
    await one.redraw("C1", "1.1", lambda board: Board("three broken", board.blocks))
    shown, _ = await one.turn("C1", "1.1")
    assert shown
    await asyncio.sleep(0.002)  # the database counts milliseconds
    assert [each.board.text for each in await other.undrawn(NOW)] == ["three broken"]
    await other.redraw("C1", "1.1", lambda board: Board("two broken", board.blocks))
    assert not await one.drawn(shown)
    newest, _ = await one.turn("C1", "1.1")
    assert newest
    assert await one.drawn(newest)
    assert await other.undrawn(NOW) == []


def edit_times(world: World, shown: PostedMessage) -> list[float]:
    """When the message was edited; the list grows."""
    times: list[float] = []

    def note() -> None:
        edits = [call for call in edit_calls(world) if call["request"]["ts"] == shown.ts]
        now = asyncio.get_running_loop().time()
        times.extend([now] * (len(edits) - len(times)))

    world.slack.subscribe(note)
    return times


def edit_calls(world: World) -> list[Json]:
    return [call for call in world.slack.traffic if call["name"] == "chat.update"]


def row_of(world: World, host: str) -> str:
    texts = [str(b.get("text", {}).get("text", "")) for b in world.seen(by=BEN)[0].blocks]
    return next((text for text in texts if f"`{host}`" in text), "")


@pytest.mark.slow
async def test_two_replicas_edit_a_digest_once_in_each_interval_and_end_with_the_newest_state(
    digest_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = digest_world
    monkeypatch.setattr("bot.store.digests.SECOND", 300)
    numbers = world.api.add_many(10, valid=False)
    shown = await digest(world)
    for number in numbers:
        world.api.renew(number, days=80)
    times = edit_times(world, shown)
    async with world.running_bot():
        ports = [bot.port for bot in world.bots]
        for n in range(10):
            world.playground.events_url = f"http://127.0.0.1:{ports[n % 2]}{EVENTS_PATH}"
            await world.press("Rescan", on=shown, row=f"h{n}.demo.test", by=BEN)
        await world.until(lambda: "✅ 10 of 10 fixed." in words(world.seen(by=BEN)[0]))
        await world.settled()
    assert "Scanning…" not in words(world.seen(by=BEN)[0])
    late = 1.7 * slowdown()  # one may have been held up
    assert len(times) <= (times[-1] - times[0]) / 0.3 + late, times


@pytest.mark.parametrize(("fault", "times"), [(rate_limit(30), 1), (refusal("fatal_error"), 3)])
async def test_an_outcome_that_slack_did_not_take_is_shown_by_the_next_look(
    digest_world: World, fault: InjectedFault, times: int
) -> None:
    world = digest_world
    number = world.api.add("a.demo.test", valid=False)
    shown = await digest(world)
    held, world.bot.watches.show = world.api.hold("monitor/scan"), None  # what draws it again soon
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "Scanning…" in row_of(world, "a.demo.test"))
    world.api.renew(number, days=80)
    world.slack.faults.add("chat.update", fault, times=times)
    held.release()
    await world.card("asked by Ben")  # the reply in the thread
    await world.settled()
    assert "Scanning…" in row_of(world, "a.demo.test")
    if fault.retry_after:  # Slack isn't asked again before that
        edits = len(edit_calls(world))
        await world.bot.slack._boards.catch_up()
        assert len(edit_calls(world)) == edits
        world.bot.slack._boards._limited_until = 0.0
    await world.bot.slack._boards.catch_up()
    assert "~`a.demo.test`~" in row_of(world, "a.demo.test")


@pytest.mark.slow
async def test_what_was_drawn_without_the_database_is_drawn_again_from_it(
    digest_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = digest_world
    world.api.add_many(2, valid=False)
    shown = await digest(world)
    await world.press("Rescan", on=shown, row="h0.demo.test", by=BEN)
    await world.settled()
    boards = world.bot.slack._boards
    async with world.running_bot() as other:
        await world.press("Rescan", on=shown, row="h1.demo.test", by=ANN)
        await world.settled()
        while await boards._store.undrawn(world.clock()):
            await other.slack._boards.catch_up()
    world.playground.events_url = f"http://127.0.0.1:{world.bot.port}{EVENTS_PATH}"
    with monkeypatch.context() as patch:
        for door in ("turn", "redraw"):
            patch.setattr(DigestStore, door, AsyncMock(side_effect=DatabaseUnavailable("slow")))
        await world.press("Rescan", on=shown, row="h0.demo.test", by=BEN)
        await world.settled()
    assert "Ann" not in row_of(world, "h1.demo.test")
    await boards.catch_up()
    assert "no change · Ann" in row_of(world, "h1.demo.test")


async def test_a_scan_does_not_wait_for_the_edit_that_shows_it(
    digest_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = digest_world
    monkeypatch.setattr("bot.slack.row_buttons.PATIENCE_SECONDS", 0.01)
    number = world.api.add("a.demo.test", valid=False)
    shown = await digest(world)
    world.api.renew(number, days=80)
    scan, edit = world.api.hold("monitor/scan"), world.slack.faults.hold("chat.update", after=False)
    await world.press("Rescan", on=shown, by=BEN)
    await edit.reached.wait()
    await asyncio.wait_for(scan.reached.wait(), 5)
    scan.release()
    edit.release()
    await world.until(lambda: "~`a.demo.test`~" in row_of(world, "a.demo.test"))
    await world.settled()
    assert "fine · Ben" in row_of(world, "a.demo.test")


@pytest.mark.parametrize("is_list", [False, True], ids=["digest", "list"])
async def test_a_replica_shows_what_a_killed_one_left(is_list: bool, digest_world: World) -> None:
    world = digest_world
    world.api.add("a.demo.test", valid=False)
    if is_list:
        await world.say("@SSLmonitor list")
    shown = await (world.card("1 monitor", by=BEN) if is_list else digest(world))
    held = world.api.hold("monitor/scan")
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "Scanning…" in words(shown))
    async with world.running_bot() as other:  # the first one is still scanning
        await other.slack._boards.catch_up()
        assert "Scanning…" not in words(shown)
        edits = len(edit_calls(world))
        await other.slack._boards.catch_up()
        assert len(edit_calls(world)) == edits
    held.release()


@pytest.mark.slow
async def test_once_a_minutes_edits_are_used_up_answers_are_posted_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.digests.MINUTE", 60_000)
    async with world.bot.database.write() as connection:
        await connection.execute(delete(edits).where(edits.c.slot >= 4))
    world.api.add_many(7)
    async with asyncio.TaskGroup() as group:
        for number in range(7):
            asker = ANN if number % 2 else BEN
            group.create_task(world.say(f"/ssl scan h{number}.demo.test", by=asker))
    await world.settled()
    cards = [words(card) for card in world.seen(by=BEN)]
    assert len(cards) == 7
    assert all("OK" in card and "Scanning…" not in card for card in cards)
    names = [call["name"] for call in world.slack.traffic]
    assert names.count("chat.update") == 4
    assert names.count("chat.delete") == 3
