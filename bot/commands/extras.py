"""The commands that need an API with more than the documented page: check and history."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from bot.api.extras import Extra
from bot.api.models import MonitorSummary
from bot.blocks import Message
from bot.cards import history as history_cards
from bot.commands.lookup import NO_HOSTS, One, find, router, several
from bot.commands.router import Call
from bot.commands.scan_target import (
    BY_PORT,
    PROTOCOLS,
    STARTTLS,
    UNSAID,
    Protocol,
    ScanTarget,
    host_and_protocol,
)
from bot.errors import BotError, NotAvailable, UsageError

log = logging.getLogger(__name__)


async def _monitored(call: Call, host: str) -> Sequence[MonitorSummary]:
    """The monitors of this host; empty if the API doesn't say."""
    try:
        return await call.api.list(host=host)
    except BotError as fault:
        log.info("Could not look up the monitored port of a host: %s", fault)
        return ()


@router.command("check", example="check example.com", shares=True, rewrite=host_and_protocol)
async def check(
    call: Call,
    place: Annotated[ScanTarget, "HOST[:PORT]"],
    protocol: Annotated[Protocol, "[PROTOCOL]"] = UNSAID,
) -> Message:
    """Check any host without storing anything (embedded API only).

    The protocol is tls, or one with STARTTLS: smtp, imap, pop3, ldap, postgres, mysql. By default,
    the port decides; the port defaults to the monitored one.
    """
    if not await call.api.extras.offers(Extra.CHECK):
        raise NotAvailable("check")
    if place.host in {*NO_HOSTS, *PROTOCOLS, *BY_PORT}:
        raise UsageError(f"“{place.host}” is not a host name.", "place")
    said = {protocol.name, place.protocol.name}
    if place.port is None and said <= {"", STARTTLS}:
        ports = {row.target.port for row in await _monitored(call, place.host)}
        if len(ports) == 1:
            place = replace(place, port=ports.pop())
    target, spoken = place.resolve(protocol)
    call.spend("scans", 1)
    await call.show(history_cards.checking(target))
    try:
        found = await call.api.extras.check(target, spoken)
    except BotError as fault:
        return history_cards.check_failed(fault, target, spoken)
    return history_cards.checked(found, spoken, call.now(), call.rules)


@router.command("history", example="history example.com", shares=True)
async def history(call: Call, which: One) -> Message:
    """Show what changed on a monitored host, and when (embedded API only)."""
    if not await call.api.extras.offers(Extra.HISTORY):
        raise NotAvailable("history")
    rows = await find(call, which)
    if answer := several(call, which, rows):
        return answer
    found = await call.api.extras.history(rows[0].id, history_cards.CHANGES_SHOWN + 1)
    return history_cards.history(rows[0], found)
