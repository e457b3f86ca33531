"""Where an answer goes: one class for each kind of place that a user can ask from.

Every surface shows progress at once, and the answer in the place of the progress wherever Slack
allows an edit. A slash command's response URL can't replace what it posted, a button's can. An
ephemeral message changes only through the response URL of a button on it (docs.slack.dev,
handling user interaction).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from typing import Protocol

from bot.blocks import MAX_BLOCKS, Address, Block, Message
from bot.cards import replies, slack_faults
from bot.cards.row import carried, saying
from bot.errors import SlackLimited, SlackRefused, SlackUnreachable
from bot.slack.posts import EditablePost, announce, post_beside
from bot.slack.rendering import view_of
from bot.slack.requests import Origin, Request, View
from bot.slack.rows import Boards, RowList, RowLists, refresh_rows
from bot.slack.web import SlackWeb

log = logging.getLogger(__name__)
#: What a press on a row of Home does without opening a modal.
IN_ROW = frozenset(
    {
        *("scan", "scan_certificate", "take", "take_certificate", "release", "release_certificate"),
        *("mute", "unmute"),
    }
)
#: How long to wait after a rate limit that names no time.
LIMIT_SECONDS = 30.0


class Surface(Protocol):
    """A place that an answer goes to; `channel` is where changes are announced, if anywhere."""

    channel: str

    async def progress(self, message: Message) -> None:
        """Show that work is under way."""

    async def answer(self, message: Message) -> None:
        """Show the result."""

    async def refuse(self, message: Message) -> None:
        """Tell the asker alone that they may not, and change nothing else."""

    async def keep(self, message: Message) -> Address | None:
        """Show it as a message that can be edited later; None where the bot can't post."""


def surface_of(request: Request, web: SlackWeb, boards: Boards) -> Surface:
    """The surface that answers a request; from Home, a modal that has to be opened first."""
    lists = boards.lists
    match request.origin:
        case Origin.SLASH_COMMAND:
            return SlashCommand(web, lists, request)
        case Origin.MENTION:
            return Mention(web, request)
        case Origin.CARD_BUTTON:
            return CardButton(web, lists, request)
        case Origin.ROW_BUTTON:
            return RowButton(web, boards, request)
        case Origin.HOME if request.verb in IN_ROW:
            return HomeRow(web, boards, request)
        case _:
            return Modal(web, request, request.view.id if request.view else "")


class Private:
    """Answers for the asker's eyes only, through a response URL; lists with rows are kept."""

    def __init__(self, web: SlackWeb, lists: RowLists, url: str) -> None:
        self._web = web
        self._lists = lists
        self._url = url

    async def show(
        self, message: Message, *, replace: bool = False, progress: bool = False
    ) -> None:
        """Post it, or replace the message whose button was pressed."""
        rows = any(str(block.get("block_id", "")).startswith("row:") for block in message.blocks)
        shown = self._lists.remember(message) if rows else message
        await self._web.respond(self._url, shown, replace=replace, progress=progress)

    async def refuse(self, message: Message) -> None:
        """Tell the asker alone: the message with the button belongs to others too."""
        if self._url:
            await self._web.respond(self._url, message)


class SlashCommand:
    """A slash command: private through its response URL, public as a post that is edited."""

    def __init__(self, web: SlackWeb, lists: RowLists, request: Request) -> None:
        self.channel = request.channel
        self._web = web
        self._private = Private(web, lists, request.response_url)
        self._post = EditablePost(web, request.channel)
        self._told = False
        self.refuse = self._private.refuse
        self.keep = self._post.keep

    async def progress(self, message: Message) -> None:
        """Post that work is under way, or say so privately, once: that can't be edited."""
        if message.public or self._post.exists or not self._told:
            self._told = True
            await self._show(message, progress=True)

    async def answer(self, message: Message) -> None:
        """Edit the post, or answer privately; privately first while Slack limits the bot."""
        try:
            await self._show(message)
        except SlackRefused as error:
            if not isinstance(error, SlackLimited) or not (message.public or self._post.exists):
                raise
            await self._private.refuse(slack_faults.answered_privately(message))
            wait = LIMIT_SECONDS if error.retry_after is None else error.retry_after
            await asyncio.sleep(wait)
            await self._show(message)
        await announce(self._web, self.channel, message)

    async def _show(self, message: Message, *, progress: bool = False) -> None:
        public = message.public or self._post.exists
        if not (public and await self._post.show(message)):
            await self._private.show(message, progress=progress)


