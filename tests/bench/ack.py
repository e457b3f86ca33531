"""How soon an ack leaves: beside a slow API, and paired with a bare Bolt app in the same run.

`python -m tests.bench.ack` sends signed slash commands over HTTP to both, in alternating rounds.
Client, servers and stubs share one event loop, so the bot's own work counts against it.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground.objects import ANN, CERTS
from bot.playground.payloads import http_body, signed_headers
from bot.slack.transport import EVENTS_PATH
from tests.world import World, empty_database, new_world, words

ROUNDS, COMMANDS = 11, 20
SLOW_SECONDS, SLOW_COMMANDS = 8.0, 5
ACK_SECONDS, RATIO = 0.1, 0.2


class Client:
    """Sends what Slack would send, on one kept connection, and times the answer."""

    def __init__(self, world: World, session: aiohttp.ClientSession) -> None:
        self._world = world
        self._session = session

    async def ack(self, url: str, text: str) -> float:
        """The seconds from sending `/ssl text` to its ack."""
        playground = self._world.playground
        people, channels = playground.workspace.users, playground.workspace.channels
        payload = playground.payloads.command(people[ANN], channels[CERTS], "/ssl", text)
        body, content_type = http_body("slash_commands", payload)
        headers = signed_headers(playground.app.signing_secret, body)
        headers["Content-Type"] = content_type
        begun = time.perf_counter()
        async with self._session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 200
            await answer.read()
        return time.perf_counter() - begun


@asynccontextmanager
async def bare_bolt(world: World) -> AsyncIterator[str]:
    """A bare Bolt app with one slash command that only acks, all settings left as they are."""
    app = AsyncApp(
        signing_secret=world.playground.app.signing_secret,
        client=AsyncWebClient(world.playground.app.bot_token, base_url=world.playground.api_url),
    )

    @app.command("/ssl")
    async def on_command(ack: AsyncAck) -> None:
        await ack()

    runner = web.AppRunner(app.web_app(path=EVENTS_PATH), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}{EVENTS_PATH}"
    await runner.cleanup()


@asynccontextmanager
async def clients() -> AsyncIterator[tuple[World, Client, str]]:
    """A world with a stub API, a client, and the bot's own address."""
    with tempfile.TemporaryDirectory() as name:
        empty = await empty_database(Path(name))
        async with new_world(Path(name), empty) as world, aiohttp.ClientSession() as session:
            yield world, Client(world, session), f"http://127.0.0.1:{world.bot.port}{EVENTS_PATH}"


async def paired(
    rounds: int = ROUNDS,
    commands: int = COMMANDS,
    of_round: Callable[[list[float]], float] = statistics.median,
) -> tuple[float, float, float]:
    """The median ratio of our ack to bare Bolt's, and both medians in seconds."""
    async with clients() as (world, client, ours), bare_bolt(world) as bolts:
        for url in (ours, bolts):
            await client.ack(url, "help")
        pairs = [
            [
                of_round(await _round(world, client, url, commands))
                for url in _order(number, ours, bolts)
            ]
            for number in range(rounds)
        ]
    by_url = [pair[:: 1 if number % 2 == 0 else -1] for number, pair in enumerate(pairs)]
    ratio = statistics.median(our / bolt for our, bolt in by_url)
    return (
        ratio,
        statistics.median(our for our, _ in by_url),
        statistics.median(bolt for _, bolt in by_url),
    )


def _order(number: int, ours: str, bolts: str) -> tuple[str, str]:
    return (ours, bolts) if number % 2 == 0 else (bolts, ours)


async def _round(world: World, client: Client, url: str, commands: int) -> list[float]:
    times = []
    for _ in range(commands):
        times.append(await client.ack(url, "help"))
        await world.settled()
    return times


async def slow(seconds: float = SLOW_SECONDS, commands: int = SLOW_COMMANDS) -> list[float]:
    """The acks' seconds while each answer of the API takes so long; every answer arrives."""
    async with clients() as (world, client, url):
        hosts = [f"slow{number}.example.com" for number in range(commands)]
        for host in hosts:
            world.api.add(host)
        held = [world.api.hold("monitor/list") for _ in hosts]
        times = [await client.ack(url, f"status {host}") for host in hosts]
        await asyncio.gather(*(fault.reached.wait() for fault in held))
        assert not world.seen()
        for fault in held:
            asyncio.get_running_loop().call_later(seconds, fault.release)
        await world.until(
            lambda: all(any(host in words(card) for card in world.seen()) for host in hosts),
            within=seconds + 10,
        )
    return times


def main() -> int:
    """Print the figures; 1 where one of them misses its bar."""
    held = asyncio.run(slow())
    ratio, ours, bolts = asyncio.run(paired())
    print(f"while the API takes {SLOW_SECONDS:.0f} s, and all {len(held)} answers arrive:")
    print(f"  ack        {1000 * min(held):.1f} ms, slowest {1000 * max(held):.1f} ms (bar 100 ms)")
    print(f"paired, medians of {ROUNDS} rounds:")
    print(f"  ack        {1000 * ours:.2f} ms")
    print(f"  bare Bolt  {1000 * bolts:.2f} ms")
    print(f"  ratio      {ratio:.3f}  (aim {RATIO})")
    return int(min(held) > ACK_SECONDS or ratio > RATIO)


if __name__ == "__main__":
    sys.exit(main())
