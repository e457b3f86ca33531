"""The command that sets thresholds: when renewal of a host or pattern is due."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

from bot.blocks import Message
from bot.cards import monitor as monitor_cards
from bot.commands.lookup import Selector, router
from bot.commands.router import Call
from bot.errors import BotError, UsageError
from bot.severity import Threshold


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold, or none to return to the default."""

    threshold: Threshold | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `14d`, `20%` or `default`. Raises ValueError with a sentence for the user."""
        return cls(None if text.lower() == "default" else Threshold.parse(text))

    def __str__(self) -> str:
        return str(self.threshold or "default")


#: Nothing typed lists the thresholds that are set.
NONE = Selector()
NO_RULE = Rule(None)


@router.command("warn", example="warn example.com 14d", changes=True)
async def warn(
    call: Call,
    which: Annotated[Selector, "HOST[:PORT]|PATTERN"] = NONE,
    rule: Annotated[Rule, "14d|20%|default"] = NO_RULE,
) -> Message:
    """Set when renewal is due for a host or pattern: days or percent of the lifetime left.

    14d is 14 days, 20% a fifth of the lifetime; default resets it. Without words, it lists the
    thresholds that are set.
    """
    if which == NONE:
        card = monitor_cards.thresholds(await call.records.thresholds())
        return replace(card, changed=())
    if rule is NO_RULE:
        raise UsageError("“warn” needs 14d, 20% or default.", "rule")
    if not which.host:
        raise UsageError("Thresholds apply to a host or a pattern, not to an ID.", "which")
    if which.port and which.is_pattern:
        raise UsageError("A pattern can't have a port.", "which")
    which, matching = await _meant(call, which)
    name = str(which.target or which.host)
    text = "" if rule.threshold is None else str(rule.threshold)
    await call.records.set_threshold(name, text, by=call.asker, now=call.now())
    line = monitor_cards.warned_line(await call.who(), name, text)
    card = monitor_cards.warned(name, text, line, matching)
    return replace(card, changed=((name, text or "default"),))


async def _meant(call: Call, which: Selector) -> tuple[Selector, int | None]:
    """The host that is meant by the beginning of its name, and how many monitors match.

    The number is None if the API does not say.
    """
    try:
        rows = await call.api.list()
    except BotError:
        return which, None
    matching = [row for row in rows if which.matches(row)]
    if matching or which.is_pattern:
        return which, len(matching)
    hosts = {row.target.host for row in rows if row.target.host.startswith(which.host)}
    if len(hosts) != 1:
        return which, 0
    which = replace(which, host=hosts.pop())
    return which, sum(which.matches(row) for row in rows)
