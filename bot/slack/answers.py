"""What an answer of Slack's means: refused, limited, or perhaps done. Only this module decides.

| kind | error | what it means |
|---|---|---|
| refused | `SlackRefused` | nothing was done; the reason is Slack's error code |
| limited | `SlackLimited` | nothing was done; wait |
| perhaps | `SlackUnreachable` | it may have been done; look before you repeat it |

Sources: docs.slack.dev/reference/methods/chat.postMessage (errors: `internal_error` and
`fatal_error` may have taken effect) and docs.slack.dev/apis/web-api/rate-limits.
"""

import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from bot.errors import BotError, SlackLimited, SlackRefused, SlackUnreachable

log = logging.getLogger(__name__)

#: Slack's errors for "you are asking too often".
LIMITS = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
#: Slack's errors after which the request may have taken effect all the same. The last two mean that
#: the workspace can't be reached while it moves to Enterprise Grid, not that the token is invalid.
PERHAPS = frozenset(
    {"internal_error", "fatal_error", "request_timeout", "service_unavailable", "http_504"}
    | {"org_login_required", "team_added_to_org"}
)
#: Slack's errors for blocks that it does not accept; of a modal's, `invalid_arguments`.
BAD_BLOCKS = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "invalid_arguments"}
)
#: Refusals that the bot knows besides those of `bot.errors`; others are logged by name.
REFUSALS = BAD_BLOCKS | frozenset(
    {
        "already_reacted",
        "cant_delete_message",
        "duplicate_external_id",
        "exchanged_trigger_id",
        "expired_trigger_id",
        "expired_url",
        "file_not_found",
        "hash_conflict",
        "invalid_trigger_id",
        "msg_too_long",
        "no_service",
        "no_such_subteam",
        "not_enabled",
        "not_found",
        "push_limit_reached",
        "trigger_expired",
        "used_url",
        "user_not_found",
        "user_not_in_channel",
        "view_too_large",
    }
)
LONGEST_RETRY_AFTER, LONGEST_CODE = 86_400.0, 80


def failure_of(response: Any, method: str) -> BotError:
    """What an answer of the Web API that is not ok means."""
    status = getattr(response, "status_code", 0) or getattr(response, "status", 0)
    data = response.data if hasattr(response, "data") else None
    word = data.get("error") if isinstance(data, Mapping) else None
    headers = getattr(response, "headers", None) or {}
    return failure(int(status), word, headers, method)


def failure(status: int, word: object, headers: Mapping[str, str], method: str) -> BotError:
    """What an answer that is not ok means: its HTTP status, its error code, and its headers.

    `method` is for the log alone. A code that is unknown counts as a refusal.
    """
    word = word if isinstance(word, str) else ""
    if status == 429 or word in LIMITS:
        return SlackLimited(retry_seconds(headers))
    if not word or status >= 500 or word in PERHAPS:
        what = word[:LONGEST_CODE] or f"HTTP status {status}"
        return SlackUnreachable(f"Slack had a problem ({what}).")
    refused = SlackRefused(word[:LONGEST_CODE])
    if word not in REFUSALS and not refused.is_known:
        log.warning("%s was refused with an unknown error: %s", method, refused.reason)
    return refused


def failure_of_text(status: int, text: str, headers: Mapping[str, str]) -> BotError | None:
    """What the answer of a response URL means; None if it is ok.

    The URL answers `ok`, a bare error code, or JSON with one
    (docs.slack.dev/interactivity/handling-user-interaction).
    """
    data, word = _read(text)
    if status < 300 and not word:
        ok = text == "ok" or (isinstance(data, Mapping) and data.get("ok") is True)
        return None if ok else SlackUnreachable("Slack's response URL sent no usable answer.")
    if not word and 400 <= status < 500:
        word = f"http_{status}"
    return failure(status, word, headers, "A response URL")


def _read(text: str) -> tuple[Any, str]:
    """The answer's JSON, if it is any, and its error code."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None, text if re.fullmatch(r"[a-z_]{3,60}", text) else ""
    return data, str(data.get("error") or "") if isinstance(data, Mapping) else ""


def retry_seconds(headers: Mapping[str, str]) -> float | None:
    """The seconds that Retry-After asks to wait; None if it is missing or makes no sense.

    A number (Slack sends fractions too) or a date (RFC 9110, section 10.2.3), which counts from
    the answer's own Date.
    """
    values = {name.lower(): str(value) for name, value in headers.items()}
    text = values.get("retry-after", "").strip(" []'")  # slack_sdk makes lists of some headers
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        seconds = float(text)
    else:
        until, now = _date(text), date_of(values)
        if until is None or now is None:
            return None
        seconds = max(0.0, (until - now).total_seconds())
    return seconds if seconds <= LONGEST_RETRY_AFTER else None


def date_of(headers: Mapping[str, Any]) -> datetime | None:
    """When an answer was sent, by Slack's clock (RFC 9110, section 6.6.1); None if unknown."""
    values = {name.lower(): str(value) for name, value in headers.items()}
    return _date(values.get("date", "").strip("[]'"))


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else None
