"""The programs as processes: started as `python -m bot …`, or forked from one that has loaded them.

Loading the bot takes ten times as long as what most tests then let it do.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

import bot
from bot.__main__ import entry
from tests.client_wire import slowdown
from tests.killed import forks
from tests.stub_api import KEY
from tests.world import World, environment

ROOT = Path(bot.__file__).parent.parent
PROMPTLY = 5.0


class Process(Protocol):
    """What the tests use of `asyncio.subprocess.Process`."""

    @property
    def stdout(self) -> asyncio.StreamReader | None: ...
    @property
    def stderr(self) -> asyncio.StreamReader | None: ...
    @property
    def returncode(self) -> int | None: ...
    def send_signal(self, signal: int) -> None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...
    async def communicate(self) -> tuple[bytes, bytes]: ...


class Forked:
    """A process of the bot that begins where `python -m bot` has loaded its modules."""

    def __init__(self, running: ForkServerProcess) -> None:
        self._running = running
        self._gone = asyncio.Event()
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()
        self.returncode: int | None = None

    @classmethod
    async def start(cls, environ: Mapping[str, str], command: Sequence[str]) -> Forked:
        """Run the command with this environment alone."""
        pipes = [forks.Pipe(duplex=False) for _ in range(2)]
        ends = [end for _, end in pipes]
        running = forks.Process(target=_run, args=(dict(environ), command, *ends), daemon=True)
        running.start()
        self, loop = cls(running), asyncio.get_running_loop()
        loop.add_reader(running.sentinel, self._end)
        for (pipe, end), stream in zip(pipes, (self.stdout, self.stderr), strict=True):
            end.close()
            await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, stream), pipe)
        return self

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._running.sentinel)
        self._running.join()
        self.returncode = self._running.exitcode
        self._gone.set()

    def send_signal(self, number: int) -> None:
        assert self._running.pid
        os.kill(self._running.pid, number)

    def kill(self) -> None:
        self._running.kill()

    async def wait(self) -> int:
        await self._gone.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        streams = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return streams[0], streams[1]


def _run(environ: dict[str, str], command: list[str], out: Connection, err: Connection) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(ROOT)
    for stream, end in enumerate((out, err), start=1):
        os.dup2(end.fileno(), stream)
        end.close()
    if environ.get("PYTHONWARNINGS") == "default":
        warnings.simplefilter("default")
    sys.argv[1:] = command
    entry()


@asynccontextmanager
async def process(
    *arguments: str, module: str = "bot", **environ: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m bot …`, killed at the end if it is still there."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        cwd=ROOT,
        env=_environment(environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with _killed(running):
        yield running


@asynccontextmanager
async def forked(*arguments: str, **environ: str) -> AsyncIterator[Process]:
    """`bot …` in a process forked from one that has loaded it, killed at the end."""
    running = await Forked.start(_environment(environ), arguments)
    async with _killed(running):
        yield running


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "default", **environ}


@asynccontextmanager
async def _killed(running: Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def log_until(running: Process, wanted: str) -> re.Match[str]:
    """Read the log until a line that matches; fails with what was read."""
    assert running.stderr is not None
    read: list[str] = []
    async with asyncio.timeout(60):
        async for line in running.stderr:
            read.append(line.decode())
            if found := re.search(wanted, read[-1]):
                return found
    raise AssertionError("".join(read))


@asynccontextmanager
async def bot_process(
    world: World,
    file: Path,
    begin: Callable[..., AbstractAsyncContextManager[Process]] = forked,
    /,
    **environ: str,
) -> AsyncIterator[Process]:
    """A bot in its own process in this world, ready."""
    told = environment(world.playground, world.mode, file)
    told |= {"SSLMONITOR_API_URL": world.api.url, "SSLMONITOR_API_KEY": KEY}
    async with begin("run", **(told | environ)) as running:
        ready = await log_until(running, r"ready \(\w+ mode, port (\d+)\)")
        if world.mode == "http":
            world.playground.events_url = f"http://127.0.0.1:{ready[1]}/slack/events"
        yield running


async def ended(running: Process, number: signal.Signals) -> tuple[int, str]:
    """Send a signal; return the exit code and the rest of the log. Raises TimeoutError."""
    running.send_signal(number)
    async with asyncio.timeout(PROMPTLY * slowdown()):
        _, log = await running.communicate()
    assert running.returncode is not None
    return running.returncode, log.decode()
