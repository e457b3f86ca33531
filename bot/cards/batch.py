"""Scanning or deleting several monitors: the question, the progress, and the result for each."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from bot.api.models import MonitorSummary
from bot.blocks import Block, Message, bare, code, context, counted, date, safe, section
from bot.cards import lists, replies
from bot.cards.changes import ALL_BROKEN, HIDDEN, KNOWN, NOTICE, WORSE
from bot.cards.marks import KINDS, LEAST_NAME, fixed_line
from bot.cards.monitor import read_ranges
from bot.cards.row import (
    BUSY,
    COUNTED,
    GONE,
    MOST_RESCANNED,
    PART,
    group_row,
    grouped,
    is_same,
    more_about_group,
    row_id,
)
from bot.errors import BotError
from bot.severity import (
    ACT_NOW,
    EXPIRED,
    OK,
    ON_SCHEDULE,
    UNKNOWN,
    UNREACHABLE,
    Rank,
    Thresholds,
    is_fine,
    state_of,
)
from bot.target import Target

#: How the rows of monitors begin that are broken, urgent, unknown, or being scanned.
_UNWELL = (*{state.symbol for state in (EXPIRED, UNREACHABLE, ACT_NOW, UNKNOWN)}, BUSY)
#: What the first lines of a digest say about its rows as they are now, before what was posted.
_NOW = re.compile(r"^(✅|↻|Now:|Rows below:).*?When posted: ")
#: How a digest counts monitors without a row; and how a first line of several monitors ends.
_IN_THREAD = re.compile(r"([\d,]+) more monitors? in the thread\.")
_GROUP = re.compile(r"`~?(?: #\d+)? (?:and |\+)([\d,]+)(?: more)?$", re.MULTILINE)
_POSTED = re.compile(rf"([\d,]+) ({'|'.join(KINDS)})\b")
#: How the line about the monitors that a notice has no room for ends once all or some are fixed.
_OVER, _LEFT_OF = (
    " ✅ None of these needs attention now.",
    re.compile(r" ([\d,]+) of these (?:is|are) left\.$"),
)
_GONE_OF = re.compile(r" [\d,]+ monitors? (?:is|are) no longer monitored\.$")
_MENTIONED = re.compile(r" · (<[@!][^>]*>|[\d,]+ left)")
_LEFT = re.compile(r"<[@!][^>]*> (?=Nobody has taken )")


def scanned(
    before: Sequence[MonitorSummary],
    after: Sequence[MonitorSummary],
    faults: Sequence[tuple[Target, BotError]],
    gone: int,
    *,
    now: datetime,
    rules: Thresholds,
    note: str,
    outcomes: Mapping[int, str] = MappingProxyType({}),
    first: int = 0,
) -> Message:
    """The result of scanning several monitors; `before` includes those that were not scanned.

    `gone` monitors are no longer in the list. `outcomes` are the results for their rows, by ID. If
    they share a row, `first` is the ID that identifies it.
    """
    fixed = _fine(after, now, rules) - _fine(before, now, rules)
    said = f"Scanned {counted(len(after), 'monitor')}"
    if after:
        said += f": {lists.tally(after, now, rules)}"
    said += f". {len(fixed)} fixed." if fixed else "."
    said += lists.counted_faults(faults, "scanned")
    if gone:
        said += f" {lists.missing(gone)}."
    told = [replies.not_done(target, fault, "scanned") for target, fault in faults]
    if not after:
        blocks = (
            section(f"⛔ {said}"),
            *lists.shown(told),
            context(note),
        )
        return Message(said, blocks, public=True, row_says=outcomes.get(0, ""))
    card = lists.monitors(after, now, rules, title="Scanned", said=said)
    more = (*lists.shown(told), context(note))
    fallback = (*card.fallback, *more) if card.fallback else ()
    groups = [tuple(before)] if first else grouped(before, now, rules)
    rows = tuple(_rows(groups, after, now, rules, outcomes))
    card = replace(card, blocks=(*card.blocks, *more), fallback=fallback, public=True, rows=rows)
    if not first:
        return card
    row = rows[0] | {"block_id": row_id(first)}
    return replace(card, row=row, more=more_about_group(_merged(before, after), now, rules))


def _rows(
    groups: Iterable[Sequence[MonitorSummary]],
    after: Sequence[MonitorSummary],
    now: datetime,
    rules: Thresholds,
    outcomes: Mapping[int, str],
) -> Iterator[Block]:
    """The rows as a digest shows them: one per group of monitors."""
    scanned_ids = {row.id for row in after}
    for group in groups:
        said = {outcomes.get(row.id, "") for row in group if row.id in scanned_ids}
        if said:
            outcome = min(said, key=lambda each: (not each.startswith("↻ fixed"), each))
            yield group_row(_merged(group, after), now, rules, outcome=outcome)


def _merged(
    before: Sequence[MonitorSummary], after: Sequence[MonitorSummary]
) -> list[MonitorSummary]:
    """The monitors as found by the scans, or else as they were before."""
    new = {row.id: row for row in after}
    return [new.get(row.id, row) for row in before]


def _fine(rows: Sequence[MonitorSummary], now: datetime, rules: Thresholds) -> set[int]:
    return {row.id for row in rows if state_of(row, now, rules).rank >= Rank.ON_SCHEDULE}


def refreshed(
    block: Block,
    found: Mapping[int, MonitorSummary],
    now: datetime,
    rules: Thresholds,
    complete: bool = True,
) -> tuple[Block, Block | None] | None:
    """The new row for a block of the digest that is outdated, and the buttons below it.

    Returns None if the block is still right. The outcome of the last press stays. If `found` is
    `complete`, a row without a monitor in it is no longer monitored, unless its host has been added
    again.
    """
    name = _name(block)
    summed_up = dict.fromkeys(lists.SUMMED_UP, _summed_up)
    for prefix, now_says in {lists.OLD_MORE: lists.rescanned, HIDDEN: _hidden, **summed_up}.items():
        if name.startswith(prefix):
            ids = name.partition(":")[2] if prefix in lists.SUMMED_UP else ""
            known = bool(ids) and found.keys() >= {*read_ranges(ids, lists.MOST_SUMMED_UP)}
            return now_says(block, found, now, rules) if complete or known else None
    number = name.removeprefix("row:")
    lines = str(block.get("text", {}).get("text", "")).split("\n")
    other = not name.startswith("row:") or not number.isdecimal() or lines[0].startswith(BUSY)
    if other or not (complete or _all_found(block, int(number), found)):
        return None
    members = members_of(block, found) or _added_again(lines[0], found)
    struck, gone = "~`" in lines[0], _is_gone(lines[-1])
    fine = all(is_fine(row, now, rules) and row.expected_at is None for row in members)
    if not members:
        text = f"{lines[0]}\n{GONE}{date(now, '{time}')}"
        return None if gone else (section(text, block_id=name), None)
    was_fine = lines[0].startswith((OK.symbol, ON_SCHEDULE.symbol)) and not _volatile(lines)[1]
    if fine and (not was_fine or (struck and gone)):
        fresh = group_row(members, now, rules)
        same = is_same(block, fresh)
        fixed = group_row(members, now, rules, outcome=_fixed(members, now, rules))
        return (fresh if same else fixed), None
    _, pressed, told = "\n".join(lines[1:]).partition("↻")
    said = f"{pressed}{told}" if not struck else lines[-1] if fine else ""
    fresh = group_row(members, now, rules, outcome=said)
    shown = str(fresh["text"]["text"]).split("\n")
    if "no change" in told and shown[0] != lines[0]:  # that was true of another state
        fresh = group_row(members, now, rules)
        shown = str(fresh["text"]["text"]).split("\n")
    same = shown[0] == lines[0] and _volatile(shown) == _volatile(lines)
    if not gone and (same or (fine and struck and len(members) >= _number(lines[0]))):
        return None
    return fresh, more_about_group(members, now, rules)


def _hidden(
    block: Block, found: Mapping[int, MonitorSummary], now: datetime, rules: Thresholds
) -> tuple[Block, None] | None:
    """The line about the monitors that a notice has no room for, which says how many are left."""
    if _name(block) == HIDDEN:
        return None
    ids = read_ranges(_name(block).removeprefix(HIDDEN), KNOWN)
    left = sum(n in found and not _is_well(state_of(found[n], now, rules).symbol) for n in ids)
    old, gone = str(block["elements"][0]["text"]), sum(n not in found for n in ids)
    new = _GONE_OF.sub("", _LEFT_OF.sub("", old.removesuffix(_OVER)))
    are = "is" if gone == 1 else "are"
    new += f" {counted(gone, 'monitor')} {are} no longer monitored." if gone else ""
    if left < len(ids):
        verb = "is" if left == 1 else "are"
        new += f" {left:,} of these {verb} left." if left else _OVER
    return None if new == old else (context(new) | {"block_id": _name(block)}, None)


def _summed_up(
    block: Block, found: Mapping[int, MonitorSummary], now: datetime, rules: Thresholds
) -> tuple[Block, None] | None:
    """A digest's line about the monitors in its block ID, if it isn't true any more."""
    kind, _, ids = _name(block).partition(":")
    rows = [found[n] for n in read_ranges(ids, lists.MOST_SUMMED_UP) if n in found]
    new = lists.SUMMED_UP[f"{kind}:"](rows, now, rules)
    same = new["text"] == _silent(block)["text"]
    return None if same else ({**new, "block_id": _name(block)}, None)


def _fixed(members: Sequence[MonitorSummary], now: datetime, rules: Thresholds) -> str:
    """When a row was first seen to be fixed, and who fixed it, or else who had taken it."""
    by = {rules.marks.fixers.get(row.id, "") for row in members}
    if len(by) == 1 and "" not in by:
        return fixed_line(now, by.pop())
    claims = [rules.marks.claims.get(row.id) for row in members]
    names = ", ".join(dict.fromkeys(claim.name for claim in claims if claim))
    return f"{fixed_line(now)} · 🙋 {safe(names, LEAST_NAME)}" if names else fixed_line(now)


def _named_ids(block: Block, number: int) -> list[int]:
    """The IDs that a row's button rescans; the row's own if there are none."""
    value = str(block.get("accessory", {}).get("value", ""))
    return [int(each) for each in value.split() if each.isdecimal()] or [number]


def _all_found(block: Block, number: int, found: Mapping[int, MonitorSummary]) -> bool:
    ids = _named_ids(block, number)
    return len(ids) < MOST_RESCANNED and all(each in found for each in ids)


def members_of(block: Block, found: Mapping[int, MonitorSummary]) -> list[MonitorSummary]:
    """The monitors of a row: one, or all of a certificate's.

    Empty if all their IDs exist but none has the row's host: another account uses those IDs.
    """
    if not (name := _name(block).removeprefix("row:")).isdecimal():
        return []
    first, ids = _row_texts([block])[0], _named_ids(block, int(name))
    members = of_row(ids, found)
    all_there = len(members) == len(ids) < MOST_RESCANNED
    if all_there and not any(_names_host(first, row.target) for row in members):
        return []
    return members


def _added_again(first: str, found: Mapping[int, MonitorSummary]) -> list[MonitorSummary]:
    """The new monitor of a row's host, if there is one; none for a shortened, ambiguous host."""
    host = first.partition("`")[2].partition("`")[0]
    return [row for row in found.values() if row.target.short == host][:1]


