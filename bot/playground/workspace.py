"""The one store of truth: what was said and opened, who may see it, and who wants to know."""

from __future__ import annotations

import copy
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
    Message,
    User,
    View,
    default_channels,
    default_users,
    im,
)
from bot.playground.rates import Rates

STACK_LIMIT = 3
"""How many modals may lie on each other (docs.slack.dev/surfaces/modals)."""

REPLAY = 2000
"""How many changes are kept for a page that comes back."""


@dataclass(frozen=True)
class Change:
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


class Workspace(Faults):
    """Users, channels, messages, views, and what tests ask to go wrong (`Faults`).

    Response URLs answer `ok`, or `{"ok": true}` with `json_answers`. `rates.counting` makes calls
    that come too often be refused.
    """

    def __init__(self, app: App, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self.app = app
        self.clock = clock
        self.json_answers = False
        self.rates = Rates(clock)
        self.users: dict[str, User] = {user.id: user for user in default_users(app.name)}
        self.channels: dict[str, Channel] = {place.id: place for place in default_channels()}
        self.usergroups: dict[str, Json] = {}
        self.files: dict[str, Json] = {}
        self.notices: list[Notice] = []
        self.traffic: deque[Json] = deque(maxlen=500)
        self._changes: deque[Change] = deque(maxlen=REPLAY)
        self.cursor = 0
        self._messages: dict[str, dict[str, Message]] = {name: {} for name in self.channels}
        self._modals: dict[str, list[View]] = {}
        self._homes: dict[str, View] = {}
        self._listeners: list[Callable[[], None]] = []
        self._numbers = itertools.count(1)
        self._last_ts = 0
        self._secrets = app.secrets()

    # Reading

    def messages(self, channel: str, user: str | None = None) -> list[Message]:
        """Return a channel's messages and replies, oldest first, as `user` sees them.

        Without a user: only what everyone sees.
        """
        held = self._messages[channel].values()
        return sorted((m for m in held if m.seen_by(user)), key=lambda m: m.ts)

    def thread(self, channel: str, ts: str, user: str | None = None) -> list[Message]:
        """Return a thread, its first message included, oldest first."""
        return [m for m in self.messages(channel, user) if ts in {m.ts, m.thread_ts}]

    def message(self, channel: str, ts: str) -> Message | None:
        """Return one message, ephemeral ones too."""
        return self._messages.get(channel, {}).get(ts)

    def modals(self, user: str) -> list[View]:
        """Return the stack of modals that `user` sees, the last on top."""
        return list(self._modals.get(user, ()))

    def modal(self, user: str) -> View | None:
        """Return the modal on top, if any is open."""
        return next(reversed(self._modals.get(user, [])), None)

    def home(self, user: str) -> View | None:
        """Return the user's App Home, if the app has published one."""
        return self._homes.get(user)

    def view(self, view_id: str) -> View | None:
        """Return an open view by its id."""
        return next((view for view in self._views() if view.id == view_id), None)

    def view_by_external_id(self, external_id: str) -> View | None:
        """Return an open view by the app's own name for it."""
        return next((view for view in self._views() if view.external_id == external_id), None)

    def im(self, user: str) -> Channel:
        """Return the direct messages between `user` and the bot, opened if need be."""
        place = next((c for c in self.channels.values() if c.user == user), None)
        return place or self.add_channel(im(user))

    def channels_of(self, user: str) -> list[Channel]:
        """Return the places that `user` is in."""
        return [place for place in self.channels.values() if user in place.members]

    def may_see(self, change: Change, user: str) -> bool:
        """Whether a change is any of the user's business."""
        if change.user is not None:
            return change.user == user
        return change.channel is None or user in self.channels[change.channel].members

    # Changing

    def add_user(self, user: User) -> User:
        """Take in somebody new."""
        self.users[user.id] = user
        return user

    def add_channel(self, channel: Channel) -> Channel:
        """Open a new place, or put changes of an existing one before everyone."""
        self.channels[channel.id] = channel
        self._messages.setdefault(channel.id, {})
        self.publish("channel", {"channel": channel.for_page()}, channel=channel.id)
        return channel

    def next_ts(self) -> str:
        """Return a new message's ts: the clock in microseconds, never twice the same."""
        now = int(self.clock().timestamp() * 1_000_000)
        self._last_ts = max(now, self._last_ts + 1)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def next_id(self, prefix: str) -> str:
        """Return an id of Slack's looks, e.g. `V0000000001`."""
        return f"{prefix}{next(self._numbers):010d}"

    def post(self, channel: str, user: str, text: str, **rest: Any) -> Message:
        """Put a message where it belongs and tell everyone who sees it."""
        message = Message(self.next_ts(), channel, user, text, **rest)
        message.blocks = self.with_block_ids(message.blocks)
        self._messages[channel][message.ts] = message
        self.changed(message)
        return message

    def changed(self, message: Message) -> None:
        """Tell everyone who sees it that a message is new or different."""
        body = {"message": self.message_for_page(message)}
        self.publish("message", body, channel=message.channel, user=message.ephemeral_for)

    def remove(self, message: Message) -> None:
        """Take a message away."""
        del self._messages[message.channel][message.ts]
        body = {"channel": message.channel, "ts": message.ts}
        self.publish("message_removed", body, channel=message.channel, user=message.ephemeral_for)

    def notice(self, user: str, channel: str | None, text: str) -> None:
        """Show one person a line of Slack's own."""
        self.notices.append(Notice(user, channel, text))
        self.publish("notice", {"channel": channel, "text": text}, user=user)

    def push_modal(self, user: str, content: Json) -> View:
        """Lay a modal on top of the user's stack, however high it is."""
        stack = self._modals.setdefault(user, [])
        view_id = self.next_id("V")
        root = stack[0].id if stack else view_id
        below = stack[-1].id if stack else None
        view = View(view_id, user, self._settled(content), self._hash(), root, below)
        stack.append(view)
        self._modals_changed(user)
        return view

    def close_view(self, view: View) -> None:
        """Close one modal; what lay under it is seen again."""
        stack = self._modals.get(view.user, [])
        if view in stack:
            stack.remove(view)
            self._modals_changed(view.user)

    def clear_modals(self, user: str) -> None:
        """Close every modal of the user's stack."""
        if self._modals.pop(user, None):
            self._modals_changed(user)

    def update_view(self, view: View, content: Json) -> None:
        """Show something else in an open view; what was typed stays where ids stay."""
        view.content, view.hash = self._settled(content), self._hash()
        still = {block["block_id"] for block in view.blocks}
        view.values = {name: held for name, held in view.values.items() if name in still}
        if view is self._homes.get(view.user):
            self.publish("home", {"view": view.for_page()}, user=view.user)
        else:
            self._modals_changed(view.user)

    def publish_home(self, user: str, content: Json) -> View:
        """Set a user's App Home."""
        view = self._homes.get(user)
        if view is None:
            view_id = self.next_id("V")
            view = self._homes[user] = View(view_id, user, {"blocks": []}, "", view_id)
        self.update_view(view, content)
        return view

    def with_block_ids(self, blocks: Iterable[Json]) -> list[Json]:
        """Copy blocks, giving a block_id to those that have none, as Slack does."""
        settled = copy.deepcopy(list(blocks))
        for block in settled:
            block.setdefault("block_id", self.next_id("b"))
        return settled

    # Telling

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever something happens, until the function returned is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(
        self, kind: str, body: Json, *, channel: str | None = None, user: str | None = None
    ) -> None:
        """Number a change, keep it for replay, and tell those who listen."""
        self.cursor += 1
        self._changes.append(Change(self.cursor, kind, body, channel, user))
        self.wake()

    def wake(self) -> None:
        """Tell those who listen to look again."""
        for listener in list(self._listeners):
            listener()

    def remembers(self, cursor: int) -> bool:
        """Whether every change after `cursor` can still be told."""
        return self.cursor - len(self._changes) <= cursor <= self.cursor

    def changes_after(self, cursor: int) -> list[Change]:
        """Return the changes after `cursor`, oldest first."""
        return [change for change in self._changes if change.cursor > cursor]

    def record(self, direction: str, name: str, sent: Any, answer: Any) -> None:
        """Keep one exchange for the inspector, with everything secret masked."""
        entry: Json = {"at": self.clock().isoformat(), "direction": direction, "name": name}
        self.traffic.append(entry | {"sent": self.mask(sent), "answer": self.mask(answer)})
        self.wake()

    def mask(self, value: Any) -> Any:
        """Copy JSON with tokens, signatures, trigger ids and response URLs hidden."""
        if isinstance(value, dict):
            return {
                key: "…" if key in _HIDDEN and item else self.mask(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.mask(item) for item in value]
        if isinstance(value, str):
            return _BEARERS.sub("…", self._without_secrets(value))
        return value

    def _without_secrets(self, text: str) -> str:
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "…")
        return text

    def message_for_page(self, message: Message) -> Json:
        """Return a message as the page draws it."""
        author = self.users[message.user]
        shown: Json = {
            "ts": message.ts,
            "channel": message.channel,
            "user": message.user,
            "username": author.name,
            "is_bot": author.is_bot,
            "text": message.text,
            "blocks": copy.deepcopy(message.blocks),
            "ephemeral": message.ephemeral_for is not None,
            "edited": message.edited,
        }
        extra: Json = {
            "thread_ts": message.thread_ts,
            "metadata": message.metadata,
            "files": message.files,
        }
        return shown | {key: value for key, value in extra.items() if value}

    def _views(self) -> list[View]:
        return [*itertools.chain(*self._modals.values()), *self._homes.values()]

    def _settled(self, content: Json) -> Json:
        return copy.deepcopy(content) | {"blocks": self.with_block_ids(content["blocks"])}

    def _hash(self) -> str:
        return f"{int(self.clock().timestamp())}.{next(self._numbers):08x}"

    def _modals_changed(self, user: str) -> None:
        views = [view.for_page() for view in self._modals.get(user, ())]
        self.publish("modals", {"views": views}, user=user)


_HIDDEN = frozenset(
    {"token", "trigger_id", "response_url", "upload_url", "authorization", "url_ticket"}
)
_BEARERS = re.compile(
    r"xox[a-z]-[\w-]+|xapp-[\w-]+|v0=[0-9a-f]{64}|(?<=/response/)[\w-]+|(?<=ticket=)[\w-]+"
    r"|(?<=/upload/)[\w-]+"
)
