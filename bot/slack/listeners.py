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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.api.client import SSLMonitor
from bot.blocks import Address, Message
from bot.cards import add as add_cards
from bot.cards import replies
from bot.commands.arguments import hosts_in, split
from bot.commands.home import Home
from bot.commands.router import Call, Command, Router
from bot.errors import SlackRefused, SlackUnreachable, UsageError
from bot.recheck import Watches
from bot.slack.access import People
from bot.slack.answering import surface_of
from bot.slack.requests import (
    Asker,
    Body,
    asker_of,
    fields_of,
    home_channel,
    home_page,
    is_for_bot,
    is_home,
    pressed,
    said_words,
    texts_of,
)
from bot.slack.surfaces import Lists, Modal, Said, Shared, Surface, Typed
from bot.slack.tasks import FAREWELL_SECONDS, Once, Tasks
from bot.slack.web import SlackWeb, view_of, view_of_form
from bot.store.monitors import AuditLine, Memory

log = logging.getLogger(__name__)

Bind = Callable[[], tuple[list[Any], dict[str, Any]]]


def make_bolt(client: AsyncWebClient, signing_secret: str) -> AsyncApp:
    """The Bolt app. It logs errors only, since at INFO it logs whole bodies with their secrets."""
    quiet = logging.getLogger("bot.bolt")
    quiet.setLevel(logging.ERROR)
    return AsyncApp(
        name="sslmonitor-bot",  # otherwise Bolt reads its callers' source code to find a name
        logger=quiet,
        client=client,
        signing_secret=signing_secret or None,
        process_before_response=True,
    )