def shown_state(row: Block) -> tuple[str, list[str]]:
    """The state that a row shows, and how many of its monitors are fixed."""
    text = str(row["text"]["text"])
    return text.partition("\n")[0], [found[0] for found in PART.finditer(text)]


def _names_host(row_text: str, target: Target) -> bool:
    """Whether this is the text of a host's row."""
    shown = re.escape(row_text.partition("`")[2].partition("`")[0]).replace("…", ".*")
    return re.fullmatch(shown, code(target.short)[1:-1]) is not None


def of_row(ids: Sequence[int], found: Mapping[int, MonitorSummary]) -> list[MonitorSummary]:
    """The monitors of a row whose button has these IDs.

    It has as many as one press rescans; the others are found by their certificate.
    """
    named = [found[each] for each in ids if each in found]
    if len(ids) < MOST_RESCANNED:
        return named
    prints = {row.fingerprint for row in named} - {""}
    return [*named, *(r for r in found.values() if r.fingerprint in prints and r.id not in ids)]


def _volatile(lines: Sequence[str]) -> tuple[list[str], bool]:
    """The parts of a row that may change in one state: marks, what is fixed, what is awaited."""
    parts = [part for line in lines[1:] for part in line.split(" · ")]
    marks = [part for part in parts if part.startswith(("🙋", "🔕", "📝")) or PART.match(part)]
    return marks, any(part.lower().startswith("issued ") for part in parts)


