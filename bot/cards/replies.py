"""The cards about the bot itself: help, failures, the account, the connection."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from bot.api.models import Account, Ping, SweepProgress
from bot.blocks import (
    MAX_BLOCKS,
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
    mention,
    plain,
    safe,
    section,
    since,
    told,
)
from bot.cards import slack_faults as slack_cards
from bot.errors import (
    APIRefused,
    APIUnreachable,
    BadKey,
    BotError,
    DatabaseUnavailable,
    NotAvailable,
    NotFound,
    NotMonitored,
    SlackRefused,
    SlackUnreachable,
    TooOften,
    UsageError,
)
from bot.target import HTTPS_PORT, Target

#: Regular scans that are due for longer than this are late. A due monitor waits some seconds for
#: its turn.
LATE = timedelta(minutes=1)


def reply(symbol: str, word: str, sentence: str, *more: Block, host: str = "") -> Message:
    """A short card in our own words; `word` and `sentence` are finished mrkdwn."""
    title = word.capitalize().replace("Sslmonitor", "SSLmonitor")
    about = f" · {code(host)}" if host else ""
    return Message(
        text=plain(bare(f"{title}{about}. {sentence}"), 600),
        blocks=(section(f"{symbol} *{word}*{about}\n{sentence}"), *more),
    )


def help_card(groups: Mapping[str, Sequence[tuple[str, str]]]) -> Message:
    """Every command with its usage and one line of help, in groups."""
    blocks: list[Block] = [header("What /ssl can do")]
    for title, usages in groups.items():
        lines = [f"{code(f'/ssl {usage}')}\n{escaped(text)}" for usage, text in usages]
        blocks.append(section("\n".join([f"*{title}*", *lines])))
    small = "Write a host as `host`, `host:port` or a URL. `/ssl help list` explains one command."
    names = [usage.split()[0] for usages in groups.values() for usage, _ in usages]
    return Message("Commands: " + ", ".join(names), (*blocks, context(small)))


def command_help(usage: str, text: str, details: str, example: str, more: Sequence[str]) -> Message:
    """One command: its usage, what it does, its subcommands (`more`), and an example."""
    also = ", ".join(code(f"/ssl help {name}") for name in more)
    lines = [code(f"/ssl {usage}"), escaped(text), escaped(details), also and f"See also {also}."]
    return Message(
        f"/ssl {usage}: {text}",
        (
            section("\n".join(filter(None, lines))),
            context(f"For example {code(f'/ssl {example}')}"),
        ),
    )


def usage_error(error: UsageError, example: str) -> Message:
    """What is wrong with the words after `/ssl`, and an example (`status example.com`)."""
    advice = f"Try {code(f'/ssl {example}')}." if example else "`/ssl help` lists all commands."
    return reply("🤔", "NOT UNDERSTOOD", told(error.message, 400), context(advice))


def needs_form(command: str) -> Message:
    """A button that opens the form for missing words, where no form can open by itself."""
    about = f"Open the form for /ssl {command}"
    press = button("Open the form", "form", command, about=about, style="primary")
    said = f"Enter them in the form for `/ssl {command}`."
    return reply("📝", "MORE DETAILS NEEDED", said, actions(press))


def hello() -> Message:
    """The answer to a greeting or to thanks."""
    text = "👋 Hello. I look after TLS certificates."
    return Message(bare(text), (section(text), context("`/ssl help` lists all commands.")))


def press_again(command: str) -> Message:
    """The form didn't open in time (Slack's trigger lives 3 s): a button to press again."""
    about = f"Open the form for /ssl {command}"
    return reply(
        "⚠️",
        "SLACK WAS SLOW",
        "The form could not open in time. Press again.",
        actions(button("Open the form", "form", command, about=about, style="primary")),
    )


def unknown_command(
    word: str, nearest: str = "", argument: str = "", *, runs: bool = False, part: bool = False
) -> Message:
    """There is no such command; the nearest one is named, with a button if it changes nothing.

    The button shows the whole line that it runs. The word may be `part` of a host's name.
    """
    more: list[Block] = []
    sentence = f"There is no command {code(word, 40)}."
    if nearest:
        sentence += f" Did you mean `{nearest}`?"
    if nearest and runs:
        line = f"{nearest} {argument}".strip()
        about = f"Run /ssl {line}"
        more.append(actions(button(plain(f"Run {line}", 75), nearest, argument, about=about)))
    small = "`/ssl help` lists all commands."
    if part and re.fullmatch(r"[\w-]{2,40}", word):
        small += f" {code(f'/ssl list {word}')} finds hosts by a part of their names."
    return reply("🤔", "UNKNOWN COMMAND", sentence, *more, context(small))


def failure(error: BotError, *, host: str = "") -> Message:
    """What happened, and what to do next; `host` is the one in question, if known."""
    match error:
        case NotFound():
            said = "SSLmonitor has no such monitor; it may have been deleted."
            return _refused("NOT FOUND", f"{said} `/ssl list` shows all monitors.", error, host)
        case BadKey():
            return _refused(
                "KEY REFUSED",
                "SSLmonitor refuses the bot's API key. The bot's operator must correct "
                "`SSLMONITOR_API_KEY`; `python -m bot check` tests it.",
                error,
            )
        case APIRefused(code=429):
            return _refused("TOO MANY REQUESTS", _again(error), error, host)
        case APIRefused():
            return _other_refusal(error, host)
        case APIUnreachable():
            return reply("⚠️", "SSLMONITOR IS NOT ANSWERING", _unconfirmed(error), host=host)
        case _:
            return _other_failure(error, host)


def _other_refusal(error: APIRefused, host: str) -> Message:
    if error.maybe_done:
        return _refused("SSLMONITOR FAILED", _unconfirmed(error), error, host)
    said = safe(error.message, 300).rstrip(".")
    answer = f"SSLmonitor refused the request: {said}." if said else "SSLmonitor gave no reason."
    again = f" {_again(error)}" if error.code == 503 and "Try again" not in said else ""
    return _refused("REFUSED", f"{answer}{again}", error, host)


def _other_failure(error: BotError, host: str) -> Message:
    if isinstance(error, SlackRefused | SlackUnreachable):
        return slack_cards.failure(error)
    if isinstance(error, TooOften):
        again = date(error.again_at, "{time}")
        return reply("⏱️", "LIMIT REACHED", f"{error} Try again at {again}.")
    database = isinstance(error, DatabaseUnavailable)
    word = "DATABASE UNAVAILABLE" if database else "COULD NOT DO THAT"
    return reply("⚠️", word, _stated(str(error), 300), host=host)


def not_available(error: NotAvailable) -> Message:
    """The API can't do it: what the asker can do instead, and what the operator can change."""
    instead = {
        "check": "`/ssl add HOST` adds a monitor and shows its certificate.",
        "add HOST smtp": "`/ssl add HOST:PORT tls` adds a monitor that starts TLS at once.",
        "history": "`/ssl scan HOST` shows what changed since the last scan that the bot saw.",
    }
    return reply(
        "⛔",
        "NOT AVAILABLE HERE",
        f"`/ssl {error.command}` isn't available with the hosted API. {instead[error.command]}",
        context(
            "The embedded API supports it. The bot's operator can unset `SSLMONITOR_API_URL` and "
            "`SSLMONITOR_API_KEY`, so that the bot uses its own, or point them at an "
            "embedded API: see `docs/embedded.md`."
        ),
    )


