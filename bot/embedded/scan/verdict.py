"""What a scan can find, as one word each; the sentence and the colour that go with it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from bot.target import REFUSED

Color = Literal["green", "orange", "red", "grey"]
GREEN_DAYS = 30  # more whole days left than this, and a valid certificate is green


class Verdict(StrEnum):
    """The outcome of a scan; the value is what the database stores."""

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


#: The words of each verdict; `{}` takes the detail that only the scan knows.
_SENTENCES = {
    Verdict.VALID: "Valid",  # the API page's own word, alone
    Verdict.EXPIRED: "Expired {}",
    Verdict.NOT_YET_VALID: "Not yet valid: the certificate starts on {}",
    Verdict.SELF_SIGNED: "Self-signed: no authority vouches for the certificate",
    Verdict.UNTRUSTED: "Untrusted: {}",
    Verdict.INCOMPLETE_CHAIN: "Incomplete chain: the server sends {}",
    Verdict.PURPOSE: "Wrong purpose: the certificate is not for a TLS server",
    Verdict.WEAK_KEY: "Weak key in the certificate of {}",
    Verdict.WEAK_SIGNATURE: "Weak signature on the certificate of {}",
    Verdict.HOST_MISMATCH: "Host name mismatch: the certificate is for {}",
    Verdict.OLD_PROTOCOL: "Outdated protocol: the server speaks only {}",
    Verdict.HANDSHAKE_FAILED: "The TLS handshake failed: {}",
    Verdict.NOT_TLS: "The server answers, but what it speaks is not TLS",
    Verdict.TIMED_OUT: "The server did not answer in time: the scan timed out",
    Verdict.RESET: "The connection was reset before the handshake ended",
    Verdict.CLOSED: "The connection was closed before the handshake ended",
    Verdict.REFUSED: "The connection was refused: nothing listens there",
    Verdict.UNREACHABLE: "The server could not be reached",
    Verdict.UNRESOLVED: "The host name could not be resolved",
    Verdict.FORBIDDEN: REFUSED,
    Verdict.PROXY: "Proxy {}",
    Verdict.NO_STARTTLS: "STARTTLS failed: {}",
}

#: No handshake, so nothing to judge: shown in grey.
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


def sentence(verdict: Verdict, detail: str = "") -> str:
    """The `ssl_message` of a verdict: exactly "Valid", or what is wrong, without a full stop."""
    return _SENTENCES[verdict].format(printable(detail))


def expired(not_after: datetime) -> str:
    """The `ssl_message` of a certificate that ended at `not_after` (UTC)."""
    return sentence(Verdict.EXPIRED, f"{not_after:%Y-%m-%d}")


def color(verdict: Verdict, days: int | None) -> Color:
    """Green: valid, more than 30 days. Orange: valid. Red: invalid. Grey: no handshake."""
    if verdict in _NO_HANDSHAKE:
        return "grey"
    if verdict is not Verdict.VALID:
        return "red"
    return "green" if days is not None and days > GREEN_DAYS else "orange"


def printable(text: str, limit: int = 200) -> str:
    """Third-party text on one line: control and format characters as U+FFFD, cut to `limit`."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
