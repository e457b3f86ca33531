"""`GET /` over an established TLS connection: a small, tolerant, bounded HTTP reader.

HTTP/1.1 as in RFC 9112, from servers that may be broken or hostile: every part has a cap, nothing
that a server sends raises, and what has arrived is kept if the scan's deadline strikes.
"""

from __future__ import annotations

import codecs
import html
import re
import zlib
from dataclasses import dataclass, field
from typing import Protocol

from bot.target import Target

BODY_CAP = 2_000_000
HEAD_CAP = 128 * 1024
_TOTAL_CAP = 2 * BODY_CAP  # including the head and the chunk framing
_PAGE_CAP = 256 * 1024  # title and meta tags come at the beginning
_TEXT_CAP = 1000
_MAX_METAS = 200
_AGENT = "sslmonitor-bot (TLS certificate check; https://www.sslmonitor.io/)"

_STATUS = re.compile(rb"HTTP/[0-9](?:\.[0-9])? ([1-9][0-9]{2})(?:[ \t].*)?\Z", re.DOTALL)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
# The line break in front of it ends the data of the previous chunk.
_CHUNK_LINE = re.compile(rb"(?:\r?\n)?[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]{0,1000})?\r?\n")
_CHUNK_LINE_CAP = 1100
_TITLE = re.compile(r"<title(?:\s[^>]{0,500})?>", re.IGNORECASE)
_TITLE_END = re.compile(r"</title", re.IGNORECASE)
_META = re.compile(r"<meta\s", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"""\s*/?\s*([a-z-]{1,40})\s*=\s*(?:"([^"]{0,4000})"|'([^']{0,4000})'|([^\s"'>]{1,4000}))""",
    re.IGNORECASE,
)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([a-z0-9_.:-]{1,40})", re.IGNORECASE)
# Python's names for the encodings that browsers support (WHATWG Encoding); others can be slow.
_WEB_CODEC = re.compile(
    r"utf-(8|16|32)(-[bl]e)?|iso8859-\d+|cp(125[0-8]|866|874|932|949)"
    r"|koi8-[ru]|gb18030|big5hkscs|euc_jp|iso2022_jp|mac-(roman|cyrillic)"
)
# Labels that browsers support and Python doesn't, and encodings that browsers decode as a superset
# (WHATWG Encoding, section 4.2).
_LABELS = {
    "iso-8859-8-i": "iso8859-8",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "windows-949": "cp949",
}
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}


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

    def _read_head(self) -> bool:
        end = _HEAD_END.search(self._buffer, self._searched)
        if end is None:
            self._searched = max(0, len(self._buffer) - 3)  # the end may be split
            self.done = len(self._buffer) > HEAD_CAP or not _may_be_http(self._buffer)
            return False
        self._searched = 0
        head = bytes(self._buffer[: end.start()])
        lines = [line.removesuffix(b"\r") for line in head.split(b"\n")]
        del self._buffer[: end.end()]
        status = _STATUS.match(lines[0])
        if status is None:
            self.done = True
            return False
        code = int(status[1])
        if 100 <= code < 200 and code != 101:  # an interim response (RFC 9110, section 15.2)
            return True
        self.code = code
        self.headers = [_header(line) for line in lines[1:] if b":" in line]
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
        if self._total > _TOTAL_CAP:
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
        return next((value for key, value in self.headers if key.lower() == name), "")

    def page(self) -> WebPage:
        """The facts known so far."""
        if self.code is None:
            return WebPage()
        text = _decode(self._plain(), self.header("content-type"))
        metas = _metas(text)
        return WebPage(
            self.code,
            len(self.body),
            tuple(self.headers),
            _title(text),
            metas.get("description", ""),
            metas.get("keywords", ""),
        )

    def _plain(self) -> bytes:
        """The beginning of the body, decompressed if the server compressed it unasked."""
        coding = self.header("content-encoding").lower().strip()
        if coding not in ("gzip", "x-gzip", "deflate"):
            return bytes(self.body[:_PAGE_CAP])
        for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # gzip or zlib, then bare deflate
            try:
                return zlib.decompressobj(bits).decompress(bytes(self.body), _PAGE_CAP)
            except zlib.error:
                continue
        return b""


def _may_be_http(start: bytearray) -> bool:
    return b"HTTP/".startswith(start[:5])


def _header(line: bytes) -> tuple[str, str]:
    name, _, value = line.partition(b":")
    return name.decode("latin-1").strip(), value.decode("latin-1").strip()


async def fetch(stream: ByteStream, target: Target, response: Response) -> None:
    """Request `/` and feed the answer to `response`. Raises OSError if the connection is lost.

    Redirects are not followed: another host is another target.
    """
    name = f"[{target.host}]" if ":" in target.host else target.host
    host = name if target.port == 443 else f"{name}:{target.port}"
    await stream.write(
        f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {_AGENT}\r\nAccept: text/html, */*\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n".encode("ascii")
    )
    while not response.done and (data := await stream.read()):
        response.feed(data)


def _decode(body: bytes, content_type: str) -> str:
    """Decode a page by its byte order mark, else the charset of header or meta tag, else UTF-8."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    declared = _CHARSET.search(content_type)
    if declared is None and b"charset" in (start := body[:2048].lower()):
        declared = _CHARSET.search(start.decode("latin-1"))
    return body.decode(_codec(declared[1]) if declared else "utf-8", "replace")


def _codec(label: str) -> str:
    label = label.lower().removeprefix("x-")
    try:
        name = codecs.lookup(_LABELS.get(label, label)).name
    except LookupError:
        return "utf-8"
    name = _SUPERSETS.get(name, name)
    return name if _WEB_CODEC.fullmatch(name) else "utf-8"


def _title(text: str) -> str:
    start = _TITLE.search(text)
    if start is None:
        return ""
    end = _TITLE_END.search(text, start.end())
    return _clean(text[start.end() : end.start() if end else start.end() + _TEXT_CAP])


def _metas(text: str) -> dict[str, str]:
    """The `content` of each meta tag by its name; the first of a name counts."""
    metas: dict[str, str] = {}
    at = 0
    for _ in range(_MAX_METAS):
        tag = _META.search(text, at)
        if tag is None:
            break
        at = tag.end()
        attributes: dict[str, str] = {}
        while attribute := _ATTRIBUTE.match(text, at):
            name, *values = attribute.groups()
            attributes.setdefault(name.lower(), next((v for v in values if v is not None), ""))
            at = attribute.end()
        metas.setdefault(attributes.get("name", "").lower(), _clean(attributes.get("content", "")))
    return metas


def _clean(text: str) -> str:
    return " ".join(html.unescape(text).split())[:_TEXT_CAP]
