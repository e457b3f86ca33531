"""Changes that the API tells: within a minute of the scan, and never at the cost of the list."""

from dataclasses import replace
from typing import Any

import pytest

from bot.api.client import SSLMonitor
from bot.app.engine import own_api
from bot.errors import APIRefused, APIUnreachable, BotError
from bot.playground.faults import refusal
from bot.playground.objects import BEN
from bot.slack.notices import LACKS, MANY, Notices
from bot.store.digests import DigestStore
from bot.store.notices import NoticeStore
from tests.stub_api import OK
from tests.test_bot_notices import HOST, told, watcher
from tests.world import MakeWorld, World, words

CHANGES = "monitor/changes"


def page(*rows: dict[str, Any], then: str, more: bool = False) -> dict[str, Any]:
    return OK | {"count": len(rows), "list": list(rows), "next": then, "more": more}


def change(world: World, number: int, **fields: Any) -> dict[str, Any]:
    """A change of a monitor, as it is now."""
    return {"id": number, "kind": "changed", "monitor": world.api.rows[number], **fields}


def say(world: World, *pages: dict[str, Any]) -> None:
    for each in pages:
        world.api.reply(CHANGES, each)


async def begun(world: World) -> Notices:
    """Notices that have compared once, with an API that tells changes from the cursor c0 on."""
    world.api.extras = ["/monitor/changes"]
    world.bot.api.extras._lacks_until = world.clock()
    say(world, page(then="c0"))
    notices = watcher(world)
    await notices.tick()
    assert world.api.asked(CHANGES) == [{}]
    return notices


@pytest.mark.slow
async def test_a_change_is_told_by_the_next_poll_after_its_scan(make_world: MakeWorld) -> None:
    async with make_world(scans=True) as world:
        assert world.hosts is not None
        target = next(each for each in world.hosts.targets if each.startswith("shop"))
        name = target.partition(":")[0]
        await world.ask(f"/ssl add {target}", "OK", target)
        notices = watcher(world)
        await notices.tick()
        await world.hosts.change(name, "break", world.clock())
        await world.say(f"/ssl scan {target}")
        await world.settled()
        await notices.poll()
        (posted,) = [m for m in world.seen(by=BEN) if "Newly broken" in m.text]
        world.hosts.renew(name)
        await world.say(f"/ssl scan {target}")
        await world.settled()
        await notices.poll()
        await world.card("~*Newly broken*~", by=BEN)
        (reply,) = [m for m in world.seen(by=BEN) if m.thread_ts == posted.ts]
        assert reply.text.startswith("✅ Fixed: shop")


@pytest.mark.slow
async def test_processes_that_each_run_an_api_continue_each_others_comparisons(
    make_world: MakeWorld,
) -> None:
    async with make_world(scans=True) as world:
        assert world.hosts is not None
        target = next(each for each in world.hosts.targets if each.startswith("shop"))
        await world.ask(f"/ssl add {target}", "OK", target)
        before = watcher(world)
        await before.tick()
        world.settings = replace(world.settings, api_url="")
        async with (
            own_api(
                world.settings, world.bot.database, hosts=world.hosts.table, now=world.clock
            ) as world.settings,
            world.running_bot() as restarted,
        ):
            after = watcher(world, restarted)
            await after.tick()
            await world.hosts.change(target.partition(":")[0], "break", world.clock())
            await world.say(f"/ssl scan {target}")
            await world.settled()
            for each in (before, after):
                await each.tick()
            assert len([m for m in world.seen(by=BEN) if "Newly broken" in m.text]) == 1


@pytest.mark.slow
async def test_what_changed_is_told_without_asking_for_the_list(world: World) -> None:
    numbers = world.api.add_many(3, days=80)
    notices = await begun(world)
    lists = len(world.api.asked("monitor/list"))
    for number in numbers[:2]:
        world.api.rows[number]["ssl_valid"] = False
    first = page(change(world, numbers[0]), then="c1", more=True)
    say(world, first, page(change(world, numbers[1]), then="c2"))
    await notices.poll()
    assert [text.partition(":")[0] for text in told(world)] == ["Newly broken"] * 2
    assert [each["since"] for each in world.api.asked(CHANGES)[1:]] == ["c0", "c1"]
    world.api.rows[numbers[0]]["ssl_valid"] = True
    say(world, page(change(world, numbers[0]), then="c3"))
    await notices.poll()
    assert world.api.asked(CHANGES)[-1]["since"] == "c2"
    await world.card("~`h0.demo.test`~", by=BEN)
    assert "~`" not in words(next(m for m in world.seen(by=BEN) if "h1.demo.test" in m.text))
    assert len(world.api.asked("monitor/list")) == lists


async def test_a_flood_of_changes_is_read_in_parts_that_lose_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.notices.PAGES", 1)
    numbers = world.api.add_many(4, days=80)
    notices = await begun(world)
    lists = len(world.api.asked("monitor/list"))
    for place, number in enumerate(numbers):
        world.api.rows[number]["ssl_valid"] = False
        say(world, page(change(world, number), then=f"c{place + 1}", more=place < 3))
    await notices.poll()
    assert len(told(world)) == 2
    await notices.poll()
    assert len(told(world)) == 4
    assert len(world.api.asked("monitor/list")) == lists


