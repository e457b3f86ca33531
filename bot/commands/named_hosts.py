"""The hosts that a message names, anywhere in its texts. Pure."""

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
_ITALIC = re.compile(r"(?<!\w)_([^\s_]{2,300})_(?!\w)")
_FILE = re.compile(
    r".*\.(7z|bak|bmp|c|cfg|class|conf|cpp|crt|css|csr|csv|db|dll|docx?|exe|gif|go|gz|h|html?|ico"
    r"|ini|ipynb|jar|java|jpe?g|jsx?|json|key|lock|log|mp[34]|odt|old|pdf|pem|php|png|pptx?|rar"
    r"|rb|sql|svg|swp|tar|tgz|tmp|toml|tsx?|txt|wav|webp|xlsx?|xml|ya?ml)",
    re.IGNORECASE,
)
# These file extensions are top-level domains as well; a name of three labels is a host.
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
    """Every host and port that a message names, in order, each once.

    From web addresses and host names, but not from e-mail addresses, file names or versions.
    """
    found: dict[Target, None] = {}
    for text in texts:
        for word in _named(text[:MAX_SEARCHED]):
            try:
                found.setdefault(Target.parse(word.rstrip(_CLOSING)), None)
            except ValueError:
                continue  # it only looked like a host
    return list(found)


def _named(text: str) -> list[str]:
    """The web addresses and host names in a text, in order."""
    text = _SLACK_MARK.sub(_unmarked, text)
    for entity, character in (("&lt;", " "), ("&gt;", " "), ("&amp;", "&")):
        text = text.replace(entity, character)
    words = []
    text = _ITALIC.sub(r" \1 ", INVISIBLE.sub("", text).replace("[.]", "."))
    for found in _NAMED.finditer(text):
        name = found["host"] or ""
        if found["url"] or (name and not _is_file(name)):
            words.append(found[0])
    return words


def _unmarked(mark: re.Match[str]) -> str:
    """The link in one of Slack's marks; for a bare name that Slack turned into a link, the name."""
    url, label = mark["url"] or "", mark["label"] or ""
    return f" {label if url == f'http://{label}' else url} "


def _is_file(name: str) -> bool:
    """Whether a name is more likely a file: `report.pdf`, `run.sh`; `www.example.sh` is not."""
    host = name.partition(":")[0]
    return bool(_FILE.fullmatch(host) or _FILE_OR_HOST.fullmatch(host))
