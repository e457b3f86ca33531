"""The bot's records about monitors: thresholds, sightings, and the audit log."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import bindparam, delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.dates import Subscription
from bot.errors import DatabaseUnavailable, OtherAPI
from bot.severity import NET_DAYS, Thresholds, ended_mute, is_fine
from bot.sighting import Sighting
from bot.store.database import Database, add, best_effort, put
from bot.store.forget import forget_old, forget_others, keep_hosts
from bot.store.marks import MarkStore, forget, read_marks
from bot.store.placeholders import Placeholders
from bot.store.subscriptions import Subscriptions
from bot.store.tables import audit, deliveries, sightings, thresholds

if TYPE_CHECKING:
    from bot.api.client import SSLMonitor
    from bot.api.models import MonitorSummary

log = logging.getLogger(__name__)

AUDIT_SHOWN = 20
#: The longest that an answer of the API can take.
LONGEST_ANSWER = timedelta(minutes=10)
_RULES = select(thresholds.c.pattern, thresholds.c.rule)
_LOG = insert(audit)
_SEEN = select(sightings.c.seen).where(sightings.c.monitor_id == bindparam("number"))
_OLDER = ~sightings.c.seen_at.between(bindparam("late"), bindparam("latest"))


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One entry of the audit log: who asked for which change, when, and the result."""

    at: datetime
    user_id: str
    user_name: str
    command: str
    target: str
    result: str


