"""Judges a reply of the SSLmonitor API by its envelope.

The envelope in the body decides: `success`, or `code`, `message` and `req_id`. The HTTP status only
counts if the body says nothing, since the API's page documents no status.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import msgspec

from bot.errors import APIRefused, APIUnreachable, BadKey, NotFound

Fields = dict[str, msgspec.Raw]
"""A reply's outermost object, its values not decoded yet."""

T = TypeVar("T")

_YES = frozenset({"1", "1.0", "true", "yes", "ok"})
_NO = frozenset({"", "0", "0.0", "false", "no", "error", "failed"})
MAX_MENDED = 16 * 2**20  # bytes; repairing a reply blocks the event loop
LONGEST_WAIT = 86_400.0  # seconds
LONGEST_MESSAGE = 500  # characters of an error message that anybody reads


class Misdirected(APIUnreachable):
    """Something other than the API replied: retrying won't help, and nothing was done."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server sent, not yet judged."""

    status: int
    body: bytes
    retry_after: float | None = None


def judge(reply: Reply, *, hide: Iterable[str] = (), of_one: bool = False) -> Fields:
    """The fields of a successful reply. Raises APIRefused, NotFound, BadKey or APIUnreachable.

    Texts in `hide` are redacted from the server's message, in case it repeats them. Code 404
    means that a monitor is gone only if the request was about one (`of_one`).
    """
    try:
        fields = _fields(reply.body.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        raise _unusable(reply) from None
    success, code = _verdict(value(fields, "success")), value(fields, "code")
    if success:
        number = code if _is_number(code) else 0
        if int(number) and not 200 <= int(number) < 300:
            raise APIUnreachable(f"The SSLmonitor API's answer contradicts itself (code {number}).")
        return fields
    said_no = success is False or code is not None
    if said_no or (reply.status >= 400 and fields.keys() & {"message", "success"}):
        raise _refusal(fields, reply, hide, of_one)
    if 200 <= reply.status < 300:
        return fields
    raise _unusable(reply)


def _verdict(success: Any) -> bool | None:
    """Whether `success` says yes; None if it says neither yes nor no."""
    word = "" if success in ([], {}) else str(success).strip().lower()
    return word in _YES if word in _YES | _NO else None


def _fields(body: bytes) -> Fields:
    """The outermost object's fields. Raises ValueError or RecursionError.

    Also accepts what is almost JSON: with NaN, a lone surrogate, in UTF-16, or followed by text.
    """
    try:
        return msgspec.json.decode(body, type=Fields)
    except ValueError:
        if len(body) > MAX_MENDED:
            raise
        text = body.decode(json.detect_encoding(body), "replace").lstrip()
        found = json.JSONDecoder(parse_constant=lambda _: None).raw_decode(text)[0]
        if not isinstance(found, dict):
            raise
        plain = json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")
        return msgspec.json.decode(plain, type=Fields)


def _is_number(code: object) -> bool:
    return re.fullmatch("[0-9]{1,9}", str(code)) is not None


def _refusal(fields: Fields, reply: Reply, hide: Iterable[str], of_one: bool) -> APIRefused:
    code, status = value(fields, "code"), reply.status if reply.status >= 300 else 0
    code = int(code) if _is_number(code) else status
    said = value(fields, "message")
    texts = [each for each in (said if isinstance(said, list) else [said]) if isinstance(each, str)]
    message = ("; ".join(texts) or "no reason given")[:LONGEST_MESSAGE]
    for secret in filter(None, hide):
        message = message.replace(secret, "…")
    req_id = str(value(fields, "req_id") or "")
    kind = {401: BadKey, 404: NotFound if of_one else APIRefused}.get(code, APIRefused)
    return kind(code, message, req_id, retry_after=reply.retry_after)


def _unusable(reply: Reply) -> APIRefused | APIUnreachable:
    """The error for a reply whose body isn't the API's."""
    status = reply.status
    if status == 401:
        return BadKey(status, "The key was not accepted.")
    if status == 429:
        return APIRefused(status, "Too many requests.", retry_after=reply.retry_after)
    if 300 <= status < 500:
        return Misdirected(
            f"Something other than the SSLmonitor API answered (HTTP status {status}). "
            "Check its address."
        )
    silent = APIUnreachable(f"The SSLmonitor API's answer can't be read (HTTP status {status}).")
    silent.retry_after = reply.retry_after
    return silent


def value(fields: Fields, name: str) -> Any:
    """A field's value; None if it is missing or can't be read."""
    try:
        return msgspec.json.decode(fields[name])
    except (KeyError, ValueError):
        return None


def decoded(fields: Fields) -> dict[str, Any]:
    """The values of all fields."""
    return {name: value(fields, name) for name in fields}


def answered(fields: Fields, *names: str, written: bool = False) -> Fields:
    """The reply, if it reports success or has one of these fields; APIUnreachable if neither."""
    told = any(value(fields, name) is not None for name in names)
    if not told and not _verdict(value(fields, "success")):
        text = "The SSLmonitor API's answer doesn't say whether the request succeeded."
        raise APIUnreachable(text, maybe_done=written)
    return fields


def readable(what: str, read: Callable[[], T], *, written: bool = False) -> T:
    """What `read` makes of a successful reply. Raises APIUnreachable if that is malformed."""
    try:
        return read()
    except (KeyError, ValueError, RecursionError):
        raise APIUnreachable(
            f"The SSLmonitor API's answer contains no readable {what}.", maybe_done=written
        ) from None


def seconds(retry_after: str | None, now: datetime) -> float | None:
    """How many seconds a Retry-After asks to wait (RFC 9110, section 10.2.3): seconds or a date.

    None if it is malformed, or more than LONGEST_WAIT.
    """
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        wait = float(text)
    else:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        wait = max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())
    return wait if wait <= LONGEST_WAIT else None
