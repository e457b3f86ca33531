"""What a rescan says of what it found."""

import dataclasses
from datetime import UTC, datetime, timedelta

import msgspec

from bot.blocks import bare
from bot.cards.marks import changes, sentence
from bot.sighting import Sighting
from tests.card_values import certificate, monitor, row

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
DAY = timedelta(days=1)
BEFORE = Sighting(
    valid=True,
    not_after=NOW - DAY,
    issuer="Old CA",
    names=("a.example.com", "b.example.com"),
    http_code=200,
)
GONE = Sighting(valid=False, not_after=None, issuer="", names=(), http_code=None)


def now(**changed: object) -> Sighting:
    return msgspec.structs.replace(BEFORE, **changed)


def test_a_rescan_says_what_changed() -> None:
    for seen, said in [
        (now(), "No change: still the old certificate."),
        (now(valid=False), "No change: still the old certificate."),
        (
            now(not_after=NOW + 89 * DAY),
            "Changed: expiry date 22 Nov 2026 08:00 UTC → 20 Feb 2027 08:00 UTC.",
        ),
        (now(issuer="New CA"), "Changed: issuer Old CA → New CA."),
        (now(names=("a.example.com",)), "Changed: names removed: b.example.com."),
        (
            now(names=("a.example.com", "b.example.com", "c.example.com")),
            "Changed: names added: c.example.com.",
        ),
        (
            now(names=("a.example.com", *(f"n{n}.example.com" for n in range(5)))),
            (
                "Changed: names removed: b.example.com · names added: "
                "n0.example.com, n1.example.com, n2.example.com and 2 more."
            ),
        ),
        (now(http_code=503), "Changed: HTTP 200 → 503."),
        (now(http_code=None), "Changed: HTTP 200 → none."),
        (GONE, "Changed: expiry date 22 Nov 2026 08:00 UTC → none · HTTP 200 → none."),
    ]:
        assert bare(sentence(BEFORE, seen)) == said


def test_a_certificate_that_still_can_not_be_read_is_reported_as_such() -> None:
    assert sentence(GONE, GONE) == "No change: the certificate still can't be read."


def test_neither_order_nor_the_verdict_is_a_change() -> None:
    found = monitor()
    leaf = certificate()
    turned = dataclasses.replace(leaf, alt_names=leaf.alt_names[::-1])
    again = Sighting.of(dataclasses.replace(found, certificate=turned))
    assert changes(Sighting.of(found), again) == []

    found = monitor()
    alone, judged = Sighting.of(found), Sighting.of(found, row())
    assert alone.valid is None
    assert judged.valid is True
    assert changes(alone, judged) == []
    assert not judged.renewed_since(alone)


def test_another_end_date_issuer_or_name_is_another_certificate() -> None:
    assert now(not_after=NOW + DAY).renewed_since(BEFORE)
    assert now(issuer="New CA").renewed_since(BEFORE)
    assert now(names=("a.example.com",)).renewed_since(BEFORE)
    assert not now(http_code=503).renewed_since(BEFORE)
    assert not GONE.renewed_since(BEFORE)


def test_a_sighting_survives_being_stored() -> None:
    stored = msgspec.json.encode(BEFORE)
    assert msgspec.json.decode(stored, type=Sighting) == BEFORE
