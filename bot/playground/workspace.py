"""The one source of truth: what was posted and opened, who may see it, and who follows it."""

import itertools
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.playground.app import App
from bot.playground.faults import Faults
from bot.playground.objects import (
    Channel,
    Json,
    OpenView,
    PostedMessage,
    User,
    im,
    sample_channels,
    sample_users,
)
from bot.playground.rates import Rates

MAX_MODALS = 3
"""How many modals can be stacked (docs.slack.dev/surfaces/modals)."""

REPLAY = 2000
"""How many events are kept for a page that reconnects."""


@dataclass(frozen=True)
class WorkspaceEvent:
    """Something that happened: numbered, for one `user` or for the members of a `channel`."""

    cursor: int
    kind: str
    body: Json
    channel: str | None = None
    user: str | None = None

    def for_page(self) -> Json:
        """Return the event that the page reads."""
        return {"cursor": self.cursor, "kind": self.kind, **self.body}


@dataclass(frozen=True)
class Notice:
    """A line that Slack itself shows to one person, e.g. that a command failed."""

    user: str
    channel: str | None
    text: str


class Workspace:
    """Users, channels, messages and views.

    Tests script what goes wrong in `faults`, and have calls that come too often refused with
    `rates.counting`.
    """

    def __init__(self, app: App, clock: Callable[[], datetime]) -> None:
        self.app = app
        self.clock = clock
        self.faults = Faults()
        self.rates = Rates(clock)
        self.users: dict[str, User] = {user.id: user for user in sample_users(app.name)}
        self.channels: dict[str, Channel] = {channel.id: channel for channel in sample_channels()}
        self.usergroups: dict[str, Json] = {}
        self.files: dict[str, Json] = {}
        self.notices: list[Notice] = []
        self.traffic: deque[Json] = deque(maxlen=500)
        self.cursor = 0
        self._events: deque[WorkspaceEvent] = deque(maxlen=REPLAY)
        self._messages: dict[str, dict[str, PostedMessage]] = {name: {} for name in self.channels}
        self._modals: dict[str, list[OpenView]] = {}
        self._homes: dict[str, OpenView] = {}
        self._listeners: list[Callable[[], None]] = []
        self._numbers = itertools.count(1)
        self._last_ts = 0
        own = [re.escape(each) for each in app.secrets() if each]
        self._secrets = re.compile("|".join([*own, _BEARERS]))

    # Reading

    def messages(self, channel: str, user: str | None = None) -> list[PostedMessage]:
        """Return a channel's messages and replies, oldest first, as `user` sees them.

        Without a user: only what everyone sees.
        """
        messages = self._messages[channel].values()
        return sorted((m for m in messages if m.visible_to(user)), key=lambda m: m.ts)

    def thread(self, channel: str, ts: str, user: str | None = None) -> list[PostedMessage]:
        """Return a thread including its parent, oldest first."""
        return [m for m in self.messages(channel, user) if ts in {m.ts, m.thread_ts}]

    def message(self, channel: str, ts: str) -> PostedMessage | None:
        """Return a message, ephemeral or not."""
        return self._messages.get(channel, {}).get(ts)

    def modals(self, user: str) -> list[OpenView]:
        """Return the user's stack of modals, the top one last."""
        return list(self._modals.get(user, ()))

    def modal(self, user: str) -> OpenView | None:
        """Return the user's top modal, if one is open."""
        return next(reversed(self._modals.get(user, [])), None)

    def home(self, user: str) -> OpenView | None:
        """Return the user's App Home, if the app has published one."""
        return self._homes.get(user)

    def view(self, view_id: str) -> OpenView | None:
        """Return an open view by its id."""
        views = itertools.chain(*self._modals.values(), self._homes.values())
        return next((view for view in views if view.id == view_id), None)

    def im(self, user: str) -> Channel:
        """Return the direct messages between `user` and the bot, opened if need be."""
        channel = next((c for c in self.channels.values() if c.user == user), None)
        return channel or self.add_channel(im(user))

    def channels_of(self, user: str) -> list[Channel]:
        """Return the channels that `user` is in."""
        return [channel for channel in self.channels.values() if user in channel.members]

    def may_see(self, event: WorkspaceEvent, user: str) -> bool:
        """Whether an event concerns a user."""
        if event.user is not None:
            return event.user == user
        return event.channel is None or user in self.channels[event.channel].members

    # Changing

    def add_user(self, user: User) -> User:
        """Add a user."""
        self.users[user.id] = user
        return user

    def add_channel(self, channel: Channel) -> Channel:
        """Add a channel, or announce changes of an existing one."""
        self.channels[channel.id] = channel
        self._messages.setdefault(channel.id, {})
        self.publish("channel", {"channel": channel.for_page()}, channel=channel.id)
        return channel

    def next_ts(self) -> str:
        """Return a new message's ts: the clock in microseconds, each value only once."""
        now = int(self.clock().timestamp() * 1_000_000)
        self._last_ts = max(now, self._last_ts + 1)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def next_id(self, prefix: str) -> str:
        """Return an id that looks like Slack's, e.g. `V0000000001`."""
        return f"{prefix}{next(self._numbers):010d}"

    def post(self, channel: str, user: str, text: str, **rest: Any) -> PostedMessage:
        """Post a message and show it to everyone who may see it."""
        message = PostedMessage(self.next_ts(), channel, user, text, **rest)
        message.blocks = self.with_block_ids(message.blocks)
        self._messages[channel][message.ts] = message
        self.show(message)
        return message

    def show(self, message: PostedMessage) -> None:
        """Tell everyone who may see it that a message is new or has changed."""
        body = {"message": self.message_for_page(message)}
        self.publish("message", body, channel=message.channel, user=message.ephemeral_for)

    def remove(self, message: PostedMessage) -> None:
        """Delete a message."""
        del self._messages[message.channel][message.ts]
        body = {"channel": message.channel, "ts": message.ts}
        self.publish("message_removed", body, channel=message.channel, user=message.ephemeral_for)

    def notice(self, user: str, channel: str | None, text: str) -> None:
        """Show one person a line from Slack itself."""
        self.notices.append(Notice(user, channel, text))
        self.publish("notice", {"channel": channel, "text": text}, user=user)

    def push_modal(self, user: str, content: Json) -> OpenView:
        """Push a modal onto the user's stack, however high it is."""
        stack = self._modals.setdefault(user, [])
        view_id = self.next_id("V")
        root = stack[0].id if stack else view_id
        previous = stack[-1].id if stack else None
        view = OpenView(view_id, user, self._with_ids(content), self._next_hash(), root, previous)
        stack.append(view)
        self._publish_modals(user)
        return view

    def close_view(self, view: OpenView) -> None:
        """Close a modal; the one below it becomes the top one."""
        stack = self._modals.get(view.user, [])
        if view in stack:
            stack.remove(view)
            self._publish_modals(view.user)

    def clear_modals(self, user: str) -> None:
        """Close all of the user's modals."""
        if self._modals.pop(user, None):
            self._publish_modals(user)

    def update_view(self, view: OpenView, content: Json) -> None:
        """Replace the content of an open view; values of blocks that stay are kept."""
        view.content, view.hash = self._with_ids(content), self._next_hash()
        block_ids = {block["block_id"] for block in view.blocks}
        view.values = {name: value for name, value in view.values.items() if name in block_ids}
        if view is self._homes.get(view.user):
            self.publish("home", {"view": view.for_page()}, user=view.user)
        else:
            self._publish_modals(view.user)

    def publish_home(self, user: str, content: Json) -> OpenView:
        """Set a user's App Home."""
        view = self._homes.get(user)
        if view is None:
            view_id = self.next_id("V")
            view = self._homes[user] = OpenView(view_id, user, {"blocks": []}, "", view_id)
        self.update_view(view, content)
        return view

    def with_block_ids(self, blocks: Iterable[Json]) -> list[Json]:
        """Copy blocks, giving a block_id to those without one, as Slack does."""
        copies: list[Json] = _copied(list(blocks))
        for block in copies:
            block.setdefault("block_id", self.next_id("b"))
        return copies

    # Events

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever something happens; returns a function that unsubscribes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(
        self, kind: str, body: Json, *, channel: str | None = None, user: str | None = None
    ) -> None:
        """Number an event, keep it for replay, and wake the listeners."""
        self.cursor += 1
        self._events.append(WorkspaceEvent(self.cursor, kind, body, channel, user))
        self.wake()

    def wake(self) -> None:
        """Call all listeners."""
        for listener in list(self._listeners):
            listener()

    def can_replay(self, cursor: int) -> bool:
        """Whether every event after `cursor` is still kept."""
        return self.cursor - len(self._events) <= cursor <= self.cursor

    def events_after(self, cursor: int) -> list[WorkspaceEvent]:
        """Return the events after `cursor`, oldest first."""
        return [event for event in self._events if event.cursor > cursor]

    def record(self, direction: str, name: str, request: Any, answer: Any) -> None:
        """Keep one exchange for the inspector, with every secret masked."""
        entry: Json = {"at": self.clock().isoformat(), "direction": direction, "name": name}
        self.traffic.append(entry | {"request": self.mask(request), "answer": self.mask(answer)})
        self.wake()

    def mask(self, value: Any) -> Any:
        """Copy JSON with tokens, signatures, trigger ids and response URLs masked."""
        if isinstance(value, dict):
            return {
                key: "…" if key in _SECRET_KEYS and item else self.mask(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.mask(item) for item in value]
        if isinstance(value, str):
            return self._secrets.sub(lambda found: (found[1] or "") + "…", value)
        return value

    def message_for_page(self, message: PostedMessage) -> Json:
        """Return a message as the page draws it."""
        always: Json = {
            "ts": message.ts,
            "channel": message.channel,
            "user": message.user,
            "text": message.text,
            "blocks": _copied(message.blocks),
            "ephemeral": message.ephemeral_for is not None,
        }
        optional: Json = {"thread_ts": message.thread_ts, "files": message.files}
        return always | {key: value for key, value in optional.items() if value}

    def _with_ids(self, content: Json) -> Json:
        blocks = self.with_block_ids(content["blocks"])
        return {**_copied(content), "blocks": blocks}

    def _next_hash(self) -> str:
        return f"{int(self.clock().timestamp())}.{next(self._numbers):08x}"

    def _publish_modals(self, user: str) -> None:
        views = [view.for_page() for view in self._modals.get(user, ())]
        self.publish("modals", {"views": views}, user=user)


def _copied(value: Any) -> Any:
    """Copy JSON in a fraction of the time that `copy.deepcopy` takes."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


_SECRET_KEYS = frozenset(
    {"token", "trigger_id", "response_url", "upload_url", "authorization", "url_ticket"}
)
_BEARERS = r"xox[a-z]-[\w-]+|xapp-[\w-]+|v0=[0-9a-f]{64}|(/response/|ticket=|/upload/)[\w-]+"
