"""What changed between two sightings of a monitor, in words; and between two whole lists.

An engineer who has replaced a certificate asks one thing of a rescan: is it the new one?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bot.api.models import MonitorSummary
from bot.blocks import date, safe
from bot.severity import Rank, Thresholds, mute_of, state_of
from bot.sighting import LastSeen, Sighting
from bot.target import Target

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
        if not found and now.renewed_since(before):
            found.append("reissued with the same dates and names")
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


#: What concerns nobody at night: it is counted in the next digest, and told where it is asked for.
SMALL = frozenset({"renewed", "added", "removed"})


@dataclass(frozen=True, slots=True)
class News:
    """What is to be told of a monitor; `kind` is one of `cards.TOLD`. A removed one has no row."""

    kind: str
    id: int
    target: Target
    row: MonitorSummary | None


def compare(
    before: Mapping[int, LastSeen],
    rows: Sequence[MonitorSummary],
    now: datetime,
    rules: Thresholds,
) -> tuple[list[News], dict[int, LastSeen], list[int]]:
    """What is to be told, which standings changed, and which monitors are gone.

    A muted monitor is not told about, and one is gone once it was missing twice.
    """
    told: list[News] = []
    changed: dict[int, LastSeen] = {}
    for row in rows:
        rank = int(state_of(row, now, rules).rank)
        is_now = LastSeen(rank, row.issuer, row.not_after, str(row.target))
        was = before.get(row.id)
        if is_now == was:
            continue
        changed[row.id] = is_now
        kind = _kind(was, is_now) if was else "added"
        if kind and not mute_of(row, now, rules):
            told.append(News(kind, row.id, row.target, row))
    missing = before.keys() - {row.id for row in rows}
    gone = sorted(number for number in missing if before[number].missing)
    changed |= {each: replace(before[each], missing=True) for each in missing - set(gone)}
    known = {each: before[each].target for each in gone if before[each].target}
    told += [News("removed", each, Target.parse(target), None) for each, target in known.items()]
    return told, changed, gone


def _kind(was: LastSeen, is_now: LastSeen) -> str:
    if is_now.rank == Rank.BROKEN:
        return "broken" if was.rank > Rank.BROKEN else ""
    if is_now.rank == Rank.ACT_NOW:
        return "worse" if was.rank > Rank.ACT_NOW else ""
    # If the same certificate is no longer urgent, its CA or the team has changed its mind.
    same = was.rank == Rank.ACT_NOW and was.not_after == is_now.not_after
    if is_now.rank < Rank.ON_SCHEDULE or same:
        return ""
    if was.rank <= Rank.ACT_NOW:
        return "fixed"
    if was.issuer and is_now.issuer and was.issuer != is_now.issuer:
        return "issuer" if was.rank >= Rank.ON_SCHEDULE else "renewed"
    later = was.not_after and is_now.not_after and is_now.not_after > was.not_after
    return "renewed" if later else ""
