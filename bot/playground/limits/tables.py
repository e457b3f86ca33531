"""Checks that only one kind of block, view or message needs."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from bot.playground.limits.checks import (
    Check,
    Json,
    dicts,
    is_number,
    length,
    of_type,
    text_of,
    twice,
)

OTHER_PICTURES = frozenset({".avif", ".bmp", ".heic", ".ico", ".svg", ".tif", ".tiff", ".webp"})
"""Kinds of picture that Slack does not draw; an address without any ending may be one it does."""

METADATA_MOST = 8_000
"""Characters of metadata, as JSON. Slack says that there is a limit (`metadata_too_large`), and
gives no number: this one is the playground's own, far above what a key for a message takes."""


def rows(table: Json) -> list[list[Any]]:
    """Return the rows of a table."""
    held = table.get("rows")
    return [row for row in held if isinstance(row, list)] if isinstance(held, list) else []


def columns(most: int, *, same: bool) -> Check:
    """Refuse rows of no cells or of more than `most`, or (`same`) of different lengths."""

    def check(table: Json) -> str | None:
        widths = {len(row) for row in rows(table)}
        if isinstance(table.get("rows"), list) and len(rows(table)) < len(table["rows"]):
            return "every row must be an array of cells"
        if any(not 1 <= width <= most for width in widths):
            return f"rows must have from 1 to {most} cells"
        return "every row must have the same number of cells" if same and len(widths) > 1 else None

    return check


def characters(thing: Any) -> int:
    """Count the characters of every text inside an object."""
    if isinstance(thing, dict):
        own = len(thing["text"]) if isinstance(thing.get("text"), str) else 0
        return own + sum(characters(value) for value in thing.values())
    return sum(map(characters, thing)) if isinstance(thing, list) else 0


def plain_header(table: Json) -> str | None:
    """Refuse rich text in the first row."""
    header = rows(table)[:1]
    rich = any(cell.get("type") == "rich_text" for row in header for cell in dicts(row))
    return "the header row can't hold rich_text" if rich else None


def row_header(table: Json) -> str | None:
    """Refuse a row_header_column_index that is none of the columns."""
    index, width = table.get("row_header_column_index", 0), max(map(len, rows(table)), default=1)
    fine = isinstance(index, int) and is_number(index) and 0 <= index < max(width, 1)
    return None if fine else "row_header_column_index must be the index of a column"


def column_settings(table: Json) -> str | None:
    """Refuse settings other than null or {align, is_wrapped}."""
    held = table.get("column_settings")
    for setting in held if isinstance(held, list) else []:
        if setting is None:
            continue
        if not isinstance(setting, dict):
            return "column_settings must be objects or null"
        if setting.get("align", "left") not in ["left", "center", "right"]:
            return "must be a valid enum value: align"
        if not isinstance(setting.get("is_wrapped", False), bool):
            return "must be a boolean: is_wrapped"
    return None


def segment(part: Json) -> str | None:
    """Refuse a segment of a pie without a positive value or a short label."""
    if not is_number(part.get("value")) or part["value"] <= 0:
        return "segment value must be more than 0"
    fine = _short(part.get("label"))
    return None if fine else "segment label must be from 1 to 20 characters"


def point(part: Json) -> str | None:
    """Refuse a point of a series without a number or a short label."""
    fine = is_number(part.get("value")) and _short(part.get("label"))
    return None if fine else "a point needs a number and a label from 1 to 20 characters"


def _short(label: Any) -> bool:
    return isinstance(label, str) and 1 <= len(label) <= 20


def series_names(chart: Json) -> str | None:
    """Refuse series whose names are long or not unique."""
    names = [series.get("name") for series in dicts(chart.get("series"))]
    if twice(names) or not all(map(_short, names)):
        return "series names must be unique and from 1 to 20 characters"
    return None


def points(chart: Json) -> list[Json]:
    """Return the points of every series."""
    return [held for series in dicts(chart.get("series")) for held in dicts(series.get("data"))]


