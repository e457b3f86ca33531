"""The endpoints at /api/v1, registered from one table: GET with a query, or POST with a form.

Every reply is JSON: `{"success": 1, "message": "Ok", …}`, or `{"code", "message", "req_id"}` for an
error, where `code` is the HTTP status. Query strings are never logged: they may contain passwords.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from typing import Any

import msgspec
from aiohttp import web
from sqlalchemy import RowMapping

from bot.embedded import openapi, params, wire
from bot.embedded.accounts import ONLY, Accounts, StoredAccount
from bot.embedded.ca import announced
from bot.embedded.ca.facts import date
from bot.embedded.changes import ChangesReply
from bot.embedded.job import Job, Vault, WrongKey
from bot.embedded.metrics import CONTENT_TYPE, Metrics, certificates
from bot.embedded.monitors import AlreadyMonitored, Conditions, Monitors
from bot.embedded.params import NOT_FOUND, Params, Refusal, refuse
from bot.embedded.query import Filters, Slice
from bot.embedded.scan.certificate import UNASKED, KeyExchange
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner, ScannerClosed
from bot.embedded.sweep import Rescans
from bot.embedded.turns import RateLimit, WrongKeys
from bot.store.database import is_database_fault, reason_of

_LOG = logging.getLogger(__name__)
_PREFIX = "/api/v1"
_JSON = "application/json"
_OLD_CURSOR = "This cursor is unknown or too old. Ask without `since`, then read monitor/list."
_HTTP_FAULTS = {
    404: "There is no such endpoint.",
    405: "This endpoint accepts GET and POST only.",
    413: "The request is too large.",
}


@dataclass(frozen=True, slots=True)
class APICall:
    """An authorized request, its account and its parameters."""

    request: web.Request
    account: StoredAccount
    params: Params


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _json(body: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type=_JSON)


def _error(code: int, message: str, req_id: str = "", retry_after: int = 0) -> web.Response:
    response = _json(wire.ErrorReply(code, message, req_id or str(uuid.uuid4())), code)
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    return response


class Routes:
    """The endpoints: each takes an APICall and returns a response, or raises Refusal."""

    def __init__(
        self,
        scanner: Scanner,
        monitors: Monitors,
        rescans: Rescans,
        accounts: Accounts,
        metrics: Metrics,
        *,
        rate: RateLimit,
        vault: Vault | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._scanner = scanner
        self._monitors = monitors
        self._rescans = rescans
        self._accounts = accounts
        self._metrics = metrics
        self._rate = rate
        self._vault = vault
        self._clock = clock
        self._wrong_keys = WrongKeys(clock)
        self._requests: set[asyncio.Task[Any]] = set()

    async def drain(self) -> None:
        """Wait for the running requests, including those whose client has disconnected.

        aiohttp lets such a request run on, but doesn't wait for it at shutdown.
        """
        if self._requests:
            await asyncio.wait(self._requests)

    def application(self) -> web.Application:
        """The aiohttp application that serves the endpoints."""
        application = web.Application(middlewares=[self._envelope])
        for endpoint in ENDPOINTS:
            path, handler = f"{_PREFIX}/{endpoint.path}", self._handler(endpoint)
            application.router.add_get(path, handler, allow_head=False)
            application.router.add_post(path, handler)
        application.router.add_get("/metrics", self.metrics, allow_head=False)
        application.router.add_get("/metrics/certificates", self.certificates, allow_head=False)
        application.router.add_get(f"{_PREFIX}/openapi.json", self.openapi, allow_head=False)
        return application

    @web.middleware
    async def _envelope(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if task := asyncio.current_task():
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        response = await self._answer(request, handler)
        self._metrics.requests.labels(response.status).inc()
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as refusal:
            return _error(refusal.code, refusal.message, retry_after=refusal.retry_after)
        except WrongKey as fault:
            return _error(503, str(fault))
        except ScannerClosed:
            return _error(503, "The server is shutting down. Try again in a minute.")
        except web.HTTPException as fault:
            return _error(fault.status, _HTTP_FAULTS.get(fault.status, fault.reason))
        except Exception as fault:  # noqa: BLE001 - the last resort
            return self._failed(request, fault)

    def _failed(self, request: web.Request, fault: Exception) -> web.StreamResponse:
        """The reply to an unexpected error: the client gets an ID, the log the details."""
        if is_database_fault(fault):
            _LOG.error("Could not use the database: %s", why := reason_of(fault))
            return _error(503, f"The database of this SSLmonitor API can't be used ({why}).")
        req_id = str(uuid.uuid4())
        _LOG.error("%s %s failed, req_id %s", request.method, request.path, req_id, exc_info=fault)
        return _error(
            500, "Internal error. The server's log has the details under this req_id.", req_id
        )

    def _handler(self, endpoint: Endpoint) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            account = await self._authorize(request, endpoint.path)
            call = APICall(request, account, await params.read_params(request))
            return await endpoint.handler(self, call)

        return handle

    async def _authorize(self, request: web.Request, path: str) -> StoredAccount:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return refuse(401, "The API key is missing or wrong.")
        address = request.remote or "an unknown address"
        if wait := self._wrong_keys.wait(address):
            raise Refusal(429, "Too many wrong API keys came from this address.", math.ceil(wait))
        account = await self._accounts.find(key.strip())
        if account is None:
            self._wrong_keys.count(address)
            return refuse(401, "The API key is missing or wrong.")
        if account.only and ONLY.get(account.only) != path:
            return refuse(403, f"This key is good for {ONLY.get(account.only)} only.")
        return account

    def _now(self) -> datetime:
        return self._clock().replace(microsecond=0)

    async def metrics(self, _request: web.Request) -> web.StreamResponse:
        """Metrics for Prometheus; no key needed, since they contain no host names."""
        text = self._metrics.text(await self._monitors.progress(self._now()))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def certificates(self, request: web.Request) -> web.StreamResponse:
        """The metrics of an account's certificates; requires its key."""
        account = await self._authorize(request, "metrics/certificates")
        chunks = self._monitors.chunks(account.id, Filters(), self._now())
        rows = [row async for chunk in chunks for row in chunk]
        text = await asyncio.to_thread(certificates, rows)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, _request: web.Request) -> web.StreamResponse:
        """The OpenAPI description; no key needed."""
        return web.Response(body=_description(), content_type=_JSON)

    async def ping(self, call: APICall) -> web.StreamResponse:
        """The server's time, and the progress of the sweep."""
        progress = await self._monitors.progress(now := self._now())
        lag = int(progress.lag.total_seconds())
        return _json(
            wire.PingReply(
                date_time=date(now),
                apikey_id=call.account.id,
                sweep=wire.SweepState(progress.monitors, progress.due, lag),
            )
        )

    async def account(self, call: APICall) -> web.StreamResponse:
        """The account's monitor limit and usage; embedded accounts have no email address."""
        id_, limit = call.account.id, call.account.limit
        used = await self._monitors.count(id_)
        free = max(0, limit - used)
        quota = wire.AccountReply(
            id=id_, email="", monitor_limit=limit, monitor_used=used, monitor_available=free
        )
        return _json(quota)

    async def list(self, call: APICall) -> web.StreamResponse:
        """The monitors that match all filters; encoded in pieces, to keep the event loop free."""
        now = self._now()
        filters = params.parse(Filters.parse, call.params)
        page = params.parse(params.list_slice, call.params)
        if page is not None:
            return await self._page(call.account.id, filters.conditions(now), page, now)
        count, pieces = 0, []
        async for rows in self._monitors.chunks(call.account.id, filters, now):
            count += len(rows)
            pieces.append(msgspec.json.encode(rows)[1:-1])
        head = msgspec.json.encode(wire.ListReply(count=count, list=())).removesuffix(b"]}")
        return await _in_pieces(call.request, head, pieces, b"]}")

    async def _page(
        self, account: int, conditions: Conditions, page: Slice, now: datetime
    ) -> web.StreamResponse:
        rows = await self._monitors.list_slice(account, conditions, page, now)
        total = await self._monitors.count_matching(account, conditions)
        return _json(wire.ListReply(count=len(rows), list=rows, total=total))

    async def get(self, call: APICall) -> web.StreamResponse:
        """One monitor with all results of its last scan."""
        row = await self._row(call.account.id, params.monitor_id(call.params))
        return _json(wire.DetailsReply(monitor=wire.details(row, self._now())))

    async def add(self, call: APICall) -> web.StreamResponse:
        """Scan a target and add a monitor for it."""
        job = params.permitted_job(call.params, self._scanner.guard)
        sealed = params.parse(lambda _: job.seal(self._vault), call.params)
        await self._refuse_duplicate(call.account.id, job)
        if await self._monitors.count(call.account.id) >= call.account.limit:
            refuse(403, f"The account has reached its limit of {call.account.limit} monitors.")
        scan = await self._scan_once(call, job, UNASKED)
        try:
            id_ = await self._monitors.add(call.account.id, sealed, scan)
        except AlreadyMonitored as duplicate:  # added by another request during the scan
            refuse(400, f"{job.target} is already monitored, as monitor {duplicate.id}.")
        return await self._monitor(call.account.id, id_)

    async def _refuse_duplicate(self, account: int, job: Job) -> None:
        existing = await self._monitors.find(account, job.target)
        if existing is not None:
            refuse(400, f"{job.target} is already monitored, as monitor {existing}.")

    async def _scan_once(self, call: APICall, job: Job, known: KeyExchange | None = None) -> Scan:
        await self._count_scan(call)
        return await self._rescans.check(job, known)

    async def _count_scan(self, call: APICall, what: str = "scans") -> None:
        if seconds := await self._rate.take(call.account.key):
            refuse(429, f"Too many {what} in a minute. Try again in {seconds} s.", seconds)

    async def scan(self, call: APICall) -> web.StreamResponse:
        """Scan a monitor now."""
        id_ = params.monitor_id(call.params)
        await self._row(call.account.id, id_)
        await self._count_scan(call)
        await self._rescans.scan(id_)
        return await self._monitor(call.account.id, id_)

    async def delete(self, call: APICall) -> web.StreamResponse:
        """Delete a monitor."""
        id_ = params.monitor_id(call.params)
        if not await self._monitors.delete(call.account.id, id_, self._now()):
            refuse(404, NOT_FOUND)
        return _json(wire.Success())

    async def changes(self, call: APICall) -> web.StreamResponse:
        """What changed on the account's monitors since a cursor, oldest first."""
        since, limit = params.parse(params.cursor_and_limit, call.params)
        found = await self._monitors.changes(call.account.id, since, limit, self._now())
        return _json(found or refuse(410, _OLD_CURSOR))

    async def history(self, call: APICall) -> web.StreamResponse:
        """What changed on a monitor, newest first."""
        id_ = params.monitor_id(call.params)
        page = params.parse(params.list_slice, call.params) or Slice(params.HISTORY_ROWS)
        await self._row(call.account.id, id_)
        total, rows = await self._monitors.history(id_, page)
        listed = tuple(wire.change(row) for row in rows)
        return _json(wire.HistoryReply(count=len(listed), list=listed, total=total))

    async def expect(self, call: APICall) -> web.StreamResponse:
        """Announce a certificate that was issued for monitored hosts."""
        told = params.parse(partial(params.announcement, now=self._now()), call.params)
        if call.account.only:  # its web server may be broken into, so the key learns little
            await self._count_scan(call, "announcements")
        outcomes = await self._monitors.announce(call.account.id, told, self._now())
        return _json(announced.reply(told, outcomes))

    async def checks(self, call: APICall) -> web.StreamResponse:
        """Scan a target once without storing the result."""
        job = params.permitted_job(call.params, self._scanner.guard)
        found = await self._scan_once(call, job)
        scan = await self._monitors.as_known(call.account.id, job.target, found)
        return _json(wire.CheckReply(check=wire.check(job.target, scan, self._now())))

    async def _monitor(self, account: int, id_: int) -> web.Response:
        row = await self._row(account, id_)
        return _json(wire.MonitorReply(monitor=wire.monitor(row, self._now())))

    async def _row(self, account: int, id_: int) -> RowMapping:
        return await self._monitors.get(account, id_) or refuse(404, NOT_FOUND)


