"""One address of a target: connect, shake hands, judge, get the page.

What is known is kept as it comes, so that the scan's deadline can strike at any moment.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.x509 import InvalidVersion

from bot.embedded.scan import http, starttls, tls
from bot.embedded.scan.certificate import Leaf, SentCertificate, sent_chain
from bot.embedded.scan.connection import Connection
from bot.embedded.scan.judge import judge
from bot.embedded.scan.proxy import ProxyFailed
from bot.embedded.scan.starttls import StartTLSFailed
from bot.embedded.scan.verdict import Verdict, sentence
from bot.target import Target

# Servers of old end a talk in a newer protocol by an alert, or without a word.
_MAYBE_OLD = frozenset({Verdict.HANDSHAKE_FAILED, Verdict.CLOSED, Verdict.RESET})
# This machine has no way to addresses of that kind (IPv6, most often), which says nothing of them.
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_LONGEST_CHAIN = 10

# Of several addresses of a name, the one whose verdict comes first here decides: what a visitor's
# browser warns of, then what no TLS came of, then who gave no answer (it may be back in a minute).
_WORST_FIRST = (
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
    """How to get to a target: the address that is shown for it, and a call that connects there."""

    address: str
    dial: Callable[[], Awaitable[Connection]]


@dataclass(slots=True)
class AddressResult:
    """What is known so far of one address."""

    address: str
    verdict: Verdict = Verdict.TIMED_OUT
    message: str = ""
    leaf: Leaf | None = None
    host_match: bool | None = None
    chain: tuple[SentCertificate, ...] = ()
    response: http.Response = field(default_factory=http.Response)
    no_route: bool = False
    """Whether this machine itself has no way to such an address."""

    def say(self, verdict: Verdict, detail: str = "") -> None:
        """Set the verdict, and the words that go with it."""
        self.verdict = verdict
        self.message = sentence(verdict, detail)

    def judge(self, host: str, stream: tls.Stream, now: datetime) -> None:
        """Take over what the handshake showed, if it came to a certificate."""
        try:
            chain = stream.chain()
            if not chain:
                return
            leaf = Leaf.read(chain[0])
            sent = sent_chain(leaf, chain[:_LONGEST_CHAIN])
            self.verdict, self.message = judge(host, leaf, chain, stream.faults, now)
        except (ValueError, InvalidVersion):  # OpenSSL reads more than `cryptography` does
            self.say(Verdict.HANDSHAKE_FAILED, "the certificate can't be read")
            return
        self.leaf, self.chain = leaf, sent
        self.host_match = leaf.covers(host)

    @property
    def badness(self) -> tuple[int, float]:
        """What to sort by, the worst first: by verdict, then by the end of the certificate."""
        end = self.leaf.not_after.timestamp() if self.leaf else 0.0
        return _WORST_FIRST.index(self.verdict), end


def worst(findings: Sequence[AddressResult]) -> AddressResult:
    """The finding that decides; those that this machine has no way to count only if all are so."""
    return min([f for f in findings if not f.no_route] or findings, key=lambda f: f.badness)


@dataclass(frozen=True, slots=True)
class Probe:
    """A look at one target at a time `now`, by any of the ways that lead to it.

    `protocol` is what is spoken before TLS (a key of `starttls.PROTOCOLS`), empty for none. A page
    is asked for only where that is so.
    """

    target: Target
    trust: tls.Trust
    now: datetime
    protocol: str = ""

    async def look(self, way: Dialer, found: AddressResult) -> None:
        """Fill in what there is to find; a host that is dead or hostile raises nothing."""
        try:
            await self._look(way, found)
        except ProxyFailed as failure:
            found.say(Verdict.PROXY, str(failure))
        except StartTLSFailed as failure:
            found.say(Verdict.NO_STARTTLS, str(failure))
        except ConnectionRefusedError:
            found.say(Verdict.REFUSED)
        except ConnectionResetError:
            found.say(Verdict.RESET)
        except OSError as error:
            found.no_route = error.errno in _NO_WAY
            found.say(Verdict.UNREACHABLE)

    async def _look(self, way: Dialer, found: AddressResult) -> None:
        stream = await self._connect(way, old=False)
        found.say(Verdict.TIMED_OUT)  # until more is known
        try:
            await stream.handshake()
        except tls.HandshakeFailed as failure:
            found.judge(self.target.host, stream, self.now)
            if stream.wants_client_certificate and failure.by_server and found.leaf is not None:
                return  # the server did all that a visitor without a certificate can see
            found.say(failure.verdict, failure.detail)
            if found.leaf is not None or failure.verdict not in _MAYBE_OLD:
                return
        else:
            found.judge(self.target.host, stream, self.now)
            await self._get_page(stream, found)
            return
        finally:
            stream.close()
        await self._try_old_protocols(way, found)

    async def _connect(self, way: Dialer, *, old: bool) -> tls.Stream:
        connection = await way.dial()
        if self.protocol:
            try:
                await starttls.begin(connection, self.protocol)
            except BaseException:
                connection.close()
                raise
        context = self.trust.legacy if old else self.trust.modern
        return tls.Stream.client(connection, self.target.host, context, self.now)

    async def _try_old_protocols(self, way: Dialer, found: AddressResult) -> None:
        """Read the facts with what browsers no longer speak; else the first failure stands."""
        try:
            stream = await self._connect(way, old=True)
        except (OSError, ProxyFailed, StartTLSFailed):
            return
        try:
            await stream.handshake()
            failed_for_age = found.verdict is Verdict.HANDSHAKE_FAILED
            found.judge(self.target.host, stream, self.now)
            if failed_for_age or not self.trust.is_modern(stream):
                found.say(Verdict.OLD_PROTOCOL, f"{stream.protocol} with {stream.cipher}")
            await self._get_page(stream, found)
        except tls.HandshakeFailed:
            return
        finally:
            stream.close()

    async def _get_page(self, stream: tls.Stream, found: AddressResult) -> None:
        if self.protocol:
            return
        with suppress(OSError):  # the certificate is judged even when HTTP fails
            await http.fetch(stream, self.target, found.response)
