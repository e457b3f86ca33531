"""One monitor as a row of a list, a digest or Home: what is wrong, until when, and who has it.

A phone that is 390 pixels wide shows three lines beside the row's one button.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from bot.api.models import MonitorSummary
from bot.blocks import (
    Block,
    Place,
    actions,
    button,
    code,
    counted,
    date,
    menu,
    safe,
    section,
    since,
)
from bot.severity import (
    ACT_NOW,
    EXPIRED,
    NEVER_SCANNED,
    NOT_ALLOWED,
    NOT_YET_VALID,
    OVERDUE,
    UNKNOWN,
    Rank,
    State,
    Thresholds,
    claim_of,
    days_left,
    is_fine,
    is_stale,
    limits_of,
    mute_of,
    state_of,
)
from bot.target import Target

#: How a row begins while its monitor is being scanned.
BUSY = "⏳ *Scanning…*"
GONE = "No longer monitored"
#: So many monitors are rescanned by one press.
MOST_RESCANNED = 100


def argument(row: MonitorSummary) -> str:
    """A monitor as a button's argument, which `Selector.parse` reads."""
    full = f"{row.id} {row.target}"
    return full if len(full) <= 120 else str(row.id)


def days_text(days: int) -> str:
    """`in 12 days`, `in 1 day`, `within 24 hours`."""
    return f"in {counted(days, 'day')}" if days > 0 else "within 24 hours"


def reason(row: MonitorSummary) -> str:
    """What the API says is wrong, as a sentence; empty where it says nothing or `Valid`."""
    text = safe(row.message, 200).rstrip(".")
    return f"{text}. " if text and text.casefold() != "valid" else ""


def title(state: State, target: Target, *, struck: bool = False) -> str:
    """The first line: how bad it is, and which host."""
    host = f"~{code(target.short)}~" if struck else code(target.short)
    return f"{state.symbol} *{state.word}* · {host}"


def list_row(row: MonitorSummary, now: datetime, rules: Thresholds, *, outcome: str = "") -> Block:
    """A monitor's row with its Rescan button; found again by its block ID.

    `outcome` is what came of the last press, as finished mrkdwn; the host of a row that is fixed by
    then is struck through.
    """
    host, state = row.target.short, state_of(row, now, rules)
    fixed = bool(outcome) and state.rank >= Rank.ON_SCHEDULE
    lines = [
        title(state, row.target, struck=fixed),
        " · ".join([_matter(row, state, now, rules), *_who(row, now, rules)]),
    ]
    if outcome:
        lines.append(outcome)
    elif note := rules.marks.note(row):
        lines.append(f"📝 {safe(note, 100)}")
    return section(
        "\n".join(lines),
        accessory=button("Rescan", "scan", argument(row), "below", about=f"Rescan {host}"),
        block_id=row_id(row.id),
    )


def grouped(
    rows: Iterable[MonitorSummary], now: datetime, rules: Thresholds
) -> list[tuple[MonitorSummary, ...]]:
    """Ranked rows by certificate: those with one certificate, state and owner form a group.

    Where the API gives no fingerprint, each row is its own group: equal dates prove nothing.
    """
    groups: dict[object, list[MonitorSummary]] = {}
    for row in rows:
        claim = claim_of(row, now, rules)
        state = state_of(row, now, rules)
        same = (row.fingerprint, state, row.message, claim and claim.user)
        groups.setdefault(same if row.fingerprint else row.id, []).append(row)
    return [tuple(group) for group in groups.values()]


