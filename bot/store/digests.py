"""Which digests were posted, their messages as they stand now, and a few notes by name."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    Row,
    and_,
    bindparam,
    delete,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.blocks import Block, Message
from bot.store.boards import BOARD, BOOKINGS, CHANGED, DRAWN, HERE, LOCKED_BOARD, TURNS, place
from bot.store.database import Database, add, put
from bot.store.tables import DATABASE_NOW, digests, notes, notices, small_changes
from bot.target import Target

_POSTED = digests.c.finished_at.is_not(None) & digests.c.ts.is_not(None)
#: The kind of a requested list; it is stored among the notices once one of its rows is pressed.
LIST = "list"
#: How long a notice is edited while it is not fixed.
NOTICES_EDITED = timedelta(days=7)
#: Which digests and notices are recent enough to be edited.
_YOUNG = (
    digests.c.day >= bindparam("day"),
    notices.c.thread.is_(None) & (notices.c.kind != "") & (notices.c.at >= bindparam("old")),
)
_FIXED_LATELY = notices.c.fixed.is_(False) | (notices.c.at >= bindparam("recent"))
_IS_TOLD = notices.c.ts.is_not(None) & (notices.c.kind != LIST) & _FIXED_LATELY
#: Built once, since each scan asks.
_EDITED = (
    select(digests)
    .where(_YOUNG[0], digests.c.ts.is_not(None), digests.c.sent > 0)
    .order_by(digests.c.day),
    select(notices).where(_YOUNG[1], _IS_TOLD).order_by(notices.c.at),
)
_DIGEST = select(digests).where(
    digests.c.day == bindparam("day"), digests.c.channel == bindparam("channel")
)
_NOTE = select(notes.c.value).where(notes.c.key == bindparam("key"))
#: In milliseconds.
SECOND, MINUTE = 1000, 60_000


@dataclass(frozen=True, slots=True)
class StoredDigest:
    """One day's digest: its messages, and how many of them Slack has.

    `ts` is that of the first message. Before that is posted, it is the older post that the first
    message will replace, if any. A day without messages needed no digest.
    """

    day: date
    channel: str
    claimed_at: datetime
    messages: tuple[Message, ...]
    sent: int
    ts: str | None
    finished: bool

    @property
    def edits(self) -> str | None:
        """The ts of the post that the first message will replace."""
        return None if self.sent else self.ts

    @property
    def facts(self) -> Mapping[str, Any]:
        """The first message's metadata: when the digest was gathered, and whether all was clear."""
        metadata = self.messages[0].metadata if self.messages else None
        return dict((metadata or {}).get("event_payload", {}))


class Board(msgspec.Struct, frozen=True):
    """The current content of a digest's first message, or of a notice. It is stored as JSON.

    By a row's block ID, `stories` has the reply about it in the thread, and `seen` when the API was
    asked for its state; `expanded` rows show more buttons. The replies about rows `ahead`
    show an older state. Once `fixed`, no row needs attention.
    """

    text: str
    blocks: list[Block]
    stories: dict[str, str] = {}
    expanded: list[str] = []
    fixed: bool = False
    seen: dict[str, datetime] = {}
    ahead: list[str] = []


@dataclass(frozen=True, slots=True)
class StoredBoard:
    """A board, where it is posted, and its version.

    `day` is the digest's day, or the last day on which a notice or list is edited.
    """

    day: date
    channel: str
    ts: str
    version: int
    board: Board
    kind: str = ""


