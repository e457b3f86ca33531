"""The demo's sample TLS hosts: six small web servers on loopback, each in a different state.

A new machine may be offline, so the demo brings its own hosts. Their names don't exist in DNS:
`table` maps them to addresses, and `allow` is what a scanner must be allowed to connect to.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LOOPBACK = "127.0.0.1"
_DAY = timedelta(days=1)
# What asyncio calls for each new connection.
_OnConnect = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class _Sample:
    """One host: the name in its certificate, and the time until that expires."""

    title: str
    certificate_name: str  # empty: the host sends nothing at all
    lifetime: timedelta
    self_signed: bool = False


_SAMPLES = {
    "shop.demo.test": _Sample("Demo Shop", "shop.demo.test", 67 * _DAY),
    "api.demo.test": _Sample("Demo API", "api.demo.test", 12 * _DAY + _DAY / 4),
    "intranet.demo.test": _Sample("Demo Intranet", "intranet.demo.test", -_DAY / 6),
    "mail.demo.test": _Sample("Demo Webmail", "www.demo.test", 45 * _DAY),
    "printer.demo.test": _Sample("Printer, 2nd floor", "printer.demo.test", 300 * _DAY, True),
    "backup.demo.test": _Sample("", "", timedelta()),
}


@dataclass(frozen=True)
class _Signer:
    """A certificate with its key, to sign other certificates with."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


class SampleHosts:
    """Six hosts on loopback: valid, due in 12 days, expired, wrong name, self-signed, silent.

    Root, intermediate and leaf certificates are issued as of `now`, with P-256 keys, and stored in
    `directory`. After `start`, `ca_file` is the root, `table` maps names to addresses, `targets`
    are the hosts as "host:port", and `allow` is the SCAN_ALLOW that covers exactly these hosts.
    """

    def __init__(self, now: datetime, directory: Path) -> None:
        self._now = now
        self._directory = directory
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._servers: dict[str, asyncio.Server] = {}
        self._ports: dict[str, int] = {}
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.ca_file = directory / "demo-root.pem"
        self.table = dict.fromkeys(_SAMPLES, _LOOPBACK)
        self._root = self._issue("Demo Root CA", None, now + 3650 * _DAY, authority=True)
        self._issuer = self._issue(
            "Demo Issuing CA 1", self._root, now + 1800 * _DAY, authority=True
        )

    async def start(self) -> None:
        """Issue the certificates and listen, each host on a free port of its own."""
        self.ca_file.write_bytes(self._root.pem)
        for name, sample in _SAMPLES.items():
            if sample.certificate_name:
                self._contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._certify(name, sample)
            self._servers[name] = await asyncio.start_server(
                self._on_connect(name), _LOOPBACK, 0, **self._tls(name)
            )
            self._ports[name] = int(self._servers[name].sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and close every connection."""
        for server in self._servers.values():
            server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections)
        for server in self._servers.values():
            await server.wait_closed()

    @property
    def targets(self) -> list[str]:
        """The hosts as `name:port`, in the order that the class's first line names them."""
        return [f"{name}:{self._port(name)}" for name in self._servers]

    @property
    def allow(self) -> str:
        """The SCAN_ALLOW that allows scanning these six hosts, and nothing else."""
        return ",".join(f"{_LOOPBACK}/32:{self._port(name)}" for name in self._servers)

    async def change(self, name: str, how: str, now: datetime) -> None:
        """Let a host be `renew`ed, `break` (its certificate expires), or fall `silence`d.

        Raises KeyError for a name that isn't one of the hosts.
        """
        server, self._now = self._servers[name], now
        if how == "silence":
            server.close()
            return
        lifetime = 90 * _DAY if how == "renew" else -_DAY / 24
        port = self._ports[name]
        self._contexts.setdefault(name, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self._certify(name, _Sample(_SAMPLES[name].title, name, lifetime))
        if not server.is_serving() or not _SAMPLES[name].certificate_name:
            server.close()
            self._servers[name] = await asyncio.start_server(
                self._on_connect(name), _LOOPBACK, port, **self._tls(name)
            )

    def renew(self, name: str, days: int = 90) -> None:
        """Give a running host a new certificate, valid for so many days.

        Raises KeyError for the silent host, and for a name that isn't one of the hosts.
        """
        if name not in self._contexts:
            raise KeyError(name)
        self._certify(name, _Sample(_SAMPLES[name].title, name, days * _DAY))

    def _tls(self, name: str) -> dict[str, Any]:
        if name not in self._contexts:
            return {}
        # Short: from Python 3.12 on, closing waits for handshakes in progress.
        return {"ssl": self._contexts[name], "ssl_handshake_timeout": 2.0}

    def _port(self, name: str) -> int:
        return self._ports[name]

    def _certify(self, name: str, sample: _Sample) -> None:
        signer = None if sample.self_signed else self._issuer
        leaf = self._issue(sample.certificate_name, signer, self._now + sample.lifetime)
        file = self._directory / f"{name}.pem"
        file.write_bytes(leaf.key_pem + leaf.pem + (b"" if signer is None else signer.pem))
        file.chmod(0o600)
        self._contexts[name].load_cert_chain(file)

    def _issue(
        self, name: str, signer: _Signer | None, end: datetime, *, authority: bool = False
    ) -> _Signer:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if signer is None else signer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(self._now, end) - 90 * _DAY)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        builder = _for_authority(builder) if authority else _for_server(builder, name)
        signing_key = key if signer is None else signer.key
        # Strict verifiers (Python's from 3.13 on) require both identifiers (RFC 5280, 4.2.1).
        mine = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        its = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
        builder = builder.add_extension(mine, critical=False).add_extension(its, critical=False)
        return _Signer(builder.sign(signing_key, hashes.SHA256()), key)

    def _on_connect(self, name: str) -> _OnConnect:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._connections[task] = writer
                task.add_done_callback(self._connections.pop)
            try:
                await (_answer(name, reader, writer) if name in self._contexts else reader.read())
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                return  # the client disconnected, or never finished its request
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

        return serve


async def _answer(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    title = _SAMPLES[name].title
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="description" content="A sample host of the demo: {name}">'
        f"</head><body><h1>{title}</h1></body></html>"
    ).encode()
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    await writer.drain()


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Demo Trust Services"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _for_authority(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return builder.add_extension(usage, critical=True)


def _for_server(builder: x509.CertificateBuilder, name: str) -> x509.CertificateBuilder:
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return builder.add_extension(names, critical=False).add_extension(purpose, critical=False)
