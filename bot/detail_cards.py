"""The card with everything that is known of a monitor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bot import cards
from bot.blocks import Block, Message, button, code, counted, date, fields, safe, section
from bot.models import Certificate, HTTPInfo, Monitor, MonitorSummary, Name
from bot.severity import Thresholds
from bot.target import Target

SHOWN_NAMES = 30
NAMES_OFFERED = 3


def names_not_watched(target: Target, names: Sequence[str], fitting: Sequence[Target]) -> Block:
    """The offer to watch the other names on a certificate; `fitting` are those that may be added.

    Where the account has no room there is no button, and the text says so.
    """
    shown = ", ".join(code(name, 80) for name in names[:NAMES_OFFERED])
    more = f" and {len(names) - NAMES_OFFERED:,} more" if len(names) > NAMES_OFFERED else ""
    if len(names) == 1:
        text = f"1 name on this certificate isn't watched: {shown}."
    else:
        text = f"{len(names):,} names on this certificate aren't watched: {shown}{more}."
    if not fitting:
        return section(f"{text} The account has no room for more monitors.")
    number = len(fitting)
    about = f"Watch {counted(number, 'more name')} of {target.short}"
    argument = " ".join(map(str, fitting))
    return section(text, accessory=button(f"Add {number}", "add", argument, "below", about=about))


def _name(name: Name) -> str:
    parts = [safe(part, 100) for part in (name.cn, name.o, name.c) if part]
    return ", ".join(parts) or "–"


def details(
    found: Monitor, row: MonitorSummary, now: datetime, rules: Thresholds, said: str = ""
) -> Message:
    """Everything that is known of a monitor, for its asker's eyes."""
    card = cards.monitor(row, now, rules, said=said)
    certificate = _certificate_blocks(found.certificate) if found.certificate else []
    return Message(
        card.text,
        (card.blocks[0], *certificate, *_http_blocks(found.http), *card.blocks[1:]),
        row=card.row,
    )


def _certificate_blocks(certificate: Certificate) -> list[Block]:
    pairs = [("Subject", _name(certificate.subject)), ("Issuer", _name(certificate.issuer))]
    if certificate.not_before:
        pairs.append(("Valid from", date(certificate.not_before)))
    if certificate.not_after:
        pairs.append(("Valid until", date(certificate.not_after)))
    blocks = [fields(pairs)]
    names = certificate.alt_names
    if names:
        shown = " ".join(code(name, 80) for name in names[:SHOWN_NAMES])
        more = f" and {len(names) - SHOWN_NAMES:,} more" if len(names) > SHOWN_NAMES else ""
        blocks.append(section(f"*Names on it ({len(names):,})*\n{shown}{more}"))
    return blocks


def _http_blocks(http: HTTPInfo) -> list[Block]:
    pairs = []
    if http.ip:
        place = " · ".join(safe(part, 80) for part in (http.ip_rev, http.ip_geo) if part)
        pairs.append(("Address", f"{code(http.ip)}{f' {place}' if place else ''}"))
    if http.code is not None:
        size = f", {counted(http.size, 'byte')}" if http.size is not None else ""
        pairs.append(("Page", f"HTTP {http.code}{size}"))
    if http.title:
        pairs.append(("Title", safe(http.title, 150)))
    server = next((value for name, value in http.headers if name.casefold() == "server"), "")
    if server:
        pairs.append(("Server", safe(server, 80)))
    return [fields(pairs)] if pairs else []
