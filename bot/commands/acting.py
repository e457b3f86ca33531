"""The commands by which people divide the work: take, release, mute, note, runbook."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Self
from urllib.parse import urlsplit

from bot.api.models import MonitorSummary, asked_at
from bot.blocks import Block, Message, bare, section
from bot.cards import lists as list_cards
from bot.cards import marks as mark_cards
from bot.cards import monitor as monitor_cards
from bot.cards.batch import of_row
from bot.cards.monitor import ranges, read_ranges
from bot.cards.row import MOST_RESCANNED, THIS_ROW, group_row, more_about_group, with_row
from bot.commands import after_scan
from bot.commands.arguments import host_and_text, host_first
from bot.commands.lookup import (
    AND,
    HOST,
    NO_HOSTS,
    One,
    Selector,
    find,
    host_pattern,
    router,
    several,
)
from bot.commands.router import Call
from bot.commands.thresholds import meant
from bot.dates import DAY, length_and_reason, parse_length
from bot.errors import BotError, NotFound, UsageError
from bot.severity import Thresholds, is_fine, mute_of, new_claim, runbook_of, state_of
from bot.sighting import Marks, Mute

#: The longest mute.
LONGEST = 30 * DAY
LONGEST_NOTE, LONGEST_LINK = 200, 500


@dataclass(frozen=True, slots=True)
class Ids:
    """The IDs of a row's monitors."""

    ids: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `101-114,120`. Raises ValueError with a sentence for the user."""
        if text == THIS_ROW:
            raise ValueError("This list is too old for that. Ask for a new one.")
        if not re.fullmatch(r"\d{1,15}(-\d{1,15})?(,\d{1,15}(-\d{1,15})?)*", text, re.ASCII):
            raise ValueError(f"“{text}” isn't a list of IDs. Write them as 101-114,120.")
        return cls(tuple(read_ranges(text, MOST_RESCANNED)))

    def __str__(self) -> str:
        return ranges(map(str, self.ids))


@dataclass(frozen=True, slots=True)
class For:
    """How long a mute lasts; None for until the certificate changes or gets worse."""

    time: timedelta | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `for=7d`; an empty value means None. Raises ValueError."""
        name, equals, value = text.partition("=")
        if name.lower() != "for" or not equals:
            raise ValueError(f"“{text}” isn't expected here. Use for=7d.")
        time = parse_length(value) if value else None
        if time is not None and not timedelta(minutes=1) <= time <= LONGEST:
            raise ValueError("A mute lasts from 1m to 30d.")
        return cls(time)

    def __str__(self) -> str:
        minutes = int(self.time.total_seconds()) // 60 if self.time else 0
        units = {"d": 24 * 60, "h": 60, "m": 1}
        found = (f"for={minutes // n}{unit}" for unit, n in units.items() if minutes % n == 0)
        return next(found) if minutes else ""


UNTIL_IT_CHANGES = For(None)

#: Instead of a text or a link: there should be none.
_REMOVES = frozenset({"none", "off", "remove", "delete", "clear", "reset"})
_ENDS = frozenset({*_REMOVES, "on", "no", "stop", "end", "false"})


def _quoted(words: Sequence[str]) -> list[str]:
    """The words as host, `for=…` if present, and the rest as one text."""
    if len(words) < 2:
        return list(words)
    host, *rest = host_first(words)
    text = " ".join(rest)
    if rest[0].lower() in AND or HOST.match(rest[0]):  # it would be lost in the reason
        raise UsageError(f"“mute” takes one at a time. Try `/ssl mute {host}`.", "which")
    if text.lower() in _ENDS:
        raise UsageError(f"“{text}” isn't a reason. `/ssl unmute {host}` ends a mute.", "reason")
    try:
        length, reason = length_and_reason(text)
    except ValueError as fault:
        raise UsageError(str(fault), "length") from None
    return [host, f"for={length}", reason]


def _choose(_: Sequence[MonitorSummary]) -> tuple[str, Sequence[Block]]:
    return "Nothing was done: choose one of these", ()


async def _one(call: Call, which: Selector) -> MonitorSummary | Message:
    rows = await find(call, which)
    return several(call, which, rows, _choose) or rows[0]


@router.command("take", example="take example.com", recorded=True)
async def take(call: Call, which: One) -> Message:
    """Tell everyone that you are handling a monitor, until it is fixed or released."""
    row = await _one(call, which)
    if isinstance(row, Message):
        return replace(row, changed=())
    now, name = call.now(), await call.who()
    if is_fine(row, now, call.rules):
        said = "Not taken: it was fine at its last scan."
        return replace(_card(call, row, said=said), changed=())
    claim = new_claim(row, call.asker, name, now, call.rules)
    (stands,) = await call.records.marks.take([claim])
    await call.records.reread()
    if stands.user != call.asker:
        card = _card(call, row, said=mark_cards.taken_by_another(stands, now))
        return replace(card, changed=((str(row.target), f"already taken by {stands.name}"),))
    if stands is not claim:
        return replace(_card(call, row, said="You have already taken it."), changed=())
    return await _marked(call, row, mark_cards.taken_line(name, row.target), "taken")


