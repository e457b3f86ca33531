"""The command that adds monitors: typed, previewed, or through its form."""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from bot.api.extras import PORTS, Extra
from bot.api.models import Account, Monitor, MonitorSummary, Proxy
from bot.blocks import Message, code
from bot.cards import add as add_cards
from bot.cards import monitor as monitor_cards
from bot.cards import replies
from bot.cards.add import NO_PROXIES, NO_STARTTLS, PROGRESS_EVERY, Draft
from bot.cards.monitor import text_row
from bot.commands import after_scan
from bot.commands.lookup import MAX_TARGETS, NO_HOSTS, bare_word, router, rows_of
from bot.commands.router import FILLERS, Call
from bot.commands.scan_target import (
    BY_PORT,
    PROTOCOLS,
    UNNAMED,
    UNSAID,
    Protocol,
    ScanTarget,
    by_port,
    protocols_alone,
)
from bot.errors import APIRefused, BotError, NotAvailable, UsageError
from bot.target import Port, Target

log = logging.getLogger(__name__)

#: More hosts than this are previewed before they are added.
ADDED_AT_ONCE = 3
NO_PORT = Port(0)
#: Words that are no host, whatever port stands after them.
_OURS = frozenset({*NO_HOSTS, *PROTOCOLS, *BY_PORT})
#: Words that people put between hosts.
_BETWEEN = frozenset(
    {
        *("and", "or", "to", "for", "the", "a", "host", "hosts", "monitor", "via", "over", "with"),
        *("und", "et", "y", "on", "of", "at", "new", "following", "monitors", "monitoring"),
        *("port", "protocol", "proto", "please", "server", "servers", "domain", "domains", "ports"),
        *("this", "these", "our", "too", "also", "back", "bitte", "merci", "danke", *FILLERS),
    }
)
_HOSTLESS = re.compile(r":(?!//).*")
#: An IPv6 address, or a host: what one more port may follow.
_LAST = re.compile(
    r"(?P<scheme>[a-z][a-z\d+.-]*://)?(?P<host>\[[^\]]+\]|[^\s:/]*:[^\s/]*:[^\s/]*|localhost"
    r"|[^\s:/]+\.[^\s:/]+)(?P<port>:\d+)?[^\s:]*(?P<protocol> \S+)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r":?\d+$")
# A version, a time or a date, rather than an address in short.
_NO_ADDRESS = re.compile(r"v?\d+\.\d+(?:\.\d+)?")


def separate_hosts(words: Sequence[str]) -> list[str]:
    """`a.com,b.com;mail.com smtp` as three hosts, the last with its protocol.

    Raises UsageError for a word such as `broken`, which is a slip, and nobody's host.
    """
    hosts: list[str] = []
    text = protocols_alone(words)
    found = [bare_word(word) for word in re.findall(r"[^,;|\s]+", text)]
    for word in filter(None, found):
        name = word.lower()
        if name in PROTOCOLS and hosts and " " not in hosts[-1]:
            hosts[-1] += f" {name}"
        elif name in BY_PORT and hosts and " " not in hosts[-1]:
            hosts[-1] = by_port(hosts[-1], name)
        elif _NUMBER.match(name) and (last := _LAST.fullmatch("".join(hosts[-1:]))):
            hosts = [*(hosts if last["port"] else hosts[:-1]), _at_port(last, name.lstrip(":"))]
        elif name == "starttls" and _speaks_first("".join(hosts[-1:])):
            continue  # the port or the word before it says which
        elif fault := _fault(word, alone=not found[1:]):
            raise UsageError(fault, "targets")
        elif name not in _BETWEEN:
            hosts.append(word)
    return hosts


def _fault(word: str, *, alone: bool) -> str:
    """Why a word is nobody's host; empty if it may be one."""
    name = word.lower()
    if name == "starttls":
        return UNNAMED
    if name.lstrip("-").partition("=")[0] == "proxy":
        return "A proxy can be set in the form that “/ssl add” opens."
    ours = _HOSTLESS.sub("", name) in _OURS or name in router.commands
    number = not alone and _NO_ADDRESS.fullmatch(name)
    return f"“{word}” is not a host name." if ours or number or name.startswith("--") else ""


def _at_port(last: re.Match[str], port: str) -> str:
    """A host without a port with this one, or one more port of a host."""
    host = f"[{last['host']}]" if re.match(r"[^\[]*:", last["host"]) else last["host"]
    if last["port"]:
        return f"{host}:{port}"
    return f"{last['scheme'] or ''}{host}:{port}{last['protocol'] or ''}"


def _speaks_first(host: str) -> bool:
    """Whether it is said which protocol begins before TLS: in so many words, or by the port."""
    try:
        return bool(ScanTarget.parse(host).resolve()[1])
    except ValueError:
        return False


def _check_number(targets: Sequence[object]) -> None:
    if not targets:
        raise UsageError("Name at least one host.", "targets")
    if len(targets) > MAX_TARGETS:
        raise UsageError(f"At most {MAX_TARGETS} hosts can be added at once.", "targets")


def _check_fields(
    *targets: ScanTarget,
    protocol: Protocol = UNSAID,  # noqa: ARG001 - any protocol goes with any host
    proxy_host: str = "",
    proxy_port: Port = NO_PORT,
    proxy_username: str = "",
    proxy_password: str = "",
) -> None:
    """Check the form's fields together. Raises UsageError for the field to correct."""
    _check_number(targets)
    if not proxy_host and (proxy_port or proxy_username or proxy_password):
        raise UsageError("The proxy's host is missing.", "proxy_host")
    if proxy_host and not proxy_port:
        raise UsageError("The proxy's port is missing.", "proxy_port")
    if proxy_password and not proxy_username:
        raise UsageError("A proxy password needs a user name.", "proxy_username")


@router.command(
    "add", example="add example.com", changes=True, form=add_cards.add_form, rewrite=separate_hosts
)
async def add(call: Call, *targets: Annotated[ScanTarget, "TARGET…"]) -> Message:
    """Add monitors for one or more hosts.

    Separate them by spaces, commas or semicolons: example.com, example.com:8443 or a URL. A
    protocol after a host says that TLS starts with STARTTLS: mail.example.com:25 smtp. Names
    without a dot are shown before they are added. Without a host, a form opens, which also takes a
    proxy.
    """
    wanted = list(dict.fromkeys(targets))
    _check_number(wanted)
    words = [each for each in wanted if set(each.host).isdisjoint(".:") and not each.port]
    if words or len(wanted) > ADDED_AT_ONCE:  # a name without a dot may be just a word
        return add_cards.preview(list(map(str, wanted)))
    return await _add(call, await _spoken(call, wanted, UNSAID), None)


@router.command("add_now", typed=False, changes=True, check=_check_fields, rewrite=separate_hosts)
async def add_now(
    call: Call,
    *targets: Annotated[ScanTarget, "TARGET…"],
    protocol: Protocol = UNSAID,
    proxy_host: str = "",
    proxy_port: Port = NO_PORT,
    proxy_username: str = "",
    proxy_password: str = "",
) -> Message:
    """Add the hosts of a form or of a preview."""
    wanted = list(dict.fromkeys(targets))
    _check_number(wanted)
    proxy = None
    if proxy_host and proxy_port:
        proxy = Proxy(proxy_host, proxy_port, proxy_username, proxy_password)
    return await _add(call, await _spoken(call, wanted, protocol), proxy)


async def _spoken(
    call: Call, places: Sequence[ScanTarget], protocol: Protocol
) -> dict[Target, str]:
    """The STARTTLS protocol of each target, empty for none; `protocol` if a place names none.

    Raises NotAvailable if one is named but the API can't use it: it would try TLS at once.
    """
    spoken = dict(place.resolve(protocol) for place in places)
    if any(spoken.values()) and not await call.api.extras.offers(Extra.PROTOCOL):
        if protocol.name in PORTS or any(place.protocol.name in PORTS for place in places):
            call.learnt.add(NO_STARTTLS)
            raise NotAvailable("add HOST smtp")
        return dict.fromkeys(spoken, "")
    return spoken


async def _add(call: Call, spoken: Mapping[Target, str], proxy: Proxy | None) -> Message:
    """Check which hosts are monitored and how much room is left, then add one after another."""
    targets = list(spoken)
    draft = Draft(spoken)
    if proxy:
        draft = Draft(spoken, proxy.host, proxy.port, proxy.username)
    await call.show(add_cards.checking(targets))
    monitored, account = await asyncio.gather(rows_of(call, targets), _account(call))
    if len(targets) == 1 and targets[0] in monitored:
        card = monitor_cards.monitor(
            monitored[targets[0]], call.now(), call.rules, note="already monitored"
        )
        return replace(card, changed=())
    new = [target for target in targets if target not in monitored]
    room = len(new) if account is None or account.available is None else account.available
    fits, left = new[: max(room, 0)], new[max(room, 0) :]
    if len(targets) == 1 and left and account is not None:
        return _one_refused(replies.quota_used_up(account), left, draft)
    problems = [replies.already_monitored(target) for target in targets if target in monitored]
    if account is not None:
        problems += [add_cards.no_room(each, account.used, account.limit) for each in left]
    if fits:
        call.spend("added hosts", len(fits))
    outcomes = await _add_each(call, {each: spoken[each] for each in fits}, proxy, problems)
    if len(targets) == 1:
        return await _one_added(call, targets[0], outcomes[targets[0]], draft)
    return await _summed_up(call, outcomes, left, problems, draft)


async def _account(call: Call) -> Account | None:
    """The quota, or None if the API doesn't say; adding will show it soon enough."""
    try:
        return await call.api.account()
    except BotError as fault:
        log.info("Could not read the account quota: %s", fault)
        return None


async def _add_each(
    call: Call, spoken: Mapping[Target, str], proxy: Proxy | None, problems: Sequence[str]
) -> dict[Target, Monitor | BotError]:
    """Add one target after another, and show progress at most every PROGRESS_EVERY."""
    outcomes: dict[Target, Monitor | BotError] = {}
    shown = call.now() - PROGRESS_EVERY
    for number, (target, protocol) in enumerate(spoken.items(), 1):
        if call.now() - shown >= PROGRESS_EVERY:
            shown = call.now()
            await call.show(add_cards.adding(number, list(spoken), problems))
        try:
            outcomes[target] = await call.api.add(target, proxy, protocol)
        except BotError as fault:
            outcomes[target] = fault
            if proxy and _is_about_proxies(fault):
                call.learnt.add(NO_PROXIES)
    return outcomes


def _is_about_proxies(fault: BotError) -> bool:
    """Whether the API says that it doesn't support proxies at all."""
    return (
        isinstance(fault, APIRefused)
        and fault.code == 400
        and "prox" in fault.message.lower()
        and "not supported" in fault.message.lower()
    )


async def _one_added(
    call: Call, target: Target, outcome: Monitor | BotError, draft: Draft
) -> Message:
    if isinstance(outcome, BotError):
        return _one_refused(replies.failure(outcome, host=target.short), [target], draft)
    row = (await _rows_if_told(call, [target])).get(target)
    line = replies.added_line(await call.who(), [target.short])
    protocol = draft.protocols.get(target)
    note = f"added · over STARTTLS ({protocol})" if protocol else "added"
    if row is None:
        said = [f"✅ {code(target.short)} is now monitored."]
        card = add_cards.added(1, said, [], left=[], draft=draft, announce=line)
    else:
        await after_scan.keep(call, outcome, row)
        offer = await after_scan.names_offer(call, outcome)
        card = monitor_cards.monitor(
            row, call.now(), call.rules, note=note, announce=line, more=offer
        )
    return replace(card, changed=((str(target), "added"),))


def _one_refused(card: Message, left: Sequence[Target], draft: Draft) -> Message:
    changed = tuple((str(target), card.text) for target in left)
    blocks = (*card.blocks, *add_cards.correct(left, draft))
    return replace(card, blocks=blocks, changed=changed)


async def _summed_up(
    call: Call,
    outcomes: dict[Target, Monitor | BotError],
    no_room: Sequence[Target],
    problems: Sequence[str],
    draft: Draft,
) -> Message:
    """One line for each host, the announcement, and the audit entries."""
    added = {target: each for target, each in outcomes.items() if isinstance(each, Monitor)}
    refused = {target: each for target, each in outcomes.items() if isinstance(each, BotError)}
    done = list(added)
    rows = await _rows_if_told(call, done)
    for target, row in rows.items():
        await after_scan.keep(call, added[target], row)
    lines = [
        text_row(rows[target], call.now(), call.rules)
        if target in rows
        else f"✅ {code(target.short)} is now monitored."
        for target in done
    ]
    told = [
        *problems,
        *(replies.not_done(target, fault, "added") for target, fault in refused.items()),
    ]
    who = await call.who()
    card = add_cards.added(
        len(done),
        lines,
        told,
        left=[*refused, *no_room],
        draft=draft,
        announce=replies.added_line(who, [target.short for target in done]) if done else "",
    )
    results = dict.fromkeys(done, "added")
    results |= {target: f"not added: {fault}" for target, fault in refused.items()}
    results |= dict.fromkeys(no_room, "not added: the account has no room")
    return replace(card, changed=tuple((str(target), said) for target, said in results.items()))


async def _rows_if_told(call: Call, targets: Sequence[Target]) -> dict[Target, MonitorSummary]:
    """The rows of added hosts; empty if the API doesn't return them, since adding succeeded."""
    try:
        return await rows_of(call, targets)
    except BotError as fault:
        log.info("Could not read the verdicts of new monitors: %s", fault)
        return {}
