from __future__ import annotations

import asyncio
import json
import logging
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from aioresponses import aioresponses

from bot import client as client_module
from bot.client import SSLMonitor
from bot.envelope import Reply, judge, seconds
from bot.errors import APIRefused, APIUnreachable, BadKey, BotError, ConfigError, NotFound
from bot.models import Account, Ping, Proxy
from bot.target import Target

KEY = "k3y-for-tests"
NOW = datetime(2026, 1, 5, 20, 25, 40, tzinfo=UTC)
API = "https://api.example/api/v1"
PROXY = Proxy("proxy.example", 3128, "me", "p&ss wörd")
MONITOR = {"id": 888, "host": "www.example.com", "port": 443, "scan_date": "2026-01-05 20:25"}
OK = {"success": 1, "message": "Ok"}

Call = Callable[[SSLMonitor], Awaitable[object]]
WRITES: dict[str, Call] = {
    "add": lambda api: api.add(Target("www.example.com"), PROXY),
    "scan": lambda api: api.scan(888),
    "delete": lambda api: api.delete(888),
}
READS: dict[str, Call] = {
    "ping": lambda api: api.ping(),
    "account": lambda api: api.account(),
    "list": lambda api: api.list(host="*.example.com"),
    "get": lambda api: api.get(888),
}
EVERY_CALL = READS | WRITES
each_write = pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
each_read = pytest.mark.parametrize("call", READS.values(), ids=READS)
each_call = pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL)
each_method = pytest.mark.parametrize("method", ["GET", "POST"])


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def door(session: aiohttp.ClientSession, url: str = API, **settings: Any) -> SSLMonitor:
    return SSLMonitor(url, KEY, session, clock=lambda: NOW, wait=0, **settings)


class Wire:
    """A server by hand: notes every request it gets, and says exactly what it is told.

    An answer is the bytes to send, after which the connection stays open; `None` drops it, a
    tuple sends its bytes and then drops it, and a list sends its bytes and then falls silent.
    """

    def __init__(self, answers: Sequence[bytes | tuple[bytes] | list[bytes] | None]) -> None:
        self.answers = list(answers)
        self.arrivals: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""
        self._over = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client hung up
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.arrivals.append(head.splitlines()[0])
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            return False
        writer.write(answer if isinstance(answer, bytes) else answer[0])
        await writer.drain()
        if isinstance(answer, list):
            await self._over.wait()
        return isinstance(answer, bytes)

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0, ssl=context)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
        try:
            yield self
        finally:
            self._over.set()
            for writer in self.writers:
                writer.close()
            server.close()
            await server.wait_closed()


def http(body: object = OK, status: int = 200, headers: str = "") -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    length = f"Content-Length: {len(text)}\r\n"
    return f"HTTP/1.1 {status} Words\r\n{length}{headers}\r\n".encode() + text


class Recorder:
    """A server that takes everything, and notes what it was asked."""

    def __init__(self, **fields: object) -> None:
        self.fields = OK | fields
        self.seen: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.method, request.raw_path, await request.text()))
        self.headers.append(dict(request.headers))
        return web.json_response(self.fields)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Recorder]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        async with TestServer(app) as server:
            self.url = str(server.make_url("/api/v1/"))
            yield self


# What is asked: every documented parameter, as it stands on the wire.

