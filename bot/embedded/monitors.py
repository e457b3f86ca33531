"""The monitors as the endpoints see them: targets of an account, with their last scan."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    RowMapping,
    bindparam,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError

from bot.embedded import wire
from bot.embedded.ca.expected import LONGEST_WAIT, Announcement, Outcome, is_awaited
from bot.embedded.ca.facts import date as wire_date
from bot.embedded.ca.facts import renewal_column, renewal_of
from bot.embedded.ca.lineages import (
    NEWER,
    WITH_NEWER,
    RenewedElsewhere,
    at,
    lineage,
    overtaken,
    with_newer,
)
from bot.embedded.changes import Change, ChangeRow, ChangesReply, read_feed, record_changes
from bot.embedded.job import Job
from bot.embedded.query import Filters, Slice
from bot.embedded.scan.result import Scan
from bot.embedded.scan.verdict import VALID, Verdict, color, expired_sentence
from bot.embedded.schedule import is_failure, next_scan
from bot.embedded.wire import ListRow
from bot.store.database import Database
from bot.store.tables import monitor_changes, monitor_facts, monitor_history, monitors
from bot.target import Target

Conditions = Sequence[ColumnElement[bool]]
_CHUNK = 1000  # rows converted at once; in between, other tasks may run
_FACTS = 50  # the same, with the long part of their scans
_DAY = 86_400  # seconds
_SCAN_GAP = timedelta(minutes=1)  # between two scans that deploy hooks ask for
_LONGEST_WAIT = int(LONGEST_WAIT.total_seconds())
_EPOCH = date(1970, 1, 1)
_TIMES = tuple(f" {minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60))
_VERDICTS = {verdict.value: verdict for verdict in Verdict}
# What `_list_row` reads, in this order. The times stay seconds since 1970: making datetimes of them
# would double the time that a list of 100,000 rows takes.
_LIST_ROW = (
    monitors.c.id,
    monitors.c.host,
    monitors.c.port,
    monitors.c.verdict,
    monitors.c.message,
    monitors.c.host_match,
    monitors.c.issuer,
    monitors.c.http_code,
    type_coerce(monitors.c.scanned_at, BigInteger),
    type_coerce(monitors.c.not_before, BigInteger),
    type_coerce(monitors.c.not_after, BigInteger),
    monitors.c.fingerprint,
    monitors.c.caa_refuses,
    type_coerce(monitors.c.expected_at, BigInteger),
    type_coerce(monitors.c.expected_until, BigInteger),
    monitors.c.renewal,
)
_WHOLE = (
    select(monitors, monitor_facts.c.facts)
    .outerjoin(monitor_facts, monitor_facts.c.monitor_id == monitors.c.id)
    .where(monitors.c.id == bindparam("monitor"), monitors.c.account_id == bindparam("account"))
)
_LIST = select(*_LIST_ROW, *NEWER).select_from(WITH_NEWER).order_by(monitors.c.id)
#: A scan that differs from the last one in any of these adds a row to the history.
HISTORY_COLUMNS = ("verdict", "message", "host_match", "not_before", "not_after", "issuer")


class AlreadyMonitored(Exception):
    """The target has a monitor already; `id` is its ID."""

    def __init__(self, id_: int) -> None:
        super().__init__(id_)
        self.id = id_


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of the sweep: all monitors, those that are due, and the longest delay."""

    monitors: int
    due: int
    lag: timedelta


def scan_columns(scan: Scan) -> dict[str, Any]:
    """The columns of `monitors` that a scan sets."""
    leaf = scan.leaf
    return {
        "scanned_at": scan.at.astimezone(UTC),
        "verdict": scan.verdict.value,
        "message": _storable(scan.message),
        "ip": scan.ip or None,
        "host_match": scan.host_match,
        "not_before": leaf and leaf.not_before,
        "not_after": leaf and leaf.not_after,
        "issuer": leaf and _storable(leaf.issuer),
        "http_code": scan.page.code,
        "fingerprint": scan.chain[0].fingerprint if scan.chain else None,
        "lineage": leaf and lineage(leaf),
        "key_exchange_at": scan.key_exchange and scan.key_exchange.at,
        "post_quantum": scan.key_exchange and scan.key_exchange.supported,
        "caa_refuses": None if scan.caa.startswith("unknown: ") else bool(scan.caa),
        "renewal": renewal_column(scan.renewal),
    }


