import json
from typing import Any

import pytest
from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import Playground, PlaygroundError
from bot.playground.objects import ANN, BEN, CERTS
from tests.playground.blocks import (
    TEXT_INPUT,
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
from tests.playground.conftest import Clock, refused

Json = dict[str, Any]


async def opened(playground: Playground, client: AsyncWebClient, view: Json) -> Json:
    trigger = playground.tickets.trigger(ANN)
    form: Json = (await client.views_open(trigger_id=trigger, view=view))["view"]
    return form


async def test_a_trigger_works_once_within_three_seconds(
    playground: Playground, client: AsyncWebClient, clock: Clock
) -> None:
    early, late = playground.tickets.trigger(ANN), playground.tickets.trigger(ANN)
    clock.move(seconds=3)
    await client.views_open(trigger_id=early, view=modal())
    clock.move(seconds=0.1)
    with refused("expired_trigger_id"):
        await client.views_open(trigger_id=late, view=modal())

    trigger = playground.tickets.trigger(ANN)
    await client.views_open(trigger_id=trigger, view=modal())
    with refused("exchanged_trigger_id"):
        await client.views_open(trigger_id=trigger, view=modal())
    with refused("invalid_trigger_id"):
        await client.views_open(trigger_id="1.2.3", view=modal())

    trigger = playground.tickets.trigger(ANN)
    with refused("invalid_arguments"):
        await client.views_open(trigger_id=trigger, view=modal(title=plain(25)))
    await client.views_open(trigger_id=trigger, view=modal())


async def test_three_modals_can_be_stacked(playground: Playground, client: AsyncWebClient) -> None:
    with refused("not_found"):
        await client.views_push(trigger_id=playground.tickets.trigger(ANN), view=modal())

    first = await opened(playground, client, modal())
    for _ in range(2):
        trigger = playground.tickets.trigger(ANN)
        await client.views_push(trigger_id=trigger, view=modal())
    stack = playground.workspace.modals(ANN)
    assert [view.root_id for view in stack] == [first["id"]] * 3
    assert stack[2].previous_id == stack[1].id
    with refused("push_limit_reached"):
        await client.views_push(trigger_id=playground.tickets.trigger(ANN), view=modal())
    await playground.close_view(ANN, stack[2].id)
    assert playground.workspace.modal(ANN) is stack[1]


async def test_an_outdated_hash_conflicts(playground: Playground, client: AsyncWebClient) -> None:
    view = await opened(playground, client, modal())
    second = await client.views_update(view_id=view["id"], hash=view["hash"], view=modal(section()))
    with refused("hash_conflict"):
        await client.views_update(view_id=view["id"], hash=view["hash"], view=modal())
    await client.views_update(view_id=view["id"], hash=second["view"]["hash"], view=modal())
    with refused("not_found"):
        await client.views_update(view_id="V0", view=modal())

    first = (await client.views_publish(user_id=ANN, view=home(section())))["view"]
    second = (await client.views_publish(user_id=ANN, view=home(), hash=first["hash"]))["view"]
    assert second["id"] == first["id"]
    with refused("hash_conflict"):
        await client.views_publish(user_id=ANN, view=home(), hash=first["hash"])
    assert playground.workspace.home(BEN) is None

    with refused("invalid_arguments"):
        await client.views_publish(user_id=ANN, view=modal())


class Bot:
    """A bot without Bolt that keeps every payload and always gives the same answer."""

    def __init__(self) -> None:
        self.answer: Json | None = None
        self.payloads: list[Json] = []

    async def handle(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.payloads.append(json.loads(str(form["payload"])))
        return web.Response() if self.answer is None else web.json_response(self.answer)


@pytest.fixture
async def bot(playground: Playground) -> Any:
    bot = Bot()
    app = web.Application()
    app.add_routes([web.post("/", bot.handle)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    playground.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield bot
    await runner.cleanup()


async def test_forms_are_sent_as_filled_in(
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
    form = await opened(playground, client, view)
    assert await playground.submit(ANN, form["id"], {}) == {}
    assert bot.payloads[0]["view"]["state"]["values"] == {
        "typed": {"i": {"type": "plain_text_input", "value": None}},
        "picked": {"s": {"type": "static_select", "selected_option": None}},
        "ticked": {"c": {"type": "checkboxes", "selected_options": []}},
        "day": {"d": {"type": "datepicker", "selected_date": "2026-11-23"}},
    }

    choices = [{"text": plain(), "value": value} for value in ("a", "b")]
    boxes = {"type": "checkboxes", "action_id": "c", "options": choices}
    view = modal(field(select(options=choices), block_id="picked"), field(boxes, block_id="ticked"))
    form = await opened(playground, client, view)
    await playground.submit(ANN, form["id"], {"picked": "b", "ticked": {"c": ["a", "b"]}})
    values = bot.payloads[-1]["view"]["state"]["values"]
    assert values["picked"]["s"]["selected_option"] == choices[1]
    assert values["ticked"]["c"]["selected_options"] == choices

    form = await opened(playground, client, modal(field(select(options=[option()]), block_id="p")))
    with pytest.raises(PlaygroundError, match="there is no option 'z'"):
        await playground.submit(ANN, form["id"], {"p": "z"})
    with pytest.raises(PlaygroundError, match="there is no field"):
        await playground.submit(ANN, form["id"], {"q": "z"})

    limited = field(TEXT_INPUT | {"min_length": 2, "max_length": 3}, block_id="f")
    form = await opened(playground, client, modal(limited))
    for wrong in ("a", "abcd"):
        assert set(await playground.submit(ANN, form["id"], {"f": wrong})) == {"f"}
    assert len(bot.payloads) == 2
    assert await playground.submit(ANN, form["id"], {"f": "ab"}) == {}
    assert len(bot.payloads) == 3


async def test_an_answer_can_update_push_and_clear(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    form = await opened(playground, client, modal())
    bot.answer = {"response_action": "update", "view": modal(title=plain(2))}
    await playground.submit(ANN, form["id"], {})
    [view] = playground.workspace.modals(ANN)
    assert (view.id, view.content["title"]) == (form["id"], plain(2))
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
async def test_an_unusable_answer_is_shown_as_a_failure(
    playground: Playground, client: AsyncWebClient, bot: Bot, answer: Json
) -> None:
    form = await opened(playground, client, modal())
    bot.answer = answer
    with pytest.raises(PlaygroundError, match="trouble connecting"):
        await playground.submit(ANN, form["id"], {})
    assert playground.workspace.modal(ANN) is not None


async def test_only_an_app_that_asks_for_it_hears_of_a_closed_modal(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    form = await opened(playground, client, modal())
    await playground.close_view(ANN, form["id"])
    assert bot.payloads == []
    form = await opened(playground, client, modal(notify_on_close=True))
    await playground.close_view(ANN, form["id"])
    assert (bot.payloads[0]["type"], bot.payloads[0]["is_cleared"]) == ("view_closed", False)
    assert "trigger_id" not in bot.payloads[0]


async def test_typed_values_survive_a_press_and_an_update(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    view = modal(field(block_id="f"), actions(button(action_id="go")))
    form = await opened(playground, client, view)
    await playground.press(ANN, view_id=form["id"], action_id="go", values={"f": {"i": "typed"}})
    assert bot.payloads[0]["view"]["state"]["values"]["f"]["i"]["value"] == "typed"
    assert "response_url" not in bot.payloads[0]
    await client.views_update(view_id=form["id"], view=modal(section(), field(block_id="f")))
    await playground.submit(ANN, form["id"], {})
    assert bot.payloads[1]["view"]["state"]["values"]["f"]["i"]["value"] == "typed"


async def test_what_is_pressed_is_seen_distinguished_and_sent(
    playground: Playground, client: AsyncWebClient, bot: Bot
) -> None:
    posted = await client.chat_postEphemeral(
        channel=CERTS, user=ANN, text="x", blocks=[actions(button(action_id="go"))]
    )
    ts = posted["message_ts"]
    with pytest.raises(PlaygroundError, match="no 'stop' here; there is: go"):
        await playground.press(ANN, channel=CERTS, message_ts=ts, action_id="stop")
    with pytest.raises(PlaygroundError, match="sees no message"):
        await playground.press(BEN, channel=CERTS, message_ts=ts, action_id="go")
    with pytest.raises(PlaygroundError, match="sees no 'go'"):
        await playground.press(BEN, channel=CERTS, action_id="go")
    form = await opened(playground, client, modal(actions(button(action_id="go"))))
    with pytest.raises(PlaygroundError, match="does not see the view"):
        await playground.press(BEN, view_id=form["id"], action_id="go")
    assert bot.payloads == []

    rows = [actions(button(action_id="go", value=v)) | {"block_id": f"row-{v}"} for v in "ab"]
    await client.chat_postMessage(channel=CERTS, text="x", blocks=rows)
    with pytest.raises(PlaygroundError, match="more than one"):
        await playground.press(ANN, channel=CERTS, action_id="go")
    await playground.press(ANN, channel=CERTS, action_id="go", value="b")
    await playground.press(ANN, channel=CERTS, action_id="go", block_id="row-a")
    assert [sent["actions"][0]["block_id"] for sent in bot.payloads] == ["row-b", "row-a"]

    menu = {"type": "overflow", "action_id": "more", "options": [option(value=2)]}
    blocks = [section(accessory=menu), actions(select(options=[option()])) | {"block_id": "row"}]
    await client.chat_postMessage(channel=CERTS, text="x", blocks=blocks)
    await playground.press(ANN, channel=CERTS, action_id="more", option="vv")
    assert bot.payloads[-1]["actions"][0]["selected_option"]["value"] == "vv"
    assert bot.payloads[-1]["state"]["values"]["row"]["s"]["selected_option"] is None
    await playground.press(ANN, channel=CERTS, action_id="s", option="v")
    assert bot.payloads[3]["state"]["values"]["row"]["s"]["selected_option"]["value"] == "v"
