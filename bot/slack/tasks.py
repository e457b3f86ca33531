"""The work that goes on after an ack, or by the clock; and which requests came before."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

log = logging.getLogger(__name__)

FAREWELL_SECONDS = 2.0
REMEMBERED_REQUESTS = 2000


class Tasks:
    """The work that goes on after an ack, or by the clock; nothing that it does can raise."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it, and keep it until it is done."""
        task = asyncio.create_task(self._guarded(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run it, and wait for its end, whatever that is: what a scheduler calls."""
        await asyncio.wait({self.start(work())})

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("Work in the background failed")

    async def drain(self, seconds: float) -> None:
        """Let the work end by itself for so long, then stop what is left; it tells its askers."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=FAREWELL_SECONDS)


class Once:
    """Which requests came before: Slack sends some again, and attackers may."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def is_new(self, body: Mapping[str, Any]) -> bool:
        """Whether this request comes for the first time."""
        key = str(body.get("trigger_id") or body.get("event_id") or uuid.uuid4())
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED_REQUESTS:
            self._seen.popitem(last=False)
        return True
