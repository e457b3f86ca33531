import asyncio
import itertools
import logging
import uuid

import pytest
from sqlalchemy import insert, text

from bot.embedded import EmbeddedAPI, EmbeddedSettings
from bot.store.database import Database
from bot.store.tables import monitors

from . import fleet as fleets
from .fleet import DAY, HOUR, NOW, Fleet, Leaf
from .serving import KEY, Answer, Served, serving
from .test_wire import ERROR, WIRE, faults

NOBODY = "elsewhere.test"  # resolves to a forbidden address: nothing is dialed


def refused(answer: Answer, code: int) -> str:
    """Check that it is an error reply, and return its message."""
    assert (answer.status, answer.type) == (code, "application/json")
    assert faults(answer.body, ERROR) == []
    assert answer.body["code"] == code
    assert uuid.UUID(answer.body["req_id"]).version == 4
    return str(answer.body["message"])


BAD_KEYS = ("", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer kéy", KEY)


async def test_a_bad_or_missing_key_is_refused_everywhere(served: Served) -> None:
    for endpoint, header in itertools.product(WIRE, BAD_KEYS):
        url = f"{served.api.url}/{endpoint}"
        answer = await served.ask("GET", url, headers={"Authorization": header})
        assert "key" in refused(answer, 401)


async def test_what_is_malformed_or_unknown_gets_an_error_reply(served: Served) -> None:
    refused(await served.call("monitor/nope"), 404)
    refused(await served.ask("GET", served.api.url.removesuffix("/api/v1") + "/"), 404)
    for method in ("PUT", "DELETE", "PATCH"):
        refused(await served.call("ping", method), 405)

    headers = {"Authorization": f"bearer {KEY}"}
    assert (await served.ask("GET", f"{served.api.url}/ping", headers=headers)).status == 200

    for endpoint in ("monitor/get", "monitor/scan", "monitor/delete", "monitor/history"):
        for id_, code in IDS.items():
            message = refused(await served.call(endpoint, id=id_), code)
            assert message == "monitor not found" or "id" in message
        refused(await served.call(endpoint), 400)

    for params, method in itertools.product(INVALID_TARGETS, ("GET", "POST")):
        refused(await served.call("monitor/add", method, **params), 400)

    for host in ("127.0.0.2", "169.254.169.254", "::ffff:127.0.0.2", "[fe80::1]", "224.0.0.1"):
        message = refused(await served.call("monitor/add", host=host, port="443"), 400)
        assert message == "The address is refused by this server's rules."

    twice = await served.ask("GET", f"{served.api.url}/monitor/get?id=7&id=x")
    refused(twice, 404)
    both = await served.ask("POST", f"{served.api.url}/monitor/get?id=7", data={"id": "x"})
    refused(both, 400)


IDS = {
    "1": 404,
    "0": 404,
    "2147483648": 404,
    "9" * 40: 404,
    "": 400,
    "x": 400,
    "-1": 400,
    "1.0": 400,
    "١": 400,
}


INVALID_TARGETS: list[dict[str, str]] = [
    {},
    {"host": "fleet.test"},
    {"port": "443"},
    {"host": "fleet.test", "port": "0"},
    {"host": "fleet.test", "port": "65536"},
    {"host": "fleet.test", "port": "443x"},
    {"host": "*.fleet.test", "port": "443"},
    {"host": "fleet.test:443", "port": "443"},
    {"host": "a b", "port": "443"},
    {"host": "127.0.0.256", "port": "443"},
    {"host": "1042", "port": "443"},
    {"host": "x" * 300, "port": "443"},
    {"url": "ftp://fleet.test"},
    {"url": "https://good.test:443@fleet.test/"},
    {"url": "https://"},
    {"url": "https://fleet.test", "host": "fleet.test", "port": "443"},
]


async def test_a_target_has_one_monitor_until_it_is_deleted(served: Served) -> None:
    await served.call("monitor/add", host=NOBODY, port="443")
    row = (await served.call("monitor/list")).body["list"][0]
    assert "refused by this server's rules" in row["ssl_message"]
    assert (row["ssl_valid"], row["ssl_color"], row["ssl_host_match"]) == (False, "grey", None)

    again = await served.call("monitor/add", url=f"https://{NOBODY.upper()}./")
    assert refused(again, 400) == f"{NOBODY}:443 is already monitored, as monitor 1."
    await served.call("monitor/add", host=NOBODY, port="8443")
    assert (await served.call("account")).body["monitor_used"] == 2

    assert (await served.call("monitor/delete", id="1")).body == {"success": 1, "message": "Ok"}
    refused(await served.call("monitor/delete", id="1"), 404)
    refused(await served.call("monitor/get", id="1"), 404)
    added = await served.call("monitor/add", host=NOBODY, port="443")
    assert added.body["monitor"]["id"] == 3


async def test_a_target_is_stored_in_normal_form(served: Served) -> None:
    for params, host, port in (
        ({"url": f"https://{NOBODY}"}, NOBODY, 443),
        ({"url": f"https://{NOBODY.upper()}.:8443/path?q"}, NOBODY, 8443),
        ({"host": f"{NOBODY.title()}.", "port": " 636 "}, NOBODY, 636),
    ):
        monitor = (await served.call("monitor/add", **params)).body["monitor"]
        assert (monitor["host"], monitor["port"]) == (host, port)


async def test_concurrent_adds_of_a_target_make_one_monitor(served: Served) -> None:
    calls = (served.call("monitor/add", host=NOBODY, port="443") for _ in range(5))
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400, 400]
    for answer in answers:
        if answer.status == 400:
            assert "already monitored, as monitor 1" in refused(answer, 400)


