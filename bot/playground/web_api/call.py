"""One call of a Web API method: its arguments, and the checks that many methods share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from bot.playground.app import App
from bot.playground.objects import BOT_USER, Channel, Json, User
from bot.playground.tickets import SlackError, Tickets
from bot.playground.workspace import Workspace

_JSON_ARGUMENTS = frozenset({"blocks", "attachments", "metadata", "view", "files", "message"})


@dataclass
class Call:
    """What a method gets to see."""

    app: App
    workspace: Workspace
    tickets: Tickets
    url: str
    args: Json

    def text(self, name: str, error: str = "invalid_arguments") -> str:
        """Return a required argument."""
        value = self.args.get(name)
        if value is None or value == "":
            raise SlackError(error)
        return str(value)

    def optional(self, name: str) -> str | None:
        """Return an argument, or None where it is missing or empty."""
        value = self.args.get(name)
        return None if value is None or value == "" else str(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a yes or no, which forms write in several ways."""
        value = self.args.get(name)
        return default if value is None else str(value).lower() in {"1", "true"}

    def number(self, name: str, default: int) -> int:
        """Return a whole number."""
        try:
            return int(self.args.get(name) or default)
        except ValueError as error:
            raise SlackError("invalid_arguments") from error

    def names(self, name: str) -> list[str]:
        """Return a list that is written with commas."""
        value = self.args.get(name) or ""
        words = value if isinstance(value, list) else str(value).split(",")
        return [str(word).strip() for word in words if str(word).strip()]

    def need_scope(self, *scopes: str) -> None:
        """Raise `missing_scope` unless the app has one of `scopes`."""
        if scopes and not self.app.scopes.intersection(scopes):
            provided = ",".join(sorted(self.app.scopes))
            raise SlackError("missing_scope", needed=scopes[0], provided=provided)

    def user(self, name: str = "user") -> User:
        """Return the person an argument names."""
        found = self.workspace.users.get(self.text(name, "user_not_found"))
        if found is None:
            raise SlackError("user_not_found")
        return found

    def channel(self, name: str = "channel") -> Channel:
        """Return the place an argument names, if the bot can know of it."""
        word = self.text(name, "channel_not_found")
        found = self.workspace.channels.get(word)
        if found is None or (found.is_private and BOT_USER not in found.members):
            raise SlackError("channel_not_found")
        return found

    def joined_channel(self) -> Channel:
        """Return the place the call is about, which the bot must be in."""
        found = self.channel()
        if BOT_USER not in found.members:
            raise SlackError("not_in_channel")
        return found

    def posting_channel(self, name: str = "channel") -> Channel:
        """Return where to post: by id, by name, or somebody's direct messages by user id."""
        word = self.text(name, "channel_not_found")
        if word == BOT_USER:
            raise SlackError("cannot_dm_bot")
        if word in self.workspace.users:
            return self.workspace.im(word)
        named = (c for c in self.workspace.channels.values() if c.name == word.lstrip("#"))
        by_name = next((c for c in named if not c.is_im), None)
        if by_name is not None:
            self.args[name] = by_name.id
        found = self.channel(name)
        if found.is_archived:
            raise SlackError("is_archived")
        if BOT_USER not in found.members and "chat:write.public" not in self.app.scopes:
            raise SlackError("not_in_channel")
        return found


def read_arguments(given: Json) -> Json:
    """Read the arguments that forms carry as JSON text."""
    return {key: _read(key, value) for key, value in given.items()}


def _read(key: str, value: Any) -> Any:
    if key not in _JSON_ARGUMENTS or not isinstance(value, str) or not value:
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        wrong = "invalid_blocks_format" if key == "blocks" else "invalid_arguments"
        raise SlackError(wrong) from error
