"""When a monitor is next scanned: pure functions of the target, the time and the last result.

A hash of its name gives each target a fixed slot in every interval, so that scans spread evenly,
also after restarts; a small jitter keeps the same targets from always being scanned together.
"""

import hashlib
import math
from datetime import UTC, datetime, timedelta

from bot.embedded.scan.verdict import Verdict, color
from bot.target import Target

TRIES = 3  # failures in a row after which a monitor that was up counts as down
NEAR = timedelta(days=3)  # before expiry: scans are hourly
_HOURLY = timedelta(hours=1)
_FIRST_RETRY = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_AFTER = timedelta(seconds=5)  # the longest delay after a certificate becomes valid, or expires
_AFTER_ASKED = timedelta(seconds=45)
_AWAITED = timedelta(minutes=5)  # between scans for a certificate that was just issued
_AWAITED_FOR = timedelta(hours=2)  # after that, these scans are hourly
_JITTER = 0.05  # how much later than its slot a scan may be, as a fraction of the interval


def is_failure(verdict: Verdict) -> bool:
    """Whether the server gave no usable answer, so that a retry may well go differently."""
    return color(verdict, None) == "grey" and verdict is not Verdict.FORBIDDEN


def next_scan(
    target: Target,
    now: datetime,
    interval: timedelta,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    failures: int = 0,
    asked: bool = False,
    awaited: datetime | None = None,
) -> datetime:
    """When a target scanned `now` is due again.

    Normally at its slot in the next `interval`, and never later. Sooner after `failures` failed
    scans in a row (after 1, 2, 4… minutes), when the certificate becomes valid (at `not_before`),
    in the last three days before `not_after` (hourly), and right after that; within a minute if the
    CA was `asked` and its answer was late; every five minutes, later hourly, while a certificate is
    `awaited` (the time it was issued).
    """
    regular = _next_slot(target, now, interval)
    if asked:
        regular = min(regular, now + _AFTER_ASKED)
    if awaited is not None:
        regular = min(regular, now + (_AWAITED if now - awaited < _AWAITED_FOR else _HOURLY))
    if failures:
        delay = (
            _FIRST_RETRY
            * (1 << min(failures - 1, 20))
            * (1 + _JITTER * _fraction(target, failures))
        )
        return min(regular, now + delay)
    if not_before is not None and now < not_before:
        regular = min(regular, not_before + _AFTER * _fraction(target))
    if not_after is None or now > not_after or regular <= not_after - NEAR:
        return regular
    hourly = _next_slot(target, max(now, not_after - NEAR), min(interval, _HOURLY))
    soonest = min(regular, hourly)
    if soonest <= not_after:
        return soonest
    return min(soonest, not_after + _SECOND + (_AFTER - _SECOND) * _fraction(target))


def _next_slot(target: Target, now: datetime, interval: timedelta) -> datetime:
    """The target's first slot after `now`: a fixed point in each interval, plus jitter."""
    size = interval.total_seconds()
    phase = _fraction(target) * size
    number = (now.timestamp() - phase) // size + 1
    moment = phase + (number + _JITTER * _fraction(target, int(number))) * size
    return datetime.fromtimestamp(math.ceil(moment), UTC)


def _fraction(target: Target, number: int = 0) -> float:
    """A pseudorandom number from 0 to 1, always the same for a target and number."""
    digest = hashlib.blake2b(f"{number} {target}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32
