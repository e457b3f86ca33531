"""Scanning and deleting several monitors at once: a preview, then one press."""

import pytest

from bot.cards.row import MOST_RESCANNED
from tests.world import BEN, World, labels, words


def broken(world: World, *hosts: str) -> list[int]:
    return [world.api.add(host, days=-1, valid=False) for host in hosts]


async def test_one_press_scans_them_all_and_shows_what_was_found(world: World) -> None:
    first, second = broken(world, "a.demo.test", "b.demo.test")
    card = await world.ask("/ssl scan broken", "Scan these 2 monitors?")
    scan = world.api.hold("monitor/scan")
    await world.press("Scan 2", on=card)
    await scan.reached.wait()
    world.api.renew(first, days=80)
    scan.release()
    card = await world.card("Scanned 2 monitors: 1 broken, 1 OK. 1 fixed.", "asked by Ann")
    assert "a.demo.test" in words(card)
    assert sorted(int(each["id"]) for each in world.api.asked("monitor/scan")) == [first, second]


async def test_what_of_a_batch_fails_is_counted_and_the_rest_is_reported(world: World) -> None:
    broken(world, "a.demo.test", "b.demo.test")
    world.api.refuse("monitor/scan", 400, "no address")
    await world.say("/ssl scan broken")
    await world.press("Scan 2", on=await world.card("Scan these 2 monitors?"))
    await world.card("Scanned 1 monitor", "1 could not be scanned", "was not scanned: ")

    card = await world.ask("/ssl scan broken", "Scan these 2 monitors?")
    scan = world.api.hold("monitor/scan")
    await world.press("Scan 2", on=card)
    await scan.reached.wait()
    world.api.refuse("monitor/list", 400, "no list", times=9)
    scan.release()
    await world.card("Scanned 2 monitors, but the results could not be read")

    world.api.heal()
    world.api.refuse("monitor/delete", 403, "locked")
    await world.say("/ssl delete *.demo.test")
    await world.press("Delete 2", on=await world.card("Delete these 2 monitors?"))
    await world.card("Deleted 1 monitor.", "1 could not be deleted", "was not deleted: ")
    assert len(world.api.rows) == 1


@pytest.mark.slow
async def test_each_of_a_batch_is_done_once_and_progress_leaves_uses(
    world: World,
) -> None:
    broken(world, *(f"h{number}.demo.test" for number in range(40)))
    await world.say("/ssl scan broken")
    await world.press("Scan 40", on=await world.card("Scan these 40 monitors?"))
    await world.card("Scanned 40 monitors")
    assert len(world.api.asked("monitor/scan")) == 40

    # Slack takes five answers for each response URL
    broken(world, *(f"h{number}.other.test" for number in range(12)))
    card = await world.ask("/ssl delete *.other.test", "Delete these 12 monitors?")
    held = [world.api.hold("monitor/delete") for _ in range(12)]
    await world.press("Delete 12", on=card)
    for each in held:
        await each.reached.wait()
        world.later(seconds=3)
        each.release()
    await world.card("Deleted 12 monitors.")
    shown = [call for call in world.slack.traffic if "Deleting" in str(call)]
    assert 1 <= len(shown) <= 2


async def test_too_many_to_scan_or_delete_at_once_are_not_offered(world: World) -> None:
    broken(world, *(f"h{number}.demo.test" for number in range(MOST_RESCANNED + 1)))
    await world.say("/ssl scan broken")
    assert f"Scan {MOST_RESCANNED}" in labels(await world.card("Scan 100 of 101 monitors?"))

    card = await world.ask("/ssl delete *.demo.test", "Nothing was deleted: 101 monitors match")
    assert not [label for label in labels(card) if label.startswith("Delete 1")]


async def test_one_press_deletes_them_all_after_asking(world: World) -> None:
    broken(world, "a.demo.test", "b.demo.test")
    world.api.add("c.other.test")
    await world.say("/ssl delete *.demo.test")
    await world.press("Delete 2", on=await world.card("Delete these 2 monitors?"))
    await world.card("Deleted 2 monitors.")
    await world.card("Ann deleted the monitors for", by=BEN)
    assert [row["host"] for row in world.api.rows.values()] == ["c.other.test"]
    await world.ask("/ssl audit", "Recent changes", "a.demo.test", "b.demo.test")


async def test_monitors_that_are_gone_by_the_press_are_counted(world: World) -> None:
    for count, verb in enumerate(("Delete", "Scan"), 1):
        numbers = broken(world, "a.demo.test", "b.demo.test")
        card = await world.ask(f"/ssl {verb.lower()} broken", f"{verb} these 2 monitors?")
        del world.api.rows[numbers[0]]
        await world.press(f"{verb} 2", on=card)
        await world.settled()
        told = [each for each in world.seen() if "1 monitor is no longer listed" in words(each)]
        assert len(told) == count
