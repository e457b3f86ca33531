"""Durations, times and days as people write them; and when a channel's digest is due."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

import msgspec

if TYPE_CHECKING:  # what is selected, by its host and port alone
    from bot.target import Target

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
#: A digest posted later than this says that it is late.
LATE_AFTER = timedelta(minutes=15)

#: Monday is 0.
EVERY_DAY = tuple(range(7))
WORKING_DAYS = EVERY_DAY[:5]
_NAMED_DAYS = {
    "daily": EVERY_DAY,
    "weekdays": WORKING_DAYS,
    "weekends": EVERY_DAY[5:],
    **dict.fromkeys(("weekday", "workdays", "workday"), WORKING_DAYS),
    "weekend": EVERY_DAY[5:],
}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?:(?:[:.h]|(?<=\d\d)(?=\d\d))(?P<minute>\d{2})(?::00)?|h(?:rs)?)?"
    r" ?(?P<half>[ap]m)?(?:uhr)?",
    re.ASCII,
)
_NAMED_HOURS = {"noon": "12", "midday": "12", "midnight": "0"}

#: The kinds of subscriptions.
DIGEST, NOTICES = "digest", "notices"

_DURATION = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhd])")
_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": HOUR, "d": DAY, "w": 7 * DAY}
# `2 weeks`, `an hour`, `30 min`, and ISO 8601's `P14D` and `PT30M`.
_LENGTH = re.compile(
    r"(?:for[ =])?(?:p(?=\d+[dw]$)|pt(?=\d+[smh]$))?(?P<number>\d{1,6}|an?|one) ?"
    r"(?:(?P<word>sec(?:ond)?|min(?:ute)?|hr|hour|day|week|month)s?|(?P<unit>[smhdw]))",
    re.ASCII,
)

_IN_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER = re.compile(
    rf"\b({'|'.join(_IN_WORDS)}|a couple(?: of)?) (?=(?:min|hour|day|week|month|year))",
    re.IGNORECASE,
)
_HALF = re.compile(r"\b(?:half an?|an? half) (hour|day)\b", re.IGNORECASE)


def in_digits(text: str) -> str:
    """`two weeks` and `half an hour` as `2 weeks` and `30 min`."""
    values = {word: f"{value} " for value, word in enumerate(_IN_WORDS, 2)}
    text = _HALF.sub(lambda at: "30 min" if at[1].lower() == "hour" else "12 hours", text)
    return _NUMBER.sub(lambda at: values.get(at[1].lower(), "2 "), text)


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `30m`, `12h` or `1d`; upper case works too. The caller checks the range.

    Raises ValueError with a sentence for the user.
    """
    match = _DURATION.fullmatch(text.lower())
    if match is None:
        raise ValueError(
            f"“{text}” is not a duration. Use a number and s, m, h or d, for example 30m."
        )
    return int(match["number"]) * _UNITS[match["unit"]]


def parse_length(text: str) -> timedelta:
    """Read what people type: `for 2 weeks`, `an hour` and `P14D` too. Raises ValueError."""
    found = _LENGTH.fullmatch(in_digits(text.lower()))
    if found is None:
        return parse_duration(text)
    number = int(found["number"]) if found["number"].isdecimal() else 1
    if found["word"] == "month":
        return number * 30 * DAY
    return number * _UNITS[(found["word"] or found["unit"])[0]]


