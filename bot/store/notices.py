"""The last standing of each monitor, for comparison with the next list; and the notices to post."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Row,
    and_,
    bindparam,
    delete,
    insert,
    literal,
    or_,
    select,
    type_coerce,
    update,
)  # fmt: skip
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.blocks import Block, Message
from bot.sighting import LastSeen, Topic
from bot.store.database import PATIENT_SECONDS, Database, add
from bot.store.digests import LIST, board_of
from bot.store.marks import forget
from bot.store.tables import notes, notices, small_changes, standings

T = TypeVar("T")
#: Returns a notice's new text and blocks, given the old ones and the IDs of all its monitors.
Join = Callable[[str, Sequence[Block], Collection[int]], tuple[str, list[Block]]]
EVENT = "ssl_notice"
_SOURCE = "notices source"
#: Begins the key of the note that a post was repeated although the first may not be lost.
_REPEAT = "repeat "
#: Rows written, and rows read, before the event loop gets a turn.
_ROWS_AT_ONCE = 500
_READ_AT_ONCE = 2000
#: Notices that could not be posted for this long are dropped: they are outdated.
_TOLD_WITHIN = timedelta(days=1)
_parents = notices.alias()
_claimed_at = notices.c.claimed_at  # in the future if the clock was set back since
#: Built once because they run often.
_BASIS = select(notes.c.value).where(notes.c.key == _SOURCE)
_UNPOSTED = (
    select(notices, _parents.c.ts.label("thread_ts"))
    .outerjoin(_parents, _parents.c.key == notices.c.thread)
    .where(
        notices.c.ts.is_(None),
        _claimed_at.is_(None)
        | (_claimed_at < bindparam("before"))
        | (_claimed_at > bindparam("after")),
        notices.c.at.is_(None) | (notices.c.at >= bindparam("young")),
        notices.c.thread.is_(None)
        | _parents.c.ts.is_not(None)
        | select(notes).where(notes.c.key == literal(_REPEAT) + notices.c.thread).exists(),
    )
    .order_by(notices.c.at, notices.c.key)
)


@dataclass(frozen=True, slots=True)
class SmallChange:
    """A change that the next digest only counts: `renewed`, `names`, `added` or `removed`.

    A key counts once.
    """

    key: str
    kind: str
    target: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for a channel; `claimed_at` is when a process last tried to post it.

    The key of its topic is never posted twice. If the topic follows up another one, the notice is
    posted in that thread, at `thread_ts`; if it adds monitors to that one, `join` returns that
    one's new text and blocks.
    """

    topic: Topic
    message: Message
    claimed_at: datetime | None = None
    thread_ts: str | None = None
    join: Join | None = None

    @classmethod
    def of(cls, topic: Topic, message: Message, join: Join | None = None) -> Self:
        """A notice with metadata by which its post can be found."""
        metadata = {"event_type": EVENT, "event_payload": {"key": topic.key}}
        return cls(topic, replace(message, metadata=metadata), join=join)

    @property
    def key(self) -> str:
        """The notice's key."""
        return self.topic.key

    @property
    def channel(self) -> str:
        """The channel that it is posted in."""
        return self.topic.channel


class Basis(msgspec.Struct, frozen=True):
    """The API and account that the standings belong to, and up to where its changes were read.

    `version` counts the stored comparisons. The last list had so many monitors that were
    `unreadable`. It is stored as JSON.
    """

    source: str
    version: int = 0
    cursor: str = ""
    unreadable: int = 0

    def then(self, cursor: str | None = None, unreadable: int | None = None) -> Self:
        """The basis of the next comparison; what is None stays as it is."""
        read = self.cursor if cursor is None else cursor
        lost = self.unreadable if unreadable is None else unreadable
        return type(self)(self.source, self.version + 1, read, lost)


@dataclass(slots=True)
class Standings:
    """The last standings, and the basis as it is `stored` (None: not at all).

    They are `known` once a list of this API and account was compared.
    """

    basis: Basis
    stored: str | None = None
    seen: dict[int, LastSeen] = field(default_factory=dict)
    known: bool = False


