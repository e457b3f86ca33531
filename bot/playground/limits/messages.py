"""The limits of whole messages and views.

Sources: docs.slack.dev/reference/methods/chat.postMessage and /reference/views, as of autumn 2026.
"""

import json

from bot.playground.limits.checks import (
    Json,
    count,
    length,
    of_type,
    required,
    text_objects,
    types,
    unique,
)
from bot.playground.limits.limit import BLOCKS, EVERYWHERE, MESSAGE, MODAL, VIEWS, Limit, only

MAX_METADATA = 8_000
"""Characters of metadata, as JSON. Slack documents `metadata_too_large` but no number; this one is
the playground's own, far above what a key for a message takes."""

MAX_VIEW = 250_000
"""Characters of a view, as JSON."""


def metadata(payload: Json) -> str | None:
    """Require metadata to have a name (event_type) and an object (event_payload)."""
    value = payload.get("metadata")
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("event_payload"), dict):
        return "metadata needs event_type and event_payload"
    name = value.get("event_type")
    return None if isinstance(name, str) and name else "metadata needs event_type"


def metadata_size(payload: Json) -> str | None:
    """Require metadata to have at most MAX_METADATA characters."""
    size = len(json.dumps(payload.get("metadata")))
    return f"metadata of {size} characters is too large" if size > MAX_METADATA else None


def submit(view: Json) -> str | None:
    """Require a submit button in a view with input blocks."""
    if of_type(view, "input") and "submit" not in view:
        return "missing required field: submit, in a view with input blocks"
    return None


def view_size(view: Json) -> str | None:
    """Require a view to have at most MAX_VIEW characters."""
    return "view is greater than 250kb" if len(json.dumps(view)) > MAX_VIEW else None


_MESSAGE, _MODAL = only(MESSAGE), only(MODAL)

MESSAGE_LIMITS: tuple[Limit, ...] = (
    Limit("message: blocks", _MESSAGE, count("blocks", 50)),
    Limit("message: metadata", _MESSAGE, metadata, error="invalid_metadata_schema"),
    Limit("message: size of metadata", _MESSAGE, metadata_size, error="metadata_too_large"),
    Limit("view: parts", VIEWS, required("blocks")),
    Limit("view: blocks", VIEWS, count("blocks", 100)),
    Limit("view: size", VIEWS, view_size, error="view_too_large"),
    Limit("view: callback_id", VIEWS, length("callback_id", 255)),
    Limit("view: private_metadata", VIEWS, length("private_metadata", 3000)),
    Limit("modal: parts", _MODAL, required("title")),
    Limit("modal: plain text", _MODAL, text_objects("title", "submit", "close", plain=True)),
    Limit("modal: title", _MODAL, length("title", 24, 1)),
    Limit("modal: submit", _MODAL, length("submit", 24, 1)),
    Limit("modal: close", _MODAL, length("close", 24, 1)),
    Limit("modal: submit for inputs", _MODAL, submit),
    Limit("blocks: types", EVERYWHERE, types("blocks", BLOCKS)),
    Limit("blocks: unique block_id", EVERYWHERE, unique("blocks", "block_id")),
)
