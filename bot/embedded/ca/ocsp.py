"""OCSP (RFC 6960), for certificates that name no revocation list: the question and its answer."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from bot.embedded.ca.crl import SKEW, Revocation, Unreadable
from bot.embedded.ca.encoding import MALFORMED, extensions

#: How long a response counts that names no next one.
LONGEST = timedelta(days=7)


def location(certificate: x509.Certificate) -> str | None:
    """The http URL of its responder, if it names one."""
    try:
        access = extensions(certificate).get_extension_for_class(x509.AuthorityInformationAccess)
    except x509.ExtensionNotFound:
        return None
    for each in access.value:
        place = each.access_location
        is_uri = isinstance(place, x509.UniformResourceIdentifier)
        if each.access_method == AuthorityInformationAccessOID.OCSP and is_uri:
            url = str(place.value)
            if url.lower().startswith("http://"):
                return url
    return None


def question(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """The request for one certificate. SHA-1 names the issuer, as every responder knows it."""
    builder = ocsp.OCSPRequestBuilder()
    request = builder.add_certificate(certificate, issuer, hashes.SHA1()).build()  # noqa: S303 - it names, and secures nothing
    return request.public_bytes(Encoding.DER)


def read(
    body: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime
) -> tuple[Revocation | None, datetime]:
    """What a response says of a certificate, and until when. Raises Unreadable."""
    try:
        response = ocsp.load_der_ocsp_response(body)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise Unreadable(f"the OCSP responder says {response.response_status.name.lower()}")
        _verify(response, issuer, now)
        single = next(
            each for each in response.responses if each.serial_number == certificate.serial_number
        )
        until = single.next_update_utc or single.this_update_utc + LONGEST
        if not single.this_update_utc - SKEW <= now <= until:
            raise Unreadable("the OCSP response is out of date")
        if single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
            raise Unreadable("the OCSP responder doesn't know the certificate")
        if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
            return None, until
        at = single.revocation_time_utc or single.this_update_utc
        reason = single.revocation_reason.value if single.revocation_reason else ""
        return Revocation(at, _words(reason)), until
    except StopIteration:
        raise Unreadable("the OCSP response is about another certificate") from None
    except MALFORMED:
        raise Unreadable("the OCSP response can't be read") from None


def _words(reason: str) -> str:
    """`keyCompromise` in words."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in reason).replace("unspecified", "")


def _verify(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> None:
    """Verify the signature: the issuer's, or that of its responder (RFC 6960, 4.2.2.2)."""
    signer = issuer
    for each in response.certificates:
        if each == issuer:
            continue
        each.verify_directly_issued_by(issuer)
        usage = extensions(each).get_extension_for_class(x509.ExtendedKeyUsage).value
        in_time = each.not_valid_before_utc <= now <= each.not_valid_after_utc
        if ExtendedKeyUsageOID.OCSP_SIGNING not in usage or not in_time:
            raise Unreadable("the OCSP response is signed by somebody else")
        signer = each
        break
    key, data, signature = signer.public_key(), response.tbs_response_bytes, response.signature
    algorithm = response.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey) and algorithm:
        key.verify(signature, data, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm:
        key.verify(signature, data, ec.ECDSA(algorithm))
    elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, data)
    else:
        raise Unreadable("the OCSP response has an unknown signature")
