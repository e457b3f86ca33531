import json
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import App, Playground
from bot.playground.objects import (
    ANN,
    BEN,
    BOT_USER,
    CERTS,
    GENERAL,
    OLGA,
    OTHER_TEAM_ID,
    PARTNERS,
    SECRET,
    TEAM_ID,
)
from tests.playground.conftest import Clock, refused

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}


async def test_auth_test_identifies_the_bot(client: AsyncWebClient, app: App) -> None:
    answer = await client.auth_test()
    assert (answer["team_id"], answer["user_id"], answer["bot_id"]) == (TEAM_ID, BOT_USER, "B0BOT")
    assert set(answer.headers["x-oauth-scopes"].split(",")) == app.scopes

    for method in ("chat.invent", "users.list"):
        with refused("unknown_method") as caught:
            await client.api_call(method)
        [message] = caught.value.response["response_metadata"]["messages"]
        assert method in message

    for client.token, error in (
        ("xoxb-other", "invalid_auth"),
        ("xapp-test-app", "not_allowed_token_type"),
    ):
        with refused(error):
            await client.auth_test()


async def test_a_token_is_required_and_may_be_in_the_form(
    playground: Playground, session: aiohttp.ClientSession, app: App
) -> None:
    url = f"{playground.api_url}auth.test"
    async with session.get(url) as response:
        assert await response.json() == {"ok": False, "error": "not_authed"}
    async with session.post(url, data={"token": app.bot_token}) as response:
        assert (await response.json())["ok"] is True


async def test_json_and_forms_are_alike(playground: Playground, client: AsyncWebClient) -> None:
    await client.api_call("chat.postMessage", json={"channel": CERTS, "blocks": [SECTION]})
    form = {"channel": CERTS, "blocks": json.dumps([SECTION])}
    await client.api_call("chat.postMessage", data=form)
    first, second = playground.workspace.messages(CERTS)
    assert first.blocks[0]["text"] == second.blocks[0]["text"] == SECTION["text"]

    with refused("invalid_blocks") as caught:
        await client.chat_postMessage(channel=CERTS, text="x", blocks=[{"type": "hologram"}])
    [message] = caught.value.response["response_metadata"]["messages"]
    assert message.startswith("[ERROR] unsupported type: hologram")


async def test_a_message_is_posted_and_changed(
    playground: Playground, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel=CERTS, text="one", blocks=[SECTION])
    assert posted["message"]["blocks"][0]["block_id"]
    blocks_alone = {"channel": CERTS, "ts": posted["ts"], "blocks": [SECTION, SECTION]}
    await client.api_call("chat.update", json=blocks_alone)
    [message] = playground.workspace.messages(CERTS)
    assert (message.text, len(message.blocks)) == ("one", 2)
    await client.chat_update(channel=CERTS, ts=posted["ts"], text="two")
    [message] = playground.workspace.messages(CERTS)
    assert (message.text, message.blocks) == ("two", [])
    await client.chat_delete(channel=CERTS, ts=posted["ts"])
    assert playground.workspace.messages(CERTS) == []


