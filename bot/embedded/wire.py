"""The JSON of the seven endpoints, field by field as the API page shows them.

Dates are `YYYY-MM-DD HH:MM`, UTC, cut to the minute. What is not known is null: every `ssl` fact
(`ssl_host_match` among them) without a certificate, every `http` fact without an answer. What is
known to be absent (a certificate without a common name, a page without a title) is an empty string
or list: so are `ip_rev` and `ip_geo` where nothing tells them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import RowMapping

from bot.embedded.scan import Scan
from bot.embedded.verdict import Verdict, color, days_left, expired
from bot.target import Target

JSON = dict[str, Any]

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
        stored["ssl"]["expire_days"] = days_left(row["not_after"], now)
    return {
        "id": row["id"],
        "host": row["host"],
        "port": row["port"],
        "scan_date": date(row["scanned_at"]),
        **stored,
    } | ({"verdict": _now(row, now)[0] or "", "chain": chain} if beyond else {})


def check(target: Target, scan: Scan, now: datetime) -> JSON:
    """The `check` of checks: what monitor/list and monitor/get would show, in one object."""
    days = None if scan.leaf is None else days_left(scan.leaf.not_after, now)
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


def summary(row: RowMapping, now: datetime) -> JSON:
    """One row of monitor/list; a stored verdict whose end date has passed reads as expired."""
    not_after: datetime | None = row["not_after"]
    days = None if not_after is None else days_left(not_after, now)
    verdict, message = _now(row, now)
    return {
        "id": row["id"],
        "host": row["host"],
        "port": row["port"],
        "ssl_valid": verdict is Verdict.VALID,
        "ssl_message": message,
        "ssl_color": "grey" if verdict is None else color(verdict, days),
        "ssl_expire_days": days,
        "ssl_expire_date_start": date(row["not_before"]),
        "ssl_expire_date_end": date(not_after),
        "ssl_host_match": row["host_match"],
        "ssl_issuer": row["issuer"],
        "http_code": row["http_code"],
        "scan_date": date(row["scanned_at"]),
    }


def _now(row: RowMapping, now: datetime) -> tuple[Verdict | None, str]:
    if row["verdict"] is None:
        return None, "Not scanned yet."
    verdict = Verdict(row["verdict"])
    if verdict is Verdict.VALID and row["not_after"] < now:
        return Verdict.EXPIRED, expired(row["not_after"])
    return verdict, row["message"]
