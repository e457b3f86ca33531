"""Whether a host's CAA records would refuse the CA that issued its certificate (RFC 8659)."""

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Coroutine, Sequence

from bot.embedded.scan.certificate import Leaf
from bot.embedded.scan.dns import is_address
from bot.embedded.scan.verdict import printable

log = logging.getLogger(__name__)

_SECTIGO = (
    "sectigo.com", "comodo.com", "comodoca.com", "usertrust.com", "trust-provider.com",
)  # fmt: skip
_DIGICERT = (
    "digicert.com", "geotrust.com", "rapidssl.com", "thawte.com", "symantec.com",
    "digicert.ne.jp", "cybertrust.ne.jp", "volusion.digitalcertvalidation.com",
    "stratossl.digitalcertvalidation.com", "intermediatecertificate.digitalcertvalidation.com",
    "1and1.digitalcertvalidation.com", "digitalcertvalidation.com", "quovadisglobal.com",
)  # fmt: skip
#: A CA's names in CAA records, as it documents them, by the organization that its certificates name
#: as their issuer. Other CAs are passed over.
NAMES = {
    "Let's Encrypt": ("letsencrypt.org",),
    "Google Trust Services": ("pki.goog",),
    "Google Trust Services LLC": ("pki.goog",),
    "ZeroSSL": (*_SECTIGO, "zerossl.com"),  # Sectigo issues for it
    "Sectigo Limited": _SECTIGO,
    "DigiCert Inc": _DIGICERT,
    "DigiCert, Inc.": _DIGICERT,
    "Amazon": ("amazon.com", "amazontrust.com", "awstrust.com", "amazonaws.com", "aws.amazon.com"),
    "GlobalSign nv-sa": ("globalsign.com",),
    "GoDaddy.com, Inc.": ("godaddy.com", "starfieldtech.com"),
    "Starfield Technologies, Inc.": ("starfieldtech.com", "godaddy.com"),
    "Buypass AS-983163327": ("buypass.com", "buypass.no"),
    "SSL Corporation": ("ssl.com",),
    "Asseco Data Systems S.A.": ("certum.pl", "certum.eu"),
    "Actalis S.p.A.": ("actalis.it",),
}  # fmt: skip
SECONDS = 5.0
#: How long an answer is cached, and how many are.
LIFETIME = 3600.0
KEPT = 20_000

#: The properties that every CA knows; an unknown critical one forbids issuing (RFC 8659, section
#: 4.1). It is stored as `_CRITICAL`, with its own tag as the value.
_KNOWN = frozenset(
    {"issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail", "contactphone"}
)
_CRITICAL, _IS_CRITICAL = "!", 0x80
_LABEL = "[a-z0-9](?:-*[a-z0-9])*"
_PARAMETER = rf"{_LABEL}[ \t]*+=[ \t]*+[!-:<-~]*+[ \t]*+"
#: A value that names a CA, or nobody; any other permits nobody (RFC 8659, section 4.2).
_NAMED = re.compile(
    rf"[ \t]*+({_LABEL}(?:\.{_LABEL})*)?[ \t]*+"
    rf"(?:;[ \t]*+(?:{_PARAMETER}(?:;[ \t]*+{_PARAMETER})*)?)?",
    re.IGNORECASE | re.ASCII,
)
#: The (tag, value) pairs at one name; empty if it has none. Raises OSError if they can't be looked
#: up.
Records = Sequence[tuple[str, str]]
LookUp = Callable[[str], Coroutine[None, None, Records]]


async def look_up(name: str) -> Records:
    """The CAA records of one name, from the system's resolver, aliases followed."""
    import dns.asyncresolver  # noqa: PLC0415 - its import takes 0.1 s, which the demo doesn't need
    import dns.exception  # noqa: PLC0415 - the same
    import dns.resolver  # noqa: PLC0415 - the same

    try:
        answer = await dns.asyncresolver.resolve(
            f"{name}.", "CAA", raise_on_no_answer=False, lifetime=SECONDS
        )
    except dns.resolver.NXDOMAIN:
        return ()
    except dns.exception.DNSException as fault:
        raise OSError(str(fault)) from None
    records = []
    for each in answer.rrset or ():
        tag, value = each.tag.decode().lower(), each.value.decode("utf-8", "replace")
        is_strange = each.flags & _IS_CRITICAL and tag not in _KNOWN
        records.append((_CRITICAL, tag) if is_strange else (tag, value))
    return records


class CAA:
    """Looks up CAA records, and caches them for an hour.

    A scan that can't wait any longer leaves the answer to the next one.
    """

    def __init__(self, look_up: LookUp = look_up) -> None:
        self._look_up = look_up
        self._kept: dict[str, tuple[float, asyncio.Future[Records]]] = {}

    async def refusal(self, host: str, leaf: Leaf) -> str:
        """Why the CA of a certificate may not renew it, as the middle of a sentence; else empty.

        Also empty for an unknown CA; `unknown: …` if the records can't be read.
        """
        ours = NAMES.get(leaf.issuer_o)
        if ours is None or is_address(host) or not leaf.covers(host):
            return ""
        wildcard = host not in map(str.lower, leaf.alt_names)
        try:
            name, records = await self._relevant(host.partition(".")[2] if wildcard else host)
        except OSError as fault:
            log.debug("Could not read the CAA records of %s: %s", host, fault)
            return "unknown: the CAA records can't be read"
        for tag, value in records:
            if tag == _CRITICAL:
                strange = f"the critical property “{printable(value, 50)}”"
                return f"the CAA record of {name} has {strange}, which CAs need not know"
        allowed = permitted(records, wildcard=wildcard)
        if allowed is None or set(ours) & allowed:
            return ""
        return f"the CAA record of {name} {_permission(records, allowed, leaf.issuer_o)}"

    async def _relevant(self, host: str) -> tuple[str, Records]:
        """The records of the host, or of the nearest parent that has any (RFC 8659, section 3)."""
        name = host
        while name:
            if records := await self._records(name):
                return name, records
            name = name.partition(".")[2]
        return host, ()

    async def _records(self, name: str) -> Records:
        now = asyncio.get_running_loop().time()
        kept = self._kept.get(name)
        if kept is None or now - kept[0] >= LIFETIME:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            kept = self._kept[name] = now, asyncio.ensure_future(self._look_up(name))
        try:
            return await asyncio.shield(kept[1])
        except OSError:
            self._kept.pop(name, None)
            raise


def permitted(records: Records, *, wildcard: bool) -> set[str] | None:
    """The CAs that may issue; None if the records restrict nobody (RFC 8659, sections 4.2, 4.3)."""
    for tag in ("issuewild", "issue") if wildcard else ("issue",):
        values = [_NAMED.fullmatch(value) for each, value in records if each == tag]
        if values:
            return {found[1].lower() for found in values if found and found[1]}
    return None


def _permission(records: Records, allowed: Collection[str], issuer: str) -> str:
    """Whom records permit, as they don't permit the issuer."""
    said = f"permits {printable(', '.join(sorted(allowed)))}, and not {issuer}"
    said = said if allowed else "permits no CA"
    for tag, value in records:
        if tag in {"issue", "issuewild"} and not _NAMED.fullmatch(value):
            return f"{said}: “{printable(value, 50)}” is malformed"
    return said
