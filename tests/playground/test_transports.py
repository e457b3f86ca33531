"""The real Bolt judges the playground: a small app over signed HTTP and over websockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond, AsyncSay
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import Playground, PlaygroundError
from bot.playground.objects import ANN, CERTS, OLGA, OTHER_TEAM_ID, PARTNERS, TEAM_ID

Json = dict[str, Any]
BUTTON = {
    "type": "actions",
    "elements": [
        {
            "type": "button",
            "action_id": "rescan",
            "text": {"type": "plain_text", "text": "Rescan"},
            "value": "888",
        }
    ],
}
FORM = {
    "type": "modal",
    "callback_id": "form",
    "title": {"type": "plain_text", "text": "Add"},
    "submit": {"type": "plain_text", "text": "Add"},
    "blocks": [
        {
            "type": "input",
            "block_id": "host",
            "label": {"type": "plain_text", "text": "Host"},
            "element": {"type": "plain_text_input", "action_id": "typed"},
        }
    ],
}


def untyped(thing: Any) -> Any:
    """Bolt's handler has methods without annotations."""
    return thing


def bolt_app(
    playground: Playground, session: aiohttp.ClientSession, payloads: list[Json]
) -> AsyncApp:
    """A bot that answers in every way: text, buttons, a form, App Home, mentions."""
    client = AsyncWebClient(playground.app.bot_token, base_url=playground.api_url, session=session)
    app = AsyncApp(
        client=client,
        signing_secret=playground.app.signing_secret,
        process_before_response=True,
    )

    @app.command("/ssl")
    async def command(ack: AsyncAck, body: Json, client: AsyncWebClient) -> None:
        payloads.append(body)
        if body["text"] == "add":
            await client.views_open(trigger_id=body["trigger_id"], view=FORM)
            await ack()
        elif body["text"] == "loud":
            await ack(text="for all", response_type="in_channel")
        elif body["text"] == "buttons":
            await ack(text="press", blocks=[BUTTON])
        else:
            await ack(f"you said {body['text']}")

    add_listeners(app, payloads)
    return app


def add_listeners(app: AsyncApp, payloads: list[Json]) -> None:
    """Register everything but the command."""

    @app.action("rescan")
    async def rescan(ack: AsyncAck, body: Json, respond: AsyncRespond) -> None:
        payloads.append(body)
        await ack()
        if "response_url" in body:  # there is none in App Home
            await respond(text="scanned", replace_original=True)

    @app.view("form")
    async def form(ack: AsyncAck, body: Json, view: Json) -> None:
        payloads.append(body)
        host = view["state"]["values"]["host"]["typed"]["value"]
        if "." in host:
            await ack()
        else:
            await ack(response_action="errors", errors={"host": "A host has a dot."})

    @app.event("app_mention")
    async def mention(body: Json, say: AsyncSay) -> None:
        payloads.append(body)
        await say(text="here", thread_ts=body["event"]["ts"])

    @app.event("app_home_opened")
    async def home(event: Json, client: AsyncWebClient) -> None:
        await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": [BUTTON]})

    @app.shortcut("scan_hosts")
    async def shortcut(ack: AsyncAck, body: Json) -> None:
        payloads.append(body)
        await ack()


@pytest.fixture
def payloads() -> list[Json]:
    """The payloads that the bot has received."""
    return []


@asynccontextmanager
async def connected(playground: Playground, app: AsyncApp, mode: str) -> AsyncIterator[None]:
    """Connect the app to the playground, over `http` or a `socket`."""
    if mode == "http":
        runner = web.AppRunner(app.web_app("/slack/events"))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        playground.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
        yield
        await runner.cleanup()
    else:
        handler = untyped(AsyncSocketModeHandler(app, playground.app.app_token))
        await handler.connect_async()
        yield
        await handler.close_async()


@pytest.fixture
async def bot(
    playground: Playground, session: aiohttp.ClientSession, payloads: list[Json]
) -> AsyncIterator[AsyncApp]:
    """The bot, over HTTP."""
    app = bolt_app(playground, session, payloads)
    async with connected(playground, app, "http"):
        yield app


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_a_conversation_works_over_either_transport(
    playground: Playground, session: aiohttp.ClientSession, payloads: list[Json], mode: str
) -> None:
    async with connected(playground, bolt_app(playground, session, payloads), mode):
        await press_a_button(playground)
        assert payloads[-1]["container"]["is_ephemeral"] is True
        assert "message" not in payloads[-1]
        await fill_in_a_form(playground)
        await mention_the_bot(playground)
        assert payloads[-1]["event"]["type"] == "app_mention"
        await playground.open_home(ANN)
        home = await playground.wait_for(lambda w: w.home(ANN))
        await playground.press(ANN, view_id=home.id, action_id="rescan")
        assert playground.workspace.home(ANN) is home
        mention = playground.workspace.messages(CERTS)[0]
        await playground.shortcut(ANN, "scan_hosts", CERTS, mention.ts)
        assert payloads[-1]["message"]["text"] == mention.text
    assert playground.workspace.notices == []
    assert [payload.get("type", "command") for payload in payloads] == [
        *("command", "block_actions", "command", "view_submission", "view_submission"),
        *("event_callback", "block_actions", "message_action"),
    ]


