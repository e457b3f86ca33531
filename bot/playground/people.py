"""What people do in the playground: each action is a method, for the page and tests alike."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from bot.playground.app import App, Shortcut
from bot.playground.delivery import Ack, Delivery, Outcome
from bot.playground.elements import Choice, elements, form_errors, state
from bot.playground.errors import PlaygroundError, SlackError
from bot.playground.limits import MODAL
from bot.playground.limits.checks import text_of
from bot.playground.objects import BOT_USER, Channel, Json, OpenView, PostedMessage, User
from bot.playground.payloads import Payloads, typed_text
from bot.playground.tickets import Tickets
from bot.playground.web_api import views
from bot.playground.web_api.response_urls import respond
from bot.playground.workspace import Workspace

T = TypeVar("T")


class People:
    """What people do in the playground: type, press, fill in forms, open Home.

    An action that Slack would refuse leads to a notice. One that nobody could attempt, such as
    pressing a button that doesn't exist, raises PlaygroundError.
    """

    def __init__(self, app: App, *, clock: Callable[[], datetime], ack_limit: float = 3.0) -> None:
        self.app = app
        self.workspace = Workspace(app, clock)
        self.tickets = Tickets(clock)
        self.payloads = Payloads(app, self.workspace, self.tickets)
        self.delivery = Delivery(app, self.workspace, self.tickets, ack_limit=ack_limit)
        #: Carries out what is typed after `/demo`, and says what it did; None without a demo.
        self.demo: Callable[[str], Awaitable[str]] | None = None

    async def say(self, user: str, channel: str, text: str, thread_ts: str | None = None) -> None:
        """Type into a channel: a slash command, or a message that the app may hear of."""
        person, conversation = self._member(user, channel)
        verb, _, rest = text.partition(" ")
        if verb == "/invite":
            await self._invite(person, conversation, text)
        elif verb == "/demo" and self.demo is not None:
            self.workspace.notice(person.id, conversation.id, await self.demo(rest))
        elif text.startswith("/"):
            await self._command(person, conversation, text, thread_ts)
        else:
            await self._message(person, conversation, text, thread_ts)

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
        """Press a button, or choose from a menu, that this person can see.

        The element is in a message (`channel`, and `message_ts` or else the newest message that has
        it) or in a view. `option` is the value of a menu's option, `value` a value chosen or typed,
        or the value of the one button meant; `values` is what the other inputs hold.
        """
        person = self._person(user)
        choice = Choice(action_id, block_id, option, value, values or {})
        if channel is not None:
            message = self._message_with(person, channel, message_ts, action_id)
            await self._press_in_message(person, message, choice)
        else:
            view = self._visible_view(user, view_id)
            await self._press_in_view(person, view, choice)

    async def submit(self, user: str, view_id: str, values: Json) -> dict[str, str]:
        """Fill in and submit the top modal; returns {block_id: error}, empty if it was accepted.

        `values` is {block_id: value} or {block_id: {action_id: value}}. Raises PlaygroundError if
        the app's answer was unusable.
        """
        person, view = self._person(user), self._visible_view(user, view_id)
        if view.content.get("type") != MODAL or "submit" not in view.content:
            raise PlaygroundError("this view has no submit button")
        view.values = _checked(state, view.blocks, {**_values(view), **values})
        errors = form_errors(view.blocks, view.values)
        if errors:
            return errors
        ack = await self.delivery.send("interactive", self.payloads.submission(person, view))
        if ack.outcome is not Outcome.ACKED:
            label = text_of(view.content["submit"])
            raise PlaygroundError(self._report_failure(user, None, label, ack))
        return self._after_submission(person, view, ack.body)

    async def close_view(self, user: str, view_id: str) -> None:
        """Close the top modal; the app is told if it asked for that."""
        person, view = self._person(user), self._visible_view(user, view_id)
        self.workspace.close_view(view)
        if view.content.get("notify_on_close"):
            await self.delivery.send("interactive", self.payloads.closed(person, view))

    async def open_home(self, user: str) -> None:
        """Open the app's Home tab."""
        person = self._person(user)
        if "app_home_opened" in self.app.bot_events:
            await self.delivery.send("events_api", self.payloads.home_opened(person))

    async def shortcut(self, user: str, callback_id: str, channel: str, message_ts: str) -> None:
        """Use a message shortcut."""
        shortcut, message = self._shortcut(callback_id), self._visible(user, channel, message_ts)
        person = self._person(user)
        if person.outsider:
            self.workspace.notice(user, channel, self._for_members_only(shortcut.name))
            return
        payload = self.payloads.message_shortcut(person, callback_id, message)
        ack = await self.delivery.send("interactive", payload)
        if ack.outcome is not Outcome.ACKED:
            self._report_failure(user, channel, shortcut.name, ack)

    async def wait_for(self, condition: Callable[[Workspace], T | None], within: float = 30.0) -> T:
        """Wait until `condition` returns something true, and return that.

        It is checked whenever something happens. Raises TimeoutError after `within` seconds, with
        the latest traffic.
        """
        event = asyncio.Event()
        unsubscribe = self.workspace.subscribe(event.set)
        try:
            async with asyncio.timeout(within):
                while not (result := condition(self.workspace)):
                    event.clear()
                    await event.wait()
                return result
        except TimeoutError as error:
            latest = "\n".join(map(str, list(self.workspace.traffic)[-5:]))
            message = f"did not happen within {within} s; the latest traffic:\n{latest}"
            raise TimeoutError(message) from error
        finally:
            unsubscribe()

    # Actions, step by step

    async def _command(
        self, user: User, channel: Channel, line: str, thread_ts: str | None
    ) -> None:
        command, _, text = line.partition(" ")
        refusal = self._refusal(user, command, thread_ts)
        if refusal:
            self.workspace.notice(user.id, channel.id, refusal)
            return
        payload = self.payloads.command(user, channel, command, text.strip())
        ack = await self.delivery.send("slash_commands", payload)
        if ack.outcome is not Outcome.ACKED:
            self._report_failure(user.id, channel.id, command, ack)
            return
        body = {"text": ack.body} if isinstance(ack.body, str) else ack.body
        if body:
            self._answer_command(user, channel, line, payload, body)

    def _answer_command(
        self, user: User, channel: Channel, line: str, payload: Json, body: Json
    ) -> None:
        """Show the answer that came with the ack; `in_channel` shows the command too."""
        secret = str(payload["response_url"]).rpartition("/")[2]
        if body.get("response_type") == "in_channel":
            self.workspace.post(channel.id, user.id, line)
            if not body.get("text") and not body.get("blocks"):
                return
        try:
            respond(self.workspace, self.tickets.response_urls[secret], body)
        except SlackError as error:
            text = f"{payload['command']} failed with the error {error.error}"
            self.workspace.notice(user.id, channel.id, text)

    def _refusal(self, user: User, command: str, thread_ts: str | None) -> str | None:
        if command not in {known.command for known in self.app.commands}:
            return f"{command} is not a valid command."
        if user.outsider:
            return self._for_members_only(command)
        if thread_ts:
            return f"{command} is not supported in threads. Sorry!"
        return None

    def _for_members_only(self, what: str) -> str:
        return f"{what} is not available: {self.app.name} belongs to another team."

    async def _message(
        self, user: User, channel: Channel, typed: str, thread_ts: str | None
    ) -> None:
        text = typed_text(typed, self.workspace)
        if thread_ts is not None:
            parent = self._visible(user.id, channel.id, thread_ts)
            thread_ts = parent.thread_ts or parent.ts
        message = self.workspace.post(channel.id, user.id, text, thread_ts=thread_ts)
        mentioned = f"<@{BOT_USER}>" in text and not channel.is_im
        if BOT_USER not in channel.members:
            if mentioned:
                notice = f"You mentioned {self.app.name}, but they're not in this channel."
                self.workspace.notice(user.id, channel.id, notice)
            return
        names = ["app_mention"] if mentioned else []
        for name in [*names, f"message.{channel.kind}"]:
            if name in self.app.bot_events:
                event = self.payloads.message_event(name.partition(".")[0], user, message)
                await self.delivery.send("events_api", event)

    async def _invite(self, user: User, channel: Channel, line: str) -> None:
        """Add the bot to a channel; no one else can be invited here."""
        if f"<@{BOT_USER}>" not in typed_text(line, self.workspace):
            text = f"Only @{self.app.name} can be invited here."
            self.workspace.notice(user.id, channel.id, text)
            return
        channel.members.add(BOT_USER)
        self.workspace.add_channel(channel)
        if "member_joined_channel" in self.app.bot_events:
            event = {"type": "member_joined_channel", "user": BOT_USER, "channel": channel.id}
            await self.delivery.send("events_api", self.payloads.event(event, channel))

    async def _press_in_message(self, user: User, message: PostedMessage, choice: Choice) -> None:
        block, element = _checked(choice.find, message.blocks)
        action = _checked(choice.action, block, element, self.workspace.next_ts())
        values = _checked(state, message.blocks, choice.fields(block, element))
        payload = self.payloads.message_press(user, message, [action], values)
        await self._interact(user, message.channel, element, payload)

    async def _press_in_view(self, user: User, view: OpenView, choice: Choice) -> None:
        block, element = _checked(choice.find, view.blocks)
        action = _checked(choice.action, block, element, self.workspace.next_ts())
        fields = {**_values(view), **choice.fields(block, element)}
        view.values = _checked(state, view.blocks, fields)
        payload = self.payloads.view_press(user, view, [action])
        await self._interact(user, None, element, payload)

    async def _interact(
        self, user: User, channel: str | None, element: Json, payload: Json
    ) -> None:
        ack = await self.delivery.send("interactive", payload)
        if ack.outcome is not Outcome.ACKED:
            label = text_of(element.get("text")) or element["type"]
            self._report_failure(user.id, channel, label, ack)

    def _after_submission(
        self, user: User, view: OpenView, body: Json | str | None
    ) -> dict[str, str]:
        """Do what the app's answer says: errors, update, push, clear, or just close."""
        answer = body if isinstance(body, dict) else {}
        action = answer.get("response_action")
        try:
            if action == "errors":
                return self._field_errors(view, answer.get("errors"))
            if action == "update":
                self.workspace.update_view(view, views.checked(answer.get("view"), MODAL))
            elif action == "push":
                content = views.checked(answer.get("view"), MODAL)
                views.push_onto(self.workspace, user.id, content)
            elif action == "clear":
                self.workspace.clear_modals(user.id)
            else:
                self.workspace.close_view(view)
        except SlackError as error:
            text = f"We had some trouble connecting. Try again? ({error.error}: {error.extra})"
            self.workspace.notice(user.id, None, text)
            raise PlaygroundError(text) from error
        return {}

    def _field_errors(self, view: OpenView, errors: object) -> dict[str, str]:
        block_ids = {block["block_id"] for block in view.blocks if block["type"] == "input"}
        if not isinstance(errors, dict) or not errors or not block_ids.issuperset(errors):
            raise SlackError("invalid_arguments", errors=errors)
        return {str(block_id): str(text) for block_id, text in errors.items()}

    def _report_failure(self, user: str, channel: str | None, what: str, ack: Ack) -> str:
        if ack.outcome is Outcome.ABSENT:
            text = f"{what} failed: {ack.outcome.value}"
        else:
            text = f"{what} failed with the error {ack.outcome.value}"
        self.workspace.notice(user, channel, text)
        return text

    # Looking things up, as a person sees them

    def _person(self, user: str) -> User:
        if user not in self.workspace.users:
            raise PlaygroundError(f"there is no user {user}")
        return self.workspace.users[user]

    def _member(self, user: str, channel: str) -> tuple[User, Channel]:
        person, conversation = self._person(user), self.workspace.channels.get(channel)
        if conversation is None or user not in conversation.members:
            raise PlaygroundError(f"{person.name} is not in {channel}")
        return person, conversation

    def _visible(self, user: str, channel: str, ts: str) -> PostedMessage:
        self._member(user, channel)
        message = self.workspace.message(channel, ts)
        if message is None or not message.visible_to(user):
            raise PlaygroundError(f"{user} sees no message {ts} in {channel}")
        return message

    def _message_with(
        self, user: User, channel: str, ts: str | None, action_id: str
    ) -> PostedMessage:
        if ts is not None:
            return self._visible(user.id, channel, ts)
        self._member(user.id, channel)
        for message in reversed(self.workspace.messages(channel, user.id)):
            if any(element["action_id"] == action_id for _, element in elements(message.blocks)):
                return message
        raise PlaygroundError(f"{user.name} sees no {action_id!r} in {channel}")

    def _visible_view(self, user: str, view_id: str | None) -> OpenView:
        top, home = self.workspace.modal(user), self.workspace.home(user)
        target_id = view_id or (top.id if top else home.id if home else "")
        for view in (top, home):
            if view is not None and view.id == target_id:
                return view
        raise PlaygroundError(f"{user} does not see the view {view_id}")

    def _shortcut(self, callback_id: str) -> Shortcut:
        shortcuts = (s for s in self.app.shortcuts if s.callback_id == callback_id)
        shortcut = next(shortcuts, None)
        if shortcut is None:
            raise PlaygroundError(f"there is no shortcut {callback_id}")
        return shortcut


def _checked(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function, turning its ValueError into the error that tests and the page see."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise PlaygroundError(str(error)) from error


def _values(view: OpenView) -> Json:
    """Return what a view's fields hold so far, for the fields it still has."""
    block_ids = {block["block_id"] for block, _ in elements(view.blocks)}
    return {block_id: value for block_id, value in view.values.items() if block_id in block_ids}
