"""How long the event loop is held at most, while the whole demo works hard in one process.

`python -m tests.bench.loop` runs each scene five times and prints the best of the longest gaps,
with the line of code that was at work in it. A heartbeat that wants to run each millisecond
measures; a thread looks at what runs while it is late.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType

from sqlalchemy import insert

from bot.app.outside import clock
from bot.demo import Demo, first_digest, running_demo
from bot.playground.objects import ANN, BOT_USER, CERTS, PostedMessage
from bot.store.database import Database
from bot.store.tables import monitors

ROUNDS, MONITORS, DUE, COMMANDS = 5, 10_000, 500, 20
BEAT, LATE, HELD_SECONDS = 0.001, 0.02, 0.05
OURS = str(Path(__file__).parents[2])


@dataclass
class Heartbeat:
    """Beats in the loop; knows its longest gap, and what ran while it was late."""

    longest: float = 0.0
    culprits: Counter[str] = field(default_factory=Counter)
    _last: float = field(default_factory=time.perf_counter)

    async def beat(self) -> None:
        """Beat until it is cancelled."""
        while True:
            self._last = time.perf_counter()
            await asyncio.sleep(BEAT)
            self.longest = max(self.longest, time.perf_counter() - self._last - BEAT)

    def watch(self, loop_thread: int, over: threading.Event) -> None:
        """Note what the loop's thread does while the heartbeat is late."""
        while not over.wait(BEAT):
            if time.perf_counter() - self._last > LATE:
                self.culprits[_at(sys._current_frames()[loop_thread])] += 1

    @property
    def culprit(self) -> str:
        """What was seen most while it was late."""
        return next((where for where, _ in self.culprits.most_common(1)), "")


def _at(frame: FrameType) -> str:
    """The innermost line of ours in a stack, and what it was calling."""
    stack = traceback.extract_stack(frame)
    ours = next((f for f in reversed(stack) if f.filename.startswith(f"{OURS}/bot")), stack[-1])
    inner = "" if ours is stack[-1] else f" > {Path(stack[-1].filename).name}:{stack[-1].name}"
    return f"{Path(ours.filename).name}:{ours.lineno} {ours.name}{inner}"


@asynccontextmanager
async def heartbeat() -> AsyncIterator[Heartbeat]:
    """A heartbeat for as long as this lasts."""
    heart, over = Heartbeat(), threading.Event()
    watcher = threading.Thread(target=heart.watch, args=(threading.get_ident(), over))
    watcher.start()
    task = asyncio.create_task(heart.beat())
    try:
        await asyncio.sleep(0)
        yield heart
        await asyncio.sleep(BEAT)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        over.set()
        watcher.join()


async def watch_many(demo: Demo) -> None:
    """Fill the database: most are fine, some are due soon."""
    now = clock()
    rows = [
        {
            "host": f"host-{number}.example.com",
            "port": 443,
            "created_at": now,
            "next_scan_at": now + timedelta(days=1),
            "scanned_at": now,
            "verdict": "valid",
            "message": "Valid",
            "host_match": True,
            "not_before": now - timedelta(days=10),
            "not_after": now + timedelta(days=15 if number < DUE else 60, minutes=number),
            "issuer": "Example CA",
            "http_code": 200,
        }
        for number in range(MONITORS)
    ]
    database = Database(demo.settings.database_url)
    async with database.write() as connection:
        await connection.execute(insert(monitors), rows)
    await database.close()


async def say(demo: Demo, *lines: str) -> None:
    """Type these lines at once, and wait until each has its answer."""
    before = {message.ts for message in answers(demo)}
    await asyncio.gather(*(demo.playground.say(ANN, CERTS, line) for line in lines))
    await settled(demo)
    new = [message for message in answers(demo) if message.ts not in before]
    assert len(new) >= len(lines), f"{len(new)} answers to {len(lines)} lines"
    assert not [message.text for message in new if "does not answer" in message.text.lower()]


def answers(demo: Demo) -> list[PostedMessage]:
    """What the bot has said so far."""
    messages = demo.playground.workspace.messages(CERTS, ANN)
    return [message for message in messages if message.user == BOT_USER]


async def settled(demo: Demo) -> None:
    """Wait until the bot has nothing left to do."""
    while running := set(demo.bot.slack.tasks._running):
        await asyncio.wait(running)


async def post_digest(demo: Demo) -> None:
    """Post the day's digest once more."""
    assert demo.bot.digest is not None
    await demo.bot.digest.post_now(again=True)


SCENES: dict[str, Callable[[Demo], Awaitable[None]]] = {
    "idle": lambda _: asyncio.sleep(0.3),
    f"list of {MONITORS:,}": lambda demo: say(demo, "/ssl list"),
    f"digest of {DUE}": post_digest,
    f"{COMMANDS} commands at once": lambda demo: say(
        demo, *["/ssl status shop.demo.test", "/ssl account"] * (COMMANDS // 2)
    ),
    f"{COMMANDS} scans at once": lambda demo: say(
        demo, *(f"/ssl scan {1 + number % 5}" for number in range(COMMANDS))
    ),
}


async def measure(rounds: int = ROUNDS) -> dict[str, list[Heartbeat]]:
    """Each scene's heartbeats, one a round."""
    found: dict[str, list[Heartbeat]] = {name: [] for name in SCENES}
    async with running_demo() as demo:
        await first_digest(demo)
        await watch_many(demo)
        for _ in range(rounds):
            for name, scene in SCENES.items():
                async with heartbeat() as heart:
                    await scene(demo)
                found[name].append(heart)
    return found


def main() -> int:
    """Print the figures; 1 where one of them misses its bar."""
    missed = 0
    for name, hearts in asyncio.run(measure()).items():
        best = min(hearts, key=lambda heart: heart.longest)
        held = best.longest > HELD_SECONDS
        missed += held
        print(f"{name:<24} held for {1000 * best.longest:5.1f} ms at most", end="")
        print(f" by {best.culprit}" if best.culprit else "")
    print(f"(best of {ROUNDS}; bar {1000 * HELD_SECONDS:.0f} ms)")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
