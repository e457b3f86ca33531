"""An HTTP server with a limit on connections and a deadline for requests.

aiohttp has neither, and asyncio's accept loop logs a traceback for each connection above the file
limit. Slow or incomplete requests must not keep people on call from their bot.
"""

import asyncio
import logging
import resource
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

log = logging.getLogger(__name__)

#: The most concurrent connections, but never more than half of the process's file limit.
MOST_CONNECTIONS = 512
#: How long a connection may be idle or send an incomplete head, and how long a body may take.
PATIENCE_SECONDS = 10.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def most_connections() -> int:
    """The limit of this process: MOST_CONNECTIONS, or less if its file limit is low."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, soft // 2)


class _Refusal(asyncio.Protocol):
    """Closes a connection that can't be served now."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _NoBadRequests(logging.Filter):
    """Drops the tracebacks that aiohttp logs for requests that are not HTTP."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


class Server:
    """Serves an application. `patience` and `most` are for tests."""

    def __init__(
        self,
        application: web.Application,
        *,
        logger: logging.Logger = log,
        patience: float = PATIENCE_SECONDS,
        most: int | None = None,
    ) -> None:
        self._patience = patience
        self._most = most_connections() if most is None else most
        self._idle: dict[RequestHandler, int] = {}
        application.middlewares.insert(0, self._read_in_time)
        if not any(isinstance(each, _NoBadRequests) for each in logger.filters):
            logger.addFilter(_NoBadRequests())
        self._runner = web.AppRunner(  # no client of ours compresses what it sends
            application, access_log=None, logger=logger, shutdown_timeout=1.0, auto_decompress=False
        )
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the address and the port, which may have been 0. Raises OSError."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port, backlog=self._most)
        self._sweeper = asyncio.create_task(self._sweep())
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    async def close(self) -> None:
        """Stop listening; requests in progress get one more second."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _accept(self) -> asyncio.Protocol:
        """A protocol for a new connection; above the limit, the oldest idle one makes room."""
        server = self._runner.server
        if server is None:  # the server is closing
            return _Refusal()
        connections = server.connections
        if len(connections) >= self._most:
            idle = next(filter(_is_idle, connections), None)
            if idle is None:
                return _Refusal()
            idle.force_close()
            if idle.transport is not None:
                idle.transport.close()
        handler: asyncio.Protocol = server()
        return handler

    async def _sweep(self) -> None:
        """Close connections that have sent no complete head for `patience` seconds."""
        while True:
            await asyncio.sleep(self._patience / 2)
            server = self._runner.server
            if server is None:
                return
            idle = {
                each: self._idle.get(each, 0) + 1 for each in server.connections if _is_idle(each)
            }
            for handler, looks in list(idle.items()):
                if looks > 2 and handler.transport is not None:
                    handler.transport.close()
                    del idle[handler]
            self._idle = idle

    @web.middleware
    async def _read_in_time(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Read the whole body before calling the handler; one that takes too long gets 408.

        One that breaks off gets 400, though probably nobody is left to read it.
        """
        try:
            async with asyncio.timeout(self._patience):
                await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except (ConnectionError, web.RequestPayloadError):
            raise web.HTTPBadRequest from None
        return await handler(request)


def _is_idle(handler: RequestHandler) -> bool:
    """Whether a connection is between two requests, or has sent an incomplete head."""
    return handler._current_request is None  # noqa: SLF001 - aiohttp tells it in no other way
