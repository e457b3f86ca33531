"""The bot's command line, killed by SIGKILL at a point of the digest.

    KILL_AT="bot.store.digests:DigestStore.claim after 1" python -m tests.killed digest

The point is a coroutine function, `before` or `after` it runs, and which call of it. The claim's
lease is short, so that the next process needn't wait two minutes; `PAUSE_AT` stops the process
there (SIGSTOP) instead of killing it.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import bot.digest
from bot.__main__ import entry

#: Shorter than a process takes to start, longer than one takes from its claim to its post.
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


if __name__ == "__main__":
    bot.digest.LEASE = LEASE
    if kill_at := os.environ.get("KILL_AT"):
        interrupt(kill_at, signal.SIGKILL)
    if pause_at := os.environ.get("PAUSE_AT"):
        interrupt(pause_at, signal.SIGSTOP)
    entry()
