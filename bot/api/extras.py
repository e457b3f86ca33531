"""What some SSLmonitor APIs offer beyond the documented page, and how it is decoded.

Such an API describes itself in `openapi.json` (OpenAPI 3.1): only what that lists is requested.
Wire names stay in this module, as in `models`, and any field may be missing or malformed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from bot.api.lenient import read_leniently
from bot.api.models import Monitor, MonitorSummary, read_date, read_summary
from bot.api.reading import read_monitor
from bot.api.reply import Reply, decoded, judge, readable, value
from bot.errors import APIRefused, APIUnreachable, BotError
from bot.target import Target

if TYPE_CHECKING:
    from bot.api.client import SSLMonitor

DESCRIPTION = "openapi.json"
MOST_CURSOR = 200
CHANGES_AT_ONCE = 100
LACK_KEPT = timedelta(hours=1)  # how long a missing endpoint counts as missing
FAULT_KEPT = timedelta(minutes=1)  # how long to wait before reading openapi.json again
#: No STARTTLS: TLS from the first byte.
TLS = "tls"
#: STARTTLS by protocol, and its usual ports: the first is the default.
PORTS = {
    "smtp": (25, 587),
    "imap": (143,),
    "pop3": (110,),
    "ldap": (389,),
    "postgres": (5432,),
    "mysql": (3306,),
}


class Extra(StrEnum):
    """An endpoint, by its path, or a parameter of one, that only some APIs have."""

    CHECK = "checks"
    HISTORY = "monitor/history"
    PROTOCOL = "monitor/add?protocol"
    EXPECT = "monitor/expect"
    CHANGES = "monitor/changes"
    ATTENTION = "monitor/list?attention_days"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a one-off scan. Nothing was stored, so both IDs are 0, which no monitor has.

    `row` is what monitor/list would return, `found` what monitor/get would.
    """

    row: MonitorSummary
    found: Monitor


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """The state that scans found from `at` on; None or empty if unknown."""

    at: datetime
    valid: bool | None
    message: str
    host_match: bool | None
    not_before: datetime | None
    not_after: datetime | None
    issuer: str


