"""Lists of monitors, worst first."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from bot.api.models import MonitorSummary
from bot.blocks import (
    MAX_BLOCK_ID,
    MAX_CHARACTERS,
    Block,
    Message,
    actions,
    bare,
    button,
    code,
    confirmation,
    context,
    counted,
    date,
    fitting,
    header,
    packed,
    safe,
    section,
    text_length,
)
from bot.cards import replies
from bot.cards import table as table_cards
from bot.cards.monitor import headline, ranges, text_row
from bot.cards.monitor import monitor as monitor_card
from bot.cards.row import BUSY, MOST_RESCANNED, group_row, grouped
from bot.dates import HOUR
from bot.errors import BotError
from bot.severity import (
    STALE_AFTER,
    Rank,
    Thresholds,
    claim_of,
    is_fine,
    is_stale,
    mute_of,
    state_of,
    worst_first,
)
from bot.target import Target

LIST_CARDS = 8
LIST_ROWS = 20
#: The rows with a button above the table of a long list.
LIST_WORST = 3
#: The block IDs of the row about old scans and of its button; and its text once there are none.
OLD_ROW, OLD_MORE = "row:old", "more:old"
FRESH = f"✅ *RESCANNED* · No scan listed here is older than {STALE_AFTER // HOUR} hours any more"
#: How the block IDs of a digest's lines begin about monitors that are muted, and that nobody has
#: taken for days; how many they are about at most; and what the first line says of others.
MUTED, LEFT, MOST_SUMMED_UP, UNMUTED = "muted:", "left:", 500, " No longer muted · "
#: The most hosts named in one line.
NAMED = 5
#: The most monitors that one press deletes, and the most faults that are told.
MAX_DELETED, FAULTS_SHOWN = 50, 10
#: Makes the question above a list of monitors: its title, and the button that confirms it.
Question = Callable[[Sequence[MonitorSummary]], tuple[str, Sequence[Block]]]


def tally(rows: Iterable[MonitorSummary], now: datetime, rules: Thresholds) -> str:
    """`2 broken, 3 due`, in plain text, without zeros."""
    ranks = [state_of(row, now, rules).rank for row in rows]
    names = {
        Rank.BROKEN: "broken",
        Rank.ACT_NOW: "urgent",
        Rank.OVERDUE: "overdue",
        Rank.DUE: "due",
        Rank.UNKNOWN: "unknown",
        Rank.ON_SCHEDULE: "on schedule",
        Rank.OK: "OK",
    }
    return ", ".join(
        f"{ranks.count(rank):,} {name}" for rank, name in names.items() if rank in ranks
    )


def ranked(
    rows: Iterable[MonitorSummary], now: datetime, rules: Thresholds
) -> list[MonitorSummary]:
    """The rows worst first, each monitor once: Slack refuses duplicate block IDs."""
    once = {row.id: row for row in rows}
    return sorted(once.values(), key=lambda row: worst_first(row, now, rules))


def old_scans(number: int) -> str:
    """`3 monitors have no scan dated in the last 36 hours`: their present state is unknown."""
    those = f"{counted(number, 'monitor')} {'has' if number == 1 else 'have'}"
    return f"{those} no scan dated in the last {STALE_AFTER // HOUR} hours"


def unreadable(number: int) -> str:
    """`2 monitors could not be read`: the API has them, but its reply was malformed."""
    return f"{counted(number, 'monitor')} could not be read"


def unsure(number: int, whether: str) -> str:
    """`2 monitors could not be read, so it isn't known whether …`."""
    return f"{unreadable(number)}, so it isn't known whether {whether}."


def monitors(
    rows: Sequence[MonitorSummary],
    now: datetime,
    rules: Thresholds,
    *,
    title: str = "Monitors",
    said: str = "",
    offer: Sequence[Block] = (),
    asked: str = "",
    lost: int = 0,
    by_certificate: bool = False,
) -> Message:
    """A list of monitors, worst first: up to LIST_CARDS rows, or some rows and a table.

    `said` replaces the counts below the title; `offer` follows it. `asked` are the filters as
    typed, for the button that sends the whole list as a CSV file; `lost` monitors could not be
    read. Counts and table are of monitors, even if those of one certificate share a row
    (`by_certificate`).
    """
    order = ranked(rows, now, rules)
    groups = grouped(order, now, rules) if by_certificate else [(row,) for row in order]
    summary = said or f"{counted(len(order), 'monitor')}: {tally(order, now, rules)}."
    if len(groups) < len(order):
        summary += " Those with one certificate share a row."
    if lost:
        summary += f" ⚠️ {unreadable(lost)}."
    first = f" {headline(order[0], now, rules)}." if order else ""
    top = [header(title), context(summary), *offer]
    shown_rows = [group_row(group, now, rules) for group in groups[:LIST_ROWS]]
    if len(groups) <= LIST_CARDS:
        file = [_csv_button(asked)] if len(groups) < len(order) else []
        return Message(f"{summary}{first}", (*top, *shown_rows, *file))
    table, shown = table_cards.table(order, now, rules)
    below = [_csv_button(asked)]
    if len(order) > shown:
        more = counted(len(order) - shown, "more monitor")
        below.insert(0, context(f"{more} not shown; the CSV has all."))
    rest = [row for group in groups[fitting([[row] for row in shown_rows]) :] for row in group]
    return Message(
        f"{summary}{first}",
        (*top, *shown_rows[:LIST_WORST], table, *below),
        fallback=(*top, *_classic(shown_rows, rest, now, rules), _csv_button(asked)),
    )


def story(
    rows: Sequence[MonitorSummary], now: datetime, rules: Thresholds, *, said: str
) -> Message:
    """The reply about a row's monitors, which have one certificate; `said` is how it was fixed."""
    if len(rows) == 1:
        return monitor_card(rows[0], now, rules, said=said)
    return monitors(rows, now, rules, title="Monitors of one certificate")


