"""Modals and Home. A modal opens before any other request: its trigger expires after 3 s."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from bot.blocks import MAX_BLOCKS, Address, Block, Message, bare, section
from bot.cards import add as add_cards
from bot.cards import replies, slack_faults
from bot.cards.subscriptions import NOT_IN_CHANNEL
from bot.commands.home import Home
from bot.commands.router import Command
from bot.errors import OtherAPI, SlackLimited, SlackRefused, SlackUnreachable, UsageError
from bot.slack.access import Access
from bot.slack.requests import Asker, Origin, Request
from bot.slack.surfaces import EDIT_PATIENCE, EditablePost, Surface
from bot.slack.web import SlackWeb, view_of, view_of_form
from bot.store.monitors import Records
from bot.store.placeholders import HOME, Placeholder

log = logging.getLogger(__name__)

#: How long a request's last message may take; nobody waits for it.
LAST_SECONDS = 10.0
#: How long a form waits for the names of user groups.
GROUPS_SECONDS = 1.0


class Modal:
    """An open modal, from a form or from Home; if it was closed, a direct message."""

    def __init__(self, web: SlackWeb, request: Request, view_id: str) -> None:
        self.channel = request.channel
        self._web = web
        self._view_id = view_id
        self._user = request.asker.user

    async def progress(self, message: Message) -> None:
        """Show progress in the modal, if it is still open."""
        await self._update(message)

    async def answer(self, message: Message) -> None:
        """Show the answer in the modal, or send it as a direct message."""
        if not await self._update(message):
            await self._send(message)

    async def refuse(self, message: Message) -> None:
        """Show the refusal in the modal, or as a direct message if the modal was closed."""
        if not await self._update(message):
            await log_failure(lambda: self._send(message))

    async def _send(self, message: Message) -> None:
        await self._web.post(self._user, message)

    async def keep(self, _message: Message) -> Address | None:
        """Not in a modal, which may be closed at any time."""
        return None

    def place(self, _message: Message) -> Address | None:
        """The modal."""
        return Address("", self._view_id)

    async def _update(self, message: Message) -> bool:
        """Show a message in the modal; False if it was closed, or Slack refuses the message."""
        try:
            await self._web.update_view(self._view_id, message, self.channel)
        except SlackRefused as error:
            log.info("views.update failed: %s", error)
            return False
        return True


class Share:
    """A private answer that its asker shares: posted in the channel, with their name."""

    def __init__(self, web: SlackWeb, private: Surface, note: Block) -> None:
        self.channel = private.channel
        self._web = web
        self._private = private
        self._note = note
        self.refuse = private.refuse

    async def progress(self, _message: Message) -> None:
        """Not for a shared answer, which follows at once."""

    async def answer(self, message: Message) -> None:
        """Post the card in the channel, or tell the asker that the bot can't post there."""
        blocks = (*message.blocks[: MAX_BLOCKS - 1], self._note)
        post = EditablePost(self._web, self.channel)
        if not await post.show(replace(message, blocks=blocks)) and post.refusal:
            await self._private.refuse(slack_faults.not_shared(post.refusal))

    async def keep(self, _message: Message) -> Address | None:
        """Not for a shared answer, which is never edited."""
        return None

    def place(self, _message: Message) -> Address | None:
        """Nowhere."""
        return None


