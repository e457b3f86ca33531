"""DATABASE_URL as hosting providers hand it out, translated for the drivers.

PostgreSQL URLs are libpq's (postgresql.org/docs/current/libpq-connect.html, sections 32.1.1.2 and
32.1.2); asyncpg has other names for most parameters, and none for some.
"""

from __future__ import annotations

import importlib.util
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote
from uuid import uuid4

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_POSTGRES = re.compile(
    r"(?:postgres|postgresql|postgresql\+asyncpg)://(?:(?P<user>[^/?]*)@)?(?P<hosts>[^/?]*)"
    r"(?:/(?P<name>[^?]*))?(?:\?(?P<query>.*))?"
)
_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
#: Parameters that asyncpg doesn't need: they tune what it never does, or does on its own.
_IGNORED = frozenset(
    {
        *("channel_binding", "client_encoding", "gssencmode", "krbsrvname", "pgbouncer"),
        *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval"),
        *("sslcompression", "sslnegotiation", "sslsni", "tcp_user_timeout", "load_balance_hosts"),
        *("pool_timeout", "connection_limit", "fallback_application_name"),
    }
)
MAX_PORT = 65_535
_DEFAULT_PORT = 5432
_EXAMPLE = "Use a URL such as postgresql://user:password@host/database."


@dataclass(frozen=True, slots=True)
class EngineArguments:
    """What SQLAlchemy needs to connect: a URL for its async drivers, and the driver's arguments."""

    url: URL
    connect_args: Mapping[str, Any] = field(default_factory=dict)


def engine_arguments(text: str) -> EngineArguments:
    """Translate a database URL. Raises ValueError with a sentence that never repeats the URL."""
    if match := _POSTGRES.fullmatch(text):
        return _postgres(match)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(_EXAMPLE) from None
    if url.drivername not in {"sqlite", "sqlite+aiosqlite"}:
        raise ValueError("It must start with sqlite:/// or postgresql://.")
    path = url.database or ""
    if path.startswith("~"):
        path = str(Path(path).expanduser())
    return EngineArguments(url.set(drivername="sqlite+aiosqlite", database=path or None))


def _postgres(match: re.Match[str]) -> EngineArguments:
    if importlib.util.find_spec("asyncpg") is None:
        raise ValueError("PostgreSQL needs the extra: pip install 'sslmonitor-bot[postgres]'.")
    user, colon, password = (match["user"] or "").partition(":")
    query = parse_qsl(match["query"] or "", keep_blank_values=True)
    hosts = [host for host in (match["hosts"] or "").split(",") if host]
    hosts += [host for name, value in query if name == "host" for host in value.split(",")]
    arguments = _read_parameters(query, "" if match["user"] else match["query"] or "")
    base = "postgresql+asyncpg://"
    if match["user"]:
        base += quote(unquote(user), safe="") + colon + quote(unquote(password), safe="") + "@"
    if len(hosts) == 1 and not hosts[0].startswith("/"):
        base += hosts.pop()
    base += "/" + (match["name"] or "")
    try:
        url = make_url(base)
        if len(hosts) == 1:
            url = url.update_query_dict({"host": hosts[0]})
    except (ArgumentError, ValueError):
        raise ValueError(_EXAMPLE) from None
    if (url.port or 1) > MAX_PORT:
        raise ValueError(_EXAMPLE)
    return EngineArguments(url, arguments.made() | _several(hosts))


def _read_parameters(query: list[tuple[str, str]], suspect: str) -> _Arguments:
    """The parameters but the hosts; in `suspect`, a part of a password may stand before an `@`."""
    arguments = _Arguments()
    try:
        for name, value in query:
            if name != "host":
                arguments.read(name, value)
    except ValueError:
        if "@" not in suspect:
            raise
        raise ValueError(f"{_EXAMPLE} Write special characters of the password as %XX.") from None
    return arguments


def _several(hosts: list[str]) -> dict[str, Any]:
    """Several hosts in asyncpg's form: SQLAlchemy accepts no directories, and needs all ports.

    A host without a port uses libpq's default; a path is the directory of a Unix socket.
    """
    if len(hosts) < 2:
        return {}
    names, ports = [], []
    for host in hosts:
        match = re.fullmatch(r"(?P<name>\[[^]]+\]|/.*|[^:]*)(?::(?P<port>[0-9]{1,5}))?", host)
        if match is None or int(match["port"] or 1) > MAX_PORT:
            raise ValueError(_EXAMPLE)
        names.append(match["name"].strip("[]"))
        ports.append(int(match["port"] or _DEFAULT_PORT))
    return {"host": names, "port": ports}


class _Arguments:
    """asyncpg's arguments, made from libpq's parameters."""

    def __init__(self) -> None:
        # Poolers such as PgBouncer give each transaction another connection, so a prepared
        # statement must not be used twice (docs.sqlalchemy.org, asyncpg, “Prepared Statement
        # Name”).
        self._made: dict[str, Any] = {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"__bot_{uuid4().hex}__",
        }
        self._mode = ""
        self._roots = ""

    def read(self, name: str, value: str) -> None:
        """Translate one parameter. Raises ValueError if it can't be honored."""
        if name in {"sslmode", "ssl"}:
            mode = {"true": "require", "1": "require"}.get(value, value)
            if mode not in _SSL_MODES:
                raise ValueError(f"Its {name} must be one of {', '.join(sorted(_SSL_MODES))}.")
            self._mode = mode
        elif name == "sslrootcert":
            self._roots = value
        elif name == "connect_timeout":
            self._made["timeout"] = self._seconds(value)
        elif name == "application_name":
            self._made["server_settings"] = {"application_name": value}
        elif name == "target_session_attrs":
            self._made[name] = value
        elif name not in _IGNORED:
            raise ValueError(f"Its parameter “{name[:40]}” is not supported. Remove it.")

    def _seconds(self, value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,5}", value):
            raise ValueError("Its connect_timeout must be a number of seconds.")
        return float(value) or 60.0  # to libpq, 0 means no timeout

    def made(self) -> dict[str, Any]:
        """All arguments. Raises ValueError if the file of root certificates can't be read."""
        if self._roots == "system" and self._mode not in {"", "verify-full"}:
            raise ValueError("Its sslrootcert=system needs sslmode=verify-full.")
        if self._roots == "system":
            self._mode = "verify-full"
        elif self._roots and self._mode == "require":
            self._mode = "verify-ca"  # as libpq does
        if self._roots and self._mode.startswith("verify"):
            file = None if self._roots == "system" else self._roots
            try:
                context = ssl.create_default_context(cafile=file)
            except OSError:
                raise ValueError("Its sslrootcert is not a file of PEM certificates.") from None
            context.check_hostname = self._mode == "verify-full"
            self._made["ssl"] = context
        elif self._mode:
            self._made["ssl"] = self._mode
        return self._made
