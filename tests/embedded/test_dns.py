from __future__ import annotations

import asyncio
import ipaddress
import threading

import pytest

from bot.embedded.scan.dns import ReverseNames, look_up

ADDRESS = ipaddress.ip_address("192.0.2.1")


async def test_the_systems_resolver_finds_this_machine() -> None:
    assert set(await look_up("localhost", 443)) <= {"127.0.0.1", "::1"}


async def test_a_name_without_addresses_raises() -> None:
    with pytest.raises((OSError, UnicodeError)):
        await look_up("a..b", 443)


async def test_the_name_of_an_address_is_cached() -> None:
    asked: list[str] = []

    def name_of(address: str) -> str:
        asked.append(address)
        return "host.test"

    names = ReverseNames(name_of)
    assert [await names(ADDRESS), await names(ADDRESS)] == ["host.test", "host.test"]
    assert asked == ["192.0.2.1"]


async def test_a_cancelled_lookup_still_serves_the_next_caller() -> None:
    let_go = threading.Event()

    def name_of(_: str) -> str:
        let_go.wait(10)
        return "slow.test"

    names = ReverseNames(name_of)
    first = asyncio.ensure_future(names(ADDRESS))
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.ensure_future(names(ADDRESS))
    await asyncio.wait([first])
    let_go.set()
    assert (first.cancelled(), await second) == (True, "slow.test")


async def test_loopback_addresses_are_not_looked_up() -> None:
    names = ReverseNames(lambda _: "from DNS")
    found = [await names(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1", "127.1.2.3")]
    assert found == ["localhost", "localhost", ""]
