"""What CAs and name servers answer, malformed by the hundred: all of it becomes "unknown"."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rrset
import pytest

from bot.embedded.ca import caa, documents
from bot.embedded.ca.caa import CAA
from bot.embedded.ca.revocation import Found
from bot.embedded.scan.certificate import Leaf

from . import fleet as fleets
from .authority import NAMES, NO_CA, Scans, crl, issuing, points
from .fleet import DAY, NOW, issue, name, new_key
from .test_fuzz import garbled, open_files

pytestmark = [pytest.mark.matrix, pytest.mark.slow]

MANY = 1000
CONCURRENCY = 25


async def looks(scans: Scans, port: int, count: int) -> list[Found]:
    """Ask about certificates that each name a list of their own."""
    by, key = issuing(scans), new_key("ec")
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(number: int) -> Found:
        url = points(f"http://ca.test:{port}/{number}.crl")
        since, until = NOW - DAY, NOW + 90 * DAY
        leaf = issue(name("fleet.test"), key, by, since, until, NO_CA, NAMES, url)
        async with slots:
            return await scans.revocations.look([leaf, by.certificate], NOW)

    return await asyncio.gather(*map(one, range(count)))


def hostile(good: bytes, served: Counter[str]) -> fleets.Talk:
    """A web server that garbles a list, or the response with it, by the number in its path."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        found = re.match(rb"GET /(\d+)\.crl ", request)
        assert found
        random = Random(int(found[1]))
        body = good
        while body == good:
            body = garbled(good, random)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/pkix-crl\r\nContent-Length: "
        if random.randrange(4):
            served["list"] += 1
            answer = b"%s%d\r\n\r\n%s" % (head, len(body), body)
        else:
            served["response"] += 1
            answer = garbled(b"%s%d\r\n\r\n" % (head, len(body)), random) + body
        writer.write(answer)
        await writer.drain()
        if not random.randrange(100):  # silent from here on
            await reader.read()

    return talk


async def test_malformed_lists_are_unknown_and_leave_nothing_behind(
    scans: Scans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "SECONDS", 1.0)
    other = scans.fleet.authorities["root"].certificate
    good = crl(issuing(scans), other, issuing(scans).certificate)
    served: Counter[str] = Counter()
    await looks(scans, 1, 2 * CONCURRENCY)  # opens what stays open: the database's connections
    before, tasks = open_files(), asyncio.all_tasks()
    async with fleets.serve(hostile(good, served)) as port:
        found = await looks(scans, port, MANY)
    assert asyncio.all_tasks() == tasks
    assert open_files() == before
    assert served.total() == MANY
    assert min(served.values()) > MANY // 10
    said = Counter(re.sub(r"\d+", "N", each.text) for each in found)
    assert [text for text in said if not text.startswith("unknown: ")] == []
    assert said["unknown: the revocation list can't be read"] > MANY // 4


class _Garbler(asyncio.DatagramProtocol):
    """A name server whose answers are malformed."""

    def __init__(self) -> None:
        self.random = Random(5)
        self.answered = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        named = query.question[0].name
        for text in ('0 issue "pki.goog"', '128 issuewild ";"', '0 iodef "mailto:x@y.test"'):
            reply.answer.append(dns.rrset.from_text(named, 60, "IN", "CAA", text))
        wire = reply.to_wire()
        # The first bytes are the query's number: an answer to another one would be passed over.
        self.transport.sendto(wire[:2] + garbled(wire[2:], self.random)[:9000], address)
        self.answered += 1


@pytest.fixture
async def name_server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Garbler]:
    loop = asyncio.get_running_loop()
    transport, garbler = await loop.create_datagram_endpoint(_Garbler, local_addr=("127.0.0.1", 0))
    ours = dns.asyncresolver.Resolver(configure=False)
    ours.nameservers = ["127.0.0.1"]
    ours.port = transport.get_extra_info("sockname")[1]
    monkeypatch.setattr(dns.asyncresolver, "default_resolver", ours)
    monkeypatch.setattr(caa, "SECONDS", 0.3)
    yield garbler
    transport.close()


LEAF = Leaf("", "", "", "R11", "Let's Encrypt", "US", ("*.shop.example",), NOW, NOW + 90 * DAY)


async def test_malformed_records_say_and_leave_nothing(name_server: _Garbler) -> None:
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(number: int) -> str:
        async with slots:
            return await CAA().refusal(f"h{number}.shop.example", LEAF)

    before, tasks = open_files(), asyncio.all_tasks()
    said = await asyncio.gather(*map(one, range(MANY)))
    assert asyncio.all_tasks() == tasks
    assert open_files() == before
    assert name_server.answered > MANY * 0.9  # a busy machine may answer the last too late
    # A changed letter may make a record that is well formed and refuses every CA.
    refusing = re.compile("permits|has the critical property")
    kinds = Counter(text.partition(":")[0] for text in said if not refusing.search(text))
    assert kinds.keys() <= {"", "unknown"}
    assert kinds["unknown"] > MANY / 2
