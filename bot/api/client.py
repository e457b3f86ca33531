"""The SSLmonitor REST API as typed methods: its seven endpoints, and its extras.

A reply is judged by its body (`success`, or `code`, `message` and `req_id`), and by the HTTP status
only if the body says nothing. Reads are retried if that may help. `add`, `scan` and `delete` reach
the server at most once. No log line and no error contains queries, the key or passwords.
"""

import asyncio
import hashlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
import stamina
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from bot import __version__
from bot.api.connection import Timing, used_once, what_happened
from bot.api.extras import Extras
from bot.api.models import (
    Account,
    Monitor,
    MonitorList,
    MonitorSummary,
    Ping,
    Proxy,
    count_of,
    lost_row,
    raw_rows,
    read_summary,
)
from bot.api.reading import read_account, read_monitor, read_ping
from bot.api.reply import Fields, Misdirected, Reply, answered, decoded, judge, readable, seconds
from bot.errors import APIRefused, APIUnreachable, ConfigError
from bot.target import Target, address_fault

log = logging.getLogger(__name__)

_SUCCESS = msgspec.Raw(b"1")
T = TypeVar("T")

MAX_BODY = 64 * 2**20  # bytes: twice the size of 100,000 rows of monitor/list
#: Above this many concurrent requests, callers are told that the bot is busy.
MOST_IN_FLIGHT = 50
ROWS_AT_ONCE = 100  # rows read before the event loop gets a turn
CLOCK_STEP = timedelta(minutes=15)  # every time zone in use is a multiple of it
MAX_OFFSET = timedelta(hours=14)  # the largest offset in use; beyond it the clock is wrong


