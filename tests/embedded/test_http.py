import asyncio
import gzip
import itertools
import socket
import time
import zlib
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.embedded.scan.connection import Connection
from bot.embedded.scan.http import BODY_CAP, Response, WebPage, fetch
from bot.target import Target

OK = b"HTTP/1.1 200 OK\r\n"


def page(*pieces: bytes) -> WebPage:
    response = Response()
    for piece in pieces:
        if not response.done:
            response.feed(piece)
    return response.page()


def title_of(head: bytes, body: bytes) -> str:
    return page(OK + head + b"\r\n" + body).title


def test_headers_are_kept_in_order_and_the_last_content_type_counts() -> None:
    result = page(OK + b"B: 1\r\nSet-Cookie: a=1\r\nA:2\r\nset-cookie: b=2\r\n\r\n")
    assert result.headers == (("B", "1"), ("Set-Cookie", "a=1"), ("A", "2"), ("set-cookie", "b=2"))

    body = b"Content-Type: application/json\r\ncontent-type: text/html\r\n\r\n<title>a</title>"
    assert page(b"HTTP/1.1 200 OK\r\n" + body).title == "a"


def test_a_body_ends_at_its_length_or_with_the_connection() -> None:
    response = Response()
    response.feed(OK + b"Content-Length: 4\r\n\r\nabcdef")
    assert (response.done, response.page().size) == (True, 4)

    response = Response()
    response.feed(OK + b"\r\nabcdef")
    assert (response.done, response.page().size) == (False, 6)


def test_chunks_are_joined() -> None:
    body = b"5;x=y\r\n<titl\r\n10\r\ne>Chunked</title>\r\n0\r\nTrailer: x\r\n\r\n"
    response = Response()
    response.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert response.done
    assert response.page().size == 21
    assert response.body == b"<title>Chunked</title"


SAMPLES = [
    OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n<titl\r\n10\r\ne>Chunked</title>\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n"
    + OK
    + b"A: b\r\nContent-Length: 19\r\n\r\n<title>Four</title>",
    b"HTTP/1.0 404 Not Found\n\n<TITLE lang=en>bare\nlines</TITLE>",
    b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
]


@given(st.sampled_from(SAMPLES), st.lists(st.integers(0, 120), max_size=8))
def test_a_response_can_arrive_in_any_pieces(answer: bytes, cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(answer)]
    assert page(*(answer[a:b] for a, b in itertools.pairwise(at))) == page(answer)


def test_the_code_is_the_hosts_final_answer_if_it_speaks_http() -> None:
    for answer, code in [
        (b"HTTP/1.1 302 Found\r\nLocation: https://else.test/\r\n\r\n", 302),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 503\r\n\r\n", 503),
        (b"HTTP/2 200\r\n\r\n", 200),
        (b"\r\n\nhttp/1.1  200 ok\r\n\r\n", 200),
        (b"HTTP/1.1 20x\r\n\r\n", None),
        (b"HTTP/1.1\r\n\r\n", None),
        (b"* OK IMAP4rev1 ready\r\n", None),
        (b"220 mail ESMTP\r\n\r\n", None),
        (b"", None),
        (b"HTT", None),
    ]:
        assert page(answer).code == code

    response = Response()
    response.feed(b"220 mail ESMTP\r\n")
    assert response.done


