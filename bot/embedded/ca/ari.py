"""When a CA wants a certificate renewed: ACME Renewal Information (RFC 9773)."""

import base64
import re
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import msgspec
from cryptography import x509

from bot.embedded.ca.crl import Unreadable
from bot.embedded.ca.documents import (
    FAILED,
    FRESH,
    LONGEST,
    Answer,
    Document,
    Documents,
    Silent,
    host_of,
)
from bot.embedded.ca.encoding import MALFORMED, extensions
from bot.embedded.scan.guard import Guard
from bot.embedded.scan.result import Renewal
from bot.store.database import Database
from bot.store.tables import ca_documents

#: Limits to the pause between two requests (RFC 9773, section 4.3.2).
LEAST_WAIT, MOST_WAIT = timedelta(minutes=1), LONGEST
#: The pause for a server that didn't answer, or was overloaded.
RESTING = timedelta(minutes=1)
#: How long the last answer counts while a CA doesn't answer.
LAST_WORD = timedelta(days=3)
#: How a CA says that it doesn't know a certificate, or no longer: HTTP statuses.
_UNKNOWN = (404, 410)
#: The years accepted in a window.
FIRST_YEAR, LAST_YEAR = 1970, 9998
#: A link that people may follow: http or https, printable, without a user name.
_LINK = re.compile(r"https?://[\w.:\[\]-]+(?:[/?#][!#-;=?-_a-{}~]*)?", re.ASCII)
LONGEST_LINK = 500

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _Window(msgspec.Struct):
    start: Time
    end: Time


class _Information(msgspec.Struct, rename={"window": "suggestedWindow", "url": "explanationURL"}):
    window: _Window
    url: Any = ""


class _Directory(msgspec.Struct, rename={"url": "renewalInfo"}):
    url: str


class ACMEServers(Documents):
    """What ACME servers publish; each document is kept as long as its server says."""

    most_bytes = 2**20
    most_kept = 4 * 2**20

    def __init__(
        self,
        database: Database,
        guard: Guard,
        clock: Callable[[], datetime],
        tls: ssl.SSLContext | bool,
        directories: Collection[str],
    ) -> None:
        super().__init__(database, guard, clock, at_once=16, tls=tls)
        self._directories = frozenset(directories)
        self._resting: dict[str, tuple[datetime, str]] = {}
        self._client: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Cancel running fetches, and close the connections."""
        await super().close()
        if self._client is not None:
            await self._client.close()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """One client for all requests: there are many, to few servers."""
        if self._client is None:
            jar = aiohttp.DummyCookieJar()
            self._client = aiohttp.ClientSession(
                connector=self._connector(), auto_decompress=False, cookie_jar=jar
            )
        yield self._client

    async def _answer(self, known: Document, url: str, body: bytes | None) -> Answer:
        until, fault = self._resting.get(host_of(url), (None, ""))
        if until is not None and self._clock() < until:
            raise Unreadable(fault)
        if self._is_fresh(rest := await self._read(_rest(url))):
            raise Unreadable(rest.fault)
        try:
            status, headers, fetched = await super()._answer(known, url, body)
        except Silent as silence:
            self._resting[host_of(url)] = self._clock() + RESTING, str(silence)
            raise
        if status == 200 and fetched:  # nonsense counts as no answer (RFC 9773, section 4.2)
            read_directory(fetched, url) if url in self._directories else read(fetched, url)
        return status, headers, fetched

    def _wait(self, headers: Mapping[str, str], now: datetime) -> timedelta:
        return retry_after(headers, now) or FRESH

    async def _refused(
        self, known: Document, url: str, status: int, headers: Mapping[str, str], now: datetime
    ) -> Document:
        """Pause for an overloaded server; drop the answer for a certificate it doesn't know."""
        found = await super()._refused(known, url, status, headers, now)
        if status in _UNKNOWN and url not in self._directories:
            return replace(found, body=b"", fresh_until=now + self._wait(headers, now))
        if status == 429 or status >= 500:
            until = now + (retry_after(headers, now) or RESTING)
            rest = Document(_rest(url), b"", None, "", "", now, found.fault, until)
            longer = ca_documents.c.fresh_until.between(until, now + LONGEST)
            await self._write(rest, where=~longer)  # for all processes
            return replace(found, fresh_until=max(until, now + FAILED))
        return found


def _rest(url: str) -> str:
    """The key under which a server's pause is stored."""
    return f"rest {host_of(url)}"


