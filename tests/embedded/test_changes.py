"""monitor/changes: each change once and in order, whoever writes meanwhile, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio
from sqlalchemy import delete, update

from bot.embedded.changes import Change, ChangesReply, record_changes
from bot.embedded.leases import LeaseResult
from bot.embedded.monitors import Monitors
from bot.embedded.scan.verdict import Verdict
from bot.store.database import Database
from bot.store.tables import change_feed, monitor_changes

from . import fleet as fleets
from .fleet import DAY, NOW, Fleet, Leaf
from .serving import Served, serving
from .test_caa import LEAF
from .test_leases import INTERVAL, add_monitors, scan, take, worker

SECOND = timedelta(seconds=1)


@pytest_asyncio.fixture
async def served(fleet: Fleet, database: Database) -> AsyncIterator[Served]:
    async with serving(fleet, database, scan_rate_limit=0) as served:
        yield served


async def record(database: Database, *changes: Change) -> None:
    async with database.write() as connection:
        await record_changes(connection, changes)


async def ask(database: Database, cursor: str = "", limit: int = 1000) -> ChangesReply:
    found = await Monitors(database, INTERVAL).changes(1, cursor, limit, NOW)
    assert found is not None
    return found


def ids(reply: ChangesReply) -> list[int]:
    return [each.id for each in reply.list]


async def test_each_change_has_the_monitor_as_it_is_now(fleet: Fleet, served: Served) -> None:
    begun = (await served.call("monitor/changes")).body
    assert (begun["count"], begun["list"], begun["more"]) == (0, [], False)
    context = fleet.context(fleet.file(Leaf(names=("fleet.test", "old.test"))))
    async with fleets.serve(fleets.web_server(), context=context) as port:
        await served.add(port)
        added = (await served.call("monitor/changes", since=begun["next"])).body
        await served.call("monitor/scan", id="1")
        context.load_cert_chain(fleet.file(Leaf(names=("fleet.test", "new.test"), left=80 * DAY)))
        await served.call("monitor/scan", id="1")
    changed = (await served.call("monitor/changes", since=added["next"])).body
    await served.call("monitor/delete", id="1")
    deleted = (await served.call("monitor/changes", since=changed["next"])).body

    (row,) = added["list"]
    assert (row["kind"], row["id"]) == ("added", 1)
    assert row["monitor"]["ssl_valid"] is True
    (row,) = changed["list"]
    assert (row["names_added"], row["names_removed"]) == (["new.test"], ["old.test"])
    assert (row["kind"], row["monitor"]["ssl_expire_days"]) == ("changed", 80)
    (row,) = deleted["list"]
    assert (row["kind"], row["monitor"]) == ("deleted", None)
    assert (await served.call("monitor/changes", since=deleted["next"])).body["list"] == []


@pytest.mark.parametrize("cursor", ["1", "0123456789abcdef-0", "x" * 5000, "-", "'"])
async def test_an_unknown_cursor_is_refused_with_advice(served: Served, cursor: str) -> None:
    answer = await served.call("monitor/changes", since=cursor)
    assert answer.status == 410
    assert "read monitor/list" in answer.body["message"]


async def test_a_cursor_of_the_future_is_unknown(any_database: Database) -> None:
    name, _, _ = (await ask(any_database)).next.partition("-")
    assert await Monitors(any_database, INTERVAL).changes(1, f"{name}-1", 9, NOW) is None


async def test_a_cursor_that_a_restored_backup_lacks_stays_unknown(any_database: Database) -> None:
    begun, store = await ask(any_database), Monitors(any_database, INTERVAL)
    await record(any_database, Change(1, 1, NOW), Change(1, 2, NOW))
    lost = (await ask(any_database, begun.next)).next
    async with any_database.write() as connection:  # as it was before
        await connection.execute(delete(monitor_changes))
        await connection.execute(update(change_feed).values(last=0))
    for number in range(3, 6):
        assert await store.changes(1, lost, 9, NOW) is None
        await record(any_database, Change(1, number, NOW + SECOND))
    assert ids(await ask(any_database, begun.next)) == [3, 4, 5]


@pytest.mark.slow
async def test_a_host_that_serves_a_newer_certificate_changes_those_with_the_old_one(
    fleet: Fleet, any_database: Database
) -> None:
    names, since = ("a.fleet.test", "b.fleet.test"), ""
    old, new = Leaf(names, left=10 * DAY), Leaf(names, left=80 * DAY)
    context = fleet.context(fleet.file(old))
    async with (
        serving(fleet, any_database) as served,
        fleet.tls(old) as one,
        fleets.serve(fleets.web_server(), context=context) as other,
    ):

        async def told() -> list[tuple[int, object]]:
            nonlocal since
            body = (await served.call("monitor/changes", since=since)).body
            since = body["next"]
            rows = [(each["id"], each["monitor"].get("renewed")) for each in body["list"]]
            return [(id_, renewed and renewed["host"]) for id_, renewed in rows]

        await served.add(one, "a.fleet.test")
        await served.add(other, "b.fleet.test")
        await told()
        context.load_cert_chain(fleet.file(new))
        await served.call("monitor/scan", id="2")
        assert await told() == [(2, None), (1, "b.fleet.test")]
        async with fleet.tls(replace(new, left=81 * DAY)) as third:
            await served.add(third, "a.fleet.test")
        assert sorted(await told()) == [(1, "a.fleet.test"), (2, "a.fleet.test"), (3, None)]


async def test_a_scan_that_sees_nothing_new_is_no_change(any_database: Database) -> None:
    await add_monitors(any_database, 2)
    begun = await ask(any_database)
    for message in ("a", "a", "b"):
        leases = await take(any_database, now=NOW + DAY)
        await worker(any_database).save([LeaseResult(x, scan(message=message)) for x in leases])
    assert sorted(ids(await ask(any_database, begun.next))) == [1, 1, 2, 2]


async def test_what_readable_caa_records_say_is_a_change(any_database: Database) -> None:
    await add_monitors(any_database)
    begun, seen = await ask(any_database), []
    for caa in ("", "no", "unknown: asked", "no", "unknown: asked", ""):
        (lease,) = await take(any_database, now=NOW + DAY)
        await worker(any_database).save([LeaseResult(lease, replace(scan(), caa=caa))])
        told = await ask(any_database, begun.next)
        seen.append([each.monitor and each.monitor.caa_refuses for each in told.list])
        begun = told
    assert seen == [[False], [True], [], [], [], [False]]


async def test_a_certificate_stays_revoked_while_its_ca_is_mute(any_database: Database) -> None:
    await add_monitors(any_database)
    begun, seen = await ask(any_database), []
    revoked = replace(scan(Verdict.REVOKED, "Revoked"), leaf=LEAF)
    valid = replace(revoked, verdict=Verdict.VALID, message="Valid")
    silent, good = replace(valid, revocation="unknown: x"), replace(valid, revocation="good")
    for found in (revoked, silent, silent, good, silent):
        (lease,) = await take(any_database, now=NOW + DAY)
        await worker(any_database).save([LeaseResult(lease, found)])
        told = await ask(any_database, begun.next)
        seen.append([each.monitor and each.monitor.ssl_message for each in told.list])
        begun = told
    assert seen == [["Revoked"], [], [], ["Valid"], []]


async def test_a_page_is_limited_and_the_next_one_continues(any_database: Database) -> None:
    begun = await ask(any_database)
    await record(any_database, *(Change(1 + number % 2, number, NOW) for number in range(10)))
    first = await ask(any_database, begun.next, limit=3)
    second = await ask(any_database, first.next, limit=3)
    assert (ids(first), first.more) == ([0, 2, 4], True)
    assert (ids(second), second.more) == ([6, 8], False)
    assert ids(await ask(any_database, second.next)) == []


async def test_changes_are_kept_for_a_week_and_no_longer(any_database: Database) -> None:
    begun = await ask(any_database)
    await record(any_database, Change(1, 1, NOW))
    later = await ask(any_database, begun.next)
    await record(any_database, Change(1, 2, NOW + 7 * DAY))
    assert ids(await ask(any_database, begun.next)) == [1, 2]
    await record(any_database, Change(1, 3, NOW + 7 * DAY + SECOND))
    assert await Monitors(any_database, INTERVAL).changes(1, begun.next, 9, NOW) is None
    assert ids(await ask(any_database, later.next)) == [2, 3]


@pytest.mark.slow
async def test_a_concurrent_reader_misses_no_later_change(any_database: Database) -> None:
    """A transaction that begins first and ends last must not be overtaken."""
    begun, slow_ends = await ask(any_database), asyncio.Event()

    async def slow() -> None:
        async with any_database.write() as connection:
            await record_changes(connection, [Change(1, 1, NOW)])
            await slow_ends.wait()

    writing = asyncio.create_task(slow())
    await asyncio.sleep(0.1)
    quick = asyncio.create_task(record(any_database, Change(1, 2, NOW)))
    await asyncio.sleep(0.1)
    seen = await ask(any_database, begun.next)
    assert ids(seen) == []
    slow_ends.set()
    await asyncio.gather(writing, quick)
    assert ids(await ask(any_database, seen.next)) == [1, 2]


@pytest.mark.slow
async def test_many_writers_and_a_reader_lose_and_repeat_nothing(any_database: Database) -> None:
    begun = await ask(any_database)
    told: list[int] = []

    async def write(writer: int) -> None:
        for number in range(10):
            some = [Change(1, writer * 100 + number * 2 + each, NOW) for each in range(2)]
            await record(any_database, *some)

    async def read() -> None:
        cursor = begun.next
        while len(told) < 100:
            page = await ask(any_database, cursor, limit=7)
            told.extend(ids(page))
            cursor = page.next

    async with asyncio.timeout(30):
        await asyncio.gather(read(), *(write(writer) for writer in range(5)))
    expected = {writer * 100 + number for writer in range(5) for number in range(20)}
    assert len(told) == len(set(told)) == 100
    assert set(told) == expected