async def test_the_monitor_limit_is_enforced_and_reported(fleet: Fleet, database: Database) -> None:
    async with serving(fleet, database, limit=1) as served:
        await served.call("monitor/add", host=NOBODY, port="443")
        over = await served.call("monitor/add", host=NOBODY, port="444")
        assert refused(over, 403) == "The account has reached its limit of 1 monitors."
        account = (await served.call("account")).body
    assert (account["monitor_limit"], account["monitor_used"], account["monitor_available"]) == (
        1,
        1,
        0,
    )


async def test_what_expired_since_its_scan_is_expired(fleet: Fleet, served: Served) -> None:
    async with fleet.tls(Leaf(left=2 * DAY)) as port:
        await served.call("monitor/add", host="fleet.test", port=str(port))
        before = (await served.call("monitor/list", ssl_valid="true")).body["list"][0]
        served.now += 2 * DAY + HOUR
        after = (await served.call("monitor/list", ssl_valid="false")).body["list"][0]
    assert (before["ssl_message"], before["ssl_color"]) == ("Valid", "orange")
    assert before["ssl_expire_days"] == 2
    assert (after["ssl_message"], after["ssl_color"]) == ("Expired 2027-01-17", "red")
    assert (after["ssl_valid"], after["ssl_expire_days"]) == (False, -1)
    assert after["scan_date"] == before["scan_date"]
    assert (await served.call("monitor/list", ssl_valid="true")).body["count"] == 0


async def test_a_scan_reports_what_has_changed(fleet: Fleet, served: Served) -> None:
    context = fleet.context(fleet.file(Leaf(left=-HOUR)))
    async with fleets.serve(fleets.web_server(), context=context) as port:
        added = await served.call("monitor/add", host="fleet.test", port=str(port))
        context.load_cert_chain(fleet.file(Leaf()))
        served.now += HOUR
        scanned = await served.call("monitor/scan", "POST", id="1")
    assert added.body["monitor"]["ssl"]["expire_days"] == -1
    assert scanned.body["monitor"]["ssl"]["expire_days"] == 90
    assert scanned.body["monitor"]["scan_date"] == "2027-01-15 13:00"
    assert (await served.call("monitor/list")).body["list"][0]["ssl_message"] == "Valid"


async def test_concurrent_scans_of_a_monitor_are_joined(fleet: Fleet, served: Served) -> None:
    visits: list[asyncio.StreamReader] = []
    came, go = asyncio.Event(), asyncio.Event()
    answer = fleets.web_server()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(reader)
        came.set()
        await go.wait()
        await answer(reader, writer)

    async with fleets.serve(hold, context=fleet.context(fleet.file(Leaf()))) as port:
        go.set()
        await served.call("monitor/add", host="fleet.test", port=str(port))
        visits.clear()
        came.clear()
        go.clear()
        scans = [asyncio.create_task(served.api.rescans.scan(1)) for _ in range(3)]
        await came.wait()
        scans[0].cancel()  # one caller leaves: the others still get their result
        go.set()
        await asyncio.gather(*scans[1:])
        await served.api.rescans.scan(1)
    assert len(visits) == 2  # one for the three, one for the next


async def test_a_monitor_deleted_during_its_scan_is_404(fleet: Fleet, served: Served) -> None:
    came, go = asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await go.wait()

    async with fleets.serve(hold) as port:
        go.set()
        await served.call("monitor/add", host="fleet.test", port=str(port))
        came.clear()
        go.clear()
        scan = asyncio.create_task(served.call("monitor/scan", id="1"))
        await came.wait()
        await served.call("monitor/delete", id="1")
        go.set()
        refused(await scan, 404)


