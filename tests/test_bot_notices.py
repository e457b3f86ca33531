"""Between digests: each change is told once, and only what is known to have changed."""

import asyncio
import itertools
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.app.composition import Bot, make_notices, notice_interval
from bot.cards.changes import compare
from bot.config import Settings
from bot.dates import DIGEST, NOTICES, Subscription
from bot.playground.faults import dropped_connection, rate_limit, refusal
from bot.playground.objects import BEN, GENERAL
from bot.severity import Rank
from bot.sighting import LastSeen
from bot.slack.notices import LEASE, Notices
from bot.store.notices import NoticeStore
from bot.store.subscriptions import Subscriptions
from tests.card_values import NOW, RULES, row
from tests.world import World, labels, words

HOST = "api.demo.test"


def watcher(world: World, bot: Bot | None = None, **settings: Any) -> Notices:
    bot = bot or world.bot
    told = Settings(digest_channel="C0CERTS", **settings)
    records = bot.slack._records
    records.subscriptions = Subscriptions(bot.database, told.subscriptions)
    made = make_notices(
        told, bot.api, bot.database, bot.web, records, boards=bot.slack._boards, now=world.clock
    )
    assert made is not None
    return made


async def begun(world: World, bot: Bot | None = None, **settings: Any) -> Notices:
    """Notices that have compared once."""
    notices = watcher(world, bot, **settings)
    await notices.tick()
    return notices


async def newly_broken(world: World, **settings: Any) -> tuple[int, Notices]:
    """A host that was fine and has broken, of which the channel was told."""
    number = world.api.add(HOST, days=80)
    notices = await begun(world, **settings)
    world.api.rows[number] |= {"ssl_valid": False, "ssl_message": "Self-signed"}
    await notices.tick()
    return number, notices


def told(world: World) -> list[str]:
    return [m.text for m in world.seen(by=BEN)]


