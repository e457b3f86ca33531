"""The Home tab's content, gathered from at most two API calls that run at the same time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from bot.api.models import Account, MonitorList, MonitorSummary
from bot.blocks import Block, date
from bot.cards import home as home_cards
from bot.cards import recheck as recheck_cards
from bot.cards.home import Facts
from bot.errors import BotError, DatabaseUnavailable
from bot.severity import Thresholds

if TYPE_CHECKING:  # only for type checking
    from bot.api.client import SSLMonitor
    from bot.config import Settings
    from bot.recheck import Watches
    from bot.store.digests import DigestStore
    from bot.store.monitors import Records

T = TypeVar("T")
log = logging.getLogger(__name__)


class Home:
    """Makes Home's pages."""

    def __init__(
        self,
        api: SSLMonitor,
        records: Records,
        watches: Watches,
        state: DigestStore,
        *,
        clock: Callable[[], datetime],
        settings: Settings,
    ) -> None:
        self._api = api
        self._records = records
        self._watches = watches
        self._state = state
        self._clock = clock
        self._settings = settings

    async def turn(self, user: str, number: int) -> None:
        """Store which page a user looks at, counted from 0, for all processes."""
        try:
            await self._state.keep_note(f"home {user}", str(number))
        except DatabaseUnavailable as fault:
            log.warning("Could not store the page of a user's Home: %s", fault)

    async def looked_at(self, user: str, otherwise: int) -> int:
        """The page that a user turned to last, or else the given one."""
        try:
            known = await self._state.note(f"home {user}")
        except DatabaseUnavailable as fault:
            log.warning("Could not read the page of a user's Home: %s", fault)
            known = None
        return int(known) if known else otherwise

    async def page(self, user: str, number: int) -> tuple[tuple[Block, ...], datetime | None]:
        """A page with the current state, and when the API was asked for it.

        Raises none of the API's errors: Home shows them.
        """
        async with asyncio.TaskGroup() as group:
            listed = group.create_task(_or_fault(self._api.list()))
            asked = group.create_task(_or_fault(self._api.account()))
            known = group.create_task(self._known())
        rows, account, (rules, facts) = listed.result(), asked.result(), known.result()
        now = self._clock()
        if isinstance(account, Account):
            facts = replace(facts, account=account)
        if isinstance(rows, BotError):
            return home_cards.failed(rows, facts, now), None
        # in a thread: there may be 10,000 monitors to count and sort
        page = await asyncio.to_thread(_page, rows, facts, now, rules, (number, user))
        return page, rows.asked

    async def changes(self) -> tuple[Block | None, dict[int, MonitorSummary], datetime | None]:
        """What Home updates after a press: its counts and monitors, and when the API was asked.

        All are None or empty if the API returns no complete list.
        """
        rows, rules, now = await _or_fault(self._api.list()), self._records.rules, self._clock()
        if isinstance(rows, BotError) or rows.unreadable or not rows:
            return None, {}, None
        found = await asyncio.to_thread(home_cards.monitors, rows, now, rules, 0)
        return home_cards.counts(found), {row.id: row for row in rows}, rows.asked

    async def _known(self) -> tuple[Thresholds, Facts]:
        rules, now = self._records.rules, self._clock()
        shown = home_cards.settings_shown(
            self._settings, self._records.subscriptions.digests(), now
        )
        try:
            running, last = await self._watches.running(), await self._state.last_digest()
        except DatabaseUnavailable:
            unknown = "unknown: the bot's database can't be read"
            return rules, Facts(None, [], unknown, shown)
        watched = [
            recheck_cards.watch_row(each.id, each.target, each.ends_at, each.scans)
            for each in running
        ]
        posted = date(last, "{date_short} {time}") if last else "none yet"
        return rules, Facts(None, watched, posted, shown)


def _page(
    rows: MonitorList, facts: Facts, now: datetime, rules: Thresholds, whose: tuple[int, str]
) -> tuple[Block, ...]:
    found = replace(home_cards.monitors(rows, now, rules, *whose), unreadable=rows.unreadable)
    return home_cards.home(found, facts, now, rules)


async def _or_fault(asked: Awaitable[T]) -> T | BotError:
    """The answer, or the fault as a value, so that one failed call doesn't cancel the other."""
    try:
        return await asked
    except BotError as fault:
        return fault
