"""Every card about monitors: values and a `now` in, a `Message` out. Every sentence stands here.

A card says, in this order: how bad it is (a word and a symbol), which host, the absolute date and
the days left, who issued it, how old the scan is. Then at most two buttons and a menu.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from bot.blocks import (
    MAX_BLOCKS,
    Block,
    Form,
    Message,
    actions,
    ago,
    button,
    code,
    confirmation,
    context,
    counted,
    date,
    fields,
    header,
    menu,
    packed,
    plain,
    safe,
    section,
    text_input,
    utc,
)
from bot.models import Certificate, HTTPInfo, Monitor, MonitorSummary, Name, days_left
from bot.severity import (
    DUE_DAYS,
    EXPIRED,
    NEVER_SCANNED,
    NOT_YET_VALID,
    OK,
    STALE_AFTER,
    UNKNOWN,
    Rank,
    State,
    is_stale,
    state_of,
    worst_first,
)
from bot.target import Target
from bot.words import argument

LIST_CARDS = 8
LIST_ROWS = 20
LIST_LINES = 60
SHOWN_NAMES = 30


def days_text(days: int) -> str:
    """`in 12 days`, `in 1 day`, `within 24 hours`."""
    return f"in {counted(days, 'day')}" if days > 0 else "within 24 hours"


def headline(row: MonitorSummary, now: datetime, due_days: int = DUE_DAYS) -> str:
    """The lock-screen line of one monitor, in plain text: `api.example.com EXPIRED 4 h ago`."""
    host, state = plain(row.target.short, 100), state_of(row, now, due_days)
    if row.not_after is None or state.rank is Rank.UNKNOWN:
        return f"{host} {state.word}"
    if state is EXPIRED:
        return f"{host} EXPIRED {ago(row.not_after, now)} ({utc(row.not_after)})"
    left = days_text(days_left(row.not_after, now))
    return f"{host} {state.word}, ends {left} ({utc(row.not_after)})"


def _said(row: MonitorSummary) -> str:
    """What the API says is wrong, as a sentence; empty where it says nothing or `Valid`."""
    text = safe(row.message, 250).rstrip(".")
    return f"{text}. " if text and text.casefold() != "valid" else ""


def _ends(not_after: datetime, now: datetime) -> str:
    return f"Ends {date(not_after)}, {days_text(days_left(not_after, now))}."


def _sentence(row: MonitorSummary, state: State, now: datetime) -> str:
    if state is NEVER_SCANNED:
        return "No scan has run yet."
    if row.not_after is None:
        return _said(row).rstrip() or "The certificate could not be read."
    if state is EXPIRED:
        return f"Expired {date(row.not_after)}, {ago(row.not_after, now)}. Visitors see an error."
    if state is UNKNOWN:
        return f"The last scan gave no verdict. {_ends(row.not_after, now)}"
    ends = _ends(row.not_after, now)
    if state is NOT_YET_VALID and row.not_before is not None:
        return f"{_said(row)}Valid only from {date(row.not_before)}. Check the host's clock. {ends}"
    return f"{_said(row)}{ends}" if state.rank is Rank.BROKEN else ends


def _title(state: State, target: Target) -> str:
    return f"{state.symbol} *{state.word}* · {code(target.short)}"


def _small_print(row: MonitorSummary, now: datetime) -> str:
    parts = [safe(row.issuer, 80)] if row.issuer else []
    if row.scanned_at:
        old = " ⚠️ old" if is_stale(row, now) else ""
        parts.append(f"scanned {ago(row.scanned_at, now)}{old}")
    if row.http_code:
        parts.append(f"HTTP {row.http_code}")
    return " · ".join([*parts, f"#{row.id}"])


def monitor(
    row: MonitorSummary,
    now: datetime,
    *,
    note: str = "",
    public: bool = False,
    announce: str = "",
    due_days: int = DUE_DAYS,
) -> Message:
    """The card of one monitor. `note` is finished mrkdwn of ours for the small print."""
    host, state = row.target.short, state_of(row, now, due_days)
    small = _small_print(row, now) + (f" · {note}" if note else "")
    return Message(
        text=headline(row, now, due_days),
        blocks=(
            section(f"{_title(state, row.target)}\n{_sentence(row, state, now)}"),
            context(small),
            actions(
                button("Rescan", "scan", argument(row), about=f"Rescan {host}", style="primary"),
                button("Details", "details", argument(row), "below", about=f"Details of {host}"),
                menu([("Delete this monitor", "delete", argument(row))], "below"),
            ),
        ),
        public=public,
        announce=announce,
        row=list_row(row, now, due_days),
    )


def list_row(row: MonitorSummary, now: datetime, due_days: int = DUE_DAYS) -> Block:
    """A monitor's row in a list or digest, with its Rescan button; found again by its block id."""
    host, state = row.target.short, state_of(row, now, due_days)
    return section(
        f"{_title(state, row.target)}\n{_sentence(row, state, now)}\n{_small_print(row, now)}",
        accessory=button("Rescan", "scan", argument(row), "below", about=f"Rescan {host}"),
        block_id=row_id(row.id),
    )


