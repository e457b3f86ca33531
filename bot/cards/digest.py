"""The daily digest as messages: the worst monitors with Rescan, the others in the thread."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from bot.api.models import MonitorSummary
from bot.blocks import (
    Block,
    Message,
    actions,
    bare,
    button,
    code,
    context,
    counted,
    fitting,
    header,
    mention,
    mrkdwn,
    safe,
    section,
)
from bot.blocks import date as when
from bot.cards import table as table_cards
from bot.cards.changes import ALL_BROKEN, News, counted_kinds
from bot.cards.lists import (
    LIST_ROWS,
    left_line,
    muted_line,
    names,
    not_shown,
    old_row,
    old_scans,
    ranked,
    rescan_old,
    tally,
    unreadable,
)
from bot.cards.monitor import headline
from bot.cards.row import MOST_RESCANNED, group_row, grouped
from bot.dates import ALL, DAY, Selection
from bot.errors import APIRefused, BotError
from bot.severity import (
    EXPIRED,
    MOST_ACT,
    ON_SCHEDULE,
    USUAL,
    Rank,
    Thresholds,
    is_fine,
    is_stale,
    mute_of,
    state_of,
    worst_first,
)

#: The most characters in the rows of a digest's first message; its notes need some too.
HEAD_WORDS = 7500
METADATA_EVENT = "ssl_digest"
_REACH = "reaches *Act now*", "reach *Act now*"


@dataclass(frozen=True, slots=True)
class DigestContent:
    """The content of a digest.

    `rows` are the monitors shown one by one, worst first. `scheduled` are the rest of the net:
    valid, and not due yet. Of all `total` monitors, `stale` were not scanned recently; `unreadable`
    more could not be read. `only` names the hosts that the digest is about, if not all. `lately`
    counts changes since `since` that need no action. `muted` monitors would otherwise be among the
    rows. `left` were broken for so long without being taken that `mention`, a user or group, is
    mentioned. `soon` become urgent by `until`, when the next digest on a working day is due. A
    channel that is `noticed` also gets notices.
    """

    rows: tuple[MonitorSummary, ...]
    scheduled: tuple[MonitorSummary, ...]
    total: int
    stale: tuple[MonitorSummary, ...]
    rules: Thresholds
    unreadable: int = 0
    only: str = ""
    lately: Mapping[str, int] = field(default_factory=dict)
    since: str = "the last digest"
    left: tuple[MonitorSummary, ...] = ()
    mention: str = ""
    muted: tuple[MonitorSummary, ...] = ()
    soon: tuple[MonitorSummary, ...] = ()
    until: datetime | None = None
    noticed: bool = False

    @property
    def named(self) -> list[MonitorSummary]:
        """All monitors that have a row in it or are named in one of its lines."""
        parts = (*self.rows, *self.muted, *self.soon, *self.scheduled, *self.stale)
        return list({row.id: row for row in parts}.values())

    @property
    def all_clear(self) -> bool:
        """Whether everything is known, and nothing needs attention."""
        unsure = self.unreadable or self.stale or self.muted or self.soon
        return self.total > 0 and not (self.rows or unsure)


def content(
    everything: Sequence[MonitorSummary],
    *filtered: Iterable[MonitorSummary],
    now: datetime,
    rules: Thresholds,
    which: Selection = ALL,
    until: datetime | None = None,
) -> DigestContent:
    """Merge the API's lists, worst first: `everything`, and what its filters match.

    `everything` may lack monitors that need no attention. The filters may miss a monitor that is
    due by a threshold of the team's own or by its CA, or that broke between two calls; they skip
    those without a verdict or an expiry date.
    """
    if which != ALL:
        everything = [row for row in everything if which.takes(row.target)]
    caught = {row.id: row for each in filtered for row in each if which.takes(row.target)}
    others = [row for row in _maybe_due(everything, now, rules) if row.id not in caught]
    early = [row for row in others if state_of(row, now, rules).rank not in (Rank.UNKNOWN, Rank.OK)]
    undated = (row for row in everything if row.valid is None or row.not_after is None)
    unknown = [row for row in undated if not is_stale(row, now)]
    net = ranked([*caught.values(), *early, *unknown], now, rules)
    bad = [row for row in net if not is_fine(row, now, rules)]
    muted = [row for row in bad if mute_of(row, now, rules)]
    quiet = {row.id for row in muted}
    return DigestContent(
        rows=tuple(row for row in bad if row.id not in quiet),
        scheduled=tuple(row for row in net if state_of(row, now, rules).rank is Rank.ON_SCHEDULE),
        muted=tuple(muted),
        total=len(everything),
        stale=tuple(row for row in everything if is_stale(row, now)),
        rules=rules,
        soon=urgent_by(until, everything, now, rules) if until else (),
        until=until,
    )


def urgent_by(
    until: datetime, rows: Iterable[MonitorSummary], now: datetime, rules: Thresholds
) -> tuple[MonitorSummary, ...]:
    """Monitors that become urgent by then unless they are renewed; the earliest first.

    A muted one counts if its mute ends by then.
    """
    far = until + MOST_ACT
    found = [
        row
        for row in rows
        if row.valid and row.not_after and (row.renewal or row.not_after < far)
        if state_of(row, now, rules).rank > Rank.ACT_NOW >= state_of(row, until, rules).rank
        and not mute_of(row, until, rules)
    ]
    return tuple(sorted(found, key=lambda row: worst_first(row, until, rules)))


def _maybe_due(
    rows: Iterable[MonitorSummary], now: datetime, rules: Thresholds
) -> Iterable[MonitorSummary]:
    net, has_rules = now + rules.net_days * DAY, bool(rules)
    return (
        row
        for row in rows
        if (row.not_after is not None and row.not_after < net)
        or row.valid is False
        or (row.renewal is not None and row.renewal.start <= now)
        or (has_rules and rules.for_(row.target) is not None)
    )


def digest(
    found: DigestContent, now: datetime, *, day: date, late: bool = False, first_of: str = ""
) -> tuple[Message, ...]:
    """The digest of a day: its first message, and at most two replies for its thread.

    The replies are a table of what the first message has no room for, and a chart. `first_of` is
    the schedule, such as `09:00 UTC`, in the very first digest.
    """
    head, rest = _head(found, now)
    small = ["This digest is late: it could not be posted at the scheduled time."] if late else []
    if first_of:
        small.append(f"This is the first digest; the next ones come daily at {first_of}.")
    if found.lately:
        small.append(f"Since {found.since}: {counted_kinds(found.lately)}.")
    small.append(_rule(found))
    if rest:
        small.append(f"{counted(len(rest), 'more monitor')} in the thread.")
    title = f"Certificates on {day:%-d %B %Y}"
    messages = [_first(found, now, title, head, small)]
    if rest:
        messages.append(table_cards.rest(rest, now, found.rules))
        every = [*found.rows, *found.scheduled]
        if chart := table_cards.expiries(every, now, found.rules):
            messages.append(chart)
    return tuple(
        replace(each, metadata=_metadata(day, part, now, clear=found.all_clear))
        for part, each in enumerate(messages)
    )


def in_place(message: Message) -> Message:
    """A digest that replaces an older one, and says so."""
    note = context("Updated in place, because nothing else has been posted here since.")
    return replace(message, blocks=(*message.blocks, note))


def preview(found: DigestContent, now: datetime) -> Message:
    """The digest as of now, in one private message."""
    head, rest = _head(found, now)
    small = [_rule(found)]
    if rest:
        small.append(not_shown(len(rest), found.rules))
    return _first(found, now, "Certificates now", head, small)


def _head(found: DigestContent, now: datetime) -> tuple[list[list[Block]], list[MonitorSummary]]:
    """The worst rows, one per certificate, and the monitors without a row.

    There are 20 rows, or fewer if their texts are long.
    """
    groups = grouped(found.rows, now, found.rules)
    rows = [[group_row(group, now, found.rules)] for group in groups[:LIST_ROWS]]
    number = fitting(rows, HEAD_WORDS)
    return rows[:number], [row for group in groups[number:] for row in group]


def _first(
    found: DigestContent,
    now: datetime,
    title: str,
    head: Sequence[Sequence[Block]],
    small: Sequence[str],
) -> Message:
    summary = _summary(found, now)
    blocks: list[Block] = [
        header(title),
        section(summary),
        *_left(found, now),
        *_rescan_all(found.rows, now, found.rules),
        *(block for row in head for block in row),
    ]
    soon = _soon_text(found.soon, found.until) if found.soon and found.until else ""
    if soon:
        blocks.append(section(f"⏭️ *COMING UP* · {soon}"))
    if found.scheduled:
        blocks.append(section(_scheduled_text(found)))
    if found.muted:
        blocks.append(muted_line(found.muted, now, found.rules))
    if found.stale:
        blocks += [old_row(found.stale), rescan_old(found.stale, here=bool(found.only))]
    if found.unreadable:
        lost = " Notices may be missing until all can be read." if found.noticed else ""
        blocks.append(section(f"⚪ *UNREADABLE* · {unreadable(found.unreadable)}.{lost}"))
    first = f"{headline(found.rows[0], now, found.rules)}." if found.rows else ""
    text = " ".join(filter(None, [bare(summary), first, bare(soon).replace("*", "")]))
    return Message(text, (*blocks, context(" ".join(small))))


def _left(found: DigestContent, now: datetime) -> list[Block]:
    """Whom to mention for monitors that have been broken for days, but that nobody has taken."""
    if not found.left:
        return []
    line = left_line(found.left, now, found.rules)
    return [{**line, "text": mrkdwn(f"{mention(found.mention)} {line['text']['text']}")}]


def _rescan_all(rows: Sequence[MonitorSummary], now: datetime, rules: Thresholds) -> list[Block]:
    """The button that scans all broken monitors, up to the limit; none if only one is broken."""
    broken = [row for row in rows if state_of(row, now, rules).rank is Rank.BROKEN][:MOST_RESCANNED]
    if len(broken) < 2:
        return []
    value, about = " ".join(str(row.id) for row in broken), f"Rescan {len(broken)} broken monitors"
    press = button("Rescan all broken", "scan_all", value, "below", about=about)
    return [actions(press) | {"block_id": ALL_BROKEN}]


def _rule(found: DigestContent) -> str:
    days = found.rules.net_days
    rule = f"Lists certificates that are invalid, are due for renewal, or expire within {days} days"
    return f"{rule}, for {code(found.only, 200)} only." if found.only else f"{rule}."


def _summary(found: DigestContent, now: datetime) -> str:
    if found.rows:
        shown = [*found.rows, *found.scheduled]
        told = {row.id for row in (*shown, *found.muted, *found.stale)}
        others = found.total - len(told)
        verb = "is" if others == 1 else "are"
        rest = f" {counted(others, 'other')} {verb} not due." if others > 0 else ""
        but = f" ⚠️ {unreadable(found.unreadable)}." if found.unreadable else ""
        return f"{tally(shown, now, found.rules)}.{rest}{but}"
    if not found.total and not found.unreadable and found.only:
        return f"No monitor matches {code(found.only, 200)}."
    if not found.total and not found.unreadable:
        return "There are no monitors yet. Start with /ssl add example.com."
    return _nothing_due(found, now)


def _nothing_due(found: DigestContent, now: datetime) -> str:
    """What the digest says if it has no rows; “all clear” only if that is certain."""
    if found.unreadable:
        others = "No problems found among the others, but " if found.total else ""
        return f"{others}{unreadable(found.unreadable)}."
    if found.muted:
        verb = "is" if len(found.muted) == 1 else "are"
        return f"Nothing new; {tally(found.muted, now, found.rules)} {verb} muted."
    if found.stale:
        return f"No problems found, but {old_scans(len(found.stale))}."
    if found.soon:
        return f"Nothing is due for renewal yet among {counted(found.total, 'monitor')}."
    if found.scheduled:
        return f"✅ Nothing is due for renewal among {counted(found.total, 'monitor')}."
    return f"✅ All clear: {counted(found.total, 'monitor')}, none due for renewal."


def _scheduled_text(found: DigestContent) -> str:
    """One line about certificates that expire soon, but are not due for renewal yet."""
    number, days = len(table_cards.certificates(found.scheduled)), found.rules.net_days
    same = number == len(found.scheduled)
    which = counted(number, "certificate")
    which += "" if same else f" of {counted(len(found.scheduled), 'monitor')}"
    expire, are = ("expires", "is") if number == 1 else ("expire", "are")
    said = f"{which} {expire} within {days} days and {are} not due for renewal yet"
    return f"{ON_SCHEDULE.symbol} *{ON_SCHEDULE.word}* · {said}: {names(found.scheduled)}."


def _soon_text(soon: Sequence[MonitorSummary], until: datetime) -> str:
    """What expires or becomes urgent before the next working day's digest."""
    said, before = list[str](), f"before the digest of {until:%A, %-d %B}"
    for over, (one, many) in {True: ("expires", "expire"), False: _REACH}.items():
        rows = [row for row in soon if (state_of(row, until, USUAL) is EXPIRED) is over]
        whose = f"certificates of {len(rows):,} monitors {many}"
        if len(rows) == 1:
            whose = f"certificate of 1 monitor {one}"
        if rows:
            said.append(f"the {whose} {'by then' if said else before}: {names(rows)}")
    return f"Unless renewed, {'; '.join(said)}."


