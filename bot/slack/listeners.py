"""The Bolt app: receives every request, runs its command, and delivers the answer.

A listener only acknowledges and starts a tracked task. The app runs with `process_before_response`,
so the ack leaves as soon as the listener returns, and a task that fails can't take it back.
"""

import asyncio
import functools
import logging
import re
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import datetime
from typing import Any

from aiohttp import web
from prometheus_client import Histogram
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltRequest
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.response import BoltResponse

from bot.api.client import SSLMonitor
from bot.blocks import Address, Message
from bot.cards import add as add_cards
from bot.cards import replies, slack_faults
from bot.commands.home import Home
from bot.commands.router import Call, Command, Router
from bot.errors import BotError, DatabaseUnavailable, SlackRefused, SlackUnreachable, UsageError
from bot.recheck import Watches
from bot.slack import requests
from bot.slack.access import Access
from bot.slack.metrics import Metrics
from bot.slack.requests import Body, Origin, Request
from bot.slack.row_buttons import IN_ROW, HomeRow, RowButton, with_ids
from bot.slack.rows import Boards
from bot.slack.surfaces import CardButton, Mention, Progress, SlashCommand, Surface
from bot.slack.views import Modal, Share, Views, ack_of, announce, answer_elsewhere, log_failure
from bot.slack.web import SlackWeb, view_of
from bot.store.monitors import AuditLine, Records

log = logging.getLogger(__name__)

DELIVERIES_KEPT = 2000
#: How many seconds cancelled work has at shutdown to tell its askers.
CANCEL_SECONDS = 2.0

Bind = Callable[[Request], tuple[list[Any], dict[str, Any]]]
Answer = Callable[[Message], Awaitable[None]]


class BoltApp(AsyncApp):
    """Bolt's app, which also measures its acks; both transports pass their requests to it.

    It only logs errors, since at INFO it logs whole bodies with their secrets.
    """

    def __init__(self, web: SlackWeb, signing_secret: str, acks: Histogram) -> None:
        quiet = logging.getLogger("bot.bolt")
        quiet.setLevel(logging.ERROR)
        super().__init__(
            name="sslmonitor-bot",  # otherwise Bolt reads its callers' source code for a name
            logger=quiet,
            client=web.client,
            authorize=_authorizing(web),
            signing_secret=signing_secret or None,
            process_before_response=True,
        )
        self._acks = acks

    async def on_request(self, request: web.Request) -> web.Response:
        """Handle an HTTP request; 400 for a body that can't be Slack's, which Bolt reads first."""
        try:
            asked = await to_bolt_request(request)
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
            raise web.HTTPBadRequest from None
        return await to_aiohttp_response(await self.async_dispatch(asked))

    async def async_dispatch(self, req: AsyncBoltRequest) -> BoltResponse:
        """Handle a request, unless its signature would make the SDK raise."""
        time = req.headers.get("x-slack-request-timestamp", ["0"])[0]
        signature = req.headers.get("x-slack-signature", [""])[0]
        if not re.fullmatch(r"[0-9]{1,12}", time, re.ASCII) or not signature.isascii():
            return BoltResponse(status=401)
        with self._acks.time():
            return await super().async_dispatch(req)


def _authorizing(web: SlackWeb) -> Callable[[], Awaitable[AuthorizeResult]]:
    """Authorizes requests for Bolt, whose own client would ignore NO_PROXY."""

    async def authorize() -> AuthorizeResult:
        known = web.identity
        return AuthorizeResult(
            enterprise_id=None,
            team_id=known.team_id,
            bot_token=web.client.token,
            bot_id=known.bot_id,
            bot_user_id=known.user_id,
        )

    return authorize


