"""Malformed answers by the thousand, cut, garbled, oversized or endless: all are verdicts."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import itertools
import os
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.starttls import PROTOCOLS
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict
from bot.target import Target

from . import fleet as fleets
from .fleet import NOW, PAGE, Fleet, Leaf

AT_ONCE = 25
DEADLINE = 0.2
#: A sentence of ours, and nothing that OpenSSL writes for those who debug it (`error:0A0000C6:…`,
#: `SSL routines`, `_ssl.c:1006`).
WORDS = re.compile(r"(?!.*(error:|routines|\.c:|\bSSL_))[A-Z].*[^\s:.]")

_PAGES = (
    PAGE,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<titl\r\n3\r\ne>x\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"<title>x</title>" * 99),
    b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /\r\nSet-Cookie: a\r\n\r\n",
)
_GREETINGS = (
    b"220-x\r\n220 x\r\n",
    b"250-x\r\n250 STARTTLS\r\n",
    b"* OK x\r\n",
    b"+OK\r\n",
    bytes.fromhex("300c02010178070a010004000400"),
    b"\x30\0\0\0\x0a8.0\0" + bytes(8) + b"\0\xff\xff" + bytes(27),
    b"S",
)


def garbled(good: bytes, random: Random) -> bytes:
    """`good` with one thing wrong with it, or several."""
    data = bytearray(good)
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(data) + 1)
        match random.randrange(7):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = random.randbytes(random.randrange(1, 40))
            case 2 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 3:
                del data[at : at + random.randrange(1, 40)]
            case 4:
                data[at : at + 2] = b"\xff\xff"  # most lengths are two bytes
            case 5:
                data[at:at] = data[:at] * random.randrange(1, 4)
            case _:
                data[at:at] = bytes([random.randrange(256)]) * random.choice((10, 10, 70_000))
    return bytes(data)


async def end(
    random: Random, last: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Hang up, say nothing more, reset, or go on for ever."""
    match random.randrange(10):
        case 0:
            await reader.read()
        case 1:
            writer.transport.abort()
        case 2:
            piece = (last or b"\x16")[-2000:]
            gone = asyncio.ensure_future(reader.read())
            while not (await asyncio.wait([gone], timeout=0.02))[0]:
                writer.write(piece)
            gone.exception()  # it is of no interest
        case _:
            await writer.drain()


def in_tls(context: ssl.SSLContext, numbers: itertools.count[int]) -> fleets.Talk:
    """A server that garbles what a good one says in its handshake."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        random = Random(next(numbers))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        wrong_at = random.randrange(3)
        said = b""
        for turn in range(3):
            incoming.write(await reader.read(65536))
            with contextlib.suppress(ssl.SSLError):
                tls.do_handshake()
            said = outgoing.read()
            writer.write(garbled(said, random) if turn == wrong_at else said)
            if turn == wrong_at:
                break
        await end(random, said, reader, writer)

    return talk


def in_http(numbers: itertools.count[int]) -> fleets.Talk:
    """A web server that garbles its answers."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        random = Random(next(numbers))
        await reader.readuntil(b"\r\n\r\n")
        answer = garbled(random.choice(_PAGES), random)
        writer.write(answer)
        await end(random, answer, reader, writer)

    return talk


def in_the_clear(numbers: itertools.count[int]) -> fleets.Talk:
    """A server that garbles its greetings, or says what it likes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        random = Random(next(numbers))
        said = b""
        for _ in range(random.randrange(1, 4)):
            said = random.choice((*_GREETINGS, random.randbytes(random.randrange(200))))
            writer.write(garbled(said, random) if random.randrange(2) else said)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await reader.read(1000)
        await end(random, said, reader, writer)

    return talk


async def scans(
    trust: Trust, port: int, count: int, protocol_of: Callable[[int], str] = lambda _: ""
) -> list[Scan]:
    """Scan one target `count` times, many at once."""
    guard = Guard(parse_allow("127.0.0.1"), {"fleet.test": "127.0.0.1"})
    scanner = Scanner(guard, trust, DEADLINE)
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Scan:
        async with slots:
            protocol = protocol_of(number)
            return await scanner.scan(Target("fleet.test", port), NOW, protocol=protocol)

    return await asyncio.gather(*map(one, range(count)))


def of_the_server(task: asyncio.Task[object]) -> bool:
    """Say whether a task is a visit of the test's server, or what such a visit waits for."""
    return any(its in str(task) for its in ("coro=<serve.<locals>.visit()", "coro=<StreamReader."))


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a listing of numbers, not of paths


async def outcome(
    serving: fleets.Serving, scan: Callable[[int], Awaitable[list[Scan]]]
) -> Counter[Verdict]:
    """The verdicts of all scans; no task and no open file is left of them."""
    before, tasks = open_files(), asyncio.all_tasks()
    async with serving as port:
        found = await scan(port)
        left = asyncio.all_tasks() - tasks
    assert [task for task in left if not of_the_server(task)] == []
    if others := asyncio.all_tasks() - tasks:  # of visits that had just begun
        assert not (await asyncio.wait(others, timeout=5))[1]
    assert open_files() == before
    odd = [each.message for each in found if not WORDS.fullmatch(each.message)]
    assert odd == []
    return Counter(each.verdict for each in found)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_malformed_handshakes_become_verdicts(
    fleet: Fleet, trust: Trust, newest: ssl.TLSVersion
) -> None:
    context = fleet.context(fleet.file(Leaf()))
    context.maximum_version = newest
    talk = in_tls(context, itertools.count(1000))
    found = await outcome(fleets.serve(talk), lambda port: scans(trust, port, 500))
    assert found.total() == 500
    assert {Verdict.HANDSHAKE_FAILED, Verdict.CLOSED, Verdict.TIMED_OUT} < set(found)


async def test_malformed_pages_become_verdicts(fleet: Fleet, trust: Trust) -> None:
    context = fleet.context(fleet.file(Leaf()))
    serving = fleets.serve(in_http(itertools.count(2000)), context=context)
    found = await outcome(serving, lambda port: scans(trust, port, 700))
    assert found.total() == 700
    assert set(found) <= {Verdict.VALID, Verdict.TIMED_OUT}  # the latter on a busy machine
    assert found[Verdict.VALID] > 350


async def test_malformed_greetings_become_verdicts(trust: Trust) -> None:
    protocols = itertools.cycle(["", *PROTOCOLS])
    serving = fleets.serve(in_the_clear(itertools.count(3000)))
    found = await outcome(serving, lambda port: scans(trust, port, 300, lambda _: next(protocols)))
    assert found.total() == 300
    assert {Verdict.NO_STARTTLS, Verdict.NOT_TLS} < set(found)
