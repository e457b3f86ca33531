"""The commands that scan and delete monitors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from bot.api.models import Monitor, MonitorList, MonitorSummary
from bot.blocks import Block, Message
from bot.cards import batch as batch_cards
from bot.cards import lists as list_cards
from bot.cards import monitor as monitor_cards
from bot.cards import replies
from bot.cards import row as row_cards
from bot.cards.add import PROGRESS_EVERY
from bot.cards.changes import ALL_BROKEN
from bot.cards.marks import outcome_line
from bot.cards.row import row_id, with_row
from bot.commands import after_scan
from bot.commands.lookup import One, Selector, find, router, row_of, several
from bot.commands.router import Call
from bot.dates import ALL, DIGEST
from bot.errors import APIRefused, BotError, NotFound
from bot.severity import is_fine, is_stale
from bot.target import Target

#: How many scans of a batch run at the same time.
SCANS_AT_ONCE = 5
#: The scans of a larger batch are not shared with other processes: to note each takes too long.
SHARED_SCANS = 20


@router.command("scan", example="scan example.com")
async def scan(call: Call, which: One) -> Message:
    """Scan a monitored host now and show the result in the channel.

    The card says what changed since the last scan that the bot saw. A state or a pattern, such as
    broken or *.example.com, scans up to 100 monitors after a preview.
    """
    monitor_id, target = which.id, which.target
    if monitor_id is None:
        rows = await find(call, which)
        if answer := several(call, which, rows, list_cards.ask_scan):
            return answer
        monitor_id, target = rows[0].id, rows[0].target
    call.spend("scans", 1)
    who = await call.who()
    scanning = partial(row_cards.scanning, note=replies.asked_by(who), public=True, who=who)
    if target:
        await call.show(scanning(target, monitor_id))
    before, known = await after_scan.last_seen(call, monitor_id, target)
    if target is None:
        await call.show(scanning(known, monitor_id))
    try:
        found = await _scanned(call, which, monitor_id, known)
    except BotError as fault:
        failed = replies.scan_failed(fault, target or known, monitor_id)
        return replace(failed, row_says=outcome_line(_failed([fault]), who, call.now()))
    try:
        row, offer = await asyncio.gather(row_of(call, found), after_scan.names_offer(call, found))
    except BotError as fault:
        unread = replies.scan_unread(fault, found.target, monitor_id)
        return replace(unread, row_says=outcome_line("result unknown", who, call.now()))
    said = await after_scan.changed(call, before, found, row)
    came = after_scan.outcome(call, before, found, row)
    fixers = {row.id: who} if came in {"fixed", "renewed"} else {}
    await after_scan.show(call, [row], fixers)
    outcome = outcome_line(came, who, call.now())
    card = monitor_cards.monitor(
        row, call.now(), call.rules, note=replies.asked_by(who), said=said, more=offer, public=True
    )
    card = with_row(card, row, call.now(), call.rules, outcome=outcome)
    return replace(card, asked=row.asked)


async def _scanned(call: Call, which: Selector, number: int, known: Target | None) -> Monitor:
    """Scan a monitor, under its new ID if it was deleted and added again.

    `known` is the host that has the ID now.
    """
    try:
        if which.target in {None, known}:
            found = await call.api.scan(number)
            if which.target in {None, found.target}:
                return found
    except NotFound:
        if which.target is None or (await find(call, which))[0].id == number:
            raise
    return await call.api.scan((await find(call, which))[0].id)


def _failed(faults: Collection[BotError]) -> str:
    """What the row says if no monitor is known to have been scanned."""
    if all(isinstance(fault, NotFound) for fault in faults):
        return "not monitored"
    unsure = [fault for fault in faults if fault.maybe_done]
    if any(isinstance(fault, APIRefused) for fault in unsure):
        return "result unknown"
    return "no answer" if unsure else "not scanned"


@router.command("delete", example="delete example.com", changes=True, recorded=False)
async def delete(call: Call, which: One) -> Message:
    """Delete a monitor, after asking for confirmation.

    A pattern such as *.example.com deletes up to 50 monitors, after a preview.
    """
    rows = await find(call, which)
    return several(call, which, rows, list_cards.ask_delete) or monitor_cards.confirm_delete(
        rows[0], call.now(), call.rules
    )


@router.command("delete_now", typed=False, changes=True)
async def delete_now(call: Call, which: One) -> Message:
    """Delete a monitor that was confirmed."""
    row = (await find(call, which))[0]
    if row.id != which.id:
        raise NotFound(404, "monitor not found")
    await call.api.delete(row.id)
    await call.records.forget(row.id)
    await after_scan.show(call)
    line = replies.deleted_line(await call.who(), row.target.short)
    card = monitor_cards.deleted(row.target, row.id, line)
    return replace(card, changed=((str(row.target), "deleted"),))


@router.command("scan_all", typed=False)
async def scan_all(call: Call, *ids: Annotated[int, "ID…"]) -> Message:
    """Scan the monitors of a preview; one press counts as one scan for the asker's limit."""
    return await _scan_many(call, ids)


