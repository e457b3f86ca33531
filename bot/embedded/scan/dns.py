"""DNS in both directions: from a name to addresses, and from an address to its name.

The system's resolver blocks, so it runs in threads: few enough to be polite, with separate ones for
reverse lookups, so that slow ones never delay a scan.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address
#: From a name and a port to addresses, as text. Raises OSError or UnicodeError if there are none.
LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
#: From an address to its name, empty if it has none.
Reverse = Callable[[Address], Awaitable[str]]

_FORWARD = ThreadPoolExecutor(32, "look-up")
_REVERSE = ThreadPoolExecutor(8, "reverse-look-up")
_TTL = 3600.0  # seconds that an address's name, or its lack of one, is cached
_CACHE_SIZE = 10_000
_LOOPBACK = {"127.0.0.1": "localhost", "::1": "localhost"}  # RFC 6303 keeps these out of DNS


@lru_cache(maxsize=10_000)  # each scan asks for the same again
def parse_address(text: str) -> Address | None:
    """The IP address that a text spells, or None."""
    if ":" not in text and not text[-1:].isdigit():  # settles most names faster than parsing does
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_address(host: str) -> bool:
    """Whether a normalized host is an IP address rather than a name."""
    return parse_address(host) is not None


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name from the system's resolver, in its order (RFC 6724)."""
    return await asyncio.get_running_loop().run_in_executor(_FORWARD, _addresses, host, port)


def _addresses(host: str, port: int) -> list[str]:
    return [str(a[0]) for *_, a in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class ReverseNames:
    """Names of addresses from the system's resolver, each cached for an hour."""

    def __init__(self, name_of: Callable[[str], str] | None = None) -> None:
        self._name_of = name_of or _name_of
        self._cache: dict[Address, tuple[float, asyncio.Future[str]]] = {}

    def __call__(self, address: Address) -> asyncio.Future[str]:
        """The name of an address; cancelling the future does not cancel the lookup."""
        loop = asyncio.get_running_loop()
        if address.is_loopback:
            name: asyncio.Future[str] = loop.create_future()
            name.set_result(_LOOPBACK.get(str(address), ""))
            return name
        expiry, lookup = self._cache.get(address, (0.0, None))
        if lookup is None or expiry < loop.time() or lookup.cancelled():
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            lookup = loop.run_in_executor(_REVERSE, self._name_of, str(address))
            self._cache[address] = loop.time() + _TTL, lookup
        return asyncio.shield(lookup)


def _name_of(address: str) -> str:
    try:
        return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
    except (OSError, UnicodeError):
        return ""
