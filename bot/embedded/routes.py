"""The seven endpoints at /api/v1: GET with a query, or POST with a form.

Every answer is JSON: `{"success": 1, "message": "Ok", …}`, or `{"code", "message", "req_id"}` with
the HTTP status as its code. Query strings are never logged: they may hold passwords.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import msgspec
from aiohttp import web

from bot.embedded import wire
from bot.embedded.monitors import AlreadyWatched, Monitors
from bot.embedded.query import Filters
from bot.embedded.scan import Scanner, ScannerClosed
from bot.embedded.sweep import Rescans
from bot.target import Target, normal_host

_LOG = logging.getLogger(__name__)
_PREFIX = "/api/v1"
_OK = {"success": 1, "message": "Ok"}
_LARGEST_ID = 2**31 - 1
_NOT_FOUND = "monitor not found"  # the API page's own words
_HTTP_FAULTS = {
    404: "There is no such endpoint.",
    405: "This endpoint takes GET and POST only.",
    413: "The request is too large.",
}

T = TypeVar("T")
Params = Mapping[str, str]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """An error answer: its HTTP status, and a sentence."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def _refuse(code: int, message: str) -> NoReturn:
    raise Refusal(code, message)


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )


def _error(code: int, message: str, req_id: str = "") -> web.Response:
    return _json({"code": code, "message": message, "req_id": req_id or str(uuid.uuid4())}, code)


def _read(parse: Callable[[Params], T], params: Params) -> T:
    try:
        return parse(params)
    except ValueError as fault:
        _refuse(400, str(fault))


def _id(params: Params) -> int:
    text = params.get("id", "").strip()
    if not text:
        _refuse(400, "The parameter id is missing.")
    if not (text.isascii() and text.isdecimal()):
        _refuse(400, "The parameter id is not a number.")
    if len(text) > 10 or int(text) > _LARGEST_ID:
        _refuse(404, _NOT_FOUND)
    return int(text)


def _target(params: Params) -> Target:
    """Read the target of monitor/add: `host` and `port`, or `url`. Raises ValueError."""
    if any(params.get(name) for name in params if name.startswith("proxy_")):
        raise ValueError("proxies are not supported yet")
    host, port, url = (params.get(name, "").strip() for name in ("host", "port", "url"))
    if url and (host or port):
        raise ValueError("Give either host and port, or url, not both.")
    if url:
        return Target.parse(url)
    if not (host and port):
        raise ValueError("The parameters host and port are needed, or url.")
    if not (port.isascii() and port.isdecimal()) or not 1 <= int(port[:6]) <= 65535:
        raise ValueError("The parameter port is a number from 1 to 65535.")
    return Target(normal_host(host), int(port))


async def _params(request: web.Request) -> dict[str, str]:
    """The query and the form, as one; of a name that comes twice the first counts."""
    pairs = [*request.query.items()]
    if request.method == "POST":
        form = await request.post()
        pairs = [(name, value) for name, value in form.items() if isinstance(value, str)] + pairs
    return dict(reversed(pairs))