@router.command("release", example="release example.com", recorded=True)
async def release(call: Call, which: One) -> Message:
    """Release a monitor that you or somebody else has taken."""
    row = await _one(call, which)
    if isinstance(row, Message):
        return replace(row, changed=())
    released = await call.records.marks.release([row.id])
    await call.records.reread()
    if not released:
        card = _card(call, row, said="It wasn't taken.")
        return replace(card, changed=())
    line = mark_cards.released_line(await call.who(), row.target)
    return await _marked(call, row, line, "released")


@router.command("take_certificate", typed=False, recorded=True)
async def take_certificate(call: Call, *ids: Annotated[int, "ID…"]) -> Message:
    """Take all monitors that share a row, since they have one certificate."""
    rows, now, name = await _same_row(call, ids), call.now(), await call.who()
    bad = [row for row in rows if not is_fine(row, now, call.rules)]
    new = [new_claim(row, call.asker, name, now, call.rules) for row in bad]
    stand = await call.records.marks.take(new)
    ours = set(map(id, new))
    others = {c.monitor_id: f"already taken by {c.name}" for c in stand if c.user != call.asker}
    took = others | {c.monitor_id: "taken" for c in stand if id(c) in ours}
    mine = [row.target for row in bad if took.get(row.id) == "taken"]
    await call.records.reread()
    changed = [(str(row.target), took[row.id]) for row in bad if row.id in took]
    line = mark_cards.taken_line(name, mine[0], len(mine) - 1) if mine else ""
    return await _one_certificate(call, rows, line, changed)


@router.command("release_certificate", typed=False, recorded=True)
async def release_certificate(call: Call, *ids: Annotated[int, "ID…"]) -> Message:
    """Release all monitors that share a row, since they have one certificate."""
    rows = await _same_row(call, ids)
    bad = [row for row in rows if not is_fine(row, call.now(), call.rules)]
    released = await call.records.marks.release([row.id for row in bad])
    await call.records.reread()
    freed = [row for row in bad if row.id in released]
    changed = [(str(row.target), "released") for row in freed]
    if not freed:
        return await _one_certificate(call, rows, "", changed)
    line = mark_cards.released_line(await call.who(), freed[0].target, len(freed) - 1)
    return await _one_certificate(call, rows, line, changed)


async def _same_row(call: Call, ids: Sequence[int]) -> list[MonitorSummary]:
    """The monitors with these IDs, worst first."""
    rows = of_row(ids, {row.id: row for row in await call.listed()})
    if not rows:
        raise NotFound(404, "monitor not found")
    return list_cards.ranked(rows, call.now(), call.rules)


async def _one_certificate(
    call: Call, rows: Sequence[MonitorSummary], line: str, changed: Sequence[tuple[str, str]]
) -> Message:
    """The row of several monitors after a change; `line` tells the channel what was done."""
    await after_scan.show(call, rows)
    text = line or "Nothing was changed."
    return Message(
        bare(text), (section(text),), announce=line, changed=tuple(changed), in_row=bool(line),
        asked=asked_at(rows),
        row=group_row(rows, call.now(), call.rules),
        more=more_about_group(rows, call.now(), call.rules),
    )  # fmt: skip


@router.command("mute", example="mute example.com for=7d moving to a new host", changes=True,
                rewrite=_quoted)  # fmt: skip
async def mute(
    call: Call,
    which: One,
    length: Annotated[For, "[for=7d]"] = UNTIL_IT_CHANGES,
    reason: Annotated[str, "[REASON]"] = "",
) -> Message:
    """Mute a monitor for a time, or until its certificate changes or gets worse.

    The digest sums up muted monitors in one line. Without for=, the mute ends when the certificate
    changes or gets worse, or something else is wrong with it; after 30 days at the latest.
    """
    row = await _one(call, which)
    if isinstance(row, Message):
        return replace(row, changed=())
    (muted,) = await _mute(call, [row], length, reason)
    line = mark_cards.muted_line(muted, row.target)
    return await _marked(call, row, line, f"muted until {muted.until:%Y-%m-%d %H:%M}")


