"""What people see while the API is slow, or hangs."""

import asyncio
import functools
from typing import Any

import pytest

from bot.commands import after_scan
from bot.playground.objects import ANN, BEN, CERTS
from tests.stub_api import OK
from tests.test_bot_rows import refresh
from tests.world import World, words


@pytest.mark.slow
async def test_help_is_answered_at_once_while_the_api_hangs_for_150_people(world: World) -> None:
    holds = [world.api.hold("monitor/list") for _ in range(60)]
    for number in range(1, 151):
        await world.say(f"/ssl list port={number}")
    await world.until(lambda: any("waiting for" in words(m) for m in world.seen()) or None)

    async with asyncio.timeout(5):  # an answer of the API would take ten
        await world.ask("/ssl help", "What /ssl can do")

    for held in holds:
        held.release()
    await world.settled()


@pytest.mark.slow
async def test_whoever_waits_for_a_slow_api_is_told_what_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.surfaces.SLOW_SECONDS", 0.05)
    monkeypatch.setattr("bot.slack.surfaces.SLOW_PRIVATE_SECONDS", 0.05)
    world.api.add("api.demo.test", days=80)
    holds = [world.api.hold("monitor/list") for _ in range(2)]

    await world.say("/ssl status api.demo.test")
    await world.say("@SSLmonitor list", by=BEN)
    told = await world.card("SSLmonitor is slow; the card follows.")
    waiting = await world.card("Waiting for SSLmonitor…", by=BEN)
    for held in holds:
        held.release()

    await world.card("OK", "`api.demo.test`", "Share here")
    answer = await world.card("1 monitor: 1 OK.", by=BEN)
    await world.settled()
    assert (told.ephemeral_for, answer.ts) == (ANN, waiting.ts)
    assert "Waiting for" not in "".join(words(m) for m in world.seen(by=BEN))

    # what can't be replaced says nothing that would not stay true
    world.slack.channels[CERTS].is_archived = True
    for line, path in (("add new.demo.test", "monitor/add"), ("scan #101", "monitor/scan")):
        before, held = len(world.seen()), world.api.hold(path)
        await world.say(f"/ssl {line}")
        await world.until(functools.partial(_more_than, world, before))
        held.release()
        await world.settled()
        slow, card = [words(each) for each in world.seen()[before:]]
        assert ("SSLmonitor is slow; the card follows." in slow, "OK" in card) == (True, True)


async def test_a_read_that_began_before_a_change_is_not_taken_for_the_state_after_it(
    world: World,
) -> None:
    number = world.api.add("api.demo.test", days=-1, valid=False)
    slow = [world.api.hold("monitor/list") for _ in range(2)]
    await world.say("/ssl status api.demo.test", by=BEN)
    await slow[0].reached.wait()
    await world.say("/ssl list", by=BEN)
    await slow[1].reached.wait()
    world.api.renew(number, days=80)
    async with asyncio.timeout(9):  # the slow reads end after ten
        await world.ask(f"/ssl scan #{number}", "*OK* · `api.demo.test`")
        await world.ask("/ssl list", "1 monitor: 1 OK.")
    for held in slow:
        held.release()
    await world.settled()


@pytest.mark.slow
async def test_with_an_api_of_eight_seconds_a_scan_ends_within_20_by_button_or_id_and_28_by_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for factor in (4, 1):  # a quarter of all times, and for a busy machine all of them
        by_button, by_id, by_name = await _scanned(world, monkeypatch, factor)
        met = (by_button * factor < 20, by_id * factor < 20, by_name * factor < 28)
        if all(met):
            break
    assert met == (True, True, True)


async def _scanned(world: World, monkeypatch: pytest.MonkeyPatch, factor: int) -> list[float]:
    """The seconds that scans by button, by ID and by name take."""
    monkeypatch.setattr(after_scan, "LOOK_SECONDS", 2.0 / factor)
    monkeypatch.setattr(after_scan, "OFFER_SECONDS", 5.0 / factor)
    world.api.latency = 0.0
    hosts = [f"{letter}{factor}.demo.test" for letter in "abc"]
    _, second, _ = [world.api.add(host, days=80) for host in hosts]
    world.api.names = ["other.demo.test"]
    button = await world.ask(f"/ssl status {hosts[0]}", "OK", hosts[0])
    world.api.latency = 8 / factor
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def seconds(host: str, by: str) -> float:
        await world.card("OK", f"`{host}`", "asked by", by=by, within=60)
        return loop.time() - began

    await world.press("Rescan", on=button)
    await world.say(f"/ssl scan {second}", by=BEN)
    await world.say(f"/ssl scan {hosts[2]}", by=BEN)
    return await asyncio.gather(*map(seconds, hosts, (ANN, BEN, BEN)))


async def test_a_quick_answer_says_nothing_about_slowness(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    await world.ask("/ssl status api.demo.test", "OK")
    await world.settled()
    assert len(world.seen()) == 1


def _more_than(world: World, before: int) -> bool:
    return len(world.seen()) > before


@pytest.mark.parametrize("look", ["refresh", "notices"])
async def test_a_claim_outlives_a_list_that_was_begun_before_it(
    look: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.ask("/ssl notices here", "set up notices")
    number = world.api.add("api.demo.test", days=80)
    held = world.api.hold("monitor/list")
    held.body = OK | {"count": 1, "list": [dict(world.api.rows[number])]}  # it was fine then
    await world.say("/ssl list", by=BEN)
    await held.reached.wait()

    world.later(minutes=1)
    world.api.rows[number] |= {"ssl_valid": False, "ssl_message": "Revoked"}
    await world.ask(f"/ssl take {number}", "Ann has taken")
    world.later(minutes=1)
    notices = world.bot.scheduler.notices
    assert notices is not None
    joined, share = asyncio.Event(), world.bot.api._share

    async def shared(key: tuple[str, ...], ask: Any) -> Any:
        joined.set()
        return await share(key, ask)

    monkeypatch.setattr(world.bot.api, "_share", shared)
    looking = asyncio.create_task(refresh(world) if look == "refresh" else notices.tick())
    await joined.wait()
    held.release()
    await looking

    assert list(world.bot.slack._records.rules.marks.claims) == [number]
    lists = [asked for asked in world.api.asked("monitor/list") if not asked]
    assert len(lists) == 1  # it was shared
