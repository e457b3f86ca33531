"""How many commands a second the bot answers, beside a bare Bolt app that acks and responds.

`python -m tests.bench.throughput` sends `/ssl help` to each by turns, 32 at a time, over HTTP and
over the socket. Both run in processes of their own. A command counts once its answer has arrived
at its response URL, which is served over TLS, as Slack's are. Slack and the response URLs run here
and use a core too, so the CPU time of either program is given as well.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.delivery import Outcome
from bot.playground.objects import ANN, CERTS
from bot.slack.transport import EVENTS_PATH
from tests.processes import ROOT, log_until, process
from tests.stub_api import KEY
from tests.world import World, empty_database, environment, new_world

ROUNDS, WARM_UP, COMMANDS, IN_FLIGHT = 5, 100, 600, 32
LEAST = 1.5


async def bare_bolt() -> None:
    """Be a Bolt app that acks and responds, with all settings left as they are."""
    environ = os.environ
    client = AsyncWebClient(environ["SLACK_BOT_TOKEN"], base_url=environ["SLACK_API_URL"])
    app = AsyncApp(signing_secret=environ["SLACK_SIGNING_SECRET"], client=client)

    @app.command("/ssl")
    async def on_command(ack: AsyncAck, respond: AsyncRespond) -> None:
        await ack()
        await respond("ok")

    port = 0
    if environ["SLACK_MODE"] == "socket":
        await AsyncSocketModeHandler(app, environ["SLACK_APP_TOKEN"]).connect_async()
    else:
        runner = web.AppRunner(app.web_app(path=EVENTS_PATH), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
    print(f"ready ({environ['SLACK_MODE']} mode, port {port})", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


class Answers:
    """The response URL, with a certificate by a CA in `ca_file`: each command waits here."""

    def __init__(self, ca_file: Path) -> None:
        self.url = ""
        self.ca_file = ca_file
        self._waiting: dict[str, asyncio.Event] = {}

    def expect(self, number: str) -> asyncio.Event:
        """An event that is set once this command's answer is here."""
        return self._waiting.setdefault(number, asyncio.Event())

    async def take(self, request: web.Request) -> web.Response:
        """Take an answer."""
        await request.read()
        self._waiting.pop(request.match_info["number"]).set()
        return web.Response(text="ok")

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post("/{number}", self.take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(self.ca_file)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        self.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        yield
        await runner.cleanup()


async def rate(world: World, answers: Answers, commands: int) -> float:
    """Send so many commands, 32 at a time; how many were answered in a second."""
    turns = asyncio.Semaphore(IN_FLIGHT)
    slack, payloads = world.slack, world.playground.payloads

    async def ask(number: int) -> None:
        async with turns:
            payload = payloads.command(slack.users[ANN], slack.channels[CERTS], "/ssl", "help")
            payload["response_url"] = f"{answers.url}/{number}"
            answered = answers.expect(str(number))
            ack = await world.playground.delivery.send("slash_commands", payload)
            assert ack.outcome is Outcome.ACKED, ack
            await answered.wait()

    began = time.perf_counter()
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for number in range(commands):
            group.create_task(ask(number))
    return commands / (time.perf_counter() - began)


@dataclass(frozen=True)
class Figures:
    """What one program did: commands a second, and its own CPU seconds for each."""

    rate: float
    cpu: float


async def measure(
    world: World, answers: Answers, mode: str, file: Path, commands: int, *, bare: bool
) -> Figures:
    """Let the bot, or bare Bolt, answer so many commands in a process of its own."""
    told = environment(world.playground, mode, file) | {"PYTHONPATH": str(ROOT)}
    told["SSL_CERT_FILE"] = str(answers.ca_file)
    api = {"SSLMONITOR_API_URL": world.api.url, "SSLMONITOR_API_KEY": KEY}
    module = "tests.bench.throughput" if bare else "bot"
    async with process("run", module=module, **told, **api) as program:
        ready = await log_until(program, r"ready \(\w+ mode, port (\d+)\)")
        if mode == "http":
            world.playground.events_url = f"http://127.0.0.1:{ready[1]}{EVENTS_PATH}"
        await rate(world, answers, WARM_UP)
        before = cpu_seconds(program.pid)
        answered = await rate(world, answers, commands)
        return Figures(answered, (cpu_seconds(program.pid) - before) / commands)


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used (proc(5), stat: utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def paired(
    mode: str, rounds: int = ROUNDS, commands: int = COMMANDS
) -> list[tuple[Figures, Figures]]:
    """The figures of the bot and of bare Bolt, by round."""
    with tempfile.TemporaryDirectory() as name:
        directory, answers = Path(name), Answers(Path(name) / "ca.pem")
        empty = await empty_database(directory)
        async with (
            new_world(directory, empty, mode=mode, bots=0, real_time=True) as world,
            answers.serve(),
        ):
            file = directory / "bot.sqlite3"

            async def of(*, bare: bool) -> Figures:
                return await measure(world, answers, mode, file, commands, bare=bare)

            return [(await of(bare=False), await of(bare=True)) for _ in range(rounds)]


def main() -> int:
    """Print the figures; 1 where one of them misses its bar."""
    missed = 0
    for mode in ("http", "socket"):
        pairs = asyncio.run(paired(mode))
        for name, own in zip(("ours", "bare Bolt"), zip(*pairs, strict=True), strict=True):
            rates, cpus = (
                statistics.median(f.rate for f in own),
                statistics.median(f.cpu for f in own),
            )
            print(f"{mode}, {name}: {rates:.0f} commands/s, {1000 * cpus:.2f} ms CPU each")
        ratio = statistics.median(our.rate / bolt.rate for our, bolt in pairs)
        cpu = statistics.median(bolt.cpu / our.cpu for our, bolt in pairs)
        print(f"{mode}: ratio {ratio:.2f}, by CPU time {cpu:.2f} (at least {LEAST})", flush=True)
        missed |= ratio < LEAST
    return missed


if __name__ == "__main__":
    sys.exit(asyncio.run(bare_bolt()) if "run" in sys.argv else main())
