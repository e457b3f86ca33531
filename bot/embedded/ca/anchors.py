"""The operator's own trust anchors, in cases where OpenSSL builds the wrong chain.

OpenSSL looks for an issuer by name. If two anchors share a name, it may try the wrong one; if a
private CA has the same name as the server's certificate, it considers that self-signed. A signature
proves who the issuer is.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.bindings.openssl.binding import Binding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from bot.embedded.ca.crl import is_authority
from bot.embedded.ca.encoding import extensions, is_named_like_issuer, name_fields, readable
from bot.embedded.scan.tls import ChainFault, date_fault

_SERVERS = ExtendedKeyUsageOID.SERVER_AUTH
_CODES = SSL.X509VerificationCodes
#: Faults that may come from a wrongly built chain. All others are the certificates' own.
_BUILDING = frozenset(
    {
        _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT,
        _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        _CODES.ERR_CERT_SIGNATURE_FAILURE,
        _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
        _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN,
        _CODES.ERR_CERT_NOT_YET_VALID,
        _CODES.ERR_CERT_HAS_EXPIRED,
    }
)


class Reconsidered(NamedTuple):
    """The faults of a chain, and its path to an anchor; empty if OpenSSL's path is right."""

    faults: Sequence[ChainFault]
    path: Sequence[x509.Certificate] = ()


def reconsidered(
    leaf: x509.Certificate,
    sent: Sequence[bytes],
    faults: Sequence[ChainFault],
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> Reconsidered:
    """Judge a faulty chain again, by whether its signatures lead to an anchor.

    `sent` are the certificates after the leaf, in DER.
    """
    if not anchors or not any(fault.code in _BUILDING for fault in faults):
        return Reconsidered(faults)
    others = []
    for der in sent:
        with suppress(ValueError):
            others.append(readable(der))
    # Among certificates with the same name and key, prefer those that are valid now.
    valid = [[each for each in some if not _date_fault(each, now)] for some in (others, anchors)]
    path = _path(leaf, *valid) or _path(leaf, others, anchors)
    if path is None or not _verifies(path, now):
        return Reconsidered(faults)
    kept = [fault for fault in faults if fault.code not in _BUILDING]
    for depth, certificate in enumerate(path):
        if code := _date_fault(certificate, now):
            kept.append(ChainFault(code, depth, crypto.X509.from_cryptography(certificate)))
    return Reconsidered(kept, path)


def _date_fault(certificate: x509.Certificate, now: datetime) -> int:
    return date_fault(certificate.not_valid_before_utc, certificate.not_valid_after_utc, now)


def _path(
    leaf: x509.Certificate, sent: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> list[x509.Certificate] | None:
    """The shortest path from the leaf to an anchor, each signed by the next; None if there is none.

    Each certificate is used only once: a server may send many that sign each other.
    """
    paths, left = [[leaf]], list(sent)
    for path in paths:
        for anchor in anchors:
            if anchor == path[-1]:
                return path
            if _is_signed_by(path[-1], anchor):
                return [*path, anchor]
        issuers = [each for each in left if _is_signed_by(path[-1], each)]
        left = [each for each in left if each not in issuers]
        paths += ([*path, issuer] for issuer in issuers)
    return None


def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _verifies(path: Sequence[x509.Certificate], now: datetime) -> bool:
    """Whether OpenSSL accepts the path, or only refuses it because of names that occur twice."""
    if len(path) == 1 or _takes(path, now, for_servers=True):
        return True
    names = {name_fields(each, subject=True) for each in path}
    return len(names) < len(path) and all(
        _issues_freely(issuer, is_anchor=issuer is path[-1])
        and (is_named_like_issuer(one) or _takes((one, issuer), now))
        for one, issuer in pairwise(path)
    )


def _issues_freely(issuer: x509.Certificate, *, is_anchor: bool) -> bool:
    """Whether a certificate's extensions allow it to issue certificates for any server."""
    for each in extensions(issuer):
        limits = isinstance(each.value, x509.ExtendedKeyUsage) and _SERVERS not in each.value
        if limits or isinstance(each.value, x509.NameConstraints):
            return False
    return is_authority(issuer) or (is_anchor and issuer.version is x509.Version.v1)


def _takes(path: Sequence[x509.Certificate], now: datetime, *, for_servers: bool = False) -> bool:
    """Whether OpenSSL accepts the path with its last certificate as the only anchor."""
    leaf, *between, anchor = map(crypto.X509.from_cryptography, path)
    store = crypto.X509Store()
    store.add_cert(anchor)
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(now)
    if for_servers:  # pyOpenSSL has no call for that
        lib = Binding.lib
        lib.X509_STORE_set_purpose(store._store, lib.X509_PURPOSE_SSL_SERVER)  # noqa: SLF001 - the same
    try:
        crypto.X509StoreContext(store, leaf, between).verify_certificate()
    except crypto.X509StoreContextError as error:
        return error.errors[0] in {_CODES.ERR_CERT_NOT_YET_VALID, _CODES.ERR_CERT_HAS_EXPIRED}
    return True
