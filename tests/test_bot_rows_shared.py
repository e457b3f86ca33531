"""Rows of several monitors with one certificate, and answers that arrive out of order."""

import asyncio
import copy
import functools

import pytest

from bot.playground.objects import ANN, BEN, OpenView, PostedMessage
from tests.test_bot_channels import watcher
from tests.test_bot_notices import begun
from tests.test_bot_rows import ONE, digest, refresh, row_of
from tests.world import World, labels, words


@pytest.fixture
def world(digest_world: World) -> World:
    """Here every world has a digest."""
    return digest_world


async def test_monitors_with_one_certificate_are_one_row_with_one_rescan(world: World) -> None:
    numbers = world.api.add_many(3, days=-1, valid=False, ssl_fingerprint=ONE)
    world.api.add("other.demo.test", days=-1, valid=False)
    shown = await digest(world)
    assert "4 broken" in words(shown)
    assert "`h0.demo.test` +2\nSince <!date" in row_of(shown, numbers[0])
    assert "one renewal fixes 3 monitors" in row_of(shown, numbers[0])
    assert "h1.demo.test" not in words(shown)
    assert labels(shown) == ["Rescan all broken", "Rescan", "Rescan"]

    held = world.api.hold("monitor/scan")
    await world.press("Rescan", on=shown, row=f"{numbers[0]} {numbers[1]}", by=BEN)
    await world.until(lambda: "Scanning…* · 0 of 3 · Ben" in row_of(shown, numbers[0]))
    await held.reached.wait()
    for number in numbers:
        world.api.renew(number, 80, ssl_fingerprint="cd" * 32)
    held.release()
    await world.until(lambda: "~`h0.demo.test`~ and 2 more" in row_of(shown, numbers[0]))
    assert "fixed · Ben" in row_of(shown, numbers[0])
    assert "✅ 1 of 2 rows fixed. Now: 1 broken. When posted: 4 broken." in words(shown)


async def test_details_name_the_other_hosts_with_this_certificate(world: World) -> None:
    world.api.add_many(3, ssl_fingerprint=ONE)
    world.api.add("other.demo.test", ssl_fingerprint="cd" * 32)
    await world.say("/ssl status h0.demo.test")
    await world.press("Details", on=await world.card("`h0.demo.test`"))
    card = words(await world.card("*Also on 2 other monitors*", "`h1.demo.test` `h2.demo.test`"))
    assert "other.demo.test" not in card


@pytest.mark.slow
async def test_a_certificate_that_was_renewed_on_some_hosts_says_on_how_many(world: World) -> None:
    numbers = world.api.add_many(3, days=-1, valid=False, ssl_fingerprint=ONE)
    shown = await digest(world)
    await world.press("Rescan", on=shown, row=f"{numbers[0]} {numbers[1]}")
    await world.until(lambda: "↻ no change" in row_of(shown, numbers[0]))
    await world.settled()
    for fixed in (1, 0):
        world.api.renew(numbers[fixed], days=80)
        world.api.rows[numbers[fixed]]["ssl_fingerprint"] = "cd" * 32
        await refresh(world)
        await world.card(f"\n{2 - fixed} of 3 fixed")
        story = await world.card(f"3 monitors: {1 + fixed} broken, {2 - fixed} OK.", within=3)
        assert story.thread_ts == shown.ts
        assert f"Now: {1 + fixed} broken. When posted: 3 broken." in words(shown)
    assert "`h2.demo.test` +2" in row_of(shown, numbers[0])
    await world.press("I'll take it", on=shown)
    await world.until(lambda: "2 of 3 fixed · 🙋 Ann" in row_of(shown, numbers[0]))
    await world.press("Rescan", on=shown, row=f"{numbers[0]} {numbers[1]}")
    await world.card("Scanned 3 monitors", "2 OK")
    await world.until(lambda: "2 of 3 fixed" in row_of(shown, numbers[0]))
    assert "Scanning…" not in words(shown)
    assert "2 of 3 fixed · 🙋 Ann" in row_of(shown, numbers[0])
    await world.press("Release", on=shown, by=BEN)
    await world.settled()
    await world.press("Rescan", on=shown, row=f"{numbers[0]} {numbers[1]}", by=BEN)
    await world.until(lambda: "2 of 3 fixed\n↻ rescanned · Ben, " in row_of(shown, numbers[0]))


