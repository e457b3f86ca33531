"""What a person presses or picks, found among the blocks that they see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bot.playground.elements import elements, entry
from bot.playground.limits.checks import text_of
from bot.playground.limits.kinds import BUTTONS
from bot.playground.objects import Json


@dataclass(frozen=True)
class Choice:
    """A press: `option` or `value` say what was picked, `values` what other inputs hold.

    A `value` also tells apart buttons with the same action_id.
    """

    action_id: str
    block_id: str | None = None
    option: str | None = None
    value: Any = None
    values: Json = field(default_factory=dict)

    @property
    def given(self) -> Any:
        """What was picked or typed, if anything."""
        return self.option if self.option is not None else self.value

    def find(self, blocks: Iterable[Json]) -> tuple[Json, Json]:
        """Return the one block and element that is meant; ValueError says what there is instead."""
        held = list(elements(blocks))
        found = [(block, element) for block, element in held if self._means(block, element)]
        if len(found) == 1:
            return found[0]
        seen = ", ".join(_described(block, element) for block, element in held) or "nothing"
        what = "several of" if found else "no"
        raise ValueError(f"there is {what} {self.action_id!r} here; to be seen: {seen}")

    def action(self, block: Json, element: Json, action_ts: str) -> Json:
        """Return the entry of `actions` that this sends."""
        sent: Json = {
            "action_id": element["action_id"],
            "block_id": block["block_id"],
            "type": element["type"],
            "action_ts": action_ts,
        }
        if element["type"] in BUTTONS:
            shown = ("text", "value", "style", "url")
            return sent | {key: element[key] for key in shown if key in element}
        if self.given is None and element["type"] == "overflow":
            raise ValueError("an overflow menu needs the option that is chosen")
        placed = {key: element[key] for key in ("placeholder",) if key in element}
        return sent | placed | entry(element, self.given)

    def fields(self, block: Json, element: Json) -> Json:
        """Return what the surface's inputs hold, the one just set included."""
        if self.given is None or element["type"] in BUTTONS | {"overflow"}:
            return self.values
        held = self.values.get(block["block_id"])
        others = held if isinstance(held, dict) else {}
        return self.values | {block["block_id"]: {**others, element["action_id"]: self.given}}

    def _means(self, block: Json, element: Json) -> bool:
        if element["action_id"] != self.action_id or self.block_id not in {None, block["block_id"]}:
            return False
        return (
            self.value is None
            or element["type"] not in BUTTONS
            or element.get("value") == self.value
        )


def _described(block: Json, element: Json) -> str:
    shown = text_of(element.get("text")) or element["type"]
    return f"{element['action_id']} ({shown}, in {block['block_id']})"
