from typing import Any

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import Playground
from bot.playground.objects import ANN, BEN, CERTS, GENERAL
from tests.playground.conftest import Clock


class Answers:
    """Answers through response URLs, as Bolt's `respond()` does."""

    def __init__(self, playground: Playground, session: aiohttp.ClientSession) -> None:
        self.playground = playground
        self.session = session

    def url(self, channel: str = CERTS, ts: str | None = None) -> str:
        secret = self.playground.tickets.response_url(ANN, channel, ts)
        return f"{self.playground.url}response/{secret}"

    async def send(self, url: str, **body: Any) -> tuple[int, str]:
        async with self.session.post(url, json=body) as response:
            if response.content_type == "application/json":
                return response.status, (await response.json())["error"]
            return response.status, await response.text()


@pytest.fixture
def answers(playground: Playground, session: aiohttp.ClientSession) -> Answers:
    return Answers(playground, session)


def texts(playground: Playground, user: str | None = None) -> list[str]:
    return [message.text for message in playground.workspace.messages(CERTS, user)]


async def test_an_answer_is_ephemeral_by_default(playground: Playground, answers: Answers) -> None:
    url = answers.url()
    assert await answers.send(url, text="you") == (200, "ok")
    assert await answers.send(url, text="all", response_type="in_channel") == (200, "ok")
    assert texts(playground, ANN) == ["you", "all"]
    assert texts(playground, BEN) == ["all"]

    await answers.send(answers.url(GENERAL), text="hello", response_type="in_channel")
    assert [m.text for m in playground.workspace.messages(GENERAL)] == ["hello"]


async def test_five_answers_are_taken(
    answers: Answers, clock: Clock, playground: Playground
) -> None:
    url = answers.url()
    for _ in range(5):
        assert await answers.send(url, text="x") == (200, "ok")
    assert await answers.send(url, text="x") == (404, "used_url")

    url = answers.url()
    clock.move(minutes=30)
    assert await answers.send(url, text="x") == (200, "ok")
    clock.move(seconds=1)
    assert await answers.send(url, text="x") == (404, "expired_url")

    url = answers.url()
    bad = [{"type": "hologram"}]
    for _ in range(6):
        assert await answers.send(url, text="x", blocks=bad) == (400, "invalid_blocks")
    assert await answers.send(url) == (400, "no_text")
    assert await answers.send(url, text="x") == (200, "ok")


async def test_a_commands_answer_is_a_new_message(playground: Playground, answers: Answers) -> None:
    url = answers.url()
    await answers.send(url, text="one")
    await answers.send(url, text="two", replace_original=True)
    assert texts(playground, ANN) == ["one", "two"]
    assert await answers.send(url, delete_original=True) == (400, "no_text")


async def test_a_buttons_answer_replaces_its_message_but_not_who_sees_it(
    playground: Playground, answers: Answers, client: AsyncWebClient
) -> None:
    public = (await client.chat_postMessage(channel=CERTS, text="public"))["ts"]
    mine = (await client.chat_postEphemeral(channel=CERTS, user=ANN, text="mine"))["message_ts"]
    body = {"text": "new", "replace_original": True}
    await answers.send(answers.url(ts=mine), **body, response_type="in_channel")
    await answers.send(answers.url(ts=public), **body, response_type="ephemeral")
    assert texts(playground, ANN) == ["new", "new"]
    assert texts(playground, BEN) == ["new"]
    await answers.send(answers.url(ts=mine), delete_original=True)
    assert texts(playground, ANN) == ["new"]
    assert await answers.send(answers.url(ts=mine), **body) == (400, "message_not_found")


async def test_a_buttons_answer_is_a_new_message_unless_it_says_replace(
    playground: Playground, answers: Answers, client: AsyncWebClient
) -> None:
    ts = (await client.chat_postMessage(channel=CERTS, text="public"))["ts"]
    await answers.send(answers.url(ts=ts), text="note")
    assert texts(playground, ANN) == ["public", "note"]
    assert texts(playground) == ["public"]


async def test_only_an_answer_to_the_channel_goes_into_the_thread(
    playground: Playground, answers: Answers, client: AsyncWebClient
) -> None:
    ts = (await client.chat_postMessage(channel=CERTS, text="card"))["ts"]
    url = answers.url(ts=ts)
    where = {"response_type": "in_channel", "thread_ts": ts, "replace_original": False}
    await answers.send(url, text="reply", **where)
    await answers.send(url, text="private", thread_ts=ts)
    assert [m.text for m in playground.workspace.thread(CERTS, ts, ANN)] == ["card", "reply"]


async def test_text_without_blocks_removes_the_blocks(
    playground: Playground, answers: Answers, client: AsyncWebClient
) -> None:
    ts = (await client.chat_postMessage(channel=CERTS, text="x", blocks=[{"type": "divider"}]))[
        "ts"
    ]
    await answers.send(answers.url(ts=ts), text="done", replace_original=True)
    [message] = playground.workspace.messages(CERTS)
    assert message.blocks == []


async def test_the_traffic_masks_the_url(playground: Playground, answers: Answers) -> None:
    url = answers.url()
    await answers.send(url, text=f"the url is {url}")
    assert url.rpartition("/")[2] not in str(playground.workspace.traffic)
