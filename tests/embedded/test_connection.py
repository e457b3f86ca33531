"""The TCP layer of a scan: what arrives is read, whenever it arrived."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterator

import pytest

from bot.embedded.scan import connection as tcp
from bot.embedded.scan.connection import Connection

_LOCAL = ipaddress.ip_address("127.0.0.1")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.mark.parametrize("has_epoll", [True, False])
async def test_what_came_before_it_was_waited_for_is_read(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, *, has_epoll: bool
) -> None:
    monkeypatch.setattr(tcp, "_HAS_EPOLL", has_epoll)
    connection = await Connection.open(_LOCAL, listener.getsockname()[1])
    server, _ = listener.accept()
    with server:
        for number in range(3):  # a server that speaks first, and a client that asks then
            server.sendall(b"%d" % number)
            await asyncio.sleep(0)
            await connection.write(b"asks")
            assert await connection.read() == b"%d" % number
        server.sendall(b"x" * 100_000)
        received = b""
        while len(received) < 100_000:
            received += await connection.read()
            await connection.write(b"asks")
        server.sendall(b"last")
        server.shutdown(socket.SHUT_WR)  # it goes on listening, so nothing else will happen
        await connection.write(b"asks")
        assert await connection.read() == b"last"
        await connection.write(b"asks")
        assert await connection.read() == b""
        await connection.write(b"asks")
        assert await connection.read() == b""
    connection.close()
    assert not tcp._WATCHES


async def test_a_refused_connection_and_a_reset_are_told(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    connection = await Connection.open(_LOCAL, port)
    server, _ = listener.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await connection.write(b"asks")
    server.close()
    with pytest.raises(ConnectionResetError):
        await connection.read()
    connection.close()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await Connection.open(_LOCAL, port)
