"""Every row of the table of limits: what just keeps it, what just breaks it, and Slack's error."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from bot.playground import App, Workspace
from bot.playground.errors import SlackError
from bot.playground.limits import HOME, MESSAGE, MODAL, violations
from bot.playground.limits.violations import LIMITS
from bot.playground.objects import ANN, CERTS
from bot.playground.tickets import Tickets
from bot.playground.web_api.call import WebAPICall
from bot.playground.web_api.methods import METHODS
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
from tests.playground.conftest import Clock
from tests.playground.data_cases import DATA_CASES
from tests.playground.limit_cases import BLOCK_CASES, ELEMENT_CASES, MESSAGE_CASES

CASES: Cases = {**MESSAGE_CASES, **BLOCK_CASES, **ELEMENT_CASES, **DATA_CASES}


def send(app: App, clock: Clock, payload: Json) -> SlackError | None:
    """Send a message or view with the method for it, and return Slack's refusal, if any."""
    tickets = Tickets(clock)
    surface = surface_of(payload)
    if surface == MODAL:
        method, args = "views.open", {"trigger_id": tickets.trigger(ANN), "view": payload}
    elif surface == HOME:
        method, args = "views.publish", {"user_id": ANN, "view": payload}
    else:
        method, args = "chat.postMessage", {"channel": CERTS, **payload}
    try:
        METHODS[method].run(WebAPICall(app, Workspace(app, clock), tickets, "http://x/", args))
    except SlackError as error:
        return error
    return None


def surface_of(payload: Json) -> str:
    return {"modal": MODAL, "home": HOME}.get(payload.get("type", ""), MESSAGE)


def shortened(thing: Any) -> Any:
    """Copy JSON with only the first item of each list."""
    if isinstance(thing, dict):
        return {key: shortened(value) for key, value in thing.items()}
    return [shortened(item) for item in thing[:1]] if isinstance(thing, list) else thing


def replaced(thing: Json, replacement: Any) -> Iterator[Json]:
    """Yield copies of JSON, each with one value replaced."""

    def paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        pairs = value.items() if isinstance(value, dict) else []
        items = list(enumerate(value)) if isinstance(value, list) else []
        for key, inner in [*pairs, *items]:
            yield (*path, key)
            yield from paths(inner, (*path, key))

    for *path, last in paths(thing, ()):
        changed = copy.deepcopy(thing)
        parent: Any = changed
        for key in path:
            parent = parent[key]
        parent[last] = replacement
        yield changed


def test_every_limit_has_its_case() -> None:
    assert sorted(limit.name for limit in LIMITS) == sorted(CASES)


def test_what_just_keeps_a_limit_is_accepted(app: App, clock: Clock) -> None:
    for name, (inside, *_) in CASES.items():
        assert send(app, clock, inside) is None, name


def test_what_just_breaks_a_limit_is_refused(app: App, clock: Clock) -> None:
    for limit in LIMITS:
        _, *outsides = CASES[limit.name]
        assert outsides, limit.name
        for outside in outsides:
            surface = surface_of(outside)
            assert limit.name in {violation.limit for violation in violations(surface, outside)}
            own = "invalid_blocks" if surface == MESSAGE else "invalid_arguments"
            refusal = send(app, clock, outside)
            assert refusal is not None, limit.name
            assert refusal.error == (limit.error or own), limit.name
            assert refusal.extra["response_metadata"]


@pytest.mark.slow
def test_any_json_at_all_can_be_checked() -> None:
    oddities: list[Any] = [None, True, "", [[]], [{"type": {}}], {"type": []}]
    for inside in (shortened(payload) for payload, *_ in CASES.values()):
        for oddity in oddities:
            for payload in replaced(inside, oddity):
                violations(surface_of(inside), payload)


def test_a_violation_has_a_pointer_to_its_object() -> None:
    [violation] = violations(
        MESSAGE, message(DIVIDER, actions(*buttons(1), button(text=plain(76))))
    )
    assert violation.pointer == "/blocks/1/elements/1"
    [violation] = violations(MODAL, modal(section(fields=[plain()] * 11)))
    assert violation.pointer == "/view/blocks/0"


@pytest.mark.parametrize(
    ("block", "error"),
    [
        (
            {"type": "carousel", "elements": []},
            "unsupported type: carousel [json-pointer:]",
        ),
        (
            actions({"type": "users_select", "action_id": "u"}),
            "unsupported type: users_select [json-pointer:/blocks/0]",
        ),
    ],
)
def test_unsupported_things_are_refused(app: App, clock: Clock, block: Json, error: str) -> None:
    refusal = send(app, clock, message(block))
    assert refusal is not None
    assert (refusal.error, refusal.extra["errors"]) == ("invalid_blocks", [error])
