"""The JSON of the seven endpoints, field by field as the API page shows them.

Dates are `YYYY-MM-DD HH:MM`, UTC, cut to the minute. What is not known is null: every `ssl` fact
(`ssl_host_match` among them) without a certificate, every `http` fact without an answer. What is
known to be absent (a certificate without a common name, a page without a title) is an empty string
or list: so are `ip_rev` and `ip_geo` where nothing tells them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from datetime import date as Day  # noqa: N812 - `date` is what this module makes
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Row, RowMapping, type_coerce

from bot.embedded.scan.scanner import Scan
from bot.embedded.scan.verdict import Verdict, color, expired
from bot.store.tables import monitors
from bot.target import Target

JSON = dict[str, Any]
_DAY = 86_400  # seconds
_EPOCH = Day(1970, 1, 1)
_TIMES = tuple(f" {minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60))
_VERDICTS = {verdict.value: verdict for verdict in Verdict}

_NO_SSL: JSON = {
    "date_start": None,
    "date_end": None,
    "expire_days": None,
    "issuer_cn": None,
    "issuer_c": None,
    "issuer_o": None,
    "subject_cn": None,
    "subject_c": None,
    "subject_o": None,
    "alt_names": [],
}
_NO_HTTP: JSON = {
    "ip": None,
    "ip_rev": "",
    "ip_geo": "",
    "code": None,
    "size": None,
    "headers": [],
    "html_title": None,
    "meta_description": None,
    "meta_keywords": None,
}


def date(moment: datetime | None) -> str | None:
    """A date as the API writes it."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(" ", "minutes")[:16]


def facts(scan: Scan) -> bytes:
    """The `ssl`, `http` and `chain` parts of monitor/get, as they are stored (no `expire_days`)."""
    return msgspec.json.encode({"ssl": _ssl(scan), "http": _http(scan), "chain": _chain(scan)})


def _chain(scan: Scan) -> list[JSON]:
    return [
        {
            "subject": link.subject,
            "issuer": link.issuer,
            "date_start": date(link.not_before),
            "date_end": date(link.not_after),
            "fingerprint": link.fingerprint,
        }
        for link in scan.chain
    ]


def _ssl(scan: Scan) -> JSON:
    leaf = scan.leaf
    if leaf is None:
        return _NO_SSL
    return {
        "date_start": date(leaf.not_before),
        "date_end": date(leaf.not_after),
        "expire_days": None,  # computed when it is read
        "issuer_cn": leaf.issuer_cn,
        "issuer_c": leaf.issuer_c,
        "issuer_o": leaf.issuer_o,
        "subject_cn": leaf.subject_cn,
        "subject_c": leaf.subject_c,
        "subject_o": leaf.subject_o,
        "alt_names": leaf.alt_names,
    }


def _http(scan: Scan) -> JSON:
    page = scan.page
    ip = {"ip": scan.ip or None, "ip_rev": scan.ip_rev, "ip_geo": scan.ip_geo}
    if page.code is None:
        return _NO_HTTP | ip
    return (
        _NO_HTTP
        | ip
        | {
            "code": page.code,
            "size": page.size,
            "headers": [{"n": name, "v": value} for name, value in page.headers],
            "html_title": page.title,
            "meta_description": page.description,
            "meta_keywords": page.keywords,
        }
    )


def monitor(row: RowMapping, now: datetime, *, beyond: bool = False) -> JSON:
    """The `monitor` of monitor/get, add and scan; `beyond` the API page with verdict and chain."""
    stored = msgspec.json.decode(row["facts"]) if row["facts"] else _no_facts()
    chain = stored.pop("chain", [])
    if row["not_after"] is not None:
        stored["ssl"]["expire_days"] = (row["not_after"] - now).days
    return {
        "id": row["id"],
        "host": row["host"],
        "port": row["port"],
        "scan_date": date(row["scanned_at"]),
        **stored,
    } | ({"verdict": _now(row, now)[0] or "", "chain": chain} if beyond else {})


