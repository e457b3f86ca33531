"""OCSP (RFC 6960), for certificates without a revocation list: the request and its response."""

from contextlib import suppress
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    SignatureAlgorithmOID,
)

from bot.embedded.ca.crl import REASONS, SKEW, Revocation, Unreadable
from bot.embedded.ca.encoding import (
    MALFORMED,
    content,
    critical_extensions,
    extensions,
    fields,
    key_fields,
)

#: How long a response is valid that doesn't name the next one.
LONGEST = timedelta(days=7)
#: A response has a few kB; the time to read one grows with the square of its length.
MOST_BYTES = 100_000
#: Tags in a response (RFC 6960, section 4.2.1).
_SINGLES, _EXTENSIONS = 0x30, 0xA1
#: What doesn't change an answer even if it is critical: a nonce that nobody sent, references to
#: lists, the archive's age, and why and since when something was revoked.
_KNOWN = frozenset(bytes.fromhex(f"2b06010505073001{number:02x}") for number in (2, 3, 6)) | {
    bytes.fromhex("551d15"),
    bytes.fromhex("551d18"),
}
_PSS = SignatureAlgorithmOID.RSASSA_PSS
_DIGESTS = {
    bytes.fromhex("608648016503040201"): hashes.SHA256(),
    bytes.fromhex("608648016503040202"): hashes.SHA384(),
    bytes.fromhex("608648016503040203"): hashes.SHA512(),
}
_STATUS = ocsp.OCSPCertStatus
#: If a response contradicts itself about a certificate, the first of these counts.
_WORST_FIRST = (_STATUS.REVOKED, _STATUS.UNKNOWN, _STATUS.GOOD)


def locations(certificate: x509.Certificate) -> list[str] | None:
    """The http URLs of its responders; empty if it only names others, None if it names none."""
    try:
        access = extensions(certificate).get_extension_for_class(x509.AuthorityInformationAccess)
    except x509.ExtensionNotFound:
        return None
    named = [
        str(each.access_location.value)
        for each in access.value
        if each.access_method == AuthorityInformationAccessOID.OCSP
    ]
    return [name for name in named if name.lower().startswith("http://")] if named else None


def question(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """The request for one certificate. It identifies the issuer by SHA-1, as all support that."""
    builder = ocsp.OCSPRequestBuilder()
    request = builder.add_certificate(certificate, issuer, hashes.SHA1()).build()  # noqa: S303 - it names, and secures nothing
    return request.public_bytes(Encoding.DER)


def read(
    body: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime
) -> tuple[Revocation | None, datetime]:
    """The certificate's status in a response, and until when it is valid. Raises Unreadable."""
    if len(body) > MOST_BYTES:
        raise Unreadable("the OCSP response is too long")
    try:
        response = ocsp.load_der_ocsp_response(body)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            said = response.response_status.name.lower().replace("_", " ")
            raise Unreadable(f"the OCSP responder says {said}")
        _verify(response, issuer, now)
        if not _is_understood(response):
            raise Unreadable("the OCSP response has an unknown critical extension")
        ours = [each for each in response.responses if _is_about(each, certificate, issuer)]
        current = [each for each in ours if each.this_update_utc - SKEW <= now <= _until(each)]
        if not ours:
            raise Unreadable("the OCSP response is about another certificate")
        if not current:
            raise Unreadable("the OCSP response is out of date")
        # if there are several, the worst counts
        single = min(current, key=lambda each: _WORST_FIRST.index(each.certificate_status))
        until = _until(single)
        if single.certificate_status is _STATUS.UNKNOWN:
            raise Unreadable("the OCSP responder doesn't know the certificate")
        if single.certificate_status is _STATUS.GOOD:
            return None, until
        at = single.revocation_time_utc or single.this_update_utc
        reason = single.revocation_reason or x509.ReasonFlags.unspecified
        return Revocation(at, REASONS.get(reason, "")), until
    except MALFORMED:
        raise Unreadable("the OCSP response can't be read") from None


def _is_understood(response: ocsp.OCSPResponse) -> bool:
    """Whether all that is critical in it is known (RFC 6960, section 4.4). Raises ValueError."""
    parts = list(fields(content(response.tbs_response_bytes)))
    at = [tag for tag, _ in parts].index(_SINGLES)
    singles = [list(fields(single))[3:] for _, single in fields(parts[at][1])]
    optional = sum(singles, parts[at + 1 :])
    found = (content(value) for tag, value in optional if tag == _EXTENSIONS)
    return all(oid in _KNOWN for each in found for oid in critical_extensions(each))


def _until(single: ocsp.OCSPSingleResponse) -> datetime:
    return single.next_update_utc or single.this_update_utc + LONGEST


def _is_about(
    single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> bool:
    """Whether a response is about this certificate: serial number and issuer (RFC 6960, 4.1.1)."""
    if single.serial_number != certificate.serial_number:
        return False
    digest = hashes.Hash(single.hash_algorithm)
    _, (_, bits) = fields(key_fields(issuer))
    digest.update(bits[1:])  # without the count of unused bits
    return digest.finalize() == single.issuer_key_hash


def _verify(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> None:
    """Verify the signature: the issuer's, or its responder's (RFC 6960, 4.2.2.2)."""
    for signer in (issuer, *response.certificates):
        with suppress(*MALFORMED):
            if signer == issuer or _is_responder(signer, issuer, now):
                _verify_signature(response, signer)
                return
    raise Unreadable("the OCSP response is signed by somebody else")


def _is_responder(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    """Whether the issuer permits it to sign responses now. Raises one of MALFORMED."""
    certificate.verify_directly_issued_by(issuer)
    usage = extensions(certificate).get_extension_for_class(x509.ExtendedKeyUsage).value
    in_time = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage and in_time and _may_sign(certificate)


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether its key may sign, as far as it says."""
    try:
        usage = extensions(certificate).get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.digital_signature or usage.content_commitment


def _verify_signature(response: ocsp.OCSPResponse, signer: x509.Certificate) -> None:
    """Raises one of MALFORMED for another signer's signature, or an unknown algorithm."""
    key, data, signature = signer.public_key(), response.tbs_response_bytes, response.signature
    algorithm, is_pss = _digest(response), response.signature_algorithm_oid == _PSS
    if isinstance(key, rsa.RSAPublicKey) and algorithm and is_pss:
        salted = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
        key.verify(signature, data, salted, algorithm)
    elif isinstance(key, rsa.RSAPublicKey) and algorithm:
        key.verify(signature, data, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm:
        key.verify(signature, data, ec.ECDSA(algorithm))
    elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, data)
    else:
        raise ValueError("an unknown signature")


def _digest(response: ocsp.OCSPResponse) -> hashes.HashAlgorithm | None:
    """How a response is digested; `cryptography` doesn't tell it of RSASSA-PSS (RFC 4055, 3.1)."""
    if response.signature_algorithm_oid != _PSS:
        return response.signature_hash_algorithm
    _, (_, wrapped) = fields(content(response.public_bytes(Encoding.DER)))
    _, (_, basic) = fields(content(wrapped))
    _, (_, algorithm), *_ = fields(content(basic))
    _, (_, parameters) = fields(algorithm)
    return _DIGESTS.get(content(content(content(parameters))))
