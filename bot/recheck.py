"""Scan & watch: rescan a monitor until it is fixed, then notify who asked.

A scheduler asks every few seconds; the database decides what is due. Moving a watch's next time
claims it, so that only one replica does the work, and another takes over if it dies.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from bot.api.client import SSLMonitor
from bot.api.extras import Extra
from bot.api.models import MonitorSummary
from bot.blocks import Address, Message
from bot.cards import recheck as recheck_cards
from bot.cards import replies
from bot.cards.lists import unsure
from bot.cards.recheck import Comparison
from bot.errors import (
    BotError,
    DatabaseUnavailable,
    NotFound,
    SlackLimited,
    SlackRefused,
    SlackUnreachable,
)
from bot.sighting import Sighting, good
from bot.store.database import Database, best_effort
from bot.store.monitors import Records
from bot.store.rechecks import ACTIVE, FIXED, GONE, OVER, STOPPED, RecheckStore, Watch, wait_after
from bot.target import Target

log = logging.getLogger(__name__)

#: The most watches that may run at a time: each makes an API call and an edit every minute.
MOST = 10
#: How long looking up the last known state may delay the first scan.
LOOK_SECONDS = 2.0
#: How many other monitors of a renewed certificate are rescanned at most, and for how long.
MOST_OTHERS, OTHERS_SECONDS = 100, 30.0
#: How long a card's edit waits for its turn: including the calls to Slack, less than the lease.
EDIT_SECONDS = 60.0
#: A watch that ends this long after its time was delayed: the bot was not running.
LATE_AFTER = timedelta(minutes=2)
#: A watch is given up if Slack has refused its final update for this long.
GIVE_UP_AFTER = timedelta(hours=1)

#: Updates digests and notices; takes monitors, whether these are all, and who fixed which.
Show = Callable[[Sequence[MonitorSummary], bool, Mapping[int, str]], Awaitable[None]]


class RecheckPoster(Protocol):
    """The methods of Slack that a watch needs. All raise SlackRefused and SlackUnreachable."""

    async def post_at(
        self, channel: str, message: Message, thread_ts: str | None = None
    ) -> Address:
        """Post a message to a channel or user."""

    async def update(
        self, channel: str, ts: str, message: Message, within: float = math.inf
    ) -> None:
        """Edit one of the bot's messages; SlackLimited if its turn is not `within` seconds."""

    async def find_posts(
        self, channel: str, message: Message, since: datetime | None, thread_ts: str | None = None
    ) -> list[str]:
        """The ts of each post of this message, by its metadata, in a thread."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The result of one scan: the watch, its card, a reply if there is news, and what is fixed."""

    watch: Watch
    card: Message
    reply: Message | None = None
    fixed: tuple[MonitorSummary, ...] = ()


