"""The programs as processes: how they start, fail to start, and end."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession

import bot
from bot import __version__
from bot.__main__ import main
from bot.app import clock
from bot.config import SETTINGS
from bot.demo import running_demo
from bot.playground.faults import refusal
from bot.playground.objects import ANN, CERTS
from bot.store.database import Database
from bot.store.digests import DigestStore
from tests.stub_api import KEY
from tests.world import World, environment, new_world, words

pytestmark = pytest.mark.slow

ROOT = Path(bot.__file__).parent.parent
PROMPTLY = 5.0


@asynccontextmanager
async def process(*arguments: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m bot …`, killed at the end if it is still there."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", *arguments,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "default", **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def log_until(running: asyncio.subprocess.Process, wanted: str) -> re.Match[str]:
    """Read the log until a line that matches; fails with what was read."""
    assert running.stderr is not None
    read: list[str] = []
    async with asyncio.timeout(15):
        async for line in running.stderr:
            read.append(line.decode())
            if found := re.search(wanted, read[-1]):
                return found
    raise AssertionError("".join(read))


@asynccontextmanager
async def bot_process(
    world: World, file: Path, **environ: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A bot of its own process in this world, ready."""
    told = environment(world.playground, world.mode, file)
    api = {"SSLMONITOR_API_URL": world.api.url, "SSLMONITOR_API_KEY": KEY}
    async with process("run", **told, **api, **environ) as running:
        ready = await log_until(running, r"ready \(\w+ mode, port (\d+)\)")
        if world.mode == "http":
            world.playground.events_url = f"http://127.0.0.1:{ready[1]}/slack/events"
        yield running