class DigestStore:
    """Reads and writes the tables of digests and notes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def first_start(self, now: datetime) -> datetime:
        """When the bot first started on this database: `now` if this is the first time."""
        await self.claim_note("first_start", now.isoformat())
        return datetime.fromisoformat(str(await self.note("first_start")))

    async def digest(self, day: date, channel: str) -> StoredDigest | None:
        """The digest of this day and channel, if a process has claimed it."""
        key = {"day": day.isoformat(), "channel": channel}
        async with self._database.quick_read() as connection:
            row = (await connection.execute(_DIGEST, key)).one_or_none()
        return _stored(row) if row else None

    async def claim(
        self,
        day: date,
        channel: str,
        now: datetime,
        messages: Sequence[Message],
        *,
        edits: str | None = None,
    ) -> StoredDigest | None:
        """Claim the day, with the messages to post; None if another process was faster.

        `edits` is the ts of the post that the first message will replace. Without messages, the day
        is done.
        """
        row = {
            "day": day.isoformat(),
            "channel": channel,
            "claimed_at": now,
            "messages": msgspec.json.encode(messages).decode(),
            "sent": 0,
            "ts": edits,
            "finished_at": None if messages else now,
        }
        async with self._database.quick_write() as connection:
            won = await add(connection, digests, row)
        return await self.digest(day, channel) if won else None

    async def last_digest(self) -> datetime | None:
        """When a digest was last posted completely."""
        query = select(digests.c.finished_at).where(_POSTED)
        async with self._database.quick_read() as connection:
            newest = query.order_by(digests.c.finished_at.desc()).limit(1)
            return await connection.scalar(newest)

    async def before(self, day: date, channel: str) -> StoredDigest | None:
        """The last digest that was posted completely in this channel before this day."""
        older = (digests.c.channel == channel) & (digests.c.day < day.isoformat()) & _POSTED
        query = select(digests).where(older).order_by(digests.c.day.desc()).limit(1)
        async with self._database.quick_read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return _stored(row) if row else None

    async def was_due(self, since: date, day: date, channel: str) -> bool:
        """Whether this channel had a digest or needed none, from `since` on and before `day`."""
        same = (digests.c.channel == channel) & (digests.c.day < day.isoformat())
        query = select(digests.c.day).where(same, digests.c.day >= since.isoformat()).limit(1)
        async with self._database.quick_read() as connection:
            return await connection.scalar(query) is not None

    async def post_instead(self, stored: StoredDigest) -> StoredDigest | None:
        """Leave the older post as it is, and post the first message instead.

        Returns the updated digest; None if another process has taken over.
        """
        mine = and_(_is(stored.day, stored.channel), digests.c.claimed_at == stored.claimed_at)
        async with self._database.quick_write() as connection:
            statement = update(digests).where(mine, digests.c.sent == 0).values(ts=None)
            kept = (await connection.execute(statement)).rowcount
        return replace(stored, ts=None) if kept else None

    async def take_over(self, left: StoredDigest, now: datetime) -> StoredDigest | None:
        """Claim a digest that another process left unfinished.

        Returns the updated digest; None if another process was faster.
        """
        same = and_(_is(left.day, left.channel), digests.c.claimed_at == left.claimed_at)
        statement = update(digests).where(same).values(claimed_at=now)
        async with self._database.quick_write() as connection:
            taken = (await connection.execute(statement)).rowcount
        return replace(left, claimed_at=_as_stored(now)) if taken else None

    async def posted(
        self, stored: StoredDigest, *, sent: int, ts: str, now: datetime, finished: bool
    ) -> StoredDigest | None:
        """Record that Slack has the first `sent` messages; `ts` is that of the first one.

        Returns the updated digest; None if the claim is gone.
        """
        values = {"sent": sent, "ts": ts, "claimed_at": now}
        if finished:
            values["finished_at"] = now
        mine = and_(_is(stored.day, stored.channel), digests.c.claimed_at == stored.claimed_at)
        statement = update(digests).where(mine).values(values)
        async with self._database.quick_write() as connection:
            kept = (await connection.execute(statement)).rowcount
        return replace(stored, sent=sent, ts=ts, claimed_at=_as_stored(now)) if kept else None

    async def board(self, channel: str, ts: str) -> StoredBoard | None:
        """The digest, notice or list posted at this ts; None if it is none of them."""
        async with self._database.quick_read() as connection:
            for query in BOARD.values():
                if row := (await connection.execute(query, place(channel, ts))).one_or_none():
                    return board_of(row)
        return None

    async def boards(self, now: datetime) -> list[StoredBoard]:
        """The digests and notices that are posted and may still be edited.

        That is today's and yesterday's digests, and the notices of the last day; those that are not
        fixed, for NOTICES_EDITED.
        """
        async with self._database.quick_read() as connection:
            found = [(await connection.execute(query, _ages(now))).all() for query in _EDITED]
        return list(
            {(row.channel, row.ts): board_of(row) for rows in found for row in rows}.values()
        )

    async def keep_list(
        self, channel: str, ts: str, board: Board, now: datetime, *, replaces: bool
    ) -> None:
        """Store a posted list, unless one is stored there; `replaces` overwrites that one."""
        row = {
            "key": f"{LIST} {channel} {ts}", "channel": channel, "ts": ts, "message": "",
            "at": now, "kind": LIST, "board": msgspec.json.encode(board).decode(),
        }  # fmt: skip
        async with self._database.quick_write() as connection:
            await (put if replaces else add)(connection, notices, row)

    async def redraw(
        self, channel: str, ts: str, change: Callable[[Board], Board]
    ) -> StoredBoard | None:
        """Change a board, with its row locked; None if there is none."""
        async with self._database.quick_write() as connection:
            for table, query in LOCKED_BOARD.items():
                row = (await connection.execute(query, place(channel, ts))).one_or_none()
                if row is None:
                    continue
                old = board_of(row)
                new = replace(old, board=change(old.board), version=old.version + 1)
                values = place(channel, ts) | {"of_version": new.version}
                values["new_board"] = msgspec.json.encode(new.board).decode()
                values["is_fixed"] = new.board.fixed
                await connection.execute(CHANGED[table], values)
                return new
        return None

    async def turn(
        self, channel: str, ts: str, within: float = math.inf
    ) -> tuple[StoredBoard | None, float]:
        """Reserve the next edit of a message; returns its board, if any, and the wait in seconds.

        Counting all processes, a board is edited at most once a second, and all messages together
        as often per minute as `edits` has rows. Nothing is reserved if the wait exceeds `within`.
        """
        here = place(channel, ts) | {"gap": SECOND}
        async with self._database.quick_write() as connection:
            for turn in TURNS:
                if row := (await connection.execute(turn, here)).one_or_none():
                    break
            wait = max(await self._book(connection), row.wait if row else 0, 0) / 1000
            if wait > within:
                await connection.rollback()
        return board_of(row) if row else None, wait

    async def _book(self, connection: AsyncConnection) -> int:
        """Reserve one of the minute's edits; returns how many milliseconds to wait."""
        for book in BOOKINGS:
            wait = (await connection.execute(book, {"gap": MINUTE})).scalar_one_or_none()
            if wait is not None:
                return int(wait)
        return 0

    async def drawn(self, shown: StoredBoard) -> bool:
        """Record that Slack shows this version; False if there is a newer one."""
        newest = place(shown.channel, shown.ts) | {"of_version": shown.version}
        async with self._database.quick_write() as connection:
            for drawn in DRAWN:
                if (await connection.execute(drawn, newest)).rowcount:
                    return True
        return False

    async def undrawn(self, now: datetime) -> list[StoredBoard]:
        """The digests, notices and lists of which Slack doesn't show the newest version.

        Those edited in the last two minutes are left out: another process may be at it.
        """
        boards: list[StoredBoard] = []
        async with self._database.quick_read() as connection:
            for table, young in zip(HERE, _YOUNG, strict=True):
                left = table.c.drawn_at < DATABASE_NOW - 2 * MINUTE
                never = table.c.drawn_at.is_(None) & table.c.ts.is_not(None)
                behind = (table.c.drawn != table.c.version) & young
                query = select(table).where(behind, left | never)
                boards += map(board_of, (await connection.execute(query, _ages(now))).all())
        return boards

    async def may_repeat(self, day: date, channel: str) -> bool:
        """Whether a post that may have been lost may be repeated; True once a day."""
        return await self.claim_note(f"repeat {day.isoformat()} {channel}", "1")

    async def claim_note(self, key: str, value: str) -> bool:
        """Store a note unless the key is taken; False if it is."""
        async with self._database.quick_write() as connection:
            return await add(connection, notes, {"key": key, "value": value})

    async def note(self, key: str) -> str | None:
        """A note; None if there is none."""
        async with self._database.quick_read() as connection:
            return await connection.scalar(_NOTE, {"key": key})

    async def keep_note(self, key: str, value: str) -> None:
        """Store a note, replacing the old one."""
        async with self._database.quick_write() as connection:
            await put(connection, notes, {"key": key, "value": value})

    async def take_note(self, key: str) -> str | None:
        """Remove a note and return it; None if there is none, or another process was faster."""
        statement = delete(notes).where(notes.c.key == key).returning(notes.c.value)
        async with self._database.quick_write() as connection:
            return await connection.scalar(statement)

    async def small_changes(self, since: datetime) -> list[tuple[str, Target]]:
        """The changes since then that need no action: kind and monitor."""
        query = select(small_changes).where(small_changes.c.at >= since)
        async with self._database.quick_read() as connection:
            rows = (await connection.execute(query)).all()
        return [(row.kind, Target.parse(row.target)) for row in rows]

    async def waiting(self, key: str) -> dict[date, dict[int, int]]:
        """By day: in how many consecutive digests each monitor was broken and not taken."""
        known = await self.note(f"untaken {key}")
        return msgspec.json.decode(known, type=dict[date, dict[int, int]]) if known else {}

    async def keep_waiting(self, key: str, counts: Mapping[date, Mapping[int, int]]) -> None:
        """Store these counts, replacing the old ones."""
        await self.keep_note(f"untaken {key}", msgspec.json.encode(counts).decode())

    async def release(self, day: date, channel: str) -> None:
        """Release the day: nothing of its digest was posted, or it is to be posted again."""
        async with self._database.quick_write() as connection:
            await connection.execute(delete(digests).where(_is(day, channel)))


