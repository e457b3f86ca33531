"""The cards that are about the bot itself: help, faults, the account, the connection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot.api.models import Account, Ping, SweepProgress
from bot.blocks import (
    Block,
    Message,
    actions,
    bare,
    button,
    code,
    context,
    counted,
    date,
    escaped,
    fields,
    header,
    plain,
    safe,
    section,
    since,
)
from bot.errors import (
    APIRefused,
    APIUnreachable,
    BadKey,
    BotError,
    NotAvailable,
    NotFound,
    NotMonitored,
    UsageError,
)
from bot.target import HTTPS_PORT, Target

#: Regular scans that are due for longer than this are late. It takes some seconds until a monitor
#: that is due has its turn.
LATE = timedelta(minutes=1)


def reply(symbol: str, word: str, sentence: str, *more: Block, host: str = "") -> Message:
    """A short card of our own words: `word` and `sentence` are finished mrkdwn."""
    title = word.capitalize().replace("Sslmonitor", "SSLmonitor")
    about = f" · {code(host)}" if host else ""
    return Message(
        text=plain(bare(f"{title}{about}. {sentence}"), 600),
        blocks=(section(f"{symbol} *{word}*{about}\n{sentence}"), *more),
    )


def help_card(usages: Sequence[tuple[str, str]]) -> Message:
    """Every command with its usage and one line of help."""
    lines = [f"{code(f'/ssl {usage}')}\n{escaped(text)}" for usage, text in usages]
    return Message(
        "Commands: " + ", ".join(usage.split()[0] for usage, _ in usages),
        (
            header("What /ssl can do"),
            section("\n".join(lines)),
            context("A host may be written as `host`, `host:port` or a web address."),
        ),
    )


def wrong_words(error: UsageError, usage: str) -> Message:
    """The words can't be used: what is wrong, and how it is written."""
    written = (
        f"Write it as {code(f'/ssl {usage}')}." if usage else "`/ssl help` lists all commands."
    )
    return reply("🤔", "THAT DID NOT WORK", safe(error.message, 400), context(written))


def needs_form(command: str) -> Message:
    """Where words are missing and no form can open by itself: a button that opens it."""
    about = f"Open the form for /ssl {command}"
    return reply(
        "📝",
        "A FORM ASKS FOR THE REST",
        f"The words for `{command}` are missing. The form asks for them.",
        actions(button("Open the form", "form", command, about=about, style="primary")),
    )


def unknown_command(
    word: str, nearest: str = "", argument: str = "", *, runs: bool = False
) -> Message:
    """No such command; the nearest one is named, and one press runs it where that changes nothing.

    The button says the whole line that it runs.
    """
    more: list[Block] = []
    sentence = f"There is no command {code(word, 40)}."
    if nearest:
        sentence += f" Did you mean `{nearest}`?"
    if nearest and runs:
        line = f"{nearest} {argument}".strip()
        about = f"Run /ssl {line}"
        more.append(actions(button(plain(f"Run {line}", 75), nearest, argument, about=about)))
    return reply("🤔", "UNKNOWN COMMAND", sentence, *more, context("`/ssl help` lists them all."))


def failure(error: BotError, *, host: str = "") -> Message:
    """What happened, and what to do next. `host` is the one that was asked for, where known."""
    match error:
        case NotFound():
            return _refused(
                "NOT FOUND",
                "SSLmonitor knows no such monitor. It may have been deleted. "
                "`/ssl list` shows what is watched.",
                error,
                host,
            )
        case BadKey():
            return _refused(
                "KEY REFUSED",
                "SSLmonitor does not accept the bot's API key. Whoever runs this bot must set "
                "`SSLMONITOR_API_KEY` anew. `python -m bot check` tests it.",
                error,
            )
        case APIRefused(code=429):
            wait = f"{math.ceil(error.retry_after):,} s" if error.retry_after else "a minute"
            return _refused("TOO MANY REQUESTS", f"Wait {wait}, then ask again.", error, host)
        case APIRefused():
            said = safe(error.message, 300).rstrip(".")
            answer = f"SSLmonitor said no: {said}." if said else "SSLmonitor gave no reason."
            return _refused("REFUSED", answer, error, host)
        case APIUnreachable():
            return reply("⚠️", "SSLMONITOR DOES NOT ANSWER", _unreachable(error), host=host)
        case _:
            return reply("⚠️", "THAT DID NOT WORK", _stated(str(error), 300), host=host)