def scan_failed(error: BotError, target: Target | None, monitor_id: int) -> Message:
    """A scan that was announced in the channel failed; a button tries again."""
    host = target.short if target else f"#{monitor_id}"
    card = failure(error, host=host)
    value = f"{monitor_id} {target}" if target else str(monitor_id)
    again = button("Rescan", "scan", value, about=f"Rescan {host}", style="primary")
    return replace(card, blocks=(*card.blocks, actions(again)), public=True, outcome="failed")


def scan_unread(error: BotError, target: Target, monitor_id: int) -> Message:
    """A scan was made, but the API didn't return its result; a button asks for it again."""
    host, value = target.short, f"{monitor_id} {target}"
    why = f"but its result could not be read: {safe(str(error), 200).rstrip('.')}."
    return Message(
        f"{plain(host, 100)} was scanned, but its result could not be read.",
        (
            section(f"⚠️ {code(host)} was scanned, {why}"),
            actions(button("Result", "status", value, about=f"Result of {host}")),
        ),
        public=True,
        outcome="failed",
    )


def _stated(text: str, limit: int) -> str:
    """A fault's own text as a sentence."""
    return f"{safe(text, limit).rstrip('.')}."


def _again(error: BotError) -> str:
    wait = f"{math.ceil(error.retry_after):,} s" if error.retry_after else "a minute"
    return f"Try again in {wait}."


