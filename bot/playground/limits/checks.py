"""The kinds of check that the table of limits is made of: each looks at one object.

A check returns what is wrong, or None. What is looked at came over the wire: it can be any JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

Json = dict[str, Any]
Check = Callable[[Json], str | None]
"""Looks at one object and says what is wrong with it, or None."""


def text_of(value: Any) -> str:
    """Return the words of a text object, or of a bare string; empty for anything else."""
    if isinstance(value, dict):
        value = value.get("text")
    return value if isinstance(value, str) else ""


def dicts(value: Any) -> list[Json]:
    """Return the objects in a list; none for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def is_number(value: Any) -> bool:
    """Whether a value is a number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def length(key: str, most: int, least: int = 0) -> Check:
    """Refuse a text (object) at `key` longer than `most` or shorter than `least` characters."""

    def check(thing: Json) -> str | None:
        if key not in thing:
            return None
        size = len(text_of(thing[key]))
        if size > most:
            return f"must be less than {most + 1} characters"
        return f"must be more than {least - 1} characters" if size < least else None

    return check


def bare(*keys: str) -> Check:
    """Refuse anything but a string of at least one character at `keys`, which must be there."""

    def check(thing: Json) -> str | None:
        for key in keys:
            if not isinstance(thing.get(key), str) or not thing[key]:
                return f"must be a string of at least 1 character: {key}"
        return None

    return check


def count(key: str, most: int, least: int = 0) -> Check:
    """Refuse a list at `key` of more than `most` or fewer than `least` items."""

    def check(thing: Json) -> str | None:
        if key not in thing:
            return None
        items = thing[key]
        if not isinstance(items, list):
            return f"must provide an array: {key}"
        if len(items) > most:
            return f"no more than {most} items allowed"
        return f"no less than {least} items allowed" if len(items) < least else None

    return check


def number(key: str, least: int, most: int) -> Check:
    """Refuse anything but a whole number from `least` to `most` at `key`."""

    def check(thing: Json) -> str | None:
        value = thing.get(key, least)
        fine = isinstance(value, int) and is_number(value) and least <= value <= most
        return None if fine else f"must be a number from {least} to {most}: {key}"

    return check


def choice(key: str, options: Iterable[str]) -> Check:
    """Refuse a value at `key` that is not one of `options`."""
    allowed = list(options)

    def check(thing: Json) -> str | None:
        if key in thing and thing[key] not in allowed:
            return f"must be a valid enum value: {key}"
        return None

    return check


def needs(*keys: str) -> Check:
    """Refuse an object that lacks one of `keys`."""

    def check(thing: Json) -> str | None:
        missing = [key for key in keys if key not in thing]
        return f"missing required field: {missing[0]}" if missing else None

    return check


def needs_any(*keys: str) -> Check:
    """Refuse an object with nothing at all of `keys`."""

    def check(thing: Json) -> str | None:
        return None if any(thing.get(key) for key in keys) else f"must provide one of {keys}"

    return check


def exactly_one(*keys: str) -> Check:
    """Refuse an object with none, or with several, of `keys`."""

    def check(thing: Json) -> str | None:
        given = sum(key in thing for key in keys)
        return None if given == 1 else f"must provide exactly one of {keys}"

    return check


def not_both(one: str, other: str) -> Check:
    """Refuse an object with both keys."""

    def check(thing: Json) -> str | None:
        return f"can't provide both {one} and {other}" if one in thing and other in thing else None

    return check


def absent(key: str) -> Check:
    """Refuse an object with this key."""
    return lambda thing: f"unsupported field: {key}" if key in thing else None


def text_objects(*keys: str, plain: bool = False) -> Check:
    """Refuse anything but text objects at `keys`; `plain` means no mrkdwn either."""
    allowed = ["plain_text"] if plain else ["mrkdwn", "plain_text"]

    def check(thing: Json) -> str | None:
        for key in keys:
            if key in thing:
                value = thing[key]
                if not isinstance(value, dict) or value.get("type") not in allowed:
                    return f"must provide a text object of type {allowed}: {key}"
        return None

    return check


def holds(key: str, allowed: Iterable[str]) -> Check:
    """Refuse any element at `key`, one or a list (of lists), whose type is not `allowed`."""
    kinds = list(allowed)

    def check(thing: Json) -> str | None:
        for item in _flat(thing.get(key)):
            kind = item.get("type") if isinstance(item, dict) else None
            if kind not in kinds:
                return f"unsupported type: {kind}"
        return None

    return check


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [deep for item in value for deep in (_flat(item) if item is not None else [None])]
    return [] if value is None else [value]


def forbidden(_thing: Json) -> str:
    """Refuse the object wherever the limit applies."""
    return "unsupported type on this surface"


def twice(values: Iterable[Any]) -> bool:
    """Whether any value comes a second time."""
    held = [json.dumps(value, sort_keys=True) for value in values]
    return len(held) != len(set(held))


def unique(key: str, named: str) -> Check:
    """Refuse two items of the list `key` with the same `named` property."""

    def check(thing: Json) -> str | None:
        names = (item[named] for item in dicts(thing.get(key)) if named in item)
        return f"{named} already exists" if twice(names) else None

    return check


def of_type(payload: Json, kind: str) -> list[Json]:
    """Return the blocks of one type, those in containers too."""
    found = []
    for block in dicts(payload.get("blocks")):
        found += [b for b in (block, *dicts(block.get("child_blocks"))) if b.get("type") == kind]
    return found


def total(kind: str, most: int, measure: Callable[[Json], int]) -> Check:
    """Refuse a payload whose blocks of a kind measure more than `most` together."""

    def check(payload: Json) -> str | None:
        size = sum(measure(block) for block in of_type(payload, kind))
        return f"no more than {most} in all {kind} blocks" if size > most else None

    return check


def each(key: str, checked: Check) -> Check:
    """Refuse a list at `key` with an object that does not pass `checked`."""
    return lambda thing: next(filter(None, map(checked, dicts(thing.get(key)))), None)