@dataclass
class Silent:
    """A server that takes connections, and says nothing; `asked` is set at the first."""

    port: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def say_nothing(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.set()
        await self.over.wait()
        writer.close()


@asynccontextmanager
async def silent_server() -> AsyncIterator[Silent]:
    """A silent server on loopback."""
    silent = Silent()
    server = await asyncio.start_server(silent.say_nothing, "127.0.0.1", 0)
    silent.port = server.sockets[0].getsockname()[1]
    try:
        yield silent
    finally:
        silent.over.set()
        server.close()
        await server.wait_closed()


async def ended(running: asyncio.subprocess.Process, number: signal.Signals) -> tuple[int, str]:
    """Send a signal; gives the exit code and the rest of the log. Raises TimeoutError."""
    running.send_signal(number)
    async with asyncio.timeout(PROMPTLY):
        _, log = await running.communicate()
    assert running.returncode is not None
    return running.returncode, log.decode()


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_at_the_end_whoever_waits_is_told_to_ask_again(
    mode: str, tmp_path: Path, empty_database: Path
) -> None:
    async with new_world(tmp_path, empty_database, mode=mode, bots=0) as world:
        world.api.watch("api.demo.test")
        scanning = world.api.hold("monitor/scan")
        async with bot_process(world, tmp_path / "bot.sqlite3") as running:
            await world.say("/ssl scan 101")
            await scanning.reached.wait()
            listing = world.api.hold("monitor/list")
            await world.say("/ssl list")
            await listing.reached.wait()

            code, log = await ended(running, signal.SIGTERM)

        told = [
            m for m in world.seen() if "The bot is restarting. Try again in a minute." in words(m)
        ]
        assert [m.ephemeral_for for m in told] == [None, ANN]
        assert "⏳" not in "".join(map(words, world.seen()))
        assert (code, "Traceback" in log, "Warning" in log) == (0, False, False)


async def test_a_slack_that_falls_silent_does_not_hold_up_the_end(
    tmp_path: Path, empty_database: Path
) -> None:
    async with new_world(tmp_path, empty_database, bots=0) as world:
        held = world.api.hold("monitor/list")
        async with bot_process(world, tmp_path / "bot.sqlite3") as running:
            await world.say("/ssl list")
            await held.reached.wait()
            farewell = world.slack.faults.hold("response_url")

            code, log = await ended(running, signal.SIGTERM)

        assert farewell.reached.is_set()
        farewell.release()
        assert (code, "Traceback" in log) == (0, False)


async def test_a_scan_of_a_silent_host_does_not_hold_up_the_end(
    tmp_path: Path, empty_database: Path
) -> None:
    async with new_world(tmp_path, empty_database, bots=0) as world, silent_server() as silent:
        told = environment(world.playground, "socket", tmp_path / "bot.sqlite3")
        async with process("run", **told, SCAN_ALLOW="127.0.0.0/8") as running:
            await log_until(running, "using the embedded API")
            await log_until(running, "ready")
            await world.say(f"/ssl add 127.0.0.1:{silent.port}")
            await silent.asked.wait()

            code, log = await ended(running, signal.SIGTERM)

        await world.card("The bot is restarting. Try again in a minute.", "Adding")
        assert (code, "Traceback" in log, "Warning" in log) == (0, False, False)


async def test_a_digest_that_waits_for_the_api_does_not_hold_up_the_end(
    tmp_path: Path, empty_database: Path
) -> None:
    async with new_world(tmp_path, empty_database, bots=0) as world:
        file = tmp_path / "bot.sqlite3"
        database = Database(f"sqlite:///{file}")
        await DigestStore(database).first_start(clock() - timedelta(days=9))
        await database.close()
        held = world.api.hold("monitor/list")
        told = {"DIGEST_CHANNEL": CERTS, "DIGEST_TIME": "00:00"}
        async with bot_process(world, file, **told) as running:
            await held.reached.wait()

            code, log = await ended(running, signal.SIGTERM)

        assert (code, "Traceback" in log, "Warning" in log) == (0, False, False)
        assert world.seen() == [], log


async def test_work_that_is_nearly_done_is_finished_before_the_end(
    tmp_path: Path, empty_database: Path
) -> None:
    async with new_world(tmp_path, empty_database, bots=0) as world:
        world.api.watch("api.demo.test")
        held = world.api.hold("monitor/list")
        async with bot_process(world, tmp_path / "bot.sqlite3") as running:
            await world.say("/ssl list")
            await held.reached.wait()
            running.send_signal(signal.SIGTERM)
            assert held.gate is not None
            held.gate.set()

            await world.card("1 monitor")

            async with asyncio.timeout(PROMPTLY):
                assert await running.wait() == 0


async def test_ctrl_c_ends_the_bot_in_good_order(tmp_path: Path, empty_database: Path) -> None:
    async with (
        new_world(tmp_path, empty_database, mode="socket", bots=0) as world,
        bot_process(world, tmp_path / "bot.sqlite3") as running,
    ):
        code, log = await ended(running, signal.SIGINT)

        assert (code, "Traceback" in log, "Warning" in log) == (0, False, False)
        await world.until(lambda: not world.playground.delivery.sockets)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_start_that_waits_for_slack_can_be_ended(
    number: signal.Signals, tmp_path: Path, empty_database: Path
) -> None:
    async with new_world(tmp_path, empty_database, bots=0) as world, silent_server() as silent:
        told = environment(world.playground, "http", tmp_path / "bot.sqlite3")
        told["SLACK_API_URL"] = f"http://127.0.0.1:{silent.port}/api/"
        async with process("run", **told) as running:
            async with asyncio.timeout(15):
                await silent.asked.wait()

            code, log = await ended(running, number)

    assert (code, "Traceback" in log) == (0, False)


async def test_a_refused_app_token_ends_the_bot_with_78(
    tmp_path: Path, empty_database: Path
) -> None:
    async with new_world(tmp_path, empty_database, bots=0) as world:
        told = environment(world.playground, "socket", tmp_path / "bot.sqlite3")
        async with process("run", **(told | {"SLACK_APP_TOKEN": "xapp-wrong"})) as running:
            _, log = await asyncio.wait_for(running.communicate(), 15)

    assert running.returncode == 78
    assert log.decode().splitlines()[-1] == "Stopped: Slack refuses SLACK_APP_TOKEN: invalid_auth."
    assert "Traceback" not in log.decode()


async def test_an_app_token_that_is_revoked_later_ends_the_bot_with_78(
    tmp_path: Path, empty_database: Path
) -> None:
    async with (
        new_world(tmp_path, empty_database, mode="socket", bots=0) as world,
        bot_process(world, tmp_path / "bot.sqlite3") as running,
    ):
        delivery = world.playground.delivery
        await world.until(lambda: len(delivery.sockets) == 2 or None)
        world.slack.faults.add("apps.connections.open", refusal("token_revoked"), times=99)
        for socket in list(delivery.sockets):
            await socket.ws.close()

        _, log = await asyncio.wait_for(running.communicate(), 15)

    assert running.returncode == 78
    assert log.decode().splitlines()[-1] == "Stopped: Slack refuses SLACK_APP_TOKEN: token_revoked."


async def test_a_wrong_bot_token_is_told_in_one_line(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    async with new_world(tmp_path, empty_database, bots=0) as world:
        told = environment(world.playground, "http", tmp_path / "bot.sqlite3")
        told |= {"DIGEST_CHANNEL": CERTS, "SLACK_BOT_TOKEN": "xoxb-wrong"}
        only(monkeypatch, **told)

        assert await asyncio.to_thread(main, ["digest"]) == 1

    assert "invalid_auth" in capsys.readouterr().err


def only(monkeypatch: pytest.MonkeyPatch, **environ: str) -> None:
    """Let these be all of the bot's settings."""
    for setting in SETTINGS.values():
        monkeypatch.delenv(setting.variable, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def test_without_a_program_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0

    shown = capsys.readouterr().out
    assert all(name in shown for name in ("run", "demo", "digest", "check", "embedded"))


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])

    assert (end.value.code, capsys.readouterr().out.strip()) == (0, __version__)


def test_an_unknown_program_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fly"])

    assert end.value.code == 2
    assert "fly" in capsys.readouterr().err


@pytest.mark.parametrize("program", ["run", "check"])
def test_wrong_settings_are_all_listed(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(
        monkeypatch,
        SLACK_BOT_TOKEN="not-a-token",
        DIGEST_TIME="9 o'clock",
        DIGEST_TIMEZONE="Mars/Olympus",
        DATABASE_URL="mysql://x",
        PORT="99999",
        SCAN_ALLOW="10.0.0.0/99",
        SSLMONITOR_API_URL="https://api.example/api/v1",
    )

    assert main([program]) == 2

    told = capsys.readouterr().err
    names = "SLACK_BOT_TOKEN SLACK_APP_TOKEN DIGEST_TIME DIGEST_TIMEZONE DATABASE_URL PORT"
    for name in [*names.split(), "SCAN_ALLOW", "SSLMONITOR_API_KEY"]:
        assert f"- {name}" in told
    assert "not-a-token" not in told


def test_a_database_that_can_not_be_opened_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(
        monkeypatch,
        SLACK_BOT_TOKEN="xoxb-1",
        SLACK_SIGNING_SECRET="s",
        SLACK_API_URL="http://127.0.0.1:9/api/",
        DATABASE_URL=f"sqlite:///{tmp_path}/no/such/folder/bot.sqlite3",
    )

    assert main(["run"]) == 1

    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "Could not start: " in told


def test_a_slack_that_can_not_be_reached_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(
        monkeypatch,
        SLACK_BOT_TOKEN="xoxb-1",
        SLACK_SIGNING_SECRET="s",
        SLACK_API_URL="http://127.0.0.1:9/api/",
        DATABASE_URL=f"sqlite:///{tmp_path}/bot.sqlite3",
        SSLMONITOR_API_URL="http://127.0.0.1:9/api/v1",
        SSLMONITOR_API_KEY="k",
    )

    assert main(["run"]) == 1

    assert "Could not start: Slack did not answer" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_the_demo_answers_in_both_modes(mode: str) -> None:
    async with running_demo(mode=mode) as demo:
        await demo.playground.say(ANN, CERTS, "/ssl account")

        await demo.playground.wait_for(
            lambda slack: [m for m in slack.messages(CERTS, ANN) if "Free" in str(m.blocks)]
        )


async def test_a_key_that_may_travel_unencrypted_is_told_at_the_start(
    tmp_path: Path, empty_database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with new_world(tmp_path, empty_database, SSLMONITOR_API_ALLOW_HTTP="1"):
        assert "the API key is sent unencrypted" in caplog.text


async def test_the_embedded_api_is_served_until_it_is_ended(tmp_path: Path) -> None:
    told = {
        "EMBEDDED_API_KEY": "a-key-that-is-long",
        "DATABASE_URL": f"sqlite:///{tmp_path}/embedded.sqlite3",
    }
    async with process("embedded", "--port", "0", **told) as running:
        found = await log_until(running, r"answers at (http://\S+/api/v1)")
        assert found[1].startswith("http://127.0.0.1:")

        code, log = await ended(running, signal.SIGTERM)

    assert (code, "Traceback" in log) == (0, False)


def left_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_the_demo_ends_cleanly_while_it_still_adds_its_hosts(tmp_path: Path) -> None:
    async with process("demo", "--port", "0", TMPDIR=str(tmp_path)) as demo:
        assert demo.stdout is not None
        assert b"Open http://127.0.0.1:" in await demo.stdout.readline()
        code, log = await ended(demo, signal.SIGTERM)
    assert (code, log) == (0, "")
    assert left_in(tmp_path) == []


async def test_a_name_look_up_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    hang = (
        "import socket, threading\n"
        "usual = socket.getaddrinfo\n"
        "def look_up(host, *rest, **more):\n"
        "    if str(host).endswith('hang.test'):\n"
        "        print('HANGS', flush=True)\n"
        "        threading.Event().wait()\n"
        "    return usual(host, *rest, **more)\n"
        "socket.getaddrinfo = look_up\n"
    )
    (tmp_path / "sitecustomize.py").write_text(hang)
    environ = {
        "PYTHONPATH": str(tmp_path),
        "EMBEDDED_API_KEY": "a-key-that-is-long",
        "DATABASE_URL": f"sqlite:///{tmp_path}/hang.sqlite3",
    }
    async with process("embedded", "--port", "0", **environ) as running, ClientSession() as session:
        url = (await log_until(running, r"answers at (\S+/v1)"))[1]
        params = {"host": "a.hang.test", "port": "443"}
        headers = {"Authorization": "Bearer a-key-that-is-long"}
        asking = asyncio.create_task(
            session.get(f"{url}/monitor/add", params=params, headers=headers)
        )
        assert running.stdout is not None
        assert await running.stdout.readline() == b"HANGS\n"
        code, log = await ended(running, signal.SIGTERM)
        await asyncio.wait({asking})
    assert (code, log) == (0, "")
    asking.exception()


def test_a_backup_is_a_whole_copy_for_its_owner_made_while_others_write(
    tmp_path: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, copy = tmp_path / "bot.sqlite3", tmp_path / "copy.sqlite3"
    shutil.copy(empty_database, source)
    only(monkeypatch, DATABASE_URL=f"sqlite:///{source}")
    with sqlite3.connect(source) as writer:
        writer.execute("INSERT INTO notes VALUES ('kept', 'yes')")
        writer.commit()
        writer.execute("INSERT INTO notes VALUES ('half', 'done')")  # not committed yet
        assert main(["backup", str(copy)]) == 0
        writer.rollback()
    writer.close()
    with sqlite3.connect(copy) as made:
        assert made.execute("SELECT key FROM notes").fetchall() == [("kept",)]
        assert made.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    made.close()
    assert copy.stat().st_mode & 0o777 == 0o600
    assert main(["backup", str(copy)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_backup_of_postgresql_names_pg_dump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(monkeypatch, DATABASE_URL="postgresql://u:geheim@h/db")
    assert main(["backup", str(tmp_path / "copy")]) == 2
    told = capsys.readouterr().err
    assert "pg_dump" in told
    assert "geheim" not in told
