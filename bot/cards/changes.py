"""What changed between two sightings of a monitor, in words.

An engineer who has replaced a certificate asks one thing of a rescan: is it the new one?
"""

from __future__ import annotations

from datetime import datetime

from bot.blocks import date, safe
from bot.sighting import Sighting

NAMES_SHOWN = 3


def changes(before: Sighting, now: Sighting) -> list[str]:
    """Each change as a short phrase of mrkdwn; empty if nothing changed."""
    found = []
    if before.not_after != now.not_after:
        found.append(f"expiry date {_day(before.not_after)} → {_day(now.not_after)}")
    if now.not_after is not None and before.not_after is not None:
        if before.issuer != now.issuer:
            found.append(f"issuer {_text(before.issuer)} → {_text(now.issuer)}")
        found += _names(before.names, now.names)
    if before.http_code != now.http_code:
        found.append(f"HTTP {_text(before.http_code)} → {_text(now.http_code)}")
    return found


def sentence(before: Sighting, now: Sighting) -> str:
    """What changed: `Changed: expiry date 22 Nov 2026 → 20 Feb 2027.`, or that nothing did."""
    found = changes(before, now)
    if found:
        return f"Changed: {' · '.join(found)}."
    if now.not_after is None:
        return "No change: the certificate still can't be read."
    return "No change: still the old certificate."


def _names(before: tuple[str, ...], now: tuple[str, ...]) -> list[str]:
    lost, gained = sorted(set(before) - set(now)), sorted(set(now) - set(before))
    found = []
    if lost:
        found.append(f"names removed: {_some(lost)}")
    if gained:
        found.append(f"names added: {_some(gained)}")
    return found


def _some(names: list[str]) -> str:
    shown = ", ".join(safe(name, 80) for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _day(at: datetime | None) -> str:
    return date(at, "{date_short}") if at else "none"


def _text(value: str | int | None) -> str:
    return safe(str(value), 60) if value not in {None, ""} else "none"
