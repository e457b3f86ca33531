"""Reads the settings from the environment: reports all faults together, and notices typos."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bot.config.declaration import Setting
from bot.config.settings import HOSTED_API, SETTINGS, Mode, Settings
from bot.errors import ConfigError
from bot.target import address_fault

Program = Literal["run", "check", "digest", "embedded", "keys", "backup"]

#: Variables with these prefixes are meant for this program; others also use LOG_ and DATABASE_.
PREFIXES = ("DIGEST_", "SCAN_", "SLACK_", "SSL_", "SSLMONITOR_")
#: OpenSSL reads these itself: where the root certificates are
#: (SSL_CTX_set_default_verify_paths(3)).
OPENSSL_VARIABLES = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR"})
#: Shorter names are too similar to others, as HOST is to HOME and PORT to POST.
SHORTEST_TYPO = 8
MOST_EDITS = 2

# What Kubernetes sets in every container for a Service named, for example, `sslmonitor`
# (kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_SERVICE_LINK = re.compile(
    r"\w+_(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP|SCTP)\w*)=|\w+_PORT=\w+://"
)
#: The largest file of a secret; a wrong path may lead to a device or an image.
LONGEST_FILE = 65_536


def read_settings(
    environ: Mapping[str, str],
    *,
    program: Program = "run",
    scan_rules: Callable[[str], object] = str,
) -> Settings:
    """The settings of one program; `backup` and `keys` (`embedded keys`) need the database alone.

    `scan_rules` parses SCAN_ALLOW and SCAN_DENY for the scanner, and raises ValueError with a
    sentence.

    Raises ConfigError with all faults, each a sentence that names the variable and says what to
    do. They never repeat a secret.
    """
    present = _present(environ)
    values: dict[str, Any] = {"slack_mode": _default_mode(present)}
    faults: list[str] = []
    for name, setting in SETTINGS.items():
        if setting.variable in present:
            try:
                values[name] = _value(setting, environ, scan_rules)
            except ValueError as fault:
                faults.append(str(fault))
    if "HOST" not in present:
        # in HTTP mode, Slack must reach the bot, and a container doesn't know its own address
        everywhere = values.get("slack_mode") == "http"
        values["host"] = "0.0.0.0" if everywhere else "127.0.0.1"  # noqa: S104 - see above
    if "SSLMONITOR_API_KEY" in present and "SSLMONITOR_API_URL" not in present:
        values["api_url"] = HOSTED_API
    settings = Settings(**values)
    if program == "embedded":
        faults += _embedded_faults(present)
    elif program not in {"keys", "backup"}:
        faults += _slack_faults(settings, present, program) + _api_faults(settings, present)
    if faults:
        typos = [str(each) for each in unknown_variables(environ) if each.suggestion]
        raise ConfigError(faults + typos)
    return settings


def _present(environ: Mapping[str, str]) -> frozenset[str]:
    """The variables of all settings that are set, by themselves or from a file."""
    return frozenset(each.variable for each in SETTINGS.values() if each.sources(environ))


def _value(
    setting: Setting, environ: Mapping[str, str], scan_rules: Callable[[str], object]
) -> object:
    """The value of a setting that is set. Raises ValueError with a sentence for the operator."""
    source, *others = setting.sources(environ)
    if others:
        raise ValueError(f"{source} and {others[0]} are both set. Remove one of them.")
    try:
        text = environ[source].strip()
        if source != setting.variable:
            text = _content(text)
        if setting.variable in {"SCAN_ALLOW", "SCAN_DENY"}:
            scan_rules(text)
        return setting.read(text)
    except ValueError as fault:
        raise ValueError(f"{source} is invalid. {fault}") from None


def _content(path: str) -> str:
    """The text of a secret's file. Errors don't repeat the path, which may be a secret itself."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LONGEST_FILE + 1)
        text = content.decode("utf-8-sig").strip()
    except OSError as fault:
        raise ValueError(f"The file can't be read: {fault.strerror}.") from None
    except UnicodeDecodeError:
        raise ValueError("The file is not UTF-8 text.") from None
    if not text:
        raise ValueError("The file is empty.")
    if len(content) > LONGEST_FILE:
        raise ValueError("The file is too long.")
    return text


def _default_mode(present: frozenset[str]) -> Mode:
    only_signing_secret = "SLACK_SIGNING_SECRET" in present and "SLACK_APP_TOKEN" not in present
    return "http" if only_signing_secret else "socket"


