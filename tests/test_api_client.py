import asyncio
import json
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aioresponses import aioresponses
from msgspec import Raw

from bot.api.models import Account, Ping, Proxy
from bot.api.reply import Reply, judge
from bot.errors import APIUnreachable
from bot.target import Target
from tests.client_wire import (
    API,
    EVERY_CALL,
    KEY,
    MONITOR,
    OK,
    PASSWORD,
    PROXY,
    READS,
    WRITES,
    Call,
    Recorder,
    Wire,
    door,
    http,
)
from tests.stub_api import Json

# What is asked: every documented parameter, as it stands on the wire.

PROXIED = "proxy_host=proxy.example&proxy_port=3128"
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
    (lambda api: api.extras.history(888, 21), "monitor/history?id=888&limit=21"),
    (lambda api: api.extras.check(Target("a.b", 8443)), "checks?host=a.b&port=8443"),
    (
        lambda api: api.extras.check(Target("::1", 25), "smtp"),
        "checks?host=%3A%3A1&port=25&protocol=smtp",
    ),
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


async def test_every_parameter_goes_out_as_documented(session: aiohttp.ClientSession) -> None:
    async with Recorder(monitor=MONITOR, check=MONITOR, list=[], count=0).serving() as server:
        for call, path in ASKED:
            with suppress(APIUnreachable):  # the reply may be about another host
                await call(door(session, server.url))
            assert server.seen == [("GET", f"/api/v1/{path}", "")]
            assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"
            server.seen.clear()


async def test_changes_can_go_out_as_posted_forms(session: aiohttp.ClientSession) -> None:
    added = f"host=www.example.com&port=443&{PROXIED}"
    async with Recorder(monitor=MONITOR, check=MONITOR, list=[]).serving() as server:
        api = door(session, server.url, write_method="POST")
        for call in EVERY_CALL.values():
            await call(api)

        assert server.seen == [
            ("GET", "/api/v1/ping", ""),
            ("GET", "/api/v1/account", ""),
            ("GET", "/api/v1/monitor/list?host=%2A.example.com", ""),
            ("GET", "/api/v1/monitor/get?id=888", ""),
            ("GET", "/api/v1/monitor/history?id=888&limit=21", ""),
            ("GET", "/api/v1/checks?host=www.example.com&port=443", ""),
            (
                "POST",
                "/api/v1/monitor/add",
                f"{added}&proxy_username=me&proxy_password=p%26ss+w%C3%B6rd",
            ),
            ("POST", "/api/v1/monitor/scan", "id=888"),
            ("POST", "/api/v1/monitor/delete", "id=888"),
        ]
        form = "application/x-www-form-urlencoded"
        assert [headers.get("Content-Type") for headers in server.headers[6:]] == [form] * 3
        assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}


# What comes back.


async def test_all_fields_are_read_by_the_measured_offset(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    api = door(session)
    responses.get(f"{API}/ping", payload=OK | {"date_time": "2026-01-01 00:00", "apikey_id": 888})
    quota = {"monitor_limit": 10, "monitor_used": 4, "monitor_available": 6}
    owner = {"id": 888, "email": "john@example.com"}
    responses.get(f"{API}/account", payload=OK | owner | quota)
    assert await api.ping() == Ping(datetime(2026, 1, 1, tzinfo=UTC), 888)
    assert await api.account() == Account(888, "john@example.com", 10, 4, 6)

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


async def test_an_unreadable_or_absurd_clock_keeps_the_old_offset(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    api = door(session)
    for date in ("2026-01-05 19:26", None, "", "soon", 12, "2020-01-01 00:00"):
        responses.get(f"{API}/ping", payload=OK | {"date_time": date})
        assert await api.measure_clock() == api.offset == timedelta(hours=-1), date


async def test_a_list_drops_unreadable_rows_and_says_so(
    responses: aioresponses, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [MONITOR, {"id": "?", "host": "a\nb"}, "odd", None, MONITOR | {"id": 889}]
    responses.get(f"{API}/monitor/list", payload=OK | {"list": rows, "count": 9})

    assert [row.id for row in await door(session).list()] == [888, 889]
    assert "Could not read 7 of 9 monitors in monitor/list: the first one has id" in caplog.text
    assert r"""id '"?"', host '"a\\nb"' (""" in caplog.text
    caplog.clear()
    responses.get(f"{API}/monitor/list", payload=OK | {"list": [], "count": 2})
    assert (await door(session).list()).unreadable == 2
    assert "Could not read 2 of 2 monitors in monitor/list: they are counted" in caplog.text


async def test_rows_that_share_an_id_are_logged_as_such(
    responses: aioresponses, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    for rows, count, why in (
        ([MONITOR, MONITOR | {"host": "b.test"}], 2, "several rows have the ID 888"),
        ([MONITOR, MONITOR], 2, "several rows have the ID 888"),
        ([MONITOR], 2, "they are counted, but not listed"),
        ([MONITOR, MONITOR], 5, "several rows have the ID 888; 3 are counted, but not listed"),
    ):
        caplog.clear()
        responses.get(f"{API}/monitor/list", payload=OK | {"list": rows, "count": count})
        assert len(await door(session).list()) == 1
        assert caplog.messages == [
            f"Could not read {count - 1} of {count} monitors in monitor/list: {why}"
        ]


async def test_an_empty_list_is_no_failure_but_a_missing_one_is(
    responses: aioresponses, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    empty: list[Json] = [{"list": [], "count": 0}, {"list": []}, {"count": 0}]
    for fields in empty:
        responses.get(f"{API}/monitor/list", payload=OK | fields)
        assert await door(session).list() == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

    missing: list[Json] = [{}, {"list": {}}, {"list": None}]
    for fields in missing:
        responses.get(f"{API}/monitor/list", payload=OK | fields)
        with pytest.raises(APIUnreachable, match="contains no list"):
            await door(session).list()


async def test_a_count_that_is_too_large_or_negative_is_not_readable(
    session: aiohttp.ClientSession,
) -> None:
    for count in (b"1e400", b"9" * 5000, b"-1"):
        fields = {"success": Raw(b"1"), "list": Raw(b"[]"), "count": Raw(count)}
        with pytest.raises(APIUnreachable, match="no readable count"):
            await door(session)._read_rows(fields)
        rows = await door(session)._read_rows(
            fields | {"list": Raw(json.dumps([MONITOR]).encode())}
        )
        assert [row.id for row in rows] == [888]


async def test_what_can_not_be_decompressed_is_told_as_that(session: aiohttp.ClientSession) -> None:
    for encoding in ("gzip", "deflate", "br"):
        answers = [http(b"no \xff such", headers=f"Content-Encoding: {encoding}\r\n")] * 3
        async with Wire(answers).serving() as server:
            for call in (READS["ping"], WRITES["delete"]):
                with pytest.raises(APIUnreachable, match="could not be decompressed"):
                    await call(door(session, server.url, attempts=1))


async def test_a_change_without_a_readable_monitor_may_be_done(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    oddities: list[object] = [{}, None, [], "odd", {"id": 1}]
    for monitor in oddities:
        responses.get(f"{API}/monitor/scan?id=888", payload=OK | {"monitor": monitor})
        responses.get(f"{API}/monitor/get?id=888", payload=OK | {"monitor": monitor})
        with pytest.raises(APIUnreachable) as scanned:
            await door(session).scan(888)
        with pytest.raises(APIUnreachable) as got:
            await door(session).get(888)
        assert (scanned.value.maybe_done, got.value.maybe_done) == (True, False), monitor


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
