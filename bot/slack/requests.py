"""Slack's payloads, each read once into a `Request`; no other module sees a payload.

Names in a payload are not to be trusted; IDs are Slack's own.
"""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from bot.blocks import Block, bare
from bot.commands.lookup import clean, router, split
from bot.commands.named_hosts import hosts_in, texts_of
from bot.target import Target

#: Others who are to read along: mentioned at first, or after “cc” (but not in a note).
_OTHERS = re.compile(r"^[\s:,;.&+-]*(?:<@[A-Z0-9]+(?:\|[^<>]*)?>[\s:,;.&+-]*)+")
_COPIED = re.compile(
    r"^((?!\s*(?:note|mute)\b).*?)[\s,;./(]*\b(?:cc|fyi)\b:?\s*"
    r"(?:<[@!][^<>]+>[\s,;.&+)]*|and\s+)+$",
    re.IGNORECASE | re.DOTALL,
)
_PUNCTUATION = " \t\n:,;.!?-–—"
#: A payload as Bolt passes it.
Body = Mapping[str, Any]


class Origin(Enum):
    """Where a request came from, which decides where its answer goes."""

    SLASH_COMMAND = auto()
    MENTION = auto()
    """A mention in a channel or thread, or a direct message."""
    CARD_BUTTON = auto()
    """A button whose answer takes the place of its message."""
    ROW_BUTTON = auto()
    """A button whose answer goes below its message, which stays."""
    MODAL = auto()
    HOME = auto()
    SHORTCUT = auto()