async def test_a_user_id_receives_a_message(playground: Playground, client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(channel=BEN, text="psst")
    assert posted["channel"] == "D0BEN"
    assert [m.text for m in playground.workspace.messages("D0BEN", BEN)] == ["psst"]


@pytest.fixture
def public_app(app: App) -> App:
    return replace(app, scopes=app.scopes | {"chat:write.public"})


async def test_chat_write_public_allows_posting_in_public_channels_only(
    public_app: App, clock: Clock, session: aiohttp.ClientSession
) -> None:
    playground = Playground(public_app, clock=clock)
    await playground.start()
    client = AsyncWebClient(public_app.bot_token, base_url=playground.api_url, session=session)
    await client.chat_postMessage(channel=GENERAL, text="hello")
    with refused("channel_not_found"):
        await client.chat_postMessage(channel=SECRET, text="hello")
    await playground.close()


async def test_a_missing_scope_is_named(clock: Clock, session: aiohttp.ClientSession) -> None:
    bare = App("A1", "Bare", "xoxb-1", "xapp-1", "s", frozenset({"commands"}))
    playground = Playground(bare, clock=clock)
    await playground.start()
    client = AsyncWebClient("xoxb-1", base_url=playground.api_url, session=session)
    with refused("missing_scope") as caught:
        await client.chat_postMessage(channel=CERTS, text="hello")
    assert caught.value.response["needed"] == "chat:write"
    assert caught.value.response["provided"] == "commands"
    await playground.close()


async def test_long_text_is_split_or_fails(playground: Playground, client: AsyncWebClient) -> None:
    await client.chat_postMessage(channel=CERTS, text="a" * 4040)
    assert len(playground.workspace.messages(CERTS)) == 1
    await client.chat_postMessage(channel=CERTS, text="b" * 4041)
    assert [len(m.text) for m in playground.workspace.messages(CERTS)] == [4040, 4000, 41]

    answer = await client.chat_postMessage(channel=CERTS, text="a" * 40_001)
    assert answer["response_metadata"]["warnings"] == ["message_truncated"]
    assert sum(len(m.text) for m in playground.workspace.messages(CERTS)[3:]) == 40_000

    ts = (await client.chat_postMessage(channel=CERTS, text="a"))["ts"]
    await client.chat_update(channel=CERTS, ts=ts, text="a" * 4000)
    with refused("msg_too_long"):
        await client.chat_update(channel=CERTS, ts=ts, text="a" * 4001)


async def test_what_is_not_its_own_stays(playground: Playground, client: AsyncWebClient) -> None:
    answer = await client.chat_postEphemeral(channel=CERTS, user=ANN, text="for you")
    assert [m.text for m in playground.workspace.messages(CERTS, ANN)] == ["for you"]
    assert playground.workspace.messages(CERTS, BEN) == []
    for change in (client.chat_update, client.chat_delete):
        with refused("message_not_found"):
            await change(channel=CERTS, ts=answer["message_ts"], text="x")
    assert (await client.conversations_history(channel=CERTS))["messages"] == []

    await playground.say(ANN, CERTS, "mine")
    ts = playground.workspace.messages(CERTS)[0].ts
    with refused("cant_update_message"):
        await client.chat_update(channel=CERTS, ts=ts, text="yours")
    with refused("cant_delete_message"):
        await client.chat_delete(channel=CERTS, ts=ts)


async def texts(client: AsyncWebClient, **arguments: Any) -> list[str]:
    history = await client.conversations_history(channel=CERTS, **arguments)
    return [message["text"] for message in history["messages"]]


async def test_history_and_threads_are_in_order(client: AsyncWebClient, clock: Clock) -> None:
    metadata = {"event_type": "digest", "event_payload": {"key": "k"}}
    first = (await client.chat_postMessage(channel=CERTS, text="1", metadata=metadata))["ts"]
    clock.move(minutes=1)
    await client.chat_postMessage(channel=CERTS, text="reply", thread_ts=first)
    await client.chat_postMessage(channel=CERTS, text="2")
    bare = await client.conversations_history(channel=CERTS)
    assert [message["text"] for message in bare["messages"]] == ["2", "1"]
    assert "metadata" not in bare["messages"][1]
    full = await client.conversations_history(channel=CERTS, include_all_metadata=True)
    assert full["messages"][1]["metadata"] == metadata
    thread = await client.conversations_replies(channel=CERTS, ts=first)
    assert [message["text"] for message in thread["messages"]] == ["1", "reply"]

    parent = (await client.chat_postMessage(channel=CERTS, text="parent"))["ts"]
    for number in range(3):
        await client.chat_postMessage(channel=CERTS, text=str(number), thread_ts=parent)
    page = await client.conversations_replies(channel=CERTS, ts=parent, limit=2)
    assert [message["text"] for message in page["messages"]] == ["parent", "0"]
    cursor = page["response_metadata"]["next_cursor"]
    page = await client.conversations_replies(channel=CERTS, ts=parent, limit=2, cursor=cursor)
    assert [message["text"] for message in page["messages"]] == ["1", "2"]


async def test_history_has_a_range_without_its_ends(client: AsyncWebClient, clock: Clock) -> None:
    ts = []
    for number in range(4):
        ts.append((await client.chat_postMessage(channel=CERTS, text=str(number)))["ts"])
        clock.move(minutes=1)
    assert await texts(client, oldest=ts[1]) == ["3", "2"]
    assert await texts(client, latest=ts[1]) == ["0"]
    assert await texts(client, oldest=ts[0], latest=ts[3]) == ["2", "1"]
    assert await texts(client, oldest=ts[1], latest=ts[2], inclusive=True) == ["2", "1"]


async def test_pages_stay_when_messages_come_and_go(client: AsyncWebClient) -> None:
    ts = [
        (await client.chat_postMessage(channel=CERTS, text=str(number)))["ts"]
        for number in range(5)
    ]
    page = await client.conversations_history(channel=CERTS, limit=2)
    assert [message["text"] for message in page["messages"]] == ["4", "3"]
    assert page["has_more"] is True
    await client.chat_postMessage(channel=CERTS, text="new")
    cursor = page["response_metadata"]["next_cursor"]
    assert await texts(client, limit=2, cursor=cursor) == ["2", "1"]
    await client.chat_delete(channel=CERTS, ts=ts[2])
    page = await client.conversations_history(channel=CERTS, limit=2, cursor=cursor)
    assert [message["text"] for message in page["messages"]] == ["1", "0"]
    assert (page["has_more"], page["response_metadata"]["next_cursor"]) == (False, "")
    for cursor in ("1", "bm9uc2Vuc2U="):
        with refused("invalid_cursor"):
            await client.conversations_history(channel=CERTS, cursor=cursor)


async def test_odd_messages_are_refused(playground: Playground, client: AsyncWebClient) -> None:
    for_ann = (await client.chat_postEphemeral(channel=CERTS, user=ANN, text="x"))["message_ts"]
    for arguments, error in (
        ({}, "no_text"),
        ({"blocks": "no json"}, "invalid_blocks_format"),
        ({"blocks": {"type": "divider"}}, "invalid_blocks_format"),
        ({"text": {"a": 1}}, "invalid_arguments"),
        ({"attachments": [{"text": "x"}]}, "invalid_arguments"),
        ({"text": "x", "metadata": {"event_type": "x"}}, "invalid_metadata_schema"),
        ({"text": "x", "thread_ts": "1.000001"}, "thread_not_found"),
        ({"text": "x", "thread_ts": for_ann}, "cannot_reply_to_message"),
        ({"text": "x", "channel": BOT_USER}, "cannot_dm_bot"),
        ({"text": "x", "channel": GENERAL}, "not_in_channel"),
        ({"text": "x", "channel": SECRET}, "channel_not_found"),
        ({"text": "x", "channel": "C0NOWHERE"}, "channel_not_found"),
    ):
        with refused(error):
            await client.api_call("chat.postMessage", json={"channel": CERTS, **arguments})
    with refused("user_not_in_channel"):
        await client.chat_postEphemeral(channel=CERTS, user=OLGA, text="for you")
    playground.workspace.channels[CERTS].is_archived = True
    with refused("is_archived"):
        await client.chat_postMessage(channel=CERTS, text="x")


async def test_history_needs_the_scope_for_its_kind_of_channel(
    app: App, clock: Clock, session: aiohttp.ClientSession
) -> None:
    playground = Playground(replace(app, scopes=app.scopes - {"im:history"}), clock=clock)
    await playground.start()
    client = AsyncWebClient(app.bot_token, base_url=playground.api_url, session=session)
    await client.conversations_history(channel=CERTS)
    with pytest.raises(SlackApiError) as caught:
        await client.conversations_history(channel="D0ANN")
    assert caught.value.response["needed"] == "im:history"
    await playground.close()


async def test_people_and_channels_are_told(client: AsyncWebClient, playground: Playground) -> None:
    olga = (await client.users_info(user=OLGA))["user"]
    assert (olga["team_id"], olga["is_stranger"]) == (OTHER_TEAM_ID, False)
    assert (await client.users_info(user="U0GUS"))["user"]["is_restricted"] is True
    assert (await client.users_info(user=ANN))["user"]["is_admin"] is True
    shared = (await client.conversations_info(channel=PARTNERS))["channel"]
    assert shared["is_ext_shared"] is True
    assert (await client.conversations_open(users=[ANN]))["channel"]["id"] == "D0ANN"

    playground.workspace.usergroups["S1"] = {"id": "S1", "handle": "ops", "users": [ANN]}
    assert (await client.usergroups_users_list(usergroup="S1"))["users"] == [ANN]
    with refused("no_such_subteam"):
        await client.usergroups_users_list(usergroup="S2")

    ts = (await client.chat_postMessage(channel=CERTS, text="1"))["ts"]
    link = await client.chat_getPermalink(channel=CERTS, message_ts=ts)
    assert link["permalink"].endswith(f"/archives/{CERTS}/p{ts.replace('.', '')}")
    with refused("message_not_found"):
        await client.chat_getPermalink(channel=CERTS, message_ts="1.0")


async def test_the_traffic_shows_calls_without_secrets(
    playground: Playground, client: AsyncWebClient, app: App
) -> None:
    await client.chat_postMessage(channel=CERTS, text=f"my token is {app.bot_token}")
    entry = playground.workspace.traffic[-1]
    assert (entry["direction"], entry["name"]) == ("in", "chat.postMessage")
    assert app.bot_token not in str(list(playground.workspace.traffic))


async def test_a_file_is_shared_once(playground: Playground, client: AsyncWebClient) -> None:
    done = await client.files_upload_v2(
        channel=CERTS, filename="list.csv", content="a,b\n", initial_comment="the list"
    )
    [message] = playground.workspace.messages(CERTS)
    assert (message.text, message.files[0]["name"]) == ("the list", "list.csv")
    file_id = done["files"][0]["id"]
    assert playground.workspace.files[file_id]["content"] == b"a,b\n"
    with refused("file_not_found"):
        await client.files_completeUploadExternal(files=[{"id": file_id, "title": "x"}])
