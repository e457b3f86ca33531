"""Documents that CAs publish, fetched once for all monitors and processes, and stored.

The URLs come from strangers: they pass the address guard, redirects are not followed, and a
document is limited in size and time.
"""

import asyncio
import logging
import socket
import ssl
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from bot.embedded.ca.crl import Unreadable
from bot.embedded.scan.guard import Forbidden, Guard, ResolutionFailed
from bot.embedded.scan.http import AGENT
from bot.store.database import Database
from bot.store.tables import ca_documents
from bot.target import MAX_PORT, Target, normal_host

log = logging.getLogger(__name__)

MOST_BYTES = 10 * 2**20
SECONDS = 10.0
#: A document that wasn't requested for this long is deleted; how often this is checked.
FORGOTTEN, TIDIED = timedelta(days=30), timedelta(hours=1)
#: Lists are renewed within a day, though they claim to be valid for days.
FRESH = timedelta(hours=6)
FAILED = timedelta(minutes=10)
#: No answer is used for longer; a later expiry comes from a clock that ran ahead.
LONGEST = timedelta(days=1)
#: How long a fetching process keeps others from fetching; how often they look for its result.
ASKING, LOOK = timedelta(seconds=30), 0.5
AT_ONCE = 20
#: The most requests that may be pending: a slow server must not fill the memory.
MOST_AWAITED = 1000
LONGEST_KEY = 1000
PORTS = {"http": 80, "https": 443}
Answer = tuple[int, Mapping[str, str], bytes]
"""HTTP status, headers, and body."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as last fetched; `fault` says why the last attempt failed, if it did.

    It is requested again after `fresh_until`.
    """

    url: str
    body: bytes
    fetched_at: datetime | None
    etag: str = ""
    last_modified: str = ""
    tried_at: datetime | None = None
    fault: str = ""
    fresh_until: datetime | None = None


class Silent(Unreadable):
    """The server did not answer."""


