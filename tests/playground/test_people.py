import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import Playground, PlaygroundError
from bot.playground.objects import (
    ANN,
    BEN,
    CERTS,
    ENTERPRISE_ID,
    GENERAL,
    OLGA,
    PARTNERS,
    SECRET,
    TEAM_ID,
    User,
)
from bot.playground.payloads import typed_text
from tests.playground.blocks import actions, button

Json = dict[str, Any]


class SocketBot:
    """A bot on one websocket that acknowledges and keeps every payload."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.payloads: list[Json] = []

    async def run(self) -> None:
        async for message in self.ws:
            envelope = message.json()
            if "envelope_id" in envelope:
                self.payloads.append(envelope["payload"])
                await self.ws.send_json({"envelope_id": envelope["envelope_id"]})


@pytest.fixture
async def bot(playground: Playground, session: aiohttp.ClientSession) -> AsyncIterator[SocketBot]:
    client = AsyncWebClient(base_url=playground.api_url, session=session)
    opened = await client.apps_connections_open(app_token=playground.app.app_token)
    bot = SocketBot(await session.ws_connect(opened["url"]))
    running = asyncio.create_task(bot.run())
    yield bot
    await bot.ws.close()
    await running


def last_notice(playground: Playground) -> str:
    return playground.workspace.notices[-1].text


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("scan example.com now", "scan <http://example.com|example.com> now"),
        ("host example.com:8443.", "host <http://example.com:8443|example.com:8443>."),
        ("see https://example.com/a?b=1.", "see <https://example.com/a?b=1>."),
        ("@SSLBot help", "<@U0BOT> help"),
        ("<@U0BOT> help", "<@U0BOT> help"),
        ("mail ann@example.com", "mail ann@example.com"),
        ("a < b && c", "a &lt; b &amp;&amp; c"),
        ("version 1.2.3", "version 1.2.3"),
    ],
)
def test_typed_text_is_stored_as_in_slack(playground: Playground, typed: str, stored: str) -> None:
    assert typed_text(typed, playground.workspace) == stored


async def test_what_slack_refuses_does_not_arrive(playground: Playground, bot: SocketBot) -> None:
    await playground.say(ANN, PARTNERS, "hello")
    ts = playground.workspace.messages(PARTNERS)[0].ts
    await playground.say(OLGA, PARTNERS, "/ssl list")
    await playground.shortcut(OLGA, "scan_hosts", PARTNERS, ts)
    assert [notice.user for notice in playground.workspace.notices] == [OLGA, OLGA]
    assert all("another team" in notice.text for notice in playground.workspace.notices)
    assert bot.payloads == []

    await playground.say(ANN, CERTS, "hello")
    ts = playground.workspace.messages(CERTS)[-1].ts
    await playground.say(ANN, CERTS, "/ssl list", thread_ts=ts)
    assert last_notice(playground) == "/ssl is not supported in threads. Sorry!"
    assert bot.payloads == []

    await playground.say(ANN, CERTS, "/tls list")
    assert last_notice(playground) == "/tls is not a valid command."
    assert bot.payloads == []

    await playground.say(ANN, GENERAL, "/invite @Gus")
    assert last_notice(playground) == "Only @SSLBot can be invited here."

    with pytest.raises(PlaygroundError, match="Ben is not in D0ANN"):
        await playground.say(BEN, "D0ANN", "hello")
    with pytest.raises(PlaygroundError, match="no user"):
        await playground.say("U0NOBODY", CERTS, "hello")


async def test_mentions_and_dms_are_events(playground: Playground, bot: SocketBot) -> None:
    await playground.say(ANN, CERTS, "just talking")
    await playground.say(ANN, "D0ANN", "help me")
    [payload] = bot.payloads
    event = payload["event"]
    assert (event["type"], event["channel_type"], event["text"]) == ("message", "im", "help me")

    await playground.say(ANN, CERTS, "hello")
    first = playground.workspace.messages(CERTS)[-1].ts
    await playground.say(BEN, CERTS, "reply", thread_ts=first)
    reply = playground.workspace.messages(CERTS)[-1].ts
    await playground.say(ANN, CERTS, "@SSLBot help", thread_ts=reply)
    assert bot.payloads[-1]["event"]["thread_ts"] == first

    await playground.say(OLGA, PARTNERS, "@SSLBot help")
    payload = bot.payloads[-1]
    assert payload["is_ext_shared_channel"] is True
    assert (payload["event"]["type"], payload["event"]["user_team"]) == ("app_mention", "T0OTHER")


async def test_a_mention_needs_the_bot_in_the_channel_and_a_command_does_not(
    playground: Playground, bot: SocketBot
) -> None:
    await playground.say(ANN, GENERAL, "@SSLBot help")
    assert last_notice(playground) == "You mentioned SSLBot, but they're not in this channel."
    await playground.say(ANN, GENERAL, "/invite @SSLBot")
    await playground.say(ANN, GENERAL, "@SSLBot help")
    kinds = [payload["event"]["type"] for payload in bot.payloads]
    assert kinds == ["member_joined_channel", "app_mention"]

    await playground.say(ANN, SECRET, "/ssl list")
    await playground.say(ANN, "D0ANN", "/ssl list")
    assert [payload["channel_name"] for payload in bot.payloads[2:]] == [
        "privategroup",
        "directmessage",
    ]


async def test_a_shortcut_without_a_running_app_ends_in_a_notice(playground: Playground) -> None:
    await playground.say(ANN, CERTS, "look at example.com")
    [message] = playground.workspace.messages(CERTS)
    await playground.shortcut(ANN, "scan_hosts", CERTS, message.ts)
    assert last_notice(playground) == "Scan hosts failed: the app is not running"


async def test_a_member_from_another_workspace_of_the_organization_is_no_outsider(
    playground: Playground, bot: SocketBot, client: AsyncWebClient
) -> None:
    grid = User("U0GRID", "Gil", "Gil Grid", team_id="T0002", workspaces=("T0002", TEAM_ID))
    playground.workspace.add_user(grid)
    playground.workspace.channels[CERTS].members.add(grid.id)
    user = (await client.users_info(user=grid.id))["user"]
    assert (user["team_id"], user["enterprise_user"]["teams"]) == ("T0002", ["T0002", TEAM_ID])
    await client.chat_postMessage(channel=CERTS, text="x", blocks=[actions(button(action_id="go"))])
    await playground.say(grid.id, CERTS, "/ssl list")
    await playground.press(grid.id, channel=CERTS, action_id="go")
    command, press = bot.payloads
    assert (command["team_id"], command["enterprise_id"]) == (TEAM_ID, ENTERPRISE_ID)
    assert (press["team"]["id"], press["user"]["team_id"]) == (TEAM_ID, "T0002")
    assert press["enterprise"]["id"] == ENTERPRISE_ID


async def test_waiting_ends_or_times_out(playground: Playground, client: AsyncWebClient) -> None:
    waiting = asyncio.create_task(playground.wait_for(lambda w: w.messages(CERTS)))
    await client.chat_postMessage(channel=CERTS, text="now")
    [message] = await waiting
    assert message.text == "now"

    await client.auth_test()
    with pytest.raises(TimeoutError, match=r"auth\.test"):
        await playground.wait_for(lambda w: w.home(ANN), within=0.01)


async def test_a_port_in_use_is_an_error_that_leaves_nothing_open(playground: Playground) -> None:
    port = int(playground.url.rstrip("/").rpartition(":")[2])
    other = Playground(playground.app, clock=playground.workspace.clock)
    with pytest.raises(OSError, match="address already in use"):
        await other.start(port=port)
