"""What people write: the words of a command, and the hosts that a message names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bot.target import Target

#: Characters that nobody sees, and that are pasted along with an address.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe0e\ufe0f\ufeff]"
)
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

# Phones and desktop composers turn quotes and dashes into typographic ones; keyboards for Chinese
# and Japanese write wide punctuation.
_TYPED = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′´", "'"),
        **dict.fromkeys("“”„‟″«»‹›", '"'),
        **dict.fromkeys("–—−‐‑", "-"),
        **dict.fromkeys("\u00a0\u202f…", " "),
        **dict(zip("，、；：！？（）＜＞＝＊", ",,;:!?()<>=*", strict=True)),
        "≤": "<=",
        "≥": ">=",
        "≠": "!=",
    }
)
# Slack wraps an address that it recognizes: <http://example.com|example.com>, <mailto:a@b.c|a@b.c>.
_LINK = re.compile(
    r"<(?:mailto:)?([a-z][a-z0-9+.-]*://[^|>\s]+|[^|>\s@]+@[^|>\s]+)(?:\|([^>]*))?>", re.IGNORECASE
)
# People write `example.com 8443`, `example.com port 8443` or `example.com : 8443` where
# `example.com:8443` is meant, but also `example.com 14 days`.
_HOST_SPACE_PORT = re.compile(
    r"(?<!\S)([^\s:=<>!]+\.[^\s:=<>!]+|localhost) +(?:(?:port[ =:] ?|: ?))?(\d{2,5})(?!\S)"
    r"(?! (?:[smhdw]|sec\w*|min\w*|hrs?|hours?|days?|weeks?|months?|%|percent)(?:\s|$))",
    re.IGNORECASE,
)
#: What stands before each item of a list, and Slack's mark of a quotation.
_ITEM = re.compile(r"^\s*(?:(?:>|&gt;|[-*•]|\d{1,3}[.)])\s+)+(?=\S)", re.MULTILINE)
_EMOJI = re.compile(r":[a-z0-9_+'-]*[a-z][a-z0-9_+'-]*:(?::skin-tone-\d:)?", re.IGNORECASE)
_HELP = frozenset({"?", "??", "-?", "/?", "-h", "--help", "-help", "/help"})
#: Words that people put before a command, and after it, when they talk to the bot.
_BEFORE = frozenset(
    {
        *("please", "pls", "plz", "hey", "hi", "hello", "can", "could", "would", "will", "you"),
        *("ok", "okay", "just", "kindly", "yo", "/ssl", "ssl"),
    }
)
_AFTER = frozenset({"please", "pls", "plz", "thanks", "thx", "ty", "cheers", "thank", "you"})
# A note, the reason of a mute, and the link of a runbook stay as they were typed.
_FREE_TEXT = re.compile(
    rf"[\W_]*(?:/?(?:{'|'.join(sorted(word.strip('/') for word in _BEFORE))})\b[\W_]*)*"
    r"(?:((?:note|mute)\W{1,3}\S+)\s+(.+)|(runbook\b.*?)\s+([a-z]+://\S+)\W*$)",
    re.IGNORECASE | re.DOTALL,
)


def clean(text: str) -> str:
    """One line of plain words: links unwrapped, quotes and dashes straight, nothing invisible."""
    text = " ".join(_unwrapped(text).translate(_TYPED).replace('"', " ").split())
    return _HOST_SPACE_PORT.sub(r"\1:\2", text)


def _unwrapped(text: str) -> str:
    text = _LINK.sub(_linked, text)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return INVISIBLE.sub("", text)


def _linked(link: re.Match[str]) -> str:
    """What was typed: Slack makes `<http://a.b|a.b>` of `a.b`; other labels may say anything."""
    url, label = link[1], link[2] or ""
    return label if label and ("://" not in url or url == f"http://{label}") else url


def split(text: str) -> list[str]:
    """The words of a command, without the punctuation and formatting that people put around them.

    Code ticks, emphasis, brackets, list bullets: `(example.com)`, `_example.com_`, `- example.com`.
    A leading `/ssl`, emoji and courtesies go too: `please check example.com :pray:`.
    """
    if free := _FREE_TEXT.match(plain := _unwrapped(text)):
        said = (free[2] or free[4]).strip("`").split()
        return [*split(free[1] or free[3]), *said]
    text = clean("\n".join(_ITEM.sub("", plain).replace("`", " ").replace("•", " ").splitlines()))
    text = re.sub(r"(?<!\S)([*_~])(\w[^*_~]* [^*_~]*\w)\1(?!\S)", r"\2", text)  # *bold words*
    text = re.sub(r"(?<![\w.-])(\d+) *- *(\d+)(?![\w.])", r"\1-\2", text)  # a range
    typed = re.sub(r"(?<!\w)'|'(?!\w)", " ", text).split()
    numbered = [word for word in typed[:-1] if not re.fullmatch(r"\d{1,3}[.)]", word)]
    words = [word for word in map(bare_word, [*numbered, *typed[-1:]]) if word]
    while words and (not words[0].strip("<>=!%") or (words[1:] and words[0].lower() in _BEFORE)):
        del words[0]
    while len(words) > 1 and words[-1].lower() in _AFTER:
        del words[-1]
    return [*words, "all"] if len(words) == 1 and typed[1:] == ["*"] else words


def bare_word(word: str) -> str:
    """A word without what stands around it; empty if there is nothing else."""
    if word in _HELP:
        return "help"
    if re.fullmatch(r"[<>=!]{1,2}|%", word):
        return word
    if _EMOJI.fullmatch(word) or not any(each.isalnum() or each == "*" for each in word):
        return ""
    before = ""
    while word != before:
        before = word
        word = word.strip(",;'\"").rstrip("!?)}").lstrip("({")
        word = word[1:] if re.match(r"![^\W\d]|:(?![\d:])", word) else word
        word = word.rstrip(".") if not word.endswith("*.") else word
        word = word[:-1] if word.endswith(":") and not word.endswith("::") else word
        if not re.match(r"\[[^\]]*:", word):  # [2001:db8::1]:443
            word = word.lstrip("[").rstrip("]")
        for first, last in ("__", "~~", "**", "<>"):
            plain = first != "*" or "." in word  # *api.example.com* is bold, *mail* a pattern
            if plain and len(word) > 2 and (word[0], word[-1]) == (first, last):
                word = word[1:-1]
    return "" if word == "*" else word


def texts_of(message: Mapping[str, Any]) -> list[str]:
    """All the text in a message: its own, its blocks' and its attachments'."""
    parts = (message.get("blocks"), message.get("attachments"))
    return [str(message.get("text") or ""), *(text for part in parts for text in _texts(part))]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, str):
                if key in {"text", "url", "fallback", "title", "title_link", "from_url"}:
                    yield item
            else:
                yield from _texts(item)


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
    for found in _NAMED.finditer(INVISIBLE.sub("", text)):
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
