"""A place to connect to, and every way people write one.

Both sides of the API use it: the bot to read words, the embedded API to read parameters.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Self
from urllib.parse import urlsplit

import idna
import msgspec

HTTPS_PORT = 443
MAX_PORT = 65535
#: What the embedded API finds of a host that it may not scan; the bot knows it by these words.
REFUSED = "The address is refused by this server's rules"
# What a pasted address means by itself. Slack turns a typed `example.com` into `http://example.com`.
SCHEME_PORTS = {
    "https": 443,
    "http": 443,
    "wss": 443,
    "ldaps": 636,
    "imaps": 993,
    "pop3s": 995,
    "smtps": 465,
}
_ASCII_LABEL = re.compile(r"^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$")
# RFC 3986 leaves it open, and browsers read it as an IPv4 address: a last label made of digits.
_NUMERIC_LABEL = re.compile(r"^(0x[0-9a-f]*|[0-9]+)$")


def normal_host(text: str) -> str:
    """A host name or address as it is stored: lower case, A-labels, no trailing dot, no brackets.

    Raises ValueError with a sentence for the user. IDNA 2008 with UTS 46 mapping, as browsers do.
    """
    host = text.strip().removesuffix(".").lower()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host:
        raise ValueError("The host name is missing.")
    if "*" in host:
        raise ValueError(f"“{text}” is a pattern, and one host name is needed here.")
    if ":" in host:
        return _normal_address(host)
    if not all(_ASCII_LABEL.match(label) for label in host.split(".")):
        try:
            host = idna.encode(host, uts46=True).decode("ascii").removesuffix(".")
        except (idna.IDNAError, UnicodeError):
            raise ValueError(f"“{text}” is not a host name.") from None
    if _NUMERIC_LABEL.match(host.rpartition(".")[2]):
        return _normal_address(host)
    if len(host) > 253:  # RFC 1035, section 2.3.4
        raise ValueError("The host name is longer than 253 characters.")
    return host


def _normal_address(text: str) -> str:
    try:
        if "%" not in text:  # a zone means something on one machine only
            return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    raise ValueError(f"“{text}” is not an IP address in its usual form.")


def read_port(text: str) -> int | None:
    """A TCP port, from 1 to 65535; None where the text is none."""
    known = text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= MAX_PORT
    return int(text) if known else None


def _port(text: str) -> int:
    port = read_port(text)
    if port is None:
        raise ValueError(f"“{text}” is not a port. A port is a number from 1 to {MAX_PORT}.")
    return port


class Port(int):
    """A TCP port, from 1 to 65535."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a port. Raises ValueError with a sentence for the user."""
        return cls(_port(text))


def split_target(text: str) -> tuple[str, int | None]:
    """A host and the port that the text names, in every form that `Target.parse` reads.

    A web address names a port only where it is not the usual one. Raises ValueError.
    """
    text = text.strip()
    if "://" in text:
        return _split_url(text)
    text = text.rstrip("/,;")
    if "@" in text or "/" in text:
        raise ValueError(f"“{text}” is not a host name. Write it as host or host:port.")
    if text.count(":") > 1 and not text.startswith("["):
        return normal_host(text), None
    host, bracket, rest = text.rpartition("]")
    if bracket:
        if rest and not rest.startswith(":"):
            raise ValueError(f"“{text}” is not an address. Write it as [::1]:443.")
        return normal_host(host + bracket), _port(rest[1:]) if rest else None
    host, colon, port = text.partition(":")
    return normal_host(host), _port(port) if colon else None


def _split_url(text: str) -> tuple[str, int | None]:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError(f"“{text}” is not a web address.") from None
    if url.username is not None or url.password is not None:
        raise ValueError("A web address with a user name in it can't be used.")
    if url.scheme not in SCHEME_PORTS:
        raise ValueError(f"Addresses that start with “{url.scheme}:” can't be watched.")
    if port == 0:
        raise ValueError(f"“0” is not a port. A port is a number from 1 to {MAX_PORT}.")
    usual = SCHEME_PORTS[url.scheme]
    return normal_host(url.hostname or ""), port or (usual if usual != HTTPS_PORT else None)


class Target(msgspec.Struct, frozen=True, order=True, gc=False):
    """A place to connect to: a normalised host and a port."""

    host: str
    port: int = HTTPS_PORT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `example.com`, `example.com:8443`, a URL, an IDN or `[::1]:443`.

        Raises ValueError with a sentence for the user.
        """
        host, port = split_target(text)
        return cls(host, port or HTTPS_PORT)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def short(self) -> str:
        """The host alone where the port is the usual 443, else `host:port`."""
        return self.host if self.port == HTTPS_PORT else str(self)


def address_fault(url: str, *, allow_http: bool = False) -> str | None:
    """Why a key may not be sent to this address, in a sentence; None if it may.

    A key goes to https or to this machine alone, unless `allow_http`.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "The API's address is not a web address."
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        return "The API's address does not start with https:// and a host name."
    if parts.query or parts.fragment or parts.username is not None:
        return "The API's address may not hold a user name, “?” or “#”."
    if parts.scheme == "http" and not allow_http and not _is_this_machine(host):
        return f"The key would go to {host} unencrypted. Use an address that starts with https://."
    return None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