def redrawn(
    text: str, blocks: Sequence[Block], idle: Sequence[Block] = ()
) -> tuple[str, tuple[Block, ...]]:
    """A list as edited: the first lines of a digest or notice say what is fixed.

    An edit mentions nobody, and strikes through the title of a notice that is over. `idle` are the
    blocks as if none of their rows were being scanned.
    """
    kind, idle = _kind_of(blocks), idle or blocks
    if _none_broken(idle):
        blocks = [block for block in blocks if _name(block) != ALL_BROKEN]
    if kind is None:
        if not _is_digest(blocks):
            return text, tuple(blocks)
        return _digest_redrawn(text, [_silent(block) for block in blocks], idle)
    head, rows = blocks[0], _row_texts(idle)
    title = _MENTIONED.sub("", str(head["text"]["text"]))
    left, total = _left(idle, late=kind == "late")
    if kind in WORSE and is_over(idle):
        title, text = f"~{title}~", f"{_end(kind, idle)}. When posted: {text}"
    elif kind in WORSE and 0 < left < total:
        title, text = f"{title} · {left:,} left", f"{left:,} left. When posted: {text}"
    elif kind not in {*WORSE, "added"} and not all(map(_is_well, rows)):
        title = f"{title} · changed again"
    return text, ({**head, "text": {**head["text"], "text": title}}, *blocks[1:])