class Routes:
    """The handlers, each a request in and an answer out; what is refused is a Refusal."""

    def __init__(
        self,
        scanner: Scanner,
        monitors: Monitors,
        rescans: Rescans,
        *,
        key: str,
        limit: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._key = key.encode()
        self._limit = limit
        self._scanner = scanner
        self._monitors = monitors
        self._rescans = rescans
        self._clock = clock
        self._busy: set[asyncio.Task[Any]] = set()

    async def finished(self) -> None:
        """Wait for the requests under way, also those whose asker has hung up.

        aiohttp lets such a request go on, and no longer counts it when it shuts down.
        """
        if self._busy:
            await asyncio.wait(self._busy)

    def application(self) -> web.Application:
        """The aiohttp application that serves them."""
        application = web.Application(middlewares=[self._envelope])
        endpoints: dict[str, Handler] = {
            "ping": self.ping,
            "account": self.account,
            "monitor/list": self.list,
            "monitor/get": self.get,
            "monitor/add": self.add,
            "monitor/scan": self.scan,
            "monitor/delete": self.delete,
        }
        for path, handler in endpoints.items():
            application.router.add_get(f"{_PREFIX}/{path}", handler, allow_head=False)
            application.router.add_post(f"{_PREFIX}/{path}", handler)
        return application

    @web.middleware
    async def _envelope(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if task := asyncio.current_task():
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)
        try:
            if request.match_info.http_exception is None:
                self._authorise(request)
            return await handler(request)
        except Refusal as refusal:
            return _error(refusal.code, refusal.message)
        except ScannerClosed:
            return _error(503, "This server is ending. Ask again in a minute.")
        except web.HTTPException as fault:
            return _error(fault.status, _HTTP_FAULTS.get(fault.status, fault.reason))
        except Exception:  # noqa: BLE001 -- the last resort: the asker gets an id, the log the rest
            req_id = str(uuid.uuid4())
            _LOG.exception("%s %s failed, req_id %s", request.method, request.path, req_id)
            return _error(500, "Something went wrong here. It is logged under req_id.", req_id)

    def _authorise(self, request: web.Request) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        given = key.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._key):
            _refuse(401, "The API key is missing or wrong.")

    def _now(self) -> datetime:
        return self._clock().replace(microsecond=0)

    async def ping(self, _request: web.Request) -> web.StreamResponse:
        """The server's time."""
        return _json({**_OK, "date_time": wire.date(self._now()), "apikey_id": 1})

    async def account(self, _request: web.Request) -> web.StreamResponse:
        """How many monitors there are, and may be; a server of one's own has no e-mail address."""
        used = await self._monitors.count()
        return _json(
            {
                **_OK,
                "id": 1,
                "email": "",
                "monitor_limit": self._limit,
                "monitor_used": used,
                "monitor_available": max(0, self._limit - used),
            }
        )

    async def list(self, request: web.Request) -> web.StreamResponse:
        """The monitors that meet all filters, by id; encoded in pieces: others get a turn."""
        filters = _read(Filters.parse, await _params(request))
        now = self._now()
        count, pieces = 0, []
        async for rows in self._monitors.chunks(filters.conditions(now)):
            count += len(rows)
            pieces.append(msgspec.json.encode([wire.summary(row, now) for row in rows])[1:-1])
        head = msgspec.json.encode({**_OK, "count": count})[:-1] + b',"list":['
        return await _in_pieces(request, head, pieces, b"]}")

    async def get(self, request: web.Request) -> web.StreamResponse:
        """One monitor with all that its last scan found."""
        return await self._monitor(_id(await _params(request)))

    async def add(self, request: web.Request) -> web.StreamResponse:
        """Scan a target and watch it from now on."""
        target = _read(_target, await _params(request))
        if not self._scanner.guard.permits_literal(target):
            _refuse(400, "The address is refused by this server's rules.")
        await self._refuse_watched(target)
        if await self._monitors.count() >= self._limit:
            _refuse(403, f"The monitor limit of {self._limit} is reached.")
        scan = await self._scanner.scan(target, self._clock())
        try:
            id_ = await self._monitors.add(target, scan)
        except AlreadyWatched as taken:  # by another request, during the scan
            _refuse(400, f"{target} is already watched as monitor {taken.id}.")
        return await self._monitor(id_)

    async def _refuse_watched(self, target: Target) -> None:
        taken = await self._monitors.find(target)
        if taken is not None:
            _refuse(400, f"{target} is already watched as monitor {taken}.")

    async def scan(self, request: web.Request) -> web.StreamResponse:
        """Scan a monitor now."""
        id_ = _id(await _params(request))
        row = await self._monitors.get(id_)
        if row is None:
            _refuse(404, _NOT_FOUND)
        await self._rescans.scan(id_, Target(row["host"], row["port"]))
        return await self._monitor(id_)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Forget a monitor."""
        if not await self._monitors.delete(_id(await _params(request))):
            _refuse(404, _NOT_FOUND)
        return _json(_OK)

    async def _monitor(self, id_: int) -> web.Response:
        row = await self._monitors.get(id_)
        if row is None:
            _refuse(404, _NOT_FOUND)
        return _json({**_OK, "monitor": wire.monitor(row, self._now())})


async def _in_pieces(
    request: web.Request, head: bytes, pieces: list[bytes], tail: bytes
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    commas = max(0, len(pieces) - 1)
    response.content_length = len(head) + sum(map(len, pieces)) + commas + len(tail)
    await response.prepare(request)
    await response.write(head)
    for number, piece in enumerate(pieces):
        await response.write(b"," + piece if number else piece)
    await response.write(tail)
    await response.write_eof()
    return response
