"""The texts for taking, muting and annotating monitors, and about what changed on one.

An engineer who has replaced a certificate asks one thing of a rescan: is it the new one?
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bot.blocks import (
    MAX_BUTTON,
    Block,
    Form,
    Message,
    bare,
    code,
    context,
    counted,
    date,
    escaped,
    plain,
    safe,
    section,
    since,
    text_input,
)
from bot.dates import DAY
from bot.sighting import Claim, Mute, Sighting
from bot.target import Target

NAMES_SHOWN = 3
#: How a row, or its button's label, says when its certificate expires.
_EXPIRES, _ENDS = re.compile(r"Expires <!date\^(\d+)"), ", expires "
#: The characters of a result and its name, and the least that are left of the name.
RESULT, LEAST_NAME = 22, 8


def day_of(end: datetime | None) -> str:
    """`2026-12-05`; empty if it is unknown."""
    return f"{end.astimezone(UTC):%Y-%m-%d}" if end else ""


def end_of(row: Block) -> str:
    """The day on which a row's certificate expires, from its text or its button's label."""
    if found := _EXPIRES.search(str(row["text"]["text"])):
        return day_of(datetime.fromtimestamp(int(found[1]), UTC))
    return str(row.get("accessory", {}).get("accessibility_label", "")).partition(_ENDS)[2]


def dated(row: Block, end: str) -> Block:
    """The row; if its text has no room for the expiry date, its button's label has it."""
    press = row.get("accessory")
    if not (press and end) or _EXPIRES.search(str(row["text"]["text"])):
        return row
    label = plain(press["accessibility_label"], MAX_BUTTON - len(_ENDS) - len(end))
    return {**row, "accessory": {**press, "accessibility_label": f"{label}{_ENDS}{end}"}}


def taken_line(who: str, target: Target, others: int = 0) -> str:
    """The channel's line about a claim, on one monitor and perhaps others."""
    return f"🙋 {safe(who, 80)} has taken {_hosts(target, others)}."


def released_line(who: str, target: Target, others: int = 0) -> str:
    """The channel's line about the release of a monitor, and perhaps others."""
    it = "them" if others else "it"
    return f"{safe(who, 80)} released {_hosts(target, others)}: nobody has {it} now."


def _hosts(target: Target, others: int) -> str:
    return f"{code(target.short, 120)}{_and_more(others)}"


def _and_more(others: int) -> str:
    return f" and {counted(others, 'more monitor')}" if others else ""


def taken_by_another(claim: Claim, _now: datetime) -> str:
    """Why a claim had no effect."""
    return f"{safe(claim.name, 80)} took it {since(claim.at, _now)}. They, or you, can release it."


def muted_line(mute: Mute, target: Target, others: int = 0) -> str:
    """The channel's line about a mute, of one monitor and perhaps others."""
    each, how = ", each" if others else "", muted_until(mute)
    why = f": {safe(mute.reason, 120)}" if mute.reason else ""
    return f"🔕 {safe(mute.name, 80)} muted {_hosts(target, others)}{each} {how}{why}."


def muted_until(mute: Mute) -> str:
    """When a mute ends; for a short mute, with the time of day."""
    is_short = mute.until - mute.at < 2 * DAY
    until = f"until {date(mute.until, '{date_short} {time}' if is_short else '{date_short}')}"
    return until if mute.rank is None else f"until it changes, at most {until}"


def unmuted_line(who: str, target: Target, others: int = 0) -> str:
    """The channel's line about the end of a mute."""
    return f"{safe(who, 80)} unmuted {_hosts(target, others)}."


def note_form(filled: Mapping[str, str], _learnt: Collection[str]) -> Form:
    """The form that asks for a note."""
    which = text_input("which", "Host")
    if host := filled.get("which"):
        which["element"]["initial_value"] = host
    text = text_input("text", "Note", hint="One line; empty removes the note.", optional=True)
    return Form(command="note", title="Note", submit="Save", blocks=(which, text))


def certificate_note_form(filled: Mapping[str, str], learnt: Collection[str]) -> Form:
    """The form for a note on all monitors that share a row."""
    form = note_form(filled, learnt)
    form.blocks[0]["label"]["text"] = "IDs of the monitors"
    return replace(form, command="note_certificate")


#: What is told where something was set for a name that nothing has.
_UNMATCHED = " No monitor matches it yet."


def noted(
    host: str, text: str, others: int = 0, *, before: str = "", unmatched: bool = False
) -> Message:
    """A note was set or removed, on one host and perhaps on others; `before` was the host's."""
    on = f"{code(host, 120)}{_and_more(others)}"
    said = f"Note on {on}: {safe(text, 200)}" if text else f"The note on {on} was removed."
    blocks = (section(f"📝 {said}"), *([context(f"⚠️{_UNMATCHED}")] if unmatched else []))
    return Message(bare(said), (*blocks, *_before(before, text)))


