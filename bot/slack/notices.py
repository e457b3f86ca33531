"""Notices between digests: what changed, and when the bot itself could not see the monitors.

A silent channel looks as if all were well.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from bot.api.client import SSLMonitor
from bot.blocks import Message
from bot.cards import digest as cards
from bot.cards.changes import SMALL, News, compare
from bot.errors import BotError, DatabaseUnavailable, SlackLimited, SlackRefused, SlackUnreachable
from bot.slack.web import SlackWeb
from bot.store.digests import DigestStore
from bot.store.monitors import Records
from bot.store.notices import Notice, NoticeStore, SmallChange

if TYPE_CHECKING:  # it is handed these
    from bot.dates import Subscription
    from bot.digest import Digest
    from bot.slack.digests import Digests

log = logging.getLogger(__name__)

#: The channel is told when the API has been unreachable for so long.
TOLD_AFTER = timedelta(hours=1)
#: While the API answers, it is asked so often, in case nobody else asks it.
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
        self._clock = clock
        self._asked_at: datetime | None = None
        self._since: datetime | None = None
        self._told = False
        self._checked: dict[str, date] = {}

    async def tick(self) -> None:
        """Ask the API if need be, and tell the channel what it has to know."""
        await self._look()
        now = self._clock()
        if self._since is None:
            await self._tell_recovery(now)
        elif now - self._since >= TOLD_AFTER and not self._told:
            await self._tell_blindness(self._since)
        for digest in self._digests.current():
            await self._tell_missed(digest, digest.plan.today(now))

    async def _look(self) -> None:
        now = self._clock()
        if self._api.fault or self._asked_at is None or now - self._asked_at >= ASKED_EVERY:
            self._asked_at = now
            try:
                await self._api.measure_clock()
            except BotError as fault:
                log.info("The SSLmonitor API did not answer: %s", fault)
        if not self._api.fault:
            self._since = None
        elif self._since is None:
            self._since = now

    async def _tell_blindness(self, since: datetime) -> None:
        """Post it once among all processes; once by each while the database can't be asked."""
        self._told = True
        try:
            mine = await self._store.claim_note(NOTE, since.isoformat())
        except DatabaseUnavailable as fault:
            log.warning("Could not check whether the outage was announced: %s", fault)
            mine = True
        if mine and not await self._tell(cards.blind(since, self._api.fault)):
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
        if (
            missed
            and await self._store.claim_note(key, "1")
            and not await self._post(channel, cards.missed(*missed))
        ):
            await self._store.take_note(key)
            return
        self._checked[channel] = today

    async def _tell(self, message: Message) -> bool:
        """Tell every channel that gets a digest; False if none took it."""
        channels = [digest.plan.channel for digest in self._digests.current()]
        return any([await self._post(channel, message) for channel in channels])

    async def _post(self, channel: str, message: Message) -> bool:
        """Post it; False if Slack refuses, so that it can be tried again."""
        try:
            await self._web.post(channel, message)
        except SlackRefused as fault:
            log.warning("Could not post “%s” in %s: %s", message.text, channel, fault)
            return False
        except SlackUnreachable as fault:
            log.warning("Slack may not have received “%s”: %s", message.text, fault)
        return True


def _notice(key: str, channel: str, card: Message) -> Notice:
    """A message for a channel. Its key names the channel: others may be told the same."""
    key = f"{key} {channel}"
    metadata = {"event_type": EVENT, "event_payload": {"key": key}}
    return Notice(key, channel, replace(card, metadata=metadata))


#: So many that broke at once are told in one message.
OUTAGE = 10
#: A list so long costs seconds of work.
MANY = 5000
#: A notice that was claimed for so long without being posted belongs to a process that is gone.
LEASE = timedelta(minutes=2)
#: Slack's clock, which stamps messages, may be so much behind ours.
SKEW = timedelta(minutes=1)
EVENT = "ssl_notice"


