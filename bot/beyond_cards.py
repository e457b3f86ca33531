"""The cards of what only some APIs have: one-off checks, and what changed on a monitor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from bot import cards, detail_cards, replies
from bot.beyond import Change, Check, History
from bot.blocks import (
    MAX_WORDS,
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
from bot.errors import BotError
from bot.models import MonitorSummary, days_left
from bot.severity import NEVER_SCANNED, OK, USUAL, Rank, State, Thresholds, state_of
from bot.target import Target
from bot.words import argument

#: So many changes are shown at most; one more is asked for, to tell what the last of them changed.
CHANGES_SHOWN = 20


def checking(target: Target) -> Message:
    """Shown while a check runs."""
    return Message(
        f"Checking {plain(target.short, 100)}…",
        (section(f"⏳ *Checking…* · {code(target.short)}"),),
    )


def checked(check: Check, protocol: str, now: datetime, rules: Thresholds) -> Message:
    """What a check found. `protocol` names the STARTTLS that was spoken, empty for none."""
    row = check.row
    parts = [f"Checked {since(now, now)}. Nothing was stored."]
    if protocol:
        parts.append(f"STARTTLS, {protocol}. `/ssl add` can't watch that.")
    return Message(
        cards.headline(row, now, rules),
        (
            section(cards.verdict(row, now, rules)),
            *detail_cards.facts(check.found, now, rules),
            context(" ".join(parts)),
            _check_buttons(row.target, protocol),
        ),
    )


def check_failed(error: BotError, target: Target, protocol: str) -> Message:
    """A check that could not be done; one press tries again."""
    card = replies.failure(error, host=target.short)
    return replace(card, blocks=(*card.blocks, actions(_again(target, protocol))))


def _check_buttons(target: Target, protocol: str) -> Block:
    again = _again(target, protocol)
    if protocol:
        return actions(again)
    host = target.short
    watch = button("Watch it", "add", str(target), about=f"Watch {host}", style="primary")
    return actions(watch, again)


def _again(target: Target, protocol: str) -> Block:
    place = f"{target} {protocol}".strip()
    return button("Check again", "check", place, about=f"Check {target.short} again")


def history(row: MonitorSummary, found: History) -> Message:
    """What changed on a monitor, the newest first; each line says what differs from the one before.

    Only as much is shown as a message takes.
    """
    host = row.target.short
    if not found.changes:
        text = f"No scan of {code(host)} is recorded yet."
        return Message(bare(text), (section(f"{NEVER_SCANNED.symbol} {text}"), _below(row)))
    told = _fitting([_told(row, *pair) for pair in _pairs(found)])
    entries = counted(found.total, "entry", "entries")
    few = f"Showing {len(told):,} of {entries}" if len(told) < found.total else entries
    newest = found.changes[0]
    return Message(
        f"History of {plain(host, 100)}: {_state(row, newest).word} on {utc(newest.at)}.",
        (
            section(f"*History* · {code(host)}\n{few}, the newest first."),
            *(section(each) for each in told),
            context("Scans that found nothing new have no entry."),
            _below(row),
        ),
    )


def _pairs(found: History) -> list[tuple[Change, Change | None]]:
    """Each change that may be shown, with the one before it where that is known."""
    changes = found.changes
    older: list[Change | None] = [*changes[1:], None]
    return list(zip(changes, older, strict=True))[:CHANGES_SHOWN]


def _fitting(told: Sequence[str]) -> list[str]:
    kept: list[str] = []
    room = MAX_WORDS
    for each in told:
        room -= len(each)
        if room < 0:
            break
        kept.append(each)
    return kept


def _below(row: MonitorSummary) -> Block:
    host, number = row.target.short, argument(row)
    return actions(button("Details", "details", number, "below", about=f"Details of {host}"))


def _told(row: MonitorSummary, change: Change, older: Change | None) -> str:
    """A change as two or three lines of mrkdwn: the verdict and when, what is new, and the end."""
    state = _state(row, change)
    marks = _marks(row, change, older)
    lines = [f"{state.symbol} *{state.word}* · {date(change.at)}"]
    if marks:
        lines.append(f"*{', '.join(marks)}*")
    said = safe(change.message, 150).rstrip(".") if state.rank is not Rank.OK else ""
    lines.append(" ".join(filter(None, [f"{said}." if said else "", _ends(change, older)])))
    return "\n".join(filter(None, lines))


def _state(row: MonitorSummary, change: Change) -> State:
    """The verdict of a scan, at its time; what was only due then was fine."""
    then = msgspec.structs.replace(
        row,
        valid=change.valid,
        not_before=change.not_before,
        not_after=change.not_after,
        host_match=change.host_match,
        scanned_at=change.at,
    )
    state = state_of(then, change.at, USUAL)
    return state if state.rank in {Rank.BROKEN, Rank.UNKNOWN} else OK


def _marks(row: MonitorSummary, change: Change, older: Change | None) -> list[str]:
    """What differs from the line before, in words."""
    if older is None:
        return ["First scan"]
    marks = []
    if (was := _state(row, older)) is not _state(row, change):
        marks.append(f"Was {was.word}")
    if change.not_after is not None and older.not_after is not None:
        mine, theirs = ((c.not_before, c.not_after, c.issuer) for c in (change, older))
        if mine != theirs:
            marks.append("new certificate" if marks else "New certificate")
    return marks


def _ends(change: Change, older: Change | None) -> str:
    """The end date, how many days were left then, and the issuer where it is another."""
    if change.not_after is None:
        return ""
    day = date(change.not_after, "{date_short}")
    left = days_left(change.not_after, change.at)
    if change.not_after <= change.at:
        ends = f"Ended {day}."
    else:
        ends = f"Ends {day}, {counted(left, 'day')} left then."
    issuer = safe(change.issuer, 60).rstrip(".")
    another = older is None or older.issuer != change.issuer
    return f"{ends} Issuer: {issuer}." if issuer and another else ends
