import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import Playground
from bot.playground.objects import ANN, BEN, CERTS, PARTNERS
from bot.playground.rates import CALLS_PER_MINUTE, MESSAGES_PER_MINUTE, RateLimited, Rates
from bot.playground.web_api.methods import METHODS
from tests.playground.conftest import Clock


@pytest.mark.parametrize(("tier", "calls"), CALLS_PER_MINUTE.items())
def test_each_tier_allows_its_number_of_calls_a_minute(tier: int, calls: int, clock: Clock) -> None:
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


def test_a_channel_and_a_workspace_take_so_many_messages(clock: Clock) -> None:
    rates = Rates(clock, counting=True)
    rates.message(CERTS)
    rates.message(PARTNERS)
    clock.move(seconds=0.9)
    with pytest.raises(RateLimited) as caught:
        rates.message(CERTS)
    assert caught.value.retry_after == 1
    clock.move(seconds=0.1)
    rates.message(CERTS)

    rates = Rates(clock, counting=True)
    for number in range(MESSAGES_PER_MINUTE):
        rates.message(f"C{number}")
    with pytest.raises(RateLimited):
        rates.message(CERTS)


def test_nothing_is_counted_by_default(clock: Clock) -> None:
    rates = Rates(clock)
    for _ in range(2):
        rates.call("a.method", 1)
        rates.message(CERTS)


def test_methods_are_in_the_tier_that_slack_documents() -> None:
    documented = {
        "apps.connections.open": 3,
        "chat.delete": 3,
        "chat.postEphemeral": 4,
        "chat.update": 3,
        "conversations.history": 3,
        "usergroups.users.list": 2,
        "users.info": 4,
        "views.open": 3,
    }
    assert {name: METHODS[name].tier for name in documented} == documented


async def test_calls_above_the_rate_get_429_for_that_method_only(
    playground: Playground, client: AsyncWebClient, clock: Clock
) -> None:
    playground.workspace.rates.counting = True
    playground.workspace.usergroups["S1"] = {"id": "S1", "handle": "ops", "users": [ANN]}
    for _ in range(20):
        await client.usergroups_users_list(usergroup="S1")
    clock.move(seconds=50)
    with pytest.raises(SlackApiError) as caught:
        await client.usergroups_users_list(usergroup="S1")
    response = caught.value.response
    assert (response.status_code, response["error"]) == (429, "ratelimited")
    assert response.headers["Retry-After"] == "10"
    await client.users_info(user=ANN)
    clock.move(seconds=10)
    await client.usergroups_users_list(usergroup="S1")


async def test_messages_above_the_rate_get_429_for_that_channel_only(
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
