"""What one row of the table of limits is."""

from __future__ import annotations

from dataclasses import dataclass

from bot.playground.limits.checks import Check, forbidden
from bot.playground.limits.kinds import EVERYWHERE


@dataclass(frozen=True)
class Limit:
    """One rule: objects of `kind` on these `surfaces` must pass `check`, or Slack says `error`.

    `kind` is an object's `type`, or `message`, `modal`, `home`, `block`, `interactive`, `option`,
    `option_group`, `confirm`, `slack_icon`. An empty `error` means the method's own word for bad
    blocks: `invalid_blocks` for messages, `invalid_arguments` for views.
    """

    name: str
    kinds: frozenset[str]
    check: Check
    surfaces: frozenset[str] = EVERYWHERE
    error: str = ""


@dataclass(frozen=True)
class Fault:
    """A limit that was passed, and where (`pointer` is a JSON pointer)."""

    limit: str
    error: str
    message: str
    pointer: str


def only(*kinds: str) -> frozenset[str]:
    """Return the kinds that a limit speaks of."""
    return frozenset(kinds)


def barred(kind: str, *surfaces: str) -> Limit:
    """Return the limit that keeps a kind off some surfaces."""
    return Limit(f"{kind}: surface", only(kind), forbidden, frozenset(surfaces))
