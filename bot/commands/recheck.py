"""The commands of Scan & watch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Self

from bot.blocks import Message
from bot.cards import recheck as recheck_cards
from bot.commands.lookup import One, find, router, several
from bot.commands.router import Call
from bot.dates import parse_duration
from bot.recheck import MOST

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
        time = parse_duration(text.lower().removeprefix("for="))
        if not LEAST <= time <= LONGEST:
            raise ValueError(f"“{text}” is out of range: 1m to 4h. Try for=30m.")
        return cls(time)


USUAL = Length(timedelta(minutes=30))


@router.command("watch")
async def watch(call: Call, which: One, length: Annotated[Length, "[for=30m]"] = USUAL) -> Message:
    """Scan now and every minute until it is fixed, and tell you."""
    monitor_id, target = which.id, which.target
    if monitor_id is None or target is None:
        rows = await find(call, which)
        if answer := several(call, which, rows):
            return answer
        monitor_id, target = rows[0].id, rows[0].target
    running = await call.watches.running()
    for each in running:
        if (each.monitor_id, each.asker) == (monitor_id, call.asker):
            return recheck_cards.already(target, each.ends_at, watch_row(each))
    made = await call.watches.reserve(monitor_id, target, call.asker, length.time)
    if made is None:
        return recheck_cards.too_many(MOST, [watch_row(each) for each in running])
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
