import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from bot.embedded.leases import LeaseResult, Leases, LeaseStatus
from bot.embedded.scan.scanner import Scanner
from bot.embedded.writer import Writer
from bot.store.database import Database
from bot.store.tables import monitors
from bot.target import Target

from . import fleet as fleets
from .fleet import DAY, HOUR, NOW, Fleet, Leaf
from .serving import Served, serving

pytestmark = pytest.mark.slow

INTERVAL = timedelta(hours=12)
MINUTE = timedelta(minutes=1)


async def add_monitor(database: Database, host: str, port: int, due: timedelta) -> None:
    row = {"host": host, "port": port, "created_at": NOW - DAY, "next_scan_at": NOW + due}
    async with database.write() as connection:
        await connection.execute(insert(monitors), [row])


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def silent_server() -> tuple[asyncio.Event, Serve]:
    """A server that never answers, and an event that says that a client has connected."""
    arrived = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()

    return arrived, hold


async def test_a_server_scans_due_monitors_at_its_start(fleet: Fleet, database: Database) -> None:
    arrived = asyncio.Event()
    answer = fleets.web_server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        arrived.set()

    async with fleets.serve(serve, context=fleet.context(fleet.file(Leaf()))) as port:
        await add_monitor(database, "fleet.test", port, -HOUR)
        async with serving(fleet, database) as served:
            await arrived.wait()
            await served.call(
                "monitor/scan", id="1"
            )  # joins the scan and returns once it is stored
            row = (await served.call("monitor/list")).body["list"][0]
    assert (row["ssl_message"], row["scan_date"]) == ("Valid", "2027-01-15 12:00")


async def test_only_due_monitors_are_scanned_and_then_wait_for_their_next_slot(
    fleet: Fleet, served: Served, database: Database
) -> None:
    await add_monitor(database, "elsewhere.test", 443, HOUR)
    await add_monitor(database, "elsewhere.test", 444, 3 * HOUR)
    served.api.sweep._rescans._writer._linger = 3600.0  # the last result waits for nobody
    assert not await served.api.sweep.once()
    served.now += 2 * HOUR
    async with asyncio.timeout(30):
        assert await served.api.sweep.once()
    rows = (await served.call("monitor/list")).body["list"]
    assert [row["scan_date"] for row in rows] == ["2027-01-15 14:00", None]
    async with database.read() as connection:
        slot = await connection.scalar(
            select(monitors.c.next_scan_at).where(monitors.c.port == 443)
        )
    assert slot is not None
    assert served.now < slot <= served.now + 1.05 * INTERVAL


async def test_a_sweep_gets_through_many_monitors(served: Served, database: Database) -> None:
    for port in range(1, 21):
        await add_monitor(database, "elsewhere.test", port, HOUR)
    served.now += 2 * HOUR
    while await served.api.sweep.once():
        pass
    rows = (await served.call("monitor/list")).body["list"]
    assert {row["scan_date"] for row in rows} == {"2027-01-15 14:00"}


