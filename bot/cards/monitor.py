"""The cards about one monitor: values and a `now` in, a `Message` out.

A card says, in this order: how bad it is (a word and a symbol), which host, the absolute date and
the days left, who issued it, and how old the scan is. Then come at most two buttons and a menu.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bot.api.models import MonitorSummary
from bot.blocks import (
    MAX_BLOCKS,
    MAX_VALUE,
    Block,
    Message,
    Place,
    actions,
    ago,
    bare,
    button,
    clip,
    code,
    confirmation,
    context,
    counted,
    date,
    escaped,
    hyperlink,
    menu,
    plain,
    safe,
    section,
    since,
    utc,
)
from bot.cards.marks import muted_until
from bot.severity import (
    ACT_NOW,
    EXPIRED,
    NEVER_SCANNED,
    NOT_ALLOWED,
    NOT_YET_VALID,
    ON_SCHEDULE,
    OVERDUE,
    UNKNOWN,
    WRONG_NAME,
    Rank,
    State,
    Thresholds,
    ca_asks_now,
    claim_of,
    days_left,
    is_ahead,
    is_stale,
    limits_of,
    mute_of,
    note_of,
    runbook_of,
    state_of,
)
from bot.target import Target

#: A button that leads from a monitor's card to another one: its label and command.
CardLink = tuple[str, str]
DETAILS: CardLink = ("Details", "details")
HISTORY: CardLink = ("History", "history")
#: The characters that fit into a line of a row on a phone, and those in code.
LINE, MOST_HOST = 38, 32


def argument(row: MonitorSummary) -> str:
    """A monitor as a button's argument, which `Selector.parse` reads."""
    full = f"{row.id} {row.target}"
    return full if len(full) <= 120 else str(row.id)


def ranges(ids: Iterable[str]) -> str:
    """Sorted IDs as `101-114,120`: an option of a menu takes few characters."""
    runs: list[list[str]] = []
    for each in ids:
        if runs and int(each) == int(runs[-1][-1]) + 1:
            runs[-1].append(each)
        else:
            runs.append([each])
    return ",".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def read_ranges(text: str, most: int) -> list[int]:
    """The IDs of `101-114,120`, as many as are wanted at most. Raises ValueError."""
    ids: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        ids += range(int(first), min(int(last or first), int(first) + most) + 1)
    return ids[:most]


def days_text(days: int) -> str:
    """`in 12 days`, `in 1 day`, `within 24 hours`."""
    return f"in {counted(days, 'day')}" if days > 0 else "within 24 hours"


def reason(row: MonitorSummary) -> str:
    """The API's message as a sentence; empty if there is none, or it is `Valid`."""
    text = safe(row.message, 200).rstrip(".")
    return f"{text}. " if text and text.casefold() != "valid" else ""


def title(state: State, target: Target, *, struck: bool = False) -> str:
    """The first line: how bad it is, and which host."""
    host = f"~{code(target.short)}~" if struck else code(target.short)
    return f"{state.symbol} *{state.word}* · {host}"


def row_host(host: str, monitor_id: int, more: str = "", most: int = MOST_HOST) -> str:
    """A host in one line of a phone, without its middle if need be, followed by `more`.

    A shortened host gets its monitor's ID, since others may differ only in the middle.
    """
    longer = f" #{monitor_id}{more}"
    if len(host) + len(more) > most or "…" in host:
        host, more = f"{host[: most - len(longer) - 7]}…{host[-6:]}", longer
    return code(host) + more


def headline(row: MonitorSummary, now: datetime, rules: Thresholds) -> str:
    """The lock-screen line of one monitor, in plain text: `api.example.com EXPIRED 4 h ago`."""
    host, state = plain(row.target.short, 100), state_of(row, now, rules)
    if row.not_after is None or state.rank is Rank.UNKNOWN:
        return f"{host} {state.word}"
    if state is EXPIRED:
        return f"{host} EXPIRED {ago(row.not_after, now)} ({utc(row.not_after)})"
    left = days_text(days_left(row.not_after, now))
    why = ", the CA asks to renew now" if state is ACT_NOW and ca_asks_now(row, now) else ""
    return f"{host} {state.word}{why}, expires {left} ({utc(row.not_after)})"


