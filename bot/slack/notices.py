"""Notices between digests: what changed, and when the bot itself could not see the monitors.

A silent channel looks as if all were well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from http.client import GONE, NOT_FOUND
from typing import TYPE_CHECKING

from bot.api.client import SSLMonitor
from bot.api.extras import Changes, Extra
from bot.blocks import Message
from bot.cards import digest as cards
from bot.cards.batch import redrawn
from bot.cards.changes import PAUSE, SMALL, WORSE, News, Plan, compare
from bot.cards.subscriptions import offer
from bot.errors import (
    APIRefused,
    APIUnreachable,
    BotError,
    DatabaseUnavailable,
    SlackLimited,
    SlackRefused,
    SlackUnreachable,
)
from bot.slack.web import SlackWeb
from bot.store.digests import DigestStore
from bot.store.monitors import Records
from bot.store.notices import Notice, NoticeStore, SmallChange, Standings

if TYPE_CHECKING:  # only for type checking
    from bot.api.models import MonitorList, MonitorSummary
    from bot.digest import Digest
    from bot.slack.digests import Digests
    from bot.slack.rows import Boards, Drawing, Shown

log = logging.getLogger(__name__)

#: After this long without a usable API, channels are told.
TOLD_AFTER = timedelta(hours=1)
#: How often the API is asked if nobody else asks it.
ASKED_EVERY = timedelta(minutes=5)
NOTE = "blind"


class Blindness:
    """Watches the API and the digests; `tick` is called every minute."""

    def __init__(
        self,
        api: SSLMonitor,
        digests: Digests,
        store: DigestStore,
        web: SlackWeb,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._api, self._digests, self._store, self._web = api, digests, store, web
        self._clock, self._told, self._checked = clock, False, dict[str, date]()
        self._asked_at: datetime | None = None
        self._fault: BotError | None = None
        self._since: datetime | None = None

    async def tick(self) -> None:
        """Ask the API if needed, and tell the channels what they must know."""
        await self._look()
        now = self._clock()
        if self._since is None:
            await self._tell_recovery(now)
        elif self._fault and now - self._since >= TOLD_AFTER and not self._told:
            await self._tell_blindness(self._since, self._fault)
        await self._digests.check_people(self._web, self._store, now)
        for digest in self._digests.current():
            await self._tell_missed(digest, digest.plan.today(now))

    async def _look(self) -> None:
        now, bad = self._clock(), self._api.fault or self._fault
        if bad or self._asked_at is None or now - self._asked_at >= ASKED_EVERY:
            self._asked_at, self._fault = now, None
            try:
                await self._api.measure_clock()
                await self._api.list(valid=False, expires="<0")  # matches few monitors, if any
            except BotError as fault:
                log.info("Could not read monitors: %s", fault)
                self._fault = fault
        if self._fault is None:
            self._since = None
        elif self._since is None:
            self._since = now

    async def _tell_blindness(self, since: datetime, why: BotError) -> None:
        """Post a message once, or once per process while the database is unavailable."""
        self._told = True
        try:
            mine = await self._store.claim_note(NOTE, since.isoformat())
        except DatabaseUnavailable as fault:
            log.warning("Could not check whether the outage was announced: %s", fault)
            mine = True
        if mine and not await self._tell(cards.blind(since, why)):
            self._told = False
            await self._store.take_note(NOTE)

    async def _tell_recovery(self, now: datetime) -> None:
        self._told = False
        since = await self._store.take_note(NOTE)
        if since and not await self._tell(cards.sees_again(datetime.fromisoformat(since), now)):
            await self._store.claim_note(NOTE, since)

    async def _tell_missed(self, digest: Digest, today: date) -> None:
        channel = digest.plan.channel
        if self._checked.get(channel) == today:
            return
        missed = await digest.missed()
        key = f"missed {missed[0].isoformat()} {channel}" if missed else ""
        claimed = missed and await self._store.claim_note(key, "1")
        if missed and claimed and not await self._post(channel, cards.missed(*missed)):
            await self._store.take_note(key)
            return
        self._checked[channel] = today

    async def _tell(self, message: Message) -> bool:
        """Tell every channel that gets a digest or notices; False if none accepted it."""
        channels = self._digests.channels(self._clock())
        return any([await self._post(channel, message) for channel in channels])

    async def _post(self, channel: str, message: Message) -> bool:
        """Post a message; False if Slack refused it, so that it can be tried again."""
        try:
            await self._web.post(channel, message)
        except SlackRefused as fault:
            log.warning("Could not post “%s” in %s: %s", message.text, channel, fault)
            return False
        except SlackUnreachable as fault:
            log.warning("Slack may not have received “%s”: %s", message.text, fault)
        return True


#: Comparing a list this long takes seconds of work.
MANY = 5000
#: How often an API with monitor/changes is asked for changes, and for how many pages at a time.
CHANGES_EVERY, PAGES = timedelta(seconds=30), 20
#: After this long, an API that describes monitor/changes but has none is asked again.
LACKS = timedelta(hours=1)
#: A notice that was claimed this long ago, but not posted, belongs to a process that has died.
LEASE = timedelta(minutes=2)
#: A notice posted this late mentions nobody if its trouble is over.
LATE = timedelta(minutes=10)
#: How far Slack's clock, which makes the ts of messages, may be behind ours.
SKEW = timedelta(minutes=1)
#: Stands for the ts of a notice that was repeated, and may have been posted twice.
UNKNOWN = ""


class Notices:
    """Tells channels what changes between digests: each change once, also across replicas.

    A comparison is stored with its notices before they are posted. A post in doubt is looked up.
    """

    def __init__(
        self,
        api: SSLMonitor,
        store: NoticeStore,
        web: SlackWeb,
        records: Records,
        boards: Boards,
        *,
        interval: timedelta = timedelta(),
        clock: Callable[[], datetime],
    ) -> None:
        self._interval, self._clock, self._boards = interval, clock, boards
        self._api, self._store, self._web, self._records = api, store, web, records
        self._before: Shown = {}
        self._not_before = self._lacks_until = self._asked = clock()
        self._one_at_a_time, self._drawing = asyncio.Lock(), asyncio.Lock()
        self._undrawn: list[Drawing] = []
        self._refused, self._limited = set[str](), dict[str, datetime]()
        self._since: datetime | None = None
        self.fault = "ok"

    async def tick(self) -> None:
        """Compare the lists, and post the notices.

        A list of more than MANY monitors is compared only once per `interval`.
        """
        async with self._one_at_a_time:
            self._refused.clear()
            try:
                if not timedelta() < self._not_before - self._clock() <= self._interval:
                    await self._compare()
            finally:  # posting what is stored needs no API
                await self._post_all()
        await self._draw()

    async def poll(self) -> None:
        """Compare only what changed since the last time, if the API can say."""
        async with self._one_at_a_time:
            self._refused.clear()
            if self._is_on() and await self._offers_changes():
                await self._compare_changes()
                await self._post_all()
        await self._draw()

    def _is_on(self) -> bool:
        channels = self._records.subscriptions
        return bool(channels.notices() or channels.digests())

    async def _offers_changes(self) -> bool:
        if timedelta() < self._lacks_until - self._clock() <= LACKS:
            return False
        try:
            return await self._api.extras.offers(Extra.CHANGES, hurry=True)
        except BotError as fault:
            log.info("Could not read openapi.json: %s", fault)
            return False

    async def _begin(self) -> Standings:
        """What was compared last; what is shown by now is newer than what the API said before."""
        await self._records.reread()  # another process may have muted some
        self._before, self._asked = await self._boards.shown(), self._clock()
        return await self._store.standings(self._api.source)

    async def _compare_changes(self) -> None:
        """Compare what changed since the last comparison, of whichever kind that was."""
        was = await self._begin()
        if not was.known or not was.basis.cursor:
            return  # the next whole list is the new start
        try:
            changes = await self._changes(was.basis.cursor)
        except APIRefused as fault:
            log.info("Could not continue reading monitor/changes: %s", fault)
            await self._compare()
            return
        if changes and changes.next != was.basis.cursor:
            await self._keep(was, changes.rows, changes)

    async def _changes(self, cursor: str) -> Changes | None:
        """What changed since the cursor; without one, only where to start.

        None if the API can't say now. Raises APIRefused if the cursor is too old.
        """
        try:
            found = await self._api.extras.changes(cursor)
            for _ in range(PAGES):  # the rest waits for the next time
                if found.more:
                    found = found.then(await self._api.extras.changes(found.next))
        except (APIRefused, APIUnreachable) as fault:
            code = fault.code if isinstance(fault, APIRefused) else 0
            if code == GONE:
                raise
            if code == NOT_FOUND:
                self._lacks_until = self._clock() + LACKS
            log.info("Could not read monitor/changes; comparing lists instead: %s", fault)
            return None
        return found

    async def _compare(self) -> None:
        if not self._is_on():
            await self._store.forget_source()  # so that a later subscriber isn't told old news
            self._since, self.fault = None, "off"
            return
        was = await self._begin()
        # before the list, so that no change is missed in between
        changes = await self._begin_changes(was.basis.cursor)
        rows = await self._api.list()
        self._asked = rows.asked or self._asked
        if len(rows) > MANY:
            self._not_before = self._clock() + self._interval
        if rows.unreadable:
            await self._tell_unreadable(rows, has_changes=bool(was.basis.cursor))
        else:
            self._since, self.fault = None, "ok"
        if not rows.incomplete:
            await self._keep(was, rows, changes, rows.unreadable)

    async def _tell_unreadable(self, rows: MonitorList, *, has_changes: bool) -> None:
        """Say which notices may be missing, in each channel once a day, if that lasts."""
        all_wait = rows.incomplete and not has_changes
        now, card = self._clock(), cards.paused(rows.unreadable, all_wait=all_wait)
        self._since, self.fault = self._since or now, card.text
        log.warning("%s", card.text)
        if now - self._since >= TOLD_AFTER:
            for channel in self._channels(now):
                await self._store.tell(f"{self._day(channel, now)} paused", channel, card, now)

    def _channels(self, now: datetime) -> list[str]:
        return [each.channel for each in self._records.subscriptions.notices() if each.runs(now)]

    def _day(self, channel: str, now: datetime) -> date:
        return now.astimezone(self._records.subscriptions.zone_of(channel)).date()

    async def _begin_changes(self, cursor: str) -> Changes | None:
        """What changed since the cursor; if that is unknown, where to start."""
        if not await self._offers_changes():
            return None
        try:
            return await self._changes(cursor)
        except APIRefused as fault:
            log.info("Could not continue reading monitor/changes: %s", fault)
            return await self._changes("")

    async def _keep(
        self,
        was: Standings,
        rows: Sequence[MonitorSummary],
        changes: Changes | None,
        unreadable: int | None = None,
    ) -> None:
        """Compare, and store the result and its notices; `unreadable` is None for mere changes."""
        now, rules, complete = self._clock(), self._records.rules, unreadable == 0
        seen, names = was.seen if was.known else None, changes.names if changes else {}
        # in a thread: judging tens of thousands of rows would block the event loop for too long
        told, changed, gone = await asyncio.to_thread(
            compare, seen, rows, now, rules, complete=complete, renamed=names
        )
        told = cards.first_read(told, seen, now, rules) if was.basis.unreadable else told
        basis = was.basis.then(changes.next if changes else None, unreadable)
        if not (changed or gone or told) and was.known and basis == was.basis.then():
            await self._refresh(rows, complete=complete)
            return
        source = was.basis.source[:8]  # the IDs may belong to another account
        small = [
            SmallChange(f"{now.date()} {source} {each.id} {each.kind}", each.kind, str(each.target))
            for each in told
            if each.kind in SMALL
        ]
        news = await self._news(told, source, now) if told else []
        if await self._store.compared(was, changed, gone, news, small=small, now=now, basis=basis):
            if any(each.join for each in news):  # it has changed some itself
                joined, self._before = await self._boards.changed_since(self._before)
                self._undrawn += joined
            await self._post_all()  # new notices before updates
            await self._refresh(rows, complete=complete)
        else:
            log.info("Another process stored its comparison first; dropping this one")

    async def _refresh(self, rows: Sequence[MonitorSummary], *, complete: bool) -> None:
        """Change the messages whose rows are outdated; they are drawn later."""
        found, rules, asked = {row.id: row for row in rows}, self._records.rules, self._asked
        self._undrawn += await self._boards.refresh(
            found, rules, asked=asked, complete=complete, before=self._before
        )
        await self._records.end_claims(rows, self._clock(), asked=asked)

    async def _draw(self) -> None:
        """Draw those messages, while the next comparison may run: Slack limits edits."""
        while self._undrawn and not self._drawing.locked():
            async with self._drawing:
                undrawn, self._undrawn = self._undrawn, []
                await self._boards.draw_all(undrawn)

    async def _news(self, told: Sequence[News], source: str, now: datetime) -> list[Notice]:
        known, notices = await self._store.channels(), []
        for to in [each for each in self._records.subscriptions.notices() if each.runs(now)]:
            day = f"{self._day(to.channel, now)} {source}"
            topics = await self._store.topics(day, to.channel, source, now - PAUSE)
            plan = Plan(to, topics, day, now, self._records.rules)
            for topic, card in plan.of(told):
                if not to.mention and to.channel not in known and topic.thread is None:
                    card, known = offer(card), {*known, to.channel}  # noqa: PLW2901 - the same one
                notices.append(Notice.of(topic, card, join=plan.joins.get(topic.key)))
        return notices

    async def _post_all(self) -> None:
        """Post the stored notices; run twice per comparison, since follow-ups need their thread."""
        for notice in await self._store.unposted(self._clock(), LEASE):
            channel, now = notice.channel, self._clock()
            takes = channel in self._channels(now) and channel not in self._refused
            if takes and self._limited.get(channel, now) <= now:
                await self._post(notice, now)

    async def _post(self, notice: Notice, now: datetime) -> None:
        """Post a notice, unless another process does."""
        if not await self._store.claim(notice, now):
            return
        try:
            ts = await self._post_or_find(notice, now)
        except SlackRefused as fault:
            self.fault = f"Could not post a notice in {notice.channel}: {fault}"
            log.warning("%s", self.fault)
            await self._store.give_back(notice, now)
            if fault.may_not_post or fault.bad_token or isinstance(fault, SlackLimited):
                self._refused.add(notice.channel)
                self._limited[notice.channel] = now + timedelta(seconds=fault.retry_after or 0)
            return
        except SlackUnreachable as fault:
            log.warning("Slack may not have received a notice (%s): %s", notice.key, fault)
            return
        self.fault = "ok" if f" in {notice.channel}: " in self.fault else self.fault
        if ts and await self._store.posted(notice.key, ts) != ts:
            await self._delete(notice, ts)

    async def _delete(self, notice: Notice, ts: str) -> None:
        """Delete our post, because another process has posted the same."""
        try:
            await self._web.delete(notice.channel, ts)
        except (SlackRefused, SlackUnreachable) as fault:
            log.warning("Could not delete a notice posted twice (%s): %s", notice.key, fault)

    async def _post_or_find(self, notice: Notice, now: datetime) -> str | None:
        """Post a notice, or find its post: the ts, empty if unknown, None if the claim is lost."""
        try:
            ts = await self._found(notice) if notice.claimed_at else None
            message = await self._true_now(notice, now) if ts is None else notice.message
            # This process may have slept since its claim.
            if ts is None and await self._store.is_claimed(notice.key, now):
                ts = await self._web.post(notice.channel, message, notice.thread_ts)
        except SlackRefused as fault:
            if notice.thread_ts is None or not fault.no_thread:
                raise
            return await self._post_or_find(replace(notice, thread_ts=None), now)
        return ts

    async def _true_now(self, notice: Notice, now: datetime) -> Message:
        """A notice's message, without a mention if it comes late and the trouble is over."""
        message, topic = notice.message, notice.topic
        if topic.kind not in WORSE or now - topic.at < LATE:
            return message
        seen = (await self._store.standings(self._api.source)).seen
        if any(each in seen and seen[each].rank <= WORSE[topic.kind] for each in topic.members):
            return message
        text, blocks = redrawn(message.text, message.blocks)
        return replace(message, text=text, blocks=blocks)

    async def _found(self, notice: Notice) -> str | None:
        """The ts of a notice that an earlier attempt posted; None if it isn't there.

        If the bot may not look, it is posted once more: twice is better than never, not ten times.
        """
        claimed, now = notice.claimed_at, self._clock()  # in the future if the clock was set back
        since = (claimed if claimed and claimed <= now else now - timedelta(days=1)) - SKEW
        try:
            posts = await self._web.find_posts(
                notice.channel, notice.message, since, notice.thread_ts
            )
        except SlackRefused as fault:
            if isinstance(fault, SlackLimited) or fault.no_thread:
                raise
            log.warning("Could not look for a notice in %s: %s", notice.channel, fault)
            return None if await self._store.may_repeat(notice.key) else UNKNOWN
        return posts[0] if posts else None
