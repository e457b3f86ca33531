import json
from typing import Any

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import Playground
from bot.playground.objects import ANN, BEN, CERTS, GENERAL
from bot.playground.workspace import REPLAY
from tests.playground.blocks import actions, button, field, modal

Json = dict[str, Any]


class Page:
    """The requests that the page's scripts send."""

    def __init__(self, playground: Playground, session: aiohttp.ClientSession) -> None:
        self.url = playground.url
        self.session = session

    async def get(self, path: str, **headers: str) -> Json:
        async with self.session.get(f"{self.url}page/{path}", headers=headers) as response:
            body: Json = await response.json()
            return body | {"status": response.status}

    async def post(self, path: str, **body: Any) -> Json:
        async with self.session.post(f"{self.url}page/{path}", json=body) as response:
            answer: Json = await response.json()
            return answer

    async def events(self, after: int, count: int, user: str = ANN) -> list[Json]:
        """Read the first events of the stream."""
        events: list[Json] = []
        url = f"{self.url}page/events?user={user}&after={after}"
        async with self.session.get(url) as stream:
            assert stream.content_type == "text/event-stream"
            async for line in stream.content:
                if line.startswith(b"data: "):
                    events.append(json.loads(line.removeprefix(b"data: ")))
                if len(events) == count:
                    return events
        return events


@pytest.fixture
def page(playground: Playground, session: aiohttp.ClientSession) -> Page:
    return Page(playground, session)


async def test_the_page_starts_with_what_one_may_see(page: Page, client: AsyncWebClient) -> None:
    await client.chat_postMessage(channel=CERTS, text="for all")
    await client.chat_postEphemeral(channel=CERTS, user=BEN, text="for Ben")
    ann, ben = await page.get("bootstrap?user=U0ANN"), await page.get("bootstrap?user=U0BEN")
    assert [m["text"] for m in ann["messages"][CERTS]] == ["for all"]
    assert [m["text"] for m in ben["messages"][CERTS]] == ["for all", "for Ben"]
    assert [m["ephemeral"] for m in ben["messages"][CERTS]] == [False, True]
    assert ann["team"] == {"id": "T0LOCAL", "name": "Playground"}
    assert ann["app"] == {"id": "A0SSL", "name": "SSLBot", "bot_user": "U0BOT"}
    assert ann["completions"] == [
        {"command": "/ssl", "insert": "help", "usage": "help", "help": "Show help"}
    ]
    assert ann["shortcuts"] == [{"callback_id": "scan_hosts", "name": "Scan hosts"}]
    channels = {channel["id"]: channel for channel in ann["channels"]}
    assert "D0BEN" not in channels
    assert channels["D0ANN"]["user"] == ANN
    assert (channels[CERTS]["is_member"], channels[GENERAL]["is_member"]) == (True, False)
    people = {user["id"]: user for user in ann["users"]}
    assert (people["U0GUS"]["guest"], people["U0OLGA"]["outsider"]) == (True, True)
    assert (ann["home"], ann["modals"]) == (None, [])

    assert (await page.get("bootstrap?user=U0NOBODY"))["ok"] is False


async def test_events_are_streamed_to_those_they_concern(
    page: Page, playground: Playground, client: AsyncWebClient
) -> None:
    start = playground.workspace.cursor
    await client.chat_postEphemeral(channel=CERTS, user=BEN, text="for Ben")
    ts = (await client.chat_postMessage(channel=CERTS, text="for all"))["ts"]
    await client.chat_delete(channel=CERTS, ts=ts)
    await client.views_publish(user_id=ANN, view={"type": "home", "blocks": []})
    await client.views_open(trigger_id=playground.tickets.trigger(ANN), view=modal())
    await page.post("say", user=ANN, channel=CERTS, text="/ssl list")
    events = await page.events(start, 5)
    kinds = [event["kind"] for event in events]
    assert kinds == ["message", "message_removed", "home", "modals", "notice"]
    assert events[0]["message"]["text"] == "for all"
    assert [event["cursor"] for event in events] == sorted(event["cursor"] for event in events)
    [first] = await page.events(start, 1, user=BEN)
    assert first["message"]["text"] == "for Ben"

    start = playground.workspace.cursor
    url = f"{page.url}page/events?user={ANN}&after={start}"
    async with page.session.get(url) as stream:
        await page.post("say", user=BEN, channel=CERTS, text="hello")
        event = json.loads((await stream.content.readline()).removeprefix(b"data: "))
    assert event["message"]["text"] == "hello"


