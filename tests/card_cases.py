"""Every card there is, made from given rows and texts: for the snapshots and for hostile input."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from bot.api.extras import Check, History, HistoryEntry
from bot.api.models import (
    Account,
    ChainCertificate,
    HTTPInfo,
    Monitor,
    MonitorSummary,
    Ping,
    SweepProgress,
)
from bot.blocks import Block, Message, code, section
from bot.cards import add as add_cards
from bot.cards import batch as batch_cards
from bot.cards import details as detail_cards
from bot.cards import history as history_cards
from bot.cards import home as home_cards
from bot.cards import lists as list_cards
from bot.cards import marks as mark_cards
from bot.cards import monitor as monitor_cards
from bot.cards import recheck as recheck_cards
from bot.cards import replies, slack_faults
from bot.cards import row as row_cards
from bot.cards.add import Draft
from bot.cards.monitor import text_row
from bot.errors import NotAvailable, NotMonitored, SlackRefused, SlackUnreachable, UsageError
from bot.sighting import Sighting
from bot.slack.web import view_of, view_of_form
from bot.target import REFUSED, Target
from tests.card_notices import notice_cases
from tests.card_values import (
    ASKER,
    DAY,
    EARLY,
    HOUR,
    NOW,
    PLAIN,
    RULES,
    Json,
    Texts,
    awaiting,
    faults,
    many,
    monitor,
    row,
    rows,
)
from tests.digest_cases import digest_cases


def monitor_cases(texts: Texts = PLAIN) -> Iterator[tuple[str, Message]]:
    """The cards about one monitor."""
    held, target = rows(texts), Target(texts.host)
    who = replies.asked_by(texts.user)
    for name, each in held.items():
        yield f"monitor: {name}", monitor_cards.monitor(each, NOW, RULES)
        yield f"text row: {name}", _text(text_row(each, NOW, RULES))
    refused = row(texts, valid=False, not_after=None, issuer="", http_code=None, message=REFUSED)
    yield "monitor: not allowed", monitor_cards.monitor(refused, NOW, RULES)
    yield "text row: not allowed", _text(text_row(refused, NOW, RULES))
    yield (
        "monitor: note, public",
        monitor_cards.monitor(held["ok"], NOW, RULES, note=who, public=True),
    )
    yield (
        "monitor: due in 60",
        monitor_cards.monitor(row(texts, not_after=NOW + 50 * DAY), NOW, EARLY),
    )
    for name, each in awaiting(texts).items():
        yield f"monitor: {name}", monitor_cards.monitor(each, NOW, RULES)
    yield "details", detail_cards.details(monitor(texts), held["ok"], NOW, RULES)
    yield "details: 1,000 names", detail_cards.details(monitor(texts, 1000), held["ok"], NOW, RULES)
    yield (
        "details: nothing known",
        detail_cards.details(
            Monitor(12, target, None, None, HTTPInfo()), held["never scanned"], NOW, RULES
        ),
    )
    yield "scanning", row_cards.scanning(target, 888, note=who, public=True)
    yield "scanning: no note", row_cards.scanning(target, 888)
    yield "confirm delete", monitor_cards.confirm_delete(held["ok"], NOW, RULES)
    yield (
        "deleted",
        monitor_cards.deleted(target, 888, replies.deleted_line(texts.user, texts.host)),
    )


def list_cases(texts: Texts = PLAIN) -> Iterator[tuple[str, Message]]:
    """Lists, and what is said of several hosts."""
    held = rows(texts)
    yield "list: one", list_cards.monitors([held["ok"]], NOW, RULES)
    yield (
        "list: several",
        list_cards.monitors(many(8, texts), NOW, RULES, title=f"Monitors: {texts.typed}"),
    )
    yield "list: rows", list_cards.monitors(many(16, texts), NOW, RULES)
    yield "list: one too many", list_cards.monitors(many(61, texts), NOW, RULES)
    yield "list: hundreds", list_cards.monitors(many(300, texts), NOW, RULES)
    yield "none found", list_cards.none_found(code(texts.typed))
    yield "no such word", list_cards.no_such_word(texts.typed, "due")
    yield "nothing watched", list_cards.no_monitors()
    yield "csv sent", list_cards.csv_sent(10_000)
    yield "csv in doubt", Message(said := list_cards.csv_in_doubt(10_000, 3), (section(said),))
    yield "csv needs a scope", list_cards.csv_needs_scope()
    for rule in ("1d", "14d", "20%", ""):
        line = monitor_cards.warned_line(texts.user, texts.host, rule)
        yield f"warned: {rule or 'default'}", monitor_cards.warned(texts.host, rule, line)
    yield "warned: another", monitor_cards.warned(texts.host, "", "", other="3d")
    yield "not warned", monitor_cards.not_warned(texts.host, "3d")


def change_cases(texts: Texts = PLAIN) -> Iterator[tuple[str, Message]]:
    """What a rescan tells, and the offer to watch the other names."""
    held, target = rows(texts)["ok"], Target(texts.host)
    before = Sighting.of(monitor(texts))
    renewed = msgspec.structs.replace(
        before,
        not_after=NOW + 200 * DAY,
        issuer=f"{texts.issuer} 2",
        names=tuple(f"{texts.name}{n}" for n in range(9)),
        http_code=503,
    )
    gone = msgspec.structs.replace(before, not_after=None, issuer="", names=(), http_code=None)
    for name, one, other in (
        ("nothing", before, before),
        ("all", before, renewed),
        ("back to the old", renewed, before),
        ("gone", before, gone),
        ("still gone", gone, gone),
    ):
        said = mark_cards.sentence(one, other)
        yield f"rescan: {name}", monitor_cards.monitor(held, NOW, RULES, said=said, public=True)
    names = [f"{texts.name or 'x'}{n}" for n in range(40)]
    for number, fitting in ((1, 1), (3, 3), (40, 10), (3, 0)):
        offer = detail_cards.unmonitored_names(target, names[:number], [target] * fitting)
        yield (
            f"names: {number}, {fitting} fit",
            monitor_cards.monitor(held, NOW, RULES, more=[offer]),
        )


def _text(line: str) -> Message:
    return Message("", (section(line),))


def reply_cases(texts: Texts = PLAIN) -> Iterator[tuple[str, Message]]:
    """The cards about the bot itself."""
    usages = [("status HOST[:PORT]|ID", "Show a host: expires<30."), ("ping", "Ask it.")]
    yield "help", replies.help_card({"Look up and scan": usages, "Change": usages[:1]})
    explained = (*usages[0], "Filters: expires<30 & more.", "status a.b")
    yield "help: one", replies.command_help(*explained, ["digest here"])
    wrong = UsageError(f"“{texts.typed}” is not a host name.", "which")
    yield "wrong words", replies.usage_error(wrong, "status HOST[:PORT]|ID")
    yield "wrong words of a button", replies.usage_error(wrong, "")
    yield "unknown command", replies.unknown_command(texts.typed, "status", runs=False)
    yield "unknown command that runs", replies.unknown_command(texts.typed, "ping", runs=True)
    yield "unknown command like none", replies.unknown_command(texts.typed, "", runs=False)
    for name, fault in faults(texts).items():
        yield f"failure: {name}", replies.failure(fault, host=texts.host)
        yield f"scan failed: {name}", replies.scan_failed(fault, Target(texts.host), 888)
        yield f"scan unread: {name}", replies.scan_unread(fault, Target(texts.host), 888)
    yield "failure: no host", replies.failure(faults(texts)["not found"])
    yield "quota", replies.quota_used_up(Account(1, texts.email, 10, 10, 0))
    yield "quota: not told", replies.quota_used_up(Account(1, texts.email, None, None, 0))
    yield "outsider", replies.outsider()
    yield "guest", replies.guest()
    yield "no admin", replies.no_admin(["U0ADMIN", "S0ADMINS"])
    yield "no admin: none is left", replies.no_admin([])
    yield "no admin: many", replies.no_admin([f"U0ADMIN{n}" for n in range(30)])
    yield "unknown person", replies.unknown_person()
    yield "unconfirmed", replies.unconfirmed()
    for reason in ("not_in_channel", "is_archived"):
        yield f"not shared, {reason}", slack_faults.not_shared(SlackRefused(reason))
    yield "needs a form", replies.needs_form("add")
    yield "not watched: none near", replies.not_monitored(NotMonitored(texts.host, None, []))
    near = NotMonitored(texts.host, 8443, [texts.host, "b.example.com", "c.example.com"])
    yield "not watched: some near", replies.not_monitored(near)
    yield "restarting", slack_faults.restarting()
    yield "restarting during a change", slack_faults.restarting("Adding", changes=True)
    yield "interrupted", slack_faults.interrupted("Scanning api.demo.test…", changes=False)
    yield "broken", replies.broken("0123456789ab")
    yield "slack busy", slack_faults.busy()
    yield "sent directly", slack_faults.sent_directly()
    for reason in ("expired_trigger_id", "token_revoked", "is_archived", "missing_scope", "odd"):
        yield f"slack refused: {reason}", slack_faults.failure(SlackRefused(reason))
    yield "slack did not answer", slack_faults.failure(SlackUnreachable("Slack did not answer."))
    yield "account", replies.account_card(Account(1, texts.email, 1000, 1, 999))
    yield "account: not told", replies.account_card(Account(None, "", None, None, None))
    none, took = timedelta(), timedelta(milliseconds=1200)
    yield "ping", replies.ping_card(Ping(NOW, 7), took, none, NOW)
    yield "ping: own zone", replies.ping_card(Ping(NOW, None), none, 5.5 * HOUR, NOW)
    yield "ping: bare", replies.ping_card(Ping(None, None), none, -3 * HOUR, NOW)
    for name, sweep in (
        ("on time", SweepProgress(0, none, 1200)),
        ("on time, one due", SweepProgress(1, timedelta(seconds=59), 1)),
        ("late", SweepProgress(70, 2 * HOUR, 1200)),
        ("late, number unknown", SweepProgress(1, timedelta(minutes=1))),
    ):
        yield f"ping: {name}", replies.ping_card(Ping(NOW, 7, sweep), took, none, NOW)
    yield "working", replies.working()
    yield "checking", replies.working("check")
    yield "follows", replies.working("follows")
    for count in (1, 3, 4):
        yield f"added {count}", _text(replies.added_line(texts.user, [texts.host] * count))
    yield "deleted line", _text(replies.deleted_line(texts.user, texts.host))


def form_cases(texts: Texts = PLAIN) -> Iterator[tuple[str, Message]]:
    """What is shown while hosts are added, and of a message that names hosts."""
    target, draft = Target(texts.host), Draft({}, texts.address, 8080, texts.user)
    yield "checking one", add_cards.checking([target])
    yield "checking many", add_cards.checking([target] * 7)
    problems = [
        replies.already_monitored(target),
        replies.not_done(target, faults(texts)["refused"], "added"),
        add_cards.no_room(target, 10, 10),
        add_cards.no_room(target, None, None),
    ]
    yield "adding one", add_cards.adding(1, [target], [])
    yield "adding 7 of 40", add_cards.adding(7, [target] * 40, problems)
    yield "preview", add_cards.preview([str(target)] * 4)
    yield "preview: 50", add_cards.preview([str(target)] * 50)
    line = replies.added_line(texts.user, [texts.host] * 4)
    lines = [text_row(each, NOW, RULES) for each in rows(texts).values()]
    for name, left in (("all", []), ("some left", [target]), ("many left", [target] * 40)):
        yield (
            f"added: {name}",
            add_cards.added(3, lines, problems, left=left, draft=draft, announce=line),
        )
    yield "hosts found", add_cards.found_hosts([target] * 25)
    yield "menu: nothing watched", add_cards.menu([], NOW, RULES)
    order = list_cards.ranked(rows(texts).values(), NOW, RULES)
    yield "menu", add_cards.menu(order, NOW, RULES)
    yield "menu without", add_cards.menu_without(replies.failure(faults(texts)["unreachable"]))
    lines_of = [(NOW, texts.user, "delete_now", texts.host, texts.fault)] * 20
    yield "audit", add_cards.audit(lines_of, "")
    channels = [(NOW, texts.user, "digest_here", "C0DIGESTS", "09:00 UTC, daily")]
    yield "audit: a channel", add_cards.audit(channels, "")
    yield "audit: one host", add_cards.audit(lines_of[:1], texts.host)
    yield "audit: nothing", add_cards.audit([], texts.host)
    shared = monitor_cards.monitor(rows(texts)["ok"], NOW, RULES)
    yield "shareable", monitor_cards.shareable(shared, "status api.example.com")
    yield "shared", replace(shared, blocks=(*shared.blocks, add_cards.shared_note(texts.user)))
    yield "no hosts found", add_cards.found_hosts([])


def batch_cases(texts: Texts = PLAIN) -> Iterator[tuple[str, Message]]:
    """Scanning and deleting many monitors at once."""
    order = list_cards.ranked(rows(texts).values(), NOW, RULES)
    many = order * 20
    for name, ask in (("scan", list_cards.ask_scan), ("delete", list_cards.ask_delete)):
        for number, asked in (("few", order), ("too many", many)):
            title, offer = ask(asked)
            card = list_cards.monitors(order, NOW, RULES, title=title, offer=offer)
            yield f"{name} {number}?", card
    target, fault = Target(texts.host), faults(texts)["refused"]
    failed = [(target, fault)] * 12
    scanned = partial(batch_cards.scanned, now=NOW, rules=RULES, note="asked by Ann")
    yield "batch: scanning", list_cards.progress("Scanning", 3, 12, "asked by Ann")
    yield "batch: scanned", scanned(order, order, failed, 1)
    yield "batch: none scanned", scanned([], [], failed, 0)
    yield "batch: unread", list_cards.scanned_unread(12, fault, "asked by Ann")
    yield "batch: deleted", list_cards.deleted([target] * 5, failed, 2, texts.user)


def watch_cases(texts: Texts = PLAIN) -> Iterator[tuple[str, Message]]:
    """The cards of Scan & watch."""
    target, held, later = Target(texts.host), rows(texts), NOW + 30 * timedelta(minutes=1)
    before = Sighting.of(monitor(texts))
    seen = recheck_cards.Comparison(held["expired 4 h ago"], before, before)
    card = recheck_cards.found(seen.row, NOW, RULES, seen.change)
    yield "watch: beginning", recheck_cards.beginning(target, later, texts.user)
    yield (
        "watch: watching",
        recheck_cards.watching(
            card, watch_id=1, target=target, ends_at=later, next_at=NOW, scans=2, small=[]
        ),
    )
    for name, line in (
        ("fixed", recheck_cards.fixed_line(NOW, 3)),
        ("over", recheck_cards.over_line(NOW, 1, late=False)),
        ("over late", recheck_cards.over_line(NOW, 30, late=True)),
        ("stopped", recheck_cards.stopped_line(NOW, texts.user, 3)),
    ):
        yield f"watch: {name}", recheck_cards.ended(card, line)
    yield "watch: failed", recheck_cards.failed(faults(texts)["unreachable"], target)
    yield "watch: unknown", recheck_cards.unknown(target)
    yield "watch: elsewhere", recheck_cards.elsewhere(target, direct=False)
    yield "watch: in messages", recheck_cards.elsewhere(target, direct=True)
    row_shown = recheck_cards.watch_row(1, target, later, 3)
    yield "watch: already", recheck_cards.already(target, later, row_shown)
    yield (
        "watch: fixed reply",
        recheck_cards.fixed_reply(ASKER, seen, NOW, 3, recheck_cards.others(13, 12)),
    )
    yield "watch: changed reply", recheck_cards.changed_reply(ASKER, seen, NOW, RULES)
    yield "watch: over reply", recheck_cards.over_reply(ASKER, target, 30)
    yield "watch: too many", recheck_cards.too_many(10, [row_shown])
    yield "watch: no longer", recheck_cards.no_longer(7)
    yield "watch: gone reply", recheck_cards.gone_reply(ASKER, target)


def chain(texts: Texts = PLAIN, more: int = 0) -> tuple[ChainCertificate, ...]:
    """A host's certificate, and authorities' that have ended, end soon, and do not say when."""
    links = [
        (texts.name, texts.issuer, NOW - 10 * DAY, NOW + 80 * DAY),
        (texts.issuer, texts.title, NOW - 90 * DAY, NOW - 4 * HOUR),
        (texts.issuer, texts.title, NOW - 3000 * DAY, NOW + 12 * DAY),
        (texts.issuer, texts.title, None, NOW + DAY),
        (texts.title, texts.title, NOW - 3000 * DAY, NOW + 4000 * DAY),
        (texts.title, "", None, None),
    ]
    return tuple(ChainCertificate(*link) for link in links + links[-2:-1] * more)


def past(texts: Texts = PLAIN) -> list[HistoryEntry]:
    """A monitor's life: one certificate, its end, another name, another one, and an outage."""
    first, second = NOW - 90 * DAY, NOW - 10 * DAY
    seen: list[dict[str, Any]] = [
        {"at": first + HOUR, "valid": True},
        {"at": second, "valid": False, "not_after": second, "message": texts.message},
        {"at": second + HOUR, "valid": False, "host_match": False, "message": texts.message},
        {"at": second + 2 * HOUR, "valid": True, "issuer": texts.title},
        {"at": NOW - DAY, "valid": False, "not_after": None, "message": texts.message},
        {"at": NOW - HOUR, "valid": None, "message": texts.fault, "issuer": texts.title},
    ]
    known = {
        "message": "Valid",
        "host_match": True,
        "not_before": first,
        "not_after": NOW + 80 * DAY,
        "issuer": texts.issuer,
    }
    return [HistoryEntry(**(known | each)) for each in reversed(seen)]


