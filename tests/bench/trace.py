"""Which files of the bot run for one warm `/ssl status`, from Slack's request to the answer.

`python -m tests.bench.trace` asks once to warm the caches, then once more while `sys.setprofile`
notes every function that runs until nothing is left to do for it. It prints the files of `bot/`
(without the embedded API and the playground, which only stand in for servers elsewhere) with their
functions, by transport. What the bot does by the clock is paused.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

import bot
from tests.world import empty_database, new_world, words

MOST_FILES = 14
HOST = "api.example.com"
ROOT = Path(bot.__file__).parent
STAND_INS = (ROOT / "embedded", ROOT / "playground")

Trace = dict[str, set[str]]


def note(trace: Trace, frame: FrameType) -> None:
    """Add a function that starts, if it is the bot's own."""
    path = Path(frame.f_code.co_filename)
    if path.is_relative_to(ROOT) and not any(path.is_relative_to(each) for each in STAND_INS):
        trace[str(path.relative_to(ROOT))].add(frame.f_code.co_name)


async def traced(mode: str) -> Trace:
    """The functions that ran, by file. `mode` is the transport: `http` or `socket`."""
    trace: Trace = defaultdict(set)

    def profile(frame: FrameType, event: str, _arg: Any) -> None:
        if event == "call":
            note(trace, frame)

    with tempfile.TemporaryDirectory() as name:
        empty = await empty_database(Path(name))
        async with new_world(Path(name), empty, mode=mode) as world:
            world.api.add(HOST)
            await world.say(f"/ssl status {HOST}")
            await world.settled()
            answers = len(world.seen())
            assert answers
            world.bot.scheduler.jobs.pause()
            sys.setprofile(profile)
            try:
                await world.say(f"/ssl status {HOST}")
                await world.until(lambda: len(world.seen()) > answers)
                await world.settled()
            finally:
                sys.setprofile(None)
            assert HOST in words(world.seen()[-1])
    return trace


def main() -> int:
    """Print the files; 1 where there are more than MOST_FILES of them."""
    most = 0
    for mode in ("socket", "http"):
        trace = asyncio.run(traced(mode))
        most = max(most, len(trace))
        print(f"{mode}: {len(trace)} files (at most {MOST_FILES})")
        for path, functions in sorted(trace.items()):
            print(f"  {path}: {', '.join(sorted(functions))}")
    return int(most > MOST_FILES)


if __name__ == "__main__":
    sys.exit(main())
