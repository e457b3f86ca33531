"""Whether a CA has revoked a certificate, by its lists or OCSP, and what may be wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from bot.api.models import read_summary
from bot.embedded import EmbeddedAPI, EmbeddedSettings
from bot.embedded.ca import ocsp as ocsps
from bot.embedded.ca.crl import Unreadable
from bot.embedded.ca.crl import read as read_list
from bot.embedded.ca.documents import MOST_BYTES, Documents
from bot.embedded.ca.revocation import ASKED, Revocations
from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict, color
from bot.embedded.schedule import next_scan
from bot.severity import Thresholds, state_of
from bot.store.database import Database
from bot.store.upgrade import upgrade
from bot.target import Target

from .fleet import DAY, NOW, Authority, Fleet, issue, name, new_key, pem, serve, web_server

NO_CA = x509.BasicConstraints(ca=False, path_length=None)
NAMES = x509.SubjectAlternativeName([x509.DNSName("fleet.test")])
DERS = serialization.Encoding.DER
HOURS = timedelta(hours=1)


@dataclass
class CA:
    """A CA's web server: what it answers by path, and what it was asked."""

    port: int = 0
    documents: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    etag: str = ""

    def url(self, path: str) -> str:
        return f"http://ca.test:{self.port}/{path}"

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append((request.path, dict(request.headers)))
        if self.gate:
            await self.gate.wait()
        if self.etag and request.headers.get("If-None-Match") == self.etag:
            return web.Response(status=304)
        path = request.path.removeprefix("/")
        if path == "moved":
            raise web.HTTPFound("http://elsewhere.test/")
        if path not in self.documents:
            raise web.HTTPNotFound
        return web.Response(
            body=self.documents[path], headers={"ETag": self.etag} if self.etag else {}
        )


@pytest.fixture
async def ca() -> AsyncIterator[CA]:
    authority = CA()
    server = web.Server(authority.answer)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    authority.port = runner.addresses[0][1]
    yield authority
    await runner.cleanup()


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Scans:
    """Scans of one host, whose certificate names what a test wants."""

    fleet: Fleet
    directory: Path
    database: Database
    clock: Clock = field(default_factory=Clock)
    allow: str = "127.0.0.1"
    deadline: float = 5.0

    def __post_init__(self) -> None:
        names = {"fleet.test": "127.0.0.1", "ca.test": "127.0.0.1", "elsewhere.test": "127.0.0.1"}
        self.guard = Guard(parse_allow(self.allow), names)
        self.documents = Documents(self.database, self.guard, self.clock)
        self.trust = Trust(self.fleet.ca_file)
        self.restart()

    def restart(self) -> None:
        self.documents = Documents(self.database, self.guard, self.clock)
        self.revocations = Revocations(self.documents)

    def leaf(self, *extensions: x509.ExtensionType, by: Authority | None = None) -> Path:
        by = by or self.fleet.authorities["intermediate"]
        key = new_key("ec")
        leaf = issue(name("fleet.test"), key, by, NOW - 90 * DAY, NOW + 90 * DAY, NO_CA, NAMES,
                     *extensions)  # fmt: skip
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = self.directory / f"{leaf.serial_number}.pem"
        path.write_bytes(private + pem(leaf) + pem(by.certificate))
        self.certificate = leaf
        return path

    async def scan(self, path: Path) -> Scan:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

        scanner = Scanner(self.guard, self.trust, self.deadline, revocations=self.revocations)
        async with serve(talk, context=self.fleet.context(path)) as port:
            return await scanner.scan(Target("fleet.test", port), self.clock.now)


@pytest.fixture
async def scans(fleet: Fleet, tmp_path: Path) -> AsyncIterator[Scans]:
    async with database_at(tmp_path) as database:
        scans = Scans(fleet, tmp_path, database)
        yield scans
        await scans.documents.close()


