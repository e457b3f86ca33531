"""A TCP connection to a checked address: what lies below TLS."""

from __future__ import annotations

import asyncio
import socket
from typing import Self

from bot.embedded.scan.dns import Address

_CHUNK = 65536


class Connection:
    """A non-blocking socket, and what was read from it ahead of its time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._ahead = b""
        self._loop = asyncio.get_running_loop()
        self._watched = False  # whether the loop tells when there is something to read
        self._readable: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, address: Address, port: int) -> Self:
        """Connect. Raises OSError."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def read(self) -> bytes:
        """The next bytes, or none at the end. Raises OSError."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        while True:
            try:
                return self.sock.recv(_CHUNK)
            except (BlockingIOError, InterruptedError):
                await self._until_readable()

    async def _until_readable(self) -> None:
        # `loop.sock_recv` asks the system anew to watch the socket for every wait; that is dear.
        if not self._watched:
            self._loop.add_reader(self.sock.fileno(), self._tell_reader)
            self._watched = True
        self._readable = self._loop.create_future()
        try:
            await self._readable
        finally:
            self._readable = None

    def _tell_reader(self) -> None:
        if self._readable is None:  # nobody wants to know now
            self._stop_watching()
        elif not self._readable.done():
            self._readable.set_result(None)

    def _stop_watching(self) -> None:
        if self._watched:
            self._loop.remove_reader(self.sock.fileno())
            self._watched = False

    async def read_until(self, mark: bytes, most: int) -> bytes:
        """All up to `mark`, and with it; what comes after is kept for the next to read.

        Raises EOFError when the end comes first, ValueError after `most` bytes without it.
        """
        data, seen = await self.read(), 0
        while (at := data.find(mark, seen)) < 0:
            if len(data) > most:
                raise ValueError("more bytes than are wanted")
            seen = max(0, len(data) - len(mark) + 1)
            more = await self.read()
            if not more:
                raise EOFError
            data += more
        self._ahead = data[at + len(mark) :]
        return data[: at + len(mark)]

    async def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises EOFError when the end comes first."""
        data = b""
        while len(data) < count:
            more = await self.read()
            if not more:
                raise EOFError
            data += more
        self._ahead = data[count:]
        return data[:count]

    @property
    def has_unread(self) -> bool:
        """Whether something has come that nobody has read yet."""
        return bool(self._ahead)

    async def write(self, data: bytes) -> None:
        """Send. Raises OSError."""
        await self._loop.sock_sendall(self.sock, data)

    def close(self) -> None:
        """Close the socket."""
        self._stop_watching()
        self.sock.close()
