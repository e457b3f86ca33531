"""Who takes care of what: claims, mutes, notes and runbooks, and the story that a row tells."""

import asyncio
import copy
from collections.abc import Sequence

import pytest

from bot.playground.objects import ANN, BEN, CERTS
from bot.sighting import Claim
from bot.slack.transport import EVENTS_PATH
from bot.store.marks import MarkStore
from tests.test_bot_rows import digest, refresh, row_of
from tests.world import MakeWorld, World, labels, words

HOST = "api.demo.test"


@pytest.fixture
def world(digest_world: World) -> World:
    """Here every world has a digest."""
    return digest_world


@pytest.mark.slow
async def test_a_claim_is_announced_and_shown_until_it_is_released(world: World) -> None:
    number = world.api.add(HOST, days=-1, valid=False)
    await world.ask(f"/ssl take {HOST}", "Taken by Ann")
    await world.card("🙋 Ann has taken `api.demo.test`.", by=BEN)
    await world.ask(f"/ssl take {HOST}", "You have already taken it.")
    await world.settled()
    assert sum("Ann has taken" in m.text for m in world.seen(by=BEN)) == 1
    await world.ask(f"/ssl take {HOST}", "Ann took it", "They, or you, can release it.", by=BEN)
    assert "🙋 Ann" in row_of(await digest(world), number)
    await world.ask("/ssl list", "🙋 Ann", "`api.demo.test`", by=BEN)
    await world.say(f"/ssl release {HOST}", by=BEN)
    await world.card("Ben released `api.demo.test`: nobody has it now.")
    await world.ask("/ssl list taken", "No monitors match")
    world.api.add("fine.demo.test", days=80)
    await world.ask("/ssl take fine.demo.test", "Not taken: it was fine at its last scan.")
    assert world.bot.slack._records.rules.marks.claims == {}

    number = world.api.add("ten.demo.test", days=-1, valid=False)
    await asyncio.gather(*(world.say(f"/ssl take {number}", by=by) for by in [ANN, BEN] * 5))
    await world.settled()
    lines = [m.text for m in world.seen(by=BEN) if "has taken ten" in m.text]
    assert len(set(lines)) == 1


async def test_one_person_who_takes_a_monitor_at_two_places_at_once_is_announced_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = world.api.add(HOST, days=-1, valid=False)
    take, all_tried = MarkStore.take, asyncio.Barrier(2)

    async def take_together(store: MarkStore, made: Sequence[Claim]) -> list[Claim]:
        await all_tried.wait()  # each has read that nobody has it
        return await take(store, made)

    monkeypatch.setattr(MarkStore, "take", take_together)
    await asyncio.gather(*(world.say(f"/ssl take {number}") for _ in range(2)))
    await world.settled()
    assert sum("has taken" in m.text for m in world.seen(by=BEN)) == 1
    assert sum("You have already taken it." in words(m) for m in world.seen()) == 1


async def test_a_claim_ends_when_the_monitor_is_fixed(world: World) -> None:
    for seen_by in ("scan", "sweep"):
        number = world.api.add(HOST, days=12)
        await world.ask(f"/ssl take {number}", "Taken by Ann")
        world.later(seconds=1)
        world.api.renew(number, 80)
        if seen_by == "scan":
            await world.ask(f"/ssl scan {number}", "OK", "asked by Ann")
            await world.settled()
        else:
            await world.bot.scheduler._refresh(world.bot.records)
        assert world.bot.slack._records.rules.marks.claims == {}


async def test_a_claim_on_a_renewal_outlasts_a_threshold_that_makes_the_monitor_fine(
    world: World,
) -> None:
    number = world.api.add(HOST, days=12)
    await world.ask(f"/ssl take {number}", "Taken by Ann")
    for rule, shown in (("5d", False), ("default", True)):
        world.later(seconds=1)
        await world.ask(f"/ssl warn {HOST} {rule}", HOST)
        await refresh(world)
        assert ("🙋 Ann" in words(await world.ask("/ssl list", "1 monitor"))) is shown
    await world.ask(f"/ssl take {number}", "Ann took it", by=BEN)  # Ann's claim stands
    await world.ask(f"/ssl warn {HOST} 5d", "5 days")
    await world.settled()  # else the refresh may share the list that the command asked for
    world.api.renew(number, days=80)
    await refresh(world)
    assert world.bot.records.rules.marks.claims == {}


