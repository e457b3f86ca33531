"""What CAs publish, fetched once for all monitors and processes, and kept in the database.

The URLs come from strangers' certificates: they pass the address guard, redirects are not followed,
and a document is bounded in size and time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from bot.embedded.ca.crl import Unreadable
from bot.embedded.scan.guard import Forbidden, Guard, ResolutionFailed
from bot.store.database import Database
from bot.store.tables import ca_documents
from bot.target import MAX_PORT, Target, normal_host

log = logging.getLogger(__name__)

MOST_BYTES = 10 * 2**20
SECONDS = 10.0
#: So many bytes of documents are kept in memory; the database has the others.
MOST_KEPT = 32 * 2**20
#: A document that nobody asked for in so long is deleted.
FORGOTTEN = timedelta(days=30)
#: Lists are renewed within a day, though they say that they are valid for days.
FRESH = timedelta(hours=6)
FAILED = timedelta(minutes=10)
#: A process that asks has so long; then another one may.
ASKING = timedelta(seconds=30)
AT_ONCE = 20
LONGEST_KEY = 1000


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was last fetched; `fault` says why the last try failed, if it did."""

    url: str
    body: bytes
    fetched_at: datetime | None
    etag: str = ""
    last_modified: str = ""
    tried_at: datetime | None = None
    fault: str = ""


class Documents:
    """Documents by URL; what is being fetched already is waited for."""

    def __init__(self, database: Database, guard: Guard, clock: Callable[[], datetime]) -> None:
        self._database, self._guard, self._clock = database, guard, clock
        self._running: dict[str, asyncio.Task[Document]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._bytes = 0

    async def get(self, url: str, body: bytes | None = None) -> Document:
        """A document that is fresh, or at least there. Raises Unreadable.

        With a `body`, it is asked for by POST, and known by both. Cancelling the wait doesn't
        cancel the fetch: the next scan needs it too.
        """
        key = url if body is None else f"{url} {body.hex()}"
        if len(key) > LONGEST_KEY:
            raise Unreadable("the certificate names no usable URL")
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
        if known is None or not self._is_fresh(known):
            task = self._running.get(key)
            if task is None:
                task = asyncio.create_task(self._refreshed(key, url, body))
                self._running[key] = task
                task.add_done_callback(lambda _: self._running.pop(key, None))
            known = await asyncio.shield(task)
        if not known.body:
            raise Unreadable(known.fault or "asked")
        return known

    async def close(self) -> None:
        """Give up what is still being fetched."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_fresh(self, known: Document) -> bool:
        now = self._clock()
        if known.fault:
            return known.tried_at is not None and now - known.tried_at < FAILED
        return known.fetched_at is not None and now - known.fetched_at < FRESH

    async def _refreshed(self, key: str, url: str, body: bytes | None) -> Document:
        try:
            known = await self._read(key)
            if not self._is_fresh(known) and await self._claim(known):
                known = await self._fetch(known, url, body)
                await self._write(known)
        except (SQLAlchemyError, OSError) as fault:
            log.warning("Could not use the database for %s: %s", url[:200], fault)
            return Document(key, b"", None, fault="the database can't be used")
        self._keep(known)
        return known

    def _keep(self, known: Document) -> None:
        """Keep it in memory, and drop those that were asked for longest ago."""
        if old := self._kept.pop(known.url, None):
            self._bytes -= len(old.body) + len(old.url)
        self._kept[known.url] = known
        self._bytes += len(known.body) + len(known.url)
        while self._bytes > MOST_KEPT and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body) + len(oldest.url)

    async def _read(self, key: str) -> Document:
        query = select(ca_documents).where(ca_documents.c.url == key)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return Document(key, b"", None)
        return Document(
            key, row.body, row.fetched_at, row.etag, row.last_modified, row.tried_at, row.fault
        )

    async def _claim(self, known: Document) -> bool:
        """Whether this process is the one to fetch it."""
        key, now = known.url, self._clock()
        columns = ca_documents.c
        row = {"url": key, "body": b"", "etag": "", "last_modified": "", "fault": ""}
        free = or_(columns.asked_at.is_(None), columns.asked_at < now - ASKING)
        async with self._database.write() as connection:
            await connection.execute(
                self._database.insert(ca_documents).values(row).on_conflict_do_nothing()
            )
            mine = update(ca_documents).where(columns.url == key, free).values(asked_at=now)
            return bool((await connection.execute(mine)).rowcount)

    async def _write(self, found: Document) -> None:
        values = {
            "body": found.body,
            "etag": found.etag[:200],
            "last_modified": found.last_modified[:100],
            "fetched_at": found.fetched_at,
            "tried_at": found.tried_at,
            "fault": found.fault[:300],
            "asked_at": None,
        }
        same = ca_documents.c.url == found.url
        async with self._database.write() as connection:
            await connection.execute(update(ca_documents).where(same).values(values))
            old = ca_documents.c.tried_at < self._clock() - FORGOTTEN
            await connection.execute(delete(ca_documents).where(old))

    async def _fetch(self, known: Document, url: str, body: bytes | None) -> Document:
        """The document as it is now; the old one with the fault if it can't be fetched."""
        now = self._clock()
        failed = replace(known, tried_at=now)
        try:
            async with self._turns, asyncio.timeout(SECONDS):
                status, headers, fetched = await self._ask(known, url, body)
        except Unreadable as fault:
            return replace(failed, fault=str(fault))
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
            return replace(failed, fault=f"{_host(url)} did not answer")
        if status == 304 and known.body:
            fetched = known.body
        elif status != 200 or not fetched:
            return replace(failed, fault=f"{_host(url)} answered with HTTP {status}")
        etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
        return Document(known.url, fetched, now, etag or known.etag, modified, now)

    async def _ask(
        self, known: Document, url: str, body: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        target, path = _target(url)
        try:
            addresses = await self._guard.resolve(target)
        except Forbidden:
            raise Unreadable(f"{target.host} may not be asked") from None
        except ResolutionFailed:
            raise Unreadable(f"{target.host} could not be resolved") from None
        headers = {"Host": target.host if target.port == 80 else str(target)}
        if body is not None:
            headers["Content-Type"] = "application/ocsp-request"
        elif known.body and known.etag:
            headers["If-None-Match"] = known.etag
        elif known.body and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        address = Target(str(addresses[0]), target.port)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                "GET" if body is None else "POST",
                f"http://{address}{path}",
                data=body,
                headers=headers,
                allow_redirects=False,
            ) as reply,
        ):
            fetched = bytearray()
            async for part in reply.content.iter_chunked(65536):
                fetched += part
                if len(fetched) > MOST_BYTES:
                    raise Unreadable(f"the document of {target.host} is larger than 10 MB")
            return reply.status, reply.headers, bytes(fetched)


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "the CA")[:200]


def _target(url: str) -> tuple[Target, str]:
    """The host and port of an http URL, and the rest of it. Raises Unreadable."""
    try:
        parts = urlsplit(url)
        host, port = normal_host(parts.hostname or ""), parts.port or 80
    except ValueError:
        raise Unreadable("the certificate names no usable URL") from None
    usable = parts.scheme.lower() == "http" and parts.username is None and port <= MAX_PORT
    if not usable:
        raise Unreadable("the certificate names no usable URL")
    return Target(host, port), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
