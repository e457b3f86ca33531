"""Filters, hosts, times and days among other words, as people write them."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from bot.commands.lookup import AND, DOTTED, MARKS, clean, host_pattern
from bot.commands.router import FILLERS
from bot.dates import in_digits, parse_clock, parse_days, parse_zone
from bot.errors import UsageError
from bot.severity import EVERY_STATE, STATES, Rank, State
from bot.target import MAX_PORT, normal_host, split_target

_FILTER = re.compile(r"^(?P<key>[a-z]+)(?P<sign>!=|<=|>=|==|=|<|>|:)(?P<value>.+)$")
_NUMBERS = re.compile(r"^(?P<sign>!|<=|>=|<|>|=)?(?P<first>\d{1,9})(?:-(?P<last>\d{1,9}))?$")
_SHORTHANDS = {
    "broken": "valid=false",
    "invalid": "valid=false",
    "valid": "valid=true",
    "due": "expires<30",
    "!broken": "valid=true",
    "!invalid": "valid=true",
    "!valid": "valid=false",
    "!due": "expires>29",
}
#: What a word that no host's name contains may have meant.
_MEANT = {
    **dict.fromkeys(("good", "healthy", "green", "okay", "passing"), "fine"),
    **dict.fromkeys(("bad", "red", "fail", "failed", "failing", "error", "errors"), "broken"),
    **dict.fromkeys(("offline", "timeout", "timeouts", "dead", "unavailable"), "unreachable"),
    **dict.fromkeys(("critical", "emergency", "now"), "urgent"),
    **dict.fromkeys(("warning", "yellow", "renew", "renewal", "soon", "late"), "due"),
    **dict.fromkeys(("unscanned", "pending", "never"), "unknown"),
    **dict.fromkeys(("unvalid", "wrong"), "invalid"),
    **dict.fromkeys(("silenced", "snoozed", "ignored"), "muted"),
    **dict.fromkeys(("claimed", "assigned", "owned"), "taken"),
    **dict.fromkeys(("unclaimed", "unassigned"), "free"),
    **dict.fromkeys(("my", "me"), "mine"),
}
#: Before a state, these ask for all others.
_NOT = frozenset({"not", "isn't", "aren't", "except", "excluding", "without", "no", "non", "but"})
#: Words that say nothing in a list of filters.
_FILLERS = frozenset(
    {
        *("and", "&", "&&", "all", "everything", "*", "is", "are", "the", "ones", "with"),
        *("that", "which"),
        *("monitor", "monitors", "host", "hosts", "certificates", "certs", "certificate"),
        *("what", "what's", "have", "has", "already", "currently"),
        *("where", "whose", "of", "for", "me", "only", "just", "any"),
    }
)
_DAYS_LEFT = r"(d|days?|w|weeks?|months?)"
_KEYS = "port|expires|days|valid|host"
_EXPIRES = r"\b(expir(?:es?|y|ing))"
# Rewrites what people type to filters, in this order: `expires in 2 weeks`, `port 25, 587`.
_WRITTEN = tuple(
    (re.compile(form, re.IGNORECASE), text)
    for form, text in (
        (r"\b(?:an?|one) (?=(?:day|week|month|year)\b)", "1 "),
        (r"(\d+) ?<(=?) ?(expires|days)\b", r"\3>\2\1 \3"),
        (rf"(\d) ?{_DAYS_LEFT} (?:are )?(?:left|remaining|to go)\b", r"\1\2"),
        (r"(?<=\S)&+(?=[a-z])", " "),
        (r"\btaken by me\b", "mine"),
        (r"\bport(?: is| in| equals)+ (?!not)", "port "),
        (r"\bport (?:is )?(?:not|isn't)(?: in)? ?=?|\bport ?<> ?", "port!="),
        (r"\bbut not\b", "not"),
        (r"\bssl_(?=[a-z])", ""),
        (r"\bexpire_days\b", "expires"),
        (rf"{_EXPIRES} (?:with)?(?:in )?(?:the )?(?:next|coming) (?=\d)", r"\1 in "),
        (rf"{_EXPIRES} next (?=week|month)", r"\1 in 2 "),
        (rf"{_EXPIRES} (?:(?:(?:with)?in|the|this|coming|next) )+(?=week|month)", r"\1<1 "),
        (rf"{_EXPIRES} today\b", r"\1<1"),
        (rf"{_EXPIRES} (?:by )?tomorrow\b", r"\1<2"),
        (r"\bnot[ -]yet[ -]valid\b", "not-yet-valid"),
        (r"\bact[ -]now\b", "urgent"),
        (r"\b(?:not[ -]trusted|self[ -]?signed)\b", "untrusted"),
        (r"\bwrong[ -](?:name|host)\b", "mismatch"),
        (r"\bon[ -]schedule\b", "scheduled"),
        (r"\b(?:not|never)[ -]scanned(?: yet)?\b", "unknown"),
        (r"(?<!\S)un(muted|taken)\b", r"!\1"),
        (r"\bexpir(?:es|ing)(?: soon)?$", "expires<30"),
        (r"\b(?:days ?left|expir(?:es?|y|ing))(?=[ <>=!:]|$)", "expires"),
        (r"\b(?:less than|under|below|before|within|in(?: less than)?) (?=\d)", "<"),
        (r"\b(?:more than|over|above|after) (?=\d)", ">"),
        (r"\b(?:(?:between|from) )?(\d+) ?(?:\.\.|to|-) ?(\d+)\b", r"\1-\2"),
        (r"\bbetween (\d+) and (\d+)\b", r"\1-\2"),
        (r"\bports\b", "port"),
        (r"\b(?:state|status)(?: is)?[ =:] ?(?=[a-z])", ""),
        (r"\b(?:not|isn't|aren't) valid\b", "valid=false"),
        (r"\bnot port ?=?", "port!="),
        (r"(?<!\S)\*?:(?=\d)", "port="),
        (rf"(?<!\S)({DOTTED}):(\d{{1,5}})(?!\S)", r"\1 port=\2"),
        (r"\s*(!=|<=|>=|==|[=<>])\s*", r"\1"),
        (r"(?<!\S)([<>]=?)(?=\d)", r"expires\1"),
        (rf"(?<!\S)(?:(?:next|coming) )?(\d+) ?{_DAYS_LEFT}(?!\S)", r"expires<\1\2"),
        (rf"(?<!\S)(?!(?:{_KEYS}):)([a-z][\w-]*):(\d{{2,5}})(?!\S)", r"\1 port=\2"),
        (rf"(?<!\S)-*\b({_KEYS}):?(?: is)? +(?=[^ =<>])", r"\1="),
        (r"\b(expires=\d+-\d+) ?d(?:ays)?\b", r"\1"),
        (r"(?<!\S)(\d+-\d+) ?d(?:ays)?(?!\S)", r"expires=\1"),
        (r"(?<=[^\W\d]) ?[,;/|] ?(?=[^\W\d][\w-]*(?:[\s,;/|]|$))", " "),
    )
)
_PORTS = re.compile(
    r"\b(port=!?\d+)((?:(?: ?[,/] ?| and | or | )\d+(?![^ ,/]))*)(?: ?,(?!\S))?", re.IGNORECASE
)
_UNIT = re.compile(
    r"\b((?:expires|days)[<>=!:]*)(\d+) ?(d|w|m|h|y|(?:day|week|month|year|hour|minute)s?)\b",
    re.IGNORECASE,
)
_DAYS_IN = {"d": 1, "w": 7, "mo": 30, "y": 365}
#: A broken monitor is in one of these states, so that other states can be asked for too.
_BROKEN = [name for name, which in STATES.items() if all(s.rank is Rank.BROKEN for s in which)]
_GROUPS = {"broken": _BROKEN, "invalid": _BROKEN}
#: The filters that the API lacks; the bot applies them itself.
OWN = ("state", "mark")
#: More days than any condition names.
_MOST = 10**12
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
        word = re.sub(r"^-(?=[^\W\d])", "!", text.lower().removeprefix("--"))
        if re.fullmatch(r"!?[\w-]+", word) and word not in _SHORTHANDS:
            name = word.removeprefix("!")
            key = "mark" if name in MARKS else "state" if name in STATES else "host"
            if key == "host" and name != word:
                raise ValueError(f"“{name}” can't be excluded: only states can, as in !expired.")
            return cls(key, _part(word) if key == "host" else word)
        if word.startswith("!") and word not in _SHORTHANDS:
            raise ValueError(f"“{word[1:]}” can't be excluded: only states can, as in !expired.")
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
    """The arguments of `SSLMonitor.list`. Raises UsageError if a filter occurs twice."""
    chosen: dict[str, Any] = {}
    for each in filters:
        if each.key in OWN:
            continue
        if each.key == "expires" and each.key in chosen:
            chosen[each.key] = _both(chosen[each.key], each.value)
            continue
        if each.key in chosen:
            name = " Words that aren't filters are read as parts of a name." * (each.key == "host")
            raise UsageError(f"The filter “{each.key}” can only be used once.{name}", "filters")
        chosen[each.key] = each.value
    return chosen


def _both(one: str, other: str) -> str:
    """The days that meet both conditions. Raises UsageError if none can."""
    (first, last), (least, most) = _bounds(one), _bounds(other)
    first, last = max(first, least), min(last, most)
    if first > last:
        raise UsageError(f"No number of days is “{one}” and “{other}”.", "filters")
    return f"{max(first, 0)}-{last}" if last < _MOST and first > -_MOST else _half(first, last)


def _half(first: int, last: int) -> str:
    return f"<{last + 1}" if last < _MOST else f">{first - 1}"


def _bounds(days: str) -> tuple[int, int]:
    """The least and the most days of `<30`, `>30`, `=30` or `30-60`."""
    numbers = [int(number) for number in re.findall(r"\d+", days)]
    if days[0] == "<":
        return -_MOST, numbers[0] - 1
    return (numbers[0] + 1, _MOST) if days[0] == ">" else (numbers[0], numbers[-1])


def near_filter(filters: Sequence[Filter]) -> str:
    """The filter that somebody may have meant by a word that is a part of no name; or nothing."""
    for each in filters:
        word = str(each.value).strip("*")
        if each.key == "host" and str(each.value) == f"*{word}*":
            if word.isdecimal() and _is_port(int(word)):
                return f"port={word}"
            if word in _MEANT:
                return _MEANT[word]
    return ""


def joined(words: Iterable[str]) -> list[str]:
    """Words as filters: `expires < 30 and port 443` becomes `expires<30`, `port=443`."""
    text = in_digits(" ".join(words))
    for form, written in _WRITTEN:
        text = form.sub(written, text)
    text = _PORTS.sub(lambda at: ",".join([at[1], *re.findall(r"\d+", at[2])]), text)
    text = _UNIT.sub(_in_days, text)
    found = _negated(word for word in text.split() if word.lower() not in _FILLERS)
    if not STATES.keys().isdisjoint(map(str.lower, found)):
        found = [each for word in found for each in _GROUPS.get(word.lower(), [word])]
    if "or" in map(str.lower, found):
        found = [word for word in found if word.lower() != "or"]
        if not STATES.keys() >= set(map(str.lower, found)):
            raise UsageError("Only states can be combined with “or”: expired or unreachable.")
    return found


def _negated(words: Iterable[str]) -> list[str]:
    """`not expired` as `!expired`."""
    found: list[str] = []
    for word in words:
        if found and found[-1].lower() in _NOT:
            found[-1] = f"!{word}"
        else:
            found.append(word)
    return found


def _in_days(at: re.Match[str]) -> str:
    """A condition in days; one in hours stays as it is, and is refused."""
    unit = at[3].lower()
    days = _DAYS_IN.get(unit[:2] if unit.startswith("mo") else unit[:1])
    return f"{at[1]}{int(at[2][:9]) * days if days else at[2] + unit}"


def in_states(filters: Iterable[Filter]) -> tuple[State, ...] | None:
    """The states that are asked for; None if any will do."""
    named = [str(each.value) for each in filters if each.key == "state"]
    wanted = [state for name in named if name[0] != "!" for state in STATES[name]]
    unwanted = {state for name in named if name[0] == "!" for state in STATES[name[1:]]}
    found = tuple(state for state in wanted or EVERY_STATE if state not in unwanted)
    return found if named else None


def marks(filters: Iterable[Filter]) -> set[str]:
    """The marks that are asked for, of MARKS; those that must be absent begin with `!`."""
    return {str(each.value) for each in filters if each.key == "mark"}


def _part(text: str) -> str:
    """A pattern that matches part of a name."""
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
    """A port condition in the API's notation."""
    examples = "port=443,8443, port=!443, port=100-200 or port>=1000"
    fault = ValueError(f"“{text}” is not a port filter. Try {examples}.")
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
    """A condition on the days left in the API's notation."""
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


