"""The commands that act: scan, add, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from bot import cards, replies
from bot.blocks import Message, code
from bot.commands.base import One, find, router, row_of, several, watched_already
from bot.errors import APIRefused, BadKey, BotError, NotFound, UsageError
from bot.models import MonitorSummary, Proxy
from bot.router import Call
from bot.target import Port, Target

MAX_TARGETS = 50
NO_PORT = Port(0)


def _check_proxy(
    *targets: Target,
    proxy_host: str = "",
    proxy_port: Port = NO_PORT,
    proxy_username: str = "",
    proxy_password: str = "",
) -> None:
    """Judge the form's fields together. Raises UsageError at the field that can be mended."""
    if len(targets) > MAX_TARGETS:
        raise UsageError(f"At most {MAX_TARGETS} hosts can be added at once.", "targets")
    if not proxy_host and (proxy_port or proxy_username or proxy_password):
        raise UsageError("The proxy's host is missing.", "proxy_host")
    if proxy_host and not proxy_port:
        raise UsageError("The proxy's port is missing.", "proxy_port")
    if proxy_password and not proxy_username:
        raise UsageError("The password has no user name.", "proxy_username")


@router.command("scan")
async def scan(call: Call, which: One) -> Message:
    """Scan a watched host now, and show the result in the channel."""
    monitor_id, target = which.id, which.target
    if monitor_id is None or target is None:
        rows = await find(call, which)
        if answer := several(call, which, rows):
            return answer
        monitor_id, target = rows[0].id, rows[0].target
    note = replies.asked_by(await call.who())
    await call.show(cards.scanning(target, monitor_id, note=note, public=True))
    try:
        found = await call.api.scan(monitor_id)
        row = await row_of(call, found)
    except BotError as fault:
        return replies.scan_failed(fault, target, monitor_id)
    return cards.monitor(row, call.now(), note=note, public=True, due_days=call.due_days)


@router.command("add", changes=True, form=cards.ADD_FORM, check=_check_proxy)
async def add(
    call: Call,
    *targets: Annotated[Target, "TARGET…"],
    proxy_host: str = "",
    proxy_port: Port = NO_PORT,
    proxy_username: str = "",
    proxy_password: str = "",
) -> Message:
    """Watch one or more hosts."""
    if not targets:
        raise UsageError("Name at least one host.", "targets")
    _check_proxy(*targets)
    proxy = None
    if proxy_host and proxy_port:
        proxy = Proxy(proxy_host, proxy_port, proxy_username, proxy_password)
    await call.show(cards.adding(targets))
    if len(targets) == 1:
        return await _add_one(call, targets[0], proxy)
    return await _add_many(call, list(dict.fromkeys(targets)), proxy)


async def _add_one(call: Call, target: Target, proxy: Proxy | None) -> Message:
    if watched := await watched_already(call, target):
        return cards.monitor(watched, call.now(), note="already watched", due_days=call.due_days)
    try:
        row = await row_of(call, await call.api.add(target, proxy))
    except APIRefused as fault:
        return await _not_added(call, fault)
    line = replies.added_line(await call.who(), [target.short])
    return cards.monitor(row, call.now(), note="added", announce=line, due_days=call.due_days)


async def _add_many(call: Call, targets: Sequence[Target], proxy: Proxy | None) -> Message:
    done: list[MonitorSummary] = []
    problems: list[str] = []
    for target in targets:
        try:
            if await watched_already(call, target):
                problems.append(replies.watched_already(target))
            else:
                done.append(await row_of(call, await call.api.add(target, proxy)))
        except BotError as fault:
            problems.append(replies.not_added(target, fault))
    line = ""
    if done:
        line = replies.added_line(await call.who(), [row.target.short for row in done])
    return cards.summed_up(done, problems, call.now(), line)


async def _not_added(call: Call, fault: APIRefused) -> Message:
    """Tell a used-up quota from other refusals: the API's page gives it no code of its own."""
    if not isinstance(fault, NotFound | BadKey):
        account = await call.api.account()
        if account.available is not None and account.available <= 0:
            return replies.quota_used_up(account, fault)
    return replies.failure(fault)


@router.command("delete", changes=True)
async def delete(call: Call, which: One) -> Message:
    """Stop watching a host; it asks once more."""
    rows = await find(call, which)
    return several(call, which, rows) or cards.confirm_delete(rows[0], call.now())


@router.command("delete_now", typed=False, changes=True)
async def delete_now(call: Call, which: One) -> Message:
    """Delete a monitor that was confirmed."""
    rows = await find(call, which)
    if not rows:
        return cards.none_found(code(str(which)))
    row = rows[0]
    await call.api.delete(row.id)
    line = replies.deleted_line(await call.who(), row.target.short)
    return cards.deleted(row.target, row.id, line)