def _storable(text: str) -> str:
    # PostgreSQL's text can't contain NUL; the facts are bytes and keep it.
    return text.replace("\0", "\ufffd")


def history_row(id_: int, at: datetime, row: dict[str, Any]) -> dict[str, Any]:
    """A row of `monitor_history`."""
    return {"monitor_id": id_, "at": at, **{name: row[name] for name in HISTORY_COLUMNS}}


class Monitors:
    """The stored monitors. Each method is one transaction, and sees those of `account` only."""

    def __init__(self, database: Database, interval: timedelta) -> None:
        self._database = database
        is_sqlite = database.engine.dialect.name == "sqlite"
        self._turn = asyncio.Lock() if is_sqlite else nullcontext()
        self._interval = interval

    async def count(self, account: int) -> int:
        """How many monitors an account has."""
        query = select(func.count()).where(monitors.c.account_id == account)
        async with self._database.read() as connection:
            return await connection.scalar(query) or 0

    async def get(self, account: int, id_: int) -> RowMapping | None:
        """The whole row of a monitor with its `facts`, or None."""
        async with self._database.read() as connection:
            found = await connection.execute(_WHOLE, {"monitor": id_, "account": account})
            return found.mappings().one_or_none()

    async def find(self, account: int, target: Target) -> int | None:
        """The ID of a target's monitor, or None."""
        query = select(monitors.c.id).where(
            monitors.c.account_id == account,
            monitors.c.host == target.host,
            monitors.c.port == target.port,
        )
        async with self._database.read() as connection:
            return await connection.scalar(query)

    async def as_known(self, account: int, target: Target, scan: Scan) -> Scan:
        """A scan, revoked if its CA doesn't tell, and a monitor knows that of the certificate."""
        if not scan.may_be_revoked:
            return scan
        query = select(monitors.c.message).where(
            monitors.c.account_id == account,
            monitors.c.host == target.host,
            monitors.c.port == target.port,
            monitors.c.verdict == Verdict.REVOKED.value,
            monitors.c.fingerprint == scan.chain[0].fingerprint,
        )
        async with self._database.read() as connection:
            message = await connection.scalar(query)
        return replace(scan, verdict=Verdict.REVOKED, message=message) if message else scan

    async def history(self, id_: int, slice_: Slice) -> tuple[int, Sequence[RowMapping]]:
        """How many history rows a monitor has, and a slice of them, newest first."""
        own = monitor_history.c.monitor_id == id_
        query = (
            select(monitor_history)
            .where(own)
            .order_by(monitor_history.c.id.desc())
            .limit(slice_.limit)
            .offset(slice_.offset)
        )
        async with self._database.read() as connection:
            total = await connection.scalar(select(func.count()).where(own)) or 0
            return total, (await connection.execute(query)).mappings().all()

    async def changes(
        self, account: int, cursor: str, limit: int, now: datetime
    ) -> ChangesReply | None:
        """The changes after the cursor, oldest first, with each monitor as it is now.

        Without a cursor, no changes but the cursor to start with; None if the cursor is unknown, or
        so old that later changes are deleted.
        """
        own = (monitors.c.id == monitor_changes.c.monitor_id) & (monitors.c.account_id == account)
        query = (
            select(*monitor_changes.c, *_LIST_ROW, *NEWER)
            .select_from(with_newer(monitor_changes.outerjoin(monitors, own)))
            .where(monitor_changes.c.account_id == account)
            .order_by(monitor_changes.c.number)
            .limit(limit + 1)
        )
        seconds = int(now.timestamp())
        async with self._database.read() as connection:
            feed = await read_feed(connection)
            if not cursor:
                return ChangesReply(count=0, list=(), next=feed.cursor(feed.last))
            since = await feed.position(cursor, connection)
            if since is None:
                return None
            after = query.where(monitor_changes.c.number > since)
            rows = (await connection.execute(after, at(now))).all()
        more = len(rows) > limit
        last = rows[limit - 1].number if more else feed.last
        listed = tuple(_change_row(tuple(row), seconds) for row in rows[:limit])
        return ChangesReply(count=len(listed), list=listed, next=feed.cursor(last), more=more)

    async def count_matching(self, account: int, conditions: Conditions) -> int:
        """How many monitors match all conditions."""
        query = select(func.count()).where(monitors.c.account_id == account, *conditions)
        async with self._database.read() as connection:
            return await connection.scalar(query) or 0

    async def list_slice(
        self, account: int, conditions: Conditions, slice_: Slice, now: datetime
    ) -> tuple[ListRow, ...]:
        """A slice of the monitors that match all conditions, ordered by ID."""
        own = _LIST.where(monitors.c.account_id == account, *conditions)
        query = own.limit(slice_.limit).offset(slice_.offset)
        seconds = int(now.timestamp())
        async with self._database.read() as connection:
            rows = await connection.execute(query, at(now))
            return tuple(_list_row(row, seconds) for row in rows)

    async def chunks(
        self, account: int, filters: Filters, now: datetime
    ) -> AsyncIterator[list[ListRow]]:
        """The monitors that match all filters, ordered by ID: one snapshot, 1,000 at a time.

        On SQLite, requests take turns: while one converts its rows, the thread that reads another's
        would get the GIL only every 5 ms, for a single row.
        """
        # An account's rows are most of the table: `+ 0` keeps SQLite from using the index.
        narrow = filters.host is not None or filters.days is not None
        of_account = monitors.c.account_id if narrow else monitors.c.account_id + 0
        query = _LIST.where(of_account == account, *filters.conditions(now))
        seconds = int(now.timestamp())
        async with self._database.read() as connection:
            result = await connection.stream(query, at(now))
            while True:
                async with self._turn:
                    listed = [_list_row(row, seconds) for row in await result.fetchmany(_CHUNK)]
                if not listed:
                    return
                yield listed

    async def add(self, account: int, job: Job, scan: Scan) -> int:
        """Store a new monitor (its password encrypted) with its first scan, and return its ID.

        Raises AlreadyMonitored.
        """
        row = scan_columns(scan)
        failures = int(is_failure(scan.verdict))
        values = {
            "account_id": account,
            **job.to_row(),
            "created_at": scan.at,
            "failures": failures,
            "next_scan_at": next_scan(
                job.target,
                scan.at,
                self._interval,
                not_before=row["not_before"],
                not_after=row["not_after"],
                failures=failures,
                asked=scan.asked,
            ),
            **row,
        }
        try:
            async with self._database.write() as connection:
                inserted = await connection.execute(
                    insert(monitors).values(values).returning(monitors.c.id)
                )
                id_ = int(inserted.scalar_one())
                facts = {"monitor_id": id_, "facts": wire.facts(scan)}
                await connection.execute(insert(monitor_facts).values(facts))
                first = history_row(id_, scan.at, row)
                await connection.execute(insert(monitor_history).values(first))
                older = await overtaken(connection, [id_], scan.at)
                told = [Change(account, id_, scan.at, "added")]
                told += [Change(*each, scan.at) for each in older]
                await record_changes(connection, told)
        except IntegrityError:
            existing = await self.find(account, job.target)
            if existing is None:  # deleted in the meantime
                raise
            raise AlreadyMonitored(existing) from None
        return id_

    async def delete(self, account: int, id_: int, now: datetime) -> bool:
        """Delete a monitor and its history; false if there is no such monitor."""
        own = (monitors.c.id == id_) & (monitors.c.account_id == account)
        async with self._database.write() as connection:
            if (await connection.execute(delete(monitors).where(own))).rowcount == 0:
                return False
            for table in (monitor_facts, monitor_history):
                await connection.execute(delete(table).where(table.c.monitor_id == id_))
            await record_changes(connection, [Change(account, id_, now, "deleted")])
        return True

    async def announce(self, account: int, told: Announcement, now: datetime) -> list[Outcome]:
        """Wait for an announced certificate wherever it isn't served yet; returns the outcomes.

        These monitors are due at once, but not within a minute of their last scan.
        """
        query = (
            select(monitors, monitor_facts.c.facts)
            .outerjoin(monitor_facts, monitor_facts.c.monitor_id == monitors.c.id)
            .order_by(monitors.c.id)
            .with_for_update(of=monitors)
        )
        ids, outcomes = await self._meant(account, told), list[Outcome]()
        if not ids:
            return []
        async with self._database.write() as connection:
            for start in range(0, len(ids), _FACTS):
                some = query.where(monitors.c.id.in_(ids[start : start + _FACTS]))
                rows = (await connection.execute(some)).mappings()
                outcomes += [_outcome(row, told, now) for row in rows]
            if outcomes:  # empty if they were deleted meanwhile
                each = update(monitors).where(monitors.c.id == bindparam("of_id"))
                await connection.execute(each, [_awaiting(o, told, now) for o in outcomes])
            news = [o.row["id"] for o in outcomes if o.replaced or (o.since == now and not o.live)]
            await record_changes(connection, [Change(account, id_, now) for id_ in news])
        return outcomes

    async def _meant(self, account: int, told: Announcement) -> list[int]:
        """The monitors that an announcement means; read first, since others wait for the write."""
        query = select(monitors.c.id, monitors.c.host).order_by(monitors.c.id)
        own = query.where(monitors.c.account_id == account, told.condition())
        async with self._database.read() as connection:
            return told.meant((id_, host) for id_, host in await connection.execute(own))

    async def progress(self, now: datetime) -> Progress:
        """The progress of the sweep, over all accounts."""
        overdue = monitors.c.next_scan_at <= now
        query = select(func.count(), func.min(monitors.c.next_scan_at)).where(overdue)
        async with self._database.read() as connection:
            total = await connection.scalar(select(func.count()).select_from(monitors))
            due, oldest = (await connection.execute(query)).one()
        return Progress(total or 0, due, timedelta() if oldest is None else now - oldest)


