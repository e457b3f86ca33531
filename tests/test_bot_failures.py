"""What can fail becomes a card that says what to do."""

import asyncio
import logging
import re
from itertools import product

import pytest

from bot.playground.faults import Faults, dropped_connection, http_answer, rate_limit, refusal
from bot.playground.objects import ANN, BEN, BOT_USER, CERTS, Json
from bot.slack import calls
from tests.stub_api import Fault
from tests.world import World, labels, words

LONG_AGO = "Mon, 23 Nov 2020 07:30:01 GMT"


@pytest.mark.slow
async def test_an_api_that_breaks_during_a_change_may_have_made_it(world: World) -> None:
    first, second = (world.api.add(f"h{n}.demo.test") for n in range(2))
    world.api.drop("monitor/add")
    await world.ask("/ssl add api.demo.test", "It may have gone through", "/ssl list")

    world.api.refuse("monitor/add", 500, "disk full")
    answer = ("SSLMONITOR FAILED", "disk full. It may have gone through", "/ssl list", "`req-0815`")
    card = await world.ask("/ssl add new.demo.test", *answer)
    assert "refused" not in words(card)
    assert len(world.api.asked("monitor/add")) == 2

    card = await world.ask("/ssl delete h*.demo.test", "Delete these 2 monitors?")
    world.api.refuse("monitor/delete", 502, "bad gateway")
    await world.press("Delete 2", on=card)
    card = await world.card("Deleted 1 monitor", "1 may or may not have been deleted")
    assert len({first, second} & {*world.api.rows}) == 1
    await world.ask("/ssl audit", "may have gone through", "unconfirmed: 502 bad gateway")
    left = max(world.api.rows)
    for code, told, recorded in (
        (500, "SSLMONITOR FAILED* · `api.demo.test`", "Unconfirmed: 500 no room"),
        (400, "REFUSED* · `api.demo.test`", "Failed: 400 no room"),
    ):
        card = await world.ask(f"/ssl delete {left}", "Delete the monitor for")
        world.api.refuse("monitor/delete", code, "no room")
        await world.press("Delete", on=card)
        await world.card(told, "no room")
        await world.ask("/ssl audit", recorded)


async def test_what_the_api_refuses_is_a_card_that_says_what_to_do(world: World) -> None:
    for status in (200, 401):
        world.api.refuse("monitor/list", 401, "who are you", status=status)
        told = ("KEY REFUSED", "SSLMONITOR_API_KEY", "python -m bot check", "req-0815")
        await world.ask("/ssl list", *told)
    world.api.add("a.demo.test")
    world.api.limit = 1
    card = await world.ask(
        "/ssl add b.demo.test", "QUOTA USED UP", "1 of 1 monitors", "/ssl delete HOST"
    )
    assert (world.api.asked("monitor/add"), card.ephemeral_for) == ([], ANN)
    await world.ask("/ssl status 999", "NOT FOUND* · `#999`", "/ssl list", "req-404")
    world.api.answer("monitor/list", 429, {"Retry-After": "100"})
    await world.ask("/ssl list", "TOO MANY REQUESTS", "Try again in 100 s")
    for message in ("", "maintenance"):
        calls = len(world.api.calls)
        body: Json = {"code": 503, "message": message} if message else {}
        world.api._queue("monitor/list", Fault(body, 503, {"Retry-After": "900"}))
        card = await world.ask("/ssl list", "Try again in 900 s")
        assert (len(world.api.calls) - calls, "a minute" in words(card)) == (1, False)
    world.api.refuse("account", 503, "Shutting down. Try again in a minute.", times=3)
    card = await world.ask("/ssl account", "Shutting down. Try again in a minute.")
    assert words(card).count("Try again") == words(card).count("Shutting down")
    world.api.refuse("account", 500, "the *database* is <!here> away", times=3)
    card = await world.ask("/ssl account", "REFUSED", "error 500", "`req-0815`")
    assert "<!here>" not in words(card)

    await world.settled()
    await world.api.close()
    await world.ask("/ssl status api.demo.test", "could not be reached", "/ssl ping")


