"""`python -m bot embedded keys`: add, list and revoke the embedded API's keys."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime, timedelta

from bot.embedded.accounts import Accounts


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
