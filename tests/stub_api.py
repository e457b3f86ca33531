"""An SSLmonitor API whose answers a test can hold, break or count."""

import asyncio
import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

OK = {"success": 1, "message": "Ok"}
KEY = "k3y-for-tests"
Json = dict[str, Any]


@dataclass
class Fault:
    """How the next `times` calls of an endpoint go wrong; a held call goes on at its `gate`."""

    body: Json | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    drop: bool = False
    gate: asyncio.Event | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let a held call go on."""
        assert self.gate is not None
        self.gate.set()


class StubAPI:
    """The seven endpoints over rows in memory; `calls` are the paths and parameters asked for.

    Like the hosted API it has no `openapi.json`, unless `extras` says what that names: paths, or
    `/path?parameter`.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.rows: dict[int, Json] = {}
        self.http: Json = {}
        self.names: list[str] = []
        self.limit = 1000
        self.key = KEY
        self.latency = 0.0  # seconds for each call
        self.extras: list[str] | None = None  # the paths that openapi.json names; None: no file
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.url = ""
        self._faults: dict[str, list[Fault]] = {}
        self._port = 0
        self._runner: web.AppRunner | None = None

    # What a test says

    def add(
        self, host: str, *, port: int = 443, days: float = 67, valid: bool = True, **fields: Any
    ) -> int:
        """Put a monitor there; gives its id."""
        number = max(self.rows, default=100) + 1
        now = self.clock()
        self.rows[number] = {
            "id": number,
            "host": host,
            "port": port,
            "ssl_valid": valid,
            "ssl_message": "Valid" if valid else "Not valid",
            "ssl_host_match": True,
            "ssl_issuer": "Test CA",
            "ssl_expire_date_start": _date(now - timedelta(days=120)),
            "ssl_expire_date_end": _date(now + timedelta(days=days)),
            "http_code": 200,
            "scan_date": _date(now),
            **fields,
        }
        return number

    def add_many(self, many: int, **fields: Any) -> list[int]:
        """Put so many monitors there: h0.demo.test, h1.demo.test, ...; gives their ids."""
        return [self.add(f"h{number}.demo.test", **fields) for number in range(many)]

    def renew(self, number: int, days: float, **fields: Any) -> None:
        """Let the next look at a monitor find a later end date."""
        end = _date(self.clock() + timedelta(days=days))
        self.rows[number] |= {"ssl_expire_date_end": end, "ssl_valid": True, **fields}

    def refuse(
        self, path: str, code: int, message: str, *, status: int | None = None, times: int = 1
    ) -> None:
        """Answer the next calls with the API's error envelope (HTTP status 200 unless told)."""
        body = {"code": code, "message": message, "req_id": "req-0815"}
        self._queue(path, Fault(body, status or 200, times=times))

    def answer(
        self, path: str, status: int, headers: Mapping[str, str] | None = None, *, times: int = 1
    ) -> None:
        """Answer the next calls with a bare HTTP status."""
        self._queue(path, Fault({}, status, headers or {}, times))

    def reply(self, path: str, body: Json, *, times: int = 1) -> None:
        """Answer the next calls with this body."""
        self._queue(path, Fault(body, 200, times=times))

    def drop(self, path: str, *, times: int = 1) -> None:
        """Drop the next calls' connections."""
        self._queue(path, Fault(times=times, drop=True))

    def hold(self, path: str) -> Fault:
        """Hold the answer to the next call until the test calls the fault's `release`."""
        return self._queue(path, Fault(gate=asyncio.Event()))

    def heal(self) -> None:
        """Let all calls go well from now on."""
        self._faults.clear()

    def asked(self, path: str) -> list[dict[str, str]]:
        """The parameters of each call of an endpoint."""
        return [params for called, params in self.calls if called == path]

    @property
    def work(self) -> list[str]:
        """The endpoints that were called, but for those that the bot asks by itself."""
        return [path for path, _ in self.calls if path not in {"ping", "openapi.json"}]

    # What it does

    async def start(self) -> None:
        """Listen; the second time on the port of the first."""
        app = web.Application()
        app.router.add_route("*", "/api/v1/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/api/v1"

    async def close(self) -> None:
        """Let every held call go, and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _queue(self, path: str, fault: Fault) -> Fault:
        self._faults.setdefault(path, []).append(fault)
        return fault

    def _take(self, path: str) -> Fault | None:
        queue = self._faults.get(path)
        if not queue:
            return None
        queue[0].times -= 1
        return queue.pop(0) if queue[0].times <= 0 else queue[0]

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        params = dict(request.query)
        self.calls.append((path, params))
        await asyncio.sleep(self.latency)
        fault = self._take(path)
        if fault is not None:
            fault.reached.set()
            if fault.gate is not None:
                await fault.gate.wait()
            if fault.drop and request.transport is not None:
                request.transport.abort()
            if fault.body is not None:
                return web.json_response(fault.body, status=fault.status, headers=fault.headers)
        if path == "openapi.json":
            if self.extras is None:
                return web.Response(status=404, text="<h1>Not Found</h1>", content_type="text/html")
            return web.json_response({"openapi": "3.1.0", "paths": _paths(self.extras)})
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"code": 401, "message": "bad key", "req_id": "req-401"})
        return web.json_response(self._answer(path, params))

    def _answer(self, path: str, params: dict[str, str]) -> Json:
        if path == "ping":
            return OK | {"date_time": _date(self.clock()), "apikey_id": 7}
        if path == "account":
            used = len(self.rows)
            return OK | {
                "id": 1,
                "email": "ops@example.com",
                "monitor_limit": self.limit,
                "monitor_used": used,
                "monitor_available": self.limit - used,
            }
        if path == "monitor/list":
            found = [row for row in self.rows.values() if self._passes(row, params)]
            return OK | {"count": len(found), "list": found}
        if path == "monitor/add":
            if len(self.rows) >= self.limit:
                return {"code": 403, "message": "no room", "req_id": "req-full"}
            number = self.add(params["host"], port=int(params["port"]))
            return OK | {"monitor": self._monitor(number)}
        if path == "checks":
            return OK | {"check": self._check(params)}
        number = int(params["id"])
        if number not in self.rows:
            return {"code": 404, "message": "monitor not found", "req_id": "req-404"}
        if path == "monitor/delete":
            del self.rows[number]
            return dict(OK)
        if path == "monitor/scan":
            self.rows[number]["scan_date"] = _date(self.clock())
        return OK | {"monitor": self._monitor(number)}

    def _check(self, params: dict[str, str]) -> Json:
        number = self.add(params["host"], port=int(params["port"]), days=12.5)
        found = self.rows[number] | self._monitor(number)
        del self.rows[number], found["id"]
        return found

    def _monitor(self, number: int) -> Json:
        row = self.rows[number]
        return {
            "id": number,
            "host": row["host"],
            "port": row["port"],
            "scan_date": row["scan_date"],
            "ssl": {
                "date_start": row["ssl_expire_date_start"],
                "date_end": row["ssl_expire_date_end"],
                "issuer_cn": row["ssl_issuer"],
                "subject_cn": row["host"],
                "alt_names": self.names or [row["host"]],
            },
            "http": self.http,
        }

    def _passes(self, row: Json, params: dict[str, str]) -> bool:
        if not fnmatch.fnmatchcase(row["host"], params.get("host", "*")):
            return False
        if params.get("port", str(row["port"])) != str(row["port"]):
            return False
        if params.get("ssl_valid", str(row["ssl_valid"]).lower()) != str(row["ssl_valid"]).lower():
            return False
        days = params.get("ssl_expire_days", "")
        return not days or self._days(row) < int(days.removeprefix("<"))

    def _days(self, row: Json) -> float:
        end = datetime.fromisoformat(row["ssl_expire_date_end"] + "+00:00")
        return (end - self.clock()) / timedelta(days=1)


def _date(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _paths(extras: list[str]) -> Json:
    paths: Json = {}
    for path, _, parameter in (extra.partition("?") for extra in extras):
        paths[path] = {"get": {"parameters": [{"name": parameter, "in": "query"}]}}
    return paths