class Documents:
    """Documents by URL; concurrent requests for one share a fetch."""

    most_bytes = MOST_BYTES
    most_kept = 32 * 2**20
    """So many bytes of documents are kept in memory; the database has the others."""

    def __init__(
        self,
        database: Database,
        guard: Guard,
        clock: Callable[[], datetime],
        *,
        at_once: int = AT_ONCE,
        tls: ssl.SSLContext | bool = False,
    ) -> None:
        """At most `at_once` documents are fetched at a time; with `tls`, also over https."""
        self._database, self._guard, self._clock, self._tls = database, guard, clock, tls
        self._running: dict[str, asyncio.Task[Document]] = {}
        self._turns = asyncio.Semaphore(at_once)
        self._tidied_at: datetime | None = None
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._bytes = 0

    async def get(
        self, url: str, body: bytes | None = None, *, instead_of: Document | None = None
    ) -> Document:
        """A fresh document, or the last one if it can't be fetched. Raises Unreadable.

        With a `body`, it is requested by POST, and identified by both. Cancelling the wait doesn't
        cancel the fetch: the next scan needs it too. `instead_of` is a useless document, which is
        kept no longer than a failure.
        """
        key = _key(url, body)
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
        if known is None or not self._is_fresh(known, instead_of):
            task = self._running.get(key)
            if task is None:
                if len(self._running) >= MOST_AWAITED:
                    return await self._old(url, body)
                task = asyncio.create_task(self._refreshed(key, url, body, instead_of))
                self._running[key] = task
                task.add_done_callback(lambda _: self._running.pop(key, None))
            known = await asyncio.shield(task)
        return _readable(known)

    async def known(self, url: str, body: bytes | None = None) -> Document:
        """The document as last fetched, however old. Raises Unreadable."""
        key = _key(url, body)
        known = self._kept.get(key)
        if known is None:
            try:
                known = await self._read(key)
            except (SQLAlchemyError, OSError) as fault:
                log.warning("Could not use the database for %s: %s", url[:200], fault)
                raise Unreadable("the database can't be used") from None
            if known.tried_at is not None:
                self._keep(known)
        return _readable(known)

    async def _old(self, url: str, body: bytes | None) -> Document:
        """The last known document, since too many requests are pending. Raises Unreadable."""
        with suppress(Unreadable):
            return await self.known(url, body)
        raise Unreadable("too many CA requests are pending")

    def fresh(self, url: str) -> Document | None:
        """A document that is in memory and still fresh; else None."""
        known = self._kept.get(url)
        if known is None or not known.body or not self._is_fresh(known):
            return None
        self._kept.move_to_end(url)
        return known

    async def close(self) -> None:
        """Cancel running fetches."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_fresh(self, known: Document, useless: Document | None = None) -> bool:
        until, now = known.fresh_until, self._clock()
        if until and useless and known.tried_at and known.tried_at == useless.tried_at:
            until = min(until, known.tried_at + FAILED)
        return until is not None and now < until <= now + LONGEST

    async def _refreshed(
        self, key: str, url: str, body: bytes | None, useless: Document | None
    ) -> Document:
        try:
            known = await self._read(key)
            if not self._is_fresh(known, useless):
                known = await self._renewed(known, url, body)
        except (SQLAlchemyError, OSError) as fault:
            log.warning("Could not use the database for %s: %s", url[:200], fault)
            return Document(key, b"", None, fault="the database can't be used")
        self._keep(known)
        return known

    async def _renewed(self, known: Document, url: str, body: bytes | None) -> Document:
        async with self._turns:  # before the claim, which expires
            if not await self._claim(known):  # another process is fetching it, or just has
                return await self._fetched_elsewhere(known.url)
            found = await self._fetch(known, url, body)
            await self._write(found)
        return found

    async def _fetched_elsewhere(self, key: str) -> Document:
        """Wait for another process to fetch the document; the old one if that takes too long."""
        for _ in range(int(SECONDS / LOOK)):
            if self._is_fresh(found := await self._read(key)):
                break
            await asyncio.sleep(LOOK)
        return found

    def _keep(self, known: Document) -> None:
        """Keep it in memory, and drop those that were not used for the longest time."""
        if old := self._kept.pop(known.url, None):
            self._bytes -= len(old.body) + len(old.url)
        self._kept[known.url] = known
        self._bytes += len(known.body) + len(known.url)
        while self._bytes > self.most_kept and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body) + len(oldest.url)

    async def _read(self, key: str) -> Document:
        query = select(*(ca_documents.c[each.name] for each in fields(Document))).where(
            ca_documents.c.url == key
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return Document(key, b"", None)
        return Document(*row)

    async def _claim(self, known: Document) -> bool:
        """Whether this process may fetch it: no other has tried since it was read."""
        key, now = known.url, self._clock()
        columns = ca_documents.c
        row = dict.fromkeys(("etag", "last_modified", "fault"), "")
        free = and_(
            or_(columns.asked_at.is_(None), ~columns.asked_at.between(now - ASKING, now + ASKING)),
            columns.tried_at.is_not_distinct_from(known.tried_at),
        )
        mine = (
            self._database.insert(ca_documents)
            .values(url=key, body=b"", asked_at=now, **row)
            .on_conflict_do_update(index_elements=["url"], set_={"asked_at": now}, where=free)
        )
        async with self._database.write() as connection:
            return bool((await connection.execute(mine)).rowcount)

    async def _write(self, found: Document, where: ColumnElement[bool] | None = None) -> None:
        """Store a document; an existing one is only replaced if `where` holds."""
        values = {
            "url": found.url,
            "body": found.body,
            "etag": found.etag[:200],
            "last_modified": found.last_modified[:100],
            "fetched_at": found.fetched_at,
            "tried_at": found.tried_at,
            "fault": found.fault[:300],
            "fresh_until": found.fresh_until,
            "asked_at": None,
        }
        stored = (
            self._database.insert(ca_documents)
            .values(values)
            .on_conflict_do_update(index_elements=["url"], set_=values, where=where)
        )
        async with self._database.write() as connection:
            await connection.execute(stored)
        await self._tidy()

    async def _tidy(self) -> None:
        now, columns = self._clock(), ca_documents.c
        if self._tidied_at is not None and now - self._tidied_at < TIDIED:
            return
        self._tidied_at = now
        asked_at = func.coalesce(columns.tried_at, columns.asked_at)
        old = select(columns.url).where(asked_at < now - FORGOTTEN)
        old = old.with_for_update(skip_locked=True)  # a locked one is being requested
        async with self._database.write() as connection:
            await connection.execute(delete(ca_documents).where(columns.url.in_(old)))

    async def _fetch(self, known: Document, url: str, body: bytes | None) -> Document:
        """The document as fetched now; if that fails, the old one with the fault."""
        now = self._clock().replace(microsecond=0)  # as stored, for later comparison
        try:
            status, headers, fetched = await self._answer(known, url, body)
        except Unreadable as fault:
            return replace(known, tried_at=now, fault=str(fault), fresh_until=now + FAILED)
        if status == 304 and known.body:
            fetched = known.body
        elif status != 200 or not fetched:
            return await self._refused(known, url, status, headers, now)
        etag = _header(headers, "ETag") or known.etag
        modified = _header(headers, "Last-Modified")
        until = now + self._wait(headers, now)
        return Document(known.url, fetched, now, etag, modified, now, fresh_until=until)

    def _wait(self, _headers: Mapping[str, str], _now: datetime) -> timedelta:
        return FRESH

    async def _refused(
        self, known: Document, url: str, status: int, _headers: Mapping[str, str], now: datetime
    ) -> Document:
        """What remains known after an answer without a document."""
        what = "an empty document" if status == 200 else f"HTTP {status}"
        fault = f"{host_of(url)} answered with {what}"
        return replace(known, tried_at=now, fault=fault, fresh_until=now + FAILED)

    async def _answer(self, known: Document, url: str, body: bytes | None) -> Answer:
        """The server's answer. Raises Unreadable; Silent if there was none."""
        try:
            async with asyncio.timeout(SECONDS):
                return await self._ask(known, url, body)
        except Forbidden:
            raise Unreadable(f"{host_of(url)} may not be asked") from None
        except ResolutionFailed:
            raise Unreadable(f"{host_of(url)} could not be resolved") from None
        except aiohttp.ClientConnectorCertificateError:
            raise Silent(f"the certificate of {host_of(url)} is not trusted") from None
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
            raise Silent(f"{host_of(url)} did not answer") from None

    def _session(self) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
        return aiohttp.ClientSession(connector=self._connector(), auto_decompress=False)

    def _connector(self) -> aiohttp.TCPConnector:
        """Connects to the first address that answers and that the guard permits."""
        return aiohttp.TCPConnector(resolver=_Checked(self._guard), use_dns_cache=False)

    async def _ask(self, known: Document, url: str, body: bytes | None) -> Answer:
        scheme, target, path = _target(url, PORTS if self._tls else {"http": 80})
        if not self._guard.permits_literal(target):  # an address isn't resolved
            raise Forbidden
        # Without this, aiohttp asks for a compressed body.
        headers = {"Accept-Encoding": "identity", "User-Agent": AGENT}
        if body is not None:
            headers["Content-Type"] = "application/ocsp-request"
        elif known.body and known.etag:
            headers["If-None-Match"] = known.etag
        elif known.body and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        async with (
            self._session() as session,
            session.request(
                "GET" if body is None else "POST",
                f"{scheme}://{target}{path}",
                data=body,
                headers=headers,
                allow_redirects=False,
                ssl=self._tls or True,
            ) as reply,
        ):
            fetched = bytearray()
            async for part in reply.content.iter_chunked(65536):
                fetched += part
                if len(fetched) > self.most_bytes:
                    raise self._too_large(target)
            plain = await asyncio.to_thread(_decompressed, bytes(fetched), self.most_bytes)
            if len(plain) > self.most_bytes:
                raise self._too_large(target)
            return reply.status, reply.headers, plain

    def _too_large(self, target: Target) -> Unreadable:
        size = f"{self.most_bytes // 2**20} MB"
        return Unreadable(f"the document of {target.host} is larger than {size}")


