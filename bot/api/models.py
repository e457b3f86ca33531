"""The data of the SSLmonitor API, and how the rows of its list are decoded.

Wire names (`ssl_expire_date_end`) stay in this folder and in `embedded`. The API's dates have no
zone (`2026-01-01 00:00`); `offset` is its clock's difference from UTC, as measured by
`client.SSLMonitor.measure_clock`. Any field may be missing or null: the examples on the API's page
were typed by hand, so only `id` and `host` are relied on.
"""

import functools
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from bot.api.lenient import read_leniently
from bot.errors import APIUnreachable
from bot.target import HTTPS_PORT, MAX_PORT, Target, normal_host

#: The years accepted in a renewal window, so that it can be shown in any time zone.
FIRST_YEAR, LAST_YEAR = 1970, 9998


class Renewal(msgspec.Struct, frozen=True, gc=False):
    """When the CA asks for renewal (RFC 9773), and the URL of its explanation, if any."""

    start: datetime
    end: datetime
    url: str = ""


class RenewedElsewhere(msgspec.Struct, frozen=True, gc=False):
    """Another monitor serves a newer certificate with the same names, by the same issuer."""

    target: Target
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Name:
    """A distinguished name: common name, organization, country (RFC 5280, section 4.1.2.4)."""

    cn: str = ""
    o: str = ""
    c: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The leaf certificate of a host, as the last scan saw it."""

    subject: Name
    issuer: Name
    alt_names: tuple[str, ...]
    not_before: datetime | None
    not_after: datetime | None


@dataclass(frozen=True, slots=True)
class ChainCertificate:
    """A certificate of the chain that a host sends; the host's own comes first."""

    subject: str
    issuer: str
    not_before: datetime | None
    not_after: datetime | None


