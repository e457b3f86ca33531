"""Add and watch: one button for a host that is not monitored yet."""

import asyncio

import pytest

from bot.playground.objects import ANN, BEN, GUS
from tests.test_bot_recheck import HOST, expired, scans, watching
from tests.world import World, labels


async def test_pressing_add_and_watch_twice_adds_one_monitor(world: World) -> None:
    card = await world.ask("/ssl watch new.demo.test", "NOT MONITORED")

    await asyncio.gather(*(world.press("Add and watch", on=card) for _ in range(2)))

    await world.card("Watching until")
    await world.settled()
    assert len(world.api.asked("monitor/add")) == 1


async def test_an_unmonitored_host_is_added_and_watched_with_one_button(world: World) -> None:
    # not by a guest
    card = await world.ask("@SSLmonitor watch new.demo.test", "NOT MONITORED", seen_by=BEN)
    await world.press("Add and watch", on=card, by=GUS)
    await world.card("MEMBERS ONLY", by=GUS)
    await world.settled()
    assert world.api.asked("monitor/add") == []

    told = ("NOT MONITORED", "`new.demo.test` isn't monitored yet")
    card = await world.ask("/ssl watch new.demo.test", *told)
    assert labels(card) == ["Add and watch"]
    await world.press("Add and watch", on=card)
    await world.card("`new.demo.test`", "Watching until", "Stop")
    await world.card("Ann added `new.demo.test`.", by=BEN)
    await world.settled()
    [row] = world.api.rows.values()
    assert (row["host"], scans(world)) == ("new.demo.test", 1)
    assert [watch.asker for watch in await world.bot.watches.running()] == [ANN]


async def test_a_host_stays_added_even_if_its_watch_can_not_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.recheck.MOST", 2)
    for number in range(2):
        expired(world, f"h{number}.demo.test")
        await world.say(f"/ssl watch h{number}.demo.test")
    await world.until(lambda: scans(world) == 2)
    await world.say("/ssl watch new.demo.test")

    await world.press("Add and watch", on=await world.card("NOT MONITORED"))

    await world.card("Ann added `new.demo.test`.", by=BEN)
    await world.card("TOO MANY WATCHES")


async def test_a_watch_is_not_held_up_by_an_api_that_does_not_say_what_it_offers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.recheck.LOOK_SECONDS", 0.05)
    expired(world)
    held = world.api.hold("openapi.json")
    await world.say(f"/ssl watch {HOST}")
    await watching(world)
    assert held.reached.is_set()
    assert scans(world) == 1
