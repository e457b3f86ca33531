"""Which addresses this server may connect to: the one gate that every scan passes.

Whoever may ask for a scan makes this server connect somewhere, and is often not its operator. So a
name is resolved once, every address it has is checked, and the scan dials a checked address.

Allowed by default: global addresses and what teams use inside: RFC 1918, unique-local IPv6
(RFC 4193) and 100.64/10 (RFC 6598). All else (loopback, link-local, multicast, reserved) only where
an entry of SCAN_ALLOW matches and none of SCAN_DENY, which wins. The metadata services of clouds
never.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Self

from bot.embedded.scan.dns import Address, LookUp, look_up, parse_address
from bot.target import MAX_PORT, Target, normal_host, read_port

Network = IPv4Network | IPv6Network

#: Metadata services hand out credentials to whoever asks from inside; each cloud documents its own.
METADATA: frozenset[Address] = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Google, Azure, and most others
        "169.254.170.2",  # AWS, containers
        "169.254.170.23",  # AWS, pods
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS, pods
        "fd20:ce::254",  # Google
        "168.63.129.16",  # Azure
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
    )
)
_INSIDE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
# Special by RFC 6890 or RFC 3879, and called global by some versions of `ipaddress`.
_SPECIAL: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",
        "2002::/16",
        "64:ff9b:1::/48",
        "fec0::/10",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, section 2.5.5.1
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, section 6.1


class Forbidden(Exception):
    """An address that this server's rules do not let a scan connect to."""


class ResolutionFailed(Exception):
    """A name that has no address."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of SCAN_ALLOW or SCAN_DENY: a network or a name, for one port or for all."""

    network: Network | None
    name: str | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `127.0.0.1`, `10.0.0.0/8:8443`, `[::1]:443`, `name` or `name:port`."""
        place, port = _split_port(text)
        if "/" in place or ":" in place or place.replace(".", "").isdecimal():
            try:
                return cls(ipaddress.ip_network(place), None, port)
            except ValueError:
                raise ValueError(f"“{text}” is not a network, such as 10.0.0.0/8.") from None
        return cls(None, normal_host(place), port)

    def matches(self, host: str, addresses: tuple[Address, ...], port: int) -> bool:
        """Say whether this entry is about `host`, or about any of these forms of its address."""
        if self.port not in (None, port):
            return False
        if self.network is None:
            return self.name == host
        return any(address in self.network for address in addresses)


def _split_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        place, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"“{text}” is not an address. Write it as [::1]:443.")
        return place, _port(rest[1:], text) if rest else None
    if text.count(":") > 1:
        return text, None
    place, colon, port = text.partition(":")
    return place, _port(port, text) if colon else None


def _port(digits: str, text: str) -> int:
    port = read_port(digits)
    if port is None:
        raise ValueError(f"“{text}” does not end in a port from 1 to {MAX_PORT}.")
    return port


def parse_allow(text: str) -> tuple[Entry, ...]:
    """Read SCAN_ALLOW or SCAN_DENY: CIDRs or names with commas between, each perhaps with `:port`.

    Raises ValueError with a sentence that names the first entry that can't be read.
    """
    return tuple(Entry.parse(part.strip()) for part in text.split(",") if part.strip())


def forms(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address that it leads to, where it does.

    IPv4-mapped (RFC 4291), NAT64 (RFC 6052) and 6to4 (RFC 3056) addresses lead to that one.
    """
    if isinstance(address, IPv4Address):
        return (address,)
    inner = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return (address,) if inner is None else (address, inner)


def disguises(address: Address) -> tuple[Address, ...]:
    """All of `forms`, and each IPv4 address that some network may take it for.

    These are those of IPv4-compatible, Teredo (RFC 4380) and ISATAP addresses and of local NAT64.
    """
    known = forms(address)
    if isinstance(address, IPv4Address):
        return known
    last, before = int(address) & 0xFFFFFFFF, int(address) >> 32 & 0xFFFFFFFF
    if address in _LOCAL_NAT64 or address in _COMPATIBLE or before in _ISATAP:
        known += (IPv4Address(last),)
    return known + (address.teredo or ())


def _allowed_by_default(address: Address) -> bool:
    if any(address in network for network in _INSIDE):
        return True
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of one server, and its way from a name to addresses.

    `hosts` is a static table, name to address, asked before `look_up`; what either says is guarded
    all the same.
    """

    allow: tuple[Entry, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    look_up: LookUp = look_up
    deny: tuple[Entry, ...] = ()

    def permits(self, host: str, address: Address, port: int) -> bool:
        """Say whether a scan of `host` may connect to this address of it."""
        known, hidden = forms(address), disguises(address)
        if any(form in METADATA for form in hidden):
            return False
        if any(entry.matches(host, hidden, port) for entry in self.deny):
            return False
        if any(entry.matches(host, known, port) for entry in self.allow):
            return True
        return _allowed_by_default(known[-1])

    def permits_literal(self, target: Target) -> bool:
        """Judge what can be judged of a target without a resolver.

        False for one that is itself an address, and a forbidden one, and for a name that SCAN_DENY
        names; true for other names.
        """
        address = parse_address(target.host)
        if address is not None:
            return self.permits(target.host, address, target.port)
        return not any(entry.matches(target.host, (), target.port) for entry in self.deny)

    async def resolve(self, target: Target) -> list[Address]:
        """The addresses of a target, at least one, all of them permitted.

        Raises ResolutionFailed, or Forbidden when any one of them is not permitted.
        """
        addresses = await self._look_up(target)
        if not all(self.permits(target.host, address, target.port) for address in addresses):
            raise Forbidden
        return addresses

    async def _look_up(self, target: Target) -> list[Address]:
        known = parse_address(self.hosts.get(target.host, target.host))
        if known is not None:
            return [known]
        try:
            found = await self.look_up(target.host, target.port)
        except (OSError, UnicodeError):
            raise ResolutionFailed from None
        # A scope ("fe80::1%eth0") is kept: such an address is never global.
        addresses = [ipaddress.ip_address(text) for text in found]
        if not addresses:
            raise ResolutionFailed
        return list(dict.fromkeys(addresses))
