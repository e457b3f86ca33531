"""What the bot remembers of its monitors, over a restart and among processes."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Insert, Table, func, insert, select

from bot.sighting import Claim, LastSeen, Mute, Sighting
from bot.store.database import Database
from bot.store.forget import OLD, forget_old, keep_hosts
from bot.store.monitors import AuditLine, Records
from bot.store.notices import NoticeStore
from bot.store.rechecks import ACTIVE, STOPPED
from bot.store.tables import deliveries, digests, metadata, notes, notices, small_changes, watches
from bot.target import Target
from tests.world import MORNING, World

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
DAY = timedelta(days=1)
SEEN = Sighting(True, NOW, "Test CA", ("a.example.com",), 200)


async def test_a_threshold_counts_at_once_and_elsewhere_after_a_refresh(database: Database) -> None:
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

    other = Records(database)
    await other.set_threshold("*.example.com", "14d", by="U0ANN", now=NOW)
    assert other.rules.for_(target) is not None
    assert records.rules.for_(target) is None
    await records.refresh_rules()
    assert records.rules.for_(target) is not None


async def test_the_last_sighting_of_each_monitor_is_stored(database: Database) -> None:
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


async def test_what_is_too_old_is_forgotten(database: Database) -> None:
    def row(table: Table, days: int, **more: object) -> Insert:
        at = NOW - timedelta(days=days)
        values: dict[str, object] = {
            "at": at, "key": f"missed {at.date()} C1", "value": "1", "digest": f"{days}",
            "kind": "renewed", "target": "a.test", "message": "", "channel": "C1", "ts": f"{days}",
            "day": f"{at.date()}", "claimed_at": at, "messages": "[]", "sent": 1,
            "monitor_id": 1, "host": "a.test", "port": 443, "asker": "U0ANN", "scans": 1,
            "started_at": at, "ends_at": at, "next_at": at, "state": STOPPED,
        }  # fmt: skip
        values = {name: value for name, value in values.items() if name in table.c}
        return insert(table).values(values | more)

    others = (
        row(notices, 8, kind="list", key="list C1 8"),
        row(notices, 6, kind="list", key="list C1 6"),
        row(watches, 99, state=ACTIVE),
        row(notes, 99, key="first_start"),
    )
    async with database.write() as connection:
        for each in [row(table, days) for table in OLD for days in (0, 2, 10, 40, 100)]:
            await connection.execute(each)
        for each in others:
            await connection.execute(each)
    await Records(database).forget_old(lambda: NOW)
    left = {deliveries: 1, small_changes: 2, notices: 3 + 1, watches: 3 + 1, digests: 4, notes: 4}
    async with database.read() as connection:
        counts = [(t, await connection.scalar(select(func.count()).select_from(t))) for t in OLD]
    assert dict(counts) == left


async def test_a_bot_that_starts_forgets_at_once_what_is_too_old(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.monitors.forget_old", forget_old)  # worlds do without it
    await world.bot.records.take("an old delivery", MORNING - DAY)
    async with world.running_bot():
        await world.settled()
        assert await world.bot.records.take("an old delivery", MORNING)


def test_every_table_of_the_bots_has_its_rows_deleted_at_some_time() -> None:
    with_their_monitor = {"sightings", "claims", "mutes", "standings"}
    by_people = {"audit", "remarks", "thresholds", "subscriptions"}
    never_more_rows = {"edits"}
    engines = {"accounts", "monitors", "monitor_facts", "monitor_changes", "change_feed"}
    engines |= {"monitor_history", "ca_documents"}
    ends = with_their_monitor | by_people | never_more_rows | engines
    assert ends | {table.name for table in OLD} == {*metadata.tables}


async def test_a_monitor_that_was_deleted_elsewhere_is_forgotten(database: Database) -> None:
    records, store = Records(database), NoticeStore(database)
    for number in (1, 2):
        await records.see(number, SEEN, NOW)
        await records.marks.take([Claim(number, "U0ANN", "Ann", NOW)])
        await records.marks.mute({number: Mute("U0ANN", "Ann", NOW, NOW)})
    await keep_hosts(database, {1: "a.test:443", 2: "b.test:443"})
    seen = {number: LastSeen(1, "CA", NOW, "a.test:443") for number in (1, 2)}
    was = await store.standings("here")
    assert await store.compared(was, seen, [], [], small=[], now=NOW)
    assert await store.compared(await store.standings("here"), {}, [1], [], small=[], now=NOW)
    await records.refresh_rules()
    marks = records.rules.marks
    assert (await records.seen(1), {*marks.claims}, {*marks.mutes}) == (None, {2}, {2})
    async with database.read() as connection:
        said = {*await connection.scalars(select(notes.c.value))}
    assert ("b.test:443" in said, "a.test:443" in said) == (True, False)


async def test_the_log_is_newest_first_and_can_be_asked_for_a_host(database: Database) -> None:
    records = Records(database)
    hosts = ["a.example.com:443", "a.example.com:8443", "b.example.com:443", "a.example.com.evil:1"]
    hosts += ["[2001:db8::1]:443"]
    for number, host in enumerate(hosts):
        at = NOW + timedelta(minutes=number)
        await records.log(AuditLine(at, "U0ANN", "Ann", "add", host, "added"))

    assert [line.target for line in await records.audit()] == hosts[::-1]
    assert [line.target for line in await records.audit("a.example.com")] == hosts[1::-1]
    assert [line.target for line in await records.audit("*.example.com")] == hosts[2::-1]
    assert [line.target for line in await records.audit("a.*:443")] == hosts[:1]
    assert [line.target for line in await records.audit("2001:db8::1")] == hosts[4:]
    assert await records.audit("%") == []
