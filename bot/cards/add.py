"""The form that adds hosts, and every card on its way from there to the result."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bot.api.models import MonitorSummary
from bot.blocks import (
    MAX_BLOCKS,
    MAX_VALUE,
    Block,
    Form,
    Message,
    actions,
    button,
    code,
    context,
    counted,
    date,
    packed,
    plain,
    safe,
    section,
    select_input,
    text_input,
)
from bot.cards.lists import tally, unreadable
from bot.cards.monitor import headline
from bot.cards.row import group_row, grouped
from bot.severity import Thresholds
from bot.target import Target

#: Marks an API that refuses proxies.
NO_PROXIES = "no proxies"
#: Marks an API whose monitors can't use STARTTLS.
NO_STARTTLS = "no STARTTLS"
#: The protocols that the form offers, by the words that can be typed for them.
PROTOCOLS = {
    "tls": "TLS from the first byte",
    **{name: f"{title} (STARTTLS)" for name, title in (
        ("smtp", "SMTP"), ("imap", "IMAP"), ("pop3", "POP3"), ("ldap", "LDAP"),
        ("postgres", "PostgreSQL"), ("mysql", "MySQL"),
    )},
}  # fmt: skip
_PROTOCOL_HINT = "By default, the port decides: 25 and 587 mean SMTP, 5432 PostgreSQL."
#: A card that shows progress is edited at most this often.
PROGRESS_EVERY = timedelta(seconds=2)
SHOWN_TARGETS = 50
SHOWN_HOSTS = 20
WORST = 3


@dataclass(frozen=True, slots=True)
class Draft:
    """A submitted form without its password, which is never stored.

    `protocols` names the STARTTLS protocol of each target; empty for none.
    """

    protocols: Mapping[Target, str] = field(default_factory=dict)
    proxy_host: str = ""
    proxy_port: int = 0
    proxy_username: str = ""

    def value(self, command: str, targets: Sequence[Target]) -> str:
        """The value of a button that reopens the form, with as many targets as it can hold."""
        left = [f"{each.short} {self.protocols.get(each, '')}".rstrip() for each in targets]
        fields = {
            "proxy_host": self.proxy_host,
            "proxy_port": str(self.proxy_port or ""),
            "proxy_username": self.proxy_username,
        }
        filled = {name: text for name, text in fields.items() if text}
        while True:
            value = f"{command} {json.dumps({'targets': chr(10).join(left)} | filled)}"
            if len(value) <= MAX_VALUE or not left:
                return value[:MAX_VALUE] if left else command
            left.pop()


def add_form(filled: Mapping[str, str], learnt: Collection[str]) -> Form:
    """The form behind `/ssl add` without words. A proxy's password exists only here."""
    inputs = [
        text_input(
            "targets",
            "Hosts",
            hint="Hosts, host:port pairs or URLs, separated by spaces, commas or line breaks.",
            lines=True,
        )
    ]
    if NO_STARTTLS not in learnt:
        inputs.append(select_input("protocol", "Protocol", PROTOCOLS, hint=_PROTOCOL_HINT))
    if NO_PROXIES not in learnt:
        inputs += _proxy_inputs(again="proxy_username" in filled)
    for block in inputs:
        if text := filled.get(block["block_id"]):
            block["element"]["initial_value"] = text
    blocks: list[Block] = list(inputs)
    if NO_PROXIES in learnt:
        blocks.append(context("This SSLmonitor API doesn't support proxies."))
    return Form(command="add_now", title="Add hosts", submit="Add", blocks=tuple(blocks))


def _proxy_inputs(*, again: bool) -> list[Block]:
    hint = "Sent to the SSLmonitor API; the bot doesn't store it."
    if again:
        hint = "Enter it again: the bot doesn't store it."
    return [
        text_input(
            "proxy_host", "Proxy host", hint="Only needed to scan through a proxy.", optional=True
        ),
        text_input("proxy_port", "Proxy port", optional=True),
        text_input("proxy_username", "Proxy user name", optional=True),
        text_input("proxy_password", "Proxy password", hint=hint, optional=True),
    ]


def _what(targets: Sequence[Target]) -> str:
    return code(targets[0].short) if len(targets) == 1 else counted(len(targets), "host")


def _plain(targets: Sequence[Target]) -> str:
    return plain(targets[0].short, 100) if len(targets) == 1 else counted(len(targets), "host")


def checking(targets: Sequence[Target]) -> Message:
    """Shown while the API is asked which hosts are monitored already and how much room is left."""
    text = f"Checking {_plain(targets)}…"
    return Message(text, (section(f"⏳ *Checking…* · {_what(targets)}"),))


def adding(number: int, new: Sequence[Target], problems: Sequence[str]) -> Message:
    """Shown while hosts are added: the current one, and what is known about the others (mrkdwn)."""
    if len(new) == 1:
        title, text = f"⏳ *Adding…* · {_what(new)}", f"Adding {_plain(new)}…"
    else:
        text = f"Adding {number} of {len(new)}…"
        title = f"⏳ *{text}*"
    return Message(text, (section(title), *packed(problems, section)[: MAX_BLOCKS - 1]))


