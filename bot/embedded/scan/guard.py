"""Which addresses this server may connect to: the one gate that every scan passes.

Whoever can request a scan makes this server connect somewhere, and is often not its operator. So
each scan resolves the name once, checks every address, and dials a checked one.

Allowed by default: global addresses, and the ranges that teams use internally: RFC 1918,
unique-local IPv6 (RFC 4193) and 100.64/10 (RFC 6598). Others (loopback, link-local, multicast,
reserved) need an entry in SCAN_ALLOW. An entry in SCAN_DENY always wins. Cloud metadata services
are never allowed.
"""

import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Self

from bot.embedded.scan.dns import Address, LookUp, look_up, parse_address
from bot.target import MAX_PORT, Target, normal_host, read_port

Network = IPv4Network | IPv6Network

#: Metadata services give credentials to any caller inside; each cloud documents its addresses.
METADATA: frozenset[Address] = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Google, Azure, and most others
        "169.254.170.2",  # AWS, containers
        "169.254.170.23",  # AWS, pods
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS, pods
        "fd20:ce::254",  # Google
        "fd00:c1::a9fe:a9fe",  # Oracle
        "fd00:42::42",  # Scaleway
        "169.254.42.42",  # Scaleway
        "fe80::a9fe:a9fe",  # OpenStack
        "168.63.129.16",  # Azure
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
    )
)
#: Names by which a proxy would reach its own machine, or ours.
_LOCAL_NAMES = frozenset(
    {
        "localhost",
        "localhost.localdomain",
        "localhost4",
        "localhost6",
        "ip6-localhost",
        "ip6-loopback",
        "host.docker.internal",
    }
)
#: Names by which a proxy would reach a metadata service.
_METADATA_NAMES = frozenset(
    {
        "metadata",
        "metadata.google.internal",  # Google
        "metadata.goog",  # Google
        "instance-data",  # AWS
        "instance-data.ec2.internal",  # AWS
        "metadata.tencentyun.com",  # Tencent
        "metadata.oraclecloud.com",  # Oracle
    }
)
_INTERNAL: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
# Special-purpose (RFC 6890, RFC 3879), though some versions of `ipaddress` call them global.
_SPECIAL: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",
        "2002::/16",
        "64:ff9b:1::/48",
        "fec0::/10",
        "100:0:0:1::/64",
        "3fff::/20",
        "5f00::/16",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, section 2.5.5.1
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, section 6.1


class Forbidden(Exception):
    """The server's rules do not allow scans to connect to the address."""


class ResolutionFailed(Exception):
    """The name has no address."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of SCAN_ALLOW or SCAN_DENY: a network or a name, on one port or on all."""

    network: Network | None
    name: str | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `127.0.0.1`, `10.0.0.0/8:8443`, `[::1]:443`, `name` or `name:port`."""
        if re.search(r"[\s;]", text):
            raise ValueError(f"“{text}” is not one entry. Separate entries with commas.")
        host, port = _split_port(text)
        if "/" in host or ":" in host or host.replace(".", "").isdecimal():
            try:
                return cls(ipaddress.ip_network(host), None, port)
            except ValueError:
                raise ValueError(f"“{text}” is not a network, such as 10.0.0.0/8.") from None
        name = normal_host(host)
        if parse_address(name):  # in another spelling, such as 0x7f.1
            return cls(ipaddress.ip_network(name), None, port)
        return cls(None, name, port)

    def matches(self, host: str, addresses: tuple[Address, ...], port: int) -> bool:
        """Whether this entry covers `host`, or any of these forms of its address."""
        if self.port not in (None, port):
            return False
        if self.network is None:
            return self.name == host
        return any(address in self.network for address in addresses)


def _split_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"“{text}” is not an address. Write it like [::1]:443.")
        return host, _port(rest[1:], text) if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, _port(port, text) if colon else None


def _port(digits: str, text: str) -> int:
    port = read_port(digits)
    if port is None:
        raise ValueError(f"“{text}” does not end in a port from 1 to {MAX_PORT}.")
    return port


def parse_allow(text: str) -> tuple[Entry, ...]:
    """Read SCAN_ALLOW or SCAN_DENY: networks or names separated by commas, with optional `:port`.

    Raises ValueError with a sentence that names the first invalid entry.
    """
    return tuple(Entry.parse(part.strip()) for part in text.split(",") if part.strip())


def forms(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address that it leads to, if any.

    IPv4-mapped (RFC 4291), NAT64 (RFC 6052) and 6to4 (RFC 3056) addresses lead to one.
    """
    if isinstance(address, IPv4Address):
        return (address,)
    if address.scope_id:  # it is the same on another interface
        address = IPv6Address(int(address))
    inner = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return (address,) if inner is None else (address, inner)


