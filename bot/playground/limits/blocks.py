"""The limits of the classic blocks and their elements.

Source: the pages below docs.slack.dev/reference/block-kit, as of autumn 2026.
"""

from bot.playground.limits.checks import (
    Json,
    count,
    each,
    enum,
    has_duplicates,
    length,
    number,
    objects,
    required,
    required_any,
    text_objects,
    types,
)
from bot.playground.limits.limit import INPUTS, INTERACTIVE, Limit, only


def unique_actions(block: Json) -> str | None:
    """Require a block's elements to have different action_ids."""
    elements = [*objects(block.get("elements")), *objects([block.get("accessory")])]
    ids = [element["action_id"] for element in elements if "action_id" in element]
    return "action_id already exists" if has_duplicates(ids) else None


_TEXT = only("plain_text", "mrkdwn")
_BLOCK, _ELEMENT = only("block"), only("interactive")
_SECTION, _HEADER, _CONTEXT = only("section"), only("header"), only("context")
_ACTIONS, _INPUT = only("actions"), only("input")
_BUTTON, _OVERFLOW, _BOXES = only("button"), only("overflow"), only("checkboxes")
_SELECT, _OPTION, _CONFIRM = only("static_select"), only("option"), only("confirm")
_TEXT_INPUT = only("plain_text_input")

_BLOCKS = (
    Limit("block: block_id", _BLOCK, length("block_id", 255)),
    Limit("block: unique action_id", _BLOCK, unique_actions),
    Limit("section: parts", _SECTION, required_any("text", "fields")),
    Limit("section: text object", _SECTION, text_objects("text")),
    Limit("section: text", _SECTION, length("text", 3000, 1)),
    Limit("section: fields", _SECTION, count("fields", 10, 1)),
    Limit("section: types of fields", _SECTION, types("fields", _TEXT)),
    Limit("section: length of a field", _SECTION, each("fields", length("text", 2000))),
    Limit("section: accessory", _SECTION, types("accessory", INTERACTIVE)),
    Limit("header: parts", _HEADER, required("text")),
    Limit("header: plain text", _HEADER, text_objects("text", plain=True)),
    Limit("header: text", _HEADER, length("text", 150, 1)),
    Limit("context: parts", _CONTEXT, required("elements")),
    Limit("context: elements", _CONTEXT, count("elements", 10, 1)),
    Limit("context: types of elements", _CONTEXT, types("elements", _TEXT)),
    Limit("actions: parts", _ACTIONS, required("elements")),
    Limit("actions: elements", _ACTIONS, count("elements", 25, 1)),
    Limit("actions: types of elements", _ACTIONS, types("elements", INTERACTIVE)),
    Limit("input: parts", _INPUT, required("label", "element")),
    Limit("input: label", _INPUT, length("label", 2000, 1)),
    Limit("input: hint", _INPUT, length("hint", 2000)),
    Limit("input: plain text", _INPUT, text_objects("label", "hint", plain=True)),
    Limit("input: type of element", _INPUT, types("element", INPUTS)),
)

_ELEMENTS = (
    Limit("text object: parts", _TEXT, required("text")),
    Limit("text object: text", _TEXT, length("text", 3000, 1)),
    Limit("element: action_id", _ELEMENT, length("action_id", 255, 1)),
    Limit("element: placeholder", _ELEMENT, length("placeholder", 150)),
    Limit("button: parts", _BUTTON, required("text")),
    Limit("button: plain text", _BUTTON, text_objects("text", plain=True)),
    Limit("button: text", _BUTTON, length("text", 75, 1)),
    Limit("button: value", _BUTTON, length("value", 2000)),
    Limit("button: url", _BUTTON, length("url", 3000)),
    Limit("button: style", _BUTTON, enum("style", ("primary", "danger"))),
    Limit("button: accessibility_label", _BUTTON, length("accessibility_label", 75)),
    Limit("overflow: parts", _OVERFLOW, required("options")),
    Limit("overflow: options", _OVERFLOW, count("options", 5, 1)),
    Limit("checkboxes: parts", _BOXES, required("options")),
    Limit("checkboxes: options", _BOXES, count("options", 10, 1)),
    Limit("select: parts", _SELECT, required("options")),
    Limit("select: options", _SELECT, count("options", 100, 1)),
    Limit("option: parts", _OPTION, required("text", "value")),
    Limit("option: text", _OPTION, length("text", 75, 1)),
    Limit("option: value", _OPTION, length("value", 150, 1)),
    Limit("confirm: title", _CONFIRM, length("title", 100)),
    Limit("confirm: text", _CONFIRM, length("text", 300)),
    Limit("confirm: confirm", _CONFIRM, length("confirm", 30)),
    Limit("confirm: deny", _CONFIRM, length("deny", 30)),
    Limit("plain_text_input: max_length", _TEXT_INPUT, number("max_length", 1, 3000)),
    Limit("plain_text_input: min_length", _TEXT_INPUT, number("min_length", 0, 3000)),
)

BLOCK_LIMITS: tuple[Limit, ...] = (*_BLOCKS, *_ELEMENTS)
