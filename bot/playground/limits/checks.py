"""The checks that the table of limits is built from: each looks at one object.

A check returns what is wrong, or None. Its input came over the wire and can be any JSON.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

Json = dict[str, Any]
Check = Callable[[Json], str | None]
"""Looks at one object and returns what is wrong with it, or None."""


def text_of(value: Any) -> str:
    """Return the text of a text object or string; empty for anything else."""
    if isinstance(value, dict):
        value = value.get("text")
    return value if isinstance(value, str) else ""


def objects(value: Any) -> list[Json]:
    """Return the objects in a list; none for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def length(key: str, most: int, least: int = 0) -> Check:
    """Require a text (object) at `key` to have from `least` to `most` characters, if present."""

    def check(thing: Json) -> str | None:
        if key not in thing:
            return None
        size = len(text_of(thing[key]))
        if size > most:
            return f"must be less than {most + 1} characters"
        return f"must be more than {least - 1} characters" if size < least else None

    return check


def string(key: str) -> Check:
    """Require a string of at least one character at `key`."""

    def check(thing: Json) -> str | None:
        valid = isinstance(thing.get(key), str) and thing[key]
        return None if valid else f"must be a string of at least 1 character: {key}"

    return check


def count(key: str, most: int, least: int = 0) -> Check:
    """Require a list at `key` to have from `least` to `most` items, if present."""

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
    """Require a whole number from `least` to `most` at `key`, if present."""

    def check(thing: Json) -> str | None:
        value = thing.get(key, least)
        valid = isinstance(value, int) and is_number(value) and least <= value <= most
        return None if valid else f"must be a number from {least} to {most}: {key}"

    return check


def enum(key: str, values: Iterable[str]) -> Check:
    """Require one of `values` at `key`, if present."""
    allowed = list(values)

    def check(thing: Json) -> str | None:
        valid = key not in thing or thing[key] in allowed
        return None if valid else f"must be a valid enum value: {key}"

    return check


def required(*keys: str) -> Check:
    """Require every one of `keys`."""

    def check(thing: Json) -> str | None:
        missing = [key for key in keys if key not in thing]
        return f"missing required field: {missing[0]}" if missing else None

    return check


def required_any(*keys: str) -> Check:
    """Require a value at one of `keys` at least."""

    def check(thing: Json) -> str | None:
        return None if any(thing.get(key) for key in keys) else f"must provide one of {keys}"

    return check


def text_objects(*keys: str, plain: bool = False) -> Check:
    """Require text objects at `keys`, where present; with `plain`, mrkdwn is refused too."""
    allowed = ["plain_text"] if plain else ["mrkdwn", "plain_text"]

    def check(thing: Json) -> str | None:
        for key in keys:
            if key in thing:
                value = thing[key]
                if not isinstance(value, dict) or value.get("type") not in allowed:
                    return f"must provide a text object of type {allowed}: {key}"
        return None

    return check


def types(key: str, allowed: Iterable[str]) -> Check:
    """Require every object at `key`, one or a list (of lists), to be of an `allowed` type."""
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


def unsupported(thing: Json) -> str:
    """Refuse every object the limit applies to."""
    return f"unsupported type on this surface: {thing.get('type')}"


def has_duplicates(values: Iterable[Any]) -> bool:
    """Whether any value occurs twice."""
    texts = [json.dumps(value, sort_keys=True) for value in values]
    return len(texts) != len(set(texts))


def unique(key: str, name: str) -> Check:
    """Require the items of the list `key` to differ in their `name` property."""

    def check(thing: Json) -> str | None:
        values = (item[name] for item in objects(thing.get(key)) if name in item)
        return f"{name} already exists" if has_duplicates(values) else None

    return check


def of_type(payload: Json, kind: str) -> list[Json]:
    """Return a payload's blocks of one type."""
    return [block for block in objects(payload.get("blocks")) if block.get("type") == kind]


def total(kind: str, most: int, measure: Callable[[Json], int]) -> Check:
    """Require a payload's blocks of one type to measure at most `most` together."""

    def check(payload: Json) -> str | None:
        size = sum(measure(block) for block in of_type(payload, kind))
        return f"no more than {most} in all {kind} blocks" if size > most else None

    return check


def each(key: str, check: Check) -> Check:
    """Require every object in the list at `key` to pass `check`."""
    return lambda thing: next(filter(None, map(check, objects(thing.get(key)))), None)
