"""Blocks, messages and views in few words, for tables of cases."""

from typing import Any

Json = dict[str, Any]
Cases = dict[str, tuple[Json, ...]]
"""For each limit's name: something that just keeps it, then everything that just breaks it."""

DIVIDER: Json = {"type": "divider"}


def plain(size: int = 1) -> Json:
    return {"type": "plain_text", "text": "x" * size}


def mrkdwn(size: int = 1) -> Json:
    return {"type": "mrkdwn", "text": "x" * size}


def section(**rest: Any) -> Json:
    return {"type": "section", "text": mrkdwn(), **rest}


def header(text: Json) -> Json:
    return {"type": "header", "text": text}


def context(*elements: Json) -> Json:
    return {"type": "context", "elements": list(elements)}


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


def field(element: Json | None = None, **rest: Any) -> Json:
    return {"type": "input", "label": plain(), "element": element or TEXT_INPUT, **rest}


def cell(size: int = 1) -> Json:
    return {"type": "raw_text", "text": "x" * size}


def table(rows: int = 2, columns: int = 1, size: int = 1, **rest: Any) -> Json:
    cells = [[cell(size)] * columns for _ in range(rows)]
    return {"type": "data_table", "caption": "c", "rows": cells, **rest}


def table_of(*rows: Any) -> Json:
    return {"type": "data_table", "caption": "c", "rows": list(rows)}


def pie(*segments: tuple[int, float]) -> Json:
    parts = [{"label": "l" * size, "value": value} for size, value in segments]
    return {"type": "pie", "segments": parts}


def bar(names: list[str], labels: list[str], value: Any = -1, **axes: Any) -> Json:
    data = [{"label": label, "value": value} for label in labels]
    return {
        "type": "bar",
        "series": [{"name": name, "data": data} for name in names],
        "axis_config": {"categories": labels, **axes},
    }


def chart(kind: Json | None = None, title: int = 1) -> Json:
    return {"type": "data_visualization", "title": "t" * title, "chart": kind or pie((1, 1))}


def confirm(**rest: Any) -> Json:
    parts = {"title": plain(), "text": plain(), "confirm": plain(), "deny": plain()}
    return actions(button(confirm={**parts, **rest}))


def modal(*blocks: Json, **rest: Any) -> Json:
    content = list(blocks or (DIVIDER,))
    return {"type": "modal", "title": plain(), "submit": plain(), "blocks": content, **rest}


def home(*blocks: Json) -> Json:
    return {"type": "home", "blocks": list(blocks)}


def without(thing: Json, key: str) -> Json:
    return {name: value for name, value in thing.items() if name != key}


def message(*blocks: Json, **rest: Any) -> Json:
    return {"text": "x", "blocks": list(blocks), **rest}


def metadata(**rest: Any) -> Json:
    return message(metadata={"event_type": "e", **rest})


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


TEXT_INPUT = {"type": "plain_text_input", "action_id": "i"}
CHECKBOXES = {"type": "checkboxes", "action_id": "c"}
OVERFLOW = {"type": "overflow", "action_id": "o"}
NUMBER = {"type": "raw_number", "value": 7, "text": "7"}
