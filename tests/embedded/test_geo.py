import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.embedded.scan.geo import GeoDatabase

_NETWORKS: dict[str, Any] = {
    "192.0.2.0/25": {"country": {"iso_code": "US"}, "subdivisions": [{"iso_code": "CA"}]},
    "192.0.2.128/25": {"country": {"iso_code": "DE"}},
    "198.51.100.0/24": {"registered_country": {"iso_code": "FR"}},
    "203.0.113.0/24": {"country": "nonsense", "subdivisions": ["x"]},
    "203.0.114.0/24": "nonsense",
}


class UInt16(int):
    kind_and_size = (5, 2)


class UInt32(int):
    kind_and_size = (6, 4)


class UInt64(int):
    kind_and_size = (9, 8)


def encoded(value: Any) -> bytes:
    """A value in the data format of MaxMind DB 2.0."""
    if isinstance(value, str):
        return _control(2, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        pairs = b"".join(encoded(key) + encoded(each) for key, each in value.items())
        return _control(7, len(value)) + pairs
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(encoded, value))
    kind, size = value.kind_and_size
    return _control(kind, size) + int(value).to_bytes(size, "big")


def _control(kind: int, size: int) -> bytes:
    assert size < 29
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])


def database(networks: dict[str, Any]) -> bytes:
    """A MaxMind DB of IPv4 networks, by its public specification (version 2.0, 24-bit records)."""
    nodes: list[list[int | None]] = [[None, None]]
    ends: list[tuple[int, int, int]] = []
    data = b""
    for text, record in networks.items():
        network = ipaddress.IPv4Network(text)
        bits = f"{int(network.network_address):032b}"[: network.prefixlen]
        at = 0
        for bit in bits[:-1]:
            below = nodes[at][int(bit)]
            if below is None:
                below = nodes[at][int(bit)] = len(nodes)
                nodes.append([None, None])
            at = below
        ends.append((at, int(bits[-1]), len(data)))
        data += encoded(record)
    for at, side, offset in ends:
        nodes[at][side] = len(nodes) + 16 + offset
    records = [len(nodes) if each is None else each for node in nodes for each in node]
    about = {
        "node_count": UInt32(len(nodes)),
        "record_size": UInt16(24),
        "ip_version": UInt16(4),
        "database_type": "Test",
        "binary_format_major_version": UInt16(2),
        "binary_format_minor_version": UInt16(0),
        "build_epoch": UInt64(1),
        "languages": ["en"],
        "description": {"en": "Test"},
    }
    tree = b"".join(record.to_bytes(3, "big") for record in records)
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encoded(about)


@pytest.fixture
def geo(tmp_path: Path) -> Iterator[GeoDatabase]:
    file = tmp_path / "places.mmdb"
    file.write_bytes(database(_NETWORKS))
    opened = GeoDatabase(file)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("address", "location"),
    [
        ("192.0.2.7", "US-CA"),
        ("192.0.2.200", "DE"),
        ("198.51.100.1", "FR"),
        ("203.0.113.1", ""),
        ("203.0.114.1", ""),
        ("10.0.0.1", ""),
        ("2001:db8::1", ""),
        ("", ""),
    ],
)
def test_a_location_is_country_and_region(geo: GeoDatabase, address: str, location: str) -> None:
    assert geo(address) == location


def test_a_file_that_is_not_a_database_is_named(tmp_path: Path) -> None:
    for content in (None, b"no database"):
        file = tmp_path / "places.mmdb"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ValueError, match=r"places\.mmdb is not a MaxMind database"):
            GeoDatabase(file)
