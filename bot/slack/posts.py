"""Messages of the bot's: posted once, then edited; and the ways that are left if that fails."""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Awaitable, Callable

from bot.blocks import Address, Message, bare, section
from bot.errors import SlackLimited, SlackRefused, SlackUnreachable
from bot.slack.requests import Request
from bot.slack.web import SlackWeb

log = logging.getLogger(__name__)


class EditablePost:
    """A message of the bot's in a channel or thread: posted once, then edited."""

    def __init__(self, web: SlackWeb, channel: str, thread_ts: str | None = None) -> None:
        self._web = web
        self._channel = channel
        self._thread_ts = thread_ts
        self._ts: str | None = None
        self._may_post = bool(channel)
        self._mark = {"event_type": "ssl_card", "event_payload": {"id": uuid.uuid4().hex}}

    async def show(self, message: Message) -> bool:
        """Post the message, or edit the one that was posted; False where the bot can't post."""
        if self._ts is not None:
            try:
                await self._web.update(self._channel, self._ts, message)
            except SlackLimited:
                raise
            except SlackRefused as error:
                log.info("chat.update failed in %s: %s", self._channel, error)
                self._ts = None
            else:
                return True
        if self._may_post:
            try:
                self._ts = await self._posted(dataclasses.replace(message, metadata=self._mark))
            except SlackLimited:
                raise
            except SlackRefused as error:
                log.info("chat.postMessage failed in %s: %s", self._channel, error)
                self._may_post = False
        return self._may_post

    async def _posted(self, message: Message) -> str:
        """Post it; a post whose answer was lost is looked up. Returns its ts."""
        try:
            return await self._web.post(self._channel, message, self._thread_ts)
        except SlackUnreachable:
            try:
                posts = await self._web.find_posts(self._channel, message, None, self._thread_ts)
            except (SlackRefused, SlackUnreachable) as error:
                log.info("conversations.history failed in %s: %s", self._channel, error)
                posts = []
            if not posts:
                raise
            return posts[0]

    async def keep(self, message: Message) -> Address | None:
        """Post or edit it; returns where it stands."""
        if not await self.show(message) or self._ts is None:
            return None
        return Address(self._channel, self._ts, self._thread_ts)

    @property
    def exists(self) -> bool:
        """Whether something was posted."""
        return self._ts is not None

    @property
    def ts(self) -> str | None:
        """Where it stands, once it was posted."""
        return self._ts

    def continue_at(self, ts: str) -> None:
        """Edit an earlier post of the bot's instead of posting again."""
        self._ts = ts


async def post_beside(web: SlackWeb, channel: str, message: Message) -> Address | None:
    """Post it in the channel, away from the place of the answer."""
    address = await EditablePost(web, channel).keep(message)
    return dataclasses.replace(address, here=False) if address else None


async def announce(web: SlackWeb, channel: str, message: Message) -> None:
    """Announce a change in the channel in one line; in a direct message the answer is enough."""
    if not message.announce or not channel or channel.startswith("D"):
        return
    try:
        await web.post(channel, Message(bare(message.announce), (section(message.announce),)))
    except (SlackRefused, SlackUnreachable) as error:
        # The change is made and its asker knows; a missing line must not say otherwise.
        log.warning("Could not announce a change in %s: %s", channel, error)


async def answer_elsewhere(web: SlackWeb, request: Request, message: Message) -> None:
    """Bring an answer to its asker by whatever way is left, after its own place has failed.

    The ways are the response URL, an ephemeral message, and a direct message. If all of them fail,
    the log says so.
    """
    user, channel = request.asker.user, request.channel
    ways: list[Callable[[], Awaitable[object]]] = []
    if request.response_url:
        ways.append(lambda: web.respond(request.response_url, message))
    if channel and not channel.startswith("D"):
        ways.append(lambda: web.whisper(channel, user, message, request.thread_ts))
    ways.append(lambda: web.post(user, message))
    for way in ways:
        try:
            await way()
        except (SlackRefused, SlackUnreachable) as error:
            log.info("Could not answer %s: %s; trying another way", user, error)
        else:
            return
    log.error("Could not answer %s in any way: %s", user, message.text)
