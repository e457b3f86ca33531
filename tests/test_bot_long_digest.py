"""A digest of more monitors than one message takes: a table, a chart and a file in its thread."""

import asyncio
import csv
import re
from typing import Any

import pytest

from bot.playground.faults import InjectedFault, delay, http_answer, refusal
from bot.playground.objects import BEN
from bot.store.digests import DigestStore, StoredDigest
from tests.test_bot_digest import nine_o_clock, posted
from tests.world import World, digest_of, labels, words


@pytest.fixture
def world(digest_world: World) -> World:
    """Here every world has a digest."""
    return digest_world


@pytest.mark.slow
async def test_five_hundred_monitors_are_three_messages_and_a_file(world: World) -> None:
    for number in range(500):
        world.api.add(f"h{number}.a-rather-long-name.demo.test", days=1 + number % 28)
    await world.ask("/ssl mute 107 for=7d", "Muted by")
    world.api.add("old.demo.test", days=80, scan_date="2026-11-20 07:00")
    odd = world.api.add("odd.demo.test")
    world.api.rows[odd]["port"] = None
    nine_o_clock(world)

    await world.digest.tick()

    first, file, table, chart = posted(world)[-4:]
    assert labels(first) == [*["Rescan"] * 20, "Rescan 1 old one"]
    assert {file.thread_ts, table.thread_ts, chart.thread_ts} == {first.ts}
    assert "479 more monitors" in words(first)
    assert "Expiring by week" in words(chart)
    shown = set(re.findall(r"(h\d+)\.", words(table)))
    assert len(shown) == 200
    assert "279 more in the CSV file." in words(table)
    said = "All monitors of this digest are in the CSV file above, except 1 that could not be read."
    assert said in words(table)
    assert labels(table) == []
    [shared] = world.slack.files.values()
    assert shared["title"] == "certificates-2026-11-23.csv"
    assert file.files[0]["id"] == shared["id"]
    rows = list(csv.DictReader(shared["content"].decode("utf-8-sig").splitlines()))
    assert len({row["host"] for row in rows}) == len(rows) == 501
    assert [row["id"] for row in rows if row["muted_until"]] == ["107"]
    assert rows[-1]["host"] == "old.demo.test"


@pytest.mark.parametrize(
    ("method", "fault", "said"),
    [
        ("files.completeUploadExternal", refusal("not_in_channel"), "refused the CSV file"),
        ("files.getUploadURLExternal", refusal("missing_scope"), "lacks the scope `files:write`"),
        ("upload", http_answer(500), "refused the CSV file"),
        ("files.completeUploadExternal", http_answer(500), "did not confirm the CSV file"),
    ],
    ids=["refused", "no scope", "not taken", "perhaps"],
)
async def test_without_the_csv_file_its_button_stays_and_the_table_says_why(
    method: str, fault: InjectedFault, said: str, world: World
) -> None:
    for number in range(40):
        world.api.add(f"h{number}.demo.test", days=1 + number % 28)
    nine_o_clock(world)
    world.slack.faults.add(method, fault)
    await world.digest.tick()
    _, table, _ = posted(world)
    assert said in words(table)
    assert "in the CSV file above" not in words(table)
    assert world.digest.last_error == ""
    await world.press("CSV", on=table, by=BEN)
    await world.card("direct messages, as a CSV file", by=BEN)
    await world.settled()
    content = next(each["content"] for each in world.slack.files.values() if each.get("completed"))
    assert len(set(re.findall(r"\bh\d+\.", content.decode()))) == 40


