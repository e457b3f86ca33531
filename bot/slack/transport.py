"""How Slack's requests arrive: signed HTTP, or Socket Mode; and the bot's own HTTP endpoints."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import WSMessage, WSMsgType, web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient

from bot.connections import Server
from bot.errors import BotError, SlackRefused, SocketModeEnded
from bot.slack.answers import failure_of
from bot.slack.calls import proxies_for
from bot.slack.metrics import CONTENT_TYPE, Metrics

if TYPE_CHECKING:  # only for type checking
    from bot.slack.listeners import BoltApp

log = logging.getLogger(__name__)

EVENTS_PATH = "/slack/events"
#: The largest body: Slack's payloads have a few kilobytes; a press brings up to 50 blocks along.
MAX_BODY = 4 * 2**20
#: Of the ten sockets that Slack permits: while one is refreshed, the other works.
SOCKETS = 2
PING_SECONDS = 3.0
#: The longest pause between two requests for an address: Slack allows about one a minute (tier 1).
LONGEST_WAIT = 60.0
#: Characters of a disconnect message; an event that quotes one is longer.
LONGEST_DISCONNECT = 300
WATCH_SECONDS = 10.0
Health = Callable[[], Mapping[str, Any]]


class _NoTickets(logging.Filter):
    """Removes addresses from what the SDK logs: each contains a ticket that opens a connection."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, but without tickets and tracebacks."""
        record.msg = re.sub(r"ticket=[^&\s'\")]+", "ticket=…", record.getMessage())
        record.args, record.exc_info, record.exc_text = (), None, None
        return True


def _sdk_log() -> logging.Logger:
    sdk_log = logging.getLogger("bot.sockets")
    if not sdk_log.filters:
        sdk_log.addFilter(_NoTickets())
    sdk_log.setLevel(logging.WARNING)
    return sdk_log


def _proxy_for(address: str) -> str | None:
    """The environment's proxy for a websocket; the SDK ignores NO_PROXY."""
    proxies = proxies_for(address)
    return proxies.get("https") or proxies.get("http")


async def _on_calendar(
    calendar: Callable[[str], Awaitable[bytes | None]], request: web.Request
) -> web.Response:
    """The calendar, for requests with its secret."""
    try:
        found = await calendar(request.match_info["secret"])
    except BotError as fault:
        log.warning("Could not create the calendar: %s", fault)
        raise web.HTTPServiceUnavailable(headers={"Retry-After": "300"}) from None
    if found is None:
        raise web.HTTPNotFound
    return web.Response(body=found, content_type="text/calendar", charset="utf-8")


class HTTPServer:
    """The bot's HTTP endpoints: health, metrics, the calendar; in HTTP mode also Slack's requests.

    `/metrics` is for this machine, and for bearer tokens that `knows_key` accepts.
    """

    def __init__(
        self,
        health: Health,
        app: BoltApp | None,
        *,
        metrics: Metrics | None = None,
        knows_key: Callable[[str], bool] = lambda _: False,
        calendar: Callable[[str], Awaitable[bytes | None]] | None = None,
    ) -> None:
        self._health = health
        self._metrics = metrics or Metrics()
        self._knows_key = knows_key
        routes = web.Application(client_max_size=MAX_BODY)
        routes.router.add_get("/healthz", self._on_health)
        routes.router.add_get("/readyz", self._on_ready)
        routes.router.add_get("/metrics", self._on_metrics)
        if calendar is not None:
            routes.router.add_get(
                "/calendar/{secret}.ics", functools.partial(_on_calendar, calendar)
            )
        if app is not None:
            routes.router.add_post(EVENTS_PATH, app.on_request)
        self._server = Server(routes, logger=log)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which may have been 0. Raises OSError if it is taken."""
        _, port = await self._server.start(host, port)
        return port

    async def close(self) -> None:
        """Stop listening; requests in progress get one more second."""
        await self._server.close()

    async def _on_health(self, _request: web.Request) -> web.Response:
        """Whether the process works: without a connection to Slack, a restart may help."""
        state = dict(self._health())
        return web.json_response(state, status=200 if state["ok"] else 503)

    async def _on_ready(self, _request: web.Request) -> web.Response:
        """Whether everything that the bot needs works, and if not, what doesn't."""
        state = dict(self._health())
        parts = ("slack", "database", "api", "scheduler", "digest")
        down = [name for name in parts if state.get(name, "ok") not in {"ok", "off"}]
        if not state["ok"] and "slack" not in down:
            down.insert(0, "slack")
        body = {"ready": not down, "down": down} | {name: state.get(name) for name in parts}
        return web.json_response(body, status=503 if down else 200)

    async def _on_metrics(self, request: web.Request) -> web.Response:
        """The metrics, for this machine or with the key; not for reverse proxies without it."""
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not (self._knows_key(given) or _is_local(request)):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _is_local(request: web.Request) -> bool:
    """Whether a request comes from a program on this machine, and not on another's behalf."""
    forwarded = {"Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"} & {*request.headers}
    try:
        return not forwarded and ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False