def _classic(
    shown: Sequence[Block], rest: Sequence[MonitorSummary], now: datetime, rules: Thresholds
) -> list[Block]:
    """A long list without the table: rows, then lines of text, then the number of the rest."""
    rows = shown[: fitting([[row] for row in shown])]
    lines: list[str] = []
    room = MAX_CHARACTERS - text_length(rows)
    for row in rest:
        line = text_row(row, now, rules)
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    blocks = [*rows, *packed(lines, section)]
    if hidden := len(rest) - len(lines):
        blocks.append(context(not_shown(hidden, rules)))
    return blocks


def _csv_button(asked: str) -> Block:
    about = "Send the whole list as a CSV file in a direct message"
    return actions(button("CSV", "csv", asked, "below", about=about))


def not_shown(number: int, rules: Thresholds) -> str:
    """The small print of a list that is too long, in mrkdwn."""
    narrow = code(f"/ssl list expires<{rules.net_days}")
    return f"{counted(number, 'more monitor')} not shown. To narrow the list, try {narrow}."


def no_such_word(word: str, near: str = "") -> Message:
    """A word that is no filter, and a part of no name; perhaps the filter `near` was meant."""
    advice = "`/ssl help list` names the filters. `/ssl list` shows all monitors."
    advice = f"Did you mean {code(f'/ssl list {near}')}? {advice}" if near else advice
    text = f"{code(word)} isn't a filter, and no monitored host's name contains it."
    return Message(bare(text), (section(f"🤔 *NOT UNDERSTOOD*\n{text}"), context(advice)))


def none_found(what: str, lost: int = 0) -> Message:
    """A list that has no rows; `what` is finished mrkdwn that names what was asked for."""
    advice = "`/ssl list` shows all monitors. `/ssl add example.com` adds one."
    but = f" ⚠️ {unreadable(lost)}." if lost else ""
    return Message(
        f"No monitors match.{but}",
        (
            section(f"No monitors match {what}.{but}"),
            context(advice),
        ),
    )


def no_monitors(lost: int = 0) -> Message:
    """The list of an account without monitors, or without any that could be read."""
    if lost:
        text = f"⚠️ No monitors listed: {unreadable(lost)}."
        return Message(text, (section(text), context("`/ssl ping` checks the SSLmonitor API.")))
    return Message(
        "There are no monitors yet.",
        (section("There are no monitors yet. Start with `/ssl add example.com`."),),
    )


def csv_sent(number: int, lost: int = 0) -> Message:
    """The CSV is on its way."""
    text = f"The list of {counted(number, 'monitor')} is in your direct messages, as a CSV file."
    if lost:
        text += f" ⚠️ {unreadable(lost)}."
    return Message(text, (section(f"✅ {text}"),))


def csv_text(number: int, lost: int = 0) -> str:
    """The sentence beside the file."""
    but = f" {unreadable(lost)} and aren't included." if lost else ""
    return f"Here is the list of {counted(number, 'monitor')} as a CSV file.{but}"


