"""What a scan keeps of the page behind a certificate, over real connections."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.http import BODY_CAP
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
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
    """Answer, and go on for as long as the visitor stays."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while not reader.at_eof():
            writer.write(piece)
            await writer.drain()

    return talk


def trickle(answer: bytes) -> fleets.Talk:
    """Answer, and then give a letter at a time until the visitor has gone."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        gone = asyncio.ensure_future(reader.read())
        while not (await asyncio.wait([gone], timeout=0.01))[0]:
            writer.write(b"x")

    return talk


async def test_a_redirect_is_shown_and_not_followed(fleet: Fleet, trust: Trust) -> None:
    visits = 0
    answer = b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n"
    web = fleets.web_server(answer)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        await web(reader, writer)

    found = await scan(fleet, trust, talk)
    assert (found.page.code, dict(found.page.headers)["Location"], visits) == (302, "/next", 1)


async def test_repeated_headers_are_kept_in_order(fleet: Fleet, trust: Trust) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX: y\r\nSet-Cookie: b=2\r\n\r\n"
    found = await scan(fleet, trust, fleets.web_server(answer))
    assert found.page.headers == (("Set-Cookie", "a=1"), ("X", "y"), ("Set-Cookie", "b=2"))


async def test_title_and_meta_tags_are_read_in_the_charset_of_the_page(
    fleet: Fleet, trust: Trust
) -> None:
    html = (
        '<meta charset="shift_jis"><title>日本</title><meta name="description" content="東京">'
        '<meta name="keywords" content="語">'
    ).encode("shift_jis")
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(html), html)
    page = (await scan(fleet, trust, fleets.web_server(answer))).page
    assert (page.title, page.description, page.keywords) == ("日本", "東京", "語")


async def test_two_megabytes_of_an_endless_page_are_read(fleet: Fleet, trust: Trust) -> None:
    talk = endless(b"HTTP/1.1 200 OK\r\n\r\n<title>Long</title>", b"x" * 65536)
    page = (await scan(fleet, trust, talk)).page
    assert (page.code, page.size, page.title) == (200, BODY_CAP, "Long")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX: "])
async def test_an_endless_head_does_not_affect_the_certificate(
    fleet: Fleet, trust: Trust, start: bytes
) -> None:
    found = await scan(fleet, trust, endless(start, b"HTTP/1.1" * 1000))
    assert (found.verdict, found.page.code) == (Verdict.VALID, None)


async def test_a_bomb_is_read_a_little_way(fleet: Fleet, trust: Trust) -> None:
    bomb = gzip.compress(b"<title>Boom</title>" + b"\0" * 20_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    page = (await scan(fleet, trust, fleets.web_server(head + bomb))).page
    assert (page.title, page.size) == ("Boom", len(bomb))


@pytest.mark.parametrize(
    ("answer", "code"),
    [(b"", None), (b"HTTP/1.1 200 OK\r\nX: ", None), (b"HTTP/1.1 200\r\n\r\n", 200)],
)
async def test_a_trickling_response_is_cut_off_by_the_deadline(
    fleet: Fleet, trust: Trust, answer: bytes, code: int | None
) -> None:
    found = await scan(fleet, trust, trickle(answer), deadline=0.3)
    assert (found.verdict, found.page.code) == (Verdict.VALID, code)


async def test_the_page_behind_a_bad_certificate_is_read_too(fleet: Fleet, trust: Trust) -> None:
    found = await scan(fleet, trust, fleets.web_server(), leaf=Leaf(left=-DAY))
    assert (found.verdict, found.page.title) == (Verdict.EXPIRED, "Fleet")


async def test_a_certificate_is_judged_even_if_the_server_closes_on_http(
    fleet: Fleet, trust: Trust
) -> None:
    found = await scan(fleet, trust, fleets.close)
    assert (found.message, found.page.code) == ("Valid", None)
