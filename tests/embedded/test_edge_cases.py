"""Edge cases of hosts, requests and settings."""

import asyncio
import contextlib
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import insert, select

from bot.embedded.leases import LEASE, Leases
from bot.embedded.metrics import Metrics
from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict
from bot.embedded.sweep import Rescans, Sweep
from bot.store.database import Database
from bot.store.tables import monitors
from bot.target import Target

from . import fleet as fleets
from .fleet import (
    DAY,
    HOUR,
    NOW,
    Fleet,
    Leaf,
    Serving,
    general_name,
    issue,
    name,
    new_key,
    private_pem,
)
from .serving import Served, scan, serving
from .test_geo import database as geo_database
from .test_routes import NOBODY, refused

VERSION = bytes.fromhex("a003020102")  # a certificate's version: [0] INTEGER 2, which means v3
DATED = ("ping", "monitor/list", "monitor/get", "monitor/history")


def unusual(fleet: Fleet, file: Path, *extensions: x509.ExtensionType, version: int = 2) -> Serving:
    """Serve a certificate with these extensions and this version number (2 means v3)."""
    key, by = new_key("ec"), fleet.authorities["intermediate"]
    leaf = issue(name("fleet.test"), key, by, NOW - DAY, NOW + 90 * DAY, *extensions)
    der = leaf.public_bytes(serialization.Encoding.DER)
    sent = der.replace(VERSION, VERSION[:-1] + bytes([version]), 1)
    private = private_pem(key)
    chain = ssl.DER_cert_to_PEM_cert(sent).encode() + fleets.pem(by.certificate)
    file.write_bytes(private + chain)
    return fleets.serve(fleets.web_server(), context=fleet.context(file))


def raw(oid: str, value: str) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes.fromhex(value))


@pytest.mark.parametrize("version", [1, 3])
async def test_a_certificate_of_an_unknown_version_hides_nothing(
    fleet: Fleet, trust: Trust, tmp_path: Path, version: int
) -> None:
    result = await scan(trust, unusual(fleet, tmp_path / "unusual.pem", version=version))
    assert result.leaf is not None
    assert (result.leaf.subject_cn, result.leaf.not_after) == ("fleet.test", NOW + 90 * DAY)
    assert result.verdict is Verdict.UNTRUSTED  # the version was changed after it was signed


@pytest.mark.parametrize(
    "extension",
    [
        raw("1.3.6.1.5.5.7.1.24", "3003020163"),  # an unknown TLS feature
        raw("1.3.6.1.5.5.7.1.1", "6a756e6b"),  # authority information access: not DER
        raw("2.5.29.35", "3005a103a30105"),  # authority key identifier: of an unknown kind
    ],
    ids=["feature", "issuer", "key"],
)
async def test_an_unreadable_extension_does_not_hide_the_names(
    fleet: Fleet, trust: Trust, tmp_path: Path, extension: x509.UnrecognizedExtension
) -> None:
    names = x509.SubjectAlternativeName([general_name("fleet.test"), general_name("10.1.2.3")])
    result = await scan(trust, unusual(fleet, tmp_path / "unusual.pem", names, extension))
    assert (result.verdict, result.message, result.host_match) == (Verdict.VALID, "Valid", True)
    assert result.leaf is not None
    assert result.leaf.alt_names == ("fleet.test", "10.1.2.3")


async def test_unreadable_names_hide_no_other(fleet: Fleet, trust: Trust, tmp_path: Path) -> None:
    # An X.400 address, an IP address of 8 bytes, a name that is not text, and the good one.
    names = raw("2.5.29.17", "301da3020500870801020304ffffff008201ff820a666c6565742e74657374")
    result = await scan(trust, unusual(fleet, tmp_path / "unusual.pem", names))
    assert result.leaf is not None
    assert (result.message, result.leaf.alt_names) == ("Valid", ("fleet.test",))


@pytest.mark.parametrize("number", [0, 200, 255])
async def test_an_unnamed_alert_makes_a_complete_sentence(trust: Trust, number: int) -> None:
    alert = bytes([0x15, 3, 3, 0, 2, 2, number])
    result = await scan(trust, fleets.serve(fleets.say(alert)))
    assert result.message == "The TLS handshake failed: no reason was given"


