"""What one row of the table of limits is, and the kinds of objects that rows name.

Source: docs.slack.dev/reference/block-kit, as of autumn 2026. Slack has more blocks and elements;
these are the ones that the bot sends. The playground refuses any other as an unsupported type.
"""

from dataclasses import dataclass

from bot.playground.limits.checks import Check, unsupported

MESSAGE, MODAL, HOME = "message", "modal", "home"
EVERYWHERE = frozenset({MESSAGE, MODAL, HOME})
VIEWS = frozenset({MODAL, HOME})

BUTTON = frozenset({"button"})
MENUS = frozenset({"overflow"})
SELECTS = frozenset({"static_select", "conversations_select"})
PICKERS = frozenset({"datepicker", "timepicker", "checkboxes"})
INPUTS = SELECTS | PICKERS | {"plain_text_input"}
INTERACTIVE = BUTTON | MENUS | SELECTS | PICKERS
SERIES_CHARTS = frozenset({"bar", "line", "area"})
BLOCKS = frozenset(
    {
        "actions",
        "context",
        "data_table",
        "data_visualization",
        "divider",
        "header",
        "input",
        "section",
    }
)


@dataclass(frozen=True)
class Limit:
    """One rule: objects of these `kinds` on these `surfaces` must pass `check`.

    A kind is an object's `type`, or `message`, `modal`, `home`, `block`, `interactive`, `option` or
    `confirm`. `error` is what Slack answers otherwise; empty means the method's own error for bad
    blocks: `invalid_blocks` for messages, `invalid_arguments` for views.
    """

    name: str
    kinds: frozenset[str]
    check: Check
    surfaces: frozenset[str] = EVERYWHERE
    error: str = ""


@dataclass(frozen=True)
class Violation:
    """An object that breaks a limit; `pointer` is its JSON pointer."""

    limit: str
    error: str
    message: str
    pointer: str


def only(*kinds: str) -> frozenset[str]:
    """Return the kinds that a limit applies to."""
    return frozenset(kinds)


def barred(kind: str, *surfaces: str) -> Limit:
    """Return the limit that bars a kind of block from some surfaces."""
    return Limit(f"{kind}: surface", only(kind), unsupported, frozenset(surfaces))
