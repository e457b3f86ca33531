"""The Home tab."""

from __future__ import annotations

from bot.playground.places import ANN, BEN
from tests.world import World, labels, words


async def test_home_shows_the_worst_first(world: World) -> None:
    for days in range(1, 31):
        world.api.watch(f"h{days}.demo.test", days=days + 0.5)
    world.api.watch("gone.demo.test", days=-3, valid=False)
    world.api.watch("fine.demo.test", days=60)

    await world.playground.open_home(ANN)

    home = await world.home("32 monitors", "1 broken, 29 due within 30 days, 2 fine")
    text = words(home)
    assert text.index("`gone.demo.test`") < text.index("`h1.demo.test`")
    assert labels(home) == ["Rescan"] * 20
    assert "fine.demo.test" not in text


async def test_home_says_when_all_is_well(http_world: World) -> None:
    http_world.api.watch("fine.demo.test", days=60)

    await http_world.playground.open_home(ANN)

    await http_world.home("1 monitor: 1 fine.")


async def test_home_says_how_to_begin(http_world: World) -> None:
    await http_world.playground.open_home(ANN)

    await http_world.home("No host is watched yet", "/ssl add")


async def test_rescan_on_home_answers_in_a_modal_and_renews_home(world: World) -> None:
    number = world.api.watch("api.demo.test", days=5.5)
    await world.playground.open_home(ANN)
    home = await world.home("in 5 days")
    held = world.api.hold("monitor/scan")

    await world.press("Rescan", on=home, row="api.demo.test")
    await world.modal("Scanning…", "`api.demo.test`")
    world.api.renew(number, 90.5)
    assert held.gate is not None
    held.gate.set()

    await world.modal("OK", "in 90 days", "asked by Ann")
    await world.home("1 monitor: 1 fine.")
    assert world.seen(by=BEN) == []


async def test_home_shows_why_the_api_gave_nothing_and_comes_back(http_world: World) -> None:
    http_world.api.watch("api.demo.test")
    http_world.api.refuse("monitor/list", 401, "who are you")
    await http_world.playground.open_home(ANN)
    await http_world.home("KEY REFUSED")

    await http_world.playground.open_home(ANN)

    await http_world.home("1 monitor: 1 fine.")


async def test_where_the_modal_can_not_be_opened_nothing_is_scanned(
    http_world: World,
) -> None:
    http_world.api.watch("api.demo.test", days=5.5)
    await http_world.playground.open_home(ANN)
    home = await http_world.home("in 5 days")
    http_world.slack.fail("views.open", "expired_trigger_id")

    await http_world.press("Rescan", on=home)
    await http_world.settled()

    assert http_world.api.asked("monitor/scan") == []
    assert http_world.slack.modal(ANN) is None