@pytest.mark.slow
async def test_a_long_list_is_complete_and_in_order(served: Served, database: Database) -> None:
    rows = [
        {
            "host": f"h{number}.test",
            "port": 443,
            "created_at": NOW,
            "next_scan_at": NOW + DAY,
            "scanned_at": NOW,
            "verdict": "valid",
            "message": "Valid",
            "not_after": NOW + number * DAY,
        }
        for number in range(2500)
    ]
    async with database.write() as connection:
        await connection.execute(insert(monitors), rows)
    body = (await served.call("monitor/list")).body
    assert body["count"] == len(body["list"]) == 2500
    assert [row["id"] for row in body["list"]] == list(range(1, 2501))
    exactly = (await served.call("monitor/list", ssl_expire_days="500-2499")).body
    assert exactly["count"] == len(exactly["list"]) == 2000
    none = await served.call("monitor/list", host="nobody.test")
    assert none.body == {"success": 1, "message": "Ok", "count": 0, "list": []}


async def test_an_unscanned_monitor_is_listed_as_such(served: Served, database: Database) -> None:
    async with database.write() as connection:
        row = {"host": "new.test", "port": 443, "created_at": NOW, "next_scan_at": NOW + DAY}
        await connection.execute(insert(monitors), [row])
    listed = (await served.call("monitor/list", ssl_valid="false")).body["list"][0]
    assert (listed["ssl_message"], listed["ssl_color"]) == ("Not scanned yet", "grey")
    got = (await served.call("monitor/get", id="1")).body["monitor"]
    assert (got["scan_date"], got["ssl"]["date_end"], got["http"]["code"]) == (None, None, None)


async def test_an_internal_error_is_500_with_its_req_id_in_the_log(
    served: Served, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with database.write() as connection:
        await connection.execute(text("DROP TABLE monitors"))
    answer = await served.call("monitor/get", id="1")
    refused(answer, 500)
    assert answer.body["req_id"] in caplog.text


async def test_the_log_contains_no_query_and_no_key(
    fleet: Fleet, served: Served, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hunter2"
    for method in ("GET", "POST"):
        params = {"host": NOBODY, "port": "443", "proxy_password": secret}
        await served.call("monitor/add", method, **params)
        await served.call("monitor/list", method, host=secret)
        await served.call(secret, method, id=secret)
    async with database.write() as connection:
        await connection.execute(text("DROP TABLE monitors"))
    await served.call("monitor/add", host=NOBODY, port="443", other=secret)
    await too_long(served, f"proxy_password={secret}&url=")
    ours = [record for record in caplog.records if record.name.startswith(("bot", "aiohttp"))]
    assert "(LineTooLong)" in caplog.text  # the faults were logged
    lines = [logging.Formatter().format(record) for record in ours]
    assert not any(secret in line or KEY in line for line in lines)


async def test_a_database_error_is_logged_without_the_parameters(
    fleet: Fleet, any_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    secret = "hunter2"
    proxy = {"proxy_host": "proxy.test", "proxy_port": "3128", "proxy_username": secret}
    async with serving(fleet, any_database) as served:
        async with any_database.write() as connection:
            await connection.execute(text("ALTER TABLE monitors RENAME COLUMN issuer TO gone"))
        refused(await served.call("monitor/list", host=f"*{secret}*"), 500)
        refused(await served.call("monitor/add", host=NOBODY, port="443", **proxy), 500)
    lines = [logging.Formatter().format(record) for record in caplog.records]
    faults = [line for line in lines if "failed, req_id" in line]
    assert ["hidden" in fault and "issuer" in fault for fault in faults] == [True, True]
    assert not any(secret in line for line in lines)


async def too_long(served: Served, query: str) -> None:
    """Send a request line that is too long: aiohttp answers before any handler is called."""
    url = f"{served.api.url}/checks?{query}{'x' * 10_000}"
    async with served.session.get(url, headers={"Authorization": f"Bearer {KEY}"}) as response:
        assert response.status == 400


def test_settings_are_checked_and_do_not_show_the_key() -> None:
    assert KEY not in repr(EmbeddedSettings(KEY))

    for key, allow in (("", ""), (KEY, "10.0.0.1/8")):
        with pytest.raises(ValueError, match=r"\."):
            EmbeddedSettings(key, scan_allow=allow)


async def test_the_api_can_be_served_over_ipv6(fleet: Fleet, database: Database) -> None:
    settings = EmbeddedSettings(KEY, ca_file=fleet.ca_file)
    api = EmbeddedAPI(settings, database, clock=lambda: NOW)
    await api.start("::1")
    await api.close()
    assert api.url.startswith("http://[::1]:")


async def test_an_address_that_tries_keys_has_to_wait_and_is_logged(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"{served.api.url}/ping"
    tries = [
        await served.ask("GET", url, headers={"Authorization": f"Bearer {n}"}) for n in range(30)
    ]
    assert {answer.status for answer in tries} == {401}

    answer = await served.ask("GET", url)

    assert "Too many wrong API keys" in refused(answer, 429)
    assert "A wrong API key came from 127.0.0.1" in caplog.text