def group_row(
    members: Sequence[MonitorSummary], now: datetime, rules: Thresholds, *, outcome: str = ""
) -> Block:
    """The row of all monitors with one certificate, in the state of the worst.

    Its block ID is that of the member with the lowest ID, so that it stays in its place.
    """
    ranks = [state_of(row, now, rules).rank for row in members]
    worst = members[ranks.index(min(ranks))]
    block = list_row(worst, now, rules, outcome=outcome)
    if len(members) == 1:
        return block
    first, *lines = str(block["text"]["text"]).split("\n")
    fine = sum(rank >= Rank.ON_SCHEDULE for rank in ranks)
    if 0 < fine < len(members):
        lines.append(f"{fine} of {len(members)} fixed")
    elif not fine:
        lines[0] += f" · one renewal fixes {len(members)} monitors"
    ids = sorted(row.id for row in members)
    value = " ".join(map(str, ids[:MOST_RESCANNED]))
    about = f"Rescan {min(len(ids), MOST_RESCANNED)} monitors of one certificate"
    return section(
        "\n".join([f"{first} and {len(members) - 1:,} more", *lines]),
        accessory=button("Rescan", "scan_certificate", value, "below", about=about),
        block_id=row_id(ids[0]),
    )


def busy_group(number: int, total: int, first: int, who: str) -> Block:
    """The row of a group while its monitors are being scanned; it has no button."""
    by = f" · {safe(who, 60)}" if who else ""
    return section(f"{BUSY} · {number} of {total}{by}", block_id=row_id(first))


def busy_row(target: Target | None, monitor_id: int, who: str) -> Block:
    """The row while a scan runs: it has no button."""
    host = target.short if target else f"#{monitor_id}"
    by = f" · {safe(who, 60)}" if who else ""
    return section(f"{BUSY} · {code(host)}{by}", block_id=row_id(monitor_id))


def refreshed(
    block: Block, found: Mapping[int, MonitorSummary], now: datetime, rules: Thresholds
) -> tuple[Block, Block | None] | None:
    """A new block for a row of the digest that is no longer true, and the buttons below it.

    None for one that still is. What came of the last press stays. A row whose monitor is not among
    `found` is no longer monitored.
    """
    name = str(block.get("block_id", "")).partition("@")[0]
    number = name.removeprefix("row:")
    lines = str(block.get("text", {}).get("text", "")).split("\n")
    if not name.startswith("row:") or not number.isdecimal() or lines[0].startswith(BUSY):
        return None
    members = _members(block, int(number), found)
    if not members:
        gone = f"{GONE}, seen {date(now, '{time}')}"
        return None if GONE in lines[-1] else (section(f"{lines[0]}\n{gone}", block_id=name), None)
    struck, fine = "~`" in lines[0], all(is_fine(row, now, rules) for row in members)
    if fine:
        said = f"✅ fixed, seen {date(now, '{time}')}"
        return None if struck else (group_row(members, now, rules, outcome=said), None)
    told = next((line for line in lines[1:] if line.startswith("↻") and not struck), "")
    fresh = group_row(members, now, rules, outcome=told)
    shown = str(fresh["text"]["text"]).split("\n")
    if shown[0] == lines[0] and _owner(shown) == _owner(lines):
        return None
    return fresh, more_about(members[0], now, rules) if len(members) == 1 else None


def _members(
    block: Block, number: int, found: Mapping[int, MonitorSummary]
) -> list[MonitorSummary]:
    """The monitors that a row is about: one, or all of a certificate's.

    Its button names as many as one press rescans; the others are known by the certificate.
    """
    pressed = block.get("accessory", {})
    if pressed.get("action_id") != "ssl:scan_certificate:below":
        return [found[number]] if number in found else []
    ids = [int(each) for each in str(pressed.get("value", "")).split() if each.isdecimal()]
    named = [found[each] for each in ids if each in found]
    if len(ids) < MOST_RESCANNED:
        return named
    prints = {row.fingerprint for row in named} - {""}
    return [*named, *(r for r in found.values() if r.fingerprint in prints and r.id not in ids)]


def _owner(lines: Sequence[str]) -> str:
    parts = lines[1].split(" · ") if len(lines) > 1 else []
    return next((part for part in parts if part.startswith("🙋")), "")


def outcome_line(text: str, who: str, now: datetime) -> str:
    """What a press led to: `↻ no change · Ben, 14:05`."""
    return f"↻ {text} · {safe(who, 60)}, {date(now, '{time}')}"


