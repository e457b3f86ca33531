"""What every program needs: logging, signals, threads, and garbage collection."""

import asyncio
import ctypes
import gc
import json
import logging
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Literal

import stamina

#: A repeated fault is logged once in this period.
REPEAT_SECONDS = 60.0
MOST_REMEMBERED = 1000
TRIM_SECONDS = 60.0
_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


class JSONLines(logging.Formatter):
    """A record as one line of JSON: `time` (RFC 3339, UTC), `level`, `logger`, `message`, `error`.

    `error` is the traceback, where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line break."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields)  # in ASCII, as standard error may have any encoding


def set_up_logging(level: int, style: Literal["text", "json"] = "text") -> None:
    """Log to standard error; libraries that log whole payloads, only from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(OncePerMinute())
    handler.setFormatter(
        JSONLines()
        if style == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=level, handlers=[handler])
    stamina.instrumentation.set_on_retry_hooks([])  # the last attempt's error is raised anyway
    for name in (
        *("slack_bolt", "slack_sdk", "apscheduler"),
        *("aiosqlite", "sqlalchemy", "alembic", "asyncio"),
    ):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


class OncePerMinute(logging.Filter):
    """Drops a warning or error that was logged less than a minute ago, but counts it.

    The next one that passes says how often it was repeated.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._last: dict[tuple[str, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        if record.levelno < logging.WARNING:
            return True
        key, now = (record.name, record.getMessage(), _raised_at(record)), self._monotonic()
        logged_at, repeated = self._last.get(key, (float("-inf"), 0))
        if now - logged_at < REPEAT_SECONDS:
            self._last[key] = (logged_at, repeated + 1)
            return False
        if repeated:
            record.msg, record.args = f"{record.getMessage()} (repeated {repeated} times)", ()
        if len(self._last) >= MOST_REMEMBERED:
            self._last.clear()
        self._last[key] = (now, 0)
        return True


def _raised_at(record: logging.LogRecord) -> str:
    """Which line raised the error of a record; empty if it has none."""
    trace = record.exc_info[2] if record.exc_info else None
    return str(traceback.extract_tb(trace, limit=-1))


class AbandonedThreads(ThreadPoolExecutor):
    """Threads that are abandoned at exit, because a hanging name lookup can't be interrupted."""

    def shutdown(self, *_args: object, **_options: object) -> None:
        """Accept no new work and return at once."""
        super().shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def ended_by_signals() -> AsyncIterator[None]:
    """Cancel the body at the first SIGTERM or Ctrl-C; further ones don't interrupt its cleanup."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    ended = asyncio.Event()

    def end() -> None:
        if not ended.is_set() and task is not None:
            ended.set()
            task.cancel()

    signals = (signal.SIGTERM, signal.SIGINT)
    for each in signals:
        loop.add_signal_handler(each, end)
    try:
        yield
    except asyncio.CancelledError:
        if not ended.is_set():
            raise
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


@contextmanager
def loading() -> Iterator[None]:
    """Pause garbage collection while a program is loaded, which creates many objects.

    Loaded objects are frozen, so that the collector skips them from then on.
    """
    gc.disable()
    try:
        yield
    finally:
        _spare_collector()
        gc.enable()


def _spare_collector() -> None:
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def forever(ended: Awaitable[None] | None = None) -> None:
    """Wait until this task is cancelled, or until `ended` is done.

    Freezes the objects loaded so far, so that the garbage collector skips them: scans take about
    10% less time. Returns unused memory to the system once a minute.
    """
    gc.collect()
    _spare_collector()
    waiting = asyncio.ensure_future(ended or asyncio.Event().wait())
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=TRIM_SECONDS)
            _give_memory_back()
        await waiting
    finally:
        waiting.cancel()


def _give_memory_back() -> None:
    """Return unused heap pages to the system; takes 15 ms for 300 MB in many pieces.

    After large replies, glibc would keep them in its heap for hours (malloc_trim(3)).
    """
    if _TRIM is not None:
        _TRIM(0)
