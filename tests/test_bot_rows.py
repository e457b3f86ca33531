"""The rows of a digest: what others did, several at once, and one row for each certificate."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.errors import DatabaseUnavailable
from bot.playground.objects import ANN, BEN, CERTS, GENERAL, PostedMessage
from bot.slack.transport import EVENTS_PATH
from bot.store.database import Database
from bot.store.scans import RunningScans
from tests.world import World, labels, words

#: The fingerprint of a certificate that several monitors have.
ONE = "ab" * 32


@pytest.fixture
def world(digest_world: World) -> World:
    """Here every world has a digest."""
    return digest_world


async def digest(world: World) -> PostedMessage:
    await world.digest.post_now(again=True)
    return await world.card("Certificates on 23 November 2026", by=BEN)


def row_of(shown: PostedMessage, number: int) -> str:
    blocks = [b for b in shown.blocks if b.get("block_id") == f"row:{number}"]
    return str(blocks[0]["text"]["text"]) if blocks else ""


async def refresh(world: World) -> None:
    bot = world.bot
    await bot.scheduler._refresh(bot.slack._records)


async def test_a_row_that_was_fixed_elsewhere_is_struck_through_and_counted(world: World) -> None:
    fixed, other = (world.api.add(f"{name}.demo.test", valid=False) for name in "ab")
    shown = await digest(world)
    world.api.renew(fixed, days=80)
    await refresh(world)
    await world.card("~`a.demo.test`~", "✅ fixed, seen", "✅ 1 of 2 fixed.", by=BEN)
    edits = [call for call in world.slack.traffic if call["name"] == "chat.update"]
    await refresh(world)  # nothing has changed, so nothing is edited
    assert [call for call in world.slack.traffic if call["name"] == "chat.update"] == edits
    assert "Rescan all broken" in labels(shown)
    del world.api.rows[other]
    await refresh(world)
    assert labels(shown) == ["Rescan"]


async def test_the_row_names_who_fixed_a_monitor_here_or_elsewhere(world: World) -> None:
    expired = world.api.add("a.demo.test", days=-1, valid=False)
    misnamed = world.api.add("b.demo.test", valid=False, ssl_host_match=False)
    shown = await digest(world)
    held = [world.api.hold("monitor/scan") for _ in range(2)]
    await world.say("/ssl scan a.demo.test", by=BEN, to=GENERAL)
    await held[0].reached.wait()
    await world.press("Rescan", on=shown, row="b.demo.test", by=BEN)
    for number, each in zip((expired, misnamed), held, strict=True):
        await each.reached.wait()
        world.api.renew(number, days=80, ssl_host_match=True)
        each.release()
    await world.until(lambda: "✅ fixed · Ben, " in row_of(shown, expired))
    await world.until(lambda: "↻ fixed · Ben, " in row_of(shown, misnamed))
    edits = [call for call in world.slack.traffic if call["name"] == "chat.update"]
    pressed = [b for call in edits for b in call["request"]["blocks"]
               if b.get("block_id") == f"row:{misnamed}"]  # fmt: skip
    assert "✅ fixed" not in str(pressed)  # its row waits for the answer


async def test_the_reply_about_a_monitor_says_that_it_was_fixed_elsewhere(world: World) -> None:
    number = world.api.add("a.demo.test", days=-1, valid=False)
    shown = await digest(world)
    await world.press("Rescan", on=shown, by=BEN)
    story = await world.card("EXPIRED", "asked by Ben", by=ANN)
    assert story.thread_ts == shown.ts
    held = world.api.hold("monitor/scan")
    await world.say("/ssl scan a.demo.test", to=GENERAL)
    await held.reached.wait()
    world.api.renew(number, days=80)
    held.release()
    await world.until(lambda: "✅ fixed · Ann, " in words(story))
    assert "✅ *OK* · `a.demo.test`" in words(story)
    world.api.rows[number]["ssl_valid"] = False
    await refresh(world)
    assert "NOT TRUSTED" in words(story)


async def test_a_fixed_row_that_breaks_again_is_no_longer_struck_through(world: World) -> None:
    number = world.api.add("a.demo.test", valid=False)
    await digest(world)
    world.api.renew(number, days=80)
    await refresh(world)
    await world.card("~`a.demo.test`~", by=BEN)
    world.api.rows[number]["ssl_valid"] = False
    await refresh(world)
    assert "~`" not in words(world.seen(by=BEN)[0])


async def test_a_monitor_that_was_taken_or_deleted_elsewhere_says_so_in_its_row(
    world: World,
) -> None:
    world.api.add("a.demo.test", valid=False)
    gone = world.api.add("b.demo.test", valid=False)
    await digest(world)
    await world.ask("/ssl take a.demo.test", "Ben has taken", by=BEN, to=GENERAL, seen_by=ANN)
    await world.card("🙋 Ben", "Certificates on", by=BEN)
    del world.api.rows[gone]
    await refresh(world)
    card = words(await world.card("🙋 Ben", "No longer monitored, seen", by=BEN))
    assert "fixed" not in card
    await world.ask("/ssl mute a.demo.test", "Ben muted", by=BEN, to=GENERAL, seen_by=ANN)
    await world.card("🙋 Ben · 🔕 muted", by=BEN)


@pytest.mark.slow
async def test_deletions_notes_and_thresholds_show_in_rows_at_once(world: World) -> None:
    for name in ("a", "b.old", "c.old", "d"):
        world.api.add(f"{name}.demo.test", valid=False)
    world.api.add("due.demo.test", days=20)
    long = world.api.add(f"{'long' * 8}.demo.test", days=20)
    shown = await digest(world)
    await world.ask(f"/ssl take {long}", "Taken by Ann")
    await world.until(lambda: "🙋 Ann" in row_of(shown, long))
    assert "<!date" not in row_of(shown, long)  # there is no room for its date
    await world.press("Delete", on=await world.ask("/ssl delete a.demo.test", "Delete", to=GENERAL))
    await world.card("Now: 3 broken, 2 due", "No longer monitored, seen", by=BEN)
    card = await world.ask("/ssl delete *.old.demo.test", "2 monitors", to=GENERAL)
    await world.press("Delete 2", on=card)
    await world.until(lambda: words(world.seen(by=BEN)[0]).count("No longer monitored") == 3)
    await world.ask("/ssl note d.demo.test ask Ann", "ask Ann", to=GENERAL)
    await world.card("Certificates on", "📝 ask Ann", by=BEN)
    await world.ask("/ssl warn *.demo.test 5d", "5 days", to=GENERAL)
    card = await world.card("Now: 1 broken", "📅 *ON SCHEDULE* · `due.demo.test`", by=BEN)
    assert row_of(shown, long).startswith("📅 *ON SCHEDULE*")
    assert "fixed" not in words(card)  # the certificates are the same
    world.api.rows[long]["ssl_valid"] = False
    await refresh(world)
    world.api.renew(long, days=80)
    await refresh(world)
    await world.until(lambda: "✅ fixed, seen" in row_of(shown, long))


async def test_an_incomplete_list_ends_no_row_but_fixes_those_that_it_has(world: World) -> None:
    lost, fixed = (world.api.add(f"{name}.demo.test", valid=False) for name in "ab")
    await digest(world)
    await world.ask("/ssl take b.demo.test", "Ben has taken", by=BEN, seen_by=ANN)
    world.later(seconds=1)
    world.api.renew(fixed, days=80)
    rows = [world.api.rows[lost] | {"id": None}, world.api.rows[fixed]]
    world.api.reply("monitor/list", {"success": 1, "count": 2, "list": rows})
    await refresh(world)
    await world.card("~`b.demo.test`~", "✅ 1 of 2 fixed. Now: 1 broken.", by=BEN)
    assert "No longer monitored" not in words(world.seen(by=BEN)[0])
    assert world.bot.records.rules.marks.claims == {}


async def test_the_head_of_a_digest_counts_what_got_worse_and_what_is_gone(world: World) -> None:
    due, gone = world.api.add("a.demo.test", days=12), world.api.add("b.demo.test", valid=False)
    shown = await digest(world)
    assert "1 broken, 1 due." in words(shown)
    world.api.rows[due] |= {"ssl_valid": False}
    await refresh(world)
    await world.card("Now: 2 broken. When posted: 1 broken, 1 due.", by=BEN)
    assert shown.text.startswith("Now: 2 broken. ")
    del world.api.rows[gone]
    await refresh(world)
    await world.card("Now: 1 broken. When posted: 1 broken, 1 due.", by=BEN)
    world.api.rows[due] |= {"ssl_valid": True}
    await refresh(world)
    await world.card("Now: 1 due. When posted: 1 broken, 1 due.", by=BEN)


@pytest.mark.slow
async def test_the_rows_of_a_digest_are_known_after_a_restart(world: World) -> None:
    first = world.api.add("a.demo.test", valid=False)
    world.api.add("b.demo.test", valid=False)
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


@pytest.mark.slow
async def test_a_digest_stays_as_it_is_when_its_day_has_ended(world: World) -> None:
    number = world.api.add("a.demo.test", valid=False)
    shown = await digest(world)
    held = world.api.hold("monitor/scan")
    world.later(hours=16, minutes=29)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "Scanning…" in row_of(shown, number))
    world.later(minutes=2)
    held.release()
    await world.until(lambda: "no change · Ben" in row_of(shown, number))  # begun before midnight
    await world.settled()
    before = words(shown)
    world.api.renew(number, days=80)
    await refresh(world)
    await world.press("Rescan", on=shown, by=BEN)
    await world.card("OK", "`a.demo.test`", by=ANN)
    await world.settled()
    assert words(world.seen(by=BEN)[0]) == before


@pytest.mark.slow
@pytest.mark.parametrize("people", [10, 3], ids=["digest", "list"])
async def test_two_replicas_and_ten_people_leave_a_message_in_its_newest_state(
    people: int, world: World
) -> None:
    for n in range(people):
        world.slack.users[f"U{n}"] = replace(world.slack.users[BEN], id=f"U{n}", name=f"Nr. {n}")
        world.slack.channels[CERTS].members.add(f"U{n}")
    numbers = world.api.add_many(people, valid=False)
    if people == 10:
        shown = await digest(world)
    else:
        shown = await world.ask("@SSLmonitor list", f"{people} monitors", seen_by=BEN)
    async with world.running_bot():
        for turn in ("no change", "fixed"):
            for n in range(people):  # each row, in turn by each replica
                port = world.bots[(n + (turn == "fixed")) % 2].port
                world.playground.events_url = f"http://127.0.0.1:{port}{EVENTS_PATH}"
                await world.press("Rescan", on=shown, row=f"h{n}.demo.test", by=f"U{n}")
            await world.settled()
            told = [row_of(shown, number).partition(", <")[0] for number in numbers]
            assert [each.partition("↻ ")[2] for each in told] == [
                f"{turn} · Nr. {n}" for n in range(people)
            ]
            for number in numbers:
                world.api.renew(number, days=80)
    assert "Scanning…" not in words(shown)
    assert ("✅ 10 of 10 fixed." in words(shown)) is (people == 10)


@pytest.mark.slow
async def test_many_presses_at_once_are_shown_by_few_edits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.api.add_many(6, valid=False)
    shown = await digest(world)
    monkeypatch.setattr("bot.slack.rows.EDIT_SECONDS", 0.3)
    held = [world.api.hold("monitor/scan") for _ in range(6)]
    for n in range(6):
        await world.press("Rescan", on=shown, row=f"h{n}.demo.test")
    await world.until(lambda: words(world.seen(by=BEN)[0]).count("Scanning…") == 6)
    edits = [call for call in world.slack.traffic if call["name"] == "chat.update"]
    assert len(edits) <= 3
    for each in held:
        each.release()
    await world.settled()
    assert "Scanning…" not in words(world.seen(by=BEN)[0])


async def test_a_press_that_found_no_change_is_not_said_of_what_broke_later(world: World) -> None:
    number = world.api.add("a.demo.test", days=20)
    shown = await digest(world)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "DUE" in row_of(shown, number) and "↻" in row_of(shown, number))
    await refresh(world)
    assert "↻ no change · Ben" in row_of(shown, number)
    world.api.rows[number] |= {"ssl_valid": False, "ssl_message": "Revoked by its issuer"}
    await refresh(world)
    assert "REVOKED" in row_of(shown, number)
    assert "no change" not in row_of(shown, number)
    assert "I'll take it" in labels(shown)


# One row for each certificate


async def test_the_row_of_a_very_long_host_fits_a_phone_and_stays_its_own(world: World) -> None:
    host = ".".join(["a" * 60] * 4)
    number = world.api.add(host, valid=False)
    shown = await digest(world)
    assert f"`{'a' * 20}…{'a' * 6}` #{number}" in row_of(shown, number)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "Note" in labels(shown))
    await world.press("Note", on=shown, by=BEN)
    form = await world.modal("Note", by=BEN)
    assert await world.submit(form, which=f"{number}", text="ask Ann", by=BEN) == {}
    await world.modal("ask Ann", by=BEN)
    assert world.bot.records.rules.marks.notes == {f"{host}:443": "ask Ann"}
    await refresh(world)
    assert "No longer monitored" not in row_of(shown, number)


async def test_a_press_on_a_row_that_awaits_a_certificate_does_not_call_it_fine(
    world: World,
) -> None:
    numbers = world.api.add_many(2, days=20, ssl_fingerprint=ONE, ssl_issuer="A CA")
    shown = await digest(world)
    for number in numbers:
        world.api.renew(number, 80, expected_date="2026-11-22 08:00")
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "↻ no change" in row_of(shown, numbers[0]))


async def test_a_press_while_a_scan_of_the_row_runs_joins_it(world: World) -> None:
    number = world.api.add("a.demo.test", valid=False)
    shown = await digest(world)
    held, edit = world.api.hold("monitor/scan"), world.slack.faults.hold("chat.update", after=False)
    await world.press("Rescan", on=shown, by=BEN)
    await edit.reached.wait()
    await world.press("Rescan", on=shown, by=ANN)  # she does not see yet that it is being scanned
    await held.reached.wait()
    edit.release()
    await world.until(lambda: "Scanning…* · `a.demo.test` · Ben" in row_of(shown, number))
    held.release()
    await world.until(lambda: "no change ·" in row_of(shown, number))
    await world.settled()
    assert "Scanning…" not in row_of(shown, number)
    assert len([m for m in world.seen(by=BEN) if m.thread_ts == shown.ts]) == 1


async def test_a_press_after_the_outcome_scans_again_before_the_reply_is_posted(
    world: World,
) -> None:
    number = world.api.add("a.demo.test", valid=False)
    shown, faults = await digest(world), world.slack.faults
    reply = faults.hold("chat.postMessage", after=False)
    await world.press("Rescan", on=shown, by=BEN)
    await reply.reached.wait()
    await world.until(lambda: "no change · Ben" in row_of(shown, number))
    world.api.renew(number, days=80)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "~`a.demo.test`~" in row_of(shown, number))
    reply.release()
    await world.settled()
    assert len(world.api.asked("monitor/scan")) == 2
    assert len([m for m in world.seen(by=BEN) if m.thread_ts == shown.ts]) == 1


def joining(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event that says that somebody waits for a scan that another process runs."""
    joined, wait = asyncio.Event(), RunningScans._ended_well

    def join(scans: RunningScans, key: str) -> Awaitable[bool]:
        joined.set()
        return wait(scans, key)

    monkeypatch.setattr(RunningScans, "_ended_well", join)
    return joined


