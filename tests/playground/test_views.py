from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import Playground, PlaygroundError
from bot.playground.objects import ANN, BEN, CERTS
from tests.playground.blocks import (
    actions,
    button,
    field,
    home,
    modal,
    option,
    plain,
    section,
    select,
)
from tests.playground.conftest import Clock

Json = dict[str, Any]


def error_of(caught: pytest.ExceptionInfo[SlackApiError]) -> str:
    return str(caught.value.response["error"])


async def opened(playground: Playground, client: AsyncWebClient, view: Json) -> Json:
    trigger = playground.tickets.trigger(ANN)
    shown: Json = (await client.views_open(trigger_id=trigger, view=view))["view"]
    return shown


async def test_a_trigger_is_good_once(playground: Playground, client: AsyncWebClient) -> None:
    trigger = playground.tickets.trigger(ANN)
    await client.views_open(trigger_id=trigger, view=modal())
    with pytest.raises(SlackApiError) as caught:
        await client.views_open(trigger_id=trigger, view=modal())
    assert error_of(caught) == "exchanged_trigger_id"


@pytest.mark.parametrize(("seconds", "error"), [(3, None), (3.1, "expired_trigger_id")])
async def test_a_trigger_lives_three_seconds(
    playground: Playground,
    client: AsyncWebClient,
    clock: Clock,
    seconds: float,
    error: str | None,
) -> None:
    trigger = playground.tickets.trigger(ANN)
    clock.move(seconds=seconds)
    if error is None:
        await client.views_open(trigger_id=trigger, view=modal())
    else:
        with pytest.raises(SlackApiError, match=error):
            await client.views_open(trigger_id=trigger, view=modal())
        assert playground.workspace.modal(ANN) is None


async def test_a_made_up_trigger_is_invalid(client: AsyncWebClient) -> None:
    with pytest.raises(SlackApiError) as caught:
        await client.views_open(trigger_id="1.2.3", view=modal())
    assert error_of(caught) == "invalid_trigger_id"


async def test_a_refused_view_leaves_its_trigger_unused(
    playground: Playground, client: AsyncWebClient
) -> None:
    trigger = playground.tickets.trigger(ANN)
    with pytest.raises(SlackApiError) as caught:
        await client.views_open(trigger_id=trigger, view=modal(title=plain(25)))
    assert error_of(caught) == "invalid_arguments"
    await client.views_open(trigger_id=trigger, view=modal())


async def test_three_modals_lie_on_each_other_and_not_four(
    playground: Playground, client: AsyncWebClient
) -> None:
    first = await opened(playground, client, modal())
    for _ in range(2):
        trigger = playground.tickets.trigger(ANN)
        await client.views_push(trigger_id=trigger, view=modal())
    stack = playground.workspace.modals(ANN)
    assert [view.root_id for view in stack] == [first["id"]] * 3
    assert stack[2].previous_id == stack[1].id
    with pytest.raises(SlackApiError) as caught:
        await client.views_push(trigger_id=playground.tickets.trigger(ANN), view=modal())
    assert error_of(caught) == "push_limit_reached"
    await playground.close_view(ANN, stack[2].id)
    assert playground.workspace.modal(ANN) is stack[1]


async def test_there_must_be_a_modal_to_push_upon(
    playground: Playground, client: AsyncWebClient
) -> None:
    with pytest.raises(SlackApiError) as caught:
        await client.views_push(trigger_id=playground.tickets.trigger(ANN), view=modal())
    assert error_of(caught) == "not_found"


async def test_a_view_is_updated_by_either_id_unless_its_hash_is_old(
    playground: Playground, client: AsyncWebClient
) -> None:
    view = await opened(playground, client, modal(external_id="mine"))
    second = await client.views_update(
        external_id="mine", hash=view["hash"], view=modal(section(), external_id="mine")
    )
    with pytest.raises(SlackApiError) as caught:
        await client.views_update(view_id=view["id"], hash=view["hash"], view=modal())
    assert error_of(caught) == "hash_conflict"
    await client.views_update(view_id=view["id"], hash=second["view"]["hash"], view=modal())
    with pytest.raises(SlackApiError) as caught:
        await client.views_update(view_id="V0", view=modal())
    assert error_of(caught) == "not_found"


async def test_an_external_id_is_for_one_view(
    playground: Playground, client: AsyncWebClient
) -> None:
    await opened(playground, client, modal(external_id="mine"))
    with pytest.raises(SlackApiError) as caught:
        await client.views_publish(user_id=ANN, view=home() | {"external_id": "mine"})
    assert error_of(caught) == "duplicate_external_id"


async def test_homes_are_personal_and_guarded_by_a_hash(
    playground: Playground, client: AsyncWebClient
) -> None:
    first = (await client.views_publish(user_id=ANN, view=home(section())))["view"]
    second = (await client.views_publish(user_id=ANN, view=home(), hash=first["hash"]))["view"]
    assert second["id"] == first["id"]
    with pytest.raises(SlackApiError) as caught:
        await client.views_publish(user_id=ANN, view=home(), hash=first["hash"])
    assert error_of(caught) == "hash_conflict"
    assert playground.workspace.home(BEN) is None


