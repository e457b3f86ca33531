"""How many certificates expire in which week, as a chart and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from bot.api.models import MonitorSummary
from bot.blocks import Block, Message, section
from bot.dates import DAY
from bot.severity import Rank, Thresholds, state_of

#: So many weeks are shown; a threshold of the team's own may reach further.
WEEKS = 8
#: Below this number of dates, the rows themselves say it.
LEAST_DATES = 5
NAMES = {
    Rank.ACT_NOW: "Act now",
    Rank.OVERDUE: "Overdue",
    Rank.DUE: "Due",
    Rank.ON_SCHEDULE: "On schedule",
}


def expiries(rows: Iterable[MonitorSummary], now: datetime, rules: Thresholds) -> Message | None:
    """A bar chart of the valid certificates by the week in which they expire, one bar a state.

    None if there are too few of them. A chart has no text for those who can't see it, so the
    numbers stand beside it in words.
    """
    counts: Counter[tuple[int, Rank]] = Counter()
    for row in rows:
        if row.not_after is None or row.not_after <= now:
            continue
        rank, week = state_of(row, now, rules).rank, int((row.not_after - now) // (7 * DAY))
        if rank in NAMES and week < WEEKS:
            counts[week, rank] += 1
    if counts.total() < LEAST_DATES:
        return None
    weeks = range(max(week for week, _ in counts) + 1)
    words = section(f"*Expiring by week*\n{_words(counts, weeks, now)}")
    return Message("Expiring by week", (words, _chart(counts, weeks, now)), fallback=(words,))


def _label(week: int, now: datetime) -> str:
    """The first day of a week that is counted from now."""
    return f"{(now + timedelta(weeks=week)).astimezone(UTC):%-d %b}"


def _words(counts: Counter[tuple[int, Rank]], weeks: Sequence[int], now: datetime) -> str:
    lines = []
    for week in weeks:
        parts = [
            f"{counts[week, rank]:,} {name.lower()}"
            for rank, name in NAMES.items()
            if counts[week, rank]
        ]
        lines.append(f"From {_label(week, now)}: {', '.join(parts) or 'none'}")
    return "\n".join(lines)


def _chart(counts: Counter[tuple[int, Rank]], weeks: Sequence[int], now: datetime) -> Block:
    labels = [_label(week, now) for week in weeks]
    series = [
        {
            "name": name,
            "data": [
                {"label": label, "value": counts[week, rank]}
                for week, label in zip(weeks, labels, strict=True)
            ],
        }
        for rank, name in NAMES.items()
        if any(counts[week, rank] for week in weeks)
    ]
    axes = {"categories": labels, "x_label": "Week from", "y_label": "Certificates"}
    return {
        "type": "data_visualization",
        "title": "Certificates that expire, by week",
        "chart": {"type": "bar", "series": series, "axis_config": axes},
    }
