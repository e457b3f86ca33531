"""The nouns of the SSLmonitor API, and how they are read from its JSON.

Wire names (`ssl_expire_date_end`) stay in this module, in `client` and in `embedded`. The API's
dates carry no zone (`2026-01-01 00:00`); `offset` is what its clock shows minus UTC, measured by
`client.SSLMonitor.measure_clock`. Every field may be missing or null: the page's examples were
typed by hand, so nothing but `id` and `host` is relied on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bot.api.dates import (
    Renewal,
    RenewedElsewhere,
    WireRenewal,
    WireRenewed,
    read_date,
    read_renewal,
    read_renewed,
)
from bot.api.reply import read_leniently
from bot.target import HTTPS_PORT, MAX_PORT, Target, normal_host

#: What no sweep exceeds: numbers beyond these are odd, and are not shown.
MOST_MONITORS, MOST_LAG = 10**9, timedelta(days=3650)


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
    """A certificate of the chain that a host sends: its own first, an authority's after it."""

    subject: str
    issuer: str
    not_before: datetime | None
    not_after: datetime | None


@dataclass(frozen=True, slots=True)
class HTTPInfo:
    """What the host answered to `GET /`; None or empty where it gave nothing."""

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
    """One monitored target with all facts of its last scan (monitor/get, add and scan).

    The chain is empty where the API does not tell it, and so is `revocation`: `good`, `revoked …`,
    `unknown: …`, and `caa`: why the CA may not renew it. `renewal` is when the CA asks for one, or
    `unknown: …`. `handshake` is protocol, cipher, key, signature, whether X25519MLKEM768 is
    supported, serial number and fingerprint, as far as they are known. `expected` is which
    certificate was issued, but isn't served yet. Only monitor/get ever tells, so they take no part
    in a comparison with what add and scan give.
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
    """A row of monitor/list: the verdict and what a list or digest needs.

    `fingerprint` names the certificate, `caa_refuses` says that its CA may not renew it, `renewal`
    when its CA asks for another, one that was issued at `expected_at` isn't served yet, or it is
    `renewed` elsewhere; only the embedded API gives them.
    A struct that the garbage collector skips: it takes 100 ms to walk 100,000 dataclasses.
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


class MonitorList(list[MonitorSummary]):
    """The rows of monitor/list.

    `unreadable` counts the monitors that the API has but that could not be read: rows that make no
    sense, and rows that are counted but missing. Whoever reads the list must not conclude from it
    that all is well.
    """

    def __init__(self, rows: Iterable[MonitorSummary] = (), unreadable: int = 0) -> None:
        super().__init__(rows)
        self.unreadable = unreadable


@dataclass(frozen=True, slots=True)
class Account:
    """Whose key it is, and how many monitors it may hold."""

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
    """How far an API's regular scans are: all its monitors, those due now, and how late they are.

    `lag` is how long the first of those that are due has waited; `monitors` may be unknown.
    """

    due: int
    lag: timedelta
    monitors: int | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    """The server's clock as it shows it (labelled UTC, whatever its zone), and the key's number.

    `sweep` is None where the API does not tell it.
    """

    date_time: datetime | None
    apikey_id: int | None
    sweep: SweepProgress | None = None


class WireSummary(msgspec.Struct, omit_defaults=True):
    """A row of monitor/list: the documented fields that the bot reads."""

    id: int
    host: str
    port: int | None = None
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


_ROWS = msgspec.json.Decoder(WireSummary, strict=False)


class WireSSL(msgspec.Struct):
    """The `ssl` part of monitor/get."""

    date_start: str | None = None
    date_end: str | None = None
    expire_days: int | None = None
    issuer_cn: str | None = None
    issuer_c: str | None = None
    issuer_o: str | None = None
    subject_cn: str | None = None
    subject_c: str | None = None
    subject_o: str | None = None
    alt_names: list[str] | None = None


