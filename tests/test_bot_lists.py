"""Long lists, their CSV, thresholds, what a rescan changed, and names that nobody watches."""

import csv
import dataclasses
from datetime import timedelta

import pytest

from bot.commands import after_scan
from bot.playground.faults import dropped_connection, refusal
from bot.playground.objects import ANN, BEN
from bot.target import Target
from tests.card_values import certificate, monitor
from tests.world import CERTS, World, labels, words


async def test_a_rescan_says_what_changed_since_the_bot_saw_it(world: World) -> None:
    number = world.api.add("api.demo.test", days=5.5)
    await world.ask("/ssl scan api.demo.test", "No change: still the old certificate.")
    await world.settled()

    world.api.renew(number, days=90.5)
    card = world.seen()[-1]
    await world.press("Rescan", on=card)

    card = await world.card("Changed: expiry date")
    assert "28 Nov 2026" in words(card)
    assert "21 Feb 2027" in words(card)
    assert card.text.startswith("api.demo.test OK, expires in 90 days")
    assert "Changed: expiry date 28 Nov 2026 19:30 UTC → 21 Feb 2027 19:30 UTC." in card.text


@pytest.mark.slow
@pytest.mark.parametrize("judges", [False, True], ids=["hosted API", "embedded API"])
async def test_a_list_and_the_digest_agree_on_what_is_broken(judges: bool, world: World) -> None:
    """The hosted API may call valid what is for other names, or begins tomorrow."""
    world.api.extras = ["monitor/list?attention_days"] if judges else None
    later = f"{world.clock() + timedelta(days=1):%Y-%m-%d %H:%M}"
    world.api.add("fine.demo.test")
    world.api.add("self.demo.test", valid=False)
    world.api.add("other.demo.test", valid=not judges, ssl_host_match=False)
    world.api.add("early.demo.test", valid=not judges, ssl_expire_date_start=later)
    broken = {"self", "other", "early"}
    for line in ("/ssl list broken", "/ssl list valid=false", "/ssl status invalid", "/ssl digest"):
        text = words(await world.ask(line, "WRONG NAME", "NOT YET VALID", "NOT TRUSTED"))
        assert "fine.demo.test" not in text
        assert "ll clear" not in text
        assert broken == {name for name in broken if f"{name}.demo.test" in text}, line
    for line in ("/ssl list valid=true", "/ssl list !broken", "/ssl list fine", "/ssl list ok"):
        text = words(await world.ask(line, "fine.demo.test"))
        assert not [name for name in broken if f"{name}.demo.test" in text], line


async def test_a_monitor_is_looked_at_once_before_its_first_scan(world: World) -> None:
    world.api.add("api.demo.test")
    for _ in range(2):
        await world.say("/ssl scan api.demo.test")
        await world.settled()
    assert [path for path in world.api.work if path != "monitor/list"] == [
        "monitor/get",
        "monitor/scan",
        "monitor/scan",
    ]


async def test_details_are_what_the_next_scan_is_compared_with(world: World) -> None:
    number = world.api.add("api.demo.test")
    await world.say("/ssl status api.demo.test")
    await world.press("Details", on=await world.card("OK"))
    await world.settled()
    world.api.renew(number, days=180.5)

    await world.ask("/ssl scan api.demo.test", "Changed: expiry date")
    assert world.api.work.count("monitor/get") == 1


@pytest.mark.slow
async def test_names_that_are_not_monitored_are_added_with_one_press(world: World) -> None:
    world.api.add("api.demo.test")
    world.api.add("www.demo.test", port=8443)
    world.api.names = [
        *("api.demo.test", "*.demo.test", "www.demo.test"),
        *("shop.demo.test", "mail.demo.test"),
    ]
    await world.say("/ssl scan api.demo.test")

    card = await world.card("2 names on this certificate aren't monitored: `shop.demo.test`")
    await world.press("Add 2", on=card)
    await world.settled()

    assert {row["host"] for row in world.api.rows.values()} == {
        *("api.demo.test", "www.demo.test", "shop.demo.test", "mail.demo.test")
    }


@pytest.mark.slow
async def test_no_more_names_are_offered_than_can_be_added(world: World) -> None:
    world.api.add("api.demo.test")
    world.api.names = ["a.demo.test", "b.demo.test", "c.demo.test"]
    world.api.limit = 3
    await world.say("/ssl scan api.demo.test")
    card = await world.card("3 names on this certificate aren't monitored")
    assert "Add 2" in labels(card)
    world.api.limit = 1
    await world.press("Rescan", on=card)
    card = await world.card("The account has no room for more monitors.")
    assert not any(label.startswith("Add") for label in labels(card))

    world.api.refuse("account", 500, "broken", times=9)
    await world.ask("/ssl scan api.demo.test", "OK", "No change: still the old certificate.")


