"""Whether a server supports X25519MLKEM768, the key exchange that withstands quantum computers.

One ClientHello offers only that group, and no key share: a server that knows the group asks for a
share (HelloRetryRequest; RFC 8446, section 4.1.4), any other refuses. The handshake ends there, so
no ML-KEM code is needed. Any other outcome is unknown.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable

from bot.embedded.scan.connection import Connection
from bot.embedded.scan.dns import is_address

_SECONDS = 3.0
_X25519MLKEM768 = bytes.fromhex("11ec")  # 4588 in IANA's registry of TLS supported groups
_TLS13 = bytes.fromhex("0304")
_SUITES = bytes.fromhex("130113021303")
# All that RFC 8446 (section 4.2.3) names for TLS 1.3, and ML-DSA: the server must not refuse
# because it can't sign.
_SIGNATURES = bytes.fromhex("0403050306030804080508060809080a080b08070808040105010601090409050906")
_SERVER_NAME, _GROUPS, _SIGNATURE_ALGORITHMS, _VERSIONS, _KEY_SHARE = 0, 10, 13, 43, 51
_ALERT, _HANDSHAKE, _SERVER_HELLO = 21, 22, 2
# handshake_failure and insufficient_security: no group in common (RFC 8446, section 4.1.1).
_NOTHING_IN_COMMON = (40, 71)
_WARNING = 1
#: The random value that makes a ServerHello a HelloRetryRequest (RFC 8446, section 4.1.3).
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_MOST_RECORDS = 8
_LONGEST_RECORD = 16_640


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