class Views:
    """Opens modals, and shows Home."""

    def __init__(self, web: SlackWeb, access: Access, home: Home, records: Records) -> None:
        self._web, self._records = web, records
        self._access = access
        self._home = home

    def instead_of_form(self, command: Command, request: Request) -> Message:
        """The answer if a form can't open: a button that opens it, or where to type the command."""
        if _is_elsewhere(command, request):
            return replies.usage_error(UsageError(NOT_IN_CHANNEL), command.example)
        return replies.needs_form(command.words)

    async def open_form(
        self, surface: Surface, request: Request, command: Command, learnt: Collection[str]
    ) -> None:
        """Open the form of a command, or replace the modal with it."""
        if refusal := self._access.refusal_known(request.asker):
            await surface.refuse(refusal)
            return
        if _is_elsewhere(command, request):
            await surface.refuse(self.instead_of_form(command, request))
            return
        by_id = any(each.usage == "ID…" for each in command.parameters)
        if by_id and self._records.has_other_ids(request.posted):
            await surface.refuse(replies.failure(OtherAPI()))
            return
        if any(each.name == "whom" for each in command.parameters):
            learnt = {*learnt, *await self._handles(request.asker)}
        known = {}
        if command.name == "digest_here":
            known = self._records.subscriptions.fields_of_digest(surface.channel)
        form = command.filled({**known, **(request.draft or {})}, learnt)
        view = view_of_form(form, surface.channel)
        if request.origin is Origin.MODAL and request.view:
            await self._web.replace_view(request.view.id, view)
            return
        try:
            view_id = await self._web.open_view(request.trigger_id, view)
        except SlackRefused as error:
            if not error.too_slow:
                raise
            await surface.refuse(replies.press_again(command.words))
            return
        modal = Modal(self._web, request, view_id)
        await self._access.admits(modal, request.asker, changes=command.changes)

    async def _handles(self, asker: Asker) -> Collection[str]:
        """The handles of the user groups, for those who may change things, if they arrive soon."""
        try:
            async with asyncio.timeout(GROUPS_SECONDS):
                refused = await self._access.refusal(asker, changes=True)
                return () if refused else await self._web.groups()
        except (SlackRefused, SlackUnreachable, TimeoutError) as error:
            log.info("usergroups.list failed: %r", error)
            return ()

    async def offer_hosts(self, request: Request) -> None:
        """“Check hosts in message”: offer to check, scan and add the hosts in a message."""
        refusal = self._access.refusal_known(request.asker)
        view = view_of(refusal or add_cards.found_hosts(request.hosts), request.channel)

        try:
            modal = Modal(self._web, request, await self._web.open_view(request.trigger_id, view))
        except (SlackRefused, SlackUnreachable) as error:
            log.info("views.open failed: %s", error)
            refusal = await self._access.refusal(request.asker, changes=False)
            card = refusal or add_cards.found_hosts(request.hosts)
            await answer_elsewhere(self._web, request, card)
        else:
            await log_failure(lambda: self._admitted(modal, request))

    async def _admitted(self, modal: Modal, request: Request) -> None:
        await self._access.admits(modal, request.asker, changes=False)

    async def on_top(self, surface: Surface, request: Request) -> Surface:
        """Open a modal on top of the one with the pressed button; Slack stacks up to three."""
        try:
            view_id = await self._web.push_view(request.trigger_id, _working(request.channel))
        except (SlackRefused, SlackUnreachable) as error:
            log.info("views.push failed: %s", error)
            return surface
        return Modal(self._web, request, view_id)

    async def over_home(self, request: Request) -> Surface | None:
        """Open a modal for an answer that Home can't show; None if that fails, as is told."""
        try:
            view_id = await self._web.open_view(request.trigger_id, _working())
        except (SlackRefused, SlackUnreachable) as error:
            log.warning("views.open failed: %s", error)
            await answer_elsewhere(self._web, request, slack_faults.failure(error))
            return None
        return Modal(self._web, request, view_id)

    async def open_home(self, request: Request) -> None:
        """Show Home to whoever opened it, or why they may not see it."""
        # The event says where Home was opened, not whose workspace that is, so Slack is asked.
        user = request.asker.user
        if not await self._access.is_member(user):
            if not self._access.knows(user):
                await log_failure(
                    lambda: self._web.publish_home(user, replies.unconfirmed().blocks)
                )
            return
        if refusal := await self._access.refusal(request.asker, changes=False):
            await log_failure(lambda: self._web.publish_home(user, refusal.blocks))
        else:
            page = int(request.argument) if request.argument.isdecimal() else 0
            await self._home.turn(user, page)
            await self.publish_home(request, page)

    async def publish_home(self, request: Request, otherwise: int) -> None:
        """Show Home again, on the page that its reader last turned to."""
        user = request.asker.user

        async def run() -> None:
            number = await self._home.looked_at(user, otherwise)
            blocks, _ = await self._home.page(user, number)
            if await self._home.looked_at(user, number) == number:
                await self._web.publish_home(user, blocks, number)

        await log_failure(run)

    async def tidy(self) -> None:
        """Edit the messages in progress that a process has left behind."""
        for each in await self._records.placeholders.left():
            try:
                await self._show_interrupted(each)
            except (SlackLimited, SlackUnreachable) as fault:
                log.warning("Could not edit “%s”; retrying: %s", each.doing, fault)
                continue
            except SlackRefused as fault:
                log.info("Could not edit “%s”: %s", each.doing, fault)
            await self._records.placeholders.forget(each)

    async def _show_interrupted(self, each: Placeholder) -> None:
        """Say that there will be no answer, unless one may be there already."""
        card, place = slack_faults.interrupted(each.doing, changes=each.changes), each.address
        if place and place.channel:
            try:
                ts = await self._web.find_block(place, each.id, each.since)
            except SlackRefused as fault:
                if isinstance(fault, SlackLimited):
                    raise
                log.info("conversations.history failed in %s: %s", place.channel, fault)
                ts = "" if each.answering else place.ts
            if ts:
                await self._web.update(place.channel, ts, card, EDIT_PATIENCE)
            return
        asked = Request(Origin.MODAL, Asker(each.user, ""), each.id, channel=each.channel)
        if place and place.ts == HOME:
            await self.publish_home(asked, 0)
        if each.answering:
            log.warning("Could not look whether “%s” was answered", each.doing)
        elif place and place.ts != HOME:
            await Modal(self._web, asked, place.ts).answer(card)
        else:
            await answer_elsewhere(self._web, asked, card)


