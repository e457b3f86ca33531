"""The playground as a whole: its people, and the web server that they and the app talk to."""

from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_address

from aiohttp import web

from bot.playground.app import App
from bot.playground.faults import Handler, inject
from bot.playground.page_api import PageAPI, loopback_only
from bot.playground.people import People
from bot.playground.web_api import files
from bot.playground.web_api.methods import WebAPI
from bot.playground.web_api.response_urls import ResponseUrls

MAX_BODY = 20 * 1024 * 1024
"""The largest request body, in bytes: a file."""


class Playground(People):
    """A small Slack on this machine; the app needs only its `api_url`."""

    def __init__(self, app: App, *, clock: Callable[[], datetime], ack_limit: float = 3.0) -> None:
        super().__init__(app, clock=clock, ack_limit=ack_limit)
        self.url = ""  # where the page is, ending in a slash, once the playground listens
        self._page = PageAPI(self)
        self._runner = web.AppRunner(
            self._web_app(), handler_cancellation=True, shutdown_timeout=0.2, access_log=None
        )

    @property
    def api_url(self) -> str:
        """The app's SLACK_API_URL."""
        return f"{self.url}api/"

    @property
    def events_url(self) -> str | None:
        """Where the app takes requests in HTTP mode; an open websocket takes precedence."""
        return self.delivery.events_url

    @events_url.setter
    def events_url(self, url: str | None) -> None:
        self.delivery.events_url = url

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 picks a free one. Raises OSError if the port is taken."""
        await self.delivery.start()
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self.close()
            raise
        self.url = self.payloads.url = _url(*self._runner.addresses[0][:2])

    async def close(self) -> None:
        """Close every connection and stop listening."""
        await self.delivery.close()
        self._page.close()
        await self._runner.cleanup()

    def _web_app(self) -> web.Application:
        api = WebAPI(self.app, self.workspace, self.tickets)
        answers = ResponseUrls(self.workspace, self.tickets)
        app = web.Application(middlewares=[loopback_only, self._faults], client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.get("/api/{method}", api.handle),
                web.post("/api/{method}", api.handle),
                web.post("/response/{secret}", answers.handle),
                web.post("/upload/{file_id}", self._upload),
                web.get("/link/", self.delivery.handle_socket),
                *self._page.routes(),
            ]
        )
        return app

    async def _upload(self, request: web.Request) -> web.Response:
        return await files.receive(self.workspace, request)

    @web.middleware
    async def _faults(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request go wrong if a test wants it to."""
        target = _fault_target(request)
        fault = self.workspace.faults.take(target)
        if fault is None:
            return await handler(request)
        if fault.prevents_effect:  # else the handler records the call
            self.workspace.record("in", target, {}, repr(fault))
        return await inject(fault, target, request, handler)


def _fault_target(request: web.Request) -> str:
    """Return the name by which tests inject faults into requests like this one."""
    names = {"response": "response_url", "upload": "upload", "link": "socket"}
    return request.match_info.get("method") or names.get(request.path.split("/")[1], "")


def _url(host: str, port: int) -> str:
    """Return the address to use on this machine, for a wildcard address too."""
    address = ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
