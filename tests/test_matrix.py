"""One digest, whatever Slack answers and wherever a process breaks off. Run with `-m matrix`."""

import asyncio

import pytest

from bot.playground.faults import (
    InjectedFault,
    cut_answer,
    dropped_connection,
    http_answer,
    rate_limit,
    refusal,
)
from bot.playground.objects import BEN, CERTS, PostedMessage
from tests.world import World, words

pytestmark = [pytest.mark.matrix, pytest.mark.slow]

HTML = "<html><body>Bad Gateway</body></html>"
ANSWERS: dict[str, InjectedFault] = {
    "500": http_answer(500),
    "500 after": http_answer(500, after=True),
    "502 html": http_answer(502, HTML),
    "502 html after": http_answer(502, HTML, after=True),
    "503 after": http_answer(503, after=True),
    "504 html after": http_answer(504, HTML, after=True),
    "200 html": http_answer(200, HTML),
    "200 html after": http_answer(200, HTML, after=True),
    "200 empty": http_answer(200, content_type="application/json"),
    "200 empty after": http_answer(200, content_type="application/json", after=True),
    "200 half": http_answer(200, '{"ok": tr', content_type="application/json"),
    "200 half after": http_answer(200, '{"ok": tr', content_type="application/json", after=True),
    "internal_error": refusal("internal_error"),
    "internal_error after": refusal("internal_error", after=True),
    "fatal_error after": refusal("fatal_error", after=True),
    "request_timeout": refusal("request_timeout"),
    "service_unavailable after": refusal("service_unavailable", after=True),
    "ratelimited": refusal("ratelimited"),
    "429": rate_limit(),
    "429 without a time": rate_limit(None),
    "dropped": dropped_connection(),
    "dropped after": dropped_connection(after=True),
    "cut": cut_answer(),
    "refused": refusal("not_in_channel"),
    "unknown": refusal("brand_new_error"),
}


def digests(world: World) -> list[PostedMessage]:
    return [m for m in world.seen(by=BEN) if "Certificates on" in words(m) and not m.in_thread]


async def later(world: World, times: int = 5) -> None:
    for _ in range(times):
        world.later(minutes=6)
        await world.digest.tick()


@pytest.mark.parametrize("fault", ANSWERS.values(), ids=ANSWERS)
async def test_there_is_one_digest_after_any_answer_of_slacks(
    fault: InjectedFault, digest_world: World
) -> None:
    world = digest_world
    world.api.add("api.demo.test", days=5.5)
    world.later(minutes=91)
    world.slack.faults.add("chat.postMessage", fault)

    await world.digest.tick()
    await later(world)

    assert len(digests(world)) == 1
    assert world.digest.last_error == ""


async def all_clear(world: World) -> None:
    """Let today's digest say that all is clear, and tomorrow's, which is due, say so too."""
    number = world.api.add("fine.demo.test")
    world.later(minutes=91)
    await world.digest.tick()
    world.later(minutes=24 * 60)
    world.api.rows[number]["scan_date"] = f"{world.clock():%Y-%m-%d %H:%M}"


def clear_days(world: World) -> list[str]:
    return [words(m).partition("Certificates on ")[2][:2] for m in digests(world)]


@pytest.mark.parametrize("fault", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("method", ["chat.update", "conversations.history"])
async def test_all_clear_is_told_once_a_day_after_any_answer_of_slacks(
    method: str, fault: InjectedFault, digest_world: World
) -> None:
    world = digest_world
    await all_clear(world)
    world.slack.faults.add(method, fault, times=3)
    await world.digest.tick()
    await later(world)
    assert clear_days(world) in (["24"], ["23", "24"])
    assert world.digest.last_error == ""


@pytest.mark.parametrize("chat", [False, True], ids=["silence", "others post"])
@pytest.mark.parametrize("method", ["conversations.history", "chat.update"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_all_clear_is_told_once_wherever_a_process_breaks_off(
    method: str, after: bool, chat: bool, digest_world: World
) -> None:
    world = digest_world
    await all_clear(world)
    held = world.slack.faults.hold(method, after=after)
    broken = asyncio.create_task(world.digest.tick())
    await asyncio.wait_for(held.reached.wait(), 5)
    broken.cancel()
    await asyncio.gather(broken, return_exceptions=True)
    if chat:
        world.slack.post(CERTS, BEN, "lunch?")
    async with world.running_bot():
        await later(world, 3)
        edited = not chat or (method, after) == ("chat.update", True)
        assert clear_days(world) == (["24"] if edited else ["23", "24"])
        assert world.digest.last_error == ""


POINTS = [
    ("monitor/list", False),
    ("chat.postMessage", False),
    ("chat.postMessage", True),
    ("conversations.history", False),
    ("conversations.history", True),
]


@pytest.mark.parametrize("replicas", [1, 2], ids=["restarted", "with a replica"])
@pytest.mark.parametrize(("point", "after"), POINTS)
async def test_there_is_one_digest_wherever_a_process_breaks_off(
    point: str, after: bool, replicas: int, digest_world: World
) -> None:
    world = digest_world
    for number in range(40):
        world.api.add(f"h{number}.demo.test", days=5.5)
    world.later(minutes=91)
    if point == "monitor/list":
        reached = world.api.hold(point).reached
    else:
        reached = world.slack.faults.hold(point, after=after).reached

    broken = asyncio.create_task(world.digest.tick())
    await asyncio.wait_for(reached.wait(), 5)
    broken.cancel()
    await asyncio.gather(broken, return_exceptions=True)
    async with world.running_bot():
        for _ in range(replicas):
            await later(world, 3)

        assert len(digests(world)) == 1
        assert world.digest.last_error == ""
