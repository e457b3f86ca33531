"""The filters of monitor/list, as the API page defines them: parsed, and turned into SQL.

`port` and `ssl_expire_days` take terms separated by commas: `443`, `=443`, `<443`, `<=443`,
`>443`, `>=443`, `100-200`. A `!` in front excludes the term. A row must match one of the terms
without `!` (if there are any) and none of those with it. `host` has one wildcard, `*`. An empty
parameter is no filter. Invalid input raises ValueError with a sentence for the caller.

`attention_days` isn't on that page: it leaves out monitors that need no attention that soon.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import BigInteger, ColumnElement, and_, false, not_, or_, type_coerce

from bot.embedded.ca.facts import date, renewal_start
from bot.embedded.scan.verdict import Verdict
from bot.store.tables import monitors
from bot.target import a_labels, lower_case, normal_host

_TERM = re.compile(
    r"(?P<exclude>!?)\s*(?:(?P<op><=|>=|==|=|<|>|)\s*(?P<number>-?[0-9]{1,9})"
    r"|(?P<low>-?[0-9]{1,9})\s*-\s*(?P<high>-?[0-9]{1,9}))"
)
_MAX_TERMS = 100
_DAY = 86_400  # seconds
#: A monitor that was not scanned for this long may need attention, however good the last result.
_RECENT = timedelta(days=1)

# Both ends included; None is open.
Range = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class NumberFilter:
    """A set of whole numbers: those in any `include` (all if empty), but in no `exclude`."""

    include: tuple[Range, ...] = ()
    exclude: tuple[Range, ...] = ()

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """Read `443,8443`, `!443`, `100-200`, `>=100`. Raises ValueError."""
        terms = text.split(",")
        if len(terms) > _MAX_TERMS:
            raise ValueError(f"The parameter {name} takes at most {_MAX_TERMS} terms.")
        include: list[Range] = []
        exclude: list[Range] = []
        for term in terms:
            match = _TERM.fullmatch(term.strip())
            if not match or (name == "port" and re.search(r"[0-9]{6}", term)):
                raise ValueError(f"“{term[:40]}” is not a filter for {name}. Use 30, <30 or 10-30.")
            (exclude if match["exclude"] else include).append(_range(match, name))
        return cls(tuple(include), tuple(exclude))


def _range(match: re.Match[str], name: str) -> Range:
    if match["low"] is not None:
        low, high = int(match["low"]), int(match["high"])
        if low > high:
            raise ValueError(f"“{low}-{high}” is not a range for {name}. Try {high}-{low}.")
        return low, high
    number = int(match["number"])
    ranges: dict[str, Range] = {
        "<": (None, number - 1),
        "<=": (None, number),
        ">": (number + 1, None),
        ">=": (number, None),
    }
    return ranges.get(match["op"], (number, number))


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of one request to monitor/list; None is no filter."""

    host: str | None = None
    port: NumberFilter | None = None
    valid: bool | None = None
    days: NumberFilter | None = None
    attention: int | None = None

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> Self:
        """Read the parameters. Raises ValueError with a sentence for the caller."""
        host, port, valid, days, attention = (
            params.get(name, "").strip()
            for name in ("host", "port", "ssl_valid", "ssl_expire_days", "attention_days")
        )
        return cls(
            _host_pattern(host) if host else None,
            NumberFilter.parse(port, "port") if port else None,
            _boolean(valid) if valid else None,
            NumberFilter.parse(days, "ssl_expire_days") if days else None,
            _whole(attention) if attention else None,
        )

    def conditions(self, now: datetime) -> list[ColumnElement[bool]]:
        """The WHERE clauses, to be ANDed; days are counted from `now` (whole seconds)."""
        clauses: list[ColumnElement[bool]] = []
        if self.host is not None:
            clauses.append(_host_condition(self.host))
        if self.port is not None:
            clauses.append(_condition(self.port, _port_range))
        if self.valid is not None:
            clauses.append(valid_now(now) if self.valid else not_(valid_now(now)))
        if self.days is not None:
            clauses.append(monitors.c.not_after.is_not(None))
            clauses.append(_condition(self.days, lambda low, high: _days_range(low, high, now)))
        if self.attention is not None:
            clauses.append(_attention(self.attention, now))
        return clauses


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of a list: at most `limit` rows after the first `offset`."""

    limit: int
    offset: int = 0


def valid_now(now: datetime) -> ColumnElement[bool]:
    """True if a monitor's last scan was valid and its certificate has not expired since."""
    # Never NULL, so that it can be negated.
    return and_(
        monitors.c.verdict.is_not_distinct_from(Verdict.VALID.value),
        monitors.c.not_after.is_not(None),
        monitors.c.not_after >= now,
    )


