"""What a leaf certificate says, and which hosts it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from bot.embedded.guard import is_address


@dataclass(frozen=True, slots=True)
class Leaf:
    """The facts of a server's own certificate; a name that it lacks is empty."""

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
    """Those of the alternative names that are addresses, not names that look like one."""

    @classmethod
    def read(cls, certificate: x509.Certificate) -> Self:
        """Take the facts out of a certificate; names in it that can't be decoded are empty.

        Raises ValueError when its dates can't be.
        """
        names = _alt_names(certificate)
        return cls(
            *_names(certificate, subject=True),
            *_names(certificate, subject=False),
            alt_names=tuple(str(name.value) for name in names),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            addresses=frozenset(str(n.value) for n in names if isinstance(n, x509.IPAddress)),
        )

    @property
    def issuer(self) -> str:
        """Who issued it: the organisation, else the common name."""
        return self.issuer_o or self.issuer_cn

    def covers(self, host: str) -> bool:
        """Say whether the certificate is for `host` (normalised), as browsers see it.

        Subject alternative names alone count (RFC 9525, section 2): never the common name. `*` is
        a whole first label, stands for exactly one, and has two labels after it. An address is
        covered by names of the type iPAddress only.
        """
        if is_address(host):
            return host in self.addresses
        return any(_covers(name.lower(), host) for name in self.alt_names)


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate of a chain as it was sent: common names, or else organisations, and dates.

    `fingerprint` is SHA-256 in hexadecimal.
    """

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint: str


def links(leaf: Leaf, chain: Sequence[x509.Certificate]) -> tuple[Link, ...]:
    """The links of a chain whose first certificate is `leaf`'s. Raises ValueError as Leaf does."""
    first = Link(
        leaf.subject_cn or leaf.subject_o,
        leaf.issuer_cn or leaf.issuer_o,
        leaf.not_before,
        leaf.not_after,
        _fingerprint(chain[0]),
    )
    return (first, *map(_link, chain[1:]))


@lru_cache(maxsize=1000)  # few authorities issue for many servers
def _link(certificate: x509.Certificate) -> Link:
    subject_cn, subject_o, _ = _names(certificate, subject=True)
    issuer_cn, issuer_o, _ = _names(certificate, subject=False)
    return Link(
        subject_cn or subject_o,
        issuer_cn or issuer_o,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        _fingerprint(certificate),
    )


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _names(certificate: x509.Certificate, *, subject: bool) -> tuple[str, str, str]:
    try:
        name = certificate.subject if subject else certificate.issuer
    except ValueError:  # text that is not what its type says
        return "", "", ""
    found: dict[x509.ObjectIdentifier, str] = {}
    for attribute in name:
        found.setdefault(attribute.oid, _text(attribute.value))
    oids = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.COUNTRY_NAME)
    cn, o, c = (found.get(oid, "") for oid in oids)
    return cn, o, c


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _alt_names(certificate: x509.Certificate) -> list[x509.DNSName | x509.IPAddress]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        ValueError,
    ):
        return []
    return [n for n in extension.value if isinstance(n, x509.DNSName | x509.IPAddress)]


def _covers(pattern: str, host: str) -> bool:
    if pattern == host:
        return True
    first, _, rest = pattern.partition(".")
    return first == "*" and "." in rest and host.partition(".")[2] == rest
