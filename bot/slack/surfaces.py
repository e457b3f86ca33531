"""Where answers go: one class for each kind of place that a user can ask from.

Every surface shows progress at once, and then the answer in its place, if Slack permits the edit. A
slash command's response URL can't replace what it has posted; a button's can. An ephemeral message
can only be changed through the response URL of a button on it (docs.slack.dev, handling user
interaction).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from bot.blocks import Address, Message
from bot.cards import replies, slack_faults
from bot.errors import EditsUsedUp, SlackLimited, SlackRefused, SlackUnreachable
from bot.slack.requests import Origin, Request
from bot.slack.web import SlackWeb
from bot.store.placeholders import Placeholder, Placeholders

if TYPE_CHECKING:
    from bot.slack.row_buttons import RowLists
    from bot.store.placeholders import Record

log = logging.getLogger(__name__)
Show = Callable[[Message], Awaitable[None]]
#: How many seconds to wait after a rate limit that doesn't say.
LIMIT_SECONDS = 30.0
#: A limit that lasts longer is not waited out: Slack may ask for a day.
LONGEST_LIMIT = 60.0
#: At the end of the bot, how long Slack's confirmation of a post is waited for; in seconds.
CONFIRM_SECONDS = 1.0
#: A post whose edit would have to wait longer than this is posted again; in seconds.
EDIT_PATIENCE = 5.0
#: Seconds until the asker is told what the bot waits for, in an editable message and privately.
SLOW_SECONDS, SLOW_PRIVATE_SECONDS = 1.0, 3.0


class Surface(Protocol):
    """A place for an answer; `channel` is where changes are announced, if anywhere."""

    channel: str

    async def progress(self, message: Message) -> None:
        """Show that work is in progress."""

    async def answer(self, message: Message) -> None:
        """Show the result."""

    async def refuse(self, message: Message) -> None:
        """Tell only the asker that they may not do this, and change nothing else."""

    async def keep(self, message: Message) -> Address | None:
        """Post a message that can be edited later; None if the bot can't post."""

    def place(self, message: Message) -> Address | None:
        """Where this progress is shown, as in `Placeholder`; None if only the asker sees it."""


