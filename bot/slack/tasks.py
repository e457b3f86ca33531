"""Work that goes on after an ack: tracked, drained at the end, and announced if it is slow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bot.blocks import Message
from bot.cards import replies
from bot.errors import BotError
from bot.slack.requests import Origin, Request

log = logging.getLogger(__name__)

#: How long work that is cancelled at the end may take to say so.
CANCEL_SECONDS = 2.0
#: After so long, the asker is told what the bot is waiting for: in a place that can be edited, and
#: in one that can't.
SLOW_SECONDS, SLOW_PRIVATE_SECONDS = 1.0, 3.0


class Tasks:
    """The work that goes on after an ack or by the clock. Nothing that it raises gets out."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it in a task that is kept until it is done."""
        task = asyncio.create_task(self._guarded(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run it and wait until it ends, one way or another: what a scheduler calls."""
        await asyncio.wait({self.start(work())})

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BotError as fault:
            log.warning("Background work failed: %s", fault)
        except Exception:
            log.exception("Background work failed")

    async def drain(self, seconds: float) -> None:
        """Wait for the work for so long, then cancel the rest, which tells its askers."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=CANCEL_SECONDS)


@asynccontextmanager
async def slow_notice(
    request: Request, show: Callable[[Message], Awaitable[None]], progress: Sequence[str]
) -> AsyncIterator[None]:
    """Tell the asker what the bot is waiting for, unless the body is done or has told them.

    A reply that can't be edited later is worth it only after some seconds, and in words that stay
    true.
    """
    editable = request.origin in {Origin.MENTION, Origin.CARD_BUTTON, Origin.MODAL}
    begun = asyncio.Event()

    async def tell() -> None:
        await asyncio.sleep(SLOW_SECONDS if editable else SLOW_PRIVATE_SECONDS)
        if len(progress) == 1:  # nothing was shown yet
            begun.set()
            await show(replies.slow(follows=not editable))

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        if not begun.is_set():
            telling.cancel()
        await asyncio.wait([telling])  # what has begun must be there before it is edited
