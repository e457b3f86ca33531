"""The parameters of requests: described for openapi.json, and parsed. Invalid ones are refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bot.embedded.ca.expected import Announcement, Expected, expiry, read_names
from bot.embedded.job import Job
from bot.embedded.query import Slice
from bot.embedded.scan.guard import Guard
from bot.embedded.scan.proxy import HTTPProxy
from bot.embedded.scan.starttls import PROTOCOLS
from bot.target import MAX_PORT, REFUSED, Target, normal_host

T = TypeVar("T")
Params = Mapping[str, str]
NOT_FOUND = "monitor not found"  # the API page's own words
LARGEST_ID = 2**31 - 1
HISTORY_ROWS = 100  # of a history, unless `limit` is given
CHANGES = 1000  # in one reply of monitor/changes, at most
# What aiohttp raises for a body that contradicts its type, charset or encoding.
_UNREADABLE = (
    ValueError,
    LookupError,
    RuntimeError,
    web.RequestPayloadError,
    HttpProcessingError,
)


@dataclass(frozen=True, slots=True)
class APIParameter:
    """A parameter as openapi.json describes it; `schema` is its JSON schema."""

    name: str
    description: str
    schema: Mapping[str, Any]
    required: bool = False


def _text(name: str, description: str, **schema: Any) -> APIParameter:
    return APIParameter(name, description, {"type": "string", **schema})


def _integer(name: str, description: str, low: int, high: int, **schema: Any) -> APIParameter:
    bounds = {"type": "integer", "minimum": low, "maximum": high}
    return APIParameter(name, description, bounds | schema, required=name == "id")


_ID = _integer("id", "The monitor's ID", 0, LARGEST_ID, examples=[888])
_LIMIT = _integer("limit", "At most this many rows", 1, 1_000_000)
_OFFSET = _integer("offset", "Skip this many rows", 0, LARGEST_ID)
_PORT = _integer("port", "The port", 1, MAX_PORT, examples=[443])
_PROXY_PORT = _integer("proxy_port", "The proxy's port", 1, MAX_PORT, examples=[3128])
_PROTOCOL = _text("protocol", "What is spoken before TLS", enum=["tls", *PROTOCOLS])

#: The parameters of the endpoints, by what these are for.
ONE_MONITOR = (_ID,)
HISTORY = (_ID, _LIMIT, _OFFSET)
CHANGES_SINCE = (
    _text("since", "The `next` of the last reply; without it, only the cursor to begin with"),
    _integer("limit", "At most this many changes", 1, CHANGES),
)
LIST = (
    _text("host", "A host; `*` matches any text", examples=["*.example.com"]),
    _text("port", "`443`, `443,8443`, `!443`, `100-200`, `>=100`", examples=["443,8443"]),
    _text("ssl_valid", "Whether the certificate is valid now", enum=["true", "false"]),
    _text("ssl_expire_days", "Whole days left: `=30`, `30-60`, `<30`, `>30`", examples=["<30"]),
    _integer(
        "attention_days",
        "Only monitors that are invalid, that expire or enter their CA's renewal window within so "
        "many days, or that were not scanned in the last 24 hours",
        *(0, 9999),
    ),
    _LIMIT,
    _OFFSET,
)
SCAN = (
    _text("host", "A host name or address, with `port`", examples=["www.example.com"]),
    _PORT,
    _text("url", "Instead of `host` and `port`", examples=["https://www.example.com"]),
    _PROTOCOL,
    _text("proxy_host", "An HTTP proxy to scan through", examples=["proxy.example.com"]),
    _PROXY_PORT,
    _text("proxy_username", "The user name at the proxy"),
    _text(
        "proxy_password",
        "The password at the proxy; stored encrypted, never returned",
        format="password",
    ),
)
EXPECT = (
    replace(_ID, required=False),
    _text(
        "host",
        "Instead of `id`: the certificate's names, separated by spaces; `*` is one label",
        examples=["example.com *.example.com"],
    ),
    replace(_PORT, description="Only monitors of this port"),
    _text("fingerprint", "SHA-256 of the certificate, with or without colons"),
    _text("serial", "Instead of `fingerprint`: its serial number in hexadecimal"),
    _text("date_end", "When it expires", examples=["2027-02-20 10:00"]),
)


class Refusal(Exception):
    """An error reply: its HTTP status, a sentence, and the seconds to wait before a retry."""

    def __init__(self, code: int, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after


def refuse(code: int, message: str, retry_after: int = 0) -> NoReturn:
    """Raise a Refusal."""
    raise Refusal(code, message, retry_after)


def parse(parser: Callable[[Params], T], params: Params) -> T:
    """Parse the parameters; the parser's ValueError becomes a 400."""
    try:
        return parser(params)
    except ValueError as fault:
        refuse(400, str(fault))


