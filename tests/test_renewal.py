"""What follows from the window in which a CA asks for a renewal, and how cards say it."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.api.models import MonitorSummary, Renewal, WireRenewal, read_renewal, read_summary
from bot.api.reading import read_monitor
from bot.cards import details as detail_cards
from bot.cards.changes import compare, notice
from bot.cards.digest import content
from bot.cards.monitor import headline, text_row
from bot.cards.monitor import monitor as monitor_card
from bot.cards.row import list_row
from bot.severity import (
    ACT_NOW,
    DUE,
    EXPIRED,
    OK,
    OVERDUE,
    REVOKED,
    UNKNOWN,
    Thresholds,
    ca_asks_now,
    limits,
    limits_of,
    state_of,
)
from tests.card_values import DAY, HOUR, NOW, RULES, monitor, row

WHY = "https://ca.example/incident"
ASKS = "the CA asks to renew now"


def asked(
    start: float, end: float, *, left: float = 60, lifetime: float = 90, **more: Any
) -> MonitorSummary:
    """A certificate with so many days left, whose window is so many days from now."""
    url = more.pop("url", "")
    return row(
        not_before=NOW + (left - lifetime) * DAY,
        not_after=NOW + left * DAY,
        renewal=Renewal(NOW + start * DAY, NOW + end * DAY, url),
        **more,
    )


def test_a_window_decides_when_renewal_is_due() -> None:
    for seen, state in [
        (asked(-1, -0.5), ACT_NOW),  # moved forward, and over
        (asked(-0.1, -1 / 1440), ACT_NOW),
        (asked(-1, 1), DUE),  # moved forward, and not over yet
        (asked(1, 2), OK),
        (asked(29, 31), OK),  # the usual window
        (asked(-1, 1, left=30.5), DUE),  # has begun, half a day before our own rule
        (asked(-3, -1, left=28), OVERDUE),  # the usual one has ended: our rule says due
        (asked(-2.9, -0.9, left=29), OVERDUE),
        (asked(-60, -30), ACT_NOW),
        (asked(0.5, 60), OK),  # it lasts until the certificate expires
        (asked(-1, 60), OK),
        (asked(-1, 90), OK),
        (asked(5, 7, left=20), OVERDUE),  # never later than our own rule
        (asked(2, 3, left=5), ACT_NOW),
        (asked(-1, -0.5, left=-1), EXPIRED),
        (asked(-1, -0.5, valid=False, message="Revoked 2026-11-22"), REVOKED),
        (asked(-1, 1, left=66, lifetime=200), DUE),  # a long life: the usual window is before ours
        (asked(-2, -1, left=65, lifetime=200), OVERDUE),
        (asked(-2, -1, left=65, lifetime=200, url=WHY), ACT_NOW),  # the CA explains it
        (asked(-2, -1, left=120, lifetime=200), ACT_NOW),
        (asked(-2, -1, left=50, lifetime=200), ACT_NOW),  # before our rule, and not the usual one
        (asked(-2, -1, left=28, lifetime=200), OVERDUE),
        (asked(-0.2, -0.1, left=2.9, lifetime=6), OVERDUE),  # a short life: half of it
        (asked(-0.2, -0.1, left=4.5, lifetime=6), ACT_NOW),
    ]:
        assert state_of(seen, NOW, RULES) is state


def test_a_threshold_of_the_teams_own_gives_way_only_to_a_window_that_was_moved() -> None:
    late = Thresholds({"*": "5d"})
    assert state_of(asked(-3, -1, left=28), NOW, late).rank == OK.rank - 1
    assert state_of(asked(-3, -1, left=60), NOW, late) is ACT_NOW
    early = Thresholds({"*": "70d"})
    assert state_of(asked(29, 31), NOW, early) is OVERDUE


def test_without_a_beginning_a_certificate_counts_as_long_lived() -> None:
    unknown = msgspec.structs.replace(asked(-2, -1), not_before=None)
    assert state_of(unknown, NOW, RULES) is OVERDUE
    without = msgspec.structs.replace(asked(-2, -1), not_after=None)
    assert state_of(without, NOW, RULES) is UNKNOWN


TIMES = st.timedeltas(-timedelta(days=500), timedelta(days=500))


@given(TIMES, TIMES, TIMES, st.timedeltas(timedelta(minutes=1), timedelta(days=400)), st.booleans())
def test_nothing_is_ever_due_later_for_a_window(
    start: timedelta, length: timedelta, left: timedelta, lifetime: timedelta, explained: bool
) -> None:
    end = NOW + left
    window = Renewal(NOW + start, NOW + start + abs(length), WHY if explained else "")
    seen = row(not_before=end - lifetime, not_after=end, renewal=window)
    own, found = limits(lifetime), limits_of(seen, RULES)
    assert found.due >= own.due
    assert (found.overdue or own.act_now) >= (own.overdue or timedelta())
    assert found.act_now >= own.act_now
    assert ca_asks_now(seen, NOW) <= (state_of(seen, NOW, RULES) in {ACT_NOW, EXPIRED})


def test_a_row_says_that_the_ca_asks_and_links_its_explanation() -> None:
    seen = asked(-1, -0.5, url=WHY)
    for text in (
        list_row(seen, NOW, RULES)["text"]["text"],
        text_row(seen, NOW, RULES),
        notice("worse", [seen], NOW, RULES).blocks[1]["text"]["text"],
        monitor_card(seen, NOW, RULES).blocks[0]["text"]["text"].replace("The CA", "the CA"),
    ):
        assert f"{ASKS} (<{WHY}|why>)" in text
    assert f"ACT NOW, {ASKS}, expires in 60 days" in headline(seen, NOW, RULES)
    late = asked(-3, -1, left=28, url=WHY)
    assert ASKS not in str((list_row(late, NOW, RULES), headline(late, NOW, RULES)))
    near = asked(-3, -1, left=5, url=WHY)
    assert "renew it now" in list_row(near, NOW, RULES)["text"]["text"]


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "https://a.example/|<!channel>", "https://a.example/>*x*", "https://",
     "https://bank.example@evil.example/", "https://a.example/" + 500 * "x", "ftp://a.example/",
     "https://a.example/\u202e", "https://a.example/ <@U1>"],
)  # fmt: skip
def test_nobody_is_sent_to_a_hostile_explanation(url: str) -> None:
    seen = asked(-1, -0.5, url=url)
    said = json.dumps([list_row(seen, NOW, RULES), *_details(seen.renewal)])
    assert ASKS in said
    assert "|why" not in said
    assert url not in said


def test_an_explanation_is_escaped() -> None:
    seen = asked(-1, -0.5, url="https://a.example/?a=1&b=2")
    assert "<https://a.example/?a=1&amp;b=2|why>" in list_row(seen, NOW, RULES)["text"]["text"]


def _details(told: Renewal | str | None) -> list[dict[str, Any]]:
    return detail_cards.facts(replace(monitor(), renewal=told or ""), NOW, RULES)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (Renewal(NOW - DAY, NOW + DAY, WHY), f"The CA asks for a renewal between .* (<{WHY}|why>)"),
        (Renewal(NOW - DAY, NOW - HOUR), "The CA asked for a renewal between "),
        ("unknown: asked", "renewal is unknown: the CA was asked, and the answer is on its way."),
        ("unknown: <b> did not answer", "renewal is unknown: &lt;b&gt; did not answer."),
        ("", ""),
    ],
)
def test_details_say_when_the_ca_asks_in_one_line(told: Renewal | str, said: str) -> None:
    texts = [str(block) for block in _details(told) if "renewal" in str(block)]
    assert len(texts) == bool(said)
    assert all(part in "".join(texts) for part in said.split(".*"))


def test_the_digest_has_what_the_ca_asks_for_though_it_expires_in_months() -> None:
    rows = [asked(-1, -0.5, id=1), asked(29, 31, id=2), asked(-1, 60, id=3)]
    assert [each.id for each in content(rows, now=NOW, rules=RULES).rows] == [1]


def test_a_notice_comes_when_the_window_was_moved_and_is_over() -> None:
    before = compare({}, [asked(29, 31)], NOW, RULES)[1]
    told, seen, _ = compare(before, [asked(-1, -0.5)], NOW, RULES)
    assert [each.kind for each in told] == ["worse"]
    withdrawn, *_ = compare(seen, [asked(29, 31)], NOW, RULES)
    assert withdrawn == []  # nothing was renewed, so nothing is fixed
    renewed, *_ = compare(seen, [asked(60, 62, left=90)], NOW, RULES)
    assert [each.kind for each in renewed] == ["fixed"]


def test_the_api_may_tell_it_or_not_or_send_nonsense() -> None:
    told = {"status": "known", "start": "2026-11-22 08:00", "end": "2026-11-23 08:00"}
    window = Renewal(NOW - DAY, NOW, WHY)
    plain = {"id": 1, "host": "a.example"}

    def listed(renewal: object) -> Renewal | None:
        return read_summary(plain | {"renewal": renewal}, timedelta()).renewal

    def got(renewal: object) -> Renewal | str:
        return read_monitor(plain | {"renewal": renewal}, timedelta()).renewal

    assert listed(told | {"explanation_url": WHY}) == got(told | {"explanation_url": WHY}) == window
    assert read_summary(plain, timedelta()).renewal is None
    nonsense: object
    for nonsense in (None, 5, [], {"end": "soon"}, {"start": 1, "end": []}):
        assert listed(nonsense) is None
        assert got(nonsense) == ""
    assert got({"status": "unknown: asked"}) == "unknown: asked"
    for start, end in (
        (told["end"], told["start"]),
        ("0001-01-01 00:00", told["end"]),
        (told["start"], "9999-12-31 23:59"),
    ):
        assert read_renewal(WireRenewal("known", start, end), timedelta()) is None
    offset = read_renewal(WireRenewal("known", told["start"], told["end"]), timedelta(hours=2))
    assert offset == Renewal(window.start - 2 * HOUR, window.end - 2 * HOUR)