_TIME = r"(?P<length>(?:p?t?\d{1,6}|an?|one) ?(?:[smhdw]|(?:sec|min|hr|hour|day|week|month)[a-z]*))"
# `3d moving`, `for 2 weeks: moving`, and `moving for 3d`.
_MUTED_FOR = tuple(
    re.compile(form, re.IGNORECASE | re.DOTALL)
    for form in (
        rf"(?:for )?{_TIME}(?![\w%])(?P<reason>.*)",
        rf"(?P<reason>.*\S)\sfor[ =]{_TIME}[.!]*",
    )
)
_WHILES = "weekend|week|day|night|evening|month|year|while|bit|moment|time|hour"
# What begins like a time, but is none that a mute can last; in German and French too.
_UNREAD_LENGTH = re.compile(
    r"(?:until|till|til|forever|always|for)[\s=:]*$|(?:un)?till? |(?:for )?\d"
    rf"|(?:(?:for|over|during|the|this|next|a|an|some|all|whole) )+(?:rest of |few |half )?"
    rf"(?:{_WHILES})s?\b|(?:tonight|today|tomorrow|temporarily|indefinitely|permanently)\b"
    r"|(?:bis|für|fuer|jusqu.?[àa]u?|heute|morgen|demain|aujourd.?hui|eod|eow|end of)\b"
    r"|(?:(?:through|thru|by|to|before|on) )?(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day\b"
    r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* \d)",
    re.IGNORECASE,
)
#: Instead of a reason: there is none.
_COURTESIES = frozenset({"", "please", "pls", "plz", "thanks", "thx", "now", "asap", "bitte"})
# Any length inside a text.
_SOME_LENGTH = re.compile(
    r"\b(?:\d+|eine?n?|zwei|drei|une?|deux|trois) ?(?:[smhdw]|min\w*|mois"
    r"|(?:hr|hour|day|week|month|year|heure|jour|semaine)s?|(?:tag|monat)(?:en?)?|(?:stunde|woche|minute)n?)\b",
    re.IGNORECASE,
)


def length_and_reason(text: str) -> tuple[str, str]:
    """`for 3d: moved` as `3d` and `moved`; the length is empty if none is said.

    Raises ValueError with a sentence if one seems to be said that can't be read.
    """
    text = in_digits(text)
    said = re.sub(r"^for ?[=:] ?(?=\w)", "for ", text, flags=re.IGNORECASE)
    if said.lower() in {"until change", "until-change", "until it changes"}:
        return "", ""
    for pattern in _MUTED_FOR:
        if found := pattern.fullmatch(said):
            reason = found["reason"].strip(" \t-–—:,;.!")
            reason = "" if reason.lower() in _COURTESIES else reason
            if not _SOME_LENGTH.match(reason.removeprefix("and ")):
                return found["length"], reason
    if said != text or _UNREAD_LENGTH.match(text) or _SOME_LENGTH.search(text):
        raise ValueError("Say how long the mute lasts, for example for=7d.")
    return "", "" if text.lower() in _COURTESIES else text


def parse_clock(text: str) -> time:
    """Read `09:00`, `9`, `9am`, `17.30` or `noon`. Raises ValueError with a sentence."""
    text = text.lower()
    found = _CLOCK.fullmatch(_NAMED_HOURS.get(text, text))
    hour, minute = (int(found["hour"]), int(found["minute"] or 0)) if found else (24, 0)
    half = found["half"] if found else None
    if half and 1 <= hour <= 12:
        hour = hour % 12 + (12 if half == "pm" else 0)
    elif half:
        hour = 24
    if hour > 23 or minute > 59:
        raise ValueError(f"“{text}” is not a time of day. Use HH:MM, for example 09:00.")
    return time(hour, minute)


def parse_zone(text: str) -> str:
    """Read `Europe/Berlin` or `Berlin`, in any case. Raises ValueError with a sentence."""
    name = _zones().get(text.lower().replace(" ", "_"))
    if name is None:
        raise ValueError(f"“{text}” is not a time zone. Use a name such as Europe/Berlin or UTC.")
    return name


#: The areas whose zones are named after cities (others, such as US, are not).
_AREAS = frozenset(
    {
        *("africa", "america", "antarctica", "arctic", "asia"),
        *("atlantic", "australia", "europe", "indian", "pacific"),
    }
)


@functools.cache
def _zones() -> dict[str, str]:
    """Every time zone by its name, and by its city if that is unambiguous."""
    names = sorted(available_timezones())
    cities: dict[str, set[str]] = {}
    for name in names:
        area, *inner = name.lower().split("/")
        if area in _AREAS:
            cities.setdefault(inner[-1], set()).add(name)
    only = {city: found.pop() for city, found in cities.items() if len(found) == 1}
    return only | {name.lower(): name for name in names}