@dataclass(frozen=True, slots=True)
class History:
    """The newest changes of a monitor, newest first, and how many there are in total."""

    changes: tuple[HistoryEntry, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed since a cursor: the monitors as they are now, and `next`, the new cursor.

    `names` are those that certificates gained and lost, by monitor ID. `more` changes follow after
    `next`.
    """

    rows: tuple[MonitorSummary, ...]
    names: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]]
    next: str
    more: bool

    def then(self, later: Changes) -> Changes:
        """These changes, combined with later ones."""
        rows = {row.id: row for row in (*self.rows, *later.rows)}
        return Changes(tuple(rows.values()), {**self.names, **later.names}, later.next, later.more)


class WireChange(msgspec.Struct):
    """A row of monitor/changes."""

    id: int
    names_added: list[str] | None = None
    names_removed: list[str] | None = None
    monitor: dict[str, Any] | None = None


class WireHistoryEntry(msgspec.Struct):
    """A row of monitor/history."""

    date: str
    ssl_valid: bool | None = None
    ssl_message: str | None = None
    ssl_host_match: bool | None = None
    ssl_expire_date_start: str | None = None
    ssl_expire_date_end: str | None = None
    ssl_issuer: str | None = None


def read_extras(reply: Reply) -> frozenset[Extra]:
    """The extras that the description lists; none if the reply is not a description.

    Raises APIRefused or APIUnreachable if the server is too busy or broken to say.
    """
    try:
        fields = judge(reply)
    except APIRefused as refusal:
        if refusal.code == 429 or 500 <= refusal.code < 600:
            raise
        return frozenset()
    except APIUnreachable:
        if reply.status >= 500:
            raise
        return frozenset()
    paths = value(fields, "paths")
    known = paths if isinstance(paths, dict) else {}
    return frozenset(
        each for each in Extra if any(_describes(path, known[path], each) for path in known)
    )


def _describes(path: str, operations: Any, extra: Extra) -> bool:
    """Whether this path is the extra, or takes it as a parameter of its GET."""
    endpoint, _, name = extra.partition("?")
    if not path.rstrip("/").endswith(f"/{endpoint}"):
        return False
    if not name:
        return True
    operation = operations.get("get") if isinstance(operations, dict) else None
    parameters = operation.get("parameters") if isinstance(operation, dict) else None
    return isinstance(parameters, list) and any(
        isinstance(each, dict) and each.get("name") == name for each in parameters
    )


def read_changes(raw: Mapping[str, Any], offset: timedelta) -> Changes:
    """Decode monitor/changes; unreadable rows are left out, since the next list covers them.

    Raises ValueError if the list or the cursor is missing.
    """
    rows: dict[int, MonitorSummary] = {}
    names: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for row in msgspec.convert(raw.get("list"), list[Any]):
        with suppress(ValueError, RecursionError):
            wire = read_leniently(row, WireChange)
            if wire.names_added or wire.names_removed:
                names[wire.id] = (tuple(wire.names_added or ()), tuple(wire.names_removed or ()))
            if wire.monitor is not None:
                rows[wire.id] = read_summary(wire.monitor, offset)
    cursor = msgspec.convert(raw.get("next"), str)
    if not 0 < len(cursor) <= MOST_CURSOR:
        raise ValueError("a cursor that can't be used")
    return Changes(tuple(rows.values()), names, cursor, raw.get("more") is True)


def read_history(raw: Mapping[str, Any], offset: timedelta) -> History:
    """Decode monitor/history; unreadable rows are left out.

    Raises ValueError if the list is missing.
    """
    told = []
    for row in msgspec.convert(raw.get("list"), list[Any]):
        with suppress(ValueError, RecursionError):
            told.append(_change(read_leniently(row, WireHistoryEntry), offset))
    changes = sorted(told, key=lambda change: change.at, reverse=True)
    total = raw.get("total")
    return History(tuple(changes), max(total if isinstance(total, int) else 0, len(changes)))


def _change(wire: WireHistoryEntry, offset: timedelta) -> HistoryEntry:
    at = read_date(wire.date, offset)
    if at is None:
        raise ValueError("a change without a date")
    return HistoryEntry(
        at=at,
        valid=wire.ssl_valid,
        message=wire.ssl_message or "",
        host_match=wire.ssl_host_match,
        not_before=read_date(wire.ssl_expire_date_start, offset),
        not_after=read_date(wire.ssl_expire_date_end, offset),
        issuer=wire.ssl_issuer or "",
    )


def read_check(raw: Any, offset: timedelta) -> Check:
    """Decode the `check` of checks. Raises ValueError if it names no host."""
    named = msgspec.convert(raw, dict[str, Any]) | {"id": 0}
    found, row = read_monitor(named, offset), read_summary(named, offset)
    leaf = found.certificate
    if leaf is not None:
        issuer = leaf.issuer.cn or leaf.issuer.o
        dates = {"not_before": leaf.not_before, "not_after": leaf.not_after}
        row = msgspec.structs.replace(row, issuer=issuer, **dates)
    return Check(msgspec.structs.replace(row, http_code=found.http.code), found)


class Extras:
    """Uses what only some APIs have. Every method raises APIRefused or APIUnreachable."""

    def __init__(self, api: SSLMonitor, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._offered: frozenset[Extra] = frozenset()
        self._lacks_until = self._not_said_until = clock()
        self._not_said: BotError | None = None

    async def offers(self, extra: Extra, *, hurry: bool = False) -> bool:
        """Whether `openapi.json` lists an extra.

        A yes is kept for good, a no for LACK_KEPT. In a `hurry`, a fault of the last minute is
        raised again instead of asking.
        """
        now = self._clock()
        if extra in self._offered or timedelta() < self._lacks_until - now <= LACK_KEPT:
            return extra in self._offered
        recent = timedelta() < self._not_said_until - now <= FAULT_KEPT
        if hurry and self._not_said is not None and recent:
            raise self._not_said
        try:
            self._offered |= await self._api.again(self._described)
        except BotError as fault:
            self._not_said, self._not_said_until = fault, now + FAULT_KEPT
            raise
        self._lacks_until = now + LACK_KEPT
        return extra in self._offered

    async def _described(self) -> frozenset[Extra]:
        return read_extras(await self._api.fetch(DESCRIPTION))

    async def check(self, target: Target, protocol: str = "") -> Check:
        """Scan a host and port once, and store nothing (`checks`).

        `protocol` names the STARTTLS protocol to use before TLS (`smtp`); empty for none. The
        request isn't retried: a scan is expensive, and whoever waits for it can ask again.
        """
        query = {"host": target.host, "port": str(target.port)}
        if protocol:
            query["protocol"] = protocol
        fields = await self._api.try_once("checks", query)
        return readable("check", lambda: read_check(value(fields, "check"), self._api.offset))

    async def history(self, monitor_id: int, limit: int) -> History:
        """What changed on a monitor, newest first (`monitor/history`)."""
        query = {"id": str(monitor_id), "limit": str(limit)}
        fields = await self._api.read("monitor/history", query)
        return readable("history", lambda: read_history(decoded(fields), self._api.offset))

    async def changes(self, since: str) -> Changes:
        """What changed since a cursor; without one, where to start (`monitor/changes`).

        Raises APIRefused with the code 410 if the cursor is too old.
        """
        query = {"since": since, "limit": str(CHANGES_AT_ONCE)} if since else {}
        fields = await self._api.read("monitor/changes", query)
        return readable("changes", lambda: read_changes(decoded(fields), self._api.offset))
