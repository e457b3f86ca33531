"""When a monitor is scanned again: pure functions of the target, the time and what was found.

Each target has a steady moment in every interval, made of a hash of its name, so that the scans of
many are spread over it, restarts or not; a small jitter keeps neighbours from meeting every time.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta

from bot.embedded.scan.verdict import Verdict, color
from bot.target import Target

TRIES = 3  # this many failed scans in a row make a monitor that was up "down"
NEAR = timedelta(days=3)  # the time before expiry in which scans are hourly
_OFTEN = timedelta(hours=1)
_FIRST_RETRY = timedelta(minutes=1)
_AFTER_START = timedelta(seconds=5)  # so long at most after a certificate begins to be valid
_JITTER = 0.05  # the part of an interval by which a turn may come later


def is_failure(verdict: Verdict) -> bool:
    """Say whether a scan got no answer, so that another try may well end otherwise."""
    return color(verdict, None) == "grey" and verdict is not Verdict.FORBIDDEN


def next_scan(
    target: Target,
    now: datetime,
    interval: timedelta,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    failures: int = 0,
) -> datetime:
    """When a target scanned `now` is due again.

    Usually at its turn in the next `interval`; when its certificate begins to be valid, at
    `not_before`; in an hour's time in the last three days before `not_after`; after 1, 2, 4…
    minutes when its last `failures` scans failed. Never later than its usual turn.
    """
    usual = _turn(target, now, interval)
    if failures:
        delay = (
            _FIRST_RETRY * (1 << min(failures - 1, 20)) * (1 + _JITTER * _part(target, failures))
        )
        return min(usual, now + delay)
    if not_before is not None and now < not_before:
        usual = min(usual, not_before + _AFTER_START * _part(target))
    if not_after is None or now > not_after:
        return usual
    often = _turn(target, max(now, not_after - NEAR), min(interval, _OFTEN))
    return min(usual, often)


def _turn(target: Target, now: datetime, interval: timedelta) -> datetime:
    """The target's first turn after `now`: a steady moment of each interval, and the jitter."""
    size = interval.total_seconds()
    phase = _part(target) * size
    number = (now.timestamp() - phase) // size + 1
    moment = phase + (number + _JITTER * _part(target, int(number))) * size
    return datetime.fromtimestamp(math.ceil(moment), UTC)


def _part(target: Target, number: int = 0) -> float:
    """A number from 0 to 1 that looks random, the same for the same target and number."""
    digest = hashlib.blake2b(f"{number} {target}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32
