"""Block Kit as plain dicts, built by a few helpers that enforce Slack's limits.

All third-party text (certificates, pages, names) must go through `safe` or `code`, so that nothing
a server sends can mention people, fake a link or break a message. The limits are those of Slack's
Block Kit reference (docs.slack.dev/reference/block-kit).
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

Block = dict[str, Any]

MAX_BLOCKS = 50
MAX_TEXT = 3000
#: The most characters in all blocks of a message. Slack documents no limit, but refuses messages of
#: 11,000 characters and more (msg_blocks_too_long).
MAX_CHARACTERS = 9000
#: Blocks reserved for the title, notes and buttons of a list.
ROOM = 8
MAX_FALLBACK = 3000
MAX_BUTTON = 75
MAX_VALUE = 2000
MAX_OPTION_VALUE = 150
MAX_BLOCK_ID = 255
#: Where the reply to a button goes: in place of the button's message, or below it.
Place = Literal["here", "below"]

# `:word:` is an emoji in mrkdwn: a certificate could show its own green check mark.
_EMOJI = re.compile(r":(?=[^\s:]+:)")
_MRKDWN = str.maketrans({"*": "∗", "_": "ˍ", "~": "∼", "`": "ʹ"})
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# A date entity as `date` writes it, or a link as `hyperlink` does; the group is its text.
_ENTITY = re.compile(r"<(?:!date\^|https?:)[^|>]*\|([^>]*)>|<(#\w+)>")
# How many characters of a date readers see, by its tokens (docs.slack.dev, formatting dates).
_DATES = {"{date_short}": 12, "{date_short} {time}": 21, "{time}": 8, "{ago}": 12}
_SHOWN_DATE = re.compile(rf"<!date\^[0-9]+\^({'|'.join(map(re.escape, _DATES))})\|[^>]*>")
# A link that people may follow: http or https, in printable ASCII, without a user name.
_LINK = re.compile(r"https?://[\w.:\[\]-]+(?:[/?#][!#-;=?-_a-{}~]*)?", re.ASCII)
LONGEST_LINK = 500
# Two stars would make what is between them bold.
_PATTERN = re.compile(r"[\w.-]*\*[\w.*-]*[\w*]")
# Where finished mrkdwn may be cut, unless some markup is still open there.
_BREAK = re.compile(r"\s")


def plain(text: str, limit: int) -> str:
    """Third-party text on one line, without control and format characters, clipped."""
    shown = text[: 4 * limit]
    if not shown.isprintable():
        shown = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in shown)
    line = " ".join(shown.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def safe(text: str, limit: int = 150) -> str:
    """Third-party text for mrkdwn, without any markup. Clipped first, so that no entity is cut."""
    return _EMOJI.sub("∶", plain(text, limit).translate(_MRKDWN)).translate(_ENTITIES)


def escaped(text: str) -> str:
    """Our own text for mrkdwn, with `&`, `<` and `>` escaped (docs.slack.dev, "Escaping text")."""
    return text.translate(_ENTITIES)


def told(text: str, limit: int) -> str:
    """A sentence of ours for mrkdwn, whose “quoted” parts are a third party's."""
    parts = re.split(r"(“.*?”)", plain(text, limit), flags=re.DOTALL)
    return "".join(
        safe(part, limit) if part[:1] == "“" else _PATTERN.sub(r"`\g<0>`", escaped(part))
        for part in parts
    )


def bare(text: str) -> str:
    """Finished mrkdwn as plain text, for notifications: no backticks, no entities."""
    text = _ENTITY.sub(r"\1\2", text).replace("`", "")
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return text


def width(text: str) -> int:
    """How many characters a reader sees of finished mrkdwn; an emoji is as wide as two."""
    shown = bare(_SHOWN_DATE.sub(lambda found: "x" * _DATES[found[1]], text))
    return sum(2 if each > "⸀" else 1 for each in shown)


def mention(name: str) -> str:
    """A user or user group as Slack writes it, by ID: `<@U…>` or `<!subteam^S…>`."""
    return f"<!subteam^{name}>" if name.startswith("S") else f"<@{name}>"


def code(text: str, limit: int = 260) -> str:
    """Third-party text as inline code, where Slack never turns a host name into a link."""
    inner = plain(text, limit).replace("`", "ʹ").translate(_ENTITIES)
    return f"`{inner}`" if inner else "`–`"


def hyperlink(url: str, text: str) -> str:
    """A third party's URL as a link with this text of ours; empty if nobody should follow it."""
    usable = len(url) <= LONGEST_LINK and _LINK.fullmatch(url)
    return f"<{escaped(url)}|{text}>" if usable else ""