@dataclass(frozen=True, slots=True)
class Asker:
    """Who sent a request: user and workspace IDs, and a name that is not to be trusted.

    `team` is the user's home workspace; in Enterprise Grid, the request may come from another one,
    `workspace` (docs.slack.dev/enterprise).
    """

    user: str
    team: str
    name: str = ""
    workspace: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """An open modal, or a Home tab: its blocks, its page number, and the block of a press.

    `at` is when it was opened or last changed, by Slack's clock.
    """

    id: str
    at: datetime | None = None
    page: int = 0
    blocks: tuple[Block, ...] = ()
    block_id: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """The message that a pressed button belongs to; Slack sends no text with an ephemeral one."""

    ts: str
    thread_ts: str | None
    text: str
    blocks: tuple[Block, ...]
    block_id: str

    @property
    def at(self) -> datetime | None:
        """When it was posted, by Slack's clock."""
        known = re.fullmatch(r"[0-9]{1,11}\.[0-9]{1,6}", self.ts)
        return datetime.fromtimestamp(float(self.ts), UTC) if known else None


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks of the bot, in whichever way.

    `verb` and `argument` are the command: typed words joined by spaces, or a button's value.
    `delivery` stays the same if Slack repeats a request. `draft` is set if a form should open, and
    has its initial values; `fields` is a submitted form. `shares` posts a private answer in the
    channel; `stacks` opens a modal on top of another.
    """

    origin: Origin
    asker: Asker
    delivery: str
    verb: str = ""
    argument: str = ""
    channel: str = ""
    thread_ts: str | None = None
    trigger_id: str = ""
    response_url: str = ""
    private: bool = False
    source: Source | None = None
    view: View | None = None
    draft: Mapping[str, str] | None = None
    fields: Mapping[str, str] | None = None
    hosts: tuple[Target, ...] = ()
    shares: bool = False
    stacks: bool = False

    @property
    def typed(self) -> bool:
        """Whether the command was typed, so that its words may be abbreviated or misspelled."""
        return self.origin in {Origin.SLASH_COMMAND, Origin.MENTION}

    @property
    def posted(self) -> datetime | None:
        """When the message or view was posted whose button was pressed, if known."""
        return self.view.at if self.view else self.source.at if self.source else None

    @property
    def press(self) -> tuple[object, ...] | None:
        """Who pressed which button of which message or view; None if no button was pressed."""
        place = self.view.id if self.view else self.source.ts if self.source else ""
        if not place or self.fields is not None:
            return None
        return (self.asker.user, self.channel, place, self.verb, self.argument, self.shares)

    @property
    def words(self) -> list[str]:
        """The typed words after the verb."""
        return self.argument.split()


def read_command(body: Body) -> Request:
    """Read a slash command (docs.slack.dev, implementing slash commands)."""
    verb, argument = _verb(split(_COPIED.sub(r"\1", str(body.get("text") or ""))))
    return Request(
        Origin.SLASH_COMMAND,
        _asker(body),
        _delivery(body),
        verb,
        argument,
        channel=str(body["channel_id"]),
        trigger_id=str(body["trigger_id"]),
        response_url=str(body["response_url"]),
        private=True,
    )


def read_mention(body: Body, bot_user: str) -> Request | None:
    """Read a mention or a direct message; None if it isn't meant for the bot.

    A mention is answered in its thread, a direct message where it was written.
    """
    event = body["event"]
    if not _is_for_bot(event):
        return None
    verb, argument = _verb(said_words(event, bot_user))
    thread = event.get("thread_ts")
    if event["type"] == "app_mention":
        thread = thread or event["ts"]
    return Request(
        Origin.MENTION,
        _asker(body),
        _delivery(body),
        verb,
        argument,
        channel=str(event["channel"]),
        thread_ts=thread,
    )


def read_press(body: Body) -> Request:
    """Read a pressed button or menu item: `ssl:VERB:here`, with its argument as the value.

    `ssl:menu:…` is an overflow menu, whose values are `VERB ARGUMENT`. `ssl:form` opens the form of
    the command named by its value, and `ssl:share` runs it again for the channel.
    """
    action = body["actions"][0]
    verb, argument = _pressed(action)
    below = str(action["action_id"]).endswith(":below")
    container, view = body.get("container") or {}, body.get("view") or {}
    draft, shares = None, verb == "share"
    if verb in {"form", "share"}:
        command, _, argument = argument.partition(" ")
        if verb == "form":
            draft = {str(k): str(v) for k, v in json.loads(argument or "{}").items()}
            argument = ""
        verb = command
    return Request(
        _origin(view, below=below),
        _asker(body),
        _delivery(body),
        verb,
        argument,
        channel=_channel(body),
        trigger_id=str(body.get("trigger_id", "")),
        response_url=str(body.get("response_url", "")),
        private=bool(container.get("is_ephemeral")),
        source=None if view else _source(body, container, action),
        view=_view(view, str(action.get("block_id", ""))) if view else None,
        draft=draft,
        shares=shares,
        stacks=below and view.get("type") == "modal",
    )


def read_form(body: Body) -> Request:
    """Read a submitted form: its callback ID names the command, its block IDs the parameters."""
    view = body["view"]
    return Request(
        Origin.MODAL,
        _asker(body),
        _delivery(body),
        str(view["callback_id"]).removeprefix("ssl:"),
        channel=_channel(body),
        view=_view(view),
        fields=fields_of(view["state"]["values"]),
    )


def read_shortcut(body: Body) -> Request:
    """Read “Check hosts in message”: the hosts that a message names."""
    return Request(
        Origin.SHORTCUT,
        _asker(body),
        _delivery(body),
        channel=_channel(body),
        trigger_id=str(body["trigger_id"]),
        response_url=str(body.get("response_url") or ""),
        hosts=tuple(hosts_in(texts_of(body.get("message") or {}))),
    )


def read_home(body: Body) -> Request | None:
    """Read the opening of the Home tab; None for the app's other tabs."""
    if body["event"].get("tab") != "home":
        return None
    return Request(Origin.HOME, _asker(body), _delivery(body), "home")


def _verb(words: list[str]) -> tuple[str, str]:
    """The command and its words; without words the menu, and for a host its status.

    `scan help` and `digest here -h` ask for help.
    """
    if not words:
        return "", ""
    both = re.match(r"([a-z]+)[=:](?=.)", words[0], re.IGNORECASE)
    if both and router.find(both[1].lower()):  # `status=example.com`
        words = [both[1], words[0][both.end() :], *words[1:]]
    if words[-1].lower() == "help" and all(re.fullmatch("[a-z_]+", w.lower()) for w in words):
        return "help", " ".join(words[:-1])
    verb = words[0].lower() if "." in words[0] else words[0].lower().strip("*")
    if re.fullmatch(r"#?[0-9]{1,15}|.*[.:].*[\w\]/]", verb) or verb.startswith("*."):
        if len(words) == 2 and words[1].lower() in router.commands:  # `example.com scan`
            return words[1].lower(), words[0]
        return "status", " ".join(words)
    while words[2:] and words[1] in {"=", "=="}:  # `status = example.com`
        del words[1]
    return verb, " ".join(words[1:])


