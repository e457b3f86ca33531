"""The errors of this package, told apart by what the reader can do about them.

A failed *scan* is not here: a dead host or a bad certificate is a result.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Slack's words for "the bot can't speak here" (docs.slack.dev/reference/methods/chat.postMessage).
_MAY_NOT_POST = frozenset(
    {
        "not_in_channel",
        "channel_not_found",
        "is_archived",
        "restricted_action",
        "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel",
        "restricted_action_non_threadable_channel",
        "messages_tab_disabled",
        "team_access_not_granted",
        "missing_scope",
        "no_permission",
        "ekm_access_denied",
    }
)
#: An edit that can't be made: the message is to be posted anew.
_MAY_NOT_EDIT = frozenset({"message_not_found", "edit_window_closed", "cant_update_message"})


class BotError(Exception):
    """Anything this package raises on purpose."""


class UsageError(BotError):
    """The words that were typed can't be used: the asker can mend them."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class APIRefused(BotError):
    """The SSLmonitor API answered, and said no.

    `code` is the API's own number (or the HTTP status where it gave none), `req_id` what its
    support asks for (empty where it gave none).
    """

    def __init__(
        self, code: int, message: str, req_id: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.req_id = req_id
        self.retry_after = retry_after


class NotFound(APIRefused):
    """There is no such monitor (code 404)."""


class NotWatched(BotError):
    """No monitor has this host; `near` are the nearest hosts that are watched."""

    def __init__(self, host: str, port: int | None, near: Sequence[str]) -> None:
        super().__init__(f"{host} is not watched yet.")
        self.host = host
        self.port = port
        self.near = tuple(near)


class NotOffered(BotError):
    """The API that the bot uses lacks what `command` needs: another API has it."""

    def __init__(self, command: str) -> None:
        super().__init__(f"The hosted API lacks what “{command}” needs.")
        self.command = command


class BadKey(APIRefused):
    """The API does not accept the key (code 401): the operator can mend it."""


class APIUnreachable(BotError):
    """The SSLmonitor API gave no usable answer: it may work a little later.

    `maybe_done` is true when a call that changes something may have reached the server.
    """

    def __init__(self, message: str, *, maybe_done: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.maybe_done = maybe_done


class ConfigError(BotError):
    """The settings can't be used; `faults` lists every one of them, a sentence each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class SlackRefused(BotError):
    """Slack answered, and said no; `reason` is its own word, such as `not_in_channel`."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"Slack refused: {reason}")
        self.reason = reason
        self.retry_after = retry_after

    @property
    def may_not_post(self) -> bool:
        """Whether the bot can't post there at all: a direct message may still reach the asker."""
        return self.reason in _MAY_NOT_POST

    @property
    def may_not_edit(self) -> bool:
        """Whether this message can't be edited: it has to be posted anew."""
        return self.reason in _MAY_NOT_EDIT


class SlackUnreachable(BotError):
    """Slack gave no usable answer: what was sent may have arrived all the same."""
