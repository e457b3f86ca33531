"""Every row of the table of limits: what just passes, what just does not, and Slack's word."""

from __future__ import annotations

from typing import Any

import pytest

from bot.playground import App, Workspace
from bot.playground.call import Call
from bot.playground.limits import HOME, LIMITS, MESSAGE, MODAL, Limit, faults
from bot.playground.places import ANN, CERTS
from bot.playground.tickets import SlackError, Tickets
from bot.playground.web_api import METHODS
from tests.playground.blocks import (
    CHECKBOXES,
    DIVIDER,
    EMAIL,
    FEEDBACK,
    FILE,
    NUMBER,
    OVERFLOW,
    RICH,
    TASK,
    TEXT_INPUT,
    URL,
    actions,
    bar,
    button,
    buttons,
    card,
    carousel,
    cell,
    chart,
    confirm,
    container,
    data_table,
    field,
    home,
    image,
    indent,
    message,
    metadata,
    modal,
    mrkdwn,
    names,
    option,
    options,
    pie,
    plain,
    section,
    select,
    table,
    tag,
    without,
)
from tests.playground.conftest import Clock

Json = dict[str, Any]
CASES: dict[str, tuple[Json, Json]] = {
    "message: blocks": (message(*[DIVIDER] * 50), message(*[DIVIDER] * 51)),
    "message: attachments": (
        message(attachments=[{"text": "x"}] * 100),
        message(attachments=[{"text": "x"}] * 101),
    ),
    "message: metadata": (metadata(event_payload={}), metadata(event_payload="no")),
    "message: markdown_text": ({"markdown_text": "x" * 12_000}, {"markdown_text": "x" * 12_001}),
    "message: markdown in all": (
        message(*[{"type": "markdown", "text": "x" * 6000}] * 2),
        message({"type": "markdown", "text": "x" * 12_000}, {"type": "markdown", "text": "x"}),
    ),
    "table: characters": (
        message(table(10, 10, 50), table(10, 10, 50)),
        message(table(10, 10, 50), table(10, 10, 50), table()),
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
    "block: block_id": (message(section(block_id="b" * 255)), message(section(block_id="b" * 256))),
    "block: unique action_id": (
        message(actions(*buttons(2))),
        message(actions(button(action_id="a"), button(action_id="a"))),
    ),
    "text object: not empty": (
        message({"type": "context", "elements": [mrkdwn(1)]}),
        message({"type": "context", "elements": [mrkdwn(0)]}),
    ),
    "text object: words given": (
        message({"type": "context", "elements": [mrkdwn()]}),
        message({"type": "context", "elements": [{"type": "mrkdwn"}]}),
    ),
    "markdown: surface": (
        message({"type": "markdown", "text": "x"}),
        modal({"type": "markdown", "text": "x"}),
    ),
    "table: surface": (home(table()), modal(table())),
    "data_table: surface": (home(data_table()), modal(data_table())),
    "data_visualization: surface": (message(chart()), home(chart())),
    "alert: surface": (
        modal({"type": "alert", "text": mrkdwn()}),
        message({"type": "alert", "text": mrkdwn()}),
    ),
    "carousel: surface": (home(carousel(1)), modal(carousel(1))),
    "container: surface": (home(container(DIVIDER)), modal(container(DIVIDER))),
    "context_actions: surface": (
        message({"type": "context_actions", "elements": [FEEDBACK]}),
        modal({"type": "context_actions", "elements": [FEEDBACK]}),
    ),
    "task_card: surface": (message(TASK), home(TASK)),
    "plan: surface": (
        message({"type": "plan", "title": "p", "tasks": []}),
        modal({"type": "plan", "title": "p", "tasks": []}),
    ),
    "file: surface": (
        message({"type": "file", "external_id": "x", "source": "remote"}),
        home({"type": "file", "external_id": "x", "source": "remote"}),
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
    "table: rows": (message(table(100)), message(table(101))),
    "table: columns": (message(table(1, 20)), message(table(1, 21))),
    "table: column_settings": (
        message(table(column_settings=[None] * 20)),
        message(table(column_settings=[None] * 21)),
    ),
    "data_table: parts": (message(data_table()), message(without(data_table(), "caption"))),
    "data_table: rows": (message(data_table(201)), message(data_table(202))),
    "data_table: columns": (message(data_table(2, 20)), message(data_table(2, 21))),
    "data_table: cells": (message(data_table(size=1)), message(data_table(size=0))),
    "data_table: header": (
        message({**data_table(), "rows": [[cell()], [RICH]]}),
        message({**data_table(), "rows": [[RICH], [cell()]]}),
    ),
    "data_table: page_size": (
        message(data_table(page_size=100)),
        message(data_table(page_size=101)),
    ),
    "chart: parts": (message(chart()), message(without(chart(), "title"))),
    "chart: title": (message(chart(title=50)), message(chart(title=51))),
    "chart: kind": (message(chart()), message(chart({"type": "radar"}))),
    "chart: segments": (message(chart(pie(*[(1, 1)] * 12))), message(chart(pie(*[(1, 1)] * 13)))),
    "chart: each segment": (message(chart(pie((20, 0.1)))), message(chart(pie((1, 0))))),
    "chart: series": (message(chart(bar(names(12), ["a"]))), message(chart(bar(names(13), ["a"])))),
    "chart: series names": (
        message(chart(bar(["n" * 20], ["a"]))),
        message(chart(bar(["n", "n"], ["a"]))),
    ),
    "chart: categories": (
        message(chart(bar(["n"], names(20)))),
        message(chart(bar(["n"], names(21)))),
    ),
    "chart: points": (
        message(chart(bar(["n"], ["a", "b"]))),
        message(chart(bar(["n"], ["a", "b"], categories=["a"]))),
    ),
    "chart: axis labels": (
        message(chart(bar(["n"], ["a"], x_label="x" * 50))),
        message(chart(bar(["n"], ["a"], y_label="x" * 51))),
    ),
    "alert: text": (
        modal({"type": "alert", "text": mrkdwn(200)}),
        modal({"type": "alert", "text": mrkdwn(201)}),
    ),
    "alert: text object": (
        modal({"type": "alert", "text": plain()}),
        modal({"type": "alert", "text": "bare"}),
    ),
    "alert: level": (
        modal({"type": "alert", "text": plain(), "level": "success"}),
        modal({"type": "alert", "text": plain(), "level": "danger"}),
    ),
    "card: something in it": (message(card()), message({"type": "card", "subtext": mrkdwn()})),
    "card: text objects": (message(card(body=mrkdwn())), message(card(body="bare"))),
    "card: title": (message(card(title=mrkdwn(150))), message(card(title=mrkdwn(151)))),
    "card: subtitle": (message(card(subtitle=mrkdwn(150))), message(card(subtitle=mrkdwn(151)))),
    "card: body": (message(card(body=mrkdwn(200))), message(card(body=mrkdwn(201)))),
    "card: subtext": (message(card(subtext=mrkdwn(200))), message(card(subtext=mrkdwn(201)))),
    "card: actions": (message(card(actions=buttons(3))), message(card(actions=buttons(4)))),
    "card: kinds of action": (message(card(actions=[button()])), message(card(actions=[image()]))),
    "card: one icon": (
        message(card(icon=image())),
        message(card(icon=image(), slack_icon={"type": "icon", "name": "key"})),
    ),
    "carousel: cards": (message(carousel(10)), message(carousel(11))),
    "container: children": (
        message(container(*[DIVIDER] * 10)),
        message(container(*[DIVIDER] * 11)),
    ),
    "container: children given": (
        message(container(DIVIDER)),
        message(without(container(), "child_blocks")),
    ),
    "container: kinds of child": (message(container(section())), message(container(card()))),
    "container: heading": (
        message(container(DIVIDER)),
        message(without(container(DIVIDER), "title")),
    ),
    "container: plain title": (
        message(container(DIVIDER)),
        message(container(DIVIDER, title=mrkdwn())),
    ),
    "container: title": (
        message(container(DIVIDER, title=plain(150))),
        message(container(DIVIDER, title=plain(151))),
    ),
    "container: subtitle": (
        message(container(DIVIDER, subtitle=mrkdwn(150))),
        message(container(DIVIDER, subtitle=mrkdwn(151))),
    ),
    "container: width": (
        message(container(DIVIDER, width="full")),
        message(container(DIVIDER, width="huge")),
    ),
    "container: folding": (
        message(container(DIVIDER, is_collapsible=True, default_collapsed=True)),
        message(container(DIVIDER, default_collapsed=True)),
    ),
    "context_actions: elements": (
        message({"type": "context_actions", "elements": [FEEDBACK] * 5}),
        message({"type": "context_actions", "elements": [FEEDBACK] * 6}),
    ),
    "plan: tasks": (
        message({"type": "plan", "title": "p", "tasks": [TASK] * 50}),
        message({"type": "plan", "title": "p", "tasks": [TASK] * 51}),
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
    ),
    "checkboxes: options": (
        message(actions({**CHECKBOXES, "options": options(10)})),
        message(actions({**CHECKBOXES, "options": options(11)})),
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
}


def send(app: App, clock: Clock, payload: Json) -> None:
    """Send it by the method that its kind is for, as the server would."""
    tickets = Tickets(clock)
    surface = payload.get("type")
    if surface == "modal":
        method, args = "views.open", {"trigger_id": tickets.trigger(ANN), "view": payload}
    elif surface == "home":
        method, args = "views.publish", {"user_id": ANN, "view": payload}
    else:
        method, args = "chat.postMessage", {"channel": CERTS, **payload}
    METHODS[method].run(Call(app, Workspace(app, clock), tickets, "http://x/", args))


def surface_of(payload: Json) -> str:
    return {"modal": MODAL, "home": HOME}.get(payload.get("type", ""), MESSAGE)


def test_every_limit_has_its_case() -> None:
    assert set(CASES) == {limit.name for limit in LIMITS}
    assert len(LIMITS) == len(CASES)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_just_inside_the_limit_is_accepted(limit: Limit, app: App, clock: Clock) -> None:
    send(app, clock, CASES[limit.name][0])


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_just_outside_the_limit_is_refused(limit: Limit, app: App, clock: Clock) -> None:
    outside = CASES[limit.name][1]
    surface = surface_of(outside)
    assert limit.name in {fault.limit for fault in faults(surface, outside)}
    own = "invalid_blocks" if surface == MESSAGE else "invalid_arguments"
    with pytest.raises(SlackError) as caught:
        send(app, clock, outside)
    assert caught.value.error == (limit.error or own)
    assert caught.value.extra["response_metadata"]


def test_a_fault_is_pointed_at() -> None:
    [fault] = faults(MESSAGE, message(DIVIDER, actions(*buttons(1), button(text=plain(76)))))
    assert fault.pointer == "/blocks/1/elements/1"
    [fault] = faults(MODAL, modal(section(fields=[plain()] * 11)))
    assert fault.pointer == "/view/blocks/0"
