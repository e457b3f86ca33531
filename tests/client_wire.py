"""What the client's tests share: servers of raw bytes, and calls of every kind."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.api.client import SSLMonitor
from bot.api.models import Proxy
from bot.target import Target

KEY = "k3y-for-tests"
NOW = datetime(2026, 1, 5, 20, 25, 40, tzinfo=UTC)
API = "https://api.example/api/v1"
PROXY = Proxy("proxy.example", 3128, "me", "p&ss wörd")
MONITOR = {"id": 888, "host": "www.example.com", "port": 443, "scan_date": "2026-01-05 20:25"}
PASSWORD = "p%26ss%20w%C3%B6rd"
HTML = b"<!DOCTYPE html><title>502 Bad Gateway</title>"
OK = {"success": 1, "message": "Ok"}

Call = Callable[[SSLMonitor], Awaitable[object]]
WRITES: dict[str, Call] = {
    "add": lambda api: api.add(Target("www.example.com"), PROXY),
    "scan": lambda api: api.scan(888),
    "delete": lambda api: api.delete(888),
}
READS: dict[str, Call] = {
    "ping": lambda api: api.ping(),
    "account": lambda api: api.account(),
    "list": lambda api: api.list(host="*.example.com"),
    "get": lambda api: api.get(888),
    "history": lambda api: api.extras.history(888, 21),
}
#: It changes nothing, and is asked once all the same.
CHECK: dict[str, Call] = {"check": lambda api: api.extras.check(Target("www.example.com"))}
EVERY_CALL = READS | CHECK | WRITES


def slowdown() -> float:
    """How many times longer a busy machine takes: its load for each CPU, at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def door(session: aiohttp.ClientSession, url: str = API, **settings: Any) -> SSLMonitor:
    return SSLMonitor(url, KEY, session, **{"clock": lambda: NOW, "wait": 0, **settings})


class Wire:
    """A server by hand: notes every request it gets, and says exactly what it is told.

    An answer is the bytes to send, after which the connection stays open; `None` drops it, a
    tuple sends its bytes and then drops it, and a list sends its bytes and then falls silent.
    """

    def __init__(self, answers: Sequence[bytes | tuple[bytes] | list[bytes] | None]) -> None:
        self.answers = list(answers)
        self.arrivals: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""
        self._over = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client hung up
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.arrivals.append(head.splitlines()[0])
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            return False
        writer.write(answer if isinstance(answer, bytes) else answer[0])
        await writer.drain()
        if isinstance(answer, list):
            await self._over.wait()
        return isinstance(answer, bytes)

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0, ssl=context)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
        try:
            yield self
        finally:
            self._over.set()
            await close(server, self.writers)


async def close(server: asyncio.Server, writers: Iterable[asyncio.StreamWriter]) -> None:
    """Close a server with its connections, also one that came in at the last moment."""
    server.close()
    for _ in range(5):  # asyncio takes as many turns from accepting one to its handler
        await asyncio.sleep(0)
    for writer in list(writers):
        writer.transport.abort()
    await server.wait_closed()


def http(body: object = OK, status: int = 200, headers: str = "") -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    length = f"Content-Length: {len(text)}\r\n"
    return f"HTTP/1.1 {status} Words\r\n{length}{headers}\r\n".encode() + text


class Recorder:
    """A server that takes everything, and notes what it was asked."""

    def __init__(self, **fields: object) -> None:
        self.fields = OK | fields
        self.seen: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.method, request.raw_path, await request.text()))
        self.headers.append(dict(request.headers))
        return web.json_response(self.fields)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Recorder]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        async with TestServer(app) as server:
            self.url = str(server.make_url("/api/v1/"))
            yield self