def beyond_cases(texts: Texts = PLAIN) -> Iterator[tuple[str, Message]]:
    """The cards of what only some APIs have."""
    held, target, all_found = rows(texts), Target(texts.host), monitor(texts)
    linked = replace(all_found, chain=chain(texts))
    fine = Check(held["ok"], linked)
    dead = Check(held["unreachable"], Monitor(0, target, NOW, None, HTTPInfo()))
    yield "check: running", history_cards.checking(target)
    yield "check: fine", history_cards.checked(fine, "", NOW, RULES)
    yield "check: starttls", history_cards.checked(fine, "smtp", NOW, RULES)
    yield "check: dead host", history_cards.checked(dead, "", NOW, RULES)
    for name in ("refused", "too many, wait", "unreachable"):
        yield f"check: {name}", history_cards.check_failed(faults(texts)[name], target, "smtp")
    for command in ("check", "history"):
        yield f"not offered: {command}", replies.not_available(NotAvailable(command))
    waits = replace(linked, expected=(f"serial {texts.message}",))
    yield "details: chain", _details(waits, held["ok"])
    long = replace(all_found, chain=chain(texts, more=30))
    yield "details: many links", _details(long, held["due in 12 days"])
    lived = past(texts)
    yield "history", history_cards.history(held["ok"], History(tuple(lived), len(lived)))
    yield "history: one", history_cards.history(held["ok"], History(tuple(lived[-1:]), 1))
    yield "history: hundreds", history_cards.history(held["ok"], History(tuple(lived * 4), 999))
    yield "history: none", history_cards.history(held["never scanned"], History((), 0))