class _Checked(AbstractResolver):
    """A resolver for the client: returns only addresses that the guard has checked."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises Forbidden or ResolutionFailed."""
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [
            ResolveResult(
                hostname=host, host=str(each), port=port, family=families[each.version],
                proto=0, flags=socket.AI_NUMERICHOST,
            )
            for each in await self._guard.resolve(Target(host, port))
            if family in {socket.AF_UNSPEC, families[each.version]}
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing has to be closed."""


def _decompressed(body: bytes, most: int) -> bytes:
    """A body without gzip, which some servers use unasked; at most one byte over the limit."""
    with suppress(zlib.error):  # no document begins like this
        if body.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, most + 1)
    return body


def host_of(url: str) -> str:
    """The host of a URL, for a sentence."""
    try:
        return (urlsplit(url).hostname or "the CA")[:200]
    except ValueError:
        return "the CA"


def _header(headers: Mapping[str, str], name: str) -> str:
    """A header that can be stored and sent back; aiohttp decodes odd bytes to lone surrogates."""
    value = headers.get(name, "")
    return value if value.isascii() and value.isprintable() else ""


def _key(url: str, body: bytes | None = None) -> str:
    text = url if body is None else f"POST {url} {body.hex()}"
    if len(text) > LONGEST_KEY or not (text.isascii() and text.isprintable()):
        raise Unreadable("the CA names no usable URL")
    return text


def _readable(known: Document) -> Document:
    if not known.body:
        raise Unreadable(known.fault or "asked")
    return known


def _target(url: str, ports: Mapping[str, int]) -> tuple[str, Target, str]:
    """A URL's scheme, host and port, and the rest. Raises Unreadable."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        host, port = normal_host(parts.hostname or ""), parts.port or ports.get(scheme, 0)
    except ValueError:
        raise Unreadable("the CA names no usable URL") from None
    if scheme not in ports or parts.username is not None or not 0 < port <= MAX_PORT:
        raise Unreadable("the CA names no usable URL")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return scheme, Target(host, port), path
