"""What the bot remembers of its monitors, over a restart and among processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bot.sighting import Sighting
from bot.store.database import Database
from bot.store.monitors import AuditLine, Records
from bot.target import Target

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SEEN = Sighting(True, NOW, "Test CA", ("a.example.com",), 200)


async def test_a_threshold_counts_from_the_next_question_on(database: Database) -> None:
    records = Records(database, net_days=45)
    target = Target("a.example.com")
    assert records.rules.for_(target) is None
    assert records.rules.net_days == 45

    await records.set_threshold("a.example.com", "14d", by="U0ANN", now=NOW)
    assert str(records.rules.for_(target)) == "14d"
    await records.set_threshold("a.example.com", "20%", by="U0ANN", now=NOW)
    assert str(records.rules.for_(target)) == "20%"
    await records.set_threshold("a.example.com", "", by="U0ANN", now=NOW)
    assert records.rules.for_(target) is None


async def test_a_threshold_set_by_another_process_counts_after_a_refresh(
    database: Database,
) -> None:
    records, other = Records(database), Records(database)
    target = Target("a.example.com")
    await other.set_threshold("*.example.com", "14d", by="U0ANN", now=NOW)

    assert other.rules.for_(target) is not None
    assert records.rules.for_(target) is None
    await records.refresh_rules()
    assert records.rules.for_(target) is not None


async def test_what_was_seen_last_is_remembered_for_each_monitor(database: Database) -> None:
    records = Records(database)
    assert await records.seen(888) is None

    await records.see(888, SEEN, NOW)
    later = Sighting(False, None, "", (), None)
    await records.see(889, later, NOW)
    assert await Records(database).seen(888) == SEEN

    await records.see(888, later, NOW)
    assert await records.seen(888) == later

    await records.forget(888)
    assert await records.seen(888) is None
    assert await records.seen(889) == later


async def test_the_log_of_changes_is_newest_first_and_can_be_asked_for_one_host(
    database: Database,
) -> None:
    records = Records(database)
    hosts = ["a.example.com:443", "a.example.com:8443", "b.example.com:443", "a.example.com.evil:1"]
    for number, host in enumerate(hosts):
        at = NOW + timedelta(minutes=number)
        await records.log(AuditLine(at, "U0ANN", "Ann", "add", host, "added"))

    assert [line.target for line in await records.audit()] == hosts[::-1]
    assert [line.target for line in await records.audit("a.example.com")] == hosts[1::-1]
    assert await records.audit("%") == []
