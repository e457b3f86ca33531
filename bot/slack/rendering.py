"""Messages and forms as Slack wants them: fallback text, plain sections, modals."""

from __future__ import annotations

import json

from bot.blocks import Block, Form, Message, plain_text


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
