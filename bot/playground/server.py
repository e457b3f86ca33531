"""The web server: Web API, response URLs, uploads, Socket Mode, and the page with its events."""

from __future__ import annotations

from ipaddress import ip_address

from aiohttp import web

from bot.playground.page_api import PageAPI, guard
from bot.playground.people import People
from bot.playground.web_api.methods import WebAPI
from bot.playground.web_api.response_urls import ResponseUrls


class Server:
    """Listens on one port for the app and for people."""

    def __init__(self, people: People) -> None:
        self.url = ""
        self._people = people
        self._page = PageAPI(people)
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen; `url` is known afterwards."""
        runner = web.AppRunner(
            self._app(), handler_cancellation=True, shutdown_timeout=0.2, access_log=None
        )
        self._runner = runner
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        self.url = _url(*runner.addresses[0][:2])

    async def close(self) -> None:
        """Stop listening."""
        self._page.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _app(self) -> web.Application:
        there = self._people
        api = WebAPI(there.app, there.workspace, there.tickets)
        answers = ResponseUrls(there.workspace, there.tickets)
        app = web.Application(middlewares=[guard], client_max_size=20 * 1024 * 1024)
        app.add_routes(
            [
                web.get("/api/{method}", api.handle),
                web.post("/api/{method}", api.handle),
                web.post("/response/{word}", answers.handle),
                web.post("/upload/{file_id}", self._upload),
                web.get("/link/", there.delivery.handle_socket),
                *self._page.routes(),
            ]
        )
        return app

    async def _upload(self, request: web.Request) -> web.Response:
        """Take a file's bytes, as many as were announced."""
        file = self._people.workspace.files.get(request.match_info["file_id"])
        body = await request.read()
        if file is None or file["content"] is not None:
            return web.Response(status=404, text="not found")
        if len(body) != file["size"]:
            return web.Response(status=400, text="the length is not what was announced")
        file["content"] = body
        return web.Response(text=f"OK - {len(body)}")


def _url(host: str, port: int) -> str:
    """Return the address to use on this machine, for a wildcard address too."""
    address = ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
