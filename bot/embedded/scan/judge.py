"""From what OpenSSL found in a chain to one verdict, in an engineer's words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from OpenSSL import SSL

from bot.embedded.scan.certificate import Leaf
from bot.embedded.scan.tls import ChainFault
from bot.embedded.scan.verdict import Verdict, expired, printable, sentence

_CODES = SSL.X509VerificationCodes
_TRUST = {
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
# Of several faults of a chain, the first of these decides.
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
    chain: Sequence[x509.Certificate],
    faults: Sequence[ChainFault],
    now: datetime,
) -> tuple[Verdict, str]:
    """The verdict on a certificate and the chain it was sent in, and the words that go with it.

    Raises ValueError for a certificate of the chain that can't be decoded.
    Of several faults the one that decides is named: first the leaf's dates, then the chain, last
    the host name.
    """
    if leaf.not_after < now:
        return Verdict.EXPIRED, expired(leaf.not_after)
    if leaf.not_before > now:
        return _said(Verdict.NOT_YET_VALID, f"{leaf.not_before:%Y-%m-%d %H:%M} UTC")
    found = [_judge_fault(fault, alone=len(chain) == 1) for fault in faults]
    if found:
        return min(found, key=lambda one: _ORDER.index(one[0]))
    if not leaf.covers(host):
        return _said(Verdict.HOST_MISMATCH, _some(leaf.alt_names))
    return _said(Verdict.VALID)


def _judge_fault(fault: ChainFault, *, alone: bool) -> tuple[Verdict, str]:
    whose = fault.certificate.to_cryptography()
    facts = Leaf.read(whose)
    name = _quoted(facts.subject_cn or facts.subject_o)
    if fault.code == _CODES.ERR_CERT_HAS_EXPIRED:
        return Verdict.EXPIRED, f"{expired(facts.not_after)}: {name}, a certificate of the chain"
    if fault.code == _CODES.ERR_CERT_NOT_YET_VALID:
        return Verdict.NOT_YET_VALID, f"Not yet valid: {name}, a certificate of the chain"
    if fault.code in _TRUST and fault.depth == 0:  # nothing came that issued the leaf
        if alone:
            return _said(Verdict.INCOMPLETE_CHAIN, "no intermediate certificate")
        issuer = _quoted(facts.issuer_cn or facts.issuer_o)
        return _said(Verdict.INCOMPLETE_CHAIN, f"no certificate of the issuer, {issuer}")
    if fault.code in _TRUST or fault.code == _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return _said(
            Verdict.UNTRUSTED, f"the chain ends at {name} and leads to no root that is trusted"
        )
    verdict = _BY_CODE.get(fault.code, Verdict.UNTRUSTED)
    broken = f"the chain breaks a rule at {name}"
    return _said(verdict, broken if verdict is Verdict.UNTRUSTED else name)


def _quoted(name: str) -> str:
    return f"“{printable(name, 100)}”" if name else "a certificate without a name"


def _said(verdict: Verdict, detail: str = "") -> tuple[Verdict, str]:
    return verdict, sentence(verdict, detail)


def _some(names: tuple[str, ...]) -> str:
    if not names:
        return "no host: it lists none"
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
