from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.embedded.schedule import next_scan
from bot.target import Target

from .fleet import DAY, HOUR, NOW

INTERVAL = timedelta(hours=12)
MINUTE = timedelta(minutes=1)
NEAR = 3 * DAY
TARGETS = st.builds(Target, st.text("abc.", min_size=1), st.integers(1, 65535))


@given(TARGETS)
def test_a_target_is_scanned_once_per_interval_give_or_take_the_jitter(target: Target) -> None:
    slot = next_scan(target, NOW, INTERVAL)
    assert NOW < slot <= NOW + 1.05 * INTERVAL + timedelta(seconds=1)
    for _ in range(5):
        slot, last = next_scan(target, slot, INTERVAL), slot
        assert 0.95 * INTERVAL - timedelta(seconds=1) <= slot - last
        assert slot - last <= 1.05 * INTERVAL + timedelta(seconds=1)


def test_targets_are_spread_evenly_over_the_interval() -> None:
    first = [next_scan(Target(f"h{n}.test"), NOW, INTERVAL) for n in range(1200)]
    slots = [next_scan(Target(f"h{n}.test"), slot, INTERVAL) for n, slot in enumerate(first)]
    hours = [0] * 12
    for slot in slots:
        hours[int((slot - NOW) / HOUR) % 12] += 1
    assert all(60 < hour < 140 for hour in hours)


def test_the_jitter_varies_between_intervals() -> None:
    slot, gaps = NOW, set()
    for _ in range(20):
        slot, last = next_scan(Target("a.test"), slot, INTERVAL), slot
        gaps.add(slot - last)
    assert len(gaps) > 10


@pytest.mark.parametrize("failures", range(1, 10))
def test_a_failed_scan_is_retried_after_1_2_4_minutes(failures: int) -> None:
    waits = [
        next_scan(Target(f"h{n}.test"), NOW, 9 * DAY, failures=failures) - NOW for n in range(20)
    ]
    least = MINUTE * 2 ** (failures - 1)
    assert all(least <= wait <= 1.05 * least + timedelta(seconds=1) for wait in waits)


@given(TARGETS, st.integers(1, 1000), st.timedeltas(-5 * DAY, 100 * DAY))
def test_no_scan_is_later_than_regular(target: Target, failures: int, left: timedelta) -> None:
    regular = next_scan(target, NOW, INTERVAL)
    assert NOW < next_scan(target, NOW, INTERVAL, failures=failures) <= regular
    assert NOW < next_scan(target, NOW, INTERVAL, not_after=NOW + left) <= regular


@given(TARGETS, st.timedeltas(timedelta(), 10 * DAY))
def test_scans_are_hourly_in_the_last_three_days_only(target: Target, left: timedelta) -> None:
    end = NOW + left
    slot = next_scan(target, NOW, INTERVAL, not_after=end)
    if left <= NEAR:
        assert slot <= NOW + 1.05 * HOUR + timedelta(seconds=1)
    else:
        assert slot == next_scan(target, NOW, INTERVAL) or slot >= end - NEAR
        assert slot <= end - NEAR + 1.05 * HOUR + timedelta(seconds=1) or slot < end - NEAR


@given(TARGETS, st.timedeltas(timedelta(seconds=1), 2 * DAY))
def test_a_certificate_is_scanned_when_it_becomes_valid(target: Target, wait: timedelta) -> None:
    start, regular = NOW + wait, next_scan(target, NOW, INTERVAL)
    slot = next_scan(target, NOW, INTERVAL, not_before=start, not_after=start + 90 * DAY)
    assert slot == regular or start <= slot <= start + timedelta(seconds=5)
    assert slot <= regular
    assert slot == regular or regular > start


@given(TARGETS, st.timedeltas(timedelta(), 100 * DAY))
def test_a_valid_certificate_is_scanned_as_usual(target: Target, age: timedelta) -> None:
    regular = next_scan(target, NOW, INTERVAL)
    assert next_scan(target, NOW, INTERVAL, not_before=NOW - age) == regular


def test_certificates_that_become_valid_together_are_not_scanned_at_the_same_instant() -> None:
    start = NOW + MINUTE
    slots = {
        next_scan(Target(f"h{number}.test"), NOW, INTERVAL, not_before=start) for number in range(9)
    }
    assert len(slots) > 5


@given(TARGETS, st.timedeltas(timedelta(), 2 * DAY))
def test_that_a_certificate_expired_is_seen_within_seconds(target: Target, left: timedelta) -> None:
    slot, end = NOW, (NOW + left).replace(microsecond=0)
    while slot <= end:
        slot = next_scan(target, slot, INTERVAL, not_after=end)
    assert slot <= end + timedelta(seconds=6)


def test_an_expired_certificate_is_scanned_as_usual() -> None:
    target = Target("a.test")
    regular = next_scan(target, NOW, INTERVAL)
    assert next_scan(target, NOW, INTERVAL, not_after=NOW - HOUR) == regular
