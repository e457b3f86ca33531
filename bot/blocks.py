"""Block Kit as plain dicts, from a handful of helpers that keep its limits.

Third-party text (certificates, pages, names) goes through `safe` or `code`, and nowhere else: what
a server sends can't ping anybody, fake a link, or break a message. Limits: Slack's Block Kit
reference (docs.slack.dev/reference/block-kit).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Block = dict[str, Any]

MAX_BLOCKS = 50
MAX_TEXT = 3000
#: Characters in all blocks of a message together. Slack's pages give no number; it was seen to
#: refuse a message (msg_blocks_too_long) from 11,000 on.
MAX_WORDS = 9000
#: Blocks that a list leaves for its title, its notes and its buttons.
ROOM = 8
MAX_FALLBACK = 3000
MAX_BUTTON = 75
MAX_VALUE = 2000
MAX_OPTION_VALUE = 150
#: Where the answer to a button goes: in its message's place, or below it.
Place = Literal["here", "below"]

_SPACES = re.compile(r"\s+")
# `:word:` is an emoji in mrkdwn, and a green tick would be a verdict.
_EMOJI = re.compile(r":(?=[^\s:]+:)")
_MRKDWN = str.maketrans({"*": "∗", "_": "ˍ", "~": "∼", "`": "ʹ"})
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# A date entity of `date`, and what it falls back to.
_DATE = re.compile(r"<!date\^[^|>]*\|([^>]*)>")
# A place to cut finished mrkdwn at; what stands before it may still be half of some markup.
_BREAK = re.compile(r"\s")


def plain(text: str, limit: int) -> str:
    """Third-party text on one line, without control and format characters, clipped."""
    visible = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in text[: 4 * limit])
    line = _SPACES.sub(" ", visible).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def safe(text: str, limit: int = 150) -> str:
    """Third-party text for mrkdwn: nothing in it is markup. Clipped first, so no entity is cut."""
    return _EMOJI.sub("∶", plain(text, limit).translate(_MRKDWN)).translate(_ENTITIES)


def escaped(text: str) -> str:
    """Our own words for mrkdwn, with the three characters escaped that Slack keeps for itself."""
    return text.translate(_ENTITIES)


def bare(text: str) -> str:
    """Finished mrkdwn as plain text, for a lock screen: no code marks, no entities."""
    text = _DATE.sub(r"\1", text).replace("`", "")
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return text


def code(text: str, limit: int = 260) -> str:
    """Third-party text in code style: a host name there never becomes a link."""
    inner = plain(text, limit).replace("`", "ʹ").translate(_ENTITIES)
    return f"`{inner}`" if inner else "`–`"


def date(at: datetime, tokens: str = "{date_short} {time}") -> str:
    """An absolute date in the reader's own zone; the fallback is written in UTC."""
    return f"<!date^{int(at.timestamp())}^{tokens}|{utc(at)}>"


def utc(at: datetime) -> str:
    """`22 Nov 2026 23:59 UTC`, for plain text."""
    return f"{at.astimezone(UTC):%-d %b %Y %H:%M} UTC"


