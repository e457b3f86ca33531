"""The operator's own trust anchors, where OpenSSL takes a wrong turn.

OpenSSL looks for an issuer by its name. If two anchors share a name, it may try the wrong one; if a
private CA is named like the server's certificate, it takes that for self-signed. A signature tells
who the issuer is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from OpenSSL import SSL, crypto

from bot.embedded.scan.tls import ChainFault, date_fault

_CODES = SSL.X509VerificationCodes
#: Faults of a chain that was put together wrongly. All others were found in what was put together.
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
_LONGEST_PATH = 8


def reconsidered(
    chain: Sequence[x509.Certificate],
    faults: Sequence[ChainFault],
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> Sequence[ChainFault]:
    """The faults of a chain, leaf first, once more, if it leads to an anchor by its signatures."""
    if not anchors or not any(fault.code in _BUILDING for fault in faults):
        return faults
    path = _path([chain[0]], chain[1:], anchors)
    if path is None or not _verifies(path, now):
        return faults
    kept = [fault for fault in faults if fault.code not in _BUILDING]
    for depth, certificate in enumerate(path):
        if code := date_fault(certificate, now):
            kept.append(ChainFault(code, depth, crypto.X509.from_cryptography(certificate)))
    return kept


def _path(
    begun: list[x509.Certificate],
    sent: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
) -> list[x509.Certificate] | None:
    """From the leaf to an anchor, each signed by the next; None if there is no such path."""
    last = begun[-1]
    for anchor in anchors:
        if anchor == last:
            return begun
        if _signed_by(last, anchor):
            return [*begun, anchor]
    if len(begun) < _LONGEST_PATH:
        for issuer in sent:
            known = issuer in begun or not _signed_by(last, issuer)
            if not known and (path := _path([*begun, issuer], sent, anchors)):
                return path
    return None


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _verifies(path: Sequence[x509.Certificate], now: datetime) -> bool:
    """Whether OpenSSL takes the path, if it knows no other anchor, or would but for its name."""
    leaf, anchor = path[0], path[-1]
    if len(path) == 1 or (len(path) == 2 and leaf.issuer == leaf.subject):
        return True
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(anchor))
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(now)
    between = [crypto.X509.from_cryptography(each) for each in path[1:-1]]
    context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), between)
    try:
        context.verify_certificate()
    except crypto.X509StoreContextError as error:
        return error.errors[0] in {_CODES.ERR_CERT_NOT_YET_VALID, _CODES.ERR_CERT_HAS_EXPIRED}
    return True
