"""Decodes the replies of monitor/get, account and ping; for monitor/list see `models`."""

from datetime import timedelta
from typing import Any

import msgspec

from bot.api.lenient import read_leniently
from bot.api.models import (
    Account,
    Certificate,
    ChainCertificate,
    HTTPInfo,
    Monitor,
    Name,
    Ping,
    SweepProgress,
    WireRenewal,
    read_date,
    read_renewal,
    read_target,
)
from bot.target import HTTPS_PORT

#: The largest plausible numbers of a sweep; larger ones are not shown.
MOST_MONITORS, MOST_LAG = 10**9, timedelta(days=3650)


class WireSSL(msgspec.Struct):
    """The `ssl` part of monitor/get."""

    date_start: str | None = None
    date_end: str | None = None
    issuer_cn: str | None = None
    issuer_c: str | None = None
    issuer_o: str | None = None
    subject_cn: str | None = None
    subject_c: str | None = None
    subject_o: str | None = None
    alt_names: list[str] | None = None


class WireHeader(msgspec.Struct):
    """A header of the host's reply: name and value."""

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
    """A certificate of `chain`; only some APIs provide it."""

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
    port: Any = HTTPS_PORT
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
    """The reply of account."""

    id: int | None = None
    email: str | None = None
    monitor_limit: int | None = None
    monitor_used: int | None = None
    monitor_available: int | None = None


class WireSweepProgress(msgspec.Struct):
    """The `sweep` of ping; only some APIs provide it."""

    monitors: int | None = None
    due: int | None = None
    lag_seconds: float | None = None


class WirePing(msgspec.Struct):
    """The reply of ping."""

    date_time: str | None = None
    apikey_id: int | None = None
    sweep: WireSweepProgress | None = None


def read_ping(raw: Any) -> Ping:
    """Decode the reply of ping, with its clock as sent. Raises ValueError if it is no object."""
    wire = read_leniently(raw, WirePing)
    sweep = _sweep(wire.sweep) if wire.sweep else None
    return Ping(read_date(wire.date_time), wire.apikey_id, sweep)


def _sweep(wire: WireSweepProgress) -> SweepProgress | None:
    """The progress of the sweep; None if it is implausible."""
    due, lag, monitors = wire.due, wire.lag_seconds, wire.monitors
    if due is None or not 0 <= due <= MOST_MONITORS:
        return None
    if lag is None or not 0 <= lag <= MOST_LAG.total_seconds():
        return None
    known = monitors is not None and due <= monitors <= MOST_MONITORS
    return SweepProgress(due, timedelta(seconds=lag), monitors if known else None)


def read_account(raw: Any) -> Account:
    """Decode the reply of account. Raises ValueError if it is no object."""
    wire = read_leniently(raw, WireAccount)
    counts = (wire.monitor_limit, wire.monitor_used, wire.monitor_available)
    return Account(wire.id, wire.email or "", *counts)


def read_monitor(raw: Any, offset: timedelta) -> Monitor:
    """Decode the `monitor` of monitor/get, add or scan. Raises ValueError like `read_summary`."""
    wire = read_leniently(raw, WireMonitor)
    told = wire.renewal or WireRenewal()
    return Monitor(
        id=wire.id,
        target=read_target(wire.host, wire.port),
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
