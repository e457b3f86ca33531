"""Modals and Home. A modal opens before any other request: its trigger expires after 3 s."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from bot.blocks import Block, Message
from bot.cards import add as add_cards
from bot.cards import replies
from bot.commands.home import Home
from bot.commands.router import Command
from bot.errors import SlackRefused, SlackUnreachable
from bot.slack.access import Access
from bot.slack.requests import Origin, Request
from bot.slack.surfaces import Modal, Surface
from bot.slack.web import SlackWeb, view_of, view_of_form
from bot.store.monitors import Records

log = logging.getLogger(__name__)

#: How long a request's last message may take; nobody waits for it.
LAST_SECONDS = 10.0
#: How long a form waits for the names of user groups.
GROUPS_SECONDS = 1.0


class Views:
    """Opens modals, and shows Home."""

    def __init__(self, web: SlackWeb, access: Access, home: Home, records: Records) -> None:
        self._web, self._records = web, records
        self._access = access
        self._home = home

    async def open_form(
        self, surface: Surface, request: Request, command: Command, learnt: Collection[str]
    ) -> None:
        """Open the form of a command, or replace the modal with it."""
        if refusal := self._access.refusal_known(request.asker):
            await surface.refuse(refusal)
            return
        if any(each.name == "whom" for each in command.parameters):
            learnt = {*learnt, *await self._handles()}
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

    async def _handles(self) -> Collection[str]:
        """The handles of the user groups, if Slack returns them soon."""
        try:
            async with asyncio.timeout(GROUPS_SECONDS):
                return await self._web.groups()
        except (SlackRefused, SlackUnreachable, TimeoutError) as error:
            log.info("usergroups.list failed: %r", error)
            return ()

    async def offer_hosts(self, request: Request) -> None:
        """“Check hosts in message”: offer to check, scan and add the hosts in a message."""
        refusal = self._access.refusal_known(request.asker)
        view = view_of(refusal or add_cards.found_hosts(request.hosts), request.channel)

        async def run() -> None:
            modal = Modal(self._web, request, await self._web.open_view(request.trigger_id, view))
            await self._access.admits(modal, request.asker, changes=False)

        await log_failure(run)

    async def on_top(self, surface: Surface, request: Request) -> Surface:
        """Open a modal on top of the one with the pressed button; Slack stacks up to three."""
        try:
            view_id = await self._web.push_view(request.trigger_id, _working(request.channel))
        except (SlackRefused, SlackUnreachable) as error:
            log.info("views.push failed: %s", error)
            return surface
        return Modal(self._web, request, view_id)

    async def over_home(self, request: Request) -> Surface | None:
        """Open a modal for an answer that Home can't show; None if Slack refuses it."""
        try:
            view_id = await self._web.open_view(request.trigger_id, _working())
        except (SlackRefused, SlackUnreachable) as error:
            log.warning("views.open failed: %s", error)
            return None
        return Modal(self._web, request, view_id)

    async def open_home(self, request: Request) -> None:
        """Show Home to whoever opened it, or why they may not see it."""
        # The event says where Home was opened, not whose workspace that is, so Slack is asked.
        if not await self._access.is_member(request.asker.user):
            return
        user = request.asker.user
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
            blocks = await self._home.page(user, number)
            if await self._home.looked_at(user, number) == number:
                await self._web.publish_home(user, blocks, number)

        await log_failure(run)


def _working(channel: str = "") -> Block:
    return view_of(replies.working("Working…"), channel)


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