def _metadata(day: date, part: int, now: datetime, *, clear: bool) -> dict[str, object]:
    """What identifies a post: the day, the part, and when it was gathered (`--again` differs)."""
    payload = {"day": day.isoformat(), "part": part, "gathered": now.isoformat()}
    return {
        "event_type": METADATA_EVENT,
        "event_payload": payload | ({"clear": True} if clear else {}),
    }


def blind(since: datetime, fault: BotError) -> Message:
    """The bot can't see the monitors: since when, and why."""
    refused = isinstance(fault, APIRefused)
    what = "refuses to list the monitors" if refused else "can't be reached"
    text = f"The SSLmonitor API {what}, so certificate alerts are on hold."
    reason = safe(str(fault), 200).rstrip(".")
    why = f"Since {when(since)}: {reason}. `/ssl ping` checks again."
    return Message(text, (section(f"⚠️ *{text}*"), context(why)))


def paused(number: int, *, all_wait: bool) -> Message:
    """Some monitors can't be read, so notices about them may be missing, or `all_wait`."""
    them = "it" if number == 1 else "them"
    text = f"{unreadable(number)}. Notices about {them} may be missing."
    why = (
        "The bot's log says why: correct or delete them in SSLmonitor. "
        "`/ssl digest` shows the others."
    )
    if all_wait:
        text = f"Certificate notices are on hold: {unreadable(number)}."
        why = f"They resume once the list of monitors is complete. {why}"
    return Message(text, (section(f"⚠️ *{text}*"), context(why)))


