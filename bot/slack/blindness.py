"""Tells the digest's channel when the bot could not see the monitors, or could not speak.

A channel in which nothing is said looks like a channel in which all is well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date, datetime, timedelta

from bot.api.client import SSLMonitor
from bot.blocks import Message
from bot.cards import digest as cards
from bot.digest import Digest
from bot.errors import BotError, DatabaseUnavailable, SlackRefused, SlackUnreachable
from bot.slack.web import SlackWeb
from bot.store.digests import DigestStore

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
        digest: Digest,
        store: DigestStore,
        web: SlackWeb,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._api, self._digest, self._store, self._web = api, digest, store, web
        self._clock = clock
        self._asked_at: datetime | None = None
        self._since: datetime | None = None
        self._told = False
        self._checked: date | None = None

    async def tick(self) -> None:
        """Ask the API if need be, and tell the channel what it has to know."""
        await self._look()
        now = self._clock()
        if self._since is None:
            await self._tell_recovery(now)
        elif now - self._since >= TOLD_AFTER and not self._told:
            await self._tell_blindness(self._since)
        await self._tell_missed(self._digest.plan.today(now))

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
            log.warning("Could not ask whether the outage was told: %s", fault)
            mine = True
        if mine and not await self._post(cards.blind(since, self._api.fault)):
            self._told = False
            await self._store.take_note(NOTE)

    async def _tell_recovery(self, now: datetime) -> None:
        self._told = False
        since = await self._store.take_note(NOTE)
        if since and not await self._post(cards.sees_again(datetime.fromisoformat(since), now)):
            await self._store.claim_note(NOTE, since)

    async def _tell_missed(self, today: date) -> None:
        if self._checked == today:
            return
        missed = await self._digest.missed()
        key = f"missed {missed[0].isoformat()} {self._digest.plan.channel}" if missed else ""
        if (
            missed
            and await self._store.claim_note(key, "1")
            and not await self._post(cards.missed(*missed))
        ):
            await self._store.take_note(key)
            return
        self._checked = today

    async def _post(self, message: Message) -> bool:
        """Post it; False if Slack refuses, so that it can be tried again."""
        try:
            await self._web.post(self._digest.plan.channel, message)
        except SlackRefused as fault:
            log.warning("Could not tell the channel “%s”: %s", message.text, fault)
            return False
        except SlackUnreachable as fault:
            log.warning("Slack may not have got “%s”: %s", message.text, fault)
        return True