class Watches:
    """Runs the watches, across restarts and replicas. The clock and all times are arguments."""

    def __init__(
        self,
        api: SSLMonitor,
        records: Records,
        database: Database,
        poster: RecheckPoster,
        name_of: Callable[[str, str], Awaitable[str]],
        *,
        clock: Callable[[], datetime],
        interval: timedelta,
    ) -> None:
        self.interval = interval
        self._api, self._records = api, records
        self._store = RecheckStore(database)
        self._poster, self._name_of = poster, name_of
        self._missed, self._ids = dict[int, str](), dict[int, int]()
        self._clock, self._not_before = clock, clock()
        self.show: Show | None = None

    # For the commands

    async def running(self) -> Sequence[Watch]:
        """The running watches, the first to end first."""
        return await self._store.running()

    async def reserve(
        self, monitor_id: int, target: Target, asker: str, length: timedelta
    ) -> tuple[Watch | None, bool]:
        """Reserve a watch; None if too many are running. Nothing is posted or scanned yet.

        If the asker is already watching the monitor, that watch is returned, and False.
        """
        now = self._clock()
        return await self._store.reserve(
            monitor_id, target, asker, now=now, ends_at=now + length, most=MOST
        )

    async def begin(
        self, watch: Watch, post: Callable[[Message], Awaitable[Address]]
    ) -> tuple[Address, Message]:
        """Post the card and scan for the first time; returns the card and its address.

        If the address isn't `here`, the card is posted already. Raises what `post` raises; then no
        watch runs.
        """
        who = await self._name_of(watch.asker, "")
        card = recheck_cards.beginning(watch.target, watch.ends_at, who)
        try:
            address = await post(card)
        except BaseException:
            await self._store.end(watch, STOPPED)
            raise
        watch = replace(watch, address=address)
        await self._store.keep(watch, watch)
        return address, await self._begun(watch)

    async def _begun(self, watch: Watch) -> Message:
        """Scan for the first time, and return the card; somebody may have stopped the watch."""
        card = recheck_cards.unknown(watch.target)
        try:
            turn = await self._scanned(watch)
            card, alone = turn.card, watch.address.here and not turn.reply
            kept = await (self._store.keep(turn.watch, watch) if alone else self._tell(watch, turn))
        except asyncio.CancelledError:
            await self._store.put_off(watch, self._clock())
            raise
        except (SlackRefused, SlackUnreachable) as fault:
            await self._put_off(watch, str(fault), fault.retry_after)
            return card
        stored = None if kept else await self._store.get(watch.id)
        if stored is None or stored.state != STOPPED:
            return card
        card = recheck_cards.ended(await self._card(watch, self._clock()), "⏹️ Stopped")
        if not stored.address.ts:  # whoever stopped it could not find its card
            await self._show_end(watch, card)
        return card

    async def stop(self, watch_id: int, who: str) -> Message:
        """End a watch and return its card; the posted card is edited too."""
        watch, now = await self._store.get(watch_id), self._clock()
        if watch is None or watch.state != ACTIVE:
            return recheck_cards.no_longer(watch_id)
        line = recheck_cards.stopped_line(now, who, watch.scans)
        card = recheck_cards.ended(await self._card(watch, now), line)
        if not await self._store.stop(watch, card):
            return recheck_cards.no_longer(watch_id)
        await self._show_end(watch, card)
        return card

    async def _show_end(self, watch: Watch, card: Message) -> None:
        """Edit the card of a stopped watch, or try again later."""
        try:
            if watch.address.ts:  # otherwise, its card is only about to be posted
                await self._edit(watch, card)
        except (SlackRefused, SlackUnreachable) as fault:
            now = self._clock()
            if now - watch.ends_at <= GIVE_UP_AFTER:
                log.warning("Could not edit the card of watch %d; retrying: %s", watch.id, fault)
                self._not_before = now + wait_after(0, self.interval, fault.retry_after)
                return
            log.error("Giving up on the card of watch %d: %s", watch.id, fault)  # noqa: TRY400 - Slack's reason is all
        await self._store.shown(watch)

    async def _show_stopped(self) -> None:
        """Edit the cards of stopped watches that don't show it yet."""
        with best_effort("show that watches were stopped"):
            longest = wait_after(0, self.interval, GIVE_UP_AFTER.total_seconds())
            if not timedelta() < self._not_before - self._clock() <= longest:
                for watch, card in await self._store.stopped():
                    await self._show_end(watch, card)

    async def _card(self, watch: Watch, now: datetime) -> Message:
        """The monitor's card from the list, without a scan."""
        try:
            row = await self._row(watch)
        except NotFound:
            return recheck_cards.unknown(watch.target)
        except BotError as fault:
            return recheck_cards.failed(fault, watch.target)
        return recheck_cards.found(row, now, self._records.rules)

    # For the scheduler

    async def tick(self) -> None:
        """Take all turns that are due, concurrently, so that no watch delays another."""
        waiting = await self._store.due(self._clock(), self.interval)
        await asyncio.gather(*(self._turn(watch) for watch in waiting), self._show_stopped())

    async def _turn(self, due: Watch) -> None:
        """Scan and report; whatever goes wrong, the watch continues.

        If the database is unavailable, it continues when its claim has expired.
        """
        with best_effort(f"go on with watch {due.id}"):
            if watch := await self._store.claim(due, self._clock()):
                await self._claimed(watch)

    async def _claimed(self, watch: Watch) -> None:
        try:
            await self._tell(watch, await self._scanned(watch))
        except asyncio.CancelledError:
            await self._store.put_off(watch, self._clock())
            raise
        except (SlackRefused, SlackUnreachable) as fault:
            await self._put_off(watch, str(fault), fault.retry_after)
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("Watch %d failed", watch.id)
            await self._put_off(watch, "The bot hit an error", None)

    async def _put_off(self, watch: Watch, why: str, wait: float | None) -> None:
        """Try again later; the next card that Slack accepts says so."""
        now = self._clock()
        if now - watch.ends_at > GIVE_UP_AFTER:
            log.error("Giving up on watch %d: Slack refused its final update: %s", watch.id, why)
            await self._store.end(watch, OVER)
            return
        log.warning("Could not update the card of watch %d; retrying: %s", watch.id, why)
        self._missed[watch.id] = f"{why} ({recheck_cards.clock_time(now)})"
        later = now + wait_after(0, self.interval, wait)
        await self._store.put_off(watch, min(later, max(watch.ends_at, now + self.interval)))

    async def _scanned(self, watch: Watch) -> Turn:
        """Scan once and judge the result. Raises none of the API's errors."""
        before = watch.first or await self._before(watch)
        if before and not watch.first:  # a scan that is broken off may have been the fix
            await self._store.keep(replace(watch, first=before), watch)
        try:
            row, sighting = await self._scan(watch)
        except NotFound as fault:
            card = recheck_cards.ended(
                recheck_cards.failed(fault, watch.target), "⌛ The watch ended"
            )
            reply = recheck_cards.gone_reply(watch.asker, watch.target)
            return Turn(replace(watch, state=GONE), card, reply)
        except BotError as fault:
            counted = replace(watch, scans=watch.scans + (watch.id in self._ids))
            card = recheck_cards.failed(fault, watch.target)
            return await self._goes_on(counted, card, fault.retry_after)
        turn = await self._judged(watch, before, row, sighting)
        return replace(turn, card=replace(turn.card, asked=row.asked))

    async def _scan(self, watch: Watch) -> tuple[MonitorSummary, Sighting]:
        # after a change of the API or account, the ID may be another monitor's
        if watch.id not in self._ids:
            self._ids[watch.id] = (await self._row(watch)).id
        try:
            found = await self._api.scan(self._ids[watch.id])
        except NotFound:  # the host may have been deleted and added again
            self._ids[watch.id] = (await self._row(watch)).id
            found = await self._api.scan(self._ids[watch.id])
        row = await self._row(watch)
        sighting = Sighting.of(found, row)
        await self._records.see(row.id, sighting, row.asked or self._clock())
        return row, sighting

    async def _row(self, watch: Watch) -> MonitorSummary:
        rows = await self._api.list(host=watch.target.host, port=watch.target.port)
        if same := [row for row in rows if row.target == watch.target]:
            return min(same, key=lambda row: row.id != watch.monitor_id)
        if rows.unreadable:
            raise BotError(unsure(rows.unreadable, f"{watch.target.short} is still monitored"))
        raise NotFound(404, "monitor not found")

    async def _before(self, watch: Watch) -> Sighting | None:
        """What the first scan is compared with: the last sighting, if that needed fixing.

        It did if it was bad, or if an announced certificate wasn't served yet.
        """
        known = await self._records.seen(watch.monitor_id)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                row = await self._awaiting(watch)
                if row is not None:
                    return Sighting.of(await self._api.get(row.id), row)
        except (BotError, TimeoutError) as fault:
            why = str(fault) or "timed out"
            log.info("Could not read %s before its scan: %s", watch.target, why)
        return known if known and not good(known, self._clock()) else None

    async def _awaiting(self, watch: Watch) -> MonitorSummary | None:
        """The monitor's row before the scan, if an announced certificate isn't served yet."""
        if not await self._api.extras.offers(Extra.EXPECT, hurry=True):
            return None
        return row if (row := await self._row(watch)).expected_at else None

    async def _judged(
        self, watch: Watch, before: Sighting | None, row: MonitorSummary, sighting: Sighting
    ) -> Turn:
        """Compare with the first scan; the first one with the last sighting, if that was bad.

        While a certificate is awaited, no other one is the fix.
        """
        now, rules = self._clock(), self._records.rules
        seen = Comparison(row, sighting, before)
        watch = replace(watch, scans=watch.scans + 1, first=watch.first or sighting)
        card = recheck_cards.found(row, now, rules, seen.change)
        renewed = before is not None and sighting.renewed_since(before)
        if before is None or not (renewed or (good(sighting, now) and not good(before, now))):
            return await self._goes_on(watch, card, None)
        if sighting.awaits or not good(sighting, now):
            turn = await self._goes_on(replace(watch, first=sighting), card, None)
            reply = recheck_cards.changed_reply(watch.asker, seen, now, rules)
            if sighting.awaits and (before.not_after is None or not renewed):
                return turn  # the host is back or trusted again, with the same certificate
            return replace(turn, reply=turn.reply or reply)
        line = recheck_cards.fixed_line(now, watch.scans)
        also, others = await self._rescan_others(watch, before.fingerprint if renewed else "")
        return Turn(
            replace(watch, state=FIXED),
            recheck_cards.ended(card, line, self._notes(watch)),
            recheck_cards.fixed_reply(watch.asker, seen, now, watch.scans, also),
            fixed=(row, *others),
        )

    async def _rescan_others(self, watch: Watch, old: str) -> tuple[str, list[MonitorSummary]]:
        """Rescan the other monitors of the old certificate; returns a sentence on those fixed."""
        try:
            rows = await self._api.list() if old else []
            ids = [row.id for row in rows if row.fingerprint == old and row.target != watch.target]
            with contextlib.suppress(BotError, TimeoutError):
                async with asyncio.timeout(OTHERS_SECONDS):
                    for each in ids[:MOST_OTHERS]:
                        await self._api.scan(each)
            rows = await self._api.list() if ids else rows
        except BotError as fault:
            log.info("Could not rescan the other monitors of %s: %s", watch.target, fault)
            return "", []
        fixed = [row for row in rows if row.id in ids and row.valid and row.fingerprint != old]
        return recheck_cards.others(len(ids), len(fixed)) if ids else "", fixed

    async def _goes_on(self, watch: Watch, card: Message, wait: float | None) -> Turn:
        """Not fixed: schedule the next scan, or end the watch if its time is over."""
        now = self._clock()
        if now >= watch.ends_at:
            late = now - watch.ends_at > LATE_AFTER
            line = recheck_cards.over_line(watch.ends_at, watch.scans, late=late)
            reply = recheck_cards.over_reply(watch.asker, watch.target, watch.scans)
            card = recheck_cards.ended(card, line, self._notes(watch))
            return Turn(replace(watch, state=OVER), card, reply)
        later = wait_after(watch.scans, self.interval, wait)
        watch = replace(watch, next_at=min(now + later, watch.ends_at))
        card = recheck_cards.watching(
            card,
            watch_id=watch.id,
            target=watch.target,
            ends_at=watch.ends_at,
            next_at=watch.next_at,
            scans=watch.scans,
            small=[replies.asked_by(await self._name_of(watch.asker, "")), *self._notes(watch)],
        )
        return Turn(watch, card)

    def _notes(self, watch: Watch) -> list[str]:
        return [f"⚠️ {self._missed[watch.id]}"] if watch.id in self._missed else []

    # To Slack

    async def _tell(self, claimed: Watch, turn: Turn) -> bool:
        """Edit the card, then reply, then store the result; returns whether it is stored.

        Nothing happens if the watch was stopped, or if its claim has expired, since another process
        has it then. The claim is renewed first: the scan may have taken most of it.
        """
        mine = await self._store.claim(claimed, self._clock())
        if mine is None:
            return False
        address = await self._edit(turn.watch, turn.card)
        watch = replace(turn.watch, address=address)
        if turn.reply:
            await self._reply(watch, turn.reply)
        self._missed.pop(watch.id, None)
        kept = await self._store.keep(watch, mine)
        if turn.fixed and self.show:
            who = await self._name_of(watch.asker, "")
            await self.show(turn.fixed, False, {row.id: who for row in turn.fixed})
        return kept

    async def _edit(self, watch: Watch, card: Message) -> Address:
        """Edit the card; if that is impossible, post another. Returns its address."""
        address = watch.address
        try:
            if address.ts:
                await self._poster.update(address.channel, address.ts, card, EDIT_SECONDS)
                return address
        except SlackRefused as fault:
            if not (fault.may_not_edit or fault.may_not_post):
                raise
        return await self._post(watch, card, address.thread_ts)

    async def _reply(self, watch: Watch, reply: Message) -> None:
        """Reply once, also if a process was ended between its reply and the record of it.

        If an earlier attempt can't be looked up, the reply is repeated once.
        """
        thread, state = watch.address.thread_ts or watch.address.ts, watch.state
        payload = {"watch": watch.id, "scans": watch.scans, "state": state}
        mark = {"event_type": "ssl_watch", "event_payload": payload}
        reply = replace(reply, metadata=mark)
        if not await self._store.may_tell(watch, 1) and await self._was_told(watch, reply, thread):
            return
        await self._post(watch, reply, thread)

    async def _was_told(self, watch: Watch, reply: Message, thread: str) -> bool:
        try:
            return bool(await self._poster.find_posts(watch.address.channel, reply, None, thread))
        except SlackLimited:
            raise
        except SlackRefused as fault:
            log.info("Could not look for the reply of watch %d: %s", watch.id, fault)
            return not await self._store.may_tell(watch, 2)

    async def _post(self, watch: Watch, message: Message, thread_ts: str | None) -> Address:
        """Post in the watch's channel; if the bot can't, send the asker a direct message."""
        try:
            if watch.address.channel:
                return await self._poster.post_at(watch.address.channel, message, thread_ts)
        except SlackRefused as fault:
            if not fault.may_not_post:
                raise
        return await self._poster.post_at(watch.asker, message)
