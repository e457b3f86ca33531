"""What the digest's tests share: zones, times, and a plan for one channel."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from bot.digest import Plan

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
SANTIAGO, KATHMANDU = ZoneInfo("America/Santiago"), ZoneInfo("Asia/Kathmandu")
CHANNEL = "C0CERTS"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def plan(at: str = "09:00", zone: str | ZoneInfo = "UTC") -> Plan:
    zone = ZoneInfo(zone) if isinstance(zone, str) else zone
    return Plan(CHANNEL, time.fromisoformat(at), zone)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
