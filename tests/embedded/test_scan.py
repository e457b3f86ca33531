"""What a scan must report about each kind of host."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict
from bot.playground.hosts import SampleHosts
from bot.target import Target

from . import fleet as fleets
from .fleet import DAY, FIXTURES, HOUR, NOW, Fleet, Leaf, Serving

IDN = "xn--bcher-kva.fleet.test"


@dataclass(frozen=True)
class Case:
    """How a host is served, and what its scan must report."""

    serve: Callable[[Fleet], Serving]
    verdict: Verdict
    word: str
    match: bool | None = True
    days: int | None = 90
    code: int | None = 200
    host: str = "fleet.test"
    address: str = "127.0.0.1"


def good(leaf: Leaf | None = None, **fields: object) -> Case:
    return Case(lambda f: f.tls(leaf), Verdict.VALID, "Valid", **fields)  # type: ignore[arg-type]


def bad(leaf: Leaf, verdict: Verdict, word: str, **fields: object) -> Case:
    return Case(lambda f: f.tls(leaf), verdict, word, **fields)  # type: ignore[arg-type]


def dead(serve: Callable[[], Serving], verdict: Verdict, word: str) -> Case:
    return Case(lambda _: serve(), verdict, word, match=None, days=None, code=None)


def expiring(after: timedelta) -> Leaf:
    return Leaf(left=after)


def only(oldest: ssl.TLSVersion, newest: ssl.TLSVersion) -> Callable[[Fleet], Serving]:
    def serve(fleet: Fleet) -> Serving:
        context = fleet.context(fleet.file(Leaf()))
        fleets.speak_only(context, oldest, newest)
        return fleets.serve(fleets.web_server(), context=context)

    return serve


def mutual(newest: ssl.TLSVersion) -> Callable[[Fleet], Serving]:
    def serve(fleet: Fleet) -> Serving:
        context = fleet.context(fleet.file(Leaf()))
        fleets.speak_only(context, V.TLSv1, newest)
        fleets.ask_for_certificate(context, fleet.ca_file)
        return fleets.serve(fleets.web_server(), context=context)

    return serve


def sha1(fleet: Fleet) -> Serving:
    context = fleet.context(FIXTURES / "sha1-leaf.pem")
    return fleets.serve(fleets.web_server(), context=context)


def sending(*authorities: str) -> Callable[[Fleet], Serving]:
    """Serve the good leaf followed by these certificates."""

    def serve(fleet: Fleet) -> Serving:
        context = fleet.context(fleet.sending(Leaf(), *authorities))
        return fleets.serve(fleets.web_server(), context=context)

    return serve


def by_name(fleet: Fleet) -> Serving:
    """Serve a certificate for another host to visitors that do not ask for fleet.test by SNI."""
    good_context = fleet.context(fleet.file(Leaf()))
    context = fleet.context(fleet.file(Leaf(names=("other.test",))))

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name == "fleet.test":
            connection.context = good_context

    context.sni_callback = choose
    return fleets.serve(fleets.web_server(), context=context)


V = ssl.TLSVersion
CASES = {
    "valid": good(),
    "rsa-2048": good(Leaf(key="rsa2048")),
    "rsa-4096": good(Leaf(key="rsa4096")),
    "ed25519": good(Leaf(key="ed25519")),
    "no-subject": good(Leaf(cn=None)),
    "ip-san": good(Leaf(names=("127.0.0.1",)), host="127.0.0.1"),
    "ipv6": Case(
        lambda f: f.tls(Leaf(names=("::1",)), address="::1"),
        Verdict.VALID,
        "Valid",
        host="::1",
        address="::1",
    ),
    "idn": good(Leaf(names=(IDN,)), host=IDN),
    "wildcard": good(Leaf(names=("*.fleet.test",)), host="a.fleet.test"),
    "sni": Case(by_name, Verdict.VALID, "Valid"),
    "chain-with-root": Case(sending("intermediate", "root"), Verdict.VALID, "Valid"),
    "chain-unordered": Case(sending("root", "expired", "intermediate"), Verdict.VALID, "Valid"),
    "tls12-only": Case(only(V.TLSv1_2, V.TLSv1_2), Verdict.VALID, "Valid"),
    "tls13-only": Case(only(V.TLSv1_3, V.TLSv1_3), Verdict.VALID, "Valid"),
    "expires-29d": good(expiring(29 * DAY + HOUR), days=29),
    "expires-30d": good(expiring(30 * DAY), days=30),
    "expires-31d": good(expiring(31 * DAY), days=31),
    "expires-3h": good(expiring(3 * HOUR), days=0),
    "wrong-host": bad(Leaf(names=("other.test",)), Verdict.HOST_MISMATCH, "host name", match=False),
    "wildcard-two-levels": bad(
        Leaf(names=("*.fleet.test",)),
        Verdict.HOST_MISMATCH,
        "host name",
        match=False,
        host="a.b.fleet.test",
    ),
    "ip-not-in-san": bad(
        Leaf(names=("fleet.test",), cn="127.0.0.1"),
        Verdict.HOST_MISMATCH,
        "host name",
        match=False,
        host="127.0.0.1",
    ),
    "cn-only": bad(Leaf(names=()), Verdict.HOST_MISMATCH, "host name", match=False),
    "expired": bad(expiring(-4 * HOUR), Verdict.EXPIRED, "Expired 2027-01-15", days=-1),
    "expired-long-ago": bad(
        Leaf(left=-400 * DAY, since=800 * DAY), Verdict.EXPIRED, "expired", days=-400
    ),
    "expired-and-wrong-host": bad(
        Leaf(names=("other.test",), left=-DAY), Verdict.EXPIRED, "expired", match=False, days=-1
    ),
    "not-yet-valid": bad(Leaf(since=-2 * DAY), Verdict.NOT_YET_VALID, "not yet valid"),
    "self-signed": bad(Leaf(by="itself"), Verdict.SELF_SIGNED, "self-signed"),
    "untrusted-root": bad(Leaf(by="strange"), Verdict.UNTRUSTED, "untrusted"),
    "untrusted-root-sent": bad(Leaf(by="stranger"), Verdict.UNTRUSTED, "untrusted"),
    "incomplete-chain": Case(
        lambda f: f.tls(send_chain=False),
        Verdict.INCOMPLETE_CHAIN,
        "Incomplete chain: the server sends no intermediate certificate",
    ),
    "wrong-intermediate": Case(
        sending("strange"),
        Verdict.INCOMPLETE_CHAIN,
        "does not send the certificate of the issuer, “Fleet Issuing CA”",
    ),
    "expired-intermediate": bad(
        Leaf(by="expired"), Verdict.EXPIRED, "Expired 2027-01-05: “Fleet Old Issuing CA”"
    ),
    "sha1-leaf": Case(
        sha1, Verdict.WEAK_SIGNATURE, "weak signature", days=36447, host="sha1.fleet.test"
    ),
    "rsa-1024": bad(Leaf(key="rsa1024"), Verdict.WEAK_KEY, "weak key"),
    "wrong-eku": bad(Leaf(purpose=ExtendedKeyUsageOID.CLIENT_AUTH), Verdict.PURPOSE, "purpose"),
    "tls10-only": Case(
        only(V.TLSv1, V.TLSv1), Verdict.OLD_PROTOCOL, "protocol: the server supports only TLSv1 "
    ),
    "tls11-only": Case(
        only(V.TLSv1, V.TLSv1_1),
        Verdict.OLD_PROTOCOL,
        "protocol: the server supports only TLSv1.1 ",
    ),
    "mtls-tls13": Case(mutual(V.TLSv1_3), Verdict.VALID, "Valid", code=None),
    "mtls-tls12": Case(mutual(V.TLSv1_2), Verdict.VALID, "Valid", code=None),
    "mtls-tls11": Case(mutual(V.TLSv1_1), Verdict.OLD_PROTOCOL, "only TLSv1.1 with", code=None),
    "plain-http": dead(
        lambda: fleets.serve(fleets.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        Verdict.NOT_TLS,
        "not TLS",
    ),
    "plain-banner": dead(
        lambda: fleets.serve(fleets.say(b"220 mail.fleet.test ESMTP\r\n")),
        Verdict.NOT_TLS,
        "not TLS",
    ),
    "a-letter": dead(lambda: fleets.serve(fleets.say(b"?")), Verdict.NOT_TLS, "not TLS"),
    "hang-handshake": dead(lambda: fleets.serve(fleets.hang), Verdict.TIMED_OUT, "timed out"),
    "drip-handshake": dead(lambda: fleets.serve(fleets.drip), Verdict.TIMED_OUT, "timed out"),
    "reset-handshake": dead(lambda: fleets.serve(fleets.reset), Verdict.RESET, "reset"),
    "close-handshake": dead(lambda: fleets.serve(fleets.close), Verdict.CLOSED, "closed"),
    "refused": dead(fleets.refuse, Verdict.REFUSED, "refused"),
}


async def scan(
    trust: Trust, host: str, port: int, *, address: str = "127.0.0.1", deadline: float = 5.0
) -> Scan:
    guard = Guard(parse_allow("127.0.0.1,::1"), {host: address})
    return await Scanner(guard, trust, deadline).scan(Target(host, port), NOW)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_each_host_gets_its_verdict_and_facts(fleet: Fleet, trust: Trust, case: Case) -> None:
    deadline = 0.2 if case.verdict is Verdict.TIMED_OUT else 5.0
    async with case.serve(fleet) as port:
        result = await scan(trust, case.host, port, address=case.address, deadline=deadline)
    assert (result.verdict, result.host_match, result.page.code) == (
        case.verdict,
        case.match,
        case.code,
    )
    assert case.word.lower() in result.message.lower()
    assert (result.message == "Valid") is (result.verdict is Verdict.VALID)
    days = None if result.leaf is None else (result.leaf.not_after - NOW).days
    assert days == case.days
    assert result.ip == case.address


async def test_all_facts_of_a_good_host_are_reported(fleet: Fleet, trust: Trust) -> None:
    async with fleet.tls(Leaf(names=("fleet.test", "10.1.2.3"))) as port:
        result = await scan(trust, "fleet.test", port)
    leaf, page = result.leaf, result.page
    assert leaf is not None
    assert (leaf.subject_cn, leaf.subject_o, leaf.subject_c) == ("fleet.test", "Fleet Ltd", "")
    assert (leaf.issuer_cn, leaf.issuer_o, leaf.issuer_c) == (
        "Fleet Issuing CA",
        "Fleet Trust",
        "DE",
    )
    assert leaf.alt_names == ("fleet.test", "10.1.2.3")
    assert (leaf.not_before, leaf.not_after) == (NOW - 90 * DAY, NOW + 90 * DAY + HOUR)
    assert (page.code, page.size, page.title) == (200, len(fleets.HTML), "Fleet")
    assert (page.description, page.keywords) == ("a test host", "tls, test")
    assert page.headers[0] == ("Content-Type", "text/html")


async def test_a_host_that_wants_a_client_certificate_is_valid(fleet: Fleet, trust: Trust) -> None:
    # asyncio discards the alert of a failed handshake; a blocking server in a thread sends it.
    context = fleet.context(fleet.file(Leaf()))
    context.maximum_version = V.TLSv1_2
    fleets.ask_for_certificate(context, fleet.ca_file)

    def answer_one(listener: socket.socket) -> str:
        visitor, _ = listener.accept()
        with visitor, pytest.raises(ssl.SSLError) as fault:
            context.wrap_socket(visitor, server_side=True)
        return str(fault.value.reason)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        alert = asyncio.create_task(asyncio.to_thread(answer_one, listener))
        result = await scan(trust, "fleet.test", listener.getsockname()[1])
        assert await alert == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    assert (result.verdict, result.message, result.host_match) == (Verdict.VALID, "Valid", True)


async def test_an_alert_before_any_certificate_is_a_failed_handshake(trust: Trust) -> None:
    alert = b"\x15\x03\x03\x00\x02\x02\x70"  # fatal, unrecognized_name
    async with fleets.serve(fleets.say(alert)) as port:
        result = await scan(trust, "fleet.test", port)
    assert result.verdict is Verdict.HANDSHAKE_FAILED
    assert (
        result.message == "The TLS handshake failed: the server sent the alert “unrecognized name”"
    )


async def test_a_name_that_does_not_resolve_in_time_is_a_result(trust: Trust) -> None:
    async def fail(*_: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    scanner = Scanner(Guard(look_up=fail), trust)
    result = await scanner.scan(Target("gone.fleet.test", 443), NOW)
    assert (result.verdict, result.ip, result.host_match) == (Verdict.UNRESOLVED, "", None)
    assert "could not be resolved" in result.message

    async def never(*_: object) -> list[str]:
        await asyncio.Event().wait()
        return []

    result = await Scanner(Guard(look_up=never), trust, 0.05).scan(Target("slow.test", 443), NOW)
    assert (result.verdict, result.ip) == (Verdict.TIMED_OUT, "")


async def test_a_name_with_a_forbidden_address_is_not_dialed(trust: Trust) -> None:
    visits = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(reader)

    async with fleets.serve(note) as port:
        guard = Guard((), {"inside.test": "127.0.0.1"})
        result = await Scanner(guard, trust).scan(Target("inside.test", port), NOW)
    assert result.verdict is Verdict.FORBIDDEN
    assert result.message == "The address is refused by this server's rules"
    assert (result.ip, visits) == ("", [])


async def test_a_name_is_dialed_at_the_address_that_was_checked(fleet: Fleet, trust: Trust) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]])
    visits: list[str] = []

    async def look_up(_host: str, _port: int) -> list[str]:
        return next(answers)

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(writer.get_extra_info("sockname")[0])
        await fleets.close(reader, writer)  # which makes the scan retry with legacy protocols

    scanner = Scanner(Guard(parse_allow("127.0.0.1"), look_up=look_up), trust)
    async with (
        fleets.serve(note) as port,
        fleets.serve(note, address="127.0.0.2", port=port),
    ):
        first = await scanner.scan(Target("rebound.test", port), NOW)
        second = await scanner.scan(Target("rebound.test", port), NOW)
    assert (first.verdict, second.verdict) == (Verdict.CLOSED, Verdict.FORBIDDEN)
    assert visits == ["127.0.0.1", "127.0.0.1"]


@pytest.mark.slow
async def test_a_certificate_is_kept_if_the_page_never_arrives(fleet: Fleet, trust: Trust) -> None:
    context = fleet.context(fleet.file(Leaf()))
    async with fleets.serve(fleets.hang, context=context) as port:
        result = await scan(trust, "fleet.test", port, deadline=0.5)
    assert (result.verdict, result.page.code) == (Verdict.VALID, None)


async def test_the_ca_files_authority_counts(fleet: Fleet, trust: Trust, tmp_path: Path) -> None:
    ca_file = tmp_path / "other.pem"
    fleet.other.cert_pem.write_to_path(ca_file)
    leaf = fleet.other.issue_cert("fleet.test", not_after=NOW + 60 * DAY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    async with fleets.serve(fleets.web_server(), context=context) as port:
        without = await scan(trust, "fleet.test", port)
        with_file = await scan(Trust(ca_file), "fleet.test", port)
    assert (without.verdict, with_file.verdict) == (Verdict.INCOMPLETE_CHAIN, Verdict.VALID)


async def test_a_changed_ca_file_is_reloaded_within_a_minute(
    fleet: Fleet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca_file = tmp_path / "other.pem"
    fleet.other.cert_pem.write_to_path(ca_file)
    guard = Guard(parse_allow("127.0.0.1"), {"fleet.test": "127.0.0.1"})
    scanner, verdicts = Scanner(guard, Trust(ca_file)), []
    async with fleet.tls() as port:
        for minute, content in enumerate((None, fleet.ca_file.read_bytes(), b"broken", None)):
            if content is not None:
                ca_file.write_bytes(content)
                os.utime(ca_file, (minute, minute))
            target, now = Target("fleet.test", port), NOW + minute * timedelta(minutes=1)
            verdicts.append((await scanner.scan(target, now)).verdict)
    assert verdicts == [Verdict.UNTRUSTED, Verdict.VALID, Verdict.VALID, Verdict.VALID]
    assert caplog.text.count("Could not reload the trusted roots") == 1


def test_an_unreadable_ca_file_is_named(tmp_path: Path) -> None:
    for content in (None, b"no certificate"):
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=r"ca\.pem contains no readable certificates"):
            Trust(path)


async def test_a_server_with_outdated_ciphers_only_is_read_anyway(fleet: Fleet) -> None:
    trust = Trust(fleet.ca_file)
    trust.modern.set_cipher_list(b"ECDHE+AESGCM")
    context = fleet.context(fleet.file(Leaf(key="rsa2048")))
    context.maximum_version = V.TLSv1_2
    context.set_ciphers("AES128-SHA:@SECLEVEL=0")
    async with fleets.serve(fleets.web_server(), context=context) as port:
        result = await scan(trust, "fleet.test", port)
    assert (result.verdict, result.host_match, result.page.code) == (
        Verdict.OLD_PROTOCOL,
        True,
        200,
    )
    assert "TLSv1.2 with AES128-SHA" in result.message


async def test_an_undecodable_certificate_is_a_result(
    fleet: Fleet, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> NoReturn:
        raise ValueError("invalid ASN.1")

    monkeypatch.setattr("bot.embedded.scan.endpoint.read_certificate", fail)
    async with fleet.tls() as port:
        result = await scan(trust, "fleet.test", port)
    assert (result.verdict, result.leaf, result.host_match) == (
        Verdict.HANDSHAKE_FAILED,
        None,
        None,
    )
    assert result.message == "The TLS handshake failed: the certificate can't be decoded"


@pytest.mark.slow
async def test_the_demos_sample_hosts_get_their_verdicts(tmp_path: Path) -> None:
    hosts = SampleHosts(NOW, tmp_path)
    await hosts.start()
    scanner = Scanner(Guard(parse_allow(hosts.allow), hosts.table), Trust(hosts.ca_file), 0.5)
    scans = [await scanner.scan(Target.parse(target), NOW) for target in hosts.targets]
    await hosts.close()
    assert [each.verdict for each in scans] == [
        Verdict.VALID,
        Verdict.VALID,
        Verdict.EXPIRED,
        Verdict.HOST_MISMATCH,
        Verdict.SELF_SIGNED,
        Verdict.TIMED_OUT,
    ]
    due = scans[1].leaf
    assert due is not None
    assert (due.not_after - NOW).days == 12
    assert scans[0].page.title == "Demo Shop"