class WireHeader(msgspec.Struct):
    """A header of the host's answer: name and value."""

    n: str | None = None
    v: str | None = None


class WireHTTP(msgspec.Struct):
    """The `http` part of monitor/get."""

    ip: str | None = None
    ip_rev: str | None = None
    ip_geo: str | None = None
    code: int | None = None
    size: int | None = None
    headers: list[WireHeader] | None = None
    html_title: str | None = None
    meta_description: str | None = None
    meta_keywords: str | None = None


class WireChainCertificate(msgspec.Struct):
    """A part of `chain`, which some APIs have beyond the documented page."""

    subject: str | None = None
    issuer: str | None = None
    date_start: str | None = None
    date_end: str | None = None


class WireHandshake(msgspec.Struct):
    """How the connection was secured."""

    protocol: str | None = None
    cipher: str | None = None
    key: str | None = None
    signature: str | None = None
    serial: str | None = None
    fingerprint: str | None = None
    x25519mlkem768: bool | None = None


class WireMonitor(msgspec.Struct):
    """The `monitor` of monitor/get, add and scan."""

    id: int
    host: str
    port: int | None = None
    scan_date: str | None = None
    ssl: WireSSL | None = None
    http: WireHTTP | None = None
    chain: list[WireChainCertificate] | None = None
    revocation: str | None = None
    caa: str | None = None
    handshake: WireHandshake | None = None
    renewal: WireRenewal | None = None
    expected: WireHandshake | None = None


class WireAccount(msgspec.Struct):
    """The answer of account."""

    id: int | None = None
    email: str | None = None
    monitor_limit: int | None = None
    monitor_used: int | None = None
    monitor_available: int | None = None


class WireSweepProgress(msgspec.Struct):
    """The `sweep` of ping, which some APIs have beyond the documented page."""

    monitors: int | None = None
    due: int | None = None
    lag_seconds: float | None = None


class WirePing(msgspec.Struct):
    """The answer of ping."""

    date_time: str | None = None
    apikey_id: int | None = None
    sweep: WireSweepProgress | None = None


def _target(host: str, port: int | None) -> Target:
    """The place of a monitor; a host that is none of ours to judge stays as the server wrote it."""
    if not host.strip():
        raise ValueError("`host` is empty")
    try:
        host = normal_host(host)
    except ValueError:
        host = host.strip()
    return Target(host, port if port and 1 <= port <= MAX_PORT else HTTPS_PORT)


def read_ping(raw: Any) -> Ping:
    """The answer of ping, its clock unmended. Raises ValueError where it is no object."""
    wire = read_leniently(raw, WirePing)
    sweep = _sweep(wire.sweep) if wire.sweep else None
    return Ping(read_date(wire.date_time), wire.apikey_id, sweep)


def _sweep(wire: WireSweepProgress) -> SweepProgress | None:
    """How far the sweep is; None where it makes no sense."""
    due, lag, monitors = wire.due, wire.lag_seconds, wire.monitors
    if due is None or not 0 <= due <= MOST_MONITORS:
        return None
    if lag is None or not 0 <= lag <= MOST_LAG.total_seconds():
        return None
    known = monitors is not None and due <= monitors <= MOST_MONITORS
    return SweepProgress(due, timedelta(seconds=lag), monitors if known else None)


def read_account(raw: Any) -> Account:
    """The answer of account. Raises ValueError where it is no object."""
    wire = read_leniently(raw, WireAccount)
    counts = (wire.monitor_limit, wire.monitor_used, wire.monitor_available)
    return Account(wire.id, wire.email or "", *counts)


