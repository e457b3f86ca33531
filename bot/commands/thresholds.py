"""The command that sets thresholds: when renewal of a host or pattern is due."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Self

from bot.blocks import Message
from bot.cards import monitor as monitor_cards
from bot.commands import after_scan
from bot.commands.arguments import host_and_text
from bot.commands.lookup import NO_HOSTS, Selector, router
from bot.commands.router import ALIASES, FILLERS, GREETINGS, MEANT, SUBCOMMANDS, Call
from bot.dates import ALL, DAY, Selection, parse_length
from bot.errors import BotError, UsageError
from bot.severity import Threshold
from bot.target import Target


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold, or none to remove the one that was set."""

    threshold: Threshold | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `14d`, `2 weeks`, `20%` or `default`. Raises ValueError with a sentence."""
        text = re.sub(r" (?:before|left|ahead|in advance|prior|are|expir\w*)\b.*", "", text.lower())
        text = _BEFORE.sub("", re.sub(r" ?(%|percent)$", "%", text)).lstrip("<= ")
        if text in {"default", "reset", "off", "none", "remove", "delete", "clear"}:
            return cls(None)
        with suppress(ValueError):
            days, rest = divmod(parse_length(text), DAY)
            text = text if rest else f"{days}d"
        return cls(Threshold.parse(text))

    def __str__(self) -> str:
        return str(self.threshold or "default")


#: What people write before a length: `when less than 14 days are left`.
_BEFORE = re.compile(r"^(?:(?:when|if|once|in|at|it|expires|has|only|less than|under|below) )+")
#: Words that nobody means as a host that isn't monitored yet.
_NO_HOSTS = frozenset(
    {
        *(*ALIASES, *MEANT, *SUBCOMMANDS, *FILLERS, *GREETINGS),
        *("us", "it", "this", "that", "everyone", "default", "set", "clear", "when", "if"),
    }
)
#: Typed without words: list the thresholds.
NONE = Selector()
NO_RULE = Rule(None)


def _host_and_rule(words: Sequence[str]) -> list[str]:
    """The host, and the rest as one text; `list` is as good as nothing."""
    if [word.lower() for word in words] in (["list"], ["show"], ["ls"], ["all"]):
        return []
    return host_and_text(words)


@router.command("warn", example="warn example.com 14d", changes=True, rewrite=_host_and_rule)
async def warn(
    call: Call,
    which: Annotated[Selector, "HOST[:PORT]|PATTERN"] = NONE,
    rule: Annotated[Rule, "14d|20%|default"] = NO_RULE,
) -> Message:
    """Set when renewal is due for a host or pattern: days or percent of the lifetime left.

    14d is 14 days, 20% a fifth of the lifetime; default removes what was set. Without words, it
    lists the thresholds that are set.
    """
    if which == NONE:
        card = monitor_cards.thresholds(await call.records.thresholds())
        return replace(card, changed=())
    if rule is NO_RULE:
        fault = "“warn” needs 14d, 20% or default."
        with suppress(ValueError):  # `warn 14d`
            Rule.parse(which.host)
            fault = "Thresholds apply to a host or a pattern, such as *.example.com."
        raise UsageError(fault, "rule")
    if not which.host:
        raise UsageError("Thresholds apply to a host or a pattern, not to an ID.", "which")
    if which.host in NO_HOSTS:
        raise UsageError("Thresholds apply to a host or a pattern, such as *.example.com.", "which")
    if which.port and which.is_pattern:
        raise UsageError("A pattern can't have a port.", "which")
    which, matching = await meant(call, which)
    name = str(which.target or which.host)
    text = "" if rule.threshold is None else str(rule.threshold)
    if not text and name not in await call.records.thresholds():
        return monitor_cards.not_warned(name, _another(call, which))
    await call.records.set_threshold(name, text, by=call.asker, now=call.now())
    await after_scan.show(call)
    line = monitor_cards.warned_line(await call.who(), name, text)
    card = monitor_cards.warned(name, text, line, matching, _another(call, which))
    return replace(card, changed=((name, text or "default"),))


def _another(call: Call, which: Selector) -> str:
    """The threshold that applies to a host; empty for the default, and for a pattern."""
    if which.is_pattern:
        return ""
    return str(call.rules.for_(which.target or Target(which.host)) or "")


async def unmatched(call: Call, which: Selection) -> list[str]:
    """Filters of a digest or notices that no monitor matches; none if the list can't be read."""
    if which == ALL:
        return []
    try:
        rows = await call.api.list()
    except BotError:
        return []
    parts = [Selection((host,), which.ports) for host in which.hosts] or [which]
    nothing = [part for part in parts if not any(part.takes(row.target) for row in rows)]
    return [] if rows.unreadable else [str(part) for part in nothing]


async def meant(call: Call, which: Selector) -> tuple[Selector, int | None]:
    """The host that is meant by the beginning of its name, and how many monitors match.

    The number is None if the API doesn't say. Raises UsageError if several hosts begin like this,
    or if none does and it is a word of ours.
    """
    try:
        rows = await call.api.list()
    except BotError:
        return which, None
    matching = [row for row in rows if which.matches(row)]
    if matching or which.is_pattern:
        return which, len(matching)
    hosts = {row.target.host for row in rows if row.target.host.startswith(which.host)}
    if len(hosts) > 1 and "." not in which.host:
        raise UsageError(
            f"The names of {len(hosts)} hosts begin with “{which.host}”. Write one, such as "
            f"“{min(hosts)}”, or “{which.host}*” for all.", "which",
        )  # fmt: skip
    if len(hosts) == 1:
        which = replace(which, host=hosts.pop())
    if not hosts and which.host in {*_NO_HOSTS, *router.commands}:
        raise UsageError(f"“{which.host}” is not a host name.", "which")
    return which, sum(which.matches(row) for row in rows)