def first_read(
    told: Iterable[News], before: Mapping[int, object] | None, now: datetime, rules: Thresholds
) -> list[News]:
    """The news after a list in which some monitors could not be read.

    Once read, they look as if they were added. They are news only if they are broken or urgent, and
    only if any monitors were known `before`.
    """
    kinds, found = {Rank.BROKEN: "broken", Rank.ACT_NOW: "worse"}, list[News]()
    for each in told:
        if each.kind != "added" or each.row is None:
            found.append(each)
        elif before and (kind := kinds.get(state_of(each.row, now, rules).rank)):
            found.append(replace(each, kind=kind, older=True))
    return found


def sees_again(since: datetime, now: datetime) -> Message:
    """The API answers again."""
    text = "The SSLmonitor API answers again."
    blind_time = f"from {when(since)} to {when(now)}"
    told = f"The bot could not read the monitors {blind_time}. `/ssl digest` shows what is due."
    return Message(text, (section(f"✅ *{text}*"), context(told)))


def missed(day: date, reason: str, has_begun: bool = False) -> Message:
    """A day passed without its digest, or with only part of one that `has_begun`."""
    what = "is incomplete: the rest was not posted" if has_begun else "was not posted"
    text = f"The digest of {day:%A, %-d %B} {what}."
    unknown = "have stopped while posting it" if has_begun else "not have been running that day"
    why = safe(reason, 300).rstrip(".") or f"The bot may {unknown}"
    told = f"{why}. `/ssl digest` shows what is due now."
    return Message(text, (section(f"⚠️ *{text}*"), context(told)))