@pytest.mark.slow
async def test_a_press_at_another_replica_joins_the_scan_that_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = joining(monkeypatch)
    number = world.api.add("a.demo.test", valid=False)
    shown = await digest(world)
    held, edit = world.api.hold("monitor/scan"), world.slack.faults.hold("chat.update", after=False)
    await world.press("Rescan", on=shown, by=BEN)
    await edit.reached.wait()
    async with world.running_bot():
        await world.press("Rescan", on=shown, by=ANN)
        edit.release()
        await asyncio.wait_for(joined.wait(), 5)
        world.api.renew(number, days=80)
        held.release()
        await world.settled()
    assert len(world.api.asked("monitor/scan")) == 1
    assert "~`a.demo.test`~" in row_of(shown, number)
    assert len([m for m in world.seen(by=BEN) if m.thread_ts == shown.ts]) == 1


@pytest.mark.slow
async def test_a_press_shows_in_the_row_although_the_database_hangs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = world.api.add("a.demo.test", valid=False)
    shown = await digest(world)
    answers = asyncio.Event()

    @asynccontextmanager
    async def hang(_: Database) -> AsyncIterator[AsyncConnection]:
        await answers.wait()
        raise DatabaseUnavailable("no answer in time")
        yield

    for module in ("store.database", "slack.row_buttons"):
        monkeypatch.setattr(f"bot.{module}.SOON_SECONDS", 0.01)
    for door in ("quick_read", "quick_write"):
        monkeypatch.setattr(Database, door, hang)
    monkeypatch.setattr("bot.store.placeholders.QUICK_SECONDS", 0.1)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "Scanning…* · `a.demo.test` · Ben" in row_of(shown, number))
    answers.set()
    await world.until(lambda: "no change · Ben" in row_of(shown, number))
    await world.settled()


