"""The rows of certificates that several monitors share, and what Details say of a certificate."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.api.models import MonitorSummary
from bot.blocks import Block, context, counted
from bot.cards import details as detail_cards
from bot.cards import lists as list_cards
from bot.cards.batch import redrawn, refreshed
from bot.cards.changes import HIDDEN
from bot.cards.digest import content, digest
from bot.cards.home import PAGE, Facts, home
from bot.cards.home import monitors as home_monitors
from bot.cards.marks import outcome_line
from bot.cards.monitor import MOST_HOST, text_row
from bot.cards.monitor import monitor as one_card
from bot.cards.row import (
    busy_row,
    carried,
    group_row,
    grouped,
    list_row,
    more_about_group,
    saying,
)
from bot.severity import Thresholds, is_fine, state_of
from bot.sighting import Claim, Marks, Mute
from bot.target import Target
from tests.card_values import DAY, HOUR, NOW, RULES, monitor, row

PRINTS = st.sampled_from(["", "aa", "bb"])
KINDS = (st.booleans(), st.sampled_from([-1, 5, 80]))
MEMBERS = st.lists(st.tuples(PRINTS, *KINDS), max_size=30)
MANY = st.lists(st.tuples(st.sampled_from(["", *"abcdefgh"]), *KINDS), max_size=90)


def members(given: list[tuple[str, bool, int]]) -> list[MonitorSummary]:
    """A monitor for each: its certificate, whether it is valid, and the days that are left."""
    return [
        row(id=number, fingerprint=name, valid=valid, not_after=NOW + days * DAY)
        for number, (name, valid, days) in enumerate(given, 1)
    ]


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("days", [-1, 80])
def test_hosts_that_differ_in_their_middle_alone_do_not_look_alike(days: int, others: int) -> None:
    end, shown = f"{'internal.' * 5}example.com", []
    for number in (4711, 4712):
        host = Target(f"gateway-of-production-{number}.{end}")
        same = [
            row(id=number + 10 * each, target=host, fingerprint="aa", not_after=NOW + days * DAY)
            for each in range(others + 1)
        ]
        text = str(group_row(same, NOW, RULES, outcome="✅ fixed")["text"]["text"])
        shown.append(text)
        assert f"#{number}" in text.split("\n", maxsplit=1)[0]
        assert len(text.split("`")[1]) <= MOST_HOST
        assert ("+2" in text) is bool(others)
        assert ("~`" in text and "`~ " in text) is (days > 0)
        assert f"#{number}" in str(busy_row(host, number, "Ben")["text"]["text"])
    assert shown[0] != shown[1]


def test_a_row_of_several_has_somebody_or_is_muted_only_if_all_of_it_is() -> None:
    rows = [row(id=n, fingerprint="aa", not_after=NOW + DAY) for n in (1, 2, 3)]
    claims = {n: Claim(n, "U0BEN", "Ben", NOW) for n in (1, 2)}
    mutes = {n: Mute("U0BEN", "Ben", NOW, NOW + DAY) for n in (1, 2)}
    part = Thresholds(marks=Marks(claims=claims, mutes=mutes))
    text = str(group_row(rows, NOW, part)["text"]["text"])
    assert not {"🙋", "🔕"} & set(text)
    assert "I'll take it" in str(more_about_group(rows, NOW, part))
    claims |= {3: Claim(3, "U0ANN", "Ann", NOW)}
    mutes |= {3: Mute("U0BEN", "Ben", NOW, NOW + DAY)}
    whole = Thresholds(marks=Marks(claims=claims, mutes=mutes))
    assert "🙋 Ben, Ann · 🔕 muted" in str(group_row(rows, NOW, whole)["text"]["text"])
    assert "Release" in str(more_about_group(rows, NOW, whole))


@pytest.mark.parametrize("host", ["a.test", "a-host-of-two-lines.example"])
@pytest.mark.parametrize("outcome", ["", "↻ no change · Ben, now", "↻ result unknown · Ben, now"])
def test_a_row_that_is_partly_fixed_says_on_how_many_and_who_has_it(
    host: str, outcome: str
) -> None:
    old: dict[str, Any] = {"target": Target(host), "fingerprint": "aa", "scanned_at": NOW - 3 * DAY}
    rows = [row(id=n, not_after=NOW + (n - 2) * DAY, valid=n > 2, **old) for n in (1, 2)]
    claims = {n: Claim(n, "U0MAX", "Maximilian Mustermann", NOW) for n in (1, 2)}
    mutes = {n: Mute("U0BEN", "Ben", NOW, NOW + DAY) for n in (1, 2)}
    rules = Thresholds(marks=Marks(claims, mutes))
    rows.append(row(id=3, **old))
    text = str(group_row(rows, NOW, rules, outcome=outcome)["text"]["text"])
    assert re.search(r"\n1 of 3 fixed(, 2 broken)? · 🙋 Maximil", text)
    assert outcome[-8:] in text
    assert len(text.split("\n")) <= 3


@pytest.mark.parametrize("host", ["a.test", "a-host-of-two-lines.example", f"{'wm.' * 14}org"])
@pytest.mark.parametrize("name", ["", "Ann", "Maximilian Mustermann"])
@pytest.mark.parametrize("kinds", ["1 broken, 4 due", "1 of 5 fixed, 1 broken, 1 urgent, 2 due"])
def test_a_row_of_several_kinds_counts_them_and_shows_the_result_of_a_press(
    host: str, name: str, kinds: str
) -> None:
    wrong: dict[str, Any] = {"valid": False, "host_match": False, "not_after": NOW + 9 * DAY}
    ends = [NOW + 80 * DAY, NOW + HOUR] if "fixed" in kinds else [NOW + 9 * DAY] * 2
    facts = [wrong, *({"not_after": end} for end in (*ends, NOW + 9 * DAY, NOW + 9 * DAY))]
    some = [row(id=n, target=Target(host), **each) for n, each in enumerate(facts, 1)]
    claims = {each.id: Claim(each.id, "U0", name, NOW) for each in some if name}
    said = outcome_line("no change", "Benjamin", NOW)
    new = group_row(some, NOW, Thresholds(marks=Marks(claims)), outcome=said)
    for shown in new, saying(saying(new, said), said.replace("no change", "rescanned")):
        lines = str(shown["text"]["text"]).split("\n")
        assert len(lines) <= 3
        assert lines[1].startswith(kinds)
        assert "Benjamin, <!date" in lines[-1]
        assert not name or f"🙋 {name[:3]}" in lines[1]
        assert host[:15] in lines[0]


def test_a_pressed_row_of_several_says_since_when_and_who_has_it_if_not_what_fixes_it() -> None:
    rows = [row(id=n, fingerprint="aa", not_after=NOW - DAY) for n in (1, 2)]
    for names, fact in (
        (("Ann", "Ben"), "Expired <!date"),
        (("Alexandra", "Benedikt"), "🙋"),
    ):
        claims = {n: Claim(n, f"U{n}", name, NOW) for n, name in enumerate(names, 1)}
        rules, said = Thresholds(marks=Marks(claims)), "↻ no change · Ben, now"
        _, below, last = str(group_row(rows, NOW, rules, outcome=said)["text"]["text"]).split("\n")
        assert below.startswith(fact)
        assert below.endswith(f"🙋 {', '.join(names)}")
        assert last == said


def test_a_row_shows_its_note_only_where_a_line_is_left_for_it() -> None:
    claims = {1: Claim(1, "U0BEN", "Ben", NOW)}
    for host, noted in (("a.test", True), ("a-host-of-two-lines.example", False)):
        expired = row(id=1, target=Target(host), not_after=NOW - DAY, valid=False)
        rules = Thresholds(marks=Marks(claims, notes={host: "ask Ann"}))
        first, *below = str(list_row(expired, NOW, rules)["text"]["text"]).split("\n")
        assert "EXPIRED" in first
        assert below[0].startswith("Expired <!date")
        assert below[0].endswith("🙋 Ben")
        assert below[1:] == ["📝 ask Ann"] * noted


def test_a_row_of_several_says_that_one_of_the_scans_is_too_old() -> None:
    rows = [row(id=n, fingerprint="aa", scanned_at=NOW - n * DAY) for n in (1, 3)]
    assert "3 days ago" in str(group_row(rows, NOW, RULES)["text"]["text"])


def test_a_scan_whose_date_is_in_the_future_was_not_made_just_now() -> None:
    card = str(one_card(row(scanned_at=NOW + HOUR), NOW, RULES).blocks)
    assert "scanned at an unknown time" in card
    assert "just now" not in card


@given(MEMBERS)
def test_grouping_loses_no_monitor_and_shows_none_twice(given: list[tuple[str, bool, int]]) -> None:
    rows = members(given)
    groups = grouped(rows, NOW, RULES)
    assert sorted(each.id for group in groups for each in group) == [each.id for each in rows]
    for group in groups:
        assert len({(each.fingerprint, state_of(each, NOW, RULES)) for each in group}) == 1
        assert len(group) == 1 or group[0].fingerprint
        block = group_row(group, NOW, RULES)
        assert block["block_id"] == f"row:{min(each.id for each in group)}"


def ids_in(blocks: Iterable[Block]) -> list[int]:
    """The monitors that the rows rescan, row by row."""
    pressed = [block["accessory"] for block in blocks if "accessory" in block]
    return [
        int(word)
        for each in pressed
        for word in each["value"].split()[: 1 if each["action_id"] == "ssl:scan:below" else None]
    ]


@given(MEMBERS)
def test_a_list_shows_and_counts_each_monitor_once(given: list[tuple[str, bool, int]]) -> None:
    rows = members(given)
    card = list_cards.monitors(rows, NOW, RULES, by_certificate=True)
    assert card.text.startswith(f"{counted(len(rows), 'monitor')}: ")
    tables = [block for block in card.blocks if block["type"] == "data_table"]
    shown = [int(line[-1]["text"]) for table in tables for line in table["rows"][1:]]
    assert sorted(shown or ids_in(card.blocks)) == sorted(each.id for each in rows)
    assert len(set(ids_in(card.blocks))) == len(ids_in(card.blocks))


@given(MANY)
def test_home_shows_what_is_not_fine_on_one_page(given: list[tuple[str, bool, int]]) -> None:
    rows = members(given)
    facts, shown, number, pages = Facts(None, [], "none yet", []), [], 0, 1
    while number < pages:
        found = home_monitors(rows, NOW, RULES, number, "U0ANN")
        pages = max(1, -(-found.rows // PAGE))
        blocks = home(found, facts, NOW, RULES)
        assert sum(str(each.get("block_id")).startswith("row:") for each in blocks) <= PAGE
        shown += ids_in(blocks)
        number += 1
    assert sorted(shown) == [each.id for each in rows if not is_fine(each, NOW, RULES)]
    assert sum(count for _, count in found.counts) == len(rows)


@pytest.mark.parametrize(
    ("known", "said"),
    [("good", "The CA has not revoked the certificate."),
     ("unknown: asked", "Revocation unknown: the CA was asked, and the answer is on its way."),
     ("unknown: ca.test <b> did not answer", "Revocation unknown: ca.test &lt;b&gt; did not"),
     ("", "")],
)  # fmt: skip
def test_details_say_what_is_known_of_revocations(known: str, said: str) -> None:
    blocks = detail_cards.facts(replace(monitor(), revocation=known), NOW, RULES)
    text = json.dumps(blocks, ensure_ascii=False)
    assert said in text
    assert ("evo" in text) is bool(said)


def test_details_say_that_dns_was_asked_whether_the_ca_may_renew() -> None:
    blocks = detail_cards.facts(replace(monitor(), caa="unknown: asked"), NOW, RULES)
    assert "may renew it is unknown: DNS was asked" in json.dumps(blocks)


def test_a_row_of_more_monitors_than_one_press_scans_counts_them_all() -> None:
    rows = [row(id=n, fingerprint="aa", not_after=NOW - DAY, valid=False) for n in range(1, 151)]
    (group,) = grouped(rows, NOW, RULES)
    block = group_row(group, NOW, RULES)
    assert "and 149 more" in block["text"]["text"]
    found = {each.id: each for each in rows}
    assert refreshed(block, found, NOW, RULES) is None  # nothing has changed
    taken = Thresholds(marks=Marks(claims={n: Claim(n, "U0ANN", "Ann", NOW) for n in found}))
    changed = refreshed(block, found, NOW, taken)
    assert changed
    assert "and 149 more" in changed[0]["text"]["text"]


@pytest.mark.parametrize(
    ("problem", "said"),
    [({"not_after": NOW - DAY}, "one renewal fixes 3 monitors"),
     ({"host_match": False}, "3 monitors, one certificate")],
)  # fmt: skip
def test_a_renewal_is_promised_to_fix_only_what_it_fixes(problem: Any, said: str) -> None:
    rows = [row(id=n, fingerprint="aa", valid=False, **problem) for n in (1, 2, 3)]
    assert said in group_row(rows, NOW, RULES)["text"]["text"]


def test_details_tell_how_the_connection_was_secured() -> None:
    facts = ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "ECDSA secp256r1", "serial 4b")
    blocks = detail_cards.facts(replace(monitor(), handshake=facts), NOW, RULES)
    said = json.dumps(blocks, ensure_ascii=False)
    assert "`TLSv1.3` · `TLS_AES_256_GCM_SHA384` · `ECDSA secp256r1` · `serial 4b`" in said


@pytest.mark.parametrize(("days", "valid"), [(20, True), (2, True), (-1, False)])
def test_a_row_whose_renewal_is_due_says_that_caa_records_forbid_it(days: int, valid: bool) -> None:
    due = row(issuer="Let's Encrypt", caa_refuses=True, valid=valid, not_after=NOW + days * DAY)
    for text in (list_row(due, NOW, RULES)["text"]["text"], text_row(due, NOW, RULES)):
        assert "CAA forbids Let's Encrypt" in text
    permitted = msgspec.structs.replace(due, caa_refuses=False)
    assert "CAA" not in list_row(permitted, NOW, RULES)["text"]["text"]


def test_a_row_says_nothing_of_caa_records_before_renewal_is_due() -> None:
    early = row(issuer="Let's Encrypt", caa_refuses=True)
    wrong = row(issuer="Let's Encrypt", caa_refuses=True, valid=False, host_match=False)
    assert "CAA" not in str([list_row(each, NOW, RULES) for each in (early, wrong)])


def test_a_row_that_waits_for_a_certificate_is_not_fixed_until_it_is_live() -> None:
    waits = row(expected_at=NOW - 3 * HOUR, scanned_at=NOW - HOUR)
    pressed = list_row(waits, NOW, RULES, outcome="↻ no change · Ann, 08:00")
    assert "~" not in pressed["text"]["text"]

    shown = list_row(waits, NOW, RULES)
    assert "reload it" in shown["text"]["text"]
    assert refreshed(shown, {waits.id: waits}, NOW + HOUR, RULES) is None
    live = msgspec.structs.replace(waits, expected_at=None)
    found = refreshed(shown, {live.id: live}, NOW, RULES)
    assert found is not None
    assert "✅ fixed" in found[0]["text"]["text"]

    again = refreshed(found[0], {waits.id: waits}, NOW, RULES)
    assert again is not None
    assert "reload it" in again[0]["text"]["text"]


def test_monitors_of_one_certificate_wait_together() -> None:
    waits: dict[str, Any] = {
        "fingerprint": "aa",
        "expected_at": NOW - 3 * HOUR,
        "scanned_at": NOW - HOUR,
    }
    one, other, third = (row(id=n, **waits) for n in (1, 2, 3))
    third = msgspec.structs.replace(third, expected_at=None)
    together, alone = grouped([one, other, third], NOW, RULES)
    assert (together, alone) == ((one, other), (third,))
    text = str(group_row(together, NOW, RULES)["text"]["text"])
    assert "+1" in text
    assert text.endswith("still serving the old one: reload it")


def test_what_a_notice_has_no_room_for_is_over_once_none_of_it_needs_anybody() -> None:
    line = {**context("and 5 more."), "block_id": f"{HIDDEN}1-3,8-9"}
    assert refreshed(line, {n: row(id=n, valid=False) for n in (1, 2, 3, 8, 9)}, NOW, RULES) is None
    fine = {n: row(id=n) for n in (1, 2, 3, 8)}
    some = refreshed(line, {**fine, 9: row(id=9, valid=False)}, NOW, RULES)
    assert some is not None
    assert "and 5 more. 1 of these is left." in str(some[0])
    gone = refreshed(some[0], {9: row(id=9, valid=False)}, NOW, RULES)
    assert gone is not None
    assert "and 5 more. 4 monitors are no longer monitored. 1 of these is left." in str(gone[0])
    over = refreshed(line, {9: row(id=9)}, NOW, RULES)
    assert over is not None
    assert "None of these needs" in str(over[0])


def test_a_line_about_more_monitors_than_it_can_name_stays_as_it_was_posted() -> None:
    for number in (list_cards.MOST_SUMMED_UP, list_cards.MOST_SUMMED_UP + 1):
        rows = [row(id=n, valid=False) for n in range(1, number + 1)]
        line = list_cards.left_line(rows, NOW, RULES)
        fixed = {each.id: msgspec.structs.replace(each, valid=True) for each in rows[1:]}
        found = refreshed(line, {1: rows[0], **fixed}, NOW, RULES)
        assert (found is not None) is (number == list_cards.MOST_SUMMED_UP)


def test_a_row_never_becomes_that_of_another_accounts_host_with_the_same_id() -> None:
    shown = list_row(row(id=7, valid=False), NOW, RULES)
    other = row(id=7, target=Target("other.example.net", 443))
    found = refreshed(shown, {7: other}, NOW, RULES)
    assert found is not None
    assert "other.example.net" not in str(found)
    assert "No longer monitored" in found[0]["text"]["text"]
    mine = [row(id=n, valid=False, fingerprint="ab") for n in (7, 8)]
    others = {n: row(id=n, target=Target(f"{n}.example.net", 443)) for n in (7, 8)}
    found = refreshed(group_row(mine, NOW, RULES), others, NOW, RULES)
    assert found is not None
    assert "No longer monitored" in found[0]["text"]["text"]


def test_an_edited_digest_mentions_nobody() -> None:
    bad = row(valid=False)
    found = content([bad], [bad], now=NOW, rules=RULES)
    (posted,) = digest(replace(found, left=(bad,), mention="U0BEN"), NOW, day=NOW.date())
    assert "<@U0BEN> Nobody has taken" in str(posted.blocks)
    _, edited = redrawn(posted.text, posted.blocks)
    assert "Nobody has taken" in str(edited)
    assert "U0BEN" not in str(edited)


def test_a_row_whose_certificate_is_merely_due_later_is_not_struck() -> None:
    monitor_due = row(target=Target("a.test"), not_after=NOW + 20 * DAY)
    was = list_row(monitor_due, NOW, RULES)
    later = Thresholds({monitor_due.target.host: "5d"})
    for outcome in ("", "↻ fine · Ann, 09:00"):
        new = carried(was, list_row(monitor_due, NOW, later, outcome=outcome), NOW)
        assert "~`" not in new["text"]["text"]
        assert "fixed" not in new["text"]["text"]
    renewed = list_row(row(target=Target("a.test")), NOW, later)
    assert "~`" in carried(was, renewed, NOW)["text"]["text"]


@pytest.mark.parametrize("message", ["Valid", ""])
def test_the_row_of_a_broken_monitor_gives_no_reason_that_the_api_does_not_give(
    message: str,
) -> None:
    broken = row(valid=False, message=message)
    said = list_row(broken, NOW, RULES)["text"]["text"].splitlines()[1]
    assert said == "The API doesn't say why"
