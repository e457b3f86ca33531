"""Every row of the table of limits: what just passes, what just does not, and Slack's word."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bot.playground import App, Workspace
from bot.playground.limits.violations import HOME, LIMITS, MESSAGE, MODAL, Limit, app_limits, faults
from bot.playground.objects import ANN, CERTS
from bot.playground.tickets import SlackError, Tickets
from bot.playground.web_api.call import Call
from bot.playground.web_api.methods import METHODS
from tests.playground.block_cases import BLOCK_CASES
from tests.playground.blocks import (
    DIVIDER,
    Cases,
    Json,
    actions,
    button,
    buttons,
    message,
    modal,
    plain,
    section,
)
from tests.playground.card_cases import CARD_CASES
from tests.playground.conftest import APP, Clock
from tests.playground.grid_cases import GRID_CASES
from tests.playground.limit_cases import CASES

ALL_CASES: Cases = {**CASES, **BLOCK_CASES, **GRID_CASES, **CARD_CASES}
VIDEO: Json = {"type": "video", "video_url": "https://v.example.com/1", "alt_text": "x"}
EMBEDDING = replace(
    APP,
    scopes=APP.scopes | {"links.embed:write"},
    unfurl_domains=frozenset({"example.com"}),
)
VIDEO_APPS = {
    "video: scope": replace(EMBEDDING, scopes=APP.scopes),
    "video: domain": replace(EMBEDDING, unfurl_domains=frozenset({"ample.com"})),
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


def shortened(thing: Any) -> Any:
    """Copy JSON with the first item alone of each list."""
    if isinstance(thing, dict):
        return {key: shortened(value) for key, value in thing.items()}
    return [shortened(item) for item in thing[:1]] if isinstance(thing, list) else thing


def replaced(thing: Json, odd: Any) -> Iterator[Json]:
    """Yield copies of JSON with one value each replaced."""

    def paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        named = value.items() if isinstance(value, dict) else []
        listed = list(enumerate(value)) if isinstance(value, list) else []
        for key, held in [*named, *listed]:
            yield (*path, key)
            yield from paths(held, (*path, key))

    for *path, last in paths(thing, ()):
        changed = copy.deepcopy(thing)
        place: Any = changed
        for key in path:
            place = place[key]
        place[last] = odd
        yield changed


def test_every_limit_has_its_case(app: App) -> None:
    names = [limit.name for limit in (*LIMITS, *app_limits(app))]
    assert sorted(names) == sorted([*ALL_CASES, *VIDEO_APPS])


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_just_inside_the_limit_is_accepted(limit: Limit, app: App, clock: Clock) -> None:
    send(app, clock, ALL_CASES[limit.name][0])


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_just_outside_the_limit_is_refused(limit: Limit, app: App, clock: Clock) -> None:
    _, *outsides = ALL_CASES[limit.name]
    assert outsides
    for outside in outsides:
        surface = surface_of(outside)
        assert limit.name in {fault.limit for fault in faults(surface, outside)}
        own = "invalid_blocks" if surface == MESSAGE else "invalid_arguments"
        with pytest.raises(SlackError) as caught:
            send(app, clock, outside)
        assert caught.value.error == (limit.error or own)
        assert caught.value.extra["response_metadata"]


@pytest.mark.parametrize("name", VIDEO_APPS)
def test_a_video_needs_an_app_that_may_embed_it(name: str, clock: Clock) -> None:
    send(EMBEDDING, clock, message(VIDEO))
    app = VIDEO_APPS[name]
    assert [fault.limit for fault in faults(MESSAGE, message(VIDEO), app)] == [name]
    with pytest.raises(SlackError, match="invalid_blocks"):
        send(app, clock, message(VIDEO))


def test_no_json_at_all_is_too_odd_to_be_judged() -> None:
    odds: list[Any] = [None, True, "", [[]], [{"type": {}}], {"type": []}]
    for inside in (shortened(payload) for payload, *_ in ALL_CASES.values()):
        for odd in odds:
            for payload in replaced(inside, odd):
                faults(surface_of(inside), payload, EMBEDDING)


def test_blocks_in_attachments_are_read_too() -> None:
    long = actions(button(text=plain(76)))
    [fault] = faults(MESSAGE, {"attachments": [{}, {"blocks": [DIVIDER, long]}]})
    assert fault.pointer == "/attachments/1/blocks/1/elements/0"


def test_a_fault_is_pointed_at() -> None:
    [fault] = faults(MESSAGE, message(DIVIDER, actions(*buttons(1), button(text=plain(76)))))
    assert fault.pointer == "/blocks/1/elements/1"
    [fault] = faults(MODAL, modal(section(fields=[plain()] * 11)))
    assert fault.pointer == "/view/blocks/0"