def test_only_hosts_are_offered_and_no_more_than_a_button_holds() -> None:
    leaf = dataclasses.replace(
        certificate(),
        alt_names=("*.example.com", "api.example.com", "a b", "", "B.example.com", "b.example.com"),
    )
    found = dataclasses.replace(monitor(), target=Target("api.example.com", 8443), certificate=leaf)
    assert after_scan.other_names(found) == [Target("b.example.com", 8443)]

    long = [Target(f"{'x' * 60}.{n:03}.example.com") for n in range(60)]
    fitting = after_scan.that_fit(long)
    assert 10 < len(fitting) < 50
    assert len(" ".join(map(str, fitting))) <= 2000
    assert len(after_scan.that_fit([Target(f"h{n}.test") for n in range(60)])) == 50


async def test_a_threshold_counts_at_once_or_is_explained(world: World) -> None:
    world.api.add("api.demo.test", days=45.5)
    await world.ask("/ssl warn *.demo.test 60d", "Ann set the threshold of `*.demo.test` to 60d.")
    await world.card("Renewal of `*.demo.test` is due when 60 days are left.")
    await world.ask("/ssl status api.demo.test", "DUE", "in 45 days")
    await world.say("/ssl warn *.demo.test default")
    await world.card("`*.demo.test` uses the default threshold again where no other one applies.")
    await world.ask("/ssl status api.demo.test", "OK", "in 45 days")
    assert [m.ephemeral_for for m in world.seen() if "default threshold again" in words(m)] == [ANN]

    for line, said in (
        ("/ssl warn api.demo.test 0d", "is not a threshold"),
        ("/ssl warn api.demo.test soon", "is not a threshold"),
        ("/ssl warn 888 14d", "not to an ID"),
        ("/ssl warn api.demo.test", "needs 14d"),
    ):
        await world.ask(line, said)


async def test_removing_a_threshold_says_which_one_applies_to_the_host(world: World) -> None:
    world.api.add("api.demo.test", days=45.5)
    await world.say("/ssl warn *.demo.test 3d")
    await world.ask("/ssl warn api.demo.test 60d", "is due when 60 days are left")
    await world.ask("/ssl warn api.demo.test default", "Another one still applies to it: 3d.")
    said = "has no threshold of its own. Another one applies to it: 3d."
    await world.ask("/ssl warn api.demo.test default", said)
    await world.ask("/ssl warn *.demo.test default", "uses the default threshold again")
    await world.ask("/ssl warn *.demo.test default", "Nothing to remove: `*.demo.test` has no")
    assert [words(m).count("Ann removed the threshold") for m in world.seen()].count(2) == 2


async def test_the_whole_list_comes_as_a_csv_or_the_card_says_why_not(world: World) -> None:
    world.api.add_many(12, days=3.5)
    world.api.add("fine.demo.test")
    card = await world.ask("/ssl list expires<30", "12 monitors")
    await world.press("CSV", on=card)
    await world.card("12 monitors is in your direct messages")
    await world.settled()
    [file] = [each for each in world.slack.files.values() if each["content"] is not None]
    rows = list(csv.DictReader(file["content"].decode("utf-8-sig").splitlines()))
    assert sorted(row["host"] for row in rows) == sorted(f"h{n}.demo.test" for n in range(12))
    assert {row["state"] for row in rows} == {"ACT NOW"}
    assert file["name"] == "monitors-2026-11-23.csv"

    world.slack.faults.add("files.getUploadURLExternal", refusal("missing_scope"))
    await world.press("CSV", on=card)
    await world.card("The bot can't send files", "files:write")

    world.slack.faults.add("files.completeUploadExternal", dropped_connection())
    await world.press("CSV", on=card)
    doubt = await world.card("Slack did not confirm that the CSV file", to="D0ANN")
    assert "Here is the list" not in words(doubt)
    assert "the list of 12 monitors was delivered. If the file isn't here" in words(doubt)


async def test_the_csv_has_what_the_list_has(world: World) -> None:
    world.api.add_many(9, days=-1)
    world.api.add("fine.demo.test")
    for typed in ("expired", "free"):
        card = await world.ask(f"/ssl list {typed}", "9 monitors")
        await world.press("CSV", on=card)
        await world.settled()
    assert sum("9 monitors is in your direct messages" in words(m) for m in world.seen()) == 2


