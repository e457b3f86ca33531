"""Scan & watch: one card that is edited until the host is fixed, and a reply to its asker."""

import asyncio
from datetime import datetime
from itertools import count

import pytest

from bot.errors import DatabaseUnavailable
from bot.playground.faults import refusal
from bot.playground.objects import ANN, BEN, BOT_USER, CERTS, SECRET, PostedMessage
from bot.recheck import MOST
from bot.store.digests import DigestStore
from bot.store.rechecks import RecheckStore, Watch
from tests.test_bot_rows import joining
from tests.world import World, labels, words

DM = "D0ANN"
HOST = "api.demo.test"


async def pass_time(world: World, **by: float) -> None:
    """Let time pass, and the scheduler look."""
    world.later(**by)
    await world.bot.watches.tick()


def scans(world: World) -> int:
    return len(world.api.asked("monitor/scan"))


def expired(world: World, host: str = HOST) -> int:
    return world.api.add(host, days=-1, valid=False)


async def watching(world: World, *, to: str = CERTS) -> PostedMessage:
    """Ann's card, once it shows the first scan and that nobody works on it any more."""
    card = await world.card("EXPIRED", "Watching until", to=to)
    await world.settled()
    return card


async def watch(world: World) -> PostedMessage:
    """Watch the host; gives Ann's card."""
    await world.say(f"/ssl watch {HOST}")
    return await watching(world)


async def test_a_fix_is_on_the_card_and_in_a_reply_to_the_asker(world: World) -> None:
    number = expired(world)
    card = await watch(world)
    assert labels(card) == ["Stop"]
    assert "1 scan, next" in words(card)
    await pass_time(world, seconds=60)
    assert "2 scans" in words(await world.card("EXPIRED", "still the old certificate"))

    world.api.renew(number, 90.5)
    await pass_time(world, seconds=60)

    fixed = await world.card("OK", "Fixed", "after 3 scans", "Changed: expiry date", by=BEN)
    assert (fixed.ts, fixed.channel, fixed.ephemeral_for) == (card.ts, CERTS, None)
    assert "Stop" not in labels(fixed)
    reply = await world.card(f"<@{ANN}>", "Fixed", "after 3 scans: expires", f"`{HOST}`", by=BEN)
    assert reply.thread_ts == card.ts
    said = f"{HOST} is fixed after 3 scans; its certificate expires 21 Feb 2027"
    assert reply.text.startswith(said)
    await pass_time(world, minutes=10)
    assert scans(world) == 3
    assert len(world.seen()) == 2


async def test_a_new_certificate_on_a_good_host_counts_as_fixed(world: World) -> None:
    number = world.api.add(HOST, days=3)
    await world.ask(f"/ssl watch {HOST}", "ACT NOW", "Watching until")
    await world.settled()

    world.api.renew(number, 90.5)
    await pass_time(world, seconds=60)

    await world.card(f"<@{ANN}>", "Fixed", "after 2 scans")


async def test_another_bad_certificate_is_reported_and_the_watch_continues(world: World) -> None:
    number = expired(world)
    card = await watch(world)

    world.api.renew(number, 90.5, ssl_valid=False, ssl_host_match=False)
    await pass_time(world, seconds=60)
    await world.card(f"<@{ANN}>", "new certificate", "*WRONG NAME*")
    await world.card("WRONG NAME", "Watching until")
    world.api.rows[number] |= {"ssl_valid": True, "ssl_host_match": True}
    await pass_time(world, seconds=60)

    fixed = await world.card(f"<@{ANN}>", "Fixed", "after 3 scans")
    assert fixed.thread_ts == card.ts


async def test_a_watch_without_a_fix_says_so_at_its_end_and_the_next_knows_it(world: World) -> None:
    number = expired(world)
    await world.say(f"/ssl watch {HOST} for=2m")
    card = await watching(world)
    await pass_time(world, minutes=1)
    await world.card("2 scans, next")
    await pass_time(world, minutes=1)
    over = await world.card("EXPIRED", "Watch ended at", "after 3 scans: no fix")
    assert over.ts == card.ts
    assert "Stop" not in labels(over)
    reply = await world.card(f"<@{ANN}>", "No fix on", "in 3 scans")
    assert reply.thread_ts == card.ts
    await pass_time(world, minutes=30)
    assert scans(world) == 3

    world.api.renew(number, 90.5)
    await world.ask(f"/ssl watch {HOST}", f"<@{ANN}>", "Fixed", "after 1 scan")