async def test_a_story_that_two_replicas_begin_at_once_is_one_reply(world: World) -> None:
    world.api.add("a.demo.test", valid=False)
    shown = await digest(world)
    held = world.slack.faults.hold("chat.postMessage", after=False)
    await world.press("Rescan", on=shown, by=BEN)
    await held.reached.wait()
    async with world.running_bot():
        await world.press("Rescan", on=shown, by=ANN)
        await world.card("`a.demo.test`", "asked by Ann")
        held.release()
        await world.settled()
    assert len([m for m in world.seen(by=BEN) if m.thread_ts == shown.ts]) == 1


@pytest.mark.slow
async def test_a_row_of_which_a_monitor_could_not_be_scanned_keeps_it(world: World) -> None:
    numbers = world.api.add_many(3, days=-1, valid=False, ssl_fingerprint=ONE)
    shown = await digest(world)
    world.api.refuse("monitor/scan", 422, "host not allowed", times=2)
    await world.press("Rescan", on=shown, by=BEN)
    await world.card("Scanned 1 monitor", "2 could not be scanned")
    await world.until(lambda: "`h0.demo.test` +2" in row_of(shown, numbers[0]))
    await world.settled()
    world.api.refuse("monitor/scan", 422, "host not allowed", times=3)
    await world.press("Rescan", on=shown, by=BEN)
    await world.until(lambda: "not scanned · Ben" in row_of(shown, numbers[0]))
    assert "`h0.demo.test` +2" in row_of(shown, numbers[0])
