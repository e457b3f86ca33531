"""The kinds of check that the table of limits is made of: each looks at one object.

A check returns what is wrong, or None.
"""

from __future__ import annotations

import json
import re
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
        fine = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return None if fine else f"must be a number from {least} to {most}: {key}"

    return check


def choice(key: str, options: Iterable[str]) -> Check:
    """Refuse a value at `key` that is not one of `options`."""
    allowed = frozenset(options)

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


def text_objects(*keys: str, plain: bool = False) -> Check:
    """Refuse anything but text objects at `keys`; `plain` means no mrkdwn either."""
    allowed = {"plain_text"} if plain else {"plain_text", "mrkdwn"}

    def check(thing: Json) -> str | None:
        for key in keys:
            if key in thing:
                value = thing[key]
                if not isinstance(value, dict) or value.get("type") not in allowed:
                    return f"must provide a text object of type {sorted(allowed)}: {key}"
        return None

    return check


def holds(key: str, allowed: frozenset[str]) -> Check:
    """Refuse any element at `key`, one or a list, whose type is not `allowed`."""

    def check(thing: Json) -> str | None:
        value = thing.get(key)
        for item in value if isinstance(value, list) else [] if value is None else [value]:
            kind = item.get("type") if isinstance(item, dict) else None
            if kind not in allowed:
                return f"unsupported type: {kind}"
        return None

    return check


def forbidden(_thing: Json) -> str:
    """Refuse the object wherever the limit applies."""
    return "unsupported type on this surface"


def unique(key: str, named: str) -> Check:
    """Refuse two items of the list `key` with the same `named` property."""

    def check(thing: Json) -> str | None:
        names = [item[named] for item in dicts(thing.get(key)) if named in item]
        return f"{named} already exists" if len(names) != len(set(names)) else None

    return check


def dicts(value: Any) -> list[Json]:
    """Return the objects in a list; none for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def rows(table: Json) -> list[list[Any]]:
    """Return the rows of a table."""
    held = table.get("rows")
    return [row for row in held if isinstance(row, list)] if isinstance(held, list) else []


def columns(most: int, *, same: bool) -> Check:
    """Refuse rows of no cells or of more than `most`, or (`same`) of different lengths."""

    def check(table: Json) -> str | None:
        widths = {len(row) for row in rows(table)}
        if any(not 1 <= width <= most for width in widths):
            return f"rows must have from 1 to {most} cells"
        return "every row must have the same number of cells" if same and len(widths) > 1 else None

    return check


def characters(thing: Any) -> int:
    """Count the characters of every text inside a table."""
    if isinstance(thing, dict):
        own = len(thing["text"]) if isinstance(thing.get("text"), str) else 0
        return own + sum(characters(value) for value in thing.values())
    return sum(map(characters, thing)) if isinstance(thing, list) else 0


def of_type(payload: Json, kind: str) -> list[Json]:
    """Return the blocks of one type."""
    return [block for block in dicts(payload.get("blocks")) if block.get("type") == kind]


def total(kind: str, most: int, measure: Callable[[Json], int]) -> Check:
    """Refuse a payload whose blocks of a kind measure more than `most` together."""

    def check(payload: Json) -> str | None:
        size = sum(measure(block) for block in of_type(payload, kind))
        return f"no more than {most} in all {kind} blocks" if size > most else None

    return check


def cells_filled(table: Json) -> str | None:
    """Refuse empty cells."""
    for row in rows(table):
        for cell in dicts(row):
            if cell.get("type") in {"raw_text", "raw_number"} and not text_of(cell):
                return "must be more than 0 characters: text of a cell"
    return None


def plain_header(table: Json) -> str | None:
    """Refuse rich text in the first row."""
    header = rows(table)[:1]
    rich = any(cell.get("type") == "rich_text" for row in header for cell in dicts(row))
    return "the header row can't hold rich_text" if rich else None


def pie(chart: Json) -> str | None:
    """Refuse segments without a positive value or a short label."""
    for segment in dicts(chart.get("segments")):
        value = segment.get("value")
        if not isinstance(value, int | float) or value <= 0:
            return "segment value must be more than 0"
        if not 1 <= len(segment.get("label", "")) <= 20:
            return "segment label must be from 1 to 20 characters"
    return None


def series_names(chart: Json) -> str | None:
    """Refuse series whose names are long or not unique."""
    names = [series.get("name", "") for series in dicts(chart.get("series"))]
    if len(names) != len(set(names)) or any(not 1 <= len(name) <= 20 for name in names):
        return "series names must be unique and from 1 to 20 characters"
    return None


def axes(chart: Json) -> Json:
    """Return the axis_config of a chart."""
    config = chart.get("axis_config")
    return config if isinstance(config, dict) else {}


def categories(chart: Json) -> str | None:
    """Refuse categories that are too many, too long or not unique."""
    names = axes(chart).get("categories") or []
    if not 1 <= len(names) <= 20 or len(names) != len(set(names)):
        return "categories must be unique, from 1 to 20"
    return "category must be from 1 to 20 characters" if any(len(n) > 20 for n in names) else None


def one_point_each(chart: Json) -> str | None:
    """Refuse series that do not have exactly one point for each category."""
    wanted = sorted(axes(chart).get("categories") or [])
    for series in dicts(chart.get("series")):
        if sorted(point.get("label", "") for point in dicts(series.get("data"))) != wanted:
            return "every series needs exactly one point for each category"
    return None


def axis_labels(chart: Json) -> str | None:
    """Refuse long names of axes."""
    named = axes(chart)
    return length("x_label", 50)(named) or length("y_label", 50)(named)


def container_flags(block: Json) -> str | None:
    """Refuse flags of a container that do not go together."""
    folding = bool(block.get("is_collapsible"))
    if "default_collapsed" in block and not folding:
        return "default_collapsed needs is_collapsible"
    if block.get("has_header_divider") and folding:
        return "has_header_divider is for containers that are not collapsible"
    return None


def slack_file(block: Json) -> str | None:
    """Refuse a slack_file with both or neither of id and url, or an id that can't be one."""
    file = block.get("slack_file")
    if file is None:
        return None
    if not isinstance(file, dict) or ("id" in file) == ("url" in file):
        return "slack_file must have either id or url"
    fine = "id" not in file or re.fullmatch(r"F[A-Z0-9]{8,}", str(file["id"]))
    return None if fine else "invalid slack file"


def unique_actions(block: Json) -> str | None:
    """Refuse a block with two elements of the same action_id."""
    held = [*dicts(block.get("elements")), *dicts([block.get("accessory")])]
    ids = [element["action_id"] for element in held if "action_id" in element]
    return "action_id already exists" if len(ids) != len(set(ids)) else None


def submit(view: Json) -> str | None:
    """Refuse a form without a submit button."""
    if of_type(view, "input") and "submit" not in view:
        return "missing required field: submit, in a view with input blocks"
    return None


def view_size(view: Json) -> str | None:
    """Refuse a view of more than 250 kB."""
    return "view is greater than 250kb" if len(json.dumps(view)) > 250_000 else None


def metadata(payload: Json) -> str | None:
    """Refuse metadata without event_type and event_payload."""
    given = payload.get("metadata")
    if given is None:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("event_payload"), dict):
        return "metadata needs event_type and event_payload"
    return None if isinstance(given.get("event_type"), str) else "metadata needs event_type"
