"""Dates that both sides of the API reckon alike. Pure: the time is an argument."""

from __future__ import annotations

from datetime import timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