@pytest.mark.slow
async def test_the_csv_file_is_about_the_hosts_of_the_digest(world: World) -> None:
    for number in range(40):
        world.api.add(f"h{number}.demo.test", days=1 + number % 28)
    world.api.add("elsewhere.test", days=3)
    await world.ask("/ssl mute 107 for=7d", "Muted by")
    await world.ask("/ssl digest here at 09:00 *.demo.test", "set up a digest", seen_by=BEN)
    nine_o_clock(world)
    world.slack.faults.add("files.completeUploadExternal", refusal("not_in_channel"))
    await world.bot.digests.tick()
    table = await world.card("more monitors, worst first", by=BEN)
    await world.press("CSV", on=table, by=BEN)
    await world.card("direct messages, as a CSV file", by=BEN)
    await world.settled()
    for each in world.slack.files.values():
        assert "elsewhere" not in each["content"].decode()
        assert "107,h6.demo.test" in each["content"].decode()


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ([], "The CSV file above may be some minutes newer than this."),
        ([refusal("missing_scope")] * 4, "did not confirm the CSV file. If it isn't above"),
    ],
    ids=["readable", "not readable"],
)
async def test_a_csv_file_whose_answer_was_lost_is_found_by_the_next_process(
    history: list[InjectedFault], said: str, world: World
) -> None:
    for number in range(40):
        world.api.add(f"h{number}.demo.test", days=1 + number % 28)
    nine_o_clock(world)
    held = world.slack.faults.hold("files.completeUploadExternal", after=True)
    dying = asyncio.create_task(world.digest.tick())
    await asyncio.wait_for(held.reached.wait(), 5)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    async with world.running_bot() as heir:
        world.later(minutes=3)
        for fault in history:
            world.slack.faults.add("conversations.replies", fault)
        await digest_of(heir).tick()
        await world.until(lambda: len(posted(world)) == 4)
    first, file, table, chart = posted(world)
    assert [bool(each.files) for each in (first, file, table, chart)] == [False, True, False, False]
    assert said in words(table)


@pytest.mark.slow
async def test_without_a_new_block_only_that_block_is_lost(world: World) -> None:
    for number in range(40):
        world.api.add(f"h{number}.demo.test", days=1 + number % 28)
    nine_o_clock(world)
    refused = refusal("invalid_blocks")
    for fault in (delay(0), refused, delay(0), refused):
        world.slack.faults.add("chat.postMessage", fault)
    await world.digest.tick()
    first, _, rest, chart = posted(world)
    assert "Expiring by week" in words(chart)
    assert "in the CSV file above" in words(rest)
    assert set(re.findall(r"`h\d+\.", words(first) + words(rest))) == {
        f"`h{number}." for number in range(40)
    }


async def test_a_digest_that_somebody_deletes_at_once_is_not_continued(world: World) -> None:
    for number in range(40):
        world.api.add(f"h{number}.demo.test", days=1 + number % 28)
    nine_o_clock(world)
    world.slack.faults.add("chat.postMessage", delay(0))
    world.slack.faults.add("chat.postMessage", refusal("thread_not_found"), times=2)

    await world.digest.tick()
    world.later(minutes=6)
    await world.digest.tick()

    first, *file = posted(world)
    assert "more monitors" in words(first)
    assert [words(each) for each in file if not each.files] == []
    assert world.digest.last_error == ""


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_process_that_dies_between_a_post_and_its_record_leaves_the_rest_to_the_next(
    part: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        world.api.add(f"h{number}.a-rather-long-name.demo.test", days=1 + number % 28)
    nine_o_clock(world)
    record = DigestStore.posted

    async def die(self: DigestStore, *given: Any, sent: int, **named: Any) -> StoredDigest | None:
        if sent > part:
            raise ConnectionResetError
        return await record(self, *given, sent=sent, **named)

    with monkeypatch.context() as dying:
        dying.setattr(DigestStore, "posted", die)
        with pytest.raises(ConnectionResetError):
            await world.digest.tick()
    assert len(posted(world)) == part + 1 + (part > 0)

    async with world.running_bot() as heir:
        await digest_of(heir).tick()
        assert len(posted(world)) == part + 1 + (part > 0)  # the claim may still be somebody's
        world.later(minutes=3)
        await digest_of(heir).tick()
        await world.settled()  # the heir's own clock may have begun it
        whole = [words(message) for message in posted(world)]
        world.later(minutes=30)
        await digest_of(heir).tick()

    assert [words(message) for message in posted(world)] == whole
    assert len(set(whole)) == len(whole) == 4
