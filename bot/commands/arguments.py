"""The filters of `/ssl list`, as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from bot.commands.lookup import DOTTED, host_pattern
from bot.errors import UsageError
from bot.severity import STATES, State
from bot.target import MAX_PORT, normal_host, split_target

_FILTER = re.compile(r"^(?P<key>[a-z]+)(?P<sign>!=|<=|>=|==|=|<|>|:)(?P<value>.+)$")
_NUMBERS = re.compile(r"^(?P<sign>!|<=|>=|<|>|=)?(?P<first>\d{1,9})(?:-(?P<last>\d{1,9}))?$")
_SHORTHANDS = {
    "broken": "valid=false",
    "invalid": "valid=false",
    "valid": "valid=true",
    "due": "expires<30",
}
#: Words that say nothing in a list of filters.
_FILLERS = frozenset(
    {
        *(
            "and",
            "&",
            "&&",
            "all",
            "everything",
            "*",
            "is",
            "are",
            "the",
            "ones",
            "with",
            "that",
            "which",
        ),
        *("monitor", "monitors", "host", "hosts", "certificates", "certs"),
    }
)
# What people write for the filters, in this order: `expires in 2 weeks`, `port 25, 587`.
_WRITTEN = tuple(
    (re.compile(form, re.IGNORECASE), text)
    for form, text in (
        (r"\bexpir(?:es|ing)(?: soon)?$", "expires<30"),
        (r"\b(?:days ?left|expir(?:es?|y|ing))(?=[ <>=!:]|$)", "expires"),
        (r"\b(?:less than|under|below|within|in(?: less than)?) (?=\d)", "<"),
        (r"\b(?:more than|over|above) (?=\d)", ">"),
        (r"\b(?:between )?(\d+) ?(?:\.\.|to|-) ?(\d+)\b", r"\1-\2"),
        (r"\bbetween (\d+) and (\d+)\b", r"\1-\2"),
        (r"\bports\b", "port"),
        (r"\b(?:state|status)(?: is)?[ =:] ?(?=[a-z])", ""),
        (r"\bnot valid\b", "valid=false"),
        (r"\bnot port ?=?", "port!="),
        (r"(?<!\S)\*?:(?=\d)", "port="),
        (rf"(?<!\S)({DOTTED}):(\d{{1,5}})(?!\S)", r"\1 port=\2"),
        (r"\s*(!=|<=|>=|==|[=<>])\s*", r"\1"),
        (r"\b(port|expires|days|valid|host):? +(?=[^ =<>])", r"\1="),
    )
)
_PORTS = re.compile(r"\b(port=!?\d+)((?:(?: ?, ?| )\d+(?![^ ,]))*)(?: ?,(?!\S))?", re.IGNORECASE)
_UNIT = re.compile(
    r"\b((?:expires|days)[<>=!:]*)(\d+) ?(d|w|m|h|y|(?:day|week|month|year|hour|minute)s?)\b",
    re.IGNORECASE,
)
_DAYS_IN = {"d": 1, "w": 7, "mo": 30, "y": 365}
#: What `list` finds by what people said of a monitor.
MARKS = ("muted", "taken", "mine", "free")
#: The filters that the API lacks; the bot applies them itself.
OWN = ("state", "mark")
_PORT_LIST = re.compile(r"^\d{1,5}(,\d{1,5})+$")


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition of `/ssl list`, as an argument of `SSLMonitor.list`."""

    key: str
    value: Any

    def __str__(self) -> str:
        value = str(self.value).lower()
        if self.key in OWN:
            return value
        return f"{self.key}{value if value[0] in '<>=' else f'={value}'}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `expires<30`, `valid=false`, `port=!443`, `host=*.example.com`, `broken`, `due`.

        Raises ValueError with a sentence for the user.
        """
        word = text.lower()
        if re.fullmatch(r"[\w-]+", word) and word not in _SHORTHANDS:
            key = "mark" if word in MARKS else "state" if word in STATES else "host"
            return cls(key, _part(word) if key == "host" else word)
        found = _FILTER.match(_SHORTHANDS.get(word, word))
        if not found or "://" in word or re.match(r"[\da-f]*:[\da-f]*:", word):
            return cls("host", _host(word))
        key, sign, value = found["key"], found["sign"], found["value"]
        sign = {"==": "", "=": "", ":": ""}.get(sign, sign)
        match key:
            case "expires" | "days":
                return cls("expires", _days(sign + value))
            case "port":
                return cls("port", _ports(sign.replace("!=", "!") + value))
            case "valid" if sign in {"", "!="}:
                return cls("valid", _truth(value) is not (sign == "!="))
            case "host" if not sign:
                return cls("host", _part(value) if re.fullmatch(r"[\w-]+", value) else _host(value))
            case "valid" | "host":
                raise ValueError(f"“{key}” can't be compared with “{sign}”. Use “=”.")
        raise ValueError(f"“{key}” is not a filter. Try port=443, valid=false or expires<30.")


def api_filters(filters: Iterable[Filter]) -> dict[str, Any]:
    """The arguments of `SSLMonitor.list`. Raises UsageError where a filter comes twice."""
    chosen: dict[str, Any] = {}
    for each in filters:
        if each.key in OWN:
            continue
        if each.key in chosen:
            range_ = " For a range, try expires=30-60." if each.key == "expires" else ""
            raise UsageError(f"The filter “{each.key}” can only be used once.{range_}", "filters")
        chosen[each.key] = each.value
    return chosen


def joined(words: Iterable[str]) -> list[str]:
    """Words as filters: `expires < 30 and port 443` becomes `expires<30`, `port=443`."""
    text = " ".join(words)
    for form, written in _WRITTEN:
        text = form.sub(written, text)
    text = _PORTS.sub(lambda at: ",".join([at[1], *re.findall(r"\d+", at[2])]), text)
    text = _UNIT.sub(_in_days, text)
    found = [word for word in text.split() if word.lower() not in _FILLERS]
    if "or" in found:
        found = [word for word in found if word != "or"]
        if not STATES.keys() >= set(map(str.lower, found)):
            raise UsageError("Only states can be combined with “or”: expired or unreachable.")
    return found


def _in_days(at: re.Match[str]) -> str:
    """A condition in days; one in hours stays as it is, and is refused."""
    unit = at[3].lower()
    days = _DAYS_IN.get(unit[:2] if unit.startswith("mo") else unit[:1])
    return f"{at[1]}{int(at[2][:9]) * days if days else at[2] + unit}"


def in_states(filters: Iterable[Filter]) -> tuple[State, ...] | None:
    """The states that are asked for; None if any will do."""
    wanted = [state for each in filters if each.key == "state" for state in STATES[each.value]]
    return tuple(wanted) or None


def marks(filters: Iterable[Filter]) -> set[str]:
    """The marks that are asked for, of MARKS."""
    return {str(each.value) for each in filters if each.key == "mark"}


def _part(text: str) -> str:
    """A pattern for a part of a name."""
    return f"*{text if text.isascii() else normal_host(text)}*"


def _host(text: str) -> str:
    if "*" in text:
        return host_pattern(text)
    host, port = split_target(text)
    if port:
        raise ValueError(f"The port is a separate filter. Try host={host} port={port}.")
    return host


def _truth(text: str) -> bool:
    if text not in {"true", "false", "yes", "no", "1", "0"}:
        raise ValueError(f"“{text}” is neither true nor false.")
    return text in {"true", "yes", "1"}


def _ports(text: str) -> str:
    """A port condition in the forms that the API's page shows."""
    fault = ValueError(f"“{text}” is not a port filter. Try 443, !443, 100-200 or >=100.")
    if _PORT_LIST.match(text):
        ports = [int(port) for port in text.split(",")]
        if not all(_is_port(port) for port in ports):
            raise fault
        return ",".join(map(str, ports))
    found = _NUMBERS.match(text)
    if not found or (found["sign"] and found["last"]):
        raise fault
    first, sign = int(found["first"]), found["sign"] or ""
    if found["last"]:
        least, most = first, int(found["last"])
    else:
        least, most = {
            ">": (first + 1, MAX_PORT),
            ">=": (first, MAX_PORT),
            "<": (1, first - 1),
            "<=": (1, first),
        }.get(sign, (first, first))
    if not (_is_port(least) and _is_port(most) and least <= most):
        raise fault
    if found["last"] or sign in {"<", "<="}:
        return f"{least}-{most}"
    return f">={least}" if sign in {">", ">="} else f"{sign.strip('=')}{first}"


def _is_port(number: int) -> bool:
    return 1 <= number <= MAX_PORT


def _days(text: str) -> str:
    """A condition on the days left, in the forms that the API's page shows."""
    found = _NUMBERS.match(text.removesuffix("d"))
    if not found or found["sign"] == "!" or (found["sign"] and found["last"]):
        raise ValueError(f"“{text}” is not a number of days. Try expires<30 or expires=30-60.")
    first, last, sign = int(found["first"]), found["last"], found["sign"] or "="
    if last:
        if first > int(last):
            raise ValueError(f"“{text}” is reversed. Try expires={last}-{first}.")
        return f"{first}-{int(last)}"
    forms = {"<=": f"<{first + 1}", ">=": f">{first - 1}" if first else "0-999999"}
    return forms.get(sign, f"{sign}{first}")