@dataclass(frozen=True, kw_only=True)
class Endpoint(openapi.Operation):
    """An endpoint: its description in openapi.json, and the method that handles it."""

    handler: Callable[[Routes, APICall], Awaitable[web.StreamResponse]]


_NO_MONITOR = {404: "There is no such monitor"}
_SCANS = {429: "Too many scans in a minute", 503: "The server is shutting down"}
_NO_SCAN = "The server is shutting down, or its SECRET_KEY can't decrypt the proxy's password"

ENDPOINTS = (
    Endpoint(
        "ping",
        "Test the key",
        "Returns the server's time and the progress of the sweep.",
        wire.PingReply,
        handler=Routes.ping,
    ),
    Endpoint(
        "account",
        "Show the account",
        "Returns the monitor limit and usage.",
        wire.AccountReply,
        handler=Routes.account,
    ),
    Endpoint(
        "monitor/list",
        "List monitors",
        "Returns those that match all filters, ordered by ID.",
        wire.ListReply,
        params.LIST,
        handler=Routes.list,
    ),
    Endpoint(
        "monitor/get",
        "Show a monitor",
        "Returns all results of its last scan.",
        wire.DetailsReply,
        params.ONE_MONITOR,
        _NO_MONITOR,
        handler=Routes.get,
    ),
    Endpoint(
        "monitor/add",
        "Add a monitor",
        "Scans the target now, and then at regular intervals.",
        wire.MonitorReply,
        params.SCAN,
        {403: "The account has reached its monitor limit"} | _SCANS,
        handler=Routes.add,
    ),
    Endpoint(
        "monitor/scan",
        "Scan a monitor now",
        "Joins a scan of the monitor that is already running.",
        wire.MonitorReply,
        params.ONE_MONITOR,
        _NO_MONITOR | _SCANS | {503: _NO_SCAN},
        handler=Routes.scan,
    ),
    Endpoint(
        "monitor/delete",
        "Delete a monitor",
        "Deletes its history as well.",
        wire.Success,
        params.ONE_MONITOR,
        _NO_MONITOR,
        handler=Routes.delete,
    ),
    Endpoint(
        "monitor/history",
        "Show what changed",
        "Returns one row for each scan with a new result, newest first (`limit`: 100 by default).",
        wire.HistoryReply,
        params.HISTORY,
        _NO_MONITOR,
        handler=Routes.history,
    ),
    Endpoint(
        "monitor/changes",
        "Show what changed since the last request",
        "Returns what was added, deleted or newly seen by a scan: each change once, oldest first.",
        ChangesReply,
        params.CHANGES_SINCE,
        {410: "The cursor is unknown, or too old"},
        handler=Routes.changes,
    ),
    Endpoint(
        "monitor/expect",
        "Announce a certificate",
        "Announces that it was issued: the monitors of its names are scanned until they serve it.",
        announced.ExpectReply,
        params.EXPECT,
        {404: "No monitor has one of the names", 429: "Too many announcements in a minute"},
        handler=Routes.expect,
    ),
    Endpoint(
        "checks",
        "Scan a target once",
        "Stores nothing.",
        wire.CheckReply,
        params.SCAN,
        _SCANS,
        handler=Routes.checks,
    ),
)


@cache
def _description() -> bytes:
    return msgspec.json.encode(openapi.describe(ENDPOINTS, _PREFIX))


async def _in_pieces(
    request: web.Request, head: bytes, pieces: list[bytes], tail: bytes
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": _JSON})
    response.content_length = sum(map(len, (head, *pieces, tail))) + max(0, len(pieces) - 1)
    await response.prepare(request)
    await response.write(head)
    for number, piece in enumerate(pieces):
        await response.write(b"," + piece if number else piece)
    await response.write(tail)
    await response.write_eof()
    return response