def parse_days(text: str) -> tuple[int, ...]:
    """Read `daily`, `weekdays`, `weekends`, `mon,wed` or `mon-fri`, as numbers from Monday, 0.

    Raises ValueError with a sentence for the user.
    """
    text = text.lower()
    if text in _NAMED_DAYS:
        return _NAMED_DAYS[text]
    found = set[int]()
    for word in text.split(","):
        ends = [_day(name) for name in word.split("-")]
        if None in ends or len(ends) > 2:
            raise ValueError(f"“{text}” is not a day. Use daily, weekdays, weekends or mon,wed.")
        first, last = ends[0] or 0, ends[-1] or 0
        found.update(day % 7 for day in range(first, last + 1 + (7 if last < first else 0)))
    return tuple(sorted(found))


def _day(word: str) -> int | None:
    word = word if word in _DAYS else word.removesuffix("s")  # mondays
    fits = [n for n, day in enumerate(_DAYS) if len(word) > 2 and day.startswith(word)]
    return fits[0] if fits else None


def days_text(days: tuple[int, ...]) -> str:
    """The days as `parse_days` reads them: `daily`, `weekdays`, `mon,wed`."""
    named = {_NAMED_DAYS[name]: name for name in ("daily", "weekdays", "weekends")}
    return named.get(days) or ",".join(_DAYS[day][:3] for day in days)


class Selection(msgspec.Struct, frozen=True):
    """Which monitors something is about: hosts (any of these patterns) and ports. Empty: all.

    `ports` is a filter of monitor/list: `443,8443`, `!443`, `100-200` or `>=100`.
    """

    hosts: tuple[str, ...] = ()
    ports: str = ""

    def takes(self, target: Target) -> bool:
        """Whether this host and port are selected."""
        if self.hosts and not any(fnmatchcase(target.host, pattern) for pattern in self.hosts):
            return False
        return not self.ports or _has_port(self.ports, target.port)

    def __str__(self) -> str:
        ports = f"port={self.ports}" if self.ports[:1] not in {">", "<"} else f"port{self.ports}"
        return " ".join([*self.hosts, *([ports] if self.ports else [])])


def _has_port(ports: str, port: int) -> bool:
    if ports.startswith("!"):
        return port != int(ports[1:])
    if ports.startswith(">="):
        return port >= int(ports[2:])
    if ports.startswith(">"):
        return port > int(ports[1:])
    first, dash, last = ports.partition("-")
    if dash:
        return int(first) <= port <= int(last)
    return str(port) in ports.split(",")


#: Every monitor.
ALL = Selection()


class Subscription(msgspec.Struct, frozen=True):
    """A channel's digest or notices; `kind` is DIGEST or NOTICES. It is stored as JSON.

    `at`, `zone` and `days` are for digests. Nothing due before `since` is sent, which is when it
    was set up or resumed; it is None for the environment's digest. `everything` includes changes
    that need no action, such as renewals. `mention` is a user or group ID. `weekly` means that an
    “all clear” is posted once a week at most, and `idle` that the bot looks for no changes, so that
    there are no notices. `Subscriptions` sets both, from the environment, for all channels.
    """

    kind: str
    channel: str
    at: time = time(9)
    zone: str = "UTC"
    days: tuple[int, ...] = EVERY_DAY
    which: Selection = ALL
    mention: str = ""
    everything: bool = False
    since: datetime | None = None
    paused_until: datetime | None = None
    off: bool = False
    set_by: str = ""
    weekly: bool = False
    idle: bool = False

    def runs(self, now: datetime) -> bool:
        """Whether it is not off, paused or idle."""
        return not (self.off or self.idle) and (
            self.paused_until is None or now >= self.paused_until
        )

    def takes(self, target: Target) -> bool:
        """Whether it is about this host and port."""
        return self.which.takes(target)

    @property
    def begins(self) -> datetime | None:
        """Nothing due before this is sent: when it was set up, or its pause ends."""
        return max(filter(None, (self.since, self.paused_until)), default=None)

    @property
    def timezone(self) -> ZoneInfo:
        """The time zone of `at`."""
        return ZoneInfo(self.zone)

    @property
    def when(self) -> str:
        """`09:00 Europe/Berlin, weekdays`."""
        return f"{self.at:%H:%M} {self.zone}, {days_text(self.days)}{self.plan.rule}"

    @property
    def fields(self) -> dict[str, str]:
        """What the form that sets up a digest shows."""
        at, days = f"{self.at:%H:%M}", days_text(self.days)
        return {"at": at, "zone": self.zone, "days": days, "about": str(self.which)}

    @property
    def plan(self) -> Plan:
        """When its digests are due."""
        at, zone = self.at, self.timezone
        return Plan(self.channel, at, zone, self.days, self.which, self.begins, self.weekly)