async def test_an_api_that_can_not_tell_changes_now_is_asked_for_its_list(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    world.api.rows[number]["ssl_valid"] = False
    world.api.answer(CHANGES, 500, times=99)
    await notices.poll()
    assert told(world) == []
    await notices.tick()
    assert len(told(world)) == 1
    world.api.heal()
    say(world, page(then="c1"))
    await notices.poll()
    assert world.api.asked(CHANGES)[-1]["since"] == "c0"

    world.api.rows[number]["ssl_valid"] = True
    world.api.refuse(CHANGES, 410, "This cursor is unknown or too old.", status=410, times=2)
    say(world, page(then="d0"))
    await notices.poll()
    assert len(told(world)) == 2
    assert world.api.asked(CHANGES)[-1] == {}
    basis = (await NoticeStore(world.bot.database).standings(world.bot.api.source)).basis
    assert basis.cursor == "d0"


async def test_notices_are_posted_while_the_api_is_down(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    world.api.rows[number]["ssl_valid"] = False
    world.slack.faults.add("chat.postMessage", refusal("not_in_channel"))
    await notices.tick()
    assert told(world) == []
    world.api.answer("monitor/list", 500, times=9)
    with pytest.raises(BotError):
        await notices.tick()
    assert len(told(world)) == 1


async def test_another_process_goes_on_where_the_first_one_ended(world: World) -> None:
    number = world.api.add(HOST, days=80)
    await begun(world)
    world.api.rows[number]["ssl_valid"] = False
    say(world, page(change(world, number), then="c1"))
    async with world.running_bot() as other:
        other.api.extras._offered = world.bots[0].api.extras._offered
        await watcher(world, other).poll()
    assert world.api.asked(CHANGES)[-1]["since"] == "c0"
    assert len(told(world)) == 1


async def test_changed_names_are_counted_and_told_where_all_is_asked_for(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    names = {"names_added": ["new.test", "*bold*.test"], "names_removed": ["old.test"]}
    say(world, page(change(world, number, **names), then="c1"))
    await notices.poll()
    assert told(world) == []
    counted = await DigestStore(world.bot.database).small_changes(world.clock().replace(hour=0))
    assert [kind for kind, _ in counted] == ["names"]

    await world.ask("/ssl notices here all", "Ann set up notices", seen_by=BEN)
    say(world, page(change(world, number, **names), then="c2"))
    world.later(days=1)
    await notices.poll()
    card = await world.card("Names changed", HOST, by=BEN)
    assert "names removed: old.test · names added: ∗bold∗.test, new.test" in words(card)


async def test_an_api_without_changes_is_asked_for_them_rarely_and_lists_do(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = watcher(world)
    for _ in range(5):
        await notices.tick()
        await notices.poll()
    assert world.api.asked(CHANGES) == []
    assert len(world.api.asked("openapi.json")) <= 2
    world.api.rows[number]["ssl_valid"] = False
    await notices.tick()
    assert len(told(world)) == 1


@pytest.mark.slow
async def test_an_api_that_describes_changes_but_has_none_is_asked_for_lists(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    number = world.api.add(HOST, days=80)
    world.api.extras = ["/monitor/changes"]
    world.bot.api.extras._lacks_until = world.clock()
    world.api.refuse(CHANGES, 404, "no such endpoint", status=404, times=9)
    notices = watcher(world)
    for _ in range(3):
        await notices.tick()
        await notices.poll()
    assert len(world.api.asked(CHANGES)) == 1
    world.api.rows[number]["ssl_valid"] = False
    await notices.tick()
    assert len(told(world)) == 1
    assert "WARNING" not in {record.levelname for record in caplog.records[-3:]}
    world.later(seconds=LACKS.total_seconds() + 1)
    world.api.heal()
    say(world, page(then="c0"))
    await notices.tick()
    assert len(world.api.asked(CHANGES)) == 2


async def test_a_long_list_is_compared_every_interval_and_its_changes_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.notices.MANY", 2)
    assert MANY > 2
    numbers = world.api.add_many(3, days=80)
    world.api.add("near.demo.test", days=7 + 10 / 1440)
    notices = await begun(world)
    lists = len(world.api.asked("monitor/list"))
    world.api.rows[numbers[0]]["ssl_valid"] = False
    await notices.tick()
    assert told(world) == []
    say(world, page(change(world, numbers[0]), then="c1"))
    await notices.poll()
    assert len(told(world)) == 1
    assert len(world.api.asked("monitor/list")) == lists
    world.later(minutes=15)
    say(world, page(then="c2"))
    await notices.tick()
    assert len(world.api.asked("monitor/list")) == lists + 1
    assert told(world)[1].startswith("Renew now: near.demo.test")  # which no scan has changed


async def test_odd_rows_spoil_no_other_and_an_old_cursor_is_refused(world: World) -> None:
    number = world.api.add(HOST, days=80)
    odd = [7, {"id": "x"}, {"id": 3, "monitor": {"id": 3, "host": ""}}, {"id": 4, "monitor": None}]
    say(world, page(*odd, change(world, number), then="c1"))  # type: ignore[arg-type]
    found = await world.bot.api.extras.changes("c0")
    assert [row.id for row in found.rows] == [number]

    world.api.refuse(CHANGES, 410, "This cursor is unknown or too old.", status=410)
    api: SSLMonitor = world.bot.api
    with pytest.raises(APIRefused) as caught:
        await api.extras.changes("c0")
    assert caught.value.code == 410
    assert len(world.api.asked(CHANGES)) == 2

    bodies: tuple[dict[str, Any], ...] = (
        {"list": []},
        {"list": {}, "next": "c1"},
        {"list": [], "next": ""},
        {"list": [], "next": 7},
        {"list": [], "next": "x" * 201},
    )
    for body in bodies:
        world.api.heal()
        world.api.reply(CHANGES, OK | body, times=9)
        with pytest.raises(APIUnreachable, match="no readable changes"):
            await api.extras.changes("c0")
