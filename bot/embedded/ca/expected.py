"""The certificate that a deploy hook announces: which one it is, and for which hosts.

It is identified by SHA-256 fingerprint or serial number, in any notation of OpenSSL, browsers and
people. Ambiguous notations are refused: a wrong guess would wait forever.
"""

import re
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from msgspec import Meta, Struct
from sqlalchemy import ColumnElement, RowMapping, or_

from bot.embedded.scan.dns import is_address
from bot.embedded.scan.result import Scan
from bot.store.tables import monitors
from bot.target import normal_host

Kind = Literal["fingerprint", "serial"]
MOST_NAMES = 250
#: How long to wait for a certificate whose expiry date was not announced.
LONGEST_WAIT = timedelta(days=30)
_LONGEST_SERIAL = 40  # hexadecimal digits: 20 octets (RFC 5280, section 4.1.2.2)
_LONGEST_INPUT = 1000
_HEX = re.compile(r"[0-9a-f]+")
_BETWEEN = re.compile(r"[\s:]")  # between pairs of digits


@dataclass(frozen=True, slots=True)
class Expected:
    """A certificate: `value` is lowercase hexadecimal; a serial number has no leading zeros."""

    kind: Kind
    value: str

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Self:
        """Read `fingerprint` or `serial`. Raises ValueError with a sentence for the caller."""
        fingerprint, serial = (params.get(name, "").strip() for name in ("fingerprint", "serial"))
        if bool(fingerprint) == bool(serial):
            raise ValueError("Give the certificate's fingerprint or its serial, one of the two.")
        if fingerprint:
            return cls("fingerprint", _fingerprint(fingerprint))
        return cls("serial", _serial(serial))

    @classmethod
    def of(cls, stored: str) -> Self:
        """Read what `str` writes."""
        kind, _, value = stored.partition(":")
        return cls("serial" if kind == "serial" else "fingerprint", value)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint; empty if only the serial number is known."""
        return self.value if self.kind == "fingerprint" else ""

    @property
    def serial(self) -> str:
        """The serial number; empty if only the fingerprint is known."""
        return self.value if self.kind == "serial" else ""

    def is_served(self, fingerprint: str | None, serial: str) -> bool:
        """Whether this is the certificate with the given fingerprint or serial number."""
        return self.value == (fingerprint if self.kind == "fingerprint" else serial)


def _fingerprint(text: str) -> str:
    """64 hexadecimal digits, also with colons or spaces, or after `sha256 Fingerprint=`."""
    digits = _BETWEEN.sub("", text.rpartition("=")[2]).lower()
    if _HEX.fullmatch(digits) and len(digits) == 64:
        return digits
    if _HEX.fullmatch(digits) and len(digits) == 40:
        raise ValueError(
            "That is a SHA-1 fingerprint. Send that of SHA-256: "
            "openssl x509 -noout -fingerprint -sha256 -in cert.pem"
        )
    raise ValueError(f"“{text[:80]}” is not a SHA-256 fingerprint: 64 hexadecimal digits.")


def _serial(text: str) -> str:
    """Hexadecimal digits, also with colons, spaces, leading zeros, `0x` or OpenSSL's `serial=`.

    Plain digits could be decimal as well, unless they begin with a zero.
    """
    told = text.lower().removeprefix("serial=").removeprefix("0x")
    digits = _BETWEEN.sub("", told)
    if not _HEX.fullmatch(digits) or len(digits.lstrip("0")) > _LONGEST_SERIAL:
        raise ValueError(f"“{text[:80]}” is not a serial number: at most 40 hexadecimal digits.")
    if text == digits and digits.isdecimal() and len(digits) > 1 and digits[0] != "0":
        raise ValueError(
            f"“{text}” may be hexadecimal or decimal. Write hexadecimal as 0x{digits}, or send the "
            "fingerprint."
        )
    return digits.lstrip("0") or "0"


class ExpectedFacts(Struct):
    """A certificate that was issued for the host, which doesn't serve it yet."""

    fingerprint: Annotated[str, Meta(description="Its SHA-256; empty if its serial was given")]
    serial: Annotated[str, Meta(description="Its serial number; empty if its SHA-256 was given")]
    date: Annotated[str | None, Meta(description="When it was announced: YYYY-MM-DD HH:MM, UTC")]
    date_end: Annotated[str | None, Meta(description="When it expires; null if that is unknown")]


