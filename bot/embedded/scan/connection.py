"""A TCP connection to an address that the guard has checked: the layer below TLS."""

from __future__ import annotations

import asyncio
import select
import socket
from contextlib import suppress
from typing import Self

from bot.embedded.scan.dns import Address

_CHUNK = 32768  # freeing more than 64 kB makes malloc tidy up each time
_MOST_HURRIED = 8  # reads without a wait in between
_MOST_EVENTS = 64  # the others are told in the loop's next round
_HAS_EPOLL = hasattr(select, "epoll")  # Linux
_READABLE, _WRITABLE, _ENDED = 0x1, 0x4, 0x2018  # EPOLLIN; EPOLLOUT; EPOLLERR, EPOLLHUP, EPOLLRDHUP
_EACH_ONCE = 1 << 31  # EPOLLET
_ANY = ~0


class _Watch:
    """What the sockets of a loop's connections are ready for, each registered once and for all.

    `loop.add_writer` and `loop.add_reader` would take four system calls for each connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        loop.add_reader(self._epoll.fileno(), self._tell)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _Watch:
        """That of a loop; it exists while there are connections."""
        if loop not in _WATCHES:
            _WATCHES[loop] = cls(loop)
        return _WATCHES[loop]

    def add(self, connection: Connection) -> None:
        """Tell a connection of each event from now on, and of what its socket is ready for now."""
        descriptor = connection.sock.fileno()
        self._epoll.register(descriptor, _READABLE | _WRITABLE | _ENDED | _EACH_ONCE)
        self._connections[descriptor] = connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is about to be closed, which ends the registration."""
        del self._connections[connection.sock.fileno()]
        if not self._connections:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            _WATCHES.pop(self._loop)

    def _tell(self) -> None:
        for descriptor, events in self._epoll.poll(0, _MOST_EVENTS):
            if connection := self._connections.get(descriptor):
                connection.on_event(events)


_WATCHES: dict[asyncio.AbstractEventLoop, _Watch] = {}


class Connection:
    """A non-blocking socket, with a buffer for bytes that were received but not read yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._unread = b""
        self._asked = False
        self._hurried = 0
        self._loop = asyncio.get_running_loop()
        self._watch: _Watch | None = None
        self._events = 0  # those that nobody has waited for yet
        self._waiter: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, address: Address, port: int) -> Self:
        """Connect. Raises OSError."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        connection = cls(socket.socket(family, socket.SOCK_STREAM))
        try:
            connection.sock.setblocking(False)
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await connection._connect(str(address), port)
        except BaseException:
            connection.close()
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
        await self._wait(_ANY)
        self._events &= ~_WRITABLE
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
                data = self.sock.recv(_CHUNK)
                break
            except (BlockingIOError, InterruptedError):
                self._hurried = self._events = 0
                await self._wait_readable()
        if len(data) == _CHUNK:  # there may be more, which is not told again
            self._events |= _READABLE
        return data

    async def _wait_readable(self) -> None:
        """Wait for bytes or the end, which call for a `recv`; may return too early."""
        await self._wait(~_WRITABLE)
        self._events &= _ENDED  # this is told only once

    async def _wait(self, wanted: int) -> None:
        if not _HAS_EPOLL:
            await _ready(self._loop, self.sock.fileno(), writable=wanted == _ANY)
            return
        if self._watch is None:
            self._watch = _Watch.of(self._loop)
            self._watch.add(self)
        if self._events & wanted:
            return
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def on_event(self, events: int) -> None:
        """Take what the socket is ready for."""
        self._events |= events
        if self._waiter is not None:
            _set_done(self._waiter)

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
        if self._watch is not None:
            self._watch.remove(self)
            self._watch = None
        self.sock.close()


async def _ready(loop: asyncio.AbstractEventLoop, descriptor: int, *, writable: bool) -> None:
    """Wait for a socket where there is no epoll."""
    ready, add, remove = loop.create_future(), loop.add_reader, loop.remove_reader
    if writable:
        add, remove = loop.add_writer, loop.remove_writer
    add(descriptor, _set_done, ready)
    try:
        await ready
    finally:
        remove(descriptor)


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