class Progress:
    """Shows the asker what the bot is doing; `told` is the latest message, if any.

    It is recorded, so that another process can edit it if this one dies.
    """

    def __init__(
        self,
        surface: Surface,
        request: Request,
        placeholders: Placeholders,
        announce: Show,
        *,
        since: datetime,
        changes: bool = False,
    ) -> None:
        self._surface, self._changes, self._announce = surface, changes, announce
        self._answered = self._announced = False
        self._user, self._since, self._placeholders = request.asker.user, since, placeholders
        self._is_typed = (origin := request.origin) is Origin.SLASH_COMMAND
        self._editable = origin in {Origin.MENTION, Origin.CARD_BUTTON, Origin.MODAL}
        self._follows = "answer" if origin is Origin.ROW_BUTTON else "card"
        self._name = f"busy:{uuid.uuid4().hex}"
        self._shown: Message | None = None
        self._record: Record | None = None
        self.told = ""
        self.answer: Message | None = None
        """The answer, once it is known."""

    def last_words(self) -> Message:
        """What to tell the asker if the bot ends now."""
        return self.answer or slack_faults.restarting(self.told, changes=self._changes)

    async def show(self, message: Message) -> None:
        """Show progress where the answer will be."""
        self.told, (first, *rest) = message.text, message.blocks
        named = dataclasses.replace(message, blocks=({**first, "block_id": self._name}, *rest))
        self._shown, self._record = named, self._record or self._placeholders.record()
        self._keep()
        await self._record.begun()
        await self._try(self._surface.progress(named))
        self._keep()

    async def _try(self, showing: Awaitable[None]) -> None:
        try:
            await showing
        except (SlackRefused, SlackUnreachable) as error:
            log.warning("Could not show progress: %s", error)

    def _keep(self, *, answering: bool = False) -> None:
        """Record what is shown now, if anything is."""
        if self._record and self._shown:
            place = self._surface.place(self._shown), self._surface.channel
            asked, told = (self._user, self._since), self.told
            shown = Placeholder(self._name, *place, *asked, told, self._changes, answering)
            self._record.put(shown)

    async def deliver(self, message: Message) -> None:
        """Show the answer, which replaces what is shown, and announce what was changed.

        What is done already isn't repeated if the bot ends meanwhile.
        """
        self._keep(answering=True)
        try:
            if not self._answered:
                await self._surface.answer(message)
            self._answered = True
            self.close(answered=True)
        except (SlackRefused, SlackUnreachable):
            await self._tell_all(message)
            raise
        await self._tell_all(message)

    async def _tell_all(self, message: Message) -> None:
        if message.announce and not self._announced:
            self._announced = True
            await self._announce(message)

    def close(self, *, answered: bool = False) -> None:
        """End the record; if the answer could not be shown, a message that stays is edited."""
        if self._record:
            self._record.close(answered=answered)

    @asynccontextmanager
    async def of_slow_work(self) -> AsyncIterator[None]:
        """If the body takes long and shows nothing, say what for; later where that would stay."""
        begun = asyncio.Event()

        async def tell() -> None:
            await asyncio.sleep(SLOW_SECONDS if self._editable else SLOW_PRIVATE_SECONDS)
            slow = replies.slow("" if self._editable else self._follows)
            if not self.told:
                begun.set()
                await self.show(slow)
            if self._is_typed and not self._surface.place(self._shown or slow):
                begun.set()  # nothing else is shown
                await self._try(self._surface.refuse(slow))

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            if not begun.is_set():
                telling.cancel()
            await asyncio.wait([telling])  # must be complete before it is edited


