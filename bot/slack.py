"""The Bolt app: who is asking, what was asked, and where the answer goes.

A listener only checks the asker, reads the payload, calls `ack()` and starts a tracked task. The
app runs with `process_before_response`, so the ack leaves as soon as the listener returns, and a
task that fails can't take it back.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import re
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltRequest

from bot import cards, replies
from bot.blocks import Message, bare
from bot.client import SSLMonitor
from bot.errors import BotError, SlackRefused, SlackUnreachable, UsageError
from bot.router import Call, Command, Router
from bot.slack_web import SlackWeb, view_of, view_of_form
from bot.surfaces import Below, Here, Lists, Modal, Surface, Typed
from bot.words import clean, split

log = logging.getLogger(__name__)

REMEMBERED_REQUESTS = 2000
FAREWELL_SECONDS = 2.0
Body = Mapping[str, Any]
Bind = Callable[[], tuple[list[Any], dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who sent a request, as its payload says; names in it are not to be trusted."""

    user: str
    team: str
    name: str


def asker_of(body: Body) -> Asker:
    """The asker of any payload. An event names the team of its author, which may not be ours."""
    user, event = body.get("user"), body.get("event")
    if isinstance(user, Mapping):  # block_actions, view_submission
        name = user.get("username") or user.get("name") or ""
        return Asker(str(user.get("id", "")), str(user.get("team_id", "")), str(name))
    if isinstance(event, Mapping):
        team = event.get("user_team") or event.get("team") or body.get("team_id")
        return Asker(str(event.get("user", "")), str(team or ""), "")
    name = str(body.get("user_name", ""))
    return Asker(str(body.get("user_id", "")), str(body.get("team_id", "")), name)


