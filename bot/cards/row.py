"""One monitor as a row of a list, a digest or Home: what is wrong, until when, and who has it.

On a phone that is 390 pixels wide, three lines fit beside the row's only button.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from bot.api.models import MonitorSummary
from bot.blocks import (
    MAX_OPTION_VALUE,
    Block,
    Message,
    actions,
    bare,
    button,
    code,
    context,
    menu,
    plain,
    safe,
    section,
    since,
    width,
)
from bot.cards.marks import KINDS, dated, day_of, differing, end_of, fixed_line, of_some
from bot.cards.monitor import (
    LINE,
    MOST_HOST,
    argument,
    awaited,
    caa,
    elsewhere,
    ranges,
    row_facts,
    row_host,
    title,
    watch_button,
)
from bot.severity import (
    ACT_NOW,
    DUE,
    EXPIRED,
    OK,
    ON_SCHEDULE,
    OVERDUE,
    REVOKED,
    UNKNOWN,
    UNREACHABLE,
    Rank,
    Thresholds,
    claim_of,
    is_ahead,
    is_fine,
    is_stale,
    mute_of,
    note_of,
    state_of,
)
from bot.target import Target

#: How a row begins while its monitor is being scanned.
BUSY = "⏳ *Scanning…*"
GONE = "No longer monitored, seen "
#: The ranks that a new certificate fixes, apart from EXPIRED and REVOKED.
_RENEWABLE = frozenset({Rank.ACT_NOW, Rank.OVERDUE, Rank.DUE})
#: The most monitors that one press rescans.
MOST_RESCANNED = 100
#: Stands in a menu for IDs that have no room there, which is of so many characters; the first
#: button below the row has them all.
THIS_ROW, MOST_IN_MENU = "this-row", MAX_OPTION_VALUE - len('form note_certificate {"which": ""}')
#: The lines that fit beside a row's button on a phone.
LINES = 3
#: How a note begins; and what a row says whose monitors differ.
_KIND = rf"\d+ (?:{'|'.join(KINDS)})"
NOTE, PART = (
    "📝",
    re.compile(rf"^(?:(\d+) of \d+ fixed(?:, {_KIND})*|{_KIND}(?:, {_KIND})+)", re.MULTILINE),
)
#: What rows count as, by their first character.
_SYMBOLS = (each.symbol for each in (EXPIRED, UNREACHABLE, ACT_NOW, OVERDUE, DUE, UNKNOWN))
COUNTED = dict(zip(_SYMBOLS, (KINDS[0], *KINDS), strict=True))
#: Who pressed, before the time.
_PRESSED_BY = re.compile(r" · [^·]*, (?=<!date)")
#: The first line of a row of several: its symbol, its host, and how many others it has.
_TITLE = re.compile(r"(\S+) .*`([^`]+)`.* (?:\+|and )([\d,]+)(?: more)?")
#: The least characters of a clipped name, with its symbol.
LEAST_NAME = 5
#: The possible layouts of a row, the best one first; each consists of its lines.
_Layouts = Iterator[Sequence[str]]
#: The block ID of a monitor's row; in a private list, the list's name follows.
_ROW = re.compile(r"row:(\d+)")
#: How the parts begin that say who has a monitor, and how old its scan is.
_WHO = ("🙋", "🔕", "⚠️")
#: How a fact begins that has a shorter form; and the rows that are fine, or not known to be bad.
_LONG = re.compile(r"^(Since|Expires) <!date[^>]*>, ")
_FINE, _DUE = (OK.symbol, ON_SCHEDULE.symbol), (ACT_NOW.symbol, OVERDUE.symbol, DUE.symbol)
_NOT_BAD = (*_FINE, BUSY, UNKNOWN.symbol)


def list_row(row: MonitorSummary, now: datetime, rules: Thresholds, *, outcome: str = "") -> Block:
    """A monitor's row with its Rescan button; its block ID identifies it.

    `outcome` is the result of the last press, as finished mrkdwn; a fixed row's host is then struck
    through.
    """
    return group_row((row,), now, rules, outcome=outcome)


def with_row(
    card: Message, row: MonitorSummary, now: datetime, rules: Thresholds, *, outcome: str = ""
) -> Message:
    """A monitor's card with its row, for the list whose button was pressed."""
    shown = list_row(row, now, rules, outcome=outcome)
    return replace(card, row=shown, more=more_about(row, now, rules))