def _unconfirmed(error: APIRefused | APIUnreachable) -> str:
    if error.maybe_done:
        advice = "It may have gone through; check `/ssl list` before you retry."
    else:
        advice = f"{_again(error)} If this keeps happening, check `/ssl ping`."
    return f"{_stated(error.message, 250)} {advice}"


def _refused(word: str, sentence: str, error: APIRefused, host: str = "") -> Message:
    reference = f" · support reference {code(error.req_id, 80)}" if error.req_id else ""
    small = context(f"SSLmonitor error {error.code or 'without a code'}{reference}")
    return reply("⚠️" if error.maybe_done else "⛔", word, sentence, small, host=host)


def quota_used_up(account: Account) -> Message:
    """The account has no room for more monitors."""
    counts = (account.used, account.limit)
    held = "" if None in counts else f" {account.used} of {account.limit} monitors are in use."
    return reply(
        "⛔",
        "QUOTA USED UP",
        f"The account has no room for another monitor.{held} "
        "Delete one with `/ssl delete HOST`, or raise the account's limit.",
    )


def outsider() -> Message:
    """For people of another team, wherever they ask."""
    return reply(
        "⛔",
        "MEMBERS ONLY",
        "This bot only answers members of the workspace that installed it. Ask one of them.",
    )


def watch_failed(fault: BotError, target: Target) -> Message:
    """The monitor was added, but Scan & watch could not start."""
    card = failure(fault, host=target.short)
    done = section(f"✅ {code(target.short)} is now monitored. Scan & watch could not start:")
    return replace(card, blocks=(done, *card.blocks))


def not_monitored(fault: NotMonitored, *, watch: bool = False) -> Message:
    """There is no monitor for this host: a button adds one; similar names are offered.

    With `watch`, the button also starts Scan & watch.
    """
    target = Target(fault.host, fault.port or HTTPS_PORT)
    host = str(target) if fault.port else target.short
    names = fault.suggestions
    near = [button(plain(n, 75) or "–", "status", n, about=f"Status of {n}") for n in names]
    whole = "." in fault.host or ":" in fault.host or fault.port  # not part of a name
    named = f"{code(host)} isn't monitored yet."
    text = named if whole else f"No monitored host's name begins with {code(host)}."
    if near:
        text += " Did you mean one of these?"
    label, command = ("Add and watch", "add_and_watch") if watch else ("Add", "add")
    add = button(label, command, str(target), about=f"{label} {host}", style="primary")
    return Message(
        f"{plain(host, 100)} isn't monitored yet.",
        (
            section(f"⚪ *NOT MONITORED* · {code(host)}\n{text}"),
            *(actions(each) for each in near),
            *([actions(add)] if whole else []),
        ),
    )


def guest() -> Message:
    """For guests of the workspace, wherever they ask."""
    return reply(
        "⛔",
        "FULL MEMBERS ONLY",
        "Guests can't use this bot. Ask a full member of this workspace.",
    )


