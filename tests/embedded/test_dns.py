import asyncio
import ipaddress
import threading

from bot.embedded.scan.dns import ReverseNames

ADDRESS = ipaddress.ip_address("192.0.2.1")


async def test_the_name_of_an_address_is_cached() -> None:
    lookups: list[str] = []

    def name_of(address: str) -> str:
        lookups.append(address)
        return "host.test"

    names = ReverseNames(name_of)
    assert [await names(ADDRESS), await names(ADDRESS)] == ["host.test", "host.test"]
    assert lookups == ["192.0.2.1"]


async def test_a_cancelled_lookup_still_serves_the_next_caller() -> None:
    go, lookups = threading.Event(), []

    def name_of(address: str) -> str:
        lookups.append(address)
        go.wait(10)
        return "slow.test"

    names = ReverseNames(name_of)
    first = asyncio.ensure_future(names(ADDRESS))
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.ensure_future(names(ADDRESS))
    await asyncio.wait([first])
    go.set()
    assert (first.cancelled(), await second) == (True, "slow.test")
    assert lookups == ["192.0.2.1"]


async def test_loopback_addresses_are_not_looked_up() -> None:
    names = ReverseNames(lambda _: "from DNS")
    results = [
        await names(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1", "127.1.2.3")
    ]
    assert results == ["localhost", "localhost", ""]
