"""Bearer tickets that Slack hands out: trigger ids, response URLs, socket and upload tickets."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

TRIGGER_LIFE = timedelta(seconds=3)
RESPONSE_URL_LIFE = timedelta(minutes=30)
RESPONSE_URL_USES = 5
MOST_TICKETS = 10_000

T = TypeVar("T")


class SlackError(Exception):
    """A call that Slack refuses; `extra` is what its reply says besides."""

    def __init__(self, error: str, **extra: object) -> None:
        super().__init__(error)
        self.error = error
        self.extra = extra


@dataclass
class _Trigger:
    user: str
    issued: datetime
    used: bool = False


@dataclass
class ResponseUrl:
    """Where an app may answer: for whom, where, and (for a button) which message it was on."""

    user: str
    channel: str
    issued: datetime
    message_ts: str | None = None
    uses: int = 0


@dataclass
class Tickets:
    """Every ticket that is out, by its secret word."""

    clock: Callable[[], datetime]
    response_urls: dict[str, ResponseUrl] = field(default_factory=dict)
    _triggers: dict[str, _Trigger] = field(default_factory=dict)
    _sockets: set[str] = field(default_factory=set)

    def trigger(self, user: str) -> str:
        """Return a new trigger id: good once, for three seconds."""
        word = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        _remember(self._triggers, word, _Trigger(user, self.clock()))
        return word

    def redeem_trigger(self, word: str) -> str:
        """Use a trigger id up and return its user.

        Raises SlackError `invalid_trigger_id`, `exchanged_trigger_id` or `expired_trigger_id`, the
        names on docs.slack.dev/reference/methods/views.open (`dialog.open` had others).
        """
        trigger = self._triggers.get(word)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if self.clock() - trigger.issued > TRIGGER_LIFE:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger.user

    def response_url(self, user: str, channel: str, message_ts: str | None = None) -> str:
        """Return the secret word of a new response URL."""
        word = secrets.token_hex(16)
        _remember(self.response_urls, word, ResponseUrl(user, channel, self.clock(), message_ts))
        return word

    def open_response_url(self, word: str) -> ResponseUrl:
        """Return a response URL that can still be used; the caller counts the use.

        Raises SlackError `expired_url` after 30 minutes, `used_url` after five messages.
        """
        url = self.response_urls.get(word)
        if url is None or self.clock() - url.issued > RESPONSE_URL_LIFE:
            raise SlackError("expired_url")
        if url.uses >= RESPONSE_URL_USES:
            raise SlackError("used_url")
        return url

    def socket(self) -> str:
        """Return a ticket that opens one websocket, once."""
        word = secrets.token_hex(16)
        self._sockets.add(word)
        return word

    def redeem_socket(self, word: str) -> bool:
        """Use a socket ticket up; false when it is unknown or used."""
        if word not in self._sockets:
            return False
        self._sockets.remove(word)
        return True


def _remember(held: dict[str, T], word: str, ticket: T) -> None:
    """Keep a ticket; of very many the oldest is forgotten."""
    held[word] = ticket
    if len(held) > MOST_TICKETS:
        del held[next(iter(held))]