def _asker(body: Body) -> Asker:
    """The asker in any payload. An event names its author's workspace, which may not be ours."""
    user, event = body.get("user"), body.get("event")
    if isinstance(user, Mapping):  # block_actions, view_submission, message_action
        name = user.get("username") or user.get("name") or ""
        workspace = (body.get("team") or {}).get("id") or ""
        return Asker(
            str(user.get("id", "")), str(user.get("team_id", "")), str(name), str(workspace)
        )
    if isinstance(event, Mapping):
        team = event.get("user_team") or event.get("team") or body.get("team_id")
        workspace = str(body.get("team_id") or "")
        return Asker(str(event.get("user", "")), str(team or ""), workspace=workspace)
    name = str(body.get("user_name", ""))
    return Asker(str(body.get("user_id", "")), str(body.get("team_id", "")), name)


def _delivery(body: Body) -> str:
    """Identifies a request, even if Slack, or an attacker, repeats it."""
    return str(body.get("trigger_id") or body.get("event_id") or uuid.uuid4())


def _is_for_bot(event: Body) -> bool:
    """Whether a message is meant for the bot: a mention in a channel, or anything in private.

    Edits, joins and the like have a subtype; answering bots could loop forever.
    """
    # Messages with files, and thread replies that are also sent to the channel.
    spoken = event.get("subtype") in {None, "", "file_share", "thread_broadcast"}
    if not spoken or event.get("bot_id") or event.get("edited") or event.get("hidden"):
        return False
    if not event.get("user"):
        return False
    private = str(event.get("channel", "")).startswith("D") or event.get("channel_type") == "im"
    return private is (event.get("type") == "message")


def said_words(event: Body, bot_user: str) -> list[str]:
    """The words after the bot's name, or else those before it."""
    mention = re.compile(rf"<@{re.escape(bot_user)}(?:\|[^<>]*)?>")
    before, named, after = _parted(mention, str(event.get("text") or ""))
    said = mention.sub(" ", after if named and after.strip(_PUNCTUATION) else before + after)
    return split(_OTHERS.sub("", _COPIED.sub(r"\1", said)))


def _parted(pattern: re.Pattern[str], text: str) -> tuple[str, bool, str]:
    match = pattern.search(text)
    if match is None:
        return text, False, ""
    return text[: match.start()], True, text[match.end() :]


def _pressed(action: Body) -> tuple[str, str]:
    """The verb and argument of a button, or of the chosen menu item."""
    verb = str(action["action_id"]).split(":")[1]
    if verb != "menu":
        return verb, str(action.get("value") or "")
    chosen, _, argument = str(action["selected_option"]["value"]).partition(" ")
    return chosen, argument


def _origin(view: Body, *, below: bool) -> Origin:
    if view:
        return Origin.HOME if view.get("type") == "home" else Origin.MODAL
    return Origin.ROW_BUTTON if below else Origin.CARD_BUTTON


def _channel(body: Body) -> str:
    """The channel of a payload; for a modal, the one that it was opened from."""
    view = body.get("view") or {}
    if view.get("type") != "modal":
        return str((body.get("channel") or {}).get("id", ""))
    try:
        metadata = json.loads(view.get("private_metadata") or "{}")
    except ValueError:
        return ""
    return str(metadata.get("channel", "")) if isinstance(metadata, Mapping) else ""


def _view(view: Body, block_id: str = "") -> View:
    # Slack's hash begins with the time in whole seconds, though Slack promises nothing about it
    known = re.match(r"1[0-9]{9}(?=\.)", str(view.get("hash", "")))
    at = datetime.fromtimestamp(int(known[0]) + 1, UTC) if known else None
    if view.get("type") != "home":
        return View(str(view["id"]), at)
    page = str(view.get("private_metadata") or "0")
    blocks = tuple(view.get("blocks") or ())
    return View(str(view["id"]), at, int(page) if page.isdecimal() else 0, blocks, block_id)


def _source(body: Body, container: Body, action: Body) -> Source:
    message = body.get("message") or {}
    return Source(
        ts=str(container.get("message_ts", "")),
        thread_ts=message.get("thread_ts"),
        text=bare(str(message.get("text", ""))),
        blocks=tuple(message.get("blocks") or ()),
        block_id=str(action.get("block_id", "")),
    )


def fields_of(values: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A form's fields by block ID, without what phones add; a password stays as typed."""
    return {
        block_id: text if "password" in block_id else "\n".join(map(clean, text.splitlines()))
        for block_id, inputs in values.items()
        for text in [_entered(next(iter(inputs.values())))]
    }


def _entered(field: Mapping[str, Any]) -> str:
    """The value of a field: its text, or that of the chosen option."""
    return str(field.get("value") or (field.get("selected_option") or {}).get("value") or "")
