"""What just passes the limits of messages, views and elements; and what just does not."""

from __future__ import annotations

from tests.playground.blocks import (
    CHECKBOXES,
    DIVIDER,
    OVERFLOW,
    TEXT_INPUT,
    THUMBS,
    Cases,
    actions,
    button,
    chart,
    confirm,
    container,
    context_actions,
    data_table,
    field,
    home,
    message,
    metadata,
    modal,
    mrkdwn,
    option,
    options,
    plain,
    section,
    select,
    table,
    without,
)

CASES: Cases = {
    "message: blocks": (message(*[DIVIDER] * 50), message(*[DIVIDER] * 51)),
    "message: attachments": (
        message(attachments=[{"text": "x"}] * 100),
        message(attachments=[{"text": "x"}] * 101),
    ),
    "message: metadata": (
        metadata(event_payload={}),
        metadata(event_payload="no"),
        metadata(),
        message(metadata="no"),
        message(metadata={"event_type": "", "event_payload": {}}),
    ),
    "message: markdown_text": ({"markdown_text": "x" * 12_000}, {"markdown_text": "x" * 12_001}),
    "message: markdown in all": (
        message(*[{"type": "markdown", "text": "x" * 6000}] * 2),
        message({"type": "markdown", "text": "x" * 12_000}, {"type": "markdown", "text": "x"}),
    ),
    "table: characters": (
        message(table(10, 10, 50), table(10, 10, 50)),
        message(table(10, 10, 50), table(10, 10, 50), table()),
        message(table(10, 10, 100), container(table())),
        home(table(10, 10, 100), table()),
    ),
    "data_table: characters": (
        message(data_table(100, 20, 10)),
        message(data_table(100, 20, 10), data_table()),
    ),
    "message: charts": (message(chart(), chart()), message(chart(), chart(), chart())),
    "view: blocks": (modal(*[DIVIDER] * 100), modal(*[DIVIDER] * 101)),
    "view: size": (
        modal(*[section(text=mrkdwn(2400)) for _ in range(100)]),
        modal(*[section(text=mrkdwn(2500)) for _ in range(100)]),
    ),
    "view: callback_id": (modal(callback_id="x" * 255), modal(callback_id="x" * 256)),
    "view: external_id": (modal(external_id="x" * 255), modal(external_id="x" * 256)),
    "view: private_metadata": (
        modal(private_metadata="x" * 3000),
        modal(private_metadata="x" * 3001),
    ),
    "view: blocks given": (modal(), without(modal(), "blocks")),
    "modal: title given": (modal(), without(modal(), "title")),
    "modal: words": (modal(), modal(close=mrkdwn())),
    "modal: title": (modal(title=plain(24)), modal(title=plain(25))),
    "modal: submit": (modal(submit=plain(24)), modal(submit=plain(25))),
    "modal: close": (modal(close=plain(24)), modal(close=plain(25))),
    "modal: submit given": (modal(field()), without(modal(field()), "submit")),
    "blocks: known types": (message(DIVIDER), message({"type": "hologram"})),
    "blocks: unique block_id": (
        message(section(block_id="a"), section(block_id="b")),
        message(section(block_id="a"), section(block_id="a")),
    ),
    "text object: not empty": (
        message({"type": "context", "elements": [mrkdwn(1)]}),
        message({"type": "context", "elements": [mrkdwn(0)]}),
    ),
    "text object: words given": (
        message({"type": "context", "elements": [mrkdwn()]}),
        message({"type": "context", "elements": [{"type": "mrkdwn"}]}),
    ),
    "element: action_id": (
        message(actions(button(action_id="a" * 255))),
        message(actions(button(action_id="a" * 256))),
    ),
    "element: placeholder": (
        message(actions(select(options=options(1), placeholder=plain(150)))),
        message(actions(select(options=options(1), placeholder=plain(151)))),
    ),
    "button: text given": (message(actions(button())), message(actions({"type": "button"}))),
    "button: plain text": (message(actions(button())), message(actions(button(text=mrkdwn())))),
    "button: text": (
        message(actions(button(text=plain(75)))),
        message(actions(button(text=plain(76)))),
        message(context_actions({**THUMBS, "positive_button": {"text": plain(76)}})),
    ),
    "button: value": (
        message(actions(button(value="v" * 2000))),
        message(actions(button(value="v" * 2001))),
    ),
    "button: url": (
        message(actions(button(url="u" * 3000))),
        message(actions(button(url="u" * 3001))),
    ),
    "button: style": (
        message(actions(button(style="danger"))),
        message(actions(button(style="default"))),
    ),
    "button: accessibility_label": (
        message(actions(button(accessibility_label="x" * 75))),
        message(actions(button(accessibility_label="x" * 76))),
    ),
    "button: agent_prompt": (
        message(actions(button(agent_prompt="x" * 4000))),
        message(actions(button(agent_prompt="x" * 4001))),
    ),
    "overflow: options": (
        message(actions({**OVERFLOW, "options": options(5)})),
        message(actions({**OVERFLOW, "options": options(6)})),
        message(actions({**OVERFLOW, "options": []})),
    ),
    "checkboxes: options": (
        message(actions({**CHECKBOXES, "options": options(10)})),
        message(actions({**CHECKBOXES, "options": options(11)})),
        message(actions({**CHECKBOXES, "options": []})),
    ),
    "select: options": (
        message(actions(select(options=options(100)))),
        message(actions(select(options=options(101)))),
    ),
    "select: option_groups": (
        message(actions(select(option_groups=[{"label": plain(), "options": options(1)}] * 100))),
        message(actions(select(option_groups=[{"label": plain(), "options": options(1)}] * 101))),
    ),
    "select: options given": (
        message(actions(select(options=options(1)))),
        message(actions(select())),
    ),
    "option_group: options": (
        message(actions(select(option_groups=[{"label": plain(), "options": options(100)}]))),
        message(actions(select(option_groups=[{"label": plain(), "options": options(101)}]))),
    ),
    "option_group: label": (
        message(actions(select(option_groups=[{"label": plain(75), "options": options(1)}]))),
        message(actions(select(option_groups=[{"label": plain(76), "options": options(1)}]))),
    ),
    "option: parts": (
        message(actions(select(options=[option()]))),
        message(actions(select(options=[{"text": plain()}]))),
    ),
    "option: text": (
        message(actions(select(options=[option(text=75)]))),
        message(actions(select(options=[option(text=76)]))),
    ),
    "option: value": (
        message(actions(select(options=[option(value=150)]))),
        message(actions(select(options=[option(value=151)]))),
    ),
    "confirm: title": (message(confirm(title=plain(100))), message(confirm(title=plain(101)))),
    "confirm: text": (message(confirm(text=plain(300))), message(confirm(text=plain(301)))),
    "confirm: confirm": (message(confirm(confirm=plain(30))), message(confirm(confirm=plain(31)))),
    "confirm: deny": (message(confirm(deny=plain(30))), message(confirm(deny=plain(31)))),
    "plain_text_input: max_length": (
        modal(field({**TEXT_INPUT, "max_length": 3000})),
        modal(field({**TEXT_INPUT, "max_length": 3001})),
    ),
    "plain_text_input: min_length": (
        modal(field({**TEXT_INPUT, "min_length": 3000})),
        modal(field({**TEXT_INPUT, "min_length": 3001})),
    ),
    "message: size of metadata": (
        metadata(event_payload={"k": "x" * 7_900}),
        metadata(event_payload={"k": "x" * 8_000}),
    ),
    "overflow: options given": (
        message(actions({**OVERFLOW, "options": options(1)})),
        message(actions(OVERFLOW)),
    ),
    "checkboxes: options given": (
        message(actions({**CHECKBOXES, "options": options(1)})),
        message(actions(CHECKBOXES)),
    ),
    "option_group: parts": (
        message(actions(select(option_groups=[{"label": plain(), "options": options(1)}]))),
        message(actions(select(option_groups=[{"options": options(1)}]))),
        message(actions(select(option_groups=[{"label": plain()}]))),
    ),
}
