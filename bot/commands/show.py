"""The commands that read, besides status: help, list, details, digest, account, ping."""

import asyncio
import functools
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Annotated, Any

from bot import digest
from bot.api.extras import Extra
from bot.api.models import MonitorList, MonitorSummary
from bot.blocks import Message, code
from bot.cards import details as detail_cards
from bot.cards import digest as digest_cards
from bot.cards import lists as list_cards
from bot.cards import monitor as monitor_cards
from bot.cards import replies
from bot.cards import table as table_cards
from bot.commands import after_scan
from bot.commands.arguments import Filter, api_filters, in_states, joined, marks, near_filter
from bot.commands.lookup import One, find, has_mark, router, several
from bot.commands.router import FILLERS, Call
from bot.dates import ALL, DIGEST
from bot.errors import BotError, SlackRefused
from bot.severity import Rank, state_of

log = logging.getLogger(__name__)


@router.command("help", example="help status")
async def help_(_call: Call, *command: str) -> Message:
    """Show all commands, or explain one."""
    while command and command[0].lower() in {*FILLERS, "/ssl", "ssl"}:
        command = command[1:]
    found = router.find(command[0].lower()) if command else None
    if command and found is None:
        return router.unknown(command[0])
    if found:
        found = router.subcommand(found, command[1:]) or found
        inner = [each.words for each in router.typed() if each.name.startswith(f"{found.name}_")]
        return replies.command_help(found.usage, found.help, found.details, found.example, inner)
    return _all_help()


@functools.cache
def _all_help() -> Message:
    reads = [(each.usage, each.help) for each in router.typed() if not each.changes]
    changes = [(each.usage, each.help) for each in router.typed() if each.changes]
    return replies.help_card({"Look up and scan": reads, "Change": changes})


@router.command("list", example="list expires<30", shares=True, rewrite=joined)
async def list_(call: Call, *filters: Annotated[Filter, "[FILTER…]"]) -> Message:
    """List monitors, worst first: expires<30, expired, port=8443, *.example.com, mail.

    Filters are ANDed, states ORed. A word is part of a name (mail), a state (expired, unreachable,
    overdue, urgent, unknown, fine), or broken, due, muted, taken, mine or free. Numbers compare:
    expires<30, expires=30-60, expires>90, port=443,8443, port=!443, port>=1000. Also valid=false
    and host=*.example.com.
    """
    rows = await _matching(call, filters)
    if rows:
        asked = " ".join(map(str, filters))
        # in a thread: ranking tens of thousands of rows would block the event loop for too long
        return await asyncio.to_thread(
            list_cards.monitors, rows, call.now(), call.rules,
            asked=asked, lost=rows.unreadable, by_certificate=True,
        )  # fmt: skip
    if not filters:
        return list_cards.no_monitors(rows.unreadable)
    if not rows.unreadable and (word := await _in_no_name(call, filters)):
        return list_cards.no_such_word(word, near_filter(filters))
    return list_cards.none_found(_asked_for(filters), rows.unreadable)


def _asked_for(filters: Sequence[Filter]) -> str:
    """The filters, as mrkdwn; a monitor needs only one of several states."""
    states = [each for each in filters if each.key == "state" and str(each.value)[0] != "!"]
    others = [code(str(each)) for each in filters if each not in states]
    both = ", and " if len(states) > 1 else " and "
    return both.join(filter(None, [" or ".join(code(str(each)) for each in states), *others]))


async def _in_no_name(call: Call, filters: Sequence[Filter]) -> str:
    """The word that was read as a part of a name, if it is in none."""
    host = next((str(each.value) for each in filters if each.key == "host"), "")
    part = re.fullmatch(r"\*([\w-]+)\*", host)
    rows = await call.api.list(host=host) if part else MonitorList([], 0)
    return part[1] if part and not rows and not rows.unreadable else ""


async def _matching(call: Call, filters: Sequence[Filter]) -> MonitorList:
    """The monitors that match all filters, in any of the named states.

    An API that ignores a host's name must not show others under it.
    """
    asked = api_filters(filters)
    rows = await _listed(call, asked)
    if "host" in asked:
        named = [row for row in rows if fnmatchcase(row.target.host, asked["host"])]
        rows = MonitorList(named, rows.unreadable)
    states, wanted, now = in_states(filters), marks(filters), call.now()
    if states is None and not wanted:
        return rows
    kept = [
        row
        for row in rows
        if (states is None or state_of(row, now, call.rules) in states)
        and all(has_mark(call, row, mark.lstrip("!")) is (mark[0] != "!") for mark in wanted)
    ]
    return MonitorList(kept, rows.unreadable)


