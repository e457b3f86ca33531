"""Many monitors at once: a table and a chart, and a CSV and a calendar for other programs."""

import csv
import functools
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from bot.api.models import FIRST_YEAR, LAST_YEAR, MonitorList, MonitorSummary
from bot.blocks import (
    Block,
    Message,
    actions,
    button,
    code,
    context,
    counted,
    packed,
    plain,
    safe,
    section,
    utc,
)
from bot.cards.monitor import text_row
from bot.dates import DAY
from bot.errors import BotError, SlackRefused, SlackUnreachable
from bot.severity import Rank, Thresholds, days_left, limits_of, mute_of, state_of

#: Slack's data_table takes 200 rows besides its header, and 20,000 characters in all its cells.
TABLE_ROWS = 200
TABLE_CHARACTERS = 19_000
PAGE_SIZE = 10
#: The number in an empty cell, so that it sorts as the worst.
NO_DAYS = -99_999
HEADER = ("Host", "State", "Days left", "Expires (UTC)", "Issuer", "ID")
CSV_HEADER = (
    *("id", "host", "port", "state", "days_left", "not_before", "not_after", "issuer"),
    *("message", "http_code", "scanned_at", "muted_until"),
)
#: Three full sections stay below Slack's limit for one message (see `blocks.MAX_CHARACTERS`).
SECTIONS_A_MESSAGE = 3
#: The block that the note about the CSV file replaces.
CSV = "csv"
#: Where spreadsheets find a formula in a text (OWASP, CSV injection); in some countries, semicolons
#: separate their cells.
_FORMULA = re.compile("(^|;)(?=\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20])")

#: The most weeks shown; the team's own thresholds may reach further.
WEEKS = 8
#: With fewer dates, the rows say enough.
LEAST_DATES = 5
#: The most hosts named in an event of the calendar.
CALENDAR_NAMES = 50
#: The states that the chart shows.
NAMES = {
    Rank.ACT_NOW: "Act now",
    Rank.OVERDUE: "Overdue",
    Rank.DUE: "Due",
    Rank.ON_SCHEDULE: "On schedule",
}


def table(order: Sequence[MonitorSummary], now: datetime, rules: Thresholds) -> tuple[Block, int]:
    """The worst of a ranked list as a data_table, and how many of them it holds."""
    rows = [[_text(title) for title in HEADER]]
    characters = sum(map(len, HEADER))
    for row in order[:TABLE_ROWS]:
        cells = _cells(row, now, rules)
        characters += sum(len(cell["text"]) for cell in cells)
        if characters > TABLE_CHARACTERS:
            break
        rows.append(cells)
    block: Block = {
        "type": "data_table",
        "caption": f"{counted(len(rows) - 1, 'monitor')}, worst first",
        "rows": rows,
        "page_size": PAGE_SIZE,
    }
    return block, len(rows) - 1


def rest(more: Sequence[MonitorSummary], now: datetime, rules: Thresholds) -> Message:
    """What doesn't fit into the first message: a table, and all monitors as a CSV file.

    If there is no table, as many lines as one message can hold.
    """
    grid, shown = table(more, now, rules)
    text = f"{counted(len(more), 'more monitor')}, worst first."
    about = "Send all monitors of this digest as a CSV file in a direct message"
    file = actions(button("CSV", "csv_due", "", "below", about=about)) | {"block_id": CSV}
    hidden = len(more) - shown
    below = [context(f"{hidden:,} more in the CSV file."), file] if hidden else [file]
    lines = packed([text_row(row, now, rules) for row in more[:TABLE_ROWS]], section)
    classic = lines[:SECTIONS_A_MESSAGE]
    return Message(text, (section(text), grid, *below), fallback=(section(text), *classic, file))


