"""The types of blocks and elements that there are, in groups; and the three surfaces.

Source: docs.slack.dev/reference/block-kit (blocks, block elements, composition objects), as of
autumn 2026. `call` and `auth_provider` blocks are left out: no app of this kind posts them.
"""

from __future__ import annotations

MESSAGE, MODAL, HOME = "message", "modal", "home"
EVERYWHERE = frozenset({MESSAGE, MODAL, HOME})
VIEWS = frozenset({MODAL, HOME})

SELECTS = frozenset(
    {"static_select", "external_select", "users_select", "conversations_select", "channels_select"}
)
MULTI_SELECTS = frozenset(f"multi_{name}" for name in SELECTS)
PICKERS = frozenset({"datepicker", "timepicker", "datetimepicker", "checkboxes", "radio_buttons"})
MODAL_INPUTS = frozenset({"email_text_input", "url_text_input", "number_input", "file_input"})
INPUTS = SELECTS | MULTI_SELECTS | PICKERS | MODAL_INPUTS | {"plain_text_input", "rich_text_input"}
BUTTONS = frozenset({"button", "workflow_button"})
INTERACTIVE = SELECTS | PICKERS | BUTTONS | {"overflow"}
FEEDBACK = frozenset({"feedback_buttons", "icon_button"})
GRAPHS = frozenset({"bar", "line", "area"})
CELLS = frozenset({"raw_text", "raw_number", "rich_text"})
CONTAINER_CHILDREN = frozenset(
    {
        "actions",
        "context",
        "divider",
        "file",
        "header",
        "image",
        "input",
        "rich_text",
        "section",
        "table",
        "video",
    }
)
BLOCKS = CONTAINER_CHILDREN | {
    "alert",
    "card",
    "carousel",
    "container",
    "context_actions",
    "data_table",
    "data_visualization",
    "markdown",
    "plan",
    "task_card",
}
TAG_COLOURS = frozenset(
    {"gray", "brown", "purple", "indigo", "blue", "green", "yellow", "orange", "red"}
)
ICON_NAMES = frozenset(
    # docs.slack.dev/reference/block-kit/composition-objects/slack-icon-object: 54 names.
    "archive book bookmark bot bug calendar call caret-left caret-right check clipboard code"  # noqa: SIM905 - a list of 54 strings would be 54 lines
    " comment compass copy cube download edit email eye-closed eye-open file flag folder gear"
    " globe heart help image info key lightbulb link map mobile new-window pin plus refine refresh"
    " rocket save screen share sparkle star star-filled tag thumbs-down thumbs-up trash upload"
    " user warning".split()
)
