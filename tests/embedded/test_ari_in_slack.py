"""From a CA's server to the channel: a window that was moved forward is told there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.app.composition import make_notices
from bot.embedded import EmbeddedAPI, EmbeddedSettings
from bot.playground.objects import BEN
from bot.slack.notices import Notices
from tests.world import CERTS, MORNING, World, new_world

from .authority import CA, HOURS, Scans
from .fleet import DAY, serve, web_server
from .test_ari import ACME, ISSUER, answer

WHY = "https://ca.example/incident"
KEY = "k" * 16


@asynccontextmanager
async def serving(scans: Scans, ca: CA) -> AsyncIterator[str]:
    """The embedded API, which asks that CA; yields its URL."""
    settings = EmbeddedSettings(
        key=KEY, scan_allow="127.0.0.1", ca_file=scans.fleet.ca_file,
        hosts={"fleet.test": "127.0.0.1", "ca.test": "127.0.0.1"},
        ari_directories={ISSUER: ca.url("directory")},
    )  # fmt: skip
    api = EmbeddedAPI(settings, scans.database, clock=scans.clock)
    await api.start()
    yield api.url
    await api.close()


def notices_of(world: World) -> Notices:
    bot = world.bot
    notices = make_notices(
        world.settings, bot.api, bot.database, bot.web, bot.slack._records,
        boards=bot.slack._boards, now=world.clock,
    )  # fmt: skip
    assert notices is not None
    return notices


@pytest.mark.slow
async def test_a_window_that_was_moved_forward_is_told_in_a_notice_and_in_the_digest(
    scans: Scans, ca: CA, empty_database: Path, tmp_path: Path
) -> None:
    acme, scans.clock.now = ACME(scans, ca), MORNING
    acme.says(answer(MORNING + 80 * DAY, MORNING + 82 * DAY))
    (directory := tmp_path / "bot").mkdir()
    async with (
        serve(web_server(), context=scans.fleet.context(acme.path)) as port,
        serving(scans, ca) as url,
        new_world(
            directory, empty_database, DIGEST_CHANNEL=CERTS, SSLMONITOR_API_URL=url,
            SSLMONITOR_API_KEY=KEY,
        ) as world,
    ):  # fmt: skip
        host = f"fleet.test:{port}"
        await world.ask(f"/ssl add {host}", "OK", host)
        notices = notices_of(world)
        await notices.tick()

        acme.says(answer(MORNING - HOURS, MORNING, explanationURL=WHY))
        scans.clock.now += 7 * HOURS
        world.later(hours=7)
        await world.say(f"/ssl scan {host}")
        card = await world.card("ACT NOW", f"The CA asks to renew now (<{WHY}|why>).")
        await notices.tick()
        asks = f"the CA asks to renew now (<{WHY}|why>)"
        await world.card("Renew now", "🚨 *ACT NOW*", f"`{host}`", asks, by=BEN)
        assert await world.digest.post_now()
        await world.card("Certificates on", "🚨 *ACT NOW*", f"`{host}`", asks, by=BEN)
        await world.press("Details", on=card)
        await world.card("The CA asked for a renewal between", f"(<{WHY}|why>)")
