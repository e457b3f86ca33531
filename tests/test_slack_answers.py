"""What Slack's answers mean: refused, limited, or perhaps done."""

import gzip
import json
from typing import Any

import pytest

from bot.app.outside import clock, slack_session
from bot.blocks import Address, Message, bare, safe
from bot.errors import SlackLimited, SlackRefused, SlackUnreachable
from bot.slack.answers import failure, failure_of_text, retry_seconds
from bot.slack.calls import asked
from bot.slack.web import SlackWeb, make_client
from tests.client_wire import Wire, http


def test_an_answer_is_of_one_of_three_kinds() -> None:
    cases: list[tuple[int, Any, type[Exception]]] = [
        (200, "not_in_channel", SlackRefused),
        (200, "brand_new_error", SlackRefused),
        (200, "ratelimited", SlackLimited),
        (429, None, SlackLimited),
        (200, "fatal_error", SlackUnreachable),
        (200, "team_added_to_org", SlackUnreachable),  # it moves to Enterprise Grid meanwhile
        (200, "org_login_required", SlackUnreachable),
        (200, {"code": 5}, SlackUnreachable),
        (200, ["not_in_channel"], SlackUnreachable),
        (200, None, SlackUnreachable),
        (503, "not_in_channel", SlackUnreachable),
        (502, None, SlackUnreachable),
    ]
    for status, word, kind in cases:
        assert type(failure(status, word, {}, "chat.update")) is kind


@pytest.mark.parametrize("reason", ["missing_scope", "is_archived", "not_in_channel", "odd"])
def test_a_refusal_reads_the_same_in_a_card_and_in_the_log(reason: str) -> None:
    text = str(SlackRefused(reason))
    assert (safe(text).replace("ˍ", "_"), bare(text)) == (text, text)


@pytest.mark.parametrize("reason", ["not_in_channel", "channel_not_found", "no_permission"])
def test_the_bot_is_to_be_invited_where_it_may_not_be_a_member(reason: str) -> None:
    assert "(invite the bot to the channel" in str(SlackRefused(reason))


def test_an_error_code_without_end_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    assert len(str(failure(200, "x" * 5000, {}, "chat.update"))) < 120
    assert len(caplog.text) < 250


def test_a_response_url_says_ok_in_several_ways() -> None:
    assert failure_of_text(200, "ok", {}) is None
    assert failure_of_text(200, '{"ok":true}', {}) is None
    assert isinstance(failure_of_text(404, "expired_url", {}), SlackRefused)
    said = ("false", '"false"', "0", "1", '"true"', "[true]", "null", 'false,"error":null', "tr")
    for text in ("<html>", "", "[]", "5", *(f'{{"ok":{each}}}' for each in said)):
        assert isinstance(failure_of_text(200, text, {}), SlackUnreachable), text
    assert isinstance(failure_of_text(500, "", {}), SlackUnreachable)


def test_retry_after_is_a_number_or_a_date_or_nothing() -> None:
    for text, seconds in [
        ("30", 30.0),
        ("1.5", 1.5),
        ("soon", None),
        (f"Mon, 23 Nov {10**20} 07:30:05 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("9" * 400, None),
        ("-3", None),
        ("", None),
        ("Mon, 23 Nov 2026 07:30:05 GMT", 5.0),
    ]:
        headers = {"Retry-After": text, "Date": "Mon, 23 Nov 2026 07:30:00 GMT"}
        assert retry_seconds(headers) == seconds


async def test_what_is_no_object_or_too_long_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.slack.calls.MOST_BYTES", 2**17)
    as_json, as_text = (f"Content-Type: {kind}\r\n" for kind in ("application/json", "text/plain"))
    long = json.dumps({"ok": True, "pad": "a" * 2**18}).encode()
    packed = f"{as_json}Content-Encoding: gzip\r\n"
    answers = [
        *((body, as_json) for body in (b"[]", b"null", b"[" * 100_000, b'"ok"', b"5")),
        *((body, as_text) for body in (b"ok", b'{"ok":true}')),
        *((long, as_json), (gzip.compress(long), packed), (gzip.compress(long)[:99], packed)),
    ]
    for body, headers in answers:
        server = Wire([http(body, headers=headers)] * 2)
        async with server.serving() as wire, slack_session(wire.url) as session:
            web = SlackWeb(make_client("xoxb-1", f"{server.url}/", session), session, clock)
            with pytest.raises(SlackUnreachable):
                await asked(web.client.auth_test)
            if body not in {b"ok", b'{"ok":true}'}:
                with pytest.raises(SlackUnreachable):
                    await web.respond(server.url, Message("hi", ()))


#: Objects, lists and texts where others belong.
JUNK = """{
    "ok": true, "response_metadata": "x",
    "user": {"profile": "x", "enterprise_user": {"teams": 5}, "team_id": "T1"},
    "usergroups": [null, {"handle": 5}, {"handle": "oncall", "id": "S1"}],
    "messages": [null, 5, {"ts": null, "files": 5}, {"bot_id": "", "ts": "abc", "files": [null]}]
}"""


async def test_junk_in_an_answer_is_passed_over() -> None:
    message = Message("hi", (), metadata={"event_type": "x"})
    late = "Content-Type: application/json\r\nDate: Fri, 31 Dec 9999 23:59:59 GMT\r\n"
    server = Wire([http(JUNK.encode(), headers=late)] * 9)
    async with server.serving() as wire, slack_session(wire.url) as session:
        web = SlackWeb(make_client("xoxb-1", f"{wire.url}/", session), session, clock)
        assert (await web.person("U1")).teams == {"T1"}
        assert await web.groups() == {"@oncall": "S1"}
        assert await web.find_posts("C1", message, None) == []
        assert await web.find_posts("C1", message, clock()) == []
        assert await web.find_block(Address("C1", ""), "b1", clock()) is None
        assert not await web.has_file("C1", "1.1", "a.csv")
        assert not await web.is_last("C1", "1.1")
