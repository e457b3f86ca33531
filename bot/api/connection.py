"""One HTTP request to the SSLmonitor API: sent with the key, answered in full or not at all."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from bot import __version__
from bot.api.reply import Reply, seconds
from bot.errors import APIUnreachable

log = logging.getLogger(__name__)

MAX_BODY = 64 * 2**20  # bytes: 100,000 rows of monitor/list are half of it
#: Above this many requests at a time, askers are told that the bot is busy.
MOST_IN_FLIGHT = 50


class Seconds(Protocol):
    """What is told how long a request took, such as a Prometheus histogram."""

    def observe(self, amount: float) -> None:
        """Add a request."""


#: Gives it for an endpoint and `answered` or `unreachable`.
Timing = Callable[[str, str], Seconds]


class Connection:
    """Where the API is, the key, and how to connect. Its errors are APIUnreachable."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        clock: Callable[[], datetime],
        tls: ssl.SSLContext | None,
        trust_env: bool,
        timing: Timing | None,
    ) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._tls = tls
        self._trust_env = trust_env
        self._timing = timing
        self._in_flight = 0
        self.fault = ""

    @asynccontextmanager
    async def used_once(
        self, sent: Callable[..., Awaitable[None]]
    ) -> AsyncIterator[aiohttp.ClientSession]:
        """A session for one request that must not be repeated; `sent` runs once it was sent."""
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(sent)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=[_never_again],
            trace_configs=[trace],
            trust_env=self._trust_env,
        ) as session:
            yield session

    async def send(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        params: Mapping[str, str],
        deadline: float,
        *,
        key: bool = True,
    ) -> Reply:
        """Send it, with the key or without, and read the whole reply."""
        if self._in_flight >= MOST_IN_FLIGHT:
            raise APIUnreachable(
                f"The bot is waiting for {MOST_IN_FLIGHT} other answers from the SSLmonitor API."
            )
        encoded = urlencode(params, quote_via=quote)
        in_body = method == "POST"
        query = f"?{encoded}" if encoded and not in_body else ""
        headers = {"User-Agent": f"sslmonitor-bot/{__version__}"}
        if key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            async with (
                self._counted(path),
                asyncio.timeout(deadline),
                session.request(
                    method,
                    URL(f"{self._url}/{path}{query}", encoded=True),
                    data=dict(params) if in_body else None,
                    headers=headers,
                    allow_redirects=False,  # the key must not travel
                    ssl=self._tls or True,
                    timeout=aiohttp.ClientTimeout(total=None),
                ) as response,
            ):
                reply = Reply(
                    response.status,
                    await _read_body(response),
                    self._retry_after(response),
                )
        except (TimeoutError, OSError, aiohttp.ClientError, HttpProcessingError) as error:
            # Not chained: aiohttp's texts may quote the query.
            self.fault = _what_happened(error, deadline)
            raise APIUnreachable(self.fault) from None
        self.fault = "" if reply.status < 500 else f"HTTP status {reply.status}"
        log.debug("%s %s: %d", method, path, reply.status)
        return reply

    @asynccontextmanager
    async def _counted(self, path: str) -> AsyncIterator[None]:
        """Count a request as long as it is under way, and how long it took."""
        began, outcome = time.perf_counter(), "unreachable"
        self._in_flight += 1
        try:
            yield
            outcome = "answered"
        finally:
            self._in_flight -= 1
            if self._timing:
                self._timing(path, outcome).observe(time.perf_counter() - began)

    def _retry_after(self, response: aiohttp.ClientResponse) -> float | None:
        text = response.headers.get("Retry-After")
        return seconds(text, self._clock()) if text else None


async def _never_again(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turn a broken connection into an error that aiohttp does not answer by sending again.

    aiohttp repeats every idempotent request once, and a GET is one to it, even on a connection
    that was never used before (RFC 9112, section 9.3.1; `ClientSession._request`).
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent, and aiohttp does not repeat it
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientPayloadError(type(error).__name__) from None


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise APIUnreachable("The SSLmonitor API's answer is too long to be read.")
    return bytes(body)


def _what_happened(error: Exception, deadline: float) -> str:
    """A sentence for the reader, without the error's own text."""
    match error:
        case TimeoutError():
            return f"The SSLmonitor API did not answer within {deadline:g} seconds."
        case aiohttp.ClientConnectorDNSError():
            return "The SSLmonitor API's name could not be resolved."
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError():
            return "The SSLmonitor API's own certificate was not accepted."
        case aiohttp.ClientConnectorError():
            return "The SSLmonitor API could not be reached."
        case aiohttp.ClientResponseError():
            return "Something other than the SSLmonitor API answered. Check its address."
        case _:
            return "The connection to the SSLmonitor API broke off before its answer was complete."