def read_summary(raw: Any, offset: timedelta) -> MonitorSummary:
    """A row of monitor/list. Raises ValueError where even `id` or `host` can't be read."""
    wire = _row(raw)
    return MonitorSummary(
        id=wire.id,
        target=_target(wire.host, wire.port),
        valid=wire.ssl_valid,
        message=wire.ssl_message or "",
        not_before=read_date(wire.ssl_expire_date_start, offset),
        not_after=read_date(wire.ssl_expire_date_end, offset),
        host_match=wire.ssl_host_match,
        issuer=wire.ssl_issuer or "",
        http_code=wire.http_code,
        scanned_at=read_date(wire.scan_date, offset),
        fingerprint=wire.ssl_fingerprint or "",
        caa_refuses=wire.caa_refuses or False,
        renewal=read_renewal(wire.renewal, offset) if wire.renewal else None,
        expected_at=read_date(wire.expected_date, offset) if wire.expected_date else None,
        renewed=read_renewed(wire.renewed, offset) if wire.renewed else None,
    )


def _row(raw: Any) -> WireSummary:
    """The row as documented, which is the usual case; else what of it can be read."""
    if isinstance(raw, msgspec.Raw):
        try:  # it takes half as long as `suppress`
            return _ROWS.decode(raw)
        except ValueError:
            pass
    return read_leniently(raw, WireSummary)


def read_monitor(raw: Any, offset: timedelta) -> Monitor:
    """The `monitor` of monitor/get, add or scan. Raises ValueError without `id` or `host`."""
    wire = read_leniently(raw, WireMonitor)
    told = wire.renewal or WireRenewal()
    return Monitor(
        id=wire.id,
        target=_target(wire.host, wire.port),
        scanned_at=read_date(wire.scan_date, offset),
        certificate=_certificate(wire.ssl, offset),
        http=_http(wire.http or WireHTTP()),
        chain=tuple(_link(link, offset) for link in wire.chain or ()),
        revocation=wire.revocation or "",
        caa=wire.caa or "",
        handshake=_handshake(wire.handshake or WireHandshake()),
        renewal=read_renewal(told, offset) or told.status or "",
        expected=_handshake(wire.expected or WireHandshake()),
    )


def _handshake(wire: WireHandshake) -> tuple[str, ...]:
    told = [wire.protocol, wire.cipher, wire.key, wire.signature]
    if wire.x25519mlkem768 is not None:
        told.append(f"X25519MLKEM768: {'yes' if wire.x25519mlkem768 else 'no'}")
    told.append(wire.serial and f"serial {wire.serial}")
    told.append(wire.fingerprint and f"SHA-256 {wire.fingerprint}")
    return tuple(filter(None, told))


def _link(link: WireChainCertificate, offset: timedelta) -> ChainCertificate:
    return ChainCertificate(
        subject=link.subject or "",
        issuer=link.issuer or "",
        not_before=read_date(link.date_start, offset),
        not_after=read_date(link.date_end, offset),
    )


def _certificate(ssl: WireSSL | None, offset: timedelta) -> Certificate | None:
    if ssl is None or not (ssl.date_end or ssl.issuer_cn or ssl.issuer_o or ssl.alt_names):
        return None
    return Certificate(
        subject=Name(ssl.subject_cn or "", ssl.subject_o or "", ssl.subject_c or ""),
        issuer=Name(ssl.issuer_cn or "", ssl.issuer_o or "", ssl.issuer_c or ""),
        alt_names=tuple(ssl.alt_names or ()),
        not_before=read_date(ssl.date_start, offset),
        not_after=read_date(ssl.date_end, offset),
    )


def _http(http: WireHTTP) -> HTTPInfo:
    return HTTPInfo(
        ip=http.ip or "",
        ip_rev=http.ip_rev or "",
        ip_geo=http.ip_geo or "",
        code=http.code,
        size=http.size,
        headers=tuple((h.n or "", h.v or "") for h in http.headers or ()),
        title=http.html_title or "",
        description=http.meta_description or "",
        keywords=http.meta_keywords or "",
    )


def by_target(rows: Iterable[MonitorSummary], target: Target) -> list[MonitorSummary]:
    """The rows for exactly this host and port: the API's own filter may be wider than asked."""
    return [row for row in rows if row.target == target]
