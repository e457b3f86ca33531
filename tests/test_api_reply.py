import json
from itertools import product

import aiohttp
import pytest

from bot.api import client as client_module
from bot.api.reply import Reply, judge, value
from bot.errors import APIRefused, APIUnreachable, BadKey, BotError, NotFound
from tests.client_wire import EVERY_CALL, HTML, KEY, READS, WRITES, Wire, door, http
from tests.stub_api import Json

# What a reply means: the body first, the status where the body says nothing.

ENVELOPE = {"code": 404, "message": "monitor not found", "req_id": "76a72264"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (404, ENVELOPE, NotFound, 404),
        (200, ENVELOPE, NotFound, 404),
        (200, ENVELOPE | {"code": "404"}, NotFound, 404),
        (500, ENVELOPE, NotFound, 404),
        (401, ENVELOPE | {"code": 401}, BadKey, 401),
        (200, ENVELOPE | {"code": 401}, BadKey, 401),
        (403, ENVELOPE | {"code": 403}, APIRefused, 403),
        (200, ENVELOPE | {"code": 400}, APIRefused, 400),
        (200, ENVELOPE | {"success": 0, "code": 402}, APIRefused, 402),
        (404, {"message": "none"}, NotFound, 404),
        (403, {"success": False}, APIRefused, 403),
        (400, {"code": None, "message": "bad", "success": "0"}, APIRefused, 400),
        (400, {"code": {"odd": 1}, "message": ["odd"]}, APIRefused, 400),
        (400, {"code": "9" * 5000, "message": "odd"}, APIRefused, 400),
        (200, {"success": 0, "message": "no"}, APIRefused, 0),
        (200, {"success": False}, APIRefused, 0),
        (200, {"success": "error", "message": "no"}, APIRefused, 0),
        (422, {"success": "perhaps"}, APIRefused, 422),
    ],
)
def test_a_refusal_is_recognized_by_its_body(
    status: int, body: object, kind: type[APIRefused], code: int
) -> None:
    with pytest.raises(APIRefused) as refusal:
        judge(Reply(status, json.dumps(body).encode()), of_one=True)

    assert type(refusal.value) is kind
    assert refusal.value.code == code


def test_a_refusal_has_its_words_but_not_the_key() -> None:
    with pytest.raises(NotFound) as refusal:
        judge(Reply(200, json.dumps(ENVELOPE).encode()), of_one=True)
    assert (refusal.value.message, refusal.value.req_id) == ("monitor not found", "76a72264")

    for given, said in ((["bad host", "bad port"], "bad host; bad port"), ({}, "no reason given")):
        with pytest.raises(APIRefused) as other:
            judge(Reply(200, json.dumps({"code": 400, "message": given}).encode()))
        assert other.value.message == said

    body = json.dumps({"code": 401, "message": f"unknown key {KEY}"}).encode()
    with pytest.raises(BadKey) as bad:
        judge(Reply(200, body), hide=[KEY, ""])
    assert bad.value.message == "unknown key …"


@pytest.mark.parametrize("success", [1, True, "1", "true", 1.0])
@pytest.mark.parametrize("status", [200, 500])
def test_a_body_that_says_success_counts_as_success(success: object, status: int) -> None:
    body = json.dumps({"success": success, "new": [1]}).encode()

    assert set(judge(Reply(status, body))) == {"success", "new"}


async def test_a_reply_that_reports_neither_success_nor_an_answer_is_none(
    session: aiohttp.ClientSession,
) -> None:
    bodies: list[Json] = [{}, {"error": "down"}, {"message": "maintenance"}, {"success": "perhaps"}]
    for body, (name, call) in product(
        [*bodies, {"success": {"odd": 1}}], {**READS, "delete": WRITES["delete"]}.items()
    ):
        async with Wire([http(body)] * 3).serving() as wire:
            with pytest.raises(APIUnreachable) as error:
                await call(door(session, wire.url))
        assert error.value.maybe_done == (name == "delete"), body


@pytest.mark.parametrize(
    "body", [{"success": 1, "code": 500, "list": []}, {"success": True, "code": "404"}]
)
async def test_a_reply_of_success_with_the_code_of_an_error_is_not_believed(
    body: object, session: aiohttp.ClientSession
) -> None:
    for call in (READS["list"], WRITES["delete"]):
        async with Wire([http(body)] * 3).serving() as wire:
            with pytest.raises(APIUnreachable, match="contradicts itself") as error:
                await call(door(session, wire.url))
        assert error.value.maybe_done == (call is WRITES["delete"])
    for code in (None, 0, 200, "200", "", "Ok"):
        assert judge(Reply(200, json.dumps({"success": 1, "code": code}).encode()))