def csv_in_doubt(number: int, lost: int = 0) -> str:
    """What replaces `csv_text` if Slack may not have the file."""
    but = f" {unreadable(lost)} and aren't included." if lost else ""
    file = f"the CSV file with the list of {counted(number, 'monitor')}"
    again = "If the file isn't here, ask for it again."
    return f"⚠️ Slack did not confirm that {file} was delivered.{but} {again}"


def csv_needs_scope() -> Message:
    """The bot may not send files."""
    text = "The bot can't send files: it lacks the scope `files:write`."
    more = "Whoever installed the bot can add it: see `docs/deploy.md`."
    return Message(bare(f"{text} {more}"), (section(f"⛔ {text}"), context(more)))


def old_row(stale: Sequence[MonitorSummary], outcome: str = "", lost: int = 0) -> Block:
    """The row of a digest about monitors with old scans.

    `outcome` is the result of the last press, after which none may be left; `lost` monitors could
    not be read then.
    """
    first = f"⚪ *OLD DATA* · {unreadable(lost)}." if lost else FRESH
    if stale:
        first = f"⚪ *OLD DATA* · {old_scans(len(stale))}: {names(stale)}."
    return section(f"{first}\n{outcome}".rstrip(), block_id=OLD_ROW)


def rescan_old(stale: Sequence[MonitorSummary], *, here: bool) -> Block:
    """The button below that row, which scans as many as one press may.

    `here` means that the digest is about hosts chosen for its channel, not about all.
    """
    ids = [row.id for row in stale[:MOST_RESCANNED]]
    label = f"Rescan {len(ids)} old {'one' if len(ids) == 1 else 'ones'}"
    value = " ".join(map(str, [*([0] if here else []), *ids]))
    return actions(button(label, "scan_old", value, "below", about=label)) | {"block_id": OLD_MORE}


def rescanned(
    buttons: Block, found: Mapping[int, MonitorSummary], now: datetime, _rules: Thresholds
) -> tuple[Block, None] | None:
    """The row above this button, once all of its old scans were repeated; None before.

    If the button has as many monitors as one press scans, it may lack others.
    """
    ids = [int(each) for each in str(buttons["elements"][0].get("value", "")).split()]
    if len(ids) >= MOST_RESCANNED or any(is_stale(found[n], now) for n in ids if n in found):
        return None
    return old_row([], f"↻ rescanned, seen {date(now, '{time}')}"), None


def names(rows: Sequence[MonitorSummary]) -> str:
    """The first hosts by name, and how many more there are."""
    first = ", ".join(code(row.target.short, 80) for row in rows[:NAMED])
    return f"{first} and {len(rows) - NAMED:,} more" if len(rows) > NAMED else first


def muted_line(rows: Sequence[MonitorSummary], now: datetime, rules: Thresholds) -> Block:
    """A digest's line about monitors that are muted, or were when it was posted."""
    bad = [row for row in ranked(rows, now, rules) if not is_fine(row, now, rules)]
    muted = [row for row in bad if mute_of(row, now, rules)]
    ended = [row for row in bad if row not in muted]
    text = "🔕 *MUTED* · none of these now."
    if muted:
        counts = tally(muted, now, rules)
        text = f"🔕 *MUTED* · {counts}: {names(muted)}. `/ssl list muted` shows them."
    if ended:
        text += f"{UNMUTED}{tally(ended, now, rules)}: {names(ended)}."
    return _about(MUTED, rows, text)


def left_line(rows: Sequence[MonitorSummary], now: datetime, rules: Thresholds) -> Block:
    """A digest's line about monitors that are broken, and that nobody had taken for days."""
    bad = [row for row in ranked(rows, now, rules) if not is_fine(row, now, rules)]
    left = [row for row in bad if claim_of(row, now, rules) is None]
    text = "What nobody had taken is taken, fixed or no longer monitored now."
    if left:
        text = f"Nobody has taken {names(left)} since the digest before last."
    return _about(LEFT, rows, text)


def _about(kind: str, rows: Sequence[MonitorSummary], text: str) -> Block:
    """A line that is refreshed, unless it is about too many monitors."""
    ids = sorted(row.id for row in rows[: MOST_SUMMED_UP + 1])
    name = f"{kind}{ranges(map(str, ids))}"
    known = len(ids) <= MOST_SUMMED_UP and len(name) <= MAX_BLOCK_ID
    return section(text, block_id=name if known else "")


#: What makes those lines.
SUMMED_UP = {MUTED: muted_line, LEFT: left_line}


