"""STARTTLS with small servers that speak each protocol up to TLS, as specified."""

import asyncio
import ssl
from collections.abc import Sequence

import pytest

from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.starttls import PROTOCOLS
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict
from bot.target import Target

from . import fleet as fleets
from .fleet import DAY, NOW, Fleet, Leaf

_LDAP = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
_LDAP_OK = bytes.fromhex("300c02010178070a010004000400")
_LDAP_GONE = bytes.fromhex("300c02010078070a013404000400")
_MYSQL = b"\x0a8.0.36\0" + b"\x01\0\0\0" + b"saltsalt" + b"\0" + b"\xff\xff" + bytes(20)
_MYSQL_PLAIN = _MYSQL.replace(b"\xff\xff", b"\xff\xf7")
_MARIADB_ERROR = b"\xff\x69\x04Host is blocked"


def packet(payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + b"\0" + payload


#: For each protocol, what the server expects to read, and what it then answers.
TALKS: dict[str, list[tuple[bytes, bytes]]] = {
    "smtp": [
        (b"", b"220-mail.test\r\n220 ESMTP\r\n"),
        (b"EHLO [127.0.0.1]\r\n", b"250-mail.test\r\n250-SIZE 1000\r\n250 STARTTLS now\r\n"),
        (b"STARTTLS\r\n", b"220 go on\r\n"),
    ],
    "imap": [
        (b"", b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"),
        (b"a STARTTLS\r\n", b"* NOTE by the way\r\na OK begin\r\n"),
    ],
    "pop3": [(b"", b"+OK ready\r\n"), (b"STLS\r\n", b"+OK begin\r\n")],
    "ldap": [(_LDAP, _LDAP_OK)],
    "postgres": [(bytes.fromhex("0000000804d2162f"), b"S")],
    "mysql": [(b"", packet(_MYSQL)), (b"\x20\0\0\x01\0\x8a\0\0\0\0\0\x01\x2d" + bytes(23), b"")],
}


def server(talk: Sequence[tuple[bytes, bytes]], context: ssl.SSLContext) -> fleets.Talk:
    """Follow the script, then perform the handshake."""

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for request, answer in talk:
            assert await reader.readexactly(len(request)) == request
            writer.write(answer)
        await fleets.shake_hands(context, reader, writer)
        await reader.read()

    return visit


async def scan(
    trust: Trust, protocol: str, talk: fleets.Talk, *, deadline: float = 5, host: str = "fleet.test"
) -> Scan:
    guard = Guard(parse_allow("127.0.0.1"), {host: "127.0.0.1"})
    async with fleets.serve(talk) as port:
        scanner = Scanner(guard, trust, deadline)
        return await scanner.scan(Target(host, port), NOW, protocol=protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_good_certificate_is_valid(fleet: Fleet, trust: Trust, protocol: str) -> None:
    context = fleet.context(fleet.file(Leaf()))
    result = await scan(trust, protocol, server(TALKS[protocol], context))
    assert (result.verdict, result.message, result.host_match) == (Verdict.VALID, "Valid", True)
    assert (result.page.code, result.ip, len(result.chain)) == (None, "127.0.0.1", 2)


async def test_a_bad_certificate_is_judged_like_any_other(fleet: Fleet, trust: Trust) -> None:
    context = fleet.context(fleet.file(Leaf(left=-DAY)))
    result = await scan(trust, "smtp", server(TALKS["smtp"], context))
    assert result.message == "Expired 2027-01-14"


@pytest.mark.parametrize(
    ("protocol", "answers", "message"),
    [
        ("smtp", [b"554 no\r\n"], "the server answered “554 no”"),
        ("smtp", [b"220 x\r\n", b"250-x\r\n250 SIZE\r\n"], "the server does not offer TLS"),
        ("smtp", [b"220 x\r\n", b"250 STARTTLS\r\n", b"454 later\r\n"], "“454 later”"),
        ("smtp", [b"HTTP/1.1 400\r\n"], "the server does not speak SMTP"),
        ("smtp", [b"220-x\r\n" * 200], "the server does not speak SMTP"),
        ("smtp", [b"220 " + b"x" * 9000], "the server does not speak SMTP"),
        ("smtp", [b"220 x"], "the server closed the connection"),
        (
            "smtp",
            [b"220 x\r\n", b"250 STARTTLS\r\n", b"220 go on\r\n250 injected\r\n"],
            "the server sent data before TLS began",
        ),
        ("imap", [b"* BYE full\r\n"], "the server answered “* BYE full”"),
        ("imap", [b"* PREAUTH hello\r\n"], "the server answered “* PREAUTH hello”"),
        ("imap", [b"+OK\r\n"], "the server does not speak IMAP"),
        ("imap", [b"* OK\r\n", b"a BAD no\r\n"], "the server answered “a BAD no”"),
        ("imap", [b"* OK\r\n", b"* BYE no\r\n"], "the server answered “* BYE no”"),
        ("imap", [b"* OK\r\n", b"* x\r\n" * 200], "the server does not speak IMAP"),
        ("pop3", [b"-ERR no\r\n"], "the server answered “-ERR no”"),
        ("pop3", [b"+OK\r\n", b"-ERR \x00no\r\n"], "the server answered “-ERR \ufffdno”"),
        ("pop3", [b"* OK\r\n"], "the server does not speak POP3"),
        ("ldap", [b"HTTP/1.1 400\r\n"], "the server does not speak LDAP"),
        ("ldap", [b"\x30\x0b" + bytes(11)], "the server does not speak LDAP"),
        ("ldap", [b"\x30\x80"], "the server does not speak LDAP"),
        ("ldap", [b"\x30\x84\x7f\xff\xff\xff"], "the server does not speak LDAP"),
        ("ldap", [b"\x30"], "the server closed the connection"),
        ("ldap", [_LDAP_OK.replace(b"\x0a\x01\0", b"\x0a\x01\x02")], "result code 2"),
        ("ldap", [_LDAP_GONE], "result code 52"),
        ("postgres", [b"N"], "the server does not offer TLS"),
        ("postgres", [b"E\0\0\0\x08no"], "the server answered with an error"),
        ("postgres", [b"H"], "the server does not speak PostgreSQL"),
        ("postgres", [b"Sx"], "the server sent data before TLS began"),
        ("mysql", [packet(_MYSQL_PLAIN)], "the server does not offer TLS"),
        ("mysql", [packet(_MARIADB_ERROR)], "the server answered “Host is blocked”"),
        ("mysql", [b"\xff\xff\xff\0"], "the server does not speak MySQL"),
        ("mysql", [packet(b"\x09" + _MYSQL[1:])], "the server does not speak MySQL"),
        ("mysql", [packet(b"\x0a8.0\0")], "the server does not speak MySQL"),
        ("mysql", [b"\x05\0\0"], "the server closed the connection"),
    ],
)
async def test_a_server_that_does_not_start_tls_is_reported_with_the_reason(
    trust: Trust, protocol: str, answers: list[bytes], message: str
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if protocol in ("ldap", "postgres"):
            await reader.read(1)
        for number, answer in enumerate(answers):
            if number:
                await reader.read(1000)
            writer.write(answer)
        writer.write_eof()
        await reader.read()

    result = await scan(trust, protocol, talk)
    assert (result.verdict, result.leaf) == (Verdict.NO_STARTTLS, None)
    assert result.message.startswith("STARTTLS failed: ")
    assert message in result.message


@pytest.mark.parametrize("protocol", ["smtp", "postgres"])  # the server or the client speaks first
async def test_a_silent_server_is_cut_off_by_the_deadline(trust: Trust, protocol: str) -> None:
    result = await scan(trust, protocol, fleets.hang, deadline=0.1)
    assert result.verdict is Verdict.TIMED_OUT
    assert "timed out" in result.message


async def test_a_connection_reset_before_tls_is_reported(trust: Trust) -> None:
    result = await scan(trust, "postgres", fleets.reset)
    assert result.verdict is Verdict.RESET
