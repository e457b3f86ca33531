"""What all commands share: the router, and how the monitors that are meant are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from bot import cards
from bot.blocks import Message, code
from bot.errors import NotFound
from bot.models import Monitor, MonitorSummary, by_target
from bot.router import Call, Router
from bot.target import Target
from bot.words import Selector

router = Router()

Which = Annotated[Selector, "HOST[:PORT]|ID|PATTERN"]
One = Annotated[Selector, "ID|HOST[:PORT]"]


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
        return cards.monitors(rows, call.now(), title=f"Monitors for {which}")
    if which.is_pattern:
        return cards.none_found(code(which.host))
    return cards.not_watched(which.target or Target(which.host))


async def watched_already(call: Call, target: Target) -> MonitorSummary | None:
    """The monitor of exactly this host and port, if there is one."""
    rows = await call.api.list(host=target.host, port=target.port)
    return next(iter(by_target(rows, target)), None)


async def row_of(call: Call, found: Monitor) -> MonitorSummary:
    """The list's row of a monitor: only there the API says its verdict."""
    rows = await call.api.list(host=found.target.host, port=found.target.port)
    for row in rows:
        if row.id == found.id:
            return row
    raise NotFound(404, "monitor not found")