async def test_a_list_read_before_a_claim_does_not_end_it(world: World) -> None:
    number, other = world.api.add(HOST), world.api.add("b.demo.test", days=12)
    await world.ask(f"/ssl take {other}", "Taken by Ann")
    held = world.api.hold("monitor/list")
    held.body = copy.deepcopy(world.api._answer("monitor/list", {}))
    slow = asyncio.create_task(world.bot.scheduler._refresh(world.bot.records))
    await held.reached.wait()
    world.later(seconds=1)
    world.api.rows[number]["ssl_valid"] = False
    await world.ask(f"/ssl take {number}", "Taken by Ann")
    held.release()
    await slow
    assert set(world.bot.records.rules.marks.claims) == {number, other}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("press", "fixed"),
    [
        ("I'll take it", True),
        ("I'll take it", False),
        ("Mute until it changes", True),
        ("Scan & watch", True),
    ],
)
async def test_a_press_that_waits_for_an_old_list_does_not_replace_a_newer_state(
    press: str, fixed: bool, world: World
) -> None:
    number = world.api.add(HOST, days=-1, valid=False)
    shown = await digest(world)
    await world.press("Rescan", on=shown, by=BEN)
    await world.settled()
    held = world.api.hold("monitor/list")
    held.body = copy.deepcopy(world.api._answer("monitor/list", {}))
    await world.press(press, on=shown, by=BEN)
    await held.reached.wait()
    world.later(seconds=5)
    world.api.renew(number, days=80)
    if not fixed:
        world.api.rows[number]["ssl_valid"] = False
    await refresh(world)
    held.release()
    await world.settled()
    said = row_of(shown, number)
    assert ("~`api.demo.test`~" in said) is fixed
    assert ("NOT TRUSTED" in said) is not fixed
    assert ("🙋 Ben" in said) is not fixed
    assert "🔕" not in said


async def test_a_muted_monitor_is_counted_and_never_all_clear(world: World) -> None:
    world.api.add(HOST, days=-1, valid=False)
    await world.say(f"/ssl mute {HOST} moving to a new host")
    await world.card("Muted by Ann until it changes", "moving to a new host")
    await world.card("🔕 Ann muted `api.demo.test` until it changes", by=BEN)
    shown = words(await digest(world))
    assert "Nothing new; 1 broken is muted." in shown
    assert "All clear" not in shown
    await world.ask("/ssl list muted", "1 monitor", HOST)
    await world.ask(f"/ssl unmute {HOST}", "Ann unmuted `api.demo.test`.", seen_by=BEN)
    world.later(minutes=1)
    assert "1 broken." in words(await digest(world))


@pytest.mark.slow
async def test_a_mute_ends_with_its_time_or_when_the_certificate_changes_or_gets_worse(
    world: World,
) -> None:
    for change in ("time", "renewed", "worse"):
        number = world.api.add(f"{change}.demo.test", days=12)
        await world.ask(f"/ssl mute {number}", "Muted by Ann until it changes")
        await world.ask("/ssl list muted", "1 monitor", f"{change}.demo.test")
        if change == "renewed":
            world.api.renew(number, 13)
        elif change == "worse":
            world.later(days=8)
        else:
            world.api.rows[number]["ssl_expire_date_end"] = "2027-01-02 07:30"
            await world.ask(f"/ssl mute {number} for=29d", "until <!date^1797924600^{date_short}|")
            world.later(days=30)
        await world.ask("/ssl list muted", "No monitors match")

    number = world.api.add(HOST, days=12)
    end = int(world.clock().timestamp()) + 3600
    await world.ask(f"/ssl mute {HOST} for=1h", f"Ann until <!date^{end}^{{date_short}} {{time}}|")
    await world.say(f"/ssl mute {HOST} for=2d waiting for the vendor")
    await world.card("Muted by Ann until", "waiting for the vendor")
    world.api.renew(number, 5)  # a mute for a time lasts whatever changes
    await world.ask("/ssl list muted", "1 monitor", HOST)
    world.later(days=2, minutes=1)
    await world.ask("/ssl list muted", "No monitors match")