def scanning(
    target: Target | None, monitor_id: int, *, note: str = "", public: bool = False, who: str = ""
) -> Message:
    """The card of a monitor during its scan, without buttons. `who` pressed."""
    host = target.short if target else f"#{monitor_id}"
    return Message(
        f"Scanning {plain(host, 100)}…",
        (
            section(f"⏳ *Scanning…* · {code(host)}"),
            context(" · ".join(filter(None, [f"#{monitor_id}", note]))),
        ),
        public=public,
        row=busy_row(target, monitor_id, who),
    )


def grouped(
    rows: Iterable[MonitorSummary], now: datetime, rules: Thresholds
) -> list[tuple[MonitorSummary, ...]]:
    """Ranked rows by certificate: a group's monitors have one certificate, and look alike.

    If the API gives no fingerprint, each row is a group of its own: equal dates prove nothing.
    """
    groups: dict[object, list[MonitorSummary]] = {}
    for row in rows:
        key: object = row.id
        if row.fingerprint:
            claim, muted = claim_of(row, now, rules), mute_of(row, now, rules) is not None
            state = state_of(row, now, rules)
            looks = (state, row.message, claim and claim.user, muted, row.caa_refuses)
            key = (row.fingerprint, looks, is_stale(row, now), is_ahead(row, now), row.expected_at)
        groups.setdefault(key, []).append(row)
    return [tuple(group) for group in groups.values()]


def group_row(
    members: Sequence[MonitorSummary], now: datetime, rules: Thresholds, *, outcome: str = ""
) -> Block:
    """The row of all monitors with one certificate, in the state of the worst.

    Its block ID is that of the lowest ID among them, so that it stays in place.
    """
    states = [state_of(row, now, rules) for row in members]
    state = min(states, key=lambda each: each.rank)
    worst, others = members[states.index(state)], len(members) - 1
    done = state.rank >= Rank.ON_SCHEDULE and worst.expected_at is None
    target, struck = worst.target, bool(outcome) and done
    facts = row_facts(worst, state, now, rules)
    new = awaited(worst, now)
    if differ := differing([each.rank for each in states]):
        facts, outcome = [differ], of_some(outcome)
    elif new or (state.rank <= Rank.DUE and (new := elsewhere(worst))):
        facts = [f"{facts[-1]} · {new[0].lower()}{new[1:]}", new]
    elif others:
        said = f"{len(members):,} monitors, one certificate"
        if state.rank in _RENEWABLE or state in {EXPIRED, REVOKED}:
            said = f"One renewal fixes {len(members):,} monitors"
        facts = [*(f"{each} · {said[0].lower()}{said[1:]}" for each in facts), said, *facts]
    last, lowest = outcome or _note(worst, rules), min(row.id for row in members)
    first = _first(title(state, target, struck=struck), target, lowest, others)
    text = _lines(first, facts, _who(members, worst, now, rules), last, lowest)
    press = _rescan(members, target.short)
    row = section(text, accessory=press, block_id=row_id(lowest))
    return row if state.rank is Rank.BROKEN else dated(row, day_of(worst.not_after))


def _first(title_text: str, target: Target, monitor_id: int, others: int) -> str:
    """The first line of a row, with the number of its other monitors, in full or short."""
    more = f" +{others:,}" if others else ""
    whole, short = f"{title_text} and {others:,} more" if others else title_text, title_text + more
    if _title_lines(whole) < LINES:
        return min(whole, short, key=_title_lines)
    shown, space, rest = row_host(target.short, monitor_id, more).partition(" ")
    return title_text.replace(code(target.short), shown) + space + rest