def _attention(days: int, now: datetime) -> ColumnElement[bool]:
    """What is invalid, expires or enters its CA's window soon enough, or has no recent scan."""
    scanned, by = monitors.c.scanned_at, date(now + timedelta(days=days + 1))
    return or_(
        not_(valid_now(now)),
        _days_range(None, days, now),
        and_(monitors.c.renewal.is_not(None), renewal_start(monitors.c.renewal) < by),
        scanned.is_(None),
        not_(scanned.between(now - _RECENT, now)),
    )


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4):
        raise ValueError("The parameter attention_days must be a number from 0 to 9999.")
    return int(text)


def _boolean(text: str) -> bool:
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ValueError(f"“{text[:40]}” is not a value for ssl_valid. Use true or false.")
    return values[text.lower()]


def _host_pattern(text: str) -> str:
    if len(text) > 253 or not text.isprintable():
        raise ValueError(
            "The parameter host is not a host name or a pattern such as *.example.com."
        )
    if "*" not in text:
        try:
            return normal_host(text)
        except ValueError:
            return text.lower()  # no host has such a name: nothing matches
    labels = lower_case(text).removesuffix(".").split(".")
    return re.sub(r"\*+", "*", ".".join(_a_label(label) for label in labels))


def _a_label(label: str) -> str:
    if label.isascii() or "*" in label:
        return label
    try:
        return a_labels(label)
    except ValueError:
        return label  # no host has such a name: nothing matches


def _host_condition(pattern: str) -> ColumnElement[bool]:
    if "*" not in pattern:
        return monitors.c.host == pattern
    # LIKE's own wildcards are plain characters here.
    for special in ("\\", "%", "_"):
        pattern = pattern.replace(special, "\\" + special)
    return monitors.c.host.like(pattern.replace("*", "%"), escape="\\")


def _condition(
    numbers: NumberFilter, to_clause: Callable[[int | None, int | None], ColumnElement[bool]]
) -> ColumnElement[bool]:
    exclude = [not_(to_clause(low, high)) for low, high in numbers.exclude]
    if not numbers.include:
        return and_(*exclude)
    include = [to_clause(low, high) for low, high in numbers.include]
    return and_(or_(false(), *include), *exclude)


def _port_range(low: int | None, high: int | None) -> ColumnElement[bool]:
    return _between(monitors.c.port, low, None if high is None else high + 1)


def _days_range(low: int | None, high: int | None, now: datetime) -> ColumnElement[bool]:
    # Whole days are rounded down: "30 days" is anything from 30 to just under 31. In seconds since
    # 1970, as they are stored, since the last day of the year 9999 has no next one.
    at, seconds = type_coerce(monitors.c.not_after, BigInteger), int(now.timestamp())
    start = None if low is None else seconds + low * _DAY
    return _between(at, start, None if high is None else seconds + (high + 1) * _DAY)


def _between(column: ColumnElement[Any], low: int | None, end: int | None) -> ColumnElement[bool]:
    clauses = [column >= low] if low is not None else []
    if end is not None:
        clauses.append(column < end)
    return and_(*clauses)