def no_admin(admins: Sequence[str]) -> Message:
    """For those who may view and scan, but not change; `admins` are IDs of users and groups.

    Slack's mentions ping nobody in a message that only one person sees.
    """
    marks = [mention(name) for name in admins[:10]]
    named = f"{', '.join(marks)} and others" if len(admins) > len(marks) else ", ".join(marks)
    word, text = "ADMINS ONLY", f"You can view and scan. To make this change, ask {named}."
    if not marks:
        text = "The user groups in `SSL_ADMINS` are disabled or deleted. Tell the bot's operator."
        return reply("⛔", word, f"You can view and scan. {text}")
    card = reply("⛔", word, text)
    return replace(card, text="Only the bot's admins can make this change. Ask one of them.")


_CHECK = "If this keeps happening, the bot's operator can run `python -m bot check`."


def unknown_person() -> Message:
    """For a change, if Slack can't confirm who asks."""
    return reply(
        "⚠️",
        "NOTHING WAS CHANGED",
        f"Slack could not confirm that you may change things. Try again in a minute. {_CHECK}",
    )


def unconfirmed() -> Message:
    """In Home, if Slack can't confirm whose it is."""
    text = f"Slack could not confirm who you are. Open this tab again in a minute. {_CHECK}"
    return reply("⚠️", "NOT CONFIRMED", text)


def unrecorded(message: Message) -> Message:
    """The reply to a change that was made, but could not be recorded in the audit log."""
    note = context("⚠️ This could not be recorded: the bot's database can't be written.")
    return replace(message, blocks=(*message.blocks[: MAX_BLOCKS - 1], note))


def broken(reference: str) -> Message:
    """A bug in the bot; the reference is in the log."""
    return reply(
        "⚠️",
        "BUG IN THE BOT",
        "Your command failed. If this keeps happening, send the reference to the bot's operator.",
        context(f"Reference: {code(reference, 40)}"),
    )


def account_card(account: Account) -> Message:
    """Whose account it is, and how many monitors it may have."""
    number = "unknown" if account.id is None else f"#{account.id}"
    used = "unknown" if account.used is None else f"{account.used:,}"
    if account.limit is not None:
        used += f" of {account.limit:,} used"
    free = "unknown" if account.available is None else f"{account.available:,}"
    pairs = [("Account", safe(account.email, 100) or number), ("Monitors", used), ("Free", free)]
    return Message(f"Monitors: {used}. Free: {free}.", (fields(pairs),))


def ping_card(ping: Ping, took: timedelta, offset: timedelta, now: datetime) -> Message:
    """The API's reply: how fast, with which key, its clock, and how late its scans are.

    The last of these only if the API says.
    """
    milliseconds = max(1, int(took / timedelta(milliseconds=1)))
    clock = f"UTC{offset / timedelta(hours=1):+g} h" if offset else "UTC"
    shown = f"{ping.date_time:%Y-%m-%d %H:%M} ({clock})" if ping.date_time else "unknown"
    pairs = [
        ("Response time", f"{milliseconds:,} ms"),
        ("Server clock", shown),
        ("Key", f"#{ping.apikey_id}" if ping.apikey_id is not None else "unknown"),
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


def not_done(target: Target, error: BotError, what: str) -> str:
    """One line about a host that failed, among others; `what` is like `added`."""
    said = error.message if isinstance(error, APIRefused | APIUnreachable) else str(error)
    was = "⚠️ {} may have been" if error.maybe_done else "⛔ {} was not"
    return f"{was.format(code(target.short))} {what}: {safe(said, 150).rstrip('.')}."


def already_monitored(target: Target) -> str:
    """One line about a host that was monitored already, among others."""
    return f"⚪ {code(target.short)} was already monitored."


def slow(follows: str = "") -> Message:
    """The API is slow; `follows` names what will come in a message of its own, such as `card`."""
    text = f"SSLmonitor is slow; the {follows} follows." if follows else "Waiting for SSLmonitor…"
    return Message(text, (section(f"⏳ {text}"),))


def working(kind: Literal["check", "work", "follows"] = "work") -> Message:
    """Shown until the answer is there; `follows` if the answer will be a message of its own."""
    what = {"check": "Checking…", "work": "Working…", "follows": "The result will follow."}[kind]
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
