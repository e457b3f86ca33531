"""The messages of a TLS handshake, read by hand where OpenSSL tells nothing.

Whether a server supports X25519MLKEM768, the key exchange that withstands quantum computers: one
ClientHello offers only that group, and no key share: a server that knows the group asks for a share
(HelloRetryRequest; RFC 8446, section 4.1.4), any other refuses. The handshake ends there, so no
ML-KEM code is needed. Any other outcome is unknown.

And the certificates that OpenSSL can't parse, from the bytes that the server sent.
"""

import asyncio
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from bot.embedded.scan.connection import Connection
from bot.embedded.scan.dns import is_address

_SECONDS = 3.0
_X25519MLKEM768 = bytes.fromhex("11ec")  # 4588 in IANA's registry of TLS supported groups
_TLS13 = bytes.fromhex("0304")
_SUITES = bytes.fromhex("130113021303")
# All that IANA lists for TLS 1.3: the server must not refuse because it can't sign.
_SIGNATURES = bytes.fromhex(
    "0403050306030804080508060809080a080b080708080401050106010203020107080709070a070b070c070d"
    "070e070f081a081b081c090409050906091109120913091409150916091709180919091a091b091c"
)
_SERVER_NAME, _GROUPS, _SIGNATURE_ALGORITHMS, _VERSIONS, _KEY_SHARE = 0, 10, 13, 43, 51
_ALERT, _HANDSHAKE, _ENCRYPTED = 21, 22, 23  # records (RFC 8446, section 5.1)
_SERVER_HELLO, _CERTIFICATE = 2, 11
# handshake_failure and insufficient_security: no group in common (RFC 8446, section 4.1.1).
_NOTHING_IN_COMMON = (40, 71)
_WARNING = 1
#: The random value that makes a ServerHello a HelloRetryRequest (RFC 8446, section 4.1.3).
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_MOST_RECORDS = 8
_LONGEST_RECORD = 16_640
_AEADS: dict[bytes, tuple[type[AESGCM | ChaCha20Poly1305], int, hashes.HashAlgorithm]] = {
    bytes.fromhex("1301"): (AESGCM, 16, hashes.SHA256()),
    bytes.fromhex("1302"): (AESGCM, 32, hashes.SHA384()),
    bytes.fromhex("1303"): (ChaCha20Poly1305, 32, hashes.SHA256()),
}


async def supports(connection: Connection, host: str) -> bool | None:
    """Ask a server at the point where TLS begins, then close; None if its answer is unclear."""
    try:
        async with asyncio.timeout(_SECONDS):
            await connection.write(client_hello(host))
            return await _answer(connection)
    except (OSError, EOFError, ValueError, IndexError):  # a TimeoutError is an OSError
        return None
    finally:
        connection.close()


def client_hello(host: str) -> bytes:
    """A ClientHello of TLS 1.3 that offers one group and no key share, in a record."""
    extensions = [
        (_GROUPS, _sized(_X25519MLKEM768)),
        (_SIGNATURE_ALGORITHMS, _sized(_SIGNATURES)),
        (_VERSIONS, _sized(_TLS13, 1)),
        (_KEY_SHARE, _sized(b"")),
    ]
    if not is_address(host):  # SNI is for names only (RFC 6066, section 3)
        extensions.insert(0, (_SERVER_NAME, _sized(b"\0" + _sized(host.encode("ascii")))))
    hello = b"".join(
        [
            b"\x03\x03",
            secrets.token_bytes(32),
            _sized(secrets.token_bytes(32), 1),
            _sized(_SUITES),
            _sized(b"\0", 1),
            _sized(b"".join(kind.to_bytes(2, "big") + _sized(body) for kind, body in extensions)),
        ]
    )
    return b"\x16\x03\x01" + _sized(b"\x01" + _sized(hello, 3))


def _sized(content: bytes, size: int = 2) -> bytes:
    return len(content).to_bytes(size, "big") + content


