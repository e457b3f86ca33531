"""What becomes of “Scanning…” if the process that shall replace it dies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import select

from bot.app.composition import Bot
from bot.playground.faults import InjectedFault
from bot.playground.objects import ANN, BEN, BOT_USER, CERTS
from bot.store.tables import notes
from tests.world import MakeWorld, World, words

SAID = "The bot was interrupted before it could show the result here."
HOST = "api.demo.test"


@pytest_asyncio.fixture
async def two(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Two bots: the last one answers. The second look decides, and nobody renews by the clock."""
    monkeypatch.setattr("bot.store.placeholders.LEASE_SECONDS", 1e-9)
    monkeypatch.setattr("bot.store.placeholders.SIGN_SECONDS", 1000.0)
    async with make_world(bots=2) as world:
        for bot in world.bots:
            bot.scheduler.jobs.pause()
        yield world


async def stored(world: World) -> list[str]:
    query = select(notes.c.value).where(notes.c.key.startswith("placeholder "))
    async with world.bot.database.read() as connection:
        return list(await connection.scalars(query))


async def until_stored(world: World, right: Callable[[list[str]], bool]) -> list[str]:
    """Wait until the records of what is in progress are right."""
    async with asyncio.timeout(20):
        while not right(values := await stored(world)):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    return values


async def recorded(world: World) -> str:
    """Wait until what is shown is recorded as it is; gives its record."""
    records = world.bot.records.placeholders._mine.values()

    def is_newest(values: list[str]) -> bool:
        wanted = [msgspec.json.encode(each._wanted).decode() for each in records]
        return len(wanted) == 1 and [each.partition(" ")[2] for each in values] == wanted

    return (await until_stored(world, is_newest))[0]


async def no_record(world: World) -> None:
    await until_stored(world, lambda values: not values)


async def die(bot: Bot) -> None:
    """Let a bot's records be those of a process that is dead."""
    for task in list(bot.records.placeholders._mine):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def look(world: World) -> None:
    """Let the other bot look twice."""
    for _ in range(2):
        await world.bots[0].slack.views.tidy()


async def public_scan(world: World) -> str:
    await world.say(f"/ssl scan {HOST}")
    return (await world.card("Scanning…", by=BEN)).ts


async def mention(world: World) -> str:
    await world.say(f"<@{BOT_USER}> scan {HOST}")
    return (await world.card("Scanning…", by=BEN)).ts


async def card_button(world: World) -> str:
    card = await world.ask(f"<@{BOT_USER}> status {HOST}", "OK")
    await world.press("Rescan", on=card)
    return (await world.card("Scanning…", by=BEN)).ts


DOORS = [public_scan, mention, card_button]


@pytest.mark.slow
async def test_scanning_is_edited_once_its_process_is_dead_and_not_before(two: World) -> None:
    two.api.add(HOST)
    for begin in DOORS:
        await edited_once_its_process_is_dead(two, begin)


async def edited_once_its_process_is_dead(
    world: World, begin: Callable[[World], Awaitable[str]]
) -> None:
    held = world.api.hold("monitor/scan")
    ts = await begin(world)
    await held.reached.wait()
    older = await recorded(world)

    await world.bots[0].slack.views.tidy()
    (record,) = world.bot.records.placeholders._mine.values()
    record._news.set()  # it is renewed between two looks
    await until_stored(world, lambda values: values != [older])
    await world.bots[0].slack.views.tidy()
    assert "Scanning…" in words(world.said("Scanning…"))

    await die(world.bot)
    await look(world)
    shown = world.said(SAID)
    assert (shown.ts, "Ask again." in words(shown)) == (ts, True)
    assert f"Interrupted: Scanning {HOST}…" in words(shown)
    await no_record(world)
    held.release()  # it only slept

    def now() -> str:
        return next(words(m) for m in world.seen(by=BEN) if m.ts == ts)

    await world.until(lambda: "OK" in now() and "asked by" in now())
    assert SAID not in "".join(map(words, world.seen()))
    await world.settled()


async def test_an_answer_is_never_overwritten_even_where_the_bot_is_no_member(two: World) -> None:
    """The process dies after its answer was sent, and before its record is deleted."""
    world = two
    world.api.add(HOST)
    for is_member in (True, False):
        answering = world.slack.faults.hold("chat.update", after=True)
        await world.say(f"/ssl scan {HOST}")
        await answering.reached.wait()
        await recorded(world)
        await die(world.bot)
        if not is_member:
            world.slack.channels[CERTS].members.discard(BOT_USER)
        await look(world)
        answering.release()
        await world.settled()
        assert SAID not in "".join(map(words, world.seen()))
        await no_record(world)


async def test_where_the_bot_may_not_read_it_edits_what_nobody_was_answering(two: World) -> None:
    world = two
    world.api.add(HOST)
    world.slack.channels[CERTS].members.discard(BOT_USER)
    held = world.api.hold("monitor/scan")
    ts = await public_scan(world)
    await held.reached.wait()
    await recorded(world)
    await die(world.bot)
    await look(world)
    assert world.said(SAID).ts == ts
    held.release()


async def test_what_only_the_asker_sees_is_told_to_the_asker(two: World) -> None:
    world = two
    held = world.api.hold("monitor/add")
    await world.say(f"/ssl add {HOST}")
    await held.reached.wait()
    await recorded(world)
    await die(world.bot)
    await look(world)
    told = await world.card(SAID, "check before you retry")
    assert told.ephemeral_for == ANN
    held.release()


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
async def test_whoever_sent_a_form_is_told_in_it_or_directly(closed: bool, two: World) -> None:
    world = two
    form = await world.add_form()
    held = world.api.hold("monitor/add")
    await world.submit(form, targets=HOST)
    await held.reached.wait()
    await recorded(world)
    await die(world.bot)
    if closed:
        world.slack.clear_modals(ANN)
    await look(world)
    if closed:
        await world.card(SAID, "check before you retry", to="D0ANN")
    else:
        await world.modal(SAID, "check before you retry")
    held.release()


async def test_home_is_shown_again_without_the_scan(two: World) -> None:
    world = two
    world.api.add(HOST, days=-1, valid=False)
    home = await world.open_home("EXPIRED", HOST)
    held = world.api.hold("monitor/scan")
    await world.press("Rescan", on=home, row=HOST)
    await world.home("Scanning…")
    await held.reached.wait()
    await recorded(world)
    await die(world.bot)
    await look(world)
    assert "Scanning…" not in words(await world.home("EXPIRED", HOST))
    await world.card(SAID, "Ask again.", to="D0ANN")
    await no_record(world)
    held.release()


async def test_an_answer_that_slack_loses_leaves_no_scanning(two: World) -> None:
    world = two
    world.api.add(HOST)
    held = world.api.hold("monitor/scan")
    await public_scan(world)
    await held.reached.wait()
    world.slack.faults.add("chat.update", InjectedFault(), times=3)
    held.release()
    await world.settled()
    await asyncio.gather(*world.bot.records.placeholders._mine)
    await look(world)
    assert "Scanning…" not in "".join(map(words, world.seen(by=BEN)))
    await no_record(world)


@pytest.mark.slow
async def test_what_is_answered_leaves_no_record(two: World) -> None:
    world = two
    world.api.add(HOST)
    for begin in DOORS:
        await begin(world)
        await world.settled()
    await world.ask("/ssl add b.demo.test", "added")
    await world.settled()
    await no_record(world)
    assert "Scanning…" not in "".join(map(words, world.seen(by=BEN)))