@given(st.binary(max_size=400))
def test_no_bytes_raise_an_exception(data: bytes) -> None:
    for head in (b"", OK, OK + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n"):
        page(head, data, data).title.encode()


def test_what_is_endless_is_cut_and_keeps_its_title() -> None:
    response = Response()
    response.feed(OK + b"Content-Length: 99999999\r\n\r\n<title>Big</title>")
    while not response.done:
        response.feed(b"x" * 65536)
    assert (response.page().size, response.page().title) == (BODY_CAP, "Big")

    response = Response()
    response.feed(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n")
    while not response.done:
        response.feed(b"x" * 65536)
    assert response.page().size == BODY_CAP

    response = Response()
    response.feed(OK + b"X: " + b"x" * 140_000)
    assert (response.done, response.page()) == (True, WebPage())


def test_a_compressed_page_is_read() -> None:
    for coding in ["gzip", "deflate", "bare deflate"]:
        text = b"<title>Packed</title>"
        bare = zlib.compressobj(wbits=-15)
        body = {
            "gzip": gzip.compress(text),
            "deflate": zlib.compress(text),
            "bare deflate": bare.compress(text) + bare.flush(),
        }[coding]
        head = f"Content-Encoding: {coding.removeprefix('bare ')}\r\n".encode()
        assert title_of(head, body) == "Packed"


@pytest.mark.slow
def test_only_the_start_of_a_gzip_bomb_is_decompressed() -> None:
    bomb = gzip.compress(b"<title>Boom</title>" + b"\0" * 50_000_000, 1)
    start = time.process_time()
    assert title_of(b"Content-Encoding: gzip\r\n", bomb) == "Boom"
    assert time.process_time() - start < 0.5


def test_the_title_is_decoded_with_the_pages_charset() -> None:
    for head, body, title in [
        (b"", "<title>Grüße</title>".encode(), "Grüße"),
        (
            b"Content-Type: text/html; charset=ISO-8859-1\r\n",
            b"<title>\x80 Gr\xfc</title>",
            "€ Grü",
        ),
        (b"", b'<meta charset="shift_jis"><title>\x93\xfa\x96{</title>', "日本"),
        (
            b"",
            b'<meta http-equiv=content-type content="x; charset=koi8-r"><title>\xc4</title>',
            "д",
        ),
        (b"", b'<meta charset="gb2312"><title>\x96|\xd6\xd0</title>', "東中"),
        (b"", b'<meta charset="windows-31j"><title>\x87\x40</title>', "①"),
        (b"", b'<meta charset="x-sjis"><title>\x87\x40</title>', "①"),
        (b"", b'<meta charset="euc-kr"><title>\x8cc</title>', "똠"),
        (b"", b'<meta charset="windows-874"><title>\xe4\x85</title>', "ไ…"),
        (b"", b'<meta charset="iso-8859-8-i"><title>\xf9</title>', "ש"),
        (b"", b"\xff\xfe" + "<title>wide</title>".encode("utf-16-le"), "wide"),
        (b"Content-Type: text/html; charset=punycode\r\n", b"<title>plain</title>", "plain"),
        (
            b"Content-Type: text/html; charset=nonsense\r\n",
            b"<title>\xc3\xbc\xff</title>",
            "ü\ufffd",
        ),
        (b"", b"<title>A &amp; B\n  &lt;!channel&gt; <!here></title>", "A & B <!channel> <!here>"),
        (b"", b"<title></title><title>second</title>", ""),
        (b"", b"<titles>no</titles><TITLE id='x'>yes</TITLE >", "yes"),
        (b"", b"<title>never closed", "never closed"),
        (b"", b"no title at all", ""),
    ]:
        assert title_of(head, body) == title


def test_meta_tags_are_read_in_any_style() -> None:
    result = page(
        OK + b"\r\n<META content='a > \"b\" &amp; c' NAME=Description>"
        b'<meta name="keywords" content="x, y"/><meta name=description content=later>'
    )
    assert (result.description, result.keywords) == ('a > "b" & c', "x, y")


@pytest.mark.parametrize(
    "piece", [b"<title", b"<title>", b"<meta ", b'<meta "', b"<meta a='", b"<"]
)
def test_hostile_markup_takes_little_time(piece: bytes) -> None:
    body = piece * (BODY_CAP // len(piece))
    start = time.process_time()
    page(OK + b"\r\n" + body)
    assert time.process_time() - start < 0.5


@pytest.mark.slow
def test_a_flood_of_small_pieces_takes_little_time_and_ends() -> None:
    response = Response()
    response.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    start = time.process_time()
    piece = b"1\r\nx\r\n" * 10_000
    while not response.done:
        response.feed(piece)
    assert time.process_time() - start < 3
    assert response.page().size == 670_000

    response = Response()
    for _ in range(100):
        response.feed(b"HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\n" % (b"x" * 60_000))
    assert response.done

    response = Response()
    response.feed(OK + b"X: ")
    start = time.process_time()
    while not response.done:
        response.feed(b"x")
    assert time.process_time() - start < 3


async def test_a_connection_that_never_pauses_leaves_time_for_others() -> None:
    class Endless:
        def recv(self, _: int) -> bytes:
            return b"x"

    async def read_on() -> None:
        connection = Connection(cast("socket.socket", Endless()))
        for _ in range(1000):
            await connection.read()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read_on(), 0.0001)


@pytest.mark.parametrize("line", [b"xyz\r\n", b"\r\n\r\n\r\n", b"-5\r\n", b"5" * 2000])
def test_a_broken_chunk_ends_the_body(line: bytes) -> None:
    response = Response()
    response.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + line)
    assert (response.done, response.page().size) == (True, 3)


class CannedStream:
    """A connection that records what is written and has one answer."""

    def __init__(self, answer: bytes) -> None:
        self.sent = b""
        self._answer = [answer, b""]

    async def write(self, data: bytes) -> None:
        self.sent += data

    async def read(self) -> bytes:
        return self._answer.pop(0)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (Target("example.com"), b"example.com"),
        (Target("example.com", 8443), b"example.com:8443"),
        (Target("::1", 8443), b"[::1]:8443"),
    ],
)
async def test_a_request_has_a_host_and_no_compression(target: Target, host: bytes) -> None:
    stream, response = CannedStream(OK + b"\r\nhello"), Response()
    await fetch(stream, target, response)
    lines = stream.sent.split(b"\r\n")
    assert lines[:2] == [b"GET / HTTP/1.1", b"Host: " + host]
    assert b"Accept-Encoding: identity" in lines
    assert response.page().size == 5
