"""What the bot does after a scan: says what changed, and offers names that aren't monitored."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from bot.api.extras import Extra
from bot.api.models import Monitor, MonitorSummary, asked_at
from bot.blocks import MAX_VALUE, Block
from bot.cards import details as detail_cards
from bot.cards import marks
from bot.commands.lookup import ASKED_ONE_BY_ONE, MAX_TARGETS
from bot.commands.router import Call
from bot.errors import BotError, DatabaseUnavailable
from bot.severity import is_fine
from bot.sighting import Sighting
from bot.target import Target

log = logging.getLogger(__name__)

#: How long looking for names may delay the card.
OFFER_SECONDS = 5.0
#: How long looking up the last known state may delay a scan.
LOOK_SECONDS = 2.0


async def last_seen(
    call: Call, monitor_id: int, target: Target | None
) -> tuple[Sighting | None, Target | None]:
    """The last sighting and target of a monitor, before a scan replaces what the API knows.

    If the bot has none, it asks the API, for at most LOOK_SECONDS: the scan matters more. It
    returns the target that has the ID now: in another API or account, IDs differ.
    """
    try:
        seen = await call.records.seen(monitor_id)
    except DatabaseUnavailable as fault:
        log.warning("Could not read what was last seen of monitor %d: %s", monitor_id, fault)
        seen = None
    if seen and target:
        return seen, target
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            known = await call.api.get(monitor_id)
    except (BotError, TimeoutError) as fault:
        log.info("Could not read monitor %d before its scan: %s", monitor_id, fault)
        return seen, target
    if target not in {None, known.target}:
        return None, known.target
    return seen or Sighting.of(known), known.target


async def changed(call: Call, before: Sighting | None, found: Monitor, row: MonitorSummary) -> str:
    """Store the result of a scan, and return what changed, as a sentence of mrkdwn."""
    await keep(call, found, row)
    return marks.sentence(before, Sighting.of(found, row)) if before else ""


def outcome(call: Call, before: Sighting | None, found: Monitor, row: MonitorSummary) -> str:
    """The result of a scan, in a few words: `fixed`, `renewed`, `no change`."""
    fine = is_fine(row, call.now(), call.rules)
    if before is None:
        return "fine" if fine else "scanned"
    expired = before.not_after is not None and before.not_after <= call.now()
    if fine and (before.valid is False or expired):
        return "fixed"
    if Sighting.of(found, row).renewed_since(before):
        return "renewed"
    return "fine" if fine and row.expected_at is None else "no change"


async def keep(call: Call, found: Monitor, row: MonitorSummary) -> None:
    """Store what is known of a monitor, for comparison with its next scan."""
    await call.records.see(found.id, Sighting.of(found, row), row.asked or call.now())


async def show(
    call: Call,
    rows: Sequence[MonitorSummary] = (),
    fixers: Mapping[int, str] = MappingProxyType({}),
    *,
    complete: bool = False,
) -> None:
    """Show these monitors in digests and notices too, with who has fixed which; end claims.

    Without monitors, all are shown as soon as the API has listed them.
    """
    if call.watches.show:
        await call.watches.show(rows, complete, fixers)
    else:
        now = call.now()
        await call.records.end_claims(rows, now, asked=asked_at(rows) or now)


async def has_history(call: Call) -> bool:
    """Whether the API has histories; on a fault no, since the button for it is optional."""
    try:
        async with asyncio.timeout(OFFER_SECONDS):
            return await call.api.extras.offers(Extra.HISTORY, hurry=True)
    except (BotError, TimeoutError) as fault:
        log.info("Could not read openapi.json: %s", fault)
        return False


async def names_offer(call: Call, found: Monitor) -> Sequence[Block]:
    """The offer to monitor the certificate's other names; empty if there are none.

    It is optional: if the API doesn't answer, the card goes without it.
    """
    names = other_names(found)
    if not names:
        return ()
    try:
        async with asyncio.timeout(OFFER_SECONDS):
            monitored = await _monitored(call, names)
            left = [target for target in names if target.host not in monitored]
            account = await call.api.account() if left else None
    except (BotError, TimeoutError) as fault:
        log.info("Could not check for unmonitored certificate names: %s", fault)
        return ()
    if not left or account is None:
        return ()
    room = MAX_TARGETS if account.available is None else account.available
    hosts, fitting = [target.host for target in left], that_fit(left[: max(0, room)])
    return (detail_cards.unmonitored_names(found.target, hosts, fitting),)


def other_names(found: Monitor) -> list[Target]:
    """The names of a certificate that can be monitored, on the monitor's port; no wildcards."""
    held = found.certificate.alt_names if found.certificate else ()
    targets = dict.fromkeys(_targets(held, found.target.port))
    return [target for target in targets if target.host != found.target.host]


def _targets(names: Iterable[str], port: int) -> Iterable[Target]:
    for name in names:
        if "*" in name:
            continue
        try:
            yield Target(Target.parse(name).host, port)
        except ValueError:
            log.debug("Skipping a certificate name that is not a host name")


def that_fit(targets: Sequence[Target]) -> list[Target]:
    """The first targets that fit into one button's value, and into one addition."""
    fitting: list[Target] = []
    length = 0
    for target in targets[:MAX_TARGETS]:
        length += len(str(target)) + 1
        if length > MAX_VALUE:
            break
        fitting.append(target)
    return fitting


async def _monitored(call: Call, names: Sequence[Target]) -> set[str]:
    """Which of these hosts have a monitor, on any port."""
    if len(names) > ASKED_ONE_BY_ONE:
        return {row.target.host for row in await call.api.list()}
    answers = await asyncio.gather(*(call.api.list(host=target.host) for target in names))
    return {row.target.host for rows in answers for row in rows}
