"""Buttons in rows of lists, digests and Home: the message stays, and the row shows the answer."""

from __future__ import annotations

import asyncio
import functools
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from bot.blocks import Address, Block, Message
from bot.cards import replies
from bot.cards.batch import shown_state
from bot.cards.lists import story
from bot.cards.monitor import ranges
from bot.cards.row import THIS_ROW, carried, saying, taken_like
from bot.errors import SlackRefused, SlackUnreachable
from bot.slack.requests import Request, View
from bot.slack.row_list import Found, RowList, fix_of, name_of, refresh_rows, rows_in
from bot.slack.rows import Boards
from bot.slack.surfaces import EditablePost, Private, post_beside
from bot.slack.web import SlackWeb, view_of
from bot.store.database import SOON_SECONDS
from bot.store.placeholders import HOME

if TYPE_CHECKING:  # only for type checking
    from bot.commands.home import Home

log = logging.getLogger(__name__)
#: How long a scan waits until its row shows that it runs.
PATIENCE_SECONDS = 1.0
#: A view can hold more blocks than a message (docs.slack.dev, Block Kit).
MOST_OF_HOME = 100
#: The most bytes of kept lists as JSON; in memory they take about three times as much.
MOST_BYTES = 2 * 2**20
#: The buttons in rows of Home that open no modal.
IN_ROW = frozenset(
    {
        *("scan", "scan_certificate", "take", "take_certificate", "release", "release_certificate"),
        *("mute", "mute_certificate", "unmute", "unmute_certificate"),
    }
)


class RowLists:
    """The most recent lists, as many as fit into a number of bytes."""

    def __init__(self) -> None:
        self._lists: OrderedDict[str, RowList] = OrderedDict()
        self._bytes = 0

    def remember(self, message: Message) -> Message:
        """Give a private list a name in its block IDs, by which it is found later."""
        list_id = uuid.uuid4().hex[:16]
        blocks = [
            {**block, "block_id": f"{name_of(block) or f'part:{number}'}@{list_id}"}
            for number, block in enumerate(message.blocks)
        ]
        self._keep(list_id, RowList(message.text, blocks))
        return replace(message, blocks=tuple(blocks))

    def private(self, block_id: str) -> RowList | None:
        """The private list with this block; None if it is no longer kept."""
        list_id = block_id.partition("@")[2]
        rows = self._lists.get(list_id)
        return self._keep(list_id, rows) if rows else None

    def public(self, channel: str, ts: str, text: str, blocks: Sequence[Block]) -> RowList:
        """The list or digest at this place; the first press brings its text and blocks."""
        list_id = f"{channel} {ts}"
        return self._keep(list_id, self._kept(list_id, blocks) or RowList(text, list(blocks)))

    def home(self, user: str, blocks: Sequence[Block]) -> RowList:
        """A user's Home as the press brings it, unless an earlier press is still being answered."""
        kept = self._kept(list_id := f"home {user}", blocks)
        if kept is None or not kept.has_busy:
            kept = RowList("", list(blocks), most_blocks=MOST_OF_HOME)
        return self._keep(list_id, kept)

    def is_home(self, user: str, rows: RowList) -> bool:
        """Whether these rows are still the user's Home: no later press has replaced them."""
        return self._lists.get(f"home {user}", rows) is rows

    def _kept(self, list_id: str, blocks: Sequence[Block]) -> RowList | None:
        """Remove a list from those kept, and return it; None if its rows have changed."""
        kept = self._lists.pop(list_id, None)
        self._bytes -= kept.size if kept else 0
        return kept if kept and rows_in(kept.blocks) == rows_in(blocks) else None

    def _keep(self, list_id: str, rows: RowList) -> RowList:
        if list_id not in self._lists:
            self._bytes += rows.size
        self._lists[list_id] = rows
        self._lists.move_to_end(list_id)
        while self._bytes > MOST_BYTES and len(self._lists) > 1:
            _, oldest = self._lists.popitem(last=False)
            self._bytes -= oldest.size
        return rows


def with_ids(request: Request, lists: RowLists) -> Request:
    """The request with the IDs that its row's menu had no room for: another button has them."""
    draft = dict(request.draft or {})
    if THIS_ROW not in (request.argument, draft.get("which")):
        return request
    rows = _rows_of(request, lists)
    place = request.view or request.source
    blocks = request.view.blocks if request.view else rows.blocks if rows else ()
    more = next((b for b in blocks if place and b.get("block_id") == place.block_id), None)
    if more is None:
        return request
    ids = ranges(str(more["elements"][0]["value"]).split())
    return replace(request, argument=ids) if not draft else replace(request, draft={"which": ids})