@pytest.mark.slow
async def test_a_reply_that_a_refresh_has_overtaken_catches_up_with_the_next(world: World) -> None:
    numbers = [world.api.add(f"{name}.demo.test", valid=False) for name in "ab"]
    world.api.add("other.demo.test")
    shown = await digest(world)
    calls = ["chat.update", "chat.update", "chat.postMessage"]  # progress, the row, its reply
    for number, name in zip(numbers, "ab", strict=True):
        if name == "b":  # its reply exists, and is edited
            await world.press("Rescan", on=shown, row=f"{number} b.demo.test:443", by=BEN)
            await world.settled()
            calls[2] = "chat.update"
        held = [world.slack.faults.hold(call, after=False) for call in calls]
        await world.press("Rescan", on=shown, row=f"{number} {name}.demo.test:443", by=BEN)
        for each in held[:2]:
            await each.reached.wait()
            each.release()
        await held[2].reached.wait()
        world.api.renew(number, days=80)
        await refresh(world)
        await world.card(f"~`{name}.demo.test`~", by=BEN)
        held[2].release()
        await world.settled()
        await world.say("/ssl scan other.demo.test")  # says nothing about this row
        await world.settled()
        await refresh(world)
        (story,) = (m for m in world.seen(by=BEN) if m.thread_ts and f"`{name}." in words(m))
        assert "*OK*" in words(story)
        edits = [call for call in world.slack.traffic if call["name"] == "chat.update"]
        await refresh(world)
        assert [call for call in world.slack.traffic if call["name"] == "chat.update"] == edits


@pytest.mark.slow
async def test_a_row_whose_first_monitor_was_deleted_follows_the_others(world: World) -> None:
    numbers = world.api.add_many(3, days=80, ssl_fingerprint=ONE)
    notices = await begun(world)
    for number in numbers:
        world.api.renew(number, days=-1, ssl_valid=False)
    await notices.tick()
    notice, shown = await world.card("Newly broken", by=BEN), await digest(world)
    del world.api.rows[numbers[0]]
    await refresh(world)
    for message in notice, shown:
        assert "`h1.demo.test` +1" in row_of(message, numbers[0])
    assert "Now: 2 broken. When posted: 3 broken." in words(shown)
    for press, said in ("Rescan", "↻ no change · Ben"), ("I'll take it", "🙋 Ben"):
        await world.press(press, on=shown, row="102 103", by=BEN)
        await world.settled()
        assert said in row_of(shown, numbers[0])
        assert [b["block_id"] for b in shown.blocks if "more:" in b["block_id"]] == ["more:101"]
    del world.api.rows[numbers[1]]
    world.api.renew(numbers[2], days=80)
    await refresh(world)
    for message in notice, shown:
        assert "~`h2.demo.test`~" in row_of(message, numbers[0])
    assert labels(shown) == ["Rescan"]


async def test_a_fixed_row_counts_no_monitor_that_was_deleted_since(world: World) -> None:
    numbers = world.api.add_many(3, days=-1, valid=False, ssl_fingerprint=ONE)
    shown = await digest(world)
    for number in numbers:
        world.api.renew(number, days=80)
    await refresh(world)
    said = row_of(shown, numbers[0]).rpartition("\n")[2]
    assert "✅ fixed, seen" in said
    assert "~`h0.demo.test`~ and 2 more\n" in row_of(shown, numbers[0])
    for host, more in ("h0", " and 1 more"), ("h2", ""):
        del world.api.rows[numbers.pop(1 if more else 0)]
        world.later(minutes=5)
        await refresh(world)
        assert row_of(shown, 101).startswith(f"✅ *OK* · ~`{host}.demo.test`~{more}\n")
        assert row_of(shown, 101).endswith(said)
    assert "✅ 1 of 1 fixed" in words(shown)


