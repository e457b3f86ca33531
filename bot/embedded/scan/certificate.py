"""The facts of a certificate, and which hosts it covers."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import crypto

from bot.embedded.ca.encoding import (
    MALFORMED,
    content,
    extension_values,
    fields,
    name_fields,
    readable,
    text,
)
from bot.embedded.scan.dns import Address, is_address

# Identifiers and tags in a certificate's DER (RFC 5280, section 4.2.1.6; X.690).
_ALT_NAMES = bytes.fromhex("551d11")
#: commonName, organizationName and countryName (X.520).
_NAME_OIDS = tuple(map(bytes.fromhex, ("550403", "55040a", "550406")))
#: How long a server's answer counts, unless its certificate changes.
_KEY_EXCHANGE_HOLDS = timedelta(days=1)
_DNS_NAME = 0x82
_IP_ADDRESS = 0x87


@dataclass(frozen=True, slots=True)
class Leaf:
    """The facts of a server's own certificate; a name that is missing in it is empty."""

    subject_cn: str
    subject_o: str
    subject_c: str
    issuer_cn: str
    issuer_o: str
    issuer_c: str
    alt_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    addresses: frozenset[str] = frozenset()
    """The alternative names of type iPAddress: a DNS name that looks like an address is not one."""

    @classmethod
    def read(cls, certificate: x509.Certificate) -> Self:
        """Extract the facts; names that can't be decoded are left empty.

        Raises ValueError if its dates can't be decoded.
        """
        names = _alt_names(certificate)
        return cls(
            *_names(certificate, subject=True),
            *_names(certificate, subject=False),
            alt_names=tuple(map(str, names)),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            addresses=frozenset(str(name) for name in names if not isinstance(name, str)),
        )

    @property
    def issuer(self) -> str:
        """The issuer's organization, else its common name."""
        return self.issuer_o or self.issuer_cn

    def covers(self, host: str) -> bool:
        """Whether browsers accept the certificate for `host` (normalized).

        Only subject alternative names count (RFC 9525, section 2), never the common name. A `*`
        must be the whole first label; it matches one label, with at least two more after it. An
        address matches names of type iPAddress only.
        """
        if is_address(host):
            return host in self.addresses
        return any(_matches(name.lower(), host) for name in self.alt_names)


@dataclass(frozen=True, slots=True)
class Handshake:
    """How a connection was secured: protocol and cipher, and the certificate's key and signature.

    What can't be read is empty. `serial` is hexadecimal.
    """

    protocol: str = ""
    cipher: str = ""
    key: str = ""
    signature: str = ""
    serial: str = ""


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """Whether a server supports X25519MLKEM768 (None: unknown), as of when.

    `fingerprint` is that of its certificate at that time.
    """

    fingerprint: str
    at: datetime
    supported: bool | None = None

    def holds(self, fingerprint: str, now: datetime) -> bool:
        """Whether the answer still counts, so that the server needn't be asked again."""
        return fingerprint == self.fingerprint and now - self.at < _KEY_EXCHANGE_HOLDS


#: For a server that was never asked.
UNASKED = KeyExchange("", datetime.min.replace(tzinfo=UTC))


def _key(certificate: x509.Certificate) -> str:
    """`RSA 2048`, `ECDSA secp256r1`, `Ed25519`; empty for an unknown kind of key."""
    try:
        key = certificate.public_key()
    except MALFORMED:
        return ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    kind = type(key).__name__.removesuffix("PublicKey").replace("MLDSA", "ML-DSA-")
    return f"{kind} {getattr(key, 'key_size', '')}".strip("_ ")


def _signature(certificate: x509.Certificate) -> str:
    """`sha256WithRSAEncryption`, `ecdsa-with-SHA256`; the dotted number of an unnamed algorithm."""
    oid = certificate.signature_algorithm_oid
    name = str(getattr(oid, "_name", ""))
    if name not in {"", "Unknown OID"}:
        return name
    with suppress(ValueError):  # OpenSSL knows more names
        return crypto.X509.from_cryptography(certificate).get_signature_algorithm().decode()
    return oid.dotted_string


@dataclass(frozen=True, slots=True)
class SentCertificate:
    """One certificate of the chain as the server sent it.

    `subject` and `issuer` are common names, else organizations; `fingerprint` is the SHA-256 in
    hexadecimal.
    """

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as `cryptography` reads it, and its facts."""

    parsed: x509.Certificate
    facts: Leaf
    sent: SentCertificate
    key: str
    signature: str
    serial: str

    @classmethod
    def read(cls, der: bytes) -> Self:
        """Read it. Raises ValueError."""
        parsed = readable(der)
        facts = Leaf.read(parsed)
        sent = SentCertificate(
            facts.subject_cn or facts.subject_o,
            facts.issuer_cn or facts.issuer_o,
            facts.not_before,
            facts.not_after,
            hashlib.sha256(der).hexdigest(),
        )
        serial = f"{parsed.serial_number:x}"
        return cls(parsed, facts, sent, _key(parsed), _signature(parsed), serial)

    def handshake(self, protocol: str, cipher: str) -> Handshake:
        """How a connection was secured with it."""
        return Handshake(protocol, cipher, self.key, self.signature, self.serial)


@lru_cache(maxsize=1000)  # a few authorities issue for many servers, which keep what they have
def read_certificate(der: bytes) -> Certificate:
    """A certificate of a chain. Raises ValueError."""
    return Certificate.read(der)


def sent_chain(ders: Sequence[bytes]) -> tuple[SentCertificate, ...]:
    """The chain as plain values, without what can't be decoded."""
    chain = []
    for der in ders:
        with suppress(ValueError):
            chain.append(read_certificate(der).sent)
    return tuple(chain)


def _names(certificate: x509.Certificate, *, subject: bool) -> tuple[str, str, str]:
    """Common name, organization and country; empty if missing or undecodable."""
    with suppress(ValueError, IndexError):
        return _read_name(name_fields(certificate, subject=subject))
    return "", "", ""


@lru_cache(maxsize=1000)  # a few authorities issue for many servers
def _read_name(name: bytes) -> tuple[str, str, str]:
    """The same from a name in DER.

    `cryptography` decodes all attributes of a name or none, and knows fewer types of strings.
    """
    texts: dict[bytes, str] = {}
    with suppress(ValueError, IndexError):
        for _, relative in fields(name):
            for _, attribute in fields(relative):
                with suppress(ValueError, IndexError):
                    (_, oid), (kind, value) = fields(attribute)
                    texts.setdefault(oid, text(kind, value))
    cn, o, c = (texts.get(oid, "") for oid in _NAME_OIDS)
    return cn, o, c


def _alt_names(certificate: x509.Certificate) -> list[str | Address]:
    """The DNS names and the addresses, without those that can't be decoded.

    `cryptography` parses all extensions or none, so a malformed one would hide the names. Servers
    do send malformed extensions, and browsers ignore them.
    """
    names: list[str | Address] = []
    for extension in extension_values(certificate, _ALT_NAMES):
        with suppress(ValueError, IndexError):
            for tag, value in fields(content(extension)):
                with suppress(ValueError):
                    if tag == _DNS_NAME:
                        names.append(value.decode())
                    elif tag == _IP_ADDRESS and len(value) in (4, 16):
                        names.append(ip_address(value))
    return names


def _matches(pattern: str, host: str) -> bool:
    if pattern == host:
        return True
    first, _, rest = pattern.partition(".")
    return first == "*" and "." in rest and host.partition(".")[2] == rest