def more_about(row: MonitorSummary, now: datetime, rules: Thresholds) -> Block | None:
    """What a pressed row offers below itself, if the monitor is not fine."""
    if state_of(row, now, rules).rank >= Rank.ON_SCHEDULE:
        return None
    host, value = row.target.short, argument(row)
    if claim_of(row, now, rules):
        take = button("Release", "release", value, "below", about=f"Release {host}")
    else:
        take = button("I'll take it", "take", value, "below", about=f"Take {host}")
    muted = mute_of(row, now, rules) is not None
    mute = ("Unmute", "unmute", value) if muted else ("Mute until it changes", "mute", value)
    block = actions(
        watch_button(row, "below"),
        take,
        menu([mute, ("Details", "details", value), ("History", "history", value)], "below"),
    )
    return block | {"block_id": f"more:{row.id}"}


def _matter(row: MonitorSummary, state: State, now: datetime, rules: Thresholds) -> str:
    """What matters in this state: since when, until when, or what is wrong."""
    end = row.not_after
    if state is NEVER_SCANNED:
        return "No scan has run yet"
    if state is UNKNOWN:
        return "The last scan gave no verdict"
    if state is NOT_ALLOWED:
        return "SSLmonitor isn't allowed to scan this address"
    if end is None or state.rank is Rank.BROKEN:
        return _broken(row, state, now)
    until = f"Expires {date(end, '{date_short}')}, {days_text(days_left(end, now))}"
    if state is OVERDUE:
        due_at = end - limits_of(row, rules).due
        return f"{until}; renewal was due {date(due_at, '{date_short}')}"
    return f"{until}; renew it now" if state is ACT_NOW else until


def _caa(row: MonitorSummary, state: State) -> list[str]:
    """That a renewal which is due will fail, since CAA records don't permit the CA."""
    due = state is EXPIRED or Rank.ACT_NOW <= state.rank <= Rank.DUE
    return [f"⚠️ CAA forbids {safe(row.issuer, 40) or 'its CA'}"] if row.caa_refuses and due else []


def _broken(row: MonitorSummary, state: State, now: datetime) -> str:
    if state is EXPIRED and row.not_after is not None:
        return f"Since {date(row.not_after, '{date_short} {time}')}, {since(row.not_after, now)}"
    if state is NOT_YET_VALID and row.not_before is not None:
        return f"Not valid before {date(row.not_before, '{date_short} {time}')}"
    return safe(row.message, 120).rstrip(".") or "The certificate could not be read"


def _who(row: MonitorSummary, now: datetime, rules: Thresholds) -> list[str]:
    """Whether CAA forbids it, who has it, whether it is muted, and whether the scan is too old."""
    parts = _caa(row, state_of(row, now, rules))
    if claim := claim_of(row, now, rules):
        parts.append(f"🙋 {safe(claim.name, 60)}")
    if mute_of(row, now, rules):
        parts.append("🔕 muted")
    if row.scanned_at and is_stale(row, now):
        parts.append(f"⚠️ scanned {since(row.scanned_at, now)}")
    return parts


def row_id(monitor_id: int) -> str:
    """The block id of a monitor's row."""
    return f"row:{monitor_id}"


def text_row(row: MonitorSummary, now: datetime, rules: Thresholds) -> str:
    """A monitor as one line of mrkdwn, for the long tail of a list or digest."""
    state = state_of(row, now, rules)
    parts = [f"{state.symbol} {state.word}", code(str(row.target), 120)]
    if state is EXPIRED and row.not_after is not None:
        parts.append(f"{date(row.not_after, '{date_short}')}, {since(row.not_after, now)}")
    elif row.not_after is not None:
        left = days_text(days_left(row.not_after, now))
        parts.append(f"{date(row.not_after, '{date_short}')}, {left}")
    elif text := safe(row.message, 60):
        parts.append(text)
    parts += _caa(row, state)
    return " · ".join([*parts, f"#{row.id}"])


def watch_button(row: MonitorSummary, place: Place = "here") -> Block:
    """The button that scans until the host is fixed."""
    host = row.target.short
    return button(
        "Scan & watch", "watch", argument(row), place, about=f"Scan and watch {host} until fixed"
    )