async def _mute(
    call: Call, rows: Sequence[MonitorSummary], length: For, reason: str = ""
) -> list[Mute]:
    """Mute each of these monitors in its present state; returns the mutes."""
    now, name, muted = call.now(), await call.who(), list[Mute]()
    until, why = now + (length.time or LONGEST), reason[:LONGEST_NOTE]
    for row in rows:
        state = state_of(row, now, call.rules)
        seen = None if length.time else int(state.rank), row.not_after, row.issuer, state.word
        muted.append(Mute(call.asker, name, now, until, why, *seen))
    await call.records.marks.mute({row.id: mute for row, mute in zip(rows, muted, strict=True)})
    await call.records.reread()
    return muted


@router.command("mute_certificate", typed=False, changes=True)
async def mute_certificate(call: Call, which: Annotated[Ids, "ID…"]) -> Message:
    """Mute all monitors that share a row, each until it changes or gets worse."""
    rows = await _same_row(call, which.ids)
    bad = [row for row in rows if not is_fine(row, call.now(), call.rules)]
    muted = await _mute(call, bad, UNTIL_IT_CHANGES)
    line = mark_cards.muted_line(muted[0], bad[0].target, len(bad) - 1) if bad else ""
    changed = [(str(row.target), f"muted until {muted[0].until:%Y-%m-%d %H:%M}") for row in bad]
    return await _one_certificate(call, rows, line, changed)


@router.command("unmute_certificate", typed=False, changes=True)
async def unmute_certificate(call: Call, which: Annotated[Ids, "ID…"]) -> Message:
    """Unmute all monitors that share a row."""
    rows = await _same_row(call, which.ids)
    muted = [row for row in rows if mute_of(row, call.now(), call.rules)]
    await call.records.marks.mute(dict.fromkeys(row.id for row in muted))
    await call.records.reread()
    line, who = "", await call.who()
    if muted:
        line = mark_cards.unmuted_line(who, muted[0].target, len(muted) - 1)
    return await _one_certificate(call, rows, line, [(str(row.target), "unmuted") for row in muted])


@router.command("unmute", example="unmute example.com", changes=True)
async def unmute(call: Call, which: One) -> Message:
    """Unmute a monitor: the digest lists it again."""
    row = await _one(call, which)
    if isinstance(row, Message):
        return replace(row, changed=())
    was = mute_of(row, call.now(), call.rules)
    await call.records.marks.mute({row.id: None})
    await call.records.reread()
    if was is None:
        card = _card(call, row, said="It wasn't muted.")
        return replace(card, changed=())
    line = mark_cards.unmuted_line(await call.who(), row.target)
    return await _marked(call, row, line, "unmuted")


def _card(call: Call, row: MonitorSummary, *, said: str = "", announce: str = "") -> Message:
    now, rules = call.now(), call.rules
    card = monitor_cards.monitor(row, now, rules, said=said, announce=announce)
    return replace(with_row(card, row, now, rules), asked=row.asked)


async def _marked(call: Call, row: MonitorSummary, line: str, result: str) -> Message:
    await after_scan.show(call, [row])
    card = _card(call, row, announce=line)
    return replace(card, changed=((str(row.target), result),), in_row=True)


@router.command("note", example="note example.com ask Ben before you renew it", recorded=True,
                rewrite=host_and_text, form=mark_cards.note_form)  # fmt: skip
async def note(
    call: Call, which: Annotated[Selector, "HOST[:PORT]|ID"], text: Annotated[str, "[TEXT]"] = ""
) -> Message:
    """Put one line of text on a host's card; without text, remove it."""
    which = await _host_of_note(call, which)
    if len(text) > LONGEST_NOTE:
        raise UsageError(f"A note has at most {LONGEST_NOTE} characters.", "text")
    text = "" if text.strip("-–—\"'“” ").lower() in {"", *_REMOVES} else text
    matching = None
    if text or str(which.target or which.host) not in call.rules.marks.notes:
        which, matching = await meant(call, which)
    name = str(which.target or which.host)
    before = call.rules.marks.notes.get(name, "")
    done = await call.records.marks.note([name], text, by=call.asker, now=call.now())
    await call.records.reread()
    if not done:
        return mark_cards.none_to_remove("note", name)
    await after_scan.show(call)
    card = mark_cards.noted(name, text, before=before, unmatched=matching == 0)
    return replace(card, changed=((name, text or "removed"),))


async def _host_of_note(call: Call, which: Selector) -> Selector:
    """The host that is to get a note, if need be by a monitor's ID. Raises UsageError."""
    if which.id and not which.host:
        target = (await find(call, which))[0].target
        which = replace(which, host=target.host, port=target.port)
    if not which.host or which.is_pattern or which.host in NO_HOSTS:
        raise UsageError("A note belongs to a host.", "which")
    return which


