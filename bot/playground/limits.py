"""What Slack refuses in messages, blocks and views: one table, read by every method that posts.

Sources: docs.slack.dev/reference/block-kit (blocks, elements, composition objects),
/reference/views and /reference/methods/chat.postMessage, as of autumn 2026. Slack's live validator
has the last word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bot.playground.checks import (
    Check,
    Json,
    axis_labels,
    categories,
    cells_filled,
    characters,
    choice,
    columns,
    container_flags,
    count,
    dicts,
    exactly_one,
    forbidden,
    holds,
    length,
    metadata,
    needs,
    needs_any,
    not_both,
    number,
    one_point_each,
    pie,
    plain_header,
    series_names,
    slack_file,
    submit,
    text_objects,
    text_of,
    total,
    unique,
    unique_actions,
    view_size,
)

MESSAGE, MODAL, HOME = "message", "modal", "home"
EVERYWHERE = frozenset({MESSAGE, MODAL, HOME})
VIEWS = frozenset({MODAL, HOME})

BLOCKS = frozenset(
    {
        "actions",
        "alert",
        "card",
        "carousel",
        "container",
        "context",
        "context_actions",
        "data_table",
        "data_visualization",
        "divider",
        "file",
        "header",
        "image",
        "input",
        "markdown",
        "plan",
        "rich_text",
        "section",
        "table",
        "task_card",
        "video",
    }
)
SELECTS = frozenset(
    {"static_select", "external_select", "users_select", "conversations_select", "channels_select"}
)
MULTI_SELECTS = frozenset(f"multi_{name}" for name in SELECTS)
PICKERS = frozenset(
    {
        "datepicker",
        "timepicker",
        "datetimepicker",
        "checkboxes",
        "radio_buttons",
    }
)
MODAL_INPUTS = frozenset({"email_text_input", "url_text_input", "number_input", "file_input"})
INPUTS = SELECTS | MULTI_SELECTS | PICKERS | MODAL_INPUTS | {"plain_text_input", "rich_text_input"}
BUTTONS = frozenset({"button", "workflow_button"})
INTERACTIVE = SELECTS | PICKERS | BUTTONS | {"overflow"}
CONTAINER_CHILDREN = frozenset(
    {
        "actions",
        "context",
        "divider",
        "file",
        "header",
        "image",
        "input",
        "rich_text",
        "section",
        "table",
        "video",
    }
)
TAG_COLOURS = frozenset(
    {"gray", "brown", "purple", "indigo", "blue", "green", "yellow", "orange", "red"}
)


@dataclass(frozen=True)
class Limit:
    """One rule: objects of `kind` on these `surfaces` must pass `check`, or Slack says `error`.

    `kind` is an object's `type`, or `message`, `modal`, `home`, `block`, `interactive`, `option`,
    `option_group`, `confirm`. An empty `error` means the method's own word for bad blocks:
    `invalid_blocks` for messages, `invalid_arguments` for views.
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


def _only(*kinds: str) -> frozenset[str]:
    return frozenset(kinds)


def _barred(kind: str, *surfaces: str) -> Limit:
    return Limit(f"{kind}: surface", _only(kind), forbidden, frozenset(surfaces))


_GRAPHS = _only("bar", "line", "area")
_CHOICES = _only("checkboxes", "radio_buttons")
_PICK_ONE = _only("static_select", "multi_static_select")