def ask_scan(order: Sequence[MonitorSummary]) -> tuple[str, Sequence[Block]]:
    """Offer to scan these monitors: the worst first, up to the limit for one press."""
    number = min(len(order), MOST_RESCANNED)
    about = f"Scan {number} monitors"
    go = button(f"Scan {number}", "scan_all", _ids(order[:number]), about=about, style="primary")
    if number < len(order):
        title = f"Scan {number} of {len(order):,} monitors?"
        return title, (actions(go), context(f"One press scans the worst {number}."))
    return f"Scan these {number} monitors?", (actions(go),)


def ask_delete(order: Sequence[MonitorSummary]) -> tuple[str, Sequence[Block]]:
    """Offer to delete these monitors, unless they exceed the limit for one press."""
    number = len(order)
    if number > MAX_DELETED:
        narrow = f"One press deletes at most {MAX_DELETED} monitors. Narrow the pattern."
        return f"Nothing was deleted: {number:,} monitors match", (context(narrow),)
    sure = confirmation(
        f"Delete {number} monitors?",
        f"{counted(number, 'monitor')} will no longer be monitored. "
        "If you add them again, their history starts over.",
        "Delete",
        "Keep them",
    )
    about = f"Delete {number} monitors"
    go = button(
        f"Delete {number}", "delete_all", _ids(order), about=about, style="danger", confirm=sure
    )
    return f"Delete these {number} monitors?", (actions(go),)


def _ids(rows: Sequence[MonitorSummary]) -> str:
    return " ".join(str(row.id) for row in rows)


def deleted(
    done: Sequence[Target], faults: Sequence[tuple[Target, BotError]], gone: int, who: str
) -> Message:
    """Which monitors were deleted, and which not."""
    text = f"Deleted {counted(len(done), 'monitor')}."
    text += counted_faults(faults, "deleted")
    if gone:
        text += f" {missing(gone)}."
    lines = [f"• {code(target.short, 120)}" for target in done]
    told = [replies.not_done(target, fault, "deleted") for target, fault in faults]
    blocks: list[Block] = [section(text), *packed(lines, section), *shown(told)]
    changed = [(str(target), "deleted") for target in done]
    changed += [
        (str(target), f"{'unconfirmed' if fault.maybe_done else 'not deleted'}: {fault}")
        for target, fault in faults
    ]
    hosts = ", ".join(code(target.short, 120) for target in done[:3])
    if len(done) > 3:
        hosts = f"{counted(len(done), 'host')}: {code(done[0].short, 120)} and others"
    line = f"{safe(who, 80)} deleted the monitors for {hosts}." if done else ""
    return Message(text, tuple(blocks), announce=line, changed=tuple(changed))


def counted_faults(faults: Sequence[tuple[Target, BotError]], what: str) -> str:
    """How many could not be scanned (or deleted), and for how many that is uncertain."""
    unsure = sum(fault.maybe_done for _, fault in faults)
    failed = len(faults) - unsure
    said = f" {failed} could not be {what}." if failed else ""
    return f"{said} {unsure} may or may not have been {what}." if unsure else said


def missing(gone: int) -> str:
    """`1 monitor is no longer listed`."""
    return f"{counted(gone, 'monitor')} {'is' if gone == 1 else 'are'} no longer listed"


def shown(told: Sequence[str]) -> list[Block]:
    """The first of these faults, and how many more there are."""
    blocks = list(packed(told[:FAULTS_SHOWN], section))
    if len(told) > FAULTS_SHOWN:
        blocks.append(context(f"and {len(told) - FAULTS_SHOWN} more"))
    return blocks


def scanned_unread(number: int, fault: BotError, note: str) -> Message:
    """The scans are done, but the list with the verdicts could not be read."""
    text = f"Scanned {counted(number, 'monitor')}, but the results could not be read"
    told = f"{text}: {safe(str(fault), 200).rstrip('.')}. `/ssl list` shows the results."
    return Message(f"{text}.", (section(f"⚠️ {told}"), context(note)), public=True)


def busy_group(number: int, total: int, block_id: str, who: str) -> Block:
    """The row of several monitors while they are being scanned; it has no button."""
    by = f" · {safe(who, 60)}" if who else ""
    return section(f"{BUSY} · {number} of {total}{by}", block_id=block_id)


def progress(
    doing: str, number: int, total: int, note: str = "", row: Block | None = None
) -> Message:
    """`Scanning 3 of 12…`; `doing` is `Scanning` or `Deleting`.

    `row` is the row of a digest that shows the progress.
    """
    text = f"{doing} {number} of {total}…"
    blocks = (section(f"⏳ *{text}*"), *([context(note)] if note else []))
    return Message(text, blocks, public=doing == "Scanning", row=row)
