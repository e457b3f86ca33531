"""How bad a monitor's state is, in one word and one symbol, worst first.

Pure: a row of monitor/list, a time and the team's thresholds in, a `State` out. Cards, lists, the
digest and Home all use it. The README has the table.
"""

from __future__ import annotations

import copy
import fnmatch
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Self

from bot.api.models import AHEAD, MonitorSummary
from bot.dates import DAY, HOUR
from bot.sighting import Claim, Marks, Mute
from bot.target import NO_HANDSHAKE, REFUSED, REVOKED_MESSAGE, Target

#: The digest's net: it at least mentions valid certificates with fewer whole days left.
NET_DAYS = 30
#: Renewal is due when a third of the lifetime is left, but never more than this.
MOST_DUE = 30 * DAY
#: A certificate is urgent when a third of `due` is left, within these bounds.
LEAST_ACT, MOST_ACT = DAY, 7 * DAY
#: Certificates with at most this lifetime are fine until a day is left.
SHORT_LIFETIME = 10 * DAY
#: Certificates with at most this lifetime are renewed automatically, so renewal can be overdue.
RENEWED_BY_ITSELF = 100 * DAY
#: How much of a lifetime is left when CAs ask for renewal: about a third; half if it is below
#: SHORT_LIFETIME (letsencrypt.org/docs/integration-guide, “When to Renew”).
USUAL_PART, USUAL_PART_OF_SHORT = 3, 2
#: A window is the usual one if at least this part of that is left at its end.
LEAST_USUAL = 0.9
#: The API's dates are cut to the minute.
CUT = timedelta(minutes=1)
#: An unknown lifetime counts as this long, like that of a certificate renewed by hand.
UNKNOWN_LIFETIME = 200 * DAY
#: How late automatic renewal may be: a tenth of the lifetime, within these bounds.
LEAST_GRACE, MOST_GRACE = 12 * HOUR, 3 * DAY
#: A scan older than this says little about the present.
STALE_AFTER = timedelta(hours=36)
#: A new certificate that isn't served this long after it was issued is late.
LATE_AFTER = timedelta(hours=1)

_RULE = re.compile(r"(?P<number>[0-9]{1,3})(?P<unit>[d%])")
MOST_RULE = {"d": 365, "%": 90}


def days_left(not_after: datetime, now: datetime) -> int:
    """Whole days until `not_after`, rounded down: 0 on the last day, negative afterwards."""
    return (not_after - now) // DAY


class Rank(IntEnum):
    """The order of lists, broken monitors first."""

    BROKEN = 0
    ACT_NOW = 1
    OVERDUE = 2
    DUE = 3
    UNKNOWN = 4
    ON_SCHEDULE = 5
    OK = 6


@dataclass(frozen=True, slots=True)
class State:
    """What a monitor's row says first. `word` stands on its own: color is never the only sign."""

    rank: Rank
    symbol: str
    word: str


