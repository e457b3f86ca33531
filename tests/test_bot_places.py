"""Who sees what: private answers, public scans, and places where the bot may not speak."""

import pytest

from bot.playground.objects import ANN, BEN, CERTS, GENERAL, SECRET
from tests.world import World, labels, words

DM = "D0ANN"


@pytest.mark.slow
async def test_the_bot_speaks_where_it_may_and_answers_privately_elsewhere(world: World) -> None:
    card = await world.ask(
        "/ssl add https://shop.demo.test/cart", "OK", "`shop.demo.test`", "added"
    )
    line = await world.card("Ann added `shop.demo.test`.", by=BEN)
    await world.settled()
    assert (card.ephemeral_for, world.seen(by=BEN)) == (ANN, [line])
    assert world.api.asked("monitor/add") == [{"host": "shop.demo.test", "port": "443"}]
    assert "<@" not in words(line)
    assert "<!" not in words(line)

    number = world.api.add("api.demo.test", days=5.5)
    held = world.api.hold("monitor/scan")
    await world.say("/ssl scan api.demo.test")
    busy = await world.card("Scanning…", "`api.demo.test`", "asked by Ann", by=BEN)
    assert labels(busy) == []
    world.api.renew(number, 90.5)
    held.release()
    card = await world.card("OK", "in 90 days", "asked by Ann", by=BEN)
    assert (card.ts, card.ephemeral_for) == (busy.ts, None)
    assert len(world.seen()) == 3

    card = await world.ask("/ssl scan api.demo.test", "OK", "asked by Ann", to=SECRET)
    await world.ask("/ssl add new.demo.test", "OK", "added", to=SECRET)
    await world.settled()
    assert card.ephemeral_for == ANN
    assert world.seen(by=BEN, to=SECRET) == []
    assert "WENT WRONG" not in "".join(words(m) for m in world.seen(to=SECRET))
    card = await world.ask("/ssl scan api.demo.test", "OK", "asked by Ann", to=GENERAL, seen_by=BEN)
    assert card.ephemeral_for is None
    await world.ask("/ssl scan api.demo.test", "OK", "`api.demo.test`", "asked by Ann", to=DM)
    await world.ask("/ssl add more.demo.test", "OK", "`more.demo.test`", "added", to=DM)
    await world.settled()
    assert len(world.seen(by=BEN, to=CERTS)) == 2
    assert not any("Ann added" in words(m) for m in world.seen(to=DM))


async def test_a_scan_that_can_not_tell_which_host_asks_privately(world: World) -> None:
    world.api.add("api.demo.test")
    world.api.add("api.demo.test", port=8443)
    await world.ask("/ssl scan api.demo.test", "Scan these 2 monitors?", "2 monitors")
    await world.settled()
    assert world.seen(by=BEN) == []
    assert world.api.asked("monitor/scan") == []

    card = await world.ask("/ssl scan new.demo.test", "NOT MONITORED", "`new.demo.test`")
    assert card.ephemeral_for == ANN
