import re
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from bot.__main__ import main
from bot.embedded import Accounts
from bot.embedded.leases import LeaseResult, Leases
from bot.embedded.monitors import Monitors
from bot.embedded.scan.result import Scan
from bot.embedded.scan.verdict import Verdict
from bot.store.database import Database
from bot.store.tables import accounts, monitors

from .fleet import DAY, HOUR, NOW, Fleet
from .serving import KEY, Answer, Served, serving
from .test_leases import add_monitors
from .test_routes import NOBODY, refused

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def served(fleet: Fleet, any_database: Database) -> AsyncIterator[Served]:
    async with serving(fleet, any_database, limit=3) as served:
        yield served


async def call(served: Served, key: str, endpoint: str, **params: str) -> Answer:
    headers = {"Authorization": f"Bearer {key}"}
    return await served.ask("GET", f"{served.api.url}/{endpoint}", params=params, headers=headers)


async def test_each_key_sees_only_its_own_monitors(served: Served, any_database: Database) -> None:
    id_, other = await Accounts(any_database).add("Ann", None, NOW)
    assert id_ == 2
    await call(served, KEY, "monitor/add", host=NOBODY, port="443")
    added = await call(served, other, "monitor/add", host=NOBODY, port="443")
    assert (added.status, added.body["monitor"]["id"]) == (200, 2)
    for _ in range(2):  # each also sees that the other's requests changed nothing
        for key, own, foreign in ((KEY, "1", "2"), (other, "2", "1")):
            rows = (await call(served, key, "monitor/list")).body["list"]
            assert [str(row["id"]) for row in rows] == [own]
            monitor = (await call(served, key, "monitor/get", id=own)).body["monitor"]
            assert monitor["scan_date"] == "2027-01-15 12:00"
            for endpoint in ("get", "scan", "history", "delete"):
                replies = [await call(served, key, f"monitor/{endpoint}", id=foreign)]
                replies.append(await call(served, key, f"monitor/{endpoint}", id="99"))
                assert {refused(reply, 404) for reply in replies} == {"monitor not found"}
            assert (await call(served, key, "account")).body["id"] == int(own)
            assert (await call(served, key, "ping")).body["apikey_id"] == int(own)


async def test_each_account_has_its_own_limit(served: Served, any_database: Database) -> None:
    _, small = await Accounts(any_database).add("Ann", 1, NOW)
    _, usual = await Accounts(any_database).add("Bob", None, NOW)
    await call(served, small, "monitor/add", host=NOBODY, port="443")
    refused(await call(served, small, "monitor/add", host=NOBODY, port="444"), 403)
    assert (await call(served, small, "account")).body["monitor_limit"] == 1
    assert (await call(served, usual, "account")).body["monitor_limit"] == 3
    assert (await call(served, usual, "account")).body["monitor_used"] == 0


async def test_a_revoked_key_stops_working_at_once_and_its_monitors_are_no_longer_scanned(
    served: Served, any_database: Database
) -> None:
    store = Accounts(any_database)
    id_, key = await store.add("Ann", None, NOW)
    await call(served, key, "monitor/add", host=NOBODY, port="443")
    assert await store.revoke(id_, NOW)
    assert not await store.revoke(id_, NOW)
    refused(await call(served, key, "ping"), 401)
    served.now += 100 * HOUR
    assert not await served.api.sweep.once()
    assert (await call(served, KEY, "ping")).body["sweep"]["due"] == 0
    async with any_database.read() as connection:
        assert await connection.scalar(select(monitors.c.account_id)) == id_


async def test_a_scan_reschedules_nothing_of_a_revoked_account(any_database: Database) -> None:
    store, leases = Accounts(any_database), Leases(any_database, DAY / 2, "w")
    id_, _ = await store.add("Ann", None, NOW)
    await add_monitors(any_database, 1, account_id=id_)
    (lease,) = await leases.lease_due(NOW, 9)
    assert await store.revoke(id_, NOW)
    await leases.renew([lease.id], NOW)
    await leases.save([LeaseResult(lease, Scan(NOW, Verdict.REFUSED, "refused"))])
    assert (await Monitors(any_database, DAY).progress(NOW + 100 * DAY)).due == 0