class Renewals:
    """Asks CAs when they want a certificate renewed; `directories` are their URLs by issuer."""

    def __init__(self, directories: Mapping[str, str], servers: Documents) -> None:
        self._directories = {name.casefold(): url for name, url in directories.items()}
        self._servers = servers

    def known(self, certificate: x509.Certificate, issuer: str, now: datetime) -> Renewal | None:
        """What `look` would return, if it is in memory; else None."""
        directory = self._directories.get(issuer.casefold())
        if directory is None:
            return Renewal()
        try:
            if found := self._servers.fresh(directory):
                found = self._servers.fresh(_resource(found, directory, certificate))
            return _told(found, now) if found else None
        except Unreadable as fault:
            return Renewal(f"unknown: {fault}")

    async def look(
        self, certificate: x509.Certificate, issuer: str, now: datetime
    ) -> AsyncIterator[Renewal]:
        """The last known answer, then the CA's current one; nothing without a directory."""
        directory = self._directories.get(issuer.casefold())
        if directory is None:
            return
        for ask in (self._servers.known, self._servers.get):
            try:
                place = _resource(await ask(directory), directory, certificate)
                yield _told(await ask(place), now)
            except Unreadable as fault:
                yield Renewal(f"unknown: {fault}")


def _resource(found: Document, directory: str, certificate: x509.Certificate) -> str:
    """The URL for a certificate, as the directory names it. Raises Unreadable."""
    resource = read_directory(found.body, directory)
    if directory.lower().startswith("https:") and not resource.lower().startswith("https:"):
        raise Unreadable(f"the directory of {host_of(directory)} names no https URL")
    return f"{resource.removesuffix('/')}/{certificate_id(certificate)}"


def _told(found: Document, now: datetime) -> Renewal:
    """Read the CA's answer about a certificate. Raises Unreadable."""
    if found.fault and (found.fetched_at is None or now - found.fetched_at > LAST_WORD):
        raise Unreadable(found.fault)
    return read(found.body, found.url)


def certificate_id(certificate: x509.Certificate) -> str:
    """The ID by which a CA knows a certificate (RFC 9773, section 4.1). Raises Unreadable."""
    try:
        issuer = extensions(certificate).get_extension_for_class(x509.AuthorityKeyIdentifier).value
        serial = certificate.serial_number
        number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    except MALFORMED:
        raise Unreadable("the certificate does not name its issuer's key") from None
    if not issuer.key_identifier:
        raise Unreadable("the certificate does not name its issuer's key")
    parts = (issuer.key_identifier, number)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def read_directory(body: bytes, url: str) -> str:
    """Where a CA's directory says that it answers. Raises Unreadable."""
    return str(_decoded(body, _Directory, host_of(url)).url)


def read(body: bytes, url: str) -> Renewal:
    """Read the answer of a CA at a URL (RFC 9773, section 4.2). Raises Unreadable."""
    host = host_of(url)
    found = _decoded(body, _Information, host)
    try:
        start, end = (each.astimezone(UTC) for each in (found.window.start, found.window.end))
    except OverflowError:
        raise Unreadable(f"the answer of {host} makes no sense") from None
    if not start < end or start.year < FIRST_YEAR or end.year > LAST_YEAR:
        raise Unreadable(f"the answer of {host} makes no sense")
    return Renewal("known", start, end, _link(found.url))


def _decoded(body: bytes, kind: type[msgspec.Struct], host: str) -> Any:
    try:
        return msgspec.json.decode(body.decode(), type=kind)  # msgspec would not check all of it
    except (ValueError, RecursionError):
        raise Unreadable(f"the answer of {host} can't be read") from None


def _link(url: object) -> str:
    """The URL of the explanation; empty if people should not be sent there."""
    usable = isinstance(url, str) and len(url) <= LONGEST_LINK and _LINK.fullmatch(url)
    return str(url) if usable else ""


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long to wait (RFC 9110, section 10.2.3), within limits; None if the server doesn't say.

    A date is compared with the server's own clock, if that was sent.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return _limited(timedelta(seconds=min(int(text[:9]), 10**8)))
    date = _date(text)
    return _limited(date - (_date(headers.get("Date", "")) or now)) if date else None


def _limited(wait: timedelta) -> timedelta:
    return max(LEAST_WAIT, min(wait, MOST_WAIT))


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=date.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError, TypeError):
        return None


def trusting(ca_file: Path | None) -> ssl.SSLContext | bool:
    """A TLS context that trusts the system's CAs and those in the file. Raises ValueError.

    Without a file, True: aiohttp has such a context, and making one takes 30 ms.
    """
    if ca_file is None:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as fault:
        raise ValueError(f"The CA file {ca_file} can't be used: {fault}") from None
    return context
