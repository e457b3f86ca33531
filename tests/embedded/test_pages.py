"""What a scan reports about the page behind a certificate, over real connections."""

import asyncio
import threading
import time

import pytest

from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.html import PageFacts
from bot.embedded.scan.http import BODY_CAP, Response
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner, _page
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict
from bot.target import Target

from . import fleet as fleets
from .fleet import DAY, NOW, Fleet, Leaf


async def scan(
    fleet: Fleet, trust: Trust, talk: fleets.Talk, *, leaf: Leaf | None = None, deadline: float = 5
) -> Scan:
    guard = Guard(parse_allow("127.0.0.1"), {"fleet.test": "127.0.0.1"})
    context = fleet.context(fleet.file(leaf or Leaf()))
    async with fleets.serve(talk, context=context) as port:
        return await Scanner(guard, trust, deadline).scan(Target("fleet.test", port), NOW)


def endless(head: bytes, piece: bytes) -> fleets.Talk:
    """Answer, and keep sending while the visitor stays."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while not reader.at_eof():
            writer.write(piece)
            await writer.drain()

    return talk


def trickle(answer: bytes) -> fleets.Talk:
    """Answer, then send one letter at a time until the visitor leaves."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        gone = asyncio.ensure_future(reader.read())
        while not (await asyncio.wait([gone], timeout=0.01))[0]:
            writer.write(b"x")

    return talk


async def test_a_short_page_of_many_tags_is_read_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second goes into 30 kB of unclosed tags."""
    threads = []

    def read(*_: object) -> PageFacts:
        threads.append(threading.current_thread())
        return PageFacts()

    monkeypatch.setattr("bot.embedded.scan.http.read_page", read)
    for count in (100, 400):
        await _page(Response(200, body=bytearray(b"<p><b>" * count)))
    assert [each is threading.main_thread() for each in threads] == [True, False]


@pytest.mark.slow  # the page takes seconds to parse
async def test_a_page_meant_to_be_slow_delays_no_other_scan(fleet: Fleet, trust: Trust) -> None:
    flood = b" ".join(b"a%d" % n for n in range(35_000))
    answer = b"HTTP/1.1 200 OK\r\n\r\n<p " + flood + b"><title>late</title>"
    scanning = asyncio.create_task(scan(fleet, trust, fleets.web_server(answer)))
    longest = 0.0
    while not scanning.done():
        start = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - start)
    found = await scanning
    assert (found.message, found.page.code) == ("Valid", 200)
    assert longest < 1


async def test_a_pages_facts_are_reported_without_redirects(fleet: Fleet, trust: Trust) -> None:
    html = (
        '<meta charset="shift_jis"><title>日本</title><meta name="description" content="東京">'
        '<meta name="keywords" content="語">'
    ).encode("shift_jis")
    head = b"HTTP/1.1 302 Found\r\nLocation: /next\r\nSet-Cookie: a=1\r\nX: y\r\nSet-Cookie: b=2"
    visits = 0
    web = fleets.web_server(head + b"\r\n\r\n" + html)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        await web(reader, writer)

    page = (await scan(fleet, trust, talk)).page
    assert (page.code, page.size, visits) == (302, len(html), 1)
    cookies = (("Set-Cookie", "a=1"), ("X", "y"), ("Set-Cookie", "b=2"))
    assert page.headers == (("Location", "/next"), *cookies)
    assert (page.title, page.description, page.keywords) == ("日本", "東京", "語")


async def test_two_megabytes_of_an_endless_page_are_read(fleet: Fleet, trust: Trust) -> None:
    talk = endless(b"HTTP/1.1 200 OK\r\n\r\n<title>Long</title>", b"x" * 65536)
    page = (await scan(fleet, trust, talk)).page
    assert (page.code, page.size, page.title) == (200, BODY_CAP, "Long")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX: "])
async def test_an_endless_head_hides_nothing(fleet: Fleet, trust: Trust, start: bytes) -> None:
    result = await scan(fleet, trust, endless(start, b"HTTP/1.1" * 1000))
    assert (result.verdict, result.page.code) == (Verdict.VALID, None)


HALF = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 9999\r\n\r\n<title>Half"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "code", "title"),
    [(b"HTTP/1.1 200 OK\r\nX: ", None, ""), (HALF, 302, "Half")],
    ids=["head", "body"],
)
async def test_a_trickling_response_is_cut_off_by_the_deadline_and_what_arrived_is_kept(
    fleet: Fleet, trust: Trust, answer: bytes, code: int | None, title: str
) -> None:
    result = await scan(fleet, trust, trickle(answer), deadline=0.3)
    assert (result.verdict, result.page.code) == (Verdict.VALID, code)
    assert result.page.title.startswith(title)
    assert (("Location", "/x") in result.page.headers) is (code is not None)


async def test_the_page_behind_a_bad_certificate_is_read_too(fleet: Fleet, trust: Trust) -> None:
    result = await scan(fleet, trust, fleets.web_server(), leaf=Leaf(left=-DAY))
    assert (result.verdict, result.page.title) == (Verdict.EXPIRED, "Fleet")


async def test_a_certificate_is_judged_without_any_http(fleet: Fleet, trust: Trust) -> None:
    result = await scan(fleet, trust, fleets.close)
    assert (result.message, result.page.code) == ("Valid", None)
