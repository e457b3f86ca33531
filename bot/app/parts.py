"""Builds what a digest needs, for the bot and for `python -m bot digest`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from bot.api.client import SSLMonitor
from bot.config import Settings
from bot.digest import Digest
from bot.slack.web import SlackWeb
from bot.store.database import Database
from bot.store.digests import DigestStore
from bot.store.monitors import Records

if TYPE_CHECKING:
    from bot.dates import Plan


def make_digest(
    settings: Settings,
    api: SSLMonitor,
    database: Database,
    web: SlackWeb,
    records: Records,
    *,
    now: Callable[[], datetime],
) -> Digest | None:
    """The digest of DIGEST_CHANNEL, as set up in the channel or else by the environment."""
    make = digest_maker(api, database, web, records, now=now)
    set_up = records.subscriptions.digest_of(settings.digest_channel)
    return make(set_up.plan) if set_up else None


def digest_maker(
    api: SSLMonitor,
    database: Database,
    web: SlackWeb,
    records: Records,
    *,
    now: Callable[[], datetime],
) -> Callable[[Plan], Digest]:
    """Makes the digest of a plan."""
    state = DigestStore(database)
    return lambda plan: Digest(plan, api, state, web, records, clock=now)


def make_records(settings: Settings, database: Database) -> Records:
    """The bot's records, with the subscriptions and settings of the environment."""
    days, base = settings.digest_expire_days, settings.calendar_base
    weekly, notified = settings.weekly, bool(settings.notice_interval)
    first = settings.subscriptions
    return Records(database, days, first, base, weekly=weekly, notified=notified)
