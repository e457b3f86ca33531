"""Units of time, and durations as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

_DURATION = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhd])")
_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": HOUR, "d": DAY}


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `30m`, `12h` or `1d`; upper case works too. The caller checks the range.

    Raises ValueError with a sentence for the user.
    """
    match = _DURATION.fullmatch(text.lower())
    if match is None:
        raise ValueError(
            f"“{text}” is not a duration. Use a number and s, m, h or d, for example 30m."
        )
    return int(match["number"]) * _UNITS[match["unit"]]
