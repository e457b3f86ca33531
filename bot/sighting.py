"""What the bot saw of a monitor, and what people said about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import msgspec

from bot.api.models import TOO_EARLY_MESSAGE, WRONG_NAME_MESSAGE, Monitor, MonitorSummary, Name


class Sighting(msgspec.Struct, frozen=True):
    """What the bot saw of a monitor at one moment; it is stored as JSON."""

    valid: bool | None
    not_after: datetime | None
    issuer: str
    names: tuple[str, ...]
    http_code: int | None
    fingerprint: str = ""
    awaits: bool = False
    """Whether another certificate was issued for the host, which does not serve it."""

    @classmethod
    def of(cls, found: Monitor, row: MonitorSummary | None = None) -> Self:
        """A sighting from monitor/get (or scan), with the verdict from monitor/list."""
        certificate = found.certificate
        issuer = certificate.issuer if certificate else Name()
        return cls(
            valid=row.valid if row else None,
            not_after=certificate.not_after if certificate else None,
            issuer=issuer.cn or issuer.o,
            names=tuple(sorted(certificate.alt_names)) if certificate else (),
            http_code=found.http.code,
            fingerprint=row.fingerprint if row else "",
            awaits=row is not None and row.expected_at is not None,
        )

    def renewed_since(self, before: Sighting) -> bool:
        """Whether the certificate was replaced: by its hash, else its expiry, issuer or names."""
        if self.not_after is None:
            return False
        if self.fingerprint and before.fingerprint:
            return self.fingerprint != before.fingerprint
        mine = (self.not_after, self.issuer, self.names)
        return mine != (before.not_after, before.issuer, before.names)


class LastSeen(msgspec.Struct, frozen=True, gc=False):
    """A monitor's state at the last comparison.

    `missing` is set once a complete list lacked it, `late` once it has failed for too long to serve
    an announced certificate.
    """

    rank: int
    issuer: str
    not_after: datetime | None = None
    target: str = ""
    missing: bool = False
    late: bool = False

    def may_have_missed(self, row: MonitorSummary) -> bool:
        """Whether its trouble may be older than this: the API calls the same certificate valid."""
        same = (self.issuer, self.not_after) == (row.issuer, row.not_after)
        return same and row.message in {WRONG_NAME_MESSAGE, TOO_EARLY_MESSAGE}


@dataclass(frozen=True, slots=True)
class Topic:
    """What a notice is about: what happened to which monitors, and `about` which certificates.

    `thread` is the key of the topic that it follows up, if any.
    """

    key: str
    channel: str
    kind: str
    about: frozenset[str]
    members: frozenset[int]
    thread: str | None
    at: datetime


class Claim(msgspec.Struct, frozen=True):
    """Who has taken a monitor, and when.

    If the monitor only needed a renewal, `renews` is when its certificate expires: the claim lasts
    until that changes, even if a threshold makes the monitor fine.
    """

    monitor_id: int
    user: str
    name: str
    at: datetime
    renews: datetime | None = None


class Mute(msgspec.Struct, frozen=True):
    """A monitor that is left out of digests and notices for a time; it is stored as JSON.

    If the mute ends as soon as the certificate changes or gets worse, or something else is wrong
    with it, `rank`, `word`, `not_after` and `issuer` are its state when it was muted; otherwise
    `rank` is None. Older mutes have no `word`.
    """

    user: str
    name: str
    at: datetime
    until: datetime
    reason: str = ""
    rank: int | None = None
    not_after: datetime | None = None
    issuer: str = ""
    word: str = ""

    def holds(self, row: MonitorSummary, rank: int, word: str, now: datetime) -> bool:
        """Whether the mute still applies to a monitor in this state. A lower rank is worse."""
        if now >= self.until:
            return False
        if self.rank is None:
            return True
        same = (row.not_after, row.issuer) == (self.not_after, self.issuer)
        return same and (rank > self.rank or (rank == self.rank and self.word in {"", word}))


@dataclass(frozen=True, slots=True)
class Marks:
    """What people said about monitors: claims and mutes by ID, notes by host, runbooks by pattern.

    A runbook's key is a host, a pattern with `*`, or an issuer. Right after a scan, `fixers` names
    who fixed which monitors by it.
    """

    claims: Mapping[int, Claim] = field(default_factory=dict)
    mutes: Mapping[int, Mute] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    runbooks: Mapping[str, str] = field(default_factory=dict)
    fixers: Mapping[int, str] = field(default_factory=dict)


def good(seen: Sighting, now: datetime) -> bool:
    """Whether the host serves a valid certificate."""
    return seen.valid is True and (seen.not_after is None or seen.not_after > now)
