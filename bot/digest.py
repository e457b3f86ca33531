"""The daily digest: when it is due, which process posts it, and how it is posted exactly once.

A scheduler asks every minute; the database decides. A digest is claimed together with all its
messages before the first one is posted, so that another process can post the rest if this one dies.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol

from bot.api.client import SSLMonitor
from bot.api.extras import Extra
from bot.blocks import Message
from bot.cards import digest as digest_cards
from bot.cards.digest import DigestContent
from bot.cards.table import as_csv, no_csv, with_csv
from bot.dates import ALL, DAY, Due, Plan, Selection
from bot.errors import BotError, SlackLimited, SlackRefused, SlackUnreachable
from bot.severity import Rank, Thresholds, state_of
from bot.store.digests import DigestStore, StoredDigest
from bot.store.monitors import Records

log = logging.getLogger(__name__)

#: A claim without progress for this long belongs to a process that has died.
LEASE = timedelta(minutes=2)
#: How far Slack's clock, which makes the ts of messages, may be behind ours.
CLOCK_SKEW = timedelta(minutes=1)
#: How long to wait after a failure, so that neither the log nor the API is flooded.
RETRY_AFTER = timedelta(minutes=5)
#: A post is sent at most this long after the claim was read.
FENCE = timedelta(seconds=2)
FENCE_TRIES = 3
#: After this many digests, a monitor that is broken and not taken is worth a mention.
DIGESTS_WAITED = 2
#: The last attempt is this long before the end of the local day.
LAST_CHANCE = timedelta(minutes=1)


class DigestPoster(Protocol):
    """The methods of Slack that the digest needs.

    `post` raises SlackRefused if nothing was posted, SlackUnreachable if something may have been.
    """

    async def post(
        self, channel: str, message: Message, thread_ts: str | None = None, *, patient: bool = True
    ) -> str:
        """Post a message and return its ts; without `patient`, a rate limit is not waited out."""

    async def find_posts(
        self, channel: str, message: Message, since: datetime, thread_ts: str | None = None
    ) -> list[str]:
        """The ts of each post of this message (known by its metadata) since then, oldest first."""

    async def delete(self, channel: str, ts: str) -> None:
        """Delete one of the bot's messages."""

    async def share_file(self, channel: str, thread_ts: str, name: str, content: bytes) -> None:
        """Put a file into a thread."""

    async def has_file(self, channel: str, thread_ts: str, name: str) -> bool:
        """Whether the bot has put a file of this name into the thread."""

    async def is_last(self, channel: str, ts: str) -> bool:
        """Whether this is the channel's last message. Raises SlackRefused if it can't be seen."""

    async def update(self, channel: str, ts: str, message: Message, within: float | None) -> None:
        """Edit one of the bot's messages; at once if `within` is None."""


async def gather(
    api: SSLMonitor,
    now: datetime,
    rules: Thresholds,
    which: Selection = ALL,
    until: datetime | None = None,
) -> DigestContent:
    """Ask the API for the digest's monitors. Raises APIRefused or APIUnreachable.

    `until` is when the next digest on a working day is due, if this one looks ahead.
    """
    days = rules.look_ahead(now, until) if which == ALL else None
    total = await _counted(api) if days is not None else None
    in_full: list[dict[str, Any]] = [{}, {"expires": f"<{rules.net_days}"}, {"valid": False}]
    filters = in_full if total is None else [{"attention": days}]
    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(api.list(**each)) for each in filters]
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from faults
    lists = [each.result() for each in asked]
    # in a thread: judging tens of thousands of rows would block the event loop for too long
    found = await asyncio.to_thread(
        digest_cards.content, *lists, now=now, rules=rules, which=which, until=until
    )
    total, unreadable = max(found.total, total or 0), max(each.unreadable for each in lists)
    return replace(found, total=total, unreadable=unreadable, only=str(which))


async def _counted(api: SSLMonitor) -> int | None:
    """How many monitors there are; None if the API can't leave out those that need no attention."""
    with suppress(BotError):  # a fault that lasts is raised for the lists, too
        if await api.extras.offers(Extra.ATTENTION, hurry=True):
            return (await api.account()).used
    return None


