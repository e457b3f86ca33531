"""Buttons on cards, lists and digests."""

import asyncio

import pytest

from bot.playground.objects import ANN, BEN, CERTS, PostedMessage
from tests.world import World, labels, words


@pytest.fixture
def world(digest_world: World) -> World:
    """Here every world has a digest."""
    return digest_world


async def public_card(world: World, host: str) -> PostedMessage:
    await world.say(f"/ssl scan {host}")
    return await world.card("Rescan", f"`{host}`", by=BEN)


async def private_card(world: World, host: str) -> PostedMessage:
    await world.say(f"/ssl status {host}")
    return await world.card("Rescan", f"`{host}`")


async def posted_digest(world: World) -> PostedMessage:
    """Today's digest in the channel."""
    assert await world.digest.post_now()
    return await world.card("Certificates on 23 November 2026", by=BEN)


def row_of(message: PostedMessage, number: int) -> str:
    places = {str(block["block_id"]).partition("@")[0]: block for block in message.blocks}
    return str(places[f"row:{number}"]["text"]["text"])


@pytest.mark.parametrize("make", [public_card, private_card])
async def test_rescan_turns_the_card_into_the_new_one(make: object, world: World) -> None:
    number = world.api.add("api.demo.test", days=5.5)
    assert callable(make)
    card = await make(world, "api.demo.test")
    before = len(world.seen())
    held = world.api.hold("monitor/scan")

    await world.press("Rescan", on=card)
    busy = await world.card("Scanning…")
    assert (busy.ts, labels(busy)) == (card.ts, [])
    world.api.renew(number, 90.5)
    held.release()

    became = await world.card("OK", "in 90 days", "asked by Ann")
    assert (became.ts, became.ephemeral_for) == (card.ts, card.ephemeral_for)
    await world.settled()
    assert len(world.seen()) == before


async def test_only_a_row_that_was_not_fine_is_struck_through(world: World) -> None:
    fine = world.api.add("a.demo.test", days=80.5)
    fixed = world.api.add("b.demo.test", days=-1.5, valid=False)
    shown = await world.ask("/ssl list", "2 monitors")
    world.api.renew(fixed, 90.5)
    await world.press("Rescan", on=shown, row="a.demo.test")
    await world.press("Rescan", on=shown, row="b.demo.test")
    await world.until(lambda: all("↻" in row_of(shown, n) for n in (fine, fixed)))
    assert "~" not in row_of(shown, fine)
    assert "~`b.demo.test`~" in row_of(shown, fixed)

    shown = await world.ask("/ssl lisst", "UNKNOWN COMMAND")
    await world.press("Run list", on=shown)
    await world.until(lambda: "2 monitors" in words(shown))
    world.api.renew(fine, 70.5)
    await world.press("Rescan", on=shown, row="a.demo.test")
    await world.until(lambda: "in 70 days" in row_of(shown, fine))


async def test_rescans_on_a_private_list_are_answered_in_their_rows_alone(world: World) -> None:
    first = world.api.add("a.demo.test", days=5.5)
    second = world.api.add("b.demo.test", days=6.5)
    shown = await world.ask("/ssl list", "2 monitors")
    holds = [world.api.hold("monitor/scan"), world.api.hold("monitor/scan")]
    for held, row in zip(holds, ("a.demo.test", "b.demo.test"), strict=True):
        await world.press("Rescan", on=shown, row=row)
        await held.reached.wait()
    assert [row_of(shown, n).count("Scanning…") for n in (first, second)] == [1, 1]
    world.api.renew(first, 90.5)
    world.api.renew(second, 80.5)
    for held in holds:
        held.release()
    await world.settled()
    assert "in 90 days" in row_of(shown, first)
    assert "in 80 days" in row_of(shown, second)
    assert labels(shown).count("Rescan") == 2

    world.api.renew(first, 5.5)
    world.api.renew(second, 6.5)
    shown = await world.ask("/ssl list", "2 monitors")
    other = row_of(shown, second)
    held = world.api.hold("monitor/scan")
    await world.press("Rescan", on=shown, row="a.demo.test")
    await world.until(lambda: "Scanning…" in row_of(shown, first))
    assert row_of(shown, second) == other
    world.api.renew(first, 90.5)
    held.release()
    await world.until(lambda: "in 90 days" in row_of(shown, first))
    assert "~`a.demo.test`~" in row_of(shown, first)
    assert "· Ann, <!date" in row_of(shown, first)
    assert row_of(shown, second) == other
    assert labels(shown).count("Rescan") == 2
    await world.settled()
    assert [each.ts for each in world.seen()][1:] == [shown.ts]
    assert world.seen(by=BEN) == []


