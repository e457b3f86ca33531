"""The verdict of a scan in one word, with its sentence and color."""

from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from bot.target import REFUSED, REVOKED_MESSAGE

Color = Literal["green", "orange", "red", "grey"]
GREEN_DAYS = 30  # with more whole days left, a valid certificate is green


class Verdict(StrEnum):
    """The verdict of a scan; the database stores the value."""

    VALID = "valid"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    SELF_SIGNED = "self_signed"
    UNTRUSTED = "untrusted"
    INCOMPLETE_CHAIN = "incomplete_chain"
    PURPOSE = "purpose"
    WEAK_KEY = "weak_key"
    WEAK_SIGNATURE = "weak_signature"
    HOST_MISMATCH = "host_mismatch"
    REVOKED = "revoked"
    OLD_PROTOCOL = "old_protocol"
    HANDSHAKE_FAILED = "handshake_failed"
    NOT_TLS = "not_tls"
    TIMED_OUT = "timed_out"
    RESET = "reset"
    CLOSED = "closed"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    UNRESOLVED = "unresolved"
    FORBIDDEN = "forbidden"
    PROXY = "proxy"
    NO_STARTTLS = "no_starttls"


#: Looking a member up in its class is slow in Python 3.11, and a list has 100,000 rows.
VALID = Verdict.VALID

#: The sentence of each verdict; `{}` stands for details of the scan.
_SENTENCES = {
    Verdict.VALID: "Valid",  # exactly the API page's word
    Verdict.EXPIRED: "Expired {}",
    Verdict.NOT_YET_VALID: "Not yet valid: the certificate is valid from {}",
    Verdict.SELF_SIGNED: "Self-signed: no certificate authority issued the certificate",
    Verdict.UNTRUSTED: "Untrusted: {}",
    Verdict.INCOMPLETE_CHAIN: "Incomplete chain: {}",
    Verdict.PURPOSE: "Wrong purpose: the certificate is not for TLS servers",
    Verdict.WEAK_KEY: "Weak key in the certificate of {}",
    Verdict.WEAK_SIGNATURE: "Weak signature on the certificate of {}",
    Verdict.HOST_MISMATCH: "Host name mismatch: {}",
    Verdict.REVOKED: REVOKED_MESSAGE + "{}",
    Verdict.OLD_PROTOCOL: "Outdated protocol: the server supports only {}",
    Verdict.HANDSHAKE_FAILED: "The TLS handshake failed: {}",
    Verdict.NOT_TLS: "The server answered with something that is not TLS",
    Verdict.TIMED_OUT: "The scan timed out: the server did not respond in time",
    Verdict.RESET: "The connection was reset before the handshake completed",
    Verdict.CLOSED: "The connection was closed before the handshake completed",
    Verdict.REFUSED: "The connection was refused: nothing is listening on that port",
    Verdict.UNREACHABLE: "The server could not be reached",
    Verdict.UNRESOLVED: "The host name could not be resolved",
    Verdict.FORBIDDEN: REFUSED,
    Verdict.PROXY: "The proxy {}",
    Verdict.NO_STARTTLS: "STARTTLS failed: {}",
}

#: Without a handshake there is no certificate to judge: grey.
_NO_HANDSHAKE = frozenset(
    {
        Verdict.HANDSHAKE_FAILED,
        Verdict.NOT_TLS,
        Verdict.TIMED_OUT,
        Verdict.RESET,
        Verdict.CLOSED,
        Verdict.REFUSED,
        Verdict.UNREACHABLE,
        Verdict.UNRESOLVED,
        Verdict.FORBIDDEN,
        Verdict.PROXY,
        Verdict.NO_STARTTLS,
    }
)


@lru_cache(maxsize=100)  # most have no details
def sentence(verdict: Verdict, detail: str = "") -> str:
    """The `ssl_message` of a verdict: "Valid", or what is wrong, without a full stop."""
    return _SENTENCES[verdict].format(printable(detail))


def expired_sentence(not_after: datetime) -> str:
    """The `ssl_message` of a certificate that expired at `not_after` (UTC)."""
    return sentence(Verdict.EXPIRED, not_after.date().isoformat())


def color(verdict: Verdict, days: int | None) -> Color:
    """Green: valid for more than 30 days. Orange: valid. Red: invalid. Grey: no handshake."""
    if verdict is VALID:
        return "green" if days is not None and days > GREEN_DAYS else "orange"
    return "grey" if verdict in _NO_HANDSHAKE else "red"


def printable(text: str, limit: int = 200) -> str:
    """Third-party text on one line: U+FFFD for control characters, cut to `limit` characters."""
    line = text[: limit + 1]
    if not line.isprintable():
        line = "".join(c if c.isprintable() else "\ufffd" for c in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"