@router.command("scan_certificate", typed=False)
async def scan_certificate(call: Call, *ids: Annotated[int, "ID…"]) -> Message:
    """Scan the monitors of one row of a digest: they had one certificate."""
    return await _scan_many(call, ids, first=min(ids, default=0))


@router.command("scan_old", typed=False)
async def scan_old(call: Call, *ids: Annotated[int, "ID…"]) -> Message:
    """Scan monitors with old scans, as offered by a digest.

    0 among the IDs means that the digest is about hosts chosen for its channel.
    """
    numbers = [number for number in ids if number]
    return await _scan_many(call, numbers, old="here" if 0 in ids else "all")


async def _scan_many(
    call: Call, ids: Sequence[int], *, first: int = 0, old: Literal["", "here", "all"] = ""
) -> Message:
    """Scan these monitors; if they share a row, `first` is the lowest of its IDs.

    `old` says that a digest's row of old scans was pressed: `here` if the digest covers only its
    channel's hosts, `all` if it covers all.
    """
    call.spend("scans", 1)
    who, total = await call.who(), len(ids)
    note = replies.asked_by(who)
    shown = row_id(first) if first else list_cards.OLD_ROW if old else ALL_BROKEN
    busy = partial(list_cards.busy_group, total=total, block_id=shown, who=who)
    progress = _Progress(call, "Scanning", total, note, busy)
    await progress.show()
    rows, gone = await _listed(call, ids)
    if not rows:
        return batch_cards.scanned([], [], [], gone, now=call.now(), rules=call.rules, note="")
    faults = await _scan_each(call, rows, progress)
    done = [row for row in rows if row.id not in faults]
    try:
        everything = await call.api.list()
    except BotError as fault:
        unread = list_cards.scanned_unread(len(done), fault, note)
        return replace(unread, row_says=outcome_line("result unknown", who, call.now()))
    after, _ = _among(call, everything, [row.id for row in done])
    was_fine = {row.id for row in rows if is_fine(row, call.now(), call.rules)}
    words = {row.id: _came_of(call, row, was_fine=row.id in was_fine) for row in after}
    fixers = {number: who for number, word in words.items() if word == "fixed"}
    words[0] = _failed(faults.values())  # not a single one
    outcomes = {number: outcome_line(text, who, call.now()) for number, text in words.items()}
    whole = not (first or old or everything.unreadable)  # an outage has more monitors than rows
    await after_scan.show(call, everything if whole else after, fixers, complete=whole)
    failed = [(row.target, faults[row.id]) for row in rows if row.id in faults]
    card = batch_cards.scanned(
        [*rows, *_beyond(everything, rows, ids)] if first else rows, after, failed, gone,
        now=call.now(), rules=call.rules, note=note, outcomes=outcomes, first=first,
    )  # fmt: skip
    told = outcome_line(f"{len(after)} rescanned" if after else words[0], who, call.now())
    card = _with_old(call, card, everything, told, here=old == "here") if old else card
    return replace(card, asked=everything.asked)


