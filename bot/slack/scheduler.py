"""The bot's regular work, and whether the scheduler is running."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bot.api.client import SSLMonitor
from bot.api.models import asked_at
from bot.errors import BotError
from bot.recheck import Watches
from bot.slack import rows
from bot.slack.notices import CHANGES_EVERY, MANY, Blindness, Notices
from bot.slack.rows import Boards, Drawing
from bot.store.database import best_effort
from bot.store.monitors import Records

if TYPE_CHECKING:
    from bot.api.models import MonitorSummary
    from bot.slack.digests import Digests
    from bot.slack.listeners import SlackBot

log = logging.getLogger(__name__)

#: How often due rechecks are looked for; more often if their interval is shorter.
RECHECK_TICK = timedelta(seconds=5)
#: How often today's digests are compared with a list of more than MANY monitors.
LONG_LIST = timedelta(minutes=15)
#: The scheduler ticks every minute; a tick later than these seconds is held up.
LATE_TICK = 180.0


class Scheduler:
    """Starts the regular work; the database decides what is due.

    The work runs among the bot's tasks, so that it ends before what it uses is closed.
    """

    def __init__(
        self,
        slack: SlackBot,
        api: SSLMonitor,
        digests: Digests,
        boards: Boards,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._slack, self._tasks = slack, slack.tasks
        self._api = api
        self._digests = digests
        self._boards = boards
        self._look_again = now()
        self._now = now
        self._ticked_at = time.monotonic()
        self._measured = False
        self.notices: Notices | None = None
        from apscheduler.schedulers.asyncio import AsyncIOScheduler  # noqa: PLC0415 - 0.03 s

        self.jobs = AsyncIOScheduler(timezone=UTC)

    def start(
        self,
        watches: Watches,
        records: Records,
        blindness: Blindness,
        notices: Notices | None,
        every: timedelta,
    ) -> None:
        """Start all jobs: rechecks and digests at once, notices first after `every`."""
        watches.show = functools.partial(self._show, records)
        self._add(watches.tick, min(RECHECK_TICK, watches.interval))
        self._add(functools.partial(self._tick, records), timedelta(minutes=1))
        self._add(functools.partial(self._refresh, records), timedelta(minutes=1), at_once=False)
        self._add(blindness.tick, timedelta(minutes=1), at_once=False)
        self.notices = notices
        if notices is not None:
            # One run's edits may go on while the next run looks for changes.
            self._add(functools.partial(self._compare, notices), every, at_once=False, instances=2)
            self._add(notices.poll, min(every, CHANGES_EVERY), at_once=False, instances=2)
        self._add(functools.partial(self._measure, records), timedelta(hours=1), at_once=False)
        self._add(records.look_again, timedelta(seconds=15), at_once=False)
        self._add(functools.partial(records.forget_old, self._now), timedelta(hours=1))
        self._add(self._boards.catch_up, timedelta(seconds=15), at_once=False)
        self._add(self._slack.views.tidy, timedelta(seconds=10))
        self.jobs.start()

    def fault(self) -> str:
        """`ok`, or for how long the scheduler has not ticked."""
        silent = time.monotonic() - self._ticked_at
        return f"no tick for {int(silent)} s" if silent > LATE_TICK else "ok"

    def _add(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        every: timedelta,
        *,
        at_once: bool = True,
        instances: int = 1,
    ) -> None:
        # A late tick still runs, and missed ticks run once (by default, APScheduler drops a run
        # that is one second late).
        often = {"misfire_grace_time": None, "coalesce": True, "max_instances": instances}
        seconds = every.total_seconds()
        self.jobs.add_job(self._tasks.run, "interval", (work,), seconds=seconds, **often)
        if at_once:
            self._tasks.start(work())

    async def _compare(self, notices: Notices) -> None:
        """Look for changes; if that fails, `/healthz` says why."""
        try:
            await notices.tick()
        except BotError as fault:
            notices.fault = str(fault)
            raise

    async def _measure(self, records: Records) -> None:
        """Measure the API's clock, and forget another API's or account's monitors."""
        try:
            await self._api.measure_clock()
            await records.forget_others(self._api, self._now())
            self._measured = True
        except BotError as error:
            log.warning("Could not check the API's clock and account: %s", error)

    async def _refresh(self, records: Records) -> None:
        """Show in today's digests what was fixed or taken elsewhere, and end claims if fixed.

        Long lists are compared less often.
        """
        now = self._now()
        try:
            if timedelta() < self._look_again - now <= LONG_LIST:
                return
            before = await self._boards.shown()
            if not (records.rules.marks.claims or records.rules.marks.mutes or before):
                return
            listed = await self._api.list()
            if len(listed) > MANY:
                self._look_again = now + LONG_LIST
            found, complete = {row.id: row for row in listed}, not listed.unreadable
            changed = await self._boards.refresh(
                found, records.rules, asked=listed.asked, complete=complete, before=before
            )
            await records.end_claims(listed, self._now(), asked=listed.asked or now)
            await self._boards.draw_all(changed)
        except BotError as fault:
            log.info("Could not refresh the digests: %s", fault)

    async def _show(
        self,
        records: Records,
        seen: Sequence[MonitorSummary],
        complete: bool,
        fixers: Mapping[int, str],
    ) -> None:
        """Show at once in today's digests and notices what a scan has found, and who fixed what.

        If nothing was `seen`, the API is asked for everything.
        """
        if not seen:
            self._tasks.start(self._refresh(records))
            return
        with best_effort("show the results of scans in digests and notices"):
            found, rules = {row.id: row for row in seen}, records.rules.with_fixers(fixers)
            asked = asked_at(seen) or self._now()
            changed = await self._boards.refresh(found, rules, asked=asked, complete=complete)
            await records.end_claims(seen, self._now(), asked=asked)
            self._tasks.start(self._draw_soon(changed))

    async def _draw_soon(self, changed: Sequence[Drawing]) -> None:
        """Draw them after the answer to the press that changed them, which may draw one itself."""
        await asyncio.sleep(rows.EDIT_SECONDS)
        await self._boards.draw_all(changed)

    async def _tick(self, records: Records) -> None:
        """Post the digests that are due, once the API's clock is measured: its dates need it."""
        self._ticked_at = time.monotonic()
        if not self._measured:
            await self._measure(records)
        await self._digests.tick(ready=self._measured)
