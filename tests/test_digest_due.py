"""When the digest is due: on ordinary days and on odd ones."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from bot.digest import Due, due
from tests.digest_plan import (
    BERLIN,
    DAY,
    KATHMANDU,
    LONG_AGO,
    MINUTE,
    NEW_YORK,
    SANTIAGO,
    at,
    plan,
)


@pytest.mark.parametrize(
    ("hour", "zone", "day", "utc"),
    [
        ("09:00", "UTC", "2026-11-23", "2026-11-23 09:00"),
        ("09:00", "Europe/Berlin", "2026-07-01", "2026-07-01 07:00"),
        ("09:00", "Europe/Berlin", "2026-12-01", "2026-12-01 08:00"),
        ("02:30", "Europe/Berlin", "2026-03-29", "2026-03-29 01:30"),  # left out: 03:30 summer time
        ("02:30", "Europe/Berlin", "2026-10-25", "2026-10-25 00:30"),  # twice: the first
        ("02:30", "America/New_York", "2026-03-08", "2026-03-08 07:30"),
        ("01:30", "America/New_York", "2026-11-01", "2026-11-01 05:30"),
        ("09:00", "Asia/Kathmandu", "2026-11-23", "2026-11-23 03:15"),
        ("00:00", "Asia/Kathmandu", "2026-11-23", "2026-11-22 18:15"),
        ("23:59", "America/New_York", "2026-11-23", "2026-11-24 04:59"),
        ("00:00", "Pacific/Kiritimati", "2026-11-23", "2026-11-22 10:00"),
        ("00:00", "America/Santiago", "2026-09-06", "2026-09-06 04:00"),  # midnight is left out
    ],
)
def test_the_hour_of_a_day_in_utc(hour: str, zone: str, day: str, utc: str) -> None:
    assert plan(hour, zone).hour(date.fromisoformat(day)) == at(utc)


@pytest.mark.parametrize("hour", ["00:00", "02:30", "09:00", "23:59"])
@pytest.mark.parametrize(
    ("zone", "before"),
    [
        (BERLIN, "2026-03-27"),
        (BERLIN, "2026-10-23"),
        (NEW_YORK, "2026-03-06"),
        (NEW_YORK, "2026-10-30"),
        (SANTIAGO, "2026-04-03"),
        (SANTIAGO, "2026-09-04"),
        (KATHMANDU, "2026-11-21"),
    ],
)
def test_a_bot_that_always_runs_posts_each_local_day_once_and_in_time(
    zone: ZoneInfo, before: str, hour: str
) -> None:
    wanted = plan(hour, zone)
    begin = at(f"{before} 00:00:30")
    posted: dict[date, Due] = {}
    for minute in range(4 * 24 * 60):
        now = begin + minute * MINUTE
        found = due(wanted, now, LONG_AGO)
        if found and found.day not in posted:
            posted[found.day] = found
            if minute > 24 * 60:
                assert MINUTE > now - wanted.hour(found.day) >= timedelta()
                assert not found.late
    days = sorted(posted)
    assert days == [days[0] + n * DAY for n in range(len(days))]
    assert len(days) in {4, 5}


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ("2026-11-23 08:59:59", None),
        ("2026-11-23 09:00", Due(date(2026, 11, 23), late=False)),
        ("2026-11-23 09:15", Due(date(2026, 11, 23), late=False)),
        ("2026-11-23 09:15:01", Due(date(2026, 11, 23), late=True)),
        ("2026-11-23 23:59:59", Due(date(2026, 11, 23), late=True)),
        ("2026-11-24 00:00", None),
    ],
)
def test_a_morning_digest_is_due_until_midnight(now: str, found: Due | None) -> None:
    assert due(plan(), at(now), LONG_AGO) == found


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ("2026-11-23 23:58:59", None),
        ("2026-11-23 23:59", Due(date(2026, 11, 23), late=False)),
        ("2026-11-23 23:59:59", Due(date(2026, 11, 23), late=False)),
        ("2026-11-24 00:00", None),
        ("2026-11-24 23:59", Due(date(2026, 11, 24), late=False)),
    ],
)
def test_a_digest_of_the_last_minute_has_that_minute(now: str, found: Due | None) -> None:
    assert due(plan("23:59"), at(now), LONG_AGO) == found


def test_on_its_very_first_day_the_bot_posts_at_once_if_the_hour_has_passed() -> None:
    noon, evening = at("2026-11-23 12:00"), at("2026-11-23 20:00")
    assert due(plan(), noon, at("2026-11-23 08:59")) == Due(date(2026, 11, 23), late=True)
    assert due(plan(), noon, at("2026-11-23 09:00")) == Due(date(2026, 11, 23), first=True)
    assert due(plan(), evening, noon) == Due(date(2026, 11, 23), first=True)
    assert due(plan(), at("2026-11-24 09:00"), noon) == Due(date(2026, 11, 24), late=False)
    assert due(plan("23:59"), at("2026-11-24 00:30"), at("2026-11-24 00:10")) is None
