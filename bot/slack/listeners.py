"""The Bolt app: receives every request, runs its command, and delivers the answer.

A listener only acknowledges and starts a tracked task. The app runs with `process_before_response`,
so the ack leaves as soon as the listener returns, and a task that fails can't take it back.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltRequest
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from bot.api.client import SSLMonitor
from bot.blocks import Address, Message
from bot.cards import add as add_cards
from bot.cards import replies, slack_faults
from bot.commands.home import Home
from bot.commands.router import Call, Command, Router
from bot.errors import BotError, DatabaseUnavailable, SlackRefused, SlackUnreachable, UsageError
from bot.recheck import Watches
from bot.slack.access import Access
from bot.slack.metrics import Metrics
from bot.slack.people import Identity
from bot.slack.posts import answer_elsewhere
from bot.slack.rendering import view_of, view_of_form
from bot.slack.requests import (
    Body,
    Origin,
    Request,
    read_command,
    read_form,
    read_home,
    read_mention,
    read_press,
    read_shortcut,
)
from bot.slack.rows import Boards
from bot.slack.surfaces import IN_ROW, Modal, Share, Surface, surface_of
from bot.slack.tasks import CANCEL_SECONDS, Tasks, slow_notice
from bot.slack.web import SlackWeb
from bot.store.monitors import AuditLine, Records

log = logging.getLogger(__name__)

DELIVERIES_KEPT = 2000

Bind = Callable[[], tuple[list[Any], dict[str, Any]]]


def make_bolt(
    client: AsyncWebClient, signing_secret: str, identity: Callable[[], Identity]
) -> AsyncApp:
    """The Bolt app. It logs errors only, since at INFO it logs whole bodies with their secrets.

    Told who it is, Bolt doesn't ask auth.test with a client of its own, which ignores NO_PROXY.
    """

    async def authorize() -> AuthorizeResult:
        known = identity()
        return AuthorizeResult(
            enterprise_id=None,
            team_id=known.team_id,
            bot_token=client.token,
            bot_id=known.bot_id,
            bot_user_id=known.user_id,
        )

    quiet = logging.getLogger("bot.bolt")
    quiet.setLevel(logging.ERROR)
    return AsyncApp(
        name="sslmonitor-bot",  # otherwise Bolt reads its callers' source code to find a name
        logger=quiet,
        client=client,
        authorize=authorize,
        signing_secret=signing_secret or None,
        process_before_response=True,
    )


class SlackBot:
    """The listeners, and the one path from a request to its command and back."""

    def __init__(
        self,
        app: AsyncApp,
        web: SlackWeb,
        router: Router,
        api: SSLMonitor,
        *,
        records: Records,
        access: Access,
        watches: Watches,
        home: Home,
        boards: Boards,
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self.app = app
        self.tasks = Tasks()
        self._web = web
        self._router = router
        self._api = api
        self._records = records
        self._access = access
        self._watches = watches
        self._home = home
        self._metrics = metrics
        self._clock = clock
        self._boards, boards.home = boards, home
        self._deliveries: OrderedDict[str, None] = OrderedDict()
        self._learnt: set[str] = set()
        self._presses: set[tuple[object, ...]] = set()
        app.command(re.compile("^/"))(self._on_command)
        app.action(re.compile("^ssl:"))(self._on_press)
        app.action(re.compile(""))(_on_link)
        app.view(re.compile("^ssl:"))(self._on_form)
        app.shortcut("check_hosts")(self._on_shortcut)
        app.event("app_home_opened")(self._on_home)
        app.event("app_mention")(self._on_message)
        app.event("message")(self._on_message)
        app.event(re.compile(""))(_on_link)

    async def warm_up(self) -> None:
        """Let Bolt handle an event now, so that the first asker doesn't wait for its imports."""
        team = self._web.identity.team_id
        body = {"type": "event_callback", "event": {"type": "warm_up"}, "team_id": team}
        await self.app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=body))

    # Listeners

    async def _on_command(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        self._begin(lambda: read_command(body))

    async def _on_press(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        self._begin(lambda: read_press(body))

    async def _on_shortcut(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        self._begin(lambda: read_shortcut(body))

    async def _on_home(self, body: Body) -> None:
        self._begin(lambda: read_home(body))

    async def _on_message(self, body: Body) -> None:
        self._begin(lambda: read_mention(body, self._web.identity.user_id))

    async def _on_form(self, ack: AsyncAck, body: Body) -> None:
        """A form's errors are part of its ack, so nothing here waits for anything else."""
        request = read_form(body)
        command = self._router.find(request.verb, typed=False)
        refusal = self._access.refusal_known(request.asker)
        if refusal or command is None:
            await ack(response_action="update", view=view_of(refusal or replies.outsider()))
            return
        try:
            bound = command.bind_fields(request.fields or {})
        except UsageError as error:
            await ack(response_action="errors", errors={str(error.param): error.message})
            return
        checking = view_of(replies.working("Checking…"), request.channel)
        await ack(response_action="update", view=checking)
        if self._is_new(request):
            surface = surface_of(request, self._web, self._boards)
            self.tasks.start(self._run(surface, request, command, lambda: bound))

    # From a request to a command and back

    def _begin(self, read: Callable[[], Request | None]) -> None:
        self.tasks.start(self._handle(read))

    def _is_new(self, request: Request) -> bool:
        """Whether this request comes for the first time: Slack, or an attacker, repeats some."""
        if request.delivery in self._deliveries:
            return False
        self._deliveries[request.delivery] = None
        if len(self._deliveries) > DELIVERIES_KEPT:
            self._deliveries.popitem(last=False)
        return True

    async def _handle(self, read: Callable[[], Request | None]) -> None:
        request = read()
        if request is None or not self._is_new(request):
            return
        if request.press in self._presses:
            return  # a second press while the first one is being answered counts as the same
        if request.press is not None:
            self._presses.add(request.press)
        try:
            await self._serve(request)
        finally:
            self._presses.discard(request.press or ())

    async def _serve(self, request: Request) -> None:
        if request.origin is Origin.SHORTCUT:
            await self._offer_hosts(request)
        elif request.origin is Origin.HOME and request.verb == "home":
            await self._open_home(request)
        else:
            await self._answer(request)

    async def _answer(self, request: Request) -> None:
        """Run the command of a request, open its form, or say what is wrong with it."""
        verb = request.verb or "menu"
        command = self._router.find(verb, typed=request.typed and verb == request.verb)
        if command and request.typed and (sub := self._router.subcommand(command, request.words)):
            command = sub
            request = replace(request, argument=" ".join(request.words[1:]))
        surface = surface_of(request, self._web, self._boards)
        if command is None or (request.shares and not command.shares):
            await self._tell(surface, request, self._router.unknown(verb, request.words))
        elif request.draft is not None or (request.typed and command.wants_form(request.words)):
            await self._open_form(surface, request, command)
        elif request.origin is Origin.HOME and request.verb not in IN_ROW:
            await _log_failure(lambda: self._answer_home(request, command))
        else:
            surface = await self._on_top(surface, request) if request.stacks else surface
            await self._run(surface, request, command, _binding(command, request))

    async def _run(self, surface: Surface, request: Request, command: Command, bind: Bind) -> None:
        """Run a command and show its answer; whatever happens, the asker gets one."""
        asker, progress = request.asker, [""]
        if request.shares:
            name = await self._access.name_of(asker.user, asker.name)
            surface = Share(self._web, surface, add_cards.shared_note(name))

        async def show(message: Message) -> None:
            progress.append(message.text)
            try:
                await surface.progress(message)
            except (SlackRefused, SlackUnreachable) as error:
                log.warning("Could not show progress: %s", error)

        async def post(message: Message) -> Address:
            if address := await surface.keep(message):
                return address
            return replace(await self._web.post_at(asker.user, message), here=False)

        async def run() -> None:
            can_share = request.private and not request.shares and surface.channel[:1] != "D"
            call = Call(
                api=self._api,
                records=self._records,
                asker=asker.user,
                channel=surface.channel,
                now=self._clock,
                who=functools.partial(self._access.name_of, asker.user, asker.name),
                show=show,
                post=post,
                send_file=functools.partial(self._web.send_file, asker.user),
                learnt=self._learnt,
                is_shared=functools.partial(self._web.is_shared, surface.channel),
                group_named=self._web.group_named,
                spend=functools.partial(self._access.spend, asker.user),
                audit=functools.partial(self._audit, request),
                share=f"{command.words} {request.argument}".strip() if can_share else "",
                watches=self._watches,
            )
            with self._metrics.count(command.name) as counted:
                may = await self._may(surface, request, changes=command.changes)
                if not may or (command.recorded and not await self._take(request)):
                    counted.outcome = "refused"
                    return
                async with slow_notice(request, show, progress):
                    message = await self._router.dispatch(call, command, bind)
                counted.outcome = message.outcome
                await self._deliver(surface, request, message)

        await self._guarded(surface, request, run, progress)

    async def _take(self, request: Request) -> bool:
        """Whether this request for a change comes for the first time, to any process.

        While the database can't be asked, this process's own memory decides (`_is_new`).
        """
        try:
            first = await self._records.take(request.delivery, self._clock())
        except DatabaseUnavailable as fault:
            log.warning("Could not check a request for a replay: %s", fault)
            return True
        if not first:
            log.warning("Refused the replay of a request for a change (%s)", request.verb[:40])
        return first

    async def _may(self, surface: Surface, request: Request, *, changes: bool) -> bool:
        """Whether the asker may do this; if not, they are told why. Every request passes here."""
        refusal = await self._access.refusal(request.asker, changes=changes)
        if refusal is not None:
            await surface.refuse(refusal)
        return refusal is None

    async def _tell(self, surface: Surface, request: Request, message: Message) -> None:
        """Answer without running a command."""

        async def run() -> None:
            if await self._may(surface, request, changes=False):
                await self._deliver(surface, request, message)

        await self._guarded(surface, request, run)

    async def _audit(self, request: Request, command: str, target: str, result: str) -> bool:
        """Write the audit entry of a change; the log gets it if the database can't be written."""
        asker = request.asker
        name = await self._access.name_of(asker.user, asker.name)
        line = AuditLine(self._clock(), asker.user, name, command, target, result)
        try:
            await self._records.log(line)
        except BotError as fault:
            log.error("Could not write the audit entry (%s): %s", fault, line)  # noqa: TRY400 - the entry is what counts
            return False
        return True

    async def _guarded(
        self,
        surface: Surface,
        request: Request,
        run: Callable[[], Awaitable[object]],
        progress: Sequence[str] = ("",),
    ) -> None:
        """Catch everything, here alone: the log gets a reference, the asker a card with it.

        The last text of `progress` is what the asker was told to wait for.
        """
        try:
            await run()
        except asyncio.CancelledError:
            await _log_failure(lambda: surface.answer(replies.restarting(progress[-1])))
        except (SlackRefused, SlackUnreachable) as error:
            log.warning("Slack failed during a command: %s", error)
            await self._deliver(surface, request, slack_faults.failure(error))
        except Exception:
            reference = uuid.uuid4().hex[:12]
            log.exception("A command failed, reference %s", reference)
            await self._deliver(surface, request, replies.broken(reference))

    async def _deliver(self, surface: Surface, request: Request, message: Message) -> None:
        """Show an answer in its place, or bring it to its asker in another way."""
        try:
            await surface.answer(message)
        except (SlackRefused, SlackUnreachable) as error:
            log.info("Could not answer in place: %s", error)
            await answer_elsewhere(self._web, request, message)

    # Modals and Home. A trigger lives 3 s, so each opens before anything else is asked.

    async def _open_form(self, surface: Surface, request: Request, command: Command) -> None:
        """Open a form, or replace the modal with it; nothing else than a press can open one."""
        if not request.trigger_id:
            await self._tell(surface, request, replies.needs_form(command.words))
            return
        if refusal := self._access.refusal_known(request.asker):
            await self._guarded(surface, request, lambda: surface.refuse(refusal))
            return

        async def run() -> None:
            form = view_of_form(command.filled(request.draft or {}, self._learnt), surface.channel)
            if request.origin is Origin.MODAL and request.view:
                await self._web.replace_view(request.view.id, form)
                return
            try:
                view_id = await self._web.open_view(request.trigger_id, form)
            except SlackRefused as error:
                if not error.too_slow:
                    raise
                await surface.refuse(replies.press_again(command.words))
                return
            modal = Modal(self._web, request, view_id)
            await self._may(modal, request, changes=command.changes)

        await self._guarded(surface, request, run)

    async def _offer_hosts(self, request: Request) -> None:
        """“Check hosts in message”: offer to check, scan and add what the message names."""
        refusal = self._access.refusal_known(request.asker)
        message = refusal or add_cards.found_hosts(request.hosts)

        async def run() -> None:
            view = view_of(message, request.channel)
            modal = Modal(self._web, request, await self._web.open_view(request.trigger_id, view))
            await self._may(modal, request, changes=False)

        await _log_failure(run)

    async def _on_top(self, surface: Surface, request: Request) -> Surface:
        """A new modal on top, for a button of a modal that stays; Slack stacks three."""
        working = view_of(replies.working("Working…"), request.channel)
        try:
            view_id = await self._web.push_view(request.trigger_id, working)
        except (SlackRefused, SlackUnreachable) as error:
            log.info("views.push failed: %s", error)
            return surface
        return Modal(self._web, request, view_id)

    async def _answer_home(self, request: Request, command: Command) -> None:
        """Home has no place for an answer, so a modal opens for it; then Home is refreshed."""
        working = view_of(replies.working("Working…"))
        view_id = await self._web.open_view(request.trigger_id, working)
        modal = Modal(self._web, request, view_id)
        await self._run(modal, request, command, _binding(command, request))
        await self._publish_home(request, request.view.page if request.view else 0)

    async def _open_home(self, request: Request) -> None:
        # The event says where Home was opened, not whose workspace that is, so Slack is asked.
        if not await self._access.is_member(request.asker.user):
            return
        user = request.asker.user
        if refusal := await self._access.refusal(request.asker, changes=False):
            await _log_failure(lambda: self._web.publish_home(user, refusal.blocks))
        else:
            page = int(request.argument) if request.argument.isdecimal() else 0
            await self._publish_home(request, page)

    async def _publish_home(self, request: Request, number: int) -> None:
        async def run() -> None:
            page = await self._home.page(request.asker.user, number)
            await self._web.publish_home(request.asker.user, page.blocks, page.number)

        await _log_failure(run)


def _binding(command: Command, request: Request) -> Bind:
    if request.typed:
        return functools.partial(command.bind_words, request.words)
    return functools.partial(command.bind_argument, request.argument)


async def _on_link(ack: AsyncAck) -> None:
    """Acknowledge what needs no answer, such as a button that only opens a link."""
    await ack()


async def _log_failure(run: Callable[[], Awaitable[None]]) -> None:
    """Do a last thing that may fail too; then the log says so."""
    try:
        async with asyncio.timeout(CANCEL_SECONDS * 5):
            await run()
    except (SlackRefused, SlackUnreachable, TimeoutError) as error:
        log.warning("Could not send a message to Slack: %s", error)
