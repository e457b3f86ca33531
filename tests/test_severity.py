"""How bad a monitor's state is, hour by hour and lifetime by lifetime."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.api.models import MonitorSummary
from bot.severity import (
    ACT_NOW,
    DUE,
    EXPIRED,
    NEVER_SCANNED,
    NOT_ALLOWED,
    NOT_TRUSTED,
    NOT_YET_VALID,
    OK,
    ON_SCHEDULE,
    OVERDUE,
    STALE_AFTER,
    UNKNOWN,
    UNREACHABLE,
    USUAL,
    WRONG_NAME,
    Rank,
    State,
    Threshold,
    Thresholds,
    days_left,
    is_stale,
    limits,
    state_of,
    worst_first,
)
from bot.target import REFUSED, Target

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
FINE = MonitorSummary(
    id=1,
    target=Target("example.com"),
    valid=True,
    message="Valid",
    not_before=NOW - 120 * DAY,
    not_after=NOW + 80 * DAY,
    host_match=True,
    issuer="Test CA",
    http_code=200,
    scanned_at=NOW,
)


def like(**changes: object) -> MonitorSummary:
    return msgspec.structs.replace(FINE, **changes)


def living(lifetime: timedelta, left: timedelta) -> MonitorSummary:
    """A valid certificate of this lifetime, with so much of it left."""
    return like(not_before=NOW + left - lifetime, not_after=NOW + left)


def test_a_state_follows_from_the_last_scan_and_the_clock() -> None:
    for row, state in [
        (FINE, OK),
        (like(not_after=NOW), EXPIRED),
        (like(not_after=NOW - SECOND), EXPIRED),
        (like(not_after=NOW - SECOND, valid=False, host_match=False), EXPIRED),
        (like(not_after=NOW - SECOND, valid=None, scanned_at=None), EXPIRED),
        (like(not_after=None), UNKNOWN),
        (like(valid=False, host_match=False), WRONG_NAME),
        (like(valid=False), NOT_TRUSTED),
        (like(valid=False, host_match=None), NOT_TRUSTED),
        (like(valid=False, not_after=None), UNREACHABLE),
        (like(valid=False, not_after=None, message=REFUSED), NOT_ALLOWED),
        (like(valid=False, not_after=None, message=f"{REFUSED} (at ::1)"), NOT_ALLOWED),
        (like(valid=False, message=REFUSED), NOT_TRUSTED),
        (like(valid=False, not_before=NOW + SECOND), NOT_YET_VALID),
        (like(valid=False, not_before=NOW + SECOND, host_match=False), NOT_YET_VALID),
        (like(valid=False, not_before=NOW), NOT_TRUSTED),
        (like(valid=False, message="The connection was refused (at ::1)"), UNREACHABLE),
        (like(valid=None, scanned_at=None, not_after=None), NEVER_SCANNED),
        (like(valid=None), UNKNOWN),
    ]:
        assert state_of(row, NOW, USUAL) == state

    assert state_of(FINE, NOW + 60 * DAY, USUAL) == DUE
    assert state_of(FINE, NOW + 79 * DAY, USUAL) == ACT_NOW
    assert state_of(FINE, NOW + 80 * DAY, USUAL) == EXPIRED

    for start in (None, NOW + 90 * DAY):
        row = like(not_before=start, not_after=NOW + 29 * DAY)
        assert state_of(row, NOW, USUAL) == DUE
        assert state_of(msgspec.structs.replace(row, not_after=NOW + 6 * DAY), NOW, USUAL) == (
            ACT_NOW
        )


@pytest.mark.parametrize(
    ("lifetime", "due", "overdue", "act_now"),
    [
        (398 * DAY, 30 * DAY, None, 7 * DAY),
        (200 * DAY, 30 * DAY, None, 7 * DAY),
        (100 * DAY + SECOND, 30 * DAY, None, 7 * DAY),
        (100 * DAY, 30 * DAY, 27 * DAY, 7 * DAY),
        (90 * DAY, 30 * DAY, 27 * DAY, 7 * DAY),
        (64 * DAY, 64 * DAY / 3, 64 * DAY / 3 - 3 * DAY, 64 * DAY / 9),
        (63 * DAY, 21 * DAY, 18 * DAY, 7 * DAY),
        (47 * DAY, 47 * DAY / 3, 47 * DAY / 3 - 3 * DAY, 47 * DAY / 9),
        (45 * DAY, 15 * DAY, 12 * DAY, 5 * DAY),
        (30 * DAY, 10 * DAY, 7 * DAY, 10 * DAY / 3),
        (18 * DAY, 6 * DAY, 6 * DAY - 1.8 * DAY, 2 * DAY),
        (10 * DAY + SECOND, (10 * DAY + SECOND) / 3, None, None),
        (10 * DAY, 10 * DAY / 3, 10 * DAY / 3 - DAY, DAY),
        (6 * DAY, 2 * DAY, 2 * DAY - 14.4 * HOUR, DAY),
        (5 * DAY, 5 * DAY / 3, 5 * DAY / 3 - 12 * HOUR, DAY),
        (3 * DAY, DAY, 12 * HOUR, DAY),
    ],
)
def test_each_lifetime_has_its_limits(
    lifetime: timedelta, due: timedelta, overdue: timedelta | None, act_now: timedelta | None
) -> None:
    found = limits(lifetime)
    assert abs(found.due - due) <= timedelta(microseconds=1)
    if act_now is None:  # just above ten days: a third of due, which is more than a day
        assert DAY < found.act_now < 1.2 * DAY
        return
    assert abs(found.act_now - min(act_now, 7 * DAY)) <= timedelta(microseconds=1)
    if overdue is None:
        assert found.overdue is None
    else:
        assert found.overdue is not None
        assert abs(found.overdue - overdue) <= timedelta(microseconds=1)


def test_severity_follows_the_lifetime() -> None:
    for lifetime, left, state in [
        (200 * DAY, 31 * DAY, OK),
        (200 * DAY, 30 * DAY, OK),
        (200 * DAY, 30 * DAY - SECOND, DUE),
        (200 * DAY, 7 * DAY, DUE),
        (200 * DAY, 7 * DAY - SECOND, ACT_NOW),
        (200 * DAY, SECOND, ACT_NOW),
        (90 * DAY, 30 * DAY, OK),
        (90 * DAY, 30 * DAY - SECOND, DUE),
        (90 * DAY, 27 * DAY, DUE),
        (90 * DAY, 27 * DAY - SECOND, OVERDUE),
        (90 * DAY, 7 * DAY, OVERDUE),
        (90 * DAY, 7 * DAY - SECOND, ACT_NOW),
        (45 * DAY, 30 * DAY, OK),
        (45 * DAY, 30 * DAY - SECOND, ON_SCHEDULE),
        (45 * DAY, 15 * DAY, ON_SCHEDULE),
        (45 * DAY, 15 * DAY - SECOND, DUE),
        (45 * DAY, 12 * DAY - SECOND, OVERDUE),
        (45 * DAY, 5 * DAY - SECOND, ACT_NOW),
        (6 * DAY, 6 * DAY, ON_SCHEDULE),
        (6 * DAY, 2 * DAY, ON_SCHEDULE),
        (6 * DAY, 2 * DAY - SECOND, DUE),
        (6 * DAY, 33.6 * HOUR, DUE),
        (6 * DAY, 33.6 * HOUR - SECOND, OVERDUE),
        (6 * DAY, DAY, OVERDUE),
        (6 * DAY, DAY - SECOND, ACT_NOW),
    ]:
        assert state_of(living(lifetime, left), NOW, USUAL) == state


seconds = st.integers(1, 800 * 86_400)


def expected(life: int, left: int) -> State:
    """The rule once more, in exact fractions of seconds."""
    day = 86_400
    due = min(Fraction(30 * day), Fraction(life, 3))
    act = Fraction(day) if life <= 10 * day else max(Fraction(day), min(due / 3, Fraction(7 * day)))
    grace = max(Fraction(day, 2), min(Fraction(life, 10), Fraction(3 * day)))
    if left < act:
        return ACT_NOW
    if life <= 100 * day and left < due - grace:
        return OVERDUE
    if left < due:
        return DUE
    return ON_SCHEDULE if left < 30 * day else OK


@given(seconds, seconds)
@example(200 * 86_400, 30 * 86_400)
@example(100 * 86_400, 27 * 86_400 - 1)
@example(10 * 86_400, 86_400)
def test_severity_is_exact_to_the_second(life: int, left: int) -> None:
    row = living(timedelta(seconds=life), timedelta(seconds=left))
    assert state_of(row, NOW, USUAL) == expected(life, left)


@given(seconds, seconds, seconds)
def test_less_time_left_is_never_better(life: int, one: int, other: int) -> None:
    less, more = sorted((one, other))
    states = [
        state_of(living(timedelta(seconds=life), timedelta(seconds=left)), NOW, USUAL)
        for left in (less, more)
    ]
    assert states[0].rank <= states[1].rank


@given(seconds, seconds, st.integers(1, 90))
def test_a_threshold_in_percent_moves_due_alone(life: int, left: int, percent: int) -> None:
    rules = Thresholds({"example.com": f"{percent}%"})
    state = state_of(living(timedelta(seconds=life), timedelta(seconds=left)), NOW, rules)
    if Fraction(left) >= Fraction(life * percent, 100):
        assert state in {OK, ON_SCHEDULE, ACT_NOW}
    else:
        assert state in {ACT_NOW, OVERDUE, DUE}


def test_what_counts_as_due_and_the_net_can_be_set() -> None:
    row = like(not_after=NOW + 45 * DAY)
    assert state_of(row, NOW, Thresholds({"example.com": "46d"})) == DUE
    assert state_of(row, NOW, Thresholds({"example.com": "45d"})) == OK
    row = living(200 * DAY, 25 * DAY)
    assert state_of(row, NOW, Thresholds({"example.com": "14d"})) == ON_SCHEDULE

    row = living(90 * DAY, 45 * DAY)
    assert state_of(row, NOW, Thresholds(net_days=46)) == ON_SCHEDULE
    assert state_of(row, NOW, Thresholds(net_days=45)) == OK


def test_the_most_specific_rule_counts() -> None:
    for target, rule in [
        (Target("a.example.com"), "10d"),
        (Target("a.example.com", 8443), "20d"),
        (Target("b.example.com"), "30%"),
        (Target("b.eu.example.com"), "40%"),
        (Target("example.com"), None),
        (Target("example.org"), None),
        (Target("aXexample.com"), None),
    ]:
        rules = Thresholds(
            {
                "*.example.com": "30%",
                "a.example.com": "10d",
                "a.example.com:8443": "20d",
                "*.eu.example.com": "40%",
            }
        )
        found = rules.for_(target)
        assert (str(found) if found else None) == rule


@pytest.mark.parametrize("text", ["", "d", "14", "0d", "366d", "0%", "91%", "-1d", "1.5d", "²d"])
def test_a_threshold_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a threshold"):
        Threshold.parse(text)


def test_a_threshold_reads_as_it_is_written() -> None:
    for text in ["1d", "14d", "365d", "1%", "90%"]:
        assert str(Threshold.parse(text)) == text
        assert Threshold.parse(text.upper()) == Threshold.parse(text)


def test_a_scan_is_old_after_a_day_and_a_half() -> None:
    for row, stale in [
        (FINE, False),
        (like(scanned_at=NOW - STALE_AFTER), False),
        (like(scanned_at=NOW - STALE_AFTER - SECOND), True),
        (like(scanned_at=None), True),
        (like(scanned_at=NOW + SECOND), False),
        (like(scanned_at=NOW + DAY), True),
    ]:
        assert is_stale(row, NOW) is stale


def test_rows_are_ranked_worst_first_and_within_a_rank_by_their_end() -> None:
    ranked = [
        like(id=1, not_after=NOW - 9 * DAY),
        like(id=2, not_after=NOW - DAY),
        like(id=3, valid=False, not_after=NOW + 60 * DAY),
        like(id=4, valid=False, not_after=None),
        like(id=5, not_after=NOW + DAY),
        msgspec.structs.replace(living(90 * DAY, 20 * DAY), id=6),
        like(id=7, not_after=NOW + 19 * DAY),
        like(id=8, valid=None, not_after=None, scanned_at=None),
        msgspec.structs.replace(living(45 * DAY, 16 * DAY), id=9),
        like(id=10, target=Target("a.example.com")),
        like(id=11, target=Target("a.example.com", 8443)),
        like(id=12, target=Target("b.example.com")),
    ]
    mixed = sorted(ranked, key=lambda row: row.id * 7 % 13)
    found = sorted(mixed, key=lambda row: worst_first(row, NOW, USUAL))
    assert [row.id for row in found] == list(range(1, 13))


def test_every_state_has_a_word_and_a_symbol_of_its_rank() -> None:
    broken = [EXPIRED, NOT_YET_VALID, WRONG_NAME, UNREACHABLE, NOT_TRUSTED]
    states = [*broken, ACT_NOW, OVERDUE, DUE, NEVER_SCANNED, UNKNOWN]
    states += [NOT_ALLOWED, ON_SCHEDULE, OK]
    assert len({state.word for state in states}) == len(states)
    assert {state.rank for state in states} == set(Rank)
    assert all(state.word == state.word.upper() and len(state.word) < 16 for state in states)
    symbols = [symbol for rank in Rank for symbol in {s.symbol for s in states if s.rank is rank}]
    assert len(set(symbols)) == len(symbols)  # no two ranks share one


def test_days_left_are_whole_and_rounded_down() -> None:
    assert days_left(NOW + timedelta(days=30, hours=-1), NOW) == 29
    assert days_left(NOW + timedelta(hours=1), NOW) == 0
    assert days_left(NOW - timedelta(hours=1), NOW) == -1
