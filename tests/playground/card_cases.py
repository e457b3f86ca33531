"""What just passes the limits of cards, containers and their like; and what just does not."""

from __future__ import annotations

from tests.playground.blocks import (
    DIVIDER,
    ICON,
    KEY,
    RICH,
    TASK,
    THUMBS,
    Cases,
    actions,
    alert,
    button,
    buttons,
    card,
    carousel,
    chart,
    container,
    context_actions,
    data_table,
    home,
    image,
    message,
    modal,
    mrkdwn,
    plain,
    plan,
    section,
    table,
    without,
)

CARD_CASES: Cases = {
    "alert: surface": (modal(alert()), message(alert()), home(alert())),
    "carousel: surface": (home(carousel(1)), modal(carousel(1))),
    "container: surface": (home(container(DIVIDER)), modal(container(DIVIDER))),
    "context_actions: surface": (
        message(context_actions(ICON)),
        modal(context_actions(ICON)),
        home(context_actions(ICON)),
    ),
    "task_card: surface": (message(TASK), home(TASK)),
    "plan: surface": (message(plan()), modal(plan()), home(plan())),
    "alert: text": (modal(alert(text=mrkdwn(200))), modal(alert(text=mrkdwn(201)))),
    "alert: text object": (modal(alert(text=plain())), modal(alert(text="bare"))),
    "alert: level": (modal(alert(level="success")), modal(alert(level="danger"))),
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
    "carousel: cards": (message(carousel(10)), message(carousel(11)), message(carousel(0))),
    "container: children": (
        message(container(*[DIVIDER] * 10)),
        message(container(*[DIVIDER] * 11)),
        message(container()),
    ),
    "container: children given": (
        message(container(DIVIDER)),
        message(without(container(), "child_blocks")),
    ),
    "container: kinds of child": (
        message(container(section(), DIVIDER, image(), table(), actions(button()))),
        message(container(card())),
        message(container(data_table())),
        message(container(chart())),
        message(container(container(DIVIDER))),
    ),
    "container: heading": (
        message(container(DIVIDER)),
        message(without(container(DIVIDER), "title")),
        message(container(DIVIDER, rich_text_title=RICH)),
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
        message(container(DIVIDER, is_collapsible=True, has_header_divider=True)),
    ),
    "context_actions: elements": (
        message(context_actions(*[ICON] * 5)),
        message(context_actions(*[ICON] * 6)),
        message(context_actions()),
    ),
    "plan: tasks": (message(plan(*[TASK] * 50)), message(plan(*[TASK] * 51))),
    "alert: text given": (modal(alert()), modal(without(alert(), "text"))),
    "card: hero image": (message(card(hero_image=image())), message(card(hero_image=button()))),
    "card: icon": (message(card(icon=image())), message(card(icon="key"))),
    "card: no size": (message(card()), message(card(size="small"))),
    "slack_icon: type": (
        message(card(slack_icon=KEY)),
        message(card(slack_icon={"name": "key"})),
        message(card(slack_icon="key")),
    ),
    "slack_icon: name given": (
        message(card(slack_icon=KEY)),
        message(card(slack_icon={"type": "icon"})),
    ),
    "slack_icon: name": (
        message(card(slack_icon={**KEY, "name": "star-filled"})),
        message(card(slack_icon={**KEY, "name": "padlock"})),
        message(card(slack_icon={**KEY, "name": "Key"})),
    ),
    "carousel: cards given": (message(carousel(1)), message({"type": "carousel"})),
    "carousel: nothing but cards": (
        message(carousel(1)),
        message({"type": "carousel", "elements": [card(), section()]}),
    ),
    "container: rich title": (
        message({**without(container(DIVIDER), "title"), "rich_text_title": RICH}),
        message({**without(container(DIVIDER), "title"), "rich_text_title": plain()}),
    ),
    "container: subtitle object": (
        message(container(DIVIDER, subtitle=plain())),
        message(container(DIVIDER, subtitle="bare")),
    ),
    "container: icon": (
        message(container(DIVIDER, icon=image())),
        message(container(DIVIDER, icon=KEY)),
    ),
    "context_actions: elements given": (
        message(context_actions(THUMBS)),
        message({"type": "context_actions"}),
    ),
    "context_actions: kinds": (
        message(context_actions(THUMBS, ICON)),
        message(context_actions(button())),
    ),
    "icon_button: parts": (
        message(context_actions(ICON)),
        message(context_actions(without(ICON, "icon"))),
        message(context_actions(without(ICON, "text"))),
    ),
    "icon_button: icon": (
        message(context_actions(ICON)),
        message(context_actions({**ICON, "icon": "pencil"})),
    ),
    "icon_button: seen by": (
        message(context_actions({**ICON, "visible_to_user_ids": ["U1"] * 10})),
        message(context_actions({**ICON, "visible_to_user_ids": ["U1"] * 11})),
    ),
    "feedback_buttons: parts": (
        message(context_actions(THUMBS)),
        message(context_actions(without(THUMBS, "positive_button"))),
        message(context_actions(without(THUMBS, "negative_button"))),
    ),
    "task_card: pending": (
        message(plan({**TASK, "status": "pending"})),
        message({**TASK, "status": "pending"}),
    ),
    "plan: title": (message(plan()), message(plan(title=plain())), message(plan(title=""))),
    "plan: nothing but tasks": (message(plan(TASK)), message(plan(section()))),
}