def every_point(chart: Json) -> str | None:
    """Refuse a chart with a point that is none."""
    return next(filter(None, map(point, points(chart))), None)


def axes(chart: Json) -> Json:
    """Return the axis_config of a chart."""
    config = chart.get("axis_config")
    return config if isinstance(config, dict) else {}


def categories(chart: Json) -> str | None:
    """Refuse categories that are too many, too long or not unique."""
    names = axes(chart).get("categories")
    if not isinstance(names, list) or not 1 <= len(names) <= 20 or twice(names):
        return "categories must be unique, from 1 to 20"
    return None if all(map(_short, names)) else "category must be from 1 to 20 characters"


def one_point_each(chart: Json) -> str | None:
    """Refuse series that do not have exactly one point for each category."""
    named = axes(chart).get("categories")
    wanted = sorted(map(str, named if isinstance(named, list) else []))
    for series in dicts(chart.get("series")):
        if sorted(str(held.get("label")) for held in dicts(series.get("data"))) != wanted:
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


def picture(block: Json) -> str | None:
    """Refuse the address of a picture whose ending tells that it is no png, jpg, jpeg or gif."""
    try:
        path = urlsplit(text_of(block.get("image_url"))).path
    except ValueError:
        return "invalid image url"
    fine = PurePosixPath(path).suffix.lower() not in OTHER_PICTURES
    return None if fine else "only png, jpg, jpeg and gif images are drawn"


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
    held = [*dicts(block.get("elements")), *dicts(block.get("actions"))]
    held += dicts([block.get("accessory")])
    ids = [element["action_id"] for element in held if "action_id" in element]
    return "action_id already exists" if twice(ids) else None


def lone_pending(block: Json) -> str | None:
    """Refuse a task that is pending outside of a plan."""
    lone = block.get("type") == "task_card" and block.get("status") == "pending"
    return "pending is only for tasks inside a plan" if lone else None


def response_url_place(block: Json) -> str | None:
    """Refuse a menu that asks for response URLs outside of an input block."""
    held = [*dicts(block.get("elements")), *dicts([block.get("accessory")])]
    if any("response_url_enabled" in element for element in held):
        return "response_url_enabled is for menus in input blocks"
    return None


def response_url_menu(block: Json) -> str | None:
    """Refuse response URLs for anything but a menu of one conversation or channel."""
    for element in dicts([block.get("element")]):
        asked = element.get("response_url_enabled")
        if asked and element.get("type") not in ["conversations_select", "channels_select"]:
            return "response_url_enabled is for menus of one conversation"
    return None


def scope(given: Collection[str], needed: str) -> Check:
    """Refuse the object unless the app has this scope."""
    return lambda _thing: None if needed in given else f"the app lacks the scope {needed}"


def domain(key: str, given: Collection[str]) -> Check:
    """Refuse an address whose domain is none of these, nor below one of them."""

    def check(thing: Json) -> str | None:
        try:
            host = urlsplit(text_of(thing.get(key))).hostname or ""
        except ValueError:
            host = ""
        known = any(host == name or host.endswith(f".{name}") for name in given)
        return None if known else "must be on one of the app's unfurl domains"

    return check


def submit(view: Json) -> str | None:
    """Refuse a form without a submit button."""
    if of_type(view, "input") and "submit" not in view:
        return "missing required field: submit, in a view with input blocks"
    return None


def view_size(view: Json) -> str | None:
    """Refuse a view of more than 250 kB."""
    return "view is greater than 250kb" if len(json.dumps(view)) > 250_000 else None


def metadata(payload: Json) -> str | None:
    """Refuse metadata without a name (event_type) and an object (event_payload)."""
    given = payload.get("metadata")
    if given is None:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("event_payload"), dict):
        return "metadata needs event_type and event_payload"
    name = given.get("event_type")
    return None if isinstance(name, str) and name else "metadata needs event_type"


def metadata_size(payload: Json) -> str | None:
    """Refuse metadata of more than METADATA_MOST characters."""
    size = len(json.dumps(payload.get("metadata")))
    return f"metadata of {size} characters is too large" if size > METADATA_MOST else None