PROXIED = "proxy_host=proxy.example&proxy_port=3128"
PASSWORD = "p%26ss%20w%C3%B6rd"
ASKED: list[tuple[Call, str]] = [
    (lambda api: api.ping(), "ping"),
    (lambda api: api.account(), "account"),
    (lambda api: api.list(), "monitor/list"),
    (lambda api: api.list(host="*.domain.com"), "monitor/list?host=%2A.domain.com"),
    (lambda api: api.list(port=443), "monitor/list?port=443"),
    (lambda api: api.list(port="443,8443"), "monitor/list?port=443%2C8443"),
    (lambda api: api.list(port="!443"), "monitor/list?port=%21443"),
    (lambda api: api.list(port="100-200"), "monitor/list?port=100-200"),
    (lambda api: api.list(port=">=100"), "monitor/list?port=%3E%3D100"),
    (lambda api: api.list(valid=True), "monitor/list?ssl_valid=true"),
    (lambda api: api.list(valid=False), "monitor/list?ssl_valid=false"),
    (lambda api: api.list(expires="=30"), "monitor/list?ssl_expire_days=%3D30"),
    (lambda api: api.list(expires="30-60"), "monitor/list?ssl_expire_days=30-60"),
    (lambda api: api.list(expires="<30"), "monitor/list?ssl_expire_days=%3C30"),
    (lambda api: api.list(expires=">30"), "monitor/list?ssl_expire_days=%3E30"),
    (
        lambda api: api.list(host="a", port=1, valid=True, expires="<3"),
        "monitor/list?host=a&port=1&ssl_valid=true&ssl_expire_days=%3C3",
    ),
    (lambda api: api.get(888), "monitor/get?id=888"),
    (lambda api: api.scan(888), "monitor/scan?id=888"),
    (lambda api: api.delete(888), "monitor/delete?id=888"),
    (
        lambda api: api.add(Target("www.example.com", 443)),
        "monitor/add?host=www.example.com&port=443",
    ),
    (
        lambda api: api.add("https://www.example.com"),
        "monitor/add?url=https%3A%2F%2Fwww.example.com",
    ),
    (
        lambda api: api.add(Target("::1", 8443), PROXY),
        f"monitor/add?host=%3A%3A1&port=8443&{PROXIED}&proxy_username=me&proxy_password={PASSWORD}",
    ),
    (
        lambda api: api.add(Target("a.b"), Proxy("proxy.example", 3128)),
        f"monitor/add?host=a.b&port=443&{PROXIED}",
    ),
]


@pytest.mark.parametrize(("call", "path"), ASKED, ids=[path for _, path in ASKED])
async def test_every_parameter_goes_out_as_documented(
    call: Call, path: str, session: aiohttp.ClientSession
) -> None:
    async with Recorder(monitor=MONITOR, list=[], count=0).serving() as server:
        await call(door(session, server.url))

        assert server.seen == [("GET", f"/api/v1/{path}", "")]
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_changes_can_go_out_as_posted_forms(session: aiohttp.ClientSession) -> None:
    added = f"host=www.example.com&port=443&{PROXIED}"
    async with Recorder(monitor=MONITOR, list=[]).serving() as server:
        api = door(session, server.url, write_method="POST")
        for call in EVERY_CALL.values():
            await call(api)

        assert server.seen == [
            ("GET", "/api/v1/ping", ""),
            ("GET", "/api/v1/account", ""),
            ("GET", "/api/v1/monitor/list?host=%2A.example.com", ""),
            ("GET", "/api/v1/monitor/get?id=888", ""),
            (
                "POST",
                "/api/v1/monitor/add",
                f"{added}&proxy_username=me&proxy_password=p%26ss+w%C3%B6rd",
            ),
            ("POST", "/api/v1/monitor/scan", "id=888"),
            ("POST", "/api/v1/monitor/delete", "id=888"),
        ]
        form = "application/x-www-form-urlencoded"
        assert [headers.get("Content-Type") for headers in server.headers[4:]] == [form] * 3
        assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}


# What comes back.


