"""What is wrong with a chain, as OpenSSL and the clock see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from OpenSSL import SSL, crypto

_NOT_YET_VALID: int = SSL.X509VerificationCodes.ERR_CERT_NOT_YET_VALID
_HAS_EXPIRED: int = SSL.X509VerificationCodes.ERR_CERT_HAS_EXPIRED
_DATES = (_NOT_YET_VALID, _HAS_EXPIRED)


@dataclass(frozen=True, slots=True)
class ChainFault:
    """One fault of the chain: OpenSSL's error code, and its depth (0 is the leaf)."""

    code: int
    depth: int
    certificate: crypto.X509


def date_fault(certificate: x509.Certificate, now: datetime) -> int:
    """OpenSSL's code for a certificate that has expired or is not valid yet; 0 if it is valid."""
    if certificate.not_valid_before_utc > now:
        return _NOT_YET_VALID
    return _HAS_EXPIRED if certificate.not_valid_after_utc < now else 0


class FaultRecorder(list[ChainFault]):
    """The faults of one chain, its dates checked as of `now` rather than by OpenSSL's clock."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def record(self, certificate: crypto.X509, code: int, depth: int, *, ok: bool) -> None:
        """Take one call of the verify callback: a fault, or a certificate without other faults."""
        if ok:
            code = self._date_fault(certificate)
        elif code in _DATES:  # OpenSSL's date check uses the wrong clock; `_date_fault` repeats it
            return
        if code:
            self.append(ChainFault(code, depth, certificate))

    def _date_fault(self, certificate: crypto.X509) -> int:
        try:
            return date_fault(certificate.to_cryptography(), self._now)
        except (ValueError, x509.InvalidVersion):
            return 0  # OpenSSL reports dates that can't be parsed as a fault of their own
