"""`python -m bot check`, against the playground and the embedded API."""

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from bot.api.client import SSLMonitor
from bot.api.models import MonitorList
from bot.check import check
from bot.config import Secret
from bot.dates import DIGEST, NOTICES, Subscription
from bot.demo import Demo, running_demo
from bot.playground.faults import refusal

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

NOTHING: dict[str, str] = {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    async with running_demo() as running:
        yield running


async def lines(
    demo: Demo, environ: Mapping[str, str] = NOTHING, **changes: object
) -> tuple[int, str]:
    said: list[str] = []
    settings = replace(demo.settings, **changes)  # type: ignore[arg-type]
    faults = await check(settings, environ, said.append)
    return faults, "\n".join(said)


async def test_a_working_setup_has_no_faults(demo: Demo) -> None:
    faults, said = await lines(demo, slack_mode="socket", digest_all_clear="weekly")
    assert faults == 0
    assert "FAIL" not in said
    assert " UTC, daily, or weekly while all is clear." in said
    for what in ("Slack", "Scopes", "Requests", "Digest", "Database", "SSLmonitor", "Clock"):
        assert f"ok   {what}" in said


@pytest.mark.parametrize(
    ("changes", "faults", "words"),
    [
        (
            {"slack_bot_token": Secret("xoxb-wrong")}, 1,
            "FAIL Slack: Slack refuses SLACK_BOT_TOKEN: invalid_auth.",
        ),
        (
            {"slack_mode": "socket", "slack_app_token": Secret("xapp-wrong")}, 1,
            "FAIL Requests: Slack refuses SLACK_APP_TOKEN",
        ),
        ({"digest_channel": "G0SECRET"}, 1, "Invite"),
        (
            {"digest_channel": "C0PARTNERS"}, 0,
            "note Digest: #partners is shared with other organizations",
        ),
        ({"digest_channel": ""}, 0, "note Digest: DIGEST_CHANNEL is not set"),
        (
            {"api_url": "http://127.0.0.1:1/api/v1"}, 1,
            "FAIL SSLmonitor: http://127.0.0.1:1/api/v1 does not work",
        ),
        ({"database_url": "sqlite:////nowhere/at/all.sqlite3"}, 1, "FAIL Database"),
    ],
    ids=["bot token", "app token", "private", "shared", "no digest", "no API", "no database"],
)  # fmt: skip
async def test_what_does_not_work_or_is_off_is_named(
    changes: dict[str, object], faults: int, words: str, demo: Demo, no_waiting: list[float]
) -> None:
    found, said = await lines(demo, NOTHING, **changes)
    assert found == faults
    assert words in said


async def test_a_database_of_another_program_is_named_with_its_remedy_once(
    demo: Demo, tmp_path: Path
) -> None:
    file = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(file)) as other:
        other.executescript("CREATE TABLE alembic_version (version_num TEXT)")
        other.executescript("INSERT INTO alembic_version VALUES ('ffff')")
    faults, said = await lines(demo, database_url=f"sqlite:///{file}")
    told = next(line for line in said.splitlines() if line.startswith("FAIL Database: "))
    assert (faults, told.count("DATABASE_URL"), told[-1]) == (1, 1, ".")


