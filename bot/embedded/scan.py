"""One scan: from a target to what is known about it, within one deadline.

Whatever happens to a host (dead, silent, hostile) is a result, never an exception. Where more than
one verdict would be right, these are given: a server that wants a client's certificate is judged by
its own (valid, with the facts, without a page, in TLS 1.2 and 1.3 alike); a certificate that is
expired and for another host is expired; RSA keys under 2048 bits are weak; a host that speaks only
outdated protocols is read, page and all, and invalid; without a certificate the host match is
unknown, not false.
"""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from bot.embedded import tls, web
from bot.embedded.certificate import Leaf
from bot.embedded.guard import Address, Forbidden, Guard, Unresolved
from bot.embedded.verdict import Verdict, sentence
from bot.target import Target

# Servers of old end a talk in a newer protocol by an alert, or without a word.
_MAYBE_OLD = frozenset({Verdict.HANDSHAKE_FAILED, Verdict.CLOSED, Verdict.RESET})


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan found. Without a certificate `leaf` and `host_match` are None.

    `ip` is the address that was dialled, empty when none was.
    """

    at: datetime
    verdict: Verdict
    message: str
    leaf: Leaf | None = None
    host_match: bool | None = None
    ip: str = ""
    page: web.Page = field(default_factory=web.Page)


@dataclass(slots=True)
class _Draft:
    """What is known so far, so that the deadline can strike at any moment."""

    verdict: Verdict = Verdict.TIMED_OUT
    message: str = ""
    leaf: Leaf | None = None
    host_match: bool | None = None
    ip: str = ""
    reply: web.Reply = field(default_factory=web.Reply)

    def judge(self, target: Target, stream: tls.Stream, now: datetime) -> None:
        """Take over what the handshake showed, if it came to a certificate."""
        try:
            chain = stream.chain()
            if not chain:
                return
            leaf = Leaf.read(chain[0])
            self.verdict, self.message = tls.judge(target.host, leaf, stream.faults, now)
        except ValueError:  # OpenSSL reads more than `cryptography` does
            self.verdict = Verdict.HANDSHAKE_FAILED
            self.message = sentence(self.verdict, "the certificate can't be read")
            return
        self.leaf = leaf
        self.host_match = leaf.covers(target.host)

    def finish(self, at: datetime) -> Scan:
        message = self.message or sentence(self.verdict)
        page = self.reply.page()
        return Scan(at, self.verdict, message, self.leaf, self.host_match, self.ip, page)


class ScannerClosed(Exception):
    """The scan was broken off because this server ends; it found nothing worth keeping."""


class Scanner:
    """Scans targets; `deadline` is in seconds, over the whole of a scan."""

    def __init__(self, guard: Guard, trust: tls.Trust, deadline: float = 10.0) -> None:
        self.guard = guard
        self._trust = trust
        self._deadline = deadline
        self._under_way: set[asyncio.Timeout] = set()
        self._closed = False

    def close(self) -> None:
        """Break off the scans under way; whoever waits for one gets ScannerClosed."""
        self._closed = True
        for limit in self._under_way:
            limit.reschedule(asyncio.get_running_loop().time())

    async def scan(self, target: Target, now: datetime) -> Scan:
        """Resolve, connect, shake hands, judge, and get the page. Raises ScannerClosed."""
        if self._closed:
            raise ScannerClosed
        now = now.replace(microsecond=0)
        self._trust.set_time(now)
        draft = _Draft()
        try:
            async with asyncio.timeout(self._deadline) as limit:
                self._under_way.add(limit)
                try:
                    await self._fill(draft, target, now)
                finally:
                    self._under_way.discard(limit)
        except TimeoutError:
            # The draft says "timed out" from the start, or what was found by then.
            if self._closed:
                raise ScannerClosed from None
        except Forbidden:
            draft.verdict = Verdict.FORBIDDEN
        except Unresolved:
            draft.verdict = Verdict.UNRESOLVED
        except ConnectionRefusedError:
            draft.verdict = Verdict.REFUSED
        except OSError:
            draft.verdict = Verdict.UNREACHABLE
        return draft.finish(now)

    async def _fill(self, draft: _Draft, target: Target, now: datetime) -> None:
        addresses = await self.guard.resolve(target)
        stream = await self._connect(draft, addresses, target)
        try:
            await stream.handshake()
        except tls.HandshakeFailed as failure:
            draft.judge(target, stream, now)
            if stream.wants_certificate and failure.by_server and draft.leaf is not None:
                return  # the server did all that a visitor without a certificate can see
            draft.verdict, draft.message = (
                failure.verdict,
                sentence(failure.verdict, failure.detail),
            )
            if draft.leaf is not None or failure.verdict not in _MAYBE_OLD:
                return
        else:
            draft.judge(target, stream, now)
            await _get_page(draft, stream, target)
            return
        finally:
            stream.close()
        await self._try_old_protocols(draft, ipaddress.ip_address(draft.ip), target, now)

    async def _connect(self, draft: _Draft, addresses: list[Address], target: Target) -> tls.Stream:
        """Connect to the first address that takes the call."""
        for address in addresses:
            draft.ip = str(address)
            try:
                return await tls.Stream.connect(address, target, self._trust.modern)
            except OSError as error:
                refusal = error
        raise refusal

    async def _try_old_protocols(
        self, draft: _Draft, address: Address, target: Target, now: datetime
    ) -> None:
        """Read the facts with what browsers no longer speak; else the first failure stands."""
        try:
            stream = await tls.Stream.connect(address, target, self._trust.legacy)
        except OSError:
            return
        try:
            await stream.handshake()
            failed_for_age = draft.verdict is Verdict.HANDSHAKE_FAILED
            draft.judge(target, stream, now)
            if failed_for_age or not self._trust.is_modern(stream):
                agreed = f"{stream.protocol} with {stream.cipher}"
                draft.verdict = Verdict.OLD_PROTOCOL
                draft.message = sentence(draft.verdict, agreed)
            await _get_page(draft, stream, target)
        except tls.HandshakeFailed:
            return
        finally:
            stream.close()


async def _get_page(draft: _Draft, stream: tls.Stream, target: Target) -> None:
    with suppress(OSError):  # the certificate is judged even when HTTP fails
        await web.fetch(stream, target, draft.reply)
