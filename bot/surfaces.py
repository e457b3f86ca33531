"""Where an answer goes: one class for each place that a user can ask from.

Every surface has the same two methods: `progress` shows at once that work goes on, `answer` shows
its result in the place of the progress wherever Slack allows an edit.

A slash command's response URL can't replace what it posted, a button's can; an ephemeral message
changes only through the response URL of a button on it (docs.slack.dev, handling user interaction).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from bot.blocks import Block, Message, section
from bot.errors import SlackRefused, SlackUnreachable
from bot.slack_web import MAY_NOT_EDIT, MAY_NOT_POST, SlackWeb, view_of

log = logging.getLogger(__name__)
LISTS_KEPT = 200


class Surface(Protocol):
    """A place that an answer goes to."""

    async def progress(self, message: Message) -> None:
        """Show that work goes on."""

    async def answer(self, message: Message) -> None:
        """Show the result."""


class Posted:
    """A message of the bot's in a channel or thread, that may be edited later."""

    def __init__(self, web: SlackWeb, channel: str, thread_ts: str | None = None) -> None:
        self._web = web
        self._channel = channel
        self._thread_ts = thread_ts
        self._ts: str | None = None
        self._may_post = bool(channel)

    async def show(self, message: Message) -> bool:
        """Post the message, or edit the one that was posted; False where the bot may not post."""
        if self._ts is not None:
            try:
                await self._web.update(self._channel, self._ts, message)
            except SlackRefused as fault:
                if fault.reason not in MAY_NOT_EDIT:
                    raise
                self._ts = None
            else:
                return True
        if self._may_post:
            try:
                self._ts = await self._web.post(self._channel, message, self._thread_ts)
            except SlackRefused as fault:
                if fault.reason not in MAY_NOT_POST:
                    raise
                self._may_post = False
        return self._may_post

    @property
    def exists(self) -> bool:
        """Whether something was posted."""
        return self._ts is not None


async def announce(web: SlackWeb, channel: str, message: Message) -> None:
    """Say a change in the channel in one line; in a direct message the answer has said it."""
    if not message.announce or not channel or channel.startswith("D"):
        return
    try:
        await web.post(channel, Message(message.announce, (section(message.announce),)))
    except SlackRefused as fault:
        if fault.reason not in MAY_NOT_POST:
            raise
        log.info("A change was not announced in %s: %s", channel, fault)


class Typed:
    """A slash command: private by its response URL; public by a message that is edited later."""

    def __init__(self, web: SlackWeb, *, response_url: str, channel: str) -> None:
        self._web = web
        self._url = response_url
        self._channel = channel
        self._public = Posted(web, channel)

    async def progress(self, message: Message) -> None:
        """Post or privately say that work goes on."""
        await self._show(message)

    async def answer(self, message: Message) -> None:
        """Edit what was posted, or answer privately."""
        await self._show(message)
        await announce(self._web, self._channel, message)

    async def _show(self, message: Message) -> None:
        shared = message.public or self._public.exists
        if not (shared and await self._public.show(message)):
            await self._web.respond(self._url, message)


class Here:
    """A button on a card of one monitor: the card itself becomes the answer."""

    def __init__(self, web: SlackWeb, *, response_url: str, channel: str) -> None:
        self._web = web
        self._url = response_url
        self._channel = channel

    async def progress(self, message: Message) -> None:
        """Replace the card."""
        await self._web.respond(self._url, message, replace=True)

    async def answer(self, message: Message) -> None:
        """Replace the card."""
        await self.progress(message)
        await announce(self._web, self._channel, message)


class Lists:
    """Lists and digests whose rows are being brought up to date, one edit at a time each.

    Two people press Rescan on two rows: the second edit must not bring back the first one's old
    row, which the second press still carries.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[asyncio.Lock, list[Block]]] = OrderedDict()

    def of(
        self, channel: str, ts: str, blocks: Sequence[Block]
    ) -> tuple[asyncio.Lock, list[Block]]:
        """The lock of a message and its blocks as they stand now."""
        key = (channel, ts)
        entry = self._known.setdefault(key, (asyncio.Lock(), list(blocks)))
        self._known.move_to_end(key)
        if len(self._known) > LISTS_KEPT:
            self._known.popitem(last=False)
        return entry


class Below:
    """A button on a list or digest: the message stays, the card comes in its thread or privately.

    The monitor's row in the message is brought up to date; in a private list, which has no thread,
    it also says that the scan runs.
    """

    def __init__(
        self,
        web: SlackWeb,
        lists: Lists,
        *,
        response_url: str,
        channel: str,
        ts: str,
        thread_ts: str | None,
        ephemeral: bool,
        text: str,
        blocks: Sequence[Block],
    ) -> None:
        self._web = web
        self._lists = lists
        self._url = response_url
        self._channel = channel
        self._ts = ts
        self._ephemeral = ephemeral
        self._text = text
        self._blocks = blocks
        self._thread = Posted(web, "" if ephemeral else channel, thread_ts or ts)
        self._busy: Block | None = None

    async def progress(self, message: Message) -> None:
        """Say it in the thread, or in the row of a private list."""
        if self._ephemeral and message.row and self._row(message.row):
            self._busy = self._row(message.row)
            await self._refresh(message.row)
        elif not (message.public and await self._thread.show(message)):
            await self._web.respond(self._url, message)

    async def answer(self, message: Message) -> None:
        """Show the card, and the new row."""
        shared = message.public or self._thread.exists
        if not (shared and await self._thread.show(message)):
            await self._web.respond(self._url, message)
        if row := message.row or self._busy:
            await self._refresh(row)
        await announce(self._web, self._channel, message)

    def _row(self, row: Block) -> Block | None:
        return next((b for b in self._blocks if b.get("block_id") == row["block_id"]), None)

    async def _refresh(self, row: Block) -> None:
        """Put the row in the place of the old one; a list that is gone stays gone."""
        old = self._row(row)
        if old is None:
            return
        fresh = row if "accessory" in old else {k: v for k, v in row.items() if k != "accessory"}
        lock, blocks = self._lists.of(self._channel, self._ts, self._blocks)
        async with lock:
            blocks[:] = [fresh if b.get("block_id") == row["block_id"] else b for b in blocks]
            message = Message(self._text, tuple(blocks))
            try:
                if self._ephemeral:
                    await self._web.respond(self._url, message, replace=True)
                else:
                    await self._web.update(self._channel, self._ts, message)
            except (SlackRefused, SlackUnreachable) as fault:
                log.info("A row was not brought up to date: %s", fault)


class Modal:
    """An open modal, from a form or from Home; a direct message where it was closed meanwhile."""

    def __init__(self, web: SlackWeb, *, view_id: str, channel: str, user: str) -> None:
        self._web = web
        self._view_id = view_id
        self._channel = channel
        self._user = user

    async def progress(self, message: Message) -> None:
        """Show it in the modal."""
        try:
            await self._web.update_view(self._view_id, view_of(message))
        except SlackRefused as fault:
            if fault.reason != "not_found":
                raise

    async def answer(self, message: Message) -> None:
        """Show it in the modal, or as a direct message."""
        try:
            await self._web.update_view(self._view_id, view_of(message))
        except SlackRefused as fault:
            if fault.reason != "not_found":
                raise
            await self._web.post(self._user, message)
        await announce(self._web, self._channel, message)
