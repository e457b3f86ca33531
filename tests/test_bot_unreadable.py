"""Monitors that the API has but that can't be read: nothing says "all clear" over them."""

from typing import Any

import pytest

from bot.playground.objects import BEN
from tests.world import World, words

FALSELY_GOOD = (
    "All clear",
    "Nothing is due",
    "Nothing needs to be done",
    "There are no monitors yet",
    "isn't monitored yet",
    "✅",
)
BROKEN = {"port": 443, "ssl_valid": False, "ssl_message": "expired"}
REPLIES: dict[str, Any] = {
    "an id that is no number": {"list": [BROKEN | {"id": "5f0c1e9e-7d2b", "host": "a.test"}]},
    "no id": {"list": [BROKEN | {"id": None, "host": "a.test"}]},
    "no host": {"list": [BROKEN | {"id": 7, "host": None}]},
    "counted, not delivered": {"count": 1, "list": []},
    "a list that is none": {"count": 1, "list": {"0": "x"}},
    "no list": {"count": 1},
    "a count as text": {"count": "1", "list": []},
    "a count as a fraction": {"count": 1.0, "list": []},
    "an id without end": {"list": [BROKEN | {"id": 10**30, "host": "a.test"}]},
    "an id below 1": {"list": [BROKEN | {"id": -5, "host": "a.test"}]},
}


@pytest.mark.parametrize("kind", ["no id", "counted, not delivered"])
async def test_the_list_the_digest_and_home_count_what_could_not_be_read(
    kind: str, digest_world: World
) -> None:
    world = digest_world
    world.api.reply("monitor/list", {"success": 1} | REPLIES[kind], times=20)

    await world.say("/ssl list")
    await world.say("/ssl digest")
    await world.say("/ssl status a.test")
    await world.say("/ssl scan *.test")
    await world.say("/ssl delete expired")
    home = await world.open_home("1 monitor could not be read")
    world.later(hours=2)
    await world.digest.tick()

    digest = await world.card("Certificates on", "1 monitor could not be read", by=BEN)
    assert "Notices may be missing until all can be read." in words(digest)
    await world.settled()
    answers = [words(m) for m in world.seen() if m.ephemeral_for]
    assert [("1 monitor could not be read" in text) for text in answers] == [True] * 5
    for text in [*answers, words(digest), words(home)]:
        assert not any(good in text for good in FALSELY_GOOD), text


async def test_rows_that_can_be_read_are_shown_and_two_with_one_id_told_apart(world: World) -> None:
    number = world.api.add("fine.demo.test", days=80)
    rows = [world.api.rows[number], BROKEN | {"id": None, "host": "a.test"}]
    world.api.reply("monitor/list", {"success": 1, "count": 3, "list": rows}, times=3)
    await world.say("/ssl list")
    await world.card("`fine.demo.test`", "1 monitor: 1 OK.", "2 monitors could not be read")
    await world.ask("/ssl status fine.d:8443", "isn't known whether fine.d:8443 is monitored")

    world.api.heal()
    rows = [world.api.rows[number], world.api.rows[number] | BROKEN | {"host": "bad.demo.test"}]
    world.api.reply("monitor/list", {"success": 1, "count": 2, "list": rows}, times=4)
    await world.ask("/ssl digest", "No problems found among the others, but 1 monitor could")
    twice = [world.api.rows[number]] * 2  # two are counted, one is delivered
    world.api.heal()
    world.api.reply("monitor/list", {"success": 1, "count": 2, "list": twice}, times=4)
    await world.ask("/ssl digest", "No problems found among the others, but 1 monitor could")


async def test_what_can_not_be_read_is_counted_if_the_number_is_known(world: World) -> None:
    for kind, reply in REPLIES.items():
        world.api.reply("monitor/list", {"success": 1} | reply, times=3)
        found = await world.bot.api.list()
        assert ([*found], found.unreadable) == ([], 1), kind
        assert found.incomplete == (not reply.get("list")), kind
        world.api.heal()

    counts: tuple[Any, ...] = (True, "many", [])
    for count in counts:
        world.api.reply("monitor/list", {"success": 1, "count": count, "list": []}, times=3)
        await world.ask("/ssl list", "contains no readable count")
        world.api.heal()


async def test_an_answer_about_another_monitor_is_not_shown_for_it(world: World) -> None:
    world.api.extras = ["/checks"]
    number = world.api.add("api.demo.test", days=80)
    other = {"success": 1, "monitor": world.api._monitor(world.api.add("bad.demo.test", days=-1))}
    world.api.reply("monitor/scan", other, times=2)
    for which in (str(number), "api.demo.test"):
        card = await world.ask(f"/ssl scan {which}", "about another monitor, #102", "It may have")
        assert "bad.demo.test" not in words(card)
    world.api.reply("monitor/get", other)
    await world.ask(f"/ssl status #{number}", "about another monitor, #102")
    world.api.reply("monitor/add", other)
    await world.ask("/ssl add new.demo.test", "about another monitor", "It may have gone through")
    rows = {"success": 1, "count": 1, "list": [world.api.rows[102]]}
    world.api.reply("monitor/list", rows)
    card = await world.ask("/ssl list api", "No monitors match `host=*api*`")


async def test_a_certificate_whose_expiry_date_can_not_be_read_is_not_fine(world: World) -> None:
    world.api.add("api.demo.test")
    row = world.api.rows[101]
    world.api.reply("monitor/list", {"success": 1, "list": {"0": row}}, times=99)
    for row["ssl_expire_date_end"] in (None, "soon", "0000-00-00 00:00", "12/05/2026"):
        await world.ask("/ssl status api.demo.test", "UNKNOWN", "its expiry date could not be read")
        await world.ask("/ssl digest", "1 unknown", "The expiry date could not be read")
