"""What Slack sends, read: who asks, and what was typed, said, pressed or filled in.

Pure: a payload in, plain values out. Names in a payload are not to be trusted; the ids are Slack's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.commands.arguments import clean, split

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who sent a request, as its payload says; names in it are not to be trusted."""

    user: str
    team: str
    name: str


def asker_of(body: Body) -> Asker:
    """The asker of any payload. An event names the team of its author, which may not be ours."""
    user, event = body.get("user"), body.get("event")
    if isinstance(user, Mapping):  # block_actions, view_submission, message_action
        name = user.get("username") or user.get("name") or ""
        return Asker(str(user.get("id", "")), str(user.get("team_id", "")), str(name))
    if isinstance(event, Mapping):
        team = event.get("user_team") or event.get("team") or body.get("team_id")
        return Asker(str(event.get("user", "")), str(team or ""), "")
    name = str(body.get("user_name", ""))
    return Asker(str(body.get("user_id", "")), str(body.get("team_id", "")), name)


def is_for_bot(event: Body) -> bool:
    """Whether a message is said to the bot: a mention in a channel, or anything in private.

    Edits, joins and the like have a subtype; what bots write would be answered without end.
    """
    if event.get("subtype") or event.get("bot_id") or event.get("edited") or event.get("hidden"):
        return False
    if not event.get("user"):
        return False
    private = str(event.get("channel", "")).startswith("D") or event.get("channel_type") == "im"
    return private is (event.get("type") == "message")


def said_words(event: Body, bot_user: str) -> list[str]:
    """The words of a message to the bot: without its name, and without a `/ssl` before them."""
    mention = re.compile(rf"<@{re.escape(bot_user)}(?:\|[^>]*)?>")
    words = split(mention.sub(" ", str(event.get("text") or "")))
    return words[1:] if words and words[0].lower() in {"/ssl", "ssl"} else words


def pressed(action: Body) -> tuple[str, str]:
    """The verb and argument of a pressed button, or of the chosen line of a menu."""
    verb = str(action["action_id"]).split(":")[1]
    if verb != "menu":
        return verb, str(action.get("value") or "")
    chosen, _, argument = str(action["selected_option"]["value"]).partition(" ")
    return chosen, argument


def is_home(body: Body) -> bool:
    """Whether a button was pressed on the Home tab."""
    return str((body.get("view") or {}).get("type", "")) == "home"


def home_page(body: Body) -> int:
    """The number of the page that Home showed when a button on it was pressed."""
    kept = str((body.get("view") or {}).get("private_metadata") or "0")
    return int(kept) if kept.isdecimal() else 0


def home_channel(view: Body) -> str:
    """The channel that a modal was opened from, as the modal carries it; empty where none is."""
    try:
        kept = json.loads(view.get("private_metadata") or "{}")
    except ValueError:
        return ""
    return str(kept.get("channel", "")) if isinstance(kept, Mapping) else ""


def fields_of(values: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A form's fields by block id; what phones type is cleaned, a password is taken as it is."""
    return {
        block_id: text if "password" in block_id else "\n".join(map(clean, text.splitlines()))
        for block_id, inputs in values.items()
        for text in [str(next(iter(inputs.values())).get("value") or "")]
    }


def texts_of(message: Body) -> list[str]:
    """All that can be read in a message: its text, its blocks, and its attachments."""
    parts = (message.get("blocks"), message.get("attachments"))
    return [str(message.get("text") or ""), *(text for part in parts for text in _texts(part))]


def _texts(thing: Any) -> Iterator[str]:
    if isinstance(thing, list):
        for item in thing:
            yield from _texts(item)
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            if isinstance(value, str):
                if key in {"text", "url", "fallback", "title", "title_link", "from_url"}:
                    yield value
            else:
                yield from _texts(value)
