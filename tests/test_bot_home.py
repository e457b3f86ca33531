"""The Home tab."""

import asyncio
import copy

import pytest

from bot.cards.home import PAGE
from bot.playground.faults import refusal
from bot.playground.objects import ANN, BEN
from tests.world import World, labels, words

ALWAYS = ["Add hosts", "Refresh"]


async def test_home_shows_counts_and_the_worst_first(world: World) -> None:
    for days in range(1, 30):
        world.api.add(f"h{days}.demo.test", days=days + 0.5)
    world.api.add("gone.demo.test", days=-3, valid=False)
    world.api.add("fine.demo.test", days=60)

    home = await world.open_home("31 monitors", "*🔴 Broken*\n1", "*✅ OK*\n1", "31 of 1,000 used")
    text = words(home)
    assert text.index("`gone.demo.test`") < text.index("`h1.demo.test`")
    assert labels(home) == [*ALWAYS, *["Rescan"] * PAGE, "Next"]
    assert "fine.demo.test" not in text

    world.slack.faults.add("views.publish", refusal("invalid_arguments"))
    home = await world.open_home("31 monitors", "`gone.demo.test`", by=BEN)
    assert {block["type"] for block in home.blocks} == {"section"}
    assert labels(home) == []


async def test_home_needs_two_calls_at_once_and_tells_a_failed_rescan(
    world: World,
) -> None:
    world.api.add("api.demo.test", days=5.5)
    listed, account = world.api.hold("monitor/list"), world.api.hold("account")
    await world.playground.open_home(ANN)
    await asyncio.gather(listed.reached.wait(), account.reached.wait())
    for held in (listed, account):
        held.release()
    await world.home("`api.demo.test`", "1 of 1,000 used")
    await world.settled()
    assert sorted(world.api.work) == ["account", "monitor/list"]

    home = await world.open_home("in 5 days")
    world.api.refuse("monitor/scan", 422, "host not allowed")
    await world.press("Rescan", on=home)
    await world.home("in 5 days", "not scanned · Ann")
    await world.modal("host not allowed")


@pytest.mark.slow
async def test_home_has_pages_which_turn_in_its_place_and_stay_after_a_rescan(world: World) -> None:
    for days in range(PAGE + 3):
        world.api.add(f"h{days:02}.demo.test", days=days + 0.5)
    first = await world.open_home("1 to 20 of 23 that need attention", "`h00.demo.test`")
    await world.press("Next", on=first)
    second = await world.home("21 to 23 of 23", "`h22.demo.test`")
    assert labels(second) == [*ALWAYS, *["Rescan"] * 3, "Previous"]
    assert "`h00.demo.test`" not in words(second)
    assert world.slack.modal(ANN) is None
    await world.press("Previous", on=second)
    await world.home("1 to 20 of 23", "`h00.demo.test`")

    await world.playground.open_home(ANN)
    await world.press("Next", on=await world.home("1 to 20"))
    second = await world.home("21 to 23")
    await world.press("Rescan", on=second, row="h22.demo.test")
    await world.home("21 to 23 of 23", "no change · Ann")
    await world.press("Rescan", on=second, row="h21.demo.test")
    await world.until(lambda: words(second).count("no change · Ann") == 2)


@pytest.mark.slow
async def test_a_press_that_ends_late_does_not_undo_what_the_next_one_showed(world: World) -> None:
    for name in "ab":
        world.api.add(f"{name}.demo.test", days=5.5)
    home = await world.open_home("`b.demo.test`")
    first, late = (world.api.hold("monitor/list") for _ in range(2))
    late.body = copy.deepcopy(world.api._answer("monitor/list", {}))
    await world.press("Rescan", on=home, row="a.demo.test")
    await first.reached.wait()
    first.release()
    await late.reached.wait()
    await world.home("no change · Ann")
    world.later(seconds=1)
    world.api.renew(102, days=80)
    await world.press("Rescan", on=home, row="b.demo.test")
    await world.home("~`b.demo.test`~", "*✅ OK*\n1")
    late.release()
    await world.settled()
    assert "~`b.demo.test`~" in words(home)


