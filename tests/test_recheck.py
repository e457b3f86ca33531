"""The engine's own rules: how long it waits, and what counts as fixed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.commands.recheck import Length
from bot.recheck import good, wait_after
from bot.sighting import Sighting

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def sighting(*, valid: bool | None = True, days: float | None = 10) -> Sighting:
    end = None if days is None else NOW + timedelta(days=days)
    return Sighting(valid, end, "Test CA", ("api.example.com",), 200)


def test_the_waits_are_steady_then_grow_and_never_pass_five_intervals() -> None:
    waits = [wait_after(scans, MINUTE) for scans in range(1, 41)]
    assert waits[:5] == [MINUTE] * 5
    assert waits[5:8] == [1.5 * MINUTE, 2.25 * MINUTE, 3.375 * MINUTE]
    assert max(waits) == waits[-1] == 5 * MINUTE


def test_half_an_hour_takes_between_ten_and_thirty_scans() -> None:
    spent, scans = timedelta(), 0
    while spent <= 30 * MINUTE:
        scans += 1
        spent += wait_after(scans, MINUTE)
    assert 10 <= scans <= 30


@pytest.mark.parametrize(
    ("seen", "is_good"),
    [
        (sighting(), True),
        (sighting(days=None), True),
        (sighting(days=-1), False),
        (sighting(valid=False), False),
        (sighting(valid=None), False),
    ],
)
def test_good_is_what_visitors_can_trust_now(seen: Sighting, is_good: bool) -> None:
    assert good(seen, NOW) is is_good


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("for=30m", 30), ("30m", 30), ("for=1m", 1), ("FOR=2H", 120), ("for=240m", 240)],
)
def test_a_length_is_written_in_minutes_or_hours(text: str, minutes: int) -> None:
    assert Length.parse(text).time == minutes * MINUTE


@pytest.mark.parametrize("text", ["for=0m", "for=241m", "for=5h", "for=", "for=30", "soon", "-1m"])
def test_a_length_that_can_not_be_used_is_refused_with_the_form_and_the_bounds(text: str) -> None:
    with pytest.raises(ValueError, match=r"Write for=30m: 1m to 4h\."):
        Length.parse(text)
