"""The filters of monitor/list, in the grammar of the API page: read, and turned into SQL.

`port` and `ssl_expire_days` take terms separated by commas: `443`, `=443`, `<443`, `<=443`,
`>443`, `>=443`, `100-200`, and `!` before any of them to shut it out. A row must meet one of the
terms without `!` (when there are any) and none of those with it. `host` knows one wildcard, `*`.
An empty parameter is no filter. What can't be read is a ValueError with a sentence for the asker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import idna
from sqlalchemy import Column, ColumnElement, and_, false, not_, or_

from bot.dates import DAY
from bot.embedded.scan.verdict import Verdict
from bot.store.tables import monitors
from bot.target import normal_host

_TERM = re.compile(
    r"(?P<bar>!?)\s*(?:(?P<op><=|>=|==|=|<|>|)\s*(?P<number>-?[0-9]{1,5})"
    r"|(?P<low>-?[0-9]{1,5})\s*-\s*(?P<high>-?[0-9]{1,5}))"
)
_MOST_TERMS = 100

# Both ends count; None is open.
Range = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Numbers:
    """Which whole numbers are wanted: in one of `wanted` (all, when empty), in none of `barred`."""

    wanted: tuple[Range, ...] = ()
    barred: tuple[Range, ...] = ()

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """Read `443,8443`, `!443`, `100-200`, `>=100`. Raises ValueError."""
        terms = text.split(",")
        if len(terms) > _MOST_TERMS:
            raise ValueError(f"The parameter {name} takes at most {_MOST_TERMS} terms.")
        wanted: list[Range] = []
        barred: list[Range] = []
        for term in terms:
            found = _TERM.fullmatch(term.strip())
            if not found:
                raise ValueError(f"“{term[:40]}” is not a filter for {name}.")
            (barred if found["bar"] else wanted).append(_range(found, name))
        return cls(tuple(wanted), tuple(barred))


def _range(found: re.Match[str], name: str) -> Range:
    if found["low"] is not None:
        low, high = int(found["low"]), int(found["high"])
        if low > high:
            raise ValueError(f"“{low}-{high}” is not a range for {name}: it ends before it starts.")
        return low, high
    number = int(found["number"])
    ranges: dict[str, Range] = {
        "<": (None, number - 1),
        "<=": (None, number),
        ">": (number + 1, None),
        ">=": (number, None),
    }
    return ranges.get(found["op"], (number, number))


@dataclass(frozen=True, slots=True)
class Filters:
    """What monitor/list was asked for; None is no filter."""

    host: str | None = None
    port: Numbers | None = None
    valid: bool | None = None
    days: Numbers | None = None

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> Self:
        """Read the four parameters. Raises ValueError with a sentence for the asker."""
        host, port, valid, days = (
            params.get(name, "").strip()
            for name in ("host", "port", "ssl_valid", "ssl_expire_days")
        )
        return cls(
            _host_pattern(host) if host else None,
            Numbers.parse(port, "port") if port else None,
            _truth(valid) if valid else None,
            Numbers.parse(days, "ssl_expire_days") if days else None,
        )

    def conditions(self, now: datetime) -> list[ColumnElement[bool]]:
        """The WHERE clauses, to be ANDed; `now` (whole seconds) decides what days are left."""
        found: list[ColumnElement[bool]] = []
        if self.host is not None:
            found.append(_host_condition(self.host))
        if self.port is not None:
            found.append(_condition(self.port, _port_range))
        if self.valid is not None:
            found.append(valid_now(now) if self.valid else not_(valid_now(now)))
        if self.days is not None:
            found.append(monitors.c.not_after.is_not(None))
            found.append(_condition(self.days, lambda low, high: _days_range(low, high, now)))
        return found


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a list: at most `limit` rows after the first `offset`."""

    limit: int
    offset: int = 0


def valid_now(now: datetime) -> ColumnElement[bool]:
    """True for a monitor whose last scan was valid and whose certificate has not ended since."""
    # CASE-free and never NULL, so that it can be negated.
    return and_(
        monitors.c.verdict.is_not_distinct_from(Verdict.VALID.value),
        monitors.c.not_after.is_not(None),
        monitors.c.not_after >= now,
    )


def _truth(text: str) -> bool:
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ValueError(f"“{text[:40]}” is not a value for ssl_valid: it is true or false.")
    return values[text.lower()]


def _host_pattern(text: str) -> str:
    if len(text) > 253 or not text.isprintable():
        raise ValueError("The parameter host is not a host name or a pattern.")
    if "*" not in text:
        try:
            return normal_host(text)
        except ValueError:
            return text.lower()  # no host is named so: nothing matches
    labels = text.lower().removesuffix(".").split(".")
    return re.sub(r"\*+", "*", ".".join(_a_label(label) for label in labels))


def _a_label(label: str) -> str:
    if label.isascii() or "*" in label:
        return label
    try:
        return idna.encode(label, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return label  # no host is named so: nothing matches


def _host_condition(pattern: str) -> ColumnElement[bool]:
    if "*" not in pattern:
        return monitors.c.host == pattern
    # LIKE has two wildcards of its own; they are plain characters here.
    for special in ("\\", "%", "_"):
        pattern = pattern.replace(special, "\\" + special)
    return monitors.c.host.like(pattern.replace("*", "%"), escape="\\")


def _condition(
    numbers: Numbers, ranged: Callable[[int | None, int | None], ColumnElement[bool]]
) -> ColumnElement[bool]:
    barred = [not_(ranged(low, high)) for low, high in numbers.barred]
    if not numbers.wanted:
        return and_(*barred)
    return and_(or_(false(), *(ranged(low, high) for low, high in numbers.wanted)), *barred)


def _port_range(low: int | None, high: int | None) -> ColumnElement[bool]:
    return _between(monitors.c.port, low, None if high is None else high + 1)


def _days_range(low: int | None, high: int | None, now: datetime) -> ColumnElement[bool]:
    # Whole days are rounded down: "30 days" is anything from 30 to just under 31 of them.
    return _between(
        monitors.c.not_after,
        None if low is None else now + low * DAY,
        None if high is None else now + (high + 1) * DAY,
    )


def _between(column: Column[Any], low: Any, end: Any) -> ColumnElement[bool]:
    clauses = [column >= low] if low is not None else []
    if end is not None:
        clauses.append(column < end)
    return and_(*clauses)