class RowButton:
    """A button on a list or digest: the message stays, and the row shows the result of the press.

    The story of a monitor is one reply in the message's thread, which is edited. A private list has
    no thread.
    """

    def __init__(self, web: SlackWeb, boards: Boards, request: Request) -> None:
        self.channel = request.channel
        self._web = web
        self._boards = boards
        self._private = Private(web, boards.lists, request.response_url)
        self._url = request.response_url
        self._ephemeral = request.private
        self._ts = request.source.ts if request.source else ""
        self._rows = _rows_of(request, boards.lists)
        self._pressed = _pressed_row(request)
        thread_ts = (request.source and request.source.thread_ts) or self._ts
        self._thread = EditablePost(web, "" if request.private else request.channel, thread_ts)
        self._busy: tuple[Block, Block | None] | None = None
        self._joins = self._beside_told = False
        self._refreshed = False
        self._looked = False
        self._looking: asyncio.Task[None] | None = None
        self._drawing: asyncio.Task[bool] | None = None
        self._story, self._told = "", ("", list[str]())
        self.refuse = self._private.refuse

    async def progress(self, message: Message) -> None:
        """Show progress in the row; if there is none, in the thread or privately.

        A press during a scan of the row joins that scan.
        """
        await self._look(hurry=True)
        row = self._named(message.row)
        old = self._rows.row(row) if self._rows else None
        if self._rows and old and row:
            self._joins = self._joins or (self._busy is None and self._rows.is_busy(row))
            if not self._joins:
                self._busy = self._busy or (old, self._rows.more(old))
                await self._refresh(lambda rows: rows.replace(row), row, keeps=False)
        elif not (message.public and await self._thread.show(message)):
            await self._beside(message, progress=True)

    async def answer(self, message: Message) -> None:
        """Show the card in the thread, and the new row in the list."""
        await self._look()
        if row := self._named(message.row):
            message = await self._answer_row(message, row)
        elif message.rows:
            await self._refresh_all((*(self._busy or ())[:1], *message.rows), message.asked)
        elif self._busy:
            await self._put_back(self._busy, message.row_says)
        # A private list has no thread; its row shows the result of a scan.
        alone = bool(self._ephemeral and self._busy and message.row and not message.rows)
        if not (self._refreshed and (message.in_row or alone or self._joins)):
            await self._thread.answer(message, self._tell, self.refuse)

    def _named(self, row: Block | None) -> Block | None:
        """The row under the ID that its list uses, whose monitor may have been deleted since."""
        pressed = {"block_id": self._pressed}
        if not (row and self._rows) or self._rows.row(row) or not self._rows.row(pressed):
            return row
        return {**row, **pressed}

    async def _answer_row(self, message: Message, row: Block) -> Message:
        """Show the new row, or a newer state if one is known; returns the reply for the thread."""
        before, now = self._busy[0] if self._busy else None, self._boards.now()
        asked, late = message.asked or now, self._late(row)

        def change(rows: RowList) -> None:
            newer = rows.row(row)
            if newer and message.in_row and rows.is_newer(row, asked, now):
                rows.replace(taken_like(newer, row), rows.more(row) and message.more)
            else:
                rows.renew(carried(before or newer or row, row, now), message.more, asked, now)
            self._told = shown_state(rows.row(row) or row)

        if late is None or late[1] <= asked:
            await self._refresh(change, row)
            self._joins |= self._rows is not None and self._rows.is_newer(row, asked, now)
            return message
        await self._put_back(self._busy or (row, None), "", late)
        newest = (self._rows and self._rows.row(row)) or row
        card = story([*late[0].values()], now, self._boards.rules, said=fix_of(newest))
        return replace(card, public=True)

    async def _put_back(
        self, busy: tuple[Block, Block | None], says: str, late: Found | None = None
    ) -> None:
        """Restore a row whose scan had no result, or only an outdated one."""
        late = late or self._late(busy[0])
        now, rules = self._boards.now(), self._boards.rules

        def change(rows: RowList) -> None:
            _put_back(busy, says, rows)
            if late:
                refresh_rows(rows, late[0], now, rules, complete=False, asked=late[1])

        await self._refresh(change, busy[0], keeps=bool(says or late))

    def _late(self, row: Block) -> Found | None:
        """What was found about the row's monitors during the scan."""
        return self._rows.late.pop(name_of(row), None) if self._rows else None

    async def _beside(self, message: Message, *, progress: bool = False) -> None:
        """Show a message to the asker alone, apart from the list.

        Progress can't be replaced there, so it is shown once, in words that stay true.
        """
        if progress and self._beside_told:
            return
        self._beside_told = self._beside_told or progress
        message = replies.working("follows") if progress else message
        await self._private.show(message, progress=progress)

    async def _draw(self, rows: RowList, *, hurry: bool = False) -> bool:
        """Show the list; False if its reader has turned the page, or Slack refuses it."""
        try:
            return await self._show(rows, hurry=hurry)
        except (SlackRefused, SlackUnreachable) as error:
            log.info("Could not refresh the list: %s", error)
            return False

    async def _show(self, rows: RowList, *, hurry: bool) -> bool:
        if self._ephemeral:
            await self._web.respond(self._url, rows.message, replace=True)
        else:
            await self._boards.draw(self.channel, self._ts, rows, hurry=hurry)
        return True

    async def _tell(self, message: Message) -> None:
        public = message.public or self._thread.ts
        if not (public and await self._tell_story(message)):
            await self._beside(message)

    async def _tell_story(self, message: Message) -> bool:
        """Post or edit the monitor's reply in the thread; False if the bot can't post."""
        story = self._rows.stories.get(self._story) if self._rows and self._story else None
        if story and not self._thread.ts:
            self._thread.ts = story
        shown = await self._thread.show(message)
        row = self._rows and self._rows.row({"block_id": self._story})
        outrun = bool(row and self._told[0]) and shown_state(row or {}) != self._told
        if self._rows and self._story and (ts := self._thread.ts) and (outrun or ts != story):
            begun = functools.partial(_begin_story, self._story, story, ts, self._told)
            async with self._rows.lock:
                await self._boards.change(self.channel, self._ts, self._rows, begun)
            await self._thread.join(self._rows.stories.get(self._story, ts), message)
        return shown

    async def keep(self, message: Message) -> Address | None:
        """Post a message in the thread; for a private list, in the channel."""
        if self._ephemeral:
            return await post_beside(self._web, self.channel, message)
        return await self._thread.keep(message)

    def place(self, _message: Message) -> Address | None:
        """The reply in the thread; the row of a list that others see is drawn by `Boards`."""
        return None if self._ephemeral else self._thread.address

    async def _look(self, *, hurry: bool = False) -> None:
        """Read, once, whether the message is a digest, and its newest state.

        In a `hurry`, a slow database is not waited for yet.
        """
        rows = self._rows
        if self._looked or rows is None or self._ephemeral:
            return
        if self._looking is None and rows.day is None:
            look = self._boards.look(self.channel, self._ts, rows)
            self._looking = asyncio.create_task(look)
        if self._looking:
            await asyncio.wait({self._looking}, timeout=SOON_SECONDS if hurry else None)
        self._looked = self._looking is None or self._looking.done()
        if self._looked and rows.day and self._boards.is_over(self.channel, rows.day):
            self._rows = None  # after its day, a digest isn't edited any more

    async def _refresh_all(self, shown: tuple[Block, ...], asked: datetime | None) -> None:
        now = self._boards.now()

        def change(rows: RowList) -> None:
            for row in shown:  # one for other monitors than the list's is refreshed later
                if (old := rows.row(row)) and _pressed_ids(old) == _pressed_ids(row):
                    rows.renew(row, None, asked or now, now)

        await self._refresh(change)

    async def _refresh(
        self, change: Callable[[RowList], None], row: Block | None = None, *, keeps: bool = True
    ) -> None:
        """Change the list, and show it; one that is gone, or lacks the row, stays as it is.

        A change that only concerns this process, such as a running scan, isn't stored; nor does the
        scan wait long for it to be shown, if Slack is slow or the edits of the minute are used up.
        """
        self._refreshed = False
        rows = self._rows
        if rows is None or (row is not None and rows.row(row) is None):
            return
        async with rows.lock:
            self._story = str(row.get("block_id", "")) if row else ""
            if keeps and not self._ephemeral:
                await self._boards.change(self.channel, self._ts, rows, change)
            else:
                change(rows)
                rows.changes += 1
        if keeps or self._ephemeral:  # nothing would keep an answer from overtaking the progress
            self._refreshed = await self._draw(rows, hurry=not keeps)
            return
        self._drawing = asyncio.create_task(self._draw(rows, hurry=True))
        await asyncio.wait({self._drawing}, timeout=PATIENCE_SECONDS)
        self._refreshed = self._drawing.done() and self._drawing.result()


