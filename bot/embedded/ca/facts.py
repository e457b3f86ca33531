"""What CAs publish about a certificate, in the API's JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Self

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from sqlalchemy import ColumnElement, func

if TYPE_CHECKING:  # only for type checking
    from bot.embedded.scan.result import Renewal

Date = Annotated[
    str,
    Meta(
        pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}$",
        description="YYYY-MM-DD HH:MM, UTC, cut to the minute",
    ),
]
RevocationWord = Annotated[
    str,
    Meta(description="`good`, `revoked …`, `unknown: …` with the reason, or empty if not asked"),
]
CAARemark = Annotated[
    str,
    Meta(
        description="Why the CA may not renew the certificate (RFC 8659), `unknown: …` with the "
        "reason, or empty if it may"
    ),
]
RenewalWord = Annotated[
    str, Meta(description="`known`, `unknown: …` with the reason, or empty if nobody was asked")
]


class RenewalFacts(Struct, gc=False):
    """When the CA asks for renewal (RFC 9773), and the URL of its explanation, if any."""

    status: RenewalWord = ""
    start: Date | None = None
    end: Date | None = None
    explanation_url: str = ""

    @classmethod
    def of(cls, found: Renewal) -> Self:
        """From a scan."""
        return cls(found.status, date(found.start), date(found.end), found.url)


_RENEWALS = msgspec.json.Decoder(RenewalFacts)
#: Where the date begins in the `renewal` column; SQL counts from 1.
_START = len('{"status":"known","start":"') + 1


@lru_cache(maxsize=1000)  # a few authorities issue for many servers
def date(moment: datetime | None) -> str | None:
    """A date in the API's format."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(" ", "minutes")[:16]


def renewal_column(found: Renewal) -> str | None:
    """A known renewal, as the column of `monitors` stores it."""
    return msgspec.json.encode(RenewalFacts.of(found)).decode() if found.end else None


def renewal_start(column: ColumnElement[str | None]) -> ColumnElement[str]:
    """SQL for the beginning of the window in a `renewal` column, in the API's format."""
    return func.substr(column, _START, 16)


def renewal_of(column: str | None) -> RenewalFacts | UnsetType:
    """The `renewal` of monitor/list, from its column."""
    return _RENEWALS.decode(column) if column else UNSET
