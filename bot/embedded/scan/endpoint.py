"""One address of a target: connect, perform the handshake, judge the chain, get the page.

Each result is recorded as soon as it is known, because the scan's deadline may strike at any time.
"""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509

from bot.embedded.ca.anchors import reconsidered
from bot.embedded.ca.ari import Renewals
from bot.embedded.ca.caa import CAA
from bot.embedded.ca.revocation import Found, Revocations
from bot.embedded.scan import http, starttls, tls
from bot.embedded.scan.certificate import (
    Handshake,
    KeyExchange,
    Leaf,
    SentCertificate,
    read_certificate,
    sent_chain,
)
from bot.embedded.scan.connection import Connection
from bot.embedded.scan.judge import judge, named
from bot.embedded.scan.messages import supports
from bot.embedded.scan.proxy import ProxyFailed
from bot.embedded.scan.result import ASKED, Renewal
from bot.embedded.scan.starttls import StartTLSFailed
from bot.embedded.scan.verdict import Verdict, sentence
from bot.target import Target

# How old servers end a handshake in a protocol newer than theirs: with an alert, or without a word.
_MAYBE_LEGACY = frozenset({Verdict.HANDSHAKE_FAILED, Verdict.CLOSED, Verdict.RESET})
# This machine has no route to such addresses (usually IPv6), which says nothing about the server.
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_LONGEST_CHAIN = 10
_TRUSTED = frozenset({Verdict.VALID, Verdict.HOST_MISMATCH})
_UNKNOWN, _UNASKED = Handshake(), Renewal()

# If a name has several addresses, the verdict that comes first here wins: what browsers warn about,
# then services that are not TLS, then servers that did not respond and may be back in a minute.
_WORST_FIRST = (
    Verdict.REVOKED,
    Verdict.EXPIRED,
    Verdict.NOT_YET_VALID,
    Verdict.SELF_SIGNED,
    Verdict.UNTRUSTED,
    Verdict.INCOMPLETE_CHAIN,
    Verdict.HOST_MISMATCH,
    Verdict.PURPOSE,
    Verdict.WEAK_KEY,
    Verdict.WEAK_SIGNATURE,
    Verdict.OLD_PROTOCOL,
    Verdict.NOT_TLS,
    Verdict.NO_STARTTLS,
    Verdict.HANDSHAKE_FAILED,
    Verdict.REFUSED,
    Verdict.UNREACHABLE,
    Verdict.RESET,
    Verdict.CLOSED,
    Verdict.TIMED_OUT,
    Verdict.PROXY,
    Verdict.VALID,
)


@dataclass(frozen=True, slots=True)
class Dialer:
    """One way to connect to a target: the address that results show, and the call that connects."""

    address: str
    dial: Callable[[], Awaitable[Connection]]


@dataclass(slots=True)
class AddressResult:
    """What is known about one address so far."""

    address: str
    verdict: Verdict = Verdict.TIMED_OUT
    message: str = ""
    leaf: Leaf | None = None
    host_match: bool | None = None
    chain: tuple[SentCertificate, ...] = ()
    path: Sequence[x509.Certificate] = ()
    """From the leaf to an anchor of the operator, if OpenSSL took another one."""
    is_trusted: bool = False
    """Whether the chain leads to an anchor, and its dates are right: a CA forgets what expired."""
    revocation: str = ""
    caa: str = ""
    handshake: Handshake = _UNKNOWN
    key_exchange: KeyExchange | None = None
    renewal: Renewal = _UNASKED
    response: http.Response = field(default_factory=http.Response)
    no_route: bool = False
    """Whether this machine has no route to addresses of that kind."""

    def set_verdict(self, verdict: Verdict, detail: str = "") -> None:
        """Set the verdict and its sentence."""
        self.verdict = verdict
        self.message = sentence(verdict, detail)

    def judge_chain(
        self, host: str, stream: tls.Stream, now: datetime, anchors: Sequence[x509.Certificate]
    ) -> None:
        """Set the verdict and the facts of the certificate, if the handshake got that far."""
        ders = stream.chain()[:_LONGEST_CHAIN]
        if not ders:
            return
        try:
            certificate = read_certificate(ders[0])
        except ValueError:  # OpenSSL can read more than `cryptography` can
            self.set_verdict(Verdict.HANDSHAKE_FAILED, "the certificate can't be decoded")
            return
        leaf = certificate.facts
        found = reconsidered(certificate.parsed, ders[1:], stream.faults, anchors, now)
        self.leaf, self.chain, self.path = leaf, sent_chain(ders), found.path
        self.verdict, self.message = judge(host, leaf, found.faults, now, self.chain[1:])
        self.is_trusted = self.verdict in _TRUSTED
        self.handshake = certificate.handshake(stream.protocol, stream.cipher)
        self.host_match = self.verdict is Verdict.VALID or leaf.covers(host)

    def judge_revocation(self, found: Found, path: Sequence[x509.Certificate]) -> None:
        """Record the revocation status, and the verdict if a certificate was revoked."""
        self.revocation = found.text
        if found.revocation is not None:
            where = f": {named(path[found.depth])} in the chain" if found.depth else ""
            self.set_verdict(Verdict.REVOKED, f"{found.revocation}{where}")

    @property
    def rank(self) -> tuple[int, float]:
        """A sort key, worst first: by verdict, then by when the certificate expires."""
        expiry = self.leaf.not_after.timestamp() if self.leaf else 0.0
        return _WORST_FIRST.index(self.verdict), expiry