async def test_two_replicas_do_not_both_do_what_is_due(world: World) -> None:
    expired(world)
    await watch(world)
    async with world.running_bot() as other:
        world.later(seconds=60)
        held = world.api.hold("monitor/scan")
        first = world.bot.slack.tasks.start(other.watches.tick())
        await held.reached.wait()

        await world.bots[0].watches.tick()

        assert scans(world) == 2
        held.release()
        await first
    assert "2 scans" in words(await world.card("Watching until"))


@pytest.mark.slow
async def test_a_process_whose_claim_has_ended_leaves_the_watch_to_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = expired(world)
    await watch(world)
    world.api.renew(number, 90.5, ssl_valid=False, ssl_host_match=False)
    async with world.running_bot() as other:
        world.later(seconds=60)
        held = world.api.hold("monitor/scan")
        first = world.bot.slack.tasks.start(other.watches.tick())
        await held.reached.wait()
        world.later(minutes=4)
        joined = joining(monkeypatch)
        second = world.bot.slack.tasks.start(world.bots[0].watches.tick())
        await asyncio.wait_for(joined.wait(), 5)
        held.release()
        await asyncio.gather(first, second)
    mentions = [card for card in world.seen() if f"<@{ANN}>" in words(card)]
    assert len(mentions) == 1


async def test_an_edit_whose_turn_comes_after_the_claim_has_ended_is_put_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = expired(world)
    await watch(world)
    world.api.renew(number, 90.5)

    async def used_up(*_: object) -> tuple[None, float]:
        return None, 170.0

    with monkeypatch.context() as patched:
        patched.setattr(DigestStore, "turn", used_up)
        world.later(seconds=60)
        await asyncio.wait_for(world.bot.watches.tick(), 5)
    await pass_time(world, seconds=200)
    assert len([card for card in world.seen() if "Fixed" in words(card)]) == 2


async def test_without_the_database_a_watch_is_no_bug_and_goes_on_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expired(world)
    await watch(world)
    claim, calls = RecheckStore.claim, count()

    async def failing(store: RecheckStore, watch: Watch, now: datetime) -> Watch | None:
        if next(calls):
            raise DatabaseUnavailable("locked")
        return await claim(store, watch, now)

    with monkeypatch.context() as patched:
        patched.setattr(RecheckStore, "claim", failing)
        await pass_time(world, seconds=60)
    assert "Could not go on with watch 1: The bot's database can't be used (locked)" in caplog.text
    assert "Traceback" not in caplog.text
    await pass_time(world, minutes=4)
    await world.card("EXPIRED", "2 scans")


@pytest.mark.slow
async def test_only_so_many_watches_run_at_one_time_and_one_may_be_stopped(world: World) -> None:
    for number in range(MOST + 1):
        expired(world, f"h{number}.demo.test")
    for number in range(MOST):
        await world.say(f"/ssl watch h{number}.demo.test")
        await world.card("Watching until", f"`h{number}.demo.test`")
        await world.settled()

    await world.say(f"/ssl watch h{MOST}.demo.test")

    full = await world.card("TOO MANY WATCHES", f"{MOST} hosts are being watched")
    assert (full.ephemeral_for, labels(full)) == (ANN, ["Stop"] * MOST)
    assert scans(world) == MOST
    (first,) = [
        each for each in await world.bot.watches.running() if each.target.host == "h1.demo.test"
    ]
    await world.press("Stop", on=full, row=str(first.id))
    await world.card("`h1.demo.test`", "Stopped by Ann")
    await world.settled()
    await world.ask(f"/ssl watch h{MOST}.demo.test", "Watching until", f"`h{MOST}.demo.test`")


