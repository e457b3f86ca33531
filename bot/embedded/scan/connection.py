"""A TCP connection to an address that the guard has checked: the layer below TLS."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Self

from bot.embedded.scan.dns import Address

_CHUNK = 32768  # freeing more than 64 kB makes malloc tidy up each time
_MOST_HURRIED = 8  # reads without a wait in between


class Connection:
    """A non-blocking socket, with a buffer for bytes that were received but not read yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._unread = b""
        self._asked = False
        self._hurried = 0
        self._loop = asyncio.get_running_loop()
        self._has_reader = False  # whether the socket is registered with the loop
        self._readable: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, address: Address, port: int) -> Self:
        """Connect. Raises OSError."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = cls(sock)
            await connection._connect(str(address), port)
        except BaseException:
            sock.close()
            raise
        return connection

    async def _connect(self, address: str, port: int) -> None:
        # `loop.sock_connect` would resolve the address again, and needs twice as many calls.
        if "%" in address:  # with a scope
            await self._loop.sock_connect(self.sock, (address, port))
            return
        with suppress(BlockingIOError, InterruptedError):
            self.sock.connect((address, port))
            return
        descriptor, connected = self.sock.fileno(), self._loop.create_future()
        self._loop.add_writer(descriptor, _set_done, connected)
        try:
            await connected
        finally:
            self._loop.remove_writer(descriptor)
        if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, "the connection failed")

    async def read(self) -> bytes:
        """The next bytes, or none at the end. Raises OSError."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        if self._asked:  # the answer is hardly here yet
            self._asked, self._hurried = False, 0
            await self._wait_readable()
        self._hurried += 1
        if self._hurried >= _MOST_HURRIED:  # a server that never pauses must not stop the others
            self._hurried = 0
            await asyncio.sleep(0)
        while True:
            try:
                return self.sock.recv(_CHUNK)
            except (BlockingIOError, InterruptedError):
                self._hurried = 0
                await self._wait_readable()

    async def _wait_readable(self) -> None:
        # `loop.sock_recv` would register the socket again for each wait, which is expensive.
        if not self._has_reader:
            self._loop.add_reader(self.sock.fileno(), self._on_readable)
            self._has_reader = True
        self._readable = self._loop.create_future()
        try:
            await self._readable
        finally:
            self._readable = None

    def _on_readable(self) -> None:
        if self._readable is None:  # nobody is waiting
            self._remove_reader()
        else:
            _set_done(self._readable)

    def _remove_reader(self) -> None:
        if self._has_reader:
            self._loop.remove_reader(self.sock.fileno())
            self._has_reader = False

    async def read_until(self, delimiter: bytes, limit: int) -> bytes:
        """Everything up to and including `delimiter`; the rest stays for the next read.

        Raises EOFError if the connection ends first, ValueError after `limit` bytes without it.
        """
        data, searched = await self.read(), 0
        while (at := data.find(delimiter, searched)) < 0:
            if len(data) > limit:
                raise ValueError("the delimiter did not come within the limit")
            searched = max(0, len(data) - len(delimiter) + 1)
            more = await self.read()
            if not more:
                raise EOFError
            data += more
        end = at + len(delimiter)
        self._unread = data[end:]
        return data[:end]

    async def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises EOFError if the connection ends first."""
        data = b""
        while len(data) < count:
            more = await self.read()
            if not more:
                raise EOFError
            data += more
        self._unread = data[count:]
        return data[:count]

    @property
    def has_unread(self) -> bool:
        """Whether bytes were received that nobody has read yet."""
        return bool(self._unread)

    def has_ended(self) -> bool:
        """Whether the other side is known to have closed; drops what it sent. Raises OSError."""
        try:
            return any(not self.sock.recv(_CHUNK) for _ in range(2))
        except (BlockingIOError, InterruptedError):
            return False

    async def write(self, data: bytes) -> None:
        """Send. Raises OSError."""
        self._asked = True
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(data):
            await self._loop.sock_sendall(self.sock, data[sent:])

    def close(self) -> None:
        """Close the socket."""
        self._remove_reader()
        self.sock.close()


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
