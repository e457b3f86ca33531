"""Finding every limit that a message or a view breaks.

Slack's live validator has the last word.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from bot.playground.limits.blocks import BLOCK_LIMITS
from bot.playground.limits.checks import Json
from bot.playground.limits.data_blocks import DATA_BLOCK_LIMITS
from bot.playground.limits.limit import EVERYWHERE, INPUTS, INTERACTIVE, MESSAGE, Limit, Violation
from bot.playground.limits.messages import MESSAGE_LIMITS

LIMITS: tuple[Limit, ...] = (*MESSAGE_LIMITS, *BLOCK_LIMITS, *DATA_BLOCK_LIMITS)


def violations(surface: str, payload: Json) -> list[Violation]:
    """Return every limit that a message (its arguments) or a view breaks, in reading order."""
    error = "invalid_blocks" if surface == MESSAGE else "invalid_arguments"
    root = "" if surface == MESSAGE else "/view"
    return [
        Violation(limit.name, limit.error or error, complaint, pointer)
        for kinds, thing, pointer in _parts(surface, payload, root)
        for kind in sorted(kinds)
        for limit in _LIMITS[surface].get(kind, ())
        if (complaint := limit.check(thing))
    ]


def _by_kind(surface: str) -> dict[str, list[Limit]]:
    table = defaultdict(list)
    for limit in LIMITS:
        if surface in limit.surfaces:
            for kind in limit.kinds:
                table[kind].append(limit)
    return dict(table)


_LIMITS = {surface: _by_kind(surface) for surface in EVERYWHERE}


def _parts(surface: str, payload: Json, root: str) -> Iterator[tuple[set[str], Json, str]]:
    """Yield each object that a limit may apply to: its kinds, itself, and its JSON pointer."""
    yield {surface}, payload, root
    yield from _below(payload.get("blocks"), {"block"}, f"{root}/blocks")


def _below(value: Any, kinds: set[str], pointer: str) -> Iterator[tuple[set[str], Json, str]]:
    if isinstance(value, dict):
        yield from _inside(value, kinds, pointer)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _below(item, kinds, f"{pointer}/{index}")


def _inside(thing: Json, kinds: set[str], pointer: str) -> Iterator[tuple[set[str], Json, str]]:
    own = thing.get("type")
    if isinstance(own, str):
        kinds = kinds | {own}
        if own in INPUTS | INTERACTIVE:
            kinds.add("interactive")
    yield kinds, thing, pointer
    for key, value in thing.items():
        if isinstance(value, dict | list):
            yield from _below(value, _KINDS_OF_KEYS.get(key, set()), f"{pointer}/{key}")


#: Options and confirmations are objects without a type: their key says what they are.
_KINDS_OF_KEYS: dict[str, set[str]] = {"options": {"option"}, "confirm": {"confirm"}}
