"""DNS, both ways: from a name to addresses, and from an address to its name.

The system's resolver blocks, so it runs in threads: in few enough to be polite, and the look-ups of
names for show in threads of their own, so that slow ones never hold up a scan.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address
#: From a name and a port to addresses, as text. Raises OSError or UnicodeError when it has none.
LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
#: From an address to its name, empty when it has none.
Reverse = Callable[[Address], Awaitable[str]]

_FORWARD = ThreadPoolExecutor(32, "look-up")
_REVERSE = ThreadPoolExecutor(8, "reverse-look-up")
_KEPT = 3600.0  # seconds that the name of an address is remembered, also that it has none
_MOST_KEPT = 10_000
_LOOPBACK = {"127.0.0.1": "localhost", "::1": "localhost"}  # RFC 6303 keeps these out of DNS


def parse_address(text: str) -> Address | None:
    """The address that a text is, or None."""
    if ":" not in text and not text[-1:].isdigit():  # most names, and quicker than to try
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_address(host: str) -> bool:
    """Say whether a normalised host is an IP address, not a name."""
    return parse_address(host) is not None


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name by the system's resolver, in its order (RFC 6724)."""
    return await asyncio.get_running_loop().run_in_executor(_FORWARD, _addresses, host, port)


def _addresses(host: str, port: int) -> list[str]:
    return [str(a[0]) for *_, a in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class ReverseNames:
    """Names of addresses by the system's resolver, each remembered for an hour."""

    def __init__(self, name_of: Callable[[str], str] | None = None) -> None:
        self._name_of = name_of or _name_of
        self._known: dict[Address, tuple[float, asyncio.Future[str]]] = {}

    def __call__(self, address: Address) -> asyncio.Future[str]:
        """The name of an address; who stops waiting leaves the answer for those who ask later."""
        loop = asyncio.get_running_loop()
        if address.is_loopback:
            known: asyncio.Future[str] = loop.create_future()
            known.set_result(_LOOPBACK.get(str(address), ""))
            return known
        until, answer = self._known.get(address, (0.0, None))
        if answer is None or until < loop.time() or answer.cancelled():
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            answer = loop.run_in_executor(_REVERSE, self._name_of, str(address))
            self._known[address] = loop.time() + _KEPT, answer
        return asyncio.shield(answer)


def _name_of(address: str) -> str:
    try:
        return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
    except (OSError, UnicodeError):
        return ""