async def test_from_a_private_card_a_new_one_is_posted_in_the_channel(world: World) -> None:
    number = expired(world)
    private = await world.ask(f"/ssl status {HOST}", "EXPIRED", "Visitors see an error")
    assert private.ephemeral_for == ANN

    await world.press("Scan & watch", on=private)

    card = await world.card("EXPIRED", "Watching until", by=BEN)
    assert card.ts != private.ts
    await world.card("WATCHING", "The card is in the channel")
    await world.settled()
    world.api.renew(number, 90.5)
    await pass_time(world, seconds=60)
    assert (await world.card("OK", "Fixed", by=BEN)).ts == card.ts


async def test_from_a_public_card_that_card_is_watched_until_the_deletion(
    world: World,
) -> None:
    number = expired(world)
    card = await world.ask(f"/ssl scan {HOST}", "EXPIRED", "asked by Ann", seen_by=BEN)
    await world.settled()
    await world.press("Scan & watch", on=card, by=BEN)
    seen = await watching(world)
    assert seen.ts == card.ts
    assert len(world.seen()) == 1

    row = world.api.rows.pop(number)
    world.api.rows[number + 1] = row | {"id": number + 1}  # deleted and added again
    await pass_time(world, seconds=60)
    await world.card("2 scans, next", f"#{number + 1}", by=BEN)
    await world.ask(f"/ssl watch {HOST}", "You are already watching", by=BEN)
    world.api.rows.clear()
    await pass_time(world, seconds=60)
    await world.card("NOT FOUND", "The watch ended")
    await world.card(f"<@{BEN}>", "was deleted", "The watch has ended")


async def test_where_the_bot_may_not_post_the_card_is_a_direct_message(world: World) -> None:
    number = expired(world)
    await world.say(f"/ssl watch {HOST}", to=SECRET)

    card = await watching(world, to=DM)
    await world.card("WATCHING", "The card is in a direct message", to=SECRET)
    world.api.renew(number, 90.5)
    await pass_time(world, seconds=60)

    assert (await world.card("OK", "Fixed", to=DM)).ts == card.ts
    assert (await world.card(f"<@{ANN}>", "Fixed", to=DM)).thread_ts == card.ts
    assert world.seen(by=BEN, to=SECRET) == []


async def test_a_scan_that_fails_is_shown_and_retried(world: World) -> None:
    number = expired(world)
    world.api.refuse("monitor/scan", 429, "slow down")
    await world.ask(f"/ssl watch {HOST}", "TOO MANY REQUESTS", "Watching until")
    await world.settled()
    await pass_time(world, seconds=60)
    card = await world.card("EXPIRED", "2 scans")

    world.api.refuse("monitor/scan", 500, "out of order")
    await pass_time(world, seconds=60)
    broken = await world.card("SSLMONITOR FAILED", "out of order", "Watching until")
    assert (broken.ts, labels(broken)) == (card.ts, ["Stop"])
    world.api.renew(number, 90.5)
    await pass_time(world, seconds=60)
    await world.card(f"<@{ANN}>", "Fixed", "after 4 scans")


async def test_a_card_that_is_gone_is_posted_again_and_a_refused_edit_retried(world: World) -> None:
    number = expired(world)
    card = await watch(world)
    world.slack.faults.add("chat.update", refusal("message_not_found"))
    await pass_time(world, seconds=60)
    again = await world.card("EXPIRED", "2 scans")
    assert again.ts != card.ts

    world.api.renew(number, 90.5)
    world.slack.faults.add("chat.update", refusal("internal_error"), times=3)
    await pass_time(world, seconds=60)
    assert "Fixed" not in words(world.seen()[-1])
    await pass_time(world, seconds=60)
    fixed = await world.card("Fixed", "Slack had a problem (internal_error)")
    assert fixed.ts == again.ts
    await world.card(f"<@{ANN}>", "Fixed")
    assert len(world.seen()) == 3


