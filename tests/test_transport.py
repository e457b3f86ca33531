"""How requests come in: Socket Mode that heals itself, and `/healthz`."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import aiohttp
import pytest
from slack_bolt.async_app import AsyncAck, AsyncApp

from bot.app.outside import clock
from bot.demo import playground_app
from bot.errors import APIUnreachable, SocketModeEnded
from bot.playground import Playground
from bot.playground.faults import http_answer, refusal
from bot.playground.objects import ANN, CERTS
from bot.process import OncePerMinute
from bot.slack.transport import HTTPServer, Sockets
from bot.slack.web import make_client
from tests.world import World


@asynccontextmanager
async def socket_app() -> AsyncIterator[tuple[Playground, AsyncApp]]:
    """A playground, and an app that acknowledges every command."""

    async def take(ack: AsyncAck) -> None:
        await ack()

    playground = Playground(playground_app(), clock=clock)
    await playground.start()
    try:
        async with aiohttp.ClientSession() as session:
            client = make_client(playground.app.bot_token, playground.api_url, session)
            app = AsyncApp(client=client, process_before_response=True)
            app.command("/ssl")(take)
            yield playground, app
    finally:
        await playground.close()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Playground, Sockets]]:
    """A playground, and the app's two sockets to it."""
    async with socket_app() as (playground, app):
        sockets = Sockets(app, playground.app.app_token, ping_seconds=0.02)
        await sockets.start()
        try:
            await playground.wait_for(lambda _: len(playground.delivery.sockets) == 2)
            yield playground, sockets
        finally:
            await sockets.close()


def opens(playground: Playground) -> int:
    """How often apps.connections.open was called."""
    names = [each["name"] for each in playground.workspace.traffic]
    return names.count("apps.connections.open")


class Turnstile:
    """Refuses the first so many tickets, and notes them all."""

    def __init__(self, playground: Playground, refused: int) -> None:
        self.playground = playground
        self.left = refused
        self.shown: list[str] = []
        self._redeem = playground.tickets.redeem_socket

    def __call__(self, ticket: str) -> bool:
        self.shown.append(ticket)
        if len(set(self.shown)) <= self.left:
            return False
        return self._redeem(ticket)


@pytest.mark.slow
async def test_a_refused_ticket_is_given_up_for_a_fresh_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with socket_app() as (playground, app):
        turnstile = Turnstile(playground, refused=2)
        monkeypatch.setattr(playground.tickets, "redeem_socket", turnstile)
        sockets = Sockets(app, playground.app.app_token, ping_seconds=0.05, watch_seconds=0.02)

        await asyncio.wait_for(sockets.start(), 5)

        try:
            assert sockets.connected >= 1
            await playground.wait_for(lambda _: len(playground.delivery.sockets) == 2)
            assert len(set(turnstile.shown)) > 2
            await playground.say(ANN, CERTS, "/ssl help")
            assert playground.workspace.notices == []
        finally:
            await sockets.close()
    assert "requesting a new address" in caplog.text


async def test_a_socket_that_slack_closes_comes_back() -> None:
    async with connected() as (playground, sockets):
        gone = playground.delivery.sockets[0]

        await gone.ws.close()

        await playground.wait_for(
            lambda _: (
                len(playground.delivery.sockets) == 2 and gone not in playground.delivery.sockets
            )
        )
        for _ in range(2):
            await playground.say(ANN, CERTS, "/ssl help")
        assert playground.workspace.notices == []
    assert sockets.connected == 0


async def test_a_refreshed_socket_loses_no_command(socket_world: World) -> None:
    world = socket_world
    delivery = world.playground.delivery
    await world.until(lambda: len(delivery.sockets) == 2)
    old = delivery.sockets[0]
    held = world.slack.faults.hold("apps.connections.open")

    await old.ws.send_json({"type": "disconnect", "reason": "refresh_requested"})
    await held.reached.wait()
    await old.ws.close()
    await world.until(lambda: len(delivery.sockets) == 1)
    for _ in range(3):
        await world.say("/ssl ping")
    await world.until(lambda: len(world.seen()) == 3)

    held.release()
    await world.until(lambda: len(delivery.sockets) == 2)
    for _ in range(4):
        await world.say("/ssl ping")
    await world.until(lambda: len(world.seen()) == 7)
    assert world.slack.notices == []


async def test_work_is_answered_though_its_socket_is_gone(socket_world: World) -> None:
    world = socket_world
    world.api.add("api.demo.test")
    held = world.api.hold("monitor/list")
    await world.say("/ssl list")
    await held.reached.wait()

    for socket in list(world.playground.delivery.sockets):
        await socket.ws.close()
    held.release()

    await world.card("1 monitor")


async def health(server_port: int) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server_port}/healthz") as answer,
    ):
        return answer.status, await answer.json()


@pytest.mark.parametrize(("ok", "status"), [(True, 200), (False, 503)])
async def test_health_is_a_status_that_a_machine_reads(ok: bool, status: int) -> None:
    server = HTTPServer(lambda: {"ok": ok}, None)
    port = await server.start("127.0.0.1", 0)
    try:
        assert await health(port) == (status, {"ok": ok})
    finally:
        await server.close()


async def test_health_tells_the_mode_and_the_sockets(any_world: World) -> None:
    world = any_world
    status, state = await world.get("/healthz")

    assert (status, state["ok"], state["mode"]) == (200, True, world.mode)
    assert (state["sockets"] is None) == (world.mode == "http")
    assert state["digest"] == "off"


