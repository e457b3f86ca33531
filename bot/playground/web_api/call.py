"""A call of a Web API method: its arguments, and the checks that many methods share."""

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bot.playground.app import App
from bot.playground.errors import SlackError
from bot.playground.objects import BOT_USER, Channel, Json, User
from bot.playground.tickets import Tickets
from bot.playground.workspace import Workspace

_JSON_ARGUMENTS = frozenset({"attachments", "blocks", "files", "metadata", "view"})


@dataclass
class WebAPICall:
    """What a method works with; `url` is the playground's own."""

    app: App
    workspace: Workspace
    tickets: Tickets
    url: str
    args: Json

    def text(self, name: str, error: str = "invalid_arguments") -> str:
        """Return a required argument. Raises SlackError with `error` if it is missing."""
        value = self.args.get(name)
        if value is None or value == "":
            raise SlackError(error)
        return str(value)

    def optional(self, name: str) -> str | None:
        """Return an argument, or None if it is missing or empty."""
        value = self.args.get(name)
        return None if value is None or value == "" else str(value)

    def flag(self, name: str) -> bool:
        """Return a boolean, which forms write in several ways."""
        return str(self.args.get(name)).lower() in {"1", "true"}

    def number(self, name: str, default: int) -> int:
        """Return a whole number."""
        try:
            return int(self.args.get(name) or default)
        except ValueError as error:
            raise SlackError("invalid_arguments") from error

    def need_scope(self, *scopes: str) -> None:
        """Raise `missing_scope` unless the app has one of `scopes`."""
        if scopes and not self.app.scopes.intersection(scopes):
            provided = ",".join(sorted(self.app.scopes))
            raise SlackError("missing_scope", needed=scopes[0], provided=provided)

    def user(self, name: str = "user") -> User:
        """Return the user that an argument names."""
        user = self.workspace.users.get(self.text(name, "user_not_found"))
        if user is None:
            raise SlackError("user_not_found")
        return user

    def channel(self, name: str = "channel") -> Channel:
        """Return the channel that an argument names, if the bot may know of it."""
        channel = self.workspace.channels.get(self.text(name, "channel_not_found"))
        if channel is None or (channel.is_private and BOT_USER not in channel.members):
            raise SlackError("channel_not_found")
        return channel

    def joined_channel(self) -> Channel:
        """Return the channel the call is about, which the bot must be in."""
        channel = self.channel()
        if BOT_USER not in channel.members:
            raise SlackError("not_in_channel")
        return channel

    def posting_channel(self, name: str = "channel") -> Channel:
        """Return where to post: a channel by id or name, or direct messages by the user's id."""
        word = self.text(name, "channel_not_found")
        if word == BOT_USER:
            raise SlackError("cannot_dm_bot")
        if word in self.workspace.users:
            return self.workspace.im(word)
        namesakes = (c for c in self.workspace.channels.values() if c.name == word.lstrip("#"))
        by_name = next((c for c in namesakes if not c.is_im), None)
        if by_name is not None:
            self.args[name] = by_name.id
        channel = self.channel(name)
        if channel.is_archived:
            raise SlackError("is_archived")
        if BOT_USER not in channel.members and "chat:write.public" not in self.app.scopes:
            raise SlackError("not_in_channel")
        return channel


async def read_arguments(request: web.Request) -> Json:
    """Read a request's arguments: the query, then a form or a JSON body."""
    query: Json = dict(request.query)
    if request.method == "POST" and request.content_type == "application/json":
        body = _json(await request.text(), "invalid_json")
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        return query | {key: value for key, value in body.items() if value is not None}
    if request.method == "POST":
        query |= {str(key): value for key, value in (await request.post()).items()}
    return query


def parse_arguments(args: Json) -> Json:
    """Parse the arguments that forms carry as JSON text."""
    return {key: _parse(key, value) for key, value in args.items()}


def _parse(key: str, value: Any) -> Any:
    if key not in _JSON_ARGUMENTS or not isinstance(value, str) or not value:
        return value
    return _json(value, "invalid_blocks_format" if key == "blocks" else "invalid_arguments")


def _json(text: str, wrong: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise SlackError(wrong) from error
