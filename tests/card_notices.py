"""The notices between digests, as cards for the tests."""

from collections.abc import Iterator

from msgspec.structs import replace

from bot.api.models import MonitorSummary
from bot.blocks import Message
from bot.cards import changes, subscriptions
from bot.dates import NOTICES, Subscription
from tests.card_values import ASKER, NOW, PLAIN, RULES, Texts, awaiting, rows


def notice_cases(texts: Texts = PLAIN) -> Iterator[tuple[str, Message]]:
    """What channels are told between digests."""
    held = rows(texts)
    broken, urgent, fine = held["wrong name"], held["act now, 24 hours"], held["ok"]
    names = ((texts.name,), (texts.host,))
    yield "notice: broken", changes.notice("broken", [broken], NOW, RULES, whom=ASKER)
    one = [replace(broken, id=each, fingerprint="ab" * 32) for each in (1, 2, 3)]
    yield "notice: one certificate", changes.notice("broken", one, NOW, RULES)
    yield "notice: worse", subscriptions.offer(changes.notice("worse", [urgent], NOW, RULES))
    for whom in ("S0ONCALL", "U0GONE"):
        each = Subscription(NOTICES, "C0CERTS", mention=whom)
        yield f"notice: {whom} is gone", subscriptions.mention_gone(each)
    late = awaiting(texts)["issued, fine"]
    yield "notice: late", changes.notice("late", [late], NOW, RULES)
    yield "notice: many late", changes.many("late", _so_many(late, 12), NOW, RULES)
    yield "notice: names", changes.notice("names", [fine], NOW, RULES, names=names)
    many = _so_many(broken, 199)
    yield "notice: many broken", changes.many("broken", many, NOW, RULES, whom=ASKER)
    yield "notice: many worse", changes.many("worse", _so_many(urgent, 7), NOW, RULES)
    for kind in ("fixed", "issuer"):
        yield f"notice: many {kind}", changes.many(kind, _so_many(fine, 12), NOW, RULES)
    news = [changes.News("fixed", each.id, each.target, each) for each in _so_many(fine, 19)]
    yield "notice: follow-up", changes.follow_up("fixed", news[:1], NOW, RULES)
    yield "notice: many follow up", changes.follow_up("fixed", news, NOW, RULES)
    yield "notice: removed", changes.removed(8, broken.target)
    kinds = {"renewed": 1200, "names": 2, "added": 1}
    yield "notice: small changes", changes.small_changes(kinds)


def _so_many(row: MonitorSummary, number: int) -> list[MonitorSummary]:
    return [replace(row, id=each) for each in range(1, number + 1)]