def none_to_remove(what: str, name: str, others: int = 0) -> Message:
    """There was no `note` or `runbook` to remove."""
    said = f"{code(name, 120)}{_and_more(others)} had no {what}, so none was removed."
    return Message(bare(said), (section(f"🤷 {said}"),), changed=())


def _before(text: str, now: str) -> list[Block]:
    """What was there before, for whoever only wanted to read it."""
    return [context(f"Before: {safe(text, 200)}")] if text not in {"", now} else []


def runbook(name: str, link: str, *, before: str = "", unmatched: bool = False) -> Message:
    """A runbook was linked or removed; `before` was the earlier link."""
    if not link:
        said = f"The runbook of {code(name, 120)} was removed."
        return Message(bare(said), (section(f"📖 {said}"), *_before(before, link)))
    but = _UNMATCHED if unmatched else ""
    text = f"The runbook of {plain(name, 120)} is linked.{but}"
    said = f"📖 <{escaped(link)}|Runbook> of {code(name, 120)} is linked.{but}"
    return Message(text, (section(said), *_before(before, link)))


def outcome_line(text: str, who: str, now: datetime) -> str:
    """The result of a press, in one line of a phone: `↻ no change · Ben, 14:05`."""
    name = safe(who, max(LEAST_NAME, RESULT - len(text)))
    return f"↻ {text} · {name}, {date(now, '{time}')}"


#: What the ranks below Rank.ON_SCHEDULE are called, in their order.
KINDS = ("broken", "urgent", "overdue", "due", "unknown")


def differing(ranks: Sequence[int]) -> str:
    """How the monitors of a row differ: `1 of 3 fixed`, or `1 broken, 13 due`; else empty."""
    bad = Counter(sorted(rank for rank in ranks if rank < len(KINDS)))
    fine = len(ranks) - bad.total()
    said = [f"{number} {KINDS[rank]}" for rank, number in bad.items()] if len(bad) > 1 else []
    return ", ".join([f"{fine} of {len(ranks)} fixed", *said] if 0 < fine < len(ranks) else said)


def of_some(outcome: str) -> str:
    """The result of a press on a row of which only some monitors are fixed."""
    return re.sub("^↻ (fixed|fine|renewed|no change) ·", "↻ rescanned ·", outcome)


def fixed_line(now: datetime, who: str = "") -> str:
    """The row's line about a monitor that was fixed elsewhere, and by whom if that is known."""
    by = f" · {safe(who, RESULT - 5)}," if who else ", seen"
    return f"✅ fixed{by} {date(now, '{time}')}"


def changes(before: Sighting, now: Sighting) -> list[str]:
    """Each change as a short phrase of mrkdwn; empty if nothing changed."""
    found = []
    if before.not_after != now.not_after:
        found.append(f"expiry date {_end_day(before.not_after)} → {_end_day(now.not_after)}")
    if now.not_after is not None and before.not_after is not None:
        if before.issuer != now.issuer:
            found.append(f"issuer {_text(before.issuer)} → {_text(now.issuer)}")
        found += names_changed(before.names, now.names)
        if not found and now.renewed_since(before):
            found.append("reissued with the same dates and names")
    if before.http_code != now.http_code:
        found.append(f"HTTP {_text(before.http_code)} → {_text(now.http_code)}")
    return found


def sentence(before: Sighting, now: Sighting) -> str:
    """What changed: `Changed: expiry date 22 Nov 2026 → 20 Feb 2027.`, or `No change: …`."""
    found = changes(before, now)
    if found:
        return f"Changed: {' · '.join(found)}."
    if now.not_after is None:
        return "No change: the certificate still can't be read."
    return "No change: still the old certificate."


def names_changed(before: tuple[str, ...], now: tuple[str, ...]) -> list[str]:
    """The names that a certificate lost and gained, as short phrases."""
    lost, gained = sorted(set(before) - set(now)), sorted(set(now) - set(before))
    found = []
    if lost:
        found.append(f"names removed: {_some(lost)}")
    if gained:
        found.append(f"names added: {_some(gained)}")
    return found


def _some(names: list[str]) -> str:
    shown = ", ".join(safe(name, 80) for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _end_day(at: datetime | None) -> str:
    return date(at, "{date_short}") if at else "none"


def _text(value: str | int | None) -> str:
    return safe(str(value), 60) if value not in {None, ""} else "none"
