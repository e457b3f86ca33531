"""Adding hosts: by form and by words, with what is refused and how it is corrected."""

import asyncio

import pytest

from bot.commands.lookup import nearest
from bot.playground.objects import ANN, BEN
from tests.test_bot_forms import PASSWORD, everything_seen
from tests.world import World, labels, words

PROXY = {"proxy_host": "proxy.test", "proxy_port": "3128", "proxy_username": "me"}


@pytest.mark.slow
async def test_a_submitted_form_checks_and_can_be_corrected(world: World) -> None:
    held = world.api.hold("monitor/list")
    form = await world.add_form()
    await world.submit(form, targets="a.demo.test, b.demo.test")
    shown = await world.modal("Checking…")
    await held.reached.wait()
    held.release()
    done = await world.modal("Added 2 of 2 hosts.")
    assert shown.id == done.id == form.id

    world.api.add("old.demo.test")
    world.api.refuse("monitor/add", 400, "no such host")
    await world.say("/ssl add")
    hosts = "bad.demo.test old.demo.test good.demo.test"
    await world.submit(await world.modal("Add hosts"), targets=hosts)
    shown = await world.modal("Added 1 of 3 hosts.", "`old.demo.test` was already monitored")
    assert "`bad.demo.test` was not added: no such host." in words(shown)
    await world.press("Correct", on=shown)
    form = await world.modal("Add hosts")
    (field,) = [b for b in form.blocks if b.get("block_id") == "targets"]
    assert field["element"]["initial_value"] == "bad.demo.test"
    await world.submit(form, targets="better.demo.test")
    await world.modal("`better.demo.test`", "added")


async def test_a_correction_asks_for_what_the_api_needs_again(world: World) -> None:
    world.api.refuse("monitor/add", 400, "wrong password")
    form = await world.add_form()
    await world.submit(form, targets="a.demo.test", proxy_password=PASSWORD, **PROXY)
    await world.press("Correct", on=await world.modal("REFUSED", "wrong password"))
    form = await world.modal("Add hosts", "the bot doesn't store it")
    kept = {b["block_id"]: b["element"].get("initial_value") for b in form.blocks}
    assert kept == {"targets": "a.demo.test", "protocol": None, **PROXY, "proxy_password": None}
    assert "s3same" not in str(form.content)
    assert "s3same" not in everything_seen(world)

    world.api.refuse("monitor/add", 400, "proxies are not supported yet")
    await world.submit(form, targets="api.demo.test", **PROXY)
    await world.press("Correct", on=await world.modal("REFUSED", "not supported"))
    form = await world.modal("Add hosts", "doesn't support proxies")
    assert [b["block_id"] for b in form.blocks if "proxy" in b.get("block_id", "")] == []


async def test_progress_is_shown_at_most_every_two_seconds(world: World) -> None:
    await world.say("/ssl add")
    holds = [world.api.hold("monitor/add") for _ in range(4)]
    hosts = " ".join(f"h{number}.demo.test" for number in range(4))
    await world.submit(await world.modal("Add hosts"), targets=hosts)
    counted = []
    for number, held in enumerate(holds, 1):
        await held.reached.wait()
        modal = world.slack.modal(ANN)
        assert modal is not None
        counted.append(words(modal).splitlines()[-1])
        world.later(seconds=1.5 if number < 3 else 2.5)
        held.release()
    await world.modal("Added 4 of 4 hosts.")
    assert [line.strip("⏳ *") for line in counted] == [
        "Adding 1 of 4…", "Adding 1 of 4…", "Adding 3 of 4…", "Adding 4 of 4…"
    ]  # fmt: skip


async def test_hosts_beyond_the_quota_are_named_before_any_is_added(world: World) -> None:
    world.api.add("old.demo.test")
    world.api.limit = 2
    held = world.api.hold("monitor/add")
    await world.say("/ssl add")
    await world.submit(await world.modal("Add hosts"), targets="a.demo.test b.demo.test")
    await world.modal("Adding…", "`a.demo.test`", "`b.demo.test` was not added", "1 of 2")
    held.release()
    await world.modal("Added 1 of 2 hosts.", "Correct")
    assert len(world.api.asked("monitor/add")) == 1