def _embedded_faults(present: frozenset[str]) -> list[str]:
    if "EMBEDDED_API_KEY" in present:
        return []
    return ["EMBEDDED_API_KEY is missing. Use a long random text; clients send it as the API key."]


def _slack_faults(settings: Settings, present: frozenset[str], program: Program) -> list[str]:
    faults = []
    if "SLACK_BOT_TOKEN" not in present:
        faults.append(
            "SLACK_BOT_TOKEN is missing. Copy it from “OAuth & Permissions” in your Slack app's "
            "settings; it starts with xoxb-."
        )
    if program == "digest":
        if "DIGEST_CHANNEL" not in present:
            faults.append("DIGEST_CHANNEL is missing. Use a channel ID such as C0123ABCD.")
        return faults
    return [*faults, *_transport_faults(settings, present)]


def _transport_faults(settings: Settings, present: frozenset[str]) -> Iterator[str]:
    app, signing = "SLACK_APP_TOKEN" in present, "SLACK_SIGNING_SECRET" in present
    if not app and not signing:
        yield (
            "SLACK_APP_TOKEN is missing. Create it in your Slack app's settings under “Basic "
            "Information”, “App-Level Tokens”; it starts with xapp-. (Or set SLACK_SIGNING_SECRET, "
            "for HTTP mode.)"
        )
    elif settings.slack_mode == "socket" and not app:
        yield "SLACK_MODE is socket, which requires SLACK_APP_TOKEN (xapp-…)."
    elif settings.slack_mode == "http" and not signing:
        yield "SLACK_MODE is http, which requires SLACK_SIGNING_SECRET."


def _api_faults(settings: Settings, present: frozenset[str]) -> list[str]:
    if "SSLMONITOR_API_URL" in present and "SSLMONITOR_API_KEY" not in present:
        return ["SSLMONITOR_API_KEY is missing. Set the key for the API at SSLMONITOR_API_URL."]
    if not settings.api_url:
        return []
    fault = address_fault(settings.api_url, allow_http=settings.api_allow_http)
    if fault is None:
        return []
    if address_fault(settings.api_url, allow_http=True) is None:
        fault += " On a private network, you can set SSLMONITOR_API_ALLOW_HTTP=1."
    return [f"SSLMONITOR_API_URL is invalid. {fault}"]


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A variable that looks like a setting but isn't one, and so has no effect.

    `suggestion` is the similar variable of a setting; empty if there is none. It is a fault if that
    setting isn't set otherwise, because the operator believes it is.
    """

    name: str
    suggestion: str = ""
    is_fault: bool = False

    def __str__(self) -> str:
        question = f"; did you mean {self.suggestion}?" if self.suggestion else "."
        return f"{self.name} is not a setting{question}"


def unknown_variables(environ: Mapping[str, str]) -> list[UnknownVariable]:
    """The variables that look like typos of settings: by their prefix, or by one or two letters."""
    settings = {name: each for each in SETTINGS.values() for name in each.variables}
    unknown = []
    for name, text in environ.items():
        if name in settings or not text.strip() or _is_foreign(name, text):
            continue
        suggestion = _nearest(name.upper(), settings)
        if suggestion:
            is_fault = not settings[suggestion].sources(environ)
            unknown.append(UnknownVariable(name, suggestion, is_fault))
        elif name.startswith(PREFIXES):
            unknown.append(UnknownVariable(name))
    return unknown


def _is_foreign(name: str, text: str) -> bool:
    return name in OPENSSL_VARIABLES or _SERVICE_LINK.match(f"{name}={text}") is not None


def _nearest(name: str, settings: Mapping[str, object]) -> str:
    """The known variable with the fewest edits, at most MOST_EDITS; empty if there is none."""
    candidates = [each for each in settings if len(each) >= SHORTEST_TYPO]
    for edits in range(MOST_EDITS + 1):
        for each in candidates:
            if _within(edits, name, each):
                return each
    return ""


def _within(edits: int, a: str, b: str) -> bool:
    """Whether at most this many edits turn `a` into `b` (Damerau-Levenshtein distance).

    An edit inserts, deletes or replaces a letter, or swaps two neighbors.
    """
    if abs(len(a) - len(b)) > edits:
        return False
    same = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if same is None:
        return True
    a, b = a[same:], b[same:]
    return edits > 0 and (
        _within(edits - 1, a[1:], b)
        or _within(edits - 1, a, b[1:])
        or _within(edits - 1, a[1:], b[1:])
        or (a[:2] == b[1::-1] and _within(edits - 1, a[2:], b[2:]))
    )
