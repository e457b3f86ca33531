"""The commands that look: help, status, list, details, digest, account, ping."""

from __future__ import annotations

import asyncio
from typing import Annotated

from bot import cards, detail_cards, digest, digest_cards, list_cards, replies
from bot.blocks import Message, code
from bot.commands.base import One, Which, find, router, several
from bot.router import Call
from bot.words import Filter, api_filters


@router.command("help")
async def help_(call: Call, command: str = "") -> Message:
    """Show what can be asked, or how one command is written."""
    found = router.find(command.lower()) if command else None
    if command and found is None:
        return router.unknown(command)
    shown = [found] if found else router.typed()
    return replies.help_card([(each.usage, each.help) for each in shown])


@router.command("status")
async def status(call: Call, which: Which) -> Message:
    """Show the certificate of a watched host."""
    rows = await find(call, which)
    return several(call, which, rows) or cards.monitor(rows[0], call.now(), call.rules)


@router.command("list")
async def list_(call: Call, *filters: Annotated[Filter, "[FILTER…]"]) -> Message:
    """List monitors, worst first: expires<30, valid=false, port=8443, host=*.example.com."""
    wanted = api_filters(filters)
    rows = await call.api.list(**wanted)
    if rows:
        return await asyncio.to_thread(list_cards.monitors, rows, call.now(), call.rules)
    if not wanted:
        return list_cards.nothing_watched()
    return list_cards.none_found(" and ".join(code(str(each)) for each in filters))


@router.command("details", typed=False)
async def details(call: Call, which: One) -> Message:
    """Show everything that is known of a monitor."""
    rows = await find(call, which)
    if answer := several(call, which, rows):
        return answer
    found = await call.api.get(rows[0].id)
    return detail_cards.details(found, rows[0], call.now(), call.rules)


@router.command("digest")
async def digest_(call: Call) -> Message:
    """Show today's digest now, to you alone."""
    now = call.now()
    found = await digest.gather(call.api, now, call.rules)
    return digest_cards.preview(found, now)


@router.command("account")
async def account_(call: Call) -> Message:
    """Show how many monitors the account holds, and how many are free."""
    return replies.account_card(await call.api.account())


@router.command("ping")
async def ping(call: Call) -> Message:
    """Ask SSLmonitor whether it answers, and how fast."""
    start = call.now()
    answer = await call.api.ping()
    return replies.ping_card(answer, call.now() - start, call.api.offset)