class NoticeStore:
    """Reads and writes the tables of notices."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last = Standings(Basis(""))

    async def standings(self, source: str) -> Standings:
        """The last standings for this API and account.

        They are cached, and read again after another process has stored a comparison.
        """
        async with self._database.quick_read(PATIENT_SECONDS) as connection:
            stored = await connection.scalar(_BASIS)
            basis = _basis(stored)
            if basis.source != source:
                return Standings(Basis(source, basis.version), stored)
            if stored != self._last.stored:
                seen = await _read_standings(connection)
                self._last = Standings(basis, stored, seen, known=True)
        return self._last

    async def compared(
        self,
        was: Standings,
        changed: Mapping[int, LastSeen],
        gone: Sequence[int],
        news: Sequence[Notice],
        *,
        small: Sequence[SmallChange],
        now: datetime,
        basis: Basis | None = None,
    ) -> bool:
        """Store what changed since `was`, and the notices about it, in one transaction.

        Returns False if another process has stored a comparison since.
        """
        basis = basis or was.basis.then()
        stored = msgspec.json.encode(basis).decode()
        async with self._database.quick_write(PATIENT_SECONDS) as connection:
            if not await self._replace_basis(connection, was.stored, stored):
                return False
            await self._keep_standings(connection, was, changed, gone)
            for each in news:
                await add(connection, notices, _row(each))
                if each.join is not None:
                    await self._join(connection, each.topic, each.join)
            await self._keep_small(connection, small, now)
        for number in gone:
            was.seen.pop(number, None)
        was.seen.update(changed)
        self._last = Standings(basis, stored, was.seen, known=True)
        return True

    async def tell(self, what: str, channel: str, card: Message, now: datetime) -> None:
        """Store a notice for a channel, once, that doesn't come from a comparison."""
        nobody: frozenset[Any] = frozenset()
        topic = Topic(f"{what} {channel}", channel, "", nobody, nobody, None, now)
        async with self._database.quick_write() as connection:
            await add(connection, notices, _row(Notice.of(topic, card)))

    async def _join(self, connection: AsyncConnection, topic: Topic, join: Join) -> None:
        """Add the topic's monitors to the notice that it follows up."""
        here = notices.c.key == topic.thread
        row = (await connection.execute(select(notices).where(here).with_for_update())).one()
        old, board = _topic(row), board_of(row).board
        members = old.members | topic.members
        text, blocks = join(board.text, board.blocks, members)
        board = msgspec.structs.replace(board, text=text, blocks=blocks, fixed=False)
        joined = _about(old.about | topic.about, members)
        stored = msgspec.json.encode(board).decode()
        new = {"board": stored, "version": row.version + 1, "fixed": False, **joined}
        await connection.execute(update(notices).where(here).values(new))

    async def _replace_basis(
        self, connection: AsyncConnection, before: str | None, after: str
    ) -> bool:
        """Replace the basis; False if it has changed. Until the commit, other processes wait."""
        if before is None:
            return await add(connection, notes, {"key": _SOURCE, "value": after})
        same = (notes.c.key == _SOURCE) & (notes.c.value == before)
        newer = update(notes).where(same).values(value=after)
        return bool((await connection.execute(newer)).rowcount)

    async def _keep_standings(
        self,
        connection: AsyncConnection,
        was: Standings,
        changed: Mapping[int, LastSeen],
        gone: Sequence[int],
    ) -> None:
        stale = [number for number in (*changed, *gone) if number in was.seen]
        if not was.known:
            await connection.execute(delete(standings))
        for numbers in _batched(stale):
            await connection.execute(delete(standings).where(standings.c.monitor_id.in_(numbers)))
        for numbers in _batched(gone):
            await forget(connection, numbers)
        for seen in _batched(list(changed.items())):
            rows = [{"monitor_id": id_, **msgspec.structs.asdict(each)} for id_, each in seen]
            await connection.execute(insert(standings), rows)

    async def _keep_small(
        self, connection: AsyncConnection, small: Sequence[SmallChange], now: datetime
    ) -> None:
        counted = [{**asdict(each), "at": now} for each in small]
        if counted:
            some = self._database.insert(small_changes).on_conflict_do_nothing()
            await connection.execute(some, counted)

    async def forget_source(self) -> None:
        """Make the next comparison the first one: nobody subscribes to what happens until then."""
        async with self._database.quick_write(PATIENT_SECONDS) as connection:
            await connection.execute(delete(notes).where(notes.c.key == _SOURCE))
            await connection.execute(delete(standings))

    async def topics(self, day: str, channel: str, source: str, since: datetime) -> list[Topic]:
        """The topics that a channel was told of on this day, or since then."""
        here = (notices.c.channel == channel) & (notices.c.kind != "")
        lately = notices.c.key.contains(f" {source} ") & (notices.c.at > since)
        query = select(notices).where(or_(notices.c.key.startswith(f"{day} "), lately), here)
        async with self._database.quick_read() as connection:
            rows = (await connection.execute(query)).all()
        return [_topic(row) for row in rows]

    async def channels(self) -> set[str]:
        """The channels that have had any notice lately."""
        async with self._database.quick_read() as connection:
            told = select(notices.c.channel).where(notices.c.kind != LIST).distinct()
            return set(await connection.scalars(told))

    async def unposted(self, now: datetime, lease: timedelta) -> list[Notice]:
        """The notices that are not posted, except those that a process is posting now.

        A follow-up waits until its parent is posted. One without a `thread_ts` is for the channel:
        nobody can find out where its parent stands.
        """
        times = {"before": now - lease, "after": now + lease, "young": now - _TOLD_WITHIN}
        async with self._database.quick_read() as connection:
            rows = (await connection.execute(_UNPOSTED, times)).all()
        return [
            Notice(
                _topic(row),
                msgspec.json.decode(row.message, type=Message),
                row.claimed_at,
                row.thread_ts,
            )
            for row in rows
        ]

    async def claim(self, notice: Notice, now: datetime) -> bool:
        """Claim a notice for posting; False if another process was faster."""
        same = notices.c.claimed_at == notice.claimed_at
        if notice.claimed_at is None:
            same = notices.c.claimed_at.is_(None)
        mine = (notices.c.key == notice.key) & notices.c.ts.is_(None) & same
        async with self._database.quick_write() as connection:
            statement = update(notices).where(mine).values(claimed_at=now)
            return bool((await connection.execute(statement)).rowcount)

    async def is_claimed(self, key: str, since: datetime) -> bool:
        """Whether the claim of this time still holds, and nothing was posted."""
        mine = and_(notices.c.key == key, notices.c.ts.is_(None), notices.c.claimed_at == since)
        async with self._database.quick_read() as connection:
            return await connection.scalar(select(notices.c.key).where(mine)) is not None

    async def posted(self, key: str, ts: str) -> str:
        """Record that Slack has a notice; returns the ts that counts, perhaps an earlier post's."""
        mine = (notices.c.key == key) & notices.c.ts.is_(None)
        async with self._database.quick_write() as connection:
            await connection.execute(update(notices).where(mine).values(ts=ts))
            known = await connection.scalar(select(notices.c.ts).where(notices.c.key == key))
        return known or ts

    async def may_repeat(self, key: str) -> bool:
        """Whether a notice that may have been lost may be repeated; True once."""
        async with self._database.quick_write() as connection:
            return await add(connection, notes, {"key": f"{_REPEAT}{key}", "value": "1"})

    async def give_back(self, notice: Notice, since: datetime) -> None:
        """Give up the claim of this time, so that the notice can be posted at once.

        The time of an earlier attempt is kept: that may have posted it, so it is looked up first.
        """
        mine = (notices.c.key == notice.key) & (notices.c.claimed_at == since)
        async with self._database.quick_write() as connection:
            free = update(notices).where(mine).values(claimed_at=notice.claimed_at)
            await connection.execute(free)


