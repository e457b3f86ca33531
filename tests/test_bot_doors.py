"""Who may come in, and what nobody can do from outside."""

import logging
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import aiohttp
import pytest
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier

from bot.playground.delivery import Outcome
from bot.playground.objects import ANN, BEN, CERTS, OLGA, PARTNERS, Json
from bot.playground.payloads import http_body, signed_headers
from tests.world import MakeWorld, World, labels, words

HOSTILE = "<!channel> <@U0BEN> <https://evil.test|Your bank> *b* _i_ ~s~ `c`\u202e\u0007\n> quote"


def command(world: World, text: str, user: str = ANN, channel: str = CERTS) -> Json:
    slack = world.slack
    return world.playground.payloads.command(
        slack.users[user], slack.channels[channel], "/ssl", text
    )


# People of another workspace


async def test_an_outsider_is_refused_at_every_door_and_their_home_stays_empty(
    world: World,
) -> None:
    payload = command(world, "list", OLGA, PARTNERS) | {"team_id": "T0OTHER"}
    await world.playground.delivery.send("slash_commands", payload)
    card = await world.card("MEMBERS ONLY", by=OLGA, to=PARTNERS)
    mention = await world.ask("@SSLmonitor list", "MEMBERS ONLY", by=OLGA, to=PARTNERS)
    assert (card.ephemeral_for, mention.ephemeral_for) == (OLGA, OLGA)
    assert "FULL MEMBERS ONLY" not in words(mention)

    await world.say("/ssl add")
    hers = world.slack.push_modal(OLGA, (await world.modal("Add hosts")).content)
    await world.submit(hers, by=OLGA, targets="a.demo.test")
    await world.modal("MEMBERS ONLY", by=OLGA)
    await world.settled()
    assert world.api.work == []

    world.api.add("api.demo.test")
    card = await world.ask("/ssl scan api.demo.test", "OK", "asked by Ann", to=PARTNERS)
    await world.settled()
    before = words(card)
    world.api.calls.clear()
    seen = world.seen(by=OLGA, to=PARTNERS)
    await world.press("Rescan", on=card, by=OLGA)
    await world.settled()
    (told,) = world.seen(by=OLGA, to=PARTNERS)[len(seen) :]
    assert "MEMBERS ONLY" in words(told)
    assert (told.ephemeral_for, words(card), world.api.work) == (OLGA, before, [])

    await world.playground.open_home(OLGA)
    await world.open_home("1 monitor")
    await world.settled()
    assert world.slack.home(OLGA) is None
    assert sorted(world.api.work) == ["account", "monitor/list"]


# Requests that are not Slack's


def unsigned(_: str, __: bytes) -> dict[str, str]:
    return {}


def signed_by_another(_: str, body: bytes) -> dict[str, str]:
    return signed_headers("another secret", body)


def signed_long_ago(secret: str, body: bytes) -> dict[str, str]:
    then = str(int(SlackClock().now()) - 600)
    signature = SignatureVerifier(secret).generate_signature(timestamp=then, body=body)
    return {"X-Slack-Request-Timestamp": then, "X-Slack-Signature": signature or ""}


def signed_for_another_body(secret: str, _: bytes) -> dict[str, str]:
    return signed_headers(secret, b"text=list")


async def test_a_request_without_a_right_signature_gets_401_and_slacks_verification_its_answer(
    world: World, session: aiohttp.ClientSession
) -> None:
    url = str(world.playground.events_url)
    signs = (unsigned, signed_by_another, signed_long_ago, signed_for_another_body)
    for sign, kind in product(signs, ("slash_commands", "interactive", "events_api")):
        body, content_type = http_body(kind, command(world, "list"))
        headers = sign(world.playground.app.signing_secret, body) | {"Content-Type": content_type}
        async with session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 401, (sign, kind)
        await world.settled()
        assert (world.api.work, world.seen()) == ([], []), (sign, kind)

    body = b'{"type":"url_verification","challenge":"3eZbrw1aB"}'
    headers = signed_headers(world.playground.app.signing_secret, body)
    headers["Content-Type"] = "application/json"
    async with session.post(url, data=body, headers=headers) as answer:
        assert answer.status == 200
        assert "3eZbrw1aB" in await answer.text()


async def test_a_request_that_is_refused_leaves_nothing_of_itself_in_the_log(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with make_world() as world:
        body, content_type = http_body("slash_commands", command(world, "a-secret-word"))
        headers = signed_by_another("", body) | {"Content-Type": content_type}
        async with (
            aiohttp.ClientSession() as session,
            session.post(str(world.playground.events_url), data=body, headers=headers) as answer,
        ):
            assert answer.status == 401
    assert "a-secret-word" not in caplog.text


async def test_a_socket_modes_bot_takes_no_requests_by_http(socket_world: World) -> None:
    world = socket_world
    url = f"http://127.0.0.1:{world.bot.port}/slack/events"
    body, content_type = http_body("slash_commands", command(world, "list"))
    headers = signed_headers(world.playground.app.signing_secret, body)

    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers | {"Content-Type": content_type}) as answer,
    ):
        assert answer.status == 404

    await world.settled()
    assert world.api.work == []