async def test_a_mute_that_has_ended_does_not_hide_the_next_outage(digest_world: World) -> None:
    world = digest_world
    down = {"ssl_valid": False, "ssl_message": "refused", "ssl_issuer": ""}
    down |= {"ssl_expire_date_start": None, "ssl_expire_date_end": None}
    number = world.api.add(HOST)
    world.api.rows[number] |= down
    worse = world.api.add("due.demo.test", days=12)
    await world.ask(f"/ssl mute {HOST}", "Muted by Ann until it changes")
    await world.ask(f"/ssl mute {worse}", "Muted by Ann until it changes")
    due = dict(world.api.rows[worse])
    world.api.renew(number, 80, ssl_issuer="Test CA", ssl_expire_date_start="2026-11-01 00:00")
    world.api.rows[worse] |= down
    await refresh(world)
    world.api.rows[number] |= down
    world.api.rows[worse] |= due  # it was merely worse for a moment
    await refresh(world)
    await world.ask("/ssl list muted", "1 monitor", "due.demo.test")


async def test_a_mute_ends_when_something_else_is_wrong_with_the_same_certificate(
    world: World,
) -> None:
    number = world.api.add(HOST, days=40, valid=False, ssl_host_match=False)
    row = world.api.rows[number]
    await world.ask(f"/ssl mute {HOST}", "WRONG NAME", "Muted by Ann until it changes")
    row["ssl_message"] = "The name doesn't match: it is for shop.demo.test."
    await world.ask("/ssl list muted", "1 monitor", HOST)
    row["ssl_message"] = "Revoked by its issuer: key compromise."
    await world.ask("/ssl list muted", "No monitors match")
    assert "1 broken." in words(await digest(world))


async def test_a_digest_says_whose_mute_has_ended_since(world: World) -> None:
    for host in (HOST, "shop.demo.test"):
        world.api.add(host, days=-1, valid=False)
        await world.ask(f"/ssl mute {host}", "Muted by Ann", f"`{host}`")
    shown = await digest(world)
    assert "*MUTED* · 2 broken: `api.demo.test`, `shop.demo.test`." in words(shown)
    await refresh(world)
    assert "ended" not in words(shown)
    await world.ask(f"/ssl unmute {HOST}", "Ann unmuted", seen_by=BEN)
    await refresh(world)
    assert "*MUTED* · 1 broken: `shop.demo.test`." in words(shown)
    assert "No longer muted · 1 broken: `api.demo.test`." in words(shown)
    assert "↻ Mutes have ended. When posted: Nothing new; 2 broken are muted." in shown.text
    world.api.renew(101, 80)
    await refresh(world)
    assert "ended" not in words(shown)


async def test_a_list_of_two_marks_has_only_what_has_both(world: World) -> None:
    for host in (HOST, "shop.demo.test"):
        world.api.add(host, days=-1)
        await world.ask(f"/ssl mute {host}", "Muted by Ann", f"`{host}`")
    await world.ask(f"/ssl take {HOST}", "Taken by Ann")

    await world.say("/ssl list muted free")

    assert HOST not in words(await world.card("1 monitor", "shop.demo.test"))


async def test_only_those_who_may_change_things_mute(make_world: MakeWorld) -> None:
    async with make_world(SSL_ADMINS=ANN) as world:
        world.api.add(HOST, days=-1, valid=False)
        for line in (f"mute {HOST}", f"unmute {HOST}", f"runbook {HOST} https://wiki.test/x"):
            await world.ask(f"/ssl {line}", "Ask one of them", by=BEN)
        await world.ask(f"/ssl take {HOST}", "Taken by Ben", by=BEN)
        await world.say(f"/ssl note {HOST} ask Ben first", by=BEN)
        await world.card("Note on `api.demo.test`: ask Ben first", by=BEN)