class EditablePost:
    """A message of the bot's in a channel or thread: posted once, then edited.

    `ts` is set once it is posted, `refusal` if Slack lets the bot post nothing there.
    """

    def __init__(self, web: SlackWeb, channel: str, thread_ts: str | None = None) -> None:
        self._web, self._channel, self._thread_ts = web, channel, thread_ts
        self.ts: str | None = None
        self.refusal = None if channel else SlackRefused("channel_not_found")
        self._is_dropped = False
        self._mark = {"event_type": "ssl_card", "event_payload": {"id": uuid.uuid4().hex}}

    @property
    def address(self) -> Address | None:
        """Where it is, or will be; None if the bot can't post."""
        can_be = self.ts or not self.refusal
        return Address(self._channel, self.ts or "", self._thread_ts) if can_be else None

    async def show(self, message: Message) -> bool:
        """Post the message, or edit the posted one; False if the bot can't post."""
        if self.ts is not None and await self._edit(self.ts, message):
            return True
        if self.refusal is None:
            try:
                self.ts = await self._posted(dataclasses.replace(message, metadata=self._mark))
            except SlackLimited:
                raise
            except SlackRefused as error:
                log.info("chat.postMessage failed in %s: %s", self._channel, error)
                self.refusal = error
        return self.refusal is None

    async def join(self, ts: str, message: Message) -> None:
        """Go on with another post, which somebody has begun at the same time; ours is deleted."""
        mine, self.ts = self.ts, ts
        if mine is None or mine == ts:
            return
        try:
            await self._web.delete(self._channel, mine)
        except (SlackRefused, SlackUnreachable) as error:
            log.warning("chat.delete failed in %s: %s", self._channel, error)
        await self.show(message)

    async def _edit(self, ts: str, message: Message) -> bool:
        """Edit the post; False if it is gone and must be posted again.

        If the edits of the minute are used up, the post is deleted, so that nobody waits.
        """
        try:
            await self._web.update(self._channel, ts, message, within=EDIT_PATIENCE)
        except EditsUsedUp:
            try:
                await self._web.delete(self._channel, ts)
            except (SlackRefused, SlackUnreachable) as error:
                log.info("chat.delete failed in %s: %s", self._channel, error)
                await self._web.update(self._channel, ts, message)
                return True
        except SlackLimited:
            raise
        except SlackRefused as error:
            log.info("chat.update failed in %s: %s", self._channel, error)
            await self.withdraw()  # it may say “Scanning…” for ever
        else:
            return True
        self.ts = None
        return False

    async def _posted(self, message: Message) -> str:
        """Post the message, and return its ts; if Slack's reply is lost, look before repeating it.

        If the bot ends meanwhile, `ts` is set all the same: “Scanning…” must not stay.
        """
        sending = self._web.post(self._channel, message, self._thread_ts)
        posting = asyncio.ensure_future(sending)
        try:
            return await asyncio.shield(posting)
        except SlackUnreachable:
            ts = await self._found(message)
            if ts is None:
                raise
            return ts or await self._web.post(self._channel, message, self._thread_ts)
        except asyncio.CancelledError:
            await asyncio.wait({posting}, timeout=CONFIRM_SECONDS)
            posted = posting.done() and not posting.exception()
            self.ts = posting.result() if posted else await self._found(message) or None
            posting.cancel()
            raise

    async def _found(self, message: Message) -> str | None:
        """The ts of this message; empty if Slack lacks it, None if the history can't be read."""
        try:
            posts = await self._web.find_posts(self._channel, message, None, self._thread_ts)
        except (SlackRefused, SlackUnreachable) as error:
            log.info("conversations.history failed in %s: %s", self._channel, error)
            return None
        return next(iter(posts), "")

    async def answer(self, message: Message, show: Show, aside: Show) -> None:
        """Show an answer; while Slack rate-limits the bot, the asker gets it privately first.

        If that takes long, or the bot ends meanwhile, the asker alone is told.
        """
        if self._is_dropped:
            return
        try:
            await show(message)
        except SlackLimited as error:
            if not (message.public or self.ts):
                raise
            wait = LIMIT_SECONDS if error.retry_after is None else error.retry_after
            if wait > LONGEST_LIMIT:
                await self._drop(message, aside, error)
                return
            await aside(slack_faults.answered_privately(message))
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                await self._drop(message, aside, "the bot ends before Slack's rate limit does")
                raise
            try:
                await show(message)
            except (SlackRefused, SlackUnreachable) as again:
                await self._drop(message, aside, again)

    async def _drop(self, message: Message, aside: Show, why: object) -> None:
        """Show the answer to the asker alone; delete the post that says that work is under way."""
        log.warning("Could not post or edit a message in %s: %s", self._channel, why)
        self._is_dropped = True
        try:
            await aside(slack_faults.answered_privately(message, later=False))
        finally:
            if self.ts is not None:
                await self._web.delete(self._channel, self.ts)
                self.ts = None

    async def withdraw(self) -> None:
        """Delete the post, if there is one: what it says is no longer true."""
        if self.ts is not None:
            with suppress(SlackRefused, SlackUnreachable):
                await self._web.delete(self._channel, self.ts)
            self.ts = None

    async def keep(self, message: Message) -> Address | None:
        """Post or edit it; returns its address."""
        shown = await self.show(message)
        return Address(self._channel, self.ts, self._thread_ts) if shown and self.ts else None


async def post_beside(web: SlackWeb, channel: str, message: Message) -> Address | None:
    """Post a message in the channel, apart from the answer."""
    post = EditablePost(web, channel)
    try:
        address = await post.keep(message)
    except asyncio.CancelledError:
        await post.withdraw()
        raise
    return address and dataclasses.replace(address, here=False)