def _came_of(call: Call, row: MonitorSummary, *, was_fine: bool) -> str:
    """The result of a scan, in a word or two."""
    if not is_fine(row, call.now(), call.rules) or (was_fine and row.expected_at):
        return "no change"
    return "fine" if was_fine else "fixed"


def _with_old(
    call: Call, card: Message, everything: MonitorList, told: str, *, here: bool
) -> Message:
    """The card, with a digest's row about the scans that are still old."""
    chosen = call.records.subscriptions.get(DIGEST, call.channel) if here else None
    which = chosen.which if chosen else ALL
    stale = [row for row in everything if is_stale(row, call.now()) and which.takes(row.target)]
    more = list_cards.rescan_old(stale, here=here) if stale else None
    row = list_cards.old_row(stale, told, everything.unreadable)
    return replace(card, row=row, more=more, rows=())


@router.command("delete_all", typed=False, changes=True)
async def delete_all(call: Call, *ids: Annotated[int, "ID…"]) -> Message:
    """Delete the monitors of a preview, one after another."""
    rows, gone = await _listed(call, ids[: list_cards.MAX_DELETED])
    progress = _Progress(call, "Deleting", len(rows))
    done: list[MonitorSummary] = []
    faults: list[tuple[Target, BotError]] = []
    for row in rows:
        await progress.next()
        try:
            await call.api.delete(row.id)
        except BotError as fault:
            faults.append((row.target, fault))
        else:
            done.append(row)
    await call.records.forget(*(row.id for row in done))
    await after_scan.show(call)
    return list_cards.deleted([row.target for row in done], faults, gone, await call.who())


async def _scan_each(
    call: Call, rows: Sequence[MonitorSummary], progress: _Progress
) -> dict[int, BotError]:
    """Scan them, a few at a time; returns the faults by ID."""
    turns = asyncio.Semaphore(SCANS_AT_ONCE)
    faults: dict[int, BotError] = {}

    async def scan_one(row: MonitorSummary) -> None:
        async with turns:
            await progress.next()
            try:
                await call.api.scan(row.id, alone=len(rows) > SHARED_SCANS)
            except BotError as fault:
                faults[row.id] = fault

    async with asyncio.TaskGroup() as group:
        for row in rows:
            group.create_task(scan_one(row))
    return faults


def _beyond(
    everything: Sequence[MonitorSummary], rows: Sequence[MonitorSummary], ids: Sequence[int]
) -> list[MonitorSummary]:
    """The monitors of a row that has more of them than one press scans."""
    if len(ids) < row_cards.MOST_RESCANNED:
        return []
    prints = {row.fingerprint for row in rows} - {""}
    return [row for row in everything if row.fingerprint in prints and row.id not in ids]


async def _listed(call: Call, ids: Sequence[int]) -> tuple[list[MonitorSummary], int]:
    """The monitors with these IDs, worst first, and how many of the IDs are gone."""
    return _among(call, await call.listed() if ids else [], ids)


def _among(
    call: Call, everything: Sequence[MonitorSummary], ids: Sequence[int]
) -> tuple[list[MonitorSummary], int]:
    wanted = set(ids)
    rows = [row for row in everything if row.id in wanted]
    order = list_cards.ranked(rows, call.now(), call.rules)
    return order, len(wanted) - len(order)


class _Progress:
    """Shows how far a batch is, at most every PROGRESS_EVERY."""

    def __init__(
        self,
        call: Call,
        doing: str,
        total: int,
        note: str = "",
        row: Callable[[int], Block] | None = None,
    ) -> None:
        self._row = row
        self._call, self._doing, self._total, self._note = call, doing, total, note
        self._number = 0
        self._shown: datetime | None = None

    async def next(self) -> None:
        """Count the next one."""
        self._number += 1
        if self._shown is None or self._call.now() - self._shown >= PROGRESS_EVERY:
            await self.show()

    async def show(self) -> None:
        """Show the progress now."""
        self._shown = self._call.now()
        row = self._row(self._number) if self._row else None
        await self._call.show(
            list_cards.progress(self._doing, self._number, self._total, self._note, row)
        )
