"""What the daily digest asks of the API, and what it makes of the answers."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.api.models import MonitorSummary, Renewal
from bot.cards import digest as digest_cards
from bot.cards.table import expiries
from bot.digest import gather
from bot.errors import APIUnreachable
from bot.severity import ACT_NOW, USUAL, Rank, Thresholds, state_of
from bot.sighting import Marks, Mute
from tests.card_values import HOUR, NOW, many, row
from tests.digest_plan import DAY, api


async def test_it_asks_for_what_expires_soon_what_is_invalid_and_all() -> None:
    asked, held = api(many(16))
    await gather(asked, NOW, USUAL)
    assert sorted(map(str, held.asked)) == sorted(
        map(str, [{"expires": "<30"}, {"valid": False}, {}])
    )


async def test_the_days_that_the_net_holds_can_be_set() -> None:
    asked, held = api([row(not_after=NOW + 50 * DAY)])
    found = await gather(asked, NOW, Thresholds(net_days=60))
    assert {"expires": "<60"} in held.asked
    [message] = digest_cards.digest(found, NOW, day=NOW.date())
    assert message.text == "✅ Nothing is due for renewal among 1 monitor."
    assert "1 certificate expires within 60 days and is not due for renewal yet" in str(
        message.blocks
    )


async def test_a_threshold_of_the_teams_own_brings_a_monitor_in_early() -> None:
    asked, _ = api([row(id=1, not_after=NOW + 50 * DAY), row(id=2, not_after=NOW + 50 * DAY)])
    rules = Thresholds({"api.example.com": "60d"})
    [message] = digest_cards.digest(await gather(asked, NOW, rules), NOW, day=NOW.date())
    assert message.text.startswith("2 due. api.example.com DUE, expires in 50 days")


async def test_a_monitor_whose_last_scan_gave_no_verdict_is_listed() -> None:
    asked, _ = api([row(id=1), row(id=2, valid=None)])
    [message] = digest_cards.digest(await gather(asked, NOW, USUAL), NOW, day=NOW.date())
    assert message.text.startswith("1 unknown. 1 other is not due.")


def test_the_whole_list_counts_where_the_apis_filters_say_less_or_more() -> None:
    rows = [row(id=1), row(id=2, valid=False), row(id=3, not_after=NOW + DAY)]
    everything = [*rows, row(id=4, not_after=None)]
    found = digest_cards.content(everything, now=NOW, rules=USUAL)  # they broke between the calls
    assert [each.id for each in found.rows] == [2, 3, 4]
    unfiltered = digest_cards.content([rows[0]], [rows[0]], now=NOW, rules=USUAL)
    [message] = digest_cards.digest(unfiltered, NOW, day=NOW.date())
    assert message.text == "✅ All clear: 1 monitor, none due for renewal."


async def test_nothing_is_said_of_monitors_with_old_scans_but_that_they_are_old() -> None:
    old = row(id=2, scanned_at=NOW - 2 * DAY)
    asked, _ = api([row(id=1, not_after=NOW + 5 * DAY), old, row(id=3)])
    [message] = digest_cards.digest(await gather(asked, NOW, USUAL), NOW, day=NOW.date())
    assert message.text.startswith("1 urgent. 1 other is not due.")
    assert "1 monitor has no scan dated in the last 36 hours" in str(message.blocks)


async def test_certificates_on_schedule_are_folded_into_one_line() -> None:
    short = [row(id=n, not_before=NOW - 20 * DAY, not_after=NOW + 25 * DAY) for n in range(1, 15)]
    asked, _ = api([*short, row(id=20, not_after=NOW + 12 * DAY)])
    found = await gather(asked, NOW, USUAL)
    [message] = digest_cards.digest(found, NOW, day=NOW.date())
    assert message.text.startswith("1 due, 14 on schedule. api.example.com DUE")
    assert str(message.blocks).count("ON SCHEDULE") == 1
    assert "14 certificates expire within 30 days and are not due for renewal yet" in str(
        message.blocks
    )


def test_a_certificate_of_several_monitors_counts_once() -> None:
    one = [
        row(id=n, fingerprint="ab" * 32, not_before=NOW - 20 * DAY, not_after=NOW + 25 * DAY)
        for n in range(1, 15)
    ]
    [message] = digest_cards.digest(
        digest_cards.content(one, one, now=NOW, rules=USUAL), NOW, day=NOW.date()
    )
    assert "1 certificate of 14 monitors expires within 30 days" in str(message.blocks)
    others = [row(id=n, not_after=NOW + 12 * DAY) for n in range(20, 24)]
    chart = expiries([*others, *one], NOW, USUAL)
    assert chart is not None
    assert chart.blocks[0]["text"]["text"].split("\n")[2] == "From 30 Nov: 4 due"
    assert chart.blocks[0]["text"]["text"].endswith("1 on schedule")


async def test_both_answers_are_merged_worst_first_and_none_comes_twice() -> None:
    rows = [
        row(id=1, not_after=NOW + 5 * DAY),
        row(id=2, not_after=NOW - DAY, valid=False),
        row(id=3, valid=False),
        row(id=4),
    ]
    asked, _ = api(rows)
    found = await gather(asked, NOW, USUAL)
    assert [each.id for each in found.rows] == [2, 3, 1]
    assert found.total == 4


async def test_there_is_no_all_clear_while_scans_are_old() -> None:
    asked, _ = api([row(id=1), row(id=2, scanned_at=NOW - 3 * DAY), row(id=3, scanned_at=None)])
    [message] = digest_cards.digest(await gather(asked, NOW, USUAL), NOW, day=NOW.date())
    told = f"{message.text} {message.blocks}"
    assert "All clear" not in told
    assert "2 monitors have no scan dated in the last 36 hours" in told


async def test_all_clear_is_said_when_all_is_clear() -> None:
    asked, _ = api([row(id=1), row(id=2)])
    [message] = digest_cards.digest(await gather(asked, NOW, USUAL), NOW, day=NOW.date())
    assert message.text == "✅ All clear: 2 monitors, none due for renewal."


async def test_a_fault_of_the_api_comes_out_as_it_is() -> None:
    asked, held = api([])
    held.fault = APIUnreachable("Nobody is there.")
    with pytest.raises(APIUnreachable):
        await gather(asked, NOW, USUAL)


async def test_what_is_urgent_before_the_next_digest_at_work_is_named_in_one_line() -> None:
    until = NOW + 3 * DAY
    asked_by_ca = row(id=99, renewal=Renewal(NOW + DAY, NOW + 2 * DAY))  # moved forward
    asked, _ = api([row(id=n, not_after=NOW + n * DAY) for n in range(8, 25)] + [asked_by_ca])
    found = await gather(asked, NOW, USUAL, until=until)
    [message] = digest_cards.digest(found, NOW, day=NOW.date())
    assert [each.id for each in found.soon] == [8, 9, 99]
    said = (
        "Unless renewed, the certificates of 3 monitors reach *Act now* before the digest of "
        "Thursday, 26 November: `api.example.com`, `api.example.com`, `api.example.com`."
    )
    assert said in str(message.blocks)
    assert message.text.endswith(f" {said.translate({ord('*'): '', ord('`'): ''})}")


LEFT = st.integers(-24, 120 * 24).map(lambda hours: hours * HOUR)
LIFETIMES = st.sampled_from([2, 6, 10, 11, 12, 47, 90, 100, 101, 200, 398, 825])


@st.composite
def monitors(draw: st.DrawFn) -> list[MonitorSummary]:
    """Valid and other monitors, with any lifetime and any time left."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        end = draw(st.none() | LEFT.map(lambda left: NOW + left))
        start = end - draw(LIFETIMES) * DAY if end and draw(st.booleans()) else None
        valid = draw(st.sampled_from([True, True, True, False, None]))
        found.append(row(id=number, valid=valid, not_before=start, not_after=end))
    return found


