"""When the digest is due: on ordinary days and on odd ones."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.dates import Due, Plan, parse_days
from tests.digest_plan import (
    BERLIN,
    CHANNEL,
    DAY,
    KATHMANDU,
    LONG_AGO,
    MINUTE,
    NEW_YORK,
    SANTIAGO,
    at,
    plan,
)
from tests.long_runs import random_run

SECOND = timedelta(seconds=1)


def test_the_hour_of_a_day_in_utc() -> None:
    for hour, zone, day, utc in [
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
        ("22:30", "America/Nuuk", "2026-03-28", "2026-03-29 00:30"),
        ("23:30", "America/Nuuk", "2026-03-28", "2026-03-29 00:59"),  # the day ends at 23:00
    ]:
        assert plan(hour, zone).hour(date.fromisoformat(day)) == at(utc)


def test_a_day_that_a_country_leaves_out_has_no_digest() -> None:
    apia = plan("09:00", "Pacific/Apia")
    days = [date(2011, 12, number) for number in (29, 30, 31)]
    assert [apia.is_planned(day) for day in days] == [True, False, True]


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
def test_a_bot_that_always_runs_posts_once_a_day(zone: ZoneInfo, before: str, hour: str) -> None:
    wanted = plan(hour, zone)
    begin = at(f"{before} 00:00:30")
    posted: dict[date, Due] = {}
    for minute in range(4 * 24 * 60):
        now = begin + minute * MINUTE
        found = wanted.due(now, LONG_AGO)
        if found and found.day not in posted:
            posted[found.day] = found
            if minute > 24 * 60:
                assert MINUTE > now - wanted.hour(found.day) >= timedelta()
                assert not found.late
    days = sorted(posted)
    assert days == [days[0] + n * DAY for n in range(len(days))]
    assert len(days) in {4, 5}


def test_a_morning_digest_is_due_until_midnight() -> None:
    for now, found in [
        ("2026-11-23 08:59:59", None),
        ("2026-11-23 09:00", Due(date(2026, 11, 23), late=False)),
        ("2026-11-23 09:15", Due(date(2026, 11, 23), late=False)),
        ("2026-11-23 09:15:01", Due(date(2026, 11, 23), late=True)),
        ("2026-11-23 23:59:59", Due(date(2026, 11, 23), late=True)),
        ("2026-11-24 00:00", None),
    ]:
        assert plan().due(at(now), LONG_AGO) == found


def test_a_digest_of_the_last_minute_has_that_minute() -> None:
    for now, found in [
        ("2026-11-23 23:58:59", None),
        ("2026-11-23 23:59", Due(date(2026, 11, 23), late=False)),
        ("2026-11-23 23:59:59", Due(date(2026, 11, 23), late=False)),
        ("2026-11-24 00:00", None),
        ("2026-11-24 23:59", Due(date(2026, 11, 24), late=False)),
    ]:
        assert plan("23:59").due(at(now), LONG_AGO) == found


def test_on_its_very_first_day_the_bot_posts_at_once_if_the_hour_has_passed() -> None:
    noon, evening = at("2026-11-23 12:00"), at("2026-11-23 20:00")
    assert plan().due(noon, at("2026-11-23 08:59")) == Due(date(2026, 11, 23), late=True)
    assert plan().due(noon, at("2026-11-23 09:00")) == Due(date(2026, 11, 23), first=True)
    assert plan().due(evening, noon) == Due(date(2026, 11, 23), first=True)
    assert plan().due(at("2026-11-24 09:00"), noon) == Due(date(2026, 11, 24), late=False)
    assert plan("23:59").due(at("2026-11-24 00:30"), at("2026-11-24 00:10")) is None


ZONES = sorted(available_timezones())


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Plan, datetime]:
    """A plan in any zone, and an instant a day or two before its clock changes, if it does."""
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    hour = draw(st.times()).replace(second=0, microsecond=0, fold=0)
    days = draw(st.sets(st.integers(0, 6), min_size=1))
    begin = datetime(draw(st.integers(1975, 2036)), 1, 1, tzinfo=UTC)
    year = [begin + n * DAY for n in range(365)]
    changes = [day for day in year if zone.utcoffset(day + DAY) != zone.utcoffset(day)]
    start = draw(st.sampled_from(changes or year)) - draw(st.integers(600, 3000)) * MINUTE
    return Plan(CHANNEL, hour, zone, tuple(sorted(days))), start + draw(st.integers(0, 59)) * SECOND


def nightly(zone: str, hour: str, start: str) -> tuple[Plan, datetime]:
    return plan(hour, zone), at(start)


@random_run(
    schedules(),
    st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 2000)), max_size=4),
    examples=20,
)
@example(nightly("America/Nuuk", "23:30", "2026-03-27 12:00:59"), [(4000, 0)])
@example(nightly("Africa/Cairo", "00:00", "2026-04-23 12:00:59"), [(4000, 0)])
@example(nightly("Pacific/Apia", "09:00", "2011-12-28 12:00:59"), [(6000, 0)])
@example(nightly("America/St_Johns", "00:00", "2010-11-05 12:00"), [(2000, 20), (2000, 0)])
@example(nightly("Australia/Lord_Howe", "01:45", "2026-04-03 12:00"), [(2010, 40), (2000, 0)])
def test_each_local_day_has_one_due_digest_whenever_the_bot_runs(
    scheduled: tuple[Plan, datetime], pattern: list[tuple[int, int]]
) -> None:
    """The bot looks once a minute while it runs, and is then down for a while."""
    wanted, now = scheduled
    posted: dict[date, datetime] = {}
    looked: dict[date, list[datetime]] = {}
    unbroken: set[date] = set()
    for up, down in pattern:
        begun = now
        for _ in range(up):
            looked.setdefault(wanted.today(now), []).append(now)
            if (found := wanted.due(now, LONG_AGO)) and found.day not in posted:
                posted[found.day] = now
                assert found.day == wanted.today(now)
            now += MINUTE
        unbroken |= {day for day in looked if wanted.today(begun) < day < wanted.today(now)}
        now += down * MINUTE
    planned = {day for day in looked if day.weekday() in wanted.days}
    in_time = {
        day: next((each for each in looked[day] if each >= wanted.hour(day)), None)
        for day in planned
    }
    assert posted == {day: first for day, first in in_time.items() if first}
    assert planned & unbroken <= posted.keys()


@given(schedules(), st.integers(0, 4000))
def test_a_digest_is_due_at_its_hour_or_soon_after_where_the_clock_skips_it(
    scheduled: tuple[Plan, datetime], minutes: int
) -> None:
    wanted, start = scheduled
    day = wanted.today(start + minutes * MINUTE)
    due_at = wanted.hour(day).astimezone(wanted.timezone)
    exists = datetime.combine(day, wanted.at, tzinfo=wanted.timezone)
    exists = exists.astimezone(UTC).astimezone(wanted.timezone)
    assert due_at.date() == day
    if exists.time() == wanted.at:
        assert (due_at.time(), due_at.fold) == (wanted.at, 0)
    else:
        assert due_at.time() == (exists.time() if exists.date() == day else due_at.time())
    # A time that comes twice equals none in another zone (PEP 495).
    hour = due_at.astimezone(UTC)
    after = wanted.following(hour - SECOND)
    assert after is not None
    assert (after == hour) == (day.weekday() in wanted.days)


@pytest.mark.parametrize(
    ("days", "ahead"),
    [
        ("daily", {"fri": "mon"}),
        ("weekdays", {"fri": "mon"}),
        ("weekends", {"sun": "sat"}),
        ("mon,wed", {"mon": "wed", "wed": "mon"}),
        ("fri,sat", {"fri": "fri", "sat": "fri"}),
        ("sat,mon", {"sat": "mon", "mon": "mon"}),
        ("tue", {"tue": "tue"}),
    ],
)
def test_a_digest_looks_ahead_to_the_next_one_at_work(days: str, ahead: dict[str, str]) -> None:
    weekly = Plan(CHANNEL, time(9), BERLIN, parse_days(days))
    found = {}
    for number in weekly.days:
        day = date(2026, 10, 19) + number * DAY  # the clock changes at the end of this week
        if until := weekly.next_at_work(day):
            assert until == weekly.hour(until.date()) > weekly.hour(day)
            found[f"{day:%a}".lower()] = f"{until:%a}".lower()
    assert found == ahead