def _none_broken(blocks: Sequence[Block]) -> bool:
    """Whether no monitor of [Rescan all broken] is broken; those without a row may be."""
    pressed = next((block for block in blocks if _name(block) == ALL_BROKEN), {})
    if "elements" not in pressed or _kind_of(blocks):
        return "elements" in pressed and is_over(blocks)
    rows = [block for block in blocks if re.fullmatch(r"row:\d+", _name(block))]
    shown = {each for row in rows for each in _named_ids(row, int(_name(row)[4:]))}
    marks = EXPIRED.symbol, UNREACHABLE.symbol, BUSY
    broken = any(text.startswith(marks) and not _is_gone(text) for text in _row_texts(rows))
    ids = {*map(int, pressed["elements"][0]["value"].split())}  # some may have been deleted
    return not broken and (ids <= shown or not _IN_THREAD.search(str(blocks)))


def _silent(block: Block) -> Block:
    """A digest's block, without the mention for what nobody has taken."""
    text = str(block.get("text", {}).get("text", ""))
    found = _LEFT.match(text)
    return {**block, "text": {**block["text"], "text": text[found.end() :]}} if found else block


def _is_digest(blocks: Sequence[Block]) -> bool:
    head = blocks[0] if len(blocks) > 1 else {}
    title = str(head.get("text", {}).get("text", "")) if head.get("type") == "header" else ""
    return title.startswith("Certificates ") and blocks[1].get("type") == "section"


def _digest_redrawn(
    text: str, blocks: Sequence[Block], idle: Sequence[Block]
) -> tuple[str, tuple[Block, ...]]:
    """A digest whose summary says how many rows are fixed, and what the others are now."""
    old = [block for block in idle if _name(block) == lists.OLD_ROW]
    rows, summary = _row_texts([block for block in idle if block not in old]), blocks[1]
    posted = _NOW.sub("", str(summary["text"]["text"]), count=1)
    fixed, fresh = sum(map(_is_struck, rows)), "".join(_row_texts(old)).startswith(lists.FRESH)
    group = " rows" if any(map(_GROUP.search, rows)) else ""
    said = f"✅ {fixed} of {len(rows)}{group} fixed. " if fixed else ""
    said += "↻ Old data rescanned. " if fresh else ""
    muted = [str(b["text"]["text"]) for b in idle if _name(b).startswith(lists.MUTED)]
    said += "↻ Mutes have ended. " if lists.UNMUTED in "".join(muted) else ""
    said += _now(rows, posted.partition(".")[0], str(blocks)) if fixed < len(rows) else ""
    if not said and posted == summary["text"]["text"]:
        return text, tuple(blocks)
    text = f"{said}When posted: {posted}" if said else posted
    shown = {**summary, "text": {**summary["text"], "text": text}}
    return bare(text), (blocks[0], shown, *blocks[2:])


