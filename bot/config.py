"""Settings from the environment: typed, secrets masked, all faults reported together."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import time, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from bot.dates import parse_duration
from bot.errors import ConfigError
from bot.target import MAX_PORT, address_fault

SECRET_KEY_LENGTH = 16
HOSTED_API = "https://api.sslmonitor.io/api/v1"


class Secret:
    """A text that never shows itself: `reveal()` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one call that needs it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret('…')" if self._text else "Secret('')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self._text

    def __hash__(self) -> int:
        return hash(self._text)


Mode = Literal["socket", "http"]
Method = Literal["GET", "POST"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, as the programs read it. The README's table is tested against it.

    `api_url` is empty where the bot is to start the embedded API in its own process.
    """

    slack_bot_token: Secret
    slack_app_token: Secret
    slack_signing_secret: Secret
    slack_mode: Mode
    slack_api_url: str
    api_url: str
    api_key: Secret
    api_write_method: Method
    api_allow_http: bool
    admins: frozenset[str]
    digest_channel: str
    digest_time: time
    digest_timezone: ZoneInfo
    digest_expire_days: int
    database_url: str = field(repr=False)  # it may hold a password
    host: str
    port: int
    embedded_api_key: Secret
    scan_allow: str
    scan_deny: str
    scan_ca_file: Path | None
    scan_interval: timedelta
    scan_rate_limit: int
    secret_key: Secret
    geoip_file: Path | None
    watch_interval: timedelta
    log_level: int


#: Each environment variable, the field it fills, and its default (None: it is empty until set).
VARIABLES: dict[str, tuple[str, str | None]] = {
    "SLACK_BOT_TOKEN": ("slack_bot_token", None),
    "SLACK_APP_TOKEN": ("slack_app_token", None),
    "SLACK_SIGNING_SECRET": ("slack_signing_secret", None),
    "SLACK_MODE": ("slack_mode", None),
    "SLACK_API_URL": ("slack_api_url", "https://slack.com/api/"),
    "SSLMONITOR_API_URL": ("api_url", None),
    "SSLMONITOR_API_KEY": ("api_key", None),
    "SSLMONITOR_API_WRITE_METHOD": ("api_write_method", "GET"),
    "SSLMONITOR_API_ALLOW_HTTP": ("api_allow_http", "0"),
    "SSL_ADMINS": ("admins", None),
    "DIGEST_CHANNEL": ("digest_channel", None),
    "DIGEST_TIME": ("digest_time", "09:00"),
    "DIGEST_TIMEZONE": ("digest_timezone", "UTC"),
    "DIGEST_EXPIRE_DAYS": ("digest_expire_days", "30"),
    "DATABASE_URL": ("database_url", "sqlite:///sslmonitor-bot.sqlite3"),
    "HOST": ("host", "0.0.0.0"),  # noqa: S104 - a container's own address is not known beforehand
    "PORT": ("port", "3000"),
    "EMBEDDED_API_KEY": ("embedded_api_key", None),
    "SCAN_ALLOW": ("scan_allow", None),
    "SCAN_DENY": ("scan_deny", None),
    "SCAN_CA_FILE": ("scan_ca_file", None),
    "SCAN_INTERVAL": ("scan_interval", "12h"),
    "SCAN_RATE_LIMIT": ("scan_rate_limit", "120"),
    "SECRET_KEY": ("secret_key", None),
    "GEOIP_FILE": ("geoip_file", None),
    "WATCH_INTERVAL": ("watch_interval", "60s"),
    "LOG_LEVEL": ("log_level", "INFO"),
}

#: Each scope of the manifest: whether the bot can't do without it, and what it is for.
SCOPES: dict[str, tuple[bool, str]] = {
    "commands": (True, "take the slash command"),
    "chat:write": (True, "post cards and the digest"),
    "chat:write.public": (False, "post in public channels that the bot was not invited to"),
    "app_mentions:read": (False, "hear that it is mentioned"),
    "im:history": (False, "hear direct messages"),
    "users:read": (False, "tell members from guests, and say who asked"),
    "usergroups:read": (False, "see who is in the user groups of SSL_ADMINS"),
    "files:write": (False, "send a list as a file"),
    "channels:read": (False, "let this check see whether the bot is in the digest's channel"),
    "groups:read": (False, "the same for a private channel"),
    "channels:history": (False, "look whether a digest was posted before it is posted again"),
    "groups:history": (False, "the same in a private channel"),
}

_TOKEN = re.compile(r"^[\x21-\x7e]+$")


def _secret(prefix: str) -> Callable[[str], Secret]:
    def read(text: str) -> Secret:
        if text and not (text.startswith(prefix) and _TOKEN.match(text)):
            start = f"it must start with {prefix} and " if prefix else "it must "
            raise ValueError(f"{start}hold no spaces or special letters")
        return Secret(text)

    return read


def _secret_key(text: str) -> Secret:
    if text and len(text) < SECRET_KEY_LENGTH:
        raise ValueError(f"it must be a random text of at least {SECRET_KEY_LENGTH} characters")
    return Secret(text)


def _web_address(text: str) -> str:
    fault = ValueError("it must be a web address such as https://host/path")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:  # its own words repeat the address, which may hold a password
        raise fault from None
    if text and (url.scheme not in {"http", "https"} or not url.hostname or url.query or port == 0):
        raise fault
    return text


def _slack_api_url(text: str) -> str:
    if not text.endswith("/"):
        raise ValueError("it must end in a slash")
    return _web_address(text)


def _choice(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        raise ValueError(f"it must be one of {', '.join(filter(None, choices))}")

    return read


def _switch(text: str) -> bool:
    if text.lower() not in {"0", "1", "false", "true", "no", "yes"}:
        raise ValueError("it must be 1 or 0")
    return text.lower() in {"1", "true", "yes"}


def _channel(text: str) -> str:
    if text and not re.match(r"^[CG][A-Z0-9]{2,}$", text):
        raise ValueError("it must be a channel's id such as C0123ABCD (at the end of its details)")
    return text


def _admins(text: str) -> frozenset[str]:
    names = [name for name in re.split(r"[\s,;]+", text) if name]
    for name in names:
        if not re.match(r"^[UWS][A-Z0-9]{2,}$", name):
            raise ValueError(
                f"“{name}” is not the id of a user (U0123ABCD) or of a user group (S0123ABCD)"
            )
    return frozenset(names)


def _time(text: str) -> time:
    if not re.match(r"^([01][0-9]|2[0-3]):[0-5][0-9]$", text):
        raise ValueError("it must be a time of day such as 09:00")
    return time.fromisoformat(text)


def _timezone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError("it must be the name of a time zone such as Europe/Berlin") from None


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
            raise ValueError(f"it must be a number from {least} to {most}")
        return int(text)

    return read


def _duration(least: str, most: str) -> Callable[[str], timedelta]:
    def read(text: str) -> timedelta:
        duration = parse_duration(text)
        if not parse_duration(least) <= duration <= parse_duration(most):
            raise ValueError(f"it must be from {least} to {most}")
        return duration

    return read


def _file(text: str) -> Path | None:
    path = Path(text) if text else None
    if path and not path.is_file():
        raise ValueError("there is no such file")
    return path


def _log_level(text: str) -> int:
    level = logging.getLevelNamesMapping().get(text.upper())
    if level is None:
        raise ValueError("it must be DEBUG, INFO, WARNING or ERROR")
    return level


def normal_url(url: str) -> str:
    """A database URL with the driver that this package uses.

    `postgres://` and `postgresql://` mean asyncpg, `sqlite://` means aiosqlite. Raises ValueError
    for what is no URL, or another engine.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("it is not a database URL") from None
    drivers = {
        "postgres": "postgresql+asyncpg",
        "postgresql": "postgresql+asyncpg",
        "postgresql+asyncpg": "postgresql+asyncpg",
        "sqlite": "sqlite+aiosqlite",
        "sqlite+aiosqlite": "sqlite+aiosqlite",
    }
    if parsed.drivername not in drivers:
        raise ValueError("it must start with sqlite:/// or postgresql://")
    return parsed.set(drivername=drivers[parsed.drivername]).render_as_string(hide_password=False)


_READERS: dict[str, Callable[[str], Any]] = {
    "slack_bot_token": _secret("xoxb-"),
    "slack_app_token": _secret("xapp-"),
    "slack_signing_secret": _secret(""),
    "slack_mode": _choice("", "socket", "http"),
    "slack_api_url": _slack_api_url,
    "api_url": _web_address,
    "api_key": _secret(""),
    "api_write_method": _choice("GET", "POST"),
    "api_allow_http": _switch,
    "admins": _admins,
    "digest_channel": _channel,
    "digest_time": _time,
    "digest_timezone": _timezone,
    "digest_expire_days": _number(1, 3650),
    "database_url": normal_url,
    "host": str,
    "port": _number(0, MAX_PORT),
    "embedded_api_key": _secret(""),
    "scan_allow": str,
    "scan_deny": str,
    "scan_ca_file": _file,
    "scan_interval": _duration("1m", "30d"),
    "scan_rate_limit": _number(0, 1_000_000),
    "secret_key": _secret_key,
    "geoip_file": _file,
    "watch_interval": _duration("1s", "1h"),
    "log_level": _log_level,
}

#: In the place of what is set and can't be used, so that it is not called missing as well.
_STAND_INS: dict[str, Any] = {
    "slack_bot_token": Secret("?"),
    "slack_app_token": Secret("?"),
    "slack_signing_secret": Secret("?"),
    "api_url": HOSTED_API,
    "api_key": Secret("?"),
    "digest_channel": "?",
    "embedded_api_key": Secret("?"),
}


def read_settings(
    environ: Mapping[str, str],
    *,
    program: str = "run",
    scan_rules: Callable[[str], object] = str,
) -> Settings:
    """The settings of one program: `run`, `check`, `digest`, `embedded` or `keys`.

    `scan_rules` judges SCAN_ALLOW and SCAN_DENY (the scanner's own parser; ValueError for what it
    can't read).

    Raises ConfigError with every fault, each a sentence that names the variable and says what to
    do. Values of secrets are never repeated in it.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    for variable, (name, default) in VARIABLES.items():
        text = environ.get(variable, "").strip() or default or ""
        try:
            values[name] = _READERS[name](text)
            if name in {"scan_allow", "scan_deny"}:
                scan_rules(text)
        except ValueError as fault:
            faults.append(f"{variable} can't be used: {str(fault).rstrip('.')}.")
            values[name] = _STAND_INS.get(name) or _READERS[name](default or "")
    if program == "embedded":
        faults += _embedded_faults(values)
    elif program != "keys":  # which needs the database alone
        faults += _slack_faults(values, program) + _api_faults(values)
    values["slack_mode"] = values["slack_mode"] or _usual_mode(values)
    if faults:
        raise ConfigError(faults)
    return Settings(**{each.name: values[each.name] for each in fields(Settings)})


def _usual_mode(values: dict[str, Any]) -> Mode:
    return "socket" if values["slack_app_token"] or not values["slack_signing_secret"] else "http"


def _embedded_faults(values: dict[str, Any]) -> list[str]:
    if values["embedded_api_key"]:
        return []
    return [
        "EMBEDDED_API_KEY is missing: choose a long random text, which clients send as their key."
    ]


def _slack_faults(values: dict[str, Any], program: str) -> list[str]:
    faults = []
    if not values["slack_bot_token"]:
        faults.append(
            "SLACK_BOT_TOKEN is missing: it starts with xoxb- and stands in your Slack app's "
            "settings under “OAuth & Permissions”."
        )
    if program == "digest":
        if not values["digest_channel"]:
            faults.append("DIGEST_CHANNEL is missing: the id of the channel to post to.")
        return faults
    if not (values["slack_app_token"] or values["slack_signing_secret"]):
        faults.append(
            "SLACK_APP_TOKEN is missing: it starts with xapp- and is made under “Basic "
            "Information”, “App-Level Tokens”. (Or set SLACK_SIGNING_SECRET for HTTP mode.)"
        )
    elif values["slack_mode"] == "socket" and not values["slack_app_token"]:
        faults.append("SLACK_MODE is socket, which needs SLACK_APP_TOKEN (it starts with xapp-).")
    elif values["slack_mode"] == "http" and not values["slack_signing_secret"]:
        faults.append("SLACK_MODE is http, which needs SLACK_SIGNING_SECRET.")
    return faults


def _api_faults(values: dict[str, Any]) -> list[str]:
    if values["api_url"] and not values["api_key"]:
        return ["SSLMONITOR_API_KEY is missing: the key for the API that SSLMONITOR_API_URL names."]
    if values["api_key"] and not values["api_url"]:
        values["api_url"] = HOSTED_API
    fault = address_fault(values["api_url"], allow_http=values["api_allow_http"])
    if not values["api_url"] or fault is None:
        return []
    remedy = " For a private network, set SSLMONITOR_API_ALLOW_HTTP=1." * ("unencrypted" in fault)
    return [f"SSLMONITOR_API_URL can't be used: {fault}{remedy}"]