def row_id(monitor_id: int) -> str:
    """The block id of a monitor's row."""
    return f"row:{monitor_id}"


def text_row(row: MonitorSummary, now: datetime, due_days: int = DUE_DAYS) -> str:
    """A monitor as one line of mrkdwn, for the long tail of a list or digest."""
    state = state_of(row, now, due_days)
    parts = [f"{state.symbol} {state.word}", code(str(row.target), 120)]
    if state is EXPIRED and row.not_after is not None:
        parts.append(f"{date(row.not_after, '{date_short}')}, {ago(row.not_after, now)}")
    elif row.not_after is not None:
        left = days_text(days_left(row.not_after, now))
        parts.append(f"{date(row.not_after, '{date_short}')}, {left}")
    elif said := safe(row.message, 60):
        parts.append(said)
    return " · ".join([*parts, f"#{row.id}"])


def tally(rows: Iterable[MonitorSummary], now: datetime, due_days: int) -> str:
    """`2 broken, 3 due within 30 days`, in plain text; parts that are none are left out."""
    ranks = [state_of(row, now, due_days).rank for row in rows]
    names = {
        Rank.BROKEN: "broken",
        Rank.DUE: f"due within {due_days} days",
        Rank.UNKNOWN: "without a result",
        Rank.OK: "fine",
    }
    return ", ".join(
        f"{ranks.count(rank):,} {name}" for rank, name in names.items() if rank in ranks
    )


def _ranked(rows: Iterable[MonitorSummary], now: datetime) -> list[MonitorSummary]:
    """The rows worst first, each monitor once: Slack refuses a block id that comes twice."""
    once = {row.id: row for row in rows}
    return sorted(once.values(), key=lambda row: worst_first(row, now))


def old_scans(number: int) -> str:
    """`3 monitors had no scan in the last 36 hours`: nobody knows how they are today."""
    hours = int(STALE_AFTER / timedelta(hours=1))
    return f"{counted(number, 'monitor')} had no scan in the last {hours} hours"


def monitors(rows: Sequence[MonitorSummary], now: datetime, *, title: str = "Monitors") -> Message:
    """A list of monitors, worst first: cards with buttons, then rows, then lines of text."""
    ranked = _ranked(rows, now)
    summary = f"{counted(len(ranked), 'monitor')}: {tally(ranked, now, DUE_DAYS)}."
    blocks: list[Block] = [header(title), context(summary)]
    buttons = len(ranked) <= LIST_CARDS
    for row in ranked[:LIST_ROWS]:
        blocks.append(list_row(row, now))
        if buttons:
            blocks[-1].pop("accessory")
            blocks.append(_row_buttons(row))
    lines = [text_row(row, now) for row in ranked[LIST_ROWS:LIST_LINES]]
    blocks += packed(lines, section)
    if len(ranked) > LIST_LINES:
        blocks.append(context(not_shown(len(ranked) - LIST_LINES, DUE_DAYS)))
    first = f" {headline(ranked[0], now)}." if ranked else ""
    return Message(f"{summary}{first}", tuple(blocks))


def not_shown(number: int, due_days: int) -> str:
    """The small print of a list that is too long, in mrkdwn."""
    narrow = code(f"/ssl list expires<{due_days}")
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


def not_watched(target: Target) -> Message:
    """There is no monitor for this host; one press makes one."""
    host = target.short
    return Message(
        f"{plain(host, 100)} is not watched yet.",
        (
            section(f"⚪ *NOT WATCHED* · {code(host)}\nThere is no monitor for this host yet."),
            actions(
                button("Watch it", "add", str(target), about=f"Watch {host}", style="primary"),
            ),
        ),
    )


def scanning(target: Target, monitor_id: int, *, note: str = "", public: bool = False) -> Message:
    """The card of a monitor while its scan runs: it has no buttons."""
    busy = section(f"⏳ *Scanning…* · {code(target.short)}", block_id=row_id(monitor_id))
    return Message(
        f"Scanning {plain(target.short, 100)}…",
        (
            section(f"⏳ *Scanning…* · {code(target.short)}"),
            context(" · ".join(filter(None, [f"#{monitor_id}", note]))),
        ),
        public=public,
        row=busy,
    )


def adding(targets: Sequence[Target]) -> Message:
    """Said while hosts are being added and scanned for the first time."""
    what = code(targets[0].short) if len(targets) == 1 else counted(len(targets), "host")
    text = targets[0].short if len(targets) == 1 else counted(len(targets), "host")
    return Message(f"Adding {plain(text, 100)}…", (section(f"⏳ *Adding…* · {what}"),))


def summed_up(
    done: Sequence[MonitorSummary], problems: Sequence[str], now: datetime, announce: str
) -> Message:
    """What became of several hosts that were added: one line for each (`problems` is mrkdwn)."""
    lines = [text_row(row, now) for row in done]
    total = len(done) + len(problems)
    text = f"Added {len(done)} of {counted(total, 'host')}."
    return Message(
        text,
        (section(text), *packed([*lines, *problems], section)[: MAX_BLOCKS - 1]),
        announce=announce,
    )


