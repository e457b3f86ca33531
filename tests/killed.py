"""The bot's command line in a process of its own, killed by SIGKILL at a point of its work.

    KILL_AT="bot.store.digests:DigestStore.claim after 1" python -m tests.killed digest

The point is a coroutine function, `before` or `after` it runs, and which call of it. The claim's
lease is short, so that the next process needn't wait two minutes; `PAUSE_AT` stops the process
there (SIGSTOP) instead of killing it, and `TERM_AT` lets it end in order (SIGTERM). With `look`
instead of a command, the bot does once what its clock has it do, and ends with 0 if nothing is left
to do.

`begin` forks the process from one that has imported the bot already: importing it takes longer
than what most of the tests then let it do.
"""

import asyncio
import functools
import importlib
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from typing import Any

from sqlalchemy import select

import bot.digest
import bot.slack.notices
import bot.store.digests
import bot.store.placeholders
import bot.store.rechecks
from bot.__main__ import entry
from bot.app.composition import make_notices, running_bot
from bot.app.outside import clock
from bot.config import read_settings
from bot.store.notices import NoticeStore
from bot.store.tables import digests, notes
from bot.store.upgrade import open_database

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["tests.killed", "tests.processes"])

#: Longer than a process takes from its claim to its post.
LEASE = timedelta(seconds=1)


def interrupt(point: str, number: int) -> None:
    """Send this process a signal at the point."""
    place, when, nth = point.split()
    module, _, path = place.partition(":")
    holder, name = importlib.import_module(module), path
    while "." in name:
        attribute, _, name = name.partition(".")
        holder = getattr(holder, attribute)
    original: Callable[..., Awaitable[Any]] = getattr(holder, name)
    calls = itertools.count(1)

    @functools.wraps(original)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        is_the_one = next(calls) == int(nth)
        if is_the_one and when == "before":
            os.kill(os.getpid(), number)
        result = await original(*arguments, **named)
        if is_the_one and when == "after":
            os.kill(os.getpid(), number)
        return result

    setattr(holder, name, wrapped)


async def look() -> int:
    """Post the digests that are due and what changed, edit what is no longer true."""
    settings, mine = read_settings(os.environ), asyncio.current_task()
    assert mine is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, mine.cancel)
    async with (
        open_database(settings.database_url) as database,
        running_bot(settings, database) as running,
    ):
        running.scheduler.jobs.pause()
        boards = running.slack._boards
        notices = make_notices(
            settings, running.api, database, running.web, running.records, boards=boards, now=clock
        )
        assert notices is not None
        await running.digests.tick(ready=True)
        await notices.tick()
        await boards.catch_up()
        await running.watches.tick()
        for _ in range(2):
            await asyncio.sleep(bot.store.placeholders.LEASE_SECONDS)
            await running.slack.views.tidy()
        watched = await running.watches.running()
        claimed = await NoticeStore(database).unposted(clock() + LEASE * 2, LEASE)
        undrawn = await bot.store.digests.DigestStore(database).undrawn(clock())
        async with database.read() as connection:  # claimed by a process that is gone
            leased = select(digests.c.day).where(digests.c.finished_at.is_(None))
            begun = await connection.scalar(leased.limit(1))
            busy = select(notes.c.key).where(notes.c.key.startswith("placeholder "))
            begun = begun or await connection.scalar(busy.limit(1))
        left = claimed or undrawn or begun or watched
        return 3 if left or running.digests.last_error else 0


def main(command: Sequence[str]) -> None:
    """Run one command of the bot with the leases of a test, up to the point of the environment."""
    bot.digest.LEASE = bot.slack.notices.LEASE = bot.store.rechecks.LEASE = LEASE
    bot.store.digests.MINUTE = 0
    bot.store.placeholders.LEASE_SECONDS = 0.05
    if kill_at := os.environ.get("KILL_AT"):
        interrupt(kill_at, signal.SIGKILL)
    if pause_at := os.environ.get("PAUSE_AT"):
        interrupt(pause_at, signal.SIGSTOP)
    if term_at := os.environ.get("TERM_AT"):
        interrupt(term_at, signal.SIGTERM)
    if command == ["look"]:
        sys.exit(asyncio.run(look()))
    sys.argv[1:] = command
    entry()


def begin(environ: Mapping[str, str], *command: str) -> ForkServerProcess:
    """Start `python -m tests.killed COMMAND…` with this environment and no output."""
    running = forks.Process(target=_forked, args=(dict(environ), list(command)), daemon=True)
    running.start()
    return running


def _forked(environ: dict[str, str], command: list[str]) -> None:
    os.environ.clear()
    os.environ.update(environ)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    main(command)


async def ended(running: ForkServerProcess) -> int:
    """The exit code, or the number of the signal as a negative one, within a minute."""
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(running.sentinel, gone.set)
    try:
        async with asyncio.timeout(60):
            await gone.wait()
    finally:
        loop.remove_reader(running.sentinel)
        running.kill()
        running.join()
    assert running.exitcode is not None
    return running.exitcode


if __name__ == "__main__":
    main(sys.argv[1:])
