"""The words people type: cleaned of what phones do to them, then read as hosts, ids and filters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from bot.api.models import MonitorSummary
from bot.errors import UsageError
from bot.target import MAX_PORT, Target, normal_host, split_target

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
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe0e\ufe0f\ufeff]"
)
# Slack wraps an address that it recognised: <http://example.com|example.com>, <mailto:a@b.c|a@b.c>.
_LINK = re.compile(
    r"<(?:mailto:)?([a-z][a-z0-9+.-]*://[^|>\s]+|[^|>\s@]+@[^|>\s]+)(?:\|([^>]*))?>", re.IGNORECASE
)
# People write `example.com 8443` where `example.com:8443` is meant.
_HOST_SPACE_PORT = re.compile(r"(?<!\S)([^\s:=<>!]+\.[^\s:=<>!]+|localhost) +(\d{2,5})(?!\S)")
_PATTERN = re.compile(r"^[^\s:/@%?&<>|\"\[\]]{1,253}$")
_FILTER = re.compile(r"^(?P<key>[a-z]+)(?P<sign>!=|<=|>=|==|=|<|>|:)(?P<value>.+)$")
_NUMBERS = re.compile(r"^(?P<sign>!|<=|>=|<|>|=)?(?P<first>\d{1,6})(?:-(?P<last>\d{1,6}))?$")
_SHORTHANDS = {"broken": "valid=false", "invalid": "valid=false", "due": "expires<30"}
_PORT_LIST = re.compile(r"^\d{1,5}(,\d{1,5})+$")

MAX_SEARCHED = 50_000
_CLOSING = ".,;:!?)]}'\""
# <https://example.com|text>; of any other mark (a person, a channel, an e-mail address) nothing.
_SLACK_MARK = re.compile(
    r"<(?:(?P<url>(?!mailto:)[a-z][a-z0-9+.-]{0,20}:[^|>]+)|[^<>|]*)(?:\|(?P<label>[^<>]*))?>"
)
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
# An e-mail address is matched first, so that its host is not.
_NAMED = re.compile(
    r"(?P<url>\b[a-z][a-z0-9+.-]{0,20}://[^\s<>\"'`|]+)"
    r"|[\w.+-]+@[\w.-]+"
    rf"|(?<![\w./@-])(?P<host>(?:{_LABEL}\.){{1,10}}[^\W\d_](?:[\w-]{{0,61}}[^\W_])(?::\d{{2,5}})?)"
    r"(?![\w@(-])",
    re.IGNORECASE,
)
_FILE = re.compile(
    r".*\.(7z|bak|bmp|c|cfg|class|conf|cpp|crt|css|csr|csv|db|dll|docx?|exe|gif|go|gz|h|html?|ico"
    r"|ini|ipynb|jar|java|jpe?g|jsx?|json|key|lock|log|mp[34]|odt|old|pdf|pem|php|png|pptx?|rar"
    r"|rb|sql|svg|swp|tar|tgz|tmp|toml|tsx?|txt|wav|webp|xlsx?|xml|ya?ml)",
    re.IGNORECASE,
)
# These endings of files are top-level domains as well, so a name of three labels is a host.
_FILE_OR_HOST = re.compile(r"[^.]+\.(cc|md|mov|pl|ps|py|rs|sh|so|zip)", re.IGNORECASE)


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
            known = _target(target) if space else None
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


def _target(text: str) -> Target | None:
    """The target in a button's argument; a host that only its server can read is left to the id."""
    try:
        return Target.parse(text)
    except ValueError:
        return None