def date(at: datetime, tokens: str = "{date_short} {time}") -> str:
    """A date that Slack shows in the reader's time zone; the fallback is in UTC."""
    return f"<!date^{int(at.timestamp())}^{tokens}|{utc(at)}>"


def utc(at: datetime) -> str:
    """`22 Nov 2026 23:59 UTC`, for plain text."""
    return f"{at.astimezone(UTC):%-d %b %Y %H:%M} UTC"


def mrkdwn(text: str) -> Block:
    """A mrkdwn text object; `verbatim` stops Slack from linking bare host names."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def plain_text(text: str) -> Block:
    """A plain text object: no markup, no `:emoji:`."""
    return {"type": "plain_text", "text": text, "emoji": False}


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """Cut finished mrkdwn between two words, never inside an entity or markup."""
    if len(text) <= limit:
        return text
    for end in reversed([space.start() for space in _BREAK.finditer(text, 0, limit - 1)]):
        start = text[:end]
        if start.count("`") % 2 == 0 and start.count("<") == start.count(">"):
            return f"{start} …"
    return "…"


def section(text: str, *, accessory: Block | None = None, block_id: str = "") -> Block:
    """A paragraph of mrkdwn, optionally with one button or menu beside it."""
    block: Block = {"type": "section", "text": mrkdwn(clip(text))}
    if accessory:
        block["accessory"] = accessory
    if block_id:
        block["block_id"] = block_id
    return block


def fields(pairs: Iterable[tuple[str, str]]) -> Block:
    """Up to ten facts in two columns, each a bold label with its value (mrkdwn) below."""
    return {
        "type": "section",
        "fields": [mrkdwn(clip(f"*{label}*\n{value}", 2000)) for label, value in list(pairs)[:10]],
    }


def header(text: str) -> Block:
    """A title in plain text."""
    return {"type": "header", "text": plain_text(plain(text, 150))}


def context(text: str) -> Block:
    """A line in small gray text."""
    return {"type": "context", "elements": [mrkdwn(clip(text))]}


def button(
    label: str,
    command: str,
    argument: str,
    place: Place = "here",
    *,
    about: str,
    style: Literal["primary", "danger", ""] = "",
    confirm: Block | None = None,
) -> Block:
    """A button that runs `/ssl COMMAND ARGUMENT`; `about` is its label for screen readers."""
    optional = {"value": argument[:MAX_VALUE], "style": style, "confirm": confirm}
    return {
        "type": "button",
        "action_id": f"ssl:{command}:{place}",
        "text": plain_text(plain(label, MAX_BUTTON)),
        "accessibility_label": plain(about, 75),
    } | {name: value for name, value in optional.items() if value}


def menu(options: Iterable[tuple[str, str, str]], place: Place = "here") -> Block:
    """An overflow menu of up to five (label, command, argument); the latter two form the value."""
    return {
        "type": "overflow",
        "action_id": f"ssl:menu:{place}",
        "options": [
            {"text": plain_text(label), "value": f"{command} {argument}"[:MAX_OPTION_VALUE]}
            for label, command, argument in list(options)[:5]
        ],
    }


def actions(*elements: Block) -> Block:
    """A row of buttons."""
    return {"type": "actions", "elements": list(elements)}


def confirmation(title: str, text: str, yes: str, no: str) -> Block:
    """Slack's confirmation dialog for a dangerous button."""
    return {
        "title": plain_text(plain(title, 100)),
        "text": plain_text(plain(text, 300)),
        "confirm": plain_text(plain(yes, 30)),
        "deny": plain_text(plain(no, 30)),
        "style": "danger",
    }


def text_input(
    block_id: str, label: str, *, hint: str = "", lines: bool = False, optional: bool = False
) -> Block:
    """A text field of a form; its block ID is the name of the command's parameter."""
    block: Block = {
        "type": "input",
        "block_id": block_id,
        "label": plain_text(label),
        "optional": optional,
        "element": {"type": "plain_text_input", "action_id": block_id, "multiline": lines},
    }
    if hint:
        block["hint"] = plain_text(hint)
    return block


def select_input(block_id: str, label: str, options: Mapping[str, str], *, hint: str = "") -> Block:
    """An optional choice of a form, by value: `{"smtp": "SMTP (STARTTLS)"}`."""
    offered = [{"text": plain_text(text), "value": name} for name, text in options.items()]
    block: Block = {
        "type": "input",
        "block_id": block_id,
        "label": plain_text(label),
        "optional": True,
        "element": {"type": "static_select", "action_id": block_id, "options": offered},
    }
    if hint:
        block["hint"] = plain_text(hint)
    return block


