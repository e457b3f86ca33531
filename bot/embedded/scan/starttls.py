"""STARTTLS and its equivalents: from a protocol's greeting to the point where TLS begins.

Only what requests TLS is sent. Every reply is bounded. Bytes that arrive after the last reply and
before TLS fail the scan, since somebody in between may have injected them (CVE-2011-0411).
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable

from bot.embedded.scan.connection import Connection
from bot.embedded.scan.verdict import printable

_LINE_CAP = 2048
_MAX_LINES = 100
_NOT_OFFERED = "the server does not offer TLS"


class StartTLSFailed(Exception):
    """The server did not start TLS; the text is the detail of the scan's sentence."""


async def negotiate(connection: Connection, protocol: str) -> None:
    """Speak one of PROTOCOLS until TLS may begin. Raises StartTLSFailed or OSError."""
    try:
        await PROTOCOLS[protocol](connection)
    except EOFError:
        raise StartTLSFailed("the server closed the connection") from None
    except ValueError:
        raise StartTLSFailed(f"the server does not speak {_TITLES[protocol]}") from None
    if connection.has_unread:
        raise StartTLSFailed("the server sent data before TLS began")


async def _line(connection: Connection) -> bytes:
    return (await connection.read_until(b"\n", _LINE_CAP)).rstrip()


def _refusal(answer: bytes) -> StartTLSFailed:
    return StartTLSFailed(f"the server answered “{printable(answer.decode('latin-1'), 80)}”")


async def _smtp(connection: Connection) -> None:
    """SMTP (RFC 3207)."""
    await _smtp_reply(connection, b"220")
    await connection.write(b"EHLO %s\r\n" % _own_address(connection))
    extensions = await _smtp_reply(connection, b"250")
    if not any(line[4:].upper().split()[:1] == [b"STARTTLS"] for line in extensions):
        raise StartTLSFailed(_NOT_OFFERED)
    await connection.write(b"STARTTLS\r\n")
    await _smtp_reply(connection, b"220")


def _own_address(connection: Connection) -> bytes:
    """The address of this machine as a literal: what a client sends that has no full name.

    RFC 5321, sections 4.1.1.1 and 4.1.3; some servers refuse a name without a dot.
    """
    address = ipaddress.ip_address(str(connection.sock.getsockname()[0]).partition("%")[0])
    text = f"IPv6:{address}" if address.version == 6 else str(address)
    return f"[{text}]".encode("ascii")


async def _smtp_reply(connection: Connection, code: bytes) -> list[bytes]:
    """The lines of one reply with that code (RFC 5321, section 4.2.1)."""
    lines = []
    for _ in range(_MAX_LINES):
        line = await _line(connection)
        if not re.match(rb"[2-5][0-9]{2}(?:[ -]|\Z)", line):
            raise ValueError("not an SMTP reply")
        lines.append(line)
        if line[3:4] != b"-":
            if line[:3] != code:
                raise _refusal(line)
            return lines
    raise ValueError("the reply does not end")


async def _imap(connection: Connection) -> None:
    """IMAP (RFC 9051, section 6.2.1)."""
    greeting = await _line(connection)
    if not greeting.upper().startswith(b"* "):
        raise ValueError("not an IMAP greeting")
    if not greeting.upper().startswith(b"* OK"):
        raise _refusal(greeting)
    await connection.write(b"a STARTTLS\r\n")
    for _ in range(_MAX_LINES):
        line = await _line(connection)
        if line.upper().startswith(b"A OK"):
            return
        if line.upper().startswith((b"A ", b"* BYE")):
            raise _refusal(line)
    raise ValueError("no tagged reply")


async def _pop3(connection: Connection) -> None:
    """POP3 (RFC 2595, section 4)."""
    for command in (b"", b"STLS\r\n"):
        if command:
            await connection.write(command)
        line = await _line(connection)
        if line.upper().startswith(b"-ERR"):
            raise _refusal(line)
        if not line.upper().startswith(b"+OK"):
            raise ValueError("not a POP3 reply")


