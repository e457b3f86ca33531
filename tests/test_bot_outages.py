"""Many hosts that break, at once or one after the other, are one message with a count."""

import pytest

from tests.test_bot_notice_threads import messages, replies, set_state
from tests.test_bot_notices import begun
from tests.world import World, labels, words


@pytest.mark.slow
async def test_hosts_behind_a_proxy_that_fails_join_one_message(world: World) -> None:
    numbers = world.api.add_many(9, days=80)
    notices = await begun(world, notice_mention="S0ONCALL")
    down = {
        "ssl_expire_date_end": None,
        "ssl_message": "The proxy p.test:3128 could not be reached",
    }
    for some in (numbers[:1], numbers[1:3], numbers[3:7]):
        for number in some:
            set_state(world, number, **down)
        await notices.tick()
        world.later(hours=2)
    (posted,) = messages(world)
    assert posted.text == "7 monitors newly broken."
    assert [f"`h{n}.demo.test`" in words(posted) for n in range(7)] == [True] * 5 + [False] * 2
    assert "and 2 more. `/ssl list broken` shows all." in words(posted)
    assert "S0ONCALL" not in words(posted)
    assert labels(posted)[-1] == "Rescan all broken"
    assert replies(world, posted) == [f"Newly broken: {n} monitors" for n in (2, 4)]

    # Another proxy, and a host that its proxy can't reach, are another matter.
    set_state(world, numbers[7], **down | {"ssl_message": "The proxy q.test:1 answered 407"})
    set_state(world, numbers[8], **down | {"ssl_message": "The proxy p.test:1 answered 504"})
    await notices.tick()
    assert [m.text[:12] for m in messages(world)[1:]] == ["Newly broken"] * 2
    assert ["S0ONCALL" in words(m) for m in messages(world)[1:]] == [True] * 2


@pytest.mark.slow
async def test_what_a_slow_sweep_finds_of_an_outage_joins_its_message(world: World) -> None:
    numbers = world.api.add_many(15, days=80)
    notices = await begun(world, notice_mention="S0ONCALL")
    down = {"ssl_expire_date_end": None, "ssl_message": "The scan timed out"}
    for number in numbers[:14]:
        set_state(world, number, **down)
        await notices.tick()
        world.later(minutes=25)
    world.later(hours=1)
    set_state(world, numbers[14], **down)
    await notices.tick()
    *first, outage, last = messages(world)
    assert ["Newly broken" in m.text for m in first] == [True] * 9
    assert outage.text == "5 monitors newly broken."
    assert replies(world, outage) == [f"Newly broken: h{n}.demo.test" for n in range(10, 14)]
    assert last.text.startswith("Newly broken: h14.demo.test")


async def test_hosts_that_break_one_after_the_other_become_an_outage_that_wakes_once(
    world: World,
) -> None:
    numbers = world.api.add_many(16, days=80)
    notices = await begun(world, notice_mention="S0ONCALL")
    for start, end in ((0, 4), (4, 10), (10, 13), (13, 16)):
        for number in numbers[start:end]:
            set_state(world, number)
        world.later(minutes=1)
        await notices.tick()
    titles = [m.text.partition(":")[0] for m in messages(world)]
    assert titles == [*["Newly broken"] * 4, *(f"{n} monitors newly broken." for n in (6, 3, 3))]
    woken = ["S0ONCALL" in words(m) for m in messages(world)]
    assert woken == [*[True] * 5, False, False]


@pytest.mark.slow
async def test_many_of_any_kind_are_one_message_and_its_rescan_counts_all(
    world: World,
) -> None:
    numbers = world.api.add_many(12, days=80)
    notices = await begun(world)
    for number in numbers:
        world.api.rows[number]["ssl_issuer"] = "Strange CA"
    await notices.tick()
    assert [m.text for m in messages(world)] == ["12 monitors have a new issuer."]

    for number in numbers:
        set_state(world, number)
    await notices.tick()
    *_, shown = messages(world)
    assert "and 7 more" in words(shown)
    for number in numbers[:10]:
        world.api.rows[number]["ssl_valid"] = True
    await world.press("Rescan all broken", on=shown)
    await world.card("Scanned 12 monitors", "10 OK")
    await world.settled()
    *_, shown = messages(world)
    assert "*12 monitors newly broken* · 2 left" in words(shown)
    assert "2 of these are left." in words(shown)
    assert "Rescan all broken" in labels(shown)
    del world.api.rows[numbers[10]]
    world.api.rows[numbers[11]]["ssl_valid"] = True
    await world.bot.scheduler._refresh(world.bot.records)
    assert "1 monitor is no longer monitored. ✅ None of these needs attention" in words(shown)
    assert shown.text.startswith("Over. When posted: 12 monitors")
    assert "Rescan all broken" not in labels(shown)
    world.api.rows[numbers[0]]["ssl_valid"] = False
    await world.bot.scheduler._refresh(world.bot.records)
    assert "Rescan all broken" in labels(shown)


@pytest.mark.slow
async def test_an_outage_that_goes_on_after_midnight_wakes_nobody_again(world: World) -> None:
    numbers = world.api.add_many(14, days=80)
    notices = await begun(world, notice_mention="S0ONCALL")
    world.later(hours=16, minutes=20)  # 23:50
    down = {"ssl_expire_date_end": None, "ssl_message": "The scan timed out"}
    for some in (numbers[:11], numbers[11:13], numbers[13:]):
        for number in some:
            set_state(world, number, **down)
        await notices.tick()
        world.later(minutes=15)
    said = [m.text for m in messages(world)]
    assert said == ["11 monitors newly broken.", "3 monitors newly broken."]
    sent = [str(call["request"].get("blocks")) for call in world.slack.traffic]
    assert len([blocks for blocks in sent if "S0ONCALL" in blocks]) == 1