async def test_a_scan_that_raises_is_logged_and_retried_at_its_next_slot(
    served: Served,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scan = Scanner.scan

    async def fail_on_port_1(self: Scanner, target: Target, now: object, **how: Any) -> object:
        if target.port == 1:
            raise RuntimeError("unexpected")
        return await scan(self, target, served.now, **how)

    monkeypatch.setattr(Scanner, "scan", fail_on_port_1)
    for port in (1, 2):
        await add_monitor(database, "elsewhere.test", port, HOUR)
    served.now += 2 * HOUR
    assert await served.api.sweep.once()
    assert not await served.api.sweep.once()
    assert "Rescan failed for monitor 1 (elsewhere.test:1)" in caplog.text
    rows = (await served.call("monitor/list")).body["list"]
    assert [row["scan_date"] for row in rows] == [None, "2027-01-15 14:00"]


async def test_closing_aborts_scans_and_leaves_no_task(fleet: Fleet, database: Database) -> None:
    arrived, hold = silent_server()
    before = asyncio.all_tasks()
    async with fleets.serve(hold) as port:
        await add_monitor(database, "fleet.test", port, -HOUR)
        async with serving(fleet, database, deadline=60):
            await arrived.wait()
    assert asyncio.all_tasks() <= before


async def row_of(served: Served) -> tuple[str, str]:
    row = (await served.call("monitor/list")).body["list"][0]
    return row["ssl_message"], row["scan_date"]


async def sweep_after(served: Served, wait: timedelta) -> bool:
    served.now += wait
    return await served.api.sweep.once()


async def test_what_was_up_is_down_only_after_three_failures(fleet: Fleet, served: Served) -> None:
    async with fleet.tls() as port:
        await served.call("monitor/add", host="fleet.test", port=str(port))
    assert await sweep_after(served, 13 * HOUR)
    assert await row_of(served) == ("Valid", "2027-01-15 12:00")
    assert not await sweep_after(served, timedelta(seconds=59))
    assert await sweep_after(served, timedelta(seconds=10))
    assert await row_of(served) == ("Valid", "2027-01-15 12:00")
    assert not await sweep_after(served, timedelta(seconds=119))
    assert await sweep_after(served, timedelta(seconds=10))
    assert "refused" in (await row_of(served))[0]


async def test_a_monitor_that_was_never_up_is_retried_in_a_minute(served: Served) -> None:
    async with fleets.refuse() as port:
        await served.add(port)
        assert not await sweep_after(served, timedelta(seconds=59))
        assert await sweep_after(served, timedelta(seconds=5))
        assert not await sweep_after(served, timedelta(seconds=119))
        assert await sweep_after(served, timedelta(seconds=9))


async def test_scans_are_hourly_in_the_last_three_days(fleet: Fleet, served: Served) -> None:
    async with fleet.tls(Leaf(left=3 * DAY)) as port:
        await served.add(port)
        for _ in range(2):
            assert await sweep_after(served, 64 * MINUTE)


@pytest.mark.parametrize("rescanned", [False, True], ids=["added", "rescanned"])
async def test_what_turns_valid_is_rescanned(fleet: Fleet, served: Served, rescanned: bool) -> None:
    async with fleet.tls(Leaf(since=-10 * MINUTE)) as port:
        await served.add(port)
        if rescanned:
            await served.call("monitor/scan", id="1")
        while await sweep_after(served, 10 * MINUTE - timedelta(seconds=1) + NOW - served.now):
            pass  # its regular slot, if that comes first
        message, scanned = await row_of(served)
        assert "Not yet valid" in message
        assert scanned < "2027-01-15 12:10"
        assert await sweep_after(served, timedelta(seconds=6))
        assert await row_of(served) == ("Valid", "2027-01-15 12:10")


async def test_one_failure_leaves_nothing(fleet: Fleet, served: Served, database: Database) -> None:
    async with fleet.tls() as port:
        await served.call("monitor/add", host="fleet.test", port=str(port))
        async with served.away("fleet.test"):
            assert await sweep_after(served, 13 * HOUR)
        assert await sweep_after(served, 2 * MINUTE)
        assert await row_of(served) == ("Valid", "2027-01-16 01:02")
    async with database.read() as connection:
        assert await connection.scalar(select(monitors.c.failures)) == 0


async def test_a_scan_on_demand_reports_a_failure_at_once(fleet: Fleet, served: Served) -> None:
    async with fleet.tls() as port:
        await served.call("monitor/add", host="fleet.test", port=str(port))
    await served.call("monitor/scan", id="1")
    assert "refused" in (await row_of(served))[0]


async def test_a_sweep_opens_three_connections_per_address_and_counts_its_leases(
    fleet: Fleet, served: Served, database: Database
) -> None:
    count, peak, go = 0, 0, asyncio.Event()
    three = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count, peak
        count, peak = count + 1, max(peak, count + 1)
        if count == 3:
            three.set()
        await go.wait()
        count -= 1

    async with AsyncExitStack() as stack:
        for _ in range(8):
            port = await stack.enter_async_context(fleets.serve(hold))
            await add_monitor(database, "fleet.test", port, -HOUR)
        sweep = asyncio.create_task(served.api.sweep.once())
        await three.wait()
        metrics = await served.text("/metrics")
        go.set()
        await sweep
    assert peak == 3
    lines = metrics.splitlines()
    assert "sslmonitor_sweep_running 3.0" in lines
    assert "sslmonitor_sweep_leased 8.0" in lines
    assert "sslmonitor_monitors 8.0" in lines
    assert "sslmonitor_sweep_leased 0.0" in await served.text("/metrics")


async def test_scans_on_demand_go_first(fleet: Fleet, served: Served, database: Database) -> None:
    """A load balancer that is down makes many hosts queue; one of them may be back."""
    go, three = asyncio.Event(), asyncio.Event()
    visits: list[asyncio.StreamReader] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(reader)
        if len(visits) == 3:
            three.set()
        await go.wait()

    async with AsyncExitStack() as stack:
        for _ in range(5):
            port = await stack.enter_async_context(fleets.serve(hold))
            await add_monitor(database, "fleet.test", port, -HOUR)
        back = await stack.enter_async_context(fleet.tls())
        await add_monitor(database, "fleet.test", back, -MINUTE)
        sweep = asyncio.create_task(served.api.sweep.once())
        await three.wait()
        answer = await served.call("monitor/scan", id="6")
        assert answer.status == 200
        assert not go.is_set()
        assert len(visits) == 3
        row = (await served.call("monitor/list", port=str(back))).body["list"][0]
        assert (row["ssl_message"], row["scan_date"]) == ("Valid", "2027-01-15 12:00")
        go.set()
        await sweep


async def test_an_unconfirmed_failure_is_scanned_again(
    fleet: Fleet, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, asked = asyncio.Event(), asyncio.Event()
    put, status = Writer.put, Leases.status

    async def put_once_asked(writer: Writer, result: LeaseResult) -> None:
        if not result.on_demand:
            failed.set()
            await asked.wait()
        await put(writer, result)

    async def noticed(leases: Leases, id_: int, now: datetime) -> LeaseStatus | None:
        asked.set()
        return await status(leases, id_, now)

    async with fleet.tls() as port:
        await served.add(port)
    served.now += 13 * HOUR
    monkeypatch.setattr(Writer, "put", put_once_asked)
    monkeypatch.setattr(Leases, "status", noticed)
    sweep = asyncio.create_task(served.api.sweep.once())
    try:
        await failed.wait()
        assert (await row_of(served))[0] == "Valid"
        await served.call("monitor/scan", id="1")
        assert "refused" in (await row_of(served))[0]
    finally:
        asked.set()
    await sweep


async def test_metrics_and_ping_report_progress_and_lag(served: Served, database: Database) -> None:
    await add_monitor(database, "elsewhere.test", 1, HOUR)
    await add_monitor(database, "elsewhere.test", 2, 2 * HOUR)
    served.now += 90 * MINUTE
    state = {"monitors": 2, "due": 1, "lag_seconds": 1800}
    assert (await served.call("ping")).body["sweep"] == state
    metrics = await served.text("/metrics")
    assert "sslmonitor_sweep_due 1.0" in metrics
    assert "sslmonitor_sweep_lag_seconds 1800.0" in metrics
    assert await served.api.sweep.once()
    metrics = await served.text("/metrics")
    assert "sslmonitor_sweep_lag_seconds 0.0" in metrics
    assert 'sslmonitor_scans_total{verdict="forbidden"} 1.0' in metrics
    assert 'sslmonitor_requests_total{status="200"}' in metrics
    assert "elsewhere" not in metrics


async def test_a_restart_resumes_aborted_scans_at_once(fleet: Fleet, database: Database) -> None:
    arrived, hold = silent_server()
    async with fleets.serve(hold) as port:
        await add_monitor(database, "fleet.test", port, -HOUR)
        async with serving(fleet, database, deadline=60):
            await arrived.wait()
        arrived.clear()
        async with serving(fleet, database, deadline=60):
            await arrived.wait()


async def test_nothing_is_stored_for_a_client_that_left(fleet: Fleet, database: Database) -> None:
    arrived, hold = silent_server()
    before = asyncio.all_tasks()
    async with fleets.serve(hold) as port, serving(fleet, database, deadline=60) as served:
        request = asyncio.create_task(served.call("monitor/add", host="fleet.test", port=str(port)))
        await arrived.wait()
        request.cancel()
        await asyncio.wait({request})
    assert asyncio.all_tasks() <= before
    async with database.read() as connection:
        assert (await connection.execute(select(monitors))).all() == []


async def test_shutdown_is_reported_to_waiting_clients(fleet: Fleet, database: Database) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with fleets.serve(hold) as port, serving(fleet, database, deadline=60) as served:
        await add_monitor(database, "fleet.test", port, HOUR)
        requests = [asyncio.create_task(served.call("monitor/scan", id="1"))]
        for _ in range(3):
            check = served.call("checks", host="fleet.test", port=str(port))
            requests.append(asyncio.create_task(check))
        while not (served.api.rescans.congested() and served.api.rescans.leased):
            await served.call("ping")
        await served.api.close()
        answers = await asyncio.gather(*requests)
    assert [answer.status for answer in answers] == [503] * 4
    assert {answer.body["message"] for answer in answers} == {
        "The server is shutting down. Try again in a minute."
    }
    async with database.read() as connection:
        row = (await connection.execute(select(monitors))).one()
    assert (row.scanned_at, row.lease, row.next_scan_at) == (None, None, NOW)


async def test_a_certificate_issued_much_later_is_valid(fleet: Fleet, served: Served) -> None:
    context = fleet.context(fleet.file(Leaf(left=20 * DAY)))
    async with fleets.serve(fleets.web_server(), context=context) as port:
        await served.add(port)
        context.load_cert_chain(fleet.file(Leaf(since=-10 * DAY)))
        served.now += 11 * DAY
        await served.call("monitor/scan", id="1")
    assert await row_of(served) == ("Valid", "2027-01-26 12:00")