def text_row(row: MonitorSummary, now: datetime, rules: Thresholds) -> str:
    """A monitor as one line of mrkdwn, for the end of a long list or digest."""
    state = state_of(row, now, rules)
    parts = [f"{state.symbol} {state.word}", code(str(row.target), 120)]
    if state is EXPIRED and row.not_after is not None:
        parts.append(f"{date(row.not_after, '{date_short}')}, {since(row.not_after, now)}")
    elif row.not_after is not None:
        left = days_text(days_left(row.not_after, now))
        parts.append(f"{date(row.not_after, '{date_short}')}, {left}")
    elif text := safe(row.message, 60):
        parts.append(text)
    parts += caa(row, state)
    if state is ACT_NOW and (asked := ca_request(row, now)):
        parts.append(asked)
    return " · ".join([*parts, f"#{row.id}"])


def caa(row: MonitorSummary, state: State) -> list[str]:
    """That a renewal which is due will fail, since CAA records forbid the CA."""
    due = state is EXPIRED or Rank.ACT_NOW <= state.rank <= Rank.DUE
    return [f"⚠️ CAA forbids {safe(row.issuer, 20) or 'its CA'}"] if row.caa_refuses and due else []


def row_facts(row: MonitorSummary, state: State, now: datetime, rules: Thresholds) -> list[str]:
    """What matters in this state: since when, until when, or what is wrong; in full, then short."""
    end = row.not_after
    if state is NEVER_SCANNED:
        return ["No scan has run yet"]
    if state is UNKNOWN:
        known = "expiry date could not be read" if row.valid else "last scan gave no verdict"
        return [f"The {known}"]
    if state is NOT_ALLOWED:
        return ["The embedded API isn't allowed to scan this address", "Scanning it isn't allowed"]
    if end is None or state.rank is Rank.BROKEN:
        return _broken(row, state, now)
    left, day = days_text(days_left(end, now)), date(end, "{date_short}")
    facts = [f"Expires {day}, {left}", f"Expires {left}"]
    if state is OVERDUE:
        due_at = date(end - limits_of(row, rules).due, "{date_short}")
        return [f"{facts[0]}; renewal was due {due_at}", *facts]
    asked = ca_request(row, now)
    urgent = [f"{each}; {asked}" for each in facts] if asked else [f"{facts[0]}; renew it now"]
    return [*urgent, *facts] if state is ACT_NOW else facts


def _broken(row: MonitorSummary, state: State, now: datetime) -> list[str]:
    if state is EXPIRED and row.not_after is not None:
        how_long = since(row.not_after, now)
        begun = date(row.not_after, "{date_short} {time}")
        return [f"Since {begun}, {how_long}", f"Expired {how_long}"]
    if state is NOT_YET_VALID and row.not_before is not None:
        return [f"Not valid before {date(row.not_before, f'{{date_short}}{part}')}"
                for part in (" {time}", "")]  # fmt: skip
    unknown = "The API doesn't say why" if row.not_after else "The certificate could not be read"
    text = safe(row.message, 120).rstrip(".") if reason(row) else unknown
    kind, _, detail = text.partition(": ")
    short = f"{detail[:1].upper()}{detail[1:]}" if detail and state is WRONG_NAME else kind
    return [text, short, clip(short, LINE)]


def _expires(not_after: datetime, now: datetime) -> str:
    return f"Expires {date(not_after)}, {days_text(days_left(not_after, now))}."


def _sentence(row: MonitorSummary, now: datetime, rules: Thresholds) -> str:
    state = state_of(row, now, rules)
    if state is NEVER_SCANNED:
        return "No scan has run yet."
    if state is NOT_ALLOWED:
        return "The embedded API isn't allowed to scan this address."
    if row.not_after is None and row.valid:
        return "It was valid at its last scan, but its expiry date could not be read."
    if row.not_after is None:
        return reason(row).rstrip() or "The certificate could not be read."
    if state is EXPIRED:
        return f"Expired {date(row.not_after)}, {since(row.not_after, now)}. Visitors see an error."
    due_at = row.not_after - limits_of(row, rules).due
    asked = ca_request(row, now) if state is ACT_NOW else ""
    todo = "" if row.expected_at or row.renewed else _renewal(state, due_at, now)
    todo = f" {asked[0].upper()}{asked[1:]}." if asked else todo
    return f"{_wrong(row, state)}{_expires(row.not_after, now)}{todo}"


def _wrong(row: MonitorSummary, state: State) -> str:
    """What is wrong with a certificate that hasn't expired, as a sentence before the date."""
    if state is UNKNOWN:
        return "The last scan gave no verdict. "
    if state is NOT_YET_VALID and row.not_before is not None:
        return f"{reason(row)}Not valid before {date(row.not_before)}. Deployed too early? "
    return reason(row) if state.rank is Rank.BROKEN else ""


