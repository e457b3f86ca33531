"""Lists and digests that the bot has shown, kept so that single rows can be updated.

If two people press Rescan on two rows, the second edit must not restore the first row's old state,
which the second press still carries. Slack sends no text with a press on an ephemeral list, so the
bot keeps what it sent, and finds it by a name in the list's block IDs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from bot.blocks import Block
from bot.cards.batch import is_over, refreshed
from bot.cards.changes import OFFER
from bot.cards.lists import story
from bot.errors import (
    DatabaseUnavailable,
    EditsUsedUp,
    SlackLimited,
    SlackRefused,
    SlackUnreachable,
)
from bot.slack.row_list import RowList, changed_stories, fix_of, name_of, refresh_rows, rows_in
from bot.slack.web import SlackWeb
from bot.store.database import soon
from bot.store.digests import LIST, Board, DigestStore, StoredBoard

if TYPE_CHECKING:  # only for type checking
    from bot.api.models import MonitorSummary
    from bot.commands.home import Home
    from bot.severity import Thresholds
    from bot.slack.row_buttons import RowLists
    from bot.store.monitors import Records

log = logging.getLogger(__name__)

#: The least interval between edits of one message: chat.update allows an app about 50 edits a
#: minute, in all channels together (docs.slack.dev, rate limits, tier 3). The database counts them
#: for all processes; while it is unavailable, each process counts its own.
EDIT_SECONDS = 1.0
EDITS_A_MINUTE = 40

#: The channel and ts of a message to draw, and its newest state; blocks, by channel and ts.
Drawing = tuple[str, str, RowList]
Shown = dict[tuple[str, str], Sequence[Block]]


class Boards:
    """Digests, notices and kept lists, drawn from the database after every change by any process.

    A digest is edited until its local day ends. While the database is unavailable, the state in
    this process counts.
    """

    def __init__(
        self,
        store: DigestStore,
        web: SlackWeb,
        records: Records,
        lists: RowLists,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._store, self._web, self.lists = store, web, lists
        self.now, self._records = clock, records
        self._edits: deque[tuple[str, str, float]] = deque(maxlen=EDITS_A_MINUTE)
        self._owed: dict[tuple[str, str], RowList] = {}
        self._limited_until = 0.0
        self.home: Home | None = None
        web.pace = self.pace

    async def find(self, channel: str, ts: str) -> StoredBoard | None:
        """The digest posted at this ts; None if it isn't one, or can't be read."""
        try:
            return await self._store.board(channel, ts)
        except DatabaseUnavailable as fault:
            log.warning("Could not read the state of a digest: %s", fault)
            return None

    async def look(self, channel: str, ts: str, rows: RowList) -> None:
        """Take over a list's state from the database, which is common to all processes."""
        shown, board = rows_in(rows.blocks), Board(rows.text, rows.blocks)
        idle = not rows.has_busy
        try:
            stored = await self._store.board(channel, ts)
            other = bool(stored and stored.kind == LIST and rows_in(stored.board.blocks) != shown)
            if shown and (stored is None or other) and idle:
                await self._store.keep_list(channel, ts, board, self.now(), replaces=other)
                stored = await self._store.board(channel, ts)
        except DatabaseUnavailable as fault:
            log.warning("Could not read or store the state of a list: %s", fault)
            return
        if stored:
            rows.adopt(stored.board, stored.day)

    def is_over(self, channel: str, day: date) -> bool:
        """Whether the local day of a channel's digest has ended."""
        return self.now().astimezone(self._records.subscriptions.zone_of(channel)).date() > day

    async def change(
        self, channel: str, ts: str, rows: RowList, change: Callable[[RowList], None]
    ) -> None:
        """Change a list, and store it if it is a digest. `rows.lock` must be held."""
        change(rows)
        try:
            stored = await self._store.redraw(channel, ts, functools.partial(_changed, change))
        except DatabaseUnavailable as fault:
            log.warning("Could not store the state of a digest: %s", fault)
        else:
            if stored:
                rows.adopt(stored.board, stored.day)
        finally:  # a concurrent draw may lack the change
            rows.changes += 1

    async def draw(self, channel: str, ts: str, rows: RowList, *, hurry: bool = False) -> None:
        """Draw the newest state, at most once a second, so that one edit may show several changes.

        In a `hurry`, a slow database is not waited for. Raises SlackRefused or SlackUnreachable;
        then `catch_up` tries again.
        """
        wanted = rows.changes
        async with rows.drawing:
            while rows.drawn < wanted:
                stored = await self.pace(channel, ts, hurry=hurry)
                before, rows.drawn = rows.drawn, rows.changes
                if stored:
                    rows.adopt(stored.board, stored.day)
                try:
                    await self._web.update(channel, ts, rows.message, within=None)
                except BaseException as fault:
                    rows.drawn = before
                    await self._failed((channel, ts), rows, stored, fault)
                    raise
                self._owed.pop((channel, ts), None)
                if stored is None and rows.day:  # another process may have stored a newer state
                    self._owed[channel, ts] = rows
                if stored and not await self._is_newest(stored, rows):
                    rows.changes = wanted = rows.changes + 1

    async def pace(
        self, channel: str, ts: str, within: float = math.inf, *, hurry: bool = False
    ) -> StoredBoard | None:
        """Wait until a message may be edited; returns its newest board, if it has one.

        Raises EditsUsedUp if the wait would exceed `within` seconds.
        """
        loop = asyncio.get_running_loop()
        mine = [at for *place, at in self._edits if place == [channel, ts]]
        wait, stored = max(mine, default=-EDIT_SECONDS) + EDIT_SECONDS - loop.time(), None
        try:
            booking = self._store.turn(channel, ts, within)
            stored, turn = await (soon(booking) if hurry else booking)
        except DatabaseUnavailable as fault:
            log.warning("Could not reserve an edit in the database: %s", fault)
            full = len(self._edits) == EDITS_A_MINUTE
            turn = self._edits[0][2] + 60 - loop.time() if full else 0.0
        if (wait := max(wait, turn)) > within:
            raise EditsUsedUp(wait)
        if wait > 0:
            await asyncio.sleep(wait)
            stored = await self.find(channel, ts) if stored else None
        self._edits.append((channel, ts, loop.time()))
        return stored

    async def _failed(
        self, place: tuple[str, str], rows: RowList, stored: StoredBoard | None, why: BaseException
    ) -> None:
        """Try a failed edit later; give up a message that can't be edited: it was deleted, say."""
        if not isinstance(why, SlackRefused) or isinstance(why, SlackLimited):
            wait = why.retry_after or 0 if isinstance(why, SlackLimited) else -math.inf
            self._owed[place] = rows
            now = asyncio.get_running_loop().time()
            self._limited_until = max(self._limited_until, now + wait)
            return
        self._owed.pop(place, None)
        if stored:
            with contextlib.suppress(DatabaseUnavailable):
                await self._store.drawn(stored)

    async def _is_newest(self, shown: StoredBoard, rows: RowList) -> bool:
        """Record what Slack shows; False if any process has changed the digest since."""
        if rows.has_busy:  # it is not in the database, and must not stay
            stored = await self.find(shown.channel, shown.ts)
            return stored is None or stored.version == shown.version
        try:
            return await self._store.drawn(shown)
        except DatabaseUnavailable as fault:
            log.warning("Could not record that a digest was drawn: %s", fault)
            return True

    async def catch_up(self) -> None:
        """Draw what a failed edit, or a process that died, has left outdated."""
        try:
            undrawn = await self._store.undrawn(self.now())
        except DatabaseUnavailable as fault:
            log.warning("Could not look up outdated digests: %s", fault)
            undrawn = []
        owed = dict(self._owed)
        owed |= {(each.channel, each.ts): self._list_of(each) for each in undrawn}
        for rows in owed.values():
            rows.changes += 1
        await self.draw_all([(*place, rows) for place, rows in owed.items()])

    @property
    def rules(self) -> Thresholds:
        """The team's thresholds and marks."""
        return self._records.rules

    async def today(self) -> list[StoredBoard]:
        """The digests of the current local day, and the notices that are still edited."""
        stored = await self._store.boards(self.now())
        return [each for each in stored if not self.is_over(each.channel, each.day)]

    async def shown(self) -> Shown:
        """What the messages of `today` say."""
        return {(each.channel, each.ts): each.board.blocks for each in await self.today()}

    async def changed_since(self, before: Shown) -> tuple[list[Drawing], Shown]:
        """The messages that differ from `before` in the database, to be drawn; and what all say."""
        shown, changed = await self.today(), list[Drawing]()
        for each in shown:
            if before.get((each.channel, each.ts), each.board.blocks) != each.board.blocks:
                changed.append((each.channel, each.ts, rows := self._list_of(each)))
                rows.changes += 1
        return changed, {(each.channel, each.ts): each.board.blocks for each in shown}

    def _list_of(self, stored: StoredBoard) -> RowList:
        board = stored.board
        return self.lists.public(stored.channel, stored.ts, board.text, board.blocks)

    async def refresh(
        self,
        found: Mapping[int, MonitorSummary],
        rules: Thresholds,
        *,
        asked: datetime | None = None,
        complete: bool = True,
        before: Shown | None = None,
    ) -> list[Drawing]:
        """Update digests and notices with what was fixed, broken or taken elsewhere; returns those.

        If `found` isn't `complete`, a monitor that is missing from it may still exist. What has
        changed since the API was `asked` (None: now), or since `before`, is newer than its answer,
        and stays.
        """
        now, changed = self.now(), list[Drawing]()
        look = functools.partial(refreshed, now=now, rules=rules, complete=complete)
        for stored in await self.today():
            blocks = stored.board.blocks
            old = before.get((stored.channel, stored.ts), ()) if before is not None else blocks
            whom = self._records.subscriptions.mention_of(stored.channel)
            settled = bool(whom) and any(name_of(each).startswith(OFFER) for each in blocks)
            news = [block for block in old if look(block, found)]
            ahead = stored.board.ahead if complete else []
            if not (settled or news or ahead):
                continue
            rows = self._list_of(stored)
            idle = rows.set_aside(news, found, asked or now)
            if not (settled or idle or ahead):
                continue
            change = functools.partial(
                refresh_rows, found=found, now=now, rules=rules, complete=complete,
                asked=asked or now, settled=settled, before=idle,
            )  # fmt: skip
            async with rows.lock:
                await self.change(stored.channel, stored.ts, rows, change)
            changed.append((stored.channel, stored.ts, rows))
            for reply, members, row in changed_stories(stored.board, rows, found, ahead):
                card = story(members, now, rules, said=fix_of(row))
                told = RowList(card.text, list(card.blocks), changes=1)
                told.is_outdated = rows.outdates(row)
                changed.append((stored.channel, reply, told))
        return changed

    async def draw_all(self, changed: Sequence[Drawing]) -> None:
        """Draw the newest state of these messages, one after another; later if Slack says so."""
        for channel, ts, rows in changed:
            if rows.is_outdated():  # whatever replaced it is drawn separately
                self._owed.pop((channel, ts), None)
                continue
            if asyncio.get_running_loop().time() < self._limited_until:
                self._owed[channel, ts] = rows
                continue
            try:
                await self.draw(channel, ts, rows)
            except (SlackRefused, SlackUnreachable) as fault:
                log.warning("chat.update failed in %s (%s): %s", channel, ts, fault)


def _changed(change: Callable[[RowList], None], board: Board) -> Board:
    rows = RowList(board.text, list(board.blocks))
    rows.adopt(board, None)
    change(rows)
    fixed = is_over(rows.blocks)
    return Board(rows.text, rows.blocks, rows.stories, rows.expanded, fixed, rows.seen, rows.ahead)
