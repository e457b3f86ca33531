"""Where an answer goes: one class for each place that a user can ask from.

Every surface has the same two methods: `progress` shows at once that work goes on, `answer` shows
its result in the place of the progress wherever Slack allows an edit.

A slash command's response URL can't replace what it posted, a button's can; an ephemeral message
changes only through the response URL of a button on it (docs.slack.dev, handling user interaction).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.blocks import MAX_BLOCKS, Address, Block, Message, bare, section
from bot.cards import replies
from bot.errors import SlackRefused, SlackUnreachable
from bot.slack.web import SlackWeb

log = logging.getLogger(__name__)
LISTS_KEPT = 200
#: How long a rate limit lasts that names no time.
LIMIT_SECONDS = 30.0


class Surface(Protocol):
    """A place that an answer goes to; `channel` is where changes are announced, if anywhere."""

    channel: str

    async def progress(self, message: Message) -> None:
        """Show that work goes on."""

    async def answer(self, message: Message) -> None:
        """Show the result."""

    async def refuse(self, message: Message) -> None:
        """Tell the asker alone that they may not, and leave everything as it is."""

    async def keep(self, message: Message) -> Address | None:
        """Show it as a message that may be edited later; None where the bot may not post."""


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
                if not fault.may_not_edit:
                    raise
                self._ts = None
            else:
                return True
        if self._may_post:
            try:
                self._ts = await self._web.post(self._channel, message, self._thread_ts)
            except SlackRefused as fault:
                if not fault.may_not_post:
                    raise
                self._may_post = False
        return self._may_post

    async def keep(self, message: Message) -> Address | None:
        """Post or edit it, and tell where it stands."""
        if not await self.show(message) or self._ts is None:
            return None
        return Address(self._channel, self._ts, self._thread_ts)

    @property
    def exists(self) -> bool:
        """Whether something was posted."""
        return self._ts is not None


async def _beside(web: SlackWeb, channel: str, message: Message) -> Address | None:
    """Post it in the channel, away from the place of the answer."""
    address = await Posted(web, channel).keep(message)
    return dataclasses.replace(address, here=False) if address else None


async def announce(web: SlackWeb, channel: str, message: Message) -> None:
    """Say a change in the channel in one line; in a direct message the answer has said it."""
    if not message.announce or not channel or channel.startswith("D"):
        return
    try:
        await web.post(channel, Message(bare(message.announce), (section(message.announce),)))
    except (SlackRefused, SlackUnreachable) as fault:
        # The change is made and its asker knows; a line that is missing must not say otherwise.
        log.warning("A change was not announced in %s: %s", channel, fault)


@dataclass(slots=True)
class Shown:
    """A list or digest as it stands now, with the lock for its next edit."""

    text: str
    blocks: list[Block]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _buttons_beside: bool = field(init=False)

    def __post_init__(self) -> None:
        self._buttons_beside = any("accessory" in block for block in self.blocks)

    def row(self, row: Block | None) -> Block | None:
        """The block that stands where this row belongs."""
        place = _place(row or {})
        return next((block for block in self.blocks if place and _place(block) == place), None)

    def renew(self, row: Block) -> None:
        """Put the row where it belongs, with a button beside it only if the others have one."""
        old = self.row(row)
        kept = {k: v for k, v in row.items() if k != "accessory" or self._buttons_beside}
        self.blocks = [
            {**kept, "block_id": block["block_id"]} if block is old else block
            for block in self.blocks
        ]


class Lists:
    """Lists and digests whose rows can be brought up to date, one edit at a time each.

    Two people press Rescan on two rows: the second edit must not bring back the first one's old
    row, which the second press still carries. A press on a private list carries no message at all,
    so the bot keeps what it sent, and finds it by a name in its block ids.
    """

    def __init__(self) -> None:
        self._shown: OrderedDict[str, Shown] = OrderedDict()

    def remember(self, message: Message) -> Message:
        """A message to be shown privately; one with rows gets a name in its block ids."""
        if not any(_place(block).startswith("row:") for block in message.blocks):
            return message
        name = uuid.uuid4().hex[:16]
        blocks = [
            {**block, "block_id": f"{_place(block) or f'part:{number}'}@{name}"}
            for number, block in enumerate(message.blocks)
        ]
        self._keep(name, Shown(message.text, blocks))
        return dataclasses.replace(message, blocks=tuple(blocks))

    def private(self, block_id: str) -> Shown | None:
        """The private list with this block, unless it is forgotten."""
        name = block_id.partition("@")[2]
        return self._keep(name, self._shown[name]) if name in self._shown else None

    def public(self, channel: str, ts: str, text: str, blocks: Sequence[Block]) -> Shown:
        """The list or digest in a channel; what a press brings along counts the first time."""
        name = f"{channel} {ts}"
        return self._keep(name, self._shown.get(name) or Shown(text, list(blocks)))

    def _keep(self, name: str, shown: Shown) -> Shown:
        self._shown[name] = shown
        self._shown.move_to_end(name)
        if len(self._shown) > LISTS_KEPT:
            self._shown.popitem(last=False)
        return shown


def _place(block: Block) -> str:
    """Which block of its message this is, whatever the message's name: `row:888`."""
    return str(block.get("block_id", "")).partition("@")[0]


