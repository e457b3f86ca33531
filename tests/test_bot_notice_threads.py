"""A notice: edited to what is true now, followed up in its thread; and who is woken."""

import asyncio
from typing import Any

import pytest

from bot.playground.faults import rate_limit, refusal
from bot.playground.objects import ANN, BEN, CERTS, GENERAL, PostedMessage
from bot.slack.notices import LEASE, Notices
from bot.store.notices import EVENT
from tests.card_values import NOW
from tests.test_bot_notices import HOST, begun, newly_broken, watcher
from tests.world import World, labels, words


def messages(world: World) -> list[PostedMessage]:
    """The notices themselves, oldest first."""
    notices = [m for m in world.seen(by=BEN) if (m.metadata or {}).get("event_type") == EVENT]
    return [m for m in notices if m.thread_ts is None]


def replies(world: World, to: PostedMessage) -> list[str]:
    return [m.text for m in world.seen(by=BEN) if m.thread_ts == to.ts]


def set_state(world: World, number: int, **fields: Any) -> None:
    world.api.rows[number] |= {"ssl_valid": False, "ssl_message": "Self-signed"} | fields


async def test_a_fixed_notice_is_struck_through_with_who_had_it(world: World) -> None:
    number, notices = await newly_broken(world)
    (posted,) = messages(world)
    await world.press("I'll take it", on=posted, by=BEN)
    await world.card("Newly broken", "🙋 Ben", by=ANN)
    await world.settled()
    await world.bot.records.refresh_rules()
    world.later(minutes=45)
    world.api.renew(number, days=80)
    await notices.tick()
    (posted,) = messages(world)
    assert "~*Newly broken*~" in words(posted)
    assert "~`api.demo.test`~" in words(posted)
    assert "✅ fixed, seen <!date^1795421700^{time}|23 Nov 2026 08:15 UTC> · 🙋 Ben" in words(
        posted
    )
    assert "✅ Fixed: api.demo.test" in replies(world, posted)
    await world.bot.records.refresh_rules()
    assert world.bot.records.rules.marks.claims == {}  # if it breaks again, nobody has it


async def test_what_gets_worse_is_a_message_of_its_own(world: World) -> None:
    world.api.add(HOST, days=9)
    notices = await begun(world)
    world.later(days=8, hours=17)
    await notices.tick()
    world.later(hours=7)
    await notices.tick()
    urgent, broken = messages(world)
    assert "*Renew now*" in words(urgent)
    assert "*Newly broken*" in words(broken)
    assert "🔴 *EXPIRED*" in words(urgent)
    assert "🔴 *EXPIRED*" in words(broken)


async def test_a_certificate_of_many_hosts_is_one_message(world: World) -> None:
    numbers = world.api.add_many(3, days=80, ssl_fingerprint="ab" * 32)
    set_state(world, numbers[2])
    notices = await begun(world)
    for number in numbers[:2]:
        set_state(world, number)
    world.api.rows[numbers[2]]["ssl_valid"] = True
    await notices.tick()
    assert replies(world, messages(world)[0]) == ["✅ Fixed: h2.demo.test"]
    set_state(world, numbers[2])
    world.later(minutes=15)
    await notices.tick()
    (posted,) = messages(world)
    assert "`h0.demo.test` and 2 more" in words(posted)
    assert posted.text.endswith(" and 2 more")
    assert replies(world, posted)[1:] == ["Newly broken: h2.demo.test"]
    for number in numbers:
        world.api.renew(number, days=80)
    await notices.tick()
    (posted,) = messages(world)
    assert "~*Newly broken*~" in words(posted)
    assert "~`h0.demo.test`~ and 2 more" in words(posted)
    assert replies(world, posted)[2:] == ["✅ Fixed: 2 monitors"]  # once a day