@pytest.mark.slow
@pytest.mark.parametrize("press", ["Rescan", "Scan & watch"])
async def test_a_page_that_was_turned_during_a_scan_stays(press: str, world: World) -> None:
    for days in range(PAGE + 3):
        world.api.add(f"h{days:02}.demo.test", days=days + 0.5)
    home = await world.open_home("1 to 20")
    await world.press("Rescan", on=home, row="h00.demo.test")
    await world.settled()
    held = world.api.hold("monitor/scan")
    await world.press(press, on=home, row="h00.demo.test")
    await held.reached.wait()
    async with world.running_bot():  # a replica turns the page
        await world.press("Next", on=home)
        await world.home("21 to 23")
        held.release()
        await world.settled()
    assert "21 to 23" in words(home)
    if press == "Rescan":
        await world.modal("`h00.demo.test`", "asked by Ann")


async def test_a_page_that_is_no_longer_there_is_the_last_one(world: World) -> None:
    numbers = [world.api.add(f"h{n:02}.demo.test", days=n + 0.5) for n in range(PAGE + 3)]
    first = await world.open_home("1 to 20 of 23")
    for number in numbers[10:]:
        world.api.renew(number, 89)

    await world.press("Next", on=first)

    home = await world.home("*✅ OK*\n13", "`h09.demo.test`")
    assert labels(home) == [*ALWAYS, *["Rescan"] * 10]


async def test_home_shows_the_last_digest_and_the_settings(digest_world: World) -> None:
    assert digest_world.bot.digest is not None
    await digest_world.open_home(
        "none yet", "daily at 09:00 UTC in <#C0CERTS>", "every full member"
    )

    await digest_world.digest.post_now()
    await digest_world.open_home("*Last digest*\n<!date^", "every 60 seconds at first")


@pytest.mark.slow
async def test_a_watch_is_shown_on_home_and_stopped_or_begun_there(world: World) -> None:
    world.api.add("api.demo.test", days=-1, valid=False)
    await world.ask("/ssl watch api.demo.test", "Watching until")
    await world.settled()
    home = await world.open_home("Scan & watch, running", "1 scan")
    await world.press("Stop", on=home)
    await world.modal("Stopped by Ann")
    await world.card("EXPIRED", "Stopped by Ann", by=BEN)
    await world.settled()
    shown = world.slack.home(ANN)
    assert shown is not None
    assert "Being watched" not in words(shown)

    home = await world.open_home("EXPIRED")
    await world.press("Rescan", on=home, row="api.demo.test")
    await world.press("Scan & watch", on=await world.home("no change · Ann"))
    await world.modal("WATCHING", "The card is in a direct message")
    watched = await world.card("EXPIRED", "Watching until", to="D0ANN")
    assert labels(watched) == ["Stop"]


async def test_a_rescan_on_home_shows_in_its_row_and_the_counts_follow(world: World) -> None:
    number = world.api.add("api.demo.test", days=5.5)
    elsewhere = world.api.add("other.demo.test", days=-1, valid=False)
    home = await world.open_home("in 5 days", "*🚨 Act now*\n1")
    held = world.api.hold("monitor/scan")

    await world.press("Rescan", on=home, row="api.demo.test")
    await world.home("Scanning…", "`api.demo.test` · Ann")
    world.api.renew(number, 90.5)
    world.api.renew(elsewhere, 80.5)
    held.release()

    await world.home("~`api.demo.test`~", "fine · Ann", "*✅ OK*\n2", "~`other.demo.test`~")
    await world.settled()
    assert world.slack.modal(ANN) is None
    assert world.seen(by=BEN) == []
    await world.press("Refresh", on=home)
    await world.home("2 monitors", "Nothing needs to be done")


async def test_home_takes_the_next_press_while_the_last_one_still_updates_it(world: World) -> None:
    number = world.api.add("a.demo.test", days=-1, valid=False)
    home = await world.open_home("`a.demo.test`")
    host, everything = (world.api.hold("monitor/list") for _ in range(2))
    await world.press("Rescan", on=home)
    await host.reached.wait()
    host.release()
    await everything.reached.wait()
    await world.home("no change · Ann")
    world.api.renew(number, days=80)
    await world.press("Rescan", on=home)
    await world.home("~`a.demo.test`~")
    everything.release()
    await world.settled()


