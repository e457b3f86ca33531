"""Whether the bot stays whole under load: `python -m tests.bench.soak` takes ten minutes.

A bot in a process of its own, in Socket Mode, gets 50 commands a second, while the API, Slack and
the response URLs fail at random, and Slack refreshes the sockets twice. In the end every command
that Slack delivered must have its answer, memory must be flat (the last third of the time against
the middle one: under 3 %), and neither tasks nor descriptors may be left over.

`--minutes` and `--rate` make it shorter. It ends with code 1 if one of these fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from bot.playground.delivery import Outcome
from bot.playground.faults import (
    InjectedFault,
    dropped_connection,
    http_answer,
    rate_limit,
    refusal,
)
from bot.playground.objects import ANN, BEN, CERTS, PostedMessage
from tests.processes import log_until, process
from tests.stub_api import KEY
from tests.world import World, empty_database, environment, new_world, words

#: How long the last answers may take after the last command.
PATIENCE = 40.0
GROWTH = 0.03
#: The pool keeps five connections to SQLite, each with two files, that it opens when needed.
MOST_DESCRIPTORS = 12
MONITORS = 300
DIRECT = {ANN: "D0ANN", BEN: "D0BEN"}
COMMANDS = [
    *["status h{}.demo.test"] * 30,
    *["list h{}"] * 15,
    *["list expires<30"] * 3,
    *["help"] * 10,
    *["details h{}.demo.test"] * 5,
    *["scan h{}.demo.test"] * 5,
    *["add h{}.demo.test"] * 5,
    *["add new{}.demo.test"] * 2,
    *["warn h{}.demo.test 14d"] * 3,
    *["audit", "account", "ping", "digest", "history h{}.demo.test"] * 3,
    *["frobnicate h{}.demo.test", "status", "h{}.demo.test", "status nowhere{}.demo.test"] * 3,
]
SLACK_FAULTS: list[tuple[str, InjectedFault]] = [
    ("chat.postMessage", http_answer(500, after=True)),
    ("chat.postMessage", rate_limit(1)),
    ("chat.update", dropped_connection()),
    ("chat.update", http_answer(503)),
    ("users.info", http_answer(500)),
    ("users.info", refusal("internal_error")),
]


@dataclass
class Answers:
    """The response URLs: one for each command, which fail at random too."""

    url: str = ""
    answered: Counter[int] = field(default_factory=Counter)
    refused: dict[int, list[int]] = field(default_factory=dict)

    async def take(self, request: web.Request) -> web.Response:
        """Take an answer; one in twenty fails first."""
        number = int(request.match_info["number"])
        chance = random.random()
        if chance < 0.03:
            self.refused.setdefault(number, []).append(429 if chance < 0.02 else 500)
        if chance < 0.02:
            return web.Response(status=429, headers={"Retry-After": "1"})
        if chance < 0.03:
            return web.Response(status=500, text="oops")  # perhaps: it may have been shown
        if "⏳" not in json.dumps(await request.json(), ensure_ascii=False):
            self.answered[number] += 1
        if chance < 0.05:
            return web.Response(status=502, text="<html>")
        return web.Response(text="ok")


@dataclass
class Figures:
    """What was measured, every few seconds."""

    memory: list[float] = field(default_factory=list)
    tasks: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)

    async def read(self, session: aiohttp.ClientSession, port: int) -> None:
        """Read the bot's metrics once."""
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
            found = {s.name: s.value for each in families for s in each.samples if not s.labels}
        self.memory.append(found["process_resident_memory_bytes"])
        self.tasks.append(found["sslmonitor_bot_tasks"])
        self.descriptors.append(found["process_open_fds"])


async def fail_at_random(world: World) -> None:
    """Let something fail about every second."""
    while True:
        await asyncio.sleep(random.uniform(0.2, 1.8))
        if random.random() < 0.5:
            target, fault = random.choice(SLACK_FAULTS)
            world.slack.faults.add(target, fault)
            continue
        path = random.choice(["monitor/list", "monitor/get", "monitor/scan", "account"])
        match random.randrange(4):
            case 0:
                world.api.drop(path)
            case 1:
                world.api.answer(path, 503)
            case 2:
                world.api.refuse(path, 500, "oops")
            case _:
                world.api.refuse(path, 429, "slow down")