def test_what_is_almost_json_is_read() -> None:
    for body in [
        b'{"success": 1, "list": [{"days": NaN, "host": "a.test"}]}',
        b'{"success": 1, "list": [{"issuer": "\\ud800", "host": "a.test"}]}',
        b'{"success": 1, "list": [{"host": "a.test"}]}\n<br />Notice: Undefined index',
        '\ufeff{"success": 1, "list": [{"host": "a.test"}]}'.encode("utf-16-le"),
    ]:
        assert value(judge(Reply(200, body)), "list")[0]["host"] == "a.test"


def test_a_body_that_does_not_mention_success_is_judged_by_its_status() -> None:
    assert set(judge(Reply(200, b'\xef\xbb\xbf{"email": "john@example.com"}'))) == {"email"}
    with pytest.raises(APIUnreachable):
        judge(Reply(500, b'{"email": "john@example.com"}'))


NO_ENVELOPE = [HTML, b"", b'{"success":1,"mess', b"[1]", b"1", b"\xff\xfe", b"[" * 100_000]


def test_a_reply_that_can_not_be_read_may_say_when_to_ask_again() -> None:
    for wait in (900.0, None):
        with pytest.raises(APIUnreachable) as unread:
            judge(Reply(503, b"<html>", wait))
        assert unread.value.retry_after == wait


def test_a_body_that_is_not_the_apis_is_judged_by_its_status() -> None:
    kinds: dict[int, type[BotError]] = {
        200: APIUnreachable,
        302: APIUnreachable,
        401: BadKey,
        403: APIUnreachable,
        404: APIUnreachable,
        429: APIRefused,
        502: APIUnreachable,
    }
    for body, (status, kind) in product(NO_ENVELOPE, kinds.items()):
        with pytest.raises(kind) as error:
            judge(Reply(status, body))
        assert not isinstance(error.value, NotFound), (body[:20], status)
        if kind is APIUnreachable:
            assert f"HTTP status {status}" in str(error.value), body[:20]


async def test_only_a_call_about_one_monitor_can_find_none(session: aiohttp.ClientSession) -> None:
    body = json.dumps(ENVELOPE).encode()
    for name, call in EVERY_CALL.items():
        async with Wire([http(body, 404)]).serving() as wire:
            with pytest.raises(APIRefused) as error:
                await call(door(session, wire.url))
        of_one = name in {"get", "history", "scan", "delete"}
        assert type(error.value) is (NotFound if of_one else APIRefused), name


async def test_an_html_page_is_an_unusable_answer_to_every_call(
    session: aiohttp.ClientSession,
) -> None:
    for status, (name, call) in product((200, 404, 502), EVERY_CALL.items()):
        async with Wire([http(HTML, status)] * 3).serving() as wire:
            with pytest.raises(APIUnreachable, match=f"HTTP status {status}") as error:
                await call(door(session, wire.url))
        assert error.value.maybe_done == (name in WRITES and status != 404), (name, status)
        times = 3 if name in READS and status != 404 else 1
        assert len(wire.arrivals) == times, (name, status)


async def test_a_redirect_is_not_followed(session: aiohttp.ClientSession) -> None:
    for status, (name, call) in product((301, 302, 307, 308), EVERY_CALL.items()):
        async with Wire([http()]).serving() as elsewhere:
            moved = http(b"", status, f"Location: {elsewhere.url}/ping\r\n")
            async with Wire([moved]).serving() as wire:
                with pytest.raises(APIUnreachable, match="Check its address") as error:
                    await call(door(session, wire.url))
        assert (len(wire.arrivals), elsewhere.arrivals) == (1, []), (name, status)
        assert not error.value.maybe_done, (name, status)


async def test_a_body_without_end_is_cut_off(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_BODY", 1000)
    async with Wire([http(b" " * 1001 + b"{}"), http()]).serving() as wire:
        with pytest.raises(APIUnreachable, match="too long"):
            await door(session, wire.url, attempts=1).ping()


async def test_what_is_no_http_or_badly_compressed_fails(
    session: aiohttp.ClientSession,
) -> None:
    async with Wire([b"SSH-2.0-OpenSSH\r\n\r\n"] * 3).serving() as wire:
        with pytest.raises(APIUnreachable, match="Something other than"):
            await door(session, wire.url).ping()

    answer = http(b"not gzip at all", headers="Content-Encoding: gzip\r\n")
    async with Wire([answer] * 3).serving() as wire:
        with pytest.raises(APIUnreachable):
            await door(session, wire.url).ping()
