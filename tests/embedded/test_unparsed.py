"""Certificates that OpenSSL can't parse, from a server that speaks TLS 1.3 only."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from bot.embedded.scan.messages import sent_certificates
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.verdict import Verdict
from bot.target import Target

from . import fleet as fleets
from .authority import DERS, Scans, issuing
from .fleet import NOW
from .test_encoding import ENDS, organization, signed

SUITES: dict[str, tuple[str, Callable[[bytes], AESGCM | ChaCha20Poly1305], int]] = {
    "1301": ("sha256", AESGCM, 16),
    "1302": ("sha384", AESGCM, 32),
    "1303": ("sha256", ChaCha20Poly1305, 32),
}


def sized(content: bytes, size: int = 2) -> bytes:
    return len(content).to_bytes(size, "big") + content


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + sized(body, 3)


def expand(digest: str, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446, section 7.1)."""
    info = length.to_bytes(2, "big") + sized(b"tls13 " + label, 1) + sized(context, 1)
    algorithm = hashes.SHA256() if digest == "sha256" else hashes.SHA384()
    return HKDFExpand(algorithm, length, info).derive(secret)


def key_share(client_hello: bytes) -> bytes:
    """The X25519 share in a ClientHello: an entry of group 29 with 32 bytes."""
    at = client_hello.index(bytes.fromhex("001d0020"))
    return client_hello[at + 4 : at + 36]


def flight(client_hello: bytes, suite: str, ders: list[bytes], *, cut: int) -> bytes:
    """A server's first flight up to its certificates, in records of `cut` bytes."""
    digest, cipher, size = SUITES[suite]
    length = hashlib.new(digest).digest_size
    own = X25519PrivateKey.generate()
    shared = own.exchange(X25519PublicKey.from_public_bytes(key_share(client_hello)))
    session = client_hello[43:76] if client_hello[43] == 32 else b"\0"
    share = bytes.fromhex("0033") + sized(b"\0\x1d" + sized(own.public_key().public_bytes_raw()))
    extensions = sized(share + bytes.fromhex("002b00020304"))
    random = b"\x03\x03" + secrets.token_bytes(32)
    hello = message(2, random + session + bytes.fromhex(suite) + b"\0" + extensions)
    early = hmac.digest(bytes(length), bytes(length), digest)
    derived = expand(digest, early, b"derived", hashlib.new(digest, b"").digest(), length)
    transcript = hashlib.new(digest, client_hello[5:] + hello).digest()
    handshake = hmac.digest(derived, shared, digest)
    secret = expand(digest, handshake, b"s hs traffic", transcript, length)
    key, start = (expand(digest, secret, b, b"", n) for b, n in ((b"key", size), (b"iv", 12)))
    certificates = b"".join(sized(der, 3) + sized(b"") for der in ders)
    plain = message(8, sized(b"")) + message(11, sized(b"", 1) + sized(certificates, 3))
    sent = b"\x16\x03\x03" + sized(hello) + b"\x14\x03\x03\0\x01\x01"
    for number, at in enumerate(range(0, len(plain), cut)):
        text = plain[at : at + cut] + b"\x16" + bytes(number)  # padded, as servers may
        head = b"\x17\x03\x03" + (len(text) + 16).to_bytes(2, "big")
        nonce = (int.from_bytes(start, "big") ^ number).to_bytes(12, "big")
        sent += head + cipher(key).encrypt(nonce, text, head)
    return sent


@pytest.mark.parametrize(("suite", "cut"), [("1301", 16000), ("1302", 300), ("1303", 16000)])
async def test_certificates_that_openssl_can_not_parse_are_shown_in_tls_1_3(
    suite: str, cut: int, scans: Scans
) -> None:
    scans.leaf()
    by = issuing(scans)
    odd = signed(scans.certificate, by, organization(0x1A, b"Fleet"))  # VisibleString
    ders = [odd, by.certificate.public_bytes(DERS)]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(65536)
        if b"\x03\x04" not in hello:
            return
        writer.write(flight(hello, suite, ders, cut=cut))
        await reader.read()

    async with fleets.serve(talk) as port:
        scanner = Scanner(scans.guard, scans.trust, 5.0)
        found = await scanner.scan(Target("fleet.test", port), NOW)
    assert (found.verdict, found.host_match) == (Verdict.HANDSHAKE_FAILED, True)
    assert found.leaf is not None
    assert (found.leaf.issuer_cn, found.leaf.not_after) == ("Fleet Issuing CA", ENDS)
    fingerprints = [hashlib.sha256(der).hexdigest() for der in ders]
    assert [each.fingerprint for each in found.chain] == fingerprints


def test_a_flight_that_makes_no_sense_has_no_certificates() -> None:
    for received in (b"", b"\x16", b"\x16\x03\x03\0\x04\x02\0\0\0", b"\x16\x03\x03\0\x05abcde",
                     b"\x16\x03\x03\0\x26\x02\0\0\x22" + bytes(33) + b"\x20"):  # fmt: skip
        for secret in (b"", bytes(32)):
            assert sent_certificates(received, secret) == []
