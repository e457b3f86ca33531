"""The digest asks the embedded API only for monitors that may need attention, and misses none."""

import itertools
from collections.abc import AsyncIterator
from datetime import datetime

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy import insert

from bot.api.client import SSLMonitor
from bot.api.extras import Extra
from bot.cards.digest import DigestContent
from bot.digest import gather
from bot.embedded.ca.facts import renewal_column
from bot.embedded.scan.result import Renewal
from bot.severity import Thresholds
from bot.store.database import Database
from bot.store.tables import monitors

from .fleet import DAY, HOUR, NOW
from .serving import KEY, Served

LEFT = (-1, 0, 1, 3, 8, 12, 29, 30, 31, 45, 59, 60, 61, 120, 300)
SCANNED = (NOW - HOUR, NOW - 30 * HOUR, NOW - 37 * HOUR, NOW + HOUR, None)
WINDOWS = (None, (-2, 3), (2, 4), (20, 50))
LIFETIMES = (400, 90, 6)
#: The team's thresholds, for how many days a digest looks ahead, and its net in days.
DIGESTS: tuple[tuple[dict[str, str], int, int], ...] = (
    *(({}, 0, 30), ({}, 3, 10), ({}, 50, 5), ({}, 20, 60)),
    *(({"h*.test": "60d"}, 0, 30), ({"h3*.test": "365d", "h4.test": "5d"}, 3, 30)),
    ({"h2*.test": "50%"}, 0, 30),
)


@pytest_asyncio.fixture
async def api(served: Served, database: Database) -> AsyncIterator[SSLMonitor]:
    """An account with monitors of every kind."""
    kinds = zip(itertools.product(LEFT, SCANNED, WINDOWS), itertools.cycle(LIFETIMES), strict=False)
    async with database.write() as connection:
        rows = [_row(number, *kind, days) for number, (kind, days) in enumerate(kinds)]
        broken = [_row(900 + n, left, NOW - HOUR, None, 90) for n, left in enumerate((5, 300))]
        await connection.execute(
            insert(monitors), rows + [each | {"verdict": "host_mismatch"} for each in broken]
        )
        nothing = {"host": "new.test", "port": 443, "created_at": NOW, "next_scan_at": NOW}
        await connection.execute(insert(monitors), [nothing])
    async with aiohttp.ClientSession() as session:
        yield SSLMonitor(served.api.url, KEY, session, clock=lambda: NOW)


def _row(
    number: int,
    left: int,
    scanned: datetime | None,
    window: tuple[int, int] | None,
    lifetime: int,
) -> dict[str, object]:
    end = NOW + left * DAY + HOUR
    asked = window and Renewal("known", NOW + window[0] * DAY, NOW + window[1] * DAY)
    return {
        "host": f"h{number}.test",
        "port": 443,
        "created_at": NOW - DAY,
        "next_scan_at": NOW + DAY,
        "scanned_at": scanned,
        "verdict": "valid",
        "message": "Valid",
        "not_before": min(end - lifetime * DAY, NOW - DAY),  # or it would not be valid yet
        "not_after": end,
        "renewal": asked and renewal_column(asked),
    }


async def in_full(api: SSLMonitor, rules: Thresholds, until: datetime | None) -> DigestContent:
    """The digest as gathered from an API that can't leave anything out."""
    offered, api.extras._offered = api.extras._offered, frozenset()
    api.extras._lacks_until = NOW + HOUR
    found = await gather(api, NOW, rules, until=until)
    api.extras._offered, api.extras._lacks_until = offered, NOW
    return found


@pytest.mark.slow
async def test_a_digest_of_what_may_need_attention_equals_one_of_the_whole_list(
    api: SSLMonitor,
) -> None:
    everything = await api.list()
    for own, ahead, net in DIGESTS:
        rules, until = Thresholds(own, net), NOW + ahead * DAY if ahead else None
        short = await gather(api, NOW, rules, until=until)
        assert short == await in_full(api, rules, until), (own, ahead, net)
        assert (short.total, bool(short.rows)) == (len(everything), True)
    assert await api.extras.offers(Extra.ATTENTION)
    assert len(await api.list(attention=30)) < len(everything)
