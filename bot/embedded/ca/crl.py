"""Certificate revocation lists (RFC 5280, section 5): where they are, and what they say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, cast

from cryptography import x509

from bot.embedded.ca.encoding import (
    MALFORMED,
    Field,
    comparable_name,
    content,
    extension_values,
    extensions,
    field,
    fields,
    name_fields,
)

if TYPE_CHECKING:  # only for type checking
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

_INTEGER = 0x02
#: How far a CA's clock may be ahead of ours.
SKEW = timedelta(minutes=5)
#: cRLDistributionPoints, and tags in it (RFC 5280, section 4.2.1.13).
_POINTS = bytes.fromhex("551d1f")
_POINT, _FULL_NAME, _URI = 0xA0, 0xA0, 0x86
_REASONS, _CRL_ISSUER, _DIRECTORY_NAME, _NAME = 0x81, 0xA2, 0xA4, 0x30
#: Extensions of a list that don't limit what it says, whether or not they are critical.
_HARMLESS = (
    x509.CRLNumber,
    x509.AuthorityKeyIdentifier,
    x509.IssuerAlternativeName,
    x509.FreshestCRL,
    x509.AuthorityInformationAccess,
)
#: The reasons of RFC 5280, section 5.3.1, in words.
REASONS = {
    x509.ReasonFlags.unspecified: "",
    x509.ReasonFlags.key_compromise: "key compromise",
    x509.ReasonFlags.ca_compromise: "CA compromise",
    x509.ReasonFlags.affiliation_changed: "affiliation changed",
    x509.ReasonFlags.superseded: "superseded",
    x509.ReasonFlags.cessation_of_operation: "cessation of operation",
    x509.ReasonFlags.certificate_hold: "on hold",
    x509.ReasonFlags.privilege_withdrawn: "privilege withdrawn",
    x509.ReasonFlags.aa_compromise: "AA compromise",
}


class Unreadable(Exception):
    """Something that a CA publishes can't be used; the text says why, and follows “unknown: ”."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """When a certificate was revoked, and why; the reason is empty if the CA gives none."""

    at: datetime
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d}" + (f" ({self.reason})" if self.reason else "")


class Place(NamedTuple):
    """Where a list is published: its http URL, and all names of its distribution point.

    It is `partial` if it is said to cover some reasons only.
    """

    url: str
    names: frozenset[Field]
    partial: bool = False


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list with a verified signature: what it covers, and its entries by serial number.

    `names` are those of its distribution point, if it is one of several parts.
    """

    this_update: datetime
    next_update: datetime
    entries: Mapping[int, Revocation]
    names: frozenset[Field] | None = None
    only_users: bool = False
    only_authorities: bool = False
    partial: bool = False
    """Whether it covers some reasons only: what it doesn't list may be revoked all the same."""

    def find(self, certificate: x509.Certificate, place: Place, now: datetime) -> Revocation | None:
        """The entry of a certificate that names this place, if any. Raises Unreadable."""
        if now < self.this_update - SKEW:
            raise Unreadable(f"the revocation list is valid from {self.this_update:%Y-%m-%d %H:%M}")
        if now > self.next_update:
            raise Unreadable(f"the revocation list was valid until {self.next_update:%Y-%m-%d}")
        if self.names is not None and not self.names & place.names:
            raise Unreadable("the revocation list is for other certificates")
        if self.only_users or self.only_authorities:
            fits = self.only_authorities if is_authority(certificate) else self.only_users
            if not fits:
                raise Unreadable("the revocation list is for other certificates")
        found = self.entries.get(certificate.serial_number)
        if found is None and (self.partial or place.partial):
            raise Unreadable("the revocation list covers some reasons only")
        return found


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate is a CA's."""
    try:
        return extensions(certificate).get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def places(certificate: x509.Certificate) -> list[Place] | None:
    """Where a certificate's revocation list is published; None if the certificate doesn't say.

    Lists that another CA signs are left out, and so is what can't be read: `cryptography` reads all
    names or none.
    """
    values = extension_values(certificate, _POINTS)
    found: list[Place] = []
    with suppress(ValueError, IndexError):
        issuer = field(_NAME, name_fields(certificate, subject=False))
        itself = (_CRL_ISSUER, field(_DIRECTORY_NAME, issuer))
        for _, point in fields(b"".join(map(content, values))):
            with suppress(ValueError, IndexError):
                (kind, choice), *limits = fields(point)
                others = [limit for limit in limits if limit[0] != _REASONS]
                if kind == _POINT and others in ([], [itself]):
                    found += _places(_names(choice), partial=len(others) < len(limits))
    return found if values else None


