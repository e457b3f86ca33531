"""Bearer tickets that Slack issues: trigger ids, response URLs, socket tickets."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from bot.playground.errors import SlackError

TRIGGER_LIFETIME = timedelta(seconds=3)
RESPONSE_URL_LIFETIME = timedelta(minutes=30)
RESPONSE_URL_USES = 5
MAX_TICKETS = 10_000

GONE = frozenset({"expired_url", "used_url"})
"""The errors of response URLs that can't be used any longer."""

T = TypeVar("T")


@dataclass
class _Trigger:
    user: str
    issued: datetime
    used: bool = False


@dataclass
class ResponseUrl:
    """Where an app may answer: to whom, in which channel, and to a button on which message."""

    user: str
    channel: str
    issued: datetime
    message_ts: str | None = None
    uses: int = 0


@dataclass
class Tickets:
    """Every ticket in circulation, by its secret."""

    clock: Callable[[], datetime]
    response_urls: dict[str, ResponseUrl] = field(default_factory=dict)
    _triggers: dict[str, _Trigger] = field(default_factory=dict)
    _sockets: set[str] = field(default_factory=set)

    def trigger(self, user: str) -> str:
        """Issue a trigger id: valid once, for three seconds."""
        secret = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        _keep(self._triggers, secret, _Trigger(user, self.clock()))
        return secret

    def redeem_trigger(self, secret: str) -> str:
        """Use up a trigger id and return its user.

        Raises SlackError `invalid_trigger_id`, `exchanged_trigger_id` or `expired_trigger_id`, the
        names on docs.slack.dev/reference/methods/views.open (`dialog.open` had others).
        """
        trigger = self._triggers.get(secret)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if self.clock() - trigger.issued > TRIGGER_LIFETIME:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger.user

    def response_url(self, user: str, channel: str, message_ts: str | None = None) -> str:
        """Issue a response URL and return its secret."""
        secret = secrets.token_hex(16)
        _keep(self.response_urls, secret, ResponseUrl(user, channel, self.clock(), message_ts))
        return secret

    def open_response_url(self, secret: str) -> ResponseUrl:
        """Return a response URL that is still valid; the caller counts the use.

        Raises SlackError `expired_url` after 30 minutes, `used_url` after five messages.
        """
        url = self.response_urls.get(secret)
        if url is None or self.clock() - url.issued > RESPONSE_URL_LIFETIME:
            raise SlackError("expired_url")
        if url.uses >= RESPONSE_URL_USES:
            raise SlackError("used_url")
        return url

    def socket(self) -> str:
        """Issue a ticket that opens one websocket, once."""
        secret = secrets.token_hex(16)
        self._sockets.add(secret)
        return secret

    def redeem_socket(self, secret: str) -> bool:
        """Use up a socket ticket; false if it is unknown or used."""
        if secret not in self._sockets:
            return False
        self._sockets.remove(secret)
        return True


def _keep(tickets: dict[str, T], secret: str, ticket: T) -> None:
    """Add a ticket; above MAX_TICKETS, the oldest is dropped."""
    tickets[secret] = ticket
    if len(tickets) > MAX_TICKETS:
        del tickets[next(iter(tickets))]
