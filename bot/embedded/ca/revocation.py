"""Whether a certificate or one of its issuers was revoked: by revocation list, or else by OCSP."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from itertools import pairwise
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from bot.embedded.ca import crl, ocsp
from bot.embedded.ca.crl import Place, Revocation, RevocationList, Unreadable
from bot.embedded.ca.documents import Document, Documents
from bot.embedded.ca.encoding import extensions

GOOD = "good"
UNUSABLE = "unknown: the certificate names no revocation list that can be used"
#: How many entries of lists are kept in memory, at about 100 bytes each.
MOST_ENTRIES = 500_000
#: noRevAvail (RFC 9608).
_NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")


#: So many places of one certificate are tried, one after the other.
MOST_PLACES = 4
#: What a document says of a certificate. Raises Unreadable.
Read = Callable[[Document], Awaitable[Revocation | None]]
#: A list's URL, and the fingerprint of the CA that signs it.
_Key = tuple[str, bytes]


class _Link(NamedTuple):
    """A certificate of a chain that can be revoked, its issuer, and where its status is told.

    `places` is None if it names no list, `responders` if it names no OCSP responder; either is
    empty if it names none that can be used.
    """

    depth: int
    certificate: x509.Certificate
    issuer: x509.Certificate
    places: Sequence[Place] | None
    responders: Sequence[str] | None
    key: _Key | None


@dataclass(frozen=True, slots=True)
class Found:
    """The result: `good`, `unknown: …`, or a revocation of the certificate at `depth`."""

    text: str
    revocation: Revocation | None = None
    depth: int = 0


class Revocations:
    """Looks up revocations, and caches the lists."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._lists: OrderedDict[_Key, tuple[Document, RevocationList]] = OrderedDict()
        self._reading: dict[tuple[_Key, datetime | None], asyncio.Future[RevocationList]] = {}
        self._entries = 0

    def known(self, path: Sequence[x509.Certificate], now: datetime) -> Found | None:
        """What `look` would return, if it is in memory; else None."""
        links = _links(tuple(path))
        answers = [self._from_memory(link, now) for link in links]
        told = [answer for answer in answers if answer is not None]
        return _found(links, told) if len(told) == len(links) else None

    async def look(
        self, path: Sequence[x509.Certificate], now: datetime, *, ask: bool = True
    ) -> Found:
        """The status of a chain that leads to a trust anchor, with the server's certificate first.

        The anchor itself isn't looked up: a CA is not what makes it trusted. Without `ask`, only
        what CAs have already said counts.
        """
        links = _links(tuple(path))
        about = (self._one(link, now, ask=ask) for link in links)
        return _found(links, await asyncio.gather(*about))

    def _from_memory(self, link: _Link, now: datetime) -> Revocation | str | None:
        """The status by the first list, if in memory; empty if the certificate names none."""
        if link.key is None or not link.places:
            return "" if link.places is None and link.responders is None else None
        document = self._documents.fresh(link.places[0].url)
        read = self._lists.get(link.key) if document else None
        if read is None or read[0] is not document:
            return None
        self._lists.move_to_end(link.key)
        try:
            return read[1].find(link.certificate, link.places[0], now) or GOOD
        except Unreadable:
            return None

    async def _one(self, link: _Link, now: datetime, *, ask: bool) -> Revocation | str:
        """A revocation, or another status; empty if the CA publishes nothing about it."""
        try:
            if link.places:
                return await self._by_list(link, link.places, now, ask=ask)
            if link.responders:
                return await self._by_ocsp(link, link.responders, now, ask=ask)
        except Unreadable as fault:
            return f"unknown: {fault}"
        return "" if link.places is None and link.responders is None else UNUSABLE

    async def _by_list(
        self, link: _Link, places: Sequence[Place], now: datetime, *, ask: bool
    ) -> Revocation | str:
        """The status by the first usable list. Raises Unreadable."""

        def reader(place: Place) -> Read:
            async def look_up(document: Document) -> Revocation | None:
                return (await self._list(document, link.issuer)).find(link.certificate, place, now)

            return look_up

        return await self._first([(place.url, None, reader(place)) for place in places], ask)

    async def _first(
        self, tries: Sequence[tuple[str, bytes | None, Read]], ask: bool
    ) -> Revocation | str:
        """What the first usable document says. Raises Unreadable with the last one's fault."""
        fault = Unreadable("asked")
        for url, body, read in tries[:MOST_PLACES]:
            try:
                return await self._usable(url, body, read, ask) or GOOD
            except Unreadable as reason:
                fault = reason
        raise fault

    async def _usable(
        self, url: str, body: bytes | None, read: Read, ask: bool
    ) -> Revocation | None:
        """What a document says; a useless one is fetched once more. Raises Unreadable."""
        if not ask:
            return await read(await self._documents.known(url, body))
        document = await self._documents.get(url, body)
        try:
            return await read(document)
        except Unreadable:
            newer = await self._documents.get(url, body, instead_of=document)
            if newer.body == document.body:
                raise
            return await read(newer)

    async def _list(self, document: Document, issuer: x509.Certificate) -> RevocationList:
        key = _key(document.url, issuer)
        known = self._lists.get(key)
        if known and known[0].body == document.body:
            self._lists[key] = (document, known[1])
            self._lists.move_to_end(key)
            return known[1]
        at = key, document.fetched_at  # a newer one may arrive while this one is read
        reading = self._reading.get(at)
        if reading is None:
            loop = asyncio.get_running_loop()
            reading = loop.run_in_executor(None, crl.read, document.body, issuer)
            self._reading[at] = reading
            reading.add_done_callback(partial(self._keep, key, document))
        return await asyncio.shield(reading)  # the next scan needs it too

    def _keep(self, key: _Key, document: Document, reading: asyncio.Future[RevocationList]) -> None:
        del self._reading[key, document.fetched_at]
        if reading.cancelled() or reading.exception() is not None:
            return
        self._forget(key)
        self._lists[key] = document, reading.result()
        self._entries += len(reading.result().entries)
        while self._entries > MOST_ENTRIES and len(self._lists) > 1:
            self._forget(next(iter(self._lists)))

    def _forget(self, key: _Key) -> None:
        if known := self._lists.pop(key, None):
            self._entries -= len(known[1].entries)

    async def _by_ocsp(
        self, link: _Link, urls: Sequence[str], now: datetime, *, ask: bool
    ) -> Revocation | str:
        async def look_up(document: Document) -> Revocation | None:
            return ocsp.read(document.body, link.certificate, link.issuer, now)[0]

        question = ocsp.question(link.certificate, link.issuer)
        return await self._first([(url, question, look_up) for url in urls], ask)


