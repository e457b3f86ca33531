"""Malformed answers about renewals by the thousand: “unknown”, and nothing left behind."""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bot.embedded.ca.ari import Renewals
from bot.embedded.scan.result import Renewal

from . import fleet as fleets
from .authority import CA, NO_CA, Scans
from .fleet import DAY, NOW, issue, name, new_key
from .test_ari import ACME, ISSUER, KEY, WINDOW, answer
from .test_fuzz import end, garbled, of_the_server

pytestmark = [pytest.mark.matrix, pytest.mark.slow]

COUNT, AT_ONCE = 1000, 25
GOOD = answer(*WINDOW, explanationURL="https://ca.example/why")
_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 10**400, "", "x", [], {}, [[]], "\0", "2027-01-20T12:00:00",
    "2027-13-20T12:00:00Z", "-2027-01-20T12:00:00Z", "2027-01-20T12:00:00+99:00", "\ud800",
    "99999-01-01T00:00:00Z", "2027-01-20T12:00:60Z", {"start": "2027-01-20T12:00:00Z"},
)  # fmt: skip


def sockets() -> int:
    """How many are open; the database's files stay open in its pool."""
    gc.collect()
    count = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder's own
            count += str(each.readlink()).startswith("socket:")
    return count


def is_malformed(body: bytes) -> bool:
    """Whether an answer says nothing, as the standard library sees it."""
    try:
        window = json.loads(body.decode())["suggestedWindow"]
        start, end = (datetime.fromisoformat(window[key]) for key in ("start", "end"))
        return not start < end or start.year < 1970 or end.year > 9998  # noqa: TRY300 - it may raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return True


def odd(random: Random) -> bytes:
    """An answer of the right form with values that make no sense, or one that is garbled."""
    if random.randrange(2):
        return garbled(GOOD, random)
    found = json.loads(GOOD)
    part = random.choice((found, found["suggestedWindow"], found["suggestedWindow"]))
    part[random.choice(list(part))] = random.choice(_ODD)
    if random.randrange(20) == 0:
        found = [found] * random.randrange(9)
    body = json.dumps(found).encode()
    return body * 5000 if random.randrange(50) == 0 else body


def malformed(random: Random) -> bytes:
    while True:
        if is_malformed(body := odd(random)):
            return body


def over_http(body: bytes, random: Random) -> bytes:
    retry = random.choice(("", "Retry-After: 60\r\n", "Retry-After: \xff\r\n", "Date: x\r\n"))
    return f"HTTP/1.1 200 OK\r\n{retry}Content-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def acme_server(answer_of: Any) -> AsyncIterator[int]:
    """A server with a sound directory, which answers all else as the test wants."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        if path == "/directory":
            port = writer.get_extra_info("sockname")[1]
            body = json.dumps({"renewalInfo": f"http://ca.test:{port}/info"}).encode()
            writer.write(over_http(body, Random(1)))
            await writer.drain()
            return
        random = Random(path)
        said = answer_of(random)
        writer.write(said)
        await end(random, said, reader, writer)

    async with fleets.serve(talk) as port:
        yield port


async def renewals(scans: Scans, ca: CA, port: int) -> list[Renewal]:
    """What is said of so many certificates."""
    acme = ACME(scans, ca, directory=f"http://ca.test:{port}/directory")
    asking = Renewals({ISSUER: acme.directory}, acme.servers)
    by, key = scans.fleet.authorities["intermediate"], new_key("ec")
    slots = asyncio.Semaphore(AT_ONCE)

    async def one() -> Renewal:
        leaf = issue(name("fleet.test"), key, by, NOW - DAY, NOW + 90 * DAY, NO_CA, KEY)
        async with slots:
            return [each async for each in asking.look(leaf, ISSUER, NOW)][-1]

    found = await asyncio.gather(*(one() for _ in range(COUNT)))
    await acme.close()
    return found


@pytest.mark.parametrize("garbles_http", [False, True])
async def test_malformed_answers_about_renewals_are_unknown(
    scans: Scans, ca: CA, monkeypatch: pytest.MonkeyPatch, *, garbles_http: bool
) -> None:
    monkeypatch.setattr("bot.embedded.ca.documents.SECONDS", 0.2)
    monkeypatch.setattr("bot.embedded.ca.ari.RESTING", timedelta())
    before, tasks = sockets(), asyncio.all_tasks()

    def said(random: Random) -> bytes:
        if garbles_http:
            return garbled(over_http(GOOD, random), random)
        return over_http(malformed(random), random)

    async with acme_server(said) as port:
        found = await renewals(scans, ca, port)
        rest = asyncio.all_tasks() - tasks
    assert [task for task in rest if not of_the_server(task)] == []
    if others := asyncio.all_tasks() - tasks:
        assert not (await asyncio.wait(others, timeout=5))[1]
    assert sockets() == before
    kinds = Counter("known" if each.status == "known" else "unknown" for each in found)
    assert all(each.status.startswith("unknown: ") or each.status == "known" for each in found)
    if garbles_http:  # some are still in one piece
        assert kinds["unknown"] > 500
        known = [each for each in found if each.status == "known"]
        assert all(each.start and each.end and each.start < each.end for each in known)
    else:
        assert kinds == {"unknown": COUNT}
