"""The Web API's chat.* and the reading of conversations' messages."""

from __future__ import annotations

from bot.playground.objects import BOT_USER, TEAM_DOMAIN, Channel, Json, Message
from bot.playground.tickets import SlackError
from bot.playground.web_api import posting
from bot.playground.web_api.call import Call


def post_message(call: Call) -> Json:
    """chat.postMessage."""
    channel = call.posting_channel()
    given = posting.content(call.args, call.app)
    thread = posting.parent(call.workspace, channel.id, call.optional("thread_ts"))
    call.workspace.rates.message(channel.id)
    first, *_ = posting.post(call.workspace, channel.id, given, thread_ts=thread)
    shown = posting.for_api(call.workspace, first, metadata=True)
    reply: Json = {"channel": channel.id, "ts": first.ts, "message": shown}
    if len(given["text"]) > posting.CUT_AT:
        reply["response_metadata"] = {"warnings": ["message_truncated"]}
    return reply


def post_ephemeral(call: Call) -> Json:
    """chat.postEphemeral."""
    channel = call.posting_channel()
    user = call.user()
    if user.id not in channel.members:
        raise SlackError("user_not_in_channel")
    given = posting.content(call.args, call.app) | {"metadata": None}
    thread = posting.parent(call.workspace, channel.id, call.optional("thread_ts"))
    first, *_ = posting.post(
        call.workspace, channel.id, given, thread_ts=thread, ephemeral_for=user.id
    )
    return {"message_ts": first.ts}


def update(call: Call) -> Json:
    """chat.update: text without blocks takes the blocks away; blocks alone keep the text."""
    message = _own(call, "cant_update_message")
    if len(str(call.args.get("text") or "")) > posting.UPDATE_MOST:
        raise SlackError("msg_too_long")
    given = posting.content(call.args, call.app)
    if "text" not in call.args:
        given["text"] = message.text
    posting.replace(call.workspace, message, given)
    shown = posting.for_api(call.workspace, message, metadata=True)
    return {"channel": message.channel, "ts": message.ts, "text": message.text, "message": shown}


def delete(call: Call) -> Json:
    """chat.delete."""
    message = _own(call, "cant_delete_message")
    call.workspace.remove(message)
    return {"channel": message.channel, "ts": message.ts}


def get_permalink(call: Call) -> Json:
    """chat.getPermalink."""
    channel = call.channel()
    message = _public(call, channel, call.text("message_ts", "message_not_found"))
    link = f"https://{TEAM_DOMAIN}.slack.com/archives/{channel.id}/p{message.ts.replace('.', '')}"
    return {"channel": channel.id, "permalink": link}


def history(call: Call) -> Json:
    """conversations.history: newest first, replies left out."""
    channel = _readable(call)
    held = [m for m in call.workspace.messages(channel.id) if not m.in_thread]
    return _page(call, [m for m in reversed(held) if _in_range(call, m)])


def replies(call: Call) -> Json:
    """conversations.replies: a thread, oldest first."""
    channel = _readable(call)
    thread = call.workspace.thread(channel.id, call.text("ts", "thread_not_found"))
    if not thread:
        raise SlackError("thread_not_found")
    return _page(call, [m for m in thread if not m.in_thread or _in_range(call, m)])


def _readable(call: Call) -> Channel:
    channel = call.joined_channel()
    kind = "im" if channel.is_im else "groups" if channel.is_private else "channels"
    call.need_scope(f"{kind}:history")
    return channel


def _in_range(call: Call, message: Message) -> bool:
    oldest, latest = float(call.optional("oldest") or 0), call.optional("latest")
    at, end = float(message.ts), float(latest) if latest else float("inf")
    return oldest < at < end or (call.flag("inclusive") and at in {oldest, end})


def _page(call: Call, found: list[Message]) -> Json:
    start, limit = call.number("cursor", 0), min(call.number("limit", 100), 999)
    if limit < 1:
        raise SlackError("invalid_limit")
    metadata = call.flag("include_all_metadata")
    after = start + limit
    more = after < len(found)
    shown = [posting.for_api(call.workspace, m, metadata=metadata) for m in found[start:after]]
    return {
        "messages": shown,
        "has_more": more,
        "response_metadata": {"next_cursor": str(after) if more else ""},
    }


def _public(call: Call, channel: Channel, ts: str) -> Message:
    message = call.workspace.message(channel.id, ts)
    if message is None or message.ephemeral_for is not None:
        raise SlackError("message_not_found")
    return message


def _own(call: Call, error: str) -> Message:
    message = _public(call, call.channel(), call.text("ts", "message_not_found"))
    if message.user != BOT_USER:
        raise SlackError(error)
    return message
