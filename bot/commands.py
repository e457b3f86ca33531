"""What `/ssl` does: one async function for each subcommand, typed arguments in, a `Message` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from bot import cards, digest, digest_cards, replies
from bot.blocks import Message, code
from bot.errors import APIRefused, BadKey, BotError, NotFound, UsageError
from bot.models import Monitor, MonitorSummary, Proxy, by_target
from bot.router import Call, Router
from bot.target import Port, Target
from bot.words import Filter, Selector, api_filters

router = Router()
MAX_TARGETS = 50
NO_PORT = Port(0)

Which = Annotated[Selector, "HOST[:PORT]|ID|PATTERN"]
One = Annotated[Selector, "ID|HOST[:PORT]"]


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
    rows = await _find(call, which)
    return _several(call, which, rows) or cards.monitor(rows[0], call.now(), due_days=call.due_days)


@router.command("scan")
async def scan(call: Call, which: One) -> Message:
    """Scan a watched host now, and show the result in the channel."""
    monitor_id, target = which.id, which.target
    if monitor_id is None or target is None:
        rows = await _find(call, which)
        if answer := _several(call, which, rows):
            return answer
        monitor_id, target = rows[0].id, rows[0].target
    note = replies.asked_by(await call.who())
    await call.show(cards.scanning(target, monitor_id, note=note, public=True))
    try:
        found = await call.api.scan(monitor_id)
        row = await _row(call, found)
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
    if watched := await _watched(call, target):
        return cards.monitor(watched, call.now(), note="already watched", due_days=call.due_days)
    try:
        row = await _row(call, await call.api.add(target, proxy))
    except APIRefused as fault:
        return await _not_added(call, fault)
    line = replies.added_line(await call.who(), [target.short])
    return cards.monitor(row, call.now(), note="added", announce=line, due_days=call.due_days)


async def _add_many(call: Call, targets: Sequence[Target], proxy: Proxy | None) -> Message:
    done: list[MonitorSummary] = []
    problems: list[str] = []
    for target in targets:
        try:
            if await _watched(call, target):
                problems.append(replies.watched_already(target))
            else:
                done.append(await _row(call, await call.api.add(target, proxy)))
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


@router.command("list")
async def list_(call: Call, *filters: Annotated[Filter, "[FILTER…]"]) -> Message:
    """List monitors, worst first: expires<30, valid=false, port=8443, host=*.example.com."""
    wanted = api_filters(filters)
    rows = await call.api.list(**wanted)
    if rows:
        return cards.monitors(rows, call.now())
    if not wanted:
        return cards.nothing_watched()
    return cards.none_found(" and ".join(code(str(each)) for each in filters))


@router.command("delete", changes=True)
async def delete(call: Call, which: One) -> Message:
    """Stop watching a host; it asks once more."""
    rows = await _find(call, which)
    return _several(call, which, rows) or cards.confirm_delete(rows[0], call.now())


@router.command("delete_now", typed=False, changes=True)
async def delete_now(call: Call, which: One) -> Message:
    """Delete a monitor that was confirmed."""
    rows = await _find(call, which)
    if not rows:
        return cards.none_found(code(str(which)))
    row = rows[0]
    await call.api.delete(row.id)
    line = replies.deleted_line(await call.who(), row.target.short)
    return cards.deleted(row.target, row.id, line)


@router.command("details", typed=False)
async def details(call: Call, which: One) -> Message:
    """Show everything that is known of a monitor."""
    rows = await _find(call, which)
    if answer := _several(call, which, rows):
        return answer
    return cards.details(await call.api.get(rows[0].id), rows[0], call.now())


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


@router.command("digest")
async def digest_(call: Call) -> Message:
    """Show today's digest now, to you alone."""
    now = call.now()
    found = await digest.gather(call.api, now, call.due_days)
    return digest_cards.preview(found, now)


async def _find(call: Call, which: Selector) -> list[MonitorSummary]:
    """The monitors that are meant; an id that is unknown raises NotFound."""
    if which.id is None:
        rows = await call.api.list(host=which.host, port=which.port)
        return [row for row in rows if which.matches(row)]
    target = which.target or (await call.api.get(which.id)).target
    rows = await call.api.list(host=target.host, port=target.port)
    found = [row for row in rows if row.id == which.id]
    if not found:
        raise NotFound(404, "monitor not found")
    return found


def _several(call: Call, which: Selector, rows: Sequence[MonitorSummary]) -> Message | None:
    """The answer where not exactly one monitor is meant: offer to watch it, or list them."""
    if len(rows) == 1:
        return None
    if rows:
        return cards.monitors(rows, call.now(), title=f"Monitors for {which}")
    if which.is_pattern:
        return cards.none_found(code(which.host))
    return cards.not_watched(which.target or Target(which.host))


async def _watched(call: Call, target: Target) -> MonitorSummary | None:
    rows = await call.api.list(host=target.host, port=target.port)
    return next(iter(by_target(rows, target)), None)


async def _row(call: Call, found: Monitor) -> MonitorSummary:
    """The list's row of a monitor: only there the API says its verdict."""
    rows = await call.api.list(host=found.target.host, port=found.target.port)
    for row in rows:
        if row.id == found.id:
            return row
    raise NotFound(404, "monitor not found")
