"""Dates that both sides of the API reckon alike. Pure: the time is an argument."""

from __future__ import annotations

from datetime import datetime, timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def days_left(not_after: datetime, now: datetime) -> int:
    """Whole days until `not_after`, rounded down: 0 on the last day, negative after it."""
    return (not_after - now) // DAY
