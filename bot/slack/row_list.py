"""A list or digest as Slack shows it: its rows, and how recent the state in each one is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from bot.blocks import MAX_BLOCKS, Block, Message
from bot.cards.batch import members_of, redrawn, refreshed, shown_state
from bot.cards.changes import ALL_BROKEN, OFFER
from bot.cards.lists import OLD_MORE, OLD_ROW
from bot.cards.row import BUSY, GONE
from bot.store.digests import Board

if TYPE_CHECKING:  # only for type checking
    from bot.api.models import MonitorSummary
    from bot.severity import Thresholds

#: How many of the pressed rows keep their extra buttons.
EXPANDED = 2
#: How far another process's clock may be ahead.
SKEW = timedelta(minutes=1)

#: Some monitors, and when the API was asked for them.
Found = tuple[dict[int, "MonitorSummary"], datetime]


@dataclass(slots=True)
class RowList:
    """The current state of a list or digest, with the lock for its next edit.

    `stories` are the replies in its thread, one for each pressed row, by the row's block ID; those
    about rows `ahead` show an older state. `seen` is when the API was asked for the state that
    a row shows; `late` is what was found about a row during its scan. Slack shows the state after
    the first `drawn` of its `changes`. `day` is a digest's, once known.
    """

    text: str
    blocks: list[Block]
    stories: dict[str, str] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    late: dict[str, Found] = field(default_factory=dict)
    is_outdated: Callable[[], bool] = lambda: False
    size: int = field(init=False)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)
    changes: int = 0
    drawn: int = 0
    day: date | None = None
    most_blocks: int = MAX_BLOCKS
    expanded: list[str] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)
    _idle: dict[str, Block] = field(default_factory=dict)
    _has_buttons: bool = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.text) + len(msgspec.json.encode(self.blocks))
        self._has_buttons = any(
            "accessory" in b or name_of(b) == OLD_MORE or GONE in str(b.get("text"))
            for b in self.blocks
        )

    @property
    def message(self) -> Message:
        """The list as a message; the first lines of a digest or notice say what is fixed.

        A row that is being scanned counts as before the scan.
        """
        idle = [self._idle.get(name_of(b), b) if _is_busy(b) else b for b in self.blocks]
        return Message(*redrawn(self.text, self.blocks, idle))

    def row(self, row: Block | None) -> Block | None:
        """The block that shows the same monitor as `row`, if the list has one."""
        name = name_of(row or {})
        return next((block for block in self.blocks if name and name_of(block) == name), None)

    def more(self, row: Block) -> Block | None:
        """The buttons below a row, if any."""
        return next((block for block in self.blocks if name_of(block) == _more_of(row)), None)

    @property
    def has_busy(self) -> bool:
        """Whether any of its rows shows a running scan."""
        return any(map(_is_busy, self.blocks))

    def is_busy(self, row: Block) -> bool:
        """Whether this monitor's row shows a running scan."""
        old = self.row(row)
        return old is not None and _is_busy(old)

    def replace(self, row: Block, more: Block | None = None) -> None:
        """Replace a row; it only gets a button if the others have one.

        `more` are the buttons below it, in a list whose rows have buttons. Only the last EXPANDED
        rows keep theirs.
        """
        if (old := self.row(row)) and _is_busy(row) and not _is_busy(old):
            self._idle[name_of(row)] = old
        kept = {k: v for k, v in row.items() if k != "accessory" or self._has_buttons}
        suffix = str(old["block_id"]).partition("@")[2] if old else ""
        blocks: list[Block] = []
        for block in self.blocks:
            if block is old:
                blocks.append({**kept, "block_id": block["block_id"]})
                if more and self._has_buttons:
                    blocks.append({**more, "block_id": f"{_more_of(row)}@{suffix}".rstrip("@")})
            elif name_of(block) != _more_of(row):
                blocks.append(block)
        self.blocks = blocks
        self._fold(_more_of(row) if more and name_of(row) != OLD_ROW else "")

    def is_newer(self, row: Block, asked: datetime, now: datetime) -> bool:
        """Whether a row shows a newer state: one for which the API was asked later.

        A time in the future is ignored: a clock has been set back since.
        """
        return asked < self.seen.get(name_of(row), asked) <= now + SKEW

    def renew(self, row: Block, more: Block | None, asked: datetime, now: datetime) -> None:
        """Replace a row, unless a newer state is known: that stays, or comes back after a scan."""
        if not self.is_newer(row, asked, now):
            self.seen[name_of(row)] = asked
            self.replace(row, more)
        elif self.is_busy(row):
            self.replace(self._idle.get(name_of(row), row))

    def outdates(self, row: Block) -> Callable[[], bool]:
        """A function that says whether the row has changed its state since, or is being scanned."""
        state = shown_state(row)
        return lambda: (now := self.row(row)) is not None and shown_state(now) != state

    def set_aside(
        self, news: Sequence[Block], found: Mapping[int, MonitorSummary], asked: datetime
    ) -> list[Block]:
        """Keep the news about rows that are being scanned here for later; returns the other blocks.

        The answer of a scan replaces only what was found before it.
        """
        idle = []
        for block in news:
            if not self.is_busy(block):
                idle.append(block)
            elif members := members_of(block, found):
                self.late[name_of(block)] = {row.id: row for row in members}, asked
        return idle

    def adopt(self, board: Board, day: date | None) -> None:
        """Take over a newer state, except for rows that this process is scanning."""
        self.day = day
        busy = [block for block in self.blocks if _is_busy(block)]
        self.text, self.blocks = board.text, list(board.blocks)
        self.stories, self.expanded = dict(board.stories), list(board.expanded)
        self.seen, self.ahead = dict(board.seen), list(board.ahead)
        for block in busy:
            if self.row(block) is not None:
                self.replace(block)

    def _fold(self, newest: str) -> None:
        """Remove the buttons below all but the last EXPANDED rows that were pressed."""
        shown = [name for name in map(name_of, self.blocks) if re.fullmatch(r"more:\d+", name)]
        order = [name for name in self.expanded if name in shown and name != newest]
        order = [name for name in shown if name not in order and name != newest] + order
        self.expanded = [*order, newest][-EXPANDED:] if newest else order[-EXPANDED:]
        folded = set(shown) - set(self.expanded)
        if len(self.blocks) > self.most_blocks:
            folded = set(shown)
        self.blocks = [block for block in self.blocks if name_of(block) not in folded]