async def test_a_modal_is_no_home(client: AsyncWebClient) -> None:
    with pytest.raises(SlackApiError) as caught:
        await client.views_publish(user_id=ANN, view=modal())
    assert error_of(caught) == "invalid_arguments"


async def test_blocks_validate_lists_every_fault(client: AsyncWebClient) -> None:
    await client.blocks_validate(blocks=[section()])
    bad = [section(text=plain(3001)), actions(button(text=plain(76)))]
    with pytest.raises(SlackApiError) as caught:
        await client.blocks_validate(blocks=bad)
    assert error_of(caught) == "invalid_blocks"
    pointers = {fault["pointer"] for fault in caught.value.response["errors"]}
    assert {"/blocks/0", "/blocks/1/elements/0"} <= pointers
    with pytest.raises(SlackApiError, match="invalid_view"):
        await client.blocks_validate(view=modal(title=plain(25)))


class Bot:
    """A bot of one answer that keeps what it was sent, without Bolt."""

    def __init__(self) -> None:
        self.answer: Json | None = None
        self.seen: list[Json] = []

    async def handle(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.seen.append(json.loads(str(form["payload"])))
        return web.Response() if self.answer is None else web.json_response(self.answer)


@pytest.fixture
async def bot(playground: Playground) -> Any:
    there = Bot()
    app = web.Application()
    app.add_routes([web.post("/", there.handle)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    playground.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield there
    await runner.cleanup()


async def test_unfilled_inputs_are_sent_as_null(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    boxes = {"type": "checkboxes", "action_id": "c", "options": [option()]}
    view = modal(
        field(block_id="typed", optional=True),
        field(select(options=[option()]), block_id="picked", optional=True),
        field(boxes, block_id="ticked", optional=True),
        field(
            {"type": "datepicker", "action_id": "d", "initial_date": "2026-11-23"}, block_id="day"
        ),
    )
    shown = await opened(playground, client, view)
    assert await playground.submit(ANN, shown["id"], {}) == {}
    assert bot.seen[0]["view"]["state"]["values"] == {
        "typed": {"i": {"type": "plain_text_input", "value": None}},
        "picked": {"s": {"type": "static_select", "selected_option": None}},
        "ticked": {"c": {"type": "checkboxes", "selected_options": []}},
        "day": {"d": {"type": "datepicker", "selected_date": "2026-11-23"}},
    }


async def test_what_was_picked_is_sent_whole(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    choices = [{"text": plain(), "value": value} for value in ("a", "b")]
    boxes = {"type": "checkboxes", "action_id": "c", "options": choices}
    view = modal(field(select(options=choices), block_id="picked"), field(boxes, block_id="ticked"))
    shown = await opened(playground, client, view)
    await playground.submit(ANN, shown["id"], {"picked": "b", "ticked": {"c": ["a", "b"]}})
    values = bot.seen[0]["view"]["state"]["values"]
    assert values["picked"]["s"]["selected_option"] == choices[1]
    assert values["ticked"]["c"]["selected_options"] == choices


async def test_an_option_that_is_not_offered_can_not_be_picked(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    shown = await opened(playground, client, modal(field(select(options=[option()]), block_id="p")))
    with pytest.raises(PlaygroundError, match="there is no option 'z'"):
        await playground.submit(ANN, shown["id"], {"p": "z"})
    with pytest.raises(PlaygroundError, match="there is no field"):
        await playground.submit(ANN, shown["id"], {"q": "z"})


@pytest.mark.parametrize(
    "case",
    [
        ({"type": "plain_text_input", "min_length": 2}, "a", "ab"),
        ({"type": "plain_text_input", "max_length": 2}, "abc", "ab"),
        ({"type": "number_input", "is_decimal_allowed": False}, "1.5", "2"),
        ({"type": "number_input", "is_decimal_allowed": True, "max_value": "2"}, "2.5", "1.5"),
        ({"type": "email_text_input"}, "ann", "ann@example.com"),
        ({"type": "url_text_input"}, "example.com", "https://example.com"),
    ],
)
async def test_slack_s_own_client_checks_fields_before_it_sends(
    playground: Playground, client: AsyncWebClient, bot: Bot, case: tuple[Json, str, str]
) -> None:
    element, wrong, right = case
    view = modal(field(element | {"action_id": "i"}, block_id="f"))
    shown = await opened(playground, client, view)
    assert set(await playground.submit(ANN, shown["id"], {"f": wrong})) == {"f"}
    assert bot.seen == []
    assert await playground.submit(ANN, shown["id"], {"f": right}) == {}
    assert len(bot.seen) == 1


async def test_an_answer_can_update_push_and_clear(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    shown = await opened(playground, client, modal())
    bot.answer = {"response_action": "update", "view": modal(title=plain(2))}
    await playground.submit(ANN, shown["id"], {})
    [view] = playground.workspace.modals(ANN)
    assert (view.id, view.content["title"]) == (shown["id"], plain(2))
    bot.answer = {"response_action": "push", "view": modal()}
    await playground.submit(ANN, view.id, {})
    top = playground.workspace.modals(ANN)[-1]
    assert top.previous_id == view.id
    bot.answer = {"response_action": "clear"}
    await playground.submit(ANN, top.id, {})
    assert playground.workspace.modals(ANN) == []


@pytest.mark.parametrize(
    "answer",
    [
        {"response_action": "errors", "errors": {"nowhere": "x"}},
        {"response_action": "update", "view": modal(title=plain(25))},
    ],
)
async def test_an_answer_that_slack_would_not_take_is_shown_as_a_failure(
    playground: Playground, client: AsyncWebClient, bot: Bot, answer: Json
) -> None:
    shown = await opened(playground, client, modal())
    bot.answer = answer
    with pytest.raises(PlaygroundError, match="trouble connecting"):
        await playground.submit(ANN, shown["id"], {})
    assert playground.workspace.modal(ANN) is not None


async def test_closing_is_told_to_apps_that_ask_for_it(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    shown = await opened(playground, client, modal(notify_on_close=True))
    await playground.close_view(ANN, shown["id"])
    assert (bot.seen[0]["type"], bot.seen[0]["is_cleared"]) == ("view_closed", False)
    assert "trigger_id" not in bot.seen[0]
    shown = await opened(playground, client, modal())
    await playground.close_view(ANN, shown["id"])
    assert len(bot.seen) == 1
    await opened(playground, client, modal(notify_on_close=True))
    trigger = playground.tickets.trigger(ANN)
    top = (await client.views_push(trigger_id=trigger, view=modal(clear_on_close=True)))["view"]
    await playground.close_view(ANN, top["id"])
    assert playground.workspace.modals(ANN) == []
    assert bot.seen[1]["is_cleared"] is True


async def test_what_was_typed_survives_a_press_and_an_update(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    view = modal(field(block_id="f"), actions(button(action_id="go")))
    shown = await opened(playground, client, view)
    await playground.press(ANN, view_id=shown["id"], action_id="go", values={"f": {"i": "typed"}})
    assert bot.seen[0]["view"]["state"]["values"]["f"]["i"]["value"] == "typed"
    assert "response_url" not in bot.seen[0]
    await client.views_update(view_id=shown["id"], view=modal(section(), field(block_id="f")))
    await playground.submit(ANN, shown["id"], {})
    assert bot.seen[1]["view"]["state"]["values"]["f"]["i"]["value"] == "typed"


async def test_only_what_is_there_and_seen_can_be_pressed(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    posted = await client.chat_postEphemeral(
        channel=CERTS, user=ANN, text="x", blocks=[actions(button(action_id="go"))]
    )
    ts = posted["message_ts"]
    with pytest.raises(PlaygroundError, match="no 'stop' here; to be seen: go"):
        await playground.press(ANN, channel=CERTS, message_ts=ts, action_id="stop")
    with pytest.raises(PlaygroundError, match="sees no message"):
        await playground.press(BEN, channel=CERTS, message_ts=ts, action_id="go")
    with pytest.raises(PlaygroundError, match="sees no 'go'"):
        await playground.press(BEN, channel=CERTS, action_id="go")
    shown = await opened(playground, client, modal(actions(button(action_id="go"))))
    with pytest.raises(PlaygroundError, match="does not see the view"):
        await playground.press(BEN, view_id=shown["id"], action_id="go")
    assert bot.seen == []


async def test_buttons_of_one_action_are_told_apart_by_block_or_value(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    rows = [actions(button(action_id="go", value=v)) | {"block_id": f"row-{v}"} for v in "ab"]
    await client.chat_postMessage(channel=CERTS, text="x", blocks=rows)
    with pytest.raises(PlaygroundError, match="several of"):
        await playground.press(ANN, channel=CERTS, action_id="go")
    await playground.press(ANN, channel=CERTS, action_id="go", value="b")
    await playground.press(ANN, channel=CERTS, action_id="go", block_id="row-a")
    assert [sent["actions"][0]["block_id"] for sent in bot.seen] == ["row-b", "row-a"]


async def test_menus_in_messages_send_their_option_and_the_state(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    menu = {"type": "overflow", "action_id": "more", "options": [option(value=2)]}
    blocks = [section(accessory=menu), actions(select(options=[option()])) | {"block_id": "row"}]
    await client.chat_postMessage(channel=CERTS, text="x", blocks=blocks)
    await playground.press(ANN, channel=CERTS, action_id="more", option="vv")
    assert bot.seen[0]["actions"][0]["selected_option"]["value"] == "vv"
    assert bot.seen[0]["state"]["values"]["row"]["s"]["selected_option"] is None
    await playground.press(ANN, channel=CERTS, action_id="s", option="v")
    assert bot.seen[1]["state"]["values"]["row"]["s"]["selected_option"]["value"] == "v"