def confirm_delete(row: MonitorSummary, now: datetime) -> Message:
    """Ask once more, privately; the button has Slack's own confirm dialog too."""
    host, sentence = row.target.short, _sentence(row, state_of(row, now), now)
    return Message(
        f"Delete the monitor for {plain(host, 100)}?",
        (
            section(f"Delete the monitor for {code(host)} (#{row.id})?\n{sentence}"),
            actions(
                button(
                    "Delete",
                    "delete_now",
                    argument(row),
                    about=f"Delete the monitor for {host}",
                    style="danger",
                    confirm=confirmation(
                        "Delete this monitor?",
                        f"{row.target} will no longer be watched. Its history is lost.",
                        "Delete",
                        "Keep it",
                    ),
                ),
                button("Keep it", "details", argument(row), about=f"Keep the monitor for {host}"),
            ),
        ),
    )


def deleted(target: Target, monitor_id: int, announce: str) -> Message:
    """The monitor is gone; one press brings the host back."""
    host = target.short
    return Message(
        f"{plain(host, 100)} is no longer watched.",
        (
            section(f"{code(host)} is no longer watched. Monitor #{monitor_id} was deleted."),
            actions(button("Watch it", "add", str(target), about=f"Watch {host} again")),
        ),
        announce=announce,
    )


def _name(name: Name) -> str:
    parts = [safe(part, 100) for part in (name.cn, name.o, name.c) if part]
    return ", ".join(parts) or "–"


def details(found: Monitor, row: MonitorSummary, now: datetime) -> Message:
    """Everything that is known of a monitor, for its asker's eyes."""
    card = monitor(row, now)
    certificate = _certificate_blocks(found.certificate) if found.certificate else []
    return Message(
        card.text,
        (card.blocks[0], *certificate, *_http_blocks(found.http), *card.blocks[1:]),
        row=card.row,
    )


def _certificate_blocks(certificate: Certificate) -> list[Block]:
    pairs = [("Subject", _name(certificate.subject)), ("Issuer", _name(certificate.issuer))]
    if certificate.not_before:
        pairs.append(("Valid from", date(certificate.not_before)))
    if certificate.not_after:
        pairs.append(("Valid until", date(certificate.not_after)))
    blocks = [fields(pairs)]
    names = certificate.alt_names
    if names:
        shown = " ".join(code(name, 80) for name in names[:SHOWN_NAMES])
        more = f" and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
        blocks.append(section(f"*Names on it ({len(names):,})*\n{shown}{more}"))
    return blocks


def _http_blocks(http: HTTPInfo) -> list[Block]:
    pairs = []
    if http.ip:
        place = " · ".join(safe(part, 80) for part in (http.ip_rev, http.ip_geo) if part)
        pairs.append(("Address", f"{code(http.ip)}{f' {place}' if place else ''}"))
    if http.code is not None:
        size = f", {counted(http.size, 'byte')}" if http.size is not None else ""
        pairs.append(("Page", f"HTTP {http.code}{size}"))
    if http.title:
        pairs.append(("Title", safe(http.title, 150)))
    server = next((value for name, value in http.headers if name.casefold() == "server"), "")
    if server:
        pairs.append(("Server", safe(server, 80)))
    return [fields(pairs)] if pairs else []


#: The form behind `/ssl add` without words. A proxy's password exists here only.
ADD_FORM = Form(
    command="add",
    title="Watch hosts",
    submit="Watch",
    blocks=(
        text_input(
            "targets",
            "Hosts",
            hint="One or many: host, host:port or a web address, with spaces or on lines.",
            lines=True,
        ),
        text_input("proxy_host", "Proxy host", hint="Only to scan by proxy.", optional=True),
        text_input("proxy_port", "Proxy port", optional=True),
        text_input("proxy_username", "Proxy user name", optional=True),
        text_input(
            "proxy_password",
            "Proxy password",
            hint="Sent once to the SSLmonitor API. The bot does not keep it.",
            optional=True,
        ),
    ),
)


def home(rows: Sequence[MonitorSummary], now: datetime) -> tuple[Block, ...]:
    """The Home tab: how things stand, and the worst twenty with Rescan."""
    ranked = _ranked(rows, now)
    if not ranked:
        return (header("Certificates"), *nothing_watched().blocks)
    worst = [row for row in ranked if state_of(row, now) != OK][:LIST_ROWS]
    old = sum(is_stale(row, now) for row in ranked)
    aged = f" {old_scans(old)}." if old else ""
    return (
        header("Certificates"),
        section(f"{counted(len(ranked), 'monitor')}: {tally(ranked, now, DUE_DAYS)}.{aged}"),
        *(list_row(row, now) for row in worst),
        context(f"As of {date(now)}. `/ssl list` shows all."),
    )