class Records:
    """Reads and writes the bot's own tables about monitors."""

    def __init__(
        self,
        database: Database,
        net_days: int = NET_DAYS,
        environment: Iterable[Subscription] = (),
        calendar_base: str | None = None,
        *,
        weekly: bool = False,
        notified: bool = True,
    ) -> None:
        self._database, self._net_days = database, net_days
        self.marks = MarkStore(database)
        self.placeholders = Placeholders(database)
        self.subscriptions = Subscriptions(
            database, environment, calendar_base, weekly=weekly, notified=notified
        )
        self.rules = Thresholds(net_days=net_days)
        """What the team has set, as it was last read."""
        self.ids_since: datetime | None = None
        """When IDs became, or may have become, those of another API or account; None if never."""
        self._hosts, self._knows_ids = dict[int, str](), False

    def has_other_ids(self, posted: datetime | None) -> bool:
        """Whether a message posted at this time may have IDs of another API or account."""
        return bool(posted and self.ids_since and posted < self.ids_since)

    async def check_ids(self, api: SSLMonitor, posted: datetime | None, now: datetime) -> None:
        """Raise OtherAPI for a message that `has_other_ids`. Raises BotError if that is unknown."""
        if not self._knows_ids:  # the API didn't answer when the bot started
            await self.forget_others(api, now)
        if self.has_other_ids(posted):
            raise OtherAPI

    async def thresholds(self) -> dict[str, str]:
        """The team's own rules, by host or pattern: `14d` or `20%`."""
        async with self._database.quick_read() as connection:
            return await _thresholds(connection)

    async def refresh_rules(self) -> None:
        """Read the team's thresholds and marks again: another process may have changed them."""
        async with self._database.quick_read() as connection:
            await self.subscriptions.refresh(connection)
            marks, rules = await read_marks(connection), await _thresholds(connection)
        self.rules = Thresholds(rules, self._net_days, marks)

    async def look_again(self) -> None:
        """Refresh the rules, and find out whether the database can be written again."""
        await self.refresh_rules()
        await self._database.look_again()

    async def reread(self) -> None:
        """Read the team's thresholds and marks after a change, which stands even if this fails."""
        with best_effort("read thresholds and marks"):
            await self.refresh_rules()

    async def end_claims(
        self, rows: Iterable[MonitorSummary], now: datetime, *, asked: datetime
    ) -> None:
        """End claims and mutes of fixed monitors, so that none applies to new trouble.

        Mutes also end by renewal and by time. What was set after the API was `asked` stays.
        """
        claims, mutes, rows = self.rules.marks.claims, self.rules.marks.mutes, list(rows)
        await self._keep_hosts(row for row in rows if row.id in claims or row.id in mutes)
        fine = [row for row in rows if row.id in claims and is_fine(row, now, self.rules)]
        fixed = [row.id for row in fine if row.not_after != claims[row.id].renews]
        muted = [row for row in rows if row.id in mutes and mutes[row.id].at <= asked]
        over = {row.id: mute for row in muted if (mute := ended_mute(row, now, self.rules))}
        if fixed or over:
            with best_effort("end claims and mutes"):
                await self.marks.release(fixed, before=asked)
                await self.marks.end_mutes(over)
            await self.reread()

    async def release_all_of(self, user: str, now: datetime) -> list[int]:
        """Release all that a deactivated user has taken, and audit it; returns the monitors."""
        released = await self.marks.release_all_of(user)
        for number, name in released.items():
            host = self._hosts.get(number, f"#{number}")
            why = f"released: the account of {name} is deactivated"
            await self.log(AuditLine(now, "", "the bot", "release", host, why))
        await self.reread()
        return list(released)

    async def _keep_hosts(self, marked: Iterable[MonitorSummary]) -> None:
        """Store the hosts of monitors with claims or mutes, which tell whether IDs are the same."""
        hosts = {row.id: str(row.target) for row in marked}
        if not hosts.items() <= self._hosts.items():
            with best_effort("store the hosts of marked monitors"):
                await keep_hosts(self._database, hosts)
                self._hosts |= hosts

    async def set_threshold(self, pattern: str, rule: str, *, by: str, now: datetime) -> None:
        """Store a threshold for a host or pattern; an empty one removes it."""
        row = {"pattern": pattern, "rule": rule, "set_by": by, "set_at": now}
        async with self._database.quick_write() as connection:
            if rule:
                await put(connection, thresholds, row)
            else:
                await connection.execute(delete(thresholds).filter_by(pattern=pattern))
        await self.reread()

    async def seen(self, monitor_id: int) -> Sighting | None:
        """The last sighting of a monitor."""
        async with self._database.quick_read() as connection:
            stored = await connection.scalar(_SEEN, {"number": monitor_id})
        return msgspec.json.decode(stored, type=Sighting) if stored else None

    async def see(self, monitor_id: int, sighting: Sighting, at: datetime) -> None:
        """Store what the API said of a monitor, asked `at` this time, if no newer answer is stored.

        A stored time that is much later counts as old: a clock has been set back since.
        """
        seen, late = msgspec.json.encode(sighting).decode(), at + timedelta(seconds=1)
        row = {"monitor_id": monitor_id, "seen_at": at, "seen": seen}
        with best_effort(f"record what was seen of monitor {monitor_id}"):
            async with self._database.quick_write() as connection:
                await put(connection, sightings, row, _OLDER, late=late, latest=at + LONGEST_ANSWER)

    async def forget(self, *monitor_ids: int) -> None:
        """Delete what is stored about deleted monitors."""
        with best_effort(f"forget {len(monitor_ids)} deleted monitors"):
            async with self._database.quick_write() as connection:
                await forget(connection, monitor_ids)

    async def forget_others(self, api: SSLMonitor, now: datetime) -> None:
        """Forget claims, mutes and sightings of another API's monitors. Raises BotError."""

        async def hosts() -> list[tuple[int, str]]:
            return [(row.id, str(row.target)) for row in await api.list()]

        deleted, self.ids_since = await forget_others(self._database, api.source, hosts, now)
        self._knows_ids = True
        if deleted:
            await self.refresh_rules()

    async def forget_old(self, clock: Callable[[], datetime]) -> None:
        """Delete rows that are too old. Raises DatabaseUnavailable."""
        await forget_old(self._database, clock())

    async def take(self, delivery: str, now: datetime) -> bool:
        """Accept a request for a change; False if any process has accepted it before."""
        digest = hashlib.sha256(delivery.encode()).hexdigest()
        async with self._database.quick_write() as connection:
            return await add(connection, deliveries, {"digest": digest, "at": now})

    async def log(self, line: AuditLine) -> bool:
        """Write an audit entry; False if it was only logged, as the database can't be written."""
        row = {
            "at": line.at,
            "user_id": line.user_id[:40],
            "user_name": line.user_name[:100],
            "command": line.command,
            "target": line.target[:260],
            "result": line.result[:500],
        }
        try:
            async with self._database.quick_write() as connection:
                await connection.execute(_LOG, row)
        except DatabaseUnavailable as fault:
            log.error("Could not write the audit entry (%s): %s", fault, line)  # noqa: TRY400 - the entry is what counts
        except Exception:
            log.exception("Could not write the audit entry: %s", line)
        else:
            return True
        return False

    async def audit(self, host: str = "") -> Sequence[AuditLine]:
        """The newest audit entries, for all hosts, one, or those that match a pattern with `*`."""
        query = select(audit).order_by(audit.c.id.desc()).limit(AUDIT_SHOWN)
        if host:
            like = re.sub(r"([\\%_])", r"\\\1", host).replace("*", "%")
            forms = (like, f"{like}:%", f"[{like}]:%")
            query = query.where(or_(*(audit.c.target.like(form, escape="\\") for form in forms)))
        async with self._database.quick_read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            AuditLine(row.at, row.user_id, row.user_name, row.command, row.target, row.result)
            for row in rows
        ]


async def _thresholds(connection: AsyncConnection) -> dict[str, str]:
    return {row.pattern: row.rule for row in await connection.execute(_RULES)}
