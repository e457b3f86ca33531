"""From what people type to the monitor that they mean, and the command that shows it."""

import asyncio
import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Self

from bot.api.models import Monitor, MonitorList, MonitorSummary, by_target
from bot.blocks import Message, code
from bot.cards import lists as list_cards
from bot.cards import monitor as monitor_cards
from bot.cards.lists import Question
from bot.commands.named_hosts import INVISIBLE
from bot.commands.router import Call, Router
from bot.errors import BotError, NotFound, NotMonitored
from bot.severity import OTHER_STATES, STATES, Rank, claim_of, is_fine, mute_of, state_of
from bot.target import Target, normal_host, read_port, split_target

_PATTERN = re.compile(r"^[^\s:/@%?&<>|\"\[\]]{1,253}$")

# Phones and desktop composers turn quotes and dashes into typographic ones; keyboards for Chinese
# and Japanese write wide punctuation. Our own cards show `∗` and `∶` where Slack would read markup.
_TYPED = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′´", "'"),
        **dict.fromkeys("“”„‟″«»‹›", '"'),
        **dict.fromkeys("–—−‐‑", "-"),
        **dict.fromkeys("\u00a0\u202f…", " "),
        **dict.fromkeys("「」『』【】〈〉《》", '"'),
        **dict(zip("，、；：！？（）＜＞＝＊｜．。∗∶ˍ∼", ",,;:!?()<>=*|..*:_~", strict=True)),
        "≤": "<=",
        "≥": ">=",
        "≠": "!=",
    }
)
# Slack wraps an address that it recognizes: <http://example.com|example.com>, <mailto:a@b.c|a@b.c>.
_LINK = re.compile(
    r"<(?:mailto:)?([a-z][a-z0-9+.-]*://[^<|>\s]+|tel:[^<|>\s]+|[^<|>\s@]+@[^<|>\s]+)"
    r"(?:\|([^<>]*))?>",
    re.IGNORECASE,
)
#: A word with a dot inside; it is read once, however long.
DOTTED = r"(?=[^\s:=<>!]+\.[^\s:=<>!])[^\s:=<>!]++"
_ADDRESS = r"\[[\da-f:.]+\]|(?:[\da-f]{0,4}:){2,7}[\da-f]{0,4}"
# People write `example.com 8443`, `example.com on port 8443` or `example.com: 8443` where
# `example.com:8443` is meant, but also `example.com 14 days`.
_HOST_SPACE_PORT = re.compile(
    rf"(?<!\S)({_ADDRESS}|{DOTTED}|localhost):? +"
    r"(?:(?:on )?(?:port|--?p(?:ort)?)[ =:] ?|: ?|\((?:port )?)?(\d{2,5})\)?(?!\S)"
    r"(?! (?:[smhdw]|sec\w*|min\w*|hrs?|hours?|days?|weeks?|months?|%|percent)(?:\s|$))",
    re.IGNORECASE,
)
# `example.com/health`: the path says nothing about a certificate. `a.com/b.com` are two hosts.
_HOST_AND_PATH = re.compile(
    r"(?<![^\s,;|(])((?:[\w-]++\.)++[^\W\d]{2,}+(?::\d{1,5}+)?)[/?#]"
    r"(?!(?:[\w-]++\.)++[^\W\d]{2,}+(?![\w/.-])|(?:\d+|tcp|udp|smtp|imap|pop3?|ldap)(?![\w/.-]))"
    r"[^\s,;|)]*"
)
# `[example.com](https://example.com)` and `\*.example.com`.
_MARKDOWN_LINK = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
_ESCAPED = re.compile(r"\\([*_~`|])")
#: What stands before each item of a list, and Slack's mark of a quotation.
_ITEM = re.compile(r"^\s*(?:(?:>|&gt;|[-*•]|\d{1,3}[.)]|[a-z]\))\s+)+(?=\S)", re.MULTILINE)
_BULLETS = "·•●○■□▪▫◆◇▸▹►▻▶➤➔→⇒⁃∙・"
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*"
_EMOJI = re.compile(
    r":(?:[+-]1|[a-z0-9_+'-]*[a-z][a-z0-9_+'-]*):(?::skin-tone-\d:)?", re.IGNORECASE
)
_HELP = frozenset({"?", "??", "-?", "/?", "-h", "--help", "-help", "/help"})
#: Filler words before and after a command.
_BEFORE = frozenset(
    {
        *("please", "pls", "plz", "hey", "hi", "hello", "can", "could", "would", "will", "you"),
        *("ok", "okay", "just", "kindly", "yo", "/ssl", "ssl"),
    }
)
_THANKS = r"please|pls|plz|thanks|thx|ty|cheers|thank|you|and|bitte|danke|merci"
# A note, the reason of a mute, and the link of a runbook stay as they were typed.
_FREE_TEXT = re.compile(
    rf"[\W_]*(?:(?:{'|'.join(sorted({word.strip('/') for word in _BEFORE}))})\b[\W_]*)*"
    r"(?:((?:note|mute)\W{1,3}\S+)\s+(.+)|(runbook\b.*?)\s([a-z]+://\S++)\W*$)",
    re.IGNORECASE | re.DOTALL,
)
# Several words in bold, italics or struck through: *bold words*.
_SEVERAL_MARKED = re.compile(r"(?<!\S)([*_~])(\w(?=[^*_~ ]* )[^*_~]*+_?(?<=\w))\1(?!\S)")

