"""What is said when somebody takes, mutes or annotates a monitor."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from bot.blocks import (
    Form,
    Message,
    bare,
    code,
    counted,
    date,
    escaped,
    plain,
    safe,
    section,
    since,
    text_input,
)
from bot.sighting import Claim, Mute
from bot.target import Target


def taken_line(who: str, target: Target, others: int = 0) -> str:
    """The channel's line about a claim, on one monitor and perhaps others."""
    return f"🙋 {safe(who, 80)} has taken {_hosts(target, others)}."


def released_line(who: str, target: Target, others: int = 0) -> str:
    """The channel's line about a monitor that is free again, and perhaps others."""
    it = "them" if others else "it"
    return f"{safe(who, 80)} released {_hosts(target, others)}: nobody has {it} now."


def _hosts(target: Target, others: int) -> str:
    more = f" and {counted(others, 'more monitor')}" if others else ""
    return f"{code(target.short, 120)}{more}"


def taken_by_another(claim: Claim, _now: datetime) -> str:
    """Why a claim had no effect."""
    return f"{safe(claim.name, 80)} took it {since(claim.at, _now)}. They, or you, can release it."


def muted_line(mute: Mute, target: Target) -> str:
    """The channel's line about a mute."""
    until = date(mute.until, "{date_short}")
    how = f"until {until}" if mute.rank is None else f"until it changes, at most until {until}"
    why = f": {safe(mute.reason, 120)}" if mute.reason else ""
    return f"🔕 {safe(mute.name, 80)} muted {code(target.short, 120)} {how}{why}."


def unmuted_line(who: str, target: Target) -> str:
    """The channel's line about the end of a mute."""
    return f"{safe(who, 80)} unmuted {code(target.short, 120)}."


def note_form(filled: Mapping[str, str], _learnt: Collection[str]) -> Form:
    """The form that asks for a note."""
    which = text_input("which", "Host")
    if host := filled.get("which"):
        which["element"]["initial_value"] = host
    text = text_input("text", "Note", hint="One line; empty removes the note.", optional=True)
    return Form(command="note", title="Note", submit="Save", blocks=(which, text))


def noted(host: str, text: str) -> Message:
    """A note was set or removed."""
    said = f"The note on {code(host, 120)} was removed."
    if text:
        said = f"Note on {code(host, 120)}: {safe(text, 200)}"
    return Message(bare(said), (section(f"📝 {said}"),))


def runbook(name: str, link: str) -> Message:
    """A runbook was linked or removed."""
    if not link:
        said = f"The runbook of {code(name, 120)} was removed."
        return Message(bare(said), (section(f"📖 {said}"),))
    text = f"The runbook of {plain(name, 120)} is linked."
    return Message(
        text, (section(f"📖 <{escaped(link)}|Runbook> of {code(name, 120)} is linked."),)
    )