@given(monitors(), st.integers(1, 8 * 24), st.sampled_from(["", "3d", "60d", "365d", "90%", "1%"]),
       st.tuples(st.sets(st.integers(0, 12)), st.integers(1, 200), st.booleans()))  # fmt: skip
def test_who_is_named_ahead_gets_urgent_by_then_and_who_is_not_does_not(
    rows: list[MonitorSummary], hours: int, rule: str, mutes: tuple[set[int], int, bool]
) -> None:
    muted, lasts, holds = mutes
    until = NOW + hours * HOUR
    mute = Mute("U1", "Ann", NOW, NOW + lasts * HOUR, rank=None if holds else Rank.OK)
    marks = Marks(mutes=dict.fromkeys(muted, mute))
    rules = Thresholds({"*.example.com": rule} if rule else {}, marks=marks)
    named = {each.id for each in digest_cards.urgent_by(until, rows, NOW, rules)}
    times = [NOW + n * HOUR / 2 for n in range(2 * hours + 1)]
    for each in rows:
        states = [state_of(each, at, rules) for at in times]
        urgent = [before.rank > Rank.ACT_NOW and after is ACT_NOW
                  for before, after in itertools.pairwise(states)]  # fmt: skip
        quiet = each.id in muted and holds and until < mute.until
        assert (each.id in named) == (any(urgent) and not quiet)


def test_an_urgent_monitor_is_not_named_ahead_as_it_is_listed() -> None:
    ending = [row(id=1, not_after=NOW + 2 * HOUR), row(id=2, not_after=NOW + timedelta(hours=30))]
    found = digest_cards.urgent_by(NOW + 3 * DAY, ending, NOW, USUAL)
    assert found == ()
