"""Buttons, menus and fields inside blocks: finding them, and what they hold, as Slack tells it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from bot.playground.limits.kinds import BUTTONS, INPUTS, INTERACTIVE
from bot.playground.objects import Json

_TYPED = frozenset({"plain_text_input", "email_text_input", "url_text_input", "number_input"})
_HELD = {
    "radio_buttons": ("selected_option", "initial_option"),
    "static_select": ("selected_option", "initial_option"),
    "external_select": ("selected_option", "initial_option"),
    "users_select": ("selected_user", "initial_user"),
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "channels_select": ("selected_channel", "initial_channel"),
    "checkboxes": ("selected_options", "initial_options"),
    "multi_static_select": ("selected_options", "initial_options"),
    "multi_external_select": ("selected_options", "initial_options"),
    "multi_users_select": ("selected_users", "initial_users"),
    "multi_conversations_select": ("selected_conversations", "initial_conversations"),
    "multi_channels_select": ("selected_channels", "initial_channels"),
    "datepicker": ("selected_date", "initial_date"),
    "timepicker": ("selected_time", "initial_time"),
    "datetimepicker": ("selected_date_time", "initial_date_time"),
    "rich_text_input": ("rich_text_value", "initial_value"),
    "file_input": ("files", "initial_files"),
    "overflow": ("selected_option", "initial_option"),
    **dict.fromkeys(_TYPED, ("value", "initial_value")),
}
"""For each kind: the key of what it holds in a state, and of what the app put there."""

_MANY = frozenset(kind for kind, (held, _) in _HELD.items() if held.endswith("s"))

REQUIRED = "Please complete this required field."


def elements(blocks: Iterable[Json]) -> Iterator[tuple[Json, Json]]:
    """Yield every interactive element with the block it is in, however deep.

    A container's children count as blocks; one without an id of its own goes by the container's.
    """
    for block in blocks:
        children = block.get("child_blocks")
        if isinstance(children, list):
            outer = {"block_id": block.get("block_id")}
            yield from elements(outer | child for child in children)
        else:
            yield from ((block, found) for found in _inside(block))


def _inside(thing: Any) -> Iterator[Json]:
    if isinstance(thing, list):
        for item in thing:
            yield from _inside(item)
    elif isinstance(thing, dict):
        if thing.get("type") in INPUTS | INTERACTIVE and "action_id" in thing:
            yield thing
            return
        for value in thing.values():
            yield from _inside(value)


def entry(element: Json, given: Any = None) -> Json:
    """Return what an element holds, in the words of `state.values`; null where it is empty.

    `given` is what a person put there: text, an option's value, an id, a list of them, or an entry
    of `state.values` itself. Raises ValueError for an option that is not offered.
    """
    kind = element["type"]
    held, initial = _HELD[kind]
    if isinstance(given, dict) and held in given:
        given = given[held]
    if given is None:
        given = element.get(initial)
    elif held.startswith("selected_option") and given != "":
        wanted = given if isinstance(given, list) else [given]
        picked = [_option(element, item) for item in wanted]
        given = picked if kind in _MANY else picked[0]
    if kind in _MANY and not given:
        given = []
    if kind == "datetimepicker" and given:
        given = int(given)
    return {"type": kind, held: given if given != "" else None}


def _option(element: Json, wanted: Any) -> Json:
    value = wanted.get("value") if isinstance(wanted, dict) else wanted
    grouped = (option for group in element.get("option_groups", []) for option in group["options"])
    offered: list[Json] = [*element.get("options", []), *grouped]
    found = next((option for option in offered if option["value"] == value), None)
    if found is None and "external" in element["type"] and isinstance(wanted, dict):
        return wanted
    if found is None:
        offers = [option["value"] for option in offered]
        raise ValueError(f"there is no option {value!r}, only {offers}")
    return found


def state(blocks: Iterable[Json], given: Json | None = None) -> Json:
    """Return `state.values` of a surface: {block_id: {action_id: entry}}.

    `given` holds what was put in: {block_id: value} or {block_id: {action_id: value}}.
    """
    values: Json = {}
    known = set()
    for block, element in elements(blocks):
        known.add(block["block_id"])
        if element["type"] in BUTTONS | {"overflow"}:
            continue
        raw = (given or {}).get(block["block_id"])
        if isinstance(raw, dict) and element["action_id"] in raw:
            raw = raw[element["action_id"]]
        values.setdefault(block["block_id"], {})[element["action_id"]] = entry(element, raw)
    unknown = set(given or {}) - known
    if unknown:
        raise ValueError(f"there is no field {sorted(unknown)}, only {sorted(known)}")
    return values


def complaints(blocks: Iterable[Json], values: Json) -> dict[str, str]:
    """Return what Slack's own client says of a form before it sends it: {block_id: text}."""
    found = {}
    for block in blocks:
        if block["type"] == "input":
            element = block["element"]
            held = values[block["block_id"]][element["action_id"]][_HELD[element["type"]][0]]
            wrong = _complaint(element, held, optional=bool(block.get("optional")))
            if wrong:
                found[block["block_id"]] = wrong
    return found


def _complaint(element: Json, held: Any, *, optional: bool) -> str | None:
    if not held:
        return None if optional else REQUIRED
    return _TESTS[element["type"]](element, held) if element["type"] in _TESTS else None


def _plain(element: Json, held: str) -> str | None:
    least, most = element.get("min_length", 0), element.get("max_length", 3000)
    if len(held) < least:
        return f"Please enter at least {least} characters."
    return f"Please enter at most {most} characters." if len(held) > most else None


def _number(element: Json, held: str) -> str | None:
    decimal = r"(\.\d+)?" if element.get("is_decimal_allowed") else ""
    if not re.fullmatch(rf"-?\d+{decimal}", str(held)):
        return "Please enter a valid number."
    least, most = (float(element.get(key, held)) for key in ("min_value", "max_value"))
    fine = least <= float(held) <= most
    return None if fine else "Please enter a number in the range that is asked for."


def _email(_element: Json, held: str) -> str | None:
    fine = re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", held)
    return None if fine else "Please enter a valid email address."


def _url(_element: Json, held: str) -> str | None:
    return None if re.match(r"https?://\S+$", held) else "Please enter a valid URL."


_TESTS = {
    "plain_text_input": _plain,
    "number_input": _number,
    "email_text_input": _email,
    "url_text_input": _url,
}
