"""One TLS handshake with one server, which succeeds whatever the certificate.

pyOpenSSL runs over memory BIOs. Its verify callback records each fault with its depth and lets the
handshake finish, so that one connection yields the certificate, all faults, and the page behind
them. Nothing secret is ever sent over it.
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import certifi
from cryptography import x509
from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL, crypto

from bot.embedded.ca.encoding import readable
from bot.embedded.scan.certificate import read_certificate
from bot.embedded.scan.connection import Connection
from bot.embedded.scan.dns import is_address
from bot.embedded.scan.messages import sent_certificates
from bot.embedded.scan.verdict import Verdict

_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)
_LOG = logging.getLogger(__name__)
_CHECK_INTERVAL = timedelta(minutes=1)
_CHUNK = 4096  # most of what we send at once is shorter
CURRENT = frozenset({"TLSv1.2", "TLSv1.3"})
_NOT_YET_VALID: int = SSL.X509VerificationCodes.ERR_CERT_NOT_YET_VALID
_HAS_EXPIRED: int = SSL.X509VerificationCodes.ERR_CERT_HAS_EXPIRED
_DATES = (_NOT_YET_VALID, _HAS_EXPIRED)
_MOST_RECEIVED = 131_072  # OpenSSL takes 100 kB of certificates
_RECORD = 16384  # the most that one TLS record holds (RFC 8446, section 5.1)
_CERTIFICATE = 11  # HandshakeType certificate (RFC 5246, section 7.4)
# In the order of browsers, the cheapest for both sides first; OpenSSL's default puts it second.
_SUITES = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
# With a share of X25519MLKEM768, which OpenSSL would also send, a scan takes 10% longer. A server
# that knows no other group refuses, and is then read with `legacy`, which offers all.
_GROUPS = b"X25519:P-256:P-384:P-521"
# How OpenSSL words an alert that the other side sent; the reasons it finds itself start otherwise.
_ALERT = re.compile(r"(?:(?:tls|ssl/tls|sslv3) alert|tlsv13?(?: alert)?) ")
_MOST_ROOTS = 200
_ROOTS: dict[Any, tuple[crypto.X509, bytes]] = {}  # in DER, by their place in memory


class HandshakeFailed(Exception):
    """The handshake failed; `detail` goes into the sentence of the verdict.

    `by_server` is false if our side broke it off because of what the server sent.
    """

    def __init__(self, verdict: Verdict, detail: str = "", *, by_server: bool = True) -> None:
        super().__init__(verdict, detail)
        self.verdict = verdict
        self.detail = detail
        self.by_server = by_server


class Trust:
    """The trusted roots: the system's (else certifi's), and those in `ca_file`.

    Raises ValueError with a sentence if a file can't be used.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self._files = [Path(_roots()), *([ca_file] if ca_file else [])]
        self._next_check: datetime | None = None
        self._mtimes = self._read_mtimes()
        self.modern, self.legacy = self._load()
        self.anchors = self._own_anchors()

    def _own_anchors(self) -> Sequence[x509.Certificate]:
        """The certificates in the operator's file that `cryptography` can read."""
        try:
            return [c for file in self._files[1:] for c in _certificates(file.read_bytes())]
        except OSError:
            return []

    def _load(self) -> tuple[SSL.Context, SSL.Context]:
        modern = _context(SSL.TLS1_2_VERSION, self._files)
        limit_groups(modern, _GROUPS)
        legacy = _context(SSL.TLS1_VERSION, self._files)
        legacy.set_cipher_list(b"ALL:!aNULL:@SECLEVEL=0")  # others hide the certificate
        legacy.set_keylog_callback(_on_secret)
        return modern, legacy

    def refresh(self, now: datetime) -> None:
        """Reload files that have changed, since the system updates its roots while we run.

        Checks once a minute. If a file can't be used, logs that and keeps what was loaded.
        """
        if self._next_check is not None and now < self._next_check:
            return
        self._next_check = now + _CHECK_INTERVAL
        try:
            if (mtimes := self._read_mtimes()) != self._mtimes:
                self._mtimes = mtimes
                self.modern, self.legacy = self._load()
                self.anchors = self._own_anchors()
        except (OSError, ValueError) as fault:
            _LOG.warning("Could not reload the trusted roots: %s", fault)

    def _read_mtimes(self) -> list[int]:
        return [file.stat().st_mtime_ns for file in self._files if file.exists()]

    def is_modern(self, stream: Stream) -> bool:
        """Whether the negotiated protocol and cipher are also available without `legacy`."""
        offered = SSL.Connection(self.modern).get_cipher_list()
        return stream.protocol in CURRENT and stream.cipher in offered


