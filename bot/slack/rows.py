"""Lists and digests that the bot showed, kept so that one row can be refreshed at a time.

Two people press Rescan on two rows: the second edit must not bring back the old state of the first
row, which the second press still carries. Slack sends no text with a press on an ephemeral list,
so the bot keeps what it sent and finds it by a name in the list's block ids.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from bot.blocks import MAX_BLOCKS, Block, Message

#: What a digest's first lines say of its fixed rows.
_FIXED = re.compile(r" ?✅ \d+ of \d+ fixed\. ?")
#: So many pressed rows keep their further buttons.
EXPANDED = 2

#: The most bytes that the kept lists take as JSON, which is about a third of what they take here.
MOST_BYTES = 2 * 2**20


@dataclass(slots=True)
class RowList:
    """A list or digest as it stands now, with the lock for its next edit.

    `stories` are the replies in its thread, one for each pressed row, by the row's block ID.
    """

    text: str
    blocks: list[Block]
    stories: dict[str, str] = field(default_factory=dict)
    size: int = field(init=False)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _expanded: list[str] = field(default_factory=list)
    _has_buttons: bool = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.text) + len(msgspec.json.encode(self.blocks))
        self._has_buttons = any("accessory" in block for block in self.blocks)

    @property
    def message(self) -> Message:
        """The list as a message; a digest's first lines say how many of its rows are fixed."""
        rows = [block for block in self.blocks if _name(block).startswith("row:")]
        fixed = sum("~`" in str(row["text"]["text"]).partition("\n")[0] for row in rows)
        if not fixed or not _is_digest(self.blocks):
            return Message(self.text, tuple(self.blocks))
        said = f" ✅ {fixed} of {len(rows)} fixed."
        summary = self.blocks[1]
        text = _FIXED.sub("", str(summary["text"]["text"])) + said
        shown = {**summary, "text": {**summary["text"], "text": text}}
        first = _FIXED.sub("", self.text)
        return Message(f"{said.strip()} {first}", (self.blocks[0], shown, *self.blocks[2:]))

    def row(self, row: Block | None) -> Block | None:
        """The block that shows the same monitor as `row`, if the list has one."""
        name = _name(row or {})
        return next((block for block in self.blocks if name and _name(block) == name), None)

    def replace(self, row: Block, more: Block | None = None) -> None:
        """Put a row in the place of its old state; its button only if the others have one.

        `more` are the buttons that it gets below itself, in a list whose rows have buttons. Only
        the last EXPANDED rows keep theirs.
        """
        old = self.row(row)
        kept = {k: v for k, v in row.items() if k != "accessory" or self._has_buttons}
        suffix = str(old["block_id"]).partition("@")[2] if old else ""
        blocks: list[Block] = []
        for block in self.blocks:
            if block is old:
                blocks.append({**kept, "block_id": block["block_id"]})
                if more and self._has_buttons:
                    blocks.append({**more, "block_id": _named(_name(more), suffix)})
            elif _name(block) != _more_of(row):
                blocks.append(block)
        self.blocks = blocks
        self._fold(_more_of(row) if more else "")

    def _fold(self, newest: str) -> None:
        """Remove the buttons below all rows but the last EXPANDED that were pressed."""
        shown = [_name(block) for block in self.blocks if _name(block).startswith("more:")]
        order = [name for name in self._expanded if name in shown and name != newest]
        order = [name for name in shown if name not in order and name != newest] + order
        self._expanded = [*order, newest][-EXPANDED:] if newest else order[-EXPANDED:]
        folded = set(shown) - set(self._expanded)
        if len(self.blocks) > MAX_BLOCKS:
            folded = set(shown)
        self.blocks = [block for block in self.blocks if _name(block) not in folded]


class RowLists:
    """The lists that were shown last, as many as fit into a number of bytes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._lists: OrderedDict[str, RowList] = OrderedDict()
        self._most_bytes = most_bytes
        self._bytes = 0

    def remember(self, message: Message) -> Message:
        """A private list with a name of its own in its block ids, to find it by later."""
        list_id = uuid.uuid4().hex[:16]
        blocks = [
            {**block, "block_id": f"{_name(block) or f'part:{number}'}@{list_id}"}
            for number, block in enumerate(message.blocks)
        ]
        self._keep(list_id, RowList(message.text, blocks))
        return dataclasses.replace(message, blocks=tuple(blocks))

    def private(self, block_id: str) -> RowList | None:
        """The private list with this block; None for one that is no longer kept."""
        list_id = block_id.partition("@")[2]
        rows = self._lists.get(list_id)
        return self._keep(list_id, rows) if rows else None

    def public(self, channel: str, ts: str, text: str, blocks: Sequence[Block]) -> RowList:
        """The list or digest at this place; the first press brings its text and blocks along."""
        list_id = f"{channel} {ts}"
        return self._keep(list_id, self._lists.get(list_id) or RowList(text, list(blocks)))

    def _keep(self, list_id: str, rows: RowList) -> RowList:
        if list_id not in self._lists:
            self._bytes += rows.size
        self._lists[list_id] = rows
        self._lists.move_to_end(list_id)
        while self._bytes > self._most_bytes and len(self._lists) > 1:
            _, oldest = self._lists.popitem(last=False)
            self._bytes -= oldest.size
        return rows


def _is_digest(blocks: Sequence[Block]) -> bool:
    head = blocks[0] if len(blocks) > 1 else {}
    title = str(head.get("text", {}).get("text", "")) if head.get("type") == "header" else ""
    return title.startswith("Certificates ") and blocks[1].get("type") == "section"


def _more_of(row: Block) -> str:
    """The name of the block with a row's further buttons."""
    return _name(row).replace("row:", "more:", 1)


def _named(name: str, list_id: str) -> str:
    return f"{name}@{list_id}" if list_id else name


def _name(block: Block) -> str:
    """Which block of its message this is, such as `row:888`, whatever list it is in."""
    return str(block.get("block_id", "")).partition("@")[0]