_LENGTH = r"(?:for[= ])?\d+ ?(?:[smhdw]|%|percent|min\w*|hours?|days?|weeks?|months?)"
#: What people write before a host: `for 3 days api.example.com`, `me 14d before api.example.com`.
_BEFORE_HOST = re.compile(
    rf"((?:(?:{_LENGTH}|before|when|{'|'.join(sorted(FILLERS))})[\s,:]+)+)"
    r"((?=\S*\.[^\W\d]|\*|#\d)\S+)\s*",
    re.IGNORECASE,
)


def host_first(words: Sequence[str]) -> list[str]:
    """The words, with a host that words of no meaning or a length precede in the first place."""
    text = in_digits(" ".join(words))
    if not (found := _BEFORE_HOST.match(text)):
        return list(words)
    lengths = re.findall(_LENGTH, found[1], re.IGNORECASE)
    return " ".join([found[2], *lengths, text[found.end() :]]).split()


def host_and_text(words: Sequence[str]) -> list[str]:
    """The host, and the rest as one text. Raises UsageError if a second host follows."""
    words = host_first(words)
    if len(words) > 2 and words[1].lower() in AND:
        raise UsageError("Name one at a time, or a pattern such as *.example.com.", "which")
    return [*words[:1], " ".join(words[1:])] if len(words) > 1 else words