@pytest.mark.slow
async def test_rescanning_all_keeps_each_monitor_of_a_digest_in_its_row(world: World) -> None:
    numbers = world.api.add_many(3, days=-1, valid=False, ssl_fingerprint=ONE)
    other = world.api.add("other.demo.test", days=-1, valid=False)
    shown = await digest(world)
    for renewed in (numbers[0], other):  # these have one certificate now
        world.api.renew(renewed, days=80, ssl_fingerprint="cd" * 32)
    await world.press("Rescan all broken", on=shown)
    await world.settled()
    assert "`h1.demo.test` +2\n1 of 3 fixed" in row_of(shown, numbers[0])
    assert "~`other.demo.test`~\n" in row_of(shown, other)
    assert "✅ 1 of 2 rows fixed. Now: 2 broken. When posted: 4 broken." in words(shown)


async def test_a_row_whose_monitors_differ_is_counted_by_kind(world: World) -> None:
    numbers = world.api.add_many(4, days=20, ssl_fingerprint=ONE)
    shown = await digest(world)
    world.api.rows[numbers[1]] |= {"ssl_valid": False, "ssl_host_match": False}
    await refresh(world)
    assert "`h1.demo.test` and 3 more\n1 broken, 3 due" in row_of(shown, numbers[0])
    assert "Now: 1 broken, 3 due. When posted: 4 due." in words(shown)
    world.api.renew(numbers[0], days=80, ssl_fingerprint="cd" * 32)
    await world.press("Rescan", on=shown, by=BEN)
    await world.settled()
    assert "1 of 4 fixed, 1 broken, 2 due" in row_of(shown, numbers[0])
    assert "Now: 1 broken, 2 due. When posted: 4 due." in words(shown)
    world.api.rows[numbers[2]] |= {"ssl_valid": False, "ssl_host_match": False}
    await refresh(world)
    assert "1 of 4 fixed, 2 broken, 1 due" in row_of(shown, numbers[0])
    [reply] = [each for each in world.seen() if each.thread_ts == shown.ts]
    assert "2 broken, 1 due" in words(reply)


@pytest.mark.slow
async def test_all_of_a_row_of_many_is_taken_by_one_press(world: World) -> None:
    numbers = world.api.add_many(101, days=20, ssl_fingerprint=ONE)
    shown = await digest(world)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "I'll take it" in labels(shown))
    await world.press("I'll take it", on=shown, by=BEN)
    await world.card("Ben has taken `h0.demo.test` and 100 more monitors.", by=ANN)
    await refresh(world)
    assert "+100" in row_of(shown, numbers[0])
    assert "🙋 Ben" in row_of(shown, numbers[0])
    await world.bot.records.marks.release(numbers[:2])  # by another process
    await world.press("Release", on=shown, by=BEN)
    await world.card("Ben released `h10.demo.test` and 98 more monitors", by=ANN)


@pytest.mark.slow
async def test_what_is_done_with_a_row_of_several_is_done_with_all_of_them(world: World) -> None:
    numbers = world.api.add_many(3, days=-1, valid=False, ssl_fingerprint=ONE)
    shown = await digest(world)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "Scan & watch" in labels(shown))

    await world.press("Note", on=shown, by=BEN)
    form = await world.modal("Note", "IDs of the monitors", by=BEN)
    assert "Write them as 101" in str(await world.submit(form, which="1-", text="Ann", by=BEN))
    ids = f"{numbers[0]}-{numbers[2]}"
    assert await world.submit(form, which=ids, text="ask Ann first", by=BEN) == {}
    await world.modal("Note on `h0.demo.test:443` and 2 more monitors: ask Ann first", by=BEN)
    assert world.bot.records.rules.marks.notes.keys() == {f"h{n}.demo.test:443" for n in range(3)}

    await world.press("Mute until they change", on=shown, by=BEN)
    await world.card("Ben muted `h0.demo.test` and 2 more monitors, each until it changes", by=ANN)
    assert world.bot.records.rules.marks.mutes.keys() == set(numbers)
    await world.until(lambda: "Unmute" in labels(shown) and "🔕" in row_of(shown, numbers[0]))
    await world.press("Unmute", on=shown, by=BEN)
    await world.card("Ben unmuted `h0.demo.test` and 2 more monitors.", by=ANN)
    assert world.bot.records.rules.marks.mutes == {}

    await world.press("Scan & watch", on=shown, by=BEN)
    await world.card("2 other monitors with the old one will be rescanned too.", by=BEN)
    await world.settled()
    assert "`h0.demo.test` +2" in row_of(shown, numbers[0])
    for number in numbers[:2]:
        world.api.renew(number, 80, ssl_fingerprint="cd" * 32)
    del world.api.calls[:]
    world.later(minutes=2)
    await world.bot.watches.tick()
    await world.card("*Fixed*", "0 of 1 other monitor with the old certificate are fixed", by=BEN)
    scanned = {call["id"] for call in world.api.asked("monitor/scan")}
    assert scanned == {str(numbers[0]), str(numbers[2])}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["digest", "private list", "Home"])