async def test_a_table_that_slack_refuses_comes_in_classic_blocks(world: World) -> None:
    for days in range(1, 31):
        world.api.add(f"h{days}.demo.test", days=days + 0.5)
    world.slack.faults.add("response_url", refusal("invalid_blocks"))

    await world.say("/ssl list", to=CERTS)

    card = await world.card("30 monitors")
    assert labels(card) == [*["Rescan"] * 20, "CSV"]
    assert all(f"`h{days}.demo.test" in words(card) for days in range(1, 31))


@pytest.mark.slow
async def test_an_added_host_is_remembered_and_its_names_are_offered(world: World) -> None:
    world.api.names = ["api.demo.test", "www.demo.test"]
    await world.say("/ssl add api.demo.test")
    card = await world.card("1 name on this certificate isn't monitored: `www.demo.test`.")
    await world.ask("/ssl scan api.demo.test", "No change: still the old certificate.")
    assert "monitor/get" not in world.api.work

    await world.press("Add 1", on=card)

    await world.card("`www.demo.test`", "added")
    await world.say("/ssl scan www.demo.test")
    await world.settled()
    assert "watched:" not in words(world.seen()[-1])


# One row for each certificate

ONE = "ab" * 32


@pytest.mark.slow
async def test_monitors_with_one_certificate_share_a_row_and_a_rescan(world: World) -> None:
    numbers = world.api.add_many(14, days=-1, valid=False, ssl_fingerprint=ONE)
    world.api.add("other.demo.test", days=80, ssl_fingerprint="cd" * 32)
    await world.say("/ssl list")
    shown = await world.card("15 monitors: 14 broken, 1 OK.", "with one certificate share a row")
    assert "`h0.demo.test` +13\nSince <!date" in words(shown)
    assert "one renewal fixes 14 monitors" in words(shown)
    assert labels(shown) == ["Rescan", "Rescan", "CSV", "Share here"]

    await world.press("Rescan", on=shown, row=f"{numbers[0]} {numbers[1]}")

    await world.card("15 monitors", "no change · Ann")
    assert len(world.api.asked("monitor/scan")) == 14
    await world.card("Scanned 14 monitors", "h13.demo.test")

    await world.press("I'll take it", on=shown)
    await world.card("Ann has taken `h0.demo.test` and 13 more monitors.", by=BEN)
    await world.card("15 monitors", "🙋 Ann", "Release")
    await world.ask("/ssl list mine", "14 monitors: 14 broken.")
    await world.press("Release", on=shown)
    await world.card("Ann released `h0.demo.test` and 13 more monitors: nobody has them now.")

    await world.press("Details", on=await world.card("15 monitors", "I'll take it"))
    await world.card("*Also on 13 other monitors*", "`h13.demo.test`")


@pytest.mark.slow
async def test_home_has_a_row_for_each_certificate_and_who_was_first_keeps_one(
    world: World,
) -> None:
    world.api.add_many(3, days=-1, valid=False, ssl_fingerprint=ONE)
    world.api.add("name.demo.test", valid=False, ssl_host_match=False, ssl_fingerprint=ONE)
    home = await world.open_home("4 monitors", "*🔴 Broken*\n4", "`h0.demo.test` +2")
    assert "`name.demo.test`" in words(home)
    assert labels(home).count("Rescan") == 2

    shown = await world.ask("/ssl list", "4 monitors")
    await world.press("Rescan", on=shown, row="101 102")
    await world.card("4 monitors: 4 broken", "I'll take it")
    await world.ask("/ssl take h1.demo.test", "Ben has taken `h1.demo.test`.", by=BEN, seen_by=ANN)
    await world.press("I'll take it", on=shown)
    await world.card("Ann has taken `h0.demo.test` and 1 more monitor.")
    await world.say("/ssl audit")
    await world.card("`h1.demo.test:443` · already taken by Ben", "`h2.demo.test:443` · taken")


@pytest.mark.slow
async def test_a_pressed_rows_note_form_has_the_host_filled_in(world: World) -> None:
    world.api.add("a.demo.test", days=5.5)
    shown = await world.ask("/ssl list", "1 monitor")
    await world.press("Rescan", on=shown)
    pressed = await world.card("1 monitor", "no change · Ann")
    assert labels(pressed)[:7] == [
        *("Rescan", "Scan & watch", "I'll take it", "Mute until it changes", "Note", "Details"),
        "History",
    ]
    await world.press("Note", on=pressed)
    form = await world.modal("Note")
    assert await world.submit(form, which="a.demo.test:443", text="ask Ben first") == {}
    await world.modal("Note on `a.demo.test:443`: ask Ben first")
    await world.ask("/ssl list", "📝 ask Ben first")
