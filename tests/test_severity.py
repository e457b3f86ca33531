"""How bad a monitor's state is, hour by hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from bot.models import MonitorSummary
from bot.severity import (
    DUE,
    EXPIRED,
    NEVER_SCANNED,
    NOT_TRUSTED,
    NOT_YET_VALID,
    OK,
    STALE_AFTER,
    UNKNOWN,
    UNREACHABLE,
    WRONG_NAME,
    Rank,
    State,
    is_stale,
    state_of,
    worst_first,
)
from bot.target import Target

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
FINE = MonitorSummary(
    id=1,
    target=Target("example.com"),
    valid=True,
    message="Valid",
    color="green",
    expire_days=80,
    not_before=NOW - 10 * DAY,
    not_after=NOW + 80 * DAY,
    host_match=True,
    issuer="Test CA",
    http_code=200,
    scanned_at=NOW,
)


def like(**changes: object) -> MonitorSummary:
    return msgspec.structs.replace(FINE, **changes)


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (FINE, OK),
        (like(not_after=NOW + 30 * DAY), OK),
        (like(not_after=NOW + 30 * DAY - SECOND), DUE),
        (like(not_after=NOW + SECOND), DUE),
        (like(not_after=NOW), EXPIRED),
        (like(not_after=NOW - SECOND), EXPIRED),
        (like(not_after=NOW - SECOND, valid=False, host_match=False), EXPIRED),
        (like(not_after=NOW - SECOND, valid=None, scanned_at=None), EXPIRED),
        (like(not_after=None), OK),
        (like(valid=False, host_match=False), WRONG_NAME),
        (like(valid=False), NOT_TRUSTED),
        (like(valid=False, host_match=None), NOT_TRUSTED),
        (like(valid=False, not_after=None), UNREACHABLE),
        (like(valid=False, not_before=NOW + SECOND), NOT_YET_VALID),
        (like(valid=False, not_before=NOW + SECOND, host_match=False), NOT_YET_VALID),
        (like(valid=False, not_before=NOW), NOT_TRUSTED),
        (like(valid=None, scanned_at=None, not_after=None), NEVER_SCANNED),
        (like(valid=None), UNKNOWN),
    ],
)
def test_a_state_follows_from_the_last_scan_and_the_clock(
    row: MonitorSummary, state: State
) -> None:
    assert state_of(row, NOW) == state


def test_a_certificate_that_was_fine_expires_without_a_new_scan() -> None:
    assert state_of(FINE, NOW + 79 * DAY) == DUE
    assert state_of(FINE, NOW + 80 * DAY) == EXPIRED


def test_what_counts_as_due_can_be_set() -> None:
    row = like(not_after=NOW + 45 * DAY)
    assert state_of(row, NOW) == OK
    assert state_of(row, NOW, 46) == DUE
    assert state_of(row, NOW, 45) == OK


@pytest.mark.parametrize(
    ("row", "stale"),
    [
        (FINE, False),
        (like(scanned_at=NOW - STALE_AFTER), False),
        (like(scanned_at=NOW - STALE_AFTER - SECOND), True),
        (like(scanned_at=None), True),
        (like(scanned_at=NOW + DAY), False),
    ],
)
def test_a_scan_is_old_after_a_day_and_a_half(row: MonitorSummary, stale: bool) -> None:
    assert is_stale(row, NOW) is stale


def test_rows_are_ranked_worst_first_and_within_a_rank_by_their_end() -> None:
    ranked = [
        like(id=1, not_after=NOW - 9 * DAY),
        like(id=2, not_after=NOW - DAY),
        like(id=3, valid=False, not_after=NOW + 60 * DAY),
        like(id=4, valid=False, not_after=None),
        like(id=5, not_after=NOW + DAY),
        like(id=6, not_after=NOW + 29 * DAY),
        like(id=7, valid=None, not_after=None, scanned_at=None),
        like(id=8, target=Target("a.example.com")),
        like(id=9, target=Target("a.example.com", 8443)),
        like(id=10, target=Target("b.example.com")),
    ]
    mixed = sorted(ranked, key=lambda row: row.id * 7 % 11)
    found = sorted(mixed, key=lambda row: worst_first(row, NOW))
    assert [row.id for row in found] == list(range(1, 11))


def test_every_state_has_a_word_and_a_symbol_of_its_rank() -> None:
    broken = [EXPIRED, NOT_YET_VALID, WRONG_NAME, UNREACHABLE, NOT_TRUSTED]
    states = [*broken, DUE, NEVER_SCANNED, UNKNOWN, OK]
    assert len({state.word for state in states}) == len(states)
    assert all(state.word == state.word.upper() and len(state.word) < 16 for state in states)
    symbols = [symbol for rank in Rank for symbol in {s.symbol for s in states if s.rank is rank}]
    assert len(set(symbols)) == len(symbols)  # no two ranks share one