class Tasks:
    """Work that runs after an ack or on a schedule; its errors are logged, never raised."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work in a task, which is kept until it is done."""
        task = asyncio.create_task(self._guarded(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run work for a scheduler, and wait until it ends or fails."""
        await asyncio.wait({self.start(work())})

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BotError as fault:
            log.warning("Background work failed: %s", fault)
        except Exception:
            log.exception("Background work failed")

    async def drain(self, seconds: float) -> None:
        """Wait for the work, then cancel the rest: it tells its askers, or logs what it can't."""
        for patience in (seconds, CANCEL_SECONDS, CANCEL_SECONDS / 2):
            if self._running:
                await asyncio.wait(self._running, timeout=patience)
            for task in self._running:
                task.cancel()


class SlackBot:
    """The listeners, and the one path from a request to its command and back."""

    def __init__(
        self,
        app: BoltApp,
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
        self.views = Views(web, access, home, records)
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
        """Let Bolt handle an event now, so that the first asker needn't wait for its imports."""
        team = self._web.identity.team_id
        body = {"type": "event_callback", "event": {"type": "warm_up"}, "team_id": team}
        request = AsyncBoltRequest(mode="socket_mode", body=body)
        await AsyncApp.async_dispatch(self.app, request)  # not an ack to be measured

    # Listeners

    async def _on_command(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        self._begin(lambda: requests.read_command(body))

    async def _on_press(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        self._begin(lambda: requests.read_press(body))

    async def _on_shortcut(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        self._begin(lambda: requests.read_shortcut(body))

    async def _on_home(self, body: Body) -> None:
        self._begin(lambda: requests.read_home(body))

    async def _on_message(self, body: Body) -> None:
        self._begin(lambda: requests.read_mention(body, self._web.identity.user_id))

    async def _on_form(self, ack: AsyncAck, body: Body) -> None:
        """A form's errors are part of its ack, so nothing here waits for anything else."""
        request = requests.read_form(body)
        command = self._router.find(request.verb, typed=False)
        refusal = self._access.refusal_known(request.asker)
        if refusal or command is None:  # the form may be an older version's
            refusal = refusal or self._router.unknown(request.verb)
            await ack(response_action="update", view=view_of(refusal))
            return
        try:
            bound = command.bind_fields(request.fields or {})
        except UsageError as error:
            await ack(**ack_of(error, request, command))
            return
        await ack(response_action="update", view=view_of(replies.working("check"), request.channel))
        if self._is_new(request):
            surface = self._surface(request)
            self.tasks.start(self._run(surface, request, command, lambda _: bound))

    # From a request to a command and back

    def _begin(self, read: Callable[[], Request | None]) -> None:
        self.tasks.start(self._handle(read))

    def _is_new(self, request: Request) -> bool:
        """Whether the request is new to this process; Slack, or an attacker, may repeat it."""
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
            return  # a second press before the first one is answered counts as the same
        if request.press is not None:
            self._presses.add(request.press)
        try:
            await self._serve(request)
        finally:
            self._presses.discard(request.press or ())

    async def _serve(self, request: Request) -> None:
        if request.origin is Origin.SHORTCUT:
            await self.views.offer_hosts(request)
        elif request.origin is Origin.HOME and request.verb == "home":
            await self.views.open_home(request)
        else:
            await self._answer(request)

    async def _answer(self, request: Request) -> None:
        """Run the command of a request, open its form, or say what is wrong with it."""
        request = request if request.typed else with_ids(request, self._boards.lists)
        verb = request.verb or "menu"
        command = self._router.find(verb, typed=request.typed and verb == request.verb)
        if command and request.typed and (sub := self._router.subcommand(command, request.words)):
            command = sub
            request = replace(request, argument=" ".join(request.words[1:]))
        surface = self._surface(request)
        is_old = bool(request.view) and self._records.has_other_ids(request.posted)
        if command is None or (request.shares and not command.shares):
            await self._tell(surface, request, self._router.unknown(verb, request.words))
        elif request.draft is not None or (request.typed and command.wants_form(request.words)):
            await self._open_form(surface, request, command)
        elif request.origin is Origin.HOME and (request.verb not in IN_ROW or is_old):
            await self._answer_home(request, command)
        else:
            surface = await self.views.on_top(surface, request) if request.stacks else surface
            await self._run(surface, request, command, _binding(command))

    def _surface(self, request: Request) -> Surface:
        """Where the answer to a request goes; from Home, to a modal that is opened first."""
        match request.origin:
            case Origin.SLASH_COMMAND:
                return SlashCommand(self._web, self._boards.lists, request)
            case Origin.MENTION:
                return Mention(self._web, request)
            case Origin.CARD_BUTTON:
                return CardButton(self._web, self._boards.lists, request)
            case Origin.ROW_BUTTON:
                return RowButton(self._web, self._boards, request)
            case Origin.HOME if request.verb in IN_ROW:
                return HomeRow(self._web, self._boards, request)
            case _:
                return Modal(self._web, request, request.view.id if request.view else "")

    async def _open_form(self, surface: Surface, request: Request, command: Command) -> None:
        """Open a form; Slack permits that only after a press or a slash command."""
        if request.trigger_id:
            async with self._guarded(surface, request):
                await self.views.open_form(surface, request, command, self._learnt)
        else:
            await self._tell(surface, request, self.views.instead_of_form(command, request))

    async def _answer_home(self, request: Request, command: Command) -> None:
        """Home has no place for an answer, so a modal opens for it; then Home is updated."""
        if modal := await self.views.over_home(request):
            await self._run(modal, request, command, _binding(command))
            self._presses.discard(request.press or ())
            if await self._access.refusal(request.asker, changes=False) is None:
                await self.views.publish_home(request, request.view.page if request.view else 0)

    async def _run(self, surface: Surface, request: Request, command: Command, bind: Bind) -> None:
        """Run a command and show its answer; whatever happens, the asker gets one."""
        if request.shares:
            name = await self._access.name_of(request.asker.user, request.asker.name)
            surface = Share(self._web, surface, add_cards.shared_note(name))
        recorded, kept, now = command.recorded, self._records.placeholders, self._clock()
        tell = functools.partial(announce, self._web, surface.channel)
        progress = Progress(surface, request, kept, tell, since=now, changes=recorded)
        outcome = "broken"
        with closing(progress):
            async with self._guarded(surface, request, progress):
                try:
                    outcome = await self._dispatch(surface, request, command, bind, progress)
                finally:
                    self._metrics.commands.labels(command.name, outcome).inc()

    async def _dispatch(
        self, surface: Surface, request: Request, command: Command, bind: Bind, progress: Progress
    ) -> str:
        """Run a command if its asker may, and deliver its answer; returns its outcome."""
        may = await self._access.admits(surface, request.asker, changes=command.changes)
        if not may or (command.recorded and not await self._take(request)):
            return "refused"
        if command.name in {"note", "mute"}:
            said = await self._access.with_names(request.argument)
            request = replace(request, argument=said)
        call = self._call(surface, request, command, progress)
        bound = functools.partial(bind, request)
        async with progress.of_slow_work():
            message = progress.answer = await self._router.dispatch(call, command, bound)
        if isinstance(surface, RowButton):  # its row may show this before Slack has the reply
            self._presses.discard(request.press or ())
        await self._deliver(progress.deliver, request, message)
        return message.outcome

    def _call(
        self, surface: Surface, request: Request, command: Command, progress: Progress
    ) -> Call:
        asker = request.asker
        can_share = request.private and not request.shares and surface.channel[:1] != "D"
        return Call(
            api=self._api,
            records=self._records,
            asker=asker.user,
            channel=surface.channel,
            now=self._clock,
            who=functools.partial(self._access.name_of, asker.user, asker.name),
            show=progress.show,
            post=functools.partial(self._post, surface, asker.user),
            send_file=functools.partial(self._web.send_file, asker.user),
            learnt=self._learnt,
            is_shared=functools.partial(self._web.is_shared, surface.channel),
            id_to_mention=self._web.id_to_mention,
            channel_named=self._web.channel_named,
            spend=functools.partial(self._access.spend, asker.user),
            audit=functools.partial(self._audit, request),
            share=f"{command.words} {request.argument}".strip() if can_share else "",
            watches=self._watches,
            posted=request.posted,
        )

    async def _post(self, surface: Surface, user: str, message: Message) -> Address:
        """Post a message that can be edited later: in place, nearby, or as a direct message."""
        if address := await surface.keep(message):
            return address
        return replace(await self._web.post_at(user, message), here=False)

    async def _take(self, request: Request) -> bool:
        """Whether this request for a change is new to all processes.

        While the database is unavailable, this process's own memory decides (`_is_new`).
        """
        try:
            first = await self._records.take(request.delivery, self._clock())
        except DatabaseUnavailable as fault:
            log.warning("Could not check whether a request is a replay: %s", fault)
            return True
        if not first:
            log.warning("Refused a replayed request for a change (%s)", request.verb[:40])
        return first

    async def _tell(self, surface: Surface, request: Request, message: Message) -> None:
        async with self._guarded(surface, request):
            if await self._access.admits(surface, request.asker, changes=False):
                await self._deliver(surface.answer, request, message)

    async def _audit(self, request: Request, command: str, target: str, result: str) -> bool:
        """Write the audit entry of a change; returns whether that worked."""
        asker = request.asker
        name = await self._access.name_of(asker.user, asker.name)
        return await self._records.log(
            AuditLine(self._clock(), asker.user, name, command, target, result)
        )

    @asynccontextmanager
    async def _guarded(
        self, surface: Surface, request: Request, progress: Progress | None = None
    ) -> AsyncIterator[None]:
        """Catch all errors: the log gets a reference, and the asker a card with it."""
        answer = progress.deliver if progress else surface.answer
        try:
            yield
        except asyncio.CancelledError:
            last = progress.last_words() if progress else slack_faults.restarting()
            await log_failure(lambda: answer(last))
        except (SlackRefused, SlackUnreachable) as error:
            log.warning("Slack failed during a command: %s", error)
            await self._deliver(answer, request, slack_faults.failure(error))
        except Exception:
            reference = uuid.uuid4().hex[:12]
            log.exception("A command failed, reference %s", reference)
            await self._deliver(answer, request, replies.broken(reference))

    async def _deliver(self, answer: Answer, request: Request, message: Message) -> None:
        """Show an answer in its place, or bring it to its asker in another way."""
        try:
            await answer(message)
        except (SlackRefused, SlackUnreachable) as error:
            log.info("Could not answer in place: %s", error)
            await answer_elsewhere(self._web, request, message)


def _binding(command: Command) -> Bind:
    return lambda request: (
        command.bind_words(request.words)
        if request.typed
        else command.bind_argument(request.argument)
    )


async def _on_link(ack: AsyncAck) -> None:
    """Acknowledge what needs no answer, such as a button that only opens a link."""
    await ack()
