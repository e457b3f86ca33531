"""Rules that every way of posting shares: what is refused, cut, and split."""

from __future__ import annotations

from typing import Any

from bot.playground.app import App
from bot.playground.limits import MESSAGE, faults
from bot.playground.objects import BOT_ID, BOT_USER, Json, Message
from bot.playground.tickets import SlackError
from bot.playground.workspace import Workspace

CUT_AT = 40_000
"""Longer text is cut here (docs.slack.dev/reference/methods/chat.postMessage)."""

SPLIT_OVER, PIECE = 4_040, 4_000
"""Longer text comes out as several messages (measured by others in August 2026)."""

UPDATE_MOST = 4_000
"""The longest text that chat.update takes (docs.slack.dev/reference/methods/chat.update)."""


def refuse_faulty(surface: str, payload: Json, app: App) -> None:
    """Raise the SlackError of the first limit that is passed, listing every one."""
    found = faults(surface, payload, app)
    if not found:
        return
    first = next((f for f in found if not f.error.startswith("invalid_")), found[0])
    words = [f"[ERROR] {f.message} [json-pointer:{f.pointer}]" for f in found]
    raise SlackError(
        first.error,
        errors=[f"{f.message} [json-pointer:{f.pointer}]" for f in found],
        response_metadata={"messages": words},
    )


def content(args: Json, app: App) -> Json:
    """Return the checked text, blocks, attachments and metadata of a message's arguments."""
    for key in ("blocks", "attachments"):
        value = args.get(key)
        if value is not None and not _is_list_of_dicts(value):
            raise SlackError(f"invalid_{key}_format" if key == "blocks" else "invalid_attachments")
    text = args.get("text") or ""
    if not isinstance(text, str):
        raise SlackError("invalid_arguments")
    markdown = args.get("markdown_text")
    if markdown and (text or args.get("blocks")):
        raise SlackError("markdown_text_conflict")
    refuse_faulty(MESSAGE, {key: value for key, value in args.items() if value is not None}, app)
    found: Json = {"text": markdown or text, "metadata": args.get("metadata")}
    found |= {key: args.get(key) or [] for key in ("blocks", "attachments")}
    if not found["text"] and not found["blocks"] and not found["attachments"]:
        raise SlackError("no_text")
    return found


def post(workspace: Workspace, channel: str, given: Json, **where: Any) -> list[Message]:
    """Post checked `content` as the bot: cut, and split where Slack would."""
    text = given["text"][:CUT_AT]
    size = PIECE if len(text) > SPLIT_OVER else SPLIT_OVER
    pieces = [text[at : at + size] for at in range(0, len(text), size)] or [""]
    rest = {key: value for key, value in given.items() if key != "text"}
    first = workspace.post(channel, BOT_USER, pieces[0], **rest, **where)
    return [first, *(workspace.post(channel, BOT_USER, piece, **where) for piece in pieces[1:])]


def replace(workspace: Workspace, message: Message, given: Json) -> None:
    """Put checked `content` in the place of a message's own; its visibility stays."""
    message.text = given["text"][:CUT_AT]
    message.blocks = workspace.with_block_ids(given["blocks"])
    message.attachments = given["attachments"]
    message.metadata = given["metadata"] or message.metadata
    workspace.changed(message)


def for_api(workspace: Workspace, message: Message, *, metadata: bool = False) -> Json:
    """Return a message as the Web API and payloads carry it."""
    shown: Json = {
        "type": "message",
        "user": message.user,
        "ts": message.ts,
        "team": workspace.users[message.user].team_id,
        "text": message.text,
    }
    if message.user == BOT_USER:
        shown |= {"bot_id": BOT_ID, "app_id": workspace.app.app_id}
    optional: Json = {
        "blocks": message.blocks,
        "attachments": message.attachments,
        "thread_ts": message.thread_ts,
        "files": message.files,
        "metadata": message.metadata if metadata else None,
    }
    return shown | {key: value for key, value in optional.items() if value}


def parent(workspace: Workspace, channel: str, thread_ts: str | None) -> str | None:
    """Return the ts of the thread to reply in, marking its first message; None without one."""
    if not thread_ts:
        return None
    message = workspace.message(channel, thread_ts)
    if message is None:
        raise SlackError("thread_not_found")
    if message.ephemeral_for is not None:
        raise SlackError("cannot_reply_to_message")
    return message.thread_ts or message.ts


def _is_list_of_dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