async def soak(minutes: float, rate: int) -> bool:
    """Run it, print the figures, and return whether all is well."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        empty = await empty_database(directory)
        async with new_world(directory, empty, mode="socket", bots=0, real_time=True) as world:
            for number in range(MONITORS):
                world.api.add(f"h{number}.demo.test", days=random.uniform(-5, 90))
            return await _soak(world, directory / "bot.sqlite3", minutes * 60, rate)


async def _soak(world: World, file: Path, seconds: float, rate: int) -> bool:
    answers = Answers()
    server = web.Application()
    server.router.add_post("/{number}", answers.take)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    answers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    told = environment(world.playground, "socket", file) | {
        "SSLMONITOR_API_URL": world.api.url,
        "SSLMONITOR_API_KEY": KEY,
        "USER_SCAN_LIMIT": "100000",
    }
    async with process("run", **told) as bot, aiohttp.ClientSession() as session:
        ready = await log_until(bot, r"ready \(\w+ mode, port (\d+)\)")
        reading = asyncio.create_task(_drain(bot))
        run = Run(world, answers, session, int(ready[1]))
        await run.settle()
        await run.figures.read(session, run.port)
        failing = asyncio.create_task(fail_at_random(world))
        await run.send_all(seconds, rate)
        failing.cancel()
        unanswered = await run.unanswered()
        await run.settle()
        await run.figures.read(session, run.port)
        alive = bot.returncode is None
        print("open:", _opened(bot.pid))
        reading.cancel()
    await runner.cleanup()
    return run.judge(unanswered, alive=alive, seconds=seconds)


def _opened(pid: int) -> dict[str, int]:
    """What a process has open, by kind: files by their name, sockets, pipes."""
    links = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()]
    return dict(Counter(re.sub(r":?\[.*", "", link.name) for link in links).most_common(8))


async def _drain(bot: asyncio.subprocess.Process) -> None:
    """Read the log, so that the bot never waits for it; print what should not be there."""
    assert bot.stderr is not None
    async for line in bot.stderr:
        if b"Traceback" in line or b" ERROR " in line:
            print(line.decode().rstrip(), file=sys.stderr)


@dataclass(frozen=True)
class Asked:
    """A command that Slack delivered; `at` is in seconds since 1970."""

    text: str
    user: str
    at: float

    def answered_by(self, message: PostedMessage) -> bool:
        """Whether this message, which is not from the response URL, can be the answer."""
        if message.channel == CERTS and message.ephemeral_for is None:
            # Announcements have one block; only a scan answers everybody.
            found = self.text.startswith("scan h") and len(message.blocks) > 1
        else:
            found = self.user == message.ephemeral_for or message.channel == DIRECT[self.user]
        said = words(message)
        host = re.search(r"\b\w+\.demo\.test", self.text)
        # What a hosted API lacks is refused by the command's name.
        verb = self.text.split()[0]
        about = host is None or host[0] in said or f"/ssl {verb}" in said or verb == "list"
        return found and about and float(message.ts) >= self.at - 1 and "⏳" not in said


@dataclass
class Run:
    """One soak: what was sent, and what came of it."""

    world: World
    answers: Answers
    session: aiohttp.ClientSession
    port: int
    figures: Figures = field(default_factory=Figures)
    acks: Counter[str] = field(default_factory=Counter)
    asked: dict[int, Asked] = field(default_factory=dict)
    ack_seconds: list[float] = field(default_factory=list)

    async def settle(self) -> None:
        """Let the bot come to rest: caches and idle connections that it keeps for a while."""
        await asyncio.sleep(40)

    async def send_all(self, seconds: float, rate: int) -> None:
        """Send the commands, evenly; refresh the sockets after a third, and after two."""
        began, total = time.monotonic(), int(seconds * rate)
        refreshes, measured = [total // 3, 2 * total // 3], began
        running: set[asyncio.Task[None]] = set()
        for number in range(total):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            task = asyncio.create_task(self._send(number))
            running.add(task)
            task.add_done_callback(running.discard)
            if number in refreshes:
                await self.world.playground.delivery.disconnect()
            if time.monotonic() - measured >= seconds / 120:
                measured = time.monotonic()
                await self.figures.read(self.session, self.port)
        if running:
            await asyncio.wait(running)

    async def _send(self, number: int) -> None:
        slack = self.world.slack
        text = random.choice(COMMANDS).format(random.randrange(MONITORS))
        user = slack.users[random.choice([ANN, BEN])]
        payload = self.world.playground.payloads.command(user, slack.channels[CERTS], "/ssl", text)
        payload["response_url"] = f"{self.answers.url}/{number}"
        asked = Asked(text, user.id, time.time())
        began = time.perf_counter()
        ack = await self.world.playground.delivery.send("slash_commands", payload)
        self.ack_seconds.append(time.perf_counter() - began)
        self.acks[ack.outcome.name] += 1
        if ack.outcome is Outcome.ACKED:
            self.asked[number] = asked

    async def unanswered(self) -> list[int]:
        """The commands that have no answer after PATIENCE at most, and are thus lost."""
        until = time.monotonic() + PATIENCE
        while True:
            lacking = self._lacking()
            if not lacking or time.monotonic() > until:
                return lacking
            await asyncio.sleep(0.5)

    def _lacking(self) -> list[int]:
        """The commands that neither their response URL nor any other message answers.

        Each message answers one command: the earliest it can belong to.
        """
        posts = {(m.channel, m.ts): m for user in (ANN, BEN) for m in self.world.seen(by=user)}
        for channel in DIRECT.values():
            posts |= {(m.channel, m.ts): m for m in self.world.seen(to=channel)}
        free = sorted(posts.values(), key=lambda m: float(m.ts))
        lacking = []
        for number in sorted(set(self.asked) - set(self.answers.answered)):
            answer = next((m for m in free if self.asked[number].answered_by(m)), None)
            if answer is None:
                lacking.append(number)
            else:
                free.remove(answer)
        return lacking

    def judge(self, unanswered: list[int], *, alive: bool, seconds: float) -> bool:
        """Print the figures; whether all is well."""
        figures, sent = self.figures, sum(self.acks.values())
        third = len(figures.memory) // 3
        middle, last = figures.memory[third : 2 * third], figures.memory[2 * third :]
        growth = statistics.mean(last) / statistics.mean(middle) - 1
        tasks = figures.tasks[-1] - figures.tasks[0]
        descriptors = figures.descriptors[-1] - figures.descriptors[0]
        acks = sorted(self.ack_seconds)
        print(f"{sent} commands in {seconds:.0f} s; acknowledgements: {dict(self.acks)}")
        print(
            f"ack: median {acks[len(acks) // 2] * 1000:.1f} ms, "
            f"99 % within {acks[int(len(acks) * 0.99)] * 1000:.0f} ms"
        )
        elsewhere = len(set(self.asked) - set(self.answers.answered)) - len(unanswered)
        print(f"answered by other ways than the response URL: {elsewhere}")
        print(f"without an answer: {len(unanswered)}")
        for number in unanswered[:10]:
            print(f"  {self.asked[number]}, response URL: {self.answers.refused.get(number)}")
        print(
            f"memory: {figures.memory[0] / 2**20:.0f} MiB at first, "
            f"{statistics.mean(middle) / 2**20:.1f} in the middle third, "
            f"{statistics.mean(last) / 2**20:.1f} in the last: {growth:+.1%}"
        )
        print(f"left over at the end: {tasks:+.0f} tasks, {descriptors:+.0f} descriptors")
        return (
            alive
            and not unanswered
            and growth < GROWTH
            and tasks <= 2
            and descriptors <= MOST_DESCRIPTORS
        )


def main() -> int:
    """Read the options, run it, and return the exit code."""
    parser = argparse.ArgumentParser(description="Ten minutes under load, with faults.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=50, help="commands a second")
    options = parser.parse_args()
    return 0 if asyncio.run(soak(options.minutes, options.rate)) else 1


if __name__ == "__main__":
    sys.exit(main())
