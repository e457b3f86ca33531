"""Who may use the API: the environment's key, and further keys, stored as hashes.

Also their command line: `python -m bot embedded keys`.
"""

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
"""The account of the environment's key; it also owns the monitors that predate accounts."""
MONITOR_LIMIT = 100_000
#: What a limited key can be for, and the only endpoint that it may use.
ONLY = {"expect": "monitor/expect"}
_NEVER = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """A key's account, that account's monitor limit, and what the key is limited to.

    `only` is a key of ONLY, or empty for an unlimited key. `key` is the key's own ID.
    """

    id: int
    limit: int
    key: int
    only: str = ""


def _hash(key: str) -> str:
    # A plain hash is enough: keys have 256 random bits and can't be guessed.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _new_key() -> str:
    return f"sslm_{secrets.token_urlsafe(32)}"


class Accounts:
    """The accounts and their keys.

    `key` is the environment's; without it, account 1 has no key. `limit` is the monitor limit of
    accounts without one of their own.
    """

    def __init__(self, database: Database, key: str = "", limit: int = MONITOR_LIMIT) -> None:
        self._database = database
        self._first_hash = _hash(key) if key else ""
        self._limit = limit

    async def find(self, key: str) -> StoredAccount | None:
        """The account of a key; None if the key is unknown or revoked."""
        key_hash = _hash(key)
        if hmac.compare_digest(key_hash, self._first_hash):
            return StoredAccount(FIRST, self._limit, FIRST)
        owner = accounts.alias()
        query = (
            select(accounts)
            .outerjoin(owner, owner.c.id == accounts.c.owner_id)
            .where(
                accounts.c.key_hash == key_hash,
                accounts.c.revoked_at.is_(None),
                owner.c.revoked_at.is_(None),
            )
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        limit = row.most_monitors or self._limit
        return StoredAccount(row.owner_id or row.id, limit, row.id, row.only or "")

    async def add(
        self, name: str, limit: int | None, now: datetime, *, only: str = "", owner: int = FIRST
    ) -> tuple[int, str]:
        """Add an account, and return its ID and its key, which is not stored anywhere.

        With `only`, add a limited key of the account `owner` instead.
        """
        key = _new_key()
        row = {
            "name": name[:100],
            "key_hash": _hash(key),
            "most_monitors": limit,
            "created_at": now,
            "only": only or None,
            "owner_id": owner if only else None,
        }
        async with self._database.write() as connection:
            id_ = await connection.scalar(insert(accounts).values(row).returning(accounts.c.id))
            return int(id_), key

    async def revoke(self, id_: int, now: datetime) -> bool:
        """Revoke an account's key; its monitors stay, but unscanned. False if it has no key."""
        active = (
            (accounts.c.id == id_)
            & accounts.c.key_hash.is_not(None)
            & accounts.c.revoked_at.is_(None)
        )
        async with self._database.write() as connection:
            done = await connection.execute(update(accounts).where(active).values(revoked_at=now))
            if done.rowcount:
                own = update(monitors).where(monitors.c.account_id == id_)
                # Without its lease, a running scan is neither stored nor rescheduled.
                await connection.execute(own.values(lease=None, next_scan_at=now + _NEVER))
            return done.rowcount > 0

    async def renew(
        self, id_: int, limit: int | None, interval: timedelta, now: datetime
    ) -> str | None:
        """Give an account a new key after a revocation; None if there is no such account.

        Its monitors are scanned again, each at its slot in the `interval`. Without a `limit` the
        account keeps its old one.
        """
        key = _new_key()
        revoked = (accounts.c.id == id_) & accounts.c.revoked_at.is_not(None)
        renewal = (
            update(accounts)
            .where(revoked)
            .values(
                key_hash=_hash(key),
                revoked_at=None,
                most_monitors=func.coalesce(limit, accounts.c.most_monitors),
            )
        )
        async with self._database.write() as connection:
            if not (await connection.execute(renewal)).rowcount:
                return None
            query = select(monitors.c.id, monitors.c.host, monitors.c.port)
            rows = await connection.execute(
                query.where(monitors.c.account_id == id_).order_by(monitors.c.id)
            )
            slots = [
                {"of_id": row.id, "slot": next_scan(Target(row.host, row.port), now, interval)}
                for row in rows
            ]
            if slots:
                each = update(monitors).where(monitors.c.id == bindparam("of_id"))
                await connection.execute(each.values(next_scan_at=bindparam("slot")), slots)
        return key

    async def owns_monitors(self, id_: int) -> bool:
        """Whether the ID is an account's, and not a limited key's or unknown."""
        query = select(accounts.c.id).where(accounts.c.id == id_, accounts.c.only.is_(None))
        async with self._database.read() as connection:
            return id_ == FIRST or await connection.scalar(query) is not None

    async def lines(self) -> list[str]:
        """One line for each account, for the operator."""
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
            f"{row.id}  {row.name}  "
            + (
                f"only {row.only}, account {row.owner_id}"
                if row.only
                else f"{row.used} of {row.most_monitors or self._limit} monitors"
            )
            + (f"  revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else "")
            for row in rows
        ]


async def manage_keys(
    accounts: Accounts,
    options: argparse.Namespace,
    *,
    scan_interval: timedelta,
    now: datetime,
    say: Callable[[str], None],
) -> int:
    """Add, list or revoke keys as the command line says; returns the exit code."""
    if options.action == "add" and options.only:
        return await _add_limited(accounts, options, now, say)
    if options.action == "add" and options.account is not None:
        key = await accounts.renew(options.account, options.limit, scan_interval, now)
        if key is None:
            say(f"There is no account {options.account} with a revoked key.")
            return 1
        say(f"Account {options.account} has a new key, shown only this once:\n{key}")
        if await accounts.owns_monitors(options.account):
            say("Its monitors will be scanned again within one SCAN_INTERVAL.")
    elif options.action == "add":
        id_, key = await accounts.add(options.name, options.limit, now)
        say(f"Account {id_} has this key, shown only this once:\n{key}")
    elif options.action == "revoke":
        if not await accounts.revoke(options.id, now):
            say(f"There is no account {options.id} with a key that could be revoked.")
            return 1
        scanned = await accounts.owns_monitors(options.id)
        ending = " Its monitors are no longer scanned." if scanned else ""
        say(f"Revoked the key of account {options.id}.{ending}")
    else:
        for line in await accounts.lines():
            say(line)
    return 0


async def _add_limited(
    accounts: Accounts, options: argparse.Namespace, now: datetime, say: Callable[[str], None]
) -> int:
    """Add a limited key; returns the exit code."""
    if options.account is not None or options.limit is not None:
        say("With --only, give a name and no --limit; --of gives the account's ID.")
        return 1
    if not await accounts.owns_monitors(options.of):
        say(f"There is no account {options.of}.")
        return 1
    id_, key = await accounts.add(options.name, None, now, only=options.only, owner=options.of)
    say(f"Key {id_} is good for {ONLY[options.only]} of account {options.of} only.")
    say(f"It is shown only this once:\n{key}")
    return 0
