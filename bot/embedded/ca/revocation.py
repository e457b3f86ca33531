"""Whether a certificate or one of its issuers was revoked: by its list, or else by OCSP."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from bot.embedded.ca import crl, ocsp
from bot.embedded.ca.crl import Revocation, RevocationList, Unreadable
from bot.embedded.ca.documents import Document, Documents
from bot.embedded.ca.encoding import extensions, is_named_like_issuer

GOOD = "good"
#: So many entries of lists are kept in memory, which is some 100 bytes each.
MOST_ENTRIES = 500_000
#: noRevAvail (RFC 9608).
_NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")


@dataclass(frozen=True, slots=True)
class Found:
    """What is known: `good`, `unknown: …`, or a revocation of the certificate at `depth`."""

    text: str
    revocation: Revocation | None = None
    depth: int = 0


class Revocations:
    """Asks for revocations, and keeps the lists that were read."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._lists: OrderedDict[tuple[str, bytes], tuple[Document, RevocationList]] = OrderedDict()
        self._entries = 0

    async def look(self, path: Sequence[x509.Certificate], now: datetime) -> Found:
        """What is known of a chain that leads to a trust anchor, the server's certificate first.

        The anchor itself isn't asked about: trust in it doesn't come from a CA.
        """
        links = [
            (number, path[number], path[number + 1])
            for number in range(len(path) - 1)
            if not _exempt(path[number])
        ]
        if not links:
            return Found("")
        answers = await asyncio.gather(*(self._one(one, issuer, now) for _, one, issuer in links))
        for (depth, *_), answer in zip(links, answers, strict=True):
            if isinstance(answer, Revocation):
                return Found(f"revoked {answer}", answer, depth)
        unknown = next((answer for answer in answers if answer not in {GOOD, ""}), "")
        return Found(str(unknown) or (GOOD if GOOD in answers else ""))

    async def _one(
        self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime
    ) -> Revocation | str:
        """A revocation, or what is known otherwise; empty if the CA publishes nothing about it."""
        try:
            urls = crl.locations(certificate)
            if urls:
                return await self._by_list(certificate, issuer, urls, now)
            responder = ocsp.location(certificate)
            if responder:
                return await self._by_ocsp(certificate, issuer, responder, now)
        except Unreadable as fault:
            return f"unknown: {fault}"
        return ""

    async def _by_list(
        self,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        urls: Sequence[str],
        now: datetime,
    ) -> Revocation | str:
        """The first of its URLs that gives a usable list decides. Raises Unreadable."""
        fault = Unreadable("asked")
        for url in urls[:2]:
            try:
                found = (await self._list(url, issuer)).find(certificate, url, now)
            except Unreadable as reason:
                fault = reason
            else:
                return found or GOOD
        raise fault

    async def _list(self, url: str, issuer: x509.Certificate) -> RevocationList:
        document = await self._documents.get(url)
        key = (url, crl.der(issuer))
        known = self._lists.get(key)
        if known and known[0].body == document.body:
            self._lists.move_to_end(key)
            return known[1]
        read = await asyncio.to_thread(crl.read, document.body, issuer)
        self._forget(key)
        self._lists[key] = (document, read)
        self._entries += len(read.entries)
        while self._entries > MOST_ENTRIES and len(self._lists) > 1:
            self._forget(next(iter(self._lists)))
        return read

    def _forget(self, key: tuple[str, bytes]) -> None:
        if known := self._lists.pop(key, None):
            self._entries -= len(known[1].entries)

    async def _by_ocsp(
        self, certificate: x509.Certificate, issuer: x509.Certificate, url: str, now: datetime
    ) -> Revocation | str:
        document = await self._documents.get(url, ocsp.question(certificate, issuer))
        found, _ = ocsp.read(document.body, certificate, issuer, now)
        return found or GOOD


def _exempt(certificate: x509.Certificate) -> bool:
    """Whether nobody revokes it: it is its own issuer, or too short-lived (RFC 9608)."""
    if is_named_like_issuer(certificate):
        return True
    return any(each.oid == _NO_REV_AVAIL for each in extensions(certificate))