class Sockets:
    """Supervises the Socket Mode connections: one that is stuck gets a new address.

    The SDK retries a refused ticket forever, so the watchdog drops its address. If Slack refuses to
    open connections (the app token was revoked, or Socket Mode was turned off), `ended` gets a
    SocketModeEnded.
    """

    ended: asyncio.Future[None]

    def __init__(
        self,
        app: AsyncApp,
        app_token: str,
        *,
        metrics: Metrics | None = None,
        ping_seconds: float = PING_SECONDS,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        self._handlers = [
            AsyncSocketModeHandler(app, app_token, logger=_sdk_log(), ping_interval=ping_seconds)
            for _ in range(SOCKETS)
        ]
        self._metrics = metrics or Metrics()
        for client in (handler.client for handler in self._handlers):
            client.on_message_listeners.append(self._on_message)
            issue = functools.partial(self._new_address, client)
            client.issue_new_wss_url = issue  # type: ignore[method-assign]
        self._wait, self._watch_seconds = 0.0, watch_seconds
        self._tasks: list[asyncio.Task[None]] = []
        self.connected = 0

    async def start(self) -> None:
        """Connect all; returns once the first is connected. The others follow in the background."""
        self.ended = asyncio.get_running_loop().create_future()
        self.ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._tasks = [asyncio.create_task(handler.connect_async()) for handler in self._handlers]
        self._tasks.append(asyncio.create_task(self._watch()))
        await asyncio.wait(self._tasks[:SOCKETS], return_when=asyncio.FIRST_COMPLETED)
        self.connected = await self._count()

    async def _on_message(self, message: WSMessage) -> None:
        """Slack sends `link_disabled` if Socket Mode was turned off in the app's settings."""
        is_text = message.type is WSMsgType.TEXT and len(message.data) < LONGEST_DISCONNECT
        if is_text and '"disconnect"' in message.data and '"link_disabled"' in message.data:
            self._end("Socket Mode was turned off for the app (link_disabled).")

    async def _new_address(self, client: SocketModeClient) -> str:
        """Request an address (apps.connections.open), with growing pauses while that fails."""
        await asyncio.sleep(self._wait)
        self._wait = min(LONGEST_WAIT, max(1.0, 2 * self._wait))
        try:
            address = await SocketModeClient.issue_new_wss_url(client)
        except SlackApiError as error:
            fault = failure_of(error.response, "apps.connections.open")
            if isinstance(fault, SlackRefused) and fault.bad_app_token:  # others may be temporary
                self._end(f"Slack refuses SLACK_APP_TOKEN: {fault.reason}.")
            raise
        self._wait = 0.0
        self._metrics.connections.inc()
        client.proxy = _proxy_for(address)
        return address

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(SocketModeEnded(reason))
        for task in self._tasks:
            task.cancel()

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
                    log.warning("Socket %d is down; requesting a new address", number)
                    handler.client.wss_uri = None
            self.connected = await self._count()

    async def close(self) -> None:
        """Disconnect; what was received is already with the app."""
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