async def test_a_closed_form_sends_all_results_as_a_direct_message(world: World) -> None:
    world.api.refuse("monitor/add", 400, "no such host")
    held = world.api.hold("monitor/list")
    form = await world.add_form()
    await world.submit(form, targets="bad.demo.test good.demo.test")
    await held.reached.wait()
    await world.playground.close_view(ANN, form.id)

    held.release()

    card = await world.card("Added 1 of 2 hosts.", "no such host", to="D0ANN")
    await world.press("Correct", on=card)
    await world.modal("Add hosts")


async def test_many_typed_hosts_are_shown_first_or_refused(world: World) -> None:
    await world.say("/ssl add a.demo.test b.demo.test:636 c.demo.test d.demo.test, e.demo.test")
    card = await world.card("Add these 5 hosts?", "`b.demo.test:636`")
    assert world.api.work == []
    await world.press("Add 5", on=card)
    became = await world.card("Added 5 of 5 hosts.")
    assert became.ts == card.ts
    await world.card("Ann added 5 hosts", by=BEN)

    hosts = " ".join(f"h{number}.demo.test" for number in range(51))
    await world.ask(f"/ssl add {hosts}", "At most 50 hosts")


# Names that are nearly right


async def test_a_name_may_be_abbreviated_and_a_name_or_verb_misspelled(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    await world.say("/ssl statsu api.demo.test")
    await world.press("Run status api.demo.test", on=await world.card("UNKNOWN COMMAND"))
    await world.card("`api.demo.test`", "Rescan")
    await world.say("/ssl delet_ api.demo.test")
    assert labels(await world.card("Did you mean `delete`?")) == []

    world.api.add("shop.demo.test", days=80)
    await world.ask("/ssl status api", "`api.demo.test`", "Rescan", "#101")

    world.api.add("web1.demo.test", days=80)
    world.api.add("web2.demo.test", days=-1, valid=False)
    text = words(await world.ask("/ssl scan web", "2 monitors"))
    assert text.index("`web2.demo.test`") < text.index("`web1.demo.test`")
    assert world.api.asked("monitor/scan") == []

    world.api.add("elsewhere.example.org", days=80)
    card = await world.ask("/ssl status appi.demo.test", "NOT MONITORED", "Did you mean")
    assert labels(card) == ["api.demo.test", "Add"]
    await world.press("api.demo.test", on=card)
    await world.card("`api.demo.test`", "Rescan")


@pytest.mark.slow
async def test_the_event_loop_gets_its_turn_while_ten_thousand_names_are_compared() -> None:
    names = {f"host-{number}.demo.test" for number in range(10_000)}
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    found = await nearest("hots-4711.demo.tset", names)
    counting.cancel()

    assert found[0] == "host-4711.demo.test"
    assert len(found) == 3
    assert turns >= 200


# The log of changes


@pytest.mark.slow
async def test_audit_shows_who_changed_what_and_says_what_is_no_host(world: World) -> None:
    await world.ask("/ssl add a.demo.test b.demo.test:636", "Ben added", by=BEN, seen_by=ANN)
    await world.settled()
    card = await world.ask("/ssl audit", "Recent changes")
    one = await world.ask("/ssl audit b.demo.test", "Recent changes", "for `b.demo.test`")
    assert "`a.demo.test:443`" in words(card)
    assert "Ben · add · `b.demo.test:636` · added" in words(one)
    assert "a.demo.test" not in words(one)
    for typed, said in (("*.demo.test", "*.demo.test"), ("b", "b*"), ("b:636", "b*:636")):
        await world.ask(f"/ssl audit {typed}", f"for `{said}`", "`b.demo.test:636`")
    await world.ask("/ssl audit api.demo.test", "No changes recorded for `api.demo.test`.")

    world.api.add("api.demo.test", days=-1, valid=False)
    await world.ask("/ssl take api", "Ann has taken")
    for word in ("all", "*", "api"):
        await world.ask(f"/ssl audit {word}", "*Recent changes*", "take")
    for word in ("today", "7d", "ann"):
        await world.ask(f"/ssl audit {word}", f"No monitored host's name begins with `{word}`")
    await world.ask("/ssl audit broken", "NOT UNDERSTOOD")