def _renewal(state: State, due_at: datetime, now: datetime) -> str:
    """What to do about a valid certificate, as a sentence after the date."""
    if state is ACT_NOW:
        return " Renew it now."
    if state is OVERDUE:
        return f" Renewal was due {date(due_at, '{date_short}')}, {since(due_at, now)}."
    if state is ON_SCHEDULE:
        return f" Renewal is due on {date(due_at, '{date_short}')}."
    return ""


def verdict(row: MonitorSummary, now: datetime, rules: Thresholds) -> str:
    """The beginning of a card, in mrkdwn: how bad it is, which host, and a sentence about it."""
    state = state_of(row, now, rules)
    lines = [title(state, row.target), _sentence(row, now, rules)]
    if new := awaited(row, now):
        lines.append(f"📥 {new}.")
    elif new := elsewhere(row):
        lines.append(f"📥 {new}. Deploy it here.")
    return "\n".join(lines)


def ca_request(row: MonitorSummary, now: datetime) -> str:
    """That the CA asks to renew now, with its explanation; empty if it doesn't."""
    if row.renewal is None or not ca_asks_now(row, now):
        return ""
    why = hyperlink(row.renewal.url, "why")
    return f"the CA asks to renew now ({why})" if why else "the CA asks to renew now"


def awaited(row: MonitorSummary, now: datetime) -> str:
    """That another certificate was issued for the host; empty if it serves the newest known."""
    if row.expected_at is None:
        return ""
    issued, seen = f"Issued {since(row.expected_at, now)}", row.scanned_at
    if row.not_after is None or seen is None or seen <= row.expected_at:
        return f"{issued}, but no scan has seen it yet"
    return f"{issued}, still serving the old one: reload it"


def elsewhere(row: MonitorSummary) -> str:
    """That another host serves the renewed certificate; empty if none is known."""
    if row.renewed is None:
        return ""
    host, end = code(row.renewed.target.short, 80), date(row.renewed.not_after, "{date_short}")
    return f"Already renewed elsewhere: {host} serves one valid until {end}"


def _small_print(row: MonitorSummary, now: datetime) -> str:
    parts = [safe(row.issuer, 60)] if row.issuer else []
    if row.scanned_at and is_ahead(row, now):
        parts.append(f"⚠️ scanned at an unknown time: the API says {utc(row.scanned_at)}")
    elif row.scanned_at:
        old = " ⚠️ old" if is_stale(row, now) else ""
        parts.append(f"scanned {since(row.scanned_at, now)}{old}")
    if row.http_code:
        parts.append(f"HTTP {row.http_code}")
    return " · ".join([*parts, f"#{row.id}"])


def monitor(
    row: MonitorSummary,
    now: datetime,
    rules: Thresholds,
    *,
    note: str = "",
    said: str = "",
    more: Sequence[Block] = (),
    public: bool = False,
    announce: str = "",
    link: CardLink = DETAILS,
) -> Message:
    """The card of one monitor.

    `note` is our own mrkdwn for the small print, `said` a sentence below the first line (what a
    rescan changed), `more` are blocks below the buttons, and `link` leads to another card.
    """
    state = state_of(row, now, rules)
    small = _small_print(row, now) + (f" · {note}" if note else "")
    told = "\n".join(filter(None, [verdict(row, now, rules), said]))
    return Message(
        text=". ".join(filter(None, [headline(row, now, rules), bare(said)])),
        blocks=(
            section(told),
            context(small),
            *_marks(row, now, rules),
            _buttons(row, state, link, now, rules),
            *more,
        ),
        public=public,
        announce=announce,
    )


def _marks(row: MonitorSummary, now: datetime, rules: Thresholds) -> list[Block]:
    """Who has it, whether it is muted, and the team's note and runbook."""
    parts = []
    if claim := claim_of(row, now, rules):
        parts.append(f"🙋 Taken by {safe(claim.name, 60)}, {since(claim.at, now)}")
    if mute := mute_of(row, now, rules):
        why = f" ({safe(mute.reason, 100)})" if mute.reason else ""
        parts.append(f"🔕 Muted by {safe(mute.name, 60)} {muted_until(mute)}{why}")
    if note := note_of(row, rules):
        parts.append(f"📝 {safe(note, 200)}")
    if link := runbook_of(row, rules):
        parts.append(f"📖 <{escaped(link)}|Runbook>")
    return [context(" · ".join(parts))] if parts else []