def not_offered(error: NotAvailable) -> Message:
    """The API lacks it: what the asker can do now, and what whoever runs the bot can."""
    instead = {
        "check": "`/ssl add HOST` watches a host, and shows its certificate at once.",
        "history": "`/ssl scan HOST` says what changed since the bot last saw a host.",
    }
    return reply(
        "⛔",
        "NOT AVAILABLE HERE",
        f"The hosted API lacks what `/ssl {error.command}` needs. {instead[error.command]}",
        context(
            "The embedded API has it. Whoever runs this bot can leave out `SSLMONITOR_API_URL` and "
            "`SSLMONITOR_API_KEY`, so that the bot scans by itself, or point them to an embedded "
            "API: see “The embedded API” in its README."
        ),
    )


def scan_failed(error: BotError, target: Target, monitor_id: int) -> Message:
    """A scan that was announced in the channel, and could not be done; one press tries again."""
    card = failure(error, host=target.short)
    again = button(
        "Rescan", "scan", f"{monitor_id} {target}", about=f"Rescan {target.short}", style="primary"
    )
    return replace(card, blocks=(*card.blocks, actions(again)), public=True)


def _stated(text: str, limit: int) -> str:
    """A fault's own words as a sentence."""
    return f"{safe(text, limit).rstrip('.')}."


def _unreachable(error: APIUnreachable) -> str:
    if error.maybe_done:
        advice = "It may still have been done: look with `/ssl list` before you ask again."
    else:
        advice = "Ask again in a minute. If it stays so, see `/ssl ping`."
    return f"{_stated(error.message, 250)} {advice}"


def _refused(word: str, sentence: str, error: APIRefused, host: str = "") -> Message:
    reference = f" · reference {code(error.req_id, 80)} for its support" if error.req_id else ""
    small = context(f"SSLmonitor code {error.code}{reference}")
    return reply("⛔", word, sentence, small, host=host)


def quota_used_up(account: Account) -> Message:
    """No more monitors fit the account."""
    counts = (account.used, account.limit)
    held = "" if None in counts else f" It watches {account.used} of {account.limit} monitors."
    return reply(
        "⛔",
        "QUOTA USED UP",
        f"The account has no room for another monitor.{held} "
        "Delete one with `/ssl delete HOST`, or raise the account's limit.",
    )


def outsider() -> Message:
    """Said to people of another team, at every door."""
    return reply(
        "⛔",
        "NOT FOR GUESTS FROM OUTSIDE",
        "This bot answers only people of the workspace that installed it. Ask one of them.",
    )


def not_in_channel() -> Message:
    """Said where somebody shares a card, and the bot may not post."""
    return reply(
        "⛔",
        "NOT SHARED",
        "The bot may not post in this channel. Invite it first, with `/invite`.",
    )


def not_watched(fault: NotMonitored) -> Message:
    """There is no monitor for this host: one press makes one; the nearest names are offered."""
    target = Target(fault.host, fault.port or HTTPS_PORT)
    host = target.short
    near = [
        button(plain(name, 75) or "–", "status", name, about=f"Status of {name}")
        for name in fault.suggestions
    ]
    asked = "Did you mean one of these?" if near else "There is no monitor for this host yet."
    return Message(
        f"{plain(host, 100)} is not watched yet.",
        (
            section(f"⚪ *NOT WATCHED* · {code(host)}\n{asked}"),
            *(actions(each) for each in near),
            actions(button("Watch it", "add", str(target), about=f"Watch {host}", style="primary")),
        ),
    )


def guest() -> Message:
    """Said to guests of the workspace, at every door."""
    return reply(
        "⛔",
        "NOT FOR GUESTS",
        "Guests may neither look nor scan here. Ask a full member of this workspace.",
    )


def no_admin(admins: Sequence[str]) -> Message:
    """Said to whoever may look and scan, but not change; `admins` are ids of users and groups.

    It names them with Slack's own marks, which ping nobody in a message that one person sees.
    """
    marks = [f"<!subteam^{name}>" if name.startswith("S") else f"<@{name}>" for name in admins[:10]]
    named = f"{', '.join(marks)} and others" if len(admins) > len(marks) else ", ".join(marks)
    word = "YOU MAY NOT CHANGE THIS"
    card = reply("⛔", word, f"Looking and scanning is open to you. Ask {named} for the change.")
    return replace(card, text="You may not change this. Ask one of the bot's admins.")


def unknown_person() -> Message:
    """Said where a change was asked for, and Slack does not say who asks."""
    return reply(
        "⚠️",
        "NOTHING WAS CHANGED",
        "Slack does not say right now whether you may change things. Ask again in a minute. "
        "If it stays so, whoever runs this bot should try `python -m bot check`.",
    )


