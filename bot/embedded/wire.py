"""The JSON of the endpoints: the structs encode the replies, and openapi.json is made from them.

Dates are `YYYY-MM-DD HH:MM`, UTC, cut to the minute. What is unknown is null: every `ssl` fact
(and `ssl_host_match`) without a certificate, every `http` fact without an HTTP response. What is
known to be absent (a certificate without a common name, a page without a title) is an empty string
or list, as are `ip_rev` and `ip_geo` without a source for them.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import starmap
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field
from sqlalchemy import RowMapping

from bot.embedded.ca.expected import Expected, ExpectedFacts, is_awaited
from bot.embedded.ca.facts import CAARemark, Date, RenewalFacts, RevocationWord, date
from bot.embedded.ca.lineages import RenewedElsewhere
from bot.embedded.scan.result import Scan
from bot.embedded.scan.verdict import Color, Verdict, color
from bot.target import Target

VerdictWord = Annotated[
    str,
    Meta(
        description="The result of the scan in one word: valid, expired, host_mismatch, refused "
        "and others; empty before the first scan"
    ),
]
ColorWord = Annotated[
    Color,
    Meta(
        description="green: valid for more than 30 days; orange: valid; red: invalid; "
        "grey: no handshake"
    ),
]


class SSLFacts(Struct):
    """What the certificate says; all null without one."""

    date_start: Date | None = None
    date_end: Date | None = None
    expire_days: int | None = None
    issuer_cn: str | None = None
    issuer_c: str | None = None
    issuer_o: str | None = None
    subject_cn: str | None = None
    subject_c: str | None = None
    subject_o: str | None = None
    alt_names: tuple[str, ...] = ()


class HTTPHeader(Struct):
    """A header's name and value."""

    n: str
    v: str


class HTTPFacts(Struct):
    """How the host answers `GET /`; null without an HTTP response."""

    ip: str | None = None
    ip_rev: str = ""
    ip_geo: str = ""
    code: int | None = None
    size: int | None = None
    headers: tuple[HTTPHeader, ...] = ()
    html_title: str | None = None
    meta_description: str | None = None
    meta_keywords: str | None = None


Fingerprint = Annotated[
    str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the certificate, in hexadecimal")
]


class ChainEntry(Struct):
    """One certificate as the server sent it."""

    subject: str
    issuer: str
    date_start: Date | None
    date_end: Date | None
    fingerprint: Fingerprint


Chain = Annotated[
    tuple[ChainEntry, ...],
    Meta(description="The certificates as the server sent them, its own first"),
]


PostQuantum = Annotated[
    bool | None,
    Meta(description="Whether the server supports X25519MLKEM768; null if that isn't known"),
]


class HandshakeFacts(Struct):
    """How the connection was secured; empty where there was no certificate."""

    protocol: str = ""
    cipher: str = ""
    key: str = ""
    signature: str = ""
    serial: str = ""
    fingerprint: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$", description="SHA-256")] = ""
    x25519mlkem768: PostQuantum = None


class ScanFacts(Struct):
    """The long part of a scan's result, as it is stored (without `expire_days`)."""

    ssl: SSLFacts = field(default_factory=SSLFacts)
    http: HTTPFacts = field(default_factory=HTTPFacts)
    chain: Chain = ()
    revocation: str = ""
    caa: str = ""
    handshake: HandshakeFacts = field(default_factory=HandshakeFacts)
    mixed: bool = False
    renewal: RenewalFacts = field(default_factory=RenewalFacts)


class MonitorFacts(Struct):
    """A monitor with its last scan."""

    id: int
    host: str
    port: int
    scan_date: Date | None
    ssl: SSLFacts
    http: HTTPFacts


class MonitorDetails(MonitorFacts):
    """A monitor with its last scan, the verdict, the chain, and what the CA and DNS say."""

    verdict: VerdictWord
    chain: Chain
    revocation: RevocationWord
    caa: CAARemark
    handshake: HandshakeFacts
    renewal: RenewalFacts
    expected: ExpectedFacts | UnsetType = UNSET