@pytest.mark.slow
async def test_what_is_fixed_the_next_day_is_a_new_message(world: World) -> None:
    number, notices = await newly_broken(world)
    world.later(days=1)
    world.api.renew(number, days=80)
    await notices.tick()
    first, second = messages(world)
    assert "~`api.demo.test`~" in words(first)
    assert "*✅ Fixed*" in words(second)
    for posted in (first, second):  # a row that is being scanned counts as what it was
        before = words(posted).partition("\n")[0]
        held = world.api.hold("monitor/scan")
        await world.press("Rescan", on=posted, by=BEN)
        await world.card("⏳ *Scanning…*", by=BEN)
        assert words(again(world, posted)).partition("\n")[0] == before
        held.release()
        await world.settled()
    world.later(hours=1)
    set_state(world, number)
    await notices.tick()
    await world.card("*✅ Fixed* · changed again", "NOT TRUSTED", by=BEN)
    assert len(messages(world)) == 3


async def test_an_urgent_host_that_answers_again_causes_a_notice(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    set_state(world, number, ssl_expire_date_end=None, ssl_message="The scan timed out")
    await notices.tick()
    world.api.renew(number, days=0.5)
    await notices.tick()
    assert [m.text.partition(":")[0] for m in messages(world)] == ["Newly broken", "Renew now"]


async def test_an_edit_that_slack_refused_is_made_later_also_by_another_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, notices = await newly_broken(world)
    world.api.renew(number, days=80)
    world.slack.faults.add("chat.update", rate_limit(600))
    await notices.tick()
    assert "~`api.demo.test`~" not in words(messages(world)[0])
    monkeypatch.setattr("bot.store.digests.MINUTE", 0)
    async with world.running_bot() as other:
        await other.slack._boards.catch_up()
        assert "~`api.demo.test`~" in words(messages(world)[0])
    edits = [call for call in world.slack.traffic if call["name"] == "chat.update"]
    await notices.tick()
    assert [call for call in world.slack.traffic if call["name"] == "chat.update"] == edits


@pytest.mark.slow
async def test_two_replicas_that_see_a_fix_edit_once_and_reply_once(world: World) -> None:
    number = world.api.add(HOST, days=80)
    async with world.running_bot() as other:
        both = [watcher(world, world.bots[0]), watcher(world, other)]
        for fields in ({"ssl_valid": True}, {"ssl_valid": False}, {"ssl_valid": True}):
            world.api.rows[number] |= fields
            for _ in range(2):
                await asyncio.gather(*(each.tick() for each in both))
    (posted,) = messages(world)
    assert "~`api.demo.test`~" in words(posted)
    assert replies(world, posted) == ["✅ Fixed: api.demo.test"]


async def test_a_reply_whose_confirmation_was_lost_is_not_repeated(world: World) -> None:
    number, notices = await newly_broken(world)
    world.api.renew(number, days=80)
    world.slack.faults.add("chat.postMessage", refusal("internal_error", after=True))
    await notices.tick()
    world.later(seconds=LEASE.total_seconds() + 1)
    await notices.tick()
    await notices.tick()
    assert replies(world, messages(world)[0]) == ["✅ Fixed: api.demo.test"]


@pytest.mark.slow
async def test_without_the_history_a_notice_is_repeated_once(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    set_state(world, number)
    world.slack.faults.add("chat.postMessage", refusal("fatal_error", after=True), times=2)
    world.slack.faults.add("conversations.history", refusal("missing_scope"), times=99)
    for _ in range(6):
        await notices.tick()
        world.later(seconds=LEASE.total_seconds() + 1)
    assert len(messages(world)) == 2
    world.api.renew(number, days=80)
    await notices.tick()
    assert [m.text for m in messages(world)[2:]] == ["✅ Fixed: api.demo.test"]


async def test_a_notice_that_could_not_be_posted_for_a_day_is_dropped(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    set_state(world, number)
    world.slack.faults.add("chat.postMessage", refusal("not_in_channel"))
    await notices.tick()
    world.later(days=1, minutes=1)
    await notices.tick()
    assert messages(world) == []


async def test_a_notice_that_is_over_before_its_post_wakes_nobody(world: World) -> None:
    numbers = world.api.add_many(2, days=80)
    notices = await begun(world, notice_mention="S0ONCALL")
    for number in numbers:
        set_state(world, number)
    world.slack.faults.add("chat.postMessage", rate_limit(1200))
    await notices.tick()
    world.later(minutes=15)
    world.api.renew(numbers[0], days=80)
    await notices.tick()
    assert messages(world) == []  # Slack has asked to wait
    world.later(minutes=15)
    await notices.tick()
    await notices.tick()
    over, broken = messages(world)
    assert "S0ONCALL" in words(broken)
    assert "~*Newly broken*~" in words(over)
    sent = [str(each["request"]) for each in world.slack.traffic]
    assert not any("S0ONCALL" in each and "h0.demo" in each for each in sent[1:])
    assert replies(world, over) == ["✅ Fixed: h0.demo.test"]


@pytest.mark.slow
async def test_what_follows_up_a_deleted_notice_is_posted_in_the_channel(world: World) -> None:
    numbers = world.api.add_many(2, days=80)
    notices = await begun(world)
    set_state(world, numbers[0])
    await notices.tick()
    (posted,) = messages(world)
    world.slack.remove(posted)
    world.api.renew(numbers[0], days=80)
    set_state(world, numbers[1])
    world.slack.faults.add("chat.postMessage", refusal("internal_error"))
    await notices.tick()
    world.later(seconds=LEASE.total_seconds() + 1)
    await notices.tick()
    await notices.tick()
    told = sorted(m.text.partition(" NOT")[0] for m in messages(world))
    assert told == ["Newly broken: h1.demo.test", "✅ Fixed: h0.demo.test"]


async def test_a_notice_that_slack_rejects_holds_up_no_other(world: World) -> None:
    numbers = world.api.add_many(2, days=80)
    notices = await begun(world)
    for number in numbers:
        set_state(world, number)
    world.slack.faults.add("chat.postMessage", refusal("msg_too_long"))
    await notices.tick()
    assert len(messages(world)) == 2  # the second, and then the first again


async def test_new_notices_do_not_wait_for_the_edits_of_old_ones(world: World) -> None:
    numbers = world.api.add_many(3, days=80)
    notices = await begun(world)
    set_state(world, numbers[0])
    await notices.tick()
    world.api.renew(numbers[0], days=80)
    set_state(world, numbers[1])
    slow = world.slack.faults.hold("chat.update")
    first = asyncio.create_task(notices.tick())
    await asyncio.wait_for(slow.reached.wait(), 5)
    sent = [each["name"] for each in world.slack.traffic if each["name"].startswith("chat.")]
    assert sent == ["chat.postMessage"] * 3 + ["chat.update"]
    set_state(world, numbers[2])
    await asyncio.wait_for(notices.tick(), 5)  # the edit goes on
    assert len(messages(world)) == 3
    slow.release()
    await first
    assert "~`h0.demo.test`~" in words(messages(world)[0])


async def test_a_post_that_can_not_be_deleted_holds_up_no_other_notice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = world.api.add_many(2, days=80)
    notices = await begun(world)
    for number in numbers:
        set_state(world, number)

    async def earlier(key: str, _ts: str) -> str:
        await note(key, "1.1")
        return "1.1"

    note = notices._store.posted
    monkeypatch.setattr(notices._store, "posted", earlier)
    world.slack.faults.add("chat.delete", refusal("cant_delete_message"))
    await notices.tick()
    assert len(messages(world)) == 1  # the first could not be deleted, the second could


def again(world: World, posted: PostedMessage) -> PostedMessage:
    return next(m for m in messages(world) if m.ts == posted.ts)


async def test_an_unknown_state_is_not_called_fixed(world: World) -> None:
    number, notices = await newly_broken(world)
    unknown: list[dict[str, Any]] = [
        {"ssl_valid": None},
        {"scan_date": None, "ssl_valid": None, "ssl_expire_date_end": None},
    ]
    for fields in unknown:
        set_state(world, number, **fields)
        await notices.tick()
        (posted,) = messages(world)
        assert "⚪" in words(posted)
        assert str(posted.blocks[0]["text"]["text"]).startswith("*Newly broken*")
        assert posted.text.startswith("Newly broken")


@pytest.mark.slow
async def test_a_deleted_monitor_is_not_called_fixed_whatever_a_note_says(world: World) -> None:
    number = world.api.add(HOST, days=80)
    notices = await begun(world)
    await world.bot.records.marks.note([HOST], "No longer monitored, seen <!date", by=BEN, now=NOW)
    await world.bot.records.reread()
    set_state(world, number)
    await notices.tick()
    await world.say(f"/ssl take {HOST}", by=BEN)
    await world.settled()
    await notices.tick()
    (posted,) = messages(world)
    assert posted.text.startswith("Newly broken")
    del world.api.rows[number]
    await notices.tick()
    (posted,) = messages(world)
    assert posted.text.startswith("No longer monitored. When posted: Newly broken")


# Who is woken


@pytest.mark.slow
async def test_the_first_notice_of_a_channel_offers_to_mention_a_group(world: World) -> None:
    numbers = world.api.add_many(3, days=80)
    notices = await begun(world)
    set_state(world, numbers[0])
    set_state(world, numbers[1])
    await notices.tick()
    world.slack.usergroups["S0ONCALL"] = {"id": "S0ONCALL", "handle": "oncall", "users": []}
    first, second = messages(world)
    assert "Nobody is mentioned when a host breaks." in words(first)
    assert "Mention a group" not in labels(second)

    await world.press("Mention a group", on=first)
    form = await world.modal("Mention a group", "@oncall", "Nobody", "Or a person")
    one = {"whom": "Choose a user group or enter a person's ID, not both."}
    assert await world.submit(form) == one
    assert await world.submit(form, whom="@oncall", person="U0BEN") == one
    assert await world.submit(form, whom="", person="Ben") == {
        "person": "“Ben” is neither a user group nor an ID. Use @oncall, or the ID from a "
        "profile, for example U0123ABC."
    }
    await world.ask("/ssl notices here mention U0BEN", "New breakages mention <@U0BEN>")
    assert await world.submit(form, whom="nobody", person="") == {}
    assert "U0BEN" not in words(await world.modal("Nobody is mentioned."))
    await world.ask("/ssl audit", "mention nobody")
    await world.press("Mention a group", on=first)
    form = await world.modal("Mention a group", "Nobody")
    assert await world.submit(form, whom="@oncall", person="") == {}
    await world.modal("New breakages mention <!subteam^S0ONCALL>")
    await world.card("Ann chose whom new breakages mention", by=BEN)
    await notices.tick()
    assert "mention" not in words(messages(world)[0]).lower()
    set_state(world, numbers[2])
    await notices.tick()
    assert "<!subteam^" in words(messages(world)[-1])


async def test_whoever_may_not_change_things_may_not_choose_whom_to_wake(world: World) -> None:
    await newly_broken(world)
    world.bot.slack._access._admins = frozenset({ANN})
    (posted,) = messages(world)
    await world.press("Mention a group", on=posted, by=BEN)
    await world.modal("To make this change, ask", by=BEN)
    assert world.bot.records.subscriptions.mention_of(CERTS) == ""


async def test_a_channel_without_notices_says_how_to_set_them_up(world: World) -> None:
    await world.ask("/ssl notices here", "Between digests, the bot posts here", to=GENERAL)
    notices = await begun_elsewhere(world)
    number = world.api.add(HOST, days=80)
    await notices.tick()
    set_state(world, number)
    await notices.tick()
    (posted,) = [m for m in world.seen(to=GENERAL, by=BEN) if "Newly broken" in m.text]
    await world.ask("/ssl notices off", "are off", to=GENERAL)
    await world.press("Mention a group", on=posted)
    form = await world.modal("Mention a group")
    assert await world.submit(form, whom="U0BEN") == {}
    await world.modal("This channel gets no notices.")


async def begun_elsewhere(world: World) -> Notices:
    from tests.test_bot_channels import watcher as any_watcher  # noqa: PLC0415

    notices = any_watcher(world)
    await notices.tick()
    return notices