async def _listed(call: Call, asked: Mapping[str, Any]) -> MonitorList:
    """What the API lists, but what is broken is never valid, whatever the API calls it."""
    valid, more = asked.get("valid"), MonitorList()
    if valid is False and not await _judges_itself(call):
        more = await call.api.list(**{**asked, "valid": None})
    rows, now = await call.api.list(**asked), call.now()
    if valid is None:
        return rows
    both = {row.id: row for row in (*more, *rows)}.values()
    broken = {row.id for row in both if state_of(row, now, call.rules).rank is Rank.BROKEN}
    if valid:
        kept = [row for row in rows if row.id not in broken]
    else:
        listed = {row.id for row in rows}
        kept = [*rows, *(row for row in both if row.id in broken - listed)]
    return MonitorList(kept, max(rows.unreadable, more.unreadable))


async def _judges_itself(call: Call) -> bool:
    """Whether this is the embedded API, which calls valid only what is valid in every way."""
    with suppress(BotError):
        return await call.api.extras.offers(Extra.ATTENTION, hurry=True)
    return False


@router.command("csv", typed=False)
async def csv(call: Call, *filters: Annotated[Filter, "[FILTER…]"]) -> Message:
    """Send a whole list as a CSV file, in a direct message."""
    rows = await _matching(call, filters)
    return await _send_csv(call, rows, rows.unreadable)


@router.command("csv_due", typed=False)
async def csv_due(call: Call) -> Message:
    """Send all monitors that this channel's digest would list now as a CSV file, directly."""
    here = call.records.subscriptions.get(DIGEST, call.channel)
    found = await digest.gather(call.api, call.now(), call.rules, here.which if here else ALL)
    return await _send_csv(call, found.named, found.unreadable)


async def _send_csv(call: Call, rows: Sequence[MonitorSummary], lost: int) -> Message:
    now = call.now()

    def written() -> bytes:
        return table_cards.as_csv(list_cards.ranked(rows, now, call.rules), now, call.rules)

    content = await asyncio.to_thread(written)
    name = f"monitors-{now:%Y-%m-%d}.csv"
    try:
        said = list_cards.csv_text(len(rows), lost)
        doubt = list_cards.csv_in_doubt(len(rows), lost)
        await call.send_file(name, content, said, doubt)
    except SlackRefused as fault:
        if fault.reason != "missing_scope":
            raise
        return list_cards.csv_needs_scope()
    return list_cards.csv_sent(len(rows), lost)


@router.command("details", typed=False, shares=True)
async def details(call: Call, which: One) -> Message:
    """Show everything known about a monitor."""
    rows = await find(call, which)
    if answer := several(call, which, rows):
        return answer
    found = await call.api.get(rows[0].id)
    await after_scan.keep(call, found, rows[0])
    link = monitor_cards.HISTORY if await after_scan.has_history(call) else monitor_cards.DETAILS
    same = await _same_certificate(call, rows[0])
    return detail_cards.details(found, rows[0], call.now(), call.rules, link=link, same=same)


async def _same_certificate(call: Call, row: MonitorSummary) -> list[MonitorSummary]:
    """The other monitors with its certificate; empty if the API doesn't say."""
    if not row.fingerprint:
        return []
    try:
        rows = await call.api.list()
    except BotError as fault:
        log.info("Could not look for monitors with the same certificate: %s", fault)
        return []
    return [each for each in rows if each.fingerprint == row.fingerprint and each.id != row.id]


@router.command("digest", shares=True)
async def digest_(call: Call) -> Message:
    """Show the digest as of now, only to you."""
    now = call.now()
    found = await digest.gather(call.api, now, call.rules)
    return digest_cards.preview(found, now)


@router.command("account", shares=True)
async def account_(call: Call) -> Message:
    """Show how many monitors the account uses and how many are free."""
    return replies.account_card(await call.api.account())


@router.command("ping")
async def ping(call: Call) -> Message:
    """Check that the SSLmonitor API answers, and how fast."""
    start = call.now()
    answer = await call.api.ping()
    now = call.now()
    return replies.ping_card(answer, now - start, call.api.offset, now)
