"""How often an app may call: each method by its tier, and each channel about once a second.

Source: docs.slack.dev/apis/web-api/rate-limits. Slack gives the numbers as a guide and lets short
bursts pass; the playground, asked to count, counts exactly.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.playground.tickets import SlackError

CALLS_A_MINUTE = {1: 1, 2: 20, 3: 50, 4: 100}
"""How many calls of a method each tier allows a minute; the fourth is "100 and more"."""

MESSAGES_A_MINUTE = 300
"""Messages to a whole workspace; Slack says "several hundred"."""

_MINUTE, _SECOND = timedelta(minutes=1), timedelta(seconds=1)


class RateLimited(SlackError):
    """A call that came too soon; it may come again in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("ratelimited")
        self.retry_after = retry_after


@dataclass
class Rates:
    """Counts calls and messages where `counting` is set; a refused call is not counted."""

    clock: Callable[[], datetime]
    counting: bool = False
    _seen: dict[str, deque[datetime]] = field(default_factory=dict)

    def call(self, method: str, tier: int) -> None:
        """Count one call of a method. Raises RateLimited."""
        self._count((f"method {method}", CALLS_A_MINUTE[tier], _MINUTE))

    def message(self, channel: str) -> None:
        """Count one message to a channel, by its id. Raises RateLimited."""
        self._count((f"channel {channel}", 1, _SECOND), ("workspace", MESSAGES_A_MINUTE, _MINUTE))

    def _count(self, *windows: tuple[str, int, timedelta]) -> None:
        if not self.counting:
            return
        now = self.clock()
        for name, most, span in windows:
            seen = self._seen.setdefault(name, deque())
            while seen and seen[0] <= now - span:
                seen.popleft()
            if len(seen) >= most:
                raise RateLimited(math.ceil((seen[0] + span - now) / _SECOND))
        for name, _, _ in windows:
            self._seen[name].append(now)
