"""The digest's messages in their cases, for `tests.card_cases`."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from bot.api.models import MonitorSummary
from bot.blocks import Message
from bot.cards import digest as digest_cards
from bot.cards import table as table_cards
from bot.errors import APIUnreachable, SlackRefused, SlackUnreachable
from bot.severity import Thresholds, is_fine
from tests.card_values import (
    DAY,
    EARLY,
    HOUR,
    NOW,
    PLAIN,
    RULES,
    Texts,
    many,
    on_schedule,
    row,
    rows,
)


def gathered(
    shown: Sequence[MonitorSummary],
    every: Sequence[MonitorSummary],
    rules: Thresholds = RULES,
    until: datetime | None = None,
) -> digest_cards.DigestContent:
    """A digest about these rows."""
    return digest_cards.content(every, shown, now=NOW, rules=rules, until=until)


def _fine(rows: Sequence[MonitorSummary]) -> list[MonitorSummary]:
    return [each for each in rows if is_fine(each, NOW, RULES)]


def digest_cases(texts: Texts = PLAIN) -> Iterator[tuple[str, Message]]:
    """Digests, message by message, and their private preview."""
    held = rows(texts)
    fine, old = held["ok"], held["old scan"]
    bad = [each for each in held.values() if each not in (fine, old)]
    friday = NOW + 35 * DAY
    cases = {
        "none monitored": gathered([], []),
        "all clear, one": gathered([], [fine]),
        "all clear": gathered([], [fine, held["other port"]]),
        "one old scan": gathered([], [fine, old]),
        "one due": gathered([held["due in 12 days"]], [held["due in 12 days"], fine]),
        "every state": gathered(bad, list(held.values())),
        "due by the team's own rule": gathered([], [row(texts, not_after=NOW + 50 * DAY)], EARLY),
        "one on schedule": gathered([held["on schedule"]], [fine, held["on schedule"]]),
        "twenty on schedule": gathered(on_schedule(20, texts), on_schedule(20, texts)),
        "fifty": gathered(many(50, texts), many(60, texts)),
        "hundreds": gathered(many(300, texts), many(500, texts)),
        "many old scans": gathered([], many(100, texts)),
        "one soon urgent": gathered([], [fine, row(texts, not_after=NOW + 40 * DAY)], until=friday),
        "many soon urgent": gathered([], _fine(many(300, texts)), until=friday),
    }
    day = date(2026, 11, 23)
    for name, found in cases.items():
        for part, message in enumerate(digest_cards.digest(found, NOW, day=day)):
            yield f"digest: {name}, part {part}", message
        yield f"preview: {name}", digest_cards.preview(found, NOW)
    [late, *_] = digest_cards.digest(cases["one due"], NOW, day=day, late=True)
    yield "digest: late", late
    [clear] = digest_cards.digest(cases["all clear"], NOW, day=day)
    yield "digest: edited", digest_cards.in_place(clear)
    table = table_cards.rest(many(2, texts), NOW, RULES)
    yield "digest: with a file", table_cards.with_csv(table)
    faults = {
        "no scope": SlackRefused("missing_scope"),
        "refused": SlackRefused(texts.fault),
        "perhaps": SlackUnreachable("Slack did not answer."),
        "no list": APIUnreachable(texts.fault),
    }
    for name, fault in faults.items():
        yield f"digest: no file, {name}", table_cards.with_csv(table, table_cards.no_csv(fault))
    yield "digest: notices paused", digest_cards.paused(2, all_wait=True)
    yield "digest: notices missing", digest_cards.paused(2, all_wait=False)
    yield "digest: blind", digest_cards.blind(NOW - HOUR, APIUnreachable(texts.fault))
    yield "digest: sees again", digest_cards.sees_again(NOW - HOUR, NOW)
    yield "digest: missed", digest_cards.missed(day, texts.fault)
    yield "digest: missed, unknown why", digest_cards.missed(day, "")
    yield "digest: incomplete", digest_cards.missed(day, texts.fault, has_begun=True)
    yield "digest: incomplete, unknown why", digest_cards.missed(day, "", has_begun=True)
