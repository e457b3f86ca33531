"""The calendar of renewals, as other programs read it, and its secret address."""

import re
from datetime import date
from typing import Any

import aiohttp
import icalendar
import pytest
import vobject

from bot.playground.objects import BEN, PostedMessage
from tests.world import World, words


def subscribed(card: PostedMessage) -> str:
    found = re.search(r"/calendar/[\w-]+\.ics", words(card))
    assert found
    return found[0]


async def test_the_calendar_has_a_day_for_each_renewal_that_other_programs_can_read(
    world: World, session: aiohttp.ClientSession
) -> None:
    same: dict[str, Any] = {"days": 70, "ssl_fingerprint": "ab" * 32}
    world.api.add("undated.demo.test", **same, ssl_expire_date_end=None)
    world.api.add("a.demo.test", **same)
    window = {"status": "known", "start": "2026-12-20 12:00", "end": "2026-12-25 12:00"}
    world.api.add("b.demo.test", **same, renewal=window)
    world.api.add("c.demo.test", days=-3, valid=False, ssl_issuer="X\r\nEND:VCALENDAR; A\\, B")
    for end in (None, "0001-01-01 00:00", "9999-12-31 23:59"):  # not dates to plan for
        world.api.add("none.demo.test", ssl_expire_date_end=end)
    odd = world.api.add("odd.demo.test")
    world.api.rows[odd]["port"] = None
    await world.say("/ssl calendar")
    base = f"http://127.0.0.1:{world.bot.port}"
    path = subscribed(await world.card("Subscribe to this address", "PUBLIC_URL is not set"))
    async with session.get(base + path) as reply:
        assert (reply.status, reply.content_type) == (200, "text/calendar")
        file = await reply.text()
    events = icalendar.Calendar.from_ical(file).walk("VEVENT")
    seen = [(str(event["summary"]), event.decoded("dtstart")) for event in events]
    assert seen == [
        ("⚠️ 1 monitor could not be read", date(2026, 11, 23)),
        ("Renew a.demo.test and 2 more", date(2026, 12, 20)),  # when the CA asks for it
        ("Renew c.demo.test", date(2026, 10, 21)),  # 30 days before it expires
    ]
    others = vobject.readOne(file).vevent_list
    assert [(str(e.summary.value), e.dtstart.value) for e in others] == seen
    assert "undated.demo.test" in str(others[1].description.value)
    assert str(others[2].description.value).count("\n") == 2  # hostile text stays on its line


async def test_a_new_address_replaces_the_old_one_and_a_wrong_one_opens_nothing(
    world: World, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    base = f"http://127.0.0.1:{world.bot.port}"
    old = subscribed(await world.ask("/ssl calendar", "Subscribe to this address"))
    await world.ask("/ssl calendar", "keeps no copy of the address")
    await world.say("/ssl calendar new")
    await world.until(lambda: sum("Subscribe" in words(m) for m in world.seen()) == 2)
    new = subscribed(world.seen()[-1])
    for path, status in ((old, 404), ("/calendar/x.ics", 404), (new, 200)):
        async with session.get(base + path) as reply:
            assert reply.status == status
    assert world.seen(by=BEN) == []
    secret = new.removeprefix("/calendar/").removesuffix(".ics")
    assert secret not in caplog.text
    world.api.refuse("monitor/list", 500, "internal error", times=5)
    async with session.get(base + new) as reply:
        assert reply.status == 503


async def test_an_address_that_was_asked_for_in_a_channel_is_a_direct_message(world: World) -> None:
    await world.ask("@SSLmonitor calendar", "the bot sent you a direct message", seen_by=BEN)
    await world.card("Subscribe to this address", to="D0ANN")
    await world.settled()
    assert "/calendar/" not in "".join(map(words, world.seen()))


async def test_in_socket_mode_a_calendar_needs_an_address(socket_world: World) -> None:
    await socket_world.ask("/ssl calendar", "No calendar: the bot only listens on its own machine")