async def test_slacks_lasting_limit_is_told(world: World) -> None:
    world.api.add("api.demo.test")
    world.slack.faults.add("chat.postMessage", rate_limit(0), times=6)

    card = await world.ask("/ssl scan api.demo.test", "RATE-LIMITED", "api.demo.test", "OK")
    assert card.ephemeral_for == ANN
    late = await world.card("OK", "asked by Ann", by=BEN)
    assert late.ephemeral_for is None
    assert len(world.api.asked("monitor/scan")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("door", ["/ssl", "@SSLmonitor", "button"])
async def test_a_long_limit_is_not_waited_out_before_the_asker_is_told(
    door: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PATIENCE_SECONDS", 0.05)
    number = world.api.add("api.demo.test")
    edits = 2 if door == "button" else 1  # of the list, and of what says that it scans
    world.slack.faults.add("chat.update", rate_limit(0.1), times=edits)

    if door == "button":
        button = {"type": "button", "action_id": "ssl:scan_all:below", "value": str(number),
                  "text": {"type": "plain_text", "text": "Rescan all broken"}}  # fmt: skip
        blocks: list[Json] = [{"type": "actions", "elements": [button]}]
        shown = world.slack.post(CERTS, BOT_USER, "⏳ *Scanning…*", blocks=blocks)
        await world.press("Rescan all broken", on=shown)
    else:
        await world.say(f"{door} scan api.demo.test")

    told = await world.card("RATE-LIMITED", "api.demo.test", "OK")
    assert told.ephemeral_for == ANN
    assert "Scanning" in words(next(m for m in world.seen(by=BEN)))
    await world.card("OK", "asked by Ann", by=BEN)
    await world.settled()
    assert "Scanning 1" not in "".join(map(words, world.seen(by=BEN)))


async def test_an_answer_that_slack_limits_once_more_is_not_promised_any_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PATIENCE_SECONDS", 0.05)
    world.api.add("api.demo.test")
    world.slack.faults.add("chat.update", rate_limit(0.1), times=2)
    await world.ask("/ssl scan api.demo.test", "the channel will see this a little later", "OK")
    await world.card("only you can see this", "api.demo.test", "OK")
    await world.settled()
    assert [m for m in world.seen(by=BEN) if "api.demo.test" in words(m)] == []


@pytest.mark.slow
async def test_a_limit_of_over_a_minute_is_not_waited_out(
    world: World, no_waiting: list[float]
) -> None:
    world.api.add("api.demo.test")
    for door, limit in (("/ssl", 61), ("@SSLmonitor", 86_400)):
        world.slack.faults = Faults()
        world.slack.faults.add("chat.update", rate_limit(limit), times=99)
        said = ("RATE-LIMITED", "only you can see this", "api.demo.test", "OK")
        told = await world.ask(f"{door} scan api.demo.test", *said)
        assert told.ephemeral_for == ANN
        await asyncio.wait_for(world.settled(), 5)
        assert no_waiting == []
        assert "Scanning" not in "".join(map(words, world.seen(by=BEN)))


@pytest.mark.slow
async def test_blocks_that_slack_refuses_are_sent_as_text_and_what_it_can_not_edit_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.api.add("api.demo.test", days=5.5)
    for error, (line, method) in product(
        ("invalid_blocks", "msg_blocks_too_long"),
        (("/ssl scan 101", "chat.update"), ("/ssl status 101", "response_url")),
    ):
        world.slack.faults.add(method, refusal(error))
        card = await world.ask(line, "api.demo.test ACT NOW, expires in 5 days")
        assert labels(card) == []
        assert [block["type"] for block in card.blocks] == ["section"]
        await world.settled()
    assert caplog.text.count("Slack refused the blocks") == 4

    for error in ("msg_too_long", "brand_new_error"):
        world.slack.faults.add("chat.update", refusal(error))
        await world.ask("/ssl scan api.demo.test", "ACT NOW", "asked by Ann", seen_by=BEN)
        await world.settled()
        assert not any("Scanning…" in words(message) for message in world.seen(by=BEN))
    assert "unknown error: brand_new_error" in caplog.text


async def test_a_bug_in_a_command_is_told_with_a_reference_that_the_log_knows(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("bot.cards.lists.monitors", fail)
    world.api.add("api.demo.test")
    card = await world.ask("/ssl list", "BUG IN THE BOT", "If this keeps happening")
    reference = re.search(r"`([0-9a-f]{12})`", words(card))
    assert reference is not None
    assert reference[1] in caplog.text
    assert "ZeroDivisionError: a bug" in caplog.text
    assert "ZeroDivisionError" not in words(card)

    monkeypatch.setattr("bot.cards.monitor.monitor", fail)
    await world.ask("/ssl scan api.demo.test", "BUG IN THE BOT", seen_by=BEN)
    assert not any("Scanning…" in words(message) for message in world.seen())


async def test_an_answer_whose_response_url_has_expired_reaches_the_asker_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world.slack.faults.add("response_url", refusal("expired_url"), times=2)
    card = await world.ask("/ssl ping", "SSLmonitor answers")
    assert card.ephemeral_for == ANN
    assert "/response/" not in caplog.text

    world.slack.faults.add("response_url", refusal("expired_url"), times=9)
    world.slack.faults.add("chat.postEphemeral", refusal("channel_not_found"), times=9)
    await world.say("/ssl ping")
    await world.card("SSLmonitor answers", to="D0ANN")


@pytest.mark.slow
async def test_one_hiccup_or_short_limit_of_slacks_changes_nothing(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    for fault, who in product((http_answer(500), dropped_connection()), ("/ssl", "@SSLmonitor")):
        world.slack.faults.add("chat.update", fault)
        await world.ask(f"{who} scan 101", "OK", "asked by Ann", seen_by=BEN)
        await world.settled()
    assert "BUG" not in "".join(map(words, world.seen()))
    assert "Scanning…" not in "".join(map(words, world.seen()))

    world.slack.faults.add("chat.postMessage", rate_limit(0))
    await world.ask("/ssl scan api.demo.test", "OK", "asked by Ann", seen_by=BEN)

    world.slack.faults.add("chat.postMessage", refusal("internal_error"))
    card = await world.ask("/ssl scan api.demo.test", "OK", "asked by Ann", seen_by=BEN)
    assert card.ephemeral_for is None

    world.slack.faults.add("response_url", rate_limit())
    await world.ask("/ssl ping", "SSLmonitor answers in")


async def test_a_result_that_fits_nowhere_reaches_its_asker(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    for reason in ("is_archived", "not_in_channel", "msg_too_long"):
        for method in ("chat.update", "chat.postMessage"):
            world.slack.faults.add(method, refusal(reason), times=9)
        await world.ask("/ssl scan 101", "OK", "asked by Ann")
        await world.settled()
        world.slack.faults = Faults()


@pytest.mark.slow
async def test_every_form_of_retry_after_is_waited_out_and_only_true_counts_as_done(
    world: World, no_waiting: list[float]
) -> None:
    world.api.add("api.demo.test", days=80)
    for retry_after, seconds in (
        ("1.5", 1.5), ("soon", 1.0), ("9" * 400, 1.0), (None, 1.0), (LONG_AGO, 0.0)
    ):  # fmt: skip
        no_waiting.clear()
        for method in ("chat.postMessage", "chat.update"):
            world.slack.faults.add(method, rate_limit(retry_after))
        await world.ask("/ssl scan 101", "OK", "asked by Ann", seen_by=BEN)
        assert no_waiting == [seconds, seconds]

    no_waiting.clear()
    for said in ('"false"', "0", "1"):
        body = f'{{"ok": {said}}}'
        fault = http_answer(200, body, content_type="application/json")
        world.slack.faults.add("chat.update", fault)
        await world.ask("/ssl scan 101", "OK", "asked by Ann")
    assert len(no_waiting) == 3


async def test_a_revoked_token_names_its_operator_and_turns_health_false(world: World) -> None:
    world.slack.faults.add("users.info", refusal("token_revoked"), times=9)
    world.slack.faults.add("chat.postMessage", refusal("token_revoked"), times=9)

    await world.say("/ssl scan 101")
    await world.settled()

    status, state = await world.get("/healthz")
    assert (status, state["slack"]) == (503, "token_revoked")


async def test_one_call_that_slack_refuses_spoils_nothing_else(world: World) -> None:
    world.api.add("api.demo.test")
    asked = await world.ask("/ssl delete api.demo.test", "Delete the monitor for")
    world.slack.faults.add("chat.postMessage", refusal("internal_error"))
    await world.press("Delete", on=asked)
    await world.card("is no longer monitored")
    await world.settled()
    assert not [m for m in world.seen() if "WENT WRONG" in words(m)]

    world.slack.faults.add("views.open", refusal("expired_trigger_id"))
    card = await world.ask("/ssl add", "SLACK WAS SLOW", "Press again")
    await world.press("Open the form", on=card)
    await world.modal("Hosts")

    world.api.add("api.demo.test")
    world.slack.faults.add("users.info", refusal("missing_scope"), times=9)
    await world.ask("/ssl scan api.demo.test", "OK", "asked by ben", by=BEN)


@pytest.mark.slow
async def test_a_change_is_announced_once_whatever_slack_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "PATIENCE_SECONDS", 0.005)
    for fault in (
        *(rate_limit(0.01), dropped_connection(), dropped_connection(after=True)),
        *(http_answer(500), refusal("internal_error"), refusal("fatal_error", after=True)),
    ):
        number = world.api.add("api.demo.test", days=-1, valid=False)
        world.slack.faults.add("chat.postMessage", fault)
        await world.say(f"/ssl take {number}")
        await world.settled()
        assert len([m for m in world.seen(by=BEN) if "has taken" in m.text]) == number - 100


@pytest.mark.parametrize("door", ["/ssl", "@SSLmonitor"])
async def test_a_lost_reply_in_a_busy_place_doubles_no_card(door: str, world: World) -> None:
    world.api.add("api.demo.test")
    lookup = "conversations.history" if door == "/ssl" else "conversations.replies"
    held = world.slack.faults.hold(lookup, after=False)
    world.slack.faults.add("chat.postMessage", dropped_connection(after=True))
    await world.say(f"{door} scan api.demo.test")
    await held.reached.wait()
    thread = None if door == "/ssl" else world.said("scan").ts
    for number in range(250):
        world.slack.post(CERTS, BEN, f"message {number}", thread_ts=thread)
    held.release()
    await world.settled()
    assert len(world.seen(by=BEN)) == 1


async def test_what_slack_says_in_json_or_leaves_out_is_no_bug(world: World) -> None:
    json_answer = http_answer(200, '{"ok": true}', content_type="application/json", after=True)
    world.slack.faults.add("response_url", json_answer, times=9)
    world.api.add("api.demo.test")
    await world.ask("/ssl status api.demo.test", "api.demo.test")
    await world.settled()
    assert len(world.seen()) == 1

    for method, line, told in (
        ("views.open", "/ssl add", "SLACK IS HAVING PROBLEMS"),
        ("conversations.info", "/ssl notices here", "Nothing has been changed yet"),
        ("users.info", "/ssl status api.demo.test", "OK"),
    ):
        for body in ('{"ok": true}', '{"ok": true, "view": [], "channel": 5, "user": null}'):
            fault = http_answer(200, body, content_type="application/json", after=True)
            world.slack.faults.add(method, fault)
            await world.ask(line, told, by=BEN)


@pytest.mark.slow
async def test_a_scan_that_fails_or_can_not_be_read_is_told_with_a_button(
    world: World,
) -> None:
    number = world.api.add("api.demo.test", days=80)
    scan = world.api.hold("monitor/scan")
    await world.say(f"/ssl scan {number}")
    await scan.reached.wait()
    world.api.drop("monitor/list", times=9)
    scan.release()
    card = await world.card("`api.demo.test` was scanned, but its result could not be read")
    world.api.heal()
    await world.press("Result", on=card)
    await world.card("OK", "`api.demo.test`")

    world.api.refuse("monitor/scan", 500, "no worker is free")
    await world.say("/ssl scan api.demo.test")
    card = await world.card("no worker is free", "`api.demo.test`", by=BEN)
    assert labels(card) == ["Rescan"]
    await world.press("Rescan", on=card, by=BEN)
    became = await world.card("OK", "asked by Ben", by=BEN)
    assert became.ts == card.ts
