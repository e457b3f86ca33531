"""The app under test, as it would be configured at api.slack.com: tokens, scopes, commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class PlaygroundError(AssertionError):
    """Somebody in the playground tried what Slack would not let them do."""


@dataclass(frozen=True)
class Completion:
    """One line that the page offers while a command is being typed."""

    insert: str
    usage: str
    help: str


@dataclass(frozen=True)
class SlashCommand:
    """A slash command; `command` has its slash."""

    command: str
    description: str = ""
    usage_hint: str = ""
    completions: tuple[Completion, ...] = ()


@dataclass(frozen=True)
class Shortcut:
    """A message or global shortcut."""

    callback_id: str
    name: str
    type: Literal["message", "global"] = "message"


@dataclass(frozen=True)
class App:
    """The app under test; `bot_events` are the events it subscribes to (`message.im`…).

    `unfurl_domains` are the domains whose videos it may embed.
    """

    app_id: str
    name: str
    bot_token: str
    app_token: str
    signing_secret: str
    scopes: frozenset[str]
    commands: tuple[SlashCommand, ...] = ()
    shortcuts: tuple[Shortcut, ...] = ()
    bot_events: frozenset[str] = frozenset()
    unfurl_domains: frozenset[str] = frozenset()

    def secrets(self) -> tuple[str, ...]:
        """Return what must never be shown in the traffic."""
        return (self.bot_token, self.app_token, self.signing_secret)
