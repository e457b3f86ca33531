"""How soon Home is published after it was opened, with an API that takes 100 ms for each answer.

`python -m tests.bench.home` opens Home several times; the first time the bot has to ask Slack who
opened it, too.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bot.playground.objects import ANN
from tests.stub_api import Fault
from tests.world import World, empty_database, new_world

MONITORS, ROUNDS = 10_000, 5
API_SECONDS, HOME_SECONDS = 0.1, 1.0


async def opened(world: World, answer_seconds: float) -> float:
    """The seconds from opening Home to its being published."""
    before = _shown(world)
    slow = [
        asyncio.create_task(_let_go(world.api.hold(path), answer_seconds))
        for path in ("monitor/list", "account")
    ]
    begun = time.perf_counter()
    await world.playground.open_home(ANN)
    await world.until(lambda: _shown(world) != before or None, within=30)
    took = time.perf_counter() - begun
    await asyncio.gather(*slow)
    await world.settled()
    return took


def _shown(world: World) -> str:
    view = world.slack.home(ANN)
    return view.hash if view else ""


async def _let_go(held: Fault, seconds: float) -> None:
    await held.reached.wait()
    asyncio.get_running_loop().call_later(seconds, held.release)


async def measured(
    monitors: int = MONITORS, rounds: int = ROUNDS, answer_seconds: float = API_SECONDS
) -> tuple[list[float], list[str]]:
    """The seconds of each opening, and the endpoints that the last one asked."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with new_world(directory, await empty_database(directory)) as world:
            for number in range(monitors):
                world.api.add(f"h{number}.example.com", days=number % 90 - 2)
            times = []
            for _ in range(rounds):
                world.api.calls.clear()
                times.append(await opened(world, answer_seconds))
            return times, world.api.work


def main() -> int:
    """Print the figures; 1 where the bar is missed."""
    times, asked = asyncio.run(measured())
    middle = statistics.median(times)
    print(f"Home of {MONITORS:,} monitors, an API that takes {1000 * API_SECONDS:.0f} ms:")
    print(f"  published after {1000 * middle:.0f} ms, slowest {1000 * max(times):.0f} ms (bar 1 s)")
    print(f"  API calls       {', '.join(asked)}")
    return int(max(times) > HOME_SECONDS or len(asked) > 2)


if __name__ == "__main__":
    sys.exit(main())