EXPIRED = State(Rank.BROKEN, "🔴", "EXPIRED")
NOT_YET_VALID = State(Rank.BROKEN, "🔴", "NOT YET VALID")
REVOKED = State(Rank.BROKEN, "🔴", "REVOKED")
WRONG_NAME = State(Rank.BROKEN, "🔴", "WRONG NAME")
UNREACHABLE = State(Rank.BROKEN, "⛔", "UNREACHABLE")
NOT_TRUSTED = State(Rank.BROKEN, "🔴", "NOT TRUSTED")
ACT_NOW = State(Rank.ACT_NOW, "🚨", "ACT NOW")
OVERDUE = State(Rank.OVERDUE, "🟠", "OVERDUE")
DUE = State(Rank.DUE, "🕒", "DUE")
NEVER_SCANNED = State(Rank.UNKNOWN, "⚪", "NOT SCANNED YET")
UNKNOWN = State(Rank.UNKNOWN, "⚪", "UNKNOWN")
NOT_ALLOWED = State(Rank.UNKNOWN, "⚪", "NOT ALLOWED")
ON_SCHEDULE = State(Rank.ON_SCHEDULE, "📅", "ON SCHEDULE")
OK = State(Rank.OK, "✅", "OK")
EVERY_STATE = (
    *(EXPIRED, NOT_YET_VALID, REVOKED, WRONG_NAME, UNREACHABLE, NOT_TRUSTED, ACT_NOW, OVERDUE, DUE),
    *(NEVER_SCANNED, UNKNOWN, NOT_ALLOWED, ON_SCHEDULE, OK),
)
#: Names of groups of states: broken monitors, and those about to expire.
OTHER_STATES = ("broken", "invalid", "due", "all")
#: States by the names that people type.
STATES: Mapping[str, tuple[State, ...]] = {
    "expired": (EXPIRED,),
    "unreachable": (UNREACHABLE,),
    "down": (UNREACHABLE,),
    "untrusted": (NOT_TRUSTED,),
    "mismatch": (WRONG_NAME,),
    "not-yet-valid": (NOT_YET_VALID,),
    "revoked": (REVOKED,),
    "overdue": (OVERDUE,),
    "urgent": (ACT_NOW,),
    "unknown": (UNKNOWN, NEVER_SCANNED, NOT_ALLOWED),
    "scheduled": (ON_SCHEDULE,),
    "fine": (OK, ON_SCHEDULE),
    "ok": (OK, ON_SCHEDULE),
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """When renewal is due, as set by the team: in days left, or percent of the lifetime left."""

    number: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `14d` or `20%`. Raises ValueError with a sentence for the user."""
        found = _RULE.fullmatch(text.lower())
        number = int(found["number"]) if found else 0
        if not found or not 1 <= number <= MOST_RULE[found["unit"]]:
            raise ValueError(
                f"“{text}” is not a threshold. Write 14d (1 to 365 days), 20% (of the lifetime, "
                "1 to 90) or default."
            )
        return cls(number, found["unit"])

    def __str__(self) -> str:
        return f"{self.number}{self.unit}"

    def due(self, lifetime: timedelta) -> timedelta:
        """How much of the lifetime is left when renewal is due."""
        return self.number * DAY if self.unit == "d" else lifetime * self.number / 100


class Thresholds:
    """The team's thresholds, the digest's net, and the marks. Immutable.

    Thresholds are set by host or pattern. The most specific one counts: a host with its port, then
    a host, then the longest pattern.
    """

    def __init__(
        self,
        rules: Mapping[str, str] | None = None,
        net_days: int = NET_DAYS,
        marks: Marks | None = None,
    ) -> None:
        self.net_days = net_days
        self.marks = marks or Marks()
        read = {name: Threshold.parse(rule) for name, rule in (rules or {}).items()}
        self._exact = {name: rule for name, rule in read.items() if "*" not in name}
        self._patterns = [
            (re.compile(fnmatch.translate(name)), rule)
            for name, rule in sorted(read.items(), key=lambda each: (-len(each[0]), each[0]))
            if "*" in name
        ]
        self.plenty = timedelta.max if read else max(MOST_DUE, net_days * DAY)
        """A valid certificate is OK with this much time left, unless its CA asks for renewal."""

    def __bool__(self) -> bool:
        return bool(self._exact or self._patterns)

    def look_ahead(self, now: datetime, until: datetime | None) -> int | None:
        """Within how many days a certificate must expire to matter now, or at `until` if given.

        None if any may matter: a threshold in percent has no limit in days.
        """
        own = [*self._exact.values(), *(rule for _, rule in self._patterns)]
        if any(rule.unit == "%" for rule in own):
            return None
        ahead = days_left(until, now) + 1 + MOST_ACT.days if until else 0
        return max(self.net_days, ahead, *(rule.number for rule in own))

    def with_fixers(self, who: Mapping[int, str]) -> Thresholds:
        """The same, with who has just fixed monitors, by their IDs."""
        same = copy.copy(self)
        same.marks = replace(self.marks, fixers=who)
        return same

    def for_(self, target: Target) -> Threshold | None:
        """The team's own threshold for a target, if there is one."""
        if not (self._exact or self._patterns):
            return None
        if rule := self._exact.get(str(target)) or self._exact.get(target.host):
            return rule
        return next((rule for form, rule in self._patterns if form.fullmatch(target.host)), None)


#: No thresholds and no marks.
USUAL = Thresholds()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a lifetime is left when renewal is due, overdue (if ever), and urgent."""

    due: timedelta
    overdue: timedelta | None
    act_now: timedelta


@functools.lru_cache(maxsize=4096)
def limits(lifetime: timedelta | None, rule: Threshold | None = None) -> Limits:
    """The limits for a lifetime; one that is unknown or implausible counts as long."""
    if lifetime is None or lifetime <= timedelta():
        return limits(UNKNOWN_LIFETIME, rule)
    due = rule.due(lifetime) if rule else min(MOST_DUE, lifetime / 3)
    act_now = LEAST_ACT if lifetime <= SHORT_LIFETIME else _between(LEAST_ACT, due / 3, MOST_ACT)
    if lifetime > RENEWED_BY_ITSELF:
        return Limits(due, None, act_now)
    return Limits(due, due - _between(LEAST_GRACE, lifetime / 10, MOST_GRACE), act_now)


def _between(least: timedelta, wanted: timedelta, most: timedelta) -> timedelta:
    return max(least, min(wanted, most))


def _lifetime(row: MonitorSummary) -> timedelta:
    start, end = row.not_before, row.not_after
    if start is None or end is None or start >= end:
        return UNKNOWN_LIFETIME
    return end - start


def limits_of(row: MonitorSummary, rules: Thresholds) -> Limits:
    """The limits for a monitor's certificate.

    Its CA may ask for renewal earlier: it is then due when the CA's window begins, and overdue when
    it has ended. A window that was moved forward makes it urgent. Any other window yields to the
    team's own threshold; one that lasts until the certificate expires is ignored.
    """
    rule, end, window = rules.for_(row.target), row.not_after, row.renewal
    own = limits(_lifetime(row), rule)
    if window is None or end is None or end - window.end <= CUT:
        return own
    moved = was_moved_forward(row)
    if rule and not moved:
        return own
    left = end - window.end
    return Limits(
        max(own.due, end - window.start),
        max(own.overdue or left, left),
        max(own.act_now, left) if moved else own.act_now,
    )


def was_moved_forward(row: MonitorSummary) -> bool:
    """Whether the CA has moved its window forward, so that it ends before our own due date.

    For some lifetimes CAs usually ask before our rule does. A window that ends about then has been
    moved only if the CA explains it.
    """
    window, end = row.renewal, row.not_after
    if window is None or end is None:
        return False
    lifetime, left = _lifetime(row), end - window.end
    usual = lifetime / (USUAL_PART_OF_SHORT if lifetime <= SHORT_LIFETIME else USUAL_PART)
    is_usual = usual * LEAST_USUAL <= left <= usual and not window.url
    return left > limits(lifetime).due and not is_usual


def ca_asks_now(row: MonitorSummary, now: datetime) -> bool:
    """Whether the CA asks to renew a certificate now, having moved its window forward."""
    return row.renewal is not None and row.renewal.end < now and was_moved_forward(row)


def state_of(row: MonitorSummary, now: datetime, rules: Thresholds) -> State:
    """A monitor's state, from its last scan and the time."""
    if row.not_after is not None and row.not_after <= now:
        return EXPIRED
    if row.valid is None:
        return NEVER_SCANNED if row.scanned_at is None else UNKNOWN
    if row.valid:
        return UNKNOWN if row.not_after is None else _timed(row, row.not_after, now, rules)
    return _broken(row, now)


def _broken(row: MonitorSummary, now: datetime) -> State:
    """The state of a monitor that the API calls invalid, though its certificate hasn't expired."""
    if row.message.startswith(REFUSED) and row.not_after is None:
        return NOT_ALLOWED
    if row.not_after is None or row.message.startswith(NO_HANDSHAKE):
        return UNREACHABLE
    if row.not_before is not None and row.not_before > now:
        return NOT_YET_VALID
    if row.message.startswith(REVOKED_MESSAGE):
        return REVOKED
    return WRONG_NAME if row.host_match is False else NOT_TRUSTED


def _timed(row: MonitorSummary, end: datetime, now: datetime, rules: Thresholds) -> State:
    begun = row.renewal is not None and row.renewal.start < now  # else it has no effect
    left = end - now
    if left >= rules.plenty and not begun:
        return OK
    limit = limits_of(row, rules) if begun else limits(_lifetime(row), rules.for_(row.target))
    if left < limit.act_now:
        return ACT_NOW
    if limit.overdue is not None and left < limit.overdue:
        return OVERDUE
    if left < limit.due:
        return DUE
    return ON_SCHEDULE if days_left(end, now) < rules.net_days else OK


def is_fine(row: MonitorSummary, now: datetime, rules: Thresholds) -> bool:
    """Whether nobody needs to do anything about a monitor now."""
    return state_of(row, now, rules).rank >= Rank.ON_SCHEDULE


def mute_of(row: MonitorSummary, now: datetime, rules: Thresholds) -> Mute | None:
    """The mute that applies to a monitor now, if any."""
    mute = rules.marks.mutes.get(row.id)
    if mute is None:
        return None
    state = state_of(row, now, rules)
    return mute if mute.holds(row, state.rank, state.word, now) else None


def ended_mute(row: MonitorSummary, now: datetime, rules: Thresholds) -> Mute | None:
    """A mute that is over for good: its time is up, or its monitor is fixed or renewed.

    If the monitor is merely worse for now, its mute applies again once that has passed.
    """
    mute, end = rules.marks.mutes.get(row.id), row.not_after
    if mute is None or mute_of(row, now, rules):
        return None
    renewed = end is not None and (end, row.issuer) != (mute.not_after, mute.issuer)
    return mute if now >= mute.until or renewed or is_fine(row, now, rules) else None


def claim_of(row: MonitorSummary, now: datetime, rules: Thresholds) -> Claim | None:
    """The claim on a monitor, if any; once the monitor is fine, it doesn't count."""
    claim = rules.marks.claims.get(row.id)
    return None if claim is None or is_fine(row, now, rules) else claim


def new_claim(row: MonitorSummary, user: str, name: str, now: datetime, rules: Thresholds) -> Claim:
    """A claim on a monitor in its present state."""
    is_valid = state_of(row, now, rules).rank in {Rank.ACT_NOW, Rank.OVERDUE, Rank.DUE}
    return Claim(row.id, user, name, now, row.not_after if is_valid else None)


def note_of(row: MonitorSummary, rules: Thresholds) -> str:
    """The note on a monitor's host; empty if there is none."""
    notes = rules.marks.notes
    return notes.get(str(row.target)) or notes.get(row.target.host, "")


def runbook_of(row: MonitorSummary, rules: Thresholds) -> str:
    """The most specific link: of the host, then of the longest pattern, then of the issuer."""
    links = rules.marks.runbooks
    if not links:
        return ""
    if link := links.get(str(row.target)) or links.get(row.target.host):
        return link
    for pattern in sorted(links, key=lambda each: (-len(each), each)):
        if "*" in pattern and fnmatch.fnmatchcase(row.target.host, pattern):
            return links[pattern]
    return links.get(row.issuer.casefold(), "")


def is_ahead(row: MonitorSummary, now: datetime) -> bool:
    """Whether the last scan is dated in the future, so that nobody knows when it ran."""
    return row.scanned_at is not None and row.scanned_at - now > AHEAD


def is_stale(row: MonitorSummary, now: datetime) -> bool:
    """Whether the last scan is too old to trust, or nobody knows when it ran."""
    return row.scanned_at is None or not -AHEAD <= now - row.scanned_at <= STALE_AFTER


def is_late(row: MonitorSummary) -> bool:
    """Whether the last scan found another certificate LATE_AFTER the announced one was issued."""
    if row.expected_at is None or row.scanned_at is None or row.not_after is None:
        return False
    return row.scanned_at - row.expected_at > LATE_AFTER


def worst_first(
    row: MonitorSummary, now: datetime, rules: Thresholds
) -> tuple[int, float, str, int]:
    """A sort key: by rank, then by expiry."""
    end = row.not_after.timestamp() if row.not_after else float("inf")
    return (state_of(row, now, rules).rank, end, row.target.host, row.target.port)
