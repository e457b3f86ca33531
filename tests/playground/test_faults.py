"""The faults that tests inject, as the app's side of the wire sees them."""

import asyncio
import time
from dataclasses import replace

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import Playground
from bot.playground.faults import (
    InjectedFault,
    cut_answer,
    delay,
    dropped_connection,
    http_answer,
    rate_limit,
    refusal,
)
from bot.playground.objects import ANN, CERTS
from tests.playground.conftest import refused

POST = "chat.postMessage"


def texts(playground: Playground) -> list[str]:
    return [message.text for message in playground.workspace.messages(CERTS)]


async def post(playground: Playground, session: aiohttp.ClientSession) -> tuple[int, str]:
    """Post a message without the SDK, and return the answer's status and body."""
    args = {"token": playground.app.bot_token, "channel": CERTS, "text": "hello"}
    async with session.post(f"{playground.api_url}{POST}", data=args) as response:
        return response.status, await response.text()


async def test_faults_come_in_order_and_end(playground: Playground, client: AsyncWebClient) -> None:
    playground.workspace.faults.add(POST, refusal("is_archived"), times=2)
    for _ in range(2):
        with refused("is_archived"):
            await client.chat_postMessage(channel=CERTS, text="x")
    assert texts(playground) == []
    await client.chat_postMessage(channel=CERTS, text="works again")
    assert texts(playground) == ["works again"]

    playground.workspace.faults.add(POST, refusal("internal_error"))
    playground.workspace.faults.add(POST, refusal("not_in_channel"))
    await client.auth_test()
    for error in ("internal_error", "not_in_channel"):
        with refused(error):
            await client.chat_postMessage(channel=CERTS, text="x")


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (http_answer(504, "<html>Gateway Timeout</html>"), (504, "<html>Gateway Timeout</html>")),
        (http_answer(200, ""), (200, "")),
        (http_answer(200, '{"ok": tr'), (200, '{"ok": tr')),
        (refusal("fatal_error"), (200, '{"ok": false, "error": "fatal_error"}')),
    ],
)
async def test_an_answer_is_replaced_before_the_effect_or_after_it(
    playground: Playground,
    session: aiohttp.ClientSession,
    fault: InjectedFault,
    answer: tuple[int, str],
) -> None:
    playground.workspace.faults.add(POST, fault)
    assert await post(playground, session) == answer
    assert texts(playground) == []
    playground.workspace.faults.add(POST, replace(fault, after=True))
    assert await post(playground, session) == answer
    assert texts(playground) == ["hello"]


@pytest.mark.parametrize(("after", "posted"), [(False, []), (True, ["hello"])])
async def test_a_connection_drops_before_the_effect_or_after_it(
    playground: Playground, session: aiohttp.ClientSession, after: bool, posted: list[str]
) -> None:
    playground.workspace.faults.add(POST, dropped_connection(after=after))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await post(playground, session)
    assert texts(playground) == posted


async def test_an_answer_is_cut_off_or_late(
    playground: Playground, session: aiohttp.ClientSession
) -> None:
    playground.workspace.faults.add(POST, cut_answer())
    with pytest.raises(aiohttp.ClientPayloadError):
        await post(playground, session)
    assert texts(playground) == ["hello"]

    playground.workspace.faults.add(POST, delay(0.05))
    start = time.monotonic()
    assert (await post(playground, session))[0] == 200
    assert time.monotonic() - start >= 0.05


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [
        (7, "7"),
        (1.5, "1.5"),
        ("Wed, 25 Nov 2026 12:00:00 GMT", "Wed, 25 Nov 2026 12:00:00 GMT"),
        ("soon", "soon"),
        (None, None),
    ],
)
async def test_a_rate_limit_has_any_retry_after_or_none(
    playground: Playground,
    client: AsyncWebClient,
    retry_after: float | str | None,
    header: str | None,
) -> None:
    playground.workspace.faults.add(POST, rate_limit(retry_after))
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=CERTS, text="x")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers.get("Retry-After") == header
    await client.chat_postMessage(channel=CERTS, text="later")
    assert texts(playground) == ["later"]


@pytest.mark.parametrize(("after", "posted"), [(False, []), (True, ["hello"])])
async def test_a_held_request_waits_for_its_release(
    playground: Playground, session: aiohttp.ClientSession, after: bool, posted: list[str]
) -> None:
    request = playground.workspace.faults.hold(POST, after=after)
    call = asyncio.create_task(post(playground, session))
    await request.reached.wait()
    assert texts(playground) == posted
    assert not call.done()
    request.release()
    assert (await call)[0] == 200
    assert texts(playground) == ["hello"]


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (refusal("expired_url"), (404, '{"ok": false, "error": "expired_url"}')),
        (refusal("invalid_blocks"), (400, '{"ok": false, "error": "invalid_blocks"}')),
        (rate_limit(), (429, '{"ok": false, "error": "ratelimited"}')),
        (http_answer(500), (500, "")),
    ],
)
async def test_a_response_url_fails_with_slacks_status(
    playground: Playground,
    session: aiohttp.ClientSession,
    fault: InjectedFault,
    answer: tuple[int, str],
) -> None:
    url = f"{playground.url}response/{playground.tickets.response_url(ANN, CERTS)}"
    playground.workspace.faults.add("response_url", fault)
    async with session.post(url, json={"text": "hello"}) as response:
        assert (response.status, await response.text()) == answer
    assert playground.workspace.messages(CERTS, ANN) == []
    async with session.post(url, json={"text": "hello"}) as response:
        assert response.status == 200


async def test_an_upload_of_bytes_fails_after_it_was_announced(
    playground: Playground, client: AsyncWebClient, session: aiohttp.ClientSession
) -> None:
    announced = await client.files_getUploadURLExternal(filename="a.csv", length=3)
    playground.workspace.faults.add("upload", http_answer(502))
    async with session.post(announced["upload_url"], data=b"a,b") as response:
        assert response.status == 502
    with refused("file_not_found"):
        await client.files_completeUploadExternal(files=[{"id": announced["file_id"]}])


@pytest.mark.parametrize("error", ["token_revoked", "link_disabled"])
async def test_a_websocket_url_is_refused(playground: Playground, error: str) -> None:
    playground.workspace.faults.add("apps.connections.open", refusal(error))
    client = AsyncWebClient(base_url=playground.api_url)
    with refused(error):
        await client.apps_connections_open(app_token=playground.app.app_token)


async def test_a_websocket_fails_to_open_and_its_ticket_stays_valid(
    playground: Playground, session: aiohttp.ClientSession
) -> None:
    client = AsyncWebClient(base_url=playground.api_url, session=session)
    opened = await client.apps_connections_open(app_token=playground.app.app_token)
    playground.workspace.faults.add("socket", http_answer(503))
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await session.ws_connect(opened["url"])
    assert caught.value.status == 503
    ws = await session.ws_connect(opened["url"])
    assert (await ws.receive_json())["type"] == "hello"
    await ws.close()


async def test_a_prevented_call_is_in_the_traffic_too(
    playground: Playground, session: aiohttp.ClientSession
) -> None:
    playground.workspace.faults.add(POST, http_answer(504))
    await post(playground, session)
    playground.workspace.faults.add(POST, http_answer(504, after=True))
    await post(playground, session)
    assert [entry["name"] for entry in playground.workspace.traffic] == [POST, POST]
