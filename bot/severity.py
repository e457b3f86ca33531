"""How bad a monitor's state is, in one word and one symbol, worst first.

Pure: a row of monitor/list and a `now` in, a `State` out. Cards, lists and the digest all ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from bot.models import MonitorSummary, days_left

#: A valid certificate with fewer whole days left than this is due for renewal.
DUE_DAYS = 30
#: A scan older than this says little about today.
STALE_AFTER = timedelta(hours=36)


class Rank(IntEnum):
    """The order of lists: what is broken comes first."""

    BROKEN = 0
    DUE = 1
    UNKNOWN = 2
    OK = 3


@dataclass(frozen=True, slots=True)
class State:
    """What an engineer must know first. `word` stands alone: colour is never the only sign."""

    rank: Rank
    symbol: str
    word: str


EXPIRED = State(Rank.BROKEN, "🔴", "EXPIRED")
NOT_YET_VALID = State(Rank.BROKEN, "🔴", "NOT YET VALID")
WRONG_NAME = State(Rank.BROKEN, "🔴", "WRONG NAME")
UNREACHABLE = State(Rank.BROKEN, "⛔", "UNREACHABLE")
NOT_TRUSTED = State(Rank.BROKEN, "🔴", "NOT TRUSTED")
DUE = State(Rank.DUE, "🟠", "DUE")
NEVER_SCANNED = State(Rank.UNKNOWN, "⚪", "NOT SCANNED YET")
UNKNOWN = State(Rank.UNKNOWN, "⚪", "UNKNOWN")
OK = State(Rank.OK, "✅", "OK")


def state_of(row: MonitorSummary, now: datetime, due_days: int = DUE_DAYS) -> State:
    """The state of a monitor now, from its last scan and the clock."""
    if row.not_after is not None and row.not_after <= now:
        return EXPIRED
    if row.valid is None:
        return NEVER_SCANNED if row.scanned_at is None else UNKNOWN
    if row.valid:
        soon = row.not_after is not None and days_left(row.not_after, now) < due_days
        return DUE if soon else OK
    if row.not_after is None:
        return UNREACHABLE
    if row.not_before is not None and row.not_before > now:
        return NOT_YET_VALID
    return WRONG_NAME if row.host_match is False else NOT_TRUSTED


def is_stale(row: MonitorSummary, now: datetime) -> bool:
    """Whether the last scan is too old to say that all is well."""
    return row.scanned_at is None or now - row.scanned_at > STALE_AFTER


def worst_first(
    row: MonitorSummary, now: datetime, due_days: int = DUE_DAYS
) -> tuple[int, float, str, int]:
    """A sort key: broken before due before fine; within each, the nearest end date first."""
    end = row.not_after.timestamp() if row.not_after else float("inf")
    return (state_of(row, now, due_days).rank, end, row.target.host, row.target.port)