def _change_row(row: tuple[Any, ...], now: int) -> ChangeRow:
    _, _, id_, at, kind, added, removed, *monitor = row
    names = [msgspec.json.decode(each or "[]", type=tuple[str, ...]) for each in (added, removed)]
    listed = None if monitor[0] is None else _list_row(monitor, now)
    return ChangeRow(id_, wire_date(at), kind, names[0], names[1], listed)


def _outcome(row: RowMapping, told: Announcement, now: datetime) -> Outcome:
    awaited = is_awaited(row, now)
    same = awaited and row["expected"] == str(told.expected)
    last = wire.stored_facts(row)
    found = told.expected.is_served(row["fingerprint"], last.handshake.serial)
    live = found and not last.mixed
    short = {name: row[name] for name in row if name != "facts"}
    return Outcome(short, live, row["expected_at"] if same else now, awaited and not same)


def _awaiting(outcome: Outcome, told: Announcement, now: datetime) -> dict[str, Any]:
    """The columns that an announcement sets; a monitor that is being scanned keeps its lease."""
    row, due = outcome.row, outcome.row["next_scan_at"]
    if not outcome.live and row["lease"] is None:
        due = min(due, max(now, (row["scanned_at"] or now) + _SCAN_GAP))
    expected, since = (None, None) if outcome.live else (str(told.expected), outcome.since)
    return {
        "of_id": row["id"],
        "next_scan_at": due,
        "expected": expected,
        "expected_at": since,
        "expected_until": None if outcome.live else told.until,
    }