def _rescan(members: Sequence[MonitorSummary], host: str) -> Block:
    if len(members) == 1:
        return button("Rescan", "scan", argument(members[0]), "below", about=f"Rescan {host}")
    return rescan_certificate([row.id for row in members])


def rescan_certificate(numbers: Iterable[int]) -> Block:
    """The button that rescans these monitors, which have the same certificate."""
    ids = certificate_ids(numbers)
    about = f"Rescan {len(ids)} monitors of one certificate"
    return button("Rescan", "scan_certificate", " ".join(ids), "below", about=about)


def certificate_ids(numbers: Iterable[int]) -> list[str]:
    """The IDs of a row's monitors, as many as one press rescans; the first identifies the row."""
    return [str(number) for number in sorted(numbers)[:MOST_RESCANNED]]


def _lines(first: str, facts: Sequence[str], who: Sequence[str], last: str, number: int) -> str:
    """The text of a row: what matters and who has it, then the result of a press.

    A phone shows at most LINES: the first layout that fits is used, or else the last.
    """
    layouts = _layouts(first, facts, who, last)
    if facts and PART.match(facts[0]):
        layouts = _layouts_of_some(first, facts[0], who, last, number)
    for layout in layouts:
        top, *below = filter(None, layout)
        if sum(math.ceil(width(line) / LINE) for line in below) <= LINES - _title_lines(top):
            break
    return "\n".join([top, *below])


def _layouts(first: str, facts: Sequence[str], who: Sequence[str], last: str) -> _Layouts:
    """The layouts of a row, from long to short; a note that would hide the facts is left out."""
    yield from ((first, _joined(fact, *who), last) for fact in facts)
    if last.startswith(NOTE):
        last = ""
        yield from ((first, _joined(fact, *who)) for fact in facts)
    if who:
        yield first, _joined(*who), last
    owner, short = _owner(who), _PRESSED_BY.sub(", ", last)
    clipped = [*_clipped(owner, short), short] if _clipped(owner, short) else [last]
    for parts in ([*who, last], [*owner, last], [*owner, short], clipped, [short]) if last else ():
        yield first, _joined(*parts)


def _layouts_of_some(first: str, part: str, who: Sequence[str], last: str, number: int) -> _Layouts:
    """The layouts of a row whose monitors differ as `part` says: `1 of 3 fixed`, `1 broken, 4 due`.

    Where room is short, the word for the worst state is left out, since `part` counts it too.
    """
    said, owner = "" if last.startswith(NOTE) else last, _owner(who)
    short, brief = said.replace("rescanned · ", ""), _brief(first, part, number)
    tails = (("", said), (short, ""), (_PRESSED_BY.sub(", ", short), ""))
    full = first, part
    for (top, kinds), people in (
        (full, who),
        (full, owner),
        (brief, owner),
        (brief, None),
        (brief, ()),
    ):
        for tail, below in tails:
            names = _clipped(owner, kinds, tail) if people is None else people
            line = _joined(kinds, *names, tail)
            if not tail or width(line) <= LINE or width(kinds) > LINE:
                yield top, line, below


def _joined(*parts: str) -> str:
    return " · ".join(filter(None, parts))


def _owner(who: Sequence[str]) -> list[str]:
    return [each for each in who if each.startswith(_WHO[0])]


def _clipped(owner: Sequence[str], *rest: str) -> list[str]:
    """Who has a monitor, cut to what the `rest` of a line leaves; empty if that is too little."""
    room = -width(_joined(*rest)) % LINE - 6
    return [safe(bare(each), room) for each in owner if room > LEAST_NAME]


