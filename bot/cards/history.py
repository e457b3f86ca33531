"""Cards for what only some APIs have: one-off checks, and a monitor's history."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import msgspec

from bot.api.extras import TLS, Check, History, HistoryEntry
from bot.api.models import MonitorSummary
from bot.blocks import (
    MAX_CHARACTERS,
    Block,
    Message,
    actions,
    bare,
    button,
    code,
    context,
    counted,
    date,
    plain,
    safe,
    section,
    since,
    utc,
)
from bot.cards import details as detail_cards
from bot.cards import monitor as monitor_cards
from bot.cards import replies
from bot.cards.monitor import argument
from bot.errors import APIRefused, BotError
from bot.severity import (
    EXPIRED,
    NEVER_SCANNED,
    OK,
    USUAL,
    Rank,
    State,
    Thresholds,
    days_left,
    state_of,
)
from bot.target import Target

#: At most this many changes are shown; one more is requested, to compare the last one with.
CHANGES_SHOWN = 20
#: The API's code for “too many requests”.
TOO_MANY = 429


def checking(target: Target) -> Message:
    """Shown while a check runs."""
    return Message(
        f"Checking {plain(target.short, 100)}…",
        (section(f"⏳ *Checking…* · {code(target.short)}"),),
    )


def checked(check: Check, protocol: str, now: datetime, rules: Thresholds) -> Message:
    """The result of a check. `protocol` names the STARTTLS protocol; empty for none."""
    row = check.row
    by = f" over STARTTLS ({protocol})" if protocol else ""
    small = f"Checked {since(now, now)}{by}. Nothing was stored."
    return Message(
        monitor_cards.headline(row, now, rules),
        (
            section(monitor_cards.verdict(row, now, rules)),
            *detail_cards.facts(check.found, now, rules),
            context(small),
            _check_buttons(row.target, protocol),
        ),
    )


def check_failed(error: BotError, target: Target, protocol: str) -> Message:
    """A check that failed, with a button that tries again if that may help."""
    card = replies.failure(error, host=target.short)
    if isinstance(error, APIRefused) and error.code < 500 and error.code != TOO_MANY:
        return card
    return replace(card, blocks=(*card.blocks, actions(_again(target, protocol))))


def _check_buttons(target: Target, protocol: str) -> Block:
    value = f"{target} {protocol}".rstrip()
    add = button("Add", "add", value, about=f"Add {target.short}", style="primary")
    return actions(add, _again(target, protocol))


def _again(target: Target, protocol: str) -> Block:
    place = f"{target} {protocol or TLS}"  # otherwise a port such as 25 would imply one
    return button("Check again", "check", place, about=f"Check {target.short} again")


def history(row: MonitorSummary, found: History) -> Message:
    """What changed on a monitor, newest first, as far as one message can hold it.

    Each entry is the first scan that found something new, and says what.
    """
    host = row.target.short
    if not found.changes:
        text = f"No scan of {code(host)} is recorded yet."
        return Message(bare(text), (section(f"{NEVER_SCANNED.symbol} {text}"), _below(row)))
    told = _fitting(_told(row, found, number) for number in range(len(found.changes)))
    entries = counted(found.total, "entry", "entries")
    few = f"Showing {len(told):,} of {entries}" if len(told) < found.total else entries
    newest = found.changes[0]
    return Message(
        f"History of {plain(host, 100)}: {_state(row, newest).word} on {utc(newest.at)}.",
        (
            section(f"*History* · {code(host)}\n{few}, newest first."),
            *(section(each) for each in told),
            context("Only scans that found a change are listed."),
            _below(row),
        ),
    )


def _fitting(told: Iterable[str]) -> list[str]:
    kept: list[str] = []
    room = MAX_CHARACTERS
    for each in itertools.islice(told, CHANGES_SHOWN):
        room -= len(each)
        if room < 0:
            break
        kept.append(each)
    return kept


def _below(row: MonitorSummary) -> Block:
    host, number = row.target.short, argument(row)
    return actions(button("Details", "details", number, "below", about=f"Details of {host}"))


def _told(row: MonitorSummary, found: History, number: int) -> str:
    """An entry in mrkdwn: the verdict and when, what is new, what was wrong, and the expiry."""
    change, older = found.changes[number], found.changes[number + 1 :]
    known = next((each for each in older if each.not_after), None)
    state = _state(row, change)
    marks = []
    if number + 1 == found.total:
        marks.append("First scan")
    if older and (was := _state(row, older[0])) is not state:
        marks.append(f"Was {was.word}")
    if known and change.not_after and _certificate(change) != _certificate(known):
        marks.append("new certificate" if marks else "New certificate")
    lines = [
        f"{state.symbol} *{state.word}* · {date(change.at)}",
        f"*{', '.join(marks)}*" if marks else "",
        " ".join(filter(None, [_said(change, state), _ends(change), _issuer(change, known)])),
    ]
    return "\n".join(filter(None, lines))


def _certificate(change: HistoryEntry) -> tuple[datetime | None, datetime | None, str]:
    return change.not_before, change.not_after, change.issuer


def _state(row: MonitorSummary, change: HistoryEntry) -> State:
    """The verdict of a scan at its time; a certificate that was merely due was fine then."""
    then = msgspec.structs.replace(
        row,
        valid=change.valid,
        message=change.message,
        not_before=change.not_before,
        not_after=change.not_after,
        host_match=change.host_match,
        scanned_at=change.at,
    )
    state = state_of(then, change.at, USUAL)
    return state if state.rank in {Rank.BROKEN, Rank.UNKNOWN} else OK


def _said(change: HistoryEntry, state: State) -> str:
    """What was wrong, as a sentence; empty for an expired certificate, whose date says it."""
    text = "" if state in {OK, EXPIRED} else safe(change.message, 150).rstrip(".")
    return f"{text}." if text else ""


def _ends(change: HistoryEntry) -> str:
    if change.not_after is None:
        return ""
    day = date(change.not_after, "{date_short}")
    if change.not_after <= change.at:
        return f"Expired {day}."
    left = counted(days_left(change.not_after, change.at), "day")
    return f"Expires {day} ({left} left at the time)."


def _issuer(change: HistoryEntry, known: HistoryEntry | None) -> str:
    """The issuer, if it is not the same as before."""
    same = known is not None and known.issuer == change.issuer
    text = "" if same or change.not_after is None else safe(change.issuer, 60).rstrip(".")
    return f"Issuer: {text}." if text else ""
