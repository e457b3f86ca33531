"""Durations as people and settings write them."""

from datetime import timedelta

import pytest

from bot.dates import parse_duration, parse_length


def test_a_duration_is_a_number_and_a_unit() -> None:
    for text, duration in [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12H", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("0m", timedelta()),
        ("999999d", timedelta(days=999_999)),
    ]:
        assert parse_duration(text) == duration


def test_people_write_durations_in_words_too() -> None:
    for text, length in (
        ("2 weeks", timedelta(days=14)),
        ("for 30 min", timedelta(minutes=30)),
        ("for=12H", timedelta(hours=12)),
        ("an hour", timedelta(hours=1)),
        ("a month", timedelta(days=30)),
        ("P14D", timedelta(days=14)),
        ("PT30M", timedelta(minutes=30)),
    ):
        assert parse_length(text) == length, text
    for text in ("P1M", "1.5 days", "1mo", "30ms", "2 weeks off", "until friday"):
        with pytest.raises(ValueError, match="is not a duration"):
            parse_length(text)


@pytest.mark.parametrize(
    "text", ["", "12", "h", "1.5h", "12 h", "-1m", "1h30m", "1w", "٣h", "1000000s", "soon", "30m\n"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration") as fault:
        parse_duration(text)
    assert f"“{text}”" in str(fault.value)
    assert "30m" in str(fault.value)