@router.command("note_certificate", typed=False, recorded=True,
                form=mark_cards.certificate_note_form)  # fmt: skip
async def note_certificate(
    call: Call, which: Annotated[Ids, "ID…"], text: Annotated[str, "[TEXT]"] = ""
) -> Message:
    """Put one line of text on all monitors that share a row; without text, remove it."""
    if len(text) > LONGEST_NOTE:
        raise UsageError(f"A note has at most {LONGEST_NOTE} characters.", "text")
    names = [str(row.target) for row in await _same_row(call, which.ids)]
    notes = call.rules.marks.notes
    done = await call.records.marks.note(names, text, by=call.asker, now=call.now())
    await call.records.reread()
    if not done:
        return mark_cards.none_to_remove("note", names[0], len(names) - 1)
    await after_scan.show(call)
    before = notes.get(done[0], "")
    card = mark_cards.noted(done[0], text, len(done) - 1, before=before)
    return replace(card, changed=tuple((name, text or "removed") for name in done))


class Subject(str):
    """What a runbook is for: a host, a pattern, or an issuer, in lower case."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Subject:
        """Read a subject. Raises ValueError with a sentence for the user."""
        if text.lower().startswith("issuer="):
            name = text.partition("=")[2].strip().casefold()
            if 0 < len(name) <= LONGEST_NOTE:
                return Issuer(name)
            raise ValueError("Name the issuer, for example issuer=Let's Encrypt R11.")
        found = cls(host_pattern(text) if "*" in text else str(Selector.parse(text)))
        if found in NO_HOSTS or found.startswith("#"):
            raise ValueError(
                "A runbook is for a host, a pattern such as *.example.com, or an issuer."
            )
        return found


class Issuer(Subject):
    """A subject that names an issuer."""

    __slots__ = ()


def _subject_and_link(words: Sequence[str]) -> list[str]:
    """All words but a last one that is a link, as one text: issuers have spaces in their names."""
    if len(words) > 1 and "://" in words[0] and "://" not in words[-1]:
        words = [*words[1:], words[0]]
    words = host_first(words)
    link = [words[-1].rstrip(".,;:!?")] if len(words) > 1 and "://" in words[-1] else []
    removes = len(words) > 1 and words[-1].lower() in _REMOVES
    text = " ".join(words[: len(words) - len(link) - removes])
    subject = re.sub(r"^issuer ?[=: ] ?", "issuer=", text, flags=re.IGNORECASE)
    if " " in subject and not subject.startswith("issuer="):
        raise UsageError("A link begins with https://, as in https://wiki.example.com/tls.", "link")
    return [subject, *link] if subject else link


@router.command("runbook", example="runbook *.example.com https://wiki.example.com/tls",
                changes=True, rewrite=_subject_and_link)  # fmt: skip
async def runbook(
    call: Call,
    subject: Annotated[Subject, "HOST|PATTERN|issuer=NAME"],
    link: Annotated[str, "[URL]"] = "",
) -> Message:
    """Link a runbook to a host, a pattern, or an issuer; without a link, remove it.

    issuer=Let's Encrypt R11 is for all certificates of that issuer.
    """
    if link and not _is_link(link):
        raise UsageError("This isn't a usable http(s) link; it can't contain a login.", "link")
    name = subject if subject in call.rules.marks.runbooks else await _named(call, subject)
    before = call.rules.marks.runbooks.get(name, "")
    done = await call.records.marks.runbook(name, link, by=call.asker, now=call.now())
    await call.records.reread()
    if not done:
        return mark_cards.none_to_remove("runbook", name)
    unmatched = await _matches_none(call, name)
    card = mark_cards.runbook(name, link, before=before, unmatched=unmatched)
    return replace(card, changed=((name, link or "removed"),))


async def _named(call: Call, subject: Subject) -> str:
    """The subject; if that matches nothing but is the beginning of one host's name, that host."""
    if isinstance(subject, Issuer) or "*" in subject or not await _matches_none(call, subject):
        return subject
    which, _ = await meant(call, Selector.parse(subject))
    return str(which.target or which.host)


async def _matches_none(call: Call, subject: str) -> bool:
    """Whether no monitor is of this host, pattern or issuer, as far as the API says."""
    try:
        rows = await call.api.list()
    except BotError:
        return False
    rules = Thresholds(marks=Marks(runbooks={subject: "https://example.com"}))
    return not rows.unreadable and not any(runbook_of(row, rules) for row in rows)


def _is_link(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    odd = set('<>|"` ') & set(text)
    return (
        parts.scheme in {"https", "http"}
        and parts.username is None
        and bool(parts.hostname)
        and not odd
        and len(text) < LONGEST_LINK
    )