@dataclass(frozen=True, slots=True)
class Due:
    """A digest that should be posted now."""

    day: date
    late: bool = False
    first: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Where and when a digest is posted, and which monitors it is about.

    Nothing due before `begins` is posted. Without `begins`, this is the environment's digest, whose
    first one may be posted when the bot first starts. If it is `weekly`, only the week's first
    digest is posted while all is clear.
    """

    channel: str
    at: time
    timezone: ZoneInfo
    days: tuple[int, ...] = EVERY_DAY
    which: Selection = ALL
    begins: datetime | None = None
    weekly: bool = False

    @property
    def rule(self) -> str:
        """The end of its schedule if it is weekly while all is clear; else empty."""
        return ", or weekly while all is clear" if self.weekly and len(self.days) > 1 else ""

    def text(self, due: Due) -> str:
        """`09:00 Europe/Berlin` for the very first digest, empty for all others."""
        return f"{self.at:%H:%M} {self.timezone.key}{self.rule}" if due.first else ""

    def today(self, now: datetime) -> date:
        """The local date."""
        return now.astimezone(self.timezone).date()

    def hour(self, day: date) -> datetime:
        """When that day's digest is due, in UTC.

        If daylight saving skips that hour, it is read with the offset from before the change (02:30
        means 03:30); if it occurs twice, the first counts (PEP 495, fold 0). If the change skips
        the rest of the day as well, the digest is due in the day's last minute.
        """
        hour = datetime.combine(day, self.at, tzinfo=self.timezone).astimezone(UTC)
        while self.today(hour) > day:  # in March, America/Nuuk skips from 23:00 to midnight
            hour -= timedelta(minutes=1)
        return hour

    def is_planned(self, day: date) -> bool:
        """Whether there is a digest on this local day."""
        hour = self.hour(day)
        begun = self.begins is None or hour >= self.begins
        exists = self.today(hour) == day  # Pacific/Apia had no 30 December 2011
        return begun and exists and day.weekday() in self.days

    def due(self, now: datetime, first_start: datetime) -> Due | None:
        """The digest to post now: from its hour until the end of the local day.

        On the very first day, a bot that starts after that hour posts its first digest at once.
        """
        day = self.today(now)
        hour = self.hour(day)
        if now < hour or not self.is_planned(day):
            return None
        if self.begins is None and first_start >= hour:
            return Due(day, first=True)
        return Due(day, late=now - hour > LATE_AFTER)

    def following(self, now: datetime) -> datetime | None:
        """When the next digest is due after `now`; None if there is none within a year."""
        days = (self.today(now) + ahead * DAY for ahead in range(366))
        return next(
            (self.hour(day) for day in days if self.hour(day) > now and self.is_planned(day)), None
        )

    def next_at_work(self, day: date) -> datetime | None:
        """When the next digest on a working day is due, in local time; None if that is tomorrow.

        Without working days in the plan, it is the next digest. On a day off, it is None if another
        digest follows before the next working day: the last working day's digest looked ahead.
        """
        at_work = [each for each in self.days if each in WORKING_DAYS] or list(self.days)
        tomorrow = (day + DAY).weekday()
        if tomorrow in at_work or (tomorrow in self.days and day.weekday() not in at_work):
            return None
        ahead = next(n for n in range(1, 8) if (day + n * DAY).weekday() in at_work)
        return self.hour(day + ahead * DAY).astimezone(self.timezone)