class CardButton:
    """A button on a card of one monitor: the card itself becomes the answer."""

    def __init__(self, web: SlackWeb, lists: RowLists, request: Request) -> None:
        self.channel = request.channel
        self._web = web
        self._private = Private(web, lists, request.response_url)
        source = request.source
        # Nothing but a press can edit a private card.
        self._card = (
            Address(request.channel, source.ts, source.thread_ts)
            if source and not request.private
            else None
        )
        self.refuse = self._private.refuse

    async def progress(self, message: Message) -> None:
        """Replace the card."""
        await self._private.show(message, replace=True, progress=True)

    async def answer(self, message: Message) -> None:
        """Replace the card."""
        await self._private.show(message, replace=True)
        await announce(self._web, self.channel, message)

    async def keep(self, message: Message) -> Address | None:
        """Replace the card; a private one stays, and the message is posted in the channel."""
        if self._card is None:
            return await post_beside(self._web, self.channel, message)
        await self.progress(message)
        return self._card


class RowButton:
    """A button on a list or digest: the message stays, and the row shows what the press does.

    The story of a monitor is one reply in the message's thread, which is edited. A private list
    has no thread.
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
        thread_ts = (request.source and request.source.thread_ts) or self._ts
        self._thread = EditablePost(web, "" if request.private else request.channel, thread_ts)
        self._busy: tuple[Block, Block | None] | None = None
        self._joins = False
        self._refreshed = False
        self._looked = False
        self._story = ""
        self.refuse = self._private.refuse

    async def progress(self, message: Message) -> None:
        """Say it in the row; in the thread, or privately, if the message has no such row.

        A press while a scan of the row runs joins that one.
        """
        await self._look()
        row = message.row
        old = self._rows.row(row) if self._rows else None
        if self._rows and old and row:
            self._joins = self._joins or (self._busy is None and self._rows.is_busy(row))
            if not self._joins:
                self._busy = self._busy or (old, self._rows.more(old))
                await self._refresh(lambda rows: rows.replace(row), row, keeps=False)
        elif not (message.public and await self._thread.show(message)):
            await self._beside(message, progress=True)

    async def answer(self, message: Message) -> None:
        """Show the card, and the new row."""
        await self._look()
        if row := message.row:
            await self._refresh(
                lambda rows: rows.replace(carried(rows.row(row) or row, row), message.more), row
            )
        elif message.rows:
            await self._refresh_all((*(self._busy or ())[:1], *message.rows))
        elif busy := self._busy:
            old, more = busy
            back = saying(old, message.row_says) if message.row_says else old
            await self._refresh(
                lambda rows: rows.replace(back, more), back, keeps=bool(message.row_says)
            )
        # A private list has no thread, and its row says what came of a scan.
        alone = bool(self._ephemeral and self._busy and message.row and not message.rows)
        if not (self._refreshed and (message.in_row or alone or self._joins)):
            public = message.public or self._thread.exists
            if not (public and await self._tell_story(message)):
                await self._beside(message)
        await announce(self._web, self.channel, message)

    async def _beside(self, message: Message, *, progress: bool = False) -> None:
        """Show it to the asker alone, away from the list."""
        await self._private.show(message, progress=progress)

    async def _draw(self, rows: RowList) -> None:
        if self._ephemeral:
            await self._web.respond(self._url, rows.message, replace=True)
        else:
            await self._boards.draw(self.channel, self._ts, rows)

    async def _tell_story(self, message: Message) -> bool:
        """Post or edit the monitor's reply in the thread; False where the bot can't post."""
        story = self._rows.stories.get(self._story) if self._rows and self._story else None
        if story and not self._thread.exists:
            self._thread.continue_at(story)
        shown = await self._thread.show(message)
        if self._rows and self._story and (ts := self._thread.ts) and ts != story:
            name = self._story
            async with self._rows.lock:
                await self._boards.change(
                    self.channel, self._ts, self._rows, lambda each: each.stories.update({name: ts})
                )
        return shown

    async def keep(self, message: Message) -> Address | None:
        """Post it in the thread; below a private list, in the channel."""
        if self._ephemeral:
            return await post_beside(self._web, self.channel, message)
        return await self._thread.keep(message)

    async def _look(self) -> None:
        """Find out, once, whether the message is a digest, and how it stands."""
        if self._looked or self._rows is None or self._ephemeral:
            return
        self._looked = True
        rows = self._rows
        if rows.day is None and (stored := await self._boards.find(self.channel, self._ts)):
            rows.day = stored.day
            rows.adopt(stored.board)
        if rows.day and self._boards.is_over(self.channel, rows.day):
            self._rows = None  # a digest stays as it is when its day has ended

    async def _refresh_all(self, shown: tuple[Block, ...]) -> None:
        """Put several rows in the places of their old ones, in one edit."""

        def change(rows: RowList) -> None:
            for row in shown:
                if rows.row(row) is not None:
                    rows.replace(row)

        await self._refresh(change)

    async def _refresh(
        self, change: Callable[[RowList], None], row: Block | None = None, *, keeps: bool = True
    ) -> None:
        """Change the list, and show it; a list that is gone, or has no such row, stays as it is.

        A change that this process alone knows of, such as a scan that runs, is not kept.
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
        try:
            await self._draw(rows)
            self._refreshed = True
        except (SlackRefused, SlackUnreachable) as error:
            log.info("Could not refresh the list: %s", error)