@dataclass(frozen=True, slots=True)
class Announcement:
    """An issued certificate: for one monitor, or for all of these names, on one port or any.

    `until` is when it expires, None if unknown.
    """

    expected: Expected
    until: datetime | None = None
    id: int | None = None
    names: tuple[str, ...] = ()
    port: int | None = None

    def condition(self) -> ColumnElement[bool]:
        """Selects the monitors that may be meant; `meant` decides."""
        if self.id is not None:
            return monitors.c.id == self.id
        exact = [_normal(name) for name in self.names if not name.startswith("*.")]
        parents = [_normal(name[2:]) for name in self.names if name.startswith("*.")]
        below = (monitors.c.host.endswith(f".{each}", autoescape=True) for each in parents)
        host = or_(monitors.c.host.in_(exact), *below)
        return host if self.port is None else host & (monitors.c.port == self.port)

    def meant(self, rows: Iterable[tuple[int, str]]) -> list[int]:
        """The IDs of the monitors that are meant, out of pairs of ID and host."""
        names = set(map(normal_name, self.names))
        return [
            id_
            for id_, host in rows
            if self.id is not None or not names.isdisjoint(names_for(host))
        ]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an announcement for one monitor.

    It is `live` if the last scan found the certificate; otherwise it is awaited, since `since`.
    `replaced` means that another one was awaited before. `row` only has the short part of the scan.
    """

    row: Mapping[Any, Any]
    live: bool
    since: datetime
    replaced: bool


def is_awaited(row: RowMapping, now: datetime) -> bool:
    """Whether a monitor waits for a certificate that hasn't expired."""
    return row["expected"] is not None and now < (
        row["expected_until"] or row["expected_at"] + LONGEST_WAIT
    )


def ends(row: RowMapping, scan: Scan) -> bool:
    """Whether a scan ends the wait.

    It does if all addresses serve the awaited certificate, or one that was issued later.
    """
    if not is_awaited(row, scan.at):
        return True
    if scan.leaf is None or scan.mixed or not scan.chain:
        return False
    if Expected.of(row["expected"]).is_served(scan.chain[0].fingerprint, scan.handshake.serial):
        return True
    return bool(row["expected_at"] < scan.leaf.not_before <= scan.at)


def expiry(params: Mapping[str, str], now: datetime) -> datetime | None:
    """The certificate's expiry, if it was sent: as the API or OpenSSL (`notAfter=`) writes it.

    Raises ValueError with a sentence, also for a date before `now`.
    """
    text = params.get("date_end", "").strip().removeprefix("notAfter=")
    if not text:
        return None
    at = _moment(text)
    if at is None:
        raise ValueError(f"“{text[:40]}” is not a date. Write it like 2027-02-20 10:00.")
    if at <= now:
        raise ValueError(f"That certificate expired on {at:%Y-%m-%d %H:%M}: nobody waits for it.")
    return at


def _moment(text: str) -> datetime | None:
    with suppress(ValueError, OverflowError):
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    with suppress(ValueError, OverflowError):
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
    return None


def read_names(text: str) -> tuple[str, ...]:
    """The names of a certificate, separated by spaces or commas. Raises ValueError."""
    names = tuple(dict.fromkeys(text.lower().replace(",", " ").split()))
    if len(names) > MOST_NAMES or any(len(name) > _LONGEST_INPUT for name in names):
        raise ValueError(f"The parameter host takes at most {MOST_NAMES} names.")
    if not all(name.isprintable() for name in names):
        raise ValueError("The parameter host contains an invalid character.")
    return names


def names_for(host: str) -> set[str]:
    """The names in certificates that match a host: `*` is its first label (RFC 6125, 6.4)."""
    return {host} if is_address(host) else {host, f"*.{host.partition('.')[2]}"}


def normal_name(name: str) -> str:
    """A name as `names_for` returns it."""
    return f"*.{_normal(name[2:])}" if name.startswith("*.") else _normal(name)


def _normal(name: str) -> str:
    """A name as monitors store it; an impossible host name stays as it is."""
    try:
        return normal_host(name)
    except ValueError:
        return name
