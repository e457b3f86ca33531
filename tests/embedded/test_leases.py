"""Leases and what is stored under them, on both databases."""

import asyncio
import tracemalloc
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from bot.embedded.ca.expected import Announcement, Expected
from bot.embedded.job import Job
from bot.embedded.leases import LEASE, Lease, LeaseResult, Leases, LeaseStatus
from bot.embedded.monitors import Monitors
from bot.embedded.scan.result import Scan
from bot.embedded.scan.verdict import Verdict
from bot.embedded.writer import Writer
from bot.store.database import Database
from bot.store.tables import accounts, monitor_facts, monitor_history, monitors
from bot.target import Target

from .fleet import DAY, HOUR, NOW

INTERVAL = timedelta(hours=12)
SECOND = timedelta(seconds=1)


async def add_monitors(database: Database, count: int = 1, **values: object) -> None:
    rows = [
        {
            "host": f"h{number}.test",
            "port": 443,
            "created_at": NOW - DAY,
            "next_scan_at": NOW - HOUR + number * SECOND,
        }
        | values
        for number in range(count)
    ]
    async with database.write() as connection:
        await connection.execute(insert(monitors), rows)


def worker(database: Database, name: str = "a") -> Leases:
    return Leases(database, INTERVAL, name)


def scan(verdict: Verdict = Verdict.REFUSED, message: str = "", at: datetime = NOW) -> Scan:
    return Scan(at, verdict, message or verdict.value)


async def column(database: Database, name: str) -> list[object]:
    async with database.read() as connection:
        return list(await connection.scalars(select(monitors.c[name]).order_by(monitors.c.id)))


async def test_concurrent_workers_never_lease_the_same_monitor(any_database: Database) -> None:
    await add_monitors(any_database, 100)
    workers = [worker(any_database, str(number)) for number in range(4)]
    batches = await asyncio.gather(*(each.lease_due(NOW, 20) for each in workers for _ in range(2)))
    ids = [lease.id for leases in batches for lease in leases]
    assert len(ids) == len(set(ids))
    rest = await worker(any_database).lease_due(NOW, 200)
    assert sorted(ids + [lease.id for lease in rest]) == list(range(1, 101))


async def test_the_longest_overdue_monitors_are_leased_first(any_database: Database) -> None:
    await add_monitors(any_database, 10)
    leases = await worker(any_database).lease_due(NOW, 3)
    assert {lease.id for lease in leases} == {1, 2, 3}
    assert {lease.id for lease in await worker(any_database).lease_due(NOW - HOUR, 9)} == set()


async def test_a_dead_workers_leases_run_out(any_database: Database) -> None:
    await add_monitors(any_database, 5)
    assert len(await worker(any_database, "dead").lease_due(NOW, 9)) == 5
    assert await worker(any_database).lease_due(NOW + LEASE - SECOND, 9) == []
    assert len(await worker(any_database).lease_due(NOW + LEASE, 9)) == 5


async def test_a_renewed_lease_lasts_longer(any_database: Database) -> None:
    await add_monitors(any_database, 2)
    active = worker(any_database, "active")
    await active.lease_due(NOW, 9)
    await active.renew([1], NOW + LEASE / 2)
    assert [lease.id for lease in await worker(any_database).lease_due(NOW + LEASE, 9)] == [2]
    await active.renew([2], NOW + LEASE)  # by now it belongs to the other worker
    assert [lease.id for lease in await worker(any_database).lease_due(NOW + 1.5 * LEASE, 9)] == [1]


async def test_a_released_monitor_is_due_at_once(any_database: Database) -> None:
    await add_monitors(any_database, 2)
    first = worker(any_database, "first")
    await first.lease_due(NOW, 9)
    await first.release([1, 2], NOW)
    assert len(await worker(any_database, "second").lease_due(NOW, 9)) == 2


