"""Scans of names with several addresses, and the additional facts of an address."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NoReturn

import pytest

from bot.embedded.scan.dns import Address
from bot.embedded.scan.endpoint import AddressResult, Dialer, Probe, worst
from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.result import Scan
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict
from bot.target import Target

from . import fleet as fleets
from .fleet import DAY, HOUR, NOW, Fleet, Leaf, Serving

pytestmark = pytest.mark.slow

NO_ROUTE = "ff0e::1"
#: Serves one address on the given port (0: any).
Server = Callable[[str, int], Serving]


def tls(fleet: Fleet, leaf: Leaf | None = None) -> Server:
    return lambda address, port: fleet.tls(leaf, address=address, port=port)


def silent(address: str, port: int) -> Serving:
    return fleets.serve(fleets.hang, address=address, port=port)


@asynccontextmanager
async def served(servers: Mapping[str, Server | None]) -> AsyncIterator[int]:
    """Serve all addresses on one port; nothing listens where the server is None."""
    port = 0
    async with AsyncExitStack() as stack:
        for address, server in servers.items():
            if server is not None:
                port = await stack.enter_async_context(server(address, port))
        yield port


async def scan(
    trust: Trust, servers: Mapping[str, Server | None], *, deadline: float = 5.0, **more: Any
) -> Scan:
    async def look_up(_host: str, _port: int) -> list[str]:
        return [*servers]

    guard = Guard(parse_allow("127.0.0.0/8,::1,::/0"), look_up=look_up)
    scanner = Scanner(guard, trust, deadline, **more)
    async with served(servers) as port:
        return await scanner.scan(Target("fleet.test", port), NOW)


async def test_a_name_is_valid_if_all_its_addresses_are(fleet: Fleet, trust: Trust) -> None:
    good = tls(fleet)
    result = await scan(trust, {"127.0.0.1": good, "127.0.0.2": good, "::1": good})
    assert (result.verdict, result.message, result.page.code) == (Verdict.VALID, "Valid", 200)


async def test_the_certificate_that_expires_first_is_reported(fleet: Fleet, trust: Trust) -> None:
    soon = tls(fleet, Leaf(left=5 * DAY))
    result = await scan(trust, {"127.0.0.1": tls(fleet), "127.0.0.2": soon})
    assert result.leaf is not None
    assert (result.message, result.leaf.not_after, result.ip) == (
        "Valid",
        NOW + 5 * DAY,
        "127.0.0.2",
    )


@pytest.mark.parametrize(
    ("leaf", "verdict", "message"),
    [
        (Leaf(left=-DAY), Verdict.EXPIRED, "Expired 2027-01-14 (at 127.0.0.2)"),
        (
            Leaf(names=("*.other.test",)),
            Verdict.HOST_MISMATCH,
            "Host name mismatch: the certificate is for *.other.test (at 127.0.0.2)",
        ),
    ],
)
async def test_one_bad_address_decides_the_verdict_and_is_named(
    fleet: Fleet, trust: Trust, leaf: Leaf, verdict: Verdict, message: str
) -> None:
    servers = {"127.0.0.1": tls(fleet), "127.0.0.2": tls(fleet, leaf), "127.0.0.3": tls(fleet)}
    result = await scan(trust, servers)
    assert (result.verdict, result.message, result.ip) == (verdict, message, "127.0.0.2")


async def test_an_unresponsive_address_is_named_with_the_others(fleet: Fleet, trust: Trust) -> None:
    refused = await scan(trust, {"127.0.0.1": tls(fleet), "127.0.0.2": None})
    assert refused.verdict is Verdict.REFUSED
    assert refused.message.endswith("nothing is listening on that port (at 127.0.0.2)")
    assert (refused.ip, refused.host_match, refused.page.code) == ("127.0.0.1", True, 200)
    late = await scan(trust, {"127.0.0.1": silent, "127.0.0.2": tls(fleet)}, deadline=0.5)
    assert (late.verdict, late.leaf is None, late.page.code) == (Verdict.TIMED_OUT, False, 200)
    assert late.message.endswith("respond in time (at 127.0.0.1)")


async def test_what_all_addresses_share_or_one_has_is_told(fleet: Fleet, trust: Trust) -> None:
    expired = tls(fleet, Leaf(left=-DAY))
    result = await scan(trust, {"127.0.0.1": expired, "127.0.0.2": expired})
    assert result.message == "Expired 2027-01-14"

    servers = {"127.0.0.1": None, "127.0.0.2": tls(fleet, Leaf(left=-HOUR))}
    assert (await scan(trust, servers)).message == "Expired 2027-01-15 (at 127.0.0.2)"


async def test_an_address_without_a_route_does_not_count_alone(fleet: Fleet, trust: Trust) -> None:
    # Connecting to a multicast address fails with ENETUNREACH, as IPv6 does without a route.
    mixed = await scan(trust, {"127.0.0.1": tls(fleet), NO_ROUTE: None})
    assert (mixed.message, mixed.ip) == ("Valid", "127.0.0.1")
    expired = await scan(trust, {"127.0.0.1": tls(fleet, Leaf(left=-DAY)), NO_ROUTE: None})
    assert expired.message == "Expired 2027-01-14"
    alone = await scan(trust, {NO_ROUTE: None})
    assert (alone.verdict, alone.message) == (
        Verdict.UNREACHABLE,
        "The server could not be reached",
    )


@pytest.mark.parametrize("fault", [errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
async def test_every_error_that_means_no_ipv6_is_no_route(trust: Trust, fault: int) -> None:
    async def no_route() -> NoReturn:
        raise OSError(fault, "no IPv6 here")

    result = AddressResult("2001:db8::1")
    await Probe(Target("fleet.test"), trust, NOW).run(Dialer("2001:db8::1", no_route), result)
    other = AddressResult("127.0.0.1", Verdict.VALID)
    assert (result.verdict, worst([result, other])) == (Verdict.UNREACHABLE, other)


async def test_an_unreachable_host_counts_even_if_other_addresses_are_fine(trust: Trust) -> None:
    async def lost() -> NoReturn:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    result = AddressResult("2001:db8::1")
    await Probe(Target("fleet.test"), trust, NOW).run(Dialer("2001:db8::1", lost), result)
    assert worst([result, AddressResult("127.0.0.1", Verdict.VALID)]) is result


async def test_the_first_eight_addresses_are_scanned_concurrently(trust: Trust) -> None:
    arrived: set[str] = set()
    all_there = asyncio.Event()

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.add(writer.get_extra_info("sockname")[0])
        if len(arrived) == 8:
            all_there.set()
        await all_there.wait()  # all eight must be connected at the same time

    def server(address: str, port: int) -> Serving:
        return fleets.serve(note, address=address, port=port)

    result = await scan(trust, {f"127.0.0.{n}": server for n in range(1, 11)})
    assert result.verdict in (Verdict.CLOSED, Verdict.RESET)
    assert len(arrived) == 8


async def test_a_scan_reports_an_address_with_name_and_place(fleet: Fleet, trust: Trust) -> None:
    async def reverse(address: Address) -> str:
        return f"host-{address}.test"

    def locate(address: str) -> str:
        return f"XX-{address[-1]}"

    result = await scan(trust, {"127.0.0.1": tls(fleet)}, reverse=reverse, locate=locate)
    assert (result.ip_rev, result.ip_geo) == ("host-127.0.0.1.test", "XX-1")


async def test_a_reverse_lookup_that_takes_too_long_is_skipped(fleet: Fleet, trust: Trust) -> None:
    async def reverse(_: Address) -> str:
        await asyncio.Event().wait()
        return "too late"

    result = await scan(trust, {"127.0.0.1": tls(fleet)}, deadline=0.5, reverse=reverse)
    assert (result.message, result.page.code, result.ip_rev) == ("Valid", 200, "")


async def test_the_chain_is_reported_as_it_was_sent(fleet: Fleet, trust: Trust) -> None:
    result = await scan(trust, {"127.0.0.1": tls(fleet)})
    assert [(link.subject, link.issuer) for link in result.chain] == [
        ("fleet.test", "Fleet Issuing CA"),
        ("Fleet Issuing CA", "Fleet Root"),
    ]
    assert [len(link.fingerprint) for link in result.chain] == [64, 64]
    assert result.chain[0].not_after == NOW + 90 * DAY + HOUR
