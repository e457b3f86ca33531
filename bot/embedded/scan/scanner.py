"""One scan: from a target to what is known about it, within one deadline.

Whatever happens to a host (dead, silent, hostile) is a result, never an exception. Where more than
one verdict would be right, these are given: a server that wants a client's certificate is judged by
its own (valid, with the facts, without a page, in TLS 1.2 and 1.3 alike); a certificate that is
expired and for another host is expired; RSA keys under 2048 bits are weak; a host that speaks only
outdated protocols is read, page and all, and invalid; without a certificate the host match is
unknown, not false.

All addresses of a name are scanned at once, the first eight. The worst verdict is the scan's, and
names its address where others have a better one; the facts are those of the worst address that
showed a certificate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from ipaddress import ip_address

from bot.embedded.scan import tls
from bot.embedded.scan.connection import Connection
from bot.embedded.scan.dns import Reverse, is_address
from bot.embedded.scan.endpoint import AddressResult, Dialer, Probe, worst
from bot.embedded.scan.guard import Forbidden, Guard, ResolutionFailed
from bot.embedded.scan.proxy import HTTPProxy, ProxyFailed, tunnel
from bot.embedded.scan.result import Scan
from bot.embedded.scan.verdict import Verdict, sentence
from bot.target import Target

_MOST_ADDRESSES = 8
_NAMING = 1.0  # seconds that a scan waits at its end for the name of its address


class ScannerClosed(Exception):
    """The scan was broken off because this server ends; it found nothing worth keeping."""


class Scanner:
    """Scans targets; `deadline` is in seconds, over the whole of a scan.

    `reverse` gives the name of an address and `place` where it is; without them both stay empty.
    """

    def __init__(
        self,
        guard: Guard,
        trust: tls.Trust,
        deadline: float = 10.0,
        *,
        reverse: Reverse | None = None,
        place: Callable[[str], str] | None = None,
    ) -> None:
        self.guard = guard
        self._trust = trust
        self._deadline = deadline
        self._reverse = reverse
        self._place = place
        self._under_way: set[asyncio.Timeout] = set()
        self.closed = False

    def close(self) -> None:
        """Break off the scans under way; whoever waits for one gets ScannerClosed."""
        self.closed = True
        for limit in self._under_way:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    async def scan(
        self, target: Target, now: datetime, *, protocol: str = "", proxy: HTTPProxy | None = None
    ) -> Scan:
        """Resolve, connect, shake hands, judge, and get the page. Raises ScannerClosed.

        `protocol` is what is spoken before TLS (a key of `starttls.PROTOCOLS`), empty for none;
        then no page is asked for. Through a `proxy`, its address is resolved and checked, and a
        target's name is the proxy's to resolve.
        """
        if self.closed:
            raise ScannerClosed
        now = now.replace(microsecond=0)
        self._trust.refresh(now)
        findings: list[AddressResult] = []
        naming: dict[str, asyncio.Future[str]] = {}
        failure, words = Verdict.TIMED_OUT, ""
        limit = asyncio.timeout(self._deadline)
        try:
            async with limit:
                self._under_way.add(limit)
                ways = await self._ways(target, proxy)
                findings = [AddressResult(way.address) for way in ways]
                if proxy is not None:  # until it has answered
                    findings[0].say(Verdict.PROXY, "did not answer in time: the scan timed out")
                naming = self._begin_naming(ways)
                await self._look(Probe(target, self._trust, now, protocol), ways, findings)
                await _until_named(naming.values())
        except TimeoutError:
            if self.closed:
                raise ScannerClosed from None
            # Each finding says "timed out" from the start, or what was found by then.
        except Forbidden:
            failure = Verdict.FORBIDDEN
        except ResolutionFailed:
            failure = Verdict.UNRESOLVED
        except ProxyFailed as fault:
            failure, words = Verdict.PROXY, str(fault)
        finally:
            self._under_way.discard(limit)
            for task in naming.values():
                task.cancel()
        if not findings:
            return Scan(now, failure, sentence(failure, words))
        return self._sum_up(now, findings, naming)

    async def _ways(self, target: Target, proxy: HTTPProxy | None) -> list[Dialer]:
        """All ways to a target. Raises Forbidden, ResolutionFailed or ProxyFailed."""
        if proxy is not None:
            return [await self._way_through(proxy, target)]
        addresses = await self.guard.resolve(target)
        return [
            Dialer(str(address), partial(Connection.open, address, target.port))
            for address in addresses[:_MOST_ADDRESSES]
        ]

    async def _way_through(self, proxy: HTTPProxy, target: Target) -> Dialer:
        if not self.guard.permits_literal(target):
            raise Forbidden
        try:
            addresses = await self.guard.resolve(proxy.target)
        except ResolutionFailed:
            raise ProxyFailed("could not be resolved") from None
        shown = target.host if is_address(target.host) else ""
        return Dialer(shown, partial(tunnel, proxy, addresses, target))

    async def _look(
        self, examination: Probe, ways: list[Dialer], findings: list[AddressResult]
    ) -> None:
        looks = [examination.look(w, f) for w, f in zip(ways, findings, strict=True)]
        if len(looks) == 1:
            await looks[0]
        else:
            await asyncio.gather(*looks)

    def _begin_naming(self, ways: list[Dialer]) -> dict[str, asyncio.Future[str]]:
        """Ask for the names of addresses while these are scanned."""
        if self._reverse is None:
            return {}
        asks = {w.address: self._reverse(ip_address(w.address)) for w in ways if w.address}
        return {address: asyncio.ensure_future(ask) for address, ask in asks.items()}

    def _sum_up(
        self, now: datetime, findings: list[AddressResult], naming: dict[str, asyncio.Future[str]]
    ) -> Scan:
        decisive = worst(findings)
        shown = worst([f for f in findings if f.leaf] or [decisive])
        message = decisive.message or sentence(decisive.verdict)
        if any(f.message != decisive.message for f in findings if not f.no_route):
            message = f"{message} (at {decisive.address})"
        name = naming.get(shown.address)
        return Scan(
            now,
            decisive.verdict,
            message,
            shown.leaf,
            shown.host_match,
            shown.address,
            shown.response.page(),
            shown.chain,
            name.result() if name and name.done() and not name.cancelled() else "",
            self._place(shown.address) if self._place else "",
        )


async def _until_named(names: Iterable[asyncio.Future[str]]) -> None:
    if unknown := [name for name in names if not name.done()]:
        await asyncio.wait(unknown, timeout=_NAMING)