def _brief(first: str, part: str, number: int) -> tuple[str, str]:
    """The first line without the state's word, in one line of a phone, and a part that says it."""
    if not (found := _TITLE.fullmatch(first)):
        return first, part
    symbol, host, others = found.groups()
    if some := re.fullmatch(r"(\d+) of (\d+) fixed", part):
        part = f"{part}, {int(some[2]) - int(some[1])} {COUNTED[symbol]}"
    return f"{symbol} {row_host(host, number, f' +{others}', MOST_HOST - 3)}", part


def carried(old: Block, new: Block, now: datetime) -> Block:
    """A row in place of an old one; unless it was scanned, it keeps the result of the last press.

    If it is fixed by now, it is struck through; a row that was fine before is as it was.
    """
    was, text = str(old["text"]["text"]), str(new["text"]["text"])
    _, _, said = was.partition("↻")
    if "↻" in text:
        if (was.startswith(_FINE) and "~`" not in was) or is_same(old, new):
            text = re.sub("~(`[^`]+`)~", r"\1", text, count=1)
        elif text.startswith(_FINE) and not was.startswith(_NOT_BAD):
            text = text.replace("↻ renewed", "↻ fixed")
        return {**new, "text": {**new["text"], "text": text}}
    struck, fixed = "~`" in was, text.startswith(_FINE) and "issued " not in text.lower()
    if fixed and (struck or not was.startswith(_NOT_BAD)) and not is_same(old, new):
        text = re.sub("`[^`]+`", r"~\g<0>~", text, count=1)
        told = was.rpartition("\n")[2] if struck else fixed_line(now)
        return saying({**new, "text": {**new["text"], "text": text}}, told)
    said = f"↻{said}" if said else ""
    return saying(new, of_some(said) if PART.search(text) else said) if said else new


def is_same(old: Block, new: Block) -> bool:
    """Whether a due row has the same certificate still: not fixed if its renewal is due later."""
    end = end_of(old)
    return str(old["text"]["text"]).startswith(_DUE) and bool(end) and end == end_of(new)


def taken_like(row: Block, other: Block) -> Block:
    """The row with the owner of another row, unless it is fine."""
    text = str(row["text"]["text"])
    if text.startswith((*_FINE, BUSY)):
        return row
    parts = str(other["text"]["text"]).replace("\n", " · ").split(" · ")
    return saying(row, "".join(text.partition("↻")[1:]), _owner(parts))


def saying(row: Block, outcome: str, owner: Sequence[str] | None = None) -> Block:
    """The row with the result of the last press in its last line, and perhaps another owner."""
    text, _, _ = str(row["text"]["text"]).partition("↻")
    first, *rest = text.rstrip(" ·\n").split("\n")
    parts = [part for line in rest[:1] for part in line.split(" · ")]
    who = [part for part in parts if part.startswith(_WHO)]
    fact = " · ".join(part for part in parts if part not in who)
    if owner is not None:
        who = [*owner, *(part for part in who if part not in _owner(who))]
    clause = fact.partition("; ")[0]
    short = _LONG.sub(lambda found: "Expired " if found[1] == "Since" else "Expires ", clause)
    facts, number = [fact, clause, short] if fact else [], _ROW.match(str(row["block_id"]))
    text = _lines(first, facts, who, outcome, int(number[1]) if number else 0)
    return dated({**row, "text": {**row["text"], "text": text}}, end_of(row))


def _title_lines(first: str) -> int:
    """How many of a phone's lines the first line takes: bold capitals and code are wide."""
    state, _, host = first.rpartition(" · ")
    wide = width(host.replace("~", "")) * 1.1 + 2
    together = wide + (len(state) - 2) * 1.4 + 3
    return 1 if together <= LINE else 1 + math.ceil(wide / LINE)


def busy_row(target: Target | None, monitor_id: int, who: str) -> Block:
    """The row while a scan runs: it has no button."""
    host = row_host(target.short, monitor_id) if target else code(f"#{monitor_id}")
    by = f" · {safe(who, 60)}" if who else ""
    return section(f"{BUSY} · {host}{by}", block_id=row_id(monitor_id))