@lru_cache(maxsize=1000)  # each scan asks for the same again
def _links(path: tuple[x509.Certificate, ...]) -> Sequence[_Link]:
    """Each certificate that can be revoked."""
    pairs = enumerate(pairwise(path))
    return [_link(depth, one, issuer) for depth, (one, issuer) in pairs if not _exempt(one)]


def _link(depth: int, certificate: x509.Certificate, issuer: x509.Certificate) -> _Link:
    places = crl.places(certificate)
    key = _key(places[0].url, issuer) if places else None
    return _Link(depth, certificate, issuer, places, ocsp.locations(certificate), key)


def _key(url: str, issuer: x509.Certificate) -> _Key:
    return url, issuer.fingerprint(SHA256())


def _found(links: Sequence[_Link], answers: Sequence[Revocation | str]) -> Found:
    for link, answer in zip(links, answers, strict=True):
        if isinstance(answer, Revocation):
            return Found(f"revoked {answer}", answer, link.depth)
    unknown = next((answer for answer in answers if answer not in {GOOD, ""}), "")
    # A leaf of unknown status isn't good just because its CA is.
    return Found(str(unknown or next(iter(answers), "")))


def _exempt(certificate: x509.Certificate) -> bool:
    """Whether it is too short-lived to be revoked (RFC 9608)."""
    return any(each.oid == _NO_REV_AVAIL for each in extensions(certificate))
