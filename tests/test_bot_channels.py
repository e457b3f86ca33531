"""Each channel sets up its own digest and notices: when, about which hosts, and whether at all."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from bot.app.composition import make_notices
from bot.config import Settings
from bot.dates import Selection, days_text, parse_clock, parse_days, parse_zone
from bot.playground.faults import refusal
from bot.playground.objects import BEN, CERTS, GENERAL, PARTNERS, PostedMessage
from bot.slack.notices import Notices
from bot.target import Target
from tests.world import World, words


def digests(world: World, channel: str = GENERAL) -> list[str]:
    shown: list[PostedMessage] = world.seen(to=channel, by=BEN)
    return [words(m) for m in shown if "Certificates on" in words(m)]


async def test_a_channel_gets_its_own_digest_at_its_own_time(world: World) -> None:
    world.api.add("shop.demo.test", days=2)
    card = await world.ask("/ssl digest here at 7:00", "every day at 07:00 UTC", to=GENERAL)
    assert "24 Nov 2026 07:00 UTC" in words(card)
    await world.bot.digests.tick()
    assert digests(world) == []
    await world.say("/ssl digest here at 09:00 Europe/Berlin weekdays", to=GENERAL)
    card = await world.card("on weekdays at 09:00 Europe/Berlin", to=GENERAL)
    assert "23 Nov 2026 08:00 UTC" in words(card)  # it is 08:30 in Berlin, on a Monday
    await world.card("Ann set up a digest in this channel", to=GENERAL, by=BEN)
    await world.bot.digests.tick()
    assert digests(world) == []
    for _ in range(3):
        world.later(minutes=31)
        await world.bot.digests.tick()
    (posted,) = digests(world)
    assert "shop.demo.test" in posted
    assert "late" not in posted


async def test_a_digest_and_its_preview_are_about_the_hosts_that_were_named(world: World) -> None:
    for host in ("a.shop.test", "b.demo.test"):
        world.api.add(host, valid=False)
    world.api.add("c.shop.test", port=8443, valid=False)
    await world.say("/ssl digest here 08:00 *.shop.test port=443", to=GENERAL)
    await world.card("only about `*.shop.test port=443`", to=GENERAL)
    world.later(minutes=31)
    await world.bot.digests.tick()
    (posted,) = digests(world)
    assert "a.shop.test" in posted
    assert "b.demo.test" not in posted
    assert "c.shop.test" not in posted
    assert "for `*.shop.test port=443` only." in posted

    for line in ("digest here 09:00", "notices here"):
        lacks = "No monitor matches `shop.test` or `x.test` yet."
        await world.ask(f"/ssl {line} *.shop.test shop.test x.test", lacks, to=GENERAL)
    await world.say("/ssl digest here 09:00 *.shop.test", to=GENERAL)
    card = await world.card("every day at 09:00 UTC", "about `*.shop.test`.", to=GENERAL)
    assert "No monitor" not in words(card)
    await world.press("Preview", on=card)
    shown = words(await world.card("Certificates now", to=GENERAL))
    assert "a.shop.test" in shown
    assert "b.demo.test" not in shown
    await world.say("/ssl digest preview", to=GENERAL)


async def test_a_paused_digest_comes_back_by_itself(world: World) -> None:
    world.api.add("shop.demo.test", days=2)
    await world.ask("/ssl digest here at 08:00", "every day at 08:00 UTC", to=GENERAL)
    await world.say("/ssl digest pause 1d", to=GENERAL)
    await world.card("Ann paused the digest of this channel until", to=GENERAL, by=BEN)
    world.later(minutes=40)
    await world.bot.digests.tick()
    assert digests(world) == []
    world.later(hours=23)  # 07:10: the pause ended, but not before the hour
    await world.bot.digests.tick()
    assert digests(world) == []
    world.later(hours=1)
    await world.bot.digests.tick()
    assert len(digests(world)) == 1


async def test_a_pause_of_days_ends_at_the_same_local_time(world: World) -> None:
    for zone, fridays, mondays in (
        ("Europe/Berlin", datetime(2027, 3, 26, 7, 30, tzinfo=UTC), "29 Mar 2027 06:30 UTC"),
        ("Australia/Sydney", datetime(2027, 4, 1, 21, 30, tzinfo=UTC), "4 Apr 2027 22:30 UTC"),
    ):
        world.later(seconds=(fridays - world.clock()).total_seconds())  # it is 08:30
        await world.say(f"/ssl digest here at 09:00 {zone}", to=GENERAL)
        await world.card(f"every day at 09:00 {zone}", to=GENERAL)
        await world.ask("/ssl digest pause 3d", "is paused until", mondays, to=GENERAL)


async def test_a_digest_is_resumed_before_its_time_and_turned_off(world: World) -> None:
    await world.ask("/ssl digest here at 08:00", "every day at 08:00 UTC", to=GENERAL)
    await world.ask("/ssl digest pause 3d", "is paused until", to=GENERAL)
    await world.say("/ssl digest resume", to=GENERAL)
    await world.card("The digest of this channel is on again", "23 Nov 2026 08:00", to=GENERAL)
    await world.ask("/ssl digest resume", "is not paused", to=GENERAL)
    await world.ask("/ssl digest off", "The digest of this channel is off", to=GENERAL)
    world.later(hours=1)
    await world.bot.digests.tick()
    assert digests(world) == []
    await world.ask("/ssl digest off", "This channel gets no digest", to=GENERAL)


@pytest.mark.slow
async def test_the_environments_digest_is_turned_off_in_its_channel(digest_world: World) -> None:
    world = digest_world
    world.api.add("shop.demo.test", days=2)
    await world.ask("/ssl digest off", "The digest of this channel is off")
    world.later(days=2)
    await world.bot.digests.tick()
    assert digests(world, CERTS) == []
    async with world.running_bot() as other:  # also after a restart
        await other.digests.tick()
        assert digests(world, CERTS) == []
        await world.ask("/ssl digest resume", "is on again")
        await world.ask("/ssl digest pause 1d", "is paused")
    world.settings = replace(world.settings, digest_time=time(11), notice_mention="U0BEN")
    async with world.running_bot() as other:  # a pause keeps no old settings
        known = other.records.subscriptions
        (first,) = known.digests()
        assert (first.at, first.paused_until) == (time(11), world.clock() + timedelta(days=1))
        world.slack.channels[CERTS].is_ext_shared = True
        for kind, running in ("digest", known.digests), ("notices", known.notices):
            await world.ask(f"/ssl {kind} off", "of this channel")
            card = await world.ask(f"/ssl {kind} resume", "shared with other")
            await world.press("Post it here anyway", on=card)
            await world.settled()
            assert [each.set_by for each in running()] == [""]  # nor does “Post it here anyway”
            await world.ask("/ssl audit", f"{kind} resume · <#{CERTS}> · resumed")


@pytest.mark.slow
async def test_what_an_archived_channel_gets_is_turned_off_from_elsewhere(world: World) -> None:
    known = world.bot.slack._records.subscriptions
    for typed in ("digest here at 08:00", "notices here"):
        for channel in (CERTS, GENERAL):
            await world.ask(f"/ssl {typed}", "Ann set up", to=channel, seen_by=BEN)
    world.slack.channels[GENERAL].is_archived = True
    asked = await world.ask("digest off", "These channels get a digest", GENERAL, to="D0ANN")
    await world.press("Turn off", on=asked, row=GENERAL)
    await world.card(f"The digest of <#{GENERAL}> is off", to="D0ANN")
    assert [each.channel for each in known.digests()] == [CERTS]
    await world.ask("notices off #nowhere", "which channel #nowhere is", GENERAL, to="D0ANN")
    await world.ask("notices off in #General", f"of <#{GENERAL}> are off", to="D0ANN")
    await world.ask(f"notices off in <#{GENERAL}|general>", "gets no notices", to="D0ANN")
    await world.ask(f"notices off {GENERAL}", f"<#{GENERAL}> gets no notices", to="D0ANN")
    await world.ask(f"notices off {CERTS}", "are off", to="D0ANN")
    await world.card("Ann turned off the notices of this channel", by=BEN)
    await world.ask("notices off", "No channel gets notices.", to="D0ANN")
    await world.ask("notices off everything", "isn't a channel", to="D0ANN")


async def test_a_digest_of_the_day_is_not_posted_twice_when_its_time_changes(world: World) -> None:
    world.api.add("shop.demo.test", days=2)
    await world.ask("/ssl digest here at 08:00", "every day at 08:00 UTC", to=GENERAL)
    world.later(minutes=35)
    await world.bot.digests.tick()
    card = await world.ask("/ssl digest here at 10:00", "every day at 10:00 UTC", to=GENERAL)
    assert "24 Nov 2026 10:00 UTC" in words(card)
    world.later(hours=3)
    await world.bot.digests.tick()
    assert len(digests(world)) == 1


async def test_strangers_in_the_channel_are_a_question_first(world: World) -> None:
    world.api.add("shop.demo.test", days=2)
    await world.say("/ssl digest here at 09:30 Europe/Berlin mon,wed *.demo.test", to=PARTNERS)
    card = await world.card("shared with other", "Nothing has been changed", to=PARTNERS)
    assert world.bot.slack._records.subscriptions.digests() == []
    await world.press("Post it here anyway", on=card)
    said = await world.card("on mon,wed at 09:30 Europe/Berlin", to=PARTNERS)
    assert "`*.demo.test`" in words(said)
    card = await world.ask("/ssl notices here *.demo.test all", "shared with other", to=PARTNERS)
    await world.press("Post it here anyway", on=card)
    await world.card("and what is renewed, added or removed", "`*.demo.test`", to=PARTNERS)
    known = world.bot.records.subscriptions
    for kind in "digest", "notices":  # the channel may have been shared since
        before = known.get(kind, PARTNERS)
        await world.ask(f"/ssl {kind} off", "of this channel", to=PARTNERS)
        card = await world.ask(f"/ssl {kind} resume", "shared with other", to=PARTNERS)
        assert getattr(known.get(kind, PARTNERS), "off", None)
        await world.press("Post it here anyway", on=card)
        await world.settled()
        assert known.get(kind, PARTNERS) == before


@pytest.mark.slow
async def test_the_form_sets_up_a_digest_and_what_can_not_be_read_none(world: World) -> None:
    for typed, said in (
        ("digest here at 25:00", "is not a time of day"),
        ("digest here at 09:00 expires<30", "Filter by host or port"),
        ("digest here mon at 8 wed at 9", "one time for all its days"),
        ("digest here at 09:00 and 17:00", "one time for all its days"),
        ("digest here at 09:00 port=443 port>=8000", "Filter by host or port"),
        ("digest here at 09:00 port=100-200 port=443", "Filter by host or port"),
        ("digest here 9", "write at 09:00, or port=443"),
        ("digest here at 09:00 Europe/Nowhere", "is not a time zone"),
        ("digest pause", "needs a length, such as 3d."),
        ("digest pause 900d", "A pause lasts from 1m to 90d"),
        ("notices here mention @nobody-here", "There is no user group @nobody-here. Use the"),
        ("notices here mention @Дежурные", "There is no user group @дежурные. Use the"),
        ("notices here mention S0NOBODY", "There is no user group S0NOBODY"),
        ("notices here mention U0NOBODY", "There is no active person U0NOBODY"),
        ("notices here mention support", "is neither a user group nor an ID"),
        ("notices here mention @oncall mention U0BEN", "Only one user group or person"),
    ):
        await world.ask(f"/ssl {typed}", said, to=GENERAL)
    assert world.bot.slack._records.subscriptions.digests() == []
    assert world.bot.slack._records.subscriptions.notices() == []

    for typed in ("digest here at 09:00", "digest here", "/ssl digest here"):
        await world.ask(typed, "Type this in the channel", to="D0ANN")

    await world.say("/ssl digest here", to=GENERAL)
    form = await world.modal("Daily digest")
    faults = await world.submit(form, at="25:00", zone="UTC", days="daily", about="")
    assert "is not a time of day" in faults["at"]
    await world.submit(form, at="10:15", zone="europe/berlin", days="sat", about="port=443")
    await world.modal("on sat at 10:15 Europe/Berlin", "`port=443`")
    (made,) = world.bot.slack._records.subscriptions.digests()
    assert (made.channel, made.at, made.days) == (GENERAL, time(10, 15), (5,))
    await world.say("/ssl digest here", to=GENERAL)  # the form shows what is set up
    again = await world.modal("Daily digest")
    shown = [block["element"].get("initial_value") for block in again.blocks]
    assert shown == ["10:15", "Europe/Berlin", "sat", "port=443"]


# Notices


def watcher(world: World) -> Notices:
    bot = world.bot
    records = bot.slack._records
    made = make_notices(
        Settings(),
        bot.api,
        bot.database,
        bot.web,
        records,
        boards=bot.slack._boards,
        now=world.clock,
    )
    assert made is not None
    return made


def told(world: World, channel: str = GENERAL) -> list[str]:
    return [m.text.partition(":")[0] for m in world.seen(to=channel, by=BEN)][1:]


async def test_a_channel_is_told_of_its_hosts_alone(world: World) -> None:
    ours, others = world.api.add("a.shop.test"), world.api.add("b.demo.test")
    notices = watcher(world)
    await world.say("/ssl notices here *.shop.test mention U0BEN", to=GENERAL)
    await world.card("Ann set up notices", "`*.shop.test`", to=GENERAL, by=BEN)
    await notices.tick()
    for number in (ours, others):
        world.api.rows[number]["ssl_valid"] = False
    await notices.tick()
    assert told(world) == ["Newly broken"]
    await world.card("a.shop.test", "<@U0BEN>", to=GENERAL, by=BEN)


async def test_a_user_group_is_mentioned_by_its_handle(world: World) -> None:
    world.slack.usergroups["S0ONCALL"] = {"id": "S0ONCALL", "handle": "oncall", "users": []}
    world.slack.faults.add("usergroups.list", refusal("missing_scope"))
    await world.ask("/ssl notices here mention @OnCall", "look up @oncall", "scope", to=GENERAL)
    await world.say("/ssl notices here mention @OnCall", to=GENERAL)
    await world.card("New breakages mention <!subteam^S0ONCALL>", to=GENERAL)
    await world.say("/ssl notices here *.demo.test", to=GENERAL)
    await world.card("`*.demo.test`", "<!subteam^S0ONCALL>", to=GENERAL)  # it stays
    await world.ask("/ssl notices here mention nobody", "Nobody is mentioned", to=GENERAL)


@pytest.mark.slow
async def test_only_who_asks_for_all_is_told_of_renewals(world: World) -> None:
    renewed, removed = world.api.add("a.shop.test", days=40), world.api.add("b.demo.test")
    notices = watcher(world)
    await world.ask("/ssl notices here all", "Ann set up notices", to=GENERAL, seen_by=BEN)
    await world.ask("/ssl notices here", "Ann set up notices", seen_by=BEN)
    await notices.tick()
    world.api.renew(renewed, days=89)
    world.api.add("c.demo.test")
    del world.api.rows[removed]
    await notices.tick()
    assert sorted(told(world)) == ["Added", "Renewed"]
    await notices.tick()  # a monitor is gone once two complete lists were without it
    assert "b.demo.test is no longer monitored" in told(world)[-1]
    await notices.tick()
    assert len(told(world)) == 3
    assert told(world, CERTS) == []


async def test_the_next_digest_counts_what_nobody_was_told_of(digest_world: World) -> None:
    world = digest_world
    world.api.add("shop.demo.test", days=2)
    notices = watcher(world)
    await notices.tick()
    world.api.add("new.demo.test")
    await notices.tick()
    assert "Added" not in " ".join(words(m) for m in world.seen())
    world.later(hours=2)
    await world.bot.digests.tick()
    await world.card("Since yesterday: 1 added.")
    world.api.add("newer.demo.test")
    world.later(hours=2)
    await notices.tick()
    world.later(hours=22)
    await world.bot.digests.tick()
    await world.card("Since the last digest: 1 added.")


@pytest.mark.slow
async def test_a_channel_is_not_told_later_what_it_missed(world: World) -> None:
    number = world.api.add("a.shop.test")
    notices = watcher(world)
    await world.ask("/ssl notices here", "Ann set up notices", to=GENERAL, seen_by=BEN)
    await notices.tick()
    await world.ask("/ssl notices pause 2h", "The notices of this channel are paused", to=GENERAL)
    world.api.rows[number]["ssl_valid"] = False
    await notices.tick()
    world.later(hours=3)
    await notices.tick()
    assert "Newly broken" not in " ".join(told(world))
    await world.ask("/ssl notices", "*Notices* · on", "*Digest* · none in this channel", to=GENERAL)

    number = world.api.add("b.shop.test")
    await notices.tick()
    await world.ask("/ssl notices off", "The notices of this channel are off", to=GENERAL)
    world.api.rows[number]["ssl_valid"] = False
    await notices.tick()
    await world.ask("/ssl notices resume", "The notices of this channel are on again", to=GENERAL)
    await notices.tick()
    assert "Newly broken" not in " ".join(told(world))

    number = world.api.add("c.shop.test")
    await notices.tick()
    world.api.rows[number]["ssl_valid"] = False
    world.slack.faults.add("chat.postMessage", refusal("not_in_channel"))
    await notices.tick()
    await world.ask("/ssl notices off", "The notices of this channel are off", to=GENERAL)
    await notices.tick()
    await world.ask("/ssl notices resume", "The notices of this channel are on again", to=GENERAL)
    await notices.tick()
    assert "Newly broken" not in " ".join(told(world))


# What people write


def test_times_days_and_zones_are_read_as_people_write_them() -> None:
    assert [parse_clock(text) for text in ("9", "09:00", "9am", "12am", "5.30pm", "Noon")] == [
        *[time(9)] * 3, time(0), time(17, 30), time(12),
    ]  # fmt: skip
    assert [parse_days(text) for text in ("daily", "weekday", "tue,Mon", "fri-Mondays")] == [
        tuple(range(7)), tuple(range(5)), (0, 1), (0, 4, 5, 6),
    ]  # fmt: skip
    assert days_text(parse_days("sun,sat")) == "weekends"
    assert {parse_zone(text) for text in ("europe/berlin", "Berlin")} == {"Europe/Berlin"}
    assert parse_zone("new york") == "America/New_York"


@pytest.mark.slow
async def test_a_digest_is_set_up_in_usual_words_only(world: World) -> None:
    for typed, told in (
        ("9am Berlin", "every day at 09:00 Europe/Berlin"),
        ("every weekday at 9:30 am New York time", "on weekdays at 09:30 America/New_York"),
        ("mon, wed and friday at noon in UTC", "on mon,wed,fri at 12:00 UTC"),
        ("Monday to Thursday at 17.30", "on mon,tue,wed,thu at 17:30 UTC"),
        ("daily at 9 for *.demo.test", "every day at 09:00 UTC, only about *.demo.test"),
        ("host=localhost", "every day at 09:00 UTC, only about *localhost*"),
        ("at 9 a.m. UTC, Mon - Fri", "on weekdays at 09:00 UTC. "),
        ("um 9 daily", "every day at 09:00 UTC. "),
        ("at 9h30 about *.demo.test and port 443", "09:30 UTC, only about *.demo.test port=443."),
        ("from 9:00 *.demo.test port=443 port=8443 port=9", "*.demo.test port=443,8443,9."),
    ):
        await world.ask(f"/ssl digest here {typed}", "posts a digest", told)
    before = world.bot.records.subscriptions.get("digest", CERTS)
    for typed in (
        "weekly",
        "every other day",
        "at 9 Berln",
        "9am CEST",
        "9am UTC+2",
        "mail",
        "at 9 München",
        "at 9 not *.demo.test",
        "at 9 mention @oncall",
    ):
        await world.ask(f"/ssl digest here {typed}", "NOT UNDERSTOOD", "09:00 Europe/Berlin")
    await world.ask("/ssl notices here for *.demo.test and port 443", "`*.demo.test port=443`")
    await world.ask("/ssl notices here all mention <@U0BEN|ben>", "New breakages mention <@U0BEN>")
    for typed, told in (("off here", "is off"), ("on", "is on again"), ("stop", "is off")):
        await world.ask(f"/ssl digest {typed}", f"digest of this channel {told}")
    await world.ask("/ssl digest on", "is on again")
    before = world.bot.records.subscriptions.get("digest", CERTS)
    await world.ask("/ssl notices here only for mail", "NOT UNDERSTOOD", "`*mail*`")
    assert world.bot.records.subscriptions.get("digest", CERTS) == before


def test_a_selection_of_ports_takes_what_the_filter_of_the_list_takes() -> None:
    for ports in ["443,8443", "!25", ">=443", ">442", "100-9000"]:
        chosen = Selection(ports=ports)
        assert chosen.takes(Target("a.test", 443))
        assert not chosen.takes(Target("a.test", 25))
