"""A certificate and its renewals: same issuer, same names, and one of them is the newest."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    bindparam,
    case,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.embedded.scan.certificate import Leaf
from bot.embedded.scan.verdict import Verdict
from bot.store.tables import monitors

#: The most monitors that are updated at once because another one serves a newer certificate.
MOST_OVERTAKEN = 1000
_NOW = bindparam("now_seconds", type_=BigInteger)
_NEWER = monitors.alias("newer")
#: The host, port and expiry (seconds since 1970) of the newer certificate: columns of WITH_NEWER.
NEWER = (_NEWER.c.host, _NEWER.c.port, type_coerce(_NEWER.c.not_after, BigInteger))


class RenewedElsewhere(Struct):
    """A monitor that serves a newer certificate with the same names, by the same issuer."""

    host: str
    port: int
    date_end: Annotated[str, Meta(description="When that one expires: YYYY-MM-DD HH:MM, UTC")]


def lineage(leaf: Leaf) -> str | None:
    """A hash of what a certificate shares with its renewals: issuer and names."""
    if not leaf.alt_names:
        return None
    names = sorted({name.lower() for name in leaf.alt_names})
    return hashlib.sha256("\n".join([leaf.issuer, *names]).encode()).hexdigest()[:32]


def with_newer(rows: FromClause) -> FromClause:
    """Rows of `monitors`, each joined with the account's monitor that serves the newest renewal.

    Only certificates that need replacing have one: invalid ones that fit the host, and those past
    half of their lifetime. The parameters are those of `at(now)`.
    """
    other = monitors.alias("other")
    best = (
        select(other.c.id)
        .where(
            other.c.account_id == monitors.c.account_id,
            other.c.lineage == monitors.c.lineage,
            other.c.not_after > monitors.c.not_after,
            other.c.verdict == Verdict.VALID.value,
            _seconds(other.c.not_after) >= _NOW,
        )
        .order_by(other.c.not_after.desc(), other.c.id.desc())  # as in the index, so unsorted
        .limit(1)
        .scalar_subquery()
    )
    start, end = (_seconds(monitors.c[name]) for name in ("not_before", "not_after"))
    half_gone = 2 * (end - _NOW) < end - start
    is_old = or_(monitors.c.verdict != Verdict.VALID.value, half_gone)
    found = case((monitors.c.host_match.is_(True) & is_old, best))
    return rows.outerjoin(_NEWER, _NEWER.c.id == found)


def _seconds(column: ColumnElement[Any]) -> ColumnElement[int]:
    return type_coerce(column, BigInteger)


WITH_NEWER = with_newer(monitors)


def at(now: datetime) -> dict[str, int]:
    """The parameters of WITH_NEWER."""
    return {"now_seconds": int(now.timestamp())}


async def overtaken(
    connection: AsyncConnection, ids: Sequence[int], now: datetime
) -> list[tuple[int, int]]:
    """The account and ID of each monitor whose newest renewal is served by one of these."""
    if not ids:
        return []
    accounts, same = (
        select(column).where(monitors.c.id.in_(ids)).correlate(None)
        for column in (monitors.c.account_id, monitors.c.lineage)
    )
    query = (
        select(monitors.c.account_id, monitors.c.id)
        .select_from(WITH_NEWER)
        .where(
            monitors.c.account_id.in_(accounts),
            monitors.c.lineage.in_(same),
            _NEWER.c.id.in_(ids),
        )
        .limit(MOST_OVERTAKEN)
    )
    return [(row[0], row[1]) for row in await connection.execute(query, at(now))]