def ack_of(error: UsageError, request: Request, command: Command) -> Mapping[str, Any]:
    """The reply to a faulty form: an error at the field, or a card if the form lacks that field."""
    if error.param in (request.fields or {}):
        return {"response_action": "errors", "errors": {error.param: error.message}}
    told = view_of(replies.usage_error(error, command.example), request.channel)
    return {"response_action": "update", "view": told}


def _is_elsewhere(command: Command, request: Request) -> bool:
    return command.name == "digest_here" and request.channel[:1] in {"", "D"}


def _working(channel: str = "") -> Block:
    return view_of(replies.working(), channel)


async def announce(web: SlackWeb, channel: str, message: Message) -> None:
    """Announce a change in the channel, in one line; in a direct message the answer is enough.

    A limit of up to a minute is waited out. A line that Slack may have is looked up before it is
    repeated.
    """
    channel = message.announce_in or channel
    if not channel or channel.startswith("D"):
        return
    line = Message(bare(message.announce), (section(message.announce),), public=True)
    post = EditablePost(web, channel)

    async def show(line: Message) -> None:
        await post.show(line)

    async def wait(_: Message) -> None:  # the asker has the answer already
        log.warning("Rate-limited by Slack; an announcement in %s is delayed or dropped", channel)

    try:
        await post.answer(line, show, wait)
    except asyncio.CancelledError:
        if post.ts is None:
            said = "Could not announce a change in %s before the bot ended, or confirm that: %s"
            log.warning(said, channel, line.text)
        raise
    except (SlackRefused, SlackUnreachable) as error:
        # The change is made, and its asker knows; a missing line must not deny that.
        log.warning("Could not announce a change in %s: %s", channel, error)


async def log_failure(run: Callable[[], Awaitable[None]]) -> None:
    """Send a last message; if that fails too, log it."""
    try:
        async with asyncio.timeout(LAST_SECONDS):
            await run()
    except (SlackRefused, SlackUnreachable, TimeoutError) as error:
        log.warning("Could not send a message to Slack: %s", error)


async def answer_elsewhere(web: SlackWeb, request: Request, message: Message) -> None:
    """Bring an answer to its asker in any way that is left, after its own place has failed.

    The ways are the response URL, an ephemeral message, and a direct message. If all fail, that is
    logged.
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