router = Router()
#: Words that join two hosts; and a host, as a word.
AND = frozenset({"and", "&", "+", "und", "et", "or", "oder", "ou"})
HOST = re.compile(r"(?:[\w-]+\.)+[^\W\d]{2,}(?::\d+)?[,;:]?$", re.IGNORECASE)


def clean(text: str) -> str:
    """One line of plain words: links unwrapped, quotes and dashes straight, nothing invisible."""
    text = " ".join(_unwrapped(text).translate(_TYPED).replace('"', " ").split())
    text = text.replace("[.]", ".")  # a host that nobody is to follow: example[.]com
    text = _ESCAPED.sub(r"\1", _MARKDOWN_LINK.sub(r"\1", text))
    text = re.sub(r"[|,;](?=[a-z][a-z\d+.-]{0,20}://)", " ", text, flags=re.IGNORECASE)
    return _HOST_SPACE_PORT.sub(_with_port, _HOST_AND_PATH.sub(r"\1", text))


def _with_port(found: re.Match[str]) -> str:
    host = found[1].rstrip(",;")
    return f"[{host}]:{found[2]}" if re.match("[^[]*:", host) else f"{host}:{found[2]}"


def _unwrapped(text: str) -> str:
    text = _LINK.sub(_linked, text)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return INVISIBLE.sub("", text)


def _linked(link: re.Match[str]) -> str:
    """What was typed: Slack turns `a.b` into `<http://a.b|a.b>`; other labels may say anything."""
    url, label = link[1], link[2] or ""
    return label if label and ("://" not in url or url == f"http://{label}") else url


def split(text: str) -> list[str]:
    """The words of a command, without the punctuation and formatting that people put around them.

    Code ticks, emphasis, brackets, list bullets: `(example.com)`, `_example.com_`, `- example.com`.
    A leading `/ssl`, emoji and courtesies go too: `please check example.com :pray:`.
    """
    if free := _FREE_TEXT.match(plain := _unwrapped(text)):
        said = (free[2] or free[4]).strip("`").split()
        if (free[1] or "")[-1:] in {*",;&|"} and HOST.match("".join(said[:1])):
            said.insert(0, "and")
        return [*split(free[1] or free[3]), *said]
    text = clean("\n".join(_ITEM.sub("", plain).replace("`", " ").replace("•", " ").splitlines()))
    text = _SEVERAL_MARKED.sub(r"\2", text)
    text = re.sub(r"(?<![\w.-])(\d+) *- *(\d+)(?![\w.])", r"\1-\2", text)  # a range
    text = re.sub(rf"\b({_DAY}) - (?={_DAY}\b)", r"\1-", text, flags=re.IGNORECASE)
    typed = re.sub(r"(?<!\w)'|'(?!\w)", " ", text).split()
    numbered = [word for word in typed[:-1] if not re.fullmatch(r"\d{1,3}[.)]", word)]
    words = [word for word in map(bare_word, [*numbered, *typed[-1:]]) if word]
    while words and (not words[0].strip("<>=!%") or (words[1:] and words[0].lower() in _BEFORE)):
        del words[0]
    while len(words) > 1 and (re.fullmatch(_THANKS, words[-1].lower()) or not words[-1].strip("!")):
        del words[-1]
    if len(words) > 1 and not typed[-1].strip("?") and not _asks_for_help(words[:-1]):
        del words[-1]  # `status example.com ?`
    words[:1] = [re.sub(r"^!+(?=[^\W\d])", "", word) for word in words[:1]]
    return [*words, "all"] if len(words) == 1 and typed[1:] == ["*"] else words


