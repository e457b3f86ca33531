"""Interactive elements inside blocks: finding them, what they hold, and what a press sends."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bot.playground.limits.checks import text_of
from bot.playground.limits.limit import INPUTS, INTERACTIVE
from bot.playground.objects import Json

_KEYS = {
    "static_select": ("selected_option", "initial_option"),
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "checkboxes": ("selected_options", "initial_options"),
    "datepicker": ("selected_date", "initial_date"),
    "timepicker": ("selected_time", "initial_time"),
    "plain_text_input": ("value", "initial_value"),
    "overflow": ("selected_option", "initial_option"),
}
"""For each type: the key of its value in `state.values`, and of the value the app gave it."""

_WITHOUT_STATE = frozenset({"button", "overflow"})

REQUIRED = "Please complete this required field."


def elements(blocks: Iterable[Json]) -> Iterator[tuple[Json, Json]]:
    """Yield every interactive element, with its block."""
    for block in blocks:
        for element in [*block.get("elements", ()), block.get("accessory"), block.get("element")]:
            if element and element["type"] in INPUTS | INTERACTIVE and "action_id" in element:
                yield block, element


@dataclass(frozen=True)
class Choice:
    """A press: `option` or `value` is what someone chose, `values` what the other inputs hold.

    `value` also distinguishes buttons with the same action_id.
    """

    action_id: str
    block_id: str | None = None
    option: str | None = None
    value: Any = None
    values: Json = field(default_factory=dict)

    @property
    def input(self) -> Any:
        """What was chosen or typed, if anything."""
        return self.option if self.option is not None else self.value

    def find(self, blocks: Iterable[Json]) -> tuple[Json, Json]:
        """Return the one block and element it is about; ValueError names those that exist."""
        pairs = list(elements(blocks))
        matches = [(block, element) for block, element in pairs if self._matches(block, element)]
        if len(matches) == 1:
            return matches[0]
        names = ", ".join(_name(block, element) for block, element in pairs) or "nothing"
        what = "more than one" if matches else "no"
        raise ValueError(f"there is {what} {self.action_id!r} here; there is: {names}")

    def action(self, block: Json, element: Json, action_ts: str) -> Json:
        """Return the entry of `actions` that this sends."""
        action: Json = {
            "action_id": element["action_id"],
            "block_id": block["block_id"],
            "type": element["type"],
            "action_ts": action_ts,
        }
        if element["type"] == "button":
            copied = ("text", "value", "style", "url")
            return action | {key: element[key] for key in copied if key in element}
        if self.input is None and element["type"] == "overflow":
            raise ValueError("an overflow menu needs the chosen option")
        return action | value_of(element, self.input)

    def fields(self, block: Json, element: Json) -> Json:
        """Return what the inputs of the message or view hold, including the new choice."""
        if self.input is None or element["type"] in _WITHOUT_STATE:
            return self.values
        values = self.values.get(block["block_id"])
        others = values if isinstance(values, dict) else {}
        return self.values | {block["block_id"]: {**others, element["action_id"]: self.input}}

    def _matches(self, block: Json, element: Json) -> bool:
        if element["action_id"] != self.action_id or self.block_id not in {None, block["block_id"]}:
            return False
        other_button = element["type"] == "button" and element.get("value") != self.value
        return self.value is None or not other_button


def _name(block: Json, element: Json) -> str:
    label = text_of(element.get("text")) or element["type"]
    return f"{element['action_id']} ({label}, in {block['block_id']})"


def value_of(element: Json, value: Any = None) -> Json:
    """Return an element's entry in `state.values`; null if it is empty.

    `value` is what someone put there: text, an option's value, an id, a list of them, or an entry
    of `state.values` itself. Raises ValueError for an option that doesn't exist.
    """
    kind = element["type"]
    key, initial = _KEYS[kind]
    if isinstance(value, dict) and key in value:
        value = value[key]
    if value is None:
        value = element.get(initial)
    elif kind == "checkboxes":
        items = value if isinstance(value, list) else [value]
        value = [_option(element, item) for item in items if item != ""]
    elif key == "selected_option" and value != "":
        value = _option(element, value)
    return {"type": kind, key: value or ([] if kind == "checkboxes" else None)}


def _option(element: Json, choice: Any) -> Json:
    value = choice.get("value") if isinstance(choice, dict) else choice
    options: list[Json] = element["options"]
    option = next((option for option in options if option["value"] == value), None)
    if option is None:
        raise ValueError(f"there is no option {value!r}, only {[o['value'] for o in options]}")
    return option


def state(blocks: Iterable[Json], values: Json | None = None) -> Json:
    """Return `state.values` for blocks whose inputs hold `values`, with initial values elsewhere.

    `values` is {block_id: value}, or {block_id: {action_id: value}}. Raises ValueError for a
    block_id or an option that doesn't exist.
    """
    result: Json = {}
    block_ids = set()
    for block, element in elements(blocks):
        block_ids.add(block["block_id"])
        if element["type"] in _WITHOUT_STATE:
            continue
        value = (values or {}).get(block["block_id"])
        if isinstance(value, dict) and element["action_id"] in value:
            value = value[element["action_id"]]
        result.setdefault(block["block_id"], {})[element["action_id"]] = value_of(element, value)
    unknown = set(values or {}) - block_ids
    if unknown:
        raise ValueError(f"there is no field {sorted(unknown)}, only {sorted(block_ids)}")
    return result


def form_errors(blocks: Iterable[Json], values: Json) -> dict[str, str]:
    """Return what Slack's client finds wrong in a form before sending it: {block_id: text}."""
    errors = {}
    for block in blocks:
        if block["type"] == "input":
            element = block["element"]
            value = values[block["block_id"]][element["action_id"]][_KEYS[element["type"]][0]]
            error = _error(element, value, optional=bool(block.get("optional")))
            if error:
                errors[block["block_id"]] = error
    return errors


def _error(element: Json, value: Any, *, optional: bool) -> str | None:
    if not value:
        return None if optional else REQUIRED
    if element["type"] != "plain_text_input":
        return None
    least, most = element.get("min_length", 0), element.get("max_length", 3000)
    if len(value) < least:
        return f"Please enter at least {least} characters."
    return f"Please enter at most {most} characters." if len(value) > most else None
