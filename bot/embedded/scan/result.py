"""The result of a scan, as plain values: all that the store and the API need to know of scans."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bot.embedded.scan.certificate import Leaf, SentCertificate
from bot.embedded.scan.http import WebPage
from bot.embedded.scan.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan found. Without a certificate `leaf` and `host_match` are None.

    `ip` is the address that the facts are of, empty when none was dialled and when a proxy alone
    knows it; `chain` are the
    certificates as they were sent, the leaf first.
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