async def test_ping_and_account_give_all_documented_fields(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    api = door(session)
    responses.get(f"{API}/ping", payload=OK | {"date_time": "2026-01-01 00:00", "apikey_id": 888})
    quota = {"monitor_limit": 10, "monitor_used": 4, "monitor_available": 6}
    owner = {"id": 888, "email": "john@example.com"}
    responses.get(f"{API}/account", payload=OK | owner | quota)

    assert await api.ping() == Ping(datetime(2026, 1, 1, tzinfo=UTC), 888)
    assert await api.account() == Account(888, "john@example.com", 10, 4, 6)


async def test_the_measured_offset_reaches_every_date(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    api = door(session)
    shown = {"date_time": "2026-01-06 01:54"}  # five and a half hours ahead, rounded
    responses.get(f"{API}/ping", payload=OK | shown)
    responses.get(f"{API}/monitor/list", payload=OK | {"list": [MONITOR], "count": 1})
    responses.get(f"{API}/monitor/get?id=888", payload=OK | {"monitor": MONITOR})
    scanned = datetime(2026, 1, 5, 14, 55, tzinfo=UTC)

    assert api.offset == timedelta(0)
    assert await api.measure_clock() == api.offset == timedelta(hours=5, minutes=30)
    assert [row.scanned_at for row in await api.list()] == [scanned]
    assert (await api.get(888)).scanned_at == scanned


@pytest.mark.parametrize("date", [None, "", "soon", 12, "2020-01-01 00:00"], ids=str)
async def test_an_unreadable_or_absurd_clock_keeps_the_old_offset(
    date: object, responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    api = door(session)
    responses.get(f"{API}/ping", payload=OK | {"date_time": "2026-01-05 19:26"})
    responses.get(f"{API}/ping", payload=OK | {"date_time": date})

    await api.measure_clock()
    assert await api.measure_clock() == api.offset == timedelta(hours=-1)


async def test_a_list_drops_unreadable_rows_and_says_so(
    responses: aioresponses, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [MONITOR, {"id": "?"}, "odd", None, MONITOR | {"id": 889}]
    responses.get(f"{API}/monitor/list", payload=OK | {"list": rows, "count": 9})

    assert [row.id for row in await door(session).list()] == [888, 889]
    assert "3 of 5 monitors can't be read" in caplog.text
    assert "counts 9 monitors and lists 5" in caplog.text


@pytest.mark.parametrize("fields", [{"list": [], "count": 0}, {"list": []}, {"count": 0}], ids=str)
async def test_an_empty_list_is_no_failure(
    fields: dict[str, object],
    responses: aioresponses,
    session: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
) -> None:
    responses.get(f"{API}/monitor/list", payload=OK | fields)

    assert await door(session).list() == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("fields", [{}, {"count": 3}, {"list": {}}, {"list": None}], ids=str)
async def test_a_missing_list_is_never_taken_for_an_empty_one(
    fields: dict[str, object], responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    responses.get(f"{API}/monitor/list", payload=OK | fields)

    with pytest.raises(APIUnreachable, match="without a list"):
        await door(session).list()


@pytest.mark.parametrize("monitor", [{}, None, [], "odd", {"id": 1}], ids=str)
async def test_a_change_without_a_readable_monitor_may_be_done(
    monitor: object, responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    responses.get(f"{API}/monitor/scan?id=888", payload=OK | {"monitor": monitor})
    responses.get(f"{API}/monitor/get?id=888", payload=OK | {"monitor": monitor})

    with pytest.raises(APIUnreachable) as scanned:
        await door(session).scan(888)
    with pytest.raises(APIUnreachable) as got:
        await door(session).get(888)
    assert (scanned.value.maybe_done, got.value.maybe_done) == (True, False)


async def test_a_long_list_lets_others_have_their_turn(session: aiohttp.ClientSession) -> None:
    rows = [MONITOR | {"id": number} for number in range(1000)]
    fields = judge(Reply(200, json.dumps(OK | {"list": rows}).encode()))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    read = await door(session)._read_rows(fields)
    task.cancel()

    assert [row.id for row in read] == list(range(1000))
    assert turns >= 10


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
    ],
)
def test_a_refusal_is_told_by_its_body(
    status: int, body: object, kind: type[APIRefused], code: int
) -> None:
    with pytest.raises(APIRefused) as refusal:
        judge(Reply(status, json.dumps(body).encode()))

    assert type(refusal.value) is kind
    assert refusal.value.code == code


def test_a_refusal_carries_the_words_and_number_for_support() -> None:
    with pytest.raises(NotFound) as refusal:
        judge(Reply(200, json.dumps(ENVELOPE).encode()))

    assert (refusal.value.message, refusal.value.req_id) == ("monitor not found", "76a72264")


def test_a_refusal_that_repeats_the_key_is_blotted() -> None:
    body = json.dumps({"code": 401, "message": f"unknown key {KEY}"}).encode()

    with pytest.raises(BadKey) as refusal:
        judge(Reply(200, body), hide=[KEY, ""])
    assert refusal.value.message == "unknown key …"


@pytest.mark.parametrize("success", [1, True, "1", "true", 1.0])
@pytest.mark.parametrize("status", [200, 500])
def test_a_body_that_says_success_is_one(success: object, status: int) -> None:
    body = json.dumps({"success": success, "new": [1]}).encode()

    assert set(judge(Reply(status, body))) == {"success", "new"}


def test_a_body_without_a_word_on_success_is_judged_by_its_status() -> None:
    assert set(judge(Reply(200, b'\xef\xbb\xbf{"email": "john@example.com"}'))) == {"email"}
    with pytest.raises(APIUnreachable):
        judge(Reply(500, b'{"email": "john@example.com"}'))


HTML = b"<!DOCTYPE html><title>502 Bad Gateway</title>"
NO_ENVELOPE = [HTML, b"", b'{"success":1,"mess', b"[1]", b"1", b"\xff\xfe", b"[" * 100_000]


@pytest.mark.parametrize("body", NO_ENVELOPE, ids=lambda body: repr(body[:20]))
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, APIUnreachable),
        (302, APIUnreachable),
        (401, BadKey),
        (403, APIUnreachable),
        (404, APIUnreachable),
        (429, APIRefused),
        (502, APIUnreachable),
    ],
)
def test_a_body_that_is_not_the_apis_is_judged_by_its_status(
    body: bytes, status: int, kind: type[BotError]
) -> None:
    with pytest.raises(kind) as error:
        judge(Reply(status, body))

    assert not isinstance(error.value, NotFound)
    if kind is APIUnreachable:
        assert f"HTTP status {status}" in str(error.value)


@each_call
@pytest.mark.parametrize("status", [200, 404, 502])
async def test_an_html_page_is_an_unusable_answer_to_every_call(
    status: int, call: Call, session: aiohttp.ClientSession
) -> None:
    async with Wire([http(HTML, status)] * 3).serving() as wire:
        with pytest.raises(APIUnreachable, match=f"HTTP status {status}") as error:
            await call(door(session, wire.url))

    reads = call in READS.values()
    assert error.value.maybe_done == (not reads and status != 404)
    assert len(wire.arrivals) == (3 if reads and status != 404 else 1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@each_call
async def test_a_redirect_is_not_followed(
    call: Call, status: int, session: aiohttp.ClientSession
) -> None:
    async with Wire([http()]).serving() as elsewhere:
        moved = http(b"", status, f"Location: {elsewhere.url}/ping\r\n")
        async with Wire([moved]).serving() as wire:
            with pytest.raises(APIUnreachable, match="address may be wrong") as error:
                await call(door(session, wire.url))

    assert (len(wire.arrivals), elsewhere.arrivals) == (1, [])
    assert not error.value.maybe_done


async def test_a_body_without_end_is_cut_off(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_BODY", 1000)
    async with Wire([http(b" " * 1001 + b"{}"), http()]).serving() as wire:
        with pytest.raises(APIUnreachable, match="too long"):
            await door(session, wire.url, attempts=1).ping()


async def test_a_page_that_is_not_even_http_is_an_unusable_answer(
    session: aiohttp.ClientSession,
) -> None:
    async with Wire([b"SSH-2.0-OpenSSH\r\n\r\n"] * 3).serving() as wire:
        with pytest.raises(APIUnreachable, match="not HTTP"):
            await door(session, wire.url).ping()


async def test_bad_compression_is_an_unusable_answer(session: aiohttp.ClientSession) -> None:
    answer = http(b"not gzip at all", headers="Content-Encoding: gzip\r\n")
    async with Wire([answer] * 3).serving() as wire:
        with pytest.raises(APIUnreachable):
            await door(session, wire.url).ping()


# Reads are repeated, within reason.

CUT = (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",)


@pytest.mark.parametrize(
    "failure",
    [
        http(HTML, 502),
        http({"code": 500, "message": "oops"}, 500),
        http({"code": 503, "message": "busy"}, 200),
        http(b"", 200),
        http({"code": 429, "message": "slow down"}, 429),
        http(HTML, 429, "Retry-After: 0\r\n"),
        http(HTML, 429, "Retry-After: Mon, 05 Jan 2026 20:25:40 GMT\r\n"),
        CUT,
    ],
    ids=["502", "500", "503 in 200", "empty", "429", "429 now", "429 date", "cut"],
)
@each_read
async def test_reads_are_repeated_while_that_may_help(
    call: Call, failure: bytes, session: aiohttp.ClientSession
) -> None:
    good = http(OK | {"monitor": MONITOR, "list": [MONITOR]})
    async with Wire([failure, failure, good]).serving() as wire:
        await call(door(session, wire.url))

    assert len(wire.arrivals) == 3


@pytest.mark.parametrize("code", [400, 401, 403, 404])
@each_read
async def test_a_refused_read_is_not_repeated(
    call: Call, code: int, session: aiohttp.ClientSession
) -> None:
    async with Wire([http({"code": code, "message": "no"}, code)] * 3).serving() as wire:
        with pytest.raises(APIRefused):
            await call(door(session, wire.url))

    assert len(wire.arrivals) == 1


async def test_a_server_that_stays_down_is_asked_as_often_as_said(
    session: aiohttp.ClientSession,
) -> None:
    async with Wire([http(HTML, 502)] * 9).serving() as wire:
        with pytest.raises(APIUnreachable):
            await door(session, wire.url, attempts=4).ping()

    assert len(wire.arrivals) == 4


async def test_a_dropped_connection_is_no_end_for_a_read(session: aiohttp.ClientSession) -> None:
    async with Wire([http(), None, http()]).serving() as wire:
        api = door(session, wire.url)
        await api.ping()
        await api.ping()

    assert len(wire.arrivals) == 3


async def test_a_long_retry_after_is_told_and_not_waited_for(
    session: aiohttp.ClientSession,
) -> None:
    async with Wire([http(HTML, 429, "Retry-After: 31\r\n")] * 3).serving() as wire:
        with pytest.raises(APIRefused) as refusal:
            await door(session, wire.url, deadline=30).ping()

    assert (refusal.value.code, refusal.value.retry_after) == (429, 31)
    assert len(wire.arrivals) == 1


def test_a_retry_after_sets_the_wait(session: aiohttp.ClientSession) -> None:
    worth = door(session, deadline=30)._worth_another_try

    assert worth(APIRefused(429, "slow down", retry_after=7.0)) == 7.0
    assert worth(APIRefused(429, "slow down", retry_after=30.5)) is False
    assert worth(APIRefused(429, "slow down")) is True


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Mon, 05 Jan 2026 20:26:40 GMT", 60.0),
        ("Mon, 05 Jan 2026 20:26:40 -0000", 60.0),
        ("Mon, 05 Jan 2026 20:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        (None, None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(text: str | None, wait: float | None) -> None:
    assert seconds(text, NOW) == wait


STALLED_BODY = [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"]
STALLED_HEAD = [b""]


@each_call
async def test_one_deadline_covers_the_body_too(call: Call, session: aiohttp.ClientSession) -> None:
    async with Wire([STALLED_BODY]).serving() as wire:
        api = door(session, wire.url, deadline=0.2, scan_deadline=0.2, attempts=1)
        with pytest.raises(APIUnreachable, match=r"within 0\.2 seconds") as error:
            await call(api)

    assert error.value.maybe_done == (call in WRITES.values())
    assert len(wire.arrivals) == 1


async def test_a_silent_server_is_asked_again_to_read_but_not_to_change(
    session: aiohttp.ClientSession,
) -> None:
    async with Wire([STALLED_HEAD] * 3).serving() as wire:
        api = door(session, wire.url, deadline=0.2, scan_deadline=0.2, attempts=2)
        with pytest.raises(APIUnreachable, match="did not answer"):
            await api.ping()
        with pytest.raises(APIUnreachable, match="did not answer"):
            await api.scan(888)

    assert [line.split()[1] for line in wire.arrivals] == [
        "/api/v1/ping",
        "/api/v1/ping",
        "/api/v1/monitor/scan?id=888",
    ]


# Changes arrive at most once.


async def test_aiohttp_by_itself_sends_a_dropped_get_twice(session: aiohttp.ClientSession) -> None:
    async with Wire([]).serving() as wire:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(f"{wire.url}/monitor/scan?id=888")

    assert len(wire.arrivals) == 2


@each_method
@each_write
async def test_a_change_arrives_once_where_connections_drop(
    call: Call, method: str, session: aiohttp.ClientSession
) -> None:
    async with Wire([]).serving() as wire:
        with pytest.raises(APIUnreachable) as error:
            await call(door(session, wire.url, write_method=method))

    assert len(wire.arrivals) == 1
    assert error.value.maybe_done


@each_write
async def test_without_the_guard_the_same_change_would_arrive_twice(
    call: Call, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_guard(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        return await handler(request)

    monkeypatch.setattr(client_module, "_never_again", no_guard)
    async with Wire([]).serving() as wire:
        with pytest.raises(APIUnreachable):
            await call(door(session, wire.url))

    assert len(wire.arrivals) == 2


@each_method
@each_write
async def test_a_change_never_goes_over_a_connection_that_was_used_before(
    call: Call, method: str, session: aiohttp.ClientSession
) -> None:
    good = http(OK | {"monitor": MONITOR})
    async with Wire([good] * 4).serving() as wire:
        api = door(session, wire.url, write_method=method)
        await api.ping()
        await api.ping()
        assert len(wire.writers) == 1

        await call(api)
        await call(api)
        assert len(wire.writers) == 3
    assert len(wire.arrivals) == 4


@pytest.mark.parametrize(
    "failure",
    [http(HTML, 502), http({"code": 503, "message": "busy"}, 503), http(HTML, 429), CUT],
    ids=["502", "503", "429", "cut"],
)
@each_write
async def test_a_failed_change_is_not_repeated(
    call: Call, failure: bytes, session: aiohttp.ClientSession
) -> None:
    async with Wire([failure] * 3).serving() as wire:
        with pytest.raises((APIRefused, APIUnreachable)):
            await call(door(session, wire.url))

    assert len(wire.arrivals) == 1


@each_call
async def test_where_nobody_listens_nothing_was_done(
    call: Call, session: aiohttp.ClientSession
) -> None:
    async with Wire([]).serving() as wire:
        pass
    with pytest.raises(APIUnreachable, match="could not be reached") as error:
        await call(door(session, wire.url))

    assert not error.value.maybe_done


@each_call
async def test_an_api_with_an_untrusted_certificate_gets_no_key(
    call: Call, session: aiohttp.ClientSession
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with Wire([]).serving(context) as wire:
        with pytest.raises(APIUnreachable, match="own certificate") as error:
            await call(door(session, wire.url))

    assert wire.arrivals == []
    assert not error.value.maybe_done


# Secrets.


@pytest.mark.parametrize(
    "answer",
    [
        http(OK | {"monitor": MONITOR, "list": [MONITOR]}),
        http(HTML, 502),
        http({"code": 400, "message": f"unknown key {KEY}"}, 400),
        None,
        STALLED_HEAD,
    ],
    ids=["good", "502", "echo", "drop", "stall"],
)
@each_call
async def test_no_log_line_and_no_error_holds_query_key_or_password(
    call: Call,
    answer: bytes | list[bytes] | None,
    session: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    said = ""
    async with Wire([answer] * 4).serving() as wire:
        try:
            await call(door(session, wire.url, deadline=0.02, scan_deadline=0.02, attempts=2))
        except BotError as error:
            said = "".join(traceback.format_exception(error)) + repr(vars(error))
    said += caplog.text

    secrets = [KEY, PROXY.password, PASSWORD, "id=888", "example.com", "port=443"]
    assert not [word for word in secrets if word in said]


@pytest.mark.parametrize("echo", [PROXY.password, PASSWORD])
async def test_a_proxy_password_that_the_server_repeats_is_blotted(
    echo: str, session: aiohttp.ClientSession
) -> None:
    async with Wire([http({"code": 400, "message": f"bad “{echo}”"}, 400)]).serving() as wire:
        with pytest.raises(APIRefused) as refusal:
            await door(session, wire.url).add(Target("www.example.com"), PROXY)

    assert refusal.value.message == "bad “…”"


def test_the_key_stays_out_of_the_clients_own_words(session: aiohttp.ClientSession) -> None:
    assert KEY not in repr(door(session))


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_fits_no_header_is_refused_unseen(
    key: str, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(ConfigError) as error:
        SSLMonitor(API, key, session, clock=lambda: NOW)

    assert not key or key not in str(error.value)


def test_the_key_is_not_sent_unencrypted_unless_allowed(session: aiohttp.ClientSession) -> None:
    with pytest.raises(ConfigError, match="unencrypted"):
        door(session, "http://api.example/api/v1")

    assert "api.example" in repr(door(session, "http://api.example/api/v1", allow_http=True))