#: Entered before a scan; gives whether another process has scanned the monitor meanwhile.
Turn = Callable[[int], AbstractAsyncContextManager[bool]]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to the API: an endpoint and its parameters."""

    path: str
    params: Mapping[str, str]
    method: str = "GET"
    with_key: bool = True


class SSLMonitor:
    """A client of one SSLmonitor API, given its address (`https://…/api/v1`) and key.

    `deadline` and `scan_deadline` (add, scan, check) are the seconds for one attempt, from
    connecting to the end of the body. Reads are tried `attempts` times, with growing pauses that
    begin at `wait` seconds. Every method raises APIRefused (NotFound, BadKey) or APIUnreachable.
    Raises ConfigError for an unusable address or key; a key is only sent over https or to this
    machine, unless `allow_http`.
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
        name: str = "",
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
        self._deadline, self._scan_deadline = deadline, scan_deadline
        self._write_method = write_method
        self._attempts, self._wait = attempts, wait
        self._tls = tls
        self._timing, self._name = timing, name
        self._in_flight = 0
        self._shared: dict[tuple[str, ...], asyncio.Task[Any]] = {}
        self._changes = 0
        self.extras = Extras(self, clock)
        self.turn: Turn = lambda _: nullcontext(False)
        """Waits for the scan of the same monitor that another process runs, if there is one."""
        self.fault = ""
        """Why the last request got no usable reply, empty if it got one."""

    def __repr__(self) -> str:
        return f"SSLMonitor({self._url!r})"

    @property
    def source(self) -> str:
        """Identifies this API and account: a hash of its name, or else of its address and key."""
        return hashlib.sha256((self._name or f"{self._url} {self._key}").encode()).hexdigest()[:32]

    async def measure_clock(self) -> timedelta:
        """Measure the difference between the server's clock and UTC; a bad reply changes nothing.

        The API's dates name no zone, so this is the only way to learn it.
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
        return read_ping(decoded(answered(await self.read("ping"), "date_time", "apikey_id")))

    async def account(self) -> Account:
        """The key's owner and quota (`account`)."""
        fields = answered(await self.read("account"), "id", "email", "monitor_limit")
        return read_account(decoded(fields))

    async def list(
        self,
        *,
        host: str | None = None,
        port: str | int | None = None,
        valid: bool | None = None,
        expires: str | None = None,
        attention: int | None = None,
    ) -> MonitorList:
        """The monitors that pass all given filters (`monitor/list`).

        `host` may contain `*`. `port` is `443`, `443,8443`, `!443`, `100-200` or `>=100`;
        `expires`, in days, is `=30`, `30-60`, `<30` or `>30`. `attention` leaves out monitors that
        need no attention within so many days, if the API has `Extra.ATTENTION`.
        """
        filters = {
            "host": host,
            "port": port,
            "ssl_valid": None if valid is None else str(valid).lower(),
            "ssl_expire_days": expires,
            "attention_days": attention,
        }
        return await self._read_rows(*await self._asked("monitor/list", _given(filters)))

    async def get(self, monitor_id: int) -> Monitor:
        """One monitor with all facts of its last scan (`monitor/get`)."""
        found = self._monitor(await self.read("monitor/get", {"id": str(monitor_id)}))
        return _about(found, found.id == monitor_id)

    async def add(
        self, target: Target | str, proxy: Proxy | None = None, protocol: str = ""
    ) -> Monitor:
        """Add a monitor for a host and port, or for a URL as text, and scan it (`monitor/add`).

        `protocol` names the STARTTLS protocol to use before TLS, if the API has `Extra.PROTOCOL`;
        empty for none.
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
        found = self._monitor(fields, written=True)
        meant = not isinstance(target, Target) or found.target == target
        return _about(found, meant, written=True)

    async def scan(self, monitor_id: int, *, alone: bool = False) -> Monitor:
        """Scan a monitor now, and return the result (`monitor/scan`).

        Concurrent callers for the same monitor share one scan: those of one process, and, unless
        `alone`, those of all processes.
        """

        async def scanned() -> Monitor:
            query = {"id": str(monitor_id)}
            async with nullcontext(False) if alone else self.turn(monitor_id) as joined:
                if joined:
                    self._changes += 1
                    return await self.get(monitor_id)
                fields = await self._write("monitor/scan", query, self._scan_deadline)
                found = self._monitor(fields, written=True)
                return _about(found, found.id == monitor_id, written=True)

        return await self._share(("monitor/scan", str(monitor_id)), scanned)

    async def delete(self, monitor_id: int) -> None:
        """Delete a monitor (`monitor/delete`)."""
        fields = await self._write("monitor/delete", {"id": str(monitor_id)}, self._deadline)
        answered(fields, written=True)

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Fields:
        """Send a request that changes nothing; retry if that may help."""
        return (await self._asked(path, query or {}))[0]

    async def _asked(self, path: str, given: Mapping[str, str]) -> tuple[Fields, datetime]:
        """The reply to a read, and when it was first asked for.

        Identical concurrent requests are sent once, unless something was changed since.
        """

        async def asked() -> tuple[Fields, datetime]:
            at, ask = self._clock(), Ask(path, given)
            return await self.again(lambda: self._request(self._session, ask, self._deadline)), at

        words = (f"{k}={v}" for k, v in sorted(given.items()))
        return await self._share((path, str(self._changes), *words), asked)

    async def _share(self, key: tuple[str, ...], ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `ask`, or of the same request if that is in progress.

        If one caller is cancelled, the others still get the result.
        """
        task: asyncio.Task[T] | None = self._shared.get(key)
        if task is None:
            task = self._shared[key] = asyncio.create_task(ask())
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: tuple[str, ...], task: asyncio.Task[Any]) -> None:
        del self._shared[key]
        if not task.cancelled():
            task.exception()  # the callers see it, unless all were cancelled

    async def close(self) -> None:
        """Break off the questions that are under way; those who asked were cancelled already."""
        tasks = list(self._shared.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def again(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Send a request; retry if that may help."""
        async for attempt in stamina.retry_context(
            on=self._worth_another_try,
            attempts=self._attempts,
            timeout=None,
            wait_initial=self._wait,
            wait_jitter=self._wait,
        ):
            with attempt:
                return await ask()
        raise AssertionError  # stamina raises the last attempt's error

    async def _write(self, path: str, params: Mapping[str, str], deadline: float) -> Fields:
        """Send a request for a change, at most once.

        It uses a new connection, which the server can't have closed meanwhile, and `_never_again`
        keeps aiohttp from repeating the request if the connection breaks nonetheless.
        """
        ask, sent = Ask(path, params, self._write_method), list[str]()

        async def note(*_: object) -> None:
            sent.append(path)

        async with used_once(note, trust_env=self._session.trust_env) as session:
            try:
                return await self._request(session, ask, deadline)
            except APIUnreachable as error:
                error.maybe_done = bool(sent) and not isinstance(error, Misdirected)
                raise
            except APIRefused as error:
                error.maybe_done = error.code >= 500  # it may have failed after the change
                raise
            finally:
                self._changes += 1

    async def _request(self, session: aiohttp.ClientSession, ask: Ask, deadline: float) -> Fields:
        reply = await self._send(session, ask, deadline)
        await asyncio.sleep(0)  # reading a long body took a while, and decoding it takes as long
        with suppress(ValueError, RecursionError):
            fields = msgspec.json.decode(reply.body, type=Fields)
            if fields.get("success") == _SUCCESS and "code" not in fields:
                return fields  # the documented form; `judge` reads all others
        password = ask.params.get("proxy_password", "")
        hide = [self._key, password, quote(password, safe="")]
        return judge(reply, hide=hide, of_one="id" in ask.params)

    async def fetch(self, path: str) -> Reply:
        """Read a public document, without the key, and whatever its status."""
        return await self._send(self._session, Ask(path, {}, with_key=False), self._deadline)

    async def try_once(self, path: str, query: Mapping[str, str]) -> Fields:
        """Request a scan that stores nothing; never retried."""
        return await self._request(self._session, Ask(path, query), self._scan_deadline)

    async def _send(self, session: aiohttp.ClientSession, ask: Ask, deadline: float) -> Reply:
        if self._in_flight >= MOST_IN_FLIGHT:
            raise APIUnreachable(
                f"The bot is waiting for {MOST_IN_FLIGHT} other answers from the SSLmonitor API."
            )
        sending = self._sending(session, ask)
        try:
            async with self._counted(ask.path), asyncio.timeout(deadline), sending as response:
                after = response.headers.get("Retry-After")
                wait = seconds(after, self._clock()) if after else None
                reply = Reply(response.status, await _read_body(response), wait)
        except (TimeoutError, OSError, aiohttp.ClientError, HttpProcessingError) as error:
            # not chained: aiohttp's texts may quote the query
            self.fault = what_happened(error, deadline)
            raise APIUnreachable(self.fault) from None
        self.fault = "" if reply.status < 500 else f"HTTP status {reply.status}"
        log.debug("%s %s: %d", ask.method, ask.path, reply.status)
        return reply

    def _sending(
        self, session: aiohttp.ClientSession, ask: Ask
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        in_body = ask.method == "POST"
        query = "" if in_body or not ask.params else f"?{urlencode(ask.params, quote_via=quote)}"
        headers = {"User-Agent": f"sslmonitor-bot/{__version__}"}
        if ask.with_key:
            headers["Authorization"] = f"Bearer {self._key}"
        return session.request(
            ask.method,
            URL(f"{self._url}/{ask.path}{query}", encoded=True),
            data=dict(ask.params) if in_body else None,
            headers=headers,
            allow_redirects=False,  # the key must not travel
            ssl=self._tls or True,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    @asynccontextmanager
    async def _counted(self, path: str) -> AsyncIterator[None]:
        """Count a request while it is in flight, and record how long it took."""
        began, outcome = time.perf_counter(), "unreachable"
        self._in_flight += 1
        try:
            yield
            outcome = "answered"
        finally:
            self._in_flight -= 1
            if self._timing:
                self._timing(path, outcome).observe(time.perf_counter() - began)

    def _worth_another_try(self, error: Exception) -> bool | float:
        """Whether a read may be retried, and after how many seconds if the server said so."""
        if isinstance(error, APIRefused):
            if error.code != 429 and error.code < 500:
                return False
        elif not isinstance(error, APIUnreachable) or isinstance(error, Misdirected):
            return False
        wait = error.retry_after
        return True if wait is None else wait <= self._deadline and wait

    def _monitor(self, fields: Fields, *, written: bool = False) -> Monitor:
        return readable(
            "monitor", lambda: read_monitor(fields["monitor"], self.offset), written=written
        )

    async def _read_rows(self, fields: Fields, asked: datetime | None = None) -> MonitorList:
        """Decode the rows of monitor/list, a few at a time; unreadable ones are counted."""
        await asyncio.sleep(0)
        count = count_of(fields)
        rows = raw_rows(fields, count)
        read, first = MonitorList(), dict[int, MonitorSummary]()
        lost, twice, which, again = 0, 0, "", ""
        for start in range(0, len(rows), ROWS_AT_ONCE):
            await asyncio.sleep(0)
            for row in rows[start : start + ROWS_AT_ONCE]:
                try:
                    summary = read_summary(row, self.offset, asked)
                except (ValueError, RecursionError) as fault:
                    lost += 1
                    which = which or lost_row(row, fault)
                    continue
                known = first.setdefault(summary.id, summary)  # one ID, one monitor
                if known is summary:
                    read.append(summary)
                else:
                    again = again or f"several rows have the ID {summary.id}"
                    twice += known != summary
        read.unreadable = max(lost + twice, (count or 0) - len(read))
        read.incomplete, read.asked = read.unreadable > lost, asked
        if read.unreadable:
            lost, missing = read.unreadable, max(0, (count or 0) - len(rows))
            who = "they" if missing == lost else missing
            unlisted = f"{who} are counted, but not listed" if missing else ""
            why = "; ".join(filter(None, (which, again, unlisted)))
            of = lost + len(read)
            log.warning("Could not read %d of %d monitors in monitor/list: %s", lost, of, why)
        return read


def _given(params: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if value is not None}


def _about(found: Monitor, meant: bool, *, written: bool = False) -> Monitor:
    """The monitor of a reply. Raises APIUnreachable if it isn't the one that was meant."""
    if not meant:
        raise APIUnreachable(
            f"The SSLmonitor API's answer is about another monitor, #{found.id}.",
            maybe_done=written,
        )
    return found


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise APIUnreachable("The SSLmonitor API's answer is too long to be read.")
    return bytes(body)