@pytest.mark.slow
async def test_a_failed_rescan_or_a_restart_leaves_a_private_row(world: World) -> None:
    number = world.api.add("a.demo.test", days=5.5)
    world.api.add("b.demo.test", days=6.5)
    shown = await world.ask("/ssl list", "2 monitors")
    before = row_of(shown, number)
    world.api.refuse("monitor/scan", 422, "no worker is free")
    world.api.refuse("monitor/scan", 500, "disk full")
    world.api.drop("monitor/scan")
    world.api.refuse("monitor/scan", 404, "monitor not found")
    for said, told in (
        ("not scanned", "no worker is free"),
        ("result unknown", "disk full. It may have gone through"),
        ("no answer", "It may have gone through"),
        ("not monitored", "NOT FOUND"),
    ):
        await world.press("Rescan", on=shown, row="a.demo.test")
        await world.card(told, "`a.demo.test`")
        await world.settled()
        assert f"↻ {said} · Ann" in row_of(shown, number)
        assert before.startswith(row_of(shown, number).partition("\n↻")[0])

    shown = await world.ask("/ssl list", "2 monitors")
    before = row_of(shown, number)
    async with world.running_bot():
        await world.press("Rescan", on=shown, row="a.demo.test")
        await world.card("asked by Ann")
        await world.settled()
    assert row_of(shown, number) == before
    await world.card("⏳ The result will follow.")
    assert "Scanning" not in "".join(map(words, world.seen()))


@pytest.mark.slow
async def test_a_digest_and_its_threads_card_can_be_rescanned(world: World) -> None:
    number = world.api.add("a.demo.test", days=5.5)
    shown = await posted_digest(world)
    await world.press("Rescan", on=shown, row="a.demo.test")
    card = await world.card("asked by Ann", "Details", by=BEN)
    await world.press("Rescan", on=card, by=BEN)
    became = await world.card("asked by Ben", "Details", by=BEN)
    assert (became.ts, became.thread_ts) == (card.ts, shown.ts)

    world.api.renew(number, 90.5)
    async with world.running_bot():
        await world.press("Rescan", on=shown, row="a.demo.test")
        await world.until(lambda: "in 90 days" in row_of(shown, number))


async def test_rescan_on_the_digest_renews_that_row_alone(world: World) -> None:
    first = world.api.add("a.demo.test", days=5.5)
    second = world.api.add("b.demo.test", days=6.5)
    shown = await posted_digest(world)
    other = row_of(shown, second)
    held = world.api.hold("monitor/scan")
    await world.press("Rescan", on=shown, row="a.demo.test", by=BEN)
    await world.until(lambda: "⏳ *Scanning…* · `a.demo.test` · Ben" in row_of(shown, first))
    await held.reached.wait()
    world.api.renew(first, 90.5)
    held.release()
    card = await world.card("OK", "`a.demo.test`", "asked by Ben", by=BEN)
    assert (card.thread_ts, card.ephemeral_for) == (shown.ts, None)
    assert "in 90 days" in row_of(shown, first)
    assert "↻ fixed · Ben, " in row_of(shown, first)
    assert row_of(shown, second) == other
    assert "Certificates on 23 November 2026" in words(shown)
    assert labels(shown) == ["Rescan", "Rescan"]


@pytest.mark.slow
async def test_two_rescans_at_once_on_one_digest_lose_neither_row(world: World) -> None:
    first = world.api.add("a.demo.test", days=5.5)
    second = world.api.add("b.demo.test", days=6.5)
    shown = await posted_digest(world)
    holds = [world.api.hold("monitor/scan"), world.api.hold("monitor/scan")]
    await world.press("Rescan", on=shown, row="a.demo.test", by=BEN)
    await holds[0].reached.wait()
    await world.press("Rescan", on=shown, row="b.demo.test", by=ANN)
    await holds[1].reached.wait()
    world.api.renew(first, 90.5)
    world.api.renew(second, 80.5)
    for held in holds:
        held.release()
    await world.settled()
    assert "in 90 days" in row_of(shown, first)
    assert "in 80 days" in row_of(shown, second)


