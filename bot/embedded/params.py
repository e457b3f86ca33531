"""The parameters of requests, read into values; what can't be read is refused with a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bot.embedded.job import Watch
from bot.embedded.monitors import Page
from bot.embedded.scan.proxy import Proxy
from bot.embedded.scan.starttls import PROTOCOLS
from bot.target import MAX_PORT, Target, normal_host, read_port

T = TypeVar("T")
Params = Mapping[str, str]
NOT_FOUND = "monitor not found"  # the API page's own words
LARGEST_ID = 2**31 - 1
_MOST_ROWS = 1_000_000
# What aiohttp raises for a body that is none of its type, or is in an unknown charset or encoding.
_UNREADABLE = (
    ValueError,
    LookupError,
    RuntimeError,
    web.RequestPayloadError,
    HttpProcessingError,
)
_PROXY = ("proxy_host", "proxy_port", "proxy_username", "proxy_password")


class Refusal(Exception):
    """An error answer: its HTTP status, a sentence, and after how many seconds to ask again."""

    def __init__(self, code: int, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after


def refuse(code: int, message: str, retry_after: int = 0) -> NoReturn:
    """Raise a Refusal."""
    raise Refusal(code, message, retry_after)


def read(parse: Callable[[Params], T], params: Params) -> T:
    """What a parser makes of the parameters; its ValueError is a 400."""
    try:
        return parse(params)
    except ValueError as fault:
        refuse(400, str(fault))


async def params_of(request: web.Request) -> dict[str, str]:
    """The query and the form, as one; of a name that comes twice the first counts.

    A form that can't be read is a 400.
    """
    pairs = [*request.query.items()]
    if request.method == "POST":
        try:
            form = [(n, v) for n, v in (await request.post()).items() if isinstance(v, str)]
            "".join(map("".join, form)).encode()  # some charsets give what is no text
        except _UNREADABLE:
            refuse(400, "The form can't be read.")
        pairs = form + pairs
    return dict(reversed(pairs))


def monitor_id(params: Params) -> int:
    """The `id`; one that no monitor can have is a 404."""
    text = params.get("id", "").strip()
    if not text:
        refuse(400, "The parameter id is missing.")
    if not (text.isascii() and text.isdecimal()):
        refuse(400, "The parameter id is not a number.")
    if len(text) > 10 or int(text) > LARGEST_ID:
        refuse(404, NOT_FOUND)
    return int(text)


def page(params: Params) -> Page | None:
    """`limit` and `offset`; None where neither is given. Raises ValueError."""
    if not (params.get("limit") or params.get("offset")):
        return None
    limit = _number(params, "limit", 1, _MOST_ROWS, _MOST_ROWS)
    return Page(limit, _number(params, "offset", 0, LARGEST_ID, 0))


def _number(params: Params, name: str, least: int, most: int, usual: int) -> int:
    text = params.get(name, "").strip()
    if not text:
        return usual
    if not (text.isascii() and text.isdecimal() and least <= int(text[:12]) <= most):
        raise ValueError(f"The parameter {name} is a number from {least} to {most}.")
    return int(text)


def watch(params: Params) -> Watch:
    """What monitor/add and checks are to scan, and how. Raises ValueError."""
    return Watch(_target(params), _protocol(params), _proxy(params))


def _target(params: Params) -> Target:
    """Read `host` and `port`, or `url`."""
    host, port, url = (params.get(name, "").strip() for name in ("host", "port", "url"))
    if url and (host or port):
        raise ValueError("Give either host and port, or url, not both.")
    if url:
        return Target.parse(url)
    if not (host and port):
        raise ValueError("The parameters host and port are needed, or url.")
    return Target(normal_host(host), _port(port, "port"))


def _port(text: str, name: str) -> int:
    port = read_port(text)
    if port is None:
        raise ValueError(f"The parameter {name} is a number from 1 to {MAX_PORT}.")
    return port


def _protocol(params: Params) -> str:
    text = params.get("protocol", "").strip().lower()
    if text in {"", "tls"}:
        return ""
    if text not in PROTOCOLS:
        raise ValueError(f"The parameter protocol is one of tls, {', '.join(PROTOCOLS)}.")
    return text


def _proxy(params: Params) -> Proxy | None:
    host, port, username = (params.get(name, "").strip() for name in _PROXY[:3])
    password = params.get("proxy_password", "")
    if not (host or port or username or password):
        return None
    if not (host and port):
        raise ValueError("A proxy needs proxy_host and proxy_port.")
    if password and not username:
        raise ValueError("The parameter proxy_password needs proxy_username.")
    if len(username) + len(password) > 1000 or not (username + password).isprintable():
        raise ValueError("The proxy's user name and password are too long, or hold odd characters.")
    if ":" in username:  # RFC 7617, section 2
        raise ValueError("The parameter proxy_username can't hold a colon.")
    return Proxy(normal_host(host), _port(port, "proxy_port"), username, password)
