"""What the bot does with monitor IDs once it uses another API, account or key."""

import copy
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest
import pytest_asyncio

from bot.config import Secret
from bot.playground.objects import ANN, BEN, BOT_USER, CERTS, Json, PostedMessage
from tests.world import Clock, MakeWorld, World, labels, words

HOST, OTHER = "api.demo.test", "other.demo.test"


@pytest_asyncio.fixture
async def no_bot(make_world: MakeWorld) -> AsyncIterator[World]:
    """A world in which no bot runs yet."""
    async with make_world(bots=0, DIGEST_CHANNEL=CERTS) as running:
        yield running


def new_key(world: World) -> None:
    """Give the API and the next bot another key, two minutes later."""
    cast("Clock", world.clock).move(minutes=2)
    world.api.key = "another-key"
    world.settings = replace(world.settings, api_key=Secret("another-key"))


def new_account(world: World) -> None:
    """Let the first ID belong to another host; its old host gets a new ID."""
    new_key(world)
    first = min(world.api.rows)
    row = dict(world.api.rows[first])
    world.api.rows[first] |= {"host": OTHER}
    world.api.add(HOST, ssl_message="Not valid", days=-1, valid=False)
    world.api.rows[max(world.api.rows)] |= {"ssl_expire_date_end": row["ssl_expire_date_end"]}
    world.api.calls.clear()


def scanned(world: World) -> list[str]:
    return [
        str(world.api.rows[int(asked["id"])]["host"]) for asked in world.api.asked("monitor/scan")
    ]


async def test_a_card_of_another_api_rescans_its_host_and_not_whatever_has_its_id(
    no_bot: World,
) -> None:
    no_bot.api.add(HOST, days=-1, valid=False)
    async with no_bot.running_bot():
        card = await no_bot.ask(f"/ssl status {HOST}", "EXPIRED")
        await no_bot.settled()
    new_account(no_bot)

    async with no_bot.running_bot():
        await no_bot.settled()
        await no_bot.press("Rescan", on=card)
        shown = await no_bot.card(HOST, "asked by Ann")
        await no_bot.settled()
        assert scanned(no_bot) == [HOST]
        assert OTHER not in words(shown)


async def test_a_watch_of_another_api_goes_on_with_its_host_and_not_whatever_has_its_id(
    no_bot: World,
) -> None:
    no_bot.api.add(HOST, days=-1, valid=False)
    async with no_bot.running_bot():
        card = await no_bot.ask(f"/ssl status {HOST}", "EXPIRED", by=BEN)
        await no_bot.ask(f"/ssl watch {HOST}", "Watching until")
        await no_bot.settled()
    new_account(no_bot)

    async with no_bot.running_bot():
        await no_bot.card("2 scans, next")
        await no_bot.settled()
        assert scanned(no_bot) == [HOST]
        await no_bot.press("Scan & watch", on=card, by=BEN)
        await no_bot.card("Watching until", "asked by Ben", by=BEN)
        await no_bot.settled()
        assert scanned(no_bot) == [HOST, HOST]
        await no_bot.ask(f"/ssl watch {OTHER}", "Watching until")
        assert scanned(no_bot) == [HOST, HOST, OTHER]


async def old_digest(world: World) -> PostedMessage:
    for host in ("a", "b", "c"):
        world.api.add(f"{host}.demo.test", days=-1, valid=False)
    async with world.running_bot():
        await world.digest.post_now(again=True)
        await world.settled()
        return await world.card("Certificates on 23 November 2026", by=BEN)


@pytest.mark.parametrize("marked", ["taken", "free"])
async def test_buttons_with_ids_alone_stop_working_with_another_api(
    marked: str, no_bot: World
) -> None:
    shown = await old_digest(no_bot)
    if marked == "taken":
        async with no_bot.running_bot():
            await no_bot.ask("/ssl take a.demo.test", "has taken")
    new_account(no_bot)

    async with no_bot.running_bot():
        await no_bot.settled()
        assert "Rescan all broken" in labels(shown)
        await no_bot.press("Rescan all broken", on=shown)
        await no_bot.card("Nothing was done: the API or its key has changed", "/ssl list")
        await no_bot.settled()
        assert scanned(no_bot) == []

        await no_bot.digest.post_now(again=True)
        await no_bot.press("Rescan all broken", on=no_bot.said("Certificates on"))
        await no_bot.settled()
        assert OTHER in scanned(no_bot)


async def test_buttons_with_ids_alone_wait_until_the_api_can_be_asked(no_bot: World) -> None:
    shown = await old_digest(no_bot)
    no_bot.settings = replace(no_bot.settings, api_key=Secret("another-key"))  # not valid yet
    async with no_bot.running_bot():
        await no_bot.settled()
        await no_bot.press("Rescan all broken", on=shown)
        await no_bot.card("KEY REFUSED")
        await no_bot.settled()
        new_account(no_bot)
        await no_bot.press("Rescan all broken", on=shown)
        await no_bot.card("Nothing was done: the API or its key has changed")
        await no_bot.settled()
        assert scanned(no_bot) == []


async def test_no_form_opens_for_the_ids_of_another_api(no_bot: World) -> None:
    button = {"type": "button", "action_id": "ssl:form:below",
              "value": 'note_certificate {"which": "101-103"}',
              "text": {"type": "plain_text", "text": "Note"}}  # fmt: skip
    await old_digest(no_bot)
    blocks: list[Json] = [{"type": "actions", "elements": [button]}]
    shown = no_bot.slack.post(CERTS, BOT_USER, "", blocks=blocks)
    new_account(no_bot)
    async with no_bot.running_bot():
        await no_bot.settled()
        await no_bot.press("Note", on=shown)
        await no_bot.card("Nothing was done: the API or its key has changed")
        await no_bot.settled()
        assert no_bot.slack.modal(ANN) is None


async def test_no_button_of_home_acts_on_the_ids_of_another_api(no_bot: World) -> None:
    no_bot.api.add_many(2, days=-1, valid=False, ssl_fingerprint="ab" * 32)
    async with no_bot.running_bot():
        home = await no_bot.open_home("`h0.demo.test`")
        old = copy.deepcopy(home)
        await no_bot.settled()
    new_account(no_bot)
    async with no_bot.running_bot():
        await no_bot.settled()
        await no_bot.press("Rescan", on=old)
        await no_bot.modal("Nothing was done: the API or its key has changed")
        await no_bot.home(f"`{HOST}`")
        await no_bot.settled()
        assert scanned(no_bot) == []

        await no_bot.press("Rescan", on=home, row="101")
        await no_bot.settled()
        assert sorted(scanned(no_bot)) == ["h1.demo.test", OTHER]


@pytest.mark.slow
async def test_a_new_key_alone_changes_neither_marks_nor_buttons(no_bot: World) -> None:
    shown = await old_digest(no_bot)
    async with no_bot.running_bot():
        await no_bot.ask("/ssl take a.demo.test", "has taken")
        await no_bot.ask("/ssl mute b.demo.test for=7d", "Muted")
        await no_bot.settled()
    new_key(no_bot)

    async with no_bot.running_bot() as bot:
        await no_bot.settled()
        marks = bot.records.rules.marks
        assert ({*marks.claims}, {*marks.mutes}) == ({101}, {102})
        no_bot.api.calls.clear()
        await no_bot.press("Rescan all broken", on=shown)
        await no_bot.settled()
        assert sorted(scanned(no_bot)) == ["a.demo.test", "b.demo.test", "c.demo.test"]
