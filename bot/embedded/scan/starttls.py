"""From a protocol's own greeting to the moment when TLS begins: STARTTLS, and its like.

Nothing is sent but what asks for TLS. Every answer is bounded, and bytes that come after the last
of them, before TLS, end it: somebody else may have put them there (CVE-2011-0411).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from bot.embedded.scan.connection import Connection
from bot.embedded.scan.verdict import printable

_LINE_CAP = 2048
_MOST_LINES = 100
_NAME = b"sslmonitor-bot"


class StartTLSFailed(Exception):
    """TLS was not begun; its text is for the scan's message."""


async def begin(connection: Connection, protocol: str) -> None:
    """Talk until TLS may begin, by one of PROTOCOLS. Raises StartTLSFailed or OSError."""
    try:
        await PROTOCOLS[protocol](connection)
    except EOFError:
        raise StartTLSFailed("the server hung up") from None
    except ValueError:
        raise StartTLSFailed(f"the server does not speak {_SPOKEN[protocol]}") from None
    if connection.has_unread:
        raise StartTLSFailed("the server says more than it may before TLS")


async def _line(connection: Connection) -> bytes:
    return (await connection.read_until(b"\n", _LINE_CAP)).rstrip()


def _declined(answer: bytes) -> StartTLSFailed:
    return StartTLSFailed(f"the server answers “{printable(answer.decode('latin-1'), 80)}”")


async def _smtp(connection: Connection) -> None:
    """SMTP (RFC 3207)."""
    await _reply(connection, b"220")
    await connection.write(b"EHLO %s\r\n" % _NAME)
    offered = await _reply(connection, b"250")
    if not any(line[4:].strip().upper() == b"STARTTLS" for line in offered):
        raise StartTLSFailed("the server does not offer it")
    await connection.write(b"STARTTLS\r\n")
    await _reply(connection, b"220")


async def _reply(connection: Connection, wanted: bytes) -> list[bytes]:
    """All lines of one reply (RFC 5321, section 4.2.1)."""
    lines = []
    for _ in range(_MOST_LINES):
        line = await _line(connection)
        if not re.match(rb"[2-5][0-9]{2}(?:[ -]|\Z)", line):
            raise ValueError("no SMTP reply")
        lines.append(line)
        if line[3:4] != b"-":
            if line[:3] != wanted:
                raise _declined(line)
            return lines
    raise ValueError("a reply without an end")


async def _imap(connection: Connection) -> None:
    """IMAP (RFC 9051, section 6.2.1)."""
    greeting = await _line(connection)
    if not greeting.upper().startswith(b"* "):
        raise ValueError("no IMAP greeting")
    if not greeting.upper().startswith(b"* OK"):
        raise _declined(greeting)
    await connection.write(b"a STARTTLS\r\n")
    for _ in range(_MOST_LINES):
        line = await _line(connection)
        if line.upper().startswith(b"A OK"):
            return
        if line.upper().startswith(b"A "):
            raise _declined(line)
    raise ValueError("no answer among many lines")


async def _pop3(connection: Connection) -> None:
    """POP3 (RFC 2595, section 4)."""
    for command in (b"", b"STLS\r\n"):
        if command:
            await connection.write(command)
        line = await _line(connection)
        if line.upper().startswith(b"-ERR"):
            raise _declined(line)
        if not line.upper().startswith(b"+OK"):
            raise ValueError("no POP3 reply")


_LDAP_START_TLS = b"1.3.6.1.4.1.1466.20037"
_LDAP_RESULT = re.compile(rb"\x02\x01\x01\x78.{1,5}?\x0a\x01(.)", re.DOTALL)


async def _ldap(connection: Connection) -> None:
    """LDAP (RFC 4511, section 4.14): one extended request and its response, in BER."""
    name = b"\x80" + bytes([len(_LDAP_START_TLS)]) + _LDAP_START_TLS
    request = b"\x02\x01\x01\x77" + bytes([len(name)]) + name
    await connection.write(b"\x30" + bytes([len(request)]) + request)
    head = await connection.read_exactly(2)
    if head[0] != 0x30:
        raise ValueError("no LDAP message")
    length = head[1]
    if length & 0x80:
        if not 1 <= length & 0x7F <= 4:
            raise ValueError("no length")
        length = int.from_bytes(await connection.read_exactly(length & 0x7F), "big")
    if length > _LINE_CAP:
        raise ValueError("a message that is too long")
    result = _LDAP_RESULT.match(await connection.read_exactly(length))
    if result is None:
        raise ValueError("no extended response")
    if result[1] != b"\0":
        raise StartTLSFailed(f"the server answers with the result code {result[1][0]}")


async def _postgres(connection: Connection) -> None:
    """PostgreSQL (its manual, “SSLRequest” under “Message Formats”)."""
    await connection.write((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
    answer = await connection.read_exactly(1)
    if answer in (b"N", b"E"):
        raise StartTLSFailed("the server does not offer it")
    if answer != b"S":
        raise ValueError("no answer to SSLRequest")


_MYSQL_SSL = 0x0800  # CLIENT_SSL
_MYSQL_WANTED = 0x0200 | _MYSQL_SSL | 0x8000  # with CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION
_MYSQL_UTF8 = 45


async def _mysql(connection: Connection) -> None:
    """MySQL and MariaDB (their manuals, “Protocol::SSLRequest”)."""
    head = await connection.read_exactly(4)
    length = int.from_bytes(head[:3], "little")
    if not 1 <= length <= _LINE_CAP:
        raise ValueError("no greeting")
    greeting = await connection.read_exactly(length)
    if greeting[0] == 0xFF:  # an error: its code, and its text
        raise _declined(greeting[3:])
    version, end, rest = greeting[1:].partition(b"\0")
    if greeting[0] != 10 or not end or not version or len(rest) < 15:
        raise ValueError("no greeting of protocol 10")
    offered = int.from_bytes(rest[13:15], "little")  # after thread id, salt and a filler
    if not offered & _MYSQL_SSL:
        raise StartTLSFailed("the server does not offer it")
    request = _MYSQL_WANTED.to_bytes(4, "little") + (1 << 24).to_bytes(4, "little")
    request += bytes([_MYSQL_UTF8]) + bytes(23)
    await connection.write(len(request).to_bytes(3, "little") + b"\x01" + request)


#: By the name that `protocol` has in the API: how each begins.
PROTOCOLS: dict[str, Callable[[Connection], Awaitable[None]]] = {
    "smtp": _smtp,
    "imap": _imap,
    "pop3": _pop3,
    "ldap": _ldap,
    "postgres": _postgres,
    "mysql": _mysql,
}
_SPOKEN = {
    "smtp": "SMTP",
    "imap": "IMAP",
    "pop3": "POP3",
    "ldap": "LDAP",
    "postgres": "PostgreSQL",
    "mysql": "MySQL",
}