class SlackBot:
    """The listeners, and the way from each to a command and back."""

    def __init__(
        self,
        app: AsyncApp,
        web: SlackWeb,
        router: Router,
        api: SSLMonitor,
        *,
        memory: Memory,
        people: People,
        watches: Watches,
        home: Home,
        clock: Callable[[], datetime],
    ) -> None:
        self.app = app
        self.tasks = Tasks()
        self._web = web
        self._router = router
        self._api = api
        self._memory = memory
        self._people = people
        self._watches = watches
        self._home_tab = home
        self._clock = clock
        self._lists = Lists()
        self._once = Once()
        self._learnt: set[str] = set()
        app.command(re.compile("^/"))(self._on_command)
        app.action(re.compile("^ssl:"))(self._on_button)
        app.action(re.compile(""))(_on_nothing)
        app.view(re.compile("^ssl:"))(self._on_form)
        app.shortcut("check_hosts")(self._on_shortcut)
        app.event("app_home_opened")(self._on_home)
        app.event("app_mention")(self._on_said)
        app.event("message")(self._on_said)
        app.event(re.compile(""))(_on_nothing)

    async def warm_up(self) -> None:
        """Let Bolt verify the token now, so that auth.test is not in the first asker's way."""
        body = {"type": "event_callback", "event": {"type": "warm_up"}, "team_id": self._team}
        await self.app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=body))

    @property
    def _team(self) -> str:
        return self._web.identity.team_id

    # The doors: each acknowledges, and leaves the rest to a task.

    async def _on_command(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        self.tasks.start(self._command(body))

    async def _on_button(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        self.tasks.start(self._button(body))

    async def _on_shortcut(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        if self._once.is_new(body):
            self.tasks.start(self._shortcut(body))

    async def _on_home(self, body: Body) -> None:
        if body["event"].get("tab") == "home" and self._once.is_new(body):
            self.tasks.start(self._home(asker_of(body)))

    async def _on_said(self, body: Body) -> None:
        if is_for_bot(body["event"]) and self._once.is_new(body):
            self.tasks.start(self._said(body))

    async def _on_form(self, ack: AsyncAck, body: Body) -> None:
        """A form's own faults are part of its ack; nothing here waits for anything else."""
        asker, view = asker_of(body), body["view"]
        command = self._router.find(str(view["callback_id"]).removeprefix("ssl:"), typed=False)
        refusal = self._people.refusal_known(asker)
        if refusal or command is None:
            await ack(response_action="update", view=view_of(refusal or replies.outsider()))
            return
        try:
            bound = command.bind_fields(fields_of(view["state"]["values"]))
        except UsageError as fault:
            await ack(response_action="errors", errors={str(fault.param): fault.message})
            return
        channel = home_channel(view)
        await ack(response_action="update", view=view_of(replies.working("Checking…"), channel))
        if self._once.is_new(body):
            surface = Modal(self._web, view_id=view["id"], channel=channel, user=asker.user)
            self.tasks.start(self._work(surface, asker, command, lambda: bound))

    async def _command(self, body: Body) -> None:
        """Typed words of the slash command."""
        if not self._once.is_new(body):
            return
        asker, channel = asker_of(body), str(body["channel_id"])
        url = str(body["response_url"])
        surface = Typed(self._web, self._lists, response_url=url, channel=channel)
        words = split(str(body.get("text") or ""))
        await self._run_words(surface, asker, words, str(body["trigger_id"]))

    async def _said(self, body: Body) -> None:
        """A mention in a channel or thread, or a direct message."""
        event, asker = body["event"], asker_of(body)
        channel, thread = str(event["channel"]), event.get("thread_ts")
        if event["type"] == "app_mention":
            thread = thread or event["ts"]
        surface = Said(self._web, channel=channel, thread_ts=thread, user=asker.user)
        words = said_words(event, self._web.identity.user_id)
        await self._run_words(surface, asker, words, "")

    async def _run_words(
        self, surface: Surface, asker: Asker, words: list[str], trigger_id: str
    ) -> None:
        """Run what was typed, open a form for what is missing, or say what is wrong with it."""
        verb, words = (words[0].lower(), words[1:]) if words else ("menu", [])
        command = self._router.find(verb, typed=verb != "menu")
        if command is None:
            await self._tell(surface, asker, self._router.unknown(verb, words))
        elif not command.wants_form(words):
            share = " ".join([command.name, *words]) if isinstance(surface, Typed) else ""
            await self._work(
                surface, asker, command, lambda: command.bind_words(words), share=share
            )
        elif trigger_id:
            await self._open_form(surface, asker, command, {}, trigger_id)
        else:
            await self._tell(surface, asker, replies.needs_form(command.name))

    async def _button(self, body: Body) -> None:
        """A button, or a line of a menu: its id and value are a command and its argument."""
        if not self._once.is_new(body):
            return
        asker = asker_of(body)
        verb, argument = pressed(body["actions"][0])
        surface = surface_of(body, self._web, self._lists)
        if verb == "home" and is_home(body):
            await self._home(asker, int(argument) if argument.isdecimal() else 0)
            return
        if verb == "form":
            await self._press_form(body, surface, asker, argument)
            return
        if verb == "share":
            await self._share(surface, asker, argument)
            return
        command = self._router.find(verb, typed=False)
        if command is None:
            await self._tell(surface, asker, self._router.unknown(verb))
        elif is_home(body):
            bind = functools.partial(command.bind_argument, argument)
            await self._from_home(body, asker, command, bind)
        else:
            bind = functools.partial(command.bind_argument, argument)
            private = bool((body.get("container") or {}).get("is_ephemeral"))
            share = f"{verb} {argument}".strip() if private else ""
            surface = await self._on_top(body, surface)
            await self._work(surface, asker, command, bind, share=share)

    async def _on_top(self, body: Body, surface: Surface) -> Surface:
        """A new modal on top, for a button of a modal that is to stay; Slack stacks three."""
        view, action = body.get("view") or {}, body["actions"][0]
        if view.get("type") != "modal" or not str(action["action_id"]).endswith(":below"):
            return surface
        shown = view_of(replies.working("Working…"), surface.channel)
        try:
            view_id = await self._web.push_view(str(body["trigger_id"]), shown)
        except (SlackRefused, SlackUnreachable) as fault:
            log.info("No modal could be put on top: %s", fault)
            return surface
        user = asker_of(body).user
        return Modal(self._web, view_id=view_id, channel=surface.channel, user=user)

    async def _share(self, surface: Surface, asker: Asker, argument: str) -> None:
        """Post in the channel what somebody was shown privately: the command runs once more."""
        verb, _, words = argument.partition(" ")
        command = self._router.find(verb, typed=False)
        if command is None or not command.shares:
            await self._tell(surface, asker, self._router.unknown(verb))
            return
        who = await self._people.name_of(asker.user, asker.name)
        shared = Shared(self._web, surface, add_cards.shared_note(who))
        await self._work(shared, asker, command, functools.partial(command.bind_argument, words))

    async def _shortcut(self, body: Body) -> None:
        """“Check hosts in message”: what it names is shown at once, for a trigger lives 3 s."""
        asker, channel = asker_of(body), str((body.get("channel") or {}).get("id", ""))
        found = hosts_in(texts_of(body.get("message") or {}))
        message = self._people.refusal_known(asker) or add_cards.found_hosts(found)
        trigger = str(body["trigger_id"])

        async def run() -> None:
            view_id = await self._web.open_view(trigger, view_of(message, channel))
            modal = Modal(self._web, view_id=view_id, channel=channel, user=asker.user)
            await self._lets_in(modal, asker, changes=False)

        await _kept_safe(run)

    async def _press_form(self, body: Body, surface: Surface, asker: Asker, argument: str) -> None:
        """A button that opens a form, filled in with what its value holds (JSON)."""
        name, _, draft = argument.partition(" ")
        command = self._router.find(name, typed=False)
        if command is None:
            await self._tell(surface, asker, self._router.unknown(name))
            return
        filled = {str(field): str(text) for field, text in json.loads(draft or "{}").items()}
        view = body.get("view") or {}
        if view.get("type") == "modal":
            shown = view_of_form(command.filled(filled, self._learnt), surface.channel)
            await self._told(surface, lambda: self._web.replace_view(str(view["id"]), shown))
        else:
            await self._open_form(surface, asker, command, filled, str(body["trigger_id"]))

    async def _open_form(
        self,
        surface: Surface,
        asker: Asker,
        command: Command,
        filled: Mapping[str, str],
        trigger_id: str,
    ) -> None:
        """Open a form at once, for a trigger lives 3 s; whoever may not use it is told in it."""
        if refusal := self._people.refusal_known(asker):
            await self._told(surface, lambda: surface.refuse(refusal))
            return
        view = view_of_form(command.filled(filled, self._learnt), surface.channel)

        async def run() -> None:
            view_id = await self._web.open_view(trigger_id, view)
            modal = Modal(self._web, view_id=view_id, channel=surface.channel, user=asker.user)
            await self._lets_in(modal, asker, changes=command.changes)

        await self._told(surface, run)

    # From a door to a command and back.

    async def _lets_in(self, surface: Surface, asker: Asker, *, changes: bool) -> bool:
        """Whether somebody may do this; if not, they are told why. Every door asks here."""
        refusal = await self._people.refusal(asker, changes=changes)
        if refusal is not None:
            await surface.refuse(refusal)
        return refusal is None

    async def _work(
        self, surface: Surface, asker: Asker, command: Command, bind: Bind, *, share: str = ""
    ) -> None:
        """Run a command and show its answer; whatever happens, the asker is told.

        `share` is the line that runs it again where the answer is private, and may be shared.
        """
        shown: list[str] = []

        async def show(message: Message) -> None:
            shown.append(message.text)
            try:
                await surface.progress(message)
            except (SlackRefused, SlackUnreachable) as fault:
                log.warning("That work goes on could not be shown: %s", fault)

        async def post(message: Message) -> Address:
            if address := await surface.keep(message):
                return address
            return replace(await self._web.post_at(asker.user, message), here=False)

        async def run() -> None:
            call = Call(
                api=self._api,
                memory=self._memory,
                asker=asker.user,
                channel=surface.channel,
                now=self._clock,
                who=functools.partial(self._people.name_of, asker.user, asker.name),
                show=show,
                post=post,
                send_file=functools.partial(self._web.send_file, asker.user),
                learnt=self._learnt,
                audit=functools.partial(self._audit, asker),
                share="" if surface.channel.startswith("D") else share,
                rules=await self._memory.rules(),
                watches=self._watches,
            )
            if await self._lets_in(surface, asker, changes=command.changes):
                await surface.answer(await self._router.dispatch(call, command, bind))

        await self._told(surface, run, shown)

    async def _tell(self, surface: Surface, asker: Asker, message: Message) -> None:
        """Answer without a command, whoever may ask."""

        async def run() -> None:
            if await self._lets_in(surface, asker, changes=False):
                await surface.answer(message)

        await self._told(surface, run)

    async def _audit(self, asker: Asker, command: str, target: str, result: str) -> None:
        """Write a change down; the asker gets the answer even where that fails."""
        try:
            name = await self._people.name_of(asker.user, asker.name)
            line = AuditLine(self._clock(), asker.user, name, command, target, result)
            await self._memory.log(line)
        except Exception:
            log.exception("A change was not written down: %s %s", command, target)

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
            await self._publish_home(asker.user, home_page(body))

        await _kept_safe(run)

    async def _home(self, asker: Asker, page: int = 0) -> None:
        # The event tells where Home was opened, not whose it is, so Slack is asked.
        if await self._people.team_of(asker.user) != self._team:
            return
        if refusal := await self._people.refusal(asker, changes=False):
            await _kept_safe(lambda: self._web.publish_home(asker.user, refusal.blocks))
        else:
            await self._publish_home(asker.user, page)

    async def _publish_home(self, user: str, page: int) -> None:
        async def run() -> None:
            shown = await self._home_tab.page(page)
            await self._web.publish_home(user, shown.blocks, shown.number)

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