@pytest.mark.slow
async def test_the_most_specific_runbook_counts_and_notes_are_in_the_audit(world: World) -> None:
    world.api.add(HOST, days=12)
    for subject, link in (
        ("issuer=Test CA", "https://wiki.test/issuer"),
        ("*.test", "https://wiki.test/test"),
        ("*.demo.test", "https://wiki.test/demo"),
    ):
        await world.say(f"/ssl runbook {subject} {link}")
        await world.settled()
        await world.ask(f"/ssl status {HOST}", f"<{link}|Runbook>")

    await world.ask(f"/ssl note {HOST} ask *Ben* <!channel> first", "Note on")
    await world.ask(
        "/ssl runbook *.demo.test https://wiki.test/tls", "Runbook> of `*.demo.test` is linked."
    )
    card = await world.ask(
        f"/ssl status {HOST}", "DUE", "📝 ask", "<https://wiki.test/tls|Runbook>"
    )
    assert "<!channel>" not in words(card)
    await world.ask("/ssl audit", "Recent changes", "note", "runbook", "https://wiki.test/tls")
    await world.ask(f"/ssl note {HOST} ask Ben", "ask Ben", "Before: ask ∗Ben∗")
    await world.ask(f"/ssl note {HOST}", "`api.demo.test` was removed.", "Before: ask Ben")
    await world.ask(f"/ssl note {HOST}", "had no note, so none was removed")
    await world.ask(f"/ssl runbook {HOST}", "had no runbook, so none was removed")

    for link in (
        "ftp://wiki.test/x", "javascript://x", "https://wiki.test/|x", "https://",
        "https://ann:secret@wiki.test/x",
    ):  # fmt: skip
        await world.ask(f"/ssl runbook {HOST} {link}", "isn't a usable http(s) link")
    await world.ask(f"/ssl runbook issuer={'x' * 300} https://wiki.test/x", "Name the issuer")


# The row tells the story


@pytest.mark.slow
@pytest.mark.parametrize("label", ["I'll take it", "Scan & watch"])
async def test_a_press_that_finds_a_monitor_fixed_strikes_its_row_through(
    label: str, world: World
) -> None:
    number = world.api.add(HOST, days=-1, valid=False)
    shown = await digest(world)
    await world.press("Rescan", on=shown, row=HOST)
    await world.until(lambda: label in labels(shown))
    await world.settled()
    world.api.renew(number, 80)
    await world.press(label, on=shown, by=BEN)
    await world.until(lambda: "~`api.demo.test`~" in row_of(shown, number))
    await world.settled()
    assert "~`api.demo.test`~" in row_of(shown, number)
    by = " · Ben, " if label == "Scan & watch" else ", seen "
    assert f"✅ fixed{by}" in row_of(shown, number)
    assert "✅ 1 of 1 fixed." in words(shown)


async def test_what_others_did_during_a_scan_that_failed_stays_in_the_row(world: World) -> None:
    number = world.api.add(HOST, days=-1, valid=False)
    shown = await digest(world)
    held = world.api.hold("monitor/scan")
    await world.press("Rescan", on=shown, row=HOST, by=BEN)
    await held.reached.wait()
    await world.ask(f"/ssl take {HOST}", "Taken by Ann")
    await world.bot.scheduler._refresh(world.bot.slack._records)
    del world.api.rows[number]
    held.release()
    await world.until(lambda: "↻ not monitored · Ben, " in row_of(shown, number))
    assert "Expired <!date" in row_of(shown, number)  # the short form of since when
    assert " · 🙋 Ann" in row_of(shown, number)


@pytest.mark.slow
async def test_a_pressed_row_that_is_not_fine_offers_more_and_only_two_do(world: World) -> None:
    hosts = [f"h{number}.demo.test" for number in range(3)]
    for host in hosts:
        world.api.add(host, days=-1, valid=False)
    shown = await digest(world)
    assert labels(shown) == ["Rescan all broken", *["Rescan"] * 3]
    for host in hosts:
        await world.press("Rescan", on=shown, row=host, by=BEN)
        await world.settled()
    more = [
        str(b["block_id"]) for b in shown.blocks if str(b.get("block_id", "")).startswith("more")
    ]
    assert len(more) == 2
    assert labels(shown).count("I'll take it") == 2


