"""The package's errors: one class for each thing that the reader can do about one.

A failed *scan* is not an error: an unreachable host or a bad certificate is a result.
"""

from collections.abc import Sequence
from datetime import datetime

#: Slack's errors for “the bot can't post here” (docs.slack.dev/reference/methods/chat.postMessage).
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
_INVITE = "invite the bot to the channel"
_SETTINGS = "channel or workspace settings don't allow the bot to post there"
#: What some of Slack's errors mean, or what to do about them (…/methods/chat.postMessage).
_REMEDIES = {
    "not_in_channel": _INVITE,
    "channel_not_found": f"{_INVITE}, unless it no longer exists",
    "is_archived": "the channel is archived",
    "missing_scope": "python -m bot check names what is missing",
    "messages_tab_disabled": "turn on the Messages tab in the app's settings",
    "restricted_action": _SETTINGS,
    "restricted_action_read_only_channel": _SETTINGS,
    "restricted_action_thread_only_channel": _SETTINGS,
    "restricted_action_non_threadable_channel": _SETTINGS,
    "no_permission": _INVITE,
}
#: Slack's errors for “this message can't be edited” (…/methods/chat.update): post a new one.
_MAY_NOT_EDIT = frozenset({"message_not_found", "edit_window_closed", "cant_update_message"})
#: Slack's errors for “this message has no thread” (…/methods/chat.postMessage): it was deleted.
_NO_THREAD = frozenset({"thread_not_found", "cannot_reply_to_message", "message_not_found"})
#: Slack's errors for “this token is no longer valid” (docs.slack.dev/reference/methods/auth.test).
_BAD_TOKEN = frozenset(
    {
        "account_inactive",
        "app_uninstalled",
        "invalid_auth",
        "not_allowed_token_type",
        "not_authed",
        "team_disabled",
        "token_expired",
        "token_revoked",
    }
)


class BotError(Exception):
    """Base class of the errors that this package raises on purpose; their text is a sentence.

    `maybe_done` is true if a request for a change may have reached the API. `retry_after` is how
    many seconds to wait before a retry, if that is known.
    """

    maybe_done = False
    retry_after: float | None = None


class UsageError(BotError):
    """The user's input is invalid; the user can correct it. `param` is the form field at fault."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class APIRefused(BotError):
    """The SSLmonitor API refused the request, or reports that it failed (500 and above).

    `code` is the API's own number; if it sent none, the HTTP status, or 0 if that means success.
    `req_id` is what its support asks for; empty if it sent none. `retry_after` is in seconds.
    """

    def __init__(
        self, code: int, message: str, req_id: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{code or ''} {message}".lstrip())
        self.code = code
        self.message = message
        self.req_id = req_id
        self.retry_after = retry_after


class NotFound(APIRefused):
    """The API has no monitor with this ID (code 404): `/ssl list` shows those that exist."""


class BadKey(APIRefused):
    """The API refuses the key (code 401): whoever runs the bot must set another one."""


class NotMonitored(BotError):
    """No monitor has this host: the user can add it, or pick one of the similar `suggestions`."""

    def __init__(self, host: str, port: int | None, suggestions: Sequence[str]) -> None:
        super().__init__(f"{host} isn't monitored yet.")
        self.host = host
        self.port = port
        self.suggestions = tuple(suggestions)


class TooOften(BotError):
    """A user has done something too often; they can do it again at `again_at`."""

    def __init__(self, what: str, most: int, again_at: datetime) -> None:
        super().__init__(f"The limit for each user is {most} {what} in 10 minutes.")
        self.again_at = again_at


class NotAvailable(BotError):
    """The API in use can't do what `command` needs: use the embedded API instead."""

    def __init__(self, command: str) -> None:
        super().__init__(f"`/ssl {command}` isn't available with the hosted API.")
        self.command = command


class OtherAPI(BotError):
    """The IDs of an old message may be those of other monitors by now."""

    def __init__(self) -> None:
        changed = "Nothing was done: the API or its key has changed since this was posted."
        super().__init__(f"{changed} Get a new list with /ssl list.")


class APIUnreachable(BotError):
    """The SSLmonitor API sent no usable reply: try again later."""

    def __init__(self, message: str, *, maybe_done: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.maybe_done = maybe_done


class ConfigError(BotError):
    """The settings are invalid: whoever runs the program must fix them.

    `faults` holds a sentence for each.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class SocketModeEnded(BotError):
    """Slack doesn't open Socket Mode connections any more: the bot's operator must act."""


class DatabaseUnavailable(BotError):
    """The bot's own database can't be read or written: its operator must look at it."""

    def __init__(self, reason: str, *, maybe_done: bool = False) -> None:
        also = " The change may have been stored; look before you repeat it." if maybe_done else ""
        super().__init__(f"The bot's database can't be used ({reason}).{also}")
        self.reason = reason
        self.maybe_done = maybe_done


class SlackRefused(BotError):
    """Slack refused the request; `reason` is Slack's error, such as `not_in_channel`.

    `retry_after` is in seconds.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        remedy = f" ({_REMEDIES[reason]})" if reason in _REMEDIES else ""
        super().__init__(f"Slack refused: {reason}{remedy}")
        self.reason = reason
        self.retry_after = retry_after

    @property
    def is_known(self) -> bool:
        """Whether one of the sets above contains the reason."""
        return self.may_not_post or self.may_not_edit or self.no_thread or self.bad_token

    @property
    def too_slow(self) -> bool:
        """Whether the press was too long ago to open a view: press again."""
        return self.reason in {"expired_trigger_id", "trigger_expired", "exchanged_trigger_id"}

    @property
    def no_thread(self) -> bool:
        """Whether the message to reply to was deleted."""
        return self.reason in _NO_THREAD

    @property
    def bad_token(self) -> bool:
        """Whether the bot's token was revoked or is invalid: only its operator can help."""
        return self.reason in _BAD_TOKEN

    @property
    def bad_app_token(self) -> bool:
        """Whether the app-level token was revoked, is invalid, or lacks its scope."""
        return self.bad_token or self.reason == "missing_scope"

    @property
    def may_not_post(self) -> bool:
        """Whether the bot can't post there at all: a direct message may still reach the user."""
        return self.reason in _MAY_NOT_POST

    @property
    def may_not_edit(self) -> bool:
        """Whether this message can't be edited: post a new one instead."""
        return self.reason in _MAY_NOT_EDIT


class SlackLimited(SlackRefused):
    """Slack rate-limits the bot; nothing was done. `retry_after` is in seconds, None if unknown."""

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__("ratelimited", retry_after=retry_after)


class EditsUsedUp(SlackLimited):
    """The bot's own count of edits, which follows Slack's limit per minute, forbids an edit yet."""


class SlackUnreachable(BotError):
    """Slack sent no usable reply: the request may still have taken effect."""
