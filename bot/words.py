"""The words people type: cleaned of what phones do to them, then read as hosts, ids and filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

from bot.errors import UsageError
from bot.models import MonitorSummary
from bot.target import Target, normal_host, split_target

# Phones and desktop composers turn quotes and dashes into typographic ones, and paste invisible
# characters along with an address.
_TYPED = str.maketrans(
    {
        "‘": "'",
        "’": "'",
        "‚": "'",
        "“": '"',
        "”": '"',
        "„": '"',
        "–": "-",
        "—": "-",
        "−": "-",
        "…": " ",
        "\u00a0": " ",
        "\u202f": " ",
        "≤": "<=",
        "≥": ">=",
        "≠": "!=",
    }
)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# Slack wraps an address that it recognised: <http://example.com|example.com>, <mailto:a@b.c|a@b.c>.
_LINK = re.compile(r"<(?:mailto:)?([a-z][a-z0-9+.-]*://[^|>\s]+|[^|>\s@]+@[^|>\s]+)(?:\|([^>]*))?>")
# People write `example.com 8443` where `example.com:8443` is meant.
_HOST_SPACE_PORT = re.compile(r"(?<!\S)([^\s:=<>!]+\.[^\s:=<>!]+|localhost) +(\d{2,5})(?!\S)")
_FILTER = re.compile(r"^(?P<key>[a-z]+)(?P<sign>!=|<=|>=|==|=|<|>|:)(?P<value>.+)$")
_NUMBERS = re.compile(r"^(?P<sign>!|<=|>=|<|>|=)?(?P<first>\d{1,6})(?:-(?P<last>\d{1,6}))?$")
_PORT_LIST = re.compile(r"^\d{1,5}(,\d{1,5})+$")


def clean(text: str) -> str:
    """One line of plain words: links unwrapped, quotes and dashes straight, nothing invisible."""
    text = _LINK.sub(lambda link: link[1] if "://" in link[1] else link[2] or link[1], text)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    text = " ".join(_INVISIBLE.sub("", text.translate(_TYPED)).replace('"', " ").split())
    return _HOST_SPACE_PORT.sub(r"\1:\2", text)


def split(text: str) -> list[str]:
    """The words of a command: separated by spaces, commas at their ends dropped."""
    return [word for word in (word.strip(",;'") for word in clean(text).split()) if word]


@dataclass(frozen=True, slots=True)
class Selector:
    """Which monitor is meant: an id, a host (on any port), a host and port, or a pattern with `*`.

    A button's argument is `888 api.example.com:443`: the id decides, the target saves a look-up.
    """

    id: int | None = None
    host: str = ""
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an id, a host, a host and port, a URL or a pattern. Raises ValueError."""
        number, space, target = text.partition(" ")
        number = number.removeprefix("#")
        if number.isascii() and number.isdecimal():
            if len(number) > 15:
                raise ValueError(f"“{number}” is too long for a monitor's number.")
            known = Target.parse(target) if space else None
            return cls(int(number), known.host if known else "", known.port if known else None)
        if "*" in text:
            return cls(host=_pattern(text))
        host, port = split_target(text)
        return cls(host=host, port=port)

    @property
    def target(self) -> Target | None:
        """The host and port, where both are known."""
        return Target(self.host, self.port) if self.host and self.port else None

    @property
    def is_pattern(self) -> bool:
        """Whether it may mean many hosts."""
        return "*" in self.host

    def __str__(self) -> str:
        if self.target:
            return self.target.short
        return self.host or f"#{self.id}"

    def matches(self, row: MonitorSummary) -> bool:
        """Whether this row is meant: the API's own idea of a pattern is not known."""
        if self.id is not None:
            return row.id == self.id
        parts = [re.escape(part) for part in self.host.split("*")]
        same_host = re.fullmatch(".*".join(parts), row.target.host) is not None
        return same_host and self.port in {None, row.target.port}


def argument(row: MonitorSummary) -> str:
    """A monitor as a button's argument, which `Selector.parse` reads."""
    full = f"{row.id} {row.target}"
    return full if len(full) <= 120 else str(row.id)


def _pattern(text: str) -> str:
    text = text.lower().strip("./,;")
    if not re.match(r"^[^\s:/@%?\[\]]+$", text) or set(text) <= {"*", "."}:
        raise ValueError(f"“{text}” is not a pattern. Write it as *.example.com.")
    return text


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition of `/ssl list`, as an argument of `SSLMonitor.list`."""

    key: str
    value: Any

    def __str__(self) -> str:
        value = str(self.value).lower()
        return f"{self.key}{value if value[0] in '<>=!' else f'={value}'}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `expires<30`, `valid=false`, `port=!443`, `host=*.example.com`, `broken`, `due`.

        Raises ValueError with a sentence for the user.
        """
        word = text.lower()
        if word in {"broken", "invalid"}:
            return cls("valid", False)
        if word == "due":
            return cls("expires", "<30")
        found = _FILTER.match(word)
        if not found:
            return cls("host", _host(word))
        key, sign, value = found["key"], found["sign"], found["value"]
        sign = {"==": "", "=": "", ":": ""}.get(sign, sign)
        if key in {"expires", "days"}:
            return cls("expires", _days(sign + value))
        readers: dict[str, Callable[[], Any]] = {
            "host": lambda: _host(value),
            "valid": lambda: _truth(value) is not (sign == "!="),
            "port": lambda: _ports(sign.replace("!=", "!") + value),
        }
        if key not in readers:
            raise ValueError(f"“{key}” is not a filter. There are host, port, valid and expires.")
        return cls(key, readers[key]())


def api_filters(filters: Iterable[Filter]) -> dict[str, Any]:
    """The arguments of `SSLMonitor.list`. Raises UsageError where a filter comes twice."""
    chosen: dict[str, Any] = {}
    for each in filters:
        if each.key in chosen:
            raise UsageError(f"The filter “{each.key}” can be given once only.", "filters")
        chosen[each.key] = each.value
    return chosen


def _host(text: str) -> str:
    return _pattern(text) if "*" in text else normal_host(text)


def _truth(text: str) -> bool:
    if text not in {"true", "false", "yes", "no", "1", "0"}:
        raise ValueError(f"“{text}” is neither true nor false.")
    return text in {"true", "yes", "1"}


def _ports(text: str) -> str:
    """A port condition in the forms that the API's page shows."""
    if _PORT_LIST.match(text):
        return text
    found = _NUMBERS.match(text)
    if not found or (found["sign"] and found["last"]):
        raise ValueError(f"“{text}” is not a port filter. Write 443, !443, 100-200 or >=100.")
    first, last, sign = int(found["first"]), found["last"], found["sign"] or ""
    if last:
        return f"{first}-{last}"
    forms = {">": f">={first + 1}", "<": f"1-{first - 1}", "<=": f"1-{first}", "=": str(first)}
    return forms.get(sign, f"{sign}{first}")


def _days(text: str) -> str:
    """A condition on the days left, in the forms that the API's page shows."""
    found = _NUMBERS.match(text)
    if not found or found["sign"] == "!" or (found["sign"] and found["last"]):
        raise ValueError(f"“{text}” is not a number of days. Write expires<30 or expires=30-60.")
    first, last, sign = int(found["first"]), found["last"], found["sign"] or "="
    if last:
        return f"{first}-{last}"
    forms = {"<=": f"<{first + 1}", ">=": f">{first - 1}" if first else "0-999999"}
    return forms.get(sign, f"{sign}{first}")