#: Words that people put between times, days and hosts.
_BETWEEN = frozenset(
    {
        *("every", "each", "day", "in", "on", "um", "à", "for", "about", "hosts", "only", "and"),
        *("the", "time", "o'clock", "please", "from"),
    }
)
# `9 am`, `working days` and `Monday to Friday` as one word each.
_ONE_WORD = (
    (re.compile(r"\b(\d{1,2}(?:[:.]\d\d)?) ?([ap])\.?m\b\.?", re.IGNORECASE), r"\1\2m"),
    (re.compile(r"\b(\d{1,2}(?:[:.]\d\d)?) uhr\b", re.IGNORECASE), r"\1uhr"),
    (re.compile(r"\b(?:working|business|work|week) days?\b", re.IGNORECASE), "weekdays"),
    (
        re.compile(
            r"\b((?:mon|tue|wed|thu|fri|sat|sun)[a-z]*) (?:to|through|till|until|-) ", re.IGNORECASE
        ),
        r"\1-",
    ),
)
#: What is meant for a time zone, whether there is such or not: `Europe/Berln`, `UTC+2`, `PST`.
_ZONE = re.compile(r"[^=]*/[^=]*|[A-Z]{2,4}T|(?:[A-Za-z]{3,4})?[+-]\d{1,2}(?::?\d\d)?")


