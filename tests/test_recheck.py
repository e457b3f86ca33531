"""The engine's own rules: how long it waits, and what counts as fixed."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.commands.recheck import Length
from bot.sighting import Sighting, good
from bot.store.database import Database
from bot.store.rechecks import RecheckStore, wait_after
from bot.target import Target
from tests.test_bot_recheck import pass_time
from tests.world import World, words

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


def test_good_is_what_visitors_can_trust_now() -> None:
    for seen, is_good in [
        (sighting(), True),
        (sighting(days=None), True),
        (sighting(days=-1), False),
        (sighting(valid=False), False),
        (sighting(valid=None), False),
    ]:
        assert good(seen, NOW) is is_good


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("for=30m", 30), ("30m", 30), ("for=1m", 1), ("FOR=2H", 120), ("for=240m", 240)],
)
def test_the_length_of_a_watch_is_a_duration_with_or_without_for(text: str, minutes: int) -> None:
    assert Length.parse(text).time == minutes * MINUTE


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("for=59s", "out of range: 1m to 4h"),
        ("for=241m", "out of range: 1m to 4h"),
        ("for=", "not a duration"),
    ],
)
def test_a_watch_runs_for_a_minute_to_four_hours(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as fault:
        Length.parse(text)
    assert "30m" in str(fault.value)


async def test_of_two_processes_that_find_a_watch_due_one_gets_it(any_database: Database) -> None:
    store, ends = RecheckStore(any_database), NOW + 30 * MINUTE
    due, _ = await store.reserve(1, Target("a.test"), "U0ANN", now=NOW, ends_at=ends, most=9)
    assert due
    claims = [await store.claim(due, NOW + 5 * MINUTE) for _ in range(2)]
    assert [each is None for each in claims] == [False, True]


async def test_a_host_trusted_again_with_its_old_certificate_has_no_new_one(world: World) -> None:
    number = world.api.add("api.demo.test", valid=False, expected_date="2026-11-23 06:00")
    await world.ask("/ssl watch api.demo.test", "NOT TRUSTED", "Watching until")
    await world.settled()
    world.api.rows[number]["ssl_valid"] = True
    await pass_time(world, seconds=60)
    await world.card("OK", "Watching until", "2 scans")
    assert "new certificate" not in " ".join(words(each) for each in world.seen())
