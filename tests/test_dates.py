"""Durations as people and settings write them."""

from datetime import timedelta

import pytest

from bot.dates import parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12H", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("0m", timedelta()),
        ("999999d", timedelta(days=999_999)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "12", "h", "1.5h", "12 h", "-1m", "1h30m", "1w", "٣h", "1000000s", "soon", "30m\n"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration") as fault:
        parse_duration(text)
    assert f"“{text}”" in str(fault.value)
    assert "30m" in str(fault.value)
