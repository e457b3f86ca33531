"""A bot whose only way out is an HTTP proxy, in a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import pytest

from bot.playground.objects import BEN
from tests.client_wire import close
from tests.processes import bot_process
from tests.world import MakeWorld

pytestmark = pytest.mark.slow


@dataclass
class Proxy:
    """An HTTP proxy for which every name is this machine; `asked` are the hosts asked for."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection: a tunnel (CONNECT), or requests with a whole URL."""
        self.writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, address, _ = head.decode("latin-1").split(" ", 2)
            url = urlsplit(address if "://" in address else f"//{address}")
            self.asked.append(str(url.hostname))
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", url.port)
            self.writers.append(inner_writer)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                inner_writer.write(_for_origin(head, url))
            await asyncio.gather(_pass(reader, inner_writer), _pass(inner_reader, writer))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Listen; gives the proxy's URL."""
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{self.port}"
        finally:
            await close(server, self.writers)


def _for_origin(head: bytes, url: SplitResult) -> bytes:
    """A request as its server takes it; one a connection, so that no other needs rewriting."""
    lines = head.decode("latin-1").split("\r\n")
    path = f"{url.path}?{url.query}" if url.query else url.path
    kept = [line for line in lines[1:] if not line.lower().startswith("host:")]
    if not any(line.lower().startswith("upgrade:") for line in kept):
        kept = [line for line in kept if not line.lower().startswith("connection:")]
        kept.insert(0, "Connection: close")
    kept.insert(0, f"Host: 127.0.0.1:{url.port}")
    return "\r\n".join([f"{lines[0].split(' ')[0]} {path} HTTP/1.1", *kept]).encode("latin-1")


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_slack_and_the_api_are_reached_through_the_proxy_alone(
    make_world: MakeWorld, mode: str, tmp_path: Path
) -> None:
    """`slack.example.com` and `api.example.com` are names that only the proxy can resolve."""
    proxy = Proxy()
    async with (
        make_world(mode=mode, bots=0) as world,
        proxy.serving() as url,
    ):
        world.api.add("a.demo.test", days=80)
        port = urlsplit(world.playground.url).port
        slack = f"http://slack.example.com:{port}/"
        world.playground.url = world.playground.payloads.url = slack
        api = world.api.url.replace("127.0.0.1", "api.example.com")
        variables = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": "127.0.0.1"}
        async with bot_process(
            world,
            tmp_path / "bot.sqlite3",
            SSLMONITOR_API_URL=api,
            SSLMONITOR_API_ALLOW_HTTP="1",
            **variables,
        ):
            await world.ask("/ssl status a.demo.test", "OK", "a.demo.test")
            await world.ask("@SSLmonitor status a.demo.test", "OK", "a.demo.test", seen_by=BEN)
    assert set(proxy.asked) == {"slack.example.com", "api.example.com"}


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_a_host_of_no_proxy_is_contacted_directly_even_slacks(
    make_world: MakeWorld, mode: str, tmp_path: Path
) -> None:
    proxy = Proxy()
    async with (
        make_world(mode=mode, bots=0) as world,
        proxy.serving() as url,
    ):
        world.api.add("a.demo.test", days=80)
        variables = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": "127.0.0.1"}
        async with bot_process(world, tmp_path / "bot.sqlite3", **variables):
            await world.ask("/ssl status a.demo.test", "OK", "a.demo.test")
    assert proxy.asked == []


async def test_the_embedded_api_is_asked_directly(make_world: MakeWorld, tmp_path: Path) -> None:
    proxy = Proxy()
    async with (
        make_world(bots=0) as world,
        proxy.serving() as url,
    ):
        slack = world.playground.url.replace("127.0.0.1", "slack.example.com")
        world.playground.url = world.playground.payloads.url = slack
        own = {"SSLMONITOR_API_URL": "", "SSLMONITOR_API_KEY": ""}
        variables = {"HTTP_PROXY": url} | own
        async with bot_process(world, tmp_path / "bot.sqlite3", **variables):
            await world.ask("/ssl list", "There are no monitors yet")
    assert set(proxy.asked) == {"slack.example.com"}
