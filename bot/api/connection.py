"""A connection for one request that must not be sent twice, and why connections fail."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp


class Seconds(Protocol):
    """Records how long requests take, as a Prometheus histogram does."""

    def observe(self, amount: float) -> None:
        """Record a request that took `amount` seconds."""


#: Returns the recorder for an endpoint and an outcome: `answered` or `unreachable`.
Timing = Callable[[str, str], Seconds]


@asynccontextmanager
async def used_once(
    sent: Callable[..., Awaitable[None]], *, trust_env: bool
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for one request that must not be repeated; `sent` is called after sending it."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(sent)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=[_never_again],
        trace_configs=[trace],
        trust_env=trust_env,
    ) as session:
        yield session


async def _never_again(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turn a broken connection into an error after which aiohttp doesn't send the request again.

    aiohttp repeats any idempotent request once, and counts a GET as one, even on a connection that
    was never used before (RFC 9112, section 9.3.1; `ClientSession._request`).
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent, and aiohttp doesn't repeat it
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientPayloadError(type(error).__name__) from None


def what_happened(error: Exception, deadline: float) -> str:
    """What happened, as a sentence without the error's own text."""
    match error:
        case TimeoutError():
            said = f"did not answer within {deadline:g} seconds."
        case aiohttp.ClientConnectorDNSError():
            return "The SSLmonitor API's name could not be resolved."
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError():
            return "The SSLmonitor API's own certificate was not accepted."
        case aiohttp.ClientConnectorError():
            said = "could not be reached."
        case _ if "content-encoding" in str(error).lower():
            said = "sent an answer that could not be decompressed."
        case aiohttp.ClientResponseError():
            return "Something other than the SSLmonitor API answered. Check its address."
        case _:
            return "The connection to the SSLmonitor API broke off before its answer was complete."
    return f"The SSLmonitor API {said}"
