"""A place to connect to, and every way people write one.

Both sides of the API use it: the bot to read words, the embedded API to read parameters.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import idna

HTTPS_PORT = 443
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
_SLACK_LINK = re.compile(r"^<(?P<url>[^|>]+)(?:\|(?P<text>[^>]*))?>$")
_ASCII_LABEL = re.compile(r"^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$")
# RFC 3986 leaves it open, and browsers read it as an IPv4 address: a last label made of digits.
_NUMERIC_LABEL = re.compile(r"^(0x[0-9a-f]*|[0-9]+)$")


def normal_host(text: str) -> str:
    """A host name or address as it is stored: lower case, A-labels, no trailing dot, no brackets.

    Raises ValueError with a sentence for the user. IDNA 2008 with UTS 46 mapping, as browsers do.
    """
    host = text.strip().lower().removesuffix(".")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host:
        raise ValueError("The host name is missing.")
    if "*" in host:
        raise ValueError(f"“{text}” is a pattern, and one host name is needed here.")
    if ":" in host or _NUMERIC_LABEL.match(host.rpartition(".")[2]):
        return _normal_address(host)
    if not all(_ASCII_LABEL.match(label) for label in host.split(".")):
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise ValueError(f"“{text}” is not a host name.") from None
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


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:6]) <= 65535:
        raise ValueError(f"“{text}” is not a port. A port is a number from 1 to 65535.")
    return int(text)


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A place to connect to: a normalised host and a port."""

    host: str
    port: int = HTTPS_PORT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `example.com`, `example.com:8443`, a URL, a Slack link, an IDN or `[::1]:443`.

        Raises ValueError with a sentence for the user.
        """
        text = text.strip()
        if link := _SLACK_LINK.match(text):
            text = link["url"]
        if "://" in text:
            return cls._from_url(text)
        text = text.rstrip("/,;")
        if "@" in text or "/" in text:
            raise ValueError(f"“{text}” is not a host name. Write it as host or host:port.")
        if text.count(":") > 1 and not text.startswith("["):
            return cls(normal_host(text))
        host, bracket, rest = text.rpartition("]")
        if bracket:
            if rest and not rest.startswith(":"):
                raise ValueError(f"“{text}” is not an address. Write it as [::1]:443.")
            return cls(normal_host(host + bracket), _port(rest[1:]) if rest else HTTPS_PORT)
        host, colon, port = text.partition(":")
        return cls(normal_host(host), _port(port) if colon else HTTPS_PORT)

    @classmethod
    def _from_url(cls, text: str) -> Self:
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
            raise ValueError("“0” is not a port. A port is a number from 1 to 65535.")
        return cls(normal_host(url.hostname or ""), port or SCHEME_PORTS[url.scheme])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def short(self) -> str:
        """The host alone where the port is the usual 443, else `host:port`."""
        return self.host if self.port == HTTPS_PORT else str(self)
