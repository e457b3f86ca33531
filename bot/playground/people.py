"""What people do in the playground: each a method, for the page and for tests alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from bot.playground import elements as inputs
from bot.playground.app import App, PlaygroundError, Shortcut
from bot.playground.choice import Choice
from bot.playground.delivery import Ack, Delivery, Outcome
from bot.playground.limits import MODAL
from bot.playground.limits.checks import text_of
from bot.playground.objects import BOT_USER, Channel, Json, Message, User, View
from bot.playground.payloads import Payloads, typed_message
from bot.playground.tickets import SlackError, Tickets
from bot.playground.web_api import views
from bot.playground.web_api.response_urls import respond
from bot.playground.workspace import Workspace

T = TypeVar("T")


class People:
    """What people do in the playground: type, press, fill in forms, open Home.

    Things that Slack would refuse a person quietly end in a notice; what can't be done at all (a
    button that isn't there) raises PlaygroundError.
    """

    def __init__(self, app: App, *, clock: Callable[[], datetime], ack_limit: float = 3.0) -> None:
        self.app = app
        self.workspace = Workspace(app, clock)
        self.tickets = Tickets(clock)
        self.payloads = Payloads(app, self.workspace, self.tickets)
        self.delivery = Delivery(app, self.workspace, self.tickets, ack_limit=ack_limit)

    async def say(self, user: str, channel: str, text: str, thread_ts: str | None = None) -> None:
        """Type into a channel: a slash command, or a message that the app may hear of."""
        person, place = self._person_in(user, channel)
        if text.split(" ", maxsplit=1)[0] == "/invite":
            await self._invite(person, place, text)
        elif text.startswith("/"):
            await self._command(person, place, text, thread_ts)
        else:
            await self._message(person, place, text, thread_ts)

    async def press(
        self,
        user: str,
        *,
        action_id: str,
        message_ts: str | None = None,
        channel: str | None = None,
        view_id: str | None = None,
        block_id: str | None = None,
        option: str | None = None,
        value: Any = None,
        values: Json | None = None,
    ) -> None:
        """Press a button, or choose in a menu, that this person really sees.

        Where: in a message (`channel`, and `message_ts` or else the newest message that has it), or
        in a view. `option` is the value of a menu's option; `value` what is picked or typed, or
        which of several buttons is meant; `values` what the surface's other inputs hold.
        """
        person = self._person(user)
        choice = Choice(action_id, block_id, option, value, values or {})
        if channel is not None:
            message = self._message_with(person, channel, message_ts, action_id)
            await self._press_in_message(person, message, choice)
        else:
            view = self._view_of(user, view_id)
            await self._press_in_view(person, view, choice)

    async def submit(self, user: str, view_id: str, values: Json) -> dict[str, str]:
        """Fill in and send the modal on top; returns {block_id: error}, empty when accepted.

        `values` is {block_id: value} or {block_id: {action_id: value}}. Raises PlaygroundError when
        the app gave no usable answer.
        """
        person, view = self._person(user), self._view_of(user, view_id)
        if view.content.get("type") != MODAL or "submit" not in view.content:
            raise PlaygroundError("this view has no submit button")
        view.values = _tried(inputs.state, view.blocks, {**_typed(view), **values})
        wrong = inputs.complaints(view.blocks, view.values)
        if wrong:
            return wrong
        ack = await self.delivery.send("interactive", self.payloads.submission(person, view))
        if ack.outcome is not Outcome.ACKED:
            raise PlaygroundError(self._failed(user, None, text_of(view.content["submit"]), ack))
        return self._after_submission(person, view, ack.body)

    async def close_view(self, user: str, view_id: str, *, every: bool = False) -> None:
        """Close the modal on top (or `every` one); the app hears of it if it asked to."""
        person, view = self._person(user), self._view_of(user, view_id)
        cleared = every or bool(view.content.get("clear_on_close"))
        if cleared:
            closed = self.workspace.modals(user)
            self.workspace.clear_modals(user)
        else:
            closed = [view]
            self.workspace.close_view(view)
        for each in closed:
            if each.content.get("notify_on_close"):
                payload = self.payloads.closed(person, each, cleared=cleared)
                await self.delivery.send("interactive", payload)

    async def open_home(self, user: str) -> None:
        """Look at the app's Home."""
        person = self._person(user)
        if "app_home_opened" in self.app.bot_events:
            await self.delivery.send("events_api", self.payloads.home_opened(person))

    async def shortcut(
        self, user: str, callback_id: str, channel: str | None = None, message_ts: str | None = None
    ) -> None:
        """Use a shortcut: on a message, or a global one without."""
        person = self._person(user)
        shortcut = self._shortcut(callback_id)
        if person.outsider:
            text = f"{shortcut.name} is not available: {self.app.name} belongs to another team."
            self.workspace.notice(user, channel, text)
            return
        if shortcut.type == "global":
            payload = self.payloads.global_shortcut(person, callback_id)
        else:
            self._person_in(user, str(channel))
            message = self._seen(user, str(channel), str(message_ts))
            payload = self.payloads.message_shortcut(person, callback_id, message)
        ack = await self.delivery.send("interactive", payload)
        if ack.outcome is not Outcome.ACKED:
            self._failed(user, channel, shortcut.name, ack)

    async def wait_for(self, condition: Callable[[Workspace], T | None], within: float = 5.0) -> T:
        """Return what `condition` returns once that is true; looks at each change, never polls.

        Raises TimeoutError after `within` seconds, telling the last traffic.
        """
        changed = asyncio.Event()
        unsubscribe = self.workspace.subscribe(changed.set)
        try:
            async with asyncio.timeout(within):
                while not (found := condition(self.workspace)):
                    changed.clear()
                    await changed.wait()
                return found
        except TimeoutError as error:
            last = "\n".join(map(str, list(self.workspace.traffic)[-5:]))
            raise TimeoutError(f"not seen within {within} s; the last traffic:\n{last}") from error
        finally:
            unsubscribe()

    # What people do, step by step

    async def _command(
        self, user: User, channel: Channel, line: str, thread_ts: str | None
    ) -> None:
        word, _, text = line.partition(" ")
        refusal = self._refusal(user, word, thread_ts)
        if refusal:
            self.workspace.notice(user.id, channel.id, refusal)
            return
        payload = self.payloads.command(user, channel, word, text.strip())
        ack = await self.delivery.send("slash_commands", payload)
        if ack.outcome is not Outcome.ACKED:
            self._failed(user.id, channel.id, word, ack)
            return
        body = {"text": ack.body} if isinstance(ack.body, str) else ack.body
        if body:
            self._answer_command(user, channel, line, payload, body)

    def _answer_command(
        self, user: User, channel: Channel, line: str, payload: Json, body: Json
    ) -> None:
        """Show the answer that came with the ack; `in_channel` shows the typed line too."""
        word = str(payload["response_url"]).rpartition("/")[2]
        if body.get("response_type") == "in_channel":
            self.workspace.post(channel.id, user.id, line)
            if not any(body.get(key) for key in ("text", "blocks", "attachments")):
                return
        try:
            respond(self.workspace, self.tickets.response_urls[word], body)
        except SlackError as error:
            text = f"{payload['command']} failed with the error {error.error}"
            self.workspace.notice(user.id, channel.id, text)

    def _refusal(self, user: User, command: str, thread_ts: str | None) -> str | None:
        if command not in {known.command for known in self.app.commands}:
            return f"{command} is not a valid command."
        if user.outsider:
            return f"{command} is not available: {self.app.name} belongs to another team."
        if thread_ts:
            return f"{command} is not supported in threads. Sorry!"
        return None

    async def _message(
        self, user: User, channel: Channel, text: str, thread_ts: str | None
    ) -> None:
        kept = typed_message(text, self.workspace)
        if thread_ts is not None:
            thread = self._seen(user.id, channel.id, thread_ts)
            thread_ts = thread.thread_ts or thread.ts
        message = self.workspace.post(channel.id, user.id, kept, thread_ts=thread_ts)
        mentioned = f"<@{BOT_USER}>" in kept and not channel.is_im
        if BOT_USER not in channel.members:
            if mentioned:
                text = f"You mentioned {self.app.name}, but they're not in this channel."
                self.workspace.notice(user.id, channel.id, text)
            return
        kind = "im" if channel.is_im else "groups" if channel.is_private else "channels"
        wanted = {"app_mention": mentioned, f"message.{kind}": True}
        for name, concerned in wanted.items():
            if concerned and name in self.app.bot_events:
                event = self.payloads.message_event(name.partition(".")[0], user, message)
                await self.delivery.send("events_api", event)

    async def _invite(self, user: User, channel: Channel, line: str) -> None:
        """Take the bot into a channel; it is the only one who can be invited here."""
        if f"<@{BOT_USER}>" not in typed_message(line, self.workspace):
            text = f"Only @{self.app.name} can be invited here."
            self.workspace.notice(user.id, channel.id, text)
            return
        channel.members.add(BOT_USER)
        self.workspace.add_channel(channel)
        if "member_joined_channel" in self.app.bot_events:
            event = {"type": "member_joined_channel", "user": BOT_USER, "channel": channel.id}
            await self.delivery.send("events_api", self.payloads.event(event, channel))

    async def _press_in_message(self, user: User, message: Message, choice: Choice) -> None:
        block, element = _tried(choice.find, message.blocks)
        action = _tried(choice.action, block, element, self.workspace.next_ts())
        state = _tried(inputs.state, message.blocks, choice.fields(block, element))
        payload = self.payloads.message_press(user, message, [action], state)
        await self._interact(user, message.channel, element, payload)

    async def _press_in_view(self, user: User, view: View, choice: Choice) -> None:
        block, element = _tried(choice.find, view.blocks)
        action = _tried(choice.action, block, element, self.workspace.next_ts())
        held = {**_typed(view), **choice.fields(block, element)}
        view.values = _tried(inputs.state, view.blocks, held)
        payload = self.payloads.view_press(user, view, [action])
        await self._interact(user, None, element, payload)

    async def _interact(
        self, user: User, channel: str | None, element: Json, payload: Json
    ) -> None:
        ack = await self.delivery.send("interactive", payload)
        if ack.outcome is not Outcome.ACKED:
            self._failed(user.id, channel, text_of(element.get("text")) or element["type"], ack)

    def _after_submission(self, user: User, view: View, body: Json | str | None) -> dict[str, str]:
        """Do what the app's answer says: errors, update, push, clear, or just close."""
        answer = body if isinstance(body, dict) else {}
        action = answer.get("response_action")
        try:
            if action == "errors":
                return self._field_errors(view, answer.get("errors"))
            if action in {"update", "push"}:
                of = view if action == "update" else None
                content = views.checked(self.workspace, answer.get("view"), MODAL, of=of)
                if action == "update":
                    self.workspace.update_view(view, content)
                else:
                    views.push_on(self.workspace, user.id, content)
            elif action == "clear":
                self.workspace.clear_modals(user.id)
            else:
                self.workspace.close_view(view)
        except SlackError as error:
            text = f"We had some trouble connecting. Try again? ({error.error}: {error.extra})"
            self.workspace.notice(user.id, None, text)
            raise PlaygroundError(text) from error
        return {}

    def _field_errors(self, view: View, errors: object) -> dict[str, str]:
        known = {block["block_id"] for block in view.blocks if block["type"] == "input"}
        if not isinstance(errors, dict) or not errors or not known.issuperset(errors):
            raise SlackError("invalid_arguments", errors=errors)
        return {str(block_id): str(text) for block_id, text in errors.items()}

    def _failed(self, user: str, channel: str | None, what: str, ack: Ack) -> str:
        if ack.outcome is Outcome.ABSENT:
            text = f"{what} failed: {ack.outcome.value}"
        else:
            text = f"{what} failed with the error {ack.outcome.value}"
        self.workspace.notice(user, channel, text)
        return text

    # Who and what is meant

    def _person(self, user: str) -> User:
        if user not in self.workspace.users:
            raise PlaygroundError(f"there is no user {user}")
        return self.workspace.users[user]

    def _person_in(self, user: str, channel: str) -> tuple[User, Channel]:
        person, place = self._person(user), self.workspace.channels.get(channel)
        if place is None or user not in place.members:
            raise PlaygroundError(f"{person.name} is not in {channel}")
        return person, place

    def _seen(self, user: str, channel: str, ts: str) -> Message:
        self._person_in(user, channel)
        message = self.workspace.message(channel, ts)
        if message is None or not message.seen_by(user):
            raise PlaygroundError(f"{user} sees no message {ts} in {channel}")
        return message

    def _message_with(self, user: User, channel: str, ts: str | None, action_id: str) -> Message:
        if ts is not None:
            return self._seen(user.id, channel, ts)
        self._person_in(user.id, channel)
        for message in reversed(self.workspace.messages(channel, user.id)):
            if any(e["action_id"] == action_id for _, e in inputs.elements(message.blocks)):
                return message
        raise PlaygroundError(f"{user.name} sees no {action_id!r} in {channel}")

    def _view_of(self, user: str, view_id: str | None) -> View:
        top, home = self.workspace.modal(user), self.workspace.home(user)
        wanted = view_id or (top.id if top else home.id if home else "")
        for view in (top, home):
            if view is not None and view.id == wanted:
                return view
        raise PlaygroundError(f"{user} does not see the view {view_id}")

    def _shortcut(self, callback_id: str) -> Shortcut:
        found = next((s for s in self.app.shortcuts if s.callback_id == callback_id), None)
        if found is None:
            raise PlaygroundError(f"there is no shortcut {callback_id}")
        return found


def _tried(function: Callable[..., T], *arguments: Any) -> T:
    """Call, turning a ValueError into the error that tests and the page see."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise PlaygroundError(str(error)) from error


def _typed(view: View) -> Json:
    """Return what was put into a view's fields so far, for those that are still there."""
    still = {block["block_id"] for block, _ in inputs.elements(view.blocks)}
    return {block_id: held for block_id, held in view.values.items() if block_id in still}
