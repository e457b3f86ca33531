"""From the faults that OpenSSL found in a chain to one verdict, in an engineer's words."""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from OpenSSL import SSL, crypto

from bot.embedded.ca.encoding import has_malformed, readable
from bot.embedded.scan.certificate import Leaf, SentCertificate
from bot.embedded.scan.tls import ChainFault
from bot.embedded.scan.verdict import Verdict, expired_sentence, printable, sentence

_CODES = SSL.X509VerificationCodes
_NO_ISSUER = {
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT,
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
}
_BY_CODE = {
    _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: Verdict.SELF_SIGNED,
    _CODES.ERR_INVALID_PURPOSE: Verdict.PURPOSE,
    66: Verdict.WEAK_KEY,  # X509_V_ERR_EE_KEY_TOO_SMALL
    67: Verdict.WEAK_KEY,  # X509_V_ERR_CA_KEY_TOO_SMALL
    68: Verdict.WEAK_SIGNATURE,  # X509_V_ERR_CA_MD_TOO_WEAK
}
#: Why a chain could not be verified at a certificate.
_REASONS = {
    _CODES.ERR_CERT_SIGNATURE_FAILURE: "its signature is wrong",
    _CODES.ERR_PATH_LENGTH_EXCEEDED: "more CAs are below it than it permits",
    _CODES.ERR_UNHANDLED_CRITICAL_EXTENSION: "it has an unknown critical extension",
    _CODES.ERR_PERMITTED_VIOLATION: "a CA above it may not issue for its names",
    _CODES.ERR_EXCLUDED_VIOLATION: "a CA above it may not issue for its names",
    _CODES.ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD: "its dates are malformed",
    _CODES.ERR_ERROR_IN_CERT_NOT_AFTER_FIELD: "its dates are malformed",
}
# Signatures that also cover an ID agreed elsewhere (GB/T 32918.2), so that nobody can verify them.
_SM2 = "1.2.156.10197.1.501"
# If a chain has several faults, the first of these is the verdict.
_ORDER = (
    Verdict.EXPIRED,
    Verdict.NOT_YET_VALID,
    Verdict.SELF_SIGNED,
    Verdict.INCOMPLETE_CHAIN,
    Verdict.PURPOSE,
    Verdict.WEAK_KEY,
    Verdict.WEAK_SIGNATURE,
    Verdict.UNTRUSTED,
)


def judge(
    host: str,
    leaf: Leaf,
    faults: Sequence[ChainFault],
    now: datetime,
    others: Sequence[SentCertificate],
) -> tuple[Verdict, str]:
    """The verdict on a certificate and its chain, with its sentence; `others` came after it.

    If there are several faults, the leaf's dates come first, then the chain, then the host name.
    """
    if leaf.not_after < now:
        return Verdict.EXPIRED, expired_sentence(leaf.not_after)
    if leaf.not_before > now:
        never = ", but expires before that" if leaf.not_after < leaf.not_before else ""
        return _verdict(Verdict.NOT_YET_VALID, f"{leaf.not_before:%Y-%m-%d %H:%M} UTC{never}")
    verdicts = [_judge_fault(fault, others) for fault in faults]
    if verdicts:
        return min(verdicts, key=lambda each: _ORDER.index(each[0]))
    if not leaf.covers(host):
        return _verdict(Verdict.HOST_MISMATCH, _coverage(leaf.alt_names, host))
    return _verdict(Verdict.VALID)


def _judge_fault(fault: ChainFault, others: Sequence[SentCertificate]) -> tuple[Verdict, str]:
    try:
        certificate = readable(crypto.dump_certificate(crypto.FILETYPE_ASN1, fault.certificate))
    except ValueError:
        return _verdict(Verdict.UNTRUSTED, "a certificate of the chain can't be decoded")
    return _judge_certificate(certificate, fault, others)


def _judge_certificate(
    certificate: x509.Certificate, fault: ChainFault, others: Sequence[SentCertificate]
) -> tuple[Verdict, str]:
    facts = Leaf.read(certificate)
    name = _quote(facts.subject_cn or facts.subject_o)
    if fault.code == _CODES.ERR_CERT_HAS_EXPIRED:
        return Verdict.EXPIRED, f"{expired_sentence(facts.not_after)}: {name} in the chain"
    if fault.code == _CODES.ERR_CERT_NOT_YET_VALID:
        return Verdict.NOT_YET_VALID, f"Not yet valid: {name} in the chain"
    issuer = facts.issuer_cn or facts.issuer_o
    is_sent = any(each.subject == issuer for each in others)
    code = fault.code
    is_sm2 = certificate.signature_algorithm_oid.dotted_string == _SM2
    if code == _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT and not (is_sm2 or _is_self_signed(fault)):
        code = _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY  # OpenSSL has compared the names only
    if code in _NO_ISSUER and has_malformed(certificate):
        detail = f"an extension of {name} is malformed, so the chain can't be verified"
        return _verdict(Verdict.UNTRUSTED, detail)
    if code in _NO_ISSUER and fault.depth == 0 and not is_sent:
        detail = f"the server does not send the certificate of the issuer, {_quote(issuer)}"
        if not others:
            detail = "the server sends no intermediate certificate"
        return _verdict(Verdict.INCOMPLETE_CHAIN, detail)
    if code == _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN or (code in _NO_ISSUER and fault.depth):
        detail = f"the chain ends at {name} and does not lead to a trusted root"
        return _verdict(Verdict.UNTRUSTED, detail)
    verdict = _BY_CODE.get(code, Verdict.UNTRUSTED)
    detail = name
    if code == _CODES.ERR_INVALID_CA or (verdict is Verdict.PURPOSE and fault.depth):
        verdict, detail = Verdict.UNTRUSTED, f"{name} may not issue certificates for TLS servers"
    elif verdict is Verdict.UNTRUSTED:
        why = f": {_REASONS[code]}" if code in _REASONS else ""
        detail = f"the chain could not be verified at {name}{why}"
    return _verdict(verdict, detail)


def _is_self_signed(fault: ChainFault) -> bool:
    """Whether its own key signed it; OpenSSL knows all algorithms, `cryptography` fewer."""
    store = crypto.X509Store()
    store.add_cert(fault.certificate)
    store.set_flags(crypto.X509StoreFlags.CHECK_SS_SIGNATURE)
    try:
        crypto.X509StoreContext(store, fault.certificate).verify_certificate()
    except crypto.X509StoreContextError as error:
        return bool(error.errors[0] != _CODES.ERR_CERT_SIGNATURE_FAILURE)
    return True


def named(certificate: x509.Certificate) -> str:
    """A certificate by the name of its subject, in quotation marks."""
    facts = Leaf.read(certificate)
    return _quote(facts.subject_cn or facts.subject_o)


def _quote(name: str) -> str:
    return f"“{printable(name, 100)}”" if name else "a certificate without a name"


def _verdict(verdict: Verdict, detail: str = "") -> tuple[Verdict, str]:
    return verdict, sentence(verdict, detail)


def _coverage(names: tuple[str, ...], host: str) -> str:
    names = tuple(name for name in names if name.strip())
    if not names:
        return "the certificate lists no host names"
    if host in names:
        return f"the certificate lists {host} as a host name, not as an IP address"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"the certificate is for {', '.join(names[:3])}{more}"
