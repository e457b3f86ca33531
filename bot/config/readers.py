"""The readers of settings: one for each kind of value.

A reader converts a text, or raises ValueError with a sentence that tells the operator what to write
instead. Readers of optional values accept an empty text.
"""

import hmac
import logging
import re
from collections.abc import Callable, Mapping
from datetime import time, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from bot.config.database_url import engine_arguments
from bot.dates import parse_duration

SECRET_KEY_LENGTH = 16

#: After the start or a comma: an issuer, and its URL.
_DIRECTORY = r"(?:^|,)\s*([^=\s,][^=]*?)\s*=\s*([^\s,=]+)\s*(?=,|$)"
_PRINTABLE = re.compile(r"[\x21-\x7e]+")

S = TypeVar("S", bound=str)


class Secret:
    """A text that is never shown by accident: only `reveal()` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one call that needs it."""
        return self._text

    def matches(self, given: str) -> bool:
        """Whether a text is the secret, compared in constant time; never if the secret is empty."""
        return bool(self) and hmac.compare_digest(given.encode(), self._text.encode())

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret('…')" if self._text else "Secret('')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def token(prefix: str = "") -> Callable[[str], Secret]:
    """A token or key that is sent in HTTP headers: printable ASCII, starting with `prefix`."""

    def read(text: str) -> Secret:
        if text and not (text.startswith(prefix) and _PRINTABLE.fullmatch(text)):
            start = f"It must start with {prefix} and" if prefix else "It must"
            raise ValueError(f"{start} contain only ASCII letters, digits and symbols.")
        return Secret(text)

    return read


def long_token(text: str) -> Secret:
    """A token of at least SECRET_KEY_LENGTH characters."""
    if text and len(text) < SECRET_KEY_LENGTH:
        raise ValueError(f"Use a random text of at least {SECRET_KEY_LENGTH} characters.")
    return token()(text)


def secret_key(text: str) -> Secret:
    """A key for encryption, any text of at least SECRET_KEY_LENGTH characters."""
    if text and len(text) < SECRET_KEY_LENGTH:
        raise ValueError(f"Use a random text of at least {SECRET_KEY_LENGTH} characters.")
    return Secret(text)


def base_url(text: str) -> str:
    """An http or https URL to which paths are appended."""
    fault = ValueError("Use a URL without user name and query, such as https://example.com/api.")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:  # its message repeats the URL, which may contain a password
        raise fault from None
    if text and (url.scheme not in {"http", "https"} or not url.hostname or port == 0):
        raise fault
    if url.query or url.username is not None:
        raise fault
    return text


def directories(text: str) -> Mapping[str, str]:
    """URLs by issuer: `ISSUER=URL, ISSUER=URL`; an issuer's name may contain commas."""
    if text and not re.fullmatch(rf"(?:{_DIRECTORY})+,?", text):
        raise ValueError("Use ISSUER=URL, separated by commas.")
    found = re.findall(_DIRECTORY, text)
    if len({name.casefold() for name, _ in found}) < len(found):
        raise ValueError("Use each issuer's name once.")
    return {name: base_url(url) for name, url in found}


def slack_api_url(text: str) -> str:
    """The base URL of Slack's Web API; slack_sdk appends method names to it as they are."""
    if not text.endswith("/"):
        raise ValueError("It must end with a slash.")
    return base_url(text)


def one_of(*choices: S) -> Callable[[str], S]:
    """One of these words, in upper or lower case."""

    def read(text: str) -> S:
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        raise ValueError(f"Use one of {', '.join(choices)}.")

    return read


def switch(text: str) -> bool:
    """`1` or `0`; also true/false and yes/no."""
    if text.lower() not in {"0", "1", "false", "true", "no", "yes"}:
        raise ValueError("Use 1 or 0.")
    return text.lower() in {"1", "true", "yes"}


def channel(text: str) -> str:
    """The ID of a channel."""
    if text and not re.fullmatch(r"[CG][A-Z0-9]{2,}", text):
        raise ValueError(
            "Use a channel ID such as C0123ABCD (at the end of the channel's details)."
        )
    return text


def admins(text: str) -> frozenset[str]:
    """The IDs of users and user groups, separated by commas or spaces."""
    ids = [each for each in re.split(r"[\s,;]+", text) if each]
    for each in ids:
        if not re.fullmatch(r"[UWS][A-Z0-9]{2,}", each):
            raise ValueError(f"“{each}” is not the ID of a user (U0123ABCD) or group (S0123ABCD).")
    return frozenset(ids)


def mention(text: str) -> str:
    """The ID of one user or user group; empty for nobody."""
    if text and not re.fullmatch(r"[UWS][A-Z0-9]{2,}", text):
        raise ValueError(f"“{text}” is not the ID of a user (U0123ABCD) or group (S0123ABCD).")
    return text


def interval_or_off(text: str) -> timedelta:
    """A duration such as `15m`, from 1m to 1d; `0` is off."""
    return timedelta() if text in {"0", "0s"} else duration("1m", "1d")(text)


def time_of_day(text: str) -> time:
    """`HH:MM`."""
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError("Use a time of day such as 09:00.")
    return time.fromisoformat(text)


def timezone(text: str) -> ZoneInfo:
    """The name of a time zone in the IANA database."""
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError("Use the name of a time zone, such as Europe/Berlin.") from None


def number(least: int, most: int) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
            raise ValueError(f"Use a number from {least} to {most}.")
        return int(text)

    return read


def duration(least: str, most: str) -> Callable[[str], timedelta]:
    """A duration such as `12h`, from `least` to `most`."""

    def read(text: str) -> timedelta:
        value = parse_duration(text)
        if not parse_duration(least) <= value <= parse_duration(most):
            raise ValueError(f"Use a duration from {least} to {most}.")
        return value

    return read


def file(text: str) -> Path | None:
    """The path of a file that exists."""
    path = Path(text) if text else None
    try:
        if path and not path.is_file():
            raise ValueError("There is no such file.")
    except OSError:  # the file's content instead of its path, or a locked folder
        raise ValueError("It can't be opened. Use the path of a file.") from None
    return path


def log_level(text: str) -> int:
    """The name of one of logging's levels."""
    level = logging.getLevelNamesMapping().get(text.upper())
    if level is None:
        raise ValueError("Use DEBUG, INFO, WARNING or ERROR.")
    return level


def database_url(text: str) -> str:
    """A database URL that `engine_arguments` can translate, as it was written."""
    engine_arguments(text)
    return text