def ago(then: datetime, now: datetime) -> str:
    """How long ago: `just now`, `5 min ago`, `3 h ago`, `2 days ago`."""
    minutes = int((now - then).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if minutes < 48 * 60:
        return f"{minutes // 60} h ago"
    return f"{minutes // (24 * 60):,} days ago"


def since(then: datetime, now: datetime) -> str:
    """How long ago, counted by Slack when the card is read; the fallback counts to `now`."""
    past = min(then, now)  # another clock may be ahead, or this one was set back
    return f"<!date^{int(past.timestamp())}^{{ago}}|{ago(past, now)}>"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 host`, `3 hosts`, `1,200 hosts`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


@dataclass(frozen=True, slots=True)
class Message:
    """A command's reply: a card, and one line for notifications.

    `text` is that line. `public` posts to the channel instead of showing the reply to the user
    alone. `announce` is one line of mrkdwn for the channel, next to a private reply; for
    `announce_in`, if another channel was changed. `row` is the monitor's row as lists show it, so
    that the list where a rescan was requested can be refreshed; `more` are the buttons that such a
    row then gets below itself. `rows` are the rows of several monitors. `asked` is when the API was
    asked for the state that these rows show; None means now.
    `outcome` is how the command ended, for the metrics: `answered`, `usage` (it was not understood)
    or `failed`. With `in_row`, a list whose row was pressed shows it in the row alone. `row_says`
    is what the row says of a press that left it as it was. A `secret` is for its asker alone,
    wherever they asked.
    `changed` holds a (target, outcome) pair for each audit entry, or None if the audit log takes
    them from the command's arguments. If Slack refuses the blocks, `fallback` is sent instead, or
    else the text.
    """

    text: str
    blocks: tuple[Block, ...]
    public: bool = False
    announce: str = ""
    announce_in: str = ""
    row: Block | None = None
    more: Block | None = None
    rows: tuple[Block, ...] = ()
    asked: datetime | None = None
    metadata: dict[str, Any] | None = None
    changed: tuple[tuple[str, str], ...] | None = None
    fallback: tuple[Block, ...] = ()
    outcome: str = "answered"
    in_row: bool = False
    row_says: str = ""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """Where Slack keeps a message of the bot, for later edits.

    `thread_ts` is its thread, if any. `here` says whether the message itself answers the user's
    request; if not, the user must be told where it is.
    """

    channel: str
    ts: str
    thread_ts: str | None = None
    here: bool = True


@dataclass(frozen=True, slots=True)
class Form:
    """A modal that asks for a command's arguments; its block IDs are the parameter names."""

    command: str
    title: str
    submit: str
    blocks: tuple[Block, ...]


def text_length(blocks: Any) -> int:
    """The number of characters of text in a block or a sequence of blocks."""
    if isinstance(blocks, dict):
        text = blocks.get("text")
        return len(text) if isinstance(text, str) else sum(map(text_length, blocks.values()))
    return sum(map(text_length, blocks)) if isinstance(blocks, list | tuple) else 0


def fitting(groups: Sequence[Sequence[Block]], most: int = MAX_CHARACTERS) -> int:
    """How many of the first groups of blocks fit into one message; a group is never split."""
    characters, blocks = 0, 0
    for number, group in enumerate(groups):
        characters += text_length(list(group))
        blocks += len(group)
        if characters > most or blocks > MAX_BLOCKS - ROOM:
            return number
    return len(groups)


def packed(
    lines: Iterable[str], make: Callable[[str], Block], limit: int = MAX_TEXT
) -> list[Block]:
    """Lines of mrkdwn in as few blocks as possible, none of them cut."""
    blocks: list[Block] = []
    text = ""
    for line in lines:
        if text and len(text) + 1 + len(line) > limit:
            blocks.append(make(text))
            text = ""
        text = f"{text}\n{line}" if text else line
    return [*blocks, make(text)] if text else blocks


_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def fallback_text(message: Message) -> str:
    """The notification's line: plain text while we have it, mrkdwn as Slack wants it."""
    return plain(message.text, MAX_FALLBACK).translate(_ENTITIES)


def as_text(message: Message) -> Message:
    """The message as plain sections, for when Slack refuses the blocks."""
    texts = [fallback_text(message)]
    for block in message.blocks:
        held = [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]
        texts += [found["text"] for found in held if found and isinstance(found.get("text"), str)]
    return replace(message, blocks=tuple(packed(texts, section)))
