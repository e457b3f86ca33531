import asyncio
import logging
import ssl
import traceback
from itertools import product

import aiohttp
import pytest
import trustme

from bot.api import connection as connection_module
from bot.api.client import SSLMonitor
from bot.api.reply import seconds
from bot.errors import APIRefused, APIUnreachable, BotError, ConfigError
from bot.target import Target
from tests.client_wire import (
    API,
    EVERY_CALL,
    HTML,
    KEY,
    MONITOR,
    NOW,
    OK,
    PASSWORD,
    PROXY,
    READS,
    WRITES,
    Call,
    Wire,
    door,
    http,
)

# Reads are repeated, within reason.

METHODS = ("GET", "POST")
CUT = (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",)


@pytest.mark.slow
async def test_reads_are_repeated_while_that_may_help(session: aiohttp.ClientSession) -> None:
    failures: tuple[bytes | tuple[bytes], ...] = (
        http(HTML, 502),
        http({"code": 500, "message": "oops"}, 500),
        http({"code": 503, "message": "busy"}, 200),
        http(b"", 200),
        http({"code": 429, "message": "slow down"}, 429),
        http(HTML, 429, "Retry-After: 0\r\n"),
        http(HTML, 429, "Retry-After: Mon, 05 Jan 2026 20:25:40 GMT\r\n"),
        CUT,
    )
    good = http(OK | {"monitor": MONITOR, "list": [MONITOR]})
    for (name, call), failure in product(READS.items(), failures):
        async with Wire([failure, failure, good]).serving() as wire:
            await call(door(session, wire.url))
        assert len(wire.arrivals) == 3, (name, failure)


async def test_a_refused_read_is_not_repeated(session: aiohttp.ClientSession) -> None:
    for (name, call), code in product(READS.items(), (400, 401, 403, 404)):
        async with Wire([http({"code": code, "message": "no"}, code)] * 3).serving() as wire:
            with pytest.raises(APIRefused):
                await call(door(session, wire.url))
        assert len(wire.arrivals) == 1, (name, code)


async def test_a_server_that_is_down_is_asked_as_configured(session: aiohttp.ClientSession) -> None:
    async with Wire([http(HTML, 502)] * 9).serving() as wire:
        with pytest.raises(APIUnreachable):
            await door(session, wire.url, attempts=4).ping()

    assert len(wire.arrivals) == 4


async def test_a_read_survives_a_dropped_connection(session: aiohttp.ClientSession) -> None:
    async with Wire([http(), None, http()]).serving() as wire:
        api = door(session, wire.url)
        await api.ping()
        await api.ping()

    assert len(wire.arrivals) == 3


async def test_a_long_retry_after_is_not_waited_out(session: aiohttp.ClientSession) -> None:
    async with Wire([http(HTML, 429, "Retry-After: 31\r\n")] * 3).serving() as wire:
        with pytest.raises(APIRefused) as refusal:
            await door(session, wire.url, deadline=30).ping()

    assert (refusal.value.code, refusal.value.retry_after) == (429, 31)
    assert len(wire.arrivals) == 1


def test_a_retry_after_sets_the_wait_in_seconds_or_by_date(session: aiohttp.ClientSession) -> None:
    worth = door(session, deadline=30)._worth_another_try
    assert worth(APIRefused(429, "slow down", retry_after=7.0)) == 7.0
    assert worth(APIRefused(429, "slow down", retry_after=30.5)) is False
    assert worth(APIRefused(429, "slow down")) is True

    for text, wait in [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Mon, 05 Jan 2026 20:26:40 GMT", 60.0),
        ("Mon, 05 Jan 2026 20:26:40 -0000", 60.0),
        ("Mon, 05 Jan 2026 20:00:00 GMT", 0.0),
        ("soon", None),
        ("1.5", 1.5),
        ("9" * 400, None),
        ("999999", None),
        ("Mon, 05 Jan 2099 20:26:40 GMT", None),
        (f"Mon, 05 Jan {10**20} 20:26:40 GMT", None),
        ("-1", None),
        ("", None),
        (None, None),
    ]:
        assert seconds(text, NOW) == wait


STALLED_BODY = [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"]
STALLED_HEAD = [b""]


@pytest.mark.slow
async def test_one_deadline_covers_the_body_too(session: aiohttp.ClientSession) -> None:
    async def ask(name: str, call: Call) -> None:
        async with Wire([STALLED_BODY]).serving() as wire:
            api = door(session, wire.url, deadline=0.2, scan_deadline=0.2, attempts=1)
            with pytest.raises(APIUnreachable, match=r"within 0\.2 seconds") as error:
                await call(api)
        assert error.value.maybe_done == (name in WRITES), name
        assert len(wire.arrivals) == 1, name

    await asyncio.gather(*(ask(*each) for each in EVERY_CALL.items()))


@pytest.mark.slow
async def test_a_silent_server_is_asked_again_only_to_read(session: aiohttp.ClientSession) -> None:
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


async def test_a_change_arrives_once_where_connections_drop(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for (name, call), method in product(WRITES.items(), METHODS):
        async with Wire([]).serving() as wire:
            with pytest.raises(APIUnreachable) as error:
                await call(door(session, wire.url, write_method=method))
        assert len(wire.arrivals) == 1, (name, method)
        assert error.value.maybe_done, (name, method)

    async def no_guard(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        return await handler(request)

    monkeypatch.setattr(connection_module, "_never_again", no_guard)
    for name, call in WRITES.items():  # without the guard, it would arrive twice
        async with Wire([]).serving() as wire:
            with pytest.raises(APIUnreachable):
                await call(door(session, wire.url))
        assert len(wire.arrivals) == 2, name


async def test_a_change_never_goes_over_a_connection_that_was_used_before(
    session: aiohttp.ClientSession,
) -> None:
    good = http(OK | {"monitor": MONITOR})
    for (name, call), method in product(WRITES.items(), METHODS):
        async with Wire([good] * 4).serving() as wire:
            api = door(session, wire.url, write_method=method)
            await api.ping()
            await api.ping()
            assert len(wire.writers) == 1

            await call(api)
            await call(api)
            assert len(wire.writers) == 3, (name, method)
        assert len(wire.arrivals) == 4, (name, method)


async def test_a_failed_change_is_not_repeated(session: aiohttp.ClientSession) -> None:
    busy = http({"code": 503, "message": "busy"}, 503)
    failures: tuple[bytes | tuple[bytes], ...] = (http(HTML, 502), busy, http(HTML, 429), CUT)
    for (name, call), failure in product(WRITES.items(), failures):
        async with Wire([failure] * 3).serving() as wire:
            with pytest.raises((APIRefused, APIUnreachable)) as error:
                await call(door(session, wire.url))
        assert len(wire.arrivals) == 1, (name, failure)
        assert error.value.maybe_done == (b" 429 " not in failure), (name, failure)


async def test_without_listener_nothing_is_done(session: aiohttp.ClientSession) -> None:
    for name, call in EVERY_CALL.items():
        async with Wire([]).serving() as wire:
            pass
        with pytest.raises(APIUnreachable, match="could not be reached") as error:
            await call(door(session, wire.url))
        assert not error.value.maybe_done, name


async def test_an_api_with_an_untrusted_certificate_gets_no_key(
    session: aiohttp.ClientSession,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    for name, call in EVERY_CALL.items():
        async with Wire([]).serving(context) as wire:
            with pytest.raises(APIUnreachable, match="own certificate") as error:
                await call(door(session, wire.url))
        assert wire.arrivals == [], name
        assert not error.value.maybe_done, name


# Secrets.


@pytest.mark.slow
async def test_no_log_line_and_no_error_holds_query_key_or_password(
    session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [KEY, PROXY.password, PASSWORD, "id=888", "example.com", "port=443"]
    answers = (
        http(OK | {"monitor": MONITOR, "list": [MONITOR]}),
        http(HTML, 502),
        http({"code": 400, "message": f"unknown key {KEY}"}, 400),
        None,
        STALLED_HEAD,
    )

    for answer, (name, call) in product(answers, EVERY_CALL.items()):
        limit = 0.02 if answer is STALLED_HEAD else 5.0
        said = ""
        async with Wire([answer] * 4).serving() as wire:
            try:
                await call(door(session, wire.url, deadline=limit, scan_deadline=limit, attempts=2))
            except BotError as error:
                said = "".join(traceback.format_exception(error)) + repr(vars(error))
        said += caplog.text
        caplog.clear()
        assert not [word for word in secrets if word in said], (name, answer)
        assert "GET" in said or answer in (None, STALLED_HEAD), name


@pytest.mark.parametrize("echo", [PROXY.password, PASSWORD])
async def test_a_proxy_password_that_the_server_repeats_is_redacted(
    echo: str, session: aiohttp.ClientSession
) -> None:
    async with Wire([http({"code": 400, "message": f"bad “{echo}”"}, 400)]).serving() as wire:
        with pytest.raises(APIRefused) as refusal:
            await door(session, wire.url).add(Target("www.example.com"), PROXY)

    assert refusal.value.message == "bad “…”"


def test_the_key_is_not_shown_nor_sent_unencrypted(session: aiohttp.ClientSession) -> None:
    assert KEY not in repr(door(session))

    with pytest.raises(ConfigError, match="unencrypted"):
        door(session, "http://api.example/api/v1")
    assert "api.example" in repr(door(session, "http://api.example/api/v1", allow_http=True))


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_fits_no_header_is_unseen(key: str, session: aiohttp.ClientSession) -> None:
    with pytest.raises(ConfigError) as error:
        SSLMonitor(API, key, session, clock=lambda: NOW)

    assert not key or key not in str(error.value)