def _as_stored(now: datetime) -> datetime:
    """A time as the database returns it, in whole seconds; claims are compared by it."""
    return now.replace(microsecond=0)


def _is(day: date, channel: str) -> Any:
    return and_(digests.c.day == day.isoformat(), digests.c.channel == channel)


def _ages(now: datetime) -> dict[str, Any]:
    """The parameters of `_YOUNG` and `_EDITED`."""
    yesterday = now - timedelta(days=1)
    return {"day": yesterday.date().isoformat(), "recent": yesterday, "old": now - NOTICES_EDITED}


def board_of(row: Row[Any]) -> StoredBoard:
    """The board of a digest's or notice's row; as it was posted, if nothing has changed."""
    is_digest = "day" in row._mapping  # noqa: SLF001 - the public way to ask for its columns
    if not (stored := row.board):
        messages = row.messages if is_digest else f"[{row.message}]"
        stored = msgspec.json.decode(messages, type=list[msgspec.Raw])[0]  # the others are long
    board = msgspec.json.decode(stored, type=Board)
    day = date.fromisoformat(row.day) if is_digest else (row.at + NOTICES_EDITED).date()
    return StoredBoard(day, row.channel, row.ts, row.version, board, "" if is_digest else row.kind)


def _stored(row: Row[Any]) -> StoredDigest:
    return StoredDigest(
        day=date.fromisoformat(row.day),
        channel=row.channel,
        claimed_at=row.claimed_at,
        messages=tuple(msgspec.json.decode(row.messages, type=list[Message])),
        sent=row.sent,
        ts=row.ts,
        finished=row.finished_at is not None,
    )
