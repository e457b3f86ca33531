"""What all commands share: the router, and how the monitors that are meant are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from bot import cards, list_cards
from bot.blocks import Message, code
from bot.errors import NotFound
from bot.models import Monitor, MonitorSummary, by_target
from bot.router import Call, Router
from bot.target import Target
from bot.words import Selector

router = Router()

Which = Annotated[Selector, "HOST[:PORT]|ID|PATTERN"]
#: Above this many, the whole list is one question instead of many.
ASKED_ONE_BY_ONE = 3
One = Annotated[Selector, "ID|HOST[:PORT]"]
#: Above this many, the whole list is one question instead of many.
ASKED_ONE_BY_ONE = 3


async def find(call: Call, which: Selector) -> list[MonitorSummary]:
    """The monitors that are meant; an id that is unknown raises NotFound."""
    if which.id is None:
        rows = await call.api.list(host=which.host, port=which.port)
        return [row for row in rows if which.matches(row)]
    target = which.target or (await call.api.get(which.id)).target
    rows = await call.api.list(host=target.host, port=target.port)
    found = [row for row in rows if row.id == which.id]
    if not found:
        raise NotFound(404, "monitor not found")
    return found


def several(call: Call, which: Selector, rows: Sequence[MonitorSummary]) -> Message | None:
    """The answer where not exactly one monitor is meant: offer to watch it, or list them."""
    if len(rows) == 1:
        return None
    if rows:
        return list_cards.monitors(rows, call.now(), call.rules, title=f"Monitors for {which}")
    if which.is_pattern:
        return list_cards.none_found(code(which.host))
    return cards.not_watched(which.target or Target(which.host))


async def rows_of(call: Call, targets: Sequence[Target]) -> dict[Target, MonitorSummary]:
    """The monitors of these hosts and ports, where there are any."""
    if len(targets) > ASKED_ONE_BY_ONE:
        rows = await call.api.list()
    else:
        rows = [
            row
            for target in targets
            for row in by_target(await call.api.list(host=target.host, port=target.port), target)
        ]
    wanted = set(targets)
    return {row.target: row for row in rows if row.target in wanted}


async def row_of(call: Call, found: Monitor) -> MonitorSummary:
    """The list's row of a monitor: only there the API says its verdict."""
    rows = await call.api.list(host=found.target.host, port=found.target.port)
    for row in rows:
        if row.id == found.id:
            return row
    raise NotFound(404, "monitor not found")