_LDAP_START_TLS = b"1.3.6.1.4.1.1466.20037"
# The number 0 announces that the server disconnects (RFC 4511, section 4.4.1).
_LDAP_RESULT = re.compile(rb"\x02\x01[\x00\x01]\x78.{1,5}?\x0a\x01(.)", re.DOTALL)


async def _ldap(connection: Connection) -> None:
    """LDAP (RFC 4511, section 4.14): one extended request and its response, in BER."""
    name = b"\x80" + bytes([len(_LDAP_START_TLS)]) + _LDAP_START_TLS
    request = b"\x02\x01\x01\x77" + bytes([len(name)]) + name
    await connection.write(b"\x30" + bytes([len(request)]) + request)
    head = await connection.read_exactly(2)
    if head[0] != 0x30:
        raise ValueError("not an LDAP message")
    length = head[1]
    if length & 0x80:
        if not 1 <= length & 0x7F <= 4:
            raise ValueError("invalid length")
        length = int.from_bytes(await connection.read_exactly(length & 0x7F), "big")
    if length > _LINE_CAP:
        raise ValueError("message too long")
    result = _LDAP_RESULT.match(await connection.read_exactly(length))
    if result is None:
        raise ValueError("not an extended response")
    if result[1] != b"\0":
        raise StartTLSFailed(f"the server answered with result code {result[1][0]}")


async def _postgres(connection: Connection) -> None:
    """PostgreSQL (its manual, “SSLRequest” under “Message Formats”)."""
    await connection.write((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
    answer = await connection.read_exactly(1)
    if answer == b"N":
        raise StartTLSFailed(_NOT_OFFERED)
    if answer == b"E":  # anybody could have written its text (CVE-2024-10977)
        raise StartTLSFailed("the server answered with an error")
    if answer != b"S":
        raise ValueError("not an answer to SSLRequest")


_MYSQL_SSL = 0x0800  # CLIENT_SSL
_MYSQL_FLAGS = 0x0200 | _MYSQL_SSL | 0x8000  # CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION
_MYSQL_UTF8 = 45


async def _mysql(connection: Connection) -> None:
    """MySQL and MariaDB (their manuals, “Protocol::SSLRequest”)."""
    head = await connection.read_exactly(4)
    length = int.from_bytes(head[:3], "little")
    if not 1 <= length <= _LINE_CAP:
        raise ValueError("not a MySQL greeting")
    greeting = await connection.read_exactly(length)
    if greeting[0] == 0xFF:  # an error: its code, then its text
        raise _refusal(greeting[3:])
    version, end, rest = greeting[1:].partition(b"\0")
    if greeting[0] != 10 or not end or not version or len(rest) < 15:
        raise ValueError("not a greeting of protocol 10")
    flags = int.from_bytes(rest[13:15], "little")  # after the thread ID, salt and a filler
    if not flags & _MYSQL_SSL:
        raise StartTLSFailed(_NOT_OFFERED)
    request = _MYSQL_FLAGS.to_bytes(4, "little") + (1 << 24).to_bytes(4, "little")
    request += bytes([_MYSQL_UTF8]) + bytes(23)
    await connection.write(len(request).to_bytes(3, "little") + b"\x01" + request)


#: How each protocol starts TLS, by its name in the API's `protocol` parameter.
PROTOCOLS: dict[str, Callable[[Connection], Awaitable[None]]] = {
    "smtp": _smtp,
    "imap": _imap,
    "pop3": _pop3,
    "ldap": _ldap,
    "postgres": _postgres,
    "mysql": _mysql,
}
_TITLES = {
    "smtp": "SMTP",
    "imap": "IMAP",
    "pop3": "POP3",
    "ldap": "LDAP",
    "postgres": "PostgreSQL",
    "mysql": "MySQL",
}