async def test_a_worker_leaves_the_leases_of_others_alone(any_database: Database) -> None:
    await add_monitors(any_database)
    (lease,) = await take(any_database, "owner")
    due = await column(any_database, "next_scan_at")
    await worker(any_database, "other").renew([lease.id], NOW + LEASE)
    await worker(any_database, "other").release([lease.id], NOW)
    assert await column(any_database, "lease") == ["owner"]
    assert await column(any_database, "next_scan_at") == due


async def test_only_one_of_two_workers_gets_the_lease_of_a_monitor(any_database: Database) -> None:
    await add_monitors(any_database, 1, next_scan_at=NOW + HOUR)
    both = [worker(any_database, name).lease_one(1, NOW) for name in "ab"]
    assert sorted(lease is None for lease in await asyncio.gather(*both)) == [False, True]
    assert await worker(any_database).status(1, NOW) == LeaseStatus(active=True, scanned_at=None)
    end = NOW + LEASE
    assert await worker(any_database).status(1, end) == LeaseStatus(active=False, scanned_at=None)
    assert await worker(any_database).lease_one(7, NOW) is None
    assert await worker(any_database).status(7, NOW) is None


async def test_a_lease_that_has_run_out_can_be_taken_over_on_demand(any_database: Database) -> None:
    await add_monitors(any_database)
    await take(any_database, "dead")
    assert await worker(any_database).lease_one(1, NOW + LEASE - SECOND) is None
    assert await worker(any_database).lease_one(1, NOW + LEASE)


async def test_no_monitor_is_leased_at_an_address_to_avoid(any_database: Database) -> None:
    await add_monitors(any_database, 2)
    await add_monitors(any_database, 1, host="scanned.test", ip="192.0.2.1")
    assert [
        lease.address
        for lease in await worker(any_database).lease_due(NOW, 9, avoid=["h0.test", "192.0.2.1"])
    ] == ["h1.test"]


async def test_monitors_of_a_revoked_account_are_never_due(any_database: Database) -> None:
    async with any_database.write() as connection:
        revoked = {"name": "revoked", "created_at": NOW, "revoked_at": NOW}
        await connection.execute(insert(accounts).values(revoked))
    await add_monitors(any_database, 1, account_id=2)
    assert await worker(any_database).lease_due(NOW, 9) == []


async def test_renewing_and_storing_never_wait_for_each_other(any_database: Database) -> None:
    """Each locks several rows: in one order, whatever order they are stored in."""
    await add_monitors(any_database, 40)
    for id_ in range(40, 0, -1):  # PostgreSQL appends a row that changes
        async with any_database.write() as connection:
            await connection.execute(update(monitors).where(monitors.c.id == id_).values(port=id_))
    leases = await worker(any_database).lease_due(NOW, 40)
    ids, results = [each.id for each in leases], [LeaseResult(each, scan()) for each in leases]
    told = Announcement(Expected("serial", "99"), names=tuple(f"h{n}.test" for n in range(40)))
    for _ in range(15 if "postgresql" in str(any_database.engine.url) else 1):  # SQLite locks all
        await asyncio.gather(
            *(worker(any_database).renew(ids, NOW) for _ in range(3)),
            *(Monitors(any_database, INTERVAL).announce(1, told, NOW) for _ in range(3)),
            worker(any_database).save(results),
        )
        async with any_database.write() as connection:
            await connection.execute(update(monitors).values(lease="a"))


@pytest.mark.slow
async def test_long_parts_of_scans_are_never_in_memory_together(database: Database) -> None:
    count, facts = 500, b'{"caa": "' + 50_000 * b"x" + b'"}'
    await add_monitors(database, count)
    async with database.write() as connection:
        rows = [{"monitor_id": id_, "facts": facts} for id_ in range(1, count + 1)]
        await connection.execute(insert(monitor_facts), rows)
    told = Announcement(Expected("serial", "99"), names=("*.test",))
    tracemalloc.start()
    assert len(await Monitors(database, INTERVAL).announce(1, told, NOW)) == count
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < count * len(facts) / 2


async def take(database: Database, name: str = "a", now: datetime = NOW) -> list[Lease]:
    return await worker(database, name).lease_due(now, 9)


