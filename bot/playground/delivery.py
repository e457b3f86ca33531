"""Delivering payloads to the app: over a websocket it opened (Socket Mode), or signed HTTP."""

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import aiohttp
from aiohttp import web

from bot.playground.app import App
from bot.playground.errors import PlaygroundError
from bot.playground.objects import Json
from bot.playground.payloads import http_body, signed_headers
from bot.playground.tickets import Tickets
from bot.playground.workspace import Workspace

MAX_SOCKETS = 10
"""How many websockets an app may open (docs.slack.dev/apis/events-api/using-socket-mode)."""


class Outcome(Enum):
    """What became of a payload; the value is Slack's word for it."""

    ACKED = "ok"
    TIMEOUT = "operation_timeout"
    REFUSED = "dispatch_failed"
    ABSENT = "the app is not running"


@dataclass(frozen=True)
class Ack:
    """The app's answer: a JSON object, plain text, or nothing."""

    outcome: Outcome
    body: Json | str | None = None
    no_retry: bool = False


@dataclass(eq=False)
class Socket:
    """A websocket and the envelopes it hasn't acknowledged yet."""

    ws: web.WebSocketResponse
    pending: dict[str, asyncio.Future[Ack]] = field(default_factory=dict)


class Delivery:
    """Sends payloads and waits up to `ack_limit` seconds for each ack."""

    def __init__(
        self, app: App, workspace: Workspace, tickets: Tickets, *, ack_limit: float
    ) -> None:
        self.app = app
        self.workspace = workspace
        self.tickets = tickets
        self.ack_limit = ack_limit
        self.events_url: str | None = None
        self.sockets: list[Socket] = []
        self._round_robin = itertools.count()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open what HTTP delivery needs."""
        # The app may close an idle connection just as the next payload is sent over it.
        connector = aiohttp.TCPConnector(force_close=True)
        self._session = aiohttp.ClientSession(connector=connector)

    async def close(self) -> None:
        """Close every websocket and the HTTP session."""
        for socket in list(self.sockets):
            await socket.ws.close(code=aiohttp.WSCloseCode.GOING_AWAY)
        if self._session is not None:
            await self._session.close()

    async def send(self, kind: str, payload: Json) -> Ack:
        """Send a payload (`slash_commands`, `interactive` or `events_api`) and return its ack.

        Slack retries events only: at once, after a minute, and after five. Here only the first of
        these retries exists.
        """
        ack = await self._attempt(kind, payload, 0, "")
        failed = ack.outcome in {Outcome.TIMEOUT, Outcome.REFUSED}
        if kind == "events_api" and failed and not ack.no_retry:
            reason = "http_timeout" if ack.outcome is Outcome.TIMEOUT else "http_error"
            ack = await self._attempt(kind, payload, 1, reason)
        return ack

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask every websocket to disconnect, e.g. because of `link_disabled`."""
        for socket in list(self.sockets):
            await socket.ws.send_json({"type": "disconnect", "reason": reason, "debug_info": {}})

    async def handle_socket(self, request: web.Request) -> web.StreamResponse:
        """Serve one Socket Mode websocket, in exchange for an unused ticket."""
        if not self.tickets.redeem_socket(request.query.get("ticket", "")):
            return web.Response(status=403, text="the ticket is unknown or used")
        ws = web.WebSocketResponse(timeout=1.0)
        await ws.prepare(request)
        if len(self.sockets) >= MAX_SOCKETS:
            await ws.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await ws.close()
            return ws
        socket = Socket(ws)
        self.sockets.append(socket)
        try:
            await ws.send_json(self._hello())
            self.workspace.wake()
            async for message in ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    _read_ack(socket, message.data)
        except aiohttp.ClientConnectionResetError:  # the app closed it while its ping was answered
            pass
        finally:
            self.sockets.remove(socket)
            for future in socket.pending.values():
                _settle(future, Ack(Outcome.TIMEOUT))
            self.workspace.wake()
        return ws

    async def _attempt(self, kind: str, payload: Json, attempt: int, reason: str) -> Ack:
        if self.sockets:
            ack = await self._over_socket(kind, payload, attempt, reason)
        elif self.events_url is not None:
            ack = await self._over_http(self.events_url, kind, payload, attempt, reason)
        else:
            ack = Ack(Outcome.ABSENT)
        answer = {"outcome": ack.outcome.value, "body": ack.body}
        self.workspace.record("out", payload.get("type") or kind, payload, answer)
        return ack

    async def _over_socket(self, kind: str, payload: Json, attempt: int, reason: str) -> Ack:
        socket = self.sockets[next(self._round_robin) % len(self.sockets)]
        envelope: Json = {
            "envelope_id": self.workspace.next_id("envelope-"),
            "type": kind,
            "accepts_response_payload": kind != "events_api",
            "payload": payload,
        }
        if kind == "events_api":
            envelope |= {"retry_attempt": attempt, "retry_reason": reason}
        future = asyncio.get_running_loop().create_future()
        socket.pending[envelope["envelope_id"]] = future
        try:
            async with asyncio.timeout(self.ack_limit):
                await socket.ws.send_json(envelope)
                ack: Ack = await future
                return ack
        except (TimeoutError, ConnectionError):
            return Ack(Outcome.TIMEOUT)
        finally:
            socket.pending.pop(envelope["envelope_id"], None)

    async def _over_http(
        self, url: str, kind: str, payload: Json, attempt: int, reason: str
    ) -> Ack:
        if self._session is None:
            raise PlaygroundError("start the playground first")
        body, content_type = http_body(kind, payload)
        headers = signed_headers(self.app.signing_secret, body) | {"Content-Type": content_type}
        if attempt:
            headers |= {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": reason}
        try:
            async with asyncio.timeout(self.ack_limit):
                async with self._session.post(url, data=body, headers=headers) as response:
                    return await _http_ack(response)
        except TimeoutError:
            return Ack(Outcome.TIMEOUT)
        except aiohttp.ClientConnectorError:
            return Ack(Outcome.ABSENT)
        except aiohttp.ClientError:
            return Ack(Outcome.REFUSED)

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self.sockets),
            "connection_info": {"app_id": self.app.app_id},
            "debug_info": {"host": "playground", "approximate_connection_time": 18060},
        }


async def _http_ack(response: aiohttp.ClientResponse) -> Ack:
    if not response.ok:
        return Ack(Outcome.REFUSED, no_retry=response.headers.get("X-Slack-No-Retry") == "1")
    text = await response.text()
    if response.content_type != "application/json" or not text:
        return Ack(Outcome.ACKED, text or None)
    return Ack(Outcome.ACKED, _body(text))


def _body(text: str) -> Json | str | None:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else None


def _read_ack(socket: Socket, data: str) -> None:
    reply: Any = _body(data)
    if isinstance(reply, dict) and reply.get("envelope_id") in socket.pending:
        payload = reply.get("payload")
        body = payload if isinstance(payload, dict | str) and payload else None
        _settle(socket.pending[reply["envelope_id"]], Ack(Outcome.ACKED, body))


def _settle(future: asyncio.Future[Ack], ack: Ack) -> None:
    if not future.done():
        future.set_result(ack)
