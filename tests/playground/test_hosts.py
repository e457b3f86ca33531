import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509

from bot.demo import change_host
from bot.playground.hosts import SampleHosts


@pytest_asyncio.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[SampleHosts]:
    hosts = SampleHosts(datetime.now(UTC), tmp_path)
    await hosts.start()
    yield hosts
    await hosts.close()


def split(target: str) -> tuple[str, int]:
    name, _, port = target.partition(":")
    return name, int(port)


async def verify(hosts: SampleHosts, target: str) -> str:
    """Connect as a strict client: "ok", or OpenSSL's message."""
    name, port = split(target)
    context = ssl.create_default_context(cafile=str(hosts.ca_file))
    try:
        _, writer = await asyncio.open_connection(
            hosts.table[name], port, ssl=context, server_hostname=name
        )
    except ssl.SSLCertVerificationError as fault:
        return str(fault.verify_message)
    writer.close()
    await writer.wait_closed()
    return "ok"


async def test_each_host_is_in_its_own_state_until_its_certificate_is_renewed(
    hosts: SampleHosts, tmp_path: Path
) -> None:
    ports = [split(target)[1] for target in hosts.targets]
    assert hosts.allow == ",".join(f"127.0.0.1/32:{port}" for port in ports)
    assert len(set(ports)) == 6
    assert [split(target)[0] for target in hosts.targets] == list(hosts.table)
    valid, due, expired, wrong, self_signed, silent = hosts.targets
    assert await verify(hosts, valid) == "ok"
    assert await verify(hosts, due) == "ok"
    assert "expired" in await verify(hosts, expired)
    assert "mismatch" in (await verify(hosts, wrong)).lower()
    assert "self-signed" in await verify(hosts, self_signed)

    pem = (tmp_path / f"{split(due)[0]}.pem").read_bytes()
    leaf, issuer = x509.load_pem_x509_certificates(pem[pem.index(b"-----BEGIN CERT") :])
    assert (leaf.not_valid_after_utc - datetime.now(UTC)).days == 12
    leaf.verify_directly_issued_by(issuer)

    name, port = split(valid)
    context = ssl.create_default_context(cafile=str(hosts.ca_file))
    reader, writer = await asyncio.open_connection(
        hosts.table[name], port, ssl=context, server_hostname=name
    )
    writer.write(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"<title>Demo Shop</title>" in answer

    name, port = split(silent)
    reader, writer = await asyncio.open_connection(hosts.table[name], port)
    writer.write(b"hello")
    await writer.drain()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)
    writer.close()
    await writer.wait_closed()

    for name in (split(silent)[0], "elsewhere.demo.test"):
        with pytest.raises(KeyError):
            hosts.renew(name)
    for target in hosts.targets[:-1]:
        hosts.renew(split(target)[0])
        assert await verify(hosts, target) == "ok"


async def test_what_is_said_of_a_changed_host_is_true_hours_later(
    hosts: SampleHosts, tmp_path: Path
) -> None:
    later = datetime.now(UTC) + timedelta(hours=5)
    for line, said, left in (
        (" Break  Shop", "expired an hour ago. Press Rescan, or wait a minute", -1),
        (
            "renew shop.demo.test",
            "expires in 89 days. Press Rescan, or wait a minute",
            90 * 24,
        ),
    ):
        assert said in await change_host(hosts, lambda: later, line)
        pem = (tmp_path / "shop.demo.test.pem").read_bytes()
        leaf, _ = x509.load_pem_x509_certificates(pem[pem.index(b"-----BEGIN CERT") :])
        assert abs(leaf.not_valid_after_utc - later - timedelta(hours=left)) < timedelta(seconds=2)
    # the sweep calls a host down after three failed scans
    said = "refuses every connection. Press Rescan, or wait three minutes"
    assert said in await change_host(hosts, lambda: later, "silence api")


async def test_closing_ends_connections_that_would_stay_open_forever(tmp_path: Path) -> None:
    hosts = SampleHosts(datetime.now(UTC) - timedelta(minutes=1), tmp_path)
    await hosts.start()
    name, port = split(hosts.targets[-1])
    reader, writer = await asyncio.open_connection(hosts.table[name], port)
    # The silent host has accepted once another host has answered a later connection.
    assert await verify(hosts, hosts.targets[0]) == "ok"
    await hosts.close()
    assert await asyncio.wait_for(reader.read(), 2) == b""
    writer.close()
    await writer.wait_closed()
