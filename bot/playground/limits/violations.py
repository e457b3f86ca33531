"""What Slack refuses in messages, blocks and views: one table, read by every method that posts.

Sources: docs.slack.dev/reference/block-kit (blocks, elements, composition objects),
/reference/views and /reference/methods/chat.postMessage, as of autumn 2026. Slack's live validator
has the last word. The rows for single kinds of block are in `block_limits`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bot.playground.app import App
from bot.playground.limits.blocks import BLOCK_LIMITS
from bot.playground.limits.checks import (
    Json,
    choice,
    count,
    exactly_one,
    holds,
    length,
    needs,
    number,
    text_objects,
    text_of,
    total,
    unique,
)
from bot.playground.limits.kinds import (
    BLOCKS,
    EVERYWHERE,
    FEEDBACK,
    HOME,
    INPUTS,
    INTERACTIVE,
    MESSAGE,
    MODAL,
    VIEWS,
)
from bot.playground.limits.limit import Fault, Limit, only
from bot.playground.limits.tables import (
    characters,
    domain,
    metadata,
    metadata_size,
    scope,
    submit,
    view_size,
)

__all__ = ["HOME", "LIMITS", "MESSAGE", "MODAL", "Fault", "Limit", "app_limits", "faults"]

_CHOICES = only("checkboxes", "radio_buttons")
_PICK_ONE = only("static_select", "multi_static_select")

_MESSAGES = (
    Limit("message: blocks", only(MESSAGE), count("blocks", 50)),
    Limit(
        "message: attachments",
        only(MESSAGE),
        count("attachments", 100),
        error="too_many_attachments",
    ),
    Limit("message: metadata", only(MESSAGE), metadata, error="invalid_metadata_schema"),
    Limit("message: size of metadata", only(MESSAGE), metadata_size, error="metadata_too_large"),
    Limit(
        "message: markdown_text",
        only(MESSAGE),
        length("markdown_text", 12_000),
        error="msg_too_long",
    ),
    Limit(
        "message: markdown in all",
        only(MESSAGE),
        total("markdown", 12_000, lambda block: len(text_of(block.get("text")))),
    ),
    Limit("table: characters", only(MESSAGE, HOME), total("table", 10_000, characters)),
    Limit("data_table: characters", only(MESSAGE, HOME), total("data_table", 20_000, characters)),
    Limit("message: charts", only(MESSAGE), total("data_visualization", 2, lambda _block: 1)),
)

_VIEWS = (
    Limit("view: blocks", VIEWS, count("blocks", 100)),
    Limit("view: size", VIEWS, view_size, error="view_too_large"),
    Limit("view: callback_id", VIEWS, length("callback_id", 255)),
    Limit("view: external_id", VIEWS, length("external_id", 255)),
    Limit("view: private_metadata", VIEWS, length("private_metadata", 3000)),
    Limit("view: blocks given", VIEWS, needs("blocks")),
    Limit("modal: title given", only(MODAL), needs("title")),
    Limit("modal: words", only(MODAL), text_objects("title", "submit", "close", plain=True)),
    Limit("modal: title", only(MODAL), length("title", 24, 1)),
    Limit("modal: submit", only(MODAL), length("submit", 24, 1)),
    Limit("modal: close", only(MODAL), length("close", 24, 1)),
    Limit("modal: submit given", only(MODAL), submit),
    Limit("blocks: known types", EVERYWHERE, holds("blocks", BLOCKS)),
    Limit("blocks: unique block_id", EVERYWHERE, unique("blocks", "block_id")),
)

_ELEMENTS = (
    Limit("text object: not empty", only("plain_text", "mrkdwn"), length("text", 3000, 1)),
    Limit("text object: words given", only("plain_text", "mrkdwn"), needs("text")),
    Limit("element: action_id", only("interactive"), length("action_id", 255, 1)),
    Limit("element: placeholder", only("interactive"), length("placeholder", 150)),
    Limit("button: text given", only("button"), needs("text")),
    Limit("button: plain text", only("button"), text_objects("text", plain=True)),
    Limit("button: text", only("button"), length("text", 75, 1)),
    Limit("button: value", only("button"), length("value", 2000)),
    Limit("button: url", only("button"), length("url", 3000)),
    Limit("button: style", only("button"), choice("style", ("primary", "danger"))),
    Limit("button: accessibility_label", only("button"), length("accessibility_label", 75)),
    Limit("button: agent_prompt", only("button"), length("agent_prompt", 4000)),
    Limit("overflow: options given", only("overflow"), needs("options")),
    Limit("overflow: options", only("overflow"), count("options", 5, 1)),
    Limit("checkboxes: options given", _CHOICES, needs("options")),
    Limit("checkboxes: options", _CHOICES, count("options", 10, 1)),
    Limit("select: options", _PICK_ONE, count("options", 100, 1)),
    Limit("select: option_groups", _PICK_ONE, count("option_groups", 100, 1)),
    Limit("select: options given", _PICK_ONE, exactly_one("options", "option_groups")),
    Limit("option_group: parts", only("option_group"), needs("label", "options")),
    Limit("option_group: options", only("option_group"), count("options", 100, 1)),
    Limit("option_group: label", only("option_group"), length("label", 75)),
    Limit("option: parts", only("option"), needs("text", "value")),
    Limit("option: text", only("option"), length("text", 75, 1)),
    Limit("option: value", only("option"), length("value", 150, 1)),
    Limit("confirm: title", only("confirm"), length("title", 100)),
    Limit("confirm: text", only("confirm"), length("text", 300)),
    Limit("confirm: confirm", only("confirm"), length("confirm", 30)),
    Limit("confirm: deny", only("confirm"), length("deny", 30)),
    Limit("plain_text_input: max_length", only("plain_text_input"), number("max_length", 1, 3000)),
    Limit("plain_text_input: min_length", only("plain_text_input"), number("min_length", 0, 3000)),
)

LIMITS: tuple[Limit, ...] = (*_MESSAGES, *_VIEWS, *_ELEMENTS, *BLOCK_LIMITS)


def app_limits(app: App) -> tuple[Limit, ...]:
    """Return the rows that depend on how the app is set up: its scopes and unfurl domains."""
    return (
        Limit("video: scope", only("video"), scope(app.scopes, "links.embed:write")),
        Limit("video: domain", only("video"), domain("video_url", app.unfurl_domains)),
    )


def faults(surface: str, payload: Json, app: App | None = None) -> list[Fault]:
    """Return every limit that a message (its arguments) or a view passes, in reading order.

    Without an `app`, what depends on its set-up is not looked at.
    """
    own = "invalid_blocks" if surface == MESSAGE else "invalid_arguments"
    root = "" if surface == MESSAGE else "/view"
    table = _by_kind(surface, LIMITS + (app_limits(app) if app else ()))
    found = []
    for kinds, thing, pointer in _parts(surface, payload, root):
        for limit in (limit for kind in sorted(kinds) for limit in table.get(kind, ())):
            complaint = limit.check(thing)
            if complaint:
                found.append(Fault(limit.name, limit.error or own, complaint, pointer))
    return found


def _by_kind(surface: str, table: tuple[Limit, ...]) -> dict[str, list[Limit]]:
    held: dict[str, list[Limit]] = {}
    for limit in table:
        if surface in limit.surfaces:
            for kind in limit.kinds:
                held.setdefault(kind, []).append(limit)
    return held


def _parts(surface: str, payload: Json, root: str) -> Iterator[tuple[set[str], Json, str]]:
    """Yield each object that a limit may speak of: what it is, itself, and where it is."""
    yield {surface}, payload, root
    yield from _below(payload.get("blocks"), {"block"}, f"{root}/blocks")
    attachments = payload.get("attachments")
    for place, attachment in enumerate(attachments if isinstance(attachments, list) else []):
        if isinstance(attachment, dict):
            pointer = f"{root}/attachments/{place}/blocks"
            yield from _below(attachment.get("blocks"), {"block"}, pointer)


def _inside(thing: Json, kinds: set[str], pointer: str) -> Iterator[tuple[set[str], Json, str]]:
    own = thing.get("type")
    if isinstance(own, str):
        kinds = kinds | {own}
        if own in INPUTS | INTERACTIVE | FEEDBACK:
            kinds.add("interactive")
    yield kinds, thing, pointer
    for key, value in thing.items():
        yield from _below(value, _ROLES.get(key, set()), f"{pointer}/{key}")


def _below(value: Any, role: set[str], pointer: str) -> Iterator[tuple[set[str], Json, str]]:
    if isinstance(value, dict):
        yield from _inside(value, role, pointer)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _below(item, role, f"{pointer}/{place}")


_ROLES: dict[str, set[str]] = {
    "options": {"option"},
    "option_groups": {"option_group"},
    "confirm": {"confirm"},
    "child_blocks": {"block"},
    "slack_icon": {"slack_icon"},
    # The halves of feedback_buttons are buttons without a type of their own.
    "positive_button": {"button"},
    "negative_button": {"button"},
}
