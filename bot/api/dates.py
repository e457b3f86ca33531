"""The API's dates, when a CA asks for a renewal, and where a renewed certificate is served."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from bot.target import HTTPS_PORT, Target

#: Years that a window may be in, so that it can be shown in any time zone.
FIRST_YEAR, LAST_YEAR = 1970, 9998


def read_date(text: str | None, offset: timedelta = timedelta()) -> datetime | None:
    """A date of the wire as an aware UTC datetime; None where it can't be read.

    A date that names its own zone is taken at its word, and needs no offset.
    """
    try:  # nearly all dates are without a zone, and a list of 100,000 monitors has 300,000 of them
        return datetime.fromisoformat(f"{text}+00:00") - offset
    except (ValueError, OverflowError):
        return _other_date(text or "", offset)


def _other_date(text: str, offset: timedelta) -> datetime | None:
    try:
        date = datetime.fromisoformat(text.strip())
        return date.replace(tzinfo=UTC) - offset if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):  # the year 1 has no day before it
        return None


class Renewal(msgspec.Struct, frozen=True, gc=False):
    """When the CA asks for a renewal (RFC 9773), and a URL of its own that may explain why."""

    start: datetime
    end: datetime
    url: str = ""


class WireRenewal(msgspec.Struct):
    """When the CA asks for a renewal, which some APIs have beyond the documented page."""

    status: str | None = None
    start: str | None = None
    end: str | None = None
    explanation_url: str | None = None


def read_renewal(wire: WireRenewal, offset: timedelta) -> Renewal | None:
    """A window; None for one that is unknown or makes no sense."""
    start, end = read_date(wire.start, offset), read_date(wire.end, offset)
    if start is None or end is None or start > end:
        return None
    if start.year < FIRST_YEAR or end.year > LAST_YEAR:
        return None
    return Renewal(start, end, wire.explanation_url or "")


class RenewedElsewhere(msgspec.Struct, frozen=True, gc=False):
    """Another monitor serves a newer certificate with the same names, by the same issuer."""

    target: Target
    not_after: datetime


class WireRenewed(msgspec.Struct):
    """Which monitor serves a newer certificate, and when that expires; only some APIs tell."""

    host: str | None = None
    port: int | None = None
    date_end: str | None = None


def read_renewed(wire: WireRenewed, offset: timedelta) -> RenewedElsewhere | None:
    """Where it is; None if that makes no sense."""
    end, host = read_date(wire.date_end, offset), (wire.host or "").strip()
    return RenewedElsewhere(Target(host, wire.port or HTTPS_PORT), end) if host and end else None
