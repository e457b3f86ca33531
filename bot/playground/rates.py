"""How often an app may call: each method by its tier, and about one message a second per channel.

Source: docs.slack.dev/apis/web-api/rate-limits. Slack calls its numbers a guide and tolerates short
bursts; the playground counts exactly when told to count.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiohttp import web

from bot.playground.errors import SlackError

CALLS_PER_MINUTE = {1: 1, 2: 20, 3: 50, 4: 100}
"""How many calls of a method each tier allows; the fourth is "100 and more"."""

MESSAGES_PER_MINUTE = 300
"""Messages to a whole workspace; Slack says "several hundred"."""

_MINUTE, _SECOND = timedelta(minutes=1), timedelta(seconds=1)


class RateLimited(SlackError):
    """A call that came too soon; the app may call again in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("ratelimited")
        self.retry_after = retry_after


@dataclass
class Rates:
    """Counts calls and messages if `counting` is set; refused calls don't count."""

    clock: Callable[[], datetime]
    counting: bool = False
    _times: dict[str, deque[datetime]] = field(default_factory=dict)

    def call(self, method: str, tier: int) -> None:
        """Count a call of a method. Raises RateLimited."""
        self._count((f"method {method}", CALLS_PER_MINUTE[tier], _MINUTE))

    def message(self, channel: str) -> None:
        """Count a message to a channel, by the channel's id. Raises RateLimited."""
        self._count((f"channel {channel}", 1, _SECOND), ("workspace", MESSAGES_PER_MINUTE, _MINUTE))

    def _count(self, *windows: tuple[str, int, timedelta]) -> None:
        if not self.counting:
            return
        now = self.clock()
        for name, most, span in windows:
            times = self._times.setdefault(name, deque())
            while times and times[0] <= now - span:
                times.popleft()
            if len(times) >= most:
                raise RateLimited(math.ceil((times[0] + span - now) / _SECOND))
        for name, _, _ in windows:
            self._times[name].append(now)


def too_many_requests(retry_after: int | str | None) -> web.Response:
    """Return HTTP 429, with Retry-After unless that is None."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