async def test_results_are_stored_with_facts_and_end_leases(any_database: Database) -> None:
    await add_monitors(any_database, 3)
    leases = await take(any_database)
    await worker(any_database).save([LeaseResult(lease, scan()) for lease in leases])
    assert await column(any_database, "verdict") == ["refused"] * 3
    assert await column(any_database, "lease") == [None] * 3
    row = await Monitors(any_database, INTERVAL).get(1, 2)
    assert row is not None
    assert row["scanned_at"] == NOW
    assert b'"ssl"' in row["facts"]


async def test_a_result_whose_lease_was_lost_is_dropped(any_database: Database) -> None:
    await add_monitors(any_database, 2)
    slow = await take(any_database, "slow")
    quick = await take(any_database, "quick", NOW + LEASE)
    await worker(any_database, "slow").save([LeaseResult(lease, scan()) for lease in slow])
    assert await column(any_database, "lease") == ["quick", "quick"]
    assert await column(any_database, "verdict") == [None, None]
    await worker(any_database, "quick").save([LeaseResult(quick[0], scan(Verdict.RESET))])
    assert await column(any_database, "verdict") == ["reset", None]


async def test_a_monitor_deleted_during_its_scan_leaves_nothing(any_database: Database) -> None:
    await add_monitors(any_database, 2)
    leases = await take(any_database)
    assert await Monitors(any_database, INTERVAL).delete(1, 1, NOW)
    await worker(any_database).save([LeaseResult(lease, scan()) for lease in leases])
    async with any_database.read() as connection:
        for table in (monitor_facts, monitor_history):
            assert list(await connection.scalars(select(table.c.monitor_id))) == [2]