class HomeRow(RowButton):
    """A row of Home: it shows the result of the press; other answers open a modal.

    A modal can only be opened in the first seconds after the press; a later answer is a direct
    message, and so is one for a page that its reader has left.
    """

    def __init__(self, web: SlackWeb, boards: Boards, request: Request) -> None:
        super().__init__(web, boards, request)
        self._ephemeral = True
        self._request = request
        self._view = request.view or View("")
        self._rows = boards.lists.home(request.asker.user, self._view.blocks)
        self.refuse = self._beside

    async def answer(self, message: Message) -> None:
        """Show the answer in the row, then update the rest of Home."""
        await super().answer(message)
        rows, home = self._rows, self._boards.home
        if rows is None or home is None:
            return
        if "scan" in self._request.verb:
            await self._count(rows, home)
        elif message.row:
            await self._rearrange(rows, home, message.row)
        await self._draw(rows)

    def place(self, _message: Message) -> Address | None:
        """Home: another process can show it, but must not look for what it showed."""
        return Address("", HOME)

    async def _count(self, rows: RowList, home: Home) -> None:
        """Update the counts and the other rows; a fixed row stays, struck through."""
        counts, found, asked = await home.changes()
        async with rows.lock:
            if counts and rows.row(counts):
                now, rules = self._boards.now(), self._boards.rules
                rows.renew(counts, None, asked or now, now)
                refresh_rows(rows, found, now, rules, complete=True, asked=asked or now)

    async def _rearrange(self, rows: RowList, home: Home, pressed: Block) -> None:
        """Move the rows to their parts, such as “Taken by you”, with their results and buttons."""
        blocks, asked = await home.page(self._request.asker.user, self._view.page)
        new = RowList("", list(blocks), most_blocks=MOST_OF_HOME)
        if new.row(pressed) is None:
            return  # it is on another page now, or the API didn't answer
        async with rows.lock:
            for old in rows.blocks:
                if str(old.get("block_id", "")).startswith("row:") and (row := new.row(old)):
                    now = self._boards.now()
                    stays = rows.is_busy(old) or rows.is_newer(old, asked or now, now)
                    new.replace(old if stays else carried(old, row, now), rows.more(old))
            rows.blocks = new.blocks

    async def _beside(self, message: Message, *, progress: bool = False) -> None:
        if progress:
            return
        view = view_of(message)
        try:
            await self._web.open_view(self._request.trigger_id, view)
        except SlackRefused as error:
            log.info("views.open failed: %s", error)
            await self._web.post(self._request.asker.user, message)

    async def _show(self, rows: RowList, *, hurry: bool) -> bool:  # noqa: ARG002 - as above
        user, page, home = self._request.asker.user, self._view.page, self._boards.home
        stays = home is None or await home.looked_at(user, page) == page
        if stays := stays and self._boards.lists.is_home(user, rows):
            await self._web.publish_home(user, rows.blocks, page)
        return stays


