"""Blocks, messages and views in few words, for tables of cases."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
Cases = dict[str, tuple[Json, ...]]
"""For each limit's name: what just passes it, then everything that just does not."""

DIVIDER: Json = {"type": "divider"}


def plain(size: int = 1) -> Json:
    return {"type": "plain_text", "text": "x" * size}


def mrkdwn(size: int = 1) -> Json:
    return {"type": "mrkdwn", "text": "x" * size}


def section(**rest: Any) -> Json:
    return {"type": "section", "text": mrkdwn(), **rest}


def actions(*elements: Json) -> Json:
    return {"type": "actions", "elements": list(elements)}


def button(**rest: Any) -> Json:
    return {"type": "button", "text": plain(), **rest}


def buttons(count: int) -> list[Json]:
    return [button(action_id=f"a{n}") for n in range(count)]


def option(text: int = 1, value: int = 1) -> Json:
    return {"text": plain(text), "value": "v" * value}


def options(count: int) -> list[Json]:
    return [{"text": plain(), "value": f"v{n}"} for n in range(count)]


def select(**rest: Any) -> Json:
    return {"type": "static_select", "action_id": "s", **rest}


def image(**rest: Any) -> Json:
    return {"type": "image", "image_url": "https://x", "alt_text": "x", **rest}


def field(element: Json | None = None, **rest: Any) -> Json:
    element = element or {"type": "plain_text_input", "action_id": "i"}
    return {"type": "input", "label": plain(), "element": element, **rest}


def cell(size: int = 1) -> Json:
    return {"type": "raw_text", "text": "x" * size}


def table(rows: int = 1, columns: int = 1, size: int = 1, **rest: Any) -> Json:
    return {"type": "table", "rows": [[cell(size)] * columns for _ in range(rows)], **rest}


def data_table(rows: int = 2, columns: int = 1, size: int = 1, **rest: Any) -> Json:
    return table(rows, columns, size, **{"type": "data_table", "caption": "c", **rest})


def pie(*segments: tuple[int, float]) -> Json:
    held = [{"label": "l" * size, "value": value} for size, value in segments]
    return {"type": "pie", "segments": held}


def bar(names: list[str], labels: list[str], value: Any = -1, **axes: Any) -> Json:
    data = [{"label": label, "value": value} for label in labels]
    return {
        "type": "bar",
        "series": [{"name": name, "data": data} for name in names],
        "axis_config": {"categories": labels, **axes},
    }


def chart(kind: Json | None = None, title: int = 1) -> Json:
    drawn = kind or pie((1, 1))
    return {"type": "data_visualization", "title": "t" * title, "chart": drawn}


def card(**rest: Any) -> Json:
    return {"type": "card", "title": mrkdwn(), **rest}


def carousel(count: int) -> Json:
    return {"type": "carousel", "elements": [card() for _ in range(count)]}


def container(*children: Json, **rest: Any) -> Json:
    return {"type": "container", "title": plain(), "child_blocks": list(children), **rest}


def confirm(**rest: Any) -> Json:
    parts = {"title": plain(), "text": plain(), "confirm": plain(), "deny": plain()}
    return actions(button(confirm={**parts, **rest}))


def modal(*blocks: Json, **rest: Any) -> Json:
    held = list(blocks or (DIVIDER,))
    return {"type": "modal", "title": plain(), "submit": plain(), "blocks": held, **rest}


def home(*blocks: Json) -> Json:
    return {"type": "home", "blocks": list(blocks)}


def without(thing: Json, key: str) -> Json:
    return {name: value for name, value in thing.items() if name != key}


def message(*blocks: Json, **rest: Any) -> Json:
    return {"text": "x", "blocks": list(blocks), **rest}


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


def indent(depth: int) -> Json:
    held = {"type": "rich_text_list", "style": "bullet", "indent": depth, "elements": []}
    return {"type": "rich_text", "elements": [held]}


def rich(*parts: Json, kind: str = "rich_text_section") -> Json:
    return {"type": "rich_text", "elements": [{"type": kind, "elements": list(parts)}]}


def tag(colour: str) -> Json:
    return rich({**PILL, "color": colour})


def rows(*held: list[Any], kind: str = "table") -> Json:
    return {"type": kind, "caption": "c", "rows": list(held)}


def alert(**rest: Any) -> Json:
    return {"type": "alert", "text": mrkdwn(), **rest}


def context_actions(*elements: Json) -> Json:
    return {"type": "context_actions", "elements": list(elements)}


def plan(*tasks: Json, **rest: Any) -> Json:
    return {"type": "plan", "title": "p", "tasks": list(tasks), **rest}


def metadata(**rest: Any) -> Json:
    return message(metadata={"event_type": "e", **rest})


RICH = {"type": "rich_text", "elements": []}
NUMBER = {"type": "number_input", "is_decimal_allowed": False, "action_id": "n"}
EMAIL = {"type": "email_text_input", "action_id": "e"}
URL = {"type": "url_text_input", "action_id": "u"}
FILE = {"type": "file_input", "action_id": "f"}
TEXT_INPUT = {"type": "plain_text_input", "action_id": "i"}
CHECKBOXES = {"type": "checkboxes", "action_id": "c"}
OVERFLOW = {"type": "overflow", "action_id": "o"}
ANSWERING = {
    "type": "conversations_select",
    "action_id": "c",
    "response_url_enabled": True,
}
PILL = {"type": "tag", "text": "x"}
DATE = {"type": "date", "timestamp": 1, "format": "{date_short}"}
KEY = {"type": "icon", "name": "key"}
NUMERIC = {"type": "raw_number", "value": 7, "text": "7"}
ACTION = {"type": "action_cell", "element": button(action_id="a")}
ICON = {"type": "icon_button", "icon": "trash", "text": plain()}
THUMBS = {
    "type": "feedback_buttons",
    "positive_button": {"text": plain(), "value": "1"},
    "negative_button": {"text": plain(), "value": "0"},
}
TASK = {"type": "task_card", "task_id": "t", "title": "t"}