async def test_a_press_that_comes_twice_runs_once(world: World) -> None:
    world.api.add("api.demo.test")
    card = await world.ask("/ssl status api.demo.test", "OK")
    button = card.blocks[2]["elements"][0]
    action = {**button, "block_id": card.blocks[2]["block_id"], "action_ts": "1.1"}
    payload = world.playground.payloads.message_press(world.slack.users[ANN], card, [action], {})

    for _ in range(2):
        await world.playground.delivery.send("interactive", payload)

    await world.card("OK", "asked by Ann")
    await world.settled()
    assert len(world.api.asked("monitor/scan")) == 1


# The ack


async def test_the_ack_does_not_wait_for_the_api(world: World) -> None:
    world.api.add("api.demo.test", days=5.5)
    for count, line in enumerate(("list", "scan 101", "add a.demo.test", "digest"), 1):
        held = world.api.hold("monitor/scan" if "scan" in line else "monitor/list")
        ack = await world.playground.delivery.send("slash_commands", command(world, line))
        assert ack.outcome is Outcome.ACKED
        await held.reached.wait()
        held.release()
        await world.settled()
        assert sum("Rescan" in words(message) for message in world.seen()) == count


# What a hostile server sends


def marked_up(shown: Any) -> Iterator[str]:
    """All text that Slack reads as mrkdwn: text objects of that type, and the fallback text."""
    for block in shown.blocks:
        yield from _mrkdwn(block)
    if hasattr(shown, "text"):
        yield shown.text


def _mrkdwn(thing: Any) -> Iterator[str]:
    if isinstance(thing, list):
        for item in thing:
            yield from _mrkdwn(item)
    elif isinstance(thing, dict):
        if thing.get("type") == "mrkdwn":
            yield thing["text"]
        for value in thing.values():
            yield from _mrkdwn(value)


def assert_harmless(shown: Any) -> None:
    for text in marked_up(shown):
        assert re.findall(r"<(?!!date\^)[^>]*", text) == []
        assert "\u202e" not in text
        assert "\n> quote" not in text
        assert "\n&gt; quote" not in text


def watch_hostile(world: World) -> None:
    said: Json = {"ssl_issuer": HOSTILE, "ssl_message": HOSTILE, "ssl_color": HOSTILE}
    world.api.add("evil.demo.test", days=5.5, valid=False, **said)
    world.api.add(HOSTILE, days=6.5)
    world.api.names = [HOSTILE, "*.demo.test"]
    world.api.http = {
        "ip": HOSTILE,
        "ip_rev": HOSTILE,
        "ip_geo": HOSTILE,
        "code": 200,
        "html_title": HOSTILE,
        "meta_description": HOSTILE,
        "headers": [{"n": "Server", "v": HOSTILE}, {"n": HOSTILE, "v": HOSTILE}],
    }


@pytest.mark.slow
async def test_hostile_text_can_neither_ping_nor_link_in_any_message(digest_world: World) -> None:
    world = digest_world
    watch_hostile(world)
    await world.digest.post_now()
    verbs = ("status", "scan", "delete")
    lines = [f"{verb} {number}" for verb in verbs for number in (101, 102)]
    for line in (*lines, "list", "digest", "list *evil*", f"status {HOSTILE}", HOSTILE):
        await world.say(f"/ssl {line}")
    await world.settled()
    shown = await world.card("Rescan", "Details", "`evil.demo.test`")
    await world.press("Details", on=shown, row="evil.demo.test")
    await world.card("Names")
    deleting = await world.card("Delete the monitor for", "#102")
    await world.press("Delete", on=deleting)
    await world.card("deleted the monitor")
    await world.settled()

    messages = world.seen()
    assert len(messages) >= 13
    assert any("Your bank" in words(message) for message in messages)
    for message in messages:
        assert_harmless(message)


async def test_hostile_text_can_neither_ping_nor_link_elsewhere(world: World) -> None:
    watch_hostile(world)
    home = await world.open_home("2 monitors", "evil.demo.test")
    assert labels(home) == ["Add hosts", "Refresh", "Rescan", "Rescan"]
    assert_harmless(home)

    world.slack.users[ANN].name = "<!channel> *Ann*"
    line = await world.ask("/ssl add api.demo.test", "added `api.demo.test`.", seen_by=BEN)
    assert_harmless(line)

    world.api.refuse("monitor/list", 400, HOSTILE)
    card = await world.ask("/ssl list", "REFUSED", "Your bank")
    assert_harmless(card)
