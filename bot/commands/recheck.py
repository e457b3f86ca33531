"""The commands of Scan & watch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Self

from bot.api.models import MonitorSummary
from bot.blocks import Block, Message
from bot.cards import lists as list_cards
from bot.cards import recheck as recheck_cards
from bot.cards import replies
from bot.cards.batch import of_row
from bot.commands.arguments import host_and_text
from bot.commands.lookup import One, find, router, rows_of, several
from bot.commands.router import Call
from bot.dates import parse_length
from bot.errors import BotError, NotFound, NotMonitored
from bot.recheck import MOST
from bot.target import Target

if TYPE_CHECKING:
    from bot.store.rechecks import Watch

LEAST, LONGEST = timedelta(minutes=1), timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Length:
    """How long a watch runs."""

    time: timedelta

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `for=30m` or `2h`. Raises ValueError with a sentence for the user."""
        time = parse_length(text)
        if not LEAST <= time <= LONGEST:
            raise ValueError(f"“{text}” is out of range: 1m to 4h. Try for=30m.")
        return cls(time)


USUAL = Length(timedelta(minutes=30))


def _choose(_: Sequence[MonitorSummary]) -> tuple[str, Sequence[Block]]:
    return "Nothing was watched: choose one of these", ()


@router.command("watch", example="watch example.com for=30m", rewrite=host_and_text)
async def watch(call: Call, which: One, length: Annotated[Length, "[for=30m]"] = USUAL) -> Message:
    """Rescan until the host is fixed, then notify you.

    It runs for 30 minutes, or for 1m to 4h with for=. Stop it with the button on its card.
    """
    monitor_id, target = which.id, which.target
    if monitor_id is None or target is None:
        try:
            rows = await find(call, which)
        except NotMonitored as fault:
            return replies.not_monitored(fault, watch=True)
        if answer := several(call, which, rows, _choose):
            return answer
        monitor_id, target = rows[0].id, rows[0].target
    return await _watch(call, monitor_id, target, length)


@router.command("add_and_watch", typed=False, changes=True)
async def add_and_watch(call: Call, target: Target) -> Message:
    """Add a monitor, then scan until the host is fixed."""
    row = (await rows_of(call, [target])).get(target)
    if row is not None:
        card = await _watch(call, row.id, target, USUAL)
        return replace(card, changed=())
    monitor = await call.api.add(target)
    announcement = replies.added_line(await call.who(), [target.short])
    try:
        card = await _watch(call, monitor.id, target, USUAL)
    except BotError as fault:  # the monitor was added nonetheless
        card = replies.watch_failed(fault, target)
    return replace(card, announce=announcement, changed=((str(target), "added"),))


@router.command("watch_certificate", typed=False)
async def watch_certificate(call: Call, *ids: Annotated[int, "ID…"]) -> Message:
    """Watch the worst monitor of a shared row; once it is renewed, scan the others."""
    rows = of_row(ids, {row.id: row for row in await call.listed()})
    if not rows:
        raise NotFound(404, "monitor not found")
    row, *others = list_cards.ranked(rows, call.now(), call.rules)
    card = await _watch(call, row.id, row.target, USUAL)
    if not others:
        return card
    # the list's row keeps standing for all of them
    blocks = (*card.blocks, recheck_cards.also(len(others)))
    return replace(card, blocks=blocks, row=None, more=None)


async def _watch(call: Call, monitor_id: int, target: Target, length: Length) -> Message:
    made, is_new = await call.watches.reserve(monitor_id, target, call.asker, length.time)
    if made is None:
        running = await call.watches.running()
        return recheck_cards.too_many(MOST, [watch_row(each) for each in running])
    if not is_new:
        return recheck_cards.already(target, made.ends_at, watch_row(made))
    address, card = await call.watches.begin(made, call.post)
    direct = address.channel.startswith("D")
    return card if address.here else recheck_cards.elsewhere(target, direct=direct)


def watch_row(each: Watch) -> dict[str, object]:
    """A running watch as a row with [Stop]."""
    return recheck_cards.watch_row(each.id, each.target, each.ends_at, each.scans)


@router.command("stop", typed=False)
async def stop(call: Call, number: int) -> Message:
    """Stop a watch."""
    return await call.watches.stop(number, await call.who())