def _list_row(row: Sequence[Any], now: int) -> ListRow:
    """Convert a row of _LIST_ROW. A valid certificate that has expired since is expired."""
    (id_, host, port, value, message, match, issuer, code, scanned_at, start, end,
     sha, refuses, since, until, renewal, *newer) = row  # fmt: skip
    days = None if end is None else (end - now) // _DAY
    verdict = None if value is None else _VERDICTS[value]
    if verdict is None:
        message = "Not scanned yet"
    elif verdict is VALID and end < now:
        verdict, message = Verdict.EXPIRED, expired_sentence(datetime.fromtimestamp(end, UTC))
    return ListRow(
        id_,
        host,
        port,
        verdict is VALID,
        message,
        "grey" if verdict is None else color(verdict, days),
        days,
        _minute(start),
        _minute(end),
        match,
        issuer,
        code,
        _minute(scanned_at),
        sha,
        bool(refuses),
        UNSET if since is None else _expected_date(since, until, now),
        renewal_of(renewal) if renewal else UNSET,
        _renewed(*newer) if newer and newer[0] else UNSET,
    )


def _expected_date(since: int, until: int | None, now: int) -> str | UnsetType:
    """Since when a monitor waits for a certificate, unless that has expired."""
    until = since + _LONGEST_WAIT if until is None else until
    return UNSET if until <= now else _minute(since) or UNSET


def _renewed(host: str, port: int, end: int) -> RenewedElsewhere:
    return RenewedElsewhere(host, port, _minute(end) or "")


def _minute(seconds: int | None) -> str | None:
    """A time in seconds since 1970, in the API's format."""
    if seconds is None:
        return None
    return _day(seconds // _DAY) + _TIMES[seconds % _DAY // 60]


@lru_cache(10_000)
def _day(number: int) -> str:
    return (_EPOCH + timedelta(days=number)).isoformat()