def mrkdwn(text: str) -> Block:
    """A mrkdwn text object; `verbatim` keeps Slack from making links of bare host names."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def plain_text(text: str) -> Block:
    """A plain text object: no markup, and no `:emoji:` either."""
    return {"type": "plain_text", "text": text, "emoji": False}


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """Cut finished mrkdwn between two words, so that neither entity nor markup is cut in half."""
    if len(text) <= limit:
        return text
    for place in reversed([found.start() for found in _BREAK.finditer(text, 0, limit - 1)]):
        kept = text[:place]
        if kept.count("`") % 2 == 0 and kept.count("<") == kept.count(">"):
            return f"{kept} …"
    return "…"


def section(text: str, *, accessory: Block | None = None, block_id: str = "") -> Block:
    """A paragraph of mrkdwn, with at most one button or menu beside it."""
    block: Block = {"type": "section", "text": mrkdwn(clip(text))}
    if accessory:
        block["accessory"] = accessory
    if block_id:
        block["block_id"] = block_id
    return block


def fields(pairs: Iterable[tuple[str, str]]) -> Block:
    """Two columns of up to ten facts: a bold label and its value (mrkdwn) below it."""
    shown = list(pairs)[:10]
    return {
        "type": "section",
        "fields": [mrkdwn(clip(f"*{label}*\n{value}", 2000)) for label, value in shown],
    }


def header(text: str) -> Block:
    """A title, in plain text."""
    return {"type": "header", "text": plain_text(plain(text, 150))}


def context(text: str) -> Block:
    """Small print below a section."""
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
    """A button that *is* a command and its argument; `about` is what a screen reader says."""
    made: Block = {
        "type": "button",
        "action_id": f"ssl:{command}:{place}",
        "text": plain_text(plain(label, MAX_BUTTON)),
        "accessibility_label": plain(about, 75),
    }
    if argument:
        made["value"] = argument[:MAX_VALUE]
    if style:
        made["style"] = style
    if confirm:
        made["confirm"] = confirm
    return made


def menu(options: Iterable[tuple[str, str, str]], place: Place = "here") -> Block:
    """An overflow menu of up to five (label, command, argument); the last two are its value."""
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
    """Slack's own “are you sure” dialog, for a danger button."""
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
    """A form's field; its block id is the command's parameter."""
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
    """How long ago, as the reader's own clock says: a card is read long after it was written."""
    return f"<!date^{int(then.timestamp())}^{{ago}}|{ago(then, now)}>"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 host`, `3 hosts`, `1,200 hosts`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


@dataclass(frozen=True, slots=True)
class Message:
    """What a command answers: a lock-screen line, and the card.

    `public` asks for the channel instead of the asker's eyes only. `announce` is one line of mrkdwn
    for the channel, beside a private answer. `row` is this monitor's row as lists show it, so that
    a list that asked for a rescan can be brought up to date. `changed` tells the log of changes
    each target and what became of it; None where the command leaves that to its words. Where Slack
    refuses the blocks, `fallback` is shown, or else the text.
    """

    text: str
    blocks: tuple[Block, ...]
    public: bool = False
    announce: str = ""
    row: Block | None = None
    metadata: dict[str, Any] | None = None
    changed: tuple[tuple[str, str], ...] | None = None
    fallback: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message of the bot's stands, to be edited later.

    `thread_ts` names the thread that it is part of. `here` is whether the answer to what was asked
    goes to this very message; otherwise the asker has to be told where it is.
    """

    channel: str
    ts: str
    thread_ts: str | None = None
    here: bool = True


@dataclass(frozen=True, slots=True)
class Form:
    """A modal that asks for a command's arguments; its fields' block ids are the parameters."""

    command: str
    title: str
    submit: str
    blocks: tuple[Block, ...]


def words_in(block: Any) -> int:
    """How many characters of text a block, or several, hold in all."""
    if isinstance(block, dict):
        own = block.get("text")
        return len(own) if isinstance(own, str) else sum(map(words_in, block.values()))
    return sum(map(words_in, block)) if isinstance(block, list | tuple) else 0


def fitting(groups: Sequence[Sequence[Block]], most: int = MAX_WORDS) -> int:
    """How many leading groups of blocks one message takes; a group is kept whole or left."""
    words, blocks = 0, 0
    for number, group in enumerate(groups):
        words += words_in(list(group))
        blocks += len(group)
        if words > most or blocks > MAX_BLOCKS - ROOM:
            return number
    return len(groups)


def packed(
    lines: Iterable[str], make: Callable[[str], Block], limit: int = MAX_TEXT
) -> list[Block]:
    """Lines of mrkdwn in as few blocks as they fit in, none of them cut."""
    blocks: list[Block] = []
    held = ""
    for line in lines:
        if held and len(held) + 1 + len(line) > limit:
            blocks.append(make(held))
            held = ""
        held = f"{held}\n{line}" if held else line
    return [*blocks, make(held)] if held else blocks