#: What is meant as a time of day, even if no such time exists: `24:00`, `9:60`.
_CLOCK = re.compile(r"\d{1,2}:\d{2}")


def digest_words(words: Sequence[str]) -> list[str]:
    """Words in any order as the four parameters: time, zone, days, and the filters."""
    text = " ".join(words)
    for form, word in _ONE_WORD:
        text = form.sub(word, text)
    at = zone = days = ""
    rest: list[str] = []
    left = text.split()
    while left:
        word = left.pop(0)
        said = bool(left) and word.lower() in {"at", "um", "à"}
        if said or _CLOCK.fullmatch(word) or (_reads(parse_clock, word) and not word.isdecimal()):
            if at:
                raise UsageError("A digest has one time for all its days.", "at")
            at = left.pop(0) if said else word
        elif not zone and left and _reads(parse_zone, f"{word} {left[0]}"):
            zone = f"{word} {left.pop(0)}"
        elif not zone and (_ZONE.fullmatch(word) or _reads(parse_zone, word)):
            zone = word
        elif _reads(parse_days, word):
            days = f"{days},{word}" if days else word
        elif word.lower() not in _BETWEEN:
            rest.append(word)
    return [at, zone, days, " ".join(joined(rest))]


def _reads(read: Callable[[str], object], word: str) -> bool:
    try:
        read(word)
    except ValueError:
        return False
    return True


def apart(text: str) -> list[str]:
    """The words of a form's field: `a.test,b.test:443` as `a.test`, `b.test` and `port=443`."""
    text = re.sub(r",(?!\d)", " ", clean(text))
    return re.sub(rf"(?<!\S)({DOTTED}):(\d+)(?!\S)", r"\1 port=\2", text).split()


def notice_words(words: Sequence[str]) -> list[str]:
    """Hosts and ports, `all`, and whom to mention, as one text."""
    left, kept, rest = " ".join(words).split(), list[str](), list[str]()
    while left:
        word = left.pop(0)
        if word.lower() == "mention":
            kept += ["mention", *left[:1]]
            del left[:1]
        elif word.lower() in {"all", "everything"}:
            kept.append("all")
        elif word.lower() not in _BETWEEN:
            rest.append(word)
    text = " ".join([*joined(rest), *kept])
    return [text] if text else []
