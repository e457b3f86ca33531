"""The rows of certificates that several monitors share, and what Details say of a certificate."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.cards import details as detail_cards
from bot.cards.row import group_row, grouped, list_row, refreshed, text_row
from bot.severity import Thresholds, state_of
from bot.sighting import Claim, Marks
from tests.card_values import DAY, NOW, RULES, monitor, row

PRINTS = st.sampled_from(["", "aa", "bb"])
MEMBERS = st.lists(st.tuples(PRINTS, st.booleans(), st.sampled_from([-1, 5, 80])), max_size=30)


@given(MEMBERS)
def test_grouping_loses_no_monitor_and_shows_none_twice(given: list[tuple[str, bool, int]]) -> None:
    rows = [
        row(id=number, fingerprint=name, valid=valid, not_after=NOW + days * DAY)
        for number, (name, valid, days) in enumerate(given, 1)
    ]
    groups = grouped(rows, NOW, RULES)
    assert sorted(each.id for group in groups for each in group) == [each.id for each in rows]
    for group in groups:
        assert len({(each.fingerprint, state_of(each, NOW, RULES)) for each in group}) == 1
        assert len(group) == 1 or group[0].fingerprint
        block = group_row(group, NOW, RULES)
        assert block["block_id"] == f"row:{min(each.id for each in group)}"


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


def test_a_row_of_more_monitors_than_one_press_scans_counts_them_all() -> None:
    rows = [row(id=n, fingerprint="aa", not_after=NOW - DAY, valid=False) for n in range(1, 151)]
    (group,) = grouped(rows, NOW, RULES)
    block = group_row(group, NOW, RULES)
    assert "and 149 more" in block["text"]["text"]
    found = {each.id: each for each in rows}
    assert refreshed(block, found, NOW, RULES) is None  # nothing has changed
    taken = Thresholds(marks=Marks(claims={1: Claim(1, "U0ANN", "Ann", NOW)}))
    changed = refreshed(block, found, NOW, taken)
    assert changed
    assert "and 149 more" in changed[0]["text"]["text"]


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