class ListRow(Struct, gc=False):
    """One row of monitor/list."""

    id: int
    host: str
    port: int
    ssl_valid: bool
    ssl_message: str
    ssl_color: ColorWord
    ssl_expire_days: int | None
    ssl_expire_date_start: Date | None
    ssl_expire_date_end: Date | None
    ssl_host_match: bool | None
    ssl_issuer: str | None
    http_code: int | None
    scan_date: Date | None
    ssl_fingerprint: Fingerprint | None
    caa_refuses: Annotated[bool, Meta(description="Whether CAA records refuse the current CA")]
    expected_date: (
        Annotated[Date, Meta(description="Since when a certificate is issued but not served")]
        | UnsetType
    ) = UNSET
    renewal: RenewalFacts | UnsetType = UNSET
    renewed: RenewedElsewhere | UnsetType = UNSET


class HistoryRow(Struct):
    """What changed on a monitor, and when a scan first saw it."""

    date: Date | None
    verdict: VerdictWord
    ssl_valid: bool
    ssl_message: str
    ssl_host_match: bool | None
    ssl_expire_date_start: Date | None
    ssl_expire_date_end: Date | None
    ssl_issuer: str | None


class CheckResult(Struct):
    """A scan that was not stored: the fields of monitor/list and monitor/get in one object."""

    host: str
    port: int
    scan_date: Date | None
    ssl_valid: bool
    ssl_message: str
    ssl_color: ColorWord
    ssl_host_match: bool | None
    ssl: SSLFacts
    http: HTTPFacts
    verdict: VerdictWord
    chain: Chain
    revocation: RevocationWord
    caa: CAARemark


class SweepState(Struct):
    """All monitors, those that are due and not being scanned, and the longest delay among these."""

    monitors: int
    due: int
    lag_seconds: int


class Success(Struct, kw_only=True):
    """The request succeeded."""

    success: Literal[1] = 1
    message: Literal["Ok"] = "Ok"


class PingReply(Success, kw_only=True):
    """The reply of ping."""

    date_time: Date | None
    apikey_id: int
    sweep: SweepState


class AccountReply(Success, kw_only=True):
    """The reply of account."""

    id: int
    email: str
    monitor_limit: int
    monitor_used: int
    monitor_available: int


class ListReply(Success, kw_only=True):
    """The reply of monitor/list."""

    count: Annotated[int, Meta(description="Rows in this reply")]
    list: tuple[ListRow, ...]
    total: (
        Annotated[
            int, Meta(description="Rows that match the filters; only with `limit` or `offset`")
        ]
        | UnsetType
    ) = UNSET


class MonitorReply(Success, kw_only=True):
    """The reply of monitor/add and monitor/scan."""

    monitor: MonitorFacts


class DetailsReply(Success, kw_only=True):
    """The reply of monitor/get."""

    monitor: MonitorDetails


class HistoryReply(Success, kw_only=True):
    """The reply of monitor/history."""

    count: int
    list: tuple[HistoryRow, ...]
    total: int


class CheckReply(Success, kw_only=True):
    """The reply of checks."""

    check: CheckResult


class ErrorReply(Struct):
    """The request failed."""

    code: Annotated[int, Meta(description="The HTTP status")]
    message: Annotated[str, Meta(description="A sentence")]
    req_id: Annotated[
        str,
        Meta(
            description="Identifies the request; an internal error is logged with it",
            extra_json_schema={"format": "uuid"},
        ),
    ]


def facts(scan: Scan) -> bytes:
    """The `ssl`, `http` and `chain` parts of monitor/get, as they are stored."""
    return msgspec.json.encode(
        ScanFacts(
            _ssl(scan), _http(scan), _chain(scan), scan.revocation, scan.caa,
            _handshake(scan), scan.mixed, RenewalFacts.of(scan.renewal),
        )
    )  # fmt: skip


def names_of(facts: bytes) -> frozenset[str]:
    """The names of the certificate in the stored facts."""
    return frozenset(msgspec.json.decode(facts, type=ScanFacts).ssl.alt_names)