async def press_a_button(playground: Playground) -> None:
    """Press a button of an ephemeral answer, which replaces the answer."""
    await playground.say(ANN, CERTS, "/ssl buttons")
    await playground.press(ANN, channel=CERTS, action_id="rescan")
    [answer] = playground.workspace.messages(CERTS, ANN)
    assert (answer.text, answer.blocks, answer.ephemeral_for) == ("scanned", [], ANN)


async def fill_in_a_form(playground: Playground) -> None:
    """Fill in a form that is refused twice, by Slack's client and by the bot, then accepted."""
    await playground.say(ANN, CERTS, "/ssl add")
    modal = await playground.wait_for(lambda w: w.modal(ANN))
    assert await playground.submit(ANN, modal.id, {}) == {
        "host": "Please complete this required field."
    }
    assert await playground.submit(ANN, modal.id, {"host": "nodot"}) == {
        "host": "A host has a dot."
    }
    assert playground.workspace.modal(ANN) is modal
    assert await playground.submit(ANN, modal.id, {"host": {"typed": "example.com"}}) == {}
    assert playground.workspace.modal(ANN) is None


async def mention_the_bot(playground: Playground) -> None:
    """Mention the bot, which answers in the mention's thread."""
    await playground.say(ANN, CERTS, "@SSLBot status example.com")
    await playground.wait_for(lambda w: len(w.messages(CERTS)) == 2)
    mention, answer = playground.workspace.messages(CERTS)
    assert mention.text == "<@U0BOT> status <http://example.com|example.com>"
    assert answer.thread_ts == mention.ts


async def test_a_command_is_answered_to_its_asker_or_the_channel(
    playground: Playground, bot: AsyncApp, payloads: list[Json]
) -> None:
    await playground.say(ANN, CERTS, "/ssl status example.com")
    [answer] = playground.workspace.messages(CERTS, ANN)
    assert (answer.text, answer.ephemeral_for) == ("you said status example.com", ANN)
    assert playground.workspace.messages(CERTS) == []
    assert "thread_ts" not in payloads[0]
    assert (payloads[0]["channel_name"], payloads[0]["user_name"]) == ("certificates", "ann")

    await playground.say(ANN, CERTS, "/ssl loud")
    assert [m.text for m in playground.workspace.messages(CERTS)] == ["/ssl loud", "for all"]


async def test_an_outsider_can_press_buttons_and_has_another_team_id(
    playground: Playground, bot: AsyncApp, client: AsyncWebClient, payloads: list[Json]
) -> None:
    await client.chat_postMessage(channel=PARTNERS, text="press", blocks=[BUTTON])
    await playground.press(OLGA, channel=PARTNERS, action_id="rescan")
    assert payloads[-1]["user"]["team_id"] == OTHER_TEAM_ID
    assert payloads[-1]["team"]["id"] == TEAM_ID
    assert payloads[-1]["actions"][0]["value"] == "888"
    assert payloads[-1]["message"]["text"] == "press"
    assert [m.text for m in playground.workspace.messages(PARTNERS)] == ["scanned"]