@asynccontextmanager
async def database_at(directory: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{directory / 'bot.sqlite3'}"
    await upgrade(url)
    database = Database(url)
    yield database
    await database.close()


def points(*urls: str, **more: Any) -> x509.CRLDistributionPoints:
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    given: dict[str, Any] = {"relative_name": None, "reasons": None, "crl_issuer": None}
    return x509.CRLDistributionPoints([x509.DistributionPoint(names, **(given | more))])


def crl(
    by: Authority,
    *revoked: x509.Certificate,
    reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise,
    since: datetime = NOW - HOURS,
    until: datetime = NOW + 7 * DAY,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    issuer: x509.Name | None = None,
) -> bytes:
    builder = x509.CertificateRevocationListBuilder(issuer or by.certificate.subject, since, until)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    for each in revoked:
        entry = x509.RevokedCertificateBuilder(each.serial_number, NOW - DAY)
        if reason:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    assert by.key is not None
    return builder.sign(by.key, hashes.SHA256()).public_bytes(DERS)


def issuing(scans: Scans) -> Authority:
    return scans.fleet.authorities["intermediate"]


async def test_a_revoked_certificate_is_broken_and_says_when_and_why(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), scans.certificate)
    found = await scans.scan(path)
    assert (found.verdict, found.message) == (
        Verdict.REVOKED, "Revoked 2027-01-14 (key compromise)",
    )  # fmt: skip
    assert found.revocation == "revoked 2027-01-14 (key compromise)"
    assert color(found.verdict, 90) == "red"


async def test_a_certificate_that_is_not_on_the_list_is_valid(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    other = scans.fleet.authorities["root"].certificate
    ca.documents["a.crl"] = crl(issuing(scans), other)
    found = await scans.scan(path)
    assert (found.verdict, found.message, found.revocation) == (Verdict.VALID, "Valid", "good")


@pytest.mark.parametrize(
    ("reason", "said"),
    [(None, "Revoked 2027-01-14"), (x509.ReasonFlags.certificate_hold, "(on hold)"),
     (x509.ReasonFlags.remove_from_crl, "Valid")],
)  # fmt: skip
async def test_each_reason_is_said_in_words(
    reason: x509.ReasonFlags | None, said: str, scans: Scans, ca: CA
) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), scans.certificate, reason=reason)
    assert (await scans.scan(path)).message.endswith(said)


async def test_a_revoked_intermediate_breaks_the_certificates_below_it(
    scans: Scans, ca: CA
) -> None:
    root, key = scans.fleet.authorities["root"], new_key("ec")
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    between = issue(name("Fleet Second CA"), key, root, NOW - 90 * DAY, NOW + 900 * DAY,
                    constraints, points(ca.url("root.crl")))  # fmt: skip
    path = scans.leaf(by=Authority(between, key))
    ca.documents["root.crl"] = crl(root, between, reason=x509.ReasonFlags.ca_compromise)
    found = await scans.scan(path)
    assert found.message == "Revoked 2027-01-14 (CA compromise): “Fleet Second CA” in the chain"


def _wrong(kind: str, scans: Scans, url: str) -> bytes:
    by, leaf = issuing(scans), scans.certificate
    other = scans.fleet.authorities["stranger"]
    scope: dict[str, Any] = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False,
        "only_contains_ca_certs": False, "only_some_reasons": None, "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }  # fmt: skip
    elsewhere = [x509.UniformResourceIdentifier("http://ca.test/another-shard.crl")]

    def scoped(**more: Any) -> bytes:
        return crl(by, extensions=[(x509.IssuingDistributionPoint(**(scope | more)), True)])

    made: dict[str, Callable[[], bytes]] = {
        "forged": lambda: crl(Authority(by.certificate, other.key), leaf),
        "of another CA": lambda: crl(other, leaf),
        "expired": lambda: crl(by, since=NOW - 9 * DAY, until=NOW - DAY),
        "not begun": lambda: crl(by, since=NOW + DAY),
        "garbage": lambda: b"<html>moved</html>",
        "changes only": lambda: crl(by, extensions=[(x509.DeltaCRLIndicator(1), True)]),
        "indirect": lambda: scoped(indirect_crl=True),
        "for CAs": lambda: scoped(only_contains_ca_certs=True),
        "some reasons": lambda: scoped(
            only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})
        ),
        "another shard": lambda: scoped(full_name=elsewhere),
        "unknown extension": lambda: crl(by, extensions=[
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
        ]),
    }  # fmt: skip
    return made[kind]()


