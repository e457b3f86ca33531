"""All clear: edited rather than posted again, once a day or once a week."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from bot.playground.faults import cut_answer, dropped_connection, refusal
from bot.playground.objects import BEN, CERTS
from bot.store.digests import DigestStore, StoredDigest
from bot.store.tables import digests
from tests.world import MakeWorld, World, digest_of, words

CLEAR = "✅ All clear: 1 monitor, none due for renewal."
EDITED = "Updated in place"


def pass_a_day(world: World) -> None:
    """Let a day pass in which all monitors were scanned."""
    world.later(days=1)
    for row in world.api.rows.values():
        row["scan_date"] = f"{world.clock():%Y-%m-%d %H:%M}"


async def next_day(world: World) -> None:
    """Let a day pass and its digest be posted."""
    pass_a_day(world)
    await world.digest.tick()


def days(world: World) -> list[str]:
    """Which digests can be seen, in the order of the channel: `23 All clear`, `24 broken`."""
    shown = [words(message) for message in world.seen(by=BEN)]
    return [
        f"{text.partition('Certificates on ')[2][:2]} {'clear' if CLEAR in text else 'broken'}"
        for text in shown
        if "Certificates on" in text
    ]


@pytest.fixture
async def clear_world(digest_world: World) -> World:
    """A world where all is clear, with the digest of 23 November, a Monday."""
    digest_world.api.add("fine.demo.test")
    digest_world.later(minutes=91)
    await digest_world.digest.tick()
    assert days(digest_world) == ["23 clear"]
    return digest_world


async def test_yesterdays_all_clear_is_edited_while_it_is_last(clear_world: World) -> None:
    world = clear_world
    [first] = world.seen(by=BEN)
    assert EDITED not in words(first)
    for day in ("24", "25", "26"):
        await next_day(world)
        assert days(world) == [f"{day} clear"]
    [message] = world.seen(by=BEN)
    assert message.ts == first.ts
    assert EDITED in words(message)
    assert world.digest.last_error == ""

    async with world.bot.database.quick_read() as connection:
        drawn = (await connection.execute(select(digests.c.drawn))).scalars().all()
    assert drawn == [0, 0, 0, 0]

    world.later(minutes=5)
    assert await world.digest.post_now(again=True)
    assert days(world) == ["26 clear", "26 clear"]


@pytest.mark.slow
async def test_all_clear_is_edited_while_it_is_the_last_message_alone(clear_world: World) -> None:
    world = clear_world
    [first] = world.seen(by=BEN)
    world.slack.post(CERTS, BEN, "great", thread_ts=first.ts)
    await next_day(world)
    assert days(world) == ["24 clear"]

    world.slack.post(CERTS, BEN, "lunch?")
    await next_day(world)
    assert days(world) == ["24 clear", "25 clear"]
    await next_day(world)
    assert days(world) == ["24 clear", "26 clear"]

    broken = world.api.add("gone.demo.test", valid=False)
    await next_day(world)
    assert days(world) == ["24 clear", "26 clear", "27 broken"]
    del world.api.rows[broken]
    await next_day(world)
    await next_day(world)
    assert days(world) == ["24 clear", "26 clear", "27 broken", "29 clear"]


async def test_all_clear_is_posted_where_the_old_one_is_lost(clear_world: World) -> None:
    world, posted = clear_world, ["23 clear"]
    for method, reason in (
        ("conversations.history", "not_in_channel"),
        ("conversations.history", "missing_scope"),
        ("chat.update", "message_not_found"),
        ("chat.update", "edit_window_closed"),
    ):
        world.slack.faults.add(method, refusal(reason))
        await next_day(world)
        posted.append(f"{world.clock().day} clear")
        assert days(world) == posted, reason
        assert world.digest.last_error == ""


@pytest.mark.slow
async def test_an_edit_that_may_have_failed_is_tried_again(clear_world: World) -> None:
    world = clear_world
    lost = dropped_connection(after=True)
    for fault in (dropped_connection(), lost, cut_answer(), refusal("fatal_error")):
        world.slack.faults.add("chat.update", fault, times=3)
        await next_day(world)
        assert "Slack" in world.digest.last_error
        world.later(minutes=6)
        await world.digest.tick()
        assert days(world) == [f"{world.clock().day} clear"]
        assert world.digest.last_error == ""


@pytest.mark.parametrize("done", [False, True], ids=["before the edit", "after the edit"])
@pytest.mark.parametrize("chat", [False, True], ids=["silence", "others post"])
async def test_a_process_that_dies_during_the_edit_leaves_one_digest(
    done: bool, chat: bool, clear_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = clear_world

    async def die(*_given: Any, **_named: Any) -> StoredDigest | None:
        raise ConnectionResetError

    with monkeypatch.context() as dying:
        if done:
            dying.setattr(DigestStore, "posted", die)
        else:
            dying.setattr(world.bot.web, "update", die)
        world.later(days=1)
        with pytest.raises(ConnectionResetError):
            await world.digest.tick()
    if chat:
        world.slack.post(CERTS, BEN, "lunch?")
    async with world.running_bot() as heir:
        for _ in range(3):
            world.later(minutes=3)
            await digest_of(heir).tick()
        assert digest_of(heir).last_error == ""
    assert days(world) == (["23 clear", "24 clear"] if chat and not done else ["24 clear"])


@pytest.mark.slow
async def test_two_bots_at_once_edit_or_post_one_all_clear(clear_world: World) -> None:
    world = clear_world
    async with world.running_bot() as second:
        for day in range(24, 28):
            pass_a_day(world)
            if day == 26:
                world.slack.post(CERTS, BEN, "lunch?")
            ticks = [digest_of(bot).tick() for bot in (*world.bots, second) * 2]
            await asyncio.gather(*ticks)
    assert days(world) == ["25 clear", "27 clear"]


@pytest.mark.slow
async def test_weekly_only_all_clear_waits_for_the_first_day(make_world: MakeWorld) -> None:
    async with make_world(DIGEST_CHANNEL=CERTS, DIGEST_ALL_CLEAR="weekly") as world:
        world.api.add("fine.demo.test")
        world.later(minutes=91)
        await world.digest.tick()
        for _ in range(2):
            await next_day(world)
        assert days(world) == ["23 clear"]
        assert not await world.digest.post_now()
        assert await world.digest.needs_none()
        broken = world.api.add("gone.demo.test", valid=False)
        await next_day(world)
        del world.api.rows[broken]
        for _ in range(3):
            await next_day(world)
            await world.digest.tick()
            assert world.digest.lag() == 0
            world.later(days=1)
            assert await world.digest.missed() is None
            world.later(days=-1)
        assert days(world) == ["23 clear", "26 broken"]
        await next_day(world)
        assert days(world) == ["23 clear", "26 broken", "30 clear"]
        assert world.digest.last_error == ""


@pytest.mark.slow
async def test_weekly_a_weeks_first_digest_is_posted_on_any_day(make_world: MakeWorld) -> None:
    settings = {"DIGEST_ALL_CLEAR": "weekly", "NOTICE_INTERVAL": "0"}
    async with make_world(DIGEST_CHANNEL=CERTS, **settings) as world:
        world.api.add("fine.demo.test")
        world.later(days=2, minutes=91)
        for _ in range(2):
            await next_day(world)
        assert days(world) == ["26 clear"]
        first = "; while all is clear, only the week's first one is posted."
        await world.ask("/ssl digest here at 08:00", "every day at 08:00 UTC. The next", first)
        await world.card("set up a digest in this channel every day at 08:00 UTC" + first, by=BEN)
        await world.bot.records.reread()
        whole = "08:00 UTC, daily, or weekly while all is clear"
        idle = "*Notices* · none: `NOTICE_INTERVAL` is 0"
        await world.ask("/ssl notices", f"at {whole}", idle)
        for line in ("here", "here mention U0BEN", "pause 3d", "off", "resume"):
            await world.ask(f"/ssl notices {line}", "off." if line == "off" else "Saved, but no")
            await world.bot.records.reread()
        for done in ("set up", "paused", "resumed"):
            none = "`NOTICE_INTERVAL` is 0, so none are posted."
            await world.card(f"Ann {done}", none, by=BEN)
        await world.ask("/ssl notices", idle)
        await world.open_home("daily at 08:00 UTC in <#C0CERTS>, or weekly while all is clear")
        await world.ask("/ssl digest off C0OTHER", f"`{CERTS}` · {whole}")
        await world.ask("/ssl digest pause 1d", "is paused until")
        await world.ask("/ssl digest resume", "is on again. The next one", first)
        card = await world.ask("/ssl digest here mon", "on mon at 08:00 UTC. The next one is due")
        assert first not in words(card)
