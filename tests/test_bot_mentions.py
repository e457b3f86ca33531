"""Mentions in channels and threads, and direct messages: answered where they stand."""

from itertools import product
from typing import Any

import pytest

from bot.playground.objects import ANN, BEN, BOT_USER, CERTS, SECRET
from tests.world import World, labels, words

DM = "D0ANN"
BOT = "@SSLmonitor"


async def test_a_mention_is_answered_in_its_thread_for_all_to_see(world: World) -> None:
    world.api.add("api.demo.test")
    await world.say("is the certificate fine?", by=BEN)
    first = world.said("is the certificate")
    await world.say(f"{BOT} status api.demo.test", under=first)
    card = await world.card("`api.demo.test`", "Rescan", by=BEN)
    assert card.thread_ts == first.ts

    await world.say(f"{BOT} scan api.demo.test")
    asked = world.said("scan")
    card = await world.card("`api.demo.test`", "asked by Ann", "Rescan", by=BEN)
    await world.settled()
    assert (card.thread_ts, card.ephemeral_for) == (asked.ts, None)
    assert world.seen(by=BEN)[1:] == [card]

    told = ("`api.demo.test`", "Rescan")
    card = await world.ask(f"{BOT}, status api.demo.test", *told, seen_by=BEN)
    assert card.in_thread
    assert "Share here" not in labels(card)
    await world.press("Rescan", on=card, by=BEN)
    became = await world.card("asked by Ben", by=BEN)
    assert (became.ts, became.thread_ts) == (card.ts, card.thread_ts)


async def test_an_add_by_mention_is_announced_or_asks_for_more(world: World) -> None:
    await world.say(f"{BOT} add new.demo.test")
    card = await world.card("`new.demo.test`", "added", "Rescan", by=BEN)
    line = await world.card("Ann added `new.demo.test`.", by=BEN)
    assert (card.in_thread, line.in_thread) == (True, False)

    wrong = await world.ask(f"{BOT} scan", "NOT UNDERSTOOD", "/ssl scan", seen_by=BEN)
    assert wrong.in_thread
    card = await world.ask(f"{BOT} add", "MORE DETAILS NEEDED", seen_by=BEN)
    await world.press("Open the form", on=card)
    await world.submit(await world.modal("Add hosts"), targets="a.demo.test")
    await world.modal("`a.demo.test`", "added")
    await world.card("Ann added `a.demo.test`.", by=BEN)


async def test_a_note_or_reason_names_who_it_mentions_and_notifies_nobody(world: World) -> None:
    world.api.add("api.demo.test", days=-1, valid=False)
    said = "ask <@U0BEN>, <!subteam^S0123456|@oncall> or <#C0CERTS|certs>"
    for line in (f"note api.demo.test {said}", f"mute api.demo.test for=3d {said}"):
        await world.ask(f"{BOT} {line}", "ask @Ben, @oncall or #certs", seen_by=BEN)


@pytest.mark.slow
async def test_a_direct_message_is_answered_plain_and_cleaned(world: World) -> None:
    world.api.add("api.demo.test")
    held = world.api.hold("monitor/scan")
    busy = await world.ask("scan api.demo.test", "Scanning…", to=DM)
    held.release()
    card = await world.card("asked by Ann", "Rescan", to=DM)
    assert card.ts == busy.ts
    assert len(world.seen(to=DM)) == 1

    card = await world.ask("status api.demo.test", "`api.demo.test`", "Rescan", to=DM)
    assert (card.in_thread, card.ephemeral_for) == (False, None)
    assert "Share here" not in labels(card)
    for text in ("Scan “api.demo.test”", "ssl scan api.demo.test", "scan http://api.demo.test/x"):
        await world.ask(text, "`api.demo.test`", "asked by Ann", to=DM)

    await world.say("add", to=DM)
    await world.press("Open the form", on=await world.card("MORE DETAILS NEEDED", to=DM))
    await world.modal("Add hosts")


def event(world: World, kind: str, text: str, channel: str, **fields: Any) -> dict[str, Any]:
    slack = world.slack
    message = slack.post(channel, ANN, text)
    payload = world.playground.payloads.message_event(kind, slack.users[ANN], message)
    payload["event"] |= fields
    return payload


async def test_edits_other_bots_and_what_is_not_for_the_bot_get_no_answer(world: World) -> None:
    oddities: tuple[dict[str, Any], ...] = (
        {"subtype": "message_changed"},
        {"subtype": "channel_join"},
        {"bot_id": "B0OTHER"},
        {"edited": {"user": ANN, "ts": "1.1"}},
        {"hidden": True},
        {"user": ""},
    )
    for (kind, channel), fields in product((("app_mention", CERTS), ("message", DM)), oddities):
        payload = event(world, kind, f"<@{BOT_USER}> list", channel, **fields)
        await world.playground.delivery.send("events_api", payload)
        await world.settled()
        assert world.seen(to=channel) == [], fields
        assert world.api.work == [], fields

    payload = event(world, "message", "list", CERTS)
    await world.playground.delivery.send("events_api", payload)
    await world.settled()
    assert world.seen() == []
    await world.say(f"{BOT} list", to=SECRET)
    await world.settled()
    assert world.seen(to=SECRET) == []
    message = world.slack.post(DM, BOT_USER, "list")
    users = world.slack.users
    payload = world.playground.payloads.message_event("message", users[BOT_USER], message)
    await world.playground.delivery.send("events_api", payload)
    await world.settled()
    assert world.seen(to=DM) == [message]
    payload = event(world, "app_mention", f"<@{BOT_USER}> list", CERTS)
    for _ in range(2):
        await world.playground.delivery.send("events_api", payload)
    await world.card("There are no monitors yet", by=BEN)
    await world.settled()
    assert len(world.seen(by=BEN)) == 1


async def test_what_is_taken_is_no_longer_called_free(digest_world: World) -> None:
    world = digest_world
    world.api.add("left.demo.test", valid=False)
    await world.ask("/ssl notices here mention U0BEN", "Ann set up notices", seen_by=BEN)
    world.later(hours=2)
    for _ in range(3):
        await world.bot.digests.tick()
        world.later(days=1)
    world.later(days=-1)
    shown = await world.card("<@U0BEN> Nobody has taken `left.demo.test`", by=BEN)
    await world.bot.scheduler._refresh(world.bot.records)
    assert "<@U0BEN> Nobody has taken" in words(shown)  # nothing has changed
    await world.ask("/ssl take left.demo.test", "Taken by Ann")
    await world.until(lambda: "Nobody has taken" not in words(shown))
    assert "What nobody had taken is taken, fixed or no longer monitored now." in words(shown)
