"""How soon a press on a row's Rescan shows in the row, if Slack takes 150 ms for each call.

`python -m tests.bench.press`: under 300 ms for somebody who asked within the last ten minutes, and
under 450 ms for somebody whom the bot must look up first. The floor is the one chat.update that it
takes at least.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bot.playground.faults import delay
from bot.playground.objects import BEN, CERTS
from bot.playground.web_api.methods import METHODS
from tests.world import World, empty_database, new_world, words

ROUNDS = 7
SLACK_SECONDS = 0.15
KNOWN_SECONDS, NEW_SECONDS = 0.3, 0.45
#: More than any round's calls of one method.
MANY = 10_000


async def measured(
    rounds: int = ROUNDS, slack_seconds: float = SLACK_SECONDS
) -> tuple[list[float], list[float]]:
    """The seconds from press to row, by somebody who asked lately, and by somebody who did not."""
    with tempfile.TemporaryDirectory() as name:
        empty = await empty_database(Path(name))
        async with new_world(Path(name), empty, DIGEST_CHANNEL=CERTS) as world:
            world.api.add("gone.demo.test", valid=False)
            for method in METHODS:
                world.slack.faults.add(method, delay(slack_seconds), times=MANY)
            known, new = [], []
            for _ in range(rounds):
                new.append(await _press(world, minutes=11))
                known.append(await _press(world, minutes=1))
            return known, new


async def _press(world: World, *, minutes: float) -> float:
    """Let time pass, post a digest, and press its row; the scan begins when the row says so."""
    world.later(minutes=minutes)
    assert world.bot.digest is not None
    await world.bot.digest.post_now(again=True)
    shown = world.seen(by=BEN)[-1]
    held = world.api.hold("monitor/scan")
    begun = time.perf_counter()
    press = asyncio.create_task(world.press("Rescan", on=shown, by=BEN))
    await world.until(lambda: "⏳ *Scanning…* · `gone.demo.test` · Ben" in words(shown))
    seconds = time.perf_counter() - begun
    held.release()
    await press
    await world.until(lambda: "no change · Ben" in words(shown))
    await world.settled()
    return seconds


def main() -> int:
    """Print the figures; 1 where a median misses its bar."""
    known, new = map(statistics.median, asyncio.run(measured()))
    print(f"from press to row, medians of {ROUNDS}, Slack takes {1000 * SLACK_SECONDS:.0f} ms:")
    print(f"  asked lately  {1000 * known:.0f} ms  (bar {1000 * KNOWN_SECONDS:.0f} ms)")
    print(f"  new           {1000 * new:.0f} ms  (bar {1000 * NEW_SECONDS:.0f} ms)")
    return int(known > KNOWN_SECONDS or new > NEW_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
