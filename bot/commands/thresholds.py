"""The command that sets when a team wants to be told: a threshold for a host or pattern."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

from bot.blocks import Message
from bot.cards import monitor as monitor_cards
from bot.commands.lookup import Selector, router
from bot.commands.router import Call
from bot.errors import UsageError
from bot.severity import Threshold


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold, or none where the usual rule is to count again."""

    threshold: Threshold | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `14d`, `20%` or `default`. Raises ValueError with a sentence for the user."""
        return cls(None if text.lower() == "default" else Threshold.parse(text))


@router.command("warn", example="warn example.com 14d", changes=True)
async def warn(
    call: Call,
    which: Annotated[Selector, "HOST[:PORT]|PATTERN"],
    rule: Annotated[Rule, "14d|20%|default"],
) -> Message:
    """Set when renewal is due for a host or pattern: days or percent of the lifetime left."""
    if not which.host:
        raise UsageError("Thresholds apply to a host or a pattern, not to an ID.", "which")
    if which.port and which.is_pattern:
        raise UsageError("A pattern can't have a port.", "which")
    name = str(which.target or which.host)
    held = "" if rule.threshold is None else str(rule.threshold)
    await call.records.set_threshold(name, held, by=call.asker, now=call.now())
    line = monitor_cards.warned_line(await call.who(), name, held)
    return replace(monitor_cards.warned(name, held, line), changed=((name, held or "default"),))