def with_csv(message: Message, problem: str = "", *, lost: int | None = 0) -> Message:
    """A message whose CSV file of all monitors is in the thread, except `lost` unreadable ones.

    If a digest was continued after a restart, `lost` is None: the file may have newer data. Without
    the file, the `problem` (mrkdwn) is shown above the button that sends it.
    """
    but = f", except {lost:,} that could not be read" if lost else ""
    said = f"All monitors of this digest are in the CSV file above{but}."
    if lost is None:
        said = "The CSV file above may be some minutes newer than this."
    told = context(problem or said)

    def changed(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        at = next((n for n, block in enumerate(blocks) if block.get("block_id") == CSV), None)
        if at is None:
            return blocks
        return (*blocks[:at], told, *([blocks[at]] if problem else []), *blocks[at + 1 :])

    return replace(message, blocks=changed(message.blocks), fallback=changed(message.fallback))


def no_csv(fault: BotError) -> str:
    """Why the file is not in the thread, and whether the button helps."""
    helps = "The button sends it as a direct message."
    if isinstance(fault, SlackRefused) and fault.reason == "missing_scope":
        told = "The bot can't attach the CSV file: it lacks the scope `files:write`."
        return f"{told} Once it has the scope, the button sends the file."
    if isinstance(fault, SlackRefused):
        return f"Slack refused the CSV file ({code(fault.reason, 60)}). {helps}"
    if isinstance(fault, SlackUnreachable):
        return "Slack did not confirm the CSV file. If it isn't above, press the button."
    return f"Could not attach the CSV file: {safe(str(fault), 200).rstrip('.')}. {helps}"


def _cells(row: MonitorSummary, now: datetime, rules: Thresholds) -> list[Block]:
    state = state_of(row, now, rules)
    left = days_left(row.not_after, now) if row.not_after else None
    ends = f"{row.not_after.astimezone(UTC):%Y-%m-%d}" if row.not_after else "none"
    return [
        _text(plain(row.target.short, 253)),
        _text(f"{state.symbol} {state.word}"),
        _number(NO_DAYS if left is None else left, "none" if left is None else f"{left:,}"),
        _text(ends),
        _text(plain(row.issuer, 30)),
        _number(row.id, str(row.id)),
    ]


def _text(text: str) -> Block:
    return {"type": "raw_text", "text": text or "–"}


def _number(value: int, text: str) -> Block:
    return {"type": "raw_number", "value": value, "text": text}


def as_csv(order: Iterable[MonitorSummary], now: datetime, rules: Thresholds) -> bytes:
    """A list as a CSV file (RFC 4180) in UTF-8, with the byte order mark that spreadsheets need."""
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(CSV_HEADER)
    for row in order:
        left = days_left(row.not_after, now) if row.not_after else ""
        mute = mute_of(row, now, rules)
        dates = (row.not_before, row.not_after, row.scanned_at, mute.until if mute else None)
        start, end, scanned, until = (_iso(at) if at else "" for at in dates)
        writer.writerow(
            (
                *(row.id, harmless(row.target.host), row.target.port),
                *(state_of(row, now, rules).word, left, start, end),
                *(harmless(row.issuer), harmless(row.message), row.http_code or ""),
                *(scanned, until),
            )
        )
    return written.getvalue().encode("utf-8-sig")


def as_calendar(rows: MonitorList, now: datetime, rules: Thresholds, zone: tzinfo) -> bytes:
    """An iCalendar file (RFC 5545): one all-day event for each certificate, when renewal is due.

    If monitors could not be read, an event today says so.
    """
    from icalendar import Calendar, Event  # noqa: PLC0415 - its import takes 0.1 s, for few requests

    calendar = Calendar()
    calendar.add("prodid", "-//SSLmonitor bot//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", "Certificates to renew")
    unread = [_unreadable(rows.unreadable, now.astimezone(zone).date())] if rows.unreadable else []
    for each in (*unread, *_events(rows, rules, zone)):
        event, day = Event(), each["dtstart"]
        always = {"dtstamp": now, "dtend": day + timedelta(days=1), "transp": "TRANSPARENT"}
        for name, value in (each | always).items():
            event.add(name, value)
        calendar.add_component(event)
    return bytes(calendar.to_ical())


def _events(
    rows: Iterable[MonitorSummary], rules: Thresholds, zone: tzinfo
) -> Iterator[dict[str, Any]]:
    for group in certificates(rows).values():
        dated = [(row, row.not_after) for row in group if row.not_after and _is_day(row.not_after)]
        if dated:
            due = dated[0][1] - max(limits_of(row, rules).due for row, _ in dated)
            yield _event(group, *dated[0], due.astimezone(zone).date())


def _is_day(end: datetime) -> bool:
    """Whether this is a date to plan for: 9999-12-31 means no expiry (RFC 5280, 4.1.2.5)."""
    return FIRST_YEAR <= end.year <= LAST_YEAR


def _event(
    group: Sequence[MonitorSummary], first: MonitorSummary, end: datetime, due: date
) -> dict[str, Any]:
    """The event of one certificate, named after its `first` monitor with an expiry date."""
    order = [first, *(row for row in group if row is not first)]
    names = [plain(row.target.short, 120) for row in order]
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    lines = [f"Expires {utc(end)}", f"Issuer: {plain(first.issuer, 100) or '–'}"]
    return {
        "uid": f"{first.fingerprint or first.id}@sslmonitor-bot",
        "dtstart": due,
        "summary": f"Renew {names[0]}{more}",
        "description": "\n".join([*lines, *names[:CALENDAR_NAMES]]),
    }


def _unreadable(number: int, today: date) -> dict[str, Any]:
    return {
        "uid": "unreadable@sslmonitor-bot",
        "dtstart": today,
        "summary": f"⚠️ {counted(number, 'monitor')} could not be read",
        "description": "Their renewals may be missing from this calendar.",
    }


def certificates(rows: Iterable[MonitorSummary]) -> dict[object, list[MonitorSummary]]:
    """Monitors by certificate; each is on its own if the API gives no fingerprint."""
    groups: dict[object, list[MonitorSummary]] = {}
    for row in rows:
        groups.setdefault(row.fingerprint or row.id, []).append(row)
    return groups


@functools.lru_cache(4096)  # issuers, messages and dates recur, in up to 100,000 rows
def harmless(text: str) -> str:
    """Third-party text for a cell: one line, and never a formula."""
    line = plain(text, 1000)
    return _FORMULA.sub(r"\1'", line) if ";" in line or _FORMULA.match(line) else line


_iso = functools.lru_cache(4096)(datetime.isoformat)


def expiries(rows: Iterable[MonitorSummary], now: datetime, rules: Thresholds) -> Message | None:
    """A bar chart of valid certificates by the week in which they expire, with a bar per state.

    None if there are too few. A chart has no text for those who can't see it, so the numbers are in
    words next to it.
    """
    counts: Counter[tuple[int, Rank]] = Counter()
    for group in certificates(rows).values():
        found = {
            (int((row.not_after - now) // (7 * DAY)), state_of(row, now, rules).rank)
            for row in group
            if row.not_after is not None and row.not_after > now
        }
        counts.update((week, rank) for week, rank in found if week < WEEKS and rank in NAMES)
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