async def test_a_breakage_and_its_fix_are_each_told_by_the_next_comparison(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    assert told(world) == []  # the first look compares with nothing

    world.api.rows[number] |= {"ssl_valid": False, "ssl_message": "Self-signed"}
    await notices.tick()
    card = await world.card("Newly broken", "`api.demo.test`", "Self-signed", by=BEN)
    assert labels(card)[:3] == ["Rescan", "Scan & watch", "I'll take it"]

    world.later(minutes=15)
    await notices.tick()
    world.api.rows[number] |= {"ssl_valid": True}
    await notices.tick()
    await world.card("✅ Fixed", "`api.demo.test`", by=BEN)
    assert len(told(world)) == 2


async def test_a_mismatch_of_a_known_certificate_may_be_older_than_its_notice(world: World) -> None:
    known, new = (world.api.add(f"{name}.demo.test", days=80) for name in ("known", "new"))
    notices = await begun(world)
    world.api.renew(new, days=90, ssl_host_match=False)
    world.api.rows[known]["ssl_host_match"] = False
    await notices.tick()
    old = "1 monitor may have been broken for longer."
    await world.card("*Newly broken*", "WRONG NAME", "`known.demo.test`", old, by=BEN)
    card = await world.card("*Newly broken*", "WRONG NAME", "`new.demo.test`", by=BEN)
    assert old not in words(card)


async def test_a_certificate_that_comes_near_its_end_is_told_without_a_scan(world: World) -> None:
    world.api.add(HOST, days=9)
    notices = await begun(world)
    world.later(days=3)
    await notices.tick()
    await world.card("Renew now", "`api.demo.test`", by=BEN)


async def test_a_claim_ends_once_the_monitor_is_renewed_even_if_it_is_muted(world: World) -> None:
    numbers = world.api.add_many(2, days=20)
    notices = await begun(world)
    for number in numbers:
        await world.ask(f"/ssl take {number}", "Taken by", f"#{number}")
    await world.ask("/ssl mute h1.demo.test for=7d", "Muted by")
    world.later(seconds=1)
    for number in numbers:
        world.api.renew(number, days=80)
    await notices.tick()
    await world.bot.records.refresh_rules()
    assert world.bot.records.rules.marks.claims == {}


async def test_monitors_with_one_certificate_and_two_verdicts_stay_apart(world: World) -> None:
    numbers = world.api.add_many(3, days=80, ssl_fingerprint="ab" * 32)
    notices = await begun(world)
    for number, matches in zip(numbers, (True, False, True), strict=True):
        world.api.rows[number] |= {"ssl_valid": False, "ssl_host_match": matches}
    await notices.tick()
    card = await world.card("*Newly broken*", "`h0.demo.test` and 1 more", by=BEN)
    assert "*WRONG NAME* · `h1.demo.test`" in words(card)


@pytest.mark.slow
async def test_a_new_issuer_causes_a_notice_and_a_muted_monitor_none(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    world.api.rows[number]["ssl_issuer"] = "Strange CA"
    await notices.tick()
    await world.card("New issuer", "`api.demo.test`", by=BEN)

    await world.ask(f"/ssl mute {HOST} for=7d", "Muted by")
    world.api.rows[number]["ssl_valid"] = False
    await notices.tick()
    await world.settled()
    assert not [text for text in told(world) if "broken" in text]
    stored = await notices._store.standings(notices._api.source)
    world.later(days=6)
    await notices.tick()
    assert await notices._store.standings(notices._api.source) is stored  # nothing is news
    world.later(days=1, minutes=1)
    await notices.tick()
    await notices.tick()
    assert told(world)[-1].startswith("Newly broken: api.demo.test")
    assert len([text for text in told(world) if "broken" in text]) == 1


@pytest.mark.slow
async def test_a_flapping_host_is_told_once_a_day(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    for _ in range(4):
        for valid in (False, True):
            world.api.rows[number]["ssl_valid"] = valid
            world.later(minutes=15)
            await notices.tick()
    posted, follow_up = world.seen(by=BEN)
    assert "~`api.demo.test`~" in words(posted)
    assert (follow_up.text, follow_up.thread_ts) == ("✅ Fixed: api.demo.test", posted.ts)


@pytest.mark.slow
async def test_many_that_break_at_once_are_one_message(world: World) -> None:
    numbers = world.api.add_many(12, days=80)
    notices = await begun(world)
    for number in numbers:
        world.api.rows[number]["ssl_valid"] = False
    await notices.tick()
    card = await world.card("12 monitors newly broken", by=BEN)
    assert "and 7 more. `/ssl list broken` shows all." in words(card)
    assert labels(card).count("Rescan") == 5
    assert "Rescan all broken" in labels(card)
    assert len(told(world)) == 1
    for number in numbers[:6]:
        world.api.rows[number]["ssl_valid"] = True
    await notices.tick()
    card = await world.card("*12 monitors newly broken* · 6 left", "6 of these are left.", by=BEN)
    assert card.text == "6 left. When posted: 12 monitors newly broken."
    for number in numbers:
        world.api.rows[number]["ssl_valid"] = True
    world.later(minutes=1)
    await notices.tick()
    card, *follow_ups = world.seen(by=BEN)
    assert ["✅ Fixed: 6 monitors" in words(each) for each in follow_ups] == [True] * 2
    assert follow_ups[1].thread_ts == card.ts
    assert "~*12 monitors newly broken*~" in words(card)
    assert "and 7 more" in words(card)
    assert "None of these needs attention now." in words(card)


async def test_an_incomplete_list_causes_no_notice(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    world.api.rows[number]["ssl_valid"] = False
    row = world.api.rows[number]
    for rows in ([row], [row, row], [row, row | {"ssl_valid": True}]):
        world.api.reply("monitor/list", {"success": 1, "count": 2, "list": rows})
        await notices.tick()
    assert told(world) == []
    for _ in range(2):
        world.api.reply("monitor/list", {"success": 1, "count": 2, "list": [row]})
        await notices.tick()
        world.later(hours=2)
    assert told(world) == ["Certificate notices are on hold: 1 monitor could not be read."]
    await notices.tick()
    await world.card("Newly broken", by=BEN)


@pytest.mark.slow
async def test_an_unreadable_row_is_told_daily_and_keeps_no_other_notice_back(world: World) -> None:
    number, odd = world.api.add(HOST, days=80), world.api.add("odd.demo.test", valid=False)
    new, fine = world.api.add("new.demo.test", valid=False), world.api.add("fine.demo.test")
    for each in (new, fine):
        world.api.rows[each]["id"] = None  # nobody knows that it isn't new once it can be read
    notices = watcher(world)
    here = Subscription(NOTICES, "C0CERTS", everything=True)
    await world.bot.records.subscriptions.put(here)
    await notices.tick()
    world.api.rows[odd]["ssl_valid"] = True
    await notices.tick()
    world.api.rows[odd]["ssl_valid"] = False
    await notices.tick()
    world.api.rows[odd] |= {"port": None, "ssl_valid": True}
    world.api.rows[number]["ssl_valid"] = False
    await notices.tick()
    assert [text.partition(":")[0] for text in told(world)] == ["✅ Fixed"] + ["Newly broken"] * 2
    for _ in range(26):
        await notices.tick()
        world.later(hours=1)
    said = "3 monitors could not be read. Notices about them may be missing."
    world.bot.scheduler.notices = notices
    assert (told(world)[3:], (await world.get("/healthz"))[1]["notices"]) == ([said] * 2, said)
    assert not any("~" in words(card) for card in world.seen(by=BEN)[1:])
    world.api.rows[odd]["port"], world.api.rows[new]["id"] = 443, new
    world.api.rows[fine]["id"] = fine
    for _ in range(2):
        await notices.tick()
        await world.card("✅ Fixed", "odd.demo.test", by=BEN)
        first = "1 monitor may have been broken for longer."
        await world.card("Newly broken", "`new.demo.test`", first, by=BEN)
        assert len(told(world)) == 7
    assert (await world.get("/healthz"))[1]["notices"] == "ok"


async def test_after_a_change_of_the_account_only_what_is_new_is_told(world: World) -> None:
    number, notices = await newly_broken(world)
    assert len(told(world)) == 1
    world.api.rows[number] |= {"host": "other.demo.test", "ssl_valid": True}
    # another account has another host under the same number
    world.api.key = world.bot.api._key = "another-key"
    await notices.tick()
    assert len(told(world)) == 1
    world.api.rows[number]["ssl_valid"] = False
    await notices.tick()
    first, second = world.seen(by=BEN)
    assert "`other.demo.test`" in words(second)
    assert "`other.demo.test`" not in words(first)


@pytest.mark.slow
async def test_another_host_with_the_id_of_a_deleted_monitor_is_neither_fixed_nor_muted(
    world: World,
) -> None:
    number, notices = await newly_broken(world)
    muted = world.api.add("muted.demo.test", days=80)
    await notices.tick()
    await world.ask(f"/ssl take {number}", "Taken by Ann")
    await world.ask(f"/ssl mute {muted} for=7d", "Muted")
    world.api.rows[number] |= {"host": "fine.demo.test", "ssl_valid": True}
    world.api.rows[muted] |= {"host": "other.demo.test", "ssl_valid": False}
    for _ in range(2):
        await notices.tick()
    assert not any("✅ Fixed:" in text for text in told(world))
    marks = world.bot.records.rules.marks
    assert (marks.claims, marks.mutes) == ({}, {})
    world.api.rows[muted]["ssl_valid"] = True
    await notices.tick()
    world.api.rows[muted]["ssl_valid"] = False
    await notices.tick()
    await world.card("Newly broken", "`other.demo.test`", by=BEN)


async def test_only_what_breaks_mentions_somebody_and_only_once(world: World) -> None:
    number, notices = await newly_broken(world, notice_mention="S0ONCALL")
    await world.card("*Newly broken* · <!subteam^S0ONCALL>", by=BEN)
    world.api.rows[number]["ssl_valid"] = True
    await notices.tick()
    await world.card("~*Newly broken*~", by=BEN)
    sent = [str(call["request"].get("blocks")) for call in world.slack.traffic]
    assert len([blocks for blocks in sent if "S0ONCALL" in blocks]) == 1


@pytest.mark.slow
async def test_two_replicas_tell_each_change_once_and_share_mutes_and_pauses(
    world: World,
) -> None:
    number = world.api.add(HOST, days=80)
    async with world.running_bot() as other:
        both = [watcher(world, world.bots[0]), watcher(world, other)]
        await asyncio.gather(*(each.tick() for each in both))
        world.api.rows[number]["ssl_valid"] = False
        await asyncio.gather(*(each.tick() for each in both))
        await asyncio.gather(*(each.tick() for each in both))
        assert len(told(world)) == 1
        muted = world.api.add("muted.demo.test")
        await both[0].tick()
        await world.ask(f"/ssl mute {muted} for=2d", "Muted by")  # the other process is told
        world.api.rows[muted]["ssl_valid"] = False
        await both[0].tick()
        await world.ask("/ssl notices off", "are off")
        world.api.rows[number]["ssl_valid"] = True
        await both[0].tick()
        world.later(hours=2)
        await world.ask("/ssl digest off", "is off")
        await world.bots[0].digests.tick()
    texts = [text for text in told(world) if " muted " not in text and "turned off" not in text]
    assert len(texts) == 1


@pytest.mark.parametrize("lost", [True, False])
async def test_a_lost_post_is_looked_up_before_it_is_repeated(lost: bool, world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    world.api.rows[number]["ssl_valid"] = False
    world.slack.faults.add("chat.postMessage", dropped_connection(after=lost))
    await notices.tick()
    world.later(seconds=LEASE.total_seconds() + 1)
    world.slack.faults.add("conversations.history", rate_limit(30))  # it can't be looked up now
    await notices.tick()
    world.later(seconds=31)
    await notices.tick()
    await notices.tick()
    assert len(told(world)) == 1


async def test_no_notice_is_lost_if_it_is_refused_or_its_process_dies(world: World) -> None:
    number, other = (world.api.add(f"{name}.demo.test", days=80) for name in "ab")
    notices = await begun(world)
    world.api.rows[number]["ssl_valid"] = False
    world.slack.faults.add("chat.postMessage", refusal("not_in_channel"))
    await notices.tick()
    assert told(world) == []
    await notices.tick()
    assert len(told(world)) == 1

    world.api.rows[other]["ssl_valid"] = False
    await notices._compare()  # and then the process is gone
    await watcher(world).tick()
    await world.card("Newly broken", "`b.demo.test`", by=BEN)


def test_notices_go_to_a_channel_of_their_own_or_the_digests_or_nowhere() -> None:
    assert Settings().notice_interval.total_seconds() == 900
    assert notice_interval(Settings(api_url="https://api.example.com/v1")).total_seconds() == 900
    assert notice_interval(Settings(api_url="http://127.0.0.1:9/api/v1")).total_seconds() == 60
    assert Settings().subscriptions == []
    (own,) = Settings(notice_channel=GENERAL).subscriptions
    assert (own.kind, own.channel) == (NOTICES, GENERAL)


RANKS = st.sampled_from([0, 1, 2, 3, 5, 6])


@given(st.lists(RANKS, min_size=2, max_size=12))
def test_over_any_history_a_monitor_is_told_broken_only_when_it_breaks(ranks: list[int]) -> None:
    """The rows of `row()` are given the rank through what was seen before."""
    fine, broken = row(id=1), row(id=1, valid=False)
    before: dict[int, LastSeen] = {}
    kinds = []
    for rank in ranks:
        shown = broken if rank == Rank.BROKEN else fine
        told, changed, _ = compare(before, [shown], NOW, RULES)
        kinds += [change.kind for change in told if change.kind != "added"]
        before |= changed
    states = [rank == Rank.BROKEN for rank in ranks]
    turns = [now for was, now in itertools.pairwise(states) if was != now]
    assert kinds == ["broken" if turn else "fixed" for turn in turns]


@pytest.mark.slow
async def test_a_comparison_of_ten_thousand_unchanged_monitors_posts_nothing(world: World) -> None:
    store, other = NoticeStore(world.bot.database), NoticeStore(world.bot.database)
    rows = {number: LastSeen(6, "CA", NOW) for number in range(10_000)}
    rows |= {7: LastSeen(6, "CA", NOW, missing=True), 8: LastSeen(3, "CA", NOW, late=True)}
    first, late = await store.standings("here"), await other.standings("here")
    assert not first.known
    assert await store.compared(first, rows, [], [], small=[], now=NOW)
    assert not await other.compared(late, {}, [], [], small=[], now=NOW)  # one comparison counts
    for each in (store, other):
        assert (await each.standings("here")).seen == rows
    assert not (await store.standings("elsewhere")).known


@pytest.mark.slow
async def test_a_day_begins_at_midnight_in_the_time_zone_of_each_channel(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = watcher(world)
    known = world.bot.records.subscriptions
    await known.put(Subscription(DIGEST, GENERAL, zone="Asia/Kathmandu"))  # UTC+05:45
    await known.put(Subscription(NOTICES, GENERAL))
    await notices.tick()
    world.later(hours=10, minutes=30)  # 18:00 UTC, 23:45 in Kathmandu
    for valid in (False, True, False):
        world.api.rows[number]["ssl_valid"] = valid
        await notices.tick()
        world.later(minutes=10)  # the second breakage is at 18:20 UTC, 00:05 in Kathmandu
    here, there = ([m.text for m in world.seen(by=BEN, to=to)] for to in ("C0CERTS", GENERAL))
    broken = [sum("Newly broken" in text for text in texts) for texts in (here, there)]
    assert broken == [1, 2]

    zones = [("C0NEW", "Europe/Berlin"), (GENERAL, "Asia/Kathmandu")]
    own = Settings(notice_channel="C0CERTS", digest_timezone=ZoneInfo("Europe/Berlin"))
    known = Subscriptions(world.bot.database, own.subscriptions)
    async with world.bot.database.read() as connection:
        await known.refresh(connection)
    assert [known.zone_of(channel).key for channel, _ in zones] == [zone for _, zone in zones]