@pytest.mark.slow
async def test_a_revoked_app_token_ends_socket_mode_and_is_not_asked_for_again_and_again() -> None:
    async with connected() as (playground, sockets):
        playground.workspace.faults.add("apps.connections.open", refusal("token_revoked"), times=99)
        before = opens(playground)
        for socket in list(playground.delivery.sockets):
            await socket.ws.close()

        with pytest.raises(SocketModeEnded, match="Slack refuses SLACK_APP_TOKEN"):
            await asyncio.wait_for(sockets.ended, 5)

        await asyncio.sleep(0.2)  # ten pings' time for calls that must not come
        assert opens(playground) - before <= 2


async def test_a_refusal_that_says_nothing_against_the_app_token_is_waited_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bot.slack.transport.LONGEST_WAIT", 0.01)
    async with connected() as (playground, sockets):
        playground.workspace.faults.add("apps.connections.open", refusal("forbidden_team"), times=2)
        old = list(playground.delivery.sockets)
        for socket in old:
            await socket.ws.close()

        def are_new(_: object) -> bool:
            return len(set(playground.delivery.sockets).difference(old)) == 2

        await playground.wait_for(are_new)
        assert not sockets.ended.done()
    assert "apps.connections.open was refused with an unknown error: forbidden_team" in caplog.text


async def test_socket_mode_that_was_turned_off_ends_with_one_clear_line() -> None:
    async with connected() as (playground, sockets):
        message = {"type": "disconnect", "reason": "link_disabled"}
        await playground.delivery.sockets[0].ws.send_json(message)

        with pytest.raises(SocketModeEnded, match="turned off"):
            await asyncio.wait_for(sockets.ended, 5)


async def test_no_log_contains_a_sockets_ticket(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "bot.sockets")
    async with socket_app() as (playground, app):
        sockets = Sockets(app, playground.app.app_token, ping_seconds=0.05, watch_seconds=0.02)
        playground.workspace.faults.add("socket", http_answer(500), times=3)
        await asyncio.wait_for(sockets.start(), 10)
        await sockets.close()
    assert "ticket=…" in caplog.text or "Failed to connect" in caplog.text
    assert re.findall(r"ticket=\w+", caplog.text) == []


async def ready(world: World) -> tuple[int, list[str]]:
    status, state = await world.get("/readyz")
    return status, state["down"]


async def test_readiness_names_the_part_that_is_down(world: World) -> None:
    assert await ready(world) == (200, [])
    world.api.drop("monitor/list", times=6)
    await world.ask("/ssl list", "NOT ANSWERING")
    await world.settled()
    assert await ready(world) == (503, ["api"])
    await world.ask("/ssl list", "no monitors yet")
    await world.settled()
    assert await ready(world) == (200, [])
    world.bot.database.faults["read"] = "OperationalError"
    assert await ready(world) == (503, ["database"])
    world.bot.scheduler._ticked_at -= 300
    assert await ready(world) == (503, ["database", "scheduler"])


async def test_health_says_why_nothing_could_be_compared(digest_world: World) -> None:
    world = digest_world
    scheduler = world.bot.scheduler
    assert scheduler.notices is not None
    world.api.drop("monitor/list", times=6)
    with pytest.raises(APIUnreachable):
        await scheduler._compare(scheduler.notices)
    assert "broke off" in (await world.get("/healthz"))[1]["notices"]
    world.api.heal()
    await scheduler._compare(scheduler.notices)
    assert scheduler.notices.fault == "ok"


async def test_health_says_why_notices_are_not_posted(digest_world: World) -> None:
    world = digest_world
    scheduler = world.bot.scheduler
    assert scheduler.notices is not None
    number = world.api.add("api.demo.test", days=80)
    await scheduler._compare(scheduler.notices)
    world.api.rows[number] |= {"ssl_valid": False, "ssl_message": "Self-signed"}
    channel = world.slack.channels[CERTS]
    for channel.is_archived in (True, False):
        await scheduler._compare(scheduler.notices)
        said = (await world.get("/healthz"))[1]["notices"]
        because = f"Could not post a notice in {CERTS}: Slack refused: is_archived"
        assert said.startswith(because if channel.is_archived else "ok")


def bug_of(
    work: Callable[[], object],
) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    try:
        work()
    except Exception as bug:  # noqa: BLE001
        return type(bug), bug, bug.__traceback__
    raise AssertionError


def test_a_repeated_fault_is_logged_once_a_minute() -> None:
    seconds = 0.0
    once = OncePerMinute(lambda: seconds)

    def logged(level: int, text: str) -> str:
        record = logging.LogRecord("bot.x", level, __file__, 1, text, (), None)
        return record.getMessage() if once.filter(record) else ""

    assert logged(logging.WARNING, "Slack is down") == "Slack is down"
    assert [logged(logging.WARNING, "Slack is down") for _ in range(5)] == [""] * 5
    assert logged(logging.WARNING, "The API is down") == "The API is down"
    assert logged(logging.INFO, "posted") == logged(logging.INFO, "posted") == "posted"
    bugs = [bug_of(lambda: 1 // 0), bug_of(dict[str, str]().popitem)]
    shown = [once.filter(logging.makeLogRecord({"levelno": 40, "exc_info": bug})) for bug in bugs]
    assert shown == [True, True]  # each with its own traceback
    assert not once.filter(logging.makeLogRecord({"levelno": 40, "exc_info": bugs[0]}))
    seconds = 61.0
    assert logged(logging.WARNING, "Slack is down") == "Slack is down (repeated 5 times)"