class Notices:
    """Tells a channel what changes between digests: each change once, also among replicas.

    What was found and what is to be told of it are stored together, before anything is posted. A
    post that may have been lost is looked up before it is repeated.
    """

    def __init__(
        self,
        api: SSLMonitor,
        store: NoticeStore,
        web: SlackWeb,
        records: Records,
        *,
        timezone: tzinfo,
        interval: timedelta = timedelta(),
        clock: Callable[[], datetime],
    ) -> None:
        self._interval = interval
        self._not_before: datetime | None = None
        self._api, self._store, self._web, self._records = api, store, web, records
        self._timezone = timezone
        self._clock = clock

    async def tick(self) -> None:
        """Compare the lists, and post what is to be told.

        A list of more than MANY monitors is compared every `interval` only.
        """
        now = self._clock()
        if self._not_before is None or now >= self._not_before:
            await self._compare()
        for notice in await self._store.unposted(now, LEASE):
            await self._post(notice, now)

    async def _compare(self) -> None:
        channels = self._records.subscriptions
        if not channels.notices() and not channels.digests():
            await self._store.forget_source()  # whoever subscribes is not told what is old by then
            return
        rows = await self._api.list()
        if len(rows) > MANY:
            self._not_before = self._clock() + self._interval
        if rows.unreadable:
            log.info("Skipping a comparison: the list is incomplete")
            return
        now, rules, source = self._clock(), self._records.rules, self._api.source
        before = await self._store.standings(source)
        if before is None:
            await self._store.forget_source()
        # In a thread: to judge tens of thousands of rows takes longer than the loop may be held.
        told, changed, gone = await asyncio.to_thread(compare, before or {}, rows, now, rules)
        if changed or gone or before is None:
            told = told if before is not None else []
            day = now.astimezone(self._timezone).date().isoformat()
            news = [
                notice
                for each in self._records.subscriptions.notices()
                if each.runs(now)
                for notice in self._news(each, told, day, now)
            ]
            small = [
                SmallChange(f"{day} {change.id} {change.kind}", change.kind, str(change.target))
                for change in told
                if change.kind in SMALL
            ]
            await self._store.compared(source, changed, gone, news, small=small, now=now)

    def _news(
        self, to: Subscription, told: Sequence[News], day: str, now: datetime
    ) -> Iterator[Notice]:
        """The messages for one channel."""
        rules = self._records.rules
        told = [each for each in told if to.takes(each.target)]
        broken = [each.row for each in told if each.kind == "broken" and each.row]
        if len(broken) >= OUTAGE:
            key = f"{day} outage {min(row.id for row in broken)} {len(broken)}"
            yield _notice(key, to.channel, cards.outage(broken, now, rules, whom=to.mention))
        small = [each for each in told if each.kind in SMALL]
        if to.everything and len(small) >= OUTAGE:
            key = f"{day} small {min(each.id for each in small)} {len(small)}"
            counts = Counter(each.kind for each in small)
            yield _notice(key, to.channel, cards.small_changes(counts))
        for each in told:
            if each.kind == "broken" and len(broken) >= OUTAGE:
                continue
            if each.kind in SMALL and (not to.everything or len(small) >= OUTAGE):
                continue
            key = f"{day} {each.id} {each.kind}"
            if each.row is None:
                yield _notice(key, to.channel, cards.removed(each.id, each.target))
                continue
            whom = to.mention if each.kind == "broken" else ""
            yield _notice(key, to.channel, cards.notice(each.kind, each.row, now, rules, whom=whom))

    async def _post(self, notice: Notice, now: datetime) -> None:
        if not await self._store.claim(notice, now):
            return
        try:
            ts = await self._found(notice) if notice.claimed_at else None
            ts = ts or await self._web.post(notice.channel, notice.message)
        except SlackRefused as fault:
            log.warning("Could not post a notice (%s): %s", notice.key, fault)
            await self._store.give_back(notice.key)
        except SlackUnreachable as fault:
            log.warning("Slack may not have received a notice (%s): %s", notice.key, fault)
        else:
            await self._store.posted(notice.key, ts)

    async def _found(self, notice: Notice) -> str | None:
        """Where an earlier try has posted it; None if it is not there, or nobody may look."""
        since = (notice.claimed_at or self._clock()) - SKEW
        try:
            posts = await self._web.find_posts(notice.channel, notice.message, since)
        except SlackLimited:
            raise
        except SlackRefused as fault:
            log.info("Could not look for a notice: %s", fault)
            return None
        return posts[0] if posts else None