def _asks_for_help(words: Sequence[str]) -> bool:
    """Whether a question mark after these words asks what they do: they name a command."""
    name = "_".join(words).lower()
    return name in router.commands or (len(words) == 1 and router.find(name) is not None)


def bare_word(word: str) -> str:
    """A word without the punctuation around it; empty if nothing else is left."""
    if word in _HELP:
        return "help"
    if re.fullmatch(r"[<>=!]{1,2}|%", word):
        return word
    if _EMOJI.fullmatch(word) or not any(each.isalnum() or each == "*" for each in word):
        return ""
    while (peeled := _peeled(word)) != word:
        word = peeled
    return "" if word == "*" else word


def _peeled(word: str) -> str:
    """A word without the outermost of what stands around it."""
    word = word.strip(",;'\"").rstrip("!?)}").lstrip("({").lstrip(_BULLETS)
    word = word[1:] if re.match(r":(?![\d:])", word) else word
    word = word.rstrip(".") if not word.endswith("*.") else word
    word = word[:-1] if word.endswith(":") and not word.endswith("::") else word
    if not re.match(r"\[[^\]]*:", word):  # [2001:db8::1]:443
        word = word.lstrip("[").rstrip("]")
    for first, last in ("__", "~~", "**", "<>"):
        plain = first != "*" or "." in word  # *api.example.com* is bold, *mail* a pattern
        if plain and len(word) > 2 and (word[0], word[-1]) == (first, last) and word[1] not in "@!":
            word = word[1:-1]
    return word


#: Words that stand before a host, and are none.
_NO_NAMES = frozenset({"for", "to", "of", "the", "on", "at", "with", "me", "my", "until"})


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
        text = re.sub(r"^(?:(?:host|id)=|id:(?=\d+$))", "", text, flags=re.IGNORECASE)
        if text.lower() in _NO_NAMES:
            raise ValueError(f"“{text}” is not a host name.")
        number, space, target = text.partition(" ")
        number = number.removeprefix("#")
        if number.isascii() and number.isdecimal():
            if len(number) > 15:
                raise ValueError(f"“{number}” is too long for a monitor ID.")
            known = _target(target) if space else None
            return cls(int(number), known.host if known else "", known.port if known else None)
        if re.search(r"[^,;],[^,;]", text):
            raise ValueError("Name one at a time, or a pattern such as *.example.com.")
        if "*" in text:
            pattern, colon, number = text.rpartition(":")
            if colon and (port := read_port(number)):
                return cls(host=host_pattern(pattern), port=port)
            return cls(host=host_pattern(text))
        host, port = split_target(text)
        return cls(host=host, port=port)

    @property
    def target(self) -> Target | None:
        """The host and port, if both are known."""
        return Target(self.host, self.port) if self.host and self.port else None

    @property
    def is_pattern(self) -> bool:
        """Whether it may match several hosts."""
        return "*" in self.host

    def __str__(self) -> str:
        if self.target:
            return self.target.short
        return self.host or f"#{self.id}"

    def matches(self, row: MonitorSummary) -> bool:
        """Whether this row matches; the API may read patterns differently."""
        if self.id is not None:
            return row.id == self.id
        return fnmatchcase(row.target.host, self.host) and self.port in {None, row.target.port}