async def test_a_page_that_missed_too_much_reloads(page: Page, playground: Playground) -> None:
    for number in range(REPLAY + 1):
        playground.workspace.notice(ANN, None, str(number))
    for cursor in (0, playground.workspace.cursor + 1):
        assert await page.events(cursor, 1) == [{"kind": "reload"}]


async def test_private_metadata_does_not_go_to_the_page(
    page: Page, playground: Playground, client: AsyncWebClient
) -> None:
    view = modal(private_metadata="secret")
    await client.views_open(trigger_id=playground.tickets.trigger(ANN), view=view)
    [view_on_page] = (await page.get("bootstrap?user=U0ANN"))["modals"]
    assert "private_metadata" not in view_on_page
    assert view_on_page["title"] == view["title"]
    assert view_on_page["id"]
    assert view_on_page["hash"]


async def test_an_impossible_press_fails(
    page: Page, playground: Playground, client: AsyncWebClient
) -> None:
    answer = await page.post("press", user=ANN, channel=CERTS, ts="1.0", action_id="x")
    assert answer == {"ok": False, "error": "U0ANN sees no message 1.0 in C0CERTS"}
    assert (await page.post("press", user=ANN))["error"] == "action_id is missing"

    blocks = [actions(button(action_id="go"))]
    ts = (await client.chat_postMessage(channel=CERTS, text="x", blocks=blocks))["ts"]
    sent = {"user": ANN, "channel": CERTS, "ts": ts, "action_id": "go", "values": {}}
    assert await page.post("press", **sent) == {"ok": True}
    assert playground.workspace.notices[-1].text == "x failed: the app is not running"

    trigger = playground.tickets.trigger(ANN)
    view = (await client.views_open(trigger_id=trigger, view=modal(field(block_id="f"))))["view"]
    answer = await page.post("submit", user=ANN, view_id=view["id"], values={})
    assert answer == {"ok": True, "errors": {"f": "Please complete this required field."}}
    assert (await page.post("close", user=ANN, view_id=view["id"]))["ok"] is True
    assert playground.workspace.modal(ANN) is None


async def test_the_traffic_can_be_read(page: Page, client: AsyncWebClient) -> None:
    await client.auth_test()
    [entry] = (await page.get("traffic"))["traffic"]
    assert (entry["direction"], entry["name"], entry["answer"]["ok"]) == ("in", "auth.test", True)


async def test_only_this_machine_and_this_page_have_access(page: Page) -> None:
    foreign = (
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
    )
    for headers in foreign:
        answer = await page.get("bootstrap?user=U0ANN", **headers)
        assert answer["status"] == 403, headers

    origin = page.url.rstrip("/")
    assert (await page.get("bootstrap?user=U0ANN", Origin=origin))["status"] == 200

    async with page.session.post(f"{page.url}page/say", data={"user": ANN}) as response:
        assert response.status == 415
    headers = {"Content-Type": "application/json"}
    for body in ("{", "[]"):
        async with page.session.post(f"{page.url}page/say", data=body, headers=headers) as response:
            assert response.status == 400

    for path in ("page/..%2fpeople.py", "page/people.py", "page/nothing.js", "page/index.html"):
        async with page.session.get(f"{page.url}{path}") as response:
            assert response.status == 404, path

    async with page.session.get(page.url) as response:
        assert (response.status, response.content_type) == (200, "text/html")

    async with page.session.get(page.url) as response:
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
