"""How Slack's requests come in: signed HTTP, or Socket Mode; and `/healthz` in both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_server import AsyncSlackAppServer
from slack_bolt.async_app import AsyncApp

log = logging.getLogger(__name__)

EVENTS_PATH = "/slack/events"
#: A payload of Slack's is a few kilobytes; a message with 50 blocks comes back in a button's.
MAX_BODY = 4 * 2**20
#: Two of the ten sockets that Slack allows: a refresh closes one before it opens its next.
SOCKETS = 2
PING_SECONDS = 3.0
WATCH_SECONDS = 10.0
Health = Callable[[], Mapping[str, Any]]


class HTTPServer:
    """The bot's own endpoint: `/healthz`, and in HTTP mode `/slack/events`."""

    def __init__(self, health: Health, app: AsyncApp | None) -> None:
        self._health = health
        routes = web.Application(client_max_size=MAX_BODY)
        routes.router.add_get("/healthz", self._on_health)
        if app is not None:
            bolt = AsyncSlackAppServer(0, EVENTS_PATH, app)  # only its handler is used
            routes.router.add_post(EVENTS_PATH, bolt.handle_post_requests)
        self._runner = web.AppRunner(routes, access_log=None, shutdown_timeout=1.0)

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port, which may have been 0. Raises OSError if it is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening; requests that are being answered get a second."""
        await self._runner.cleanup()

    async def _on_health(self, _request: web.Request) -> web.Response:
        state = dict(self._health())
        return web.json_response(state, status=200 if state["ok"] else 503)


class Sockets:
    """Socket Mode connections, watched: one that is stuck gets a fresh address.

    The SDK retries a refused ticket for ever with the same address, so the watchdog forgets it.
    """

    def __init__(
        self,
        app: AsyncApp,
        app_token: str,
        *,
        ping_seconds: float = PING_SECONDS,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        self._handlers = [
            AsyncSocketModeHandler(app, app_token, ping_interval=ping_seconds)
            for _ in range(SOCKETS)
        ]
        self._watch_seconds = watch_seconds
        self._tasks: list[asyncio.Task[None]] = []
        self.connected = 0

    async def start(self) -> None:
        """Connect all; returns when the first is connected. The others follow in the background."""
        self._tasks = [asyncio.create_task(handler.connect_async()) for handler in self._handlers]
        self._tasks.append(asyncio.create_task(self._watch()))
        await asyncio.wait(self._tasks[:SOCKETS], return_when=asyncio.FIRST_COMPLETED)
        self.connected = await self._count()

    async def _count(self) -> int:
        return sum([await handler.client.is_connected() for handler in self._handlers])

    async def _watch(self) -> None:
        down = dict.fromkeys(range(SOCKETS), 0)
        while True:
            await asyncio.sleep(self._watch_seconds)
            for number, handler in enumerate(self._handlers):
                if await handler.client.is_connected():
                    down[number] = 0
                    continue
                down[number] += 1
                if down[number] > 1:
                    log.warning("Socket %d is not connected; it gets a fresh address", number)
                    handler.client.wss_uri = None
            self.connected = await self._count()

    async def close(self) -> None:
        """Hang up; what was received is in the app's hands already."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for handler in self._handlers:
            client = handler.client
            left = [
                client.message_processor,
                client.current_session_monitor,
                client.message_receiver,
            ]
            await handler.close_async()
            await asyncio.gather(*filter(None, left), return_exceptions=True)
        self.connected = 0
