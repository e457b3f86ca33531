"""The daily digest as messages: the worst with Rescan, all others in the thread, nothing lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from bot.blocks import Block, Message, code, context, counted, header, packed, section
from bot.cards import (
    LIST_LINES,
    LIST_ROWS,
    headline,
    list_row,
    not_shown,
    old_scans,
    tally,
    text_row,
)
from bot.models import MonitorSummary
from bot.severity import is_stale, worst_first

STALE_NAMED = 5
#: Slack cuts a message that is much longer than this; four full sections stay below it.
SECTIONS_A_MESSAGE = 4
METADATA_EVENT = "ssl_digest"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one digest is about: its rows, all monitors' count, and those not scanned lately."""

    rows: tuple[MonitorSummary, ...]
    total: int
    stale: tuple[MonitorSummary, ...]
    due_days: int


def gathered(
    due: Iterable[MonitorSummary],
    invalid: Iterable[MonitorSummary],
    everything: Sequence[MonitorSummary],
    now: datetime,
    due_days: int,
) -> Gathered:
    """Merge the API's answers (its filters are ANDed, so the OR takes two calls), worst first."""
    merged = {row.id: row for row in (*due, *invalid)}
    rows = sorted(merged.values(), key=lambda row: worst_first(row, now, due_days))
    return Gathered(
        rows=tuple(rows),
        total=len(everything),
        stale=tuple(row for row in everything if is_stale(row, now)),
        due_days=due_days,
    )


def digest(found: Gathered, now: datetime, *, day: date, late: bool = False) -> tuple[Message, ...]:
    """The digest of a day: its first message, then the replies for its thread."""
    rest = found.rows[LIST_ROWS:]
    small = ["This digest is late: it could not be posted at its usual hour."] if late else []
    small.append(_rule(found))
    if rest:
        small.append(f"{counted(len(rest), 'more monitor')} in the thread.")
    lines = [text_row(row, now, found.due_days) for row in rest]
    if len(found.stale) > STALE_NAMED:
        small.append("Monitors with old scans are in the thread.")
        lines += [f"⚪ OLD DATA · {code(str(row.target), 120)} · #{row.id}" for row in found.stale]
    title = f"Certificates on {day:%-d %B %Y}"
    messages = [_first(found, now, title, small), *_thread(lines)]
    return tuple(
        Message(m.text, m.blocks, metadata=_metadata(day, part)) for part, m in enumerate(messages)
    )


def preview(found: Gathered, now: datetime) -> Message:
    """The digest as it stands now, in one message for its asker's eyes."""
    rest = found.rows[LIST_ROWS:]
    small = [_rule(found)]
    if len(rest) > LIST_LINES:
        small.append(not_shown(len(rest) - LIST_LINES, found.due_days))
    message = _first(found, now, "Certificates now", small)
    lines = packed((text_row(row, now, found.due_days) for row in rest[:LIST_LINES]), section)
    return Message(message.text, (*message.blocks[:-1], *lines, message.blocks[-1]))


def _first(found: Gathered, now: datetime, title: str, small: Sequence[str]) -> Message:
    head = found.rows[:LIST_ROWS]
    summary = _summary(found, now)
    blocks: list[Block] = [
        header(title),
        section(summary),
        *(list_row(row, now, found.due_days) for row in head),
    ]
    if found.stale:
        blocks.append(section(_stale_text(found.stale)))
    first = f" {headline(head[0], now, found.due_days)}." if head else ""
    return Message(f"{summary}{first}", (*blocks, context(" ".join(small))))


def _rule(found: Gathered) -> str:
    return f"Shown: what is not valid, or ends within {found.due_days} days."


def _summary(found: Gathered, now: datetime) -> str:
    if found.rows:
        others = found.total - len(found.rows)
        rest = f" {counted(others, 'other')} not due." if others > 0 else ""
        return f"{tally(found.rows, now, found.due_days).capitalize()}.{rest}"
    if not found.total:
        return "No host is watched yet. Start with /ssl add example.com."
    if found.stale:
        return f"Nothing is known to be wrong, but {old_scans(len(found.stale))}."
    monitors = counted(found.total, "monitor")
    return f"✅ All clear: {monitors}, none is due within {found.due_days} days."


def _stale_text(stale: Sequence[MonitorSummary]) -> str:
    names = ", ".join(code(row.target.short, 80) for row in stale[:STALE_NAMED])
    more = f" and {len(stale) - STALE_NAMED:,} more" if len(stale) > STALE_NAMED else ""
    return f"⚪ *OLD DATA* · {old_scans(len(stale))}: {names}{more}."


def _thread(lines: Sequence[str]) -> list[Message]:
    sections = packed(lines, section)
    parts = [
        sections[start : start + SECTIONS_A_MESSAGE]
        for start in range(0, len(sections), SECTIONS_A_MESSAGE)
    ]
    return [
        Message(f"More monitors, part {number} of {len(parts)}.", tuple(part))
        for number, part in enumerate(parts, 1)
    ]


def _metadata(day: date, part: int) -> dict[str, object]:
    payload = {"day": day.isoformat(), "part": part}
    return {"event_type": METADATA_EVENT, "event_payload": payload}