@pytest.fixture
async def http_stub(playground: Playground) -> AsyncIterator[Callable[[web.Response | None], None]]:
    """A bot with a given answer, or (None) without one until the test has ended."""
    answer: list[web.Response | None] = [None]
    ended = asyncio.Event()

    async def handle(_request: web.Request) -> web.Response:
        if answer[0] is None:
            await ended.wait()
            return web.Response()
        return web.Response(status=answer[0].status, text=answer[0].text)

    app = web.Application()
    app.add_routes([web.post("/", handle)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    playground.events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/"

    def set_answer(response: web.Response | None) -> None:
        answer[0] = response

    yield set_answer
    ended.set()
    await runner.cleanup()


def last_notice(playground: Playground) -> str:
    return playground.workspace.notices[-1].text


async def test_what_is_no_ack_is_told(
    playground: Playground, http_stub: Callable[[web.Response | None], None]
) -> None:
    playground.delivery.ack_limit = 0.05
    http_stub(None)
    await playground.say(ANN, CERTS, "/ssl list")
    assert last_notice(playground) == "/ssl failed with the error operation_timeout"

    http_stub(web.Response(status=500))
    await playground.say(ANN, CERTS, "/ssl list")
    assert last_notice(playground) == "/ssl failed with the error dispatch_failed"


async def test_without_an_app_nothing_works(playground: Playground, client: AsyncWebClient) -> None:
    await playground.say(ANN, CERTS, "/ssl list")
    assert last_notice(playground) == "/ssl failed: the app is not running"

    trigger = playground.tickets.trigger(ANN)
    view = (await client.views_open(trigger_id=trigger, view=FORM))["view"]
    with pytest.raises(PlaygroundError, match="not running"):
        await playground.submit(ANN, view["id"], {"host": "example.com"})
    assert playground.workspace.modal(ANN) is not None


async def test_a_failed_event_is_retried(
    playground: Playground, http_stub: Callable[[web.Response | None], None]
) -> None:
    http_stub(web.Response(status=500))
    await playground.say(ANN, "D0ANN", "hello")
    events = [entry for entry in playground.workspace.traffic if entry["direction"] == "out"]
    assert len(events) == 2
    assert events[0]["request"]["event_id"] == events[1]["request"]["event_id"]


async def raw_socket(
    playground: Playground, session: aiohttp.ClientSession
) -> aiohttp.ClientWebSocketResponse:
    client = AsyncWebClient(base_url=playground.api_url, session=session)
    opened = await client.apps_connections_open(app_token=playground.app.app_token)
    ws = await session.ws_connect(opened["url"])
    hello = await ws.receive_json()
    assert hello["type"] == "hello"
    return ws


async def test_a_ticket_opens_one_websocket(
    playground: Playground, session: aiohttp.ClientSession
) -> None:
    client = AsyncWebClient(base_url=playground.api_url, session=session)
    opened = await client.apps_connections_open(app_token=playground.app.app_token)
    ws = await session.ws_connect(opened["url"])
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await session.ws_connect(opened["url"])
    await ws.close()


async def test_an_app_that_is_gone_before_its_pings_are_answered_leaves_no_traceback(
    playground: Playground, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    ws = await raw_socket(playground, session)
    for _ in range(10):
        await ws.ping()
    transport = ws._writer.transport
    assert transport is not None
    transport.abort()
    while playground.delivery.sockets:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    assert not caplog.records


async def test_sockets_take_turns(playground: Playground, session: aiohttp.ClientSession) -> None:
    sockets = [await raw_socket(playground, session) for _ in range(2)]
    for ws in sockets:
        asked = asyncio.create_task(playground.say(ANN, CERTS, "/ssl list"))
        envelope = await ws.receive_json()
        assert (envelope["type"], envelope["accepts_response_payload"]) == ("slash_commands", True)
        payload = {"text": "by socket"}
        await ws.send_json({"envelope_id": envelope["envelope_id"], "payload": payload})
        await asked
        await ws.close()
        await playground.wait_for(lambda w: len(playground.delivery.sockets) <= 1)
    assert [m.text for m in playground.workspace.messages(CERTS, ANN)] == ["by socket"] * 2


async def test_a_command_fails_when_its_websocket_closes(
    playground: Playground, session: aiohttp.ClientSession
) -> None:
    ws = await raw_socket(playground, session)
    asked = asyncio.create_task(playground.say(ANN, CERTS, "/ssl list"))
    await ws.receive_json()
    await ws.close()
    await asked
    assert last_notice(playground) == "/ssl failed with the error operation_timeout"


@pytest.mark.slow
async def test_bolt_reconnects_when_asked_to(
    playground: Playground, session: aiohttp.ClientSession, payloads: list[Json]
) -> None:
    app = bolt_app(playground, session, payloads)
    handler = untyped(AsyncSocketModeHandler(app, playground.app.app_token))
    await handler.connect_async()
    await playground.wait_for(lambda _: playground.delivery.sockets)
    first = playground.delivery.sockets[0]
    await playground.delivery.disconnect("refresh_requested")
    await playground.wait_for(
        lambda _: playground.delivery.sockets and playground.delivery.sockets[0] is not first
    )
    await playground.say(ANN, CERTS, "/ssl again")
    assert [m.text for m in playground.workspace.messages(CERTS, ANN)] == ["you said again"]
    await handler.close_async()


async def test_an_eleventh_socket_is_refused(
    playground: Playground, session: aiohttp.ClientSession
) -> None:
    sockets = [await raw_socket(playground, session) for _ in range(10)]
    client = AsyncWebClient(base_url=playground.api_url, session=session)
    opened = await client.apps_connections_open(app_token=playground.app.app_token)
    ws = await session.ws_connect(opened["url"])
    assert (await ws.receive_json())["reason"] == "too_many_websockets"
    for each in [*sockets, ws]:
        await each.close()