def more_about_group(
    members: Sequence[MonitorSummary], now: datetime, rules: Thresholds
) -> Block | None:
    """The buttons below the pressed row of one certificate."""
    bad = [row for row in members if not is_fine(row, now, rules)]
    if len(members) == 1 or not bad:
        return more_about(members[0], now, rules)
    ids = certificate_ids(row.id for row in members)
    taken = all(claim_of(row, now, rules) for row in bad)
    muted = all(mute_of(row, now, rules) for row in bad)
    label, verb = ("Release", "release") if taken else ("I'll take it", "take")
    of, value = f"{len(ids)} monitors of one certificate", " ".join(ids)
    short = each if len(each := ranges(ids)) <= MOST_IN_MENU else THIS_ROW
    mute = ("Unmute", "unmute") if muted else ("Mute until they change", "mute")
    choices = [
        (mute[0], f"{mute[1]}_certificate", short),
        ("Note", "form", f"note_certificate {json.dumps({'which': short})}"),
        ("Details", "details", argument(bad[0])),
        ("History", "history", argument(bad[0])),
    ]
    return actions(
        button("Scan & watch", "watch_certificate", value, "below", about=f"Watch {of}"),
        button(label, f"{verb}_certificate", value, "below", about=f"{verb.capitalize()} {of}"),
        menu(choices, "below"),
    ) | {"block_id": f"more:{ids[0]}"}


def more_about(row: MonitorSummary, now: datetime, rules: Thresholds) -> Block | None:
    """The buttons below a pressed row whose monitor isn't fine."""
    if is_fine(row, now, rules):
        return None if row.expected_at is None else actions(watch_button(row, "below"))
    host, value = row.target.short, argument(row)
    if claim_of(row, now, rules):
        take = button("Release", "release", value, "below", about=f"Release {host}")
    else:
        take = button("I'll take it", "take", value, "below", about=f"Take {host}")
    muted = mute_of(row, now, rules) is not None
    mute = ("Unmute", "unmute", value) if muted else ("Mute until it changes", "mute", value)
    which = str(row.target) if value != str(row.id) else value
    note = ("Note", "form", f"note {json.dumps({'which': which})}")
    others = [("Details", "details", value), ("History", "history", value)]
    choices = menu([mute, note, *others], "below")
    return actions(watch_button(row, "below"), take, choices) | {"block_id": f"more:{row.id}"}


def _note(row: MonitorSummary, rules: Thresholds) -> str:
    note = note_of(row, rules)
    return f"{NOTE} {safe(note, LINE - 4)}" if note else ""


def _who(
    members: Sequence[MonitorSummary], worst: MonitorSummary, now: datetime, rules: Thresholds
) -> list[str]:
    """Whether CAA forbids renewal, who has it, whether it is muted, and how old its scan is.

    For several monitors, that is only said if it is true of all that aren't fine.
    """
    parts = caa(worst, state_of(worst, now, rules))
    bad = [row for row in members if not is_fine(row, now, rules)] or [worst]
    claims = [claim_of(row, now, rules) for row in bad]
    if all(claims):
        names = dict.fromkeys(safe(claim.name, 20) for claim in claims if claim)
        parts.append(f"🙋 {', '.join(names)}")
    if all(mute_of(row, now, rules) for row in bad):
        parts.append("🔕 muted")
    if old := [row.scanned_at for row in members if row.scanned_at and is_stale(row, now)]:
        ahead = all(is_ahead(row, now) for row in members)
        said = "scan dated in the future" if ahead else f"scanned {since(min(old), now)}"
        parts.append(f"⚠️ {said}")
    return parts


def row_id(monitor_id: int) -> str:
    """The block id of a monitor's row."""
    return f"row:{monitor_id}"