LIMITS: tuple[Limit, ...] = (
    Limit("message: blocks", _only(MESSAGE), count("blocks", 50)),
    Limit(
        "message: attachments",
        _only(MESSAGE),
        count("attachments", 100),
        error="too_many_attachments",
    ),
    Limit("message: metadata", _only(MESSAGE), metadata, error="invalid_metadata_schema"),
    Limit(
        "message: markdown_text",
        _only(MESSAGE),
        length("markdown_text", 12_000),
        error="msg_too_long",
    ),
    Limit(
        "message: markdown in all",
        _only(MESSAGE),
        total("markdown", 12_000, lambda block: len(text_of(block.get("text")))),
    ),
    Limit("table: characters", _only(MESSAGE, HOME), total("table", 10_000, characters)),
    Limit("data_table: characters", _only(MESSAGE, HOME), total("data_table", 20_000, characters)),
    Limit("message: charts", _only(MESSAGE), total("data_visualization", 2, lambda _block: 1)),
    Limit("view: blocks", VIEWS, count("blocks", 100)),
    Limit("view: size", VIEWS, view_size, error="view_too_large"),
    Limit("view: callback_id", VIEWS, length("callback_id", 255)),
    Limit("view: external_id", VIEWS, length("external_id", 255)),
    Limit("view: private_metadata", VIEWS, length("private_metadata", 3000)),
    Limit("view: blocks given", VIEWS, needs("blocks")),
    Limit("modal: title given", _only(MODAL), needs("title")),
    Limit("modal: words", _only(MODAL), text_objects("title", "submit", "close", plain=True)),
    Limit("modal: title", _only(MODAL), length("title", 24, 1)),
    Limit("modal: submit", _only(MODAL), length("submit", 24, 1)),
    Limit("modal: close", _only(MODAL), length("close", 24, 1)),
    Limit("modal: submit given", _only(MODAL), submit),
    Limit("blocks: known types", EVERYWHERE, holds("blocks", BLOCKS)),
    Limit("blocks: unique block_id", EVERYWHERE, unique("blocks", "block_id")),
    Limit("block: block_id", _only("block"), length("block_id", 255)),
    Limit("block: unique action_id", _only("block"), unique_actions),
    Limit("text object: not empty", _only("plain_text", "mrkdwn"), length("text", 3000, 1)),
    Limit("text object: words given", _only("plain_text", "mrkdwn"), needs("text")),
    _barred("markdown", MODAL, HOME),
    _barred("table", MODAL),
    _barred("data_table", MODAL),
    _barred("data_visualization", MODAL, HOME),
    _barred("alert", MESSAGE, HOME),
    _barred("carousel", MODAL),
    _barred("container", MODAL),
    _barred("context_actions", MODAL, HOME),
    _barred("task_card", MODAL, HOME),
    _barred("plan", MODAL, HOME),
    _barred("file", MODAL, HOME),
    *(_barred(kind, MESSAGE, HOME) for kind in sorted(MODAL_INPUTS)),
    Limit("section: something to say", _only("section"), needs_any("text", "fields")),
    Limit("section: text objects", _only("section"), text_objects("text")),
    Limit("section: text", _only("section"), length("text", 3000, 1)),
    Limit("section: fields", _only("section"), count("fields", 10, 1)),
    Limit(
        "section: length of a field",
        _only("section"),
        lambda block: next(
            filter(None, map(length("text", 2000), dicts(block.get("fields")))), None
        ),
    ),
    Limit(
        "section: accessory",
        _only("section"),
        holds("accessory", INTERACTIVE | MULTI_SELECTS | {"image"}),
    ),
    Limit("header: text given", _only("header"), needs("text")),
    Limit("header: plain text", _only("header"), text_objects("text", plain=True)),
    Limit("header: text", _only("header"), length("text", 150, 1)),
    Limit("header: level", _only("header"), number("level", 1, 4)),
    Limit("context: elements", _only("context"), count("elements", 10, 1)),
    Limit(
        "context: kinds of element",
        _only("context"),
        holds("elements", _only("image", "plain_text", "mrkdwn")),
    ),
    Limit("actions: elements", _only("actions"), count("elements", 25, 1)),
    Limit("actions: elements given", _only("actions"), needs("elements")),
    Limit("actions: kinds of element", _only("actions"), holds("elements", INTERACTIVE)),
    Limit("image: source", _only("image"), exactly_one("image_url", "slack_file")),
    Limit("image: image_url", _only("image"), length("image_url", 3000, 1)),
    Limit("image: slack_file", _only("image"), slack_file),
    Limit("image: alt_text given", _only("image"), needs("alt_text")),
    Limit("image: alt_text", _only("image"), length("alt_text", 2000)),
    Limit("image: title", _only("image"), length("title", 2000)),
    Limit("input: parts", _only("input"), needs("label", "element")),
    Limit("input: label", _only("input"), length("label", 2000, 1)),
    Limit("input: hint", _only("input"), length("hint", 2000)),
    Limit("input: plain text", _only("input"), text_objects("label", "hint", plain=True)),
    Limit("input: kinds of element", _only("input"), holds("element", INPUTS)),
    Limit("rich_text: list indent", _only("rich_text_list"), number("indent", 0, 8)),
    Limit("rich_text: tag colour", _only("tag"), choice("color", TAG_COLOURS)),
    Limit("table: rows", _only("table"), count("rows", 100, 1)),
    Limit("table: columns", _only("table"), columns(20, same=False)),
    Limit("table: column_settings", _only("table"), count("column_settings", 20)),
    Limit("data_table: parts", _only("data_table"), needs("caption", "rows")),
    Limit("data_table: rows", _only("data_table"), count("rows", 201, 2)),
    Limit("data_table: columns", _only("data_table"), columns(20, same=True)),
    Limit("data_table: cells", _only("data_table", "table"), cells_filled),
    Limit("data_table: header", _only("data_table"), plain_header),
    Limit("data_table: page_size", _only("data_table"), number("page_size", 1, 100)),
    Limit("chart: parts", _only("data_visualization"), needs("title", "chart")),
    Limit("chart: title", _only("data_visualization"), length("title", 50, 1)),
    Limit("chart: kind", _only("data_visualization"), holds("chart", _GRAPHS | {"pie"})),
    Limit("chart: segments", _only("pie"), count("segments", 12, 1)),
    Limit("chart: each segment", _only("pie"), pie),
    Limit("chart: series", _GRAPHS, count("series", 12, 1)),
    Limit("chart: series names", _GRAPHS, series_names),
    Limit("chart: categories", _GRAPHS, categories),
    Limit("chart: points", _GRAPHS, one_point_each),
    Limit("chart: axis labels", _GRAPHS, axis_labels),
    Limit("alert: text", _only("alert"), length("text", 200, 1)),
    Limit("alert: text object", _only("alert"), text_objects("text")),
    Limit(
        "alert: level",
        _only("alert"),
        choice("level", ("default", "info", "warning", "error", "success")),
    ),
    Limit(
        "card: something in it", _only("card"), needs_any("hero_image", "title", "actions", "body")
    ),
    Limit(
        "card: text objects", _only("card"), text_objects("title", "subtitle", "body", "subtext")
    ),
    Limit("card: title", _only("card"), length("title", 150)),
    Limit("card: subtitle", _only("card"), length("subtitle", 150)),
    Limit("card: body", _only("card"), length("body", 200)),
    Limit("card: subtext", _only("card"), length("subtext", 200)),
    Limit("card: actions", _only("card"), count("actions", 3)),
    Limit("card: kinds of action", _only("card"), holds("actions", BUTTONS)),
    Limit("card: one icon", _only("card"), not_both("icon", "slack_icon")),
    Limit("carousel: cards", _only("carousel"), count("elements", 10, 1)),
    Limit("container: children", _only("container"), count("child_blocks", 10, 1)),
    Limit("container: children given", _only("container"), needs("child_blocks")),
    Limit(
        "container: kinds of child", _only("container"), holds("child_blocks", CONTAINER_CHILDREN)
    ),
    Limit("container: heading", _only("container"), exactly_one("title", "rich_text_title")),
    Limit("container: plain title", _only("container"), text_objects("title", plain=True)),
    Limit("container: title", _only("container"), length("title", 150, 1)),
    Limit("container: subtitle", _only("container"), length("subtitle", 150)),
    Limit(
        "container: width",
        _only("container"),
        choice("width", ("narrow", "standard", "wide", "full")),
    ),
    Limit("container: folding", _only("container"), container_flags),
    Limit("context_actions: elements", _only("context_actions"), count("elements", 5, 1)),
    Limit("plan: tasks", _only("plan"), count("tasks", 50)),
    Limit("element: action_id", _only("interactive"), length("action_id", 255, 1)),
    Limit("element: placeholder", _only("interactive"), length("placeholder", 150)),
    Limit("button: text given", _only("button"), needs("text")),
    Limit("button: plain text", _only("button"), text_objects("text", plain=True)),
    Limit("button: text", _only("button"), length("text", 75, 1)),
    Limit("button: value", _only("button"), length("value", 2000)),
    Limit("button: url", _only("button"), length("url", 3000)),
    Limit("button: style", _only("button"), choice("style", ("primary", "danger"))),
    Limit("button: accessibility_label", _only("button"), length("accessibility_label", 75)),
    Limit("button: agent_prompt", _only("button"), length("agent_prompt", 4000)),
    Limit("overflow: options", _only("overflow"), count("options", 5, 1)),
    Limit("checkboxes: options", _CHOICES, count("options", 10, 1)),
    Limit("select: options", _PICK_ONE, count("options", 100, 1)),
    Limit("select: option_groups", _PICK_ONE, count("option_groups", 100, 1)),
    Limit("select: options given", _PICK_ONE, exactly_one("options", "option_groups")),
    Limit("option_group: options", _only("option_group"), count("options", 100, 1)),
    Limit("option_group: label", _only("option_group"), length("label", 75)),
    Limit("option: parts", _only("option"), needs("text", "value")),
    Limit("option: text", _only("option"), length("text", 75, 1)),
    Limit("option: value", _only("option"), length("value", 150, 1)),
    Limit("confirm: title", _only("confirm"), length("title", 100)),
    Limit("confirm: text", _only("confirm"), length("text", 300)),
    Limit("confirm: confirm", _only("confirm"), length("confirm", 30)),
    Limit("confirm: deny", _only("confirm"), length("deny", 30)),
    Limit("plain_text_input: max_length", _only("plain_text_input"), number("max_length", 1, 3000)),
    Limit("plain_text_input: min_length", _only("plain_text_input"), number("min_length", 0, 3000)),
)


