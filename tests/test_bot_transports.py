"""Every kind of payload that Slack sends, over both transports.

How the bot answers doesn't depend on the transport, so the other tests run over HTTP alone. These
conversations run over both: they fail if a kind of payload isn't received, acknowledged, or
answered over one of them.
"""

import asyncio
from typing import Any

import pytest

from bot.playground.delivery import Outcome
from bot.playground.faults import refusal
from bot.playground.objects import ANN, BEN, CERTS, GUS
from tests.world import World, labels, words

DM = "D0ANN"


def command(world: World, text: str) -> dict[str, Any]:
    """The payload of `/ssl TEXT`, typed by Ann in #certificates."""
    ann, certs = world.slack.users[ANN], world.slack.channels[CERTS]
    return world.playground.payloads.command(ann, certs, "/ssl", text)


@pytest.mark.slow
async def test_commands_buttons_home_and_mentions(any_world: World) -> None:
    world = any_world
    number = world.api.add("api.demo.test", days=5.5)
    card = await world.ask("/ssl status api.demo.test", "`api.demo.test`", "Rescan")
    assert card.ephemeral_for == ANN
    await world.press("Rescan", on=card)
    await world.until(lambda: world.api.asked("monitor/scan") == [{"id": str(number)}] or None)
    await world.settled()
    await world.say("/ssl scan api.demo.test")
    public = await world.card("`api.demo.test`", "asked by Ann", "Rescan", by=BEN)
    await world.press("Details", on=public, by=BEN)
    details = await world.card("`api.demo.test`", "Issuer", by=BEN)
    assert details.ephemeral_for == BEN
    await world.ask("/ssl list", "MEMBERS ONLY", by=GUS)
    assert len(world.api.asked("monitor/scan")) == 2

    home = await world.open_home("`api.demo.test`")
    await world.press("Rescan", on=home)
    await world.home("`api.demo.test`", "↻ no change · Ann", "Rescan")
    assert world.api.asked("monitor/scan")[2:] == [{"id": str(number)}]

    answer = await world.ask(
        "@SSLmonitor status api.demo.test", "`api.demo.test`", "Rescan", seen_by=BEN
    )
    assert answer.thread_ts == world.said("status").ts
    await world.ask("status api.demo.test", "`api.demo.test`", "Rescan", to=DM)
    await world.say("is api.demo.test down?", by=BEN)
    await world.shortcut(world.said("down?"))
    hosts = await world.modal("`api.demo.test`")
    assert labels(hosts) == ["Status", "Scan", "Add"]

    world.slack.faults.add("chat.update", refusal("message_not_found"))
    card = await world.ask("/ssl scan api.demo.test", "asked by Ann", "Rescan", seen_by=BEN)
    assert "`api.demo.test`" in words(card)
    assert not any("Scanning…" in words(message) for message in world.seen(by=BEN))

    holds = [world.api.hold("monitor/list") for _ in range(20)]
    before = len(world.seen())
    lines = [command(world, f"list port={number}") for number in range(1, 21)]
    acks = [world.playground.delivery.send("slash_commands", line) for line in lines]
    assert {ack.outcome for ack in await asyncio.gather(*acks)} == {Outcome.ACKED}
    await asyncio.gather(*(held.reached.wait() for held in holds))
    for held in holds:
        held.release()
    await world.until(lambda: len(world.seen()) == before + len(holds))


@pytest.mark.slow
async def test_forms_and_repeated_payloads(any_world: World) -> None:
    world = any_world
    await world.say("/ssl add")
    form = await world.modal("Hosts", "Proxy password")
    assert list(await world.submit(form, targets="a..demo")) == ["targets"]
    assert await world.submit(form, targets="a.demo.test b.demo.test") == {}
    shown = await world.modal("Added 2 of 2 hosts.")
    await world.card("Ann added `a.demo.test`, `b.demo.test`.", by=BEN)
    await world.playground.close_view(ANN, shown.id)
    assert world.slack.modal(ANN) is None

    form = await world.add_form()
    adding = world.api.hold("monitor/add")
    await world.submit(form, targets="c.demo.test")
    await adding.reached.wait()
    await world.playground.close_view(ANN, form.id)
    adding.release()
    await world.card("OK", "`c.demo.test`", "added", to=DM)
    await world.card("Ann added `c.demo.test`.", by=BEN)

    payload = command(world, "add d.demo.test")
    acks = [await world.playground.delivery.send("slash_commands", payload) for _ in range(2)]
    await world.card("Ann added `d.demo.test`.", by=BEN)
    await world.settled()
    assert [ack.outcome for ack in acks] == [Outcome.ACKED] * 2
    assert len(world.api.asked("monitor/add")) == 4
