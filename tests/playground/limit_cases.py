"""What just keeps the limits of messages, views, blocks and elements; and what just breaks them."""

from tests.playground.blocks import (
    CHECKBOXES,
    DIVIDER,
    OVERFLOW,
    TEXT_INPUT,
    Cases,
    actions,
    button,
    buttons,
    confirm,
    context,
    field,
    header,
    message,
    metadata,
    modal,
    mrkdwn,
    option,
    options,
    plain,
    section,
    select,
    without,
)

MESSAGE_CASES: Cases = {
    "message: blocks": (message(*[DIVIDER] * 50), message(*[DIVIDER] * 51)),
    "message: metadata": (
        metadata(event_payload={}),
        metadata(event_payload="no"),
        metadata(),
        message(metadata="no"),
        message(metadata={"event_type": "", "event_payload": {}}),
    ),
    "message: size of metadata": (
        metadata(event_payload={"k": "x" * 7_900}),
        metadata(event_payload={"k": "x" * 8_000}),
    ),
    "view: parts": (modal(), without(modal(), "blocks")),
    "view: blocks": (modal(*[DIVIDER] * 100), modal(*[DIVIDER] * 101)),
    "view: size": (
        modal(*[section(text=mrkdwn(2400)) for _ in range(100)]),
        modal(*[section(text=mrkdwn(2500)) for _ in range(100)]),
    ),
    "view: callback_id": (modal(callback_id="x" * 255), modal(callback_id="x" * 256)),
    "view: private_metadata": (
        modal(private_metadata="x" * 3000),
        modal(private_metadata="x" * 3001),
    ),
    "modal: parts": (modal(), without(modal(), "title")),
    "modal: plain text": (modal(), modal(close=mrkdwn())),
    "modal: title": (modal(title=plain(24)), modal(title=plain(25))),
    "modal: submit": (modal(submit=plain(24)), modal(submit=plain(25))),
    "modal: close": (modal(close=plain(24)), modal(close=plain(25))),
    "modal: submit for inputs": (modal(field()), without(modal(field()), "submit")),
    "blocks: types": (
        message(DIVIDER),
        message({"type": "hologram"}),
        modal({"type": "rich_text", "elements": []}),
    ),
    "blocks: unique block_id": (
        message(section(block_id="a"), section(block_id="b")),
        message(section(block_id="a"), section(block_id="a")),
    ),
}

BLOCK_CASES: Cases = {
    "block: block_id": (message(section(block_id="b" * 255)), message(section(block_id="b" * 256))),
    "block: unique action_id": (
        message(actions(*buttons(2))),
        message(actions(button(action_id="a"), button(action_id="a"))),
    ),
    "section: parts": (message(section()), message({"type": "section"})),
    "section: text object": (message(section()), message(section(text="bare"))),
    "section: text": (message(section(text=mrkdwn(3000))), message(section(text=mrkdwn(3001)))),
    "section: fields": (
        message(section(fields=[plain()] * 10)),
        message(section(fields=[plain()] * 11)),
    ),
    "section: types of fields": (
        message(section(fields=[mrkdwn(), plain()])),
        message(section(fields=[button()])),
        message(section(fields=["bare"])),
    ),
    "section: length of a field": (
        message(section(fields=[plain(2000)])),
        message(section(fields=[plain(), plain(2001)])),
    ),
    "section: accessory": (
        message(section(accessory=button())),
        message(section(accessory=TEXT_INPUT)),
        message(section(accessory={"type": "image"})),
    ),
    "header: parts": (message(header(plain())), message({"type": "header"})),
    "header: plain text": (message(header(plain())), message(header(mrkdwn()))),
    "header: text": (message(header(plain(150))), message(header(plain(151)))),
    "context: parts": (message(context(plain())), message({"type": "context"})),
    "context: elements": (
        message(context(*[mrkdwn()] * 10)),
        message(context(*[mrkdwn()] * 11)),
        message(context()),
    ),
    "context: types of elements": (message(context(mrkdwn())), message(context(button()))),
    "actions: parts": (message(actions(button())), message({"type": "actions"})),
    "actions: elements": (message(actions(*buttons(25))), message(actions(*buttons(26)))),
    "actions: types of elements": (
        message(actions(button(), {**OVERFLOW, "options": options(1)})),
        message(actions({"type": "radio_buttons"})),
    ),
    "input: parts": (modal(field()), modal(without(field(), "label"))),
    "input: label": (modal(field(label=plain(2000))), modal(field(label=plain(2001)))),
    "input: hint": (modal(field(hint=plain(2000))), modal(field(hint=plain(2001)))),
    "input: plain text": (modal(field(hint=plain())), modal(field(hint=mrkdwn()))),
    "input: type of element": (
        modal(field({"type": "timepicker", "action_id": "t"})),
        modal(field(button())),
        modal(field({"type": "number_input", "action_id": "n"})),
    ),
}

ELEMENT_CASES: Cases = {
    "text object: parts": (message(context(mrkdwn())), message(context({"type": "mrkdwn"}))),
    "text object: text": (message(context(mrkdwn(1))), message(context(mrkdwn(0)))),
    "element: action_id": (
        message(actions(button(action_id="a" * 255))),
        message(actions(button(action_id="a" * 256))),
    ),
    "element: placeholder": (
        message(actions(select(options=options(1), placeholder=plain(150)))),
        message(actions(select(options=options(1), placeholder=plain(151)))),
    ),
    "button: parts": (message(actions(button())), message(actions({"type": "button"}))),
    "button: plain text": (message(actions(button())), message(actions(button(text=mrkdwn())))),
    "button: text": (
        message(actions(button(text=plain(75)))),
        message(actions(button(text=plain(76)))),
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
    "overflow: parts": (
        message(actions({**OVERFLOW, "options": options(1)})),
        message(actions(OVERFLOW)),
    ),
    "overflow: options": (
        message(actions({**OVERFLOW, "options": options(5)})),
        message(actions({**OVERFLOW, "options": options(6)})),
        message(actions({**OVERFLOW, "options": []})),
    ),
    "checkboxes: parts": (
        message(actions({**CHECKBOXES, "options": options(1)})),
        message(actions(CHECKBOXES)),
    ),
    "checkboxes: options": (
        message(actions({**CHECKBOXES, "options": options(10)})),
        message(actions({**CHECKBOXES, "options": options(11)})),
        message(actions({**CHECKBOXES, "options": []})),
    ),
    "select: parts": (
        message(actions(select(options=options(1)))),
        message(actions(select())),
        message(actions(select(option_groups=[{"label": plain(), "options": options(1)}]))),
    ),
    "select: options": (
        message(actions(select(options=options(100)))),
        message(actions(select(options=options(101)))),
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
}
