"""Who takes care of what: claims, mutes, notes and runbooks, and the story that a row tells."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.playground.objects import ANN, BEN, CERTS, GENERAL, PostedMessage
from bot.slack.transport import EVENTS_PATH
from tests.world import Clock, World, labels, new_world, words

HOST = "api.demo.test"


async def digest(world: World) -> PostedMessage:
    assert world.bot.digest is not None
    await world.bot.digest.post_now(again=True)
    return await world.card("Certificates on 23 November 2026", by=BEN)


def row_of(shown: PostedMessage, number: int) -> str:
    blocks = [b for b in shown.blocks if b.get("block_id") == f"row:{number}"]
    return str(blocks[0]["text"]["text"]) if blocks else ""


async def test_a_claim_is_announced_and_shown_until_it_is_released(world: World) -> None:
    world.api.watch(HOST, days=-1, valid=False)
    await world.say(f"/ssl take {HOST}")
    await world.card("Taken by Ann")
    await world.card("🙋 Ann takes care of `api.demo.test`.", by=BEN)
    await world.say("/ssl list", by=BEN)
    await world.card("🙋 Ann", "`api.demo.test`", by=BEN)
    await world.say(f"/ssl release {HOST}", by=BEN)
    await world.card("Ben released `api.demo.test`: nobody has it now.")
    await world.say("/ssl list taken")
    await world.card("No monitors match")


async def test_of_two_who_take_one_monitor_the_first_has_it(world: World) -> None:
    world.api.watch(HOST, days=-1, valid=False)
    await world.say(f"/ssl take {HOST}")
    await world.card("Taken by Ann")
    await world.say(f"/ssl take {HOST}", by=BEN)
    await world.card("Ann took it", "They, or you, can release it.", by=BEN)


async def test_ten_people_who_take_at_once_get_one_claim(world: World) -> None:
    number = world.api.watch(HOST, days=-1, valid=False)
    await asyncio.gather(*(world.say(f"/ssl take {number}", by=by) for by in [ANN, BEN] * 5))
    await world.settled()
    lines = [m.text for m in world.seen(by=BEN) if "takes care of" in m.text]
    assert len(set(lines)) == 1


async def test_a_claim_ends_when_the_monitor_is_fixed(world: World) -> None:
    number = world.api.watch(HOST, days=-1, valid=False)
    await world.say(f"/ssl take {HOST}")
    await world.card("Taken by Ann")
    world.api.renew(number, 80)
    await world.say(f"/ssl scan {HOST}")
    await world.card("OK", "asked by Ann")
    await world.settled()
    assert world.bot.slack._records.rules.marks.claims == {}


async def test_nobody_takes_what_is_fine(world: World) -> None:
    world.api.watch(HOST, days=80)
    await world.say(f"/ssl take {HOST}")
    await world.card("Nothing needs to be done.")
    assert world.bot.slack._records.rules.marks.claims == {}


async def test_a_claim_is_carried_over_to_the_next_digest(digest_world: World) -> None:
    world = digest_world
    number = world.api.watch(HOST, days=-1, valid=False)
    await world.say(f"/ssl take {number}")
    await world.card("Taken by Ann")
    assert "🙋 Ann" in row_of(await digest(world), number)


async def test_a_muted_monitor_is_counted_and_never_all_clear(digest_world: World) -> None:
    world = digest_world
    world.api.watch(HOST, days=-1, valid=False)
    await world.say(f"/ssl mute {HOST} moving to a new host")
    await world.card("Muted by Ann until it changes", "moving to a new host")
    await world.card("🔕 Ann muted `api.demo.test` until it changes", by=BEN)
    shown = words(await digest(world))
    assert "Nothing new; 1 broken is muted." in shown
    assert "All clear" not in shown
    await world.say("/ssl list muted")
    await world.card("1 monitor", HOST)
    await world.say(f"/ssl unmute {HOST}")
    await world.card("Ann unmuted `api.demo.test`.", by=BEN)
    assert isinstance(world.clock, Clock)
    world.clock.move(minutes=1)
    assert "1 broken." in words(await digest(world))


@pytest.mark.parametrize("change", ["renewed", "worse", "time"])
async def test_a_mute_ends_when_the_certificate_changes_or_gets_worse_or_after_30_days(
    change: str, digest_world: World
) -> None:
    world = digest_world
    number = world.api.watch(HOST, days=12)
    await world.say(f"/ssl mute {HOST}")
    await world.card("Muted by Ann until it changes")
    await world.say("/ssl list muted")
    await world.card("1 monitor", HOST)
    assert isinstance(world.clock, Clock)
    if change == "renewed":
        world.api.renew(number, 13)
    elif change == "worse":
        world.clock.move(days=8)
    else:
        world.api.rows[number]["ssl_expire_date_end"] = "2027-01-02 07:30"
        await world.say(f"/ssl mute {HOST} for=29d")
        await world.card("until", "muted")
        world.clock.move(days=30)
    await world.say("/ssl list muted")
    await world.card("No monitors match")


async def test_a_mute_for_a_time_lasts_whatever_changes(world: World) -> None:
    number = world.api.watch(HOST, days=12)
    await world.say(f"/ssl mute {HOST} for=2d waiting for the vendor")
    await world.card("Muted by Ann until", "waiting for the vendor")
    world.api.renew(number, 5)
    await world.say("/ssl list muted")
    await world.card("1 monitor", HOST)
    assert isinstance(world.clock, Clock)
    world.clock.move(days=2, minutes=1)
    await world.say("/ssl list muted")
    await world.card("No monitors match")


async def test_only_those_who_may_change_things_mute(
    tmp_path: Path, empty_database: Path, no_waiting: None
) -> None:
    async with new_world(tmp_path, empty_database, SSL_ADMINS=ANN) as world:
        world.api.watch(HOST, days=-1, valid=False)
        for line in (f"mute {HOST}", f"unmute {HOST}", f"runbook {HOST} https://wiki.test/x"):
            await world.say(f"/ssl {line}", by=BEN)
            await world.card("Ask one of them", by=BEN)
        await world.say(f"/ssl take {HOST}", by=BEN)
        await world.card("Taken by Ben", by=BEN)
        await world.say(f"/ssl note {HOST} ask Ben first", by=BEN)
        await world.card("Note on `api.demo.test`: ask Ben first", by=BEN)


async def test_notes_and_runbooks_are_on_the_card_and_in_the_audit(world: World) -> None:
    world.api.watch(HOST, days=12)
    await world.say(f"/ssl note {HOST} ask *Ben* <!channel> first")
    await world.say("/ssl runbook *.demo.test https://wiki.test/tls")
    await world.card("Runbook> of `*.demo.test` is linked.")
    await world.say(f"/ssl status {HOST}")
    card = await world.card("DUE", "📝 ask", "<https://wiki.test/tls|Runbook>")
    assert "<!channel>" not in words(card)
    await world.say("/ssl audit")
    await world.card("Recent changes", "note", "runbook", "https://wiki.test/tls")
    await world.say(f"/ssl note {HOST}")
    await world.card("The note on `api.demo.test` was removed.")


@pytest.mark.parametrize(
    "link", ["ftp://wiki.test/x", "javascript://x", "https://wiki.test/|x", "https://"]
)
async def test_a_runbook_is_a_web_page(link: str, world: World) -> None:
    await world.say(f"/ssl runbook {HOST} {link}")
    await world.card("must start with https://")


async def test_the_most_specific_runbook_counts(world: World) -> None:
    world.api.watch(HOST, days=12)
    for subject, link in (
        ("issuer=Test CA", "https://wiki.test/issuer"),
        ("*.test", "https://wiki.test/test"),
        ("*.demo.test", "https://wiki.test/demo"),
    ):
        await world.say(f"/ssl runbook {subject} {link}")
        await world.settled()
        await world.say(f"/ssl status {HOST}")
        await world.card(f"<{link}|Runbook>")


# The row tells the story


async def test_a_press_shows_in_the_row_and_its_outcome_stays_there(digest_world: World) -> None:
    world = digest_world
    number = world.api.watch(HOST, days=-1, valid=False)
    shown = await digest(world)
    held = world.api.hold("monitor/scan")
    await world.press("Rescan", on=shown, row=HOST, by=BEN)
    await world.until(lambda: "⏳ *Scanning…* · `api.demo.test` · Ben" in row_of(shown, number))
    assert held.gate is not None
    held.gate.set()
    await world.until(lambda: "↻ no change · Ben, " in row_of(shown, number))


async def test_a_pressed_row_that_is_not_fine_offers_more_and_only_two_do(
    digest_world: World,
) -> None:
    world = digest_world
    hosts = [f"h{number}.demo.test" for number in range(3)]
    for host in hosts:
        world.api.watch(host, days=-1, valid=False)
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


async def test_taking_from_a_row_shows_in_the_row_alone(digest_world: World) -> None:
    world = digest_world
    number = world.api.watch(HOST, days=-1, valid=False)
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
    assert told == ["🙋 Ben takes care of api.demo.test."]


async def test_the_story_of_a_monitor_is_one_reply_that_is_edited(digest_world: World) -> None:
    world = digest_world
    number = world.api.watch(HOST, days=-1, valid=False)
    shown = await digest(world)
    await world.press("Rescan", on=shown, row=HOST, by=BEN)
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
    digest_world: World,
) -> None:
    world = digest_world
    first = world.api.watch("a.demo.test", days=-1, valid=False)
    world.api.watch("b.demo.test", days=-1, valid=False)
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


async def test_one_press_rescans_all_broken_monitors_of_a_digest(digest_world: World) -> None:
    world = digest_world
    numbers = [world.api.watch(f"h{n}.demo.test", days=-1, valid=False) for n in range(3)]
    world.api.watch("due.demo.test", days=12)
    shown = await digest(world)
    held = world.api.hold("monitor/scan")
    await world.press("Rescan all broken", on=shown, by=BEN)
    await held.reached.wait()
    for number in numbers[:2]:
        world.api.renew(number, 80)
    assert held.gate is not None
    held.gate.set()
    await world.card("Scanned 3 monitors", "2 fixed.", by=BEN)
    await world.until(lambda: "✅ 2 of 4 fixed." in words(shown))
    assert "↻ fixed · Ben, " in row_of(shown, numbers[0])
    assert "↻ no change · Ben, " in row_of(shown, numbers[2])
    assert len(world.api.asked("monitor/scan")) == 3


# The digest shows what others did


async def refresh(world: World) -> None:
    bot = world.bot
    await bot.clock._refresh(bot.slack._records)


async def test_a_row_that_was_fixed_elsewhere_is_struck_through_and_counted(
    digest_world: World,
) -> None:
    world = digest_world
    fixed = world.api.watch("a.demo.test", valid=False)
    world.api.watch("b.demo.test", valid=False)
    await digest(world)
    world.api.renew(fixed, days=80)
    await refresh(world)
    await world.card("~`a.demo.test`~", "✅ fixed, seen", "✅ 1 of 2 fixed.", by=BEN)
    edits = [call for call in world.slack.traffic if call["name"] == "chat.update"]
    await refresh(world)  # nothing has changed, so nothing is edited
    assert [call for call in world.slack.traffic if call["name"] == "chat.update"] == edits


async def test_a_fixed_row_that_breaks_again_is_no_longer_struck_through(
    digest_world: World,
) -> None:
    world = digest_world
    number = world.api.watch("a.demo.test", valid=False)
    await digest(world)
    world.api.renew(number, days=80)
    await refresh(world)
    await world.card("~`a.demo.test`~", by=BEN)
    world.api.rows[number]["ssl_valid"] = False
    await refresh(world)
    assert "~`" not in words(world.seen(by=BEN)[0])


async def test_a_monitor_that_was_taken_or_deleted_elsewhere_says_so_in_its_row(
    digest_world: World,
) -> None:
    world = digest_world
    world.api.watch("a.demo.test", valid=False)
    gone = world.api.watch("b.demo.test", valid=False)
    await digest(world)
    await world.say("/ssl take a.demo.test", by=BEN, to=GENERAL)
    await world.card("Ben takes care of", to=GENERAL)
    del world.api.rows[gone]
    await refresh(world)
    card = words(await world.card("🙋 Ben", "No longer monitored, seen", by=BEN))
    assert "fixed" not in card


async def test_an_incomplete_list_ends_no_row(digest_world: World) -> None:
    world = digest_world
    number = world.api.watch("a.demo.test", valid=False)
    await digest(world)
    odd = world.api.rows[number] | {"id": None}
    world.api.reply("monitor/list", {"success": 1, "count": 1, "list": [odd]})
    await refresh(world)
    assert "No longer monitored" not in words(world.seen(by=BEN)[0])


async def test_the_rows_of_a_digest_are_known_after_a_restart(digest_world: World) -> None:
    world = digest_world
    first = world.api.watch("a.demo.test", valid=False)
    world.api.watch("b.demo.test", valid=False)
    shown = await digest(world)
    await world.press("Rescan", on=shown, row="a.demo.test", by=BEN)
    await world.card("no change · Ben", by=ANN)
    await world.settled()
    async with world.running_bot():
        world.api.renew(first, days=80)
        await world.press("Rescan", on=world.seen(by=BEN)[0], row="a.demo.test")
        await world.card("~`a.demo.test`~", "✅ 1 of 2 fixed", by=BEN)
        await world.settled()
        replies = [m for m in world.seen(by=BEN) if m.thread_ts == shown.ts]
        assert len(replies) == 1  # the story of a monitor is one reply, also after a restart


async def test_a_digest_stays_as_it_is_when_its_day_has_ended(digest_world: World) -> None:
    world = digest_world
    number = world.api.watch("a.demo.test", valid=False)
    shown = await digest(world)
    before = words(shown)
    assert isinstance(world.clock, Clock)
    world.clock.move(hours=17)
    world.api.renew(number, days=80)
    await refresh(world)
    await world.press("Rescan", on=shown, by=BEN)
    await world.card("OK", "`a.demo.test`", by=ANN)
    await world.settled()
    assert words(world.seen(by=BEN)[0]) == before


async def test_two_replicas_and_ten_people_leave_a_digest_in_its_newest_state(
    digest_world: World,
) -> None:
    world = digest_world
    numbers = [world.api.watch(f"h{n}.demo.test", valid=False) for n in range(10)]
    shown = await digest(world)
    for number in numbers:
        world.api.renew(number, days=80)
    async with world.running_bot():
        for n in range(0, 10, 2):
            await world.press("Rescan", on=shown, row=f"h{n}.demo.test", by=(ANN, BEN)[n % 4 // 2])
        url = world.playground.events_url
        world.playground.events_url = f"http://127.0.0.1:{world.bots[0].port}{EVENTS_PATH}"
        for n in range(1, 10, 2):
            await world.press("Rescan", on=shown, row=f"h{n}.demo.test", by=(ANN, BEN)[n % 4 // 2])
        await world.settled()
        world.playground.events_url = url
    card = words(world.seen(by=BEN)[0])
    assert "✅ 10 of 10 fixed." in card
    assert "Scanning…" not in card


async def test_many_presses_at_once_are_shown_by_few_edits(
    digest_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = digest_world
    for n in range(6):
        world.api.watch(f"h{n}.demo.test", valid=False)
    shown = await digest(world)
    monkeypatch.setattr("bot.slack.rows.EDIT_SECONDS", 0.3)
    held = [world.api.hold("monitor/scan") for _ in range(6)]
    for n in range(6):
        await world.press("Rescan", on=shown, row=f"h{n}.demo.test")
    await world.until(lambda: words(world.seen(by=BEN)[0]).count("Scanning…") == 6)
    edits = [call for call in world.slack.traffic if call["name"] == "chat.update"]
    assert len(edits) <= 3
    for each in held:
        assert each.gate is not None
        each.gate.set()
    await world.settled()
    assert "Scanning…" not in words(world.seen(by=BEN)[0])


# One row for each certificate

ONE = "ab" * 32


async def test_monitors_with_one_certificate_are_one_row_with_one_rescan(
    digest_world: World,
) -> None:
    world = digest_world
    numbers = [
        world.api.watch(f"h{n}.demo.test", days=-1, valid=False, ssl_fingerprint=ONE)
        for n in range(3)
    ]
    world.api.watch("other.demo.test", days=-1, valid=False)
    shown = await digest(world)
    assert "4 broken" in words(shown)
    assert "`h0.demo.test` and 2 more" in row_of(shown, numbers[0])
    assert "one renewal fixes 3 monitors" in row_of(shown, numbers[0])
    assert "h1.demo.test" not in words(shown)
    assert labels(shown) == ["Rescan all broken", "Rescan", "Rescan"]

    held = world.api.hold("monitor/scan")
    await world.press("Rescan", on=shown, row=f"{numbers[0]} {numbers[1]}", by=BEN)
    await world.until(lambda: "Scanning…* · 1 of 3 · Ben" in row_of(shown, numbers[0]))
    assert held.gate is not None
    for number in numbers:
        world.api.renew(number, days=80)
        world.api.rows[number]["ssl_fingerprint"] = "cd" * 32
    held.gate.set()
    await world.until(lambda: "~`h0.demo.test`~ and 2 more" in row_of(shown, numbers[0]))
    assert "fixed · Ben" in row_of(shown, numbers[0])
    assert "✅ 1 of 2 fixed." in words(shown)


async def test_details_name_the_other_hosts_with_this_certificate(world: World) -> None:
    for n in range(3):
        world.api.watch(f"h{n}.demo.test", ssl_fingerprint=ONE)
    world.api.watch("other.demo.test", ssl_fingerprint="cd" * 32)
    await world.say("/ssl status h0.demo.test")
    await world.press("Details", on=await world.card("`h0.demo.test`"))
    card = words(await world.card("*Also on 2 other monitors*", "`h1.demo.test` `h2.demo.test`"))
    assert "other.demo.test" not in card


async def test_a_certificate_that_was_renewed_on_some_hosts_says_on_how_many(
    digest_world: World,
) -> None:
    world = digest_world
    numbers = [
        world.api.watch(f"h{n}.demo.test", days=-1, valid=False, ssl_fingerprint=ONE)
        for n in range(3)
    ]
    shown = await digest(world)
    world.api.renew(numbers[0], days=80)
    world.api.rows[numbers[0]]["ssl_fingerprint"] = "cd" * 32
    await refresh(world)
    await world.until(lambda: "1 of 3 fixed" in row_of(shown, numbers[0]))
    assert "`h1.demo.test` and 2 more" in row_of(shown, numbers[0])
    await world.press("Rescan", on=shown, row=f"{numbers[0]} {numbers[1]}")
    await world.card("Scanned 3 monitors")
    await world.until(lambda: "1 of 3 fixed" in row_of(shown, numbers[0]))
    assert "Scanning…" not in words(shown)
