from __future__ import annotations

import pytest

from tests.bench import ack, home

pytestmark = pytest.mark.slow


async def test_an_ack_takes_less_than_half_as_long_as_bare_bolts() -> None:
    # The bench aims at a fifth; a ratio of two medians may double on a busy machine.
    ratio, _, _ = await ack.paired(rounds=9, commands=4)
    assert ratio < 0.5


async def test_acks_leave_while_the_api_keeps_its_answers_which_still_arrive() -> None:
    assert len(await ack.slow(seconds=0.0, commands=3)) == 3


async def test_home_is_published_within_a_second_from_two_calls_of_a_slow_api() -> None:
    times, asked = await home.measured(monitors=1000, rounds=2)
    assert max(times) < home.HOME_SECONDS
    assert sorted(asked) == ["account", "monitor/list"]
