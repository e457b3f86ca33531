"""What a test can ask to go wrong between the app and Slack."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from bot.playground.tickets import SlackError


@dataclass
class Fault:
    """How the next `times` calls of a method go wrong; a held call goes on when let go."""

    times: int = 1
    error: str | None = None
    retry_after: int | None = None
    drop: bool = False
    gate: asyncio.Event | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)


class Faults:
    """A queue of faults for each Web API method (or `response_url`)."""

    def __init__(self) -> None:
        self._faults: dict[str, list[Fault]] = {}

    def rate_limit(self, method: str, *, retry_after: int = 1, times: int = 1) -> None:
        """Answer the next `times` calls with 429 and Retry-After (seconds)."""
        self._queue(method, Fault(times, retry_after=retry_after))

    def fail(self, method: str, error: str, *, times: int = 1) -> None:
        """Answer the next `times` calls with a Slack error."""
        self._queue(method, Fault(times, error=error))

    def drop(self, method: str, *, times: int = 1) -> None:
        """Carry out the next `times` calls, then drop the connection without an answer."""
        self._queue(method, Fault(times, drop=True))

    def hold(self, method: str) -> Fault:
        """Hold the answer to the next call until the test sets the fault's `gate`.

        `reached` is set when the call has come in and has been carried out.
        """
        return self._queue(method, Fault(gate=asyncio.Event()))

    def take_fault(self, method: str) -> Fault | None:
        """Take what is to go wrong with this call, if anything."""
        queue = self._faults.get(method)
        if not queue:
            return None
        fault = queue[0]
        fault.times -= 1
        if fault.times <= 0:
            queue.pop(0)
        return fault

    def _queue(self, method: str, fault: Fault) -> Fault:
        self._faults.setdefault(method, []).append(fault)
        return fault


def refuse(fault: Fault | None) -> None:
    """Raise the SlackError that a test asked for, if it did."""
    if fault is not None and fault.error is not None:
        raise SlackError(fault.error)


async def let_go(fault: Fault | None, request: web.Request) -> None:
    """Before answering a call that was carried out: wait at the gate, or drop the connection."""
    if fault is None:
        return
    fault.reached.set()
    if fault.gate is not None:
        await fault.gate.wait()
    if fault.drop and request.transport is not None:
        request.transport.abort()


def rate_limited(fault: Fault | None) -> web.Response | None:
    """Return the 429 that a test asked for, if it did."""
    if fault is None or fault.retry_after is None:
        return None
    fault.reached.set()
    return come_back(fault.retry_after)


def come_back(retry_after: int) -> web.Response:
    """Return a 429 that says in how many seconds to come again."""
    headers = {"Retry-After": str(retry_after)}
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
