"""What becomes of watches, scans and digests while the bot restarts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from bot.config import Secret
from bot.playground.faults import Faults, InjectedFault, dropped_connection, rate_limit
from bot.playground.objects import ANN, BEN
from bot.store.tables import digests
from tests.test_bot_notices import watcher
from tests.test_bot_recheck import HOST, expired, watching
from tests.world import CERTS, Clock, MakeWorld, World, words


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


async def test_a_watch_that_ended_while_the_bot_was_down_says_so(no_bot: World) -> None:
    expired(no_bot)
    async with no_bot.running_bot():
        await no_bot.say(f"/ssl watch {HOST}")
        card = await watching(no_bot)
    cast("Clock", no_bot.clock).move(hours=9)

    async with no_bot.running_bot():
        over = await no_bot.card("Watch ended at", "The bot was not running at that time")
        await no_bot.card(f"<@{ANN}>", "No fix on", "in 2 scans")

    assert over.ts == card.ts


@pytest.mark.slow
async def test_a_scan_that_the_bots_end_breaks_off_is_repeated(no_bot: World) -> None:
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


@pytest.mark.slow
async def test_a_first_scan_that_the_bots_end_breaks_off_is_done(no_bot: World) -> None:
    expired(no_bot)
    async with no_bot.running_bot():
        held = no_bot.api.hold("monitor/scan")
        await no_bot.say(f"/ssl watch {HOST}")
        await held.reached.wait()
        busy = await no_bot.card("Scanning…", "Watched until")

    async with no_bot.running_bot():
        card = await no_bot.card("EXPIRED", "Watching until", "1 scan")

    assert card.ts == busy.ts


@pytest.mark.slow
async def test_a_watch_goes_on_though_the_clock_was_set_back_by_hours(no_bot: World) -> None:
    number = expired(no_bot)
    async with no_bot.running_bot():
        await no_bot.say(f"/ssl watch {HOST}")
        await watching(no_bot)
    cast("Clock", no_bot.clock).move(hours=-2)

    async with no_bot.running_bot() as bot:
        await no_bot.card("EXPIRED", "Watching until", "2 scans")
        await no_bot.settled()
        (watch,) = await bot.watches.running()
        assert watch.ends_at - no_bot.clock() <= timedelta(minutes=30)
        cast("Clock", no_bot.clock).move(hours=3)
        assert bot.scheduler.fault() == "ok"
        cast("Clock", no_bot.clock).move(hours=-3)
        no_bot.api.renew(number, 90.5)
        cast("Clock", no_bot.clock).move(minutes=1)
        await bot.watches.tick()
        await no_bot.card("OK", "Fixed", "after 3 scans")


async def test_a_lost_post_is_found_by_a_clock_that_is_hours_ahead(make_world: MakeWorld) -> None:
    async with make_world(DIGEST_CHANNEL=CERTS) as world:
        world.api.add("api.demo.test", days=5.5)
        world.slack.clock = lambda: world.clock() - timedelta(hours=2)
        world.slack.faults.add("chat.postMessage", dropped_connection(after=True))
        cast("Clock", world.clock).move(hours=2)
        for _ in range(3):
            await world.digest.tick()
            world.later(minutes=6)
        assert len([m for m in world.seen() if "Certificates on" in words(m)]) == 1
        assert world.digest.last_error == ""


@pytest.mark.slow
@pytest.mark.parametrize("turn", ["first", "later"])
async def test_a_fix_is_told_once_though_the_bot_ends(turn: str, no_bot: World) -> None:
    number = expired(no_bot)
    async with no_bot.running_bot() as bot:
        await no_bot.ask(f"/ssl {'scan' if turn == 'first' else 'watch'} {HOST}", "EXPIRED")
        await no_bot.settled()
        no_bot.api.renew(number, 90.5)
        cast("Clock", no_bot.clock).move(minutes=2)
        if turn == "first":
            no_bot.slack.faults.add("chat.postMessage", InjectedFault())  # the card
        held = no_bot.slack.faults.hold("chat.postMessage")
        if turn == "first":
            await no_bot.say(f"/ssl watch {HOST}")
        else:
            bot.slack.tasks.start(bot.watches.tick())
        await held.reached.wait()
    held.release()
    cast("Clock", no_bot.clock).move(minutes=5)
    async with no_bot.running_bot():
        await no_bot.settled()
    said = [words(each) for each in no_bot.seen()]
    assert sum(f"<@{ANN}> ✅ *Fixed*" in each for each in said) == 1
    assert not any("Watching" in each or "Scanning" in each for each in said)


async def test_a_stopped_watch_says_so_as_soon_as_slack_takes_it(no_bot: World) -> None:
    expired(no_bot)
    async with no_bot.running_bot() as bot:
        await no_bot.say(f"/ssl watch {HOST}")
        card = await watching(no_bot)
        no_bot.slack.faults.add("chat.update", rate_limit(120))
        await no_bot.ask(f"/ssl watch {HOST}", "already watching")
        await no_bot.press("Stop", on=await no_bot.card("already watching"))
        await no_bot.card("Stopped by Ann")
        assert "Watching until" in words(card)
        await bot.watches.tick()
        assert "Watching until" in words(card)  # not before Slack's time is over
    async with no_bot.running_bot() as bot:
        await bot.watches.tick()
        assert "Stopped by Ann" in words(card)
        edits = len(no_bot.slack.traffic)
        await bot.watches.tick()
        assert len(no_bot.slack.traffic) == edits


async def test_a_watch_that_is_stopped_during_its_first_scan_does_not_go_on(no_bot: World) -> None:
    expired(no_bot)
    async with no_bot.running_bot():
        held = no_bot.api.hold("monitor/scan")
        await no_bot.say(f"/ssl watch {HOST}")
        await held.reached.wait()
        await no_bot.ask(f"/ssl watch {HOST}", "already watching")
        await no_bot.press("Stop", on=await no_bot.card("already watching"))
        await no_bot.card("Stopped by Ann")
        held.release()
        await no_bot.settled()
    assert "Watching until" not in "".join(map(words, no_bot.seen()))


@pytest.mark.slow
@pytest.mark.parametrize("confirmed", [True, False], ids=["confirmed late", "never confirmed"])
@pytest.mark.parametrize("line", ["scan", "watch"])
async def test_scanning_does_not_stay_though_the_bot_ends_before_slack_confirms_it(
    line: str, confirmed: bool, no_bot: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.surfaces.CONFIRM_SECONDS", 1.0 if confirmed else 0.05)
    expired(no_bot)
    held = no_bot.slack.faults.hold("chat.postMessage")
    async with no_bot.running_bot():
        await no_bot.say(f"/ssl {line} {HOST}")
        await held.reached.wait()
        if confirmed:  # after the bot has broken off what waits for it
            asyncio.get_running_loop().call_later(0.4, held.release)
    held.release()
    assert "The bot is restarting" in words(no_bot.seen(by=BEN)[0])
    assert "⏳" not in "".join(map(words, no_bot.seen()))


@pytest.mark.slow
async def test_a_digest_claimed_by_a_clock_ahead_is_posted_once(make_world: MakeWorld) -> None:
    async with make_world(DIGEST_CHANNEL=CERTS) as world:
        world.api.add("api.demo.test", days=5.5)
        cast("Clock", world.clock).move(hours=2)
        held = world.slack.faults.hold("chat.postMessage")
        assert world.bot.digest is not None
        posting = asyncio.create_task(world.bot.digest.tick())
        await held.reached.wait()
        posting.cancel()
        async with world.bot.database.write() as connection:
            ahead = world.clock() + timedelta(hours=3)
            await connection.execute(update(digests).values(claimed_at=ahead))
        async with world.running_bot():
            await world.settled()
            async with world.bot.database.read() as connection:
                done = await connection.scalar(select(digests.c.finished_at))
        assert done is not None
        assert len([m for m in world.seen() if "Certificates on" in words(m)]) == 1


@pytest.mark.slow
async def test_a_change_is_announced_once_though_the_bot_ends_meanwhile(
    no_bot: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.surfaces.CONFIRM_SECONDS", 0.05)
    no_bot.api.add("a.demo.test")
    async with no_bot.running_bot():
        asked = await no_bot.ask("/ssl delete a.demo.test", "Delete the")
        held = no_bot.slack.faults.hold("chat.postMessage", after=True)
        await no_bot.press("Delete", on=asked)
        await held.reached.wait()
    held.release()
    said = [words(each) for each in no_bot.seen(by=BEN)]
    assert sum("Ann deleted the monitor" in each for each in said) == 1
    assert sum("no longer monitored" in words(each) for each in no_bot.seen()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("held_up", ["chat.postMessage", "response_url"])
async def test_a_change_that_the_bots_end_keeps_from_being_announced_is_logged(
    held_up: str,
    no_bot: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("bot.slack.listeners.CANCEL_SECONDS", 0.3)
    no_bot.api.add("a.demo.test")
    async with no_bot.running_bot():
        asked = await no_bot.ask("/ssl delete a.demo.test", "Delete the")
        no_bot.slack.faults.add("chat.postMessage", rate_limit(50), times=9)
        if held_up == "response_url":  # then the bot announces only while it ends
            held = no_bot.slack.faults.hold("response_url", after=False)
            await no_bot.press("Delete", on=asked)
            await held.reached.wait()
        else:
            await no_bot.press("Delete", on=asked)
            async with asyncio.timeout(20):
                while "an announcement in C0CERTS is delayed" not in caplog.text:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.01)
    start = "Could not announce a change in C0CERTS before the bot ended, or confirm that: Ann"
    assert caplog.text.count(start) == 1
    await no_bot.card("no longer monitored")


@pytest.mark.parametrize("door", ["/ssl", "@SSLmonitor"])
@pytest.mark.parametrize("stays", [False, True], ids=["withdrawn", "can't be deleted"])
async def test_whoever_was_promised_a_later_answer_is_told_if_the_bot_ends_before_it(
    stays: bool,
    door: str,
    no_bot: World,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.store.placeholders.LEASE_SECONDS", 1e-9)
    no_bot.api.add(HOST)
    async with no_bot.running_bot():
        no_bot.slack.faults.add("chat.update", rate_limit(50), times=9)
        if stays:
            no_bot.slack.faults.add("chat.delete", rate_limit(50), times=9)
        await no_bot.say(f"{door} scan {HOST}")
        await no_bot.card("RATE-LIMITED", "the channel will see this a little later", HOST)
    told = await no_bot.card("RATE-LIMITED", "only you can see this", HOST, "OK")
    assert told.ephemeral_for == ANN
    assert sum("a little later" in words(each) for each in no_bot.seen()) == 1
    said = "Could not post or edit a message in C0CERTS: the bot ends before"
    assert caplog.text.count(said) == 1

    no_bot.slack.faults = Faults()
    async with no_bot.running_bot() as bot:
        for _ in range(2):
            await bot.slack.views.tidy()
    left = [words(each) for each in no_bot.seen(by=BEN)]
    assert "⏳" not in "".join(left)
    assert sum("The bot was interrupted" in each for each in left) == stays


@pytest.mark.slow
async def test_what_was_done_is_told_as_done_though_the_bot_ends(no_bot: World) -> None:
    no_bot.api.add("a.demo.test")
    async with no_bot.running_bot():
        held = no_bot.slack.faults.hold("response_url", after=False)
        await no_bot.say("/ssl add b.demo.test")
        await held.reached.wait()
    await no_bot.card("`b.demo.test`", "added")
    held.release()
    async with no_bot.running_bot():
        await no_bot.press("Delete", on=await no_bot.ask("/ssl delete a.demo.test", "Delete the"))
        await no_bot.card("Ann deleted", by=BEN)
        await no_bot.settled()
        deleting = no_bot.api.hold("monitor/delete")
        await no_bot.press("Delete", on=await no_bot.ask("/ssl delete b.demo.test", "Delete the"))
        await deleting.reached.wait()
    await no_bot.card("The bot is restarting. The change may have gone through")
    assert "Try again" not in "".join(map(words, no_bot.seen()))
    async with no_bot.running_bot():
        listing = no_bot.api.hold("monitor/list")
        await no_bot.say("/ssl delete a.demo.test")  # only asks
        await listing.reached.wait()
    await no_bot.card("The bot is restarting. Try again in a minute.")


@pytest.mark.slow
@pytest.mark.parametrize("host", [HOST, "other.demo.test"])
async def test_what_people_said_stays_with_the_host_if_the_api_or_its_key_changes(
    no_bot: World, host: str
) -> None:
    no_bot.settings = replace(no_bot.settings, digest_channel=CERTS)
    number = expired(no_bot)
    muted = no_bot.api.add("muted.demo.test", days=-1, valid=False)
    async with no_bot.running_bot():
        await watcher(no_bot).tick()
        await no_bot.ask(f"/ssl take {number}", "Taken by Ann")
        await no_bot.ask(f"/ssl mute {muted} for=7d", "Muted")
        await no_bot.ask(f"/ssl scan {number}", "EXPIRED")
        await no_bot.settled()
    no_bot.api.key = "another-key"
    no_bot.api.rows[number]["host"] = host
    no_bot.settings = replace(no_bot.settings, api_key=Secret("another-key"))
    async with no_bot.running_bot() as bot:
        await no_bot.settled()
        stays = {number} if host == HOST else set()
        assert {*bot.records.rules.marks.claims} == stays
        assert {*bot.records.rules.marks.mutes} == {muted}
        assert (await bot.records.seen(number) is not None) is bool(stays)
