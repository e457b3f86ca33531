"""The embedded API on a real port, with a clock that the test moves, and methods to call it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from bot.embedded import EmbeddedAPI, EmbeddedSettings
from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust
from bot.store.database import Database
from bot.target import Target

from .fleet import NOW, Fleet, Serving

KEY = "the-key"
#: The fleet's names on loopback; `elsewhere.test` has an address that scans may not connect to.
HOSTS = {
    "fleet.test": "127.0.0.1",
    "a.fleet.test": "127.0.0.1",
    "b.fleet.test": "127.0.0.1",
    "elsewhere.test": "127.0.0.2",
}


@dataclass(frozen=True)
class Answer:
    """A reply: its status, content type and JSON."""

    status: int
    type: str
    body: dict[str, Any]


@dataclass
class Served:
    """A running embedded API: move `now`, and call it."""

    session: aiohttp.ClientSession
    now: datetime = NOW
    hosts: dict[str, str] = field(default_factory=lambda: dict(HOSTS))
    api: EmbeddedAPI = field(init=False)

    async def call(self, endpoint: str, method: str = "GET", **params: str) -> Answer:
        """Call an endpoint with a query, or with a form if `method` is POST."""
        sent = {"data": params} if method == "POST" else {"params": params}
        return await self.ask(method, f"{self.api.url}/{endpoint}", **sent)

    def routes(self) -> list[web.AbstractRoute]:
        """The routes that are served."""
        return list(self.api._routes.application().router.routes())

    async def text(self, path: str) -> str:
        """The text at a path of the server, requested without a key."""
        async with self.session.get(self.api.url.removesuffix("/api/v1") + path) as response:
            assert response.status == 200
            return await response.text()

    async def add(self, port: int, host: str = "fleet.test", **more: str) -> int:
        """Add a monitor, and return its ID."""
        answer = await self.call("monitor/add", host=host, port=str(port), **more)
        assert answer.status == 200, answer.body
        return int(answer.body["monitor"]["id"])

    @asynccontextmanager
    async def away(self, name: str) -> AsyncIterator[None]:
        """Let a name resolve to an address where nothing listens."""
        address, self.hosts[name] = self.hosts[name], "::1"
        yield
        self.hosts[name] = address

    async def ask(self, method: str, url: str | URL, **more: Any) -> Answer:
        """Send any request with the key; `more` goes to aiohttp."""
        headers = {"Authorization": f"Bearer {KEY}"} | more.pop("headers", {})
        async with self.session.request(method, url, headers=headers, **more) as response:
            body = json.loads(await response.read())
            return Answer(response.status, response.content_type, body)


async def scan(trust: Trust, serving: Serving, protocol: str = "") -> Scan:
    """Scan fleet.test, as it is served."""
    guard = Guard(parse_allow("127.0.0.1"), {"fleet.test": "127.0.0.1"})
    async with serving as port:
        target = Target("fleet.test", port)
        return await Scanner(guard, trust, 5.0).scan(target, NOW, protocol=protocol)


@asynccontextmanager
async def serving(
    fleet: Fleet, database: Database, *, deadline: float = 5.0, limit: int = 1000, **more: Any
) -> AsyncIterator[Served]:
    """Serve the embedded API on a database, allowed to scan the fleet; `more` are settings."""
    async with aiohttp.ClientSession() as session:
        served = Served(session)
        settings = EmbeddedSettings(
            KEY,
            scan_allow="127.0.0.1,::1",
            ca_file=fleet.ca_file,
            scan_interval=timedelta(hours=12),
            scan_deadline=deadline,
            hosts=served.hosts,
            monitor_limit=limit,
            **more,
        )
        served.api = EmbeddedAPI(settings, database, clock=lambda: served.now)
        await served.api.start()
        try:
            yield served
        finally:
            await served.api.close()