def worst(results: Sequence[AddressResult]) -> AddressResult:
    """The worst result; those without a route count only if there are no others."""
    if len(results) == 1:
        return results[0]
    return min([each for each in results if not each.no_route] or results, key=lambda r: r.rank)


@dataclass(frozen=True, slots=True)
class Probe:
    """A scan of one target at the time `now`, by any dialer that leads to it.

    `protocol` is what is spoken before TLS (a key of `starttls.PROTOCOLS`), empty for plain TLS.
    Only then a page is requested. `revocations` tells whether the certificate was revoked,
    `caa` whether its CA may issue another, and `renewals` when its CA wants it renewed.
    """

    target: Target
    trust: tls.Trust
    now: datetime
    protocol: str = ""
    revocations: Revocations | None = None
    caa: CAA | None = None
    renewals: Renewals | None = None

    async def run(self, dialer: Dialer, result: AddressResult) -> None:
        """Fill in the result; dead and hostile hosts raise nothing."""
        try:
            await self._run(dialer, result)
        except ProxyFailed as failure:
            result.set_verdict(Verdict.PROXY, str(failure))
        except StartTLSFailed as failure:
            result.set_verdict(Verdict.NO_STARTTLS, str(failure))
        except ConnectionRefusedError:
            result.set_verdict(Verdict.REFUSED)
        except ConnectionResetError:
            result.set_verdict(Verdict.RESET)
        except OSError as error:
            result.no_route = error.errno in _NO_ROUTE
            result.set_verdict(Verdict.UNREACHABLE)

    async def _run(self, dialer: Dialer, result: AddressResult) -> None:
        stream = await self._connect(dialer, legacy=False)
        result.set_verdict(Verdict.TIMED_OUT)  # until more is known
        try:
            await stream.handshake()
        except asyncio.CancelledError:  # the deadline
            result.judge_chain(self.target.host, stream, self.now, self.trust.anchors)
            result.set_verdict(Verdict.TIMED_OUT)
            raise
        except tls.HandshakeFailed as failure:
            result.judge_chain(self.target.host, stream, self.now, self.trust.anchors)
            if stream.wants_client_certificate and failure.by_server and result.leaf is not None:
                await self._get_rest(stream, result)  # there is no page for us
                return
            result.set_verdict(failure.verdict, failure.detail)
            if result.leaf is not None or failure.verdict not in _MAYBE_LEGACY:
                return
            first = failure
        else:
            result.judge_chain(self.target.host, stream, self.now, self.trust.anchors)
            await self._get_rest(stream, result)
            return
        finally:
            stream.close()
        await self._try_legacy(dialer, result, first)

    async def ask_key_exchange(
        self, dialer: Dialer, result: AddressResult, known: KeyExchange
    ) -> None:
        """Ask whether the server supports X25519MLKEM768, unless that is `known`."""
        if not result.chain or known.holds(result.chain[0].fingerprint, self.now):
            return
        unknown = KeyExchange(result.chain[0].fingerprint, self.now)
        result.key_exchange = unknown  # also counts if the deadline strikes
        if result.handshake.protocol not in {"", "TLSv1.3"}:  # the group is of TLS 1.3
            result.key_exchange = replace(unknown, supported=False)
            return
        with suppress(OSError, ProxyFailed, StartTLSFailed):
            answer = await supports(await self._open(dialer), self.target.host)
            result.key_exchange = replace(unknown, supported=answer)

    async def _open(self, dialer: Dialer) -> Connection:
        """A connection at the point where TLS begins. Raises what `run` catches."""
        connection = await dialer.dial()
        if self.protocol:
            try:
                await starttls.negotiate(connection, self.protocol)
            except BaseException:
                connection.close()
                raise
        return connection

    async def _connect(self, dialer: Dialer, *, legacy: bool, in_clear: bool = False) -> tls.Stream:
        connection = await self._open(dialer)
        context = self.trust.legacy if legacy else self.trust.modern
        return tls.Stream.client(connection, self.target.host, context, self.now, in_clear=in_clear)

    async def _try_legacy(
        self, dialer: Dialer, result: AddressResult, first: tls.HandshakeFailed
    ) -> None:
        """Try again, also with protocols that browsers have dropped; else keep the first failure.

        The protocol is outdated if a browser would not have negotiated it. If it would have, the
        first failure was a mishap, unless our own rules caused it, and do so again.
        """
        ours = not first.by_server and first.verdict is Verdict.HANDSHAKE_FAILED
        try:
            stream = await self._connect(dialer, legacy=True)
        except (OSError, ProxyFailed, StartTLSFailed):
            return
        try:
            try:
                await stream.handshake()
            except tls.HandshakeFailed as failure:
                if not (stream.wants_client_certificate and failure.by_server):
                    raise
            result.judge_chain(self.target.host, stream, self.now, self.trust.anchors)
            is_modern = self.trust.is_modern(stream)
            if stream.protocol not in tls.CURRENT or (
                (ours or not is_modern) and not await self._is_possible(dialer)
            ):
                negotiated = " with ".join(filter(None, (stream.protocol, stream.cipher)))
                old = Verdict.OLD_PROTOCOL, negotiated
                result.set_verdict(*((first.verdict, first.detail) if is_modern else old))
            await self._get_rest(stream, result)
        except tls.HandshakeFailed:
            if ours:
                await self._read_unparsed(dialer, stream, result)
        finally:
            stream.close()

    async def _read_unparsed(
        self, dialer: Dialer, stream: tls.Stream, result: AddressResult
    ) -> None:
        """Read the certificates that OpenSSL can't parse; some servers send others before TLS 1.3.

        The verdict stays the same.
        """
        self._judge_unparsed(stream, result)
        if result.leaf is not None:
            return
        with suppress(OSError, ProxyFailed, StartTLSFailed):
            older = await self._connect(dialer, legacy=True, in_clear=True)
            try:
                with suppress(tls.HandshakeFailed):
                    await older.handshake()
                self._judge_unparsed(older, result)
            finally:
                older.close()

    def _judge_unparsed(self, stream: tls.Stream, result: AddressResult) -> None:
        verdict, message = result.verdict, result.message
        result.judge_chain(self.target.host, stream, self.now, self.trust.anchors)
        result.verdict, result.message = verdict, message
        # What was negotiated is what we forced it to be.
        result.handshake = replace(result.handshake, protocol="", cipher="")

    async def _is_possible(self, dialer: Dialer) -> bool:
        """Whether a handshake like a browser's succeeds on a second attempt."""
        with suppress(OSError, ProxyFailed, StartTLSFailed, tls.HandshakeFailed):
            stream = await self._connect(dialer, legacy=False)
            try:
                await stream.handshake()
            finally:
                stream.close()
            return True
        return False

    async def _get_rest(self, stream: tls.Stream, result: AddressResult) -> None:
        """Request the page, what the CA knows, and the CAA records, all at the same time."""
        asked = [self._get_page(stream, result)]
        is_asked = self.revocations is not None or self.renewals is not None
        is_asked = is_asked and result.is_trusted  # other certificates may name any URL
        path = (result.path or stream.path()) if is_asked else []
        if self.revocations is not None and is_asked:
            if not path:
                result.revocation = "unknown: the chain can't be decoded"
            elif known := self.revocations.known(path, self.now):
                result.judge_revocation(known, path)  # the usual case, without a task
            else:
                asked.append(self._ask_authorities(self.revocations, path, result))
        if self.renewals is not None and path and result.leaf is not None:
            about = path[0], result.leaf.issuer, self.now
            if renewal := self.renewals.known(*about):
                result.renewal = renewal
            else:
                asked.append(self._ask_renewal(self.renewals.look(*about), result))
        if self.caa is not None and result.leaf is not None:
            asked.append(self._ask_caa(self.caa, result.leaf, result))
        if len(asked) == 1:
            await asked[0]
        else:
            await asyncio.gather(*asked)

    async def _ask_caa(self, caa: CAA, leaf: Leaf, result: AddressResult) -> None:
        result.caa = ASKED  # until more is known
        result.caa = await caa.refusal(self.target.host, leaf)

    async def _ask_renewal(self, told: AsyncIterator[Renewal], result: AddressResult) -> None:
        async for renewal in told:
            result.renewal = renewal

    async def _ask_authorities(
        self, revocations: Revocations, path: Sequence[x509.Certificate], result: AddressResult
    ) -> None:
        """Keep a known revocation until the CA says otherwise: its answer may come late."""
        verdict, result.revocation = (result.verdict, result.message), ASKED
        before = await revocations.look(path, self.now, ask=False)
        if before.revocation:
            result.judge_revocation(before, path)
        found = await revocations.look(path, self.now)
        result.verdict, result.message = verdict
        result.judge_revocation(found, path)

    async def _get_page(self, stream: tls.Stream, result: AddressResult) -> None:
        if self.protocol:
            return
        with suppress(OSError):  # the verdict on the certificate stands even if HTTP fails
            await http.fetch(stream, self.target, result.response)