class Private:
    """Private answers through a response URL; lists with rows are kept."""

    def __init__(self, web: SlackWeb, lists: RowLists, url: str) -> None:
        self._web = web
        self._lists = lists
        self._url = url

    async def show(
        self, message: Message, *, replace: bool = False, progress: bool = False
    ) -> None:
        """Post it, or replace the message of the pressed button."""
        rows = any(str(block.get("block_id", "")).startswith("row:") for block in message.blocks)
        shown = self._lists.remember(message) if rows else message
        await self._web.respond(self._url, shown, replace=replace, progress=progress)

    async def refuse(self, message: Message) -> None:
        """Tell only the asker: the message with the button belongs to others too."""
        if self._url:
            await self._web.respond(self._url, message)


class SlashCommand:
    """A slash command: private through its response URL, or public as an edited post."""

    def __init__(self, web: SlackWeb, lists: RowLists, request: Request) -> None:
        self.channel = request.channel
        self._web = web
        self._private = Private(web, lists, request.response_url)
        self._post = EditablePost(web, request.channel)
        self.refuse = self._private.refuse
        self.keep = self._post.keep

    async def progress(self, message: Message) -> None:
        """Post that work is in progress, unless it is private: then it would stay."""
        if message.public or self._post.ts:
            await self._post.show(message)

    def place(self, message: Message) -> Address | None:
        """The post, if it is public, and the bot can post."""
        return self._post.address if message.public or self._post.ts else None

    async def answer(self, message: Message) -> None:
        """Edit the post, or answer privately."""
        await self._post.answer(message, self._show, self._private.refuse)

    async def _show(self, message: Message) -> None:
        if not ((message.public or self._post.ts) and await self._post.show(message)):
            await self._private.show(message)


class CardButton:
    """A button on a monitor's card: the answer replaces the card."""

    def __init__(self, web: SlackWeb, lists: RowLists, request: Request) -> None:
        self.channel = request.channel
        self._web = web
        self._private = Private(web, lists, request.response_url)
        source = None if request.private else request.source  # only a press can edit a private card
        self._card = Address(request.channel, source.ts, source.thread_ts) if source else None
        self.refuse = self._private.refuse

    async def progress(self, message: Message) -> None:
        """Replace the card."""
        await self._private.show(message, replace=True, progress=True)

    def place(self, _message: Message) -> Address | None:
        """The card, if it is public."""
        return self._card

    async def answer(self, message: Message) -> None:
        """Replace the card."""
        await self._private.show(message, replace=True)

    async def keep(self, message: Message) -> Address | None:
        """Replace the card; a private one stays, and the message is posted in the channel."""
        if self._card is None:
            return await post_beside(self._web, self.channel, message)
        await self.progress(message)
        return self._card


class Mention:
    """A mention or a direct message: the answer is a message next to it, for everyone there."""

    def __init__(self, web: SlackWeb, request: Request) -> None:
        self.channel = request.channel
        self._web = web
        self._thread_ts = request.thread_ts
        self._user = request.asker.user
        self._post = EditablePost(web, request.channel, request.thread_ts)
        self.keep = self._post.keep

    async def progress(self, message: Message) -> None:
        """Post that work is in progress, to be edited later."""
        await self._post.show(message)

    def place(self, _message: Message) -> Address | None:
        """The post."""
        return self._post.address

    async def answer(self, message: Message) -> None:
        """Post the answer, or edit the post; if the bot can't post, tell the asker privately."""
        if message.secret and not self.channel.startswith("D"):
            await self._web.post(self._user, message)
            message = slack_faults.sent_directly()
        await self._post.answer(message, self._show, self.refuse)

    async def _show(self, message: Message) -> None:
        if not await self._post.show(message):
            await self._web.post(self._user, message)

    async def refuse(self, message: Message) -> None:
        """Tell the asker alone."""
        if self.channel.startswith("D"):
            await self._web.post(self.channel, message, self._thread_ts)
        else:
            await self._web.whisper(self.channel, self._user, message, self._thread_ts)