@pytest.mark.parametrize(
    "kind",
    ["forged", "of another CA", "expired", "not begun", "garbage", "changes only", "indirect",
     "for CAs", "some reasons", "another shard", "unknown extension"],
)  # fmt: skip
async def test_a_list_that_can_not_be_used_is_a_remark_and_never_a_verdict(
    kind: str, scans: Scans, ca: CA
) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = _wrong(kind, scans, ca.url("a.crl"))
    found = await scans.scan(path)
    assert found.verdict is Verdict.VALID
    assert found.revocation.startswith("unknown: the revocation list ") or (
        kind == "forged" and found.revocation.startswith("unknown: the signature")
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [("ldap://ca.test/x", ""), ("https://ca.test/x", ""), ("http://nowhere.invalid/x", "resolved"),
     ("http://user:x@ca.test/x", "no usable URL"), ("http://169.254.169.254/x", "may not be")],
)  # fmt: skip
async def test_only_permitted_http_addresses_are_asked(url: str, said: str, scans: Scans) -> None:
    found = await scans.scan(scans.leaf(points(url)))
    assert found.verdict is Verdict.VALID
    assert said in found.revocation
    assert bool(said) == found.revocation.startswith("unknown: ")


async def test_a_redirect_is_not_followed_and_a_failure_is_kept_for_ten_minutes(
    scans: Scans, ca: CA
) -> None:
    path = scans.leaf(points(ca.url("moved")))
    for _ in range(2):
        assert (await scans.scan(path)).revocation == "unknown: ca.test answered with HTTP 302"
    assert len(ca.asked) == 1
    scans.clock.now = NOW + timedelta(minutes=11)
    await scans.scan(path)
    assert [path for path, _ in ca.asked] == ["/moved", "/moved"]


async def test_a_document_of_more_than_ten_megabytes_is_not_read(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("big.crl")))
    ca.documents["big.crl"] = bytes(MOST_BYTES + 1)
    found = await scans.scan(path)
    assert found.revocation == "unknown: the document of ca.test is larger than 10 MB"


async def test_a_list_is_fetched_once_for_all_and_asked_for_again_after_six_hours(
    scans: Scans, ca: CA
) -> None:
    first, second = scans.leaf(points(ca.url("a.crl"))), scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"], ca.etag = crl(issuing(scans), scans.certificate), '"1"'
    found = await asyncio.gather(scans.scan(first), scans.scan(second))
    assert [each.verdict for each in found] == [Verdict.VALID, Verdict.REVOKED]
    scans.restart()  # another process finds it in the database
    await scans.scan(first)
    assert len(ca.asked) == 1
    scans.clock.now = NOW + 7 * HOURS
    assert (await scans.scan(second)).verdict is Verdict.REVOKED
    assert len(ca.asked) == 2
    assert ca.asked[1][1]["If-None-Match"] == '"1"'


async def test_a_list_is_used_while_its_server_is_down_but_never_past_its_time(
    scans: Scans, ca: CA
) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), until=NOW + DAY)
    assert (await scans.scan(path)).revocation == "good"
    ca.documents.clear()
    scans.clock.now = NOW + 8 * HOURS
    assert (await scans.scan(path)).revocation == "good"
    scans.clock.now = NOW + 25 * HOURS
    found = await scans.scan(path)
    assert found.revocation == "unknown: the revocation list was valid until 2027-01-16"


async def test_an_answer_that_comes_too_late_is_used_within_a_minute(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), scans.certificate)
    ca.gate, scans.deadline = asyncio.Event(), 0.5
    found = await scans.scan(path)
    assert (found.verdict, found.revocation) == (Verdict.VALID, ASKED)
    again = next_scan(Target("fleet.test"), NOW, timedelta(hours=12), asked=True)
    assert again <= NOW + timedelta(minutes=1)
    ca.gate.set()
    await asyncio.gather(*scans.documents._running.values())
    assert (await scans.scan(path)).verdict is Verdict.REVOKED
    assert len(ca.asked) == 1


async def test_an_expired_certificate_and_one_without_a_list_are_not_asked_about(
    scans: Scans, ca: CA
) -> None:
    found = await scans.scan(scans.leaf())
    assert (found.verdict, found.revocation) == (Verdict.VALID, "")
    assert ca.asked == []


# OCSP


def responder(url: str) -> x509.AuthorityInformationAccess:
    place = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)]
    )


