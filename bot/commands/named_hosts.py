"""The hosts that a message names, in any of its texts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bot.target import Target

#: Characters that nobody sees, and that are pasted along with an address. The first ones are halves
#: of characters and control characters, which no database takes.
INVISIBLE = re.compile(
    "[\ud800-\udfff\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"
    "\u00ad\u034f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe0e\ufe0f\ufeff]"
)
MAX_SEARCHED = 50_000
_CLOSING = ".,;:!?)]}'\""
# <https://example.com|text>; of any other mark (a person, a channel, an e-mail address) nothing.
_SLACK_MARK = re.compile(
    r"<(?:(?P<url>(?!mailto:)[a-z][a-z0-9+.-]{0,20}:[^<|>]+)|[^<>|]*)(?:\|(?P<label>[^<>]*))?>"
)
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
# An e-mail address is matched first, so that its host is not.
_NAMED = re.compile(
    r"(?P<url>\b[a-z][a-z0-9+.-]{0,20}://[^\s<>\"'`|]+)"
    r"|(?<![\w.+-])[\w.+-]++@[\w.-]+"
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
