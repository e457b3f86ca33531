"""Messages that say that work is in progress, recorded so that none outlives its process.

A record that no process renews belongs to one that has died; another process then edits the
message. Recording is best effort: only the first record is waited for, and only briefly.
"""

import asyncio
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import bindparam, delete, select, update

from bot.blocks import Address
from bot.store.database import QUICK_SECONDS, SOON_SECONDS, Database, best_effort, put
from bot.store.tables import notes

#: A process renews its records this often; those not renewed for LEASE_SECONDS have lost theirs.
SIGN_SECONDS, LEASE_SECONDS = 5.0, 20.0
#: The most records that one process keeps at a time.
MOST = 200
_KEY = "placeholder "
_FORGET = delete(notes).where(notes.c.key == bindparam("key"))
_LEFT = select(notes.c.key, notes.c.value).where(notes.c.key.startswith(_KEY))
#: Instead of a modal's ID: the user's Home.
HOME = "home"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A message that stands where an answer will be; its first block has its `id`.

    `address` is None if only the asker sees it; its `ts` is empty until Slack has the message, and
    of a modal it is the view's ID, or HOME. While it is `answering`, the answer may have replaced
    it.
    """

    id: str
    address: Address | None
    channel: str
    user: str
    since: datetime
    doing: str
    changes: bool
    answering: bool = False


class Record:
    """The record of one placeholder, kept by the process that works on the answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._news = asyncio.Event()
        self._tried = asyncio.Event()
        self._wanted: Placeholder | None = None
        self.key = ""
        """The name of what is stored, if anything is."""
        self._over = False

    def put(self, placeholder: Placeholder) -> None:
        """Record this, and renew it until the record is closed."""
        self._wanted = placeholder
        self._news.set()

    def skip(self) -> None:
        """Let nobody wait for it: it won't be written."""
        self._tried.set()

    async def begun(self) -> None:
        """Wait until it is written for the first time, if that is soon."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SOON_SECONDS):
                await self._tried.wait()

    def close(self, *, answered: bool) -> None:
        """Renew it no longer; delete it if the answer has replaced the message."""
        if not self._over:
            self._wanted = None if answered else self._wanted
            self._over = True
            self._news.set()

    async def follow(self) -> None:
        """Write what is wanted, until the record is closed."""
        while True:
            self._news.clear()
            last, wanted = self._over, self._wanted
            with best_effort("record a progress message"):
                await self._write(wanted)
                if last:
                    return
            self._tried.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(SIGN_SECONDS):
                    await self._news.wait()

    async def _write(self, wanted: Placeholder | None) -> None:
        if wanted is not None:
            self.key = _KEY + wanted.id
            row = {"key": self.key, "value": _value(wanted)}
            async with self._database.quick_write() as connection:
                await put(connection, notes, row)
        elif self.key:
            async with self._database.quick_write() as connection:
                await connection.execute(_FORGET, {"key": self.key})


class Placeholders:
    """The records of this process, and those that other processes have left behind."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mine: dict[asyncio.Task[None], Record] = {}
        self._seen: dict[str, tuple[str, float]] = {}

    def record(self) -> Record:
        """A new record; with MOST of them already, it isn't written."""
        record = Record(self._database)
        if len(self._mine) < MOST:
            task = asyncio.create_task(record.follow())
            self._mine[task] = record
            task.add_done_callback(self._mine.pop)
        else:
            record.skip()
        return record

    async def left(self) -> list[Placeholder]:
        """Claim the placeholders whose process gave no sign of life for LEASE_SECONDS.

        No clocks are compared: this process itself must have seen the same value for so long. While
        it can't read, it doesn't see.
        """
        before, self._seen = self._seen, {}
        async with self._database.quick_read() as connection:
            rows = (await connection.execute(_LEFT)).all()
        now, mine = asyncio.get_running_loop().time(), {each.key for each in self._mine.values()}
        for key, value in rows:
            if key not in mine:
                known, at = before.get(key, ("", now))
                self._seen[key] = (value, at if known == value else now)
        old = [key for key, (_, at) in self._seen.items() if now - at >= LEASE_SECONDS]
        claimed = [await self._claim(key) for key in old]
        return [each for each in claimed if each is not None]

    async def _claim(self, key: str) -> Placeholder | None:
        """Renew what another process has left; None if a third one was faster."""
        value = self._seen.pop(key)[0]
        found = msgspec.json.decode(value.partition(" ")[2], type=Placeholder)
        same = update(notes).where(notes.c.key == key, notes.c.value == value)
        async with self._database.quick_write() as connection:
            claimed = (await connection.execute(same.values(value=_value(found)))).rowcount
        return found if claimed else None

    async def forget(self, placeholder: Placeholder) -> None:
        """Delete a record: the message is edited, or can't be."""
        async with self._database.quick_write() as connection:
            await connection.execute(_FORGET, {"key": _KEY + placeholder.id})

    async def close(self) -> None:
        """Give what is left to record a moment."""
        for record in self._mine.values():
            record.close(answered=False)
        if self._mine:
            _, late = await asyncio.wait(self._mine, timeout=QUICK_SECONDS)
            for task in late:
                task.cancel()


def _value(placeholder: Placeholder) -> str:
    """The placeholder as JSON, after a word that is new each time."""
    return f"{uuid.uuid4().hex} {msgspec.json.encode(placeholder).decode()}"