async def test_a_new_key_for_a_revoked_account_brings_back_its_monitors_spread_over_the_interval(
    served: Served, any_database: Database
) -> None:
    store = Accounts(any_database)
    id_, old = await store.add("Ann", 500, NOW)
    await add_monitors(any_database, 200, account_id=id_)
    await store.revoke(id_, NOW)
    new = await store.renew(id_, None, DAY / 2, NOW)
    assert new is not None
    refused(await call(served, old, "ping"), 401)
    account = (await call(served, new, "account")).body
    assert (account["id"], account["monitor_limit"], account["monitor_used"]) == (id_, 500, 200)
    progress = Monitors(any_database, DAY / 2).progress
    due = [(await progress(NOW + part * DAY / 8)).due for part in range(6)]
    assert due[0] == 0
    assert all(20 < after - before < 80 for before, after in pairwise(due[:5]))
    assert due[5] == 200


async def test_only_a_revoked_account_gets_a_new_key(any_database: Database) -> None:
    store = Accounts(any_database)
    active, key = await store.add("Ann", None, NOW)
    for id_ in (1, active, 77):
        assert await store.renew(id_, None, DAY, NOW) is None
    assert await store.find(key)


async def test_the_environments_key_cannot_be_revoked(any_database: Database) -> None:
    assert not await Accounts(any_database).revoke(1, NOW)


async def test_keys_are_stored_as_hashes_only(any_database: Database) -> None:
    _, key = await Accounts(any_database).add("Ann", None, NOW)
    async with any_database.read() as connection:
        stored = (await connection.execute(select(accounts))).all()
    assert key not in str(stored)


def test_the_command_line_adds_lists_and_revokes_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/keys.sqlite3")
    keys = ["embedded", "keys"]
    assert main([*keys, "add", "Ann", "--limit", "7"]) == 0
    first = capsys.readouterr().out
    assert re.search(r"Account 2 .*\nsslm_[\w-]{43}\n", first)
    assert main([*keys, "list"]) == 0
    listed = capsys.readouterr().out
    assert "2  Ann  0 of 7 monitors\n" in listed
    assert "sslm_" not in listed
    assert main([*keys, "revoke", "2"]) == 0
    assert main([*keys, "revoke", "2"]) == 1
    assert "no account 2" in capsys.readouterr().out
    main([*keys, "list"])
    assert "revoked" in capsys.readouterr().out
    assert main([*keys, "add", "--account", "2"]) == 0
    second = capsys.readouterr().out
    assert re.search(r"Account 2 .*\nsslm_[\w-]{43}\n", second)
    assert second.splitlines()[1] not in first
    assert main([*keys, "add", "--account", "2"]) == 1
    assert "no account 2 with a revoked key" in capsys.readouterr().out
    main([*keys, "list"])
    assert "2  Ann  0 of 7 monitors\n" in capsys.readouterr().out
    main([*keys, "revoke", "2"])
    main([*keys, "add", "--account", "2", "--limit", "9"])
    main([*keys, "list"])
    assert "2  Ann  0 of 9 monitors\n" in capsys.readouterr().out
    for invalid in (["Bob", "--limit", "0"], [], ["Bob", "--account", "2"]):
        with pytest.raises(SystemExit):
            main([*keys, "add", *invalid])


def test_the_command_line_makes_keys_that_only_announce_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/keys.sqlite3")
    keys = ["embedded", "keys"]
    assert main([*keys, "add", "web1", "--only", "expect"]) == 0
    made = capsys.readouterr().out
    assert re.search(r"monitor/expect of account 1 only\..*\nsslm_[\w-]{43}\n", made, re.DOTALL)
    main([*keys, "add", "Ann"])
    assert main([*keys, "add", "web2", "--only", "expect", "--of", "3"]) == 0
    capsys.readouterr()
    main([*keys, "list"])
    listed = capsys.readouterr().out
    assert "2  web1  only expect, account 1\n" in listed
    assert "4  web2  only expect, account 3\n" in listed
    for other in ("2", "9"):  # a limited key has no monitors, and nobody is account 9
        assert main([*keys, "add", "web3", "--only", "expect", "--of", other]) == 1
        assert f"There is no account {other}." in capsys.readouterr().out
    assert main([*keys, "revoke", "2"]) == 0
    assert "scanned" not in capsys.readouterr().out
    for full in (["--account", "2"], ["web4", "--limit", "5"]):
        assert main([*keys, "add", *full, "--only", "expect"]) == 1
    capsys.readouterr()
    assert main([*keys, "add", "--account", "2"]) == 0
    assert "scanned" not in capsys.readouterr().out
    main([*keys, "list"])
    assert "2  web1  only expect, account 1\n" in capsys.readouterr().out