def faults(surface: str, payload: Json) -> list[Fault]:
    """Return every limit that a message (its arguments) or a view passes, in reading order."""
    own = "invalid_blocks" if surface == MESSAGE else "invalid_arguments"
    root = "" if surface == MESSAGE else "/view"
    found = []
    for kinds, thing, pointer in _parts(surface, payload, root):
        for limit in LIMITS:
            if surface in limit.surfaces and limit.kinds & kinds:
                complaint = limit.check(thing)
                if complaint:
                    found.append(Fault(limit.name, limit.error or own, complaint, pointer))
    return found


def _parts(surface: str, payload: Json, root: str) -> Iterator[tuple[set[str], Json, str]]:
    """Yield each object that a limit may speak of: what it is, itself, and where it is."""
    yield {surface}, payload, root
    for key, value in payload.items():
        if key == "blocks" and isinstance(value, list):
            for place, block in enumerate(value):
                if isinstance(block, dict):
                    yield from _inside(block, {"block"}, f"{root}/blocks/{place}")


def _inside(thing: Json, kinds: set[str], pointer: str) -> Iterator[tuple[set[str], Json, str]]:
    own = thing.get("type")
    if isinstance(own, str):
        kinds = kinds | {own}
        if own in INPUTS | INTERACTIVE:
            kinds.add("interactive")
    yield kinds, thing, pointer
    for key, value in thing.items():
        yield from _below(value, _ROLES.get(key, set()), f"{pointer}/{key}")


def _below(value: Any, role: set[str], pointer: str) -> Iterator[tuple[set[str], Json, str]]:
    if isinstance(value, dict):
        yield from _inside(value, role, pointer)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _below(item, role, f"{pointer}/{place}")


_ROLES: dict[str, set[str]] = {
    "options": {"option"},
    "option_groups": {"option_group"},
    "confirm": {"confirm"},
    "child_blocks": {"block"},
}