@pytest.mark.slow
async def test_a_pressed_row_of_home_offers_more_and_only_the_last_two_do(world: World) -> None:
    for n in range(3):
        world.api.add(f"h{n}.demo.test", days=n + 0.5)
    home = await world.open_home("3 monitors")
    for n in range(3):
        await world.press("Rescan", on=home, row=f"h{n}.demo.test")
        await world.settled()
    assert labels(home).count("Scan & watch") == 2

    await world.press("I'll take it", on=home, row="h2.demo.test")
    await world.until(lambda: "🙋 Ann" in words(home))
    assert "no change · Ann" in words(home).partition("🙋 Ann")[2]
    await world.home("Taken by you")
    mine, _, others = words(home).partition("Not taken")
    assert "`h2.demo.test`" in mine
    assert "`h2.demo.test`" not in others
    assert words(home).count("no change · Ann") == 3
    assert labels(home).count("Release") == 1
    await world.press("Release", on=home)
    await world.until(lambda: "Taken by you" not in words(home))
    assert world.slack.modal(ANN) is None


async def test_what_is_asked_for_on_home_may_take_longer_than_home_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.api.add("api.demo.test", days=5.5)
    home = await world.open_home("in 5 days")
    await world.press("Rescan", on=home)
    await world.settled()
    monkeypatch.setattr("bot.slack.views.LAST_SECONDS", 0.0)
    await world.press("Details", on=home)
    await world.modal("`api.demo.test`", "*Names (1)*")


async def test_what_home_could_not_get_or_open_is_told_and_nothing_is_watched(world: World) -> None:
    world.api.add("api.demo.test", days=5.5)
    world.slack.faults.add("users.info", refusal("missing_scope"))
    await world.open_home("NOT CONFIRMED", "Open this tab again in a minute.")
    world.api.refuse("monitor/list", 401, "who are you")
    await world.open_home("KEY REFUSED", "About this bot")
    world.api.refuse("account", 403, "not for this key")
    await world.open_home("`api.demo.test`", "*Monitors*\nunknown")
    await world.open_home("`api.demo.test`", "1 of 1,000 used")

    await world.playground.open_home(ANN)
    await world.press("Rescan", on=await world.home("in 5 days"))
    home = await world.home("no change · Ann")
    world.slack.faults.add("views.open", refusal("expired_trigger_id"))
    await world.press("Scan & watch", on=home)
    await world.settled()
    await world.card("SLACK WAS SLOW", "Nothing was done. Press again.", to="D0ANN")
    assert len(world.api.asked("monitor/scan")) == 1
    assert world.slack.modal(ANN) is None


async def test_home_says_how_to_begin_and_when_all_is_well(world: World) -> None:
    home = await world.open_home("There are no monitors yet", "/ssl add")

    await world.press("Add hosts", on=home)

    form = await world.modal("Add hosts")
    assert await world.submit(form, targets="api.demo.test") == {}
    await world.modal("`api.demo.test`")
    await world.settled()
    assert world.api.asked("monitor/add") == [{"host": "api.demo.test", "port": "443"}]
    home = await world.open_home("1 monitor", "Nothing needs to be done", "Last digest")
    assert labels(home) == ALWAYS


async def test_home_starts_with_what_i_took_then_what_nobody_has(world: World) -> None:
    for days, host in enumerate(("mine", "free", "bens", "worst"), 2):
        world.api.add(f"{host}.demo.test", days=days + 0.5)
    world.api.add("gone.demo.test", days=-3, valid=False)
    for host, who in (("mine", ANN), ("bens", BEN)):
        await world.say(f"/ssl take {host}.demo.test", by=who)
        await world.card("has taken", f"{host}.demo.test")
    text = words(await world.open_home("Taken by you"))
    order = [
        *("Add hosts", "Taken by you", "`mine.demo.test`", "Not taken", "`gone.demo.test`"),
        *("`free.demo.test`", "Taken by others", "`bens.demo.test`"),
    ]
    places = [text.index(each) for each in order]
    assert places == sorted(places)