class Tasks:
    """The work that goes on after an ack, or by the clock; nothing that it does can raise."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it, and keep it until it is done."""
        task = asyncio.create_task(self._guarded(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run it, and wait for its end, whatever that is: what a scheduler calls."""
        await asyncio.wait({self.start(work())})

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("Work in the background failed")

    async def drain(self, seconds: float) -> None:
        """Let the work end by itself for so long, then stop what is left; it tells its askers."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=FAREWELL_SECONDS)


class SlackBot:
    """The listeners, and the way from each to a command and back."""

    def __init__(
        self,
        app: AsyncApp,
        web: SlackWeb,
        router: Router,
        api: SSLMonitor,
        *,
        clock: Callable[[], datetime],
        due_days: int,
    ) -> None:
        self.app = app
        self.tasks = Tasks()
        self._web = web
        self._router = router
        self._api = api
        self._clock = clock
        self._due_days = due_days
        self._lists = Lists()
        self._seen: OrderedDict[str, None] = OrderedDict()
        app.command(re.compile("^/"))(self._on_command)
        app.action(re.compile("^ssl:"))(self._on_button)
        app.action(re.compile(""))(_on_nothing)
        app.view(re.compile("^ssl:"))(self._on_form)
        app.event("app_home_opened")(self._on_home)
        app.event(re.compile(""))(_on_nothing)

    async def warm_up(self) -> None:
        """Let Bolt verify the token now, so that auth.test is not in the first asker's way."""
        body = {"type": "event_callback", "event": {"type": "warm_up"}, "team_id": self._team}
        await self.app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=body))

    @property
    def _team(self) -> str:
        return self._web.identity.team_id

    def _is_new(self, body: Body) -> bool:
        """Whether this request comes for the first time: Slack and attackers may send it again."""
        key = str(body.get("trigger_id") or body.get("event_id") or uuid.uuid4())
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED_REQUESTS:
            self._seen.popitem(last=False)
        return True

    def _may_ask(self, asker: Asker) -> bool:
        """People of the installing workspace only; of Slack Connect's others, nobody."""
        return bool(asker.team) and asker.team == self._team

    # The doors: each acknowledges, and leaves the rest to a task.

    async def _on_command(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        self.tasks.start(self._command(body))

    async def _on_button(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        self.tasks.start(self._button(body))

    async def _on_home(self, body: Body) -> None:
        if body["event"].get("tab") == "home" and self._is_new(body):
            self.tasks.start(self._home(asker_of(body)))

    async def _on_form(self, ack: AsyncAck, body: Body) -> None:
        """A form's own faults are part of its ack; nothing here waits for anything else."""
        asker, view = asker_of(body), body["view"]
        command = self._router.find(str(view["callback_id"]).removeprefix("ssl:"), typed=False)
        if not self._may_ask(asker) or command is None:
            await ack(response_action="update", view=view_of(replies.outsider()))
            return
        try:
            bound = command.bind_fields(_fields(view["state"]["values"]))
        except UsageError as fault:
            await ack(response_action="errors", errors={str(fault.param): fault.message})
            return
        await ack(response_action="update", view=view_of(replies.working("Working…")))
        if self._is_new(body):
            channel = json.loads(view.get("private_metadata") or "{}").get("channel", "")
            surface = Modal(self._web, view_id=view["id"], channel=channel, user=asker.user)
            self.tasks.start(self._work(surface, asker, command, lambda: bound))

    async def _command(self, body: Body) -> None:
        """Typed words: run them, open a form, or say what is wrong with them."""
        if not self._is_new(body):
            return
        asker, channel = asker_of(body), str(body["channel_id"])
        url = str(body["response_url"])
        surface = Typed(self._web, self._lists, response_url=url, channel=channel)
        words = split(str(body.get("text") or "")) or ["help"]
        verb, words = words[0].lower(), words[1:]
        command = self._router.find(verb)
        if not self._may_ask(asker):
            await self._answer(surface, replies.outsider())
        elif command is None:
            await self._answer(surface, self._router.unknown(verb))
        elif form := command.form_for(words):
            view = view_of_form(form, json.dumps({"channel": channel}))
            await self._told(surface, lambda: self._web.open_view(str(body["trigger_id"]), view))
        else:
            await self._work(surface, asker, command, lambda: command.bind_words(words))

    async def _button(self, body: Body) -> None:
        """A button, or a line of a menu: its id and value are a command and its argument."""
        if not self._is_new(body):
            return
        asker = asker_of(body)
        if not self._may_ask(asker):
            await self._refuse_button(body)
            return
        verb, argument = _pressed(body["actions"][0])
        surface = self._surface_of(body)
        command = self._router.find(verb, typed=False)
        words = [argument] if argument else []
        if command is None:
            await self._answer(surface, self._router.unknown(verb))
        elif _is_home(body):
            await self._from_home(body, asker, command, lambda: command.bind_words(words))
        else:
            await self._work(surface, asker, command, lambda: command.bind_words(words))

    # From a door to a command and back.

    def _surface_of(self, body: Body) -> Surface:
        """Where the answer to a button goes; the third part of its id decides."""
        container = body.get("container") or {}
        channel = str((body.get("channel") or {}).get("id", ""))
        if container.get("type") == "view":
            view_id = str(body["view"]["id"])
            return Modal(self._web, view_id=view_id, channel="", user=asker_of(body).user)
        url, action = str(body.get("response_url", "")), body["actions"][0]
        if not str(action["action_id"]).endswith(":below"):
            return Here(self._web, self._lists, response_url=url, channel=channel)
        ts, message = str(container.get("message_ts", "")), body.get("message") or {}
        if container.get("is_ephemeral"):
            shown = self._lists.private(str(action.get("block_id", "")))
        else:
            text, blocks = bare(str(message.get("text", ""))), message.get("blocks") or []
            shown = self._lists.public(channel, ts, text, blocks)
        return Below(
            self._web,
            self._lists,
            response_url=url,
            channel=channel,
            ts=ts,
            thread_ts=message.get("thread_ts"),
            ephemeral=bool(container.get("is_ephemeral")),
            shown=shown,
        )

    async def _refuse_button(self, body: Body) -> None:
        """Tell an outsider so, privately: the message belongs to others."""
        if url := str(body.get("response_url") or ""):
            await _kept_safe(lambda: self._web.respond(url, replies.outsider()))

    async def _work(self, surface: Surface, asker: Asker, command: Command, bind: Bind) -> None:
        """Run a command and show its answer; whatever happens, the asker is told."""
        shown: list[str] = []

        async def show(message: Message) -> None:
            shown.append(message.text)
            try:
                await surface.progress(message)
            except (SlackRefused, SlackUnreachable) as fault:
                log.warning("That work goes on could not be shown: %s", fault)

        call = Call(
            api=self._api,
            now=self._clock,
            who=functools.partial(self._web.name_of, asker.user, asker.name),
            show=show,
            due_days=self._due_days,
        )

        async def run() -> None:
            await surface.answer(await self._router.dispatch(call, command, bind))

        await self._told(surface, run, shown)

    async def _answer(self, surface: Surface, message: Message) -> None:
        await self._told(surface, functools.partial(surface.answer, message))

    async def _told(
        self,
        surface: Surface,
        run: Callable[[], Awaitable[object]],
        shown: Sequence[str] = (),
    ) -> None:
        """The one place that catches everything: the log gets a reference, the asker a card.

        `shown` is what was said of the progress so far.
        """
        try:
            await run()
        except asyncio.CancelledError:
            await _kept_safe(lambda: surface.answer(replies.restarting(*shown[-1:])))
        except Exception as fault:
            if isinstance(fault, SlackRefused) and fault.reason == "ratelimited":
                log.warning("Slack limits the bot, and an answer is late or lost")
                message = replies.slack_busy()
            else:
                reference = uuid.uuid4().hex[:12]
                log.exception("A command failed, reference %s", reference)
                message = replies.broken(reference)
            await _kept_safe(lambda: surface.answer(message))

    async def _from_home(self, body: Body, asker: Asker, command: Command, bind: Bind) -> None:
        """Home has no place for an answer, so a modal opens at once and gets it."""

        async def run() -> None:
            view = view_of(replies.working("Working…"))
            view_id = await self._web.open_view(str(body["trigger_id"]), view)
            surface = Modal(self._web, view_id=view_id, channel="", user=asker.user)
            await self._work(surface, asker, command, bind)
            await self._publish_home(asker.user)

        await _kept_safe(run)

    async def _home(self, asker: Asker) -> None:
        # The event tells where Home was opened, not whose it is, so Slack is asked.
        if self._may_ask(asker) and await self._web.team_of(asker.user) == self._team:
            await self._publish_home(asker.user)

    async def _publish_home(self, user: str) -> None:
        async def run() -> None:
            try:
                blocks = cards.home(await self._api.list(), self._clock())
            except BotError as fault:
                blocks = replies.failure(fault).blocks
            await self._web.publish_home(user, blocks)

        await _kept_safe(run)


async def _on_nothing(ack: AsyncAck) -> None:
    """Acknowledge what needs no answer, such as a button that only opens a link."""
    await ack()


async def _kept_safe(run: Callable[[], Awaitable[None]]) -> None:
    """A last word that may fail itself; then the log has it."""
    try:
        async with asyncio.timeout(FAREWELL_SECONDS * 5):
            await run()
    except (SlackRefused, SlackUnreachable, TimeoutError) as fault:
        log.warning("A message did not reach Slack: %s", fault)


def _pressed(action: Mapping[str, Any]) -> tuple[str, str]:
    """The verb and argument of a pressed button, or of the chosen line of a menu."""
    verb = str(action["action_id"]).split(":")[1]
    if verb != "menu":
        return verb, str(action.get("value") or "")
    chosen, _, argument = str(action["selected_option"]["value"]).partition(" ")
    return chosen, argument


def _is_home(body: Body) -> bool:
    return str((body.get("view") or {}).get("type", "")) == "home"


def _fields(values: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A form's fields by block id; what phones type is cleaned, a password is taken as it is."""
    return {
        block_id: text if "password" in block_id else "\n".join(map(clean, text.splitlines()))
        for block_id, inputs in values.items()
        for text in [str(next(iter(inputs.values())).get("value") or "")]
    }
