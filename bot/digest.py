"""The daily digest: when it is due, who posts it, and that it is posted once.

A scheduler asks every minute; the database decides. A digest is claimed with all its messages
before the first is posted, so that a process that ends in between leaves the rest to the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from bot.api.client import SSLMonitor
from bot.blocks import Message
from bot.cards import digest as digest_cards
from bot.cards.digest import Gathered
from bot.errors import BotError, SlackRefused
from bot.severity import Thresholds
from bot.store.digests import DigestStore, StoredDigest
from bot.store.monitors import Records

log = logging.getLogger(__name__)

#: A digest that comes later than this after its hour says that it is late.
LATE_AFTER = timedelta(minutes=15)
#: A claim that made no progress for so long belongs to a process that is gone.
LEASE = timedelta(minutes=2)
#: How much Slack's clock, which stamps messages, may be behind ours.
CLOCK_SKEW = timedelta(minutes=1)
#: After a failure the next try waits, so that neither the log nor the API is flooded.
RETRY_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where and when the digest is posted."""

    channel: str
    at: time
    timezone: ZoneInfo

    def today(self, now: datetime) -> date:
        """The local day."""
        return now.astimezone(self.timezone).date()

    def hour(self, day: date) -> datetime:
        """When that day's digest is due, in UTC.

        An hour that a change of daylight saving leaves out is read with the offset from before the
        change (so 02:30 means 03:30), and one that comes twice is its first (PEP 495, fold 0).
        """
        return datetime.combine(day, self.at, tzinfo=self.timezone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Due:
    """A digest that should be posted now."""

    day: date
    late: bool


class DigestPoster(Protocol):
    """The door to Slack that the digest needs.

    Both raise SlackRefused where nothing was posted, SlackUnreachable where it may have been.
    """

    async def post(self, channel: str, message: Message, thread_ts: str | None = None) -> str:
        """Post a message and give its ts."""

    async def find_posted(
        self, channel: str, message: Message, since: datetime, thread_ts: str | None
    ) -> str | None:
        """The ts of this message (known by its metadata) if the channel has it already."""


def due(plan: Plan, now: datetime, first_start: datetime) -> Due | None:
    """The digest to post now: from its hour until the local day ends.

    It is none where the bot started for the very first time after that hour.
    """
    day = plan.today(now)
    hour = plan.hour(day)
    if now < hour or first_start >= hour:
        return None
    return Due(day, late=now - hour > LATE_AFTER)


async def gather(api: SSLMonitor, now: datetime, rules: Thresholds) -> Gathered:
    """Ask the API for what the digest is about. Raises APIRefused or APIUnreachable."""
    try:
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(api.list(expires=f"<{rules.net_days}"))
            invalid = group.create_task(api.list(valid=False))
            everything = group.create_task(api.list())
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from faults
    answers = (ending.result(), invalid.result(), everything.result())
    # In a thread: to judge tens of thousands of rows takes longer than the loop may be held.
    return await asyncio.to_thread(digest_cards.gathered, *answers, now, rules)


class Digest:
    """Posts each day's digest once, over restarts and among replicas."""

    def __init__(
        self,
        plan: Plan,
        api: SSLMonitor,
        state: DigestStore,
        poster: DigestPoster,
        records: Records,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self.plan = plan
        self._api = api
        self._state = state
        self._poster = poster
        self._records = records
        self._clock = clock
        self._first_start: datetime | None = None
        self._not_before: datetime | None = None
        self.last_error = ""

    async def start(self) -> None:
        """Remember the very first start."""
        self._first_start = await self._state.first_start(self._clock())

    async def tick(self, *, ready: bool = True) -> None:
        """Post the digest if it is due; a failure is logged and tried again later.

        It waits while the API's clock is not known (`ready`): its dates mean nothing before.
        """
        now = self._clock()
        if self._first_start is None or (self._not_before and now < self._not_before):
            return
        wanted = due(self.plan, now, self._first_start)
        if wanted is None:
            return
        if not ready:
            self.last_error = "The SSLmonitor API has not told its clock yet."
            return
        try:
            await self._post_once(wanted)
            self.last_error = ""
        except Exception as fault:
            self._not_before = now + RETRY_AFTER
            self.last_error = str(fault) if isinstance(fault, BotError) else type(fault).__name__
            if not isinstance(fault, BotError):
                raise
            log.warning("The digest of %s could not be posted yet: %s", wanted.day, fault)

    async def post_now(self, *, again: bool = False) -> bool:
        """Post today's digest and claim the day; False where it is posted already.

        `again` posts regardless. Raises BotError, also where another process is at it.
        """
        day = self.plan.today(self._clock())
        if again:
            await self._state.release(day, self.plan.channel)
        if await self._post_once(Due(day, late=False)):
            return True
        stored = await self._state.digest(day, self.plan.channel)
        if stored is None or not stored.finished:
            raise BotError("Another process is posting today's digest. Try again in two minutes.")
        return False

    async def _post_once(self, wanted: Due) -> bool:
        now, channel = self._clock(), self.plan.channel
        stored = await self._state.digest(wanted.day, channel)
        if stored is None:
            found = await gather(self._api, now, self._records.rules)
            messages = digest_cards.digest(found, now, day=wanted.day, late=wanted.late)
            stored = await self._state.claim(wanted.day, channel, now, messages)
            if stored is None:
                return False
            await self._deliver(stored, posted=None)
            return True
        if stored.finished or now - stored.claimed_at < LEASE:
            return False
        # Looked up before the take-over, which moves the time of the claim: if this fails, the
        # next try looks from the same time on.
        posted = await self._poster.find_posted(
            channel, stored.messages[stored.sent], stored.claimed_at - CLOCK_SKEW, stored.ts
        )
        if not await self._state.take_over(stored, now):
            return False
        await self._deliver(replace(stored, claimed_at=now), posted=posted)
        return True

    async def _deliver(self, stored: StoredDigest, *, posted: str | None) -> None:
        """Post what is not posted yet; `posted` is the ts of the next one if Slack has it."""
        left: StoredDigest | None = stored
        while left and left.sent < len(left.messages):
            if posted is None:
                posted = await self._post(left, left.messages[left.sent], left.ts)
            left = await self._state.posted(
                left,
                sent=left.sent + 1,
                ts=left.ts or posted,
                now=self._clock(),
                finished=left.sent + 1 == len(left.messages),
            )
            posted = None

    async def _post(self, stored: StoredDigest, message: Message, ts: str | None) -> str:
        try:
            return await self._poster.post(stored.channel, message, ts)
        except SlackRefused:
            if ts is None:  # nothing of it is posted, so a later try may gather anew
                await self._state.release(stored.day, stored.channel)
            raise
