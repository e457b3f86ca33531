"""The commands about the bot itself: the menu behind a bare `/ssl`, and the log of changes."""

import asyncio
from dataclasses import replace
from typing import Annotated

from bot.blocks import Message
from bot.cards import add as add_cards
from bot.cards import lists as list_cards
from bot.cards import replies
from bot.commands.lookup import NO_HOSTS, Selector, find, router
from bot.commands.router import Call
from bot.errors import BotError, NotMonitored, UsageError

#: Every host.
ALL = Selector()


@router.command("menu", typed=False)
async def menu(call: Call) -> Message:
    """Show the worst monitors and what to do next."""
    try:
        rows = await call.api.list()
    except BotError as fault:
        return add_cards.menu_without(replies.failure(fault))
    now, rules = call.now(), call.rules
    # in a thread: ranking tens of thousands of rows would block the event loop for too long
    return await asyncio.to_thread(
        lambda: add_cards.menu(
            list_cards.ranked(rows, now, rules), now, rules, lost=rows.unreadable
        )
    )


@router.command("audit", example="audit example.com")
async def audit(call: Call, which: Annotated[Selector, "[HOST[:PORT]|ID]"] = ALL) -> Message:
    """Show who changed what and when, for all hosts or one."""
    if which.host in NO_HOSTS:
        if which.host not in {"all", "everything"}:
            raise UsageError(f"“{which.host}” is not a host name.", "which")
        which = ALL
    host = str(which.target or which.host)
    if which.id is not None and not host:
        host = str((await find(call, which))[0].target)
    lines = await call.records.audit(host)
    begins = replace(which, host=f"{which.host}*")
    if which.host and not lines:
        lines = await call.records.audit(str(begins.target or begins.host))
        host = str(begins) if lines else host
        if not lines and "." not in host:
            await _refuse_word(call, which)
    told = [(line.at, line.user_name, line.command, line.target, line.result) for line in lines]
    return add_cards.audit(told, host)


async def _refuse_word(call: Call, which: Selector) -> None:
    """Raise NotMonitored for `yesterday` and the like; while the API is silent, nothing."""
    try:
        await find(call, which)
    except NotMonitored:
        raise
    except BotError:
        return
