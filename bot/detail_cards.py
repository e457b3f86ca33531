"""The card with everything that is known of a monitor."""

from __future__ import annotations

from datetime import datetime

from bot import cards
from bot.blocks import Block, Message, code, counted, date, fields, safe, section
from bot.models import Certificate, HTTPInfo, Monitor, MonitorSummary, Name
from bot.severity import Thresholds

SHOWN_NAMES = 30


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
