"""The Web API's conversations.* methods."""

import base64
import binascii
from collections.abc import Callable

from bot.playground.errors import SlackError
from bot.playground.objects import Channel, Json, PostedMessage
from bot.playground.web_api import posting
from bot.playground.web_api.call import WebAPICall

MAX_PAGE = 999
"""The most messages a page can have; 100 is the default."""


def info(call: WebAPICall) -> Json:
    """conversations.info."""
    channel = call.channel()
    call.need_scope(f"{channel.kind}:read")
    return {"channel": channel.for_api()}


def open_im(call: WebAPICall) -> Json:
    """conversations.open, for the direct messages with one person."""
    if "," in call.text("users"):
        raise SlackError("method_not_supported_for_channel_type")
    return {"channel": call.workspace.im(call.user("users").id).for_api()}


def history(call: WebAPICall) -> Json:
    """conversations.history: newest first, without replies."""
    channel = _readable(call)
    messages = [m for m in call.workspace.messages(channel.id) if not m.in_thread]
    newest_first = [m for m in reversed(messages) if _in_range(call, m)]
    return _page(call, newest_first, lambda ts, start: ts <= start)


def replies(call: WebAPICall) -> Json:
    """conversations.replies: a thread, oldest first."""
    channel = _readable(call)
    thread = call.workspace.thread(channel.id, call.text("ts", "thread_not_found"))
    if not thread:
        raise SlackError("thread_not_found")
    oldest_first = [m for m in thread if not m.in_thread or _in_range(call, m)]
    return _page(call, oldest_first, lambda ts, start: ts >= start)


def _readable(call: WebAPICall) -> Channel:
    channel = call.joined_channel()
    call.need_scope(f"{channel.kind}:history")
    return channel


def _in_range(call: WebAPICall, message: PostedMessage) -> bool:
    oldest, latest = float(call.optional("oldest") or 0), call.optional("latest")
    ts, end = float(message.ts), float(latest) if latest else float("inf")
    return oldest < ts < end or (call.flag("inclusive") and ts in {oldest, end})


def _page(
    call: WebAPICall, messages: list[PostedMessage], reached: Callable[[str, str], bool]
) -> Json:
    """Return one page of messages; `reached` says whether a ts is at or beyond the page's start.

    A cursor holds the ts to go on from, so that messages posted or deleted meanwhile don't shift
    the next page.
    """
    limit = min(call.number("limit", 100), MAX_PAGE)
    if limit < 1:
        raise SlackError("invalid_limit")
    cursor = call.optional("cursor")
    if cursor:
        start = _decode(cursor)
        messages = [message for message in messages if reached(message.ts, start)]
    metadata = call.flag("include_all_metadata")
    page = [posting.for_api(call.workspace, m, metadata=metadata) for m in messages[:limit]]
    following = messages[limit].ts if len(messages) > limit else ""
    return {
        "messages": page,
        "has_more": bool(following),
        "response_metadata": {"next_cursor": _encode(following) if following else ""},
    }


def _encode(ts: str) -> str:
    return base64.b64encode(f"next_ts:{ts}".encode()).decode()


def _decode(cursor: str) -> str:
    try:
        prefix, _, ts = base64.b64decode(cursor, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise SlackError("invalid_cursor") from error
    if prefix != "next_ts":
        raise SlackError("invalid_cursor")
    return ts
