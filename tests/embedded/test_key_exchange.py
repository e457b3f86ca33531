"""Whether a server supports X25519MLKEM768: asked once a day, and told in monitor/get."""

import asyncio
import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from ipaddress import IPv4Address

import pytest
from OpenSSL import SSL

from bot.embedded.scan.certificate import UNASKED, KeyExchange
from bot.embedded.scan.connection import Connection
from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.messages import client_hello, supports
from bot.embedded.scan.proxy import HTTPProxy
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust, limit_groups
from bot.store.database import Database
from bot.target import Target

from . import fleet as fleets
from .fleet import DAY, NOW, Fleet, Leaf
from .serving import serving
from .test_proxy import ProxyServer

#: A fatal alert that a server sends if it has no group in common, and other ones.
HANDSHAKE_FAILURE = bytes.fromhex("15030300020228")
INSUFFICIENT_SECURITY = bytes.fromhex("15030300020247")
INTERNAL_ERROR = bytes.fromhex("15030300020250")
UNRECOGNIZED_NAME = bytes.fromhex("15030300020170")  # a warning, which is no answer
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def retry(group: int, random: bytes = RETRY) -> bytes:
    """A HelloRetryRequest that asks for a share of a group, in a record."""
    extensions = bytes.fromhex("002b0002030400330002") + group.to_bytes(2, "big")
    hello = b"\x03\x03" + random + b"\x20" + bytes(32) + b"\x13\x01\x00"
    hello += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x02" + len(hello).to_bytes(3, "big") + hello
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


def in_two_records(record: bytes) -> bytes:
    first, second = record[5:30], record[30:]
    return b"".join(b"\x16\x03\x03" + len(x).to_bytes(2, "big") + x for x in (first, second))


Visit = Callable[[socket.socket], None]


def modern(fleet: Fleet, groups: bytes = b"X25519MLKEM768:X25519", key: str = "ec") -> Visit:
    """A server that supports the group: `cryptography` brings OpenSSL 3.5 or newer."""
    path = str(fleet.file(Leaf(key=key)))
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    limit_groups(context, groups)
    context.use_privatekey_file(path)
    context.use_certificate_chain_file(path)

    def visit(visitor: socket.socket) -> None:
        tls = SSL.Connection(context, visitor)
        tls.set_accept_state()
        with contextlib.suppress(SSL.Error):
            tls.do_handshake()
            tls.recv(65536)
            tls.sendall(fleets.PAGE)
            tls.shutdown()

    return visit