async def test_details_come_below_for_the_one_who_asks_and_leave_the_card(world: World) -> None:
    world.api.add("api.demo.test")
    world.api.names = ["api.demo.test", "www.demo.test"]
    world.api.http = {"ip": "192.0.2.7", "code": 200, "size": 1234, "html_title": "Hello"}
    card = await private_card(world, "api.demo.test")
    await world.press("Details", on=card)
    shown = await world.card("Names (2)", "`www.demo.test`", "`192.0.2.7`", "Hello")
    assert shown.ts != card.ts
    assert shown.ephemeral_for == ANN

    card = await public_card(world, "api.demo.test")
    await world.press("Details", on=card, by=BEN)
    shown = await world.card("Names", by=BEN)
    assert shown.ephemeral_for == BEN


@pytest.mark.parametrize("line", ["/ssl status a.demo.test", "/ssl scan a.demo.test"])
async def test_delete_in_the_menu_asks_once_more_below(line: str, world: World) -> None:
    number = world.api.add("a.demo.test")
    shown = await world.ask(line, "Rescan", "`a.demo.test`")

    await world.press("Delete this monitor", on=shown, row="a.demo.test")

    asked = await world.card("Delete the monitor for `a.demo.test`")
    assert (asked.ephemeral_for, asked.ts != shown.ts) == (ANN, True)
    await world.press("Delete", on=asked)
    await world.card("Ann deleted the monitor for `a.demo.test`.", by=BEN)
    assert number not in world.api.rows


async def test_a_long_list_is_a_table_with_rescan_for_the_worst_above_it(world: World) -> None:
    for days in range(1, 31):
        world.api.add(f"h{days}.demo.test", days=days + 0.5)

    card = await world.ask("/ssl list", "30 monitors")
    assert labels(card) == ["Rescan", "Rescan", "Rescan", "CSV", "Share here"]
    [table] = [block for block in card.blocks if block["type"] == "data_table"]
    hosts = [row[0]["text"] for row in table["rows"][1:]]
    assert hosts == [f"h{days}.demo.test" for days in range(1, 31)]


async def test_a_button_on_a_monitor_that_is_gone_says_so(world: World) -> None:
    number = world.api.add("a.demo.test")
    card = await private_card(world, "a.demo.test")
    del world.api.rows[number]

    await world.press("Rescan", on=card)

    became = await world.card("NOT FOUND", "/ssl list")
    assert became.ts == card.ts


async def test_rescan_on_the_private_preview_of_the_digest_posts_nothing(world: World) -> None:
    world.api.add("a.demo.test", days=5.5)
    shown = await world.ask("/ssl digest", "Certificates now")

    await world.press("Rescan", on=shown)
    await world.card("Certificates now", "no change · Ann", "Scan & watch")
    await world.settled()

    assert world.slack.messages(CERTS) == []


async def test_requests_of_one_kind_at_one_time_are_one(world: World) -> None:
    number = world.api.add("api.demo.test", days=80)
    results = await asyncio.gather(*(world.bot.api.scan(number) for _ in range(3)))
    assert len(world.api.asked("monitor/scan")) == 1
    assert results[0] == results[1] == results[2]
    await world.bot.api.scan(number)
    assert len(world.api.asked("monitor/scan")) == 2

    held = world.api.hold("monitor/list")
    asked = [asyncio.create_task(world.bot.api.list()) for _ in range(2)]
    await held.reached.wait()
    asked[0].cancel()
    held.release()
    assert [row.target.host for row in await asked[1]] == ["api.demo.test"]
    assert len(world.api.asked("monitor/list")) == 1

    card = await world.ask("/ssl scan api.demo.test", "OK", "asked by Ann")
    await world.settled()
    await asyncio.gather(*(world.press("Rescan", on=card) for _ in range(3)))
    await world.settled()
    assert len(world.api.asked("monitor/scan")) == 4
