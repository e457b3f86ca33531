"""Scans through a local HTTP proxy, and through servers that are not proxies."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.proxy import HTTPProxy
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict
from bot.target import Target

from . import fleet as fleets
from .fleet import DAY, NOW, Fleet, Leaf

SECRET = "p:äss wörd"


@dataclass
class ProxyServer:
    """An HTTP proxy that resolves all names to 127.0.0.1 and demands its credentials, if any."""

    credentials: str = ""
    heads: list[str] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        self.heads.append(head)
        expected = base64.b64encode(self.credentials.encode()).decode()
        if self.credentials and f"Proxy-Authorization: Basic {expected}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        port = int(head.split(" ")[1].rpartition(":")[2])
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops")
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
        directions = [(reader, inner_writer), (inner_reader, writer)]
        try:
            await asyncio.gather(*(_forward(*each) for each in directions))
        finally:
            inner_writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        async with fleets.serve(self.talk) as port:
            yield port


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def never(_host: str, _port: int) -> list[str]:
    raise AssertionError("the proxy resolves the target's name")


def guard(allow: str = "127.0.0.1", deny: str = "") -> Guard:
    table = {"proxy.test": "127.0.0.1"}
    return Guard(parse_allow(allow), table, never, deny=parse_allow(deny))


async def scan(
    trust: Trust,
    target: Target,
    proxy: HTTPProxy,
    rules: Guard | None = None,
    *,
    deadline: float = 5,
) -> Scan:
    return await Scanner(rules or guard(), trust, deadline).scan(target, NOW, proxy=proxy)


async def test_hosts_behind_a_proxy_are_scanned(fleet: Fleet, trust: Trust) -> None:
    server = ProxyServer(f"user:{SECRET}")
    async with server.serving() as proxy_port, fleet.tls() as port:
        proxy = HTTPProxy("proxy.test", proxy_port, "user", SECRET)
        result = await scan(trust, Target("fleet.test", port), proxy)
    assert (result.message, result.host_match, result.page.title) == ("Valid", True, "Fleet")
    assert (result.ip, result.ip_rev, result.ip_geo) == ("", "", "")
    (head,) = server.heads
    assert head.startswith(f"CONNECT fleet.test:{port} HTTP/1.1\r\nHost: fleet.test:{port}\r\n")
    assert SECRET not in repr(proxy)

    server = ProxyServer()
    async with server.serving() as proxy_port, fleet.tls(Leaf(left=-DAY)) as port:
        result = await scan(trust, Target("fleet.test", port), HTTPProxy("127.0.0.1", proxy_port))
    assert result.message == "Expired 2027-01-14"
    assert "Proxy-Authorization" not in server.heads[0]

    server = ProxyServer()
    async with server.serving() as proxy_port, fleet.tls(Leaf(names=("127.0.0.1",))) as port:
        result = await scan(trust, Target("127.0.0.1", port), HTTPProxy("127.0.0.1", proxy_port))
    assert (result.message, result.ip) == ("Valid", "127.0.0.1")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection without an answer"),
        (b"220 mail.test ESMTP\r\n\r\n", "did not answer like an HTTP proxy"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "did not answer like an HTTP proxy"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "did not answer like an HTTP proxy"),
    ],
)
async def test_a_server_that_is_no_proxy_is_told(trust: Trust, answer: bytes, message: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with fleets.serve(talk) as proxy_port:
        result = await scan(trust, Target("fleet.test"), HTTPProxy("127.0.0.1", proxy_port))
    assert (result.verdict, result.message) == (
        Verdict.PROXY,
        f"The proxy 127.0.0.1:{proxy_port} {message}",
    )


@pytest.mark.slow
async def test_a_silent_proxy_or_target_is_cut_off_by_the_deadline(trust: Trust) -> None:
    async with fleets.serve(fleets.hang) as proxy_port:
        result = await scan(
            trust, Target("fleet.test"), HTTPProxy("127.0.0.1", proxy_port), deadline=0.1
        )
    assert result.message.endswith(f"{proxy_port} did not answer before the scan timed out")

    async with ProxyServer().serving() as proxy_port, fleets.serve(fleets.hang) as port:
        proxy = HTTPProxy("127.0.0.1", proxy_port)
        result = await scan(trust, Target("fleet.test", port), proxy, deadline=0.3)
    assert result.verdict is Verdict.TIMED_OUT


async def test_what_is_wrong_with_a_proxy_is_reported(trust: Trust) -> None:
    async with fleets.refuse() as proxy_port:
        result = await scan(trust, Target("fleet.test"), HTTPProxy("127.0.0.1", proxy_port))
    assert result.message == f"The proxy 127.0.0.1:{proxy_port} could not be reached"

    async with ProxyServer("user:right").serving() as proxy_port:
        result = await scan(
            trust, Target("fleet.test"), HTTPProxy("127.0.0.1", proxy_port, "user", "wrong")
        )
    assert (result.verdict, result.message, result.leaf) == (
        Verdict.PROXY,
        f"The proxy 127.0.0.1:{proxy_port} answered 407",
        None,
    )

    async with ProxyServer().serving() as proxy_port, fleets.refuse() as port:
        result = await scan(trust, Target("fleet.test", port), HTTPProxy("127.0.0.1", proxy_port))
    assert result.message == f"The proxy 127.0.0.1:{proxy_port} answered 502"

    async def nothing(_host: str, _port: int) -> list[str]:
        return []

    rules = Guard(look_up=nothing)
    result = await scan(trust, Target("fleet.test"), HTTPProxy("gone.test", 3128), rules)
    said = "The proxy gone.test:3128 could not be resolved"
    assert (result.verdict, result.message) == (Verdict.PROXY, said)


@pytest.mark.parametrize(
    ("target", "proxy", "rules"),
    [
        (Target("fleet.test"), "127.0.0.1", guard(allow="")),
        (Target("fleet.test"), "proxy.test", guard(allow="")),
        (Target("fleet.test"), "127.0.0.1", guard(deny="127.0.0.1")),
        (Target("fleet.test"), "127.0.0.1", guard(deny="fleet.test")),
        (Target("fleet.test"), "169.254.169.254", guard(allow="0.0.0.0/0")),
        (Target("127.0.0.2"), "127.0.0.1", guard()),
        (Target("localhost"), "127.0.0.1", guard()),
        (Target("app.localhost"), "127.0.0.1", guard(allow="127.0.0.0/8")),
        (Target(socket.gethostname().lower()), "127.0.0.1", guard()),
        (Target("metadata.google.internal", 80), "127.0.0.1", guard(allow="0.0.0.0/0")),
        (Target("instance-data", 80), "127.0.0.1", guard(allow="instance-data,0.0.0.0/0")),
        (Target("169.254.169.254", 80), "127.0.0.1", guard(allow="0.0.0.0/0")),
        (Target("::ffff:169.254.169.254", 80), "127.0.0.1", guard(allow="0.0.0.0/0,::/0")),
    ],
)
async def test_a_forbidden_proxy_or_target_is_not_dialed(
    trust: Trust, target: Target, proxy: str, rules: Guard
) -> None:
    server = ProxyServer()
    async with server.serving() as proxy_port:
        result = await scan(trust, target, HTTPProxy(proxy, proxy_port), rules)
    assert result.verdict is Verdict.FORBIDDEN
    assert result.message == "The address is refused by this server's rules"
    assert server.heads == []


async def test_starttls_works_through_a_proxy(fleet: Fleet, trust: Trust) -> None:
    context = fleet.context(fleet.file(Leaf()))

    async def postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        await fleets.shake_hands(context, reader, writer)

    async with ProxyServer().serving() as proxy_port, fleets.serve(postgres) as port:
        result = await Scanner(guard(), trust).scan(
            Target("fleet.test", port),
            NOW,
            protocol="postgres",
            proxy=HTTPProxy("127.0.0.1", proxy_port),
        )
    assert result.message == "Valid"
