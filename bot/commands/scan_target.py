"""A host as typed for `check` and `add`: with or without a port and a STARTTLS protocol."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bot.api.extras import PORTS, TLS
from bot.commands.router import FILLERS
from bot.errors import UsageError
from bot.target import HTTPS_PORT, Target, split_target

UNNAMED = "Name the protocol, for example mail.example.com:25 smtp."
#: Stands for the protocol of the port.
STARTTLS = "starttls"
#: Other names that people use for protocols with STARTTLS.
ALSO_CALLED = {
    "postgresql": "postgres",
    "pop": "pop3",
    "submission": "smtp",
    "mariadb": "mysql",
    **dict.fromkeys(("https", "ssl"), TLS),
}

PROTOCOLS = frozenset({TLS, *PORTS, *ALSO_CALLED})
#: Protocols with TLS from the first byte, which need no STARTTLS.
BY_PORT = frozenset({"smtps", "imaps", "pop3s", "ldaps"})
_NAMED = rf"(?=(?:{'|'.join(sorted(PROTOCOLS | BY_PORT))})(?:[,;|\s]|$))"
# `host:smtp`; then `starttls smtp`, `--protocol=smtp`.
_HOST_PROTOCOL = re.compile(rf":{_NAMED}", re.IGNORECASE)
_SAID = re.compile(rf"(?<!\S)-*(?:starttls|protocol|proto)[=:\s]+{_NAMED}", re.IGNORECASE)


def protocols_alone(words: Sequence[str]) -> str:
    """`host:smtp` and `host starttls=smtp` as `host smtp`."""
    return _SAID.sub("", _HOST_PROTOCOL.sub(" ", " ".join(words)))


def by_port(host: str, name: str) -> str:
    """A host with a protocol that its port says, or that says its port."""
    return f"{name}://{host}" if re.fullmatch(r"[^\s:/]+", host) else f"{host} {TLS}"


def host_and_protocol(words: Sequence[str]) -> list[str]:
    """`smtp mail.example.com` and `mail.example.com starttls smtp` as a host and a protocol."""
    said = [word for word in protocols_alone(words).split() if word.lower() not in FILLERS]
    named = [word.lower() for word in said if word.lower() in PROTOCOLS | BY_PORT]
    hosts = [word for word in said if word.lower() not in {*PROTOCOLS, *BY_PORT, STARTTLS}]
    if len(named) != 1 or len(hosts) != 1:
        return said or list(words[:1])
    return by_port(hosts[0], named[0]).split() if named[0] in BY_PORT else [*hosts, *named]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a server speaks first: `smtp` and the like before TLS, or `tls` at once."""

    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `smtp`, `tls` or `starttls`. Raises ValueError with a sentence for the user."""
        name = re.sub(r"^-*(?:starttls|protocol|proto)[=:]", "", text.lower())
        name = ALSO_CALLED.get(name, name)
        if "." in name:
            raise ValueError("Name one host at a time.")
        if name not in {TLS, STARTTLS, *PORTS}:
            raise ValueError(
                f"“{text}” is not a protocol. The protocols are {TLS}, {', '.join(PORTS)}."
            )
        return cls(name)


def _protocol_of(port: int | None) -> str:
    """The protocol with STARTTLS whose usual port this is; empty if none."""
    return next((each for each, ports in PORTS.items() if port in ports), "")


#: If no protocol is named.
UNSAID = Protocol("")


@dataclass(frozen=True, slots=True)
class ScanTarget:
    """A host, with its port and protocol if they are named: `mail.example.com:25 smtp`."""

    host: str
    port: int | None = None
    protocol: Protocol = UNSAID

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a host, a host and port, or a URL, with an optional protocol. Raises ValueError.

        `smtp://mail.example.com` is a URL with a protocol.
        """
        place, _, protocol = text.partition(" ")
        scheme, slashes, rest = place.partition("://")
        if slashes and ALSO_CALLED.get(scheme.lower(), scheme.lower()) in PORTS:
            place, protocol = re.split("[/?#]", rest)[0], protocol or scheme
        host, port = split_target(place)
        spoken = Protocol.parse(protocol) if protocol else UNSAID
        if spoken.name == STARTTLS:
            spoken = Protocol(_protocol_of(port))
            if not spoken.name:
                raise ValueError(UNNAMED)
        return cls(host, port, spoken)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        return f"{host}{port} {self.protocol.name}".rstrip()

    def resolve(self, protocol: Protocol = UNSAID) -> tuple[Target, str]:
        """The host and port, and the STARTTLS protocol to use; empty for none.

        `protocol` is for a host that names none. Port and protocol each imply the other if it is
        missing. Raises UsageError if neither says which protocol STARTTLS is for.
        """
        name = self.protocol.name or protocol.name
        if name in {"", STARTTLS}:
            name = _protocol_of(self.port) or ("" if name else TLS)
        if not name:
            raise UsageError(UNNAMED, "protocol")
        port = self.port or PORTS.get(name, (HTTPS_PORT,))[0]
        return Target(self.host, port), "" if name == TLS else name
