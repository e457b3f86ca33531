"""A CA's web server, and scans of a host whose certificate names it."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from bot.embedded.ca.ari import Renewals
from bot.embedded.ca.documents import Documents
from bot.embedded.ca.revocation import Revocations
from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict
from bot.store.database import Database
from bot.target import Target

from .fleet import (
    DAY,
    NOW,
    Authority,
    Fleet,
    ask_for_certificate,
    issue,
    name,
    new_key,
    pem,
    private_pem,
    serve,
    speak_only,
)

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
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

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
        headers = self.headers | ({"ETag": self.etag} if self.etag else {})
        return web.Response(body=self.documents[path], status=self.status, headers=headers)


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
    deadline: float = 30.0

    def __post_init__(self) -> None:
        names = {"fleet.test": "127.0.0.1", "ca.test": "127.0.0.1", "elsewhere.test": "127.0.0.1"}
        self.guard = Guard(parse_allow(self.allow), names)
        self.documents = Documents(self.database, self.guard, self.clock)
        self.trust = Trust(self.fleet.ca_file)
        self.renewals: Renewals | None = None
        self.restart()

    def restart(self) -> None:
        self.documents = Documents(self.database, self.guard, self.clock)
        self.revocations = Revocations(self.documents)

    def leaf(self, *extensions: x509.ExtensionType, by: Authority | None = None) -> Path:
        by = by or self.fleet.authorities["intermediate"]
        key = new_key("ec")
        leaf = issue(name("fleet.test"), key, by, NOW - 90 * DAY, NOW + 90 * DAY, NO_CA, NAMES,
                     *extensions)  # fmt: skip
        private = private_pem(key)
        path = self.directory / f"{leaf.serial_number}.pem"
        path.write_bytes(private + pem(leaf) + pem(by.certificate))
        self.certificate = leaf
        return path

    async def scan(self, path: Path, *, for_clients_with_certificates: bool = False) -> Scan:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

        context = self.fleet.context(path)
        if for_clients_with_certificates:
            ask_for_certificate(context, self.fleet.ca_file)
            speak_only(context, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
        async with serve(talk, context=context) as port:
            for seconds in (self.deadline, 20 * self.deadline):  # a busy machine needs longer
                scanner = Scanner(
                    self.guard,
                    self.trust,
                    seconds,
                    revocations=self.revocations,
                    renewals=self.renewals,
                )
                found = await scanner.scan(Target("fleet.test", port), self.clock.now)
                if found.verdict is not Verdict.TIMED_OUT:
                    break
            return found


def points(*urls: str, **more: Any) -> x509.CRLDistributionPoints:
    """One distribution point with these URLs."""
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    given: dict[str, Any] = {"relative_name": None, "reasons": None, "crl_issuer": None}
    return x509.CRLDistributionPoints([x509.DistributionPoint(names, **(given | more))])


def crl(
    by: Authority,
    *revoked: x509.Certificate,
    reason: x509.ReasonFlags | x509.ExtensionType | None = x509.ReasonFlags.key_compromise,
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
            told = x509.CRLReason(reason) if isinstance(reason, x509.ReasonFlags) else reason
            entry = entry.add_extension(told, critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    assert by.key is not None
    return builder.sign(by.key, hashes.SHA256()).public_bytes(DERS)


def issuing(scans: Scans) -> Authority:
    return scans.fleet.authorities["intermediate"]