class Typed:
    """A slash command: private by its response URL; public by a message that is edited later."""

    def __init__(self, web: SlackWeb, lists: Lists, *, response_url: str, channel: str) -> None:
        self._web = web
        self._lists = lists
        self._url = response_url
        self.channel = channel
        self._public = Posted(web, channel)
        self._told = False

    async def progress(self, message: Message) -> None:
        """Post that work goes on, or say so privately, once: nothing private can be edited."""
        if message.public or self._public.exists or not self._told:
            self._told = True
            await self._show(message)

    async def answer(self, message: Message) -> None:
        """Edit what was posted, or answer privately; first so where Slack limits the bot."""
        shared = message.public or self._public.exists
        try:
            await self._show(message)
        except SlackRefused as fault:
            if fault.reason != "ratelimited" or not shared:
                raise
            await self._web.respond(self._url, replies.told_apart(message))
            wait = LIMIT_SECONDS if fault.retry_after is None else fault.retry_after
            await asyncio.sleep(wait)
            await self._show(message)
        await announce(self._web, self.channel, message)

    async def keep(self, message: Message) -> Address | None:
        """Post it in the channel."""
        return await self._public.keep(message)

    async def refuse(self, message: Message) -> None:
        """Answer privately."""
        await self._web.respond(self._url, message)

    async def _show(self, message: Message) -> None:
        shared = message.public or self._public.exists
        if not (shared and await self._public.show(message)):
            await self._web.respond(self._url, self._lists.remember(message))


class Here:
    """A button on a card of one monitor: the card itself becomes the answer.

    `own` is where that card stands; None for a private one, which nothing but a press can edit.
    """

    def __init__(
        self, web: SlackWeb, lists: Lists, *, response_url: str, channel: str, own: Address | None
    ) -> None:
        self._web = web
        self._lists = lists
        self._url = response_url
        self._own = own
        self.channel = channel

    async def progress(self, message: Message) -> None:
        """Replace the card."""
        await self._web.respond(self._url, self._lists.remember(message), replace=True)

    async def answer(self, message: Message) -> None:
        """Replace the card."""
        await self.progress(message)
        await announce(self._web, self.channel, message)

    async def refuse(self, message: Message) -> None:
        """Answer privately: the message belongs to others."""
        if self._url:
            await self._web.respond(self._url, message)

    async def keep(self, message: Message) -> Address | None:
        """Replace the card; a private one stays, and a new one is posted in the channel."""
        if self._own is None:
            return await _beside(self._web, self.channel, message)
        await self.progress(message)
        return self._own