def check(target: Target, scan: Scan, now: datetime) -> JSON:
    """The `check` of checks: what monitor/list and monitor/get would show, in one object."""
    days = None if scan.leaf is None else (scan.leaf.not_after - now).days
    ssl = _ssl(scan) | {"expire_days": days}
    return {
        "host": target.host,
        "port": target.port,
        "scan_date": date(scan.at),
        "ssl_valid": scan.verdict is Verdict.VALID,
        "ssl_message": scan.message,
        "ssl_color": color(scan.verdict, days),
        "ssl_host_match": scan.host_match,
        "ssl": ssl,
        "http": _http(scan),
        "verdict": scan.verdict,
        "chain": _chain(scan),
    }


def change(row: RowMapping) -> JSON:
    """One row of monitor/history: what scans told from `date` on."""
    return {
        "date": date(row["at"]),
        "verdict": row["verdict"],
        "ssl_valid": row["verdict"] == Verdict.VALID,
        "ssl_message": row["message"],
        "ssl_host_match": row["host_match"],
        "ssl_expire_date_start": date(row["not_before"]),
        "ssl_expire_date_end": date(row["not_after"]),
        "ssl_issuer": row["issuer"],
    }


def _no_facts() -> JSON:
    return {"ssl": dict(_NO_SSL), "http": dict(_NO_HTTP)}


class Summary(msgspec.Struct, gc=False):
    """One row of monitor/list."""

    id: int
    host: str
    port: int
    ssl_valid: bool
    ssl_message: str
    ssl_color: str
    ssl_expire_days: int | None
    ssl_expire_date_start: str | None
    ssl_expire_date_end: str | None
    ssl_host_match: bool | None
    ssl_issuer: str | None
    http_code: int | None
    scan_date: str | None


#: What a Summary is made of, in this order; the times are seconds since 1970: a list of 100,000
#: rows would take as long again to make datetimes of them.
SUMMARY = (
    monitors.c.id,
    monitors.c.host,
    monitors.c.port,
    monitors.c.verdict,
    monitors.c.message,
    monitors.c.host_match,
    monitors.c.issuer,
    monitors.c.http_code,
    type_coerce(monitors.c.scanned_at, BigInteger),
    type_coerce(monitors.c.not_before, BigInteger),
    type_coerce(monitors.c.not_after, BigInteger),
)


def summary(row: Row[Any], now: int) -> Summary:
    """A row of SUMMARY as it is told; a verdict whose end date has passed reads as expired."""
    id_, host, port, word, message, match, issuer, code, scanned_at, start, end = tuple(row)
    days = None if end is None else (end - now) // _DAY
    verdict = None if word is None else _VERDICTS[word]
    if verdict is None:
        message, shown = "Not scanned yet.", "grey"
    else:
        if verdict is Verdict.VALID and end < now:
            verdict, message = Verdict.EXPIRED, expired(datetime.fromtimestamp(end, UTC))
        shown = color(verdict, days)
    return Summary(
        id_,
        host,
        port,
        verdict is Verdict.VALID,
        message,
        shown,
        days,
        _minute(start),
        _minute(end),
        match,
        issuer,
        code,
        _minute(scanned_at),
    )


def _minute(seconds: int | None) -> str | None:
    """As `date`, of seconds since 1970."""
    if seconds is None:
        return None
    day, rest = divmod(seconds, _DAY)
    return _day(day) + _TIMES[rest // 60]


@lru_cache(10_000)
def _day(number: int) -> str:
    return (_EPOCH + timedelta(days=number)).isoformat()


def _now(row: RowMapping, now: datetime) -> tuple[Verdict | None, str]:
    if row["verdict"] is None:
        return None, "Not scanned yet."
    verdict = Verdict(row["verdict"])
    if verdict is Verdict.VALID and row["not_after"] < now:
        return Verdict.EXPIRED, expired(row["not_after"])
    return verdict, row["message"]
