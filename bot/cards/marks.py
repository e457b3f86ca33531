"""What is said when somebody takes, mutes or annotates a monitor."""

from __future__ import annotations

from datetime import datetime

from bot.blocks import Message, bare, code, date, escaped, plain, safe, section, since
from bot.sighting import Claim, Mute
from bot.target import Target


def taken_line(who: str, target: Target) -> str:
    """The channel's line about a claim."""
    return f"🙋 {safe(who, 80)} has taken {code(target.short, 120)}."


def released_line(who: str, target: Target) -> str:
    """The channel's line about a monitor that is free again."""
    return f"{safe(who, 80)} released {code(target.short, 120)}: nobody has it now."


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
