"""The digests of all channels, the check for deactivated people and groups, and the calendar."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bot.api.client import SSLMonitor
from bot.cards.subscriptions import mention_gone
from bot.cards.table import as_calendar
from bot.digest import Digest
from bot.errors import BotError, SlackRefused
from bot.store.monitors import Records
from bot.store.subscriptions import NOBODY_MENTIONED

if TYPE_CHECKING:
    from bot.dates import Plan, Subscription
    from bot.slack.web import SlackWeb
    from bot.store.digests import DigestStore

log = logging.getLogger(__name__)

#: How often to look for deactivated people and groups.
CHECK_EVERY = timedelta(hours=1)


class Digests:
    """The digests of all channels; `first` is the environment's, already started."""

    def __init__(
        self, first: Digest | None, records: Records, make: Callable[[Plan], Digest]
    ) -> None:
        self._records = records
        self._make = make
        self._kept = {first.plan.channel: first} if first else {}
        self._started = set(self._kept)
        self._checked_at: datetime | None = None
        if not self.current():
            log.warning("DIGEST_CHANNEL is not set; no digest will be posted.")

    def current(self) -> list[Digest]:
        """One for each channel that has a digest, even if it is paused."""
        current = []
        for each in self._records.subscriptions.digests():
            digest = self._kept.get(each.channel)
            if digest is None:
                digest = self._kept[each.channel] = self._make(each.plan)
            digest.plan = each.plan
            current.append(digest)
        return current

    def channels(self, now: datetime) -> list[str]:
        """The channels that get a digest or notices at present."""
        known = self._records.subscriptions
        sent = [each for each in (*known.digests(), *known.notices()) if each.runs(now)]
        return list(dict.fromkeys(each.channel for each in sent))

    async def tick(self, *, ready: bool = True) -> None:
        """Post those that are due; a failure doesn't hold up the others."""
        await self._records.reread()  # another process may have paused one
        for digest in self.current():
            try:
                if digest.plan.channel not in self._started:
                    await digest.start()
                    self._started.add(digest.plan.channel)
                await digest.tick(ready=ready)
            except Exception:
                log.exception("Could not post the digest in %s", digest.plan.channel)

    async def check_people(self, web: SlackWeb, store: DigestStore, now: datetime) -> None:
        """Once an hour, look for deactivated people and groups in mentions and claims."""
        if self._checked_at and timedelta() <= now - self._checked_at < CHECK_EVERY:
            return
        self._checked_at = now
        for each in self._records.subscriptions.notices():
            if each.mention and each.runs(now):
                try:
                    await self._check_mention(web, store, each)
                except BotError as fault:
                    log.info("Could not check whom notices in %s mention: %s", each.channel, fault)
        for user in {claim.user for claim in self._records.rules.marks.claims.values()}:
            try:
                await self._check_taker(web, user, now)
            except BotError as fault:
                log.info("Could not check whether %s has been deactivated: %s", user, fault)

    async def _check_taker(self, web: SlackWeb, user: str, now: datetime) -> None:
        """Release what somebody has taken if their account is deactivated."""
        if (await web.person(user)).gone:  # not if Slack doesn't know them, as in a new workspace
            for number in await self._records.release_all_of(user, now):
                log.warning("Released monitor %d: the account of %s is deactivated", number, user)

    async def _check_mention(self, web: SlackWeb, store: DigestStore, each: Subscription) -> None:
        """Tell a channel, once, if its notices no longer mention anybody."""
        key = f"{NOBODY_MENTIONED} {each.channel} {each.mention}"
        if await web.id_to_mention(each.mention) is not None:
            await store.take_note(key)
        elif await store.claim_note(key, "1"):
            log.warning("Notices in %s mention nobody: %s is gone", each.channel, each.mention)
            try:
                await web.post(each.channel, mention_gone(each))
            except SlackRefused:
                await store.take_note(key)
                raise

    def lag(self) -> float:
        """For how many seconds the most overdue of today's digests has been due."""
        return max((digest.lag() for digest in self.current()), default=0.0)

    @property
    def last_error(self) -> str:
        """Why digests could not be posted, by channel; empty if they could."""
        faults = {each.plan.channel: each.last_error.rstrip(".") for each in self.current()}
        return "; ".join(f"{channel}: {fault}" for channel, fault in faults.items() if fault)


async def calendar(
    api: SSLMonitor, records: Records, clock: Callable[[], datetime], secret: str
) -> bytes | None:
    """The calendar of renewals; None for a wrong secret. Raises BotError."""
    if not await records.subscriptions.is_calendar(secret):
        return None
    rows, zone = await api.list(), records.subscriptions.first_zone()
    # in a thread: thousands of events would block the event loop for too long
    return await asyncio.to_thread(as_calendar, rows, clock(), records.rules, zone)
