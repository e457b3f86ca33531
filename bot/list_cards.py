"""Lists of monitors, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from bot.blocks import (
    Block,
    Message,
    actions,
    button,
    code,
    context,
    counted,
    date,
    header,
    menu,
    packed,
    section,
)
from bot.cards import headline, list_row, text_row
from bot.models import MonitorSummary
from bot.severity import OK, STALE_AFTER, Rank, Thresholds, is_stale, state_of, worst_first
from bot.words import argument

LIST_CARDS = 8
LIST_ROWS = 20
LIST_LINES = 60


def tally(rows: Iterable[MonitorSummary], now: datetime, rules: Thresholds) -> str:
    """`2 broken, 3 due`, in plain text; parts that are none are left out."""
    ranks = [state_of(row, now, rules).rank for row in rows]
    names = {
        Rank.BROKEN: "broken",
        Rank.ACT_NOW: "to act on now",
        Rank.OVERDUE: "overdue",
        Rank.DUE: "due",
        Rank.UNKNOWN: "without a result",
        Rank.ON_SCHEDULE: "on schedule",
        Rank.OK: "fine",
    }
    return ", ".join(
        f"{ranks.count(rank):,} {name}" for rank, name in names.items() if rank in ranks
    )


def ranked(
    rows: Iterable[MonitorSummary], now: datetime, rules: Thresholds
) -> list[MonitorSummary]:
    """The rows worst first, each monitor once: Slack refuses a block id that comes twice."""
    once = {row.id: row for row in rows}
    return sorted(once.values(), key=lambda row: worst_first(row, now, rules))


def old_scans(number: int) -> str:
    """`3 monitors had no scan in the last 36 hours`: nobody knows how they are today."""
    hours = int(STALE_AFTER / timedelta(hours=1))
    return f"{counted(number, 'monitor')} had no scan in the last {hours} hours"


def monitors(
    rows: Sequence[MonitorSummary], now: datetime, rules: Thresholds, *, title: str = "Monitors"
) -> Message:
    """A list of monitors, worst first: cards with buttons, then rows, then lines of text."""
    order = ranked(rows, now, rules)
    summary = f"{counted(len(order), 'monitor')}: {tally(order, now, rules)}."
    blocks: list[Block] = [header(title), context(summary)]
    buttons = len(order) <= LIST_CARDS
    for row in order[:LIST_ROWS]:
        blocks.append(list_row(row, now, rules))
        if buttons:
            blocks[-1].pop("accessory")
            blocks.append(_row_buttons(row))
    lines = [text_row(row, now, rules) for row in order[LIST_ROWS:LIST_LINES]]
    blocks += packed(lines, section)
    if len(order) > LIST_LINES:
        blocks.append(context(not_shown(len(order) - LIST_LINES, rules)))
    first = f" {headline(order[0], now, rules)}." if order else ""
    return Message(f"{summary}{first}", tuple(blocks))


def not_shown(number: int, rules: Thresholds) -> str:
    """The small print of a list that is too long, in mrkdwn."""
    narrow = code(f"/ssl list expires<{rules.net_days}")
    return f"Not shown: {counted(number, 'more monitor')}. {narrow} makes the list shorter."


def _row_buttons(row: MonitorSummary) -> Block:
    host, number = row.target.short, argument(row)
    return actions(
        button("Rescan", "scan", number, "below", about=f"Rescan {host}"),
        button("Details", "details", number, "below", about=f"Details of {host}"),
        menu([("Delete this monitor", "delete", number)], "below"),
    )


def none_found(what: str) -> Message:
    """A list that has no rows; `what` is finished mrkdwn that names what was asked for."""
    return Message(
        "No monitor matches.",
        (
            section(f"No monitor matches {what}."),
            context("`/ssl list` shows all. `/ssl add HOST` watches a new host."),
        ),
    )


def nothing_watched() -> Message:
    """The list of an account without monitors."""
    return Message(
        "No host is watched yet.",
        (section("No host is watched yet. Start with `/ssl add example.com`."),),
    )


def home(
    rows: Sequence[MonitorSummary], now: datetime, rules: Thresholds
) -> tuple[Block, ...]:
    """The Home tab: how things stand, and the worst twenty with Rescan."""
    order = ranked(rows, now, rules)
    if not order:
        return (header("Certificates"), *nothing_watched().blocks)
    worst = [row for row in order[:LIST_ROWS] if state_of(row, now, rules) != OK]
    old = sum(is_stale(row, now) for row in order)
    aged = f" {old_scans(old)}." if old else ""
    return (
        header("Certificates"),
        section(f"{counted(len(order), 'monitor')}: {tally(order, now, rules)}.{aged}"),
        *(list_row(row, now, rules) for row in worst),
        context(f"As of {date(now)}. `/ssl list` shows all."),
    )
