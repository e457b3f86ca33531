"""What can be seen from outside: metrics, log lines, and what the channel is told of outages."""

import asyncio
import json
import logging
from typing import NoReturn

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from bot.app.composition import Bot
from bot.config import Secret
from bot.errors import DatabaseUnavailable
from bot.playground.faults import refusal
from bot.playground.objects import ANN, BEN, CERTS, GENERAL
from bot.process import JSONLines
from bot.sighting import Claim
from bot.slack.notices import Blindness
from bot.slack.transport import HTTPServer
from bot.store.digests import DigestStore
from bot.store.tables import notes
from tests.world import MakeWorld, World, labels, words

METRICS_KEY = "a-metrics-key-of-a-test"


async def metrics(port: int, **headers: str) -> tuple[int, dict[tuple[str, str], float]]:
    """The status, and each sample by its name and its label values."""
    url = f"http://127.0.0.1:{port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        text = await answer.text()
        if answer.status != 200:
            return answer.status, {}
    families = text_string_to_metric_families(text)
    return 200, {
        (sample.name, " ".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


async def test_commands_acks_calls_and_refusals_are_counted(any_world: World, world: World) -> None:
    world = any_world
    world.api.add("api.demo.test")
    await world.ask("/ssl status api.demo.test", "OK")
    await world.ask("/ssl scan", "NOT UNDERSTOOD")
    world.api.drop("monitor/list", times=9)
    await world.ask("/ssl list", "SSLmonitor is not answering")
    await world.settled()
    _, found = await metrics(world.bot.port)
    assert found["sslmonitor_bot_commands_total", "status answered"] == 1
    assert found["sslmonitor_bot_commands_total", "scan usage"] == 1
    assert found["sslmonitor_bot_commands_total", "list failed"] == 1
    assert found["sslmonitor_bot_ack_seconds_count", ""] == 3
    assert found["sslmonitor_bot_api_seconds_count", "monitor/list answered"] == 1
    assert found["sslmonitor_bot_api_seconds_count", "monitor/list unreachable"] == 3
    assert found["sslmonitor_bot_slack_calls_total", "done users.info"] >= 1
    assert found["sslmonitor_bot_slack_calls_total", "done response_url"] == 3

    world.slack.faults.add("chat.postMessage", refusal("is_archived"))
    await world.say("@SSLmonitor ping")
    await world.settled()
    _, found = await metrics(world.bot.port)
    assert found["sslmonitor_bot_slack_calls_total", "refused chat.postMessage"] >= 1


async def test_metrics_are_for_this_machine_or_for_who_has_the_key() -> None:
    server = HTTPServer(lambda: {"ok": True}, None, knows_key=Secret(METRICS_KEY).matches)
    port = await server.start("127.0.0.1", 0)
    try:
        proxied = {"X-Forwarded-For": "203.0.113.9"}
        assert (await metrics(port))[0] == 200
        assert (await metrics(port, **proxied))[0] == 401
        assert (await metrics(port, **proxied, Authorization="Bearer wrong"))[0] == 401
        assert (await metrics(port, **proxied, Authorization="Bearer é"))[0] == 401
        assert (await metrics(port, **proxied, Authorization=f"Bearer {METRICS_KEY}"))[0] == 200
    finally:
        await server.close()

    server = HTTPServer(lambda: {"ok": True}, None)
    port = await server.start("127.0.0.1", 0)
    try:
        forwarded = {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer "}
        assert (await metrics(port, **forwarded))[0] == 401
    finally:
        await server.close()


async def test_the_digests_lag_grows_until_it_is_posted(digest_world: World) -> None:
    world = digest_world
    world.api.drop("monitor/list", times=99)
    world.later(hours=2, minutes=30)  # an hour after the digest was due
    await world.digest.tick()
    _, found = await metrics(world.bot.port)
    assert found["sslmonitor_bot_digest_lag_seconds", ""] == pytest.approx(3600, abs=1)

    world.api.heal()
    world.later(minutes=10)
    await world.digest.tick()
    await world.digest.tick()
    _, found = await metrics(world.bot.port)
    assert found["sslmonitor_bot_digest_lag_seconds", ""] == 0


def test_a_log_line_can_be_json_with_its_traceback() -> None:
    fault = ValueError("a fault\nof two lines")
    record = logging.LogRecord(
        "bot.x", logging.ERROR, "x.py", 1, "Could not post “%s”", ("é\n\udc80",),
        (ValueError, fault, None),
    )  # fmt: skip
    line = JSONLines().format(record)
    fields = json.loads(line)
    assert "\n" not in line
    assert line.isascii()  # whatever the encoding of standard error
    assert (fields["level"], fields["logger"]) == ("ERROR", "bot.x")
    assert fields["message"] == "Could not post “é\n\udc80”"
    assert "ValueError: a fault" in fields["error"]
    assert fields["time"].endswith("+00:00")


# The bot was blind


def watching(world: World, bot: Bot | None = None) -> Blindness:
    bot = bot or world.bot
    store = DigestStore(bot.database)
    return Blindness(bot.api, bot.digests, store, bot.web, clock=world.clock)


@pytest.mark.slow
async def test_an_hour_without_the_api_is_told_once_as_is_its_return(digest_world: World) -> None:
    world = digest_world
    async with world.running_bot() as other:
        eyes = [watching(world, world.bots[0]), watching(world, other)]
        world.api.drop("ping", times=999)
        for _ in range(14):
            await asyncio.gather(*(each.tick() for each in eyes))
            world.later(minutes=5)
        await world.card("The SSLmonitor API can't be reached", "Since <!date", by=BEN)
        world.api.heal()
        for each in eyes:
            await each.tick()
        await world.card("The SSLmonitor API answers again.", by=BEN)
    told = [m.text for m in world.seen(by=BEN) if "SSLmonitor API" in m.text]
    assert len(told) == 2


async def test_a_channel_is_told_once_that_its_notices_mention_nobody_any_more(
    world: World,
) -> None:
    group = {"id": "S0ONCALL", "handle": "oncall", "users": []}

    async def hours_pass() -> int:
        for _ in range(3):
            for _ in range(2):
                await eyes.tick()
                world.later(minutes=31)
        told = [m for m in world.seen(by=BEN) if "so nobody is mentioned here" in words(m)]
        assert all("group `S0ONCALL` is disabled or deleted" in words(m) for m in told)
        assert all(labels(m) == ["Mention a group"] for m in told)
        return len(told)

    eyes, groups = watching(world), world.slack.usergroups
    groups["S0ONCALL"] = dict(group)
    await world.ask("/ssl notices here mention @oncall", "Ann set up notices", seen_by=BEN)
    assert await hours_pass() == 0
    del groups["S0ONCALL"]
    assert await hours_pass() == 1
    groups["S0ONCALL"] = dict(group)
    assert await hours_pass() == 1
    del groups["S0ONCALL"]
    world.slack.faults.add("usergroups.list", refusal("missing_scope"))
    world.slack.faults.add("chat.postMessage", refusal("is_archived"))
    assert await hours_pass() == 2

    groups |= {"S0OTHER": {"id": "S0OTHER", "handle": "other", "users": []}}
    await world.ask("/ssl notices here mention @other", "Ann set up notices", seen_by=BEN)
    groups["S0ONCALL"] = dict(group)
    await world.ask("/ssl notices here mention @oncall", "Ann set up notices", seen_by=BEN)
    del groups["S0ONCALL"]
    assert await hours_pass() == 3
    await world.ask("/ssl notices here mention nobody", "Ann set up notices", seen_by=BEN)
    async with world.bot.database.read() as connection:
        kept = await connection.scalars(select(notes.c.key).where(notes.c.key.contains("S0")))
        assert list(kept) == []


async def test_what_somebody_has_taken_is_free_again_once_their_account_is_gone(
    world: World,
) -> None:
    number = world.api.add("api.demo.test", days=-1)
    eyes, ben = watching(world), world.slack.users[BEN]
    await world.ask("/ssl take api.demo.test", "Ben", by=BEN)
    for ben.is_deactivated in (False, True):
        await eyes.tick()
        world.later(minutes=61)
        assert (number in world.bot.records.rules.marks.claims) is not ben.is_deactivated
        await world.bot.scheduler._refresh(world.bot.records)
    told = await world.ask("/ssl audit api.demo.test", "Recent changes")
    said = "the bot · release · `api.demo.test:443` · released: the account of Ben is deactivated"
    assert words(told).count("release") == 2
    assert said in words(told)


async def test_nothing_is_released_in_doubt_nor_what_somebody_else_has_taken_since(
    world: World,
) -> None:
    number = world.api.add("api.demo.test", days=-1)
    eyes, records = watching(world), world.bot.records
    await world.ask("/ssl take api.demo.test", "Ben", by=BEN)
    for reason in ("user_not_found", "missing_scope"):
        world.slack.faults.add("users.info", refusal(reason))
        await eyes.tick()
        world.later(minutes=61)
        await records.refresh_rules()
        assert records.rules.marks.claims[number].user == BEN
    await records.marks.release([number])
    await records.marks.take([Claim(number, ANN, "Ann", world.clock())])
    world.slack.users[BEN].is_deactivated = True
    world.later(minutes=1)
    await eyes.tick()
    await records.refresh_rules()
    assert records.rules.marks.claims[number].user == ANN


async def test_a_refused_key_is_told_where_there_are_notices_alone(world: World) -> None:
    await world.ask("/ssl notices here", "Ann set up notices", to=GENERAL, seen_by=BEN)
    eyes = watching(world)
    world.api.refuse("monitor/list", 401, "bad key", times=999)
    for _ in range(2):
        await eyes.tick()
        world.later(minutes=61)
    await world.card("The SSLmonitor API refuses to list the monitors", to=GENERAL, by=BEN)
    world.api.heal()
    await world.ask("/ssl notices pause 2h", "are paused until", to=GENERAL)
    await eyes.tick()
    world.later(hours=3)
    await eyes.tick()
    await world.card("The bot could not read the monitors from", to=GENERAL, by=BEN)


async def test_a_short_outage_is_not_told(digest_world: World) -> None:
    world, eyes = digest_world, watching(digest_world)
    world.api.drop("ping", times=999)
    for _ in range(10):
        await eyes.tick()
        world.later(minutes=5)
    world.api.heal()
    await eyes.tick()
    assert world.seen(by=BEN) == []


@pytest.mark.slow
async def test_an_outage_that_slack_refuses_to_show_is_told_later(digest_world: World) -> None:
    world, eyes = digest_world, watching(digest_world)
    world.api.drop("ping", times=999)
    await eyes.tick()
    world.later(minutes=61)
    world.slack.faults.add("chat.postMessage", refusal("not_in_channel"))
    await eyes.tick()
    assert world.seen(by=BEN) == []
    await eyes.tick()
    await world.card("The SSLmonitor API can't be reached", by=BEN)


async def test_a_day_without_a_digest_is_told_the_next_day_once(digest_world: World) -> None:
    world = digest_world
    world.api.drop("monitor/list", times=999)
    world.later(hours=2)
    await world.digest.tick()
    world.later(days=1, hours=-2)
    eyes = watching(world)
    await asyncio.gather(eyes.tick(), watching(world).tick())
    await eyes.tick()
    await world.card("The digest of Monday, 23 November was not posted.", "API", by=BEN)
    assert len([m for m in world.seen(by=BEN) if "was not posted" in m.text]) == 1


async def test_a_digest_whose_thread_slack_refuses_was_posted_but_is_incomplete(
    digest_world: World,
) -> None:
    world = digest_world
    for number in range(60):
        world.api.add(f"h{number}.demo.test", days=1 + number % 28)
    world.later(hours=2)
    posting = world.slack.faults.hold("chat.postMessage")
    ticking = asyncio.create_task(world.digest.tick())
    await posting.reached.wait()
    refused = refusal("restricted_action_non_threadable_channel")
    world.slack.faults.add("chat.postMessage", refused)
    posting.release()
    await ticking
    world.later(hours=20)
    eyes = watching(world)
    await eyes.tick()
    card = await world.card("The digest of Monday, 23 November is incomplete", by=BEN)
    assert "channel or workspace settings don't allow the bot to post there" in words(card)


async def test_a_digest_that_was_posted_is_not_missed(digest_world: World) -> None:
    world = digest_world
    world.later(hours=2)
    await world.digest.tick()
    world.later(days=1)
    await watching(world).tick()
    assert not [m for m in world.seen(by=BEN) if "was not posted" in m.text]


# Replays


async def test_a_replayed_change_is_refused_after_a_restart_and_by_another_replica(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_world(bots=0) as world:
        slack = world.slack
        payload = world.playground.payloads.command(
            slack.users[ANN], slack.channels[CERTS], "/ssl", "add api.demo.test"
        )
        async with world.running_bot():
            await world.playground.delivery.send("slash_commands", payload)
            await world.card("api.demo.test")
            await world.settled()
        world.api.rows.clear()
        async with world.running_bot():
            await world.playground.delivery.send("slash_commands", payload)
            await world.settled()
            assert world.api.rows == {}
            assert "Refused a replayed request for a change (add)" in caplog.text


def _no_database(within: float | None = None) -> NoReturn:
    raise DatabaseUnavailable("no answer")


@pytest.mark.slow
async def test_without_the_database_the_process_remembers_what_it_took(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.placeholders.QUICK_SECONDS", 0.1)
    slack = world.slack
    payload = world.playground.payloads.command(
        slack.users[ANN], slack.channels[CERTS], "/ssl", "add api.demo.test"
    )
    world.bot.database.quick_write = _no_database  # type: ignore[method-assign]
    await world.playground.delivery.send("slash_commands", payload)
    await world.card("api.demo.test")
    await world.settled()
    world.api.rows.clear()
    await world.playground.delivery.send("slash_commands", payload)
    await world.settled()
    assert world.api.rows == {}