def _context(oldest: int, files: Sequence[Path]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(oldest)
    # Servers without RFC 5746 and servers that close without close_notify are common and harmless.
    context.set_options(SSL.OP_LEGACY_SERVER_CONNECT | SSL.OP_IGNORE_UNEXPECTED_EOF)
    context.set_tls13_ciphersuites(_SUITES)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # faster, too: the same memory is used again
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_verify(SSL.VERIFY_PEER, _on_verify)
    store = context.get_cert_store()
    if store is not None:  # whatever the operator names is an anchor, even an issuing CA
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for file in files:
        try:
            context.load_verify_locations(str(file))
        except SSL.Error:
            raise ValueError(f"The CA file {file} contains no readable certificates.") from None
    return context


def limit_groups(context: SSL.Context, groups: bytes) -> None:
    """Offer only these groups for the key exchange, if OpenSSL supports that.

    pyOpenSSL has no call for it; without the one below, all groups are offered.
    """
    tell = getattr(Binding.lib, "SSL_CTX_set1_curves_list", None)
    if tell is not None:
        tell(context._context, groups)  # noqa: SLF001 - the same


def _certificates(pem: bytes) -> Iterator[x509.Certificate]:
    for body in re.findall(rb"-----BEGIN [A-Z0-9 ]*CERTIFICATE-----(.*?)-----END ", pem, re.DOTALL):
        with suppress(ValueError):
            yield readable(base64.b64decode(body))


def _roots() -> str:
    candidates = (ssl.get_default_verify_paths().cafile, *_SYSTEM_ROOTS)
    return next((p for p in candidates if p and Path(p).is_file()), certifi.where())


@dataclass(frozen=True, slots=True)
class ChainFault:
    """One fault of the chain: OpenSSL's error code, and its depth (0 is the leaf)."""

    code: int
    depth: int
    certificate: crypto.X509


def date_fault(not_before: datetime, not_after: datetime, now: datetime) -> int:
    """OpenSSL's code for a certificate that has expired or is not valid yet; 0 if it is valid."""
    if not_before > now:
        return _NOT_YET_VALID
    return _HAS_EXPIRED if not_after < now else 0


class FaultRecorder(list[ChainFault]):
    """The faults of one chain, its dates checked as of `now` rather than by OpenSSL's clock.

    `path` is the chain as OpenSSL put it together, by depth; `secret` is what the server encrypts
    its handshake with, if the context tells.
    """

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._by_clock: dict[int, int] = {}
        self._ders: dict[Any, bytes] = {}
        self.path: dict[int, x509.Certificate] = {}
        self.secret = b""

    def record(self, certificate: crypto.X509, code: int, depth: int, *, ok: bool) -> None:
        """Take one call of the verify callback: a fault, or a certificate without other faults."""
        if ok:
            code = self._date_fault(certificate, depth)
        elif code in _DATES:  # OpenSSL's date check uses the wrong clock; `_date_fault` repeats it
            self._by_clock[depth] = code
            return
        if code:
            self.append(ChainFault(code, depth, certificate))

    def _date_fault(self, certificate: crypto.X509, depth: int) -> int:
        try:
            known = read_certificate(self.der(certificate))
        except ValueError:
            return self._by_clock.get(depth, 0)  # only OpenSSL can read it
        self.path[depth] = known.parsed
        return date_fault(known.facts.not_before, known.facts.not_after, self._now)

    def der(self, certificate: crypto.X509) -> bytes:
        """A certificate in DER, encoded once; the same one may be in the path and the chain."""
        pointer = certificate._x509  # noqa: SLF001 - pyOpenSSL has no other way to compare them
        der = self._ders.get(pointer)
        if der is None:
            # The first certificate without faults is usually the root, the same object for all.
            der = _encoded(certificate) if self.path else _encoded_root(pointer, certificate)
            self._ders[pointer] = der
        return der


def _encoded(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _encoded_root(pointer: Any, certificate: crypto.X509) -> bytes:
    if len(_ROOTS) >= _MOST_ROOTS:
        _ROOTS.clear()
    found = _ROOTS.get(pointer)
    if found is None:  # what is referenced here keeps its place in memory
        found = _ROOTS[pointer] = certificate, _encoded(certificate)
    return found[1]


def _on_verify(
    connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int
) -> bool:
    connection.get_app_data().record(certificate, code, depth, ok=bool(ok))
    return True


def _on_secret(connection: SSL.Connection, line: bytes) -> None:
    label, _, secret = line.split()
    if label == b"SERVER_HANDSHAKE_TRAFFIC_SECRET":
        connection.get_app_data().secret = bytes.fromhex(secret.decode("ascii"))


@dataclass(slots=True)
class Stream:
    """A TLS connection over a TCP connection: handshake, read, write, close."""

    connection: Connection
    tls: SSL.Connection
    faults: FaultRecorder
    _received: bytearray = field(default_factory=bytearray)
    """The first bytes received during the handshake."""
    _wants_certificate: bool = False

    @classmethod
    def client(
        cls,
        connection: Connection,
        host: str,
        context: SSL.Context,
        now: datetime,
        *,
        in_clear: bool = False,
    ) -> Self:
        """The client side, asking for `host` by SNI. Call `handshake` next.

        Before TLS 1.3, servers send their certificates `in_clear`.
        """
        stream = cls(connection, SSL.Connection(context), FaultRecorder(now))
        if in_clear:
            stream.tls.set_options(SSL.OP_NO_TLSv1_3)
        stream.tls.set_app_data(stream.faults)
        if not is_address(host):  # SNI is for names only (RFC 6066, section 3)
            stream.tls.set_tlsext_host_name(host.encode("ascii"))
        stream.tls.set_connect_state()
        return stream

    async def handshake(self) -> None:
        """Perform the handshake. Raises HandshakeFailed."""
        try:
            while not await self._step():
                data = await self._fill()
                self._received += data[: _MOST_RECEIVED - len(self._received)]
                if not data:
                    raise HandshakeFailed(Verdict.CLOSED if self._may_be_tls else Verdict.NOT_TLS)
        except ConnectionResetError:
            raise HandshakeFailed(Verdict.RESET) from None
        except OSError:
            raise HandshakeFailed(Verdict.CLOSED) from None

    async def _step(self) -> bool:
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            await self._flush()
            return False
        except SSL.Error as error:
            with suppress(OSError):
                await self._flush()  # the alert
            raise self._failure(error) from None
        return True  # our last flight is sent along with the first data

    def _failure(self, error: SSL.Error) -> HandshakeFailed:
        if not self._may_be_tls:
            return HandshakeFailed(Verdict.NOT_TLS)
        if isinstance(error, SSL.SysCallError | SSL.ZeroReturnError):
            return HandshakeFailed(Verdict.CLOSED)
        reasons = error.args[0] if error.args else []
        reason = str(reasons[0][2]) if reasons else ""
        alert = _ALERT.match(reason)
        # OpenSSL gives no reason for alerts that no RFC names.
        detail = reason or "no reason was given"
        if alert:
            detail = f"the server sent the alert “{reason[alert.end() :]}”"
        by_server = alert is not None or not reason
        return HandshakeFailed(Verdict.HANDSHAKE_FAILED, detail, by_server=by_server)

    @property
    def _may_be_tls(self) -> bool:
        # A record starts with its type (20 to 24) and the major version, 3.
        first, second = bytes(self._received[:1]), bytes(self._received[1:2])
        return not first or (20 <= first[0] <= 24 and second in (b"", b"\x03"))

    @property
    def wants_client_certificate(self) -> bool:
        """Whether the server asked for a client certificate (visible before TLS 1.3 only)."""
        return self._wants_certificate

    @property
    def protocol(self) -> str:
        """The negotiated protocol, as OpenSSL writes it: `TLSv1.1`."""
        return self.tls.get_protocol_version_name()

    @property
    def cipher(self) -> str:
        """The negotiated cipher suite, by its OpenSSL name; empty if the handshake broke off."""
        return self.tls.get_cipher_name() or ""

    async def _fill(self) -> bytes:
        """Wait for bytes and pass them to OpenSSL; none at the end of the stream."""
        data = await self.connection.read()
        if data:
            self.tls.bio_write(data)
        return data

    async def _flush(self) -> None:
        while True:
            try:
                data = self.tls.bio_read(_CHUNK)
            except SSL.WantReadError:
                return
            # Our own flight, still in cleartext, starts with an (empty) certificate only if the
            # server asked for one.
            if data[:1] == b"\x16" and data[5:6] == bytes([_CERTIFICATE]):
                self._wants_certificate = True
            await self.connection.write(data)
            if len(data) < _CHUNK:
                return

    async def write(self, data: bytes) -> None:
        """Send. Raises OSError."""
        try:
            self.tls.sendall(data)
        except SSL.Error:
            raise ConnectionAbortedError from None
        await self._flush()

    async def read(self) -> bytes:
        """The next bytes, or none at the end. Raises OSError."""
        while True:
            try:
                return self.tls.recv(_RECORD)
            except SSL.WantReadError:
                await self._flush()
                if not await self._fill():
                    return b""
            except SSL.ZeroReturnError:
                return b""
            except SSL.Error:
                raise ConnectionAbortedError from None

    def close(self) -> None:
        """Send close_notify if anybody may read it and it takes no waiting; close the socket."""
        with suppress(SSL.Error, OSError):
            if not self.connection.has_ended():
                self.tls.shutdown()
                self.connection.sock.send(self.tls.bio_read(_CHUNK))
        self.connection.close()

    def path(self) -> list[x509.Certificate]:
        """From the leaf to a trust anchor, if the chain has no faults and can be decoded."""
        path, depths = self.faults.path, range(len(self.faults.path))
        return [path[depth] for depth in depths] if set(depths) == set(path) else []

    def chain(self) -> list[bytes]:
        """The certificates as the server sent them, in DER, leaf first; empty if it sent none.

        If OpenSSL can't read one of them, it returns none; then they are read from the raw bytes,
        which the `legacy` context can decrypt.
        """
        sent = self.tls.get_peer_cert_chain()
        if sent is None:
            return sent_certificates(bytes(self._received), self.faults.secret)
        return [self.faults.der(each) for each in sent]
