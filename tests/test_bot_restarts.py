"""What becomes of watches and scans while the bot restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
import pytest_asyncio

from bot.playground.objects import ANN
from tests.test_bot_recheck import HOST, expired, watching
from tests.world import Clock, MakeWorld, World


@pytest_asyncio.fixture
async def no_bot(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A world in which no bot runs yet; one that ends hardly waits for what a test holds."""
    monkeypatch.setattr("bot.app.composition.DRAIN_SECONDS", 0.05)
    async with make_world(bots=0) as running:
        yield running


async def test_a_watch_goes_on_after_a_restart(no_bot: World) -> None:
    number = expired(no_bot)
    async with no_bot.running_bot():
        await no_bot.say(f"/ssl watch {HOST}")
        card = await watching(no_bot)
    no_bot.api.renew(number, 90.5)
    cast("Clock", no_bot.clock).move(minutes=2)

    async with no_bot.running_bot():
        fixed = await no_bot.card("OK", "Fixed", "after 2 scans")
        reply = await no_bot.card(f"<@{ANN}>", "Fixed")

    assert fixed.ts == reply.thread_ts == card.ts


async def test_a_watch_whose_time_went_by_while_the_bot_was_down_ends_with_a_note(
    no_bot: World,
) -> None:
    expired(no_bot)
    async with no_bot.running_bot():
        await no_bot.say(f"/ssl watch {HOST}")
        card = await watching(no_bot)
    cast("Clock", no_bot.clock).move(hours=9)

    async with no_bot.running_bot():
        over = await no_bot.card("Watch ended at", "The bot was not running at that time")
        await no_bot.card(f"<@{ANN}>", "No fix on", "in 2 scans")

    assert over.ts == card.ts


async def test_a_scan_that_the_end_of_the_bot_breaks_off_is_done_again_at_once(
    no_bot: World,
) -> None:
    number = expired(no_bot)
    async with no_bot.running_bot() as bot:
        await no_bot.say(f"/ssl watch {HOST}")
        await watching(no_bot)
        cast("Clock", no_bot.clock).move(seconds=60)
        held = no_bot.api.hold("monitor/scan")
        bot.slack.tasks.start(bot.watches.tick())
        await held.reached.wait()
    no_bot.api.renew(number, 90.5)

    async with no_bot.running_bot():
        await no_bot.card(f"<@{ANN}>", "Fixed", "after 2 scans")


async def test_a_first_scan_that_the_end_of_the_bot_breaks_off_is_done_after_it(
    no_bot: World,
) -> None:
    expired(no_bot)
    async with no_bot.running_bot():
        held = no_bot.api.hold("monitor/scan")
        await no_bot.say(f"/ssl watch {HOST}")
        await held.reached.wait()
        busy = await no_bot.card("Scanning…", "Watched until")

    async with no_bot.running_bot():
        card = await no_bot.card("EXPIRED", "Watching until", "1 scan")

    assert card.ts == busy.ts
