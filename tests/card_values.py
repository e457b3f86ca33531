"""The monitors, certificates and faults of which the cards of the tests are made."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bot.api.models import Certificate, HTTPInfo, Monitor, MonitorSummary, Name, RenewedElsewhere
from bot.errors import APIRefused, APIUnreachable, BadKey, BotError, NotFound, SlackRefused
from bot.severity import Thresholds
from bot.target import Target

Json = dict[str, Any]
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
RULES = Thresholds()
EARLY = Thresholds({"*": "60d"})
#: Whom the bot mentions when a watch ends.
ASKER = "U0ASKER"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Texts:
    """What third parties send, field by field."""

    host: str = "api.example.com"
    message: str = "The certificate names other hosts."
    issuer: str = "Let's Encrypt R11"
    name: str = "api.example.com"
    title: str = "Welcome"
    header: str = "nginx"
    address: str = "192.0.2.10"
    req_id: str = "req-76a72264"
    fault: str = "host not allowed"
    email: str = "ops@example.com"
    user: str = "Ann"
    typed: str = "stauts"


PLAIN = Texts()


def row(texts: Texts = PLAIN, **changes: Any) -> MonitorSummary:
    """A fine monitor, but for the changes."""
    known: dict[str, Any] = {
        "id": 888,
        "target": Target(texts.host),
        "valid": True,
        "message": texts.message,
        "not_before": NOW - 120 * DAY,
        "not_after": NOW + 80 * DAY + HOUR,
        "host_match": True,
        "issuer": texts.issuer,
        "http_code": 200,
        "scanned_at": NOW - 2 * HOUR,
    }
    return MonitorSummary(**(known | changes))


def awaiting(texts: Texts = PLAIN) -> dict[str, MonitorSummary]:
    """Monitors for which a certificate was issued that they don't serve."""
    issued = NOW - 3 * HOUR
    end = NOW + 12 * DAY + HOUR
    return {
        "issued, fine": row(texts, expected_at=issued),
        "issued, due": row(texts, expected_at=issued, not_after=end),
        "issued, expired": row(texts, expected_at=issued, not_after=NOW - DAY, valid=False),
        "renewed elsewhere": row(
            texts,
            not_after=end,
            renewed=RenewedElsewhere(Target(texts.host, 8443), NOW + 80 * DAY),
        ),
        "issued, not scanned since": row(texts, expected_at=NOW - HOUR, not_after=end),
    }


def rows(texts: Texts = PLAIN) -> dict[str, MonitorSummary]:
    """One monitor in each state, and some at their borders."""
    said = texts.message
    return {
        "ok": row(texts),
        "due in 12 days": row(texts, id=2, not_after=NOW + 12 * DAY + HOUR),
        "act now, 1 day": row(texts, id=3, not_after=NOW + DAY),
        "act now, 24 hours": row(texts, id=4, not_after=NOW + HOUR),
        "expired just now": row(texts, id=5, not_after=NOW, valid=True),
        "expired 4 h ago": row(texts, id=6, not_after=NOW - 4 * HOUR, valid=False),
        "expired years ago": row(texts, id=7, not_after=NOW - 4000 * DAY, valid=False),
        "wrong name": row(texts, id=8, valid=False, host_match=False, message=said),
        "not trusted": row(texts, id=9, valid=False, message=said),
        "not yet valid": row(texts, id=10, valid=False, not_before=NOW + DAY, message=said),
        "unreachable": row(
            texts, id=11, valid=False, not_after=None, not_before=None, issuer="", http_code=None
        ),
        "never scanned": row(
            texts, id=12, valid=None, scanned_at=None, not_after=None, issuer="", http_code=None
        ),
        "unknown": row(texts, id=13, valid=None),
        "unknown without a date": row(texts, id=14, valid=None, not_after=None, message=""),
        "old scan": row(texts, id=15, scanned_at=NOW - 3 * DAY),
        "other port": row(texts, id=16, target=Target(texts.host, 8443)),
        "overdue": row(texts, id=17, not_before=NOW - 70 * DAY, not_after=NOW + 20 * DAY),
        "on schedule": row(texts, id=18, not_before=NOW - 20 * DAY, not_after=NOW + 25 * DAY),
    }


def on_schedule(number: int, texts: Texts = PLAIN) -> list[MonitorSummary]:
    """So many certificates of 45 days that are not due yet."""
    one = rows(texts)["on schedule"]
    return [msgspec.structs.replace(one, id=n) for n in range(1, number + 1)]


def certificate(texts: Texts = PLAIN, names: int = 2) -> Certificate:
    """A leaf with so many names on it."""
    return Certificate(
        subject=Name(texts.name, texts.issuer, texts.name),
        issuer=Name(texts.issuer, texts.issuer, "US"),
        alt_names=tuple(f"{texts.name}{n or ''}" for n in range(names)),
        not_before=NOW - 10 * DAY,
        not_after=NOW + 80 * DAY,
    )


def monitor(texts: Texts = PLAIN, names: int = 2) -> Monitor:
    """All facts of a scan."""
    return Monitor(
        id=888,
        target=Target(texts.host),
        scanned_at=NOW - 2 * HOUR,
        certificate=certificate(texts, names),
        http=HTTPInfo(
            ip=texts.address,
            ip_rev=texts.name,
            ip_geo=texts.header,
            code=200,
            size=1256,
            headers=(("Server", texts.header),),
            title=texts.title,
        ),
    )


def faults(texts: Texts = PLAIN) -> dict[str, BotError]:
    """Every kind of fault that has a card."""
    return {
        "not found": NotFound(404, texts.fault, texts.req_id),
        "bad key": BadKey(401, texts.fault, texts.req_id),
        "refused": APIRefused(422, texts.fault, texts.req_id),
        "refused without a word": APIRefused(500, ""),
        "too many": APIRefused(429, texts.fault, texts.req_id),
        "too many, wait": APIRefused(429, texts.fault, retry_after=30.2),
        "unreachable": APIUnreachable(f"SSLmonitor could not be reached: {texts.fault}."),
        "maybe done": APIUnreachable(f"The connection broke: {texts.fault}", maybe_done=True),
        "slack": SlackRefused(texts.fault),
    }


def many(number: int, texts: Texts = PLAIN) -> list[MonitorSummary]:
    """So many monitors, of every state in turn."""
    kinds = list(rows(texts).values())
    return [msgspec.structs.replace(kinds[n % len(kinds)], id=n) for n in range(1, number + 1)]
