"""`GET /` over an established TLS connection: a small, tolerant, bounded HTTP reader.

HTTP/1.1 as in RFC 9112, from servers that may be broken or hostile: every part has a cap, nothing
that a server sends raises, and what has arrived is kept if the scan's deadline strikes.
"""

import re
import zlib
from dataclasses import dataclass, field
from typing import Protocol

from bot.embedded.scan.html import PageFacts, is_html, read_page
from bot.target import Target

BODY_CAP = 2_000_000
HEAD_CAP = 128 * 1024
_TOTAL_CAP = 2 * BODY_CAP  # including all heads and the chunk framing
_PAGE_CAP = 256 * 1024  # title and meta tags come at the beginning
#: How this server names itself to those that it asks.
AGENT = "sslmonitor-bot (TLS certificate check; https://www.sslmonitor.io/)"

# As tolerant as browsers: any case, more spaces.
_STATUS = re.compile(r"(?is)HTTP/[0-9](?:\.[0-9])? +([1-9][0-9]{2})(?:[ \t].*)?\Z")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
# The line break in front of it ends the data of the previous chunk.
_CHUNK_LINE = re.compile(rb"(?:\r?\n)?[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]{0,1000})?\r?\n")
_CHUNK_LINE_CAP = 1100


class ByteStream(Protocol):
    """The part of a connection that is used here; both methods raise OSError if it is lost."""

    async def write(self, data: bytes) -> None:
        """Send."""

    async def read(self) -> bytes:
        """The next bytes, or none at the end."""


@dataclass(frozen=True, slots=True)
class WebPage:
    """The facts of a server's response; `code` is None without an HTTP response.

    `size` is the number of body bytes read, without chunk framing and before decompression.
    """

    code: int | None = None
    size: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    title: str = ""
    description: str = ""
    keywords: str = ""


@dataclass(slots=True)
class Response:
    """A response as it arrives: `feed` it until it is `done`; call `page` at any time."""

    code: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    done: bool = False
    _buffer: bytearray = field(default_factory=bytearray)
    _named: dict[str, str] = field(default_factory=dict)
    _in_body: bool = False
    _chunked: bool = False
    _remaining: int | None = None  # of the body, or of the chunk (0: a size line is next)
    _searched: int = 0  # how much of the head was searched for its end
    _total: int = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data
        self._total += len(data)
        while not self._in_body and not self.done and self._read_head():
            pass
        if self._in_body and not self.done:
            self._read_body()
        self.done = self.done or self._total > _TOTAL_CAP

    def _read_head(self) -> bool:
        while self._buffer.startswith((b"\r", b"\n")):  # some servers send an empty line first
            del self._buffer[:1]
        end = _HEAD_END.search(self._buffer, self._searched)
        if end is None:
            self._searched = max(0, len(self._buffer) - 3)  # the end may be split
            self.done = len(self._buffer) > HEAD_CAP or not _may_be_http(self._buffer)
            return False
        self._searched = 0
        head = self._buffer[: end.start()].decode("latin-1")
        first, *lines = head.split("\n")
        del self._buffer[: end.end()]
        status = _STATUS.match(first.removesuffix("\r"))
        if status is None:
            self.done = True
            return False
        code = int(status[1])
        if 100 <= code < 200 and code != 101:  # an interim response (RFC 9110, section 15.2)
            return True
        self.code = code
        parts = [line.partition(":") for line in lines]
        self.headers = [(name.strip(), value.strip()) for name, colon, value in parts if colon]
        self._named = {name.lower(): value for name, value in reversed(self.headers)}
        self._begin_body(code)
        return True

    def _begin_body(self, code: int) -> None:
        self._in_body = True
        if code in (101, 204, 304):
            self.done = True
        elif "chunked" in self.header("transfer-encoding").lower():
            self._chunked, self._remaining = True, 0
        else:
            length = self.header("content-length")
            is_number = length.isascii() and length.isdecimal() and len(length) <= 15
            self._remaining = int(length) if is_number else None

    def _read_body(self) -> None:
        if self._chunked:
            self._read_chunks()
        else:
            self._take(self._remaining)
            self.done = self.done or self._remaining == 0
        if len(self.body) >= BODY_CAP:
            del self.body[BODY_CAP:]
            self.done = True

    def _take(self, limit: int | None) -> None:
        whole = limit is None or len(self._buffer) <= limit
        data = self._buffer if whole else self._buffer[:limit]
        self.body += data
        if self._remaining is not None:
            self._remaining -= len(data)
        del self._buffer[: len(data)]

    def _read_chunks(self) -> None:
        at, data = 0, self._buffer
        while not self.done and at < len(data) and len(self.body) < BODY_CAP:
            if self._remaining:
                piece = data[at : at + self._remaining]
                self.body += piece
                self._remaining -= len(piece)
                at += len(piece)
                continue
            line = _CHUNK_LINE.match(data, at)
            if line is None:
                rest = data[at:].removeprefix(b"\r").removeprefix(b"\n")
                self.done = len(rest) > _CHUNK_LINE_CAP or b"\n" in rest
                break
            at = line.end()
            self._remaining = int(line[1], 16)
            self.done = self._remaining == 0
        self._buffer = data[at:]

    def header(self, name: str) -> str:
        """The first header with that name (lower case), or an empty string."""
        return self._named.get(name, "")

    def page(self, *, read: bool = True) -> WebPage:
        """The facts known so far; without those of the document unless it is `read`."""
        if self.code is None:
            return WebPage()
        facts = PageFacts()
        kinds = [value for name, value in self.headers if name.lower() == "content-type"]
        kind = next(filter(None, reversed(kinds)), "")  # the last counts (fetch.spec.whatwg.org)
        if is_html(kind) and read:
            facts = read_page(self._plain(), kind)
        return WebPage(
            self.code,
            len(self.body),
            tuple(self.headers),
            facts.title,
            facts.description,
            facts.keywords,
        )

    def _plain(self) -> bytes:
        """The beginning of the body, decompressed if the server compressed it unasked."""
        coding = self.header("content-encoding").lower().strip()
        if coding not in ("gzip", "x-gzip", "deflate"):
            return bytes(memoryview(self.body)[:_PAGE_CAP])
        for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # gzip or zlib, then bare deflate
            try:
                return zlib.decompressobj(bits).decompress(bytes(self.body), _PAGE_CAP)
            except zlib.error:
                continue
        return b""


def _may_be_http(start: bytearray) -> bool:
    return b"HTTP/".startswith(start[:5].upper())


async def fetch(stream: ByteStream, target: Target, response: Response) -> None:
    """Request `/` and feed the answer to `response`. Raises OSError if the connection is lost.

    Redirects are not followed: another host is another target.
    """
    name = f"[{target.host}]" if ":" in target.host else target.host
    host = name if target.port == 443 else f"{name}:{target.port}"
    await stream.write(
        f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\nAccept: text/html, */*\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    while not response.done and (data := await stream.read()):
        response.feed(data)
