"""Malformed responses by the hundred (cut, garbled, oversized, endless) all become verdicts."""

import asyncio
import contextlib
import gc
import gzip
import itertools
import os
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from random import Random

import pytest

from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.starttls import PROTOCOLS
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict
from bot.target import Target
from tests.client_wire import slowdown

from . import fleet as fleets
from .fleet import NOW, PAGE, Fleet, Leaf

pytestmark = [pytest.mark.matrix, pytest.mark.slow]

CONCURRENCY = 25
DEADLINE = 0.2
#: A sentence of ours, without OpenSSL's debugging output (`error:0A0000C6:…`, `SSL routines`,
#: `_ssl.c:1006`).
SENTENCE = re.compile(r"(?!.*(error:|routines|\.c:|\bSSL_))[A-Z].*[^\s:.]")

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
    """`good` with one or several defects."""
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
    """Close, stay silent, reset, or send forever."""
    match random.randrange(10):
        case 0 | 3 | 4 | 5:
            await reader.read()
        case 1 | 6:
            writer.transport.abort()
        case 2:
            piece = (last or b"\x16")[-2000:]
            gone = asyncio.ensure_future(reader.read())
            while not (await asyncio.wait([gone], timeout=0.02))[0]:
                writer.write(piece)
            gone.exception()  # retrieved, and ignored
        case _:
            await writer.drain()


def in_tls(context: ssl.SSLContext, numbers: Iterator[int]) -> fleets.Talk:
    """A server that garbles its part of the handshake."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        random = Random(next(numbers))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        defect = random.randrange(3)
        flight = b""
        for number in range(3):
            incoming.write(await reader.read(65536))
            with contextlib.suppress(ssl.SSLError):
                tls.do_handshake()
            flight = outgoing.read()
            writer.write(garbled(flight, random) if number == defect else flight)
            if number == defect:
                break
        await end(random, flight, reader, writer)

    return talk


def in_http(numbers: Iterator[int]) -> fleets.Talk:
    """A web server that garbles its responses."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        random = Random(next(numbers))
        await reader.readuntil(b"\r\n\r\n")
        answer = garbled(random.choice(_PAGES), random)
        writer.write(answer)
        await end(random, answer, reader, writer)

    return talk


def in_the_clear(numbers: Iterator[int]) -> fleets.Talk:
    """A server that garbles its greetings or sends random bytes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        random = Random(next(numbers))
        line = b""
        for _ in range(random.randrange(1, 4)):
            line = random.choice((*_GREETINGS, random.randbytes(random.randrange(200))))
            writer.write(garbled(line, random) if random.randrange(2) else line)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await reader.read(1000)
        await end(random, line, reader, writer)

    return talk


async def scans(
    trust: Trust,
    port: int,
    count: int,
    protocol_of: Callable[[int], str] = lambda _: "",
    seconds: float = DEADLINE,
) -> list[Scan]:
    """Scan one target `count` times, several at a time."""
    guard = Guard(parse_allow("127.0.0.1"), {"fleet.test": "127.0.0.1"})
    scanner = Scanner(guard, trust, seconds)
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(number: int) -> Scan:
        async with slots:
            protocol = protocol_of(number)
            return await scanner.scan(Target("fleet.test", port), NOW, protocol=protocol)

    return await asyncio.gather(*map(one, range(count)))


def of_the_server(task: asyncio.Task[object]) -> bool:
    """Whether a task is a visit to the test's server, or something that a visit waits for."""
    names = ("<serve.<locals>.visit()", "<StreamReader.", "<BaseSelectorEventLoop._accept_conn")
    return any(f"coro={name}" in str(task) for name in names)


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - these are numbers, not paths


async def outcome(
    serving: fleets.Serving, scan: Callable[[int], Awaitable[list[Scan]]]
) -> Counter[Verdict]:
    """The verdicts of all scans, which must leave no task and no open file behind."""
    before, tasks = open_files(), asyncio.all_tasks()
    async with serving as port:
        results = await scan(port)
        rest = asyncio.all_tasks() - tasks
    assert [task for task in rest if not of_the_server(task)] == []
    if others := asyncio.all_tasks() - tasks:  # of visits that had just started
        assert not (await asyncio.wait(others, timeout=5))[1]
    assert open_files() == before
    assert [each.message for each in results if not SENTENCE.fullmatch(each.message)] == []
    return Counter(each.verdict for each in results)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_malformed_handshakes_become_verdicts(
    fleet: Fleet, trust: Trust, newest: ssl.TLSVersion
) -> None:
    context = fleet.context(fleet.file(Leaf()))
    context.maximum_version = newest
    talk = in_tls(context, itertools.count(1000))
    verdicts = await outcome(
        fleets.serve(talk), lambda port: scans(trust, port, 400, seconds=DEADLINE * slowdown())
    )
    assert verdicts.total() == 400
    assert {Verdict.HANDSHAKE_FAILED, Verdict.CLOSED, Verdict.TIMED_OUT} < set(verdicts)


async def test_malformed_pages_become_verdicts(fleet: Fleet, trust: Trust) -> None:
    context = fleet.context(fleet.file(Leaf()))
    serving = fleets.serve(in_http(itertools.count(2000)), context=context)
    verdicts = await outcome(
        serving, lambda port: scans(trust, port, 300, seconds=DEADLINE * slowdown())
    )
    assert verdicts.total() == 300
    assert set(verdicts) <= {Verdict.VALID, Verdict.TIMED_OUT}  # the latter only on a busy machine
    assert verdicts[Verdict.VALID] > 150


async def test_malformed_greetings_become_verdicts(trust: Trust) -> None:
    protocols = itertools.cycle(["", *PROTOCOLS])
    serving = fleets.serve(in_the_clear(itertools.count(3000)))
    verdicts = await outcome(
        serving, lambda port: scans(trust, port, 200, lambda _: next(protocols))
    )
    assert verdicts.total() == 200
    assert {Verdict.NO_STARTTLS, Verdict.NOT_TLS} < set(verdicts)
