"""The Home tab: counts, the worst monitors, running watches, and settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.api.models import Account, MonitorSummary
from bot.blocks import (
    Block,
    actions,
    button,
    context,
    counted,
    date,
    escaped,
    fields,
    header,
    mention,
    section,
)
from bot.cards import lists as list_cards
from bot.cards import replies
from bot.cards.row import group_row, grouped
from bot.config import Settings
from bot.dates import Subscription, days_text
from bot.errors import BotError
from bot.severity import Rank, State, Thresholds, claim_of, is_stale, mute_of, state_of

#: Rows per page.
PAGE = 20
#: The block ID of the counts.
COUNTS = "counts"
#: At most this many channels with a digest are named.
DIGESTS = 5
#: The titles of Home's parts, in order.
PARTS = ("Taken by you", "Not taken", "Taken by others", "Muted")


@dataclass(frozen=True, slots=True)
class Facts:
    """What Home shows besides the monitors; every text is finished mrkdwn.

    `account` is None if the API didn't say. `watched` are rows with [Stop].
    """

    account: Account | None
    watched: Sequence[Block]
    last_digest: str
    settings: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class HomeMonitors:
    """The monitors as Home needs them: their number by state, and one page of those not fine.

    `shown` are pairs of a title and its rows; a row has all monitors of one certificate. All pages
    together have `rows` rows for the `not_fine` monitors.
    """

    total: int
    counts: Sequence[tuple[str, int]]
    stale: int
    shown: Sequence[tuple[str, Sequence[Sequence[MonitorSummary]]]]
    not_fine: int
    rows: int
    page: int
    unreadable: int = 0


def monitors(
    rows: Sequence[MonitorSummary], now: datetime, rules: Thresholds, page: int, user: str = ""
) -> HomeMonitors:
    """Count and sort all monitors; a page number that is too high means the last page.

    Those that the user has taken come first, then those that nobody has, then the others'; each
    worst first.
    """
    order = list_cards.ranked(rows, now, rules)
    states = [state_of(row, now, rules) for row in order]
    bad = [row for row, state in zip(order, states, strict=True) if _not_fine(state)]
    groups = [(_part(group[0], now, rules, user), group) for group in grouped(bad, now, rules)]
    groups.sort(key=lambda each: PARTS.index(each[0]))
    page = max(0, min(page, (len(groups) - 1) // PAGE))
    on_page = groups[page * PAGE : (page + 1) * PAGE]
    return HomeMonitors(
        total=len(order),
        counts=_counts(states),
        stale=sum(is_stale(row, now) for row in order),
        shown=[
            (title, shown)
            for title in PARTS
            if (shown := [group for part, group in on_page if part == title])
        ],
        not_fine=len(bad),
        rows=len(groups),
        page=page,
    )


def _part(row: MonitorSummary, now: datetime, rules: Thresholds, user: str) -> str:
    claim = claim_of(row, now, rules)
    if claim:
        return PARTS[0] if claim.user == user else PARTS[2]
    return PARTS[3] if mute_of(row, now, rules) else PARTS[1]


def _not_fine(state: State) -> bool:
    return state.rank < Rank.ON_SCHEDULE


def _counts(states: Sequence[State]) -> list[tuple[str, int]]:
    names = {
        Rank.BROKEN: "🔴 Broken",
        Rank.ACT_NOW: "🚨 Act now",
        Rank.OVERDUE: "🟠 Overdue",
        Rank.DUE: "🕒 Due",
        Rank.UNKNOWN: "⚪ Unknown",
        Rank.ON_SCHEDULE: "📅 On schedule",
        Rank.OK: "✅ OK",
    }
    ranks = [state.rank for state in states]
    return [(name, ranks.count(rank)) for rank, name in names.items() if rank in ranks]


def home(found: HomeMonitors, facts: Facts, now: datetime, rules: Thresholds) -> tuple[Block, ...]:
    """The blocks of Home; a view may hold 100, far more than there are."""
    return (
        header("Certificates"),
        _buttons(),
        *_monitors(found, now, rules),
        *_watched(facts),
        *_about(facts, now),
    )


def failed(fault: BotError, facts: Facts, now: datetime) -> tuple[Block, ...]:
    """Home if the API returns no list: why, and what the bot knows without it."""
    return (
        header("Certificates"),
        _buttons(),
        *replies.failure(fault).blocks,
        *_watched(facts),
        *_about(facts, now),
    )


def _monitors(found: HomeMonitors, now: datetime, rules: Thresholds) -> list[Block]:
    if not found.total:
        return list(list_cards.no_monitors(found.unreadable).blocks)
    blocks: list[Block] = [counts(found)]
    if found.stale:
        blocks.append(context(f"⚠️ {list_cards.old_scans(found.stale)}."))
    if found.unreadable:
        blocks.append(context(f"⚠️ {list_cards.unreadable(found.unreadable)}."))
    if not found.not_fine:
        doubt = found.stale or found.unreadable
        return [*blocks, section("No known problems." if doubt else "✅ Nothing needs to be done.")]
    for title, groups in found.shown:
        blocks += [header(title), *(group_row(group, now, rules) for group in groups)]
    return blocks + _pages(found)


def counts(found: HomeMonitors) -> Block:
    """The number of monitors in each state: the block that is updated after each press."""
    numbers = fields((name, f"{number:,}") for name, number in found.counts)
    return section(f"*{counted(found.total, 'monitor')}*", block_id=COUNTS) | {
        "fields": numbers["fields"]
    }


def _buttons() -> Block:
    return actions(
        button("Add hosts", "form", "add", about="Add more hosts"),
        button("Refresh", "home", "0", about="Refresh Home"),
    )


def _pages(found: HomeMonitors) -> list[Block]:
    """Which page is shown, with buttons for the others."""
    if found.rows <= PAGE:
        return []
    first = found.page * PAGE
    last = first + sum(len(groups) for _, groups in found.shown)
    turns = []
    if found.page:
        turns.append(button("Previous", "home", str(found.page - 1), about="Previous page"))
    if last < found.rows:
        turns.append(button("Next", "home", str(found.page + 1), about="Next page"))
    shown = f"{first + 1:,} to {last:,} of {found.rows:,}"
    if found.rows < found.not_fine:
        told = f"Rows {shown}, for {found.not_fine:,} monitors that need attention."
    else:
        told = f"{shown} that need attention."
    return [context(told), actions(*turns)]


def _watched(facts: Facts) -> list[Block]:
    if not facts.watched:
        return []
    return [header("Scan & watch, running"), *facts.watched]


def _about(facts: Facts, now: datetime) -> list[Block]:
    pairs = [("Monitors", _quota(facts.account)), ("Last digest", facts.last_digest)]
    return [
        header("About this bot"),
        fields([*pairs, *facts.settings]),
        context(f"As of {date(now)}. `/ssl help` shows all commands."),
    ]


def _quota(account: Account | None) -> str:
    if account is None or account.used is None:
        return "unknown"
    if account.limit is None:
        return f"{account.used:,} used"
    return f"{account.used:,} of {account.limit:,} used"


def settings_shown(
    settings: Settings, digests: Sequence[Subscription], now: datetime
) -> list[tuple[str, str]]:
    """The settings that Home shows."""
    lines = [_digest_line(each, now) for each in digests[:DIGESTS]]
    if len(digests) > DIGESTS:
        lines.append(f"and {len(digests) - DIGESTS:,} more")
    digest = "\n".join(lines) or "off"
    ids = [mention(name) for name in sorted(settings.admins)]
    seconds = int(settings.watch_interval.total_seconds())
    return [
        ("Digest", digest),
        ("Admins", ", ".join(ids[:10]) or "every full member"),
        ("Scan & watch", f"every {counted(seconds, 'second')} at first"),
    ]


def _digest_line(each: Subscription, now: datetime) -> str:
    if not each.runs(now) and each.paused_until:
        return f"paused until {date(each.paused_until)} in <#{each.channel}>"
    when = f"{days_text(each.days)} at {each.at:%H:%M} {escaped(each.zone)}"
    return f"{when} in <#{each.channel}>{each.plan.rule}"
