"""What a newcomer can do to the demo's sample hosts, and what the bot then says."""

import pytest

from bot.app.outside import clock
from bot.demo import first_digest, running_demo
from tests.world import World, words

pytestmark = pytest.mark.slow


async def test_a_newcomer_breaks_silences_and_renews_a_host_and_sees_it_in_the_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.demo.SCAN_SECONDS", 0.5)
    async with running_demo() as demo:
        await first_digest(demo)
        world = World(demo.playground, clock, demo.settings, "http")
        digest = await world.card("Certificates on")

        await world.say("/demo renew intranet")
        assert "intranet.demo.test now has a new certificate" in world.slack.notices[-1].text
        await world.press("Rescan", on=digest, row="intranet.demo.test")
        await world.until(lambda: "✅ 1 of 5 fixed." in words(digest))
        assert demo.bot.scheduler.notices is not None
        await demo.bot.scheduler.notices.poll()
        await world.card("✅ Fixed", "intranet.demo.test")

        await world.say("/demo break shop")
        await world.say("/ssl scan shop.demo.test")
        await world.card("EXPIRED", "shop.demo.test", "asked by Ann")
        await world.say("/demo silence api")
        await world.say("/ssl scan api.demo.test")
        await world.card("UNREACHABLE", "api.demo.test", "refused")
        await world.say("/demo renew api")
        await world.say("/demo renew backup")
        await world.say("/ssl scan backup.demo.test")
        await world.card("OK", "backup.demo.test")

        await world.say("/demo dance")
        assert "Try /demo renew intranet" in world.slack.notices[-1].text
