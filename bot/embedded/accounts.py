"""Who may use the API: the environment's key, and keys of the database, stored as hashes."""

from __future__ import annotations

import argparse
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, insert, select, update

from bot.embedded.schedule import next_scan
from bot.store.database import Database
from bot.store.tables import accounts, monitors
from bot.target import Target

FIRST = 1
"""The account of the environment's key; monitors that were there before accounts are its own."""
MONITOR_LIMIT = 100_000
_NEVER = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """Whom a key belongs to, and how many monitors it may hold."""

    id: int
    limit: int


def _hash(key: str) -> str:
    # A plain hash is enough: keys are made here, of 256 random bits, and can't be guessed at.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _new_key() -> str:
    return f"sslm_{secrets.token_urlsafe(32)}"


class Accounts:
    """The keys. `key` is the environment's, `limit` what an account holds that has none of its own.

    Without a `key` account 1 has none.
    """

    def __init__(self, database: Database, key: str = "", limit: int = MONITOR_LIMIT) -> None:
        self._database = database
        self._first = _hash(key) if key else ""
        self._limit = limit

    async def find(self, key: str) -> StoredAccount | None:
        """The account of a key; None for one that is unknown or revoked."""
        given = _hash(key)
        if hmac.compare_digest(given, self._first):
            return StoredAccount(FIRST, self._limit)
        query = select(accounts.c.id, accounts.c.most_monitors).where(
            accounts.c.key_hash == given, accounts.c.revoked_at.is_(None)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return row and StoredAccount(row.id, row.most_monitors or self._limit)

    async def add(self, name: str, limit: int | None, now: datetime) -> tuple[int, str]:
        """Make an account: its number, and its key, which is kept nowhere."""
        key = _new_key()
        row = {
            "name": name[:100],
            "key_hash": _hash(key),
            "most_monitors": limit,
            "created_at": now,
        }
        async with self._database.write() as connection:
            done = await connection.execute(insert(accounts).values(row).returning(accounts.c.id))
            return int(done.scalar_one()), key

    async def revoke(self, id_: int, now: datetime) -> bool:
        """End an account's key; its monitors stay, unscanned. False when there is no such key."""
        alive = (
            (accounts.c.id == id_)
            & accounts.c.key_hash.is_not(None)
            & accounts.c.revoked_at.is_(None)
        )
        async with self._database.write() as connection:
            done = await connection.execute(update(accounts).where(alive).values(revoked_at=now))
            if done.rowcount:
                mine = update(monitors).where(monitors.c.account_id == id_)
                # Without its lease a scan under way is not stored, and sets no next turn.
                await connection.execute(mine.values(lease=None, next_scan_at=now + _NEVER))
            return done.rowcount > 0

    async def renew(
        self, id_: int, limit: int | None, interval: timedelta, now: datetime
    ) -> str | None:
        """Give an account whose key was revoked another; None where there is no such account.

        Its monitors are due again, each at its turn in the `interval`. Without a `limit` the
        account keeps its own.
        """
        key = _new_key()
        resting = (accounts.c.id == id_) & accounts.c.revoked_at.is_not(None)
        waking = (
            update(accounts)
            .where(resting)
            .values(
                key_hash=_hash(key),
                revoked_at=None,
                most_monitors=func.coalesce(limit, accounts.c.most_monitors),
            )
        )
        async with self._database.write() as connection:
            if not (await connection.execute(waking)).rowcount:
                return None
            query = select(monitors.c.id, monitors.c.host, monitors.c.port)
            mine = await connection.execute(
                query.where(monitors.c.account_id == id_).order_by(monitors.c.id)
            )
            turns = [
                {"of_id": row.id, "turn": next_scan(Target(row.host, row.port), now, interval)}
                for row in mine
            ]
            if turns:
                one = update(monitors).where(monitors.c.id == bindparam("of_id"))
                await connection.execute(one.values(next_scan_at=bindparam("turn")), turns)
        return key

    async def lines(self) -> list[str]:
        """All accounts, a line each, for the operator."""
        used = (
            select(monitors.c.account_id, func.count().label("used"))
            .group_by(monitors.c.account_id)
            .subquery()
        )
        query = (
            select(accounts, func.coalesce(used.c.used, 0).label("used"))
            .outerjoin(used, used.c.account_id == accounts.c.id)
            .order_by(accounts.c.id)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            f"{row.id}  {row.name}  {row.used} of {row.most_monitors or self._limit} monitors"
            + (f"  revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else "")
            for row in rows
        ]


async def manage_keys(
    accounts: Accounts,
    given: argparse.Namespace,
    *,
    scan_interval: timedelta,
    now: datetime,
    say: Callable[[str], None],
) -> int:
    """Add, list or revoke keys, as the command line says; returns the exit code."""
    if given.action == "add" and given.account is not None:
        key = await accounts.renew(given.account, given.limit, scan_interval, now)
        if key is None:
            say(f"There is no account {given.account} whose key was revoked.")
            return 1
        say(f"Account {given.account} has this new key. It is shown this once:\n{key}")
        say("Its monitors are scanned again, each at its turn in SCAN_INTERVAL.")
    elif given.action == "add":
        id_, key = await accounts.add(given.name, given.limit, now)
        say(f"Account {id_} has this key. It is shown this once:\n{key}")
    elif given.action == "revoke":
        if not await accounts.revoke(given.id, now):
            say(f"There is no account {given.id} with a key that could be revoked.")
            return 1
        say(f"The key of account {given.id} is revoked. Its monitors rest.")
    else:
        for line in await accounts.lines():
            say(line)
    return 0