@pytest.mark.slow
async def test_taking_shows_in_the_row_and_its_story_is_one_edited_reply(world: World) -> None:
    number = world.api.add(HOST, days=-1, valid=False)
    shown = await digest(world)
    await world.press("Rescan", on=shown, row=HOST, by=BEN)
    await world.until(lambda: "I'll take it" in labels(shown))
    await world.settled()
    before = len(world.seen(by=BEN))
    await world.press("I'll take it", on=shown, by=BEN)
    await world.until(lambda: "🙋 Ben" in row_of(shown, number))
    await world.settled()
    assert "Release" in labels(shown)
    told = [m.text for m in world.seen(by=BEN)[before:]]
    assert told == ["🙋 Ben has taken api.demo.test."]

    await world.card("EXPIRED", "asked by Ben", by=BEN)
    await world.settled()
    world.api.renew(number, 80)
    await world.press("Rescan", on=shown, row=HOST, by=ANN)
    await world.card("OK", "asked by Ann", by=BEN)
    await world.settled()
    replies = [m for m in world.slack.thread(CERTS, shown.ts) if m.ts != shown.ts]
    assert len(replies) == 1
    assert "↻ fixed · Ann, " in row_of(shown, number)
    assert "I'll take it" not in labels(shown)


async def test_the_head_of_a_digest_counts_what_is_fixed_and_strikes_it_through(
    world: World,
) -> None:
    first = world.api.add("a.demo.test", days=-1, valid=False)
    world.api.add("b.demo.test", days=-1, valid=False)
    shown = await digest(world)
    assert "2 broken." in words(shown)
    world.api.renew(first, 80)
    await world.press("Rescan", on=shown, row="a.demo.test", by=BEN)
    await world.until(lambda: "✅ 1 of 2 fixed." in words(shown))
    await world.settled()
    assert "~`a.demo.test`~" in row_of(shown, first)
    assert shown.text.startswith("✅ 1 of 2 fixed. ")
    await world.press("Rescan", on=shown, row="b.demo.test", by=BEN)
    await world.settled()
    assert words(shown).count("of 2 fixed") == 2  # once in the text, once in the head


async def test_one_press_rescans_all_broken_monitors_of_a_digest(world: World) -> None:
    numbers = world.api.add_many(3, days=-1, valid=False)
    world.api.add("due.demo.test", days=12)
    shown = await digest(world)
    held = world.api.hold("monitor/scan")
    await world.press("Rescan all broken", on=shown, by=BEN)
    await held.reached.wait()
    await world.until(lambda: "⏳ *Scanning…* · 0 of 3 · Ben" in words(shown))
    assert "Rescan all broken" not in labels(shown)
    for number in numbers[:2]:
        world.api.renew(number, 80)
    held.release()
    await world.card("Scanned 3 monitors", "2 fixed.", by=BEN)
    await world.until(lambda: "✅ 2 of 4 fixed." in words(shown))
    assert "↻ fixed · Ben, " in row_of(shown, numbers[0])
    assert "↻ no change · Ben, " in row_of(shown, numbers[2])
    assert len(world.api.asked("monitor/scan")) == 3
    await world.settled()
    assert labels(shown)[0] == "Rescan all broken"


@pytest.mark.slow
async def test_what_another_process_released_can_be_taken_again(world: World) -> None:
    world.api.add_many(2, days=-1, valid=False, ssl_fingerprint="ab" * 32)
    shown = await digest(world)
    await world.press("Rescan", on=shown)
    await world.settled()
    async with world.running_bot() as other:
        world.bots.reverse()  # Ann's requests go on reaching the first one
        world.playground.events_url = f"http://127.0.0.1:{world.bot.port}{EVENTS_PATH}"
        for _ in range(2):
            await world.press("I'll take it", on=shown)
            await world.settled()
            assert await other.records.marks.release([101, 102]) == {101, 102}
            await other.records.refresh_rules()
            await other.scheduler._refresh(other.records)
        for _ in range(2):
            await world.say("/ssl take 101")
            await world.settled()
            assert await other.records.marks.release([101]) == {101}
        world.bots.reverse()
