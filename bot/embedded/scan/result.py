"""The result of a scan, as plain values: all that the store and the API know about scans."""

from dataclasses import dataclass, field
from datetime import datetime

from bot.embedded.scan.certificate import Handshake, KeyExchange, Leaf, SentCertificate
from bot.embedded.scan.http import WebPage
from bot.embedded.scan.verdict import Verdict

#: The status while a CA's answer is pending.
ASKED = "unknown: asked"


@dataclass(frozen=True, slots=True)
class Renewal:
    """When the CA asks for renewal (RFC 9773): from `start` to `end`.

    `status` is `known`, `unknown: …`, or empty if it wasn't asked. `url` may explain.
    """

    status: str = ""
    start: datetime | None = None
    end: datetime | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """The result of one scan; without a certificate `leaf` and `host_match` are None.

    `ip` is the address that the facts belong to: empty if none was dialed, or if only a proxy
    knows it. `revocation` is `good`, `revoked …`, `unknown: …`, or empty where nobody was asked;
    `caa` says why its CA may not issue another one, or `unknown: …`. `mixed` is set if the host's
    addresses serve different certificates.
    `chain` holds the certificates as the server sent them, leaf first.
    """

    at: datetime
    verdict: Verdict
    message: str
    leaf: Leaf | None = None
    host_match: bool | None = None
    ip: str = ""
    page: WebPage = field(default_factory=WebPage)
    chain: tuple[SentCertificate, ...] = ()
    ip_rev: str = ""
    ip_geo: str = ""
    revocation: str = ""
    caa: str = ""
    handshake: Handshake = field(default_factory=Handshake)
    key_exchange: KeyExchange | None = None
    mixed: bool = False
    renewal: Renewal = field(default_factory=Renewal)

    @property
    def may_be_revoked(self) -> bool:
        """Whether a valid certificate may have been revoked: its CA doesn't tell."""
        return self.verdict is Verdict.VALID and self.revocation.startswith("unknown: ")

    @property
    def asked(self) -> bool:
        """Whether a CA's answer is pending, so that the next scan should come soon."""
        return ASKED in {self.revocation, self.renewal.status, self.caa}