async def test_a_row_of_many_scattered_monitors_keeps_its_menu(where: str, world: World) -> None:
    numbers = list[int]()
    for n in range(40):
        numbers.append(world.api.add(f"h{n}.demo.test", days=-1, valid=False, ssl_fingerprint=ONE))
        world.api.add(f"fine{n}.demo.test")

    def shown() -> PostedMessage | OpenView:
        if where == "Home":
            home = world.slack.home(BEN)
            assert home
            return home
        return world.seen(by=BEN)[0]

    if where == "digest":
        await digest(world)
    elif where == "private list":
        await world.ask("/ssl list broken", "+39", by=BEN)
    else:
        await world.open_home("+39", by=BEN)
    await world.press("Rescan", on=shown(), by=BEN, row=f"{numbers[0]} {numbers[1]}")
    await world.until(lambda: "History" in labels(shown()))
    assert {"Mute until they change", "Note", "Details"} <= set(labels(shown()))
    await world.press("Note", on=shown(), by=BEN)
    form = await world.modal("IDs of the monitors", by=BEN)
    which = form.blocks[0]["element"]["initial_value"]
    assert await world.submit(form, which=which, text="ask Ann", by=BEN) == {}
    await world.modal("and 39 more monitors: ask Ann", by=BEN)
    await world.press("Mute until they change", on=shown(), by=BEN)
    await world.until(lambda: "Unmute" in labels(shown()))
    assert world.bot.records.rules.marks.mutes.keys() == set(numbers)
    await world.settled()


@pytest.mark.slow
async def test_monitors_without_a_certificate_join_no_row_of_many(world: World) -> None:
    numbers = world.api.add_many(101, days=-1, valid=False, ssl_fingerprint=ONE)
    world.api.add("other.test")
    shown = await digest(world)
    for number in numbers[:100]:
        world.api.rows[number]["ssl_fingerprint"] = ""
    await world.press("Rescan", on=shown, row=" ".join(map(str, numbers[:100])))
    await world.card("Scanned 100 monitors")
    await world.until(lambda: "+99" in row_of(shown, numbers[0]))


@pytest.mark.slow
async def test_a_press_finds_a_monitor_that_was_deleted_and_added_again(world: World) -> None:
    old = world.api.add("a.demo.test", valid=False)
    shown = await digest(world)
    world.api.rows[500] = world.api.rows.pop(old) | {"id": 500}
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "↻ scanned · Ben" in row_of(shown, old))
    await world.press("I'll take it", on=shown, by=BEN)
    await world.until(lambda: "🙋 Ben" in row_of(shown, old))
    card = await world.ask("/ssl delete a.demo.test", "Delete")
    world.api.rows[501] = world.api.rows.pop(500) | {"id": 501}
    await world.press("Delete", on=card)  # that one was not confirmed
    await world.card("NOT FOUND", "`a.demo.test`")
    assert 501 in world.api.rows
    world.api.rows[old] = world.api.rows.pop(501) | {"id": old, "host": "other.demo.test"}
    await world.press("Rescan", on=shown, by=BEN)
    card = await world.card("NOT FOUND", "`a.demo.test`", by=BEN)
    assert "other" not in words(card)