def _pattern(text: str) -> str:
    text = text.lower().strip("./,;")
    if not _PATTERN.match(text) or set(text) <= {"*", "."}:
        raise ValueError(f"“{text}” is not a pattern. Write it as *.example.com.")
    labels = text.split(".")
    return ".".join(
        label if label.isascii() or "*" in label else normal_host(label) for label in labels
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition of `/ssl list`, as an argument of `SSLMonitor.list`."""

    key: str
    value: Any

    def __str__(self) -> str:
        value = str(self.value).lower()
        return f"{self.key}{value if value[0] in '<>=' else f'={value}'}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `expires<30`, `valid=false`, `port=!443`, `host=*.example.com`, `broken`, `due`.

        Raises ValueError with a sentence for the user.
        """
        word = text.lower()
        found = _FILTER.match(_SHORTHANDS.get(word, word))
        if not found or "://" in word:
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
                return cls("host", _host(value))
            case "valid" | "host":
                raise ValueError(f"“{key}” can't be compared with “{sign}”. Use “=”.")
        raise ValueError(f"“{key}” is not a filter. There are host, port, valid and expires.")


def api_filters(filters: Iterable[Filter]) -> dict[str, Any]:
    """The arguments of `SSLMonitor.list`. Raises UsageError where a filter comes twice."""
    chosen: dict[str, Any] = {}
    for each in filters:
        if each.key in chosen:
            raise UsageError(f"The filter “{each.key}” can be given once only.", "filters")
        chosen[each.key] = each.value
    return chosen


def _host(text: str) -> str:
    if "*" in text:
        return _pattern(text)
    host, port = split_target(text)
    if port:
        raise ValueError(f"The port is a filter of its own. Write host={host} port={port}.")
    return host


def _truth(text: str) -> bool:
    if text not in {"true", "false", "yes", "no", "1", "0"}:
        raise ValueError(f"“{text}” is neither true nor false.")
    return text in {"true", "yes", "1"}


def _ports(text: str) -> str:
    """A port condition in the forms that the API's page shows."""
    fault = ValueError(f"“{text}” is not a port filter. Write 443, !443, 100-200 or >=100.")
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
    found = _NUMBERS.match(text)
    if not found or found["sign"] == "!" or (found["sign"] and found["last"]):
        raise ValueError(f"“{text}” is not a number of days. Write expires<30 or expires=30-60.")
    first, last, sign = int(found["first"]), found["last"], found["sign"] or "="
    if last:
        if first > int(last):
            raise ValueError(f"“{text}” ends before it begins. Write expires={last}-{first}.")
        return f"{first}-{int(last)}"
    forms = {"<=": f"<{first + 1}", ">=": f">{first - 1}" if first else "0-999999"}
    return forms.get(sign, f"{sign}{first}")


def hosts_in(texts: Iterable[str]) -> list[Target]:
    """Every place to connect to that a message names, in its order, each once.

    Web addresses and host names; no e-mail addresses, no names of files, no versions.
    """
    found: dict[Target, None] = {}
    for text in texts:
        for word in _named(text[:MAX_SEARCHED]):
            try:
                found.setdefault(Target.parse(word.rstrip(_CLOSING)), None)
            except ValueError:
                continue  # it looked like a host, and is none
    return list(found)


def _named(text: str) -> list[str]:
    """The web addresses and host names in a text, in the order in which they stand there."""
    text = _SLACK_MARK.sub(_unmarked, text)
    for entity, character in (("&lt;", " "), ("&gt;", " "), ("&amp;", "&")):
        text = text.replace(entity, character)
    words = []
    for found in _NAMED.finditer(_INVISIBLE.sub("", text)):
        name = found["host"] or ""
        if found["url"] or (name and not _is_file(name)):
            words.append(found[0])
    return words


def _unmarked(mark: re.Match[str]) -> str:
    """What a mark of Slack's links to; for a bare name that Slack took for a link, that name."""
    url, label = mark["url"] or "", mark["label"] or ""
    return f" {label if url == f'http://{label}' else url} "


def _is_file(name: str) -> bool:
    """Whether a name is rather a file's: `report.pdf`, `run.sh`; `www.example.sh` is none."""
    host = name.partition(":")[0]
    return bool(_FILE.fullmatch(host) or _FILE_OR_HOST.fullmatch(host))
