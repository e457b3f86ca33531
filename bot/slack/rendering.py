"""Messages and forms as Slack wants them: fallback text, plain sections, modals."""

from __future__ import annotations

import json
from dataclasses import replace

from bot.blocks import MAX_FALLBACK, Block, Form, Message, packed, plain, plain_text, section

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def fallback_text(message: Message) -> str:
    """The lock-screen line: plain text in our hands, mrkdwn in Slack's."""
    return plain(message.text, MAX_FALLBACK).translate(_ENTITIES)


def as_text(message: Message) -> Message:
    """The same words in plain sections, for when Slack does not take the blocks."""
    texts = [fallback_text(message)]
    for block in message.blocks:
        held = [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]
        texts += [found["text"] for found in held if found and isinstance(found.get("text"), str)]
    return replace(message, blocks=tuple(packed(texts, section)))


def view_of(message: Message, channel: str = "") -> Block:
    """A modal that shows a message; it carries the channel where changes are announced."""
    return {
        "type": "modal",
        "title": plain_text("SSLmonitor"),
        "close": plain_text("Close"),
        "private_metadata": json.dumps({"channel": channel}),
        "blocks": list(message.blocks),
    }


def view_of_form(form: Form, channel: str) -> Block:
    """A modal that asks for a command's arguments, and knows the channel it was opened from."""
    return {
        "type": "modal",
        "callback_id": f"ssl:{form.command}",
        "title": plain_text(form.title),
        "submit": plain_text(form.submit),
        "close": plain_text("Cancel"),
        "private_metadata": json.dumps({"channel": channel}),
        "blocks": list(form.blocks),
    }