def restarting(doing: str = "") -> Message:
    """Said to whoever still waits when the bot ends; `doing` is what was under way."""
    more = [context(safe(f"Not finished: {doing}", 200))] if doing else []
    return Message("Restarting. Ask again.", (section("🔄 *Restarting. Ask again.*"), *more))


def broken(reference: str) -> Message:
    """A fault of ours; the reference is in the log."""
    return reply(
        "⚠️",
        "SOMETHING WENT WRONG HERE",
        "That is a fault of the bot, not yours. Ask again. If it fails again, tell whoever runs "
        "the bot.",
        context(f"Reference in its log: {code(reference, 40)}"),
    )


def told_apart(message: Message) -> Message:
    """An answer for its asker alone, which the channel gets when Slack lets the bot speak again."""
    busy = "⚠️ *SLACK IS BUSY*\nThe channel sees this a little later: Slack limits the bot now."
    return replace(message, blocks=(section(busy), *message.blocks), public=False)


def slack_busy() -> Message:
    """Slack limits how often the bot may speak."""
    return reply(
        "⚠️",
        "SLACK IS BUSY",
        "Slack lets the bot say no more for the moment, so the answer is late or lost. "
        "Ask again in a minute.",
    )


def account_card(account: Account) -> Message:
    """Whose account it is, and how many monitors fit."""
    number = "unknown" if account.id is None else f"#{account.id}"
    used = "unknown" if account.used is None else f"{account.used:,}"
    if account.limit is not None:
        used += f" of {account.limit:,} used"
    free = "unknown" if account.available is None else f"{account.available:,}"
    pairs = [("Account", safe(account.email, 100) or number), ("Monitors", used), ("Free", free)]
    return Message(f"Monitors: {used}. Free: {free}.", (fields(pairs),))


def ping_card(ping: Ping, took: timedelta, offset: timedelta, now: datetime) -> Message:
    """The API answers: how fast, with which key, what its clock says, and how late its scans are.

    The last of these only where the API tells it.
    """
    milliseconds = max(1, int(took / timedelta(milliseconds=1)))
    hours = offset / timedelta(hours=1)
    clock = "UTC" if not offset else f"UTC{hours:+g} h"
    shown = f"{ping.date_time:%Y-%m-%d %H:%M} ({clock})" if ping.date_time else "not given"
    pairs = [
        ("Answer", f"in {milliseconds:,} ms"),
        ("Its clock", shown),
        ("Key", f"#{ping.apikey_id}" if ping.apikey_id is not None else "not given"),
    ]
    if ping.sweep:
        pairs.append(("Regular scans", _sweep(ping.sweep, now)))
    text = f"SSLmonitor answers in {milliseconds:,} ms."
    return Message(text, (section(f"✅ *OK*\n{text}"), fields(pairs)))


def _sweep(sweep: SweepProgress, now: datetime) -> str:
    """Whether the regular scans are on time, as a sentence of mrkdwn."""
    every = "" if sweep.monitors is None else f"{counted(sweep.monitors, 'monitor')}, "
    text = f"{every}{f'{sweep.due:,}' if sweep.due else 'none'} due now"
    if not sweep.due or sweep.lag < LATE:
        return f"On time: {text}."
    first = now - sweep.lag
    return f"⚠️ Late: {text}, the first since {date(first)}, {since(first, now)}."


def not_added(target: Target, error: BotError) -> str:
    """One line about a host that could not be added, among others."""
    said = error.message if isinstance(error, APIRefused | APIUnreachable) else str(error)
    return f"⛔ {code(target.short)} was not added: {safe(said, 150).rstrip('.')}."


def watched_already(target: Target) -> str:
    """One line about a host that needed no adding, among others."""
    return f"⚪ {code(target.short)} was watched already."


def working(what: str) -> Message:
    """Shown in a modal until the answer is there; `what` is plain text of ours."""
    return Message(what, (section(f"⏳ {what}"),))


def added_line(who: str, hosts: Sequence[str]) -> str:
    """The channel's line about new monitors."""
    return f"{safe(who, 80)} added {_hosts(hosts)}."


def deleted_line(who: str, host: str) -> str:
    """The channel's line about a deleted monitor."""
    return f"{safe(who, 80)} deleted the monitor for {code(host, 120)}."


def asked_by(who: str) -> str:
    """Who a public card is for, without a ping."""
    return f"asked by {safe(who, 80)}"


def _hosts(hosts: Sequence[str]) -> str:
    if len(hosts) <= 3:
        return ", ".join(code(host, 120) for host in hosts)
    return f"{counted(len(hosts), 'host')}: {code(hosts[0], 120)} and others"
