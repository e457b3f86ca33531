"""The SSLmonitor REST API as typed methods over one request: its seven endpoints, and its extras.

A reply is judged by its body first (`success`, or `code`, `message` and `req_id`) and by the HTTP
status only where the body says nothing. Reads are repeated while that may help. `add`, `scan` and
`delete` reach the server at most once. Queries, the key and passwords stay out of every log line
and every error.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
import stamina

from bot.api.connection import Connection, Timing
from bot.api.extras import (
    DESCRIPTION,
    Changes,
    Check,
    Extra,
    History,
    read_changes,
    read_check,
    read_extras,
    read_history,
)
from bot.api.models import (
    Account,
    Monitor,
    MonitorList,
    Ping,
    Proxy,
    read_account,
    read_monitor,
    read_ping,
    read_summary,
)
from bot.api.reply import Fields, Misdirected, judge, value
from bot.errors import APIRefused, APIUnreachable, BotError, ConfigError
from bot.target import Target, address_fault

log = logging.getLogger(__name__)

_SUCCESS = msgspec.Raw(b"1")
T = TypeVar("T")

ROWS_AT_ONCE = 100  # rows that are read before the event loop gets its turn
CLOCK_STEP = timedelta(minutes=15)  # every time zone in use is a multiple of it
LACK_KEPT = timedelta(hours=1)  # how long it counts that the API lacks something
FAULT_KEPT = timedelta(minutes=1)  # how long it counts that the API did not say what it offers
MAX_OFFSET = timedelta(hours=14)  # the zone farthest from UTC; beyond it a clock is just wrong


class SSLMonitor:
    """A client of one SSLmonitor API, by its address (`https://api.sslmonitor.io/api/v1`) and key.

    `deadline` and `scan_deadline` (add, scan, check) are seconds for one try: connecting, asking
    and the whole body. Reads are tried `attempts` times, `wait` seconds apart and growing. Every
    method raises APIRefused (NotFound, BadKey) or APIUnreachable. Raises ConfigError for an
    address or key that can't be used; a key goes only to https or to this machine, unless
    `allow_http`.
    """

    offset: timedelta
    """What the server's clock shows minus UTC, to a quarter of an hour; 0 until measured."""

    def __init__(
        self,
        url: str,
        key: str,
        session: aiohttp.ClientSession,
        *,
        clock: Callable[[], datetime],
        deadline: float = 30.0,
        scan_deadline: float = 60.0,
        write_method: Literal["GET", "POST"] = "GET",
        attempts: int = 3,
        wait: float = 0.5,
        allow_http: bool = False,
        tls: ssl.SSLContext | None = None,
        timing: Timing | None = None,
    ) -> None:
        if fault := address_fault(url, allow_http=allow_http):
            raise ConfigError([fault])
        if not (key and key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError(["The API key is empty or contains an invalid character."])
        self.offset = timedelta()
        self._url = url.rstrip("/")
        self._key = key
        self._session = session
        self._clock = clock
        self._deadline = deadline
        self._scan_deadline = scan_deadline
        self._write_method = write_method
        self._attempts = attempts
        self._wait = wait
        self._connection = Connection(
            url.rstrip("/"),
            key,
            clock=clock,
            tls=tls,
            trust_env=session.trust_env,
            timing=timing,
        )
        self._shared: dict[tuple[str, ...], asyncio.Task[Any]] = {}
        self._extras: frozenset[Extra] = frozenset()
        self._lacks_until = self._not_said_until = clock()
        self._not_said: BotError | None = None

    def __repr__(self) -> str:
        return f"SSLMonitor({self._url!r})"

    @property
    def source(self) -> str:
        """What tells this API and account from others, without the key (a hash of both)."""
        return hashlib.sha256(f"{self._url} {self._key}".encode()).hexdigest()[:32]

    async def measure_clock(self) -> timedelta:
        """Ask the server's clock and keep its distance from UTC; an unreadable one changes nothing.

        The API's dates name no zone, so this is the only way to know theirs.
        """
        shown = (await self.ping()).date_time
        if shown is None:
            log.warning("Could not read the API's clock; its offset stays %s", self.offset)
            return self.offset
        offset = round((shown - self._clock()) / CLOCK_STEP) * CLOCK_STEP
        if abs(offset) > MAX_OFFSET:
            log.warning("The API's clock is wrong by days; its offset stays %s", self.offset)
        else:
            self.offset = offset
        return self.offset

    async def ping(self) -> Ping:
        """Test the key (`ping`)."""
        return read_ping(_decoded(await self._read("ping")))

    async def account(self) -> Account:
        """The key's owner and quota (`account`)."""
        return read_account(_decoded(await self._read("account")))

    async def list(
        self,
        *,
        host: str | None = None,
        port: str | int | None = None,
        valid: bool | None = None,
        expires: str | None = None,
    ) -> MonitorList:
        """The monitors that pass every filter given (`monitor/list`).

        `host` may hold `*`. `port` is `443`, `443,8443`, `!443`, `100-200` or `>=100`, and
        `expires`, in days, `=30`, `30-60`, `<30` or `>30`.
        """
        filters = {
            "host": host,
            "port": port,
            "ssl_valid": None if valid is None else str(valid).lower(),
            "ssl_expire_days": expires,
        }
        fields = await self._read("monitor/list", _given(filters))
        await asyncio.sleep(0)
        return await self._read_rows(fields)

    async def get(self, monitor_id: int) -> Monitor:
        """One monitor with all facts of its last scan (`monitor/get`)."""
        return self._monitor(await self._read("monitor/get", {"id": str(monitor_id)}))

    async def add(
        self, target: Target | str, proxy: Proxy | None = None, protocol: str = ""
    ) -> Monitor:
        """Add a monitor for a host and port, or for a URL as text, and scan it (`monitor/add`).

        `protocol` names the STARTTLS that is to be spoken before TLS, where the API offers
        `Extra.PROTOCOL`; empty for none.
        """
        place: dict[str, Any] = {"url": target}
        if isinstance(target, Target):
            place = {"host": target.host, "port": target.port}
        place["protocol"] = protocol or None
        if proxy:
            place |= {
                "proxy_host": proxy.host,
                "proxy_port": proxy.port,
                "proxy_username": proxy.username or None,
                "proxy_password": proxy.password or None,
            }
        fields = await self._write("monitor/add", _given(place), self._scan_deadline)
        return self._monitor(fields, written=True)

    async def scan(self, monitor_id: int) -> Monitor:
        """Scan a monitor now, and return what was found (`monitor/scan`).

        Whoever asks while a scan of this monitor runs gets the result of that one.
        """

        async def scanned() -> Monitor:
            query = {"id": str(monitor_id)}
            fields = await self._write("monitor/scan", query, self._scan_deadline)
            return self._monitor(fields, written=True)

        return await self._share(("monitor/scan", str(monitor_id)), scanned)

    async def delete(self, monitor_id: int) -> None:
        """Delete a monitor (`monitor/delete`)."""
        await self._write("monitor/delete", {"id": str(monitor_id)}, self._deadline)

    async def offers(self, extra: Extra, *, hurry: bool = False) -> bool:
        """Whether the API describes an endpoint beyond the documented ones (`openapi.json`).

        A yes is kept for good, a no for LACK_KEPT. In a `hurry` a fault of the last minute is
        raised again instead of asking. The file is asked for without the key.
        """
        now = self._clock()
        if extra in self._extras or now < self._lacks_until:
            return extra in self._extras
        if hurry and self._not_said is not None and now < self._not_said_until:
            raise self._not_said
        try:
            found = await self._again(self._described)
        except BotError as fault:
            self._not_said, self._not_said_until = fault, now + FAULT_KEPT
            raise
        self._extras |= found
        self._lacks_until = now + LACK_KEPT
        return extra in self._extras

    async def _described(self) -> frozenset[Extra]:
        return read_extras(
            await self._connection.send(
                self._session, "GET", DESCRIPTION, {}, self._deadline, key=False
            )
        )

    async def check(self, target: Target, protocol: str = "") -> Check:
        """Scan a host and port once, and store nothing (`checks`, an extra).

        `protocol` names the STARTTLS that is to be spoken before (`smtp`); empty for none. It is
        asked once: a scan is costly, and whoever waits for it can ask again.
        """
        query = {"host": target.host, "port": str(target.port)}
        if protocol:
            query["protocol"] = protocol
        deadline = self._scan_deadline
        fields = await self._request(self._session, "GET", "checks", query, deadline)
        try:
            return read_check(value(fields, "check"), self.offset)
        except (ValueError, RecursionError):
            raise APIUnreachable(
                "The SSLmonitor API's answer contains no readable check."
            ) from None

    async def history(self, monitor_id: int, limit: int) -> History:
        """What changed on a monitor, newest first (`monitor/history`, an extra)."""
        query = {"id": str(monitor_id), "limit": str(limit)}
        fields = await self._read("monitor/history", query)
        try:
            return read_history(_decoded(fields), self.offset)
        except (ValueError, RecursionError):
            raise APIUnreachable(
                "The SSLmonitor API's answer contains no readable history."
            ) from None

    async def changes(self, since: str) -> Changes:
        """What changed since a cursor; without one, where to begin (`monitor/changes`, an extra).

        Raises APIRefused with the code 410 where the cursor is too old.
        """
        query = {"since": since, "limit": str(ROWS_AT_ONCE)} if since else {}
        fields = await self._read("monitor/changes", query)
        try:
            return read_changes(_decoded(fields), self.offset)
        except (ValueError, RecursionError):
            raise APIUnreachable("The SSLmonitor API's answer has no readable changes.") from None

    async def _read(self, path: str, query: Mapping[str, str] | None = None) -> Fields:
        """Ask for something that changes nothing, and retry if that may help.

        Identical questions that are asked at the same time are sent once.
        """
        given = query or {}

        async def asked() -> Fields:
            return await self._again(
                lambda: self._request(self._session, "GET", path, given, self._deadline)
            )

        return await self._share((path, *(f"{k}={v}" for k, v in sorted(given.items()))), asked)

    async def _share(self, key: tuple[str, ...], ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `ask`, or of the same question that is under way.

        If one who asks is cancelled, the others still get their answer.
        """
        task: asyncio.Task[T] | None = self._shared.get(key)
        if task is None:
            task = self._shared[key] = asyncio.create_task(ask())
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: tuple[str, ...], task: asyncio.Task[Any]) -> None:
        del self._shared[key]
        if not task.cancelled():
            task.exception()  # seen by whoever asked, unless all of them were cancelled

    async def _again(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and retry if that may help."""
        async for attempt in stamina.retry_context(
            on=self._worth_another_try,
            attempts=self._attempts,
            timeout=None,
            wait_initial=self._wait,
            wait_jitter=self._wait,
        ):
            with attempt:
                return await ask()
        raise AssertionError  # stamina gives the last attempt's error

    async def _write(self, path: str, params: Mapping[str, str], deadline: float) -> Fields:
        """Ask for a change, at most once.

        The connection is new, so no server can have dropped it meanwhile, and `_never_again` keeps
        aiohttp from repeating the request when it breaks all the same.
        """
        sent: list[str] = []

        async def note(*_: object) -> None:
            sent.append(path)

        async with self._connection.used_once(note) as session:
            try:
                return await self._request(session, self._write_method, path, params, deadline)
            except APIUnreachable as error:
                error.maybe_done = bool(sent) and not isinstance(error, Misdirected)
                raise

    @property
    def fault(self) -> str:
        """Why the last request got no usable reply, empty if it got one."""
        return self._connection.fault

    async def _request(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        params: Mapping[str, str],
        deadline: float,
    ) -> Fields:
        """The one request: send it, read the whole reply, judge it."""
        reply = await self._connection.send(session, method, path, params, deadline)
        await asyncio.sleep(0)  # reading a long body took its time, and decoding it takes as much
        with suppress(ValueError, RecursionError):
            fields = msgspec.json.decode(reply.body, type=Fields)
            if fields.get("success") == _SUCCESS:
                return fields  # the documented form; `judge` reads every other one
        password = params.get("proxy_password", "")
        return judge(reply, hide=[self._key, password, quote(password, safe="")])

    def _worth_another_try(self, error: Exception) -> bool | float:
        """Whether a read may be repeated, and after how many seconds if the server said so."""
        if isinstance(error, APIRefused) and error.code == 429:
            if error.retry_after is None:
                return True
            return error.retry_after <= self._deadline and error.retry_after
        if isinstance(error, APIRefused):
            return error.code >= 500
        return isinstance(error, APIUnreachable) and not isinstance(error, Misdirected)

    def _monitor(self, fields: Fields, *, written: bool = False) -> Monitor:
        try:
            return read_monitor(fields["monitor"], self.offset)
        except (KeyError, ValueError, RecursionError):
            raise APIUnreachable(
                "The SSLmonitor API's answer contains no readable monitor.", maybe_done=written
            ) from None

    async def _read_rows(self, fields: Fields) -> MonitorList:
        """The rows of monitor/list, a few at a time; those that can't be read are counted."""
        count = _count(fields)
        try:
            rows = msgspec.json.decode(fields["list"], type=list[msgspec.Raw])
        except (KeyError, ValueError):
            if count is None:
                raise APIUnreachable("The SSLmonitor API's answer contains no list.") from None
            rows = []
        read = MonitorList()
        for start in range(0, len(rows), ROWS_AT_ONCE):
            await asyncio.sleep(0)
            for row in rows[start : start + ROWS_AT_ONCE]:
                try:
                    read.append(read_summary(row, self.offset))
                except (ValueError, RecursionError):
                    continue  # counted below
        read.unreadable = max(len(rows), count or 0) - len(read)
        if read.unreadable:
            log.warning("Could not read %d monitors in monitor/list", read.unreadable)
        return read


def _given(params: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if value is not None}


def _count(fields: Fields) -> int | None:
    """How many monitors the API says that it lists; None where it doesn't say."""
    try:
        return msgspec.json.decode(fields["count"], type=int)
    except (KeyError, ValueError):
        return None


def _decoded(fields: Fields) -> dict[str, Any]:
    return {name: value(fields, name) for name in fields}
