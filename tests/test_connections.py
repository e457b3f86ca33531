"""Both servers stay reachable while somebody keeps hundreds of incomplete requests open."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from bot.connections import Server
from tests.world import World

MANY = 60


@asynccontextmanager
async def small_server(patience: float = 10.0) -> AsyncIterator[int]:
    """A server that echoes bodies, and takes 20 connections."""

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    application = web.Application()
    application.router.add_post("/", echo)
    server = Server(application, patience=patience, most=20)
    _, port = await server.start("127.0.0.1", 0)
    yield port
    await server.close()


@asynccontextmanager
async def incomplete_requests(
    port: int, number: int, text: bytes = b"POST / HTTP/1.1\r\nHost: x\r\nX-"
) -> AsyncIterator[list[asyncio.StreamReader]]:
    async with AsyncExitStack() as stack:
        readers = []
        for _ in range(number):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(text)
            readers.append(reader)
        yield readers


async def echoed(port: int) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/", data="hello") as answer,
    ):
        return await answer.text()


async def test_incomplete_heads_make_room_for_requests(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with small_server() as port, incomplete_requests(port, MANY):
        assert await asyncio.gather(*(echoed(port) for _ in range(10))) == ["hello"] * 10
    assert "Traceback" not in caplog.text
    assert len(caplog.records) < MANY


async def test_an_incomplete_head_is_cut_off() -> None:
    async with small_server(patience=0.1) as port, incomplete_requests(port, 5) as readers:
        async with asyncio.timeout(30):
            assert [await reader.read() for reader in readers] == [b""] * 5


@pytest.mark.slow
async def test_a_body_that_never_ends_gets_408() -> None:
    half = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal"
    async with small_server(patience=0.1) as port, incomplete_requests(port, 1, half) as readers:
        async with asyncio.timeout(30):
            assert (await readers[0].readline()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.slow
async def test_commands_are_answered_beside_a_thousand_incomplete_requests(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    async with incomplete_requests(world.bot.port, 450):
        await world.ask("/ssl status api.demo.test", "OK")


@pytest.mark.slow
async def test_what_can_not_be_slacks_gets_400_or_401_and_no_traceback(
    world: World, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{world.bot.port}/slack/events"
    for headers in (
        {"X-Slack-Request-Timestamp": "abc", "X-Slack-Signature": "v0=ab"},
        {"X-Slack-Request-Timestamp": "99999999999999999999", "X-Slack-Signature": "v0=ab"},
        {"X-Slack-Request-Timestamp": "1", "X-Slack-Signature": "v0=é"},
        {"X-Slack-Request-Timestamp": "-1", "X-Slack-Signature": ""},
    ):
        async with session.post(url, data=b"text=list", headers=headers) as answer:
            assert answer.status == 401, headers
    assert "Traceback" not in caplog.text

    json_type, form = "application/json", "application/x-www-form-urlencoded"
    for body, headers in (
        (b"{", {"Content-Type": json_type}),
        (b"[]", {"Content-Type": json_type}),
        (b"null", {"Content-Type": json_type}),
        (b"payload=%7B", {"Content-Type": form}),
        (b"payload=null", {"Content-Type": form}),
        (b"text=\xff", {"Content-Type": form}),
        (b"text=a", {"Content-Type": f"{form}; charset=none"}),
        (b"text=a", {"Content-Type": form, "Content-Encoding": "gzip"}),
    ):
        async with session.post(url, data=body, headers=headers) as answer:
            assert answer.status in {400, 401}, body
    half = b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal"
    async with incomplete_requests(world.bot.port, 3, half):
        await asyncio.sleep(0.1)  # they hang up in the middle of their bodies
    await asyncio.sleep(0.1)
    assert [record for record in caplog.records if record.exc_info] == []


async def test_what_is_not_http_gets_400(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for text in (b"\x16\x03\x01\x02\x00", b"GE\x01T / HTTP/1.1", b"POST / HTTP/9x9", b"a\xffb"):
        async with incomplete_requests(world.bot.port, 1, text + b"\r\n\r\n") as readers:
            async with asyncio.timeout(30):
                answer = await readers[0].read()
        assert answer == b"" or b" 400 " in answer.splitlines()[0], text
    assert "Traceback" not in caplog.text
    assert [record for record in caplog.records if record.exc_info] == []