def _batched(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[at : at + _ROWS_AT_ONCE] for at in range(0, len(items), _ROWS_AT_ONCE))


def _basis(stored: str | None) -> Basis:
    """Read a stored basis; the first versions stored the source alone."""
    if stored is None or not stored.startswith("{"):
        return Basis(stored or "")
    return msgspec.json.decode(stored, type=Basis)


async def _read_standings(connection: AsyncConnection) -> dict[int, LastSeen]:
    query = select(
        standings.c.monitor_id,
        standings.c.rank,
        standings.c.issuer,
        type_coerce(standings.c.not_after, BigInteger),
        standings.c.target,
    )
    seen: dict[int, LastSeen] = {}
    result = await connection.stream(query)
    async for rows in result.partitions(_READ_AT_ONCE):
        for number, rank, issuer, end, target in rows:
            not_after = None if end is None else datetime.fromtimestamp(end, UTC)
            seen[number] = LastSeen(rank, issuer, not_after, target)
    # in a query of their own: few monitors have them, and reading them takes a fifth of the time
    flags = select(standings.c.monitor_id, standings.c.missing, standings.c.late)
    for number, missing, late in await connection.execute(
        flags.where(or_(standings.c.missing, standings.c.late))
    ):
        seen[number] = msgspec.structs.replace(seen[number], missing=missing, late=late)
    return seen


def _topic(row: Row[Any]) -> Topic:
    members = frozenset(msgspec.json.decode(row.members, type=list[int]))
    return Topic(
        row.key, row.channel, row.kind, frozenset(row.about.split()), members, row.thread, row.at
    )


def _row(each: Notice) -> dict[str, Any]:
    topic = each.topic
    return {
        "key": topic.key,
        "channel": topic.channel,
        "message": msgspec.json.encode(each.message).decode(),
        "at": topic.at,
        "kind": topic.kind,
        "thread": topic.thread,
        **_about(topic.about, topic.members),
    }


def _about(about: Collection[str], members: Collection[int]) -> dict[str, str]:
    stored = msgspec.json.encode(sorted(members)).decode()
    return {"about": " ".join(sorted(about)), "members": stored}
