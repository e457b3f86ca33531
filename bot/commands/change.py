"""The commands that scan and delete monitors."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from bot.blocks import Message, code
from bot.cards import lists as list_cards
from bot.cards import monitor as monitor_cards
from bot.cards import replies
from bot.commands import after_scan
from bot.commands.lookup import One, find, router, row_of, several
from bot.commands.router import Call
from bot.errors import BotError, DatabaseUnavailable

log = logging.getLogger(__name__)


@router.command("scan", example="scan example.com")
async def scan(call: Call, which: One) -> Message:
    """Scan a monitored host now and show the result in the channel.

    The card says what changed since the last scan that the bot saw.
    """
    monitor_id, target = which.id, which.target
    if monitor_id is None or target is None:
        rows = await find(call, which)
        if answer := several(call, which, rows, "scanned"):
            return answer
        monitor_id, target = rows[0].id, rows[0].target
    call.spend("scans", 1)
    note = replies.asked_by(await call.who())
    await call.show(monitor_cards.scanning(target, monitor_id, note=note, public=True))
    try:
        before = await after_scan.last_seen(call, monitor_id)
        found = await call.api.scan(monitor_id)
        row, offer = await asyncio.gather(row_of(call, found), after_scan.names_offer(call, found))
    except BotError as fault:
        return replies.scan_failed(fault, target, monitor_id)
    said = await after_scan.changed(call, before, found, row)
    return monitor_cards.monitor(
        row, call.now(), call.rules, note=note, said=said, more=offer, public=True
    )


@router.command("delete", example="delete example.com", changes=True)
async def delete(call: Call, which: One) -> Message:
    """Delete a monitor, after asking for confirmation."""
    rows = await find(call, which)
    card = several(call, which, rows, "deleted") or monitor_cards.confirm_delete(
        rows[0], call.now(), call.rules
    )
    return replace(card, changed=())


@router.command("delete_now", typed=False, changes=True)
async def delete_now(call: Call, which: One) -> Message:
    """Delete a monitor that was confirmed."""
    rows = await find(call, which)
    if not rows:
        return list_cards.none_found(code(str(which)))
    row = rows[0]
    await call.api.delete(row.id)
    try:
        await call.records.forget(row.id)
    except DatabaseUnavailable as fault:
        log.warning("Could not forget monitor %d: %s", row.id, fault)
    line = replies.deleted_line(await call.who(), row.target.short)
    card = monitor_cards.deleted(row.target, row.id, line)
    return replace(card, changed=((str(row.target), "deleted"),))