def response(
    by: Authority, leaf: x509.Certificate, *, revoked: bool = True, signer: Authority | None = None
) -> bytes:
    status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
    signer = signer or by
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf, by.certificate, hashes.SHA1(), status, NOW - HOURS, NOW + DAY,
        NOW - DAY if revoked else None, x509.ReasonFlags.superseded if revoked else None,
    )  # fmt: skip
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(DERS)


@pytest.mark.parametrize("revoked", [True, False])
async def test_ocsp_is_asked_where_there_is_no_list(revoked: bool, scans: Scans, ca: CA) -> None:
    path = scans.leaf(responder(ca.url("ocsp")))
    ca.documents["ocsp"] = response(issuing(scans), scans.certificate, revoked=revoked)
    found = await scans.scan(path)
    said = "Revoked 2027-01-14 (superseded)" if revoked else "Valid"
    assert (found.message, len(ca.asked)) == (said, 1)


async def test_a_list_comes_before_ocsp(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")), responder(ca.url("ocsp")))
    ca.documents["a.crl"] = crl(issuing(scans))
    assert (await scans.scan(path)).revocation == "good"
    assert [path for path, _ in ca.asked] == ["/a.crl"]


async def test_an_ocsp_response_of_somebody_else_is_a_remark(scans: Scans, ca: CA) -> None:
    path = scans.leaf(responder(ca.url("ocsp")))
    stranger = scans.fleet.authorities["stranger"]
    ca.documents["ocsp"] = response(issuing(scans), scans.certificate, signer=stranger)
    found = await scans.scan(path)
    assert found.verdict is Verdict.VALID
    assert found.revocation == "unknown: the OCSP response can't be read"


async def test_monitor_get_tells_what_is_known(
    scans: Scans, ca: CA, fleet: Fleet, tmp_path: Path
) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), scans.certificate)
    hosts = {"fleet.test": "127.0.0.1", "ca.test": "127.0.0.1"}
    told = EmbeddedSettings(
        key="k" * 16, scan_allow="127.0.0.1", ca_file=fleet.ca_file, hosts=hosts, revocation=True
    )
    api = EmbeddedAPI(told, scans.database, clock=scans.clock)
    await api.start()
    headers = {"Authorization": f"Bearer {'k' * 16}"}
    try:
        async with (
            serve(web_server(), context=fleet.context(path)) as port,
            aiohttp.ClientSession(api.url + "/", headers=headers) as session,
        ):
            await session.post("monitor/add", data={"host": "fleet.test", "port": str(port)})
            got = await (await session.get("monitor/get?id=1")).json()
            row = (await (await session.get("monitor/list")).json())["list"][0]
    finally:
        await api.close()
    assert got["monitor"]["revocation"] == "revoked 2027-01-14 (key compromise)"
    assert got["monitor"]["verdict"] == "revoked"
    assert (row["ssl_valid"], row["ssl_color"]) == (False, "red")
    assert row["ssl_message"] == "Revoked 2027-01-14 (key compromise)"
    summary = read_summary(row, timedelta())
    assert state_of(summary, NOW, Thresholds()).word == "REVOKED"


# Whatever a CA's server sends


def mutated(original: bytes, random: Random) -> bytes:
    """The bytes with a few replaced, removed or repeated."""
    data = bytearray(original)
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(data))
        match random.randrange(3):
            case 0:
                data[at] = random.randrange(256)
            case 1:
                del data[at : at + random.randint(1, 9)]
            case _:
                data[at:at] = data[at : at + random.randint(1, 9)]
        if not data:
            return b"\0"
    return bytes(data)


def test_a_thousand_malformed_lists_and_responses_are_unreadable_or_say_the_truth(
    fleet: Fleet,
) -> None:
    random, by = Random(11), fleet.authorities["intermediate"]
    key = new_key("ec")
    leaf = issue(name("fleet.test"), key, by, NOW - DAY, NOW + DAY, NO_CA, NAMES)
    listed = crl(by, leaf, extensions=[(x509.CRLNumber(7), False)])
    said = response(by, leaf)
    for _ in range(500):
        with suppress(Unreadable):
            found = read_list(mutated(listed, random), by.certificate)
            assert leaf.serial_number in found.entries  # the signature still fits
        with suppress(Unreadable):
            answer, _until = ocsps.read(mutated(said, random), leaf, by.certificate, NOW)
            assert answer is not None