class HomeRow(RowButton):
    """A row of Home: Home stays, and the row shows what the press does; other answers in a modal.

    A modal can be opened only in the first seconds after the press; later, it is a direct message.
    """

    def __init__(self, web: SlackWeb, boards: Boards, request: Request) -> None:
        super().__init__(web, boards, request)
        self._ephemeral = True
        self._request = request
        self._view = request.view or View("")
        self._rows = boards.lists.home(request.asker.user, self._view.blocks)
        self.refuse = self._beside

    async def answer(self, message: Message) -> None:
        """Show it in the row; then show in the counts and the other rows what has changed."""
        await super().answer(message)
        rows, home = self._rows, self._boards.home
        if rows is None or home is None:
            return
        counts, found, rules = await home.changes()
        async with rows.lock:
            if counts and rows.row(counts):
                rows.replace(counts)
                refresh_rows(rows, found, self._boards.now(), rules, complete=True)
        await self._draw(rows)

    async def _beside(self, message: Message, *, progress: bool = False) -> None:
        if progress:
            return
        view = view_of(message)
        try:
            await self._web.open_view(self._request.trigger_id, view)
        except SlackRefused as error:
            log.info("views.open failed: %s", error)
            await self._web.post(self._request.asker.user, message)

    async def _draw(self, rows: RowList) -> None:
        await self._web.publish_home(self._request.asker.user, rows.blocks, self._view.page)


def _rows_of(request: Request, lists: RowLists) -> RowList | None:
    """The list that a pressed row is in; None for a private one that is no longer kept."""
    source = request.source
    if source is None:
        return None
    if request.private:
        return lists.private(source.block_id)
    return lists.public(request.channel, source.ts, source.text, source.blocks)


class Modal:
    """An open modal, from a form or from Home; a direct message where it was closed meanwhile."""

    def __init__(self, web: SlackWeb, request: Request, view_id: str) -> None:
        self.channel = request.channel
        self._web = web
        self._view_id = view_id
        self._user = request.asker.user

    async def progress(self, message: Message) -> None:
        """Show it in the modal, if that is still open."""
        await self._update(message)

    async def answer(self, message: Message) -> None:
        """Show it in the modal, or as a direct message."""
        if not await self._update(message):
            await self._web.post(self._user, message)
        await announce(self._web, self.channel, message)

    async def refuse(self, message: Message) -> None:
        """Show it in the modal, which only its asker sees."""
        await self._update(message)

    async def keep(self, _message: Message) -> Address | None:
        """Nowhere: a modal may be closed at any time."""
        return None

    async def _update(self, message: Message) -> bool:
        """Show it in the modal; False if it was closed, or Slack doesn't take it."""
        try:
            await self._web.update_view(self._view_id, message, self.channel)
        except SlackRefused as error:
            log.info("views.update failed: %s", error)
            return False
        return True


class Share:
    """A private answer that its asker shares: it is posted in the channel, with their name."""

    def __init__(self, web: SlackWeb, private: Surface, note: Block) -> None:
        self.channel = private.channel
        self._web = web
        self._private = private
        self._note = note
        self.refuse = private.refuse

    async def progress(self, _message: Message) -> None:
        """Nothing: the answer follows shortly."""

    async def answer(self, message: Message) -> None:
        """Post it in the channel, or tell the asker that the bot can't post there."""
        blocks = (*message.blocks[: MAX_BLOCKS - 1], self._note)
        post = EditablePost(self._web, self.channel)
        if not await post.show(dataclasses.replace(message, blocks=blocks)):
            await self._private.refuse(replies.not_in_channel())

    async def keep(self, _message: Message) -> Address | None:
        """Nowhere: a shared answer is not edited."""
        return None


class Mention:
    """A mention or a direct message: the answer is a message beside it, for all who are there."""

    def __init__(self, web: SlackWeb, request: Request) -> None:
        self.channel = request.channel
        self._web = web
        self._thread_ts = request.thread_ts
        self._user = request.asker.user
        self._post = EditablePost(web, request.channel, request.thread_ts)
        self.keep = self._post.keep

    async def progress(self, message: Message) -> None:
        """Post that work is under way, to be edited later."""
        await self._post.show(message)

    async def answer(self, message: Message) -> None:
        """Post the answer, or edit the post; where the bot can't post, tell the asker."""
        if not await self._post.show(message):
            await self._web.post(self._user, message)
        await announce(self._web, self.channel, message)

    async def refuse(self, message: Message) -> None:
        """Tell the asker alone."""
        if self.channel.startswith("D"):
            await self._web.post(self.channel, message, self._thread_ts)
        else:
            await self._web.whisper(self.channel, self._user, message, self._thread_ts)
