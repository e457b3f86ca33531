"""One scan: everything about a target that can be learned within one deadline.

Whatever happens to a host (dead, silent, hostile) is a result, never an exception. Where more than
one verdict could be right, the choice is:

- A server that asks for a client certificate is judged by its own certificate: valid, with facts
  but without a page, in TLS 1.2 and 1.3 alike.
- A certificate that has expired and is for another host has expired.
- RSA keys below 2048 bits are weak.
- A host with outdated protocols only is invalid, but its certificate and page are read.
- Without a certificate the host match is unknown, not false.

The first eight addresses of a name are scanned at once. The worst verdict wins; its message names
the address if others have a better one. The facts come from the worst address with a certificate.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial

from bot.embedded.ca.ari import Renewals
from bot.embedded.ca.caa import CAA
from bot.embedded.ca.revocation import Revocations
from bot.embedded.scan import tls
from bot.embedded.scan.certificate import KeyExchange
from bot.embedded.scan.connection import Connection
from bot.embedded.scan.dns import Reverse, is_address, parse_address
from bot.embedded.scan.endpoint import AddressResult, Dialer, Probe, worst
from bot.embedded.scan.guard import Forbidden, Guard, ResolutionFailed
from bot.embedded.scan.http import Response, WebPage
from bot.embedded.scan.proxy import HTTPProxy, ProxyFailed, tunnel
from bot.embedded.scan.result import Scan
from bot.embedded.scan.verdict import Verdict, sentence
from bot.target import Target

_MAX_ADDRESSES = 8
_NAME_WAIT = 1.0  # seconds that a finished scan waits for its address's name
_PAGE_WAIT = 1.0  # the same for parsing its page
_SHORT_PAGE, _FEW_TAGS = 32_768, 500  # such a page takes 10 ms at most
_PAGES = ThreadPoolExecutor(2, "pages")

Names = dict[str, asyncio.Future[str]]  # the reverse lookups of a scan, by address


class ScannerClosed(Exception):
    """The scan was aborted because the server is shutting down; there is no result."""


class Scanner:
    """Scans targets; `deadline` is the time limit of a whole scan, in seconds.

    `reverse` looks up an address's name, `locate` its location; without them both stay empty.
    `revocations` and `renewals` are for certificates that are otherwise valid, `caa` is for all.
    """

    closed = False

    def __init__(
        self,
        guard: Guard,
        trust: tls.Trust,
        deadline: float = 10.0,
        *,
        reverse: Reverse | None = None,
        locate: Callable[[str], str] | None = None,
        revocations: Revocations | None = None,
        caa: CAA | None = None,
        renewals: Renewals | None = None,
    ) -> None:
        self.guard = guard
        self._trust = trust
        self._deadline = deadline
        self._reverse = reverse
        self._locate = locate
        self._revocations = revocations
        self._caa = caa
        self._renewals = renewals
        self._timeouts: set[asyncio.Timeout] = set()

    def close(self) -> None:
        """Abort the running scans; whoever waits for one gets ScannerClosed."""
        self.closed = True
        for timeout in self._timeouts:
            if not timeout.expired():
                timeout.reschedule(asyncio.get_running_loop().time())

    async def scan(
        self,
        target: Target,
        now: datetime,
        *,
        protocol: str = "",
        proxy: HTTPProxy | None = None,
        known: KeyExchange | None = None,
    ) -> Scan:
        """Resolve, connect, perform the handshake, judge, get the page. Raises ScannerClosed.

        `protocol` is what is spoken before TLS (a key of `starttls.PROTOCOLS`); empty is plain TLS,
        and only then a page is requested. With a `proxy`, its address is resolved and checked, and
        the proxy resolves the target. If what is `known` of the key exchange is outdated, the
        server is asked about it; without `known` it never is.
        """
        if self.closed:
            raise ScannerClosed
        now = now.replace(microsecond=0)
        self._trust.refresh(now)
        results: list[AddressResult] = []
        names: Names = {}
        verdict, detail = Verdict.TIMED_OUT, ""
        timeout = asyncio.timeout(self._deadline)
        try:
            async with timeout:
                self._timeouts.add(timeout)
                dialers = await self._dialers(target, proxy)
                results = _unanswered(dialers, proxy)
                names = self._look_up_names(dialers)
                probe = self._probe(target, now, protocol)
                await _run(probe, dialers, results, known)
                await _wait_for(names.values())
        except TimeoutError:
            if self.closed:
                raise ScannerClosed from None
            # Each result says "timed out" from the start, else what was known by now.
        except Forbidden:
            verdict = Verdict.FORBIDDEN
        except ResolutionFailed:
            verdict = Verdict.UNRESOLVED
        except ProxyFailed as failure:
            verdict, detail = Verdict.PROXY, str(failure)
        finally:
            self._timeouts.discard(timeout)
            for lookup in names.values():
                lookup.cancel()
        if not results:
            return Scan(now, verdict, sentence(verdict, detail))
        page = await _page(_with_facts(results).response)
        return self._summarize(now, results, names, known, page)

    def _probe(self, target: Target, now: datetime, protocol: str) -> Probe:
        return Probe(
            target, self._trust, now, protocol, self._revocations, self._caa, self._renewals
        )

    async def _dialers(self, target: Target, proxy: HTTPProxy | None) -> list[Dialer]:
        """All ways to connect to a target. Raises Forbidden, ResolutionFailed or ProxyFailed."""
        if proxy is not None:
            return [await self._proxy_dialer(proxy, target)]
        addresses = await self.guard.resolve(target)
        return [
            Dialer(str(address), partial(Connection.open, address, target.port))
            for address in addresses[:_MAX_ADDRESSES]
        ]

    async def _proxy_dialer(self, proxy: HTTPProxy, target: Target) -> Dialer:
        if not self.guard.permits_proxied(target):
            raise Forbidden
        try:
            addresses = await self.guard.resolve(proxy.target)
        except ResolutionFailed:
            raise ProxyFailed(proxy, "could not be resolved") from None
        address = target.host if is_address(target.host) else ""
        return Dialer(address, partial(tunnel, proxy, addresses, target))

    def _look_up_names(self, dialers: list[Dialer]) -> Names:
        """Start the reverse lookups, which run while the addresses are scanned."""
        if self._reverse is None:
            return {}
        return {
            each.address: asyncio.ensure_future(self._reverse(address))
            for each in dialers
            if (address := parse_address(each.address))
        }

    def _summarize(
        self,
        now: datetime,
        results: list[AddressResult],
        names: Names,
        known: KeyExchange | None,
        page: WebPage,
    ) -> Scan:
        decisive, facts = worst(results), _with_facts(results)
        same = known and facts.chain and facts.chain[0].fingerprint == known.fingerprint
        message = decisive.message or sentence(decisive.verdict)
        if any(each.message != decisive.message for each in results if not each.no_route):
            message = f"{message} (at {decisive.address})"
        name = names.get(facts.address)
        return Scan(
            now,
            decisive.verdict,
            message,
            facts.leaf,
            facts.host_match,
            facts.address,
            page,
            facts.chain,
            name.result() if name and name.done() and not name.cancelled() else "",
            self._locate(facts.address) if self._locate else "",
            facts.revocation,
            facts.caa,
            facts.handshake,
            facts.key_exchange or (known if same else None),
            len({each.chain[0].fingerprint for each in results if each.chain}) > 1,
            facts.renewal,
        )


def _with_facts(results: list[AddressResult]) -> AddressResult:
    """The worst result with a certificate, else the worst."""
    return worst([each for each in results if each.leaf] or results)


async def _page(response: Response) -> WebPage:
    """The page's facts; without title and meta tags if parsing takes too long."""
    if len(response.body) <= _SHORT_PAGE and response.body.count(b"<") <= _FEW_TAGS:
        return response.page()
    reading = asyncio.get_running_loop().run_in_executor(_PAGES, response.page)
    with suppress(TimeoutError):
        return await asyncio.wait_for(reading, _PAGE_WAIT)
    return response.page(read=False)


def _unanswered(dialers: list[Dialer], proxy: HTTPProxy | None) -> list[AddressResult]:
    """The results of servers that have not answered yet."""
    results = [AddressResult(dialer.address) for dialer in dialers]
    if proxy:
        failure = ProxyFailed(proxy, "did not answer before the scan timed out")
        results[0].set_verdict(Verdict.PROXY, str(failure))
    return results


async def _run(
    probe: Probe, dialers: list[Dialer], results: list[AddressResult], known: KeyExchange | None
) -> None:
    runs = [probe.run(dialer, result) for dialer, result in zip(dialers, results, strict=True)]
    if len(runs) == 1:  # no task for the usual case
        await runs[0]
    else:
        await asyncio.gather(*runs)
    if known is not None:
        facts = _with_facts(results)
        await probe.ask_key_exchange(dialers[results.index(facts)], facts, known)


async def _wait_for(names: Iterable[asyncio.Future[str]]) -> None:
    if pending := [name for name in names if not name.done()]:
        await asyncio.wait(pending, timeout=_NAME_WAIT)