class Digest:
    """Posts each day's digest exactly once, across restarts and replicas."""

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
        self.plan, self._api, self._state = plan, api, state
        self._poster = poster
        self._records = records
        self._clock = clock
        self._content: DigestContent | None = None
        self._first_start: datetime | None = None
        self._not_before: datetime | None = None
        self._done: date | None = None
        self._failed_day: date | None = None
        self.last_error = ""

    async def start(self) -> None:
        """Record when the bot first started."""
        self._first_start = await self._state.first_start(self._clock())

    def lag(self) -> float:
        """For how many seconds today's digest has been overdue.

        A post by another process is noticed at the next tick, within a minute.
        """
        now, day = self._clock(), self.plan.today(self._clock())
        if self._first_start is None or self._done == day or not self.plan.is_planned(day):
            return 0.0
        begun = max(self.plan.hour(day), self._first_start)
        return max(0.0, (now - begun).total_seconds())

    async def missed(self) -> tuple[date, str, bool] | None:
        """If yesterday's digest was missed: the day, why (if known), and whether it was begun."""
        day = self.plan.today(self._clock()) - timedelta(days=1)
        if self._first_start is None or self.plan.today(self._first_start) > day:
            return None
        if not self.plan.is_planned(day):
            return None
        stored = await self._state.digest(day, self.plan.channel)
        if stored is not None and stored.finished:
            return None
        return day, self.last_error if self._failed_day == day else "", bool(stored and stored.ts)

    async def tick(self, *, ready: bool = True) -> None:
        """Post the digest if it is due; after a failure, log it and try again later.

        Nothing is posted before the API's clock is measured (`ready`): its dates mean nothing until
        then.
        """
        now = self._clock()
        if self._first_start is None:
            return
        if self._not_before and self._not_before - RETRY_AFTER <= now < self._not_before:
            return  # unless the clock was set back meanwhile
        wanted = self.plan.due(now, self._first_start)
        if wanted is None:
            return
        if not ready:
            self.last_error = "The SSLmonitor API's clock has not been read yet."
            return
        try:
            await self._post_once(wanted)
            self.last_error = ""
        except Exception as fault:
            self._not_before = self._retry_at(now, wanted.day)
            self._failed_day = wanted.day
            self.last_error = str(fault) if isinstance(fault, BotError) else type(fault).__name__
            if not isinstance(fault, BotError):
                raise
            what = f"{wanted.day} in {self.plan.channel}"
            log.warning("Could not post the digest of %s; retrying: %s", what, fault)

    async def post_now(self, *, again: bool = False) -> bool:
        """Post today's digest and claim the day; False if it was posted already or isn't needed.

        `again` posts it anyway. Raises BotError, also if another process is posting it.
        """
        day = self.plan.today(self._clock())
        if again:
            await self._state.release(day, self.plan.channel)
        if await self._post_once(Due(day), again=again):
            return True
        stored = await self._state.digest(day, self.plan.channel)
        if stored is None or not stored.finished:
            raise BotError("Another process is posting today's digest. Try again in two minutes.")
        return False

    async def needs_none(self) -> bool:
        """Whether today's digest was skipped, since all is clear and another day's says so."""
        stored = await self._state.digest(self.plan.today(self._clock()), self.plan.channel)
        return stored is not None and not stored.messages

    async def _post_once(self, wanted: Due, *, again: bool = False) -> bool:
        now, channel = self._clock(), self.plan.channel
        stored = await self._state.digest(wanted.day, channel)
        if stored is None:
            claimed = await self._claim(wanted, now, again=again)
            return claimed is not None and await self._deliver(claimed, posted=None)
        if stored.finished:
            self._done = wanted.day
            return False
        if abs(now - stored.claimed_at) < LEASE:
            return False
        # Looked up before the take-over, which changes the time of the claim: if the look-up fails,
        # the next attempt must search from the same time.
        posted = await self._lost_post(stored)
        taken = await self._state.take_over(stored, now)
        return taken is not None and await self._deliver(taken, posted=posted)

    async def _claim(self, wanted: Due, now: datetime, *, again: bool) -> StoredDigest | None:
        """Gather a digest and claim its day; None if there is nothing to post.

        An “all clear” may replace the last digest, unless it is posted `again`.
        """
        channel, last = self.plan.channel, await self._state.before(wanted.day, self.plan.channel)
        until, which = self.plan.next_at_work(wanted.day), self.plan.which
        found = await gather(self._api, now, self._records.rules, which, until)
        since = "the last digest" if last else "yesterday"
        found = replace(found, lately=await self._lately(wanted.day, last), since=since)
        key = f"{self._api.source[:8]} {channel}"  # IDs of another account may be the same
        known = await self._state.waiting(key)
        before = known.get(last.day, {}) if last else {}
        counts = self._waiting(found, before)
        left = [row for row in found.rows if counts.get(row.id) == DIGESTS_WAITED + 1]
        notices = [each.channel for each in self._records.subscriptions.notices()]
        to = self._records.subscriptions.mentioning(channel)
        found = replace(found, noticed=channel in notices)
        if to and to.mention and not (again and wanted.day in known):  # only once a day
            theirs = tuple(row for row in left if to.takes(row.target))
            found = replace(found, left=theirs, mention=to.mention)
        first_of = self.plan.text(wanted)
        messages = await asyncio.to_thread(
            digest_cards.digest, found, now, day=wanted.day, late=wanted.late, first_of=first_of
        )
        edits = None
        if found.all_clear and not again:
            messages = () if await self._is_quiet(wanted.day) else messages
            edits = last.ts if messages and last and last.facts.get("clear") else None
        self._content = found if len(messages) > 1 else None
        claimed = await self._state.claim(wanted.day, channel, now, messages, edits=edits)
        if claimed is not None:
            kept = {last.day: before if messages else {}} if last else {}  # else all was fixed
            await self._state.keep_waiting(key, kept | {wanted.day: counts})
        return claimed if messages else None

    def _waiting(self, found: DigestContent, before: Mapping[int, int]) -> dict[int, int]:
        """For each broken monitor not taken: in how many digests in a row, including this one.

        `before` has the counts of the last posted digest.
        """
        now, claims = self._clock(), found.rules.marks.claims
        broken = [row for row in found.rows if state_of(row, now, found.rules).rank is Rank.BROKEN]
        return {row.id: before.get(row.id, 0) + 1 for row in broken if row.id not in claims}

    async def _is_quiet(self, day: date) -> bool:
        """Whether it is too early to post another “all clear”."""
        monday = day - timedelta(days=day.weekday())
        return self.plan.weekly and await self._state.was_due(monday, day, self.plan.channel)

    async def _lately(self, day: date, last: StoredDigest | None) -> Counter[str]:
        """Counts the changes since the last digest was gathered, by kind; at first, those of a day.

        A skipped digest counted none.
        """
        gathered = last.facts.get("gathered") if last else None
        since = datetime.fromisoformat(gathered) if gathered else self.plan.hour(day) - DAY
        small = await self._state.small_changes(since)
        takes = self.plan.which.takes
        return Counter(kind for kind, target in small if takes(target))

    def _retry_at(self, now: datetime, day: date) -> datetime:
        """When to try again: after RETRY_AFTER, but before the last minute of the local day.

        A digest is posted on its own day or not at all.
        """
        end = datetime.combine(day + timedelta(days=1), time(), tzinfo=self.plan.timezone)
        return min(now + RETRY_AFTER, end.astimezone(UTC) - LAST_CHANCE)

    async def _lost_post(self, stored: StoredDigest) -> str | None:
        """The ts of the next message if an earlier attempt posted it; None if it must be posted.

        If the history can't be read, the message is posted again, once a day: one digest too many
        is better than none, but ten are not.
        """
        message, now, thread = stored.messages[stored.sent], self._clock(), stored.ts
        # a claim from the future: the clock was set back since
        since = stored.claimed_at if stored.claimed_at <= now else now - DAY
        if stored.edits:
            since, thread = datetime.fromtimestamp(float(stored.edits), UTC), None
        begun = since - CLOCK_SKEW
        try:
            posts = await self._poster.find_posts(stored.channel, message, begun, thread)
        except SlackRefused as fault:
            if isinstance(fault, SlackLimited) or fault.bad_token:
                raise
            if stored.edits or fault.no_thread:
                return None  # the next step finds out
            if await self._state.may_repeat(stored.day, stored.channel):
                log.warning("Could not look for a lost digest; posting it again: %s", fault)
                return None
            raise BotError(
                "The digest may not have been posted, and the bot can't read the history of "
                f"{stored.channel} to find out ({fault.reason}). Invite the bot to the channel."
            ) from fault
        return posts[0] if posts else None

    async def _deliver(self, stored: StoredDigest, *, posted: str | None) -> bool:
        """Post the remaining messages; `posted` is the next one's ts if Slack has it already.

        Returns True once all are posted, False if another process has taken over.
        """
        left: StoredDigest | None = stored
        while left and left.sent < len(left.messages):
            if left.edits and not posted:
                posted = await self._edit(left)
                left = left if posted else await self._state.post_instead(left)
                continue
            ts = posted or await self._post(left)
            posted = None
            if ts is None:
                return False
            left = await self._state.posted(
                left,
                sent=left.sent + 1,
                ts=left.ts or ts,
                now=self._clock(),
                finished=left.sent + 1 == len(left.messages),
            )
        return left is not None

    async def _edit(self, stored: StoredDigest) -> str | None:
        """Replace the older post by the first message, if it is still the channel's last one.

        Returns its ts; None if the message must be posted.
        """
        channel, ts = stored.channel, str(stored.edits)
        try:
            if not await self._poster.is_last(channel, ts) or not await self._still_ours(stored):
                return None
            message = digest_cards.in_place(stored.messages[0])
            # at once: the claim was just read, and the board stored for this ts is still
            # yesterday's
            await self._poster.update(channel, ts, message, within=None)
        except SlackLimited:
            raise
        except SlackRefused as fault:
            log.info("Could not edit the last digest of %s; posting another: %s", channel, fault)
            return None
        return ts

    async def _post(self, stored: StoredDigest) -> str | None:
        """Post the next message and return its ts; None if another process has taken over.

        This process may have been suspended since it claimed the digest, so the claim is read again
        right before the post. If the digest was deleted, its other messages are skipped.
        """
        message = stored.messages[stored.sent]
        if stored.sent == 1:
            message = await self._with_csv(stored, message)
        if not await self._still_ours(stored):
            return None
        try:
            ts = await self._poster.post(stored.channel, message, stored.ts, patient=False)
        except SlackRefused as fault:
            if stored.ts is None:  # nothing is posted yet, so a later attempt may gather again
                await self._state.release(stored.day, stored.channel)
            elif fault.no_thread:
                log.info("Could not continue a digest in %s: it was deleted", stored.channel)
                return stored.ts
            raise
        return ts if stored.ts else await self._only_one(stored, message, ts)

    async def _with_csv(self, stored: StoredDigest, message: Message) -> Message:
        """Upload the CSV file to the thread; the returned message says whether it is there.

        A note records the attempt, so that the next process looks for the file first.
        """
        channel, thread, found = stored.channel, str(stored.ts), self._content
        name = f"certificates-{stored.day.isoformat()}.csv"
        try:
            new = await self._state.claim_note(f"file {stored.day} {channel} {thread}", name)
            if new or not await self._has_file(channel, thread, name):
                content = await self._csv()
                if await self._still_ours(stored):
                    await self._poster.share_file(channel, thread, name, content)
        except BotError as fault:
            log.warning("Could not attach the CSV file of the digest in %s: %s", channel, fault)
            return with_csv(message, no_csv(fault))
        return with_csv(message, lost=found.unreadable if found and new else None)

    async def _has_file(self, channel: str, thread: str, name: str) -> bool:
        """Whether the file is in the thread. Raises SlackUnreachable if that can't be seen."""
        try:
            return await self._poster.has_file(channel, thread, name)
        except SlackRefused as fault:
            raise SlackUnreachable(f"The file may be there already: {fault}.") from fault

    async def _csv(self) -> bytes:
        """All monitors of the digest as CSV; gathered again if another process claimed it."""
        now, rules = self._clock(), self._records.rules
        found = self._content or await gather(self._api, now, rules, self.plan.which)
        self._content = None
        return await asyncio.to_thread(as_csv, found.named, now, rules)

    async def _still_ours(self, stored: StoredDigest) -> bool:
        loop = asyncio.get_running_loop()
        for _ in range(FENCE_TRIES):
            began, clock = loop.time(), self._clock()
            current = await self._state.digest(stored.day, stored.channel)
            was = stored.claimed_at, stored.sent
            if current is None or (current.claimed_at, current.sent) != was:
                return False
            passed = timedelta(seconds=loop.time() - began), self._clock() - clock
            if max(passed) < FENCE:
                return True
        raise BotError("The database is too slow to post the digest safely.")

    async def _only_one(self, stored: StoredDigest, message: Message, ts: str) -> str:
        """Delete our post if the same message was posted before; returns the ts that stays."""
        since = stored.claimed_at - CLOCK_SKEW
        try:
            posts = await self._poster.find_posts(stored.channel, message, since, stored.ts)
            oldest = posts[0] if posts else ts
            if float(oldest) < float(ts):
                await self._poster.delete(stored.channel, ts)
                return oldest
        except (SlackRefused, SlackUnreachable) as fault:
            log.info("Could not look for another post of the digest: %s", fault)
        return ts