def changed_stories(
    before: Board, rows: RowList, found: Mapping[int, MonitorSummary], ahead: Collection[str]
) -> Iterator[tuple[str, list[MonitorSummary], Block]]:
    """The replies about rows that changed or are `ahead`, with their monitors, and the rows.

    A row that is being scanned gets its reply from the scan.
    """
    for old in before.blocks:
        new, reply = rows.row(old), before.stories.get(name_of(old))
        if not reply or new is None or _is_busy(new):
            continue
        if shown_state(old) == shown_state(new) and name_of(old) not in ahead:
            continue
        if members := members_of(new, found):
            yield reply, members, new


def fix_of(row: Block) -> str:
    """What a row says of how it was fixed, if it was."""
    text = str(row["text"]["text"])
    return text.rpartition("\n")[2] if "~`" in text else ""


def refresh_rows(
    rows: RowList,
    found: Mapping[int, MonitorSummary],
    now: datetime,
    rules: Thresholds,
    *,
    complete: bool,
    asked: datetime,
    settled: bool = False,
    before: Sequence[Block] | None = None,
) -> None:
    """Replace the outdated rows; those with extra buttons keep them.

    A row that is not among `before` is newer than the answer for which the API was `asked`, and
    stays. Once it is `settled` whom to mention, the message no longer offers to choose.
    """
    if complete:
        rows.ahead.clear()
    if settled:
        rows.blocks = [each for each in rows.blocks if not name_of(each).startswith(OFFER)]
    for block in [each for each in rows.blocks if before is None or each in before]:
        if fresh := refreshed(block, found, now, rules, complete):
            row = fresh[0] | {"block_id": name_of(block if "row:" in name_of(block) else fresh[0])}
            rows.renew(row, fresh[1] if rows.more(row) else None, asked, now)


def _is_busy(block: Block) -> bool:
    has_row = name_of(block).startswith("row:") or name_of(block) == ALL_BROKEN
    return has_row and str(block.get("text", {}).get("text", "")).startswith(BUSY)


def rows_in(blocks: Sequence[Block]) -> set[str]:
    """The block IDs of the rows, without the name of their list."""
    return {name for name in map(name_of, blocks) if name.startswith("row:")}


def _more_of(row: Block) -> str:
    """The ID of the block with a row's extra buttons."""
    return name_of(row).replace("row:", "more:", 1)


def name_of(block: Block) -> str:
    """Which block of its message this is, such as `row:888`, without the name of its list."""
    return str(block.get("block_id", "")).partition("@")[0]
