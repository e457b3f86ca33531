"""What the digest's tests share: zones, times, and a plan for one channel."""

from datetime import UTC, datetime, time, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from bot.api.client import SSLMonitor
from bot.api.extras import Extra
from bot.api.models import MonitorList, MonitorSummary
from bot.dates import Plan
from bot.errors import BotError
from tests.card_values import NOW

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


class Monitors:
    """An account's monitors in memory, asked as the bot asks the API."""

    source = "here"

    def __init__(self, rows: list[MonitorSummary]) -> None:
        self.extras = self
        self.rows = rows
        self.asked: list[dict[str, Any]] = []
        self.fault: BotError | None = None

    async def offers(self, _extra: Extra, *, hurry: bool) -> bool:
        return False

    async def list(self, **filters: Any) -> MonitorList:
        self.asked.append(filters)
        if self.fault:
            raise self.fault
        if filters == {"valid": False}:
            return MonitorList(each for each in self.rows if each.valid is False)
        if "expires" in filters:
            most = int(filters["expires"].removeprefix("<"))
            return MonitorList(
                each for each in self.rows if each.not_after and each.not_after < NOW + most * DAY
            )
        assert filters == {}
        return MonitorList(self.rows)


def api(rows: list[MonitorSummary]) -> tuple[SSLMonitor, Monitors]:
    held = Monitors(rows)
    return cast("SSLMonitor", held), held
