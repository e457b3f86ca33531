"""Who may look, scan and change, at every door; and the log of changes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest
import pytest_asyncio

from bot.blocks import text_input
from bot.commands import router
from bot.playground.faults import refusal
from bot.playground.objects import ANN, BEN, BOT_USER, GUS, OLGA, PARTNERS, Json
from tests.world import MakeWorld, World, words

BOT = "@SSLmonitor"
GROUP = "S0ADMINS"


@pytest_asyncio.fixture
async def ruled_world(make_world: MakeWorld) -> AsyncIterator[World]:
    """A world where Ann may change things, and whoever is in the group of admins."""
    admins = f"{ANN}, {GROUP}"
    async with make_world(SSL_ADMINS=admins) as running:
        running.slack.usergroups[GROUP] = {"id": GROUP, "handle": "admins", "users": []}
        yield running


# Guests


async def test_a_guest_is_refused_at_every_door(world: World) -> None:
    await world.say("/ssl add", by=GUS)  # the form is open before it is known who asks
    await world.modal("FULL MEMBERS ONLY", by=GUS)
    for line in ("/ssl list", "/ssl add a.demo.test", "/ssl help", "/ssl nope", f"{BOT} list"):
        card = await world.ask(line, "FULL MEMBERS ONLY", "full member", by=GUS)
        assert card.ephemeral_for == GUS
    await world.ask("list", "FULL MEMBERS ONLY", by=GUS, to="D0GUS")
    await world.open_home("FULL MEMBERS ONLY", by=GUS)
    await world.say("/ssl add")
    his = world.slack.push_modal(GUS, (await world.modal("Add hosts")).content)
    await world.submit(his, by=GUS, targets="a.demo.test")
    await world.modal("FULL MEMBERS ONLY", by=GUS)
    await world.settled()
    assert (world.api.work, world.seen()) == ([], [])

    world.api.add("api.demo.test")
    card = await world.ask("/ssl scan api.demo.test", "asked by Ann", "Rescan")
    await world.settled()
    before = words(card)
    world.api.calls.clear()
    await world.press("Rescan", on=card, by=GUS)
    await world.settled()
    *_, told = world.seen(by=GUS)
    assert "FULL MEMBERS ONLY" in words(told)
    assert (told.ephemeral_for, words(card), world.api.work) == (GUS, before, [])


# People whom the payload takes for ours


async def test_a_stranger_whom_the_payload_calls_ours_changes_nothing(world: World) -> None:
    world.slack.users[BEN].is_stranger = True
    await world.ask("/ssl list", "MEMBERS ONLY", by=BEN)
    assert world.api.work == []

    world.api.add("api.demo.test")
    await world.say(f"{BOT} delete api.demo.test", to=PARTNERS)
    card = await world.card("Delete the monitor for", to=PARTNERS, by=OLGA)
    await world.press("Delete", on=card, by=OLGA)
    await world.card("MEMBERS ONLY", by=OLGA, to=PARTNERS)
    await world.settled()
    assert len(world.api.rows) == 1


# Admins


async def test_non_admins_may_look_and_scan_and_learn_who_may_change(ruled_world: World) -> None:
    world = ruled_world
    world.api.add("api.demo.test")
    await world.ask("/ssl digest", "Certificates now", by=BEN)
    for typed in ("digest here at 09:00", "digest off", "notices here", "notices pause 1d"):
        await world.say(f"/ssl {typed}", by=BEN)
    await world.settled()
    refused = [m for m in world.seen(by=BEN) if "To make this change, ask" in words(m)]
    assert len(refused) == 4
    assert world.bot.slack._records.subscriptions.digests() == []
    await world.ask("/ssl status api.demo.test", "`api.demo.test`", by=BEN)
    await world.ask("/ssl scan api.demo.test", "asked by Ben", by=BEN)
    await world.settled()

    world.api.calls.clear()
    for line in ("/ssl add a.demo.test", "/ssl delete api.demo.test"):
        card = await world.ask(line, "ADMINS ONLY", f"<@{ANN}>", by=BEN)
        await world.settled()
        assert f"<!subteam^{GROUP}>" in words(card)
        assert card.ephemeral_for == BEN
        assert world.api.work == []
    await world.say("/ssl add", by=BEN)
    await world.modal("ADMINS ONLY", by=BEN)

    card = await world.ask("/ssl status a.demo.test", "NOT MONITORED", by=BEN)
    before = sum("ADMINS ONLY" in words(message) for message in world.seen(by=BEN))
    await world.press("Add", on=card, by=BEN)
    await world.settled()
    assert sum("ADMINS ONLY" in words(message) for message in world.seen(by=BEN)) == before + 1
    assert len(world.api.rows) == 1

    world.slack.usergroups[GROUP]["users"] = [BEN]
    world.later(minutes=11)
    await world.ask("/ssl add a.demo.test", "Ben added `a.demo.test`.", by=BEN, seen_by=ANN)


#: The fields of each form.
FORMS: dict[str, dict[str, str]] = {
    "add_now": {"targets": "a.demo.test"},
    "note": {"which": "a.demo.test"},
    "digest_here": {"at": "09:00"},
    "notices_mention": {"whom": "nobody"},
}


@pytest.mark.slow
@pytest.mark.parametrize("who", [BEN, GUS, OLGA])
async def test_each_command_asks_at_each_door_who_may_run_it(who: str, ruled_world: World) -> None:
    world, refused = ruled_world, dict[tuple[str, str], bool]()

    async def note(name: str, door: str, knock: Callable[[], Awaitable[object]]) -> None:
        counter = world.bot.slack._metrics.commands.labels(name, "refused")._value
        before = counter.get()
        await knock()
        await world.settled()
        modal = world.slack.modal(who) if door == "form" else None
        refused[name, door] = "ONLY" in words(modal) if modal else counter.get() > before

    for name, command in router.commands.items():
        button = {"type": "button", "action_id": f"ssl:{name}:here", "value": "",
                  "text": {"type": "plain_text", "text": name}}  # fmt: skip
        blocks: list[Json] = [{"type": "actions", "elements": [button]}]
        shown = world.slack.post(PARTNERS, BOT_USER, name, blocks=blocks)
        if name != "menu":  # an overflow menu, whose options name the commands
            await note(name, "button", partial(world.press, name, on=shown, by=who))
        if command.typed and not command.form:
            said = f"{BOT} {command.words}"
            await note(name, "typed", partial(world.say, said, by=who, to=PARTNERS))
        if fields := FORMS.get(name):
            content = {"type": "modal", "callback_id": f"ssl:{name}", "private_metadata": PARTNERS,
                       "title": {"type": "plain_text", "text": name}, "submit": button["text"],
                       "blocks": [text_input(field, field) for field in fields]}  # fmt: skip
            form = world.slack.push_modal(who, content)
            await note(name, "form", partial(world.submit, form, by=who, **fields))
    assert {door for _, door in refused} == {"button", "typed", "form"}
    may_not = {name for name, each in router.commands.items() if who != BEN or each.changes}
    wrong = [key for key, was in refused.items() if was is not (key[0] in may_not)]
    assert wrong == []


# What waits until it is known who asks


async def test_nobody_is_looked_up_for_whoever_is_refused(ruled_world: World) -> None:
    world = ruled_world
    world.api.add("api.demo.test")
    button = {"type": "button", "action_id": "ssl:form:here", "value": "notices_mention {}",
              "text": {"type": "plain_text", "text": "Mention"}}  # fmt: skip
    blocks: list[Json] = [{"type": "actions", "elements": [button]}]
    shown = world.slack.post(PARTNERS, BOT_USER, "", blocks=blocks)
    await world.press("Mention", on=shown, by=GUS)
    await world.modal("FULL MEMBERS ONLY", by=GUS)
    lines = {
        GUS: f"note api.demo.test ask <@{OLGA}>",
        BEN: f"mute api.demo.test <@{OLGA}> moves it",
    }
    for who, line in lines.items():
        for typed in (f"/ssl {line}", f"{BOT} {line}"):
            await world.ask(typed, "ONLY", by=who)
    await world.settled()
    called = {entry["name"] for entry in world.slack.traffic}
    assert "usergroups.list" not in called
    assert OLGA not in world.bot.slack._access._people

    await world.ask(f"/ssl note api.demo.test ask <@{OLGA}>", "ask @Olga")


async def test_home_is_not_shown_again_to_whoever_has_become_a_guest(world: World) -> None:
    world.api.add("api.demo.test", days=5.5)
    await world.press("Rescan", on=await world.open_home("1 monitor"))
    await world.settled()
    home = await world.home("· Ann")
    world.slack.users[ANN].is_restricted = True
    world.later(minutes=11)
    world.api.calls.clear()
    await world.press("Scan & watch", on=home)
    await world.modal("FULL MEMBERS ONLY")
    await world.settled()
    assert world.api.work == []


# Where Slack can't be asked


async def test_while_slack_knows_nobody_they_may_read_but_not_change(world: World) -> None:
    world.api.add("api.demo.test")
    world.slack.faults.add("users.info", refusal("missing_scope"), times=9)

    await world.ask("/ssl status api.demo.test", "`api.demo.test`", "Rescan")
    await world.ask("/ssl add a.demo.test", "NOTHING WAS CHANGED", "Try again in a minute")
    await world.settled()
    assert world.api.asked("monitor/add") == []


async def test_whoever_has_no_name_is_called_by_their_id(world: World) -> None:
    world.api.add("api.demo.test")
    world.slack.faults.add("users.info", refusal("internal_error"), times=99)
    await world.ask(f"{BOT} scan api.demo.test", f"asked by {ANN}", "OK")
    assert "Somebody" not in "".join(map(words, world.seen()))


async def test_while_slack_does_not_list_a_group_nobody_else_may_change(ruled_world: World) -> None:
    ruled_world.slack.faults.add("usergroups.users.list", refusal("missing_scope"), times=9)

    await ruled_world.ask("/ssl add b.demo.test", "NOTHING WAS CHANGED", by=BEN)
    await ruled_world.ask("/ssl add a.demo.test", "Ann added `a.demo.test`.", seen_by=BEN)
    assert len(ruled_world.api.rows) == 1


async def test_a_group_of_admins_that_is_gone_is_not_waited_for(ruled_world: World) -> None:
    del ruled_world.slack.usergroups[GROUP]
    card = await ruled_world.ask("/ssl add b.demo.test", "ADMINS ONLY", f"<@{ANN}>", by=BEN)
    assert GROUP not in words(card)
    await ruled_world.ask("/ssl add a.demo.test", "Ann added `a.demo.test`.", seen_by=BEN)


async def test_if_all_admins_are_gone_the_operator_must_act(make_world: MakeWorld) -> None:
    async with make_world(SSL_ADMINS=GROUP) as world:
        await world.ask("/ssl add a.demo.test", "ADMINS ONLY", "Tell the bot's operator")


async def test_whoever_closes_a_form_is_still_told_that_nothing_was_done(
    ruled_world: World,
) -> None:
    form = await ruled_world.add_form()
    theirs = ruled_world.slack.push_modal(BEN, form.content)
    held = ruled_world.slack.faults.hold("users.info")
    await ruled_world.submit(theirs, by=BEN, targets="a.demo.test")
    await held.reached.wait()
    await ruled_world.playground.close_view(BEN, theirs.id)
    held.release()
    await ruled_world.card("ADMINS ONLY", by=BEN, to="D0BEN")
    assert ruled_world.api.rows == {}


async def test_slacks_answers_about_people_are_kept_also_while_it_is_silent(world: World) -> None:
    def asked() -> int:
        return sum(entry["name"] == "users.info" for entry in world.slack.traffic)

    for _ in range(3):
        await world.say("/ssl account")
        await world.settled()
    assert asked() == 1
    world.later(minutes=11)
    world.slack.users[ANN].is_restricted = True
    await world.ask("/ssl account", "FULL MEMBERS ONLY")
    assert asked() == 2
    world.later(hours=-3)  # the clock is set back
    world.slack.users[ANN].is_restricted = False
    await world.ask("/ssl account", "Monitors")
    assert asked() == 3

    await world.ask("/ssl list", "FULL MEMBERS ONLY", by=GUS)
    world.later(minutes=11)
    world.slack.faults.add("users.info", refusal("internal_error"), times=9)
    await world.say("/ssl list", by=GUS)
    await world.settled()
    assert len(world.seen(by=GUS)) == 2
    assert world.api.asked("monitor/list") == []


# The log of changes


async def test_changes_by_any_full_member_are_audited_and_nothing_else(world: World) -> None:
    world.api.add("api.demo.test")
    for line in ("status api.demo.test", "add api.demo.test", "delete api.demo.test"):
        await world.say(f"/ssl {line}")
    await world.settled()
    assert await world.bot.slack._records.audit() == []
    number = world.api.add("old.demo.test")
    await world.ask("/ssl add new.demo.test", "Ann added")
    await world.say(f"/ssl delete {number}", by=BEN)
    await world.press("Delete", on=await world.card("Delete the monitor", by=BEN), by=BEN)
    await world.card("Ben deleted")
    world.api.refuse("monitor/add", 400, "not this one")
    await world.ask("/ssl add bad.demo.test", "REFUSED")
    await world.settled()
    lines = await world.bot.slack._records.audit()
    assert [(line.user_name, line.command, line.target) for line in lines] == [
        ("Ann", "add", "bad.demo.test:443"),
        ("Ben", "delete", "old.demo.test:443"),
        ("Ann", "add", "new.demo.test:443"),
    ]
    assert "not this one" in lines[0].result
    assert lines[1].result == "deleted"
    assert lines[2].at == world.clock().replace(microsecond=0)

    await world.ask("/ssl add a.demo.test", "Ben added `a.demo.test`.", by=BEN, seen_by=ANN)


# Enterprise Grid: members have a home workspace, and perhaps several


def grid_member(world: World, user: str, *workspaces: str) -> None:
    world.slack.users[user] = replace(
        world.slack.users[user], team_id="T0002", workspaces=workspaces
    )


@pytest.mark.slow
async def test_a_member_whose_home_is_another_workspace_is_a_member(world: World) -> None:
    grid_member(world, ANN, "T0002", "T0LOCAL")
    world.api.add("api.demo.test", days=80)

    card = await world.ask("/ssl scan api.demo.test", "OK", "asked by Ann")
    await world.settled()
    await world.press("Rescan", on=card)
    await world.settled()
    await world.ask("@SSLmonitor status api.demo.test", "OK", "Rescan")
    await world.say("/ssl add")
    await world.submit(await world.modal("Hosts"), targets="new.demo.test")

    await world.card("Ann added `new.demo.test`.", by=BEN)
    await world.open_home("2 monitors")
    assert len(world.api.asked("monitor/scan")) == 2


# Limits for each user


@pytest.mark.slow
async def test_too_many_scans_are_refused_with_a_time_to_return(make_world: MakeWorld) -> None:
    async with make_world(USER_SCAN_LIMIT="3") as world:
        number = world.api.add("api.demo.test", days=80)
        for _ in range(3):
            await world.say(f"/ssl scan {number}")
            await world.settled()

        await world.ask(f"/ssl scan {number}", "user is 3 scans in 10 minutes. Try again at")
        assert len(world.api.asked("monitor/scan")) == 3
        await world.ask(f"/ssl scan {number}", "OK", "asked by Ben", by=BEN)
        world.later(minutes=10)
        await world.say(f"/ssl scan {number}")
        await world.settled()
        assert len(world.api.asked("monitor/scan")) == 5
        for _ in range(3):
            await world.say(f"/ssl scan {number}")
            await world.settled()
        world.later(hours=-3)  # the clock is set back
        await world.say(f"/ssl scan {number}")
        await world.settled()
        assert len(world.api.asked("monitor/scan")) == 8


@pytest.mark.slow
async def test_too_many_hosts_are_refused_before_any_is_added(world: World) -> None:
    await world.say("/ssl add")
    first = " ".join(f"h{n}.demo.test" for n in range(50))
    await world.submit(await world.modal("Hosts"), targets=first)
    await world.modal("Added 50 of 50 hosts.")

    await world.say("/ssl add one.demo.test two.demo.test")

    await world.card("The limit for each user is 50 added hosts in 10 minutes.")
    assert len(world.api.rows) == 50