async def test_a_watch_is_refused_if_too_long_or_twice_and_anybody_stops_it(
    world: World,
) -> None:
    expired(world)
    await world.say(f"/ssl watch {HOST} for=9h")
    await world.card("NOT UNDERSTOOD", "“for=9h” is out of range: 1m to 4h. Try for=30m.")
    assert scans(world) == 0
    card = await watch(world)
    again = await world.ask(f"/ssl watch {HOST}", "You are already watching")
    assert (again.ephemeral_for, labels(again)) == (ANN, ["Stop"])
    assert scans(world) == 1
    shown = len(world.seen())

    await world.press("Stop", on=card, by=BEN)
    stopped = await world.card("EXPIRED", "Stopped by Ben", "after 1 scan")
    assert stopped.ts == card.ts
    await world.settled()
    await pass_time(world, minutes=31)
    assert scans(world) == 1
    assert len(world.seen()) == shown


async def test_a_mention_is_watched_in_its_thread_and_a_direct_message_there(world: World) -> None:
    number = expired(world)
    await world.say(f"<@{BOT_USER}> watch {HOST}")
    card = await watching(world)
    assert card.thread_ts is not None
    world.api.renew(number, 90.5)
    await pass_time(world, seconds=60)
    assert (await world.card("OK", "Fixed")).ts == card.ts
    reply = await world.card(f"<@{ANN}>", "Fixed")
    assert reply.thread_ts == card.thread_ts

    number = expired(world, "db.demo.test")
    await world.say("watch db.demo.test", to=DM)
    card = await watching(world, to=DM)
    world.api.renew(number, 90.5)
    await pass_time(world, seconds=60)
    reply = await world.card(f"<@{ANN}>", "Fixed", to=DM)
    assert reply.thread_ts == card.ts


@pytest.mark.slow
async def test_a_row_of_the_digest_is_watched_in_its_thread(digest_world: World) -> None:
    number = expired(digest_world)
    await digest_world.digest.post_now()
    posted = await digest_world.card("Certificates on 23 November 2026", "EXPIRED")

    await digest_world.press("Rescan", on=posted, row=HOST, by=BEN)
    await digest_world.until(lambda: "Scan & watch" in labels(posted))
    await digest_world.press("Scan & watch", on=posted, by=BEN)

    card = await watching(digest_world)
    assert card.thread_ts == posted.ts
    assert "asked by Ben" in words(card)
    digest_world.api.renew(number, 90.5)
    await pass_time(digest_world, seconds=60)
    reply = await digest_world.card(f"<@{BEN}>", "Fixed")
    assert reply.thread_ts == posted.ts
    await digest_world.until(lambda: f"~`{HOST}`~" in words(posted))
    assert "✅ 1 of 1 fixed." in words(posted)
    assert "✅ fixed · Ben, " in words(posted)


async def test_a_watch_whose_end_slack_never_takes_is_given_up(world: World) -> None:
    expired(world)
    await watch(world)
    world.slack.faults.add("chat.update", refusal("internal_error"), times=6)

    await pass_time(world, minutes=31)
    assert len(await world.bot.watches.running()) == 1
    await pass_time(world, minutes=61)

    assert await world.bot.watches.running() == []


async def test_a_watch_counts_no_scan_if_it_could_not_look_for_its_monitor(world: World) -> None:
    expired(world)
    card = await watch(world)
    async with world.running_bot() as heir:
        world.later(seconds=60)
        world.api.refuse("monitor/list", 400, "not now")
        await heir.watches.tick()
        assert "1 scan, next" in words(card)
        world.later(minutes=5)
        await heir.watches.tick()
        assert "2 scans, next" in words(await world.card("still the old certificate"))
    assert scans(world) == 2


async def test_a_watch_goes_on_while_its_monitor_could_not_be_read(world: World) -> None:
    number = expired(world)
    await watch(world)
    world.api.rows[number]["id"] = "unreadable"
    await pass_time(world, seconds=60)
    said = f"1 monitor could not be read, so it isn't known whether {HOST} is still monitored."
    await world.card("COULD NOT DO THAT", said, "Watching until")
    world.api.rows[number]["id"] = number
    world.api.refuse("monitor/list", 404, "no such page")
    await pass_time(world, minutes=5)
    await world.card("REFUSED", "no such page", "Watching until")
    await pass_time(world, minutes=5)
    await world.card("EXPIRED", "Watching until")
    assert "deleted" not in "".join(map(words, world.seen()))