def possible_forms(address: Address) -> tuple[Address, ...]:
    """All of `forms`, and each IPv4 address that some networks may route it to.

    IPv4-compatible, Teredo (RFC 4380), ISATAP and local NAT64 addresses embed one.
    """
    certain = forms(address)
    if isinstance(address, IPv4Address):
        return certain
    last, marker = int(address) & 0xFFFFFFFF, int(address) >> 32 & 0xFFFFFFFF
    if address in _LOCAL_NAT64 or address in _COMPATIBLE or marker in _ISATAP:
        certain += (IPv4Address(last),)
    return certain + (address.teredo or ())


@lru_cache(maxsize=10_000)  # each scan asks for the same again
def _allowed_by_default(address: Address) -> bool:
    if any(address in network for network in _INTERNAL):
        return True
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of one server, and how it resolves names.

    `hosts` maps names to addresses and is consulted before `look_up`; both results are checked.
    """

    allow: tuple[Entry, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    look_up: LookUp = look_up
    deny: tuple[Entry, ...] = ()

    def permits(self, host: str, address: Address, port: int) -> bool:
        """Whether a scan of `host` may connect to this address of it."""
        certain, possible = forms(address), possible_forms(address)
        if not METADATA.isdisjoint(possible):
            return False
        if any(entry.matches(host, possible, port) for entry in self.deny):
            return False
        if any(entry.matches(host, certain, port) for entry in self.allow):
            return True
        return _allowed_by_default(certain[-1])

    def permits_literal(self, target: Target) -> bool:
        """Whether a target is permitted as far as can be told without resolving it.

        False for an address that is forbidden and for a name in SCAN_DENY; true for other names.
        """
        address = parse_address(target.host)
        if address is not None:
            return self.permits(target.host, address, target.port)
        return not any(entry.matches(target.host, (), target.port) for entry in self.deny)

    def permits_proxied(self, target: Target) -> bool:
        """Whether a proxy may be asked for a target; the proxy resolves its name.

        False for what `permits_literal` forbids, for names of a metadata service, and for names
        that mean this machine or the proxy's, unless SCAN_ALLOW lists them.
        """
        if target.host in _METADATA_NAMES or not self.permits_literal(target):
            return False
        if any(entry.matches(target.host, (), target.port) for entry in self.allow):
            return True
        own = {socket.gethostname().lower(), *_LOCAL_NAMES}
        return target.host not in own and not target.host.endswith(".localhost")  # RFC 6761, 6.3

    async def resolve(self, target: Target) -> list[Address]:
        """The addresses of a target: at least one, all permitted.

        Raises ResolutionFailed, or Forbidden if any of them is not permitted.
        """
        addresses = await self._look_up(target)
        if not all(self.permits(target.host, address, target.port) for address in addresses):
            raise Forbidden
        return addresses

    async def _look_up(self, target: Target) -> list[Address]:
        literal = parse_address(self.hosts.get(target.host, target.host))
        if literal is not None:
            return [literal]
        try:
            texts = await self.look_up(target.host, target.port)
        except (OSError, UnicodeError):
            raise ResolutionFailed from None
        # A scope ("fe80::1%eth0") stays: such an address is never global.
        addresses = [ipaddress.ip_address(text) for text in texts]
        if not addresses:
            raise ResolutionFailed
        return list(dict.fromkeys(addresses))
