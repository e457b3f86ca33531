"""Faults that a test injects between the app and Slack: refusals, broken answers, lost connections.

    workspace.faults.add("chat.postMessage", http_answer(504, "<html>", after=True), times=2)
    workspace.faults.add("response_url", rate_limit("soon"))

A fault's target is a Web API method, `response_url`, `upload` (the bytes of a file) or `socket`
(the opening of a websocket). Requests take a target's faults in the order they were added; after
the last one, everything works again.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

from bot.playground.rates import too_many_requests
from bot.playground.tickets import GONE

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(eq=False)
class HeldRequest:
    """A request that waits for `release`; `reached` is set once it has come in."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let the request go on."""
        self._released.set()

    async def wait(self) -> None:
        """Report the request and wait for `release`."""
        self.reached.set()
        await self._released.wait()


@dataclass(frozen=True)
class InjectedFault:
    """How one request goes wrong; with `after`, it has its effect first.

    An `error` is answered the way Slack answers refusals, a `status` with this `body`; without
    either, Slack's own answer is sent, after `delay` seconds. The connection may be `dropped`
    before the answer or `cut` in the middle of its body.
    """

    after: bool = False
    error: str = ""
    status: int = 0
    body: str = ""
    content_type: str = "text/html"
    retry_after: str | None = None
    delay: float = 0.0
    connection: Literal["open", "dropped", "cut"] = "open"
    hold: HeldRequest | None = None

    @property
    def prevents_effect(self) -> bool:
        """Whether the request never reaches its handler."""
        replaced = bool(self.error or self.status) or self.connection == "dropped"
        return replaced and not self.after

    def answer(self, target: str) -> web.Response | None:
        """Return the answer that replaces Slack's own, if the fault has one."""
        if self.error:
            status = 200
            if target == "response_url":
                status = 404 if self.error in GONE else 400
            return web.json_response({"ok": False, "error": self.error}, status=status)
        if self.status == web.HTTPTooManyRequests.status_code:
            return too_many_requests(self.retry_after)
        if self.status:
            return web.Response(status=self.status, text=self.body, content_type=self.content_type)
        return None


def refusal(error: str, *, after: bool = False) -> InjectedFault:
    """Refuse with a Slack error, e.g. `is_archived`; `after` suits `fatal_error`."""
    return InjectedFault(error=error, after=after)


def http_answer(
    status: int, body: str = "", *, content_type: str = "text/html", after: bool = False
) -> InjectedFault:
    """Answer with any status and body: an error page, an empty body, half a JSON object."""
    return InjectedFault(status=status, body=body, content_type=content_type, after=after)


def rate_limit(retry_after: float | str | None = 1) -> InjectedFault:
    """Answer 429 with this Retry-After: seconds, a date, garbage, or None for no header."""
    seconds = None if retry_after is None else str(retry_after)
    return InjectedFault(status=web.HTTPTooManyRequests.status_code, retry_after=seconds)


def dropped_connection(*, after: bool = False) -> InjectedFault:
    """Close the connection without an answer."""
    return InjectedFault(connection="dropped", after=after)


def cut_answer() -> InjectedFault:
    """Have the effect, then close the connection in the middle of the answer's body."""
    return InjectedFault(connection="cut", after=True)


def delay(seconds: float, *, after: bool = False) -> InjectedFault:
    """Answer late; with `after`, the effect comes at once."""
    return InjectedFault(delay=seconds, after=after)


class Faults:
    """A queue of faults for each target."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[InjectedFault]] = defaultdict(deque)

    def add(self, target: str, fault: InjectedFault, *, times: int = 1) -> None:
        """Let the next `times` requests go wrong, after those that faults were added for before."""
        self._queues[target].extend([fault] * times)

    def hold(self, target: str, *, after: bool = True) -> HeldRequest:
        """Hold the next request until the test releases it."""
        held = HeldRequest()
        self.add(target, InjectedFault(hold=held, after=after))
        return held

    def take(self, target: str) -> InjectedFault | None:
        """Return the fault of the request that has just come in, if there is one."""
        queue = self._queues[target]
        return queue.popleft() if queue else None


async def inject(
    fault: InjectedFault, target: str, request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Handle a request the way its fault says."""
    answer = await handler(request) if fault.after else None
    if fault.hold is not None:
        await fault.hold.wait()
    await asyncio.sleep(fault.delay)
    if fault.connection == "dropped":
        _close(request)
        return web.Response()
    answer = fault.answer(target) or answer or await handler(request)
    if fault.connection == "cut" and isinstance(answer, web.Response):
        return await _cut(request, answer)
    return answer


async def _cut(request: web.Request, answer: web.Response) -> web.StreamResponse:
    """Announce the whole body, send half of it, and close the connection."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    half = web.StreamResponse(status=answer.status, headers=answer.headers)
    half.content_length = len(body)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