class Below:
    """A button on a list or digest: the message stays, the card comes in its thread or privately.

    The monitor's row in the message is brought up to date; in a private list, which has no thread,
    it also says that the scan runs. `shown` is None where the message is not known any more.
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
        shown: Shown | None,
    ) -> None:
        self._web = web
        self._lists = lists
        self._url = response_url
        self.channel = channel
        self._ts = ts
        self._ephemeral = ephemeral
        self._shown = shown
        self._thread = Posted(web, "" if ephemeral else channel, thread_ts or ts)
        self._busy: Block | None = None

    async def progress(self, message: Message) -> None:
        """Say it in the thread, or in the row of a private list."""
        old = self._shown.row(message.row) if self._shown else None
        if self._ephemeral and old and message.row:
            self._busy = old
            await self._refresh(message.row)
        elif not (message.public and await self._thread.show(message)):
            await self._web.respond(self._url, self._lists.remember(message))

    async def answer(self, message: Message) -> None:
        """Show the card, and the new row."""
        shared = message.public or self._thread.exists
        if not (shared and await self._thread.show(message)):
            await self._web.respond(self._url, self._lists.remember(message))
        if row := message.row or self._busy:
            await self._refresh(row)
        await announce(self._web, self.channel, message)

    async def keep(self, message: Message) -> Address | None:
        """Post it in the thread; below a private list, in the channel."""
        if self._ephemeral:
            return await _beside(self._web, self.channel, message)
        return await self._thread.keep(message)

    async def refuse(self, message: Message) -> None:
        """Answer privately: the message belongs to others."""
        if self._url:
            await self._web.respond(self._url, message)

    async def _refresh(self, row: Block) -> None:
        """Put the row in the place of the old one; a list that is gone stays gone."""
        shown = self._shown
        if shown is None:
            return
        async with shown.lock:
            if shown.row(row) is None:
                return
            shown.renew(row)
            message = Message(shown.text, tuple(shown.blocks))
            try:
                if self._ephemeral:
                    await self._web.respond(self._url, message, replace=True)
                else:
                    await self._web.update(self.channel, self._ts, message)
            except (SlackRefused, SlackUnreachable) as fault:
                log.info("A row was not brought up to date: %s", fault)


class Modal:
    """An open modal, from a form or from Home; a direct message where it was closed meanwhile."""

    def __init__(self, web: SlackWeb, *, view_id: str, channel: str, user: str) -> None:
        self._web = web
        self._view_id = view_id
        self.channel = channel
        self._user = user

    async def progress(self, message: Message) -> None:
        """Show it in the modal."""
        try:
            await self._web.update_view(self._view_id, message, self.channel)
        except SlackRefused as fault:
            if fault.reason != "not_found":
                raise

    async def answer(self, message: Message) -> None:
        """Show it in the modal, or as a direct message."""
        try:
            await self._web.update_view(self._view_id, message, self.channel)
        except SlackRefused as fault:
            if fault.reason != "not_found":
                raise
            await self._web.post(self._user, message)
        await announce(self._web, self.channel, message)

    async def refuse(self, message: Message) -> None:
        """Show it in the modal, which is its asker's own."""
        await self.progress(message)

    async def keep(self, _message: Message) -> Address | None:
        """Nowhere: a modal may be closed at any time."""
        return None


class Shared:
    """A private answer that is shared: it is posted in the channel, by the one who saw it."""

    def __init__(self, web: SlackWeb, private: Surface, note: Block) -> None:
        self._web = web
        self._private = private
        self._note = note
        self.channel = private.channel

    async def progress(self, _message: Message) -> None:
        """Nothing: the answer is not long to come."""

    async def answer(self, message: Message) -> None:
        """Post it in the channel, or tell the asker that the bot may not."""
        shared = dataclasses.replace(
            message, blocks=(*message.blocks[: MAX_BLOCKS - 1], self._note)
        )
        if not await Posted(self._web, self.channel).show(shared):
            await self._private.refuse(replies.not_in_channel())

    async def refuse(self, message: Message) -> None:
        """Tell the asker alone."""
        await self._private.refuse(message)

    async def keep(self, _message: Message) -> Address | None:
        """Nowhere: what is shared is not edited."""
        return None


class Said:
    """A mention or a direct message: the answer is a message beside it, for all who are there.

    A mention is answered in its thread, a direct message where it was written.
    """

    def __init__(self, web: SlackWeb, *, channel: str, thread_ts: str | None, user: str) -> None:
        self._web = web
        self.channel = channel
        self._thread_ts = thread_ts
        self._user = user
        self._posted = Posted(web, channel, thread_ts)

    async def progress(self, message: Message) -> None:
        """Post that work goes on, to be edited later."""
        await self._posted.show(message)

    async def answer(self, message: Message) -> None:
        """Post the answer, or edit what was posted; where the bot may not post, tell the asker."""
        if not await self._posted.show(message):
            await self._web.post(self._user, message)
        await announce(self._web, self.channel, message)

    async def refuse(self, message: Message) -> None:
        """Tell the asker alone."""
        if self.channel.startswith("D"):
            await self._web.post(self.channel, message, self._thread_ts)
        else:
            await self._web.whisper(self.channel, self._user, message, self._thread_ts)

    async def keep(self, message: Message) -> Address | None:
        """Post it, or edit what was posted."""
        return await self._posted.keep(message)