def preview(hosts: Sequence[str]) -> Message:
    """A preview of many typed hosts, with a button that adds them."""
    number = len(hosts)
    lines = [f"• {code(host, 120)}" for host in hosts[:SHOWN_TARGETS]]
    value = " ".join(hosts)
    these = counted(number, "host")
    go = button(f"Add {number}", "add_now", value, about=f"Add {these}", style="primary")
    if len(value) > MAX_VALUE:
        go = button("Open the form", "form", "add", about="Open the form for many hosts")
        lines.append("These names are too long for one button. Paste them into the form.")
    text = f"Add {'this host' if number == 1 else f'these {these}'}?"
    return Message(
        text,
        (section(text), *packed(lines, section), actions(go)),
        changed=(),
    )


def added(
    number: int,
    lines: Sequence[str],
    problems: Sequence[str],
    *,
    left: Sequence[Target],
    draft: Draft,
    announce: str,
) -> Message:
    """The result of adding several hosts: a line of mrkdwn for each, and [Correct] for failures."""
    total = len(lines) + len(problems)
    text = f"Added {number} of {counted(total, 'host')}."
    shown = packed([*lines, *problems], section)[: MAX_BLOCKS - 2]
    return Message(text, (section(text), *shown, *correct(left, draft)), announce=announce)


def correct(left: Sequence[Target], draft: Draft) -> tuple[Block, ...]:
    """The button that reopens the form, filled in with the hosts that were not added."""
    if not left:
        return ()
    about = f"Correct {left[0].short}" if len(left) == 1 else f"Correct {len(left)} hosts"
    return (actions(button("Correct", "form", draft.value("add", left), about=about)),)


def no_room(target: Target, used: int | None, limit: int | None) -> str:
    """One line about a host for which the account has no room."""
    held = "" if used is None or limit is None else f" ({used:,} of {limit:,} monitors used)"
    return f"⛔ {code(target.short)} was not added: the account has no room for it{held}."


def found_hosts(found: Sequence[Target]) -> Message:
    """The hosts that a message names, each with its buttons."""
    if not found:
        text = "This message contains no host names or URLs that can be checked."
        return Message(text, (section(text),))
    text = f"This message names {counted(len(found), 'host')}."
    blocks: list[Block] = [section(text)]
    for target in found[:SHOWN_HOSTS]:
        host, value = target.short, str(target)
        blocks += [
            section(code(host, 120)),
            actions(
                button("Status", "status", value, "below", about=f"Status of {host}"),
                button("Scan", "scan", value, "below", about=f"Scan {host}"),
                button("Add", "add", value, "below", about=f"Add {host}"),
            ),
        ]
    if len(found) > SHOWN_HOSTS:
        more = counted(len(found) - SHOWN_HOSTS, "more host")
        blocks.append(context(f"{more} not shown."))
    return Message(text, tuple(blocks))


def menu(
    rows: Sequence[MonitorSummary], now: datetime, rules: Thresholds, *, lost: int = 0
) -> Message:
    """What a bare `/ssl` opens: counts, the worst monitors, and buttons."""
    if not rows:
        text = f"⚠️ {unreadable(lost)}." if lost else "There are no monitors yet."
        return Message(text, (section(text), _menu_buttons()))
    text = f"{counted(len(rows), 'monitor')}: {tally(rows, now, rules)}."
    if lost:
        text += f" ⚠️ {unreadable(lost)}."
    worst = [group_row(group, now, rules) for group in grouped(rows, now, rules)[:WORST]]
    return Message(
        f"{text} {headline(rows[0], now, rules)}.", (section(text), *worst, _menu_buttons())
    )


def menu_without(fault: Message) -> Message:
    """The menu if the monitors can't be listed: why, and the buttons."""
    return replace(fault, blocks=(*fault.blocks, _menu_buttons()))


def _menu_buttons() -> Block:
    return actions(
        button("Add…", "form", "add", "below", about="Open the form that adds hosts"),
        button("List", "list", "", "below", about="List all monitors"),
        button("Due now", "digest", "", "below", about="Show what is due now"),
        button("Help", "help", "", "below", about="Show all commands"),
    )


def audit(lines: Sequence[tuple[datetime, str, str, str, str]], host: str) -> Message:
    """The newest audit entries: when, who, what, which host or channel, and the result."""
    of = f" for {code(host, 120)}" if host else ""
    plainly = f" for {plain(host, 120)}" if host else ""
    if not lines:
        return Message(f"No changes recorded{plainly}.", (section(f"No changes recorded{of}."),))
    told = [
        f"{date(at)} · {safe(who, 60)} · {_typed(command)} · {_what_changed(command, target)}"
        f" · {safe(result, 120)}"
        for at, who, command, target, result in lines
    ]
    text = f"Recent changes{plainly}."
    return Message(text, (section(f"*Recent changes*{of}"), *packed(told, section)))


def _typed(command: str) -> str:
    """A command as people type it: `delete` for its confirming button, `digest here`."""
    return command.removesuffix("_now").removesuffix("_certificate").replace("_", " ")


def _what_changed(command: str, target: str) -> str:
    """A host; or, by its ID, the channel whose digest or notices were changed."""
    of_channel = command.startswith(("digest_", "notices_"))
    is_id = target.isalnum() and target.startswith(("C", "D", "G"))
    return f"<#{target}>" if of_channel and is_id else code(target, 120)


def shared_note(who: str) -> Block:
    """The context line of a shared card; it mentions nobody."""
    return context(f"shared by {safe(who, 80)}")
