"""The card with everything that is known about a monitor."""

from collections.abc import Sequence
from datetime import datetime

from bot.api.models import (
    Certificate,
    ChainCertificate,
    HTTPInfo,
    Monitor,
    MonitorSummary,
    Name,
    Renewal,
)
from bot.blocks import (
    Block,
    Message,
    button,
    code,
    context,
    counted,
    date,
    fields,
    hyperlink,
    packed,
    safe,
    section,
    since,
)
from bot.cards import monitor as monitor_cards
from bot.cards.monitor import CardLink, days_text
from bot.severity import ACT_NOW, DUE, EXPIRED, Threshold, Thresholds, days_left, limits
from bot.target import Target

SHOWN_NAMES = 30
NAMES_OFFERED = 3
#: A chain is the host's own certificate and one to three more; longer ones are a mistake.
SHOWN_LINKS = 8


def unmonitored_names(target: Target, names: Sequence[str], fitting: Sequence[Target]) -> Block:
    """The offer to monitor a certificate's other names; `fitting` are those with room.

    Without room in the account there is no button, and the text says so.
    """
    shown = ", ".join(code(name, 80) for name in names[:NAMES_OFFERED])
    more = f" and {len(names) - NAMES_OFFERED:,} more" if len(names) > NAMES_OFFERED else ""
    if len(names) == 1:
        text = f"1 name on this certificate isn't monitored: {shown}."
    else:
        text = f"{len(names):,} names on this certificate aren't monitored: {shown}{more}."
    if not fitting:
        return section(f"{text} The account has no room for more monitors.")
    number = len(fitting)
    about = f"Add {counted(number, 'more name')} of {target.short}"
    argument = " ".join(map(str, fitting))
    return section(text, accessory=button(f"Add {number}", "add", argument, "below", about=about))


def _name(name: Name) -> str:
    parts = [safe(part, 100) for part in (name.cn, name.o, name.c) if part]
    return ", ".join(parts) or "–"


def details(
    found: Monitor,
    row: MonitorSummary,
    now: datetime,
    rules: Thresholds,
    *,
    link: CardLink = monitor_cards.DETAILS,
    same: Sequence[MonitorSummary] = (),
) -> Message:
    """Everything that is known about a monitor; `same` are the others with its certificate."""
    card = monitor_cards.monitor(row, now, rules, link=link)
    return Message(
        card.text,
        (card.blocks[0], *facts(found, now, rules), *_same(same), *card.blocks[1:]),
    )


def _same(others: Sequence[MonitorSummary]) -> list[Block]:
    """Which other monitors have the same certificate."""
    if not others:
        return []
    shown = " ".join(code(row.target.short, 80) for row in others[:SHOWN_NAMES])
    more = f" and {len(others) - SHOWN_NAMES:,} more" if len(others) > SHOWN_NAMES else ""
    return [section(f"*Also on {counted(len(others), 'other monitor')}*\n{shown}{more}")]


def facts(found: Monitor, now: datetime, rules: Thresholds) -> list[Block]:
    """What a scan found: the certificate, its chain, and the page."""
    certificate = _certificate_blocks(found.certificate) if found.certificate else []
    chain = _chain_blocks(found.chain, now, rules.for_(found.target))
    return [
        *certificate,
        *chain,
        *_handshake(found.handshake),
        *_expected(found.expected),
        *_revocation(found.revocation),
        *_renewal(found.renewal, now),
        *_caa(found.caa),
        *_http_blocks(found.http),
    ]


def _handshake(facts: Sequence[str]) -> list[Block]:
    """How the connection was secured, in one line, without a grade."""
    return [context(" · ".join(code(each, 80) for each in facts))] if facts else []


def _expected(names: Sequence[str]) -> list[Block]:
    """Which certificate was issued but isn't served yet."""
    shown = " · ".join(code(each, 80) for each in names)
    return [context(f"📥 Waiting for the certificate {shown}")] if names else []


def _caa(refusal: str) -> list[Block]:
    """That the certificate's CA may not renew it, and why; or that this is unknown."""
    if not refusal or refusal.startswith("unknown: "):
        return _unknown("Whether this CA may renew it is unknown", refusal, asked="DNS")
    return [context(f"⚠️ This CA can't renew it: {safe(refusal, 300)}.")]


def _renewal(asked: Renewal | str, now: datetime) -> list[Block]:
    """When the CA asks for renewal; or why that is unknown."""
    if isinstance(asked, str):
        return _unknown("When the CA asks for a renewal is unknown", asked)
    verb = "asked" if asked.end < now else "asks"
    why = hyperlink(asked.url, "why")
    window = f"between {date(asked.start)} and {date(asked.end)}"
    return [context(f"The CA {verb} for a renewal {window}{f' ({why})' if why else ''}.")]


def _revocation(text: str) -> list[Block]:
    """What the CA says about revocation; or why that is unknown."""
    if text == "good":
        return [context("The CA has not revoked the certificate.")]
    return _unknown("Revocation unknown", text)


def _unknown(what: str, text: str, asked: str = "the CA") -> list[Block]:
    if not text.startswith("unknown: "):
        return []
    why = safe(text.removeprefix("unknown: "), 200)
    if why == "asked":
        why = f"{asked} was asked, and the answer is on its way"
    return [context(f"⚪ {what}: {why}.")]


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
        blocks.append(section(f"*Names ({len(names):,})*\n{shown}{more}"))
    return blocks


def _chain_blocks(
    chain: Sequence[ChainCertificate], now: datetime, rule: Threshold | None
) -> list[Block]:
    """A line for each certificate that the host sends; the team's threshold is for its own only."""
    if not chain:
        return []
    lines = [f"*Chain ({len(chain):,})*"]
    for number, link in enumerate(chain[:SHOWN_LINKS]):
        lines.append(f"{number + 1}. {_link(link, now, None if number else rule)}")
    if len(chain) > SHOWN_LINKS:
        lines.append(f"and {len(chain) - SHOWN_LINKS:,} more")
    return packed(lines, section)


def _link(link: ChainCertificate, now: datetime, rule: Threshold | None) -> str:
    subject, issuer = safe(link.subject, 80) or "–", safe(link.issuer, 80) or "–"
    itself = link.subject and link.subject == link.issuer
    by = "self-signed" if itself else f"issued by {issuer}"
    return f"{subject}, {by}, {_link_ends(link, now, rule)}"


def _link_ends(link: ChainCertificate, now: datetime, rule: Threshold | None) -> str:
    """When a certificate of the chain expires; emphasized if it has, or soon will."""
    if link.not_after is None:
        return "expiry date unknown"
    if link.not_after <= now:
        ended = since(link.not_after, now)
        return f"{EXPIRED.symbol} *EXPIRED* {date(link.not_after, '{date_short}')}, {ended}"
    lifetime = link.not_after - link.not_before if link.not_before else None
    limit, left = limits(lifetime, rule), link.not_after - now
    ends = f"expires {date(link.not_after, '{date_short}')}"
    if left >= limit.due:
        return ends
    state = ACT_NOW if left < limit.act_now else DUE
    days = days_text(days_left(link.not_after, now))
    return f"{state.symbol} *{ends}, {days}*"


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