def _target(text: str) -> Target | None:
    """The target in a button's argument; None if only the API can read the host."""
    try:
        return Target.parse(text)
    except ValueError:
        return None


def host_pattern(text: str) -> str:
    """A pattern such as `*.example.com`, in A-labels. Raises ValueError with a sentence."""
    text = text.lower().strip("./,;")
    if not _PATTERN.match(text) or set(text) <= {"*", "."}:
        raise ValueError(f"“{text}” is not a pattern. Try *.example.com.")
    labels = text.split(".")
    if any(not label.isascii() and "*" in label for label in labels):
        raise ValueError(f"“{text}” can't be searched: write the part around * in ASCII (xn--…).")
    return ".".join(label if label.isascii() else normal_host(label) for label in labels)


Which = Annotated[Selector, "HOST[:PORT]|ID|PATTERN"]
One = Annotated[Selector, "HOST[:PORT]|ID"]
#: The most hosts that can be added at once.
MAX_TARGETS = 50
#: With more hosts than this, one request for the whole list replaces one per host.
ASKED_ONE_BY_ONE = 3
#: How similar a name must be to be suggested (difflib's ratio), and how many are.
ALIKE = 0.6
NEAR = 3
#: Names compared before the event loop gets a turn: a few milliseconds of work.
NAMES_AT_ONCE = 50


#: What to ask the API for a named group of monitors.
_GROUPS: Mapping[str, Mapping[str, Any]] = {
    "all": {},
    "everything": {},
    "due": {"expires": "<30"},
}


async def find(call: Call, which: Selector) -> list[MonitorSummary]:
    """The monitors that are meant: by ID, host, pattern, or the beginning of a host's name.

    Raises NotFound for an unknown ID, NotMonitored if no host matches.
    """
    if which.id is None:
        listed = await call.api.list(host=which.host, port=which.port)
        rows = [row for row in listed if which.matches(row)]
        if which.is_pattern and not rows:
            _all_were_readable(listed, f"any monitor matches {which.host}")
        return rows if rows or which.is_pattern else await _begins_so(call, which)
    target = which.target or (await call.api.get(which.id)).target
    listed = await call.api.list(host=target.host, port=target.port)
    again = [row for row in listed if row.target == which.target]  # deleted, and added again
    found = [row for row in listed if row.id == which.id] or again
    if not found:
        _all_were_readable(listed, f"#{which.id} is among them")
        raise NotFound(404, "monitor not found")
    return found


def _all_were_readable(rows: MonitorList, what: str) -> None:
    """Raise BotError if some rows could not be read, because then it isn't known whether `what`."""
    if rows.unreadable:
        raise BotError(f"{list_cards.unsure(rows.unreadable, what)} Check /ssl ping.")


async def _begins_so(call: Call, which: Selector) -> list[MonitorSummary]:
    word = "" if which.port else which.host  # a state has no port
    rows = await call.api.list(**_GROUPS.get(word, {}))
    if word in {*STATES, *OTHER_STATES, *_GROUPS}:
        return _in_state(call, word, rows)
    found = [
        row
        for row in rows
        if row.target.host.startswith(which.host) and which.port in {None, row.target.port}
    ]
    if not found and word in MARKS:
        return _in_state(call, word, rows)
    if not found:
        _all_were_readable(rows, f"{which} is monitored")
        near = await nearest(which.host, {row.target.host for row in rows})
        raise NotMonitored(which.host, which.port, near)
    return found


def _in_state(call: Call, name: str, rows: MonitorList) -> list[MonitorSummary]:
    now, states = call.now(), STATES.get(name, ())
    found = [
        row
        for row in rows
        if (state := state_of(row, now, call.rules)) in states
        or (name in {"broken", "invalid"} and state.rank is Rank.BROKEN)
        or name in _GROUPS
        or (name in MARKS and has_mark(call, row, name))
    ]
    if not found:
        _all_were_readable(rows, f"any monitor is {name}")
    return found


