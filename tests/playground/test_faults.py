"""What goes wrong between the app and Slack: as a test asks, or by calls that come too often."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import App, Playground
from bot.playground.objects import ANN, BEN, CERTS, PARTNERS
from bot.playground.rates import CALLS_A_MINUTE, MESSAGES_A_MINUTE, RateLimited, Rates
from bot.playground.web_api.methods import METHODS
from tests.playground.conftest import Clock


def error_of(caught: pytest.ExceptionInfo[SlackApiError]) -> str:
    return str(caught.value.response["error"])


async def test_a_rate_limited_method_says_when_to_come_back(
    playground: Playground, client: AsyncWebClient
) -> None:
    playground.workspace.rate_limit("chat.postMessage", retry_after=7)
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=CERTS, text="x")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "7"
    await client.auth_test()
    await client.chat_postMessage(channel=CERTS, text="x")


async def test_the_sdk_waits_and_comes_back(playground: Playground, client: AsyncWebClient) -> None:
    client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=1))
    playground.workspace.rate_limit("chat.postMessage", retry_after=0)
    await client.chat_postMessage(channel=CERTS, text="at last")
    assert [m.text for m in playground.workspace.messages(CERTS)] == ["at last"]


async def test_a_method_fails_once_when_a_test_says_so(
    playground: Playground, client: AsyncWebClient
) -> None:
    playground.workspace.fail("chat.postMessage", "is_archived")
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=CERTS, text="x")
    assert error_of(caught) == "is_archived"
    await client.chat_postMessage(channel=CERTS, text="x")
    assert len(playground.workspace.messages(CERTS)) == 1


async def test_a_dropped_connection_has_posted_all_the_same(
    playground: Playground, client: AsyncWebClient
) -> None:
    playground.workspace.drop("chat.postMessage")
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel=CERTS, text="did it work")
    assert len(playground.workspace.messages(CERTS)) == 1


async def test_a_held_answer_comes_when_the_test_lets_go(
    playground: Playground, client: AsyncWebClient
) -> None:
    fault = playground.workspace.hold("chat.postMessage")
    call = asyncio.create_task(client.chat_postMessage(channel=CERTS, text="x"))
    await fault.reached.wait()
    assert len(playground.workspace.messages(CERTS)) == 1
    assert not call.done()
    assert fault.gate is not None
    fault.gate.set()
    assert (await call)["ok"] is True


async def test_the_traffic_shows_calls_without_secrets(
    playground: Playground, client: AsyncWebClient, app: App
) -> None:
    await client.chat_postMessage(channel=CERTS, text=f"my token is {app.bot_token}")
    entry = playground.workspace.traffic[-1]
    assert (entry["direction"], entry["name"]) == ("in", "chat.postMessage")
    assert app.bot_token not in str(list(playground.workspace.traffic))


@pytest.mark.parametrize(("tier", "calls"), [(1, 1), (2, 20), (3, 50), (4, 100)])
def test_each_tier_has_its_number_of_calls_a_minute(tier: int, calls: int, clock: Clock) -> None:
    rates = Rates(clock, counting=True)
    for _ in range(calls):
        rates.call("a.method", tier)
    clock.move(seconds=20)
    with pytest.raises(RateLimited) as caught:
        rates.call("a.method", tier)
    assert caught.value.retry_after == 40
    rates.call("another.method", tier)
    clock.move(seconds=40)
    rates.call("a.method", tier)


def test_a_channel_takes_a_message_a_second(clock: Clock) -> None:
    rates = Rates(clock, counting=True)
    rates.message(CERTS)
    rates.message(PARTNERS)
    clock.move(seconds=0.9)
    with pytest.raises(RateLimited) as caught:
        rates.message(CERTS)
    assert caught.value.retry_after == 1
    clock.move(seconds=0.1)
    rates.message(CERTS)


def test_a_workspace_takes_some_hundred_messages_a_minute(clock: Clock) -> None:
    rates = Rates(clock, counting=True)
    for number in range(MESSAGES_A_MINUTE):
        rates.message(f"C{number}")
    with pytest.raises(RateLimited):
        rates.message(CERTS)


def test_nothing_is_counted_unless_asked(clock: Clock) -> None:
    rates = Rates(clock)
    for _ in range(2):
        rates.call("a.method", 1)
        rates.message(CERTS)


@pytest.mark.parametrize(
    ("method", "tier"),
    [
        ("chat.update", 3),
        ("chat.delete", 3),
        ("views.open", 3),
        ("conversations.history", 3),
        ("apps.connections.open", 3),
        ("chat.postEphemeral", 4),
        ("users.info", 4),
        ("users.list", 2),
    ],
)
def test_methods_are_in_the_tier_their_page_names(method: str, tier: int) -> None:
    assert METHODS[method].tier == tier
    assert {one.tier for one in METHODS.values()} <= set(CALLS_A_MINUTE)


async def test_calls_too_often_get_429_for_that_method_alone(
    playground: Playground, client: AsyncWebClient, clock: Clock
) -> None:
    playground.workspace.rates.counting = True
    for _ in range(20):
        await client.users_list()
    clock.move(seconds=50)
    with pytest.raises(SlackApiError) as caught:
        await client.users_list()
    assert (caught.value.response.status_code, error_of(caught)) == (429, "ratelimited")
    assert caught.value.response.headers["Retry-After"] == "10"
    await client.users_info(user=ANN)
    clock.move(seconds=10)
    await client.users_list()


async def test_messages_too_often_get_429_for_that_channel_alone(
    playground: Playground, client: AsyncWebClient, clock: Clock
) -> None:
    playground.workspace.rates.counting = True
    await client.chat_postMessage(channel=BEN, text="1")
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="D0BEN", text="2")
    assert caught.value.response.headers["Retry-After"] == "1"
    await client.chat_postMessage(channel=CERTS, text="elsewhere")
    clock.move(seconds=1)
    await client.chat_postMessage(channel=BEN, text="2")
    assert [m.text for m in playground.workspace.messages("D0BEN", BEN)] == ["1", "2"]