def _begin_story(
    name: str, old: str | None, new: str, told: tuple[str, list[str]], rows: RowList
) -> None:
    """Note where a row's story stands, unless another process has begun it meanwhile.

    `told` is the state that its reply shows; a row with another one by now is `ahead` of it.
    """
    if rows.stories.get(name) == old:
        rows.stories[name] = new
    row = rows.row({"block_id": name})
    if row and told[0] and shown_state(row) != told:
        rows.ahead.append(name)


def _put_back(busy: tuple[Block, Block | None], says: str, rows: RowList) -> None:
    """Restore a row whose scan had no result, as it was or as others have left it since."""
    old, more = busy
    if (row := rows.row(old)) and not rows.is_busy(row):
        old, more = row, rows.more(row) or more
    rows.replace(saying(old, says) if says and "text" in old else old, more)


def _pressed_ids(row: Block) -> str:
    """The monitors that a row's button rescans; empty if it has none."""
    return str(row.get("accessory", {}).get("value", ""))


def _pressed_row(request: Request) -> str:
    """The name of the row with the pressed button; empty if the button is in no row."""
    place = request.view or request.source
    name = name_of({"block_id": place.block_id if place else ""}).replace("more:", "row:")
    return name if name.startswith("row:") else ""


def _rows_of(request: Request, lists: RowLists) -> RowList | None:
    """The list with the pressed row; None for a private one that is no longer kept."""
    source = request.source
    if source is None:
        return None
    if request.private:
        return lists.private(source.block_id)
    return lists.public(request.channel, source.ts, source.text, source.blocks)