def _buttons(
    row: MonitorSummary, state: State, link: CardLink, now: datetime, rules: Thresholds
) -> Block:
    """Two buttons and a menu; a host that isn't fine can be watched until it is."""
    host, number = row.target.short, argument(row)
    rescan = button("Rescan", "scan", number, about=f"Rescan {host}", style="primary")
    delete = ("Delete this monitor", "delete", number)
    label, command = link
    if state.rank >= Rank.ON_SCHEDULE and row.expected_at is None:
        other = button(label, command, number, "below", about=f"{label} of {host}")
        return actions(rescan, other, menu([delete], "below"))
    watch = watch_button(row)
    if state.rank >= Rank.ON_SCHEDULE:
        return actions(rescan, watch, menu([(label, command, number), delete], "below"))
    taken, muted = claim_of(row, now, rules), mute_of(row, now, rules)
    take = ("Release", "release", number) if taken else ("I'll take it", "take", number)
    mute = ("Unmute", "unmute", number) if muted else ("Mute until it changes", "mute", number)
    return actions(rescan, watch, menu([(label, command, number), take, mute, delete], "below"))


def watch_button(row: MonitorSummary, place: Place = "here") -> Block:
    """The button that scans until the host is fixed."""
    host = row.target.short
    return button(
        "Scan & watch", "watch", argument(row), place, about=f"Scan and watch {host} until fixed"
    )


def confirm_delete(row: MonitorSummary, now: datetime, rules: Thresholds) -> Message:
    """A private question before deletion; the button also has Slack's own confirmation dialog."""
    host, about = row.target.short, f"Delete the monitor for {row.target.short}"
    loss = (
        f"{row.target} will no longer be monitored. If you add it again, its history starts over."
    )
    sure = confirmation("Delete this monitor?", loss, "Delete", "Keep it")
    delete = button(
        "Delete", "delete_now", argument(row), about=about, style="danger", confirm=sure
    )
    keep = button("Keep it", "details", argument(row), about=f"Keep the monitor for {host}")
    asked = f"Delete the monitor for {code(host)} (#{row.id})?\n{_sentence(row, now, rules)}"
    return Message(
        f"Delete the monitor for {plain(host, 100)}?", (section(asked), actions(delete, keep))
    )


def deleted(target: Target, monitor_id: int, announce: str) -> Message:
    """The monitor is gone; one press brings the host back."""
    host = target.short
    return Message(
        f"{plain(host, 100)} is no longer monitored.",
        (
            section(f"{code(host)} is no longer monitored. Monitor #{monitor_id} was deleted."),
            actions(button("Add again", "add", str(target), about=f"Add {host} again")),
        ),
        announce=announce,
    )


def thresholds(rules: Mapping[str, str]) -> Message:
    """The thresholds that the team has set, by host or pattern."""
    if not rules:
        text = "No thresholds are set: the default applies everywhere."
    else:
        lines = "\n".join(f"{code(name, 120)} {rule}" for name, rule in sorted(rules.items())[:50])
        text = f"*Thresholds*\n{lines}"
        if len(rules) > 50:
            text += f"\nand {len(rules) - 50} more"
    return Message(bare(text), (section(text), context("Set one: `/ssl warn example.com 14d`")))


def warned(
    name: str, rule: str, announce: str, matching: int | None = None, other: str = ""
) -> Message:
    """A threshold was set, or removed (`rule` is empty); an `other` may apply then.

    `matching` is the number of monitors that it applies to, None if it isn't known.
    """
    if rule:
        when = rule if rule.endswith("%") else counted(int(rule[:-1]), "day")
        of = "of the lifetime is left" if rule.endswith("%") else "are left"
        of = "is left" if rule == "1d" else of
        text = f"Renewal of {code(name)} is due when {when} {of}."
    elif other:
        text = f"Removed the threshold of {code(name)}. Another one still applies to it: {other}."
    else:
        where = " where no other one applies" if "*" in name else ""
        text = f"{code(name)} uses the default threshold again{where}."
    if matching == 0:
        text += " No monitor matches it yet."
    return Message(bare(text), (section(f"✅ {text}"),), announce=announce)


def not_warned(name: str, other: str) -> Message:
    """There was no threshold to remove; an `other` may apply."""
    text = f"Nothing to remove: {code(name)} has no threshold of its own."
    text += f" Another one applies to it: {other}." if other else ""
    return Message(bare(text), (section(f"🤷 {text}"),), changed=())


def warned_line(who: str, name: str, rule: str) -> str:
    """The channel's line about a threshold."""
    if rule:
        return f"{safe(who, 80)} set the threshold of {code(name)} to {rule}."
    return f"{safe(who, 80)} removed the threshold of {code(name)}."


def shareable(message: Message, line: str) -> Message:
    """A private answer with the button that posts it in the channel."""
    if message.public or not line or len(line) > MAX_VALUE or len(message.blocks) >= MAX_BLOCKS:
        return message
    share = button("Share here", "share", line, about="Share this in the channel")
    return replace(message, blocks=(*message.blocks, actions(share)))