@dataclass(frozen=True, slots=True)
class HTTPInfo:
    """The host's reply to `GET /`; None or empty where it gave nothing."""

    ip: str = ""
    ip_rev: str = ""
    ip_geo: str = ""
    code: int | None = None
    size: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    title: str = ""
    description: str = ""
    keywords: str = ""


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor with all facts of its last scan (monitor/get, add and scan).

    What the API doesn't say is empty: the chain; `revocation` (`good`, `revoked …`, `unknown: …`);
    `caa` (why the CA may not renew the certificate); `renewal` (when the CA asks for it, or
    `unknown: …`); `handshake` (protocol, cipher, key, signature, whether X25519MLKEM768 is
    supported, serial number, fingerprint); and `expected` (the certificate that was issued but
    isn't served yet). Only monitor/get returns these, so comparisons ignore them.
    """

    id: int
    target: Target
    scanned_at: datetime | None
    certificate: Certificate | None
    http: HTTPInfo
    chain: tuple[ChainCertificate, ...] = field(default=(), compare=False)
    revocation: str = field(default="", compare=False)
    caa: str = field(default="", compare=False)
    handshake: tuple[str, ...] = field(default=(), compare=False)
    renewal: Renewal | str = field(default="", compare=False)
    expected: tuple[str, ...] = field(default=(), compare=False)


class MonitorSummary(msgspec.Struct, frozen=True, gc=False):
    """A row of monitor/list: the verdict, and what a list or digest needs.

    Only the embedded API provides `fingerprint`, which identifies the certificate; `caa_refuses`
    (its CA may not renew it); `renewal` (when its CA asks for it); `expected_at` (when a
    certificate was issued that isn't served yet); and `renewed` (another monitor serves a newer
    one). `asked` is when the list was requested, which may be before its caller asked for it. The
    garbage collector skips this struct: for 100,000 dataclasses it takes 100 ms.
    """

    id: int
    target: Target
    valid: bool | None
    message: str
    not_before: datetime | None
    not_after: datetime | None
    host_match: bool | None
    issuer: str
    http_code: int | None
    scanned_at: datetime | None
    fingerprint: str = ""
    caa_refuses: bool = False
    renewal: Renewal | None = None
    expected_at: datetime | None = None
    renewed: RenewedElsewhere | None = None
    asked: datetime | None = None


class MonitorList(list[MonitorSummary]):
    """The rows of monitor/list.

    `unreadable` counts the monitors that the API has but that could not be read: malformed rows,
    and rows that are counted but missing. As long as there are any, nobody may conclude that all is
    well. It is `incomplete` if rows are missing, or two rows have one ID. `asked` is as in a row.
    """

    def __init__(self, rows: Iterable[MonitorSummary] = (), unreadable: int = 0) -> None:
        super().__init__(rows)
        self.unreadable = unreadable
        self.incomplete = False
        self.asked: datetime | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """The owner of the key, and how many monitors the account may have."""

    id: int | None
    email: str
    limit: int | None
    used: int | None
    available: int | None


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy to scan through. The password is sent once and never kept or shown."""

    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """The progress of an API's regular scans: all monitors, those due now, and how late they are.

    `lag` is how long the most overdue one has waited; `monitors` may be unknown.
    """

    due: int
    lag: timedelta
    monitors: int | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    """The server's clock as sent (labelled UTC, whatever its zone), and the key's number.

    `sweep` is None if the API doesn't say.
    """

    date_time: datetime | None
    apikey_id: int | None
    sweep: SweepProgress | None = None


class WireRenewal(msgspec.Struct):
    """When the CA asks for renewal; only some APIs provide it."""

    status: str | None = None
    start: str | None = None
    end: str | None = None
    explanation_url: str | None = None


class WireRenewed(msgspec.Struct):
    """Which monitor serves a newer certificate, and its expiry; only some APIs provide it."""

    host: str | None = None
    port: Any = HTTPS_PORT
    date_end: str | None = None


class WireSummary(msgspec.Struct, omit_defaults=True, gc=False):
    """The fields of a row of monitor/list that the bot reads."""

    id: int
    host: str
    port: Any = HTTPS_PORT
    ssl_valid: bool | None = None
    ssl_message: str | None = None
    ssl_expire_date_start: str | None = None
    ssl_expire_date_end: str | None = None
    ssl_host_match: bool | None = None
    ssl_issuer: str | None = None
    http_code: int | None = None
    scan_date: str | None = None
    ssl_fingerprint: str | None = None
    caa_refuses: bool | None = None
    renewal: WireRenewal | None = None
    expected_date: str | None = None
    renewed: WireRenewed | None = None


#: The rows of monitor/list: an array, or an object with numbers as keys, as PHP may encode one.
_Rows = list[msgspec.Raw] | Annotated[dict[str, msgspec.Raw], msgspec.Meta(min_length=1)]
_ROWS = msgspec.json.Decoder(WireSummary, strict=False)


def read_date(text: str | None, offset: timedelta = timedelta()) -> datetime | None:
    """A wire date as an aware UTC datetime; None if it can't be read.

    A date with a zone of its own needs no offset.
    """
    try:  # nearly all dates have no zone, and a list of 100,000 monitors has 300,000 of them
        date = datetime.fromisoformat(f"{text}+00:00")
        if date.tzinfo:  # `2026-01-05+00:00` has both a date and a zone
            return date - offset if offset else date
    except (ValueError, OverflowError):
        pass
    return _other_date(text or "", offset)


#: A list has few different scan dates: they are to the minute, and rarely older than half a day.
_scan_date = functools.lru_cache(4096)(read_date)


def _other_date(text: str, offset: timedelta) -> datetime | None:
    try:
        date = datetime.fromisoformat(text.strip())
        return date.replace(tzinfo=UTC) - offset if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):  # before the year 1, or after 9999
        return None


def read_renewal(wire: WireRenewal, offset: timedelta) -> Renewal | None:
    """The renewal window; None if it is unknown or implausible."""
    start, end = read_date(wire.start, offset), read_date(wire.end, offset)
    if start is None or end is None or start > end:
        return None
    if start.year < FIRST_YEAR or end.year > LAST_YEAR:
        return None
    return Renewal(start, end, wire.explanation_url or "")


def read_renewed(wire: WireRenewed, offset: timedelta) -> RenewedElsewhere | None:
    """Which host serves the renewed certificate; None if the data is malformed."""
    end = read_date(wire.date_end, offset)
    with suppress(ValueError):
        return RenewedElsewhere(read_target(wire.host or "", wire.port), end) if end else None
    return None


def read_target(host: str, port: Any) -> Target:
    """A monitor's host and port; a host that the bot can't parse stays as the server sent it.

    Raises ValueError for an empty host or an impossible port.
    """
    try:
        host = normal_host(host)
    except ValueError:
        host = host.strip()
        if not 0 < len(host) <= LONGEST_HOST or "\0" in host:
            raise ValueError("`host` is empty, too long, or contains NUL") from None
    number = port if type(port) is int else msgspec.convert(port, int, strict=False)
    if not 1 <= number <= MAX_PORT:
        raise ValueError("`port` is not between 1 and 65535")
    return Target(host, number)


