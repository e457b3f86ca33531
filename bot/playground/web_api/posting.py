"""What all ways of posting share: what is refused, truncated and split."""

from typing import Any

from bot.playground.errors import SlackError, unsupported
from bot.playground.limits import MESSAGE, violations
from bot.playground.objects import BOT_ID, BOT_USER, Json, PostedMessage
from bot.playground.workspace import Workspace

MAX_TEXT = 40_000
"""Longer text is truncated (docs.slack.dev/reference/methods/chat.postMessage)."""

SPLIT_ABOVE, PIECE = 4_040, 4_000
"""Longer text becomes several messages (measured by third parties in August 2026)."""

MAX_UPDATE = 4_000
"""The longest text that chat.update takes (docs.slack.dev/reference/methods/chat.update)."""

_UNSUPPORTED = ("attachments", "markdown_text")


def refuse_violations(surface: str, payload: Json) -> None:
    """Raise SlackError if a message or view breaks a limit, listing every one it breaks."""
    broken = violations(surface, payload)
    if not broken:
        return
    first = next((v for v in broken if not v.error.startswith("invalid_")), broken[0])
    errors = [f"{v.message} [json-pointer:{v.pointer}]" for v in broken]
    messages = [f"[ERROR] {error}" for error in errors]
    raise SlackError(first.error, errors=errors, response_metadata={"messages": messages})


def content(args: Json) -> Json:
    """Return the checked text, blocks and metadata of a message's arguments."""
    for name in _UNSUPPORTED:
        if args.get(name):
            raise unsupported("invalid_arguments", f"argument: {name}")
    text, blocks = args.get("text") or "", args.get("blocks") or []
    if not isinstance(text, str):
        raise SlackError("invalid_arguments")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise SlackError("invalid_blocks_format")
    refuse_violations(MESSAGE, {key: value for key, value in args.items() if value is not None})
    if not text and not blocks:
        raise SlackError("no_text")
    return {"text": text, "blocks": blocks, "metadata": args.get("metadata")}


def post(workspace: Workspace, channel: str, message: Json, **where: Any) -> list[PostedMessage]:
    """Post checked `content` as the bot, truncated and split where Slack would."""
    text = message["text"][:MAX_TEXT]
    size = PIECE if len(text) > SPLIT_ABOVE else SPLIT_ABOVE
    pieces = [text[at : at + size] for at in range(0, len(text), size)] or [""]
    rest = {key: value for key, value in message.items() if key != "text"}
    first = workspace.post(channel, BOT_USER, pieces[0], **rest, **where)
    return [first, *(workspace.post(channel, BOT_USER, piece, **where) for piece in pieces[1:])]


def replace(workspace: Workspace, message: PostedMessage, new: Json) -> None:
    """Replace a message by checked `content`; who sees it stays the same."""
    message.text = new["text"][:MAX_TEXT]
    message.blocks = workspace.with_block_ids(new["blocks"])
    message.metadata = new["metadata"] or message.metadata
    workspace.show(message)


def for_api(workspace: Workspace, message: PostedMessage, *, metadata: bool = False) -> Json:
    """Return a message as the Web API and payloads contain it."""
    always: Json = {
        "type": "message",
        "user": message.user,
        "ts": message.ts,
        "team": workspace.users[message.user].team_id,
        "text": message.text,
    }
    if message.user == BOT_USER:
        always |= {"bot_id": BOT_ID, "app_id": workspace.app.app_id}
    optional: Json = {
        "blocks": message.blocks,
        "thread_ts": message.thread_ts,
        "files": message.files,
        "metadata": message.metadata if metadata else None,
    }
    return always | {key: value for key, value in optional.items() if value}


def parent(workspace: Workspace, channel: str, thread_ts: str | None) -> str | None:
    """Return the ts of the thread to reply in, or None for a message outside of threads."""
    if not thread_ts:
        return None
    message = workspace.message(channel, thread_ts)
    if message is None:
        raise SlackError("thread_not_found")
    if message.ephemeral_for is not None:
        raise SlackError("cannot_reply_to_message")
    return message.thread_ts or message.ts