async def test_check_says_where_nobody_would_be_mentioned(demo: Demo) -> None:
    assert "note Notices: nobody is mentioned in C0CERTS when a host" in (await lines(demo))[1]
    assert (
        "ok   Notices: new breakages mention U0BEN in C0"
        in (await lines(demo, notice_mention="U0BEN"))[1]
    )
    ben = demo.playground.workspace.users["U0BEN"]
    for unknown in ("U0GONE", "S0GONE", ben.id):
        ben.is_deactivated = unknown == ben.id
        faults, said = await lines(demo, notice_mention=unknown)
        told = "FAIL Notices: nobody is mentioned in C0CERTS when a host breaks: "
        gone = f"{told}{unknown} is deactivated or doesn't exist. Set NOTICE_MENTION, or type"
        assert (faults, gone in said) == (1, True)
    ben.is_deactivated = False
    off = await lines(demo, notice_mention="U0BEN", notice_interval=timedelta())
    assert "note Notices: NOTICE_INTERVAL is 0, so nobody is told" in off[1]
    alone = await lines(demo, notice_mention="U0BEN", digest_channel="")
    assert "note Notices: no channel gets notices, so nobody is told" in alone[1]

    known = demo.bot.records.subscriptions
    here, until = Subscription(NOTICES, "C0GENERAL"), datetime(2099, 1, 2, 3, 4, tzinfo=UTC)
    await known.put(here)
    said = (await lines(demo, notice_mention="U0BEN"))[1]
    assert "ok   Notices: new breakages mention U0BEN in C0CERTS." in said
    assert "note Notices: nobody is mentioned in C0GENERAL when a host breaks." in said
    off = await lines(demo, notice_mention="U0BEN", notice_interval=timedelta())
    assert off[1].count("Notices: ") == off[1].count("Notices: NOTICE_INTERVAL is 0") == 1
    await known.put(msgspec.structs.replace(here, mention="U0BEN", paused_until=until))
    paused = "note Notices: notices are paused in C0GENERAL until 2099-01-02 03:04 UTC."
    assert paused in (await lines(demo, notice_mention="U0BEN"))[1]
    await known.put(msgspec.structs.replace(here, off=True))


async def test_an_admin_who_is_gone_is_a_fault(demo: Demo) -> None:
    assert (await lines(demo, admins=frozenset({"U0BEN"})))[0] == 0
    faults, said = await lines(demo, admins=frozenset({"U0BEN", "U0GONE", "S0GONE"}))
    told = "is deactivated or doesn't exist. Correct SSL_ADMINS."
    gone = [f"FAIL Admins: {each} {told}" for each in ("S0GONE", "U0GONE")]
    assert (faults, [each in said for each in gone]) == (2, [True, True])
    demo.playground.workspace.faults.add("users.info", refusal("missing_scope"))
    faults, said = await lines(demo, admins=frozenset({"U0BEN"}))
    unknown = "note Admins: could not check that U0BEN exists (missing_scope)."
    assert (faults, [line for line in said.splitlines() if "Admins" in line]) == (0, [unknown])


async def test_a_channel_that_takes_no_post_is_a_fault_until_off(demo: Demo) -> None:
    known, here = demo.bot.records.subscriptions, Subscription(DIGEST, "C0GENERAL")
    await known.put(here)
    channel = demo.playground.workspace.channels["C0GENERAL"]
    channel.is_archived = True
    try:
        faults, said = await lines(demo)
        assert faults == 1
        off = "or type /ssl digest off C0GENERAL."
        assert f"FAIL Digest: #general is archived. Unarchive it, {off}" in said
        await known.put(msgspec.structs.replace(here, off=True))
        assert (await lines(demo))[0] == 0
    finally:
        channel.is_archived = False
        await known.put(msgspec.structs.replace(here, off=True))


async def test_unreadable_rows_are_a_fault(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    async def two_lost(_: SSLMonitor) -> MonitorList:
        return MonitorList([], unreadable=2)

    monkeypatch.setattr(SSLMonitor, "list", two_lost)
    faults, said = await lines(demo)
    assert faults == 1
    assert "FAIL Monitors: 2 monitors can't be read. Until all can, notices may be missing." in said


async def test_a_wrong_api_key_is_named_and_not_repeated(demo: Demo) -> None:
    faults, said = await lines(demo, api_key=Secret("wrong-key-0815"))
    assert faults == 1
    assert "FAIL SSLmonitor" in said
    assert "wrong-key-0815" not in said


async def test_what_is_set_is_listed_without_secrets_and_a_typo_is_a_fault(demo: Demo) -> None:
    environ = {"SECRET_KEY_FILE": "/run/key", "DIGEST_TIME": "08:00", "DIGEST_CHANEL": "C0CERTS"}
    faults, said = await lines(demo, environ)
    assert faults == 1
    assert "note SECRET_KEY_FILE: is set." in said
    assert "note DIGEST_TIME: 08:00" in said
    assert "FAIL Settings: DIGEST_CHANEL is not a setting; did you mean DIGEST_CHANNEL?" in said
    assert "/run/key" not in said