async def _answer(connection: Connection) -> bool | None:
    """Read the server's first flight. Raises OSError, EOFError, ValueError or IndexError."""
    message = b""
    for _ in range(_MOST_RECORDS):
        head = await connection.read_exactly(5)
        length = int.from_bytes(head[3:], "big")
        if length > _LONGEST_RECORD:
            return None
        content = await connection.read_exactly(length)
        if head[0] == _ALERT and content[0] != _WARNING:
            return False if content[1] in _NOTHING_IN_COMMON else None
        if head[0] == _HANDSHAKE:
            message += content
            if len(message) >= 4 + int.from_bytes(message[1:4], "big"):
                return _asks_for_share(message)
        elif head[0] != _ALERT:
            return None
    return None


def _asks_for_share(message: bytes) -> bool | None:
    """Whether a message is a HelloRetryRequest for the group. Raises IndexError."""
    if message[0] != _SERVER_HELLO or message[6:38] != _RETRY:
        return None
    at = 39 + message[38] + 2 + 1  # after the session ID, the suite and the compression method
    end = at + 2 + int.from_bytes(message[at : at + 2], "big")
    wanted = dict(_extensions(message[at + 2 : end])).get(_KEY_SHARE)
    return True if wanted == _X25519MLKEM768 else None


def _extensions(data: bytes) -> Iterable[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        kind, length = (int.from_bytes(data[n : n + 2], "big") for n in (at, at + 2))
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length


def sent_certificates(received: bytes, secret: bytes) -> list[bytes]:
    """The certificates in a server's first flight, encrypted with the `secret` if there is one."""
    with suppress(ValueError, LookupError):
        sent = b"".join(body for head, body in _records(received) if head[0] == _HANDSHAKE)
        if not secret:  # before TLS 1.3 (RFC 5246, section 7.4.2)
            return [each for body in _messages(sent, _CERTIFICATE) for each in _listed(body[3:], 0)]
        *_, hello = _messages(sent, _SERVER_HELLO)
        plain = _decrypted(received, hello[35 + hello[34] :][:2], secret)
        bodies = _messages(plain, _CERTIFICATE)  # a context comes first (RFC 8446, section 4.4.2)
        return [each for body in bodies for each in _listed(body[4 + body[0] :], 2)]
    return []


def _listed(entries: bytes, size: int) -> Iterator[bytes]:
    """Each certificate of a list; a length of `size` bytes and extensions follow each."""
    at = 0
    while at < len(entries):
        end = at + 3 + int.from_bytes(entries[at : at + 3], "big")
        yield entries[at + 3 : end]
        at = end + size + int.from_bytes(entries[end : end + size], "big")


def _records(received: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 5 <= len(received):
        end = at + 5 + int.from_bytes(received[at + 3 : at + 5], "big")
        yield received[at : at + 5], received[at + 5 : end]
        at = end


def _messages(data: bytes, kind: int) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at + 1 : at + 4], "big")
        if data[at] == kind:
            yield data[at + 4 : end]
        at = end


def _decrypted(received: bytes, suite: bytes, secret: bytes) -> bytes:
    """What a server sent encrypted of its handshake (RFC 8446, sections 5.2, 5.3 and 7.3)."""
    cipher, size, digest = _AEADS[suite]
    key, start = (
        HKDFExpand(digest, length, length.to_bytes(2, "big") + label).derive(secret)
        for length, label in ((size, b"\x09tls13 key\0"), (12, b"\x08tls13 iv\0"))
    )
    plain = b""
    sent = (record for record in _records(received) if record[0][0] == _ENCRYPTED)
    with suppress(InvalidTag):  # what follows the handshake has another key
        for number, (head, body) in enumerate(sent):
            nonce = (int.from_bytes(start, "big") ^ number).to_bytes(12, "big")
            text = cipher(key).decrypt(nonce, body, head).rstrip(b"\0")
            plain += text[:-1] if text[-1:] == bytes([_HANDSHAKE]) else b""
    return plain
