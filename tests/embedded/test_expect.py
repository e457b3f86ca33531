"""monitor/expect: a certificate was issued, and the host is scanned until it serves that one."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from bot.embedded import Accounts
from bot.embedded.ca.expected import Expected
from bot.embedded.leases import LeaseResult, Leases
from bot.store.database import Database

from . import fleet as fleets
from .fleet import DAY, HOUR, NOW, Fleet, Leaf
from .serving import Answer, Served, serving
from .test_routes import NOBODY, refused

OLD, NEW = Leaf(left=10 * DAY), Leaf(left=80 * DAY)
MINUTE = HOUR / 60


@pytest_asyncio.fixture
async def served(fleet: Fleet, any_database: Database) -> AsyncIterator[Served]:
    async with serving(fleet, any_database) as served:
        yield served


def certificate(fleet: Fleet, leaf: Leaf) -> x509.Certificate:
    return x509.load_pem_x509_certificate(fleet.file(leaf).read_bytes())


def sha256(fleet: Fleet, leaf: Leaf) -> str:
    return certificate(fleet, leaf).fingerprint(hashes.SHA256()).hex()


async def sweep(served: Served) -> None:
    while await served.api.sweep.once():
        pass


async def state(served: Served, id_: int = 1) -> tuple[object, object]:
    """What monitor/get and monitor/list say of the wait."""
    monitor = (await served.call("monitor/get", id=str(id_))).body["monitor"]
    rows = (await served.call("monitor/list")).body["list"]
    (row,) = [row for row in rows if row["id"] == id_]
    return monitor.get("expected"), row.get("expected_date")


async def test_the_wait_ends_once_the_certificate_is_live(fleet: Fleet, served: Served) -> None:
    context = fleet.context(fleet.file(OLD))
    async with fleets.serve(fleets.web_server(), context=context) as port:
        await served.add(port)
        served.now += HOUR
        told = {"host": "fleet.test", "fingerprint": sha256(fleet, NEW)}
        answer = await served.call("monitor/expect", "POST", **told)
        assert answer.body["list"] == [
            {
                "id": 1,
                "host": "fleet.test",
                "port": port,
                "scan_date": "2027-01-15 12:00",
                "state": "waiting",
                "date": "2027-01-15 13:00",
                "replaced": False,
            }
        ]
        await sweep(served)  # at once, not at its slot within twelve hours
        monitor = (await served.call("monitor/get", id="1")).body["monitor"]
        assert monitor["scan_date"] == "2027-01-15 13:00"
        expected = {
            "fingerprint": told["fingerprint"],
            "serial": "",
            "date": "2027-01-15 13:00",
            "date_end": None,
        }
        assert await state(served) == (expected, "2027-01-15 13:00")
        served.now += 5 * MINUTE
        context.load_cert_chain(fleet.file(NEW))
        await sweep(served)
        assert await state(served) == (None, None)
        assert (await served.call("monitor/expect", "POST", **told)).body["list"][0][
            "state"
        ] == "live"
        assert await state(served) == (None, None)


@pytest.mark.slow
async def test_scans_go_on_every_five_minutes_then_hourly(fleet: Fleet, served: Served) -> None:
    async with fleet.tls(OLD) as port:
        await served.add(port)
        served.now += 2 * HOUR
        await served.call("monitor/expect", id="1", serial="0x99")
        dates = set()
        for wait in [MINUTE] * 15 + [5 * MINUTE] * 27 + [15 * MINUTE] * 10:  # five hours
            await sweep(served)
            dates.add((await served.call("monitor/get", id="1")).body["monitor"]["scan_date"])
            served.now += wait
        assert len(dates) in {24 + 1 + 2, 24 + 1 + 2 + 1}  # its regular slot may be among them


async def test_a_certificate_issued_later_ends_the_wait(fleet: Fleet, served: Served) -> None:
    later = Leaf(left=85 * DAY, since=-3 * HOUR)
    context = fleet.context(fleet.file(OLD))
    async with fleets.serve(fleets.web_server(), context=context) as port:
        await served.add(port)
        await served.call("monitor/expect", id="1", serial="0x99")
        served.now += 4 * HOUR
        await served.call("monitor/scan", id="1")
        assert (await state(served))[1] == "2027-01-15 12:00"
        context.load_cert_chain(fleet.file(later))
        await served.call("monitor/scan", id="1")
        assert await state(served) == (None, None)


async def test_an_expired_certificate_is_awaited_no_longer(fleet: Fleet, served: Served) -> None:
    async with fleet.tls(OLD) as port:
        await served.add(port)
        told = {"id": "1", "serial": "0x99", "date_end": "notAfter=Jan 17 12:00:00 2027 GMT"}
        assert (await served.call("monitor/expect", **told)).status == 200
        assert (await state(served))[1] == "2027-01-15 12:00"
        served.now += 2 * DAY
        assert await state(served) == (None, None)
        await sweep(served)
        message = refused(await served.call("monitor/expect", **told), 400)
        assert message == "That certificate expired on 2027-01-17 12:00: nobody waits for it."


async def test_another_announcement_replaces_the_first(fleet: Fleet, served: Served) -> None:
    async with fleet.tls(OLD) as port:
        await served.add(port)
        outcomes = []
        for serial in ("0x99", "0x99", "0xaa"):
            answer = await served.call("monitor/expect", id="1", serial=serial)
            (row,) = answer.body["list"]
            outcomes.append((row["date"], row["replaced"]))
            served.now += HOUR
        assert outcomes == [
            ("2027-01-15 12:00", False),
            ("2027-01-15 12:00", False),
            ("2027-01-15 14:00", True),
        ]
        answer = await served.call("monitor/expect", id="1", fingerprint=sha256(fleet, OLD))
        assert (answer.body["list"][0]["state"], answer.body["list"][0]["replaced"]) == (
            "live",
            True,
        )
        assert await state(served) == (None, None)


@pytest.mark.slow
async def test_a_certificate_concerns_all_of_its_names(fleet: Fleet, served: Served) -> None:
    async with fleet.tls(OLD) as one, fleet.tls(NEW) as other:
        for host in ("a.fleet.test", "b.fleet.test", "fleet.test"):
            await served.add(one, host)
        await served.add(other, "a.fleet.test")
        await served.add(one, "127.0.0.1")
        told = {"fingerprint": sha256(fleet, NEW)}

        async def states(**where: str) -> tuple[list[tuple[int, str]], list[str]]:
            body = (await served.call("monitor/expect", **told, **where)).body
            assert body["count"] == len(body["list"])
            return [(row["id"], row["state"]) for row in body["list"]], body["unmonitored"]

        assert await states(host="*.Fleet.test x.test") == (
            [(1, "waiting"), (2, "waiting"), (4, "live")],
            ["x.test"],
        )
        assert await states(host="fleet.test,a.fleet.test", port=str(one)) == (
            [(1, "waiting"), (3, "waiting")],
            [],
        )
        answer = await served.call("monitor/expect", host="*.x.test *.0.0.1 b_.example", **told)
        message = "No monitor has one of these hosts: *.x.test, *.0.0.1, b_.example"
        assert refused(answer, 404) == message
        answer = await served.call("monitor/expect", host="fleet.test", port="9", **told)
        assert refused(answer, 404) == "No monitor has one of these hosts at port 9: fleet.test"
        answer = await served.call("monitor/expect", id="77", **told)
        assert refused(answer, 404) == "monitor not found"


async def test_monitors_are_found_during_writes(served: Served, any_database: Database) -> None:
    await served.add(443, "a.b.fleet.test")
    async with any_database.write():
        told = served.call("monitor/expect", host="*.fleet.test", serial="0x99")
        refused(await asyncio.wait_for(told, 5), 404)


async def test_one_old_address_keeps_the_wait(fleet: Fleet, served: Served) -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1", "::1"]

    scanner = served.api._scanner
    scanner.guard = replace(scanner.guard, look_up=look_up)
    talk, host = fleets.web_server(), "two.fleet.test"
    one, other = Leaf((host,)), Leaf((host,), left=80 * DAY)
    old, new = fleet.context(fleet.file(one)), fleet.context(fleet.file(other))
    async with (
        fleets.serve(talk, context=new) as port,
        fleets.serve(talk, context=old, address="::1", port=port),
    ):
        await served.add(port, host)
        for leaf in (one, other):
            told = {"id": "1", "fingerprint": sha256(fleet, leaf)}
            answer = await served.call("monitor/expect", **told)
            assert answer.body["list"][0]["state"] == "waiting"
            served.now += HOUR
            await served.call("monitor/scan", id="1")
            assert (await state(served))[1] is not None
        served.now += 30 * DAY  # nobody told when it expires
        assert await state(served) == (None, None)


async def test_a_scan_that_runs_meanwhile_keeps_its_lease_and_its_result_counts(
    fleet: Fleet, served: Served, any_database: Database
) -> None:
    context = fleet.context(fleet.file(OLD))
    async with fleets.serve(fleets.web_server(), context=context) as port:
        await served.add(port)
        served.now += DAY
        leases = Leases(any_database, DAY, "w")
        (lease,) = await leases.lease_due(served.now, 9)
        await served.call("monitor/expect", id="1", fingerprint=sha256(fleet, NEW))
        assert await leases.lease_due(served.now, 9) == []
        context.load_cert_chain(fleet.file(NEW))
        found = await served.api.rescans.check(lease.job)
        await leases.save([LeaseResult(lease, found)])
        assert await state(served) == (None, None)


async def limited(served: Served, key: str, method: str, path: str, **params: str) -> Answer:
    url = f"{served.api.url}/{path}"
    headers = {"Authorization": f"Bearer {key}"}
    return await served.ask(method, url, params=params, headers=headers)


async def test_a_key_for_web_servers_can_announce_and_do_nothing_else(
    fleet: Fleet, served: Served, any_database: Database
) -> None:
    store = Accounts(any_database)
    id_, key = await store.add("web1", None, NOW, only="expect")
    async with fleet.tls(OLD) as port:
        await served.add(port)
        for route in served.routes():
            assert route.resource
            path = route.resource.canonical
            if path in {"/metrics", "/api/v1/openapi.json", "/api/v1/monitor/expect"}:
                continue
            url = f"{served.api.url.removesuffix('/api/v1')}{path}?id=1&host={NOBODY}&port=1"
            headers = {"Authorization": f"Bearer {key}"}
            answer = await served.ask(route.method, url, headers=headers)
            assert refused(answer, 403) == "This key is good for monitor/expect only."
        assert (await served.call("monitor/list")).body["count"] == 1
        for method in ("GET", "POST"):
            answer = await limited(
                served, key, method, "monitor/expect", host="fleet.test", serial="0x99"
            )
            assert answer.body["list"][0]["state"] == "waiting"
        assert await store.revoke(id_, NOW)
        refused(await limited(served, key, "GET", "monitor/expect", id="1", serial="0x9"), 401)


async def test_a_web_servers_key_has_its_limit(fleet: Fleet, any_database: Database) -> None:
    _, key = await Accounts(any_database).add("web1", None, NOW, only="expect")
    async with serving(fleet, any_database, scan_rate_limit=2) as served:
        told = {"host": "a.test", "serial": "0x99"}
        for code in (404, 404, 429):
            refused(await limited(served, key, "GET", "monitor/expect", **told), code)
        refused(await served.call("monitor/expect", **told), 404)


async def test_a_key_for_web_servers_sees_its_accounts_monitors_only_and_ends_with_it(
    served: Served, any_database: Database
) -> None:
    store = Accounts(any_database)
    owner, _ = await store.add("Ann", None, NOW)
    _, key = await store.add("web1", None, NOW, only="expect", owner=owner)
    await served.add(443, NOBODY)
    told = {"id": "1", "serial": "0x99"}
    refused(await limited(served, key, "GET", "monitor/expect", **told), 404)
    await store.revoke(owner, NOW)
    refused(await limited(served, key, "GET", "monitor/expect", **told), 401)


SERIALS = {
    "04:AB:cd": "4abcd",
    "04 AB cd": "4abcd",
    "0x04abcd": "4abcd",
    "serial=04ABCD": "4abcd",
    " 0000abcd": "abcd",
    "00:99": "99",
    "0099": "99",
    "0x1234": "1234",
    "serial=1000": "1000",
    "12:34": "1234",
    "7": "7",
    "00": "0",
}


@pytest.mark.parametrize("text", SERIALS)
def test_a_serial_number_is_read_however_it_is_written(text: str) -> None:
    assert Expected.read({"serial": text}) == Expected("serial", SERIALS[text])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "one of the two"),
        ({"serial": "0x1", "fingerprint": "ab" * 32}, "one of the two"),
        ({"serial": "1234567890"}, "may be hexadecimal or decimal. Write hexadecimal as 0x1234"),
        ({"serial": "-01"}, "not a serial number"),
        ({"serial": "0x"}, "not a serial number"),
        ({"serial": "٣٤"}, "not a serial number"),
        ({"serial": "a" * 41}, "at most 40 hexadecimal digits"),
        ({"fingerprint": "ab" * 20}, "That is a SHA-1 fingerprint"),
        ({"fingerprint": "ab" * 31}, "not a SHA-256 fingerprint"),
        ({"fingerprint": "=" * 64}, "not a SHA-256 fingerprint"),
    ],
)
def test_an_ambiguous_or_malformed_name_is_refused(given: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Expected.read(given)


def test_a_fingerprint_is_read_as_openssl_and_browsers_write_it() -> None:
    plain = Expected("fingerprint", "ab" * 32)
    pairs = ["AB"] * 32
    for text in ("sha256 Fingerprint=" + ":".join(pairs), "".join(pairs), "\n" + " ".join(pairs)):
        assert Expected.read({"fingerprint": text}) == plain
    assert Expected.of(str(plain)) == plain


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"serial": "0x9"}, "give id, or host"),
        ({"serial": "0x9", "id": "1", "host": "fleet.test"}, "either id or host"),
        ({"serial": "0x9", "id": "x"}, "not a number"),
        ({"serial": "0x9", "host": "fleet.test", "port": "0"}, "port must be a number"),
        ({"serial": "0x9", "host": "a " * 9 + "\0"}, "invalid character"),
        ({"serial": "0x9", "host": " ".join(f"h{n}" for n in range(251))}, "at most 250 names"),
        ({"serial": "0x9", "host": "fleet.test", "date_end": "soon"}, "not a date"),
    ],
)
async def test_an_announcement_that_makes_no_sense_is_refused(
    fleet: Fleet, database: Database, given: dict[str, str], why: str
) -> None:
    async with serving(fleet, database) as served:
        assert why in refused(await served.call("monitor/expect", "POST", **given), 400)


def hook(directory: Path, url: str, key: str) -> Path:
    """The documented script, with the address of this API and a file with this key."""
    docs = (Path(__file__).parents[2] / "docs" / "embedded.md").read_text()
    found = re.search(r"```sh\n(#!/bin/sh\n.*?)```", docs, re.DOTALL)
    assert found
    secret, script = directory / "sslmonitor-key", directory / "hook"
    secret.write_text(f"Authorization: Bearer {key}\n")
    text = found[1].replace("/etc/sslmonitor-key", str(secret))
    script.write_text(text.replace("http://sslmonitor.example.com:8021/api/v1", url))
    script.chmod(0o700)
    return script


async def run(script: Path, **environ: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        script,
        env={"PATH": os.environ["PATH"]} | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return await process.wait(), output.decode()


@pytest.mark.slow
async def test_the_documented_hook_works_for_certbot_and_for_acme_sh(
    fleet: Fleet, database: Database, tmp_path: Path
) -> None:
    _, key = await Accounts(database).add("web1", None, NOW, only="expect")
    leaf = Leaf(("fleet.test", "a.fleet.test", "127.0.0.1"), left=80 * DAY)
    lineage = tmp_path / "live" / "fleet.test"
    lineage.mkdir(parents=True)
    (lineage / "cert.pem").write_bytes(fleets.pem(certificate(fleet, leaf)))
    async with serving(fleet, database) as served, fleet.tls(OLD) as port:
        script = hook(tmp_path, served.api.url, key)
        for host in ("fleet.test", "127.0.0.1", "b.fleet.test"):
            await served.add(port, host)
        names = "a.fleet.test fleet.test"
        code, output = await run(script, RENEWED_LINEAGE=str(lineage), RENEWED_DOMAINS=names)
        assert (code, '"unmonitored":["a.fleet.test"]' in output) == (0, True), output
        expected = {
            "fingerprint": sha256(fleet, leaf),
            "serial": "",
            "date": "2027-01-15 12:00",
            "date_end": "2027-04-05 12:00",
        }
        assert await state(served, 1) == (expected, "2027-01-15 12:00")
        assert await state(served, 2) == (None, None)

        code, output = await run(script, CERT_PATH=str(lineage / "cert.pem"))
        assert code == 0, output
        assert await state(served, 2) == (expected, "2027-01-15 12:00")
        assert await state(served, 3) == (None, None)

        environ = {"RENEWED_LINEAGE": str(lineage), "RENEWED_DOMAINS": "x.test"}
        code, output = await run(script, **environ)
        assert (code, "No monitor has one of these hosts: x.test" in output) == (22, True), output
