"""Which channels get digests and notices: by the environment, and by `/ssl … here`."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import date
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.dates import DIGEST, NOTICES, Subscription
from bot.store.database import Database, put
from bot.store.tables import digests, notes, notices, subscriptions

_CALENDAR = "calendar"
#: Begins the key of the note that a channel was told that its notices mention nobody.
NOBODY_MENTIONED = "gone"
_ALL = select(subscriptions.c.subscription)


class Subscriptions:
    """All subscriptions; a stored one overrides the environment's for its channel."""

    def __init__(
        self,
        database: Database,
        environment: Iterable[Subscription] = (),
        calendar_base: str | None = None,
        *,
        weekly: bool = False,
        notified: bool = True,
    ) -> None:
        self._database = database
        self.calendar_base = calendar_base
        """What the calendar's address begins with; None if it is not served."""
        self.weekly = weekly
        """Whether digests are weekly while all is clear."""
        self.notified = notified
        """Whether the bot looks for changes, so that there can be notices."""
        self._environment = {(each.kind, each.channel): each for each in environment}
        self._known = dict(self._environment)

    async def refresh(self, connection: AsyncConnection) -> None:
        """Read the subscriptions again: another process may have changed them."""
        rows = (await connection.execute(_ALL)).all()
        stored = [msgspec.json.decode(row.subscription, type=Subscription) for row in rows]
        stored = [self._as_set_up(each) for each in stored]
        self._known = self._environment | {(each.kind, each.channel): each for each in stored}

    def _as_set_up(self, stored: Subscription) -> Subscription:
        """A stored subscription; if nobody set it up, it only pauses or stops the environment's."""
        first = self._environment.get((stored.kind, stored.channel))
        if first is None or stored.set_by:
            idle = stored.kind == NOTICES and not self.notified
            return msgspec.structs.replace(stored, weekly=self.weekly, idle=idle)
        since, until, off = stored.since, stored.paused_until, stored.off
        return msgspec.structs.replace(first, since=since, paused_until=until, off=off)

    def digests(self) -> list[Subscription]:
        """The digests that are not turned off; the environment's comes first."""
        return [each for each in self._known.values() if each.kind == DIGEST and not each.off]

    def notices(self) -> list[Subscription]:
        """The notices that are not turned off; the environment's come first."""
        every = [each for each in self._known.values() if each.kind == NOTICES and not each.idle]
        return [each for each in every if not each.off]

    def zone_of(self, channel: str) -> ZoneInfo:
        """The time zone of a channel's digest, or else the environment's."""
        digest = self.digest_of(channel)
        return digest.timezone if digest else self.first_zone()

    def mention_of(self, channel: str) -> str:
        """The user or group ID that a channel's notices mention, or an empty string."""
        each = self.get(NOTICES, channel)
        return each.mention if each and not each.off else ""

    def mentioning(self, channel: str) -> Subscription | None:
        """The notices that say whom a channel's digest mentions: the channel's own, if any.

        The environment's digest otherwise uses the environment's notices, in NOTICE_CHANNEL.
        """
        own = self.get(NOTICES, channel)
        if own is None and (DIGEST, channel) in self._environment:
            others = (self.get(*key) for key in self._environment if key[0] == NOTICES)
            own = next(others, None)
        return None if own and own.off else own

    def first_zone(self) -> ZoneInfo:
        """The environment's time zone, or else that of the first digest; UTC if there is none."""
        known = self._known.items()
        zones = (s.timezone for key, s in known if key in self._environment or s.kind == DIGEST)
        return next(zones, ZoneInfo("UTC"))

    def get(self, kind: str, channel: str) -> Subscription | None:
        """A channel's subscription, even if it is turned off."""
        return self._known.get((kind, channel))

    def digest_of(self, channel: str) -> Subscription | None:
        """A channel's digest, even if it is turned off."""
        return self.get(DIGEST, channel)

    def fields_of_digest(self, channel: str) -> dict[str, str]:
        """What the form for a channel's digest shows; empty if it has none."""
        digest = self.digest_of(channel)
        return digest.fields if digest else {}

    async def was_posted(self, day: date, channel: str) -> bool:
        """Whether the digest of this day was posted in this channel, or is being posted."""
        same = (digests.c.day == day.isoformat()) & (digests.c.channel == channel)
        async with self._database.quick_read() as connection:
            return await connection.scalar(select(digests.c.day).where(same)) is not None

    async def new_calendar(self) -> str:
        """Create a new secret for the calendar's address; the old one stops working.

        Only its hash is stored.
        """
        secret = secrets.token_urlsafe(24)
        row = {"key": _CALENDAR, "value": _hashed(secret)}
        async with self._database.quick_write() as connection:
            await put(connection, notes, row)
        return secret

    async def has_calendar(self) -> bool:
        """Whether the calendar has an address."""
        return await self._calendar() is not None

    async def is_calendar(self, secret: str) -> bool:
        """Whether this is the secret of the calendar's address."""
        known = await self._calendar()
        return known is not None and hmac.compare_digest(known, _hashed(secret))

    async def _calendar(self) -> str | None:
        query = select(notes.c.value).where(notes.c.key == _CALENDAR)
        async with self._database.quick_read() as connection:
            return await connection.scalar(query)

    async def put(self, subscription: Subscription) -> None:
        """Store a subscription, replacing the channel's old one. Raises DatabaseUnavailable.

        When notices stop, those not posted yet are dropped.
        """
        kind, channel = subscription.kind, subscription.channel
        row = {
            "kind": kind,
            "channel": channel,
            "subscription": msgspec.json.encode(subscription).decode(),
        }
        of_others = notes.c.key.startswith(f"{NOBODY_MENTIONED} {channel} ")
        of_others &= notes.c.key != f"{NOBODY_MENTIONED} {channel} {subscription.mention}"
        async with self._database.quick_write() as connection:
            await put(connection, subscriptions, row)
            if kind == NOTICES:
                await connection.execute(delete(notes).where(of_others))
            if kind == NOTICES and (subscription.off or subscription.paused_until):
                old = (notices.c.channel == channel) & notices.c.ts.is_(None)
                await connection.execute(delete(notices).where(old))
        self._known[kind, channel] = subscription


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
