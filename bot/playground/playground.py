"""The playground as a whole: its people, and the server that they and the app talk to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bot.playground.app import App
from bot.playground.people import People
from bot.playground.server import Server


class Playground(People):
    """A small Slack on this machine; the app needs only its `api_url`."""

    def __init__(self, app: App, *, clock: Callable[[], datetime], ack_limit: float = 3.0) -> None:
        super().__init__(app, clock=clock, ack_limit=ack_limit)
        self._server = Server(self)

    @property
    def url(self) -> str:
        """Where the page is; ends in a slash."""
        return self._server.url

    @property
    def api_url(self) -> str:
        """What the app uses as SLACK_API_URL."""
        return f"{self.url}api/"

    @property
    def events_url(self) -> str | None:
        """Where the app takes requests, for HTTP mode; a websocket goes first."""
        return self.delivery.events_url

    @events_url.setter
    def events_url(self, url: str | None) -> None:
        self.delivery.events_url = url

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 picks a free one. Raises OSError where the port is taken."""
        await self.delivery.start()
        try:
            await self._server.start(host, port)
        except OSError:
            await self.close()
            raise
        self.payloads.url = self.url

    async def close(self) -> None:
        """Hang up and stop listening."""
        await self.delivery.close()
        await self._server.close()
