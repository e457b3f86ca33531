"""The client and what an API may have beyond the documented page."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses

from bot.api.client import SSLMonitor
from bot.api.extras import Extra, History, HistoryEntry
from bot.api.models import ChainCertificate, Name
from bot.errors import APIRefused, APIUnreachable, BotError
from bot.target import Target
from tests.client_wire import API, HTML, KEY, MONITOR, NOW, OK, Recorder, Wire, door, http
from tests.world import Clock

FILE = f"{API}/openapi.json"
BOTH: dict[str, Any] = {"/checks": {}, "/monitor/history": {}}
LISTED: dict[str, Any] = {"openapi": "3.1.0", "paths": BOTH | {"/ping": {}}}
OFFERED = [extra in {Extra.CHECK, Extra.HISTORY} for extra in Extra]
NO_FILE = [
    http(HTML, 404),
    http({"code": 404, "message": "no such endpoint"}, 404),
    http({"code": 404, "message": "no such endpoint"}),
    http({"code": 401, "message": "no key"}, 401),
    http(HTML, 403),
    http(b"", 302, "Location: /login\r\n"),
    http(HTML),
    http(b"[]"),
    http({}),
    http({"paths": None}),
    http({"paths": ["/checks"]}),
    http({"paths": {"/ping": {}, "/other-checks": {}}}),
]
TROUBLE = [
    http(HTML, 502),
    http({"code": 500, "message": "oops"}, 500),
    http({"code": 500, "message": "oops"}),
    http({"code": 429, "message": "too many"}, 429, "Retry-After: 0\r\n"),
    None,
]


async def test_the_description_is_asked_for_once_keyless(session: aiohttp.ClientSession) -> None:
    async with Recorder(**LISTED).serving() as server:
        api = door(session, server.url)

        assert [await api.extras.offers(extra) for extra in (*Extra, *Extra)] == OFFERED * 2
        assert server.seen == [("GET", "/api/v1/openapi.json", "")]
        assert "Authorization" not in server.headers[0]
        assert KEY not in str(server.headers)


async def test_each_extra_and_parameter_is_known_apart(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    for prefix, extra in product(("", "/v1", "/api/v1"), (Extra.CHECK, Extra.HISTORY)):
        responses.get(FILE, payload={"paths": {f"{prefix}/{extra}": {}}})
        api = door(session)
        assert [await api.extras.offers(each) for each in Extra] == [
            each is extra for each in Extra
        ]

    described: list[tuple[Any, bool]] = [
        ({"get": {"parameters": [{"name": "host"}, {"name": "protocol"}]}}, True),
        ({"get": {"parameters": [{"name": "host"}]}}, False),
        ({"get": {"parameters": ["protocol", None]}}, False),
        ({"get": None}, False),
        ([], False),
    ]
    for operations, offered in described:
        responses.get(FILE, payload={"paths": {"/api/v1/monitor/add": operations}})
        assert await door(session).extras.offers(Extra.PROTOCOL) is offered, operations


async def test_where_no_description_is_nothing_is_offered_and_nothing_is_asked_again(
    session: aiohttp.ClientSession,
) -> None:
    for answer in NO_FILE:
        async with Wire([answer] * 3).serving() as wire:
            api = door(session, wire.url)
            offered = [await api.extras.offers(extra) for extra in (*Extra, *Extra)]
            assert offered == [False] * 2 * len(Extra), answer
            assert len(wire.arrivals) == 1, answer


async def test_a_fault_is_raised_after_some_tries_and_kept_for_a_minute_in_a_hurry(
    session: aiohttp.ClientSession,
) -> None:
    for answer, later in product(TROUBLE, (True, False)):
        async with Wire([answer] * (6 if answer is None else 3)).serving() as wire:
            clock = Clock(NOW)
            api = door(session, wire.url, clock=clock)
            with pytest.raises((APIRefused, APIUnreachable)):
                await api.extras.offers(Extra.CHECK)
            asked = len(wire.arrivals)
            assert asked >= 3, answer
            clock.move(seconds=59)
            with pytest.raises((APIRefused, APIUnreachable)):
                await api.extras.offers(Extra.HISTORY, hurry=True)
            assert len(wire.arrivals) == asked, answer

            wire.answers = [http(LISTED)]
            if later:
                clock.move(seconds=1)
            assert await api.extras.offers(Extra.CHECK, hurry=later), answer


async def test_a_missing_extra_is_asked_for_hourly_and_a_found_one_never_again(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    clock = Clock(NOW)
    api = SSLMonitor(API, KEY, session, clock=clock, wait=0)
    for _ in range(2):
        responses.get(FILE, payload={"paths": {"/monitor/history": {}}})
    responses.get(FILE, payload=LISTED)
    responses.get(FILE, status=404)

    assert await api.extras.offers(Extra.HISTORY)
    clock.move(minutes=59)
    assert not await api.extras.offers(Extra.CHECK)
    clock.move(days=-1)  # set back: it is asked again
    assert not await api.extras.offers(Extra.CHECK)
    clock.move(hours=1)
    assert await api.extras.offers(Extra.CHECK)
    clock.move(days=9)
    assert [await api.extras.offers(extra) for extra in Extra] == OFFERED


ROW = {
    "date": "2026-01-05 20:25",
    "verdict": "expired",
    "ssl_valid": False,
    "ssl_message": "Expired 2026-01-01",
    "ssl_host_match": True,
    "ssl_expire_date_start": "2025-10-03 00:00",
    "ssl_expire_date_end": "2026-01-01 00:00",
    "ssl_issuer": "R11",
}
CHANGE = HistoryEntry(
    at=datetime(2026, 1, 5, 20, 25, tzinfo=UTC),
    valid=False,
    message="Expired 2026-01-01",
    host_match=True,
    not_before=datetime(2025, 10, 3, tzinfo=UTC),
    not_after=datetime(2026, 1, 1, tzinfo=UTC),
    issuer="R11",
)
HISTORY = f"{API}/monitor/history?id=888&limit=21"


async def test_a_history_is_read_with_the_clocks_offset_the_newest_first(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    older = ROW | {"date": "2025-12-01 00:00"}
    responses.get(HISTORY, payload=OK | {"list": [older, ROW], "count": 2, "total": 57})
    api = door(session)
    api.offset = timedelta(hours=-1)

    found = await api.extras.history(888, 21)

    assert found.changes[0].at == CHANGE.at + timedelta(hours=1)
    assert found.changes[0].not_after == datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert [change.at.month for change in found.changes] == [1, 12]
    assert found.total == 57


async def test_the_readable_part_of_a_history_is_read_and_a_missing_one_is_none(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    readable: list[tuple[dict[str, object], History]] = [
        ({"list": [ROW]}, History((CHANGE,), 1)),
        ({"list": []}, History((), 0)),
        ({"list": [ROW], "total": "many"}, History((CHANGE,), 1)),
        (
            {"list": [{}, {"date": "soon"}, None, "odd", ROW | {"date": 7}, ROW]},
            History((CHANGE,), 1),
        ),
    ]
    for fields, expected in readable:
        responses.get(HISTORY, payload=OK | fields)
        assert await door(session).extras.history(888, 21) == expected, fields

    missing: list[dict[str, object]] = [{}, {"list": None}, {"list": {}}, {"list": "odd"}]
    for fields in missing:
        responses.get(HISTORY, payload=OK | fields)
        with pytest.raises(APIUnreachable, match="no readable history"):
            await door(session).extras.history(888, 21)


async def test_a_change_of_which_only_the_date_is_known_is_kept(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    odd = {name: [1] for name in ROW} | {"date": ROW["date"]}
    responses.get(HISTORY, payload=OK | {"list": [odd]})

    (change,) = (await door(session).extras.history(888, 21)).changes
    assert change == HistoryEntry(CHANGE.at, None, "", None, None, None, "")


CHAIN = [
    {"subject": "a.b", "issuer": "R11", "date_start": "2026-01-01 00:00", "date_end": "x"},
    {"subject": "R11", "issuer": "Root", "date_end": "2027-03-13 00:00", "fingerprint": "ab"},
    "odd",
]
CHECKED = {
    "host": "a.b",
    "port": 8443,
    "scan_date": "2026-01-05 20:25",
    "ssl_valid": True,
    "ssl_message": "Valid",
    "ssl_color": "green",
    "ssl_host_match": True,
    "ssl": {
        "date_start": "2026-01-01 00:00",
        "date_end": "2026-03-13 00:00",
        "issuer_cn": "R11",
        "alt_names": ["a.b", "*.a.b"],
    },
    "http": {"ip": "192.0.2.1", "code": 200},
    "verdict": "valid",
    "chain": CHAIN,
}
ASKED = f"{API}/checks?host=a.b&port=8443"


async def test_a_check_gives_what_a_row_and_a_monitor_would(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    responses.get(ASKED, payload=OK | {"check": CHECKED})

    check = await door(session).extras.check(Target("a.b", 8443))

    row, found = check.row, check.found
    assert (row.target, row.valid, row.message) == (Target("a.b", 8443), True, "Valid")
    assert row.not_before == datetime(2026, 1, 1, tzinfo=UTC)
    assert row.not_after == datetime(2026, 3, 13, tzinfo=UTC)
    assert (row.issuer, row.http_code, found.http.ip) == ("R11", 200, "192.0.2.1")
    assert found.certificate is not None
    assert found.certificate.issuer == Name("R11")
    assert found.certificate.alt_names == ("a.b", "*.a.b")
    assert found.chain == (
        ChainCertificate("a.b", "R11", datetime(2026, 1, 1, tzinfo=UTC), None),
        ChainCertificate("R11", "Root", None, datetime(2027, 3, 13, tzinfo=UTC)),
    )


async def test_a_check_of_a_host_without_a_certificate_is_read_and_a_missing_one_a_fault(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    nothing: list[object] = [None, {}, [], "odd", {"date_end": 7}]
    for ssl in nothing:
        bare = {"host": "a.b", "ssl_message": "Refused", "ssl": ssl, "http": ssl, "chain": ssl}
        responses.get(ASKED, payload=OK | {"check": bare})
        check = await door(session).extras.check(Target("a.b", 8443))
        row = check.row
        assert (row.message, row.not_after, row.http_code) == ("Refused", None, None), ssl
        assert (check.found.certificate, check.found.chain) == (None, ()), ssl

    missing: list[dict[str, object]] = [{}, {"check": None}, {"check": []}, {"check": {"port": 1}}]
    for body in missing:
        responses.get(ASKED, payload=OK | body)
        with pytest.raises(APIUnreachable, match="no readable check") as error:
            await door(session).extras.check(Target("a.b", 8443))
        assert not error.value.maybe_done, body


async def test_a_check_is_asked_once_whatever_comes_of_it(session: aiohttp.ClientSession) -> None:
    async with Wire([http(HTML, 502)] * 3).serving() as wire:
        with pytest.raises(BotError):
            await door(session, wire.url).extras.check(Target("a.b"))
        assert len(wire.arrivals) == 1


async def test_the_chain_of_a_monitor_is_read_where_there_is_one(
    responses: aioresponses, session: aiohttp.ClientSession
) -> None:
    responses.get(f"{API}/monitor/get?id=888", payload=OK | {"monitor": MONITOR | {"chain": CHAIN}})
    responses.get(f"{API}/monitor/get?id=888", payload=OK | {"monitor": MONITOR})
    api = door(session)

    assert [link.subject for link in (await api.get(888)).chain] == ["a.b", "R11"]
    assert (await api.get(888)).chain == ()
