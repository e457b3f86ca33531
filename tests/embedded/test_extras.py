"""What the embedded API adds to the API page, all described in openapi.json."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import select

from bot.store.database import Database
from bot.store.tables import monitors

from . import fleet as fleets
from .fleet import DAY, HOUR, Fleet, Leaf
from .serving import KEY, Served, serving
from .test_routes import NOBODY, refused

SECRET = "a long random text"


@pytest_asyncio.fixture
async def served(fleet: Fleet, database: Database) -> AsyncIterator[Served]:
    async with serving(fleet, database, scan_rate_limit=5, secret_key=SECRET) as served:
        yield served


async def test_openapi_needs_no_key_and_describes_every_endpoint(served: Served) -> None:
    document = json.loads(await served.text("/api/v1/openapi.json"))
    assert document["openapi"].startswith("3.1")
    paths = {route.resource.canonical for route in served.routes() if route.resource}
    described = {f"/api/v1{path}" for path in document["paths"]}
    assert paths - described == {
        "/metrics",
        "/metrics/certificates",
        "/api/v1/openapi.json",
    }
    assert described <= paths


async def test_the_history_lists_each_change_newest_first(fleet: Fleet, served: Served) -> None:
    context = fleet.context(fleet.file(Leaf(left=-HOUR)))
    async with fleets.serve(fleets.web_server(), context=context) as port:
        await served.add(port)
        served.now += HOUR
        await served.call("monitor/scan", id="1")
        context.load_cert_chain(fleet.file(Leaf()))
        served.now += HOUR
        await served.call("monitor/scan", id="1")
    body = (await served.call("monitor/history", id="1")).body
    assert [(row["date"], row["verdict"], row["ssl_valid"]) for row in body["list"]] == [
        ("2027-01-15 14:00", "valid", True),
        ("2027-01-15 12:00", "expired", False),
    ]
    assert (body["count"], body["total"]) == (2, 2)
    second = (await served.call("monitor/history", id="1", limit="1", offset="1")).body
    assert second["list"] == body["list"][1:]
    assert (second["count"], second["total"]) == (1, 2)
    refused(await served.call("monitor/history", id="2"), 404)
    await served.call("monitor/delete", id="1")
    refused(await served.call("monitor/history", id="1"), 404)


async def test_monitor_get_has_the_verdict_and_the_chain(fleet: Fleet, served: Served) -> None:
    async with fleet.tls(Leaf(left=2 * DAY)) as port:
        await served.add(port)
    monitor = (await served.call("monitor/get", id="1")).body["monitor"]
    assert monitor["verdict"] == "valid"
    assert [(link["subject"], link["issuer"]) for link in monitor["chain"]] == [
        ("fleet.test", "Fleet Issuing CA"),
        ("Fleet Issuing CA", "Fleet Root"),
    ]
    served.now += 3 * DAY
    assert (await served.call("monitor/get", id="1")).body["monitor"]["verdict"] == "expired"


async def test_a_list_can_be_read_in_slices(served: Served) -> None:
    for port in range(1, 6):
        await served.add(port, NOBODY)
    body = (await served.call("monitor/list", limit="2", offset="1", port="!1")).body
    assert ([row["port"] for row in body["list"]], body["count"], body["total"]) == ([3, 4], 2, 4)
    for name, value in (("limit", "0"), ("limit", "x"), ("offset", "-1"), ("limit", "9" * 40)):
        assert name in refused(await served.call("monitor/list", **{name: value}), 400)


async def test_a_check_reports_everything_and_stores_nothing(fleet: Fleet, served: Served) -> None:
    async with fleet.tls(Leaf(names=("other.test",))) as port:
        answer = await served.call("checks", host="fleet.test", port=str(port))
    check = answer.body["check"]
    assert (check["host"], check["port"]) == ("fleet.test", port)
    assert (check["verdict"], check["ssl_valid"], check["ssl_color"]) == (
        "host_mismatch",
        False,
        "red",
    )
    assert check["ssl"]["expire_days"] == 90
    assert len(check["chain"]) == 2
    assert (await served.call("account")).body["monitor_used"] == 0
    assert refused(await served.call("checks", host="127.0.0.2", port="443"), 400)
    refused(await served.call("checks"), 400)


async def test_a_protocol_is_scanned_by_starttls(fleet: Fleet, served: Served) -> None:
    async def imap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK IMAP here\r\n")
        while line := await reader.readline():
            writer.write(line.split()[0] + b" BAD no TLS\r\n")

    async with fleets.serve(imap) as port:
        await served.add(port, protocol="imap")
    row = (await served.call("monitor/list")).body["list"][0]
    assert "STARTTLS" in row["ssl_message"]
    message = refused(await served.call("checks", host=NOBODY, port="1", protocol="gopher"), 400)
    assert "protocol" in message


@pytest.mark.slow
async def test_scans_on_demand_are_rate_limited(served: Served) -> None:
    for port in range(1, 5):
        await served.add(port, NOBODY)
    assert (await served.call("monitor/scan", id="1")).status == 200
    for endpoint, params in (
        ("monitor/scan", {"id": "1"}),
        ("monitor/add", {"host": NOBODY, "port": "9"}),
        ("checks", {"host": NOBODY, "port": "9"}),
    ):
        url = f"{served.api.url}/{endpoint}"
        headers = {"Authorization": f"Bearer {KEY}"}
        async with served.session.get(url, params=params, headers=headers) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "12")
    refused(await served.call("monitor/scan", id="1"), 429)
    refused(await served.call("monitor/scan", id="77"), 404)
    served.now += HOUR / 300
    assert (await served.call("monitor/scan", id="1")).status == 200
    refused(await served.call("monitor/scan", id="1"), 429)
    assert (await served.call("monitor/list")).status == 200


PROXY = {
    "proxy_host": "proxy.test",
    "proxy_port": "3128",
    "proxy_username": "ann",
    "proxy_password": "hunter2",
}


async def test_a_proxys_password_is_encrypted_and_never_returned_or_logged(
    fleet: Fleet, served: Served, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Who are you\r\n\r\n")

    served.hosts["proxy.test"] = "127.0.0.1"
    async with fleets.serve(proxy) as port:
        await served.add(443, "inside.test", **PROXY | {"proxy_port": str(port)})
        await served.call("monitor/scan", id="1")
    assert len(seen) == 2
    assert all(b"Proxy-Authorization: Basic YW5uOmh1bnRlcjI=" in head for head in seen)
    answers = [
        await served.call(endpoint, id="1")
        for endpoint in ("monitor/list", "monitor/get", "monitor/scan", "monitor/history")
    ]
    assert "407" in str(answers[0].body)
    assert "hunter2" not in str(answers)
    assert "YW5uOmh1bnRlcjI=" not in str(answers)
    async with database.read() as connection:
        stored = await connection.scalar(select(monitors.c.proxy_password))
    assert stored
    assert "hunter2" not in stored
    for secret in ("hunter2", "YW5uOmh1bnRlcjI="):
        assert secret not in caplog.text


async def test_a_proxys_password_needs_a_secret_key(fleet: Fleet, database: Database) -> None:
    async with serving(fleet, database) as served:
        answer = await served.call("monitor/add", host=NOBODY, port="443", **PROXY)
        assert "SECRET_KEY" in refused(answer, 400)
        del answer.body["message"]
    assert "hunter2" not in str(answer)


async def test_a_password_encrypted_with_another_secret_key_is_reported(
    fleet: Fleet, served: Served, database: Database
) -> None:
    served.hosts["proxy.test"] = "127.0.0.1"
    async with fleets.refuse() as port:
        await served.add(443, "inside.test", **PROXY | {"proxy_port": str(port)})
    async with serving(fleet, database, secret_key="another long text") as other:
        assert "SECRET_KEY" in refused(await other.call("monitor/scan", id="1"), 503)


async def test_an_invalid_proxy_is_refused_with_400(served: Served) -> None:
    for name, value in (
        ("proxy_host", ""),
        ("proxy_port", ""),
        ("proxy_port", "70000"),
        ("proxy_host", "a b"),
        ("proxy_username", ""),
        ("proxy_username", "a:b"),
        ("proxy_password", "x\r\ny"),
        ("proxy_host", "169.254.169.254"),
    ):
        params = {"host": NOBODY, "port": "443"} | PROXY | {name: value}
        refused(await served.call("monitor/add", **params), 400)
    empty = dict.fromkeys(PROXY, "")
    assert (await served.call("monitor/add", host=NOBODY, port="443", **empty)).status == 200