def _now(rows: Sequence[str], posted: str, blocks: str) -> str:
    """What the rows count as now: `Now: 2 broken. `; empty if that is what was `posted`.

    What was posted may also count monitors that have no row: these are the last in its order.
    """
    now, were, counted_then = Counter[str](), Counter[str](), _POSTED.findall(posted)
    for row in rows:
        if row[:1] in COUNTED and not _is_gone(row):
            differ = _POSTED.findall(found[0] if (found := PART.search(row)) else "")
            some = {kind: int(number) for number, kind in differ}
            now.update(some or {COUNTED[row[:1]]: _number(row) - _fixed_of(row)})
    numbers = [int(number.replace(",", "")) for number, _ in counted_then]
    room = sum(numbers) - sum(int(each.replace(",", "")) for each in _IN_THREAD.findall(blocks))
    for number, (_, kind) in zip(numbers, counted_then, strict=True):
        were[kind] = max(0, min(room, number))
        room -= number
    if now == were:
        return ""
    counts = ", ".join(f"{now[kind]:,} {kind}" for kind in KINDS if now[kind])
    return f"{'Rows below' if room < 0 else 'Now'}: {counts or 'none of these'}. "


def _number(row: str) -> int:
    """How many monitors a row has."""
    more = _GROUP.search(row)
    return 1 + int(more[1].replace(",", "")) if more else 1


def _fixed_of(row: str) -> int:
    """How many of a row's monitors are fixed, if only some are."""
    part = PART.search(row)
    return int(part[1] or 0) if part else 0


def _end(kind: str, blocks: Sequence[Block]) -> str:
    """How a notice ended: a monitor that was deleted, or is merely less urgent, is not fixed."""
    rows = _row_texts(blocks)
    hidden = [str(b["elements"][0]["text"]) for b in blocks if _name(b).startswith(HIDDEN)]
    if any(_GONE_OF.search(text.removesuffix(_OVER)) for text in hidden):
        return "Over"
    if any(map(_is_gone, rows)):
        return "No longer monitored" if all(map(_is_gone, rows)) else "Over"
    return "Over" if kind == "worse" and not all(map(_is_struck, rows)) else "✅ Fixed"


def is_over(blocks: Sequence[Block]) -> bool:
    """Whether no monitor of a notice is broken or urgent any more, judging by its rows."""
    return not _left(blocks, late=_kind_of(blocks) == "late")[0] and bool(_row_texts(blocks))


def _left(blocks: Sequence[Block], *, late: bool) -> tuple[int, int]:
    """How many monitors of a notice still need attention, and of how many, as far as is known."""
    rows = [row for row in _row_texts(blocks) if not _is_well(row, late=late)]
    left = sum(_number(row) - _fixed_of(row) for row in rows)
    total = sum(map(_number, _row_texts(blocks)))
    for block in blocks:
        ids = _name(block).removeprefix(HIDDEN)
        if ids and ids != _name(block):
            hidden, text = len(read_ranges(ids, KNOWN)), str(block["elements"][0]["text"])
            some = _LEFT_OF.search(text)
            left += int(some[1].replace(",", "")) if some else 0 if text.endswith(_OVER) else hidden
            total += hidden
        elif _name(block) == HIDDEN:
            return 1, 1  # nobody knows
    return left, total


def _name(block: Block) -> str:
    return str(block.get("block_id", "")).partition("@")[0]


def _kind_of(blocks: Sequence[Block]) -> str | None:
    name = _name(blocks[0]) if blocks else ""
    return name.removeprefix(NOTICE) if name.startswith(NOTICE) else None


def _row_texts(blocks: Sequence[Block]) -> list[str]:
    return [str(block["text"]["text"]) for block in blocks if _name(block).startswith("row:")]


def _is_well(row: str, *, late: bool = False) -> bool:
    return _is_struck(row) or _is_gone(row) or not (late or row.startswith(_UNWELL))


def _is_struck(row: str) -> bool:
    return "~`" in row.partition("\n")[0]


def _is_gone(row: str) -> bool:
    return f"{GONE}<" in row.rpartition("\n")[2]