def _places(names: Sequence[Field], *, partial: bool) -> Iterator[Place]:
    for kind, value in names:
        url = value.decode("ascii", "replace")
        if kind == _URI and url.lower().startswith("http://"):
            yield Place(url, frozenset(names), partial)


def _names(choice: bytes) -> list[Field]:
    """The names of a distribution point, or its relative one. Raises ValueError or IndexError."""
    (kind, inside), *_ = found = list(fields(choice))
    return list(fields(inside)) if kind == _FULL_NAME else found


def read(body: bytes, issuer: x509.Certificate) -> RevocationList:
    """Read a list, as DER or PEM, and verify that this CA signed it. Raises Unreadable.

    Slow for large lists: call it in a thread.
    """
    crl = _loaded(body)
    try:
        if not _has_issuer(crl, issuer):
            raise Unreadable("the revocation list has another issuer")
        if not _signs(issuer):
            raise Unreadable("the revocation list is signed by a CA that may not sign any")
        if not crl.is_signature_valid(cast("CertificateIssuerPublicKeyTypes", issuer.public_key())):
            raise Unreadable("the signature of the revocation list is wrong")
        next_update = crl.next_update_utc
        if next_update is None:
            raise Unreadable("the revocation list doesn't say how long it is valid")
        point = _point(crl)
        names = _own_names(point)
        entries = {each.serial_number: at for each in crl if (at := _revocation(each))}
    except MALFORMED:
        raise Unreadable("the revocation list can't be read") from None
    return RevocationList(
        crl.last_update_utc,
        next_update,
        entries,
        names,
        bool(point and point.only_contains_user_certs),
        bool(point and point.only_contains_ca_certs),
        bool(point and point.only_some_reasons),
    )


def _loaded(body: bytes) -> x509.CertificateRevocationList:
    """A list as DER, perhaps with a line break at its end, or as PEM, perhaps after other text."""
    with suppress(*MALFORMED):
        return x509.load_der_x509_crl(body)
    begin = body.find(b"-----BEGIN X509 CRL-----")
    try:
        if begin >= 0:
            return x509.load_pem_x509_crl(body[begin:])
        first = field(*next(fields(body), (0, b"")))
        return x509.load_der_x509_crl(first + body[len(first) :].strip())
    except MALFORMED:
        raise Unreadable("the revocation list can't be read") from None


def _has_issuer(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether a list names this CA as its issuer. Raises ValueError or IndexError."""
    parts = list(fields(content(crl.tbs_certlist_bytes)))
    name = parts[2 if parts[0][0] == _INTEGER else 1]  # after the version, which is optional
    own = name_fields(issuer, subject=True)
    return name[1] == own or comparable_name(name[1]) == comparable_name(own)


def _signs(issuer: x509.Certificate) -> bool:
    """Whether the issuer's key may sign lists: its key usage says so, or is missing."""
    try:
        return extensions(issuer).get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _point(crl: x509.CertificateRevocationList) -> x509.IssuingDistributionPoint | None:
    """What the list covers. Raises Unreadable for delta lists."""
    found = None
    for extension in crl.extensions:
        if isinstance(extension.value, x509.DeltaCRLIndicator):
            raise Unreadable("the revocation list has changes only")
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            found = extension.value
        elif extension.critical and not isinstance(extension.value, _HARMLESS):
            raise Unreadable("the revocation list has an unknown critical extension")
    if found and (found.indirect_crl or found.only_contains_attribute_certs):
        raise Unreadable("the revocation list is for other certificates")
    return found


def _own_names(point: x509.IssuingDistributionPoint | None) -> frozenset[Field] | None:
    """The names in the list itself; None if it has none. Raises ValueError or IndexError."""
    if point is None or not (point.full_name or point.relative_name):
        return None
    (_, choice), *_ = fields(content(point.public_bytes()))
    return frozenset(_names(choice))


def _revocation(entry: x509.RevokedCertificate) -> Revocation | None:
    """An entry; None for one that ends a hold. Its critical extensions must be known.

    With an unreadable reason, the certificate is still revoked.
    """
    reason = x509.ReasonFlags.unspecified
    known: Iterable[x509.Extension[x509.ExtensionType]] = ()
    with suppress(*MALFORMED):
        known = entry.extensions
    for extension in known:
        if isinstance(extension.value, x509.CRLReason):
            reason = extension.value.reason
        elif isinstance(extension.value, x509.InvalidityDate):
            continue  # the date of the revocation counts
        elif extension.critical or isinstance(extension.value, x509.CertificateIssuer):
            raise Unreadable("the revocation list has an unknown critical extension")
    if reason is x509.ReasonFlags.remove_from_crl:
        return None
    return Revocation(entry.revocation_date_utc, REASONS.get(reason, ""))
