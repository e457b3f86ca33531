"""What just passes the limits of the classic blocks; and what just does not."""

from __future__ import annotations

from tests.playground.blocks import (
    ANSWERING,
    DATE,
    DIVIDER,
    EMAIL,
    FILE,
    NUMBER,
    PILL,
    TEXT_INPUT,
    URL,
    Cases,
    actions,
    button,
    buttons,
    field,
    home,
    image,
    indent,
    message,
    modal,
    mrkdwn,
    plain,
    rich,
    section,
    tag,
    without,
)

BLOCK_CASES: Cases = {
    "block: block_id": (message(section(block_id="b" * 255)), message(section(block_id="b" * 256))),
    "block: unique action_id": (
        message(actions(*buttons(2))),
        message(actions(button(action_id="a"), button(action_id="a"))),
    ),
    "markdown: surface": (
        message({"type": "markdown", "text": "x"}),
        modal({"type": "markdown", "text": "x"}),
    ),
    "email_text_input: surface": (modal(field(EMAIL)), message(field(EMAIL))),
    "file_input: surface": (modal(field(FILE)), message(field(FILE))),
    "number_input: surface": (modal(field(NUMBER)), home(field(NUMBER))),
    "url_text_input: surface": (modal(field(URL)), message(field(URL))),
    "section: something to say": (message(section()), message({"type": "section"})),
    "section: text objects": (message(section()), message(section(text="bare"))),
    "section: text": (message(section(text=mrkdwn(3000))), message(section(text=mrkdwn(3001)))),
    "section: fields": (
        message(section(fields=[plain()] * 10)),
        message(section(fields=[plain()] * 11)),
    ),
    "section: length of a field": (
        message(section(fields=[plain(2000)])),
        message(section(fields=[plain(), plain(2001)])),
    ),
    "section: accessory": (
        message(section(accessory=image())),
        message(section(accessory=TEXT_INPUT)),
    ),
    "header: text given": (
        message({"type": "header", "text": plain()}),
        message({"type": "header"}),
    ),
    "header: plain text": (
        message({"type": "header", "text": plain()}),
        message({"type": "header", "text": mrkdwn()}),
    ),
    "header: text": (
        message({"type": "header", "text": plain(150)}),
        message({"type": "header", "text": plain(151)}),
    ),
    "header: level": (
        message({"type": "header", "text": plain(), "level": 4}),
        message({"type": "header", "text": plain(), "level": 5}),
    ),
    "context: elements": (
        message({"type": "context", "elements": [mrkdwn()] * 10}),
        message({"type": "context", "elements": [mrkdwn()] * 11}),
        message({"type": "context", "elements": []}),
    ),
    "context: kinds of element": (
        message({"type": "context", "elements": [image()]}),
        message({"type": "context", "elements": [button()]}),
    ),
    "actions: elements": (message(actions(*buttons(25))), message(actions(*buttons(26)))),
    "actions: elements given": (message(actions(button())), message({"type": "actions"})),
    "actions: kinds of element": (message(actions(button())), message(actions(image()))),
    "image: source": (message(image()), message(image(slack_file={"id": "F00000000A"}))),
    "image: image_url": (
        message(image(image_url="x" * 3000)),
        message(image(image_url="x" * 3001)),
    ),
    "image: slack_file": (
        message(without(image(slack_file={"id": "F00000000A"}), "image_url")),
        message(without(image(slack_file={"id": "x"}), "image_url")),
    ),
    "image: alt_text given": (message(image()), message(without(image(), "alt_text"))),
    "image: alt_text": (message(image(alt_text="x" * 2000)), message(image(alt_text="x" * 2001))),
    "image: title": (message(image(title=plain(2000))), message(image(title=plain(2001)))),
    "input: parts": (modal(field()), modal(without(field(), "label"))),
    "input: label": (modal(field(label=plain(2000))), modal(field(label=plain(2001)))),
    "input: hint": (modal(field(hint=plain(2000))), modal(field(hint=plain(2001)))),
    "input: plain text": (modal(field(hint=plain())), modal(field(hint=mrkdwn()))),
    "input: kinds of element": (modal(field()), modal(field(button()))),
    "rich_text: list indent": (message(indent(8)), message(indent(9))),
    "rich_text: tag colour": (message(tag("gray")), message(tag("pink"))),
    "file: surface": (
        message(DIVIDER),
        message({"type": "file", "external_id": "x", "source": "remote"}),
        modal({"type": "file", "external_id": "x", "source": "remote"}),
        home({"type": "file", "external_id": "x", "source": "remote"}),
    ),
    "block: response URLs": (
        modal(field(ANSWERING)),
        modal(actions(ANSWERING)),
        modal(section(accessory=ANSWERING)),
    ),
    "input: response URLs": (
        modal(field(ANSWERING)),
        modal(field({**TEXT_INPUT, "response_url_enabled": True})),
    ),
    "section: kinds of field": (
        message(section(fields=[mrkdwn(), plain()])),
        message(section(fields=[button()])),
        message(section(fields=["bare"])),
    ),
    "context: elements given": (
        message({"type": "context", "elements": [plain()]}),
        message({"type": "context"}),
    ),
    "image: kind of picture": (
        message(image(image_url="https://x/a.PNG")),
        message(image(image_url="https://x/a.svg")),
        message(image(image_url="https://x/a.webp?b.png")),
    ),
    "markdown: text": (
        message({"type": "markdown", "text": "x"}),
        message({"type": "markdown", "text": plain()}),
        message({"type": "markdown"}),
    ),
    "rich_text: tag text": (message(tag("red")), message(rich({"type": "tag", "color": "red"}))),
    "rich_text: place of a tag": (
        message(tag("red")),
        message(rich(PILL, kind="rich_text_preformatted")),
    ),
    "rich_text: parts of a date": (
        message(rich(DATE)),
        message(rich(without(DATE, "timestamp"))),
        message(rich(without(DATE, "format"))),
    ),
}