#: The longest host name in DNS, and in the database. PostgreSQL can't store NUL.
LONGEST_HOST = 253
#: The message if the API calls a certificate valid that doesn't match its host.
WRONG_NAME_MESSAGE = "Host name mismatch: the certificate is for other names"
#: The message if the API calls a certificate valid before its first day.
TOO_EARLY_MESSAGE = "Not yet valid"
#: The most that the clock of an API may be ahead of ours.
AHEAD = timedelta(minutes=5)
#: No ID has more digits than a button or a command takes.
MOST_ID = 10**15


def read_summary(raw: Any, offset: timedelta, asked: datetime | None = None) -> MonitorSummary:
    """Decode a row of monitor/list. Raises ValueError if `id`, `host` or `port` can't be read."""
    wire = _row(raw)
    if not 0 <= wire.id < MOST_ID:  # a check has no ID, which is read as 0
        raise ValueError("`id` can't be one")
    valid, message = wire.ssl_valid, wire.ssl_message or ""
    start = read_date(wire.ssl_expire_date_start, offset)
    end = read_date(wire.ssl_expire_date_end, offset)
    if valid and wire.ssl_host_match is False:  # the API may have checked the chain alone
        valid, message = False, WRONG_NAME_MESSAGE
    elif valid and asked and start and start - asked > AHEAD and (end is None or start < end):
        valid, message = False, TOO_EARLY_MESSAGE
    return MonitorSummary(
        id=wire.id,
        target=read_target(wire.host, wire.port),
        valid=valid,
        message=message,
        not_before=start,
        not_after=end,
        host_match=wire.ssl_host_match,
        issuer=(wire.ssl_issuer or "").replace("\0", ""),
        http_code=wire.http_code,
        scanned_at=_scan_date(wire.scan_date, offset),
        fingerprint=wire.ssl_fingerprint or "",
        caa_refuses=wire.caa_refuses or False,
        renewal=read_renewal(wire.renewal, offset) if wire.renewal else None,
        expected_at=read_date(wire.expected_date, offset) if wire.expected_date else None,
        renewed=read_renewed(wire.renewed, offset) if wire.renewed else None,
        asked=asked,
    )


def _row(raw: Any) -> WireSummary:
    """The row as documented, which is the usual case; otherwise whatever can be read of it."""
    if isinstance(raw, msgspec.Raw):
        try:  # takes half as long as `suppress`
            return _ROWS.decode(raw)
        except ValueError:
            pass
    return read_leniently(raw, WireSummary)


def by_target(rows: Iterable[MonitorSummary], target: Target) -> list[MonitorSummary]:
    """The rows of exactly this host and port: the API's own filter may match more."""
    return [row for row in rows if row.target == target]


def asked_at(rows: Iterable[MonitorSummary]) -> datetime | None:
    """When the oldest of these rows was asked for; None if that is unknown."""
    return min((row.asked for row in rows if row.asked), default=None)


def raw_rows(fields: dict[str, msgspec.Raw], count: int | None) -> Sequence[msgspec.Raw]:
    """The rows of a reply that counts so many. Raises APIUnreachable if that is unknown."""
    try:
        listed = msgspec.json.decode(fields["list"], type=_Rows)
    except (KeyError, ValueError):
        if count is None:
            raise APIUnreachable("The SSLmonitor API's answer contains no list.") from None
        return []
    says_count = bytes(fields.get("count", b"null")).strip() != b"null"
    if not listed and count is None and says_count:
        raise APIUnreachable("The SSLmonitor API's answer contains no readable count.")
    return list(listed.values()) if isinstance(listed, dict) else listed


def lost_row(row: msgspec.Raw, fault: Exception) -> str:
    """Which row could not be read, and why, in one line for the log."""
    why = " ".join(str(fault).split())[:200]
    try:
        fields = msgspec.json.decode(row, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return f"the first one is no object ({why})"
    given = {key: bytes(fields[key])[:80] for key in ("id", "host", "port") if key in fields}
    name = ", ".join(f"{key} {text.decode(errors='replace')!r}" for key, text in given.items())
    return f"the first one has {name or 'no id'} ({why})"


def count_of(fields: dict[str, msgspec.Raw]) -> int | None:
    """How many monitors the reply says it lists; None if it gives no usable count."""
    try:
        count = msgspec.json.decode(fields["count"], type=int, strict=False)
    except (KeyError, ValueError):
        return None
    return count if count >= 0 else None
