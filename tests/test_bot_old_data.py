"""Old data in a digest: rescanned by one press, or by the sweep, and said so in its row."""

import pytest

from bot.playground.objects import BEN, CERTS, PostedMessage
from tests.test_bot_rows import digest, refresh
from tests.world import MakeWorld, World, labels, words

TOO_OLD = "2026-11-20 08:00"


@pytest.fixture
def world(digest_world: World) -> World:
    """Here every world has a digest."""
    return digest_world


def old_row(shown: PostedMessage) -> str:
    [block] = [each for each in shown.blocks if each.get("block_id", "").startswith("row:old")]
    return str(block["text"]["text"])


def watch_old(world: World, number: int) -> list[int]:
    return [world.api.add(f"h{n}.demo.test", scan_date=TOO_OLD) for n in range(number)]


@pytest.mark.slow
async def test_one_press_rescans_old_data_and_the_row_and_head_say_so(world: World) -> None:
    watch_old(world, 3)
    world.api.add("fresh.demo.test")
    shown = await digest(world)
    assert labels(shown) == ["Rescan 3 old ones"]
    assert "OLD DATA* · 3 monitors have no scan dated in the last 36 hours" in old_row(shown)
    held = world.api.hold("monitor/scan")
    await world.press("Rescan 3 old ones", on=shown, by=BEN)
    await world.until(lambda: "Scanning…* · 0 of 3 · Ben" in old_row(shown))
    held.release()
    await world.card("Scanned 3 monitors: 3 OK.", by=BEN)
    await world.until(lambda: old_row(shown).startswith("✅ *RESCANNED*"))
    assert "↻ 3 rescanned · Ben, " in old_row(shown)
    assert labels(shown) == []
    said = "↻ Old data rescanned. When posted: No problems found, but 3 monitors have no scan dated"
    assert words(shown).count(said) == 2  # once in the text, once in the head


@pytest.mark.slow
async def test_one_press_rescans_a_hundred_and_offers_the_rest(world: World) -> None:
    watch_old(world, 130)
    shown = await digest(world)
    assert labels(shown) == ["Rescan 100 old ones"]
    await world.press("Rescan 100 old ones", on=shown, by=BEN)
    await world.card("Scanned 100 monitors", by=BEN)
    await world.until(lambda: "30 monitors have no scan dated" in old_row(shown))
    assert "↻ 100 rescanned · Ben, " in old_row(shown)
    assert labels(shown) == ["Rescan 30 old ones"]
    assert "Old data rescanned" not in words(shown)


async def test_old_data_whose_scan_failed_stays_old(world: World) -> None:
    watch_old(world, 2)
    shown = await digest(world)
    world.api.refuse("monitor/scan", 400, "no")
    await world.press("Rescan 2 old ones", on=shown, by=BEN)
    await world.card("1 could not be scanned", by=BEN)
    await world.until(lambda: "1 monitor has no scan dated" in old_row(shown))
    assert labels(shown) == ["Rescan 1 old one"]


async def test_a_press_whose_outcome_is_unknown_leaves_the_row_and_its_button(world: World) -> None:
    watch_old(world, 2)
    shown = await digest(world)
    held = world.api.hold("monitor/scan")
    await world.press("Rescan 2 old ones", on=shown, by=BEN)
    await world.until(lambda: "Scanning…" in old_row(shown))
    assert labels(shown) == []
    world.api.refuse("monitor/list", 400, "no")
    held.release()
    await world.until(lambda: "2 monitors have no scan dated" in old_row(shown))
    assert labels(shown) == ["Rescan 2 old ones"]


@pytest.mark.slow
async def test_a_press_counts_once_toward_the_users_limit(make_world: MakeWorld) -> None:
    async with make_world(DIGEST_CHANNEL=CERTS, USER_SCAN_LIMIT="1") as world:
        watch_old(world, 101)
        shown = await digest(world)
        await world.press("Rescan 100 old ones", on=shown, by=BEN)
        await world.until(lambda: "Rescan 1 old one" in labels(shown))
        await world.press("Rescan 1 old one", on=shown, by=BEN)
        await world.card("limit", by=BEN)
        assert "1 monitor has no scan dated" in old_row(shown)


async def test_old_data_that_the_sweep_scans_is_old_no_longer(world: World) -> None:
    numbers = watch_old(world, 2)
    shown = await digest(world)
    world.api.rows[numbers[0]]["scan_date"] = f"{world.clock():%Y-%m-%d %H:%M}"
    await refresh(world)
    assert "2 monitors have no scan dated" in old_row(shown)
    world.api.rows[numbers[1]]["scan_date"] = f"{world.clock():%Y-%m-%d %H:%M}"
    await refresh(world)
    assert "↻ rescanned, seen " in old_row(shown)
    assert "↻ Old data rescanned." in words(shown)

    (old,) = watch_old(world, 1)
    other = world.api.add("other.demo.test")
    shown = await digest(world)
    world.api.rows[old]["scan_date"] = f"{world.clock():%Y-%m-%d %H:%M}"
    world.api.rows[other]["scan_date"] = TOO_OLD
    await refresh(world)
    assert "RESCANNED* · No scan listed here is older than 36 hours any more" in old_row(shown)


async def test_old_data_stays_old_while_a_row_is_unreadable(world: World) -> None:
    watch_old(world, 2)
    shown = await digest(world)
    world.api.rows[world.api.add("odd.demo.test")]["host"] = ""
    await world.press("Rescan 2 old ones", on=shown, by=BEN)
    await world.until(lambda: "OLD DATA* · 1 monitor could not be read" in old_row(shown))
    assert "↻ 2 rescanned · Ben, " in old_row(shown)


@pytest.mark.slow
@pytest.mark.parametrize("private", [False, True], ids=["posted", "private"])
async def test_old_data_is_about_the_hosts_of_its_digest(world: World, private: bool) -> None:
    watch_old(world, 101)
    world.api.add("elsewhere.test", scan_date=TOO_OLD)
    await world.ask("/ssl digest here at 09:00 *.demo.test", "set up a digest", seen_by=BEN)
    if private:
        await world.say("/ssl digest")
        shown = await world.card("Certificates now", "102 monitors have no scan dated")
    else:
        world.later(minutes=91)
        await world.bot.digests.tick()
        shown = await world.card("Certificates on", "101 monitors have no scan dated")
    await world.press("Rescan 100 old ones", on=shown)
    left = "2 monitors have no scan dated" if private else "1 monitor has no scan dated"
    await world.until(lambda: left in old_row(shown))


async def test_a_scan_dated_in_the_future_says_nothing_of_today(world: World) -> None:
    number = world.api.add("a.demo.test", valid=False)
    fine = world.api.add("b.demo.test")
    for each in (number, fine):
        world.api.rows[each]["scan_date"] = "2026-11-26 07:30"
    await world.digest.post_now(again=True)
    card = words(await world.card("1 broken", "⚠️ scan dated in the future", by=BEN))
    assert "2 monitors have no scan dated in the last 36 hours" in card
    await world.ask("/ssl status b.demo.test", "scanned at an unknown time")
