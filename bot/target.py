"""The host and port that a monitor connects to, in every notation that people use.

The bot parses what users type with it, the embedded API its parameters.
"""

import ipaddress
import re
from typing import Self
from urllib.parse import unquote, urlsplit

import idna
import msgspec

HTTPS_PORT = 443
MAX_PORT = 65535
LONGEST_HOST, LONGEST_LABEL = 253, 63  # RFC 1035, section 2.3.4
_JOINERS = "\u200c\u200d"
#: The message of a monitor that the embedded API isn't allowed to scan. Part of the protocol: the
#: bot recognizes it.
REFUSED = "The address is refused by this server's rules"
#: How messages begin if a handshake was not completed: at one of the host's addresses, or after the
#: host sent its certificate. Part of the protocol, too.
NO_HANDSHAKE = (
    *("The connection was ", "The host name could not be resolved", "The proxy ", "The scan timed"),
    *("The server answered with something", "The server could not be reached"),
    *("The TLS handshake failed", "STARTTLS failed"),
)
#: How the message of a revoked certificate begins. Part of the protocol, too.
REVOKED_MESSAGE = "Revoked "
# The default port of a URL. For `http` it is 443 as well: Slack turns `example.com` into
# `http://example.com`.
SCHEME_PORTS = {
    "https": 443,
    "http": 443,
    "wss": 443,
    "ldaps": 636,
    "imaps": 993,
    "pop3s": 995,
    "smtps": 465,
}
# Browsers accept hyphens anywhere in a label (url.spec.whatwg.org, CheckHyphens is false).
_ASCII_LABEL = re.compile(r"^[a-z0-9_-]{1,63}$")
# A host name stored as it is written; for a list of 100,000 monitors, this match is fast.
_PLAIN_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+[a-z][a-z_-]{0,62}")
# If the last label is a number, browsers parse the host as IPv4 (url.spec.whatwg.org, "ends in a
# number"); RFC 3986 doesn't say.
_NUMERIC_LABEL = re.compile(r"^(0x[0-9a-f]*|[0-9]+)$")


def normal_host(text: str) -> str:
    """A host name or IP address as stored: lower case, A-labels, no trailing dot, no brackets.

    Raises ValueError with a sentence for the user.
    """
    if _PLAIN_HOST.fullmatch(text) and len(text) <= LONGEST_HOST:
        return text
    host = lower_case(text.strip().removesuffix("."))
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host:
        raise ValueError("The host name is missing.")
    if "*" in host:
        raise ValueError(f"“{text}” is a pattern. Use a single host name.")
    if ":" in host:
        return _normal_address(host)
    if not all(_ASCII_LABEL.match(label) for label in host.split(".")):
        try:
            host = a_labels(host)
        except ValueError:  # includes UnicodeError and IDNAError
            raise ValueError(f"“{text}” is not a host name.") from None
    if _NUMERIC_LABEL.match(host.rpartition(".")[2]):
        return _normal_address(host)
    if len(host) > LONGEST_HOST:
        raise ValueError("The host name is longer than 253 characters.")
    return host


def lower_case(name: str) -> str:
    """A name in lower case, as UTS 46 maps it: Python would end words in “ς”."""
    return name.replace("Σ", "σ").lower()


def a_labels(name: str) -> str:
    """A name in A-labels, by UTS 46 as browsers apply it: symbols and any hyphens are permitted.

    Raises ValueError.
    """
    mapped = idna.uts46_remap(name, std3_rules=False).removesuffix(".")
    return ".".join(map(_a_label, mapped.split(".")))


def _a_label(label: str) -> str:
    plain = "".join(filter(str.isascii, label))
    if (plain or not label) and not _ASCII_LABEL.match(plain):
        raise ValueError("not a label")
    if plain == label:
        return label
    idna.check_initial_combiner(label)
    idna.check_bidi(label)
    for at, character in enumerate(label):
        if character in _JOINERS and not idna.valid_contextj(label, at):
            raise ValueError("a joiner that joins nothing")
    encoded = f"xn--{label.encode('punycode').decode('ascii')}"
    if len(encoded) > LONGEST_LABEL:
        raise ValueError("a label that is too long")
    return encoded


def _normal_address(text: str) -> str:
    if "%" in text:
        raise ValueError(f"“{text}” can't be monitored: its zone ID is only valid on one machine.")
    try:
        return str(ipaddress.ip_address(text if ":" in text else _ipv4(text)))
    except ValueError:
        pass
    raise ValueError(f"“{text}” is not an IP address. Write it like 192.0.2.1 or 2001:db8::1.")


