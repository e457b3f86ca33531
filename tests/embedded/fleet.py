"""Servers to scan, each right or wrong in one way: real sockets and certificates on loopback.

Certificates are made once per session, as of a fixed time (`NOW`) that scans use as well, so that
"expires in 30 days" stays true.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import struct
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.client_wire import close as close_server

NOW = datetime(2027, 1, 15, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
FIXTURES = Path(__file__).parent / "fixtures"
HTML = (
    b'<!doctype html><html><head><meta charset="utf-8"><title>Fleet</title>'
    b'<meta name="description" content="a test host"><meta name="keywords" content="tls, test">'
    b"</head></html>"
)
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (
    len(HTML),
    HTML,
)

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
#: A context manager that serves one host and yields its port.
Serving = AbstractAsyncContextManager[int]


@dataclass(frozen=True)
class Authority:
    """A CA: its certificate and key."""

    certificate: x509.Certificate
    key: Key


@dataclass(frozen=True)
class Leaf:
    """A server's certificate; the defaults are those of a good one."""

    names: tuple[str, ...] = ("fleet.test",)
    left: timedelta = 90 * DAY + HOUR
    since: timedelta = 90 * DAY
    cn: str | None = "fleet.test"
    by: str = "intermediate"  # an authority of the fleet, or "itself"
    key: str = "ec"
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def new_key(kind: str) -> Key:
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "rsa4096":  # these take seconds to make
        made = serialization.load_pem_private_key(
            (FIXTURES / "rsa4096.key").read_bytes(),
            None,
            unsafe_skip_rsa_key_validation=True,  # which takes a third of a second
        )
        assert isinstance(made, rsa.RSAPrivateKey)
        return made
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))
    return ec.generate_private_key(ec.BrainpoolP256R1() if kind == "brainpool" else ec.SECP256R1())


def pem_of(der: bytes) -> bytes:
    """A certificate's DER as PEM, whatever is in it."""
    return ssl.DER_cert_to_PEM_cert(der).encode("ascii")


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def name(cn: str | None, o: str | None = None, c: str | None = None) -> x509.Name:
    parts = [
        (NameOID.COUNTRY_NAME, c),
        (NameOID.ORGANIZATION_NAME, o),
        (NameOID.COMMON_NAME, cn),
    ]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