async def first_flight(context: ssl.SSLContext, reader: asyncio.StreamReader) -> bytes:
    """What a server sends first, up to ServerHelloDone: its answer to the ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(await reader.read(65536))
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


SERVER_KEY_EXCHANGE = 12  # HandshakeType (RFC 5246, section 7.4)


async def test_a_server_that_stops_after_its_certificate_has_no_cipher_yet(
    fleet: Fleet, trust: Trust
) -> None:
    context = fleet.context(fleet.file(Leaf(since=DAY)))
    fleets.speak_only(context, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flight, at = await first_flight(context, reader), 0
        while flight[at + 5] != SERVER_KEY_EXCHANGE:
            at += 5 + int.from_bytes(flight[at + 3 : at + 5], "big")
        writer.write(flight[:at])

    result = await scan(trust, fleets.serve(talk))
    assert (result.verdict, result.host_match) == (Verdict.CLOSED, True)
    assert (result.handshake.protocol, result.handshake.cipher) == ("TLSv1.2", "")


ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # fatal, handshake_failure


INTERNAL_ERROR = b"\x15\x03\x03\x00\x02\x02\x50"
UNNAMED = b"\x15\x03\x03\x00\x02\x02\xc8"


@pytest.mark.parametrize(
    "first",
    [
        fleets.close,
        fleets.reset,
        fleets.say(ALERT),
        fleets.say(INTERNAL_ERROR),
        fleets.say(UNNAMED),
        fleets.say(ALERT[:3]),
        fleets.say(b"\x16\x03\x03\x00\x05abcde"),  # our side breaks this off, as it does old ones
    ],
    ids=["closed", "reset", "refused", "internal error", "unnamed", "half an alert", "garbled"],
)
async def test_a_server_that_rejects_the_first_handshake_is_judged_by_the_next(
    fleet: Fleet, trust: Trust, first: fleets.Talk
) -> None:
    """Whatever happened first, the protocol is not outdated if the next one is current."""
    context = fleet.context(fleet.file(Leaf(since=DAY)))
    visits: list[asyncio.StreamReader] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(reader)
        if len(visits) == 1:
            await first(reader, writer)
        else:
            await fleets.shake_hands(context, reader, writer)

    result = await scan(trust, fleets.serve(talk))
    assert (result.verdict, result.host_match) == (Verdict.VALID, True)
    assert len(visits) <= 3


@pytest.mark.parametrize("knows_others", [True, False])
async def test_a_rare_cipher_is_outdated_only_if_the_server_knows_no_other(
    knows_others: bool, fleet: Fleet, trust: Trust
) -> None:
    """After a mishap we offer ciphers that browsers don't; a server may prefer one of these."""
    context = fleet.context(fleet.file(Leaf()))
    fleets.speak_only(context, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    common = ":ECDHE-ECDSA-AES128-GCM-SHA256" if knows_others else ""
    context.set_ciphers(f"ECDHE-ECDSA-AES128-CCM8{common}:@SECLEVEL=0")
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    visits: list[asyncio.StreamReader] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(reader)
        if len(visits) == 1:
            await fleets.say(INTERNAL_ERROR)(reader, writer)
        else:
            with contextlib.suppress(ssl.SSLError):
                await fleets.shake_hands(context, reader, writer)

    result = await scan(trust, fleets.serve(talk))
    assert result.verdict is (Verdict.VALID if knows_others else Verdict.OLD_PROTOCOL)
    assert result.host_match


async def test_a_server_that_prefers_anonymous_ciphers_shows_its_certificate_all_the_same(
    fleet: Fleet, trust: Trust
) -> None:
    context = fleet.context(fleet.file(Leaf()))
    fleets.speak_only(context, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1)
    context.set_ciphers("aNULL:ALL:@SECLEVEL=0")
    result = await scan(trust, fleets.serve(fleets.web_server(), context=context))
    assert (result.verdict, result.host_match) == (Verdict.OLD_PROTOCOL, True)


@pytest.mark.slow
async def test_a_certificate_counts_though_the_server_then_falls_silent(
    fleet: Fleet, trust: Trust
) -> None:
    context = fleet.context(fleet.file(Leaf()))
    fleets.speak_only(context, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await first_flight(context, reader))
        await fleets.hang(reader, writer)

    async with fleets.serve(talk) as port:
        guard = Guard(parse_allow("127.0.0.1"), {"fleet.test": "127.0.0.1"})
        result = await Scanner(guard, trust, 3).scan(Target("fleet.test", port), NOW)
    assert (result.verdict, result.host_match) == (Verdict.TIMED_OUT, True)
    assert result.leaf is not None
    assert result.leaf.subject_cn == "fleet.test"


async def test_dates_are_cut_to_the_minute_everywhere(fleet: Fleet, served: Served) -> None:
    end = timedelta(hours=11, minutes=59, seconds=59)
    served.now += timedelta(seconds=31)
    async with fleet.tls(Leaf(left=90 * DAY + end, since=DAY - end)) as port:
        await served.add(port)
        check = await served.call("checks", host="fleet.test", port=str(port))
    answers = [await served.call(endpoint, id="1") for endpoint in DATED]
    text = str([answer.body for answer in (*answers, check)])
    assert "2027-01-15 12:00" in text
    assert text.count("2027-04-15 23:59") == 6  # get and checks also have it in the chain
    assert text.count("2027-01-14 23:59") == 6
    assert "2027-04-16" not in text
    assert "12:01" not in text


async def test_settings_reach_the_scans(fleet: Fleet, database: Database, tmp_path: Path) -> None:
    file = tmp_path / "places.mmdb"
    file.write_bytes(geo_database({"127.0.0.0/8": {"country": {"iso_code": "DE"}}}))
    more: dict[str, Any] = {
        "scan_deny": "fleet.test:9",
        "geoip_file": file,
        "reverse_names": True,
    }
    async with serving(fleet, database, **more) as served, fleet.tls() as port:
        added = await served.call("monitor/add", host="fleet.test", port=str(port))
        denied = await served.call("monitor/add", host="fleet.test", port="9")
    http = added.body["monitor"]["http"]
    assert (http["ip"], http["ip_rev"], http["ip_geo"]) == ("127.0.0.1", "localhost", "DE")
    assert refused(denied, 400) == "The address is refused by this server's rules."


async def test_a_forbidden_target_is_refused_with_and_without_a_proxy(served: Served) -> None:
    proxy = {"proxy_host": NOBODY, "proxy_port": "3128"}
    for target in ("169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"):
        for extra in ({}, proxy):
            for endpoint in ("monitor/add", "checks"):
                answer = await served.call(endpoint, host=target, port="443", **extra)
                message = refused(answer, 400)
                assert message == "The address is refused by this server's rules."


async def test_a_sweep_runs_fifty_scans_at_a_time(served: Served, database: Database) -> None:
    count, fifty, go = 0, asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count == 50:
            fifty.set()
        await go.wait()

    names = [f"h{number}.test" for number in range(70)]
    served.hosts.update(dict.fromkeys(names, "127.0.0.1"))
    async with fleets.serve(hold) as port:
        row = {"port": port, "created_at": NOW, "next_scan_at": NOW + DAY}
        async with database.write() as connection:
            await connection.execute(insert(monitors), [row | {"host": name} for name in names])
        served.now += 2 * DAY
        sweeps = [asyncio.create_task(served.api.sweep.once()) for _ in range(2)]
        await fifty.wait()
        running = await served.text("/metrics")
        go.set()
        await asyncio.gather(*sweeps)
    assert "sslmonitor_sweep_running 50.0" in running
    assert (await served.call("ping")).body["sweep"]["due"] == 0


async def test_a_lease_is_renewed_meanwhile(fleet: Fleet, trust: Trust, database: Database) -> None:
    now, came = NOW, asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()

    async def lease_end() -> datetime | None:
        async with database.read() as connection:
            return await connection.scalar(select(monitors.c.next_scan_at))

    leases = Leases(database, 12 * HOUR, "one")
    scanner = Scanner(Guard(parse_allow("127.0.0.1")), trust, 60)
    rescans = Rescans(scanner, leases, Metrics(), lambda: now)
    sweep = Sweep(rescans, leases, lambda: now, renewal=0.001)
    async with asyncio.timeout(10), fleets.serve(hold) as port:
        row = {"host": "127.0.0.1", "port": port, "created_at": NOW, "next_scan_at": NOW}
        async with database.write() as connection:
            await connection.execute(insert(monitors), [row])
        sweep.start()
        await came.wait()
        now += LEASE / 2
        while await lease_end() != now + LEASE:
            pass
        sweep.stop()
        scanner.close()
        await rescans.close()
        await sweep.close()
    assert await lease_end() == now  # released