def _chain(scan: Scan) -> tuple[ChainEntry, ...]:
    return tuple(
        ChainEntry(
            each.subject,
            each.issuer,
            date(each.not_before),
            date(each.not_after),
            each.fingerprint,
        )
        for each in scan.chain
    )


def _handshake(scan: Scan) -> HandshakeFacts:
    found, asked = scan.handshake, scan.key_exchange
    fingerprint = scan.chain[0].fingerprint if scan.chain else ""
    return HandshakeFacts(
        found.protocol, found.cipher, found.key, found.signature, found.serial, fingerprint,
        asked.supported if asked else None,
    )  # fmt: skip


def _ssl(scan: Scan, days: int | None = None) -> SSLFacts:
    leaf = scan.leaf
    if leaf is None:
        return SSLFacts()
    dates = date(leaf.not_before), date(leaf.not_after)
    issuer = leaf.issuer_cn, leaf.issuer_c, leaf.issuer_o
    subject = leaf.subject_cn, leaf.subject_c, leaf.subject_o
    return SSLFacts(*dates, days, *issuer, *subject, leaf.alt_names)


def _http(scan: Scan) -> HTTPFacts:
    page, place = scan.page, (scan.ip or None, scan.ip_rev, scan.ip_geo)
    if page.code is None:
        return HTTPFacts(*place)
    headers = tuple(starmap(HTTPHeader, page.headers))
    texts = page.title, page.description, page.keywords
    return HTTPFacts(*place, page.code, page.size, headers, *texts)


def monitor(row: RowMapping, now: datetime) -> MonitorFacts:
    """The `monitor` of monitor/add and monitor/scan."""
    stored = _stored(row, now)
    return MonitorFacts(*head(row), stored.ssl, stored.http)


def details(row: RowMapping, now: datetime) -> MonitorDetails:
    """The `monitor` of monitor/get."""
    stored = _stored(row, now)
    verdict = _verdict(row, now) or ""
    expected = _expected(row) if is_awaited(row, now) else UNSET
    return MonitorDetails(
        *head(row), stored.ssl, stored.http, verdict, stored.chain, stored.revocation, stored.caa,
        stored.handshake, stored.renewal, expected,
    )  # fmt: skip


def _expected(row: RowMapping) -> ExpectedFacts:
    told, dates = Expected.of(row["expected"]), (row["expected_at"], row["expected_until"])
    return ExpectedFacts(told.fingerprint, told.serial, *map(date, dates))


def head(row: Mapping[Any, Any]) -> tuple[int, str, int, str | None]:
    """ID, host, port and date of the last scan."""
    return row["id"], row["host"], row["port"], date(row["scanned_at"])


def stored_facts(row: RowMapping) -> ScanFacts:
    """The long part of the last scan."""
    return msgspec.json.decode(row["facts"], type=ScanFacts) if row["facts"] else ScanFacts()


def _stored(row: RowMapping, now: datetime) -> ScanFacts:
    stored = stored_facts(row)
    if row["not_after"] is not None:
        stored.ssl.expire_days = (row["not_after"] - now).days
    return stored


def _verdict(row: RowMapping, now: datetime) -> Verdict | None:
    if row["verdict"] is None:
        return None
    verdict = Verdict(row["verdict"])
    if verdict is Verdict.VALID and row["not_after"] < now:
        return Verdict.EXPIRED
    return verdict


def check(target: Target, scan: Scan, now: datetime) -> CheckResult:
    """The `check` of checks."""
    days = None if scan.leaf is None else (scan.leaf.not_after - now).days
    return CheckResult(
        target.host,
        target.port,
        date(scan.at),
        scan.verdict is Verdict.VALID,
        scan.message,
        color(scan.verdict, days),
        scan.host_match,
        _ssl(scan, days),
        _http(scan),
        scan.verdict,
        _chain(scan),
        scan.revocation,
        scan.caa,
    )


def change(row: RowMapping) -> HistoryRow:
    """One row of monitor/history."""
    return HistoryRow(
        date(row["at"]),
        row["verdict"],
        row["verdict"] == Verdict.VALID,
        row["message"],
        row["host_match"],
        date(row["not_before"]),
        date(row["not_after"]),
        row["issuer"],
    )