async def test_only_changes_add_history_and_the_oldest_rows_are_deleted(
    any_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.embedded.leases._HISTORY_ROWS", 3)
    await add_monitors(any_database)
    now = NOW
    for message in "aabbcdd":
        (lease,) = await take(any_database, now=now)
        await worker(any_database).save([LeaseResult(lease, scan(message=message, at=now))])
        now += DAY
    async with any_database.read() as connection:
        rows = (await connection.execute(select(monitor_history))).mappings().all()
    assert [(row["message"], row["at"]) for row in rows] == [
        ("b", NOW + 2 * DAY),
        ("c", NOW + 4 * DAY),
        ("d", NOW + 5 * DAY),
    ]


@pytest.mark.slow
async def test_results_that_arrive_together_share_a_transaction() -> None:
    batches: list[int] = []
    arrived, go = asyncio.Event(), asyncio.Event()

    async def save(results: object) -> None:
        assert isinstance(results, list)
        batches.append(len(results))
        arrived.set()
        await go.wait()

    writer = Writer(save)
    puts = [asyncio.create_task(writer.put(LeaseResult(lease_of(n), scan()))) for n in range(250)]
    await arrived.wait()
    go.set()
    await asyncio.gather(*puts)
    await writer.close()
    assert batches[0] >= 1
    assert sum(batches) == 250
    assert len(batches) <= 3


async def test_a_full_batch_is_stored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.embedded.writer._LINGER", 3600.0)
    batches: list[int] = []

    async def save(results: object) -> None:
        assert isinstance(results, list)
        batches.append(len(results))

    writer = Writer(save)
    puts = [asyncio.create_task(writer.put(LeaseResult(lease_of(n), scan()))) for n in range(401)]
    await asyncio.wait(puts[:400])
    assert batches == [200, 200]
    assert writer.backlog == 1
    await writer.put(LeaseResult(lease_of(402), scan(), on_demand=True))
    await puts[400]
    assert batches == [200, 200, 2]
    puts = [asyncio.create_task(writer.put(LeaseResult(lease_of(403), scan())))]
    await asyncio.sleep(0)
    await writer.close()
    assert batches == [200, 200, 2, 1]
    await puts[0]
    await Writer(save, last=lambda: True).put(LeaseResult(lease_of(404), scan()))
    assert batches == [200, 200, 2, 1, 1]


@pytest.mark.slow
async def test_a_result_that_cannot_be_stored_spoils_no_other() -> None:
    stored: list[int] = []

    async def save(results: object) -> None:
        assert isinstance(results, list)
        if any(result.lease.id == 2 for result in results):
            raise ValueError("no")
        stored.extend(result.lease.id for result in results)

    writer = Writer(save)
    puts = [writer.put(LeaseResult(lease_of(number), scan())) for number in range(5)]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert [type(each) for each in outcomes] == [type(None)] * 2 + [ValueError] + [type(None)] * 2
    assert stored == [0, 1, 3, 4]


@pytest.mark.slow
async def test_results_are_kept_while_the_database_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.embedded.writer._RETRY", 0.01)
    stored: list[int] = []
    back, tries = asyncio.Event(), []

    async def save(results: object) -> None:
        assert isinstance(results, list)
        tries.append(len(results))
        if not back.is_set():
            raise ConnectionRefusedError
        stored.extend(result.lease.id for result in results)

    writer = Writer(save)
    kept = [asyncio.create_task(writer.put(LeaseResult(lease_of(n), scan()))) for n in range(3)]
    with pytest.raises(ConnectionRefusedError):
        await writer.put(LeaseResult(lease_of(3), scan(), on_demand=True))
    assert writer.backlog == 3
    back.set()
    await asyncio.gather(*kept)
    assert stored == [0, 1, 2]
    back.clear()
    tries.clear()
    late = [asyncio.create_task(writer.put(LeaseResult(lease_of(n), scan()))) for n in (4, 5)]
    await asyncio.sleep(0)
    await writer.close()  # it does not wait for a database that may never come back
    outcomes = await asyncio.gather(*late, return_exceptions=True)
    assert [type(each) for each in outcomes] == [ConnectionRefusedError] * 2
    assert tries == [2]


def lease_of(id_: int) -> Lease:
    return Lease(id_, Job(Target("a.test")), "a.test")


async def test_progress_counts_due_monitors_and_their_lag(any_database: Database) -> None:
    store = Monitors(any_database, INTERVAL)
    assert (await store.progress(NOW)).lag == timedelta()
    await add_monitors(any_database, 5)
    progress = await store.progress(NOW - HOUR + 2 * SECOND)
    assert (progress.monitors, progress.due, progress.lag) == (5, 3, 2 * SECOND)
    await take(any_database)
    assert (await store.progress(NOW)).due == 0


async def test_what_was_never_up_is_down_after_one_failure(any_database: Database) -> None:
    await add_monitors(any_database)
    leases = await take(any_database)
    await worker(any_database).save([LeaseResult(leases[0], scan(message="nul \0 here"))])
    assert await column(any_database, "verdict") == ["refused"]
    assert await column(any_database, "message") == ["nul \ufffd here"]


async def test_what_is_down_has_the_latest_failures_message(any_database: Database) -> None:
    await add_monitors(
        any_database, verdict="refused", message="refused", scanned_at=NOW, failures=1
    )
    leases = await take(any_database)
    await worker(any_database).save([LeaseResult(leases[0], scan(Verdict.RESET))])
    assert await column(any_database, "verdict") == ["reset"]
    assert await column(any_database, "failures") == [2]


@pytest.mark.parametrize(
    ("said", "verdict"),
    [("unknown: no answer", Verdict.REVOKED), ("", Verdict.VALID), ("good", Verdict.VALID)],
)
def test_a_revocation_lasts_until_its_ca_says_otherwise(said: str, verdict: Verdict) -> None:
    lease = replace(lease_of(1), previous={"verdict": "revoked", "message": "Revoked 2027-01-14"})
    result = LeaseResult(lease, replace(scan(Verdict.VALID), revocation=said))
    assert result.columns()["verdict"] == verdict.value


async def test_ids_are_never_reused(any_database: Database) -> None:
    store = Monitors(any_database, INTERVAL)
    await add_monitors(any_database, 2)
    assert await store.delete(1, 2, NOW)
    await add_monitors(any_database, 1, host="new.test")
    assert await column(any_database, "id") == [1, 3]