@pytest.mark.parametrize("fixed", ["never", "at once", "before"])
async def test_the_row_of_a_monitor_that_was_deleted_shows_the_one_that_was_added_again(
    fixed: str, world: World
) -> None:
    old, other = world.api.add("a.demo.test", days=-1, valid=False), world.api.add("b.demo.test")
    shown = await digest(world)
    if fixed == "before":
        world.api.renew(old, days=80)
        await refresh(world)
    was = world.api.rows.pop(old)
    await refresh(world)
    assert "No longer monitored" in row_of(shown, old)
    assert labels(shown) == []
    world.api.rows[500] = was | {"id": 500}
    if fixed == "at once":
        world.api.renew(500, days=80)
    await refresh(world)
    for said in "~`a.demo.test`~\n", "\n✅ fixed, seen":
        assert (said in row_of(shown, old)) is (fixed != "never")
    assert "No longer monitored" not in words(shown)
    await world.press("Rescan", on=shown, by=BEN)
    await world.settled()
    assert "· Ben, " in row_of(shown, old)
    del world.api.rows[500], world.api.rows[other]
    world.api.rows[501] = was | {"id": 501, "host": "c.demo.test"}
    await refresh(world)
    assert "No longer monitored" in row_of(shown, old)


@pytest.mark.slow
async def test_a_reply_that_is_edited_late_does_not_replace_a_newer_state(world: World) -> None:
    number, boards = world.api.add("a.demo.test", valid=False), world.bot.scheduler._boards
    shown = await digest(world)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "no change · Ben" in row_of(shown, number))
    await world.settled()
    world.api.renew(number, days=80)
    found = {row.id: row for row in await world.bot.api.list()}
    edits = await boards.refresh(found, world.bot.records.rules, complete=False)
    assert len(edits) == 2  # the digest, and the reply
    world.api.rows[number]["ssl_valid"] = False
    await world.press("Rescan", on=shown, by=BEN)
    await world.settled()
    await boards.draw_all(edits)
    assert "NOT TRUSTED" in row_of(shown, number)
    reply = next(m for m in world.seen(by=BEN) if m.thread_ts == shown.ts)
    assert "NOT TRUSTED" in words(reply)


@pytest.mark.slow
@pytest.mark.parametrize("newer", ["typed", "look"])
async def test_the_late_answer_of_an_older_scan_does_not_replace_a_newer_state(
    newer: str, world: World
) -> None:
    number = world.api.add("a.demo.test", days=-1, valid=False)
    shown = await digest(world)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "no change · Ben" in row_of(shown, number))
    await world.settled()
    held = world.api.hold("monitor/list")
    held.body = copy.deepcopy(world.api._answer("monitor/list", {}))
    await world.press("Rescan", on=shown, by=BEN)
    await held.reached.wait()
    world.later(seconds=1)
    world.api.renew(number, days=80)
    if newer == "typed":
        await world.ask(f"/ssl scan {number}", "OK", "asked by Ann")
    else:
        await refresh(world)
    held.release()
    await world.settled()
    assert "~`a.demo.test`~" in row_of(shown, number)
    seen = await world.bot.records.seen(number)
    assert seen
    assert seen.valid is (newer == "typed")
    assert "✅ *OK*" in words(next(m for m in world.seen(by=BEN) if m.thread_ts == shown.ts))


@pytest.mark.parametrize("look", ["row", "notice"])
async def test_an_answer_that_is_older_than_a_row_does_not_change_it(
    look: str, world: World
) -> None:
    number = world.api.add("a.demo.test", days=-1, valid=False)
    shown = await digest(world)
    looking = watcher(world).tick if look == "notice" else functools.partial(refresh, world)
    await looking()
    held = world.api.hold("monitor/list")
    held.body = copy.deepcopy(world.api._answer("monitor/list", {}))
    slow = asyncio.create_task(looking())
    await held.reached.wait()
    world.api.renew(number, days=80)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "~`a.demo.test`~" in row_of(shown, number))
    held.release()
    await slow
    await world.settled()
    assert "~`a.demo.test`~" in row_of(shown, number)
    world.api.rows[number]["ssl_valid"] = False
    await looking()
    await world.until(lambda: "NOT TRUSTED" in row_of(shown, number))