def _details(found: Monitor, row: MonitorSummary) -> Message:
    return detail_cards.details(found, row, NOW, RULES, link=monitor_cards.HISTORY)


def every_card(texts: Texts = PLAIN) -> dict[str, Message]:
    """All cards by name."""
    groups = (
        *(monitor_cases, list_cases, change_cases, reply_cases, form_cases, batch_cases),
        *(digest_cases, watch_cases, beyond_cases, notice_cases),
    )
    return {name: message for group in groups for name, message in group(texts)}


def homes(texts: Texts = PLAIN) -> dict[str, tuple[Block, ...]]:
    """The Home tab of several accounts."""
    held = rows(texts)
    watched = [recheck_cards.watch_row(1, Target(texts.host), NOW + HOUR, 3)]
    alone = home_cards.Facts(None, [], "none yet", [("Digest", "off")])
    busy = home_cards.Facts(
        Account(1, texts.email, 1000, 1, 999), watched, "today", [("Digest", code(texts.typed))]
    )
    kinds = {
        "empty": [],
        "fine": [held["ok"]],
        "old scans": [held["ok"], held["old scan"]],
        "one due": [held["ok"], held["due in 12 days"]],
        "hundreds": many(300, texts),
    }
    made = {
        f"home: {name}": home_cards.home(
            home_cards.monitors(each, NOW, RULES, 0), busy if each else alone, NOW, RULES
        )
        for name, each in kinds.items()
    }
    return made | {"home: failed": home_cards.failed(faults(texts)["unreachable"], busy, NOW)}


def views(messages: Mapping[str, Message]) -> dict[str, Json]:
    """What is shown in modals: forms, and answers to them."""
    shown = {name: view_of(message) for name, message in messages.items()}
    return {"form: add": view_of_form(add_cards.add_form({}, ()), "C0CERTS")} | shown


def hostile(text: str) -> Texts:
    """This text wherever a third party may put one; a host is at most 253 characters."""
    return replace(
        Texts(*[text] * len(Texts.__slots__)),
        host=text[:253].strip() or "x",
    )