def _ipv4(text: str) -> int:
    """An IPv4 address in any spelling that browsers accept (url.spec.whatwg.org, "IPv4 parser").

    `127.1`, `0x7f.1` and `2130706433` are 127.0.0.1. A number below 2^24 alone would be in
    0.0.0.0/8, where no host is. Raises ValueError.
    """
    *first, last = map(_ipv4_number, text.split("."))
    least = 0 if first else 1 << 24
    if len(first) > 3 or max(first, default=0) > 255 or not least <= last < 256 ** (4 - len(first)):
        raise ValueError
    return int.from_bytes(bytes(first).ljust(4, b"\0"), "big") + last


def _ipv4_number(text: str) -> int:
    if not _NUMERIC_LABEL.match(text):
        raise ValueError
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)


def read_port(text: str) -> int | None:
    """A TCP port from 1 to 65535, or None if the text is not one."""
    is_port = text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= MAX_PORT
    return int(text) if is_port else None


def _port(text: str) -> int:
    port = read_port(text)
    if port is None:
        raise ValueError(f"“{text}” is not a port. Use a number from 1 to {MAX_PORT}.")
    return port


class Port(int):
    """A TCP port from 1 to 65535."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a port. Raises ValueError with a sentence for the user."""
        return cls(_port(text))


#: A login before a host: `https://ann@`, `ann:secret@`.
_LOGIN = re.compile(r"[^/?#]*://[^/?#]*@|[^/?#\[\]:<]*:[^/?#]*@")


def split_target(text: str) -> tuple[str, int | None]:
    """Split what `Target.parse` accepts into a host and a port, None if the text has no port.

    A URL's port is None if it is 443 by default. Raises ValueError with a sentence for the user.
    """
    text = text.strip()
    if _LOGIN.match(text):  # and so it isn't repeated
        raise ValueError("The address contains a user name or password. Leave it out.")
    if "://" in text:
        return _split_url(text)
    text = text.rstrip("/,;")
    if "@" in text or "/" in text:
        raise ValueError(f"“{text}” is not a host name. Try example.com or example.com:8443.")
    if text.count(":") > 1 and not text.startswith("["):
        return normal_host(text), None
    host, bracket, rest = text.rpartition("]")
    if bracket:
        if rest and not rest.startswith(":"):
            raise ValueError(f"“{text}” is not an IPv6 address and a port. Try [::1]:443.")
        return normal_host(host + bracket), _port(rest[1:]) if rest else None
    host, colon, port = text.partition(":")
    return normal_host(host), _port(port) if colon else None


def _split_url(text: str) -> tuple[str, int | None]:
    try:
        url = urlsplit(text.replace("Σ", "σ"))  # whose host is in lower case
        port = url.port
    except ValueError:
        raise ValueError(f"“{text}” is not a valid URL.") from None
    if not url.scheme:
        raise ValueError(f"“{text}” is not a valid URL.")
    if url.scheme not in SCHEME_PORTS:
        raise ValueError(f"Addresses that start with “{url.scheme}:” can't be monitored.")
    if port == 0:
        raise ValueError(f"“0” is not a port. Use a number from 1 to {MAX_PORT}.")
    default = SCHEME_PORTS[url.scheme]
    return normal_host(unquote(url.hostname or "")), port or (
        default if default != HTTPS_PORT else None
    )


class Target(msgspec.Struct, frozen=True, order=True, gc=False):
    """The host (normalized) and port that a monitor connects to."""

    host: str
    port: int = HTTPS_PORT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `example.com`, `example.com:8443`, a URL, an IDN or `[::1]:443`.

        Raises ValueError with a sentence for the user.
        """
        host, port = split_target(text)
        return cls(host, port or HTTPS_PORT)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def short(self) -> str:
        """The host alone if the port is 443, otherwise `host:port`."""
        return self.host if self.port == HTTPS_PORT else str(self)


def address_fault(url: str, *, allow_http: bool = False) -> str | None:
    """Why an API key must not be sent to this URL, in sentences; None if it may be.

    A key is only sent over HTTPS or to this machine, unless `allow_http`.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "The API's address is not a valid URL."
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        return "The API's address must start with https:// and a host name."
    if parts.query or parts.fragment or parts.username is not None:
        return "The API's address must not contain a user name, “?” or “#”."
    if parts.scheme == "http" and not allow_http and not _is_this_machine(host):
        return f"The key would go to {host} unencrypted. Use an address that starts with https://."
    return None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