async def read_params(request: web.Request) -> dict[str, str]:
    """The form and the query together; the first value of a name counts, the form's before all.

    A form that can't be read is refused with 400.
    """
    pairs = [*request.query.items()]
    if request.method == "POST":
        try:
            form = [(n, v) for n, v in (await request.post()).items() if isinstance(v, str)]
            "".join(map("".join, form)).encode()  # some charsets decode to lone surrogates
        except _UNREADABLE:
            refuse(400, "The form can't be read.")
        pairs = form + pairs
    return dict(reversed(pairs))


def monitor_id(params: Params) -> int:
    """The `id`; 404 for one that no monitor can have."""
    text = params.get("id", "").strip()
    if not text:
        refuse(400, "The parameter id is missing.")
    if not (text.isascii() and text.isdecimal()):
        refuse(400, "The parameter id is not a number.")
    if len(text) > 10 or int(text) > LARGEST_ID:
        refuse(404, NOT_FOUND)
    return int(text)


def announcement(params: Params, now: datetime) -> Announcement:
    """The announcement of monitor/expect. Raises ValueError; refuses an impossible `id`."""
    names, port = read_names(params.get("host", "")), _number(params, _PORT)
    if params.get("id", "").strip():
        if names or port:
            raise ValueError("Give either id or host, not both.")
        id_, names = monitor_id(params), ()
    elif names:
        id_ = None
    else:
        raise ValueError("A parameter is missing: give id, or host.")
    return Announcement(Expected.read(params), expiry(params, now), id_, names, port)


def list_slice(params: Params) -> Slice | None:
    """`limit` and `offset`; None if neither is given. Raises ValueError."""
    if not (params.get("limit") or params.get("offset")):
        return None
    limit = _number(params, _LIMIT)
    return Slice(
        _LIMIT.schema["maximum"] if limit is None else limit, _number(params, _OFFSET) or 0
    )


def cursor_and_limit(params: Params) -> tuple[str, int]:
    """The `since` of monitor/changes, and the most changes in one reply. Raises ValueError."""
    return params.get("since", "").strip(), _number(params, CHANGES_SINCE[1]) or CHANGES


def _number(params: Params, parameter: APIParameter) -> int | None:
    text = params.get(parameter.name, "").strip()
    if not text:
        return None
    low, high = parameter.schema["minimum"], parameter.schema["maximum"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and low <= int(text) <= high):
        raise ValueError(f"The parameter {parameter.name} must be a number from {low} to {high}.")
    return int(text)


def job(params: Params) -> Job:
    """What monitor/add and checks should scan, and how. Raises ValueError."""
    return Job(_target(params), _protocol(params), _proxy(params))


def permitted_job(params: Params, guard: Guard) -> Job:
    """The job, refused if its address is forbidden."""
    found = parse(job, params)
    if found.proxy is None:
        permitted = guard.permits_literal(found.target)
    else:
        direct = guard.permits_literal(found.proxy.target)
        permitted = direct and guard.permits_proxied(found.target)
    return found if permitted else refuse(400, f"{REFUSED}.")


def _target(params: Params) -> Target:
    host, url = (params.get(name, "").strip() for name in ("host", "url"))
    port = _number(params, _PORT)
    if url and (host or port):
        raise ValueError("Give either host and port or url, not both.")
    if url:
        return Target.parse(url)
    if not host or port is None:
        raise ValueError("A parameter is missing: give host and port, or url.")
    return Target(normal_host(host), port)


def _protocol(params: Params) -> str:
    text = params.get("protocol", "").strip().lower()
    if text in {"", "tls"}:
        return ""
    if text not in PROTOCOLS:
        raise ValueError(f"The parameter protocol must be one of tls, {', '.join(PROTOCOLS)}.")
    return text


def _proxy(params: Params) -> HTTPProxy | None:
    host, username = (params.get(name, "").strip() for name in ("proxy_host", "proxy_username"))
    password = params.get("proxy_password", "")
    port = _number(params, _PROXY_PORT)
    if not (host or port or username or password):
        return None
    if not host or port is None:
        raise ValueError("A proxy needs proxy_host and proxy_port.")
    if password and not username:
        raise ValueError("The parameter proxy_password needs proxy_username.")
    if len(username) + len(password) > 1000 or not (username + password).isprintable():
        raise ValueError("The proxy's user name or password is too long or has invalid characters.")
    if ":" in username:  # RFC 7617, section 2
        raise ValueError("The parameter proxy_username can't contain a colon.")
    return HTTPProxy(normal_host(host), port, username, password)