def older(fleet: Fleet, newest: ssl.TLSVersion) -> Visit:
    """A server that knows older groups only; asyncio's servers would swallow the alert."""
    context = fleet.context(fleet.file(Leaf()))
    context.maximum_version = newest
    context.set_ecdh_curve("prime256v1")

    def visit(visitor: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(visitor, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(fleets.PAGE)

    return visit


@contextlib.asynccontextmanager
async def serve(visit: Visit) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve in a thread; yields the port, and the first bytes of each visit."""
    hellos: list[bytes] = []

    def work() -> None:
        while True:
            try:
                visitor, _ = listener.accept()
            except OSError:
                return
            with visitor:
                hellos.append(visitor.recv(65536, socket.MSG_PEEK))
                visit(visitor)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield listener.getsockname()[1], hellos
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            await asyncio.to_thread(thread.join)


def asks(hellos: list[bytes]) -> int:
    """How many of the visits offered the group and no share."""
    return sum(hello.endswith(bytes.fromhex("003300020000")) for hello in hellos)


async def scan(
    trust: Trust,
    port: int,
    known: KeyExchange | None = UNASKED,
    *,
    protocol: str = "",
    proxy: HTTPProxy | None = None,
    deadline: float = 5,
) -> Scan:
    guard = Guard(parse_allow("127.0.0.1"), {"fleet.test": "127.0.0.1", "proxy.test": "127.0.0.1"})
    target = Target("fleet.test", port)
    return await Scanner(guard, trust, deadline).scan(
        target, NOW, protocol=protocol, proxy=proxy, known=known
    )


def supported(result: Scan) -> bool | None:
    assert result.message == "Valid"
    assert result.key_exchange is not None
    return result.key_exchange.supported


@pytest.mark.parametrize("key", ["ec", "brainpool"])
async def test_servers_with_the_group_ask_for_a_share(key: str, fleet: Fleet, trust: Trust) -> None:
    async with serve(modern(fleet, key=key)) as (port, hellos):
        assert supported(await scan(trust, port)) is True
    assert (len(hellos), asks(hellos)) == (2, 1)


async def test_a_server_that_knows_no_other_group_is_valid(fleet: Fleet, trust: Trust) -> None:
    async with serve(modern(fleet, b"X25519MLKEM768")) as (port, _):
        result = await scan(trust, port)
    assert supported(result) is True
    assert (result.handshake.protocol, result.page.title) == ("TLSv1.3", "Fleet")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_other_servers_refuse_it(newest: ssl.TLSVersion, fleet: Fleet, trust: Trust) -> None:
    async with serve(older(fleet, newest)) as (port, hellos):
        assert supported(await scan(trust, port)) is False
    assert asks(hellos) == (newest is ssl.TLSVersion.TLSv1_3)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (retry(0x11EC), True),
        (UNRECOGNIZED_NAME + retry(0x11EC), True),
        (in_two_records(retry(0x11EC)), True),
        (HANDSHAKE_FAILURE, False),
        (INSUFFICIENT_SECURITY, False),
        (INTERNAL_ERROR, None),
        (retry(0x11EC, bytes(32)), None),
        (retry(0x001D), None),
        (retry(0x11EC)[:40], None),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None),
        (b"", None),
    ],
)
async def test_only_a_clear_answer_is_one(answer: bytes, told: bool | None) -> None:
    async with fleets.serve(fleets.say(answer)) as port:
        connection = await Connection.open(IPv4Address("127.0.0.1"), port)
        assert await supports(connection, "fleet.test") is told
        assert connection.sock.fileno() == -1


def test_an_address_is_not_sent_as_a_name() -> None:
    assert b"fleet.test" in client_hello("fleet.test")
    assert b"127.0.0.1" not in client_hello("127.0.0.1")


@pytest.mark.slow
async def test_a_server_that_hangs_there_keeps_its_verdict(fleet: Fleet, trust: Trust) -> None:
    context, visits = fleet.context(fleet.file(Leaf())), 0

    async def first_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        if visits > 1:
            await reader.read()
            await reader.read()
            return
        await fleets.shake_hands(context, reader, writer)

    async with fleets.serve(first_only) as port:
        result = await scan(trust, port, deadline=0.5)
    assert supported(result) is None
    assert visits == 2
    assert result.key_exchange
    assert result.key_exchange.holds(result.chain[0].fingerprint, NOW)  # it is not asked again soon


async def test_the_question_goes_through_starttls_and_the_proxy(fleet: Fleet, trust: Trust) -> None:
    """Each connection of a scan takes the way of the first."""
    context, server = fleet.context(fleet.file(Leaf())), ProxyServer()
    hellos = []

    async def imap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")
        await reader.readline()
        writer.write(b"a OK begin\r\n")
        if len(server.heads) == 1:
            await fleets.shake_hands(context, reader, writer)
            return
        hellos.append(await reader.read(65536))
        writer.write(retry(0x11EC))

    async with server.serving() as proxy_port, fleets.serve(imap) as port:
        proxy = HTTPProxy("proxy.test", proxy_port)
        result = await scan(trust, port, protocol="imap", proxy=proxy)
    assert supported(result) is True
    assert [head.split()[1] for head in server.heads] == [f"fleet.test:{port}"] * 2
    assert asks(hellos) == 1


async def test_it_is_asked_daily_and_of_new_certificates(fleet: Fleet, database: Database) -> None:
    async with serve(modern(fleet)) as (port, hellos), serving(fleet, database) as served:
        await served.add(port)
        counts = [asks(hellos)]
        for hours in (6, 6, 13):
            served.now += timedelta(hours=hours)
            await served.call("monitor/scan", id="1")
            counts.append(asks(hellos))
        got = (await served.call("monitor/get", id="1")).body["monitor"]
        await served.call("checks", host="fleet.test", port=str(port))
        assert asks(hellos) == counts[-1]  # a check that stores nothing doesn't ask
    assert counts == [1, 1, 1, 2]
    _, begin, rest = fleet.file(Leaf()).read_text().partition("-----BEGIN CERTIFICATE-----")
    leaf, end, _ = rest.partition("-----END CERTIFICATE-----")
    der = ssl.PEM_cert_to_DER_cert(begin + leaf + end)
    told = got["handshake"]
    assert told["x25519mlkem768"] is True
    assert told["fingerprint"] == hashlib.sha256(der).hexdigest()
    assert told["protocol"] == "TLSv1.3"


async def test_another_certificate_is_asked_about_at_once(fleet: Fleet, trust: Trust) -> None:
    async with serve(modern(fleet)) as (port, hellos):
        first = await scan(trust, port)
        assert asks(hellos) == 1
        again = await scan(trust, port, first.key_exchange)
        assert (again.key_exchange, asks(hellos)) == (first.key_exchange, 1)
        other = KeyExchange("00" * 32, NOW, supported=False)
        assert supported(await scan(trust, port, other)) is True
        assert asks(hellos) == 2
        old = KeyExchange(first.chain[0].fingerprint, NOW - DAY)
        assert supported(await scan(trust, port, old)) is True
        assert (await scan(trust, port, None)).key_exchange is None
    assert asks(hellos) == 3
