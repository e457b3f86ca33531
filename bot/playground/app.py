"""The app under test, as it would be configured at api.slack.com: tokens, scopes, commands."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Completion:
    """A line that the page suggests while someone types a command."""

    insert: str
    usage: str
    help: str


@dataclass(frozen=True)
class AppCommand:
    """A slash command of the app; `command` includes the slash."""

    command: str
    completions: tuple[Completion, ...] = ()


@dataclass(frozen=True)
class Shortcut:
    """A message shortcut."""

    callback_id: str
    name: str


@dataclass(frozen=True)
class App:
    """The app under test; `bot_events` are the events it subscribes to (`message.im`…)."""

    app_id: str
    name: str
    bot_token: str
    app_token: str
    signing_secret: str
    scopes: frozenset[str]
    commands: tuple[AppCommand, ...] = ()
    shortcuts: tuple[Shortcut, ...] = ()
    bot_events: frozenset[str] = frozenset()

    def secrets(self) -> tuple[str, ...]:
        """Return what the traffic must never show."""
        return (self.bot_token, self.app_token, self.signing_secret)