def issue(
    subject: x509.Name,
    key: Key,
    issuer: Authority | None,
    since: datetime,
    until: datetime,
    *extensions: x509.ExtensionType,
) -> x509.Certificate:
    """Sign a certificate; `issuer` None is the key itself."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )
    for extension in extensions:
        critical = isinstance(extension, x509.BasicConstraints)
        builder = builder.add_extension(extension, critical=critical)
    by = issuer.key if issuer else key
    return builder.sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@dataclass
class Fleet:
    """The certificates of a session (in `directory`), and methods to serve them."""

    directory: Path
    authorities: dict[str, Authority] = field(default_factory=dict)
    _made: dict[tuple[Leaf, bool], Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        root = self._authority("Fleet Root", None, 3650 * DAY)
        self.authorities = {
            "root": root,
            "intermediate": self._authority("Fleet Issuing CA", root, 1800 * DAY),
            "expired": self._authority("Fleet Old Issuing CA", root, -10 * DAY),
            "stranger": self._authority("Stranger Root", None, 3650 * DAY),
        }
        stranger = self.authorities["stranger"]
        self.authorities["strange"] = self._authority("Strange CA", stranger, 1800 * DAY)
        self.other = trustme.CA(organization_name="Other CA")
        self.ca_file = self.directory / "trusted.pem"
        self.ca_file.write_bytes(pem(root.certificate) + (FIXTURES / "sha1-root.pem").read_bytes())

    def _authority(self, cn: str, issuer: Authority | None, left: timedelta) -> Authority:
        key = new_key("ec")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        since = NOW - 3650 * DAY
        subject = name(cn, "Fleet Trust", "DE")
        return Authority(issue(subject, key, issuer, since, NOW + left, constraints), key)

    def file(self, leaf: Leaf, *, send_chain: bool = True) -> Path:
        """A PEM file with the leaf's key, the leaf, and its issuer if `send_chain`."""
        if (leaf, send_chain) not in self._made:
            issuer = self.authorities.get(leaf.by)
            key = new_key(leaf.key)
            sans = x509.SubjectAlternativeName([general_name(n) for n in leaf.names])
            certificate = issue(
                name(leaf.cn, "Fleet Ltd" if leaf.cn else None),
                key,
                issuer,
                NOW - leaf.since,
                NOW + leaf.left,
                x509.BasicConstraints(ca=False, path_length=None),
                x509.ExtendedKeyUsage([leaf.purpose]),
                *([sans] if leaf.names else []),
            )
            path = self.directory / f"leaf{len(self._made)}.pem"
            private = private_pem(key)
            chain = pem(issuer.certificate) if issuer and send_chain else b""
            path.write_bytes(private + pem(certificate) + chain)
            self._made[leaf, send_chain] = path
        return self._made[leaf, send_chain]

    def sending(self, leaf: Leaf, *authorities: str) -> Path:
        """A PEM file with the leaf, followed by the certificates of these authorities."""
        path = self.directory / f"{'-'.join(authorities)}-{len(self._made)}.pem"
        chain = b"".join(pem(self.authorities[each].certificate) for each in authorities)
        path.write_bytes(self.file(leaf, send_chain=False).read_bytes() + chain)
        return path

    def context(self, path: Path) -> ssl.SSLContext:
        """A server's context that allows weak keys and digests and sends the file's chain."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(path)
        return context

    def tls(self, leaf: Leaf | None = None, *, send_chain: bool = True, **more: Any) -> Serving:
        """A web server with such a certificate; `more` goes to `serve`."""
        path = self.file(leaf or Leaf(), send_chain=send_chain)
        return serve(web_server(), context=self.context(path), **more)


def web_server(answer: bytes = PAGE) -> Talk:
    """A talk that reads one request, sends `answer`, and closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return talk


async def shake_hands(
    context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Start TLS on the server's side of an open connection.

    (`StreamWriter.start_tls` of Python 3.11 breaks if the visitor closes.)
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    done = False
    while not done:
        try:
            tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        writer.write(outgoing.read())
        if not done:
            data = await reader.read(65536)
            if not data:
                return
            incoming.write(data)


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read everything, send nothing."""
    await reader.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Start a TLS record and send one byte at a time while the visitor stays."""
    writer.write(b"\x16\x03\x03\x40\x00")
    await reader.read(1)
    gone = asyncio.ensure_future(reader.read())
    while not (await asyncio.wait([gone], timeout=0.01))[0]:
        writer.write(b"\x02")


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the greeting, then reset the connection."""
    await reader.read(65536)
    linger = struct.pack("ii", 1, 0)  # close() sends RST
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the greeting, then close the connection."""
    await reader.read(65536)


def say(text: bytes) -> Talk:
    """A talk that reads the greeting and answers without TLS."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(text)

    return talk


@asynccontextmanager
async def serve(
    talk: Talk, *, context: ssl.SSLContext | None = None, address: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Listen on a port (0: a free one), run `talk` for each visitor, and clean up."""
    talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks[task] = writer
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            del talks[task]

    server = await asyncio.start_server(visit, address, port, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    except BaseException:  # what a talk waits for may never come now
        for each in talks:
            each.cancel()
        raise
    finally:
        await close_server(server, talks.values())
        await asyncio.gather(*talks, return_exceptions=sys.exception() is not None)


@asynccontextmanager
async def refuse() -> AsyncIterator[int]:
    """A port where nothing listens; it stays bound, so that nobody else takes it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def speak_only(context: ssl.SSLContext, oldest: ssl.TLSVersion, newest: ssl.TLSVersion) -> None:
    """Limit a server's protocols, including to those that Python warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = oldest
        context.maximum_version = newest


def ask_for_certificate(context: ssl.SSLContext, ca_file: Path) -> None:
    """Make a server require a client certificate."""
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca_file)