#: What `list` finds by what people said of a monitor.
MARKS = ("muted", "taken", "mine", "free")
#: Words of ours that are no host's name.
NO_HOSTS = frozenset({*STATES, *OTHER_STATES, *_GROUPS, *MARKS, "list"})


def has_mark(call: Call, row: MonitorSummary, mark: str) -> bool:
    """Whether a monitor is muted, taken, taken by the asker, or free: not fine, and nobody's."""
    now, rules = call.now(), call.rules
    claim = claim_of(row, now, rules)
    match mark:
        case "muted":
            return mute_of(row, now, rules) is not None
        case "taken":
            return claim is not None
        case "mine":
            return claim is not None and claim.user == call.asker
        case _:
            return claim is None and not is_fine(row, now, rules)


async def nearest(host: str, names: Collection[str]) -> list[str]:
    """The most similar names, the best first; lets the event loop run in between."""
    matcher = difflib.SequenceMatcher(autojunk=False)
    close: list[tuple[float, str]] = []
    for number, name in enumerate(sorted(names)):
        if number % NAMES_AT_ONCE == 0:
            await asyncio.sleep(0)
        mine, other = _without_shared_domain(host.removeprefix("www."), name.removeprefix("www."))
        matcher.set_seqs(other, mine)
        if matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE:
            close.append((min(matcher.ratio(), _first_labels_alike(mine, other)), name))
    return [name for ratio, name in sorted(close, reverse=True)[:NEAR] if ratio >= ALIKE]


def _first_labels_alike(one: str, other: str) -> float:
    """How alike the hosts' own names are: `mail.example.org` isn't like `shop.example.com`."""
    mine, theirs = one.partition(".")[0], other.partition(".")[0]
    if mine.startswith(theirs) or theirs.startswith(mine):
        return 1.0
    return difflib.SequenceMatcher(None, theirs, mine, autojunk=False).ratio()


def _without_shared_domain(one: str, other: str) -> tuple[str, str]:
    """Two names without their common domain: what both end in says nothing."""
    first, second = one.split("."), other.split(".")
    if len(first) == 1:  # `shpo` for `shop.example.com`
        return one, second[0]
    while first and second and first[-1] == second[-1]:
        first.pop()
        second.pop()
    return ".".join(first), ".".join(second)


def several(
    call: Call, which: Selector, rows: Sequence[MonitorSummary], ask: Question | None = None
) -> Message | None:
    """The answer if not exactly one monitor is meant: they are listed, worst first.

    `ask` asks whether all of them are meant, and has the button for it.
    """
    if len(rows) == 1:
        return None
    if rows:
        order = list_cards.ranked(rows, call.now(), call.rules)
        title, offer = ask(order) if ask else (f"Monitors: {which}", ())
        return list_cards.monitors(order, call.now(), call.rules, title=title, offer=offer)
    return list_cards.none_found(code(str(which)))


@router.command("status", example="status example.com", shares=True)
async def status(call: Call, which: Which) -> Message:
    """Show the certificate of a monitored host.

    Name it as example.com, example.com:8443, a URL, an ID, the beginning of its name, or a pattern
    such as *.example.com, which lists all that match.
    """
    rows = await find(call, which)
    return several(call, which, rows) or monitor_cards.monitor(rows[0], call.now(), call.rules)


async def rows_of(call: Call, targets: Sequence[Target]) -> dict[Target, MonitorSummary]:
    """The monitors of these hosts and ports, where there are any."""
    if len(targets) > ASKED_ONE_BY_ONE:
        rows: Sequence[MonitorSummary] = await call.api.list()
    else:
        rows = [
            row
            for target in targets
            for row in by_target(await call.api.list(host=target.host, port=target.port), target)
        ]
    wanted = set(targets)
    return {row.target: row for row in rows if row.target in wanted}


async def row_of(call: Call, found: Monitor) -> MonitorSummary:
    """The monitor's row in the list: only that has the API's verdict."""
    rows = await call.api.list(host=found.target.host, port=found.target.port)
    for row in rows:
        if row.id == found.id:
            return row
    _all_were_readable(rows, f"#{found.id} is among them")
    raise NotFound(404, "monitor not found")
