"""The programs as processes: how they start, fail to start, and end."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bot.__main__ import main
from bot.app.outside import clock
from bot.demo import running_demo
from bot.playground.faults import refusal
from bot.playground.objects import ANN, CERTS
from bot.store.database import Database
from bot.store.digests import DigestStore
from tests import killed
from tests.client_wire import close, slowdown
from tests.processes import PROMPTLY, bot_process, ended, forked, log_until, process
from tests.stub_api import KEY
from tests.world import MakeWorld, environment, only, words

pytestmark = pytest.mark.slow


@dataclass
class Silent:
    """A server that takes connections, and says nothing; `asked` is set at the first."""

    port: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def say_nothing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.asked.set()
        with suppress(ConnectionError):
            while await reader.read(65536):
                pass
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
        await close(server, silent.writers)


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_at_shutdown_whoever_is_waiting_is_told_to_try_again(
    make_world: MakeWorld, mode: str, tmp_path: Path
) -> None:
    async with make_world(mode=mode, bots=0) as world:
        world.api.add("api.demo.test")
        scanning = world.api.hold("monitor/scan")
        async with bot_process(world, tmp_path / "bot.sqlite3", process) as running:
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


async def test_a_silent_slack_delays_no_shutdown(make_world: MakeWorld, tmp_path: Path) -> None:
    async with make_world(bots=0) as world:
        held = world.api.hold("monitor/list")
        async with bot_process(world, tmp_path / "bot.sqlite3") as running:
            await world.say("/ssl list")
            await held.reached.wait()
            farewell = world.slack.faults.hold("response_url")

            code, log = await ended(running, signal.SIGTERM)

        assert farewell.reached.is_set()
        farewell.release()
        assert (code, "Traceback" in log) == (0, False)


async def test_a_silent_host_delays_no_shutdown(make_world: MakeWorld, tmp_path: Path) -> None:
    async with make_world(bots=0) as world, silent_server() as silent:
        told = environment(world.playground, "socket", tmp_path / "bot.sqlite3")
        async with forked("run", **told, SCAN_ALLOW="127.0.0.0/8") as running:
            await log_until(running, "using the embedded API")
            await log_until(running, "ready")
            await world.say(f"/ssl add 127.0.0.1:{silent.port}")
            await silent.asked.wait()

            code, log = await ended(running, signal.SIGTERM)

        await world.card("The bot is restarting. The change may have gone through", "Adding")
        assert (code, "Traceback" in log, "Warning" in log) == (0, False, False)


async def test_a_digest_that_waits_for_the_api_does_not_delay_the_shutdown(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    async with make_world(bots=0) as world:
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


async def test_a_digest_that_slack_is_being_sent_at_the_end_is_posted_once(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    async with make_world(bots=0, real_time=True) as world:
        world.api.add("api.demo.test", days=-1, valid=False)
        file = tmp_path / "bot.sqlite3"
        database = Database(f"sqlite:///{file}")
        await DigestStore(database).first_start(clock() - timedelta(days=9))
        await database.close()
        held = world.slack.faults.hold("chat.postMessage")  # posted, but not answered
        told = {"DIGEST_CHANNEL": CERTS, "DIGEST_TIME": "00:00"}
        async with bot_process(world, file, **told) as running:
            await held.reached.wait()

            code, log = await ended(running, signal.SIGTERM)

        held.release()
        assert (code, "Traceback" in log, "Warning" in log) == (0, False, False)
        told |= environment(world.playground, "http", file)
        told |= {"SSLMONITOR_API_URL": world.api.url, "SSLMONITOR_API_KEY": KEY}
        for _ in range(5):  # its lease is a second here
            if await killed.ended(killed.begin(told, "digest")) == 0:
                break
        assert len([m for m in world.seen() if not m.in_thread]) == 1
        assert "EXPIRED" in words(world.seen()[0])


async def test_work_that_is_nearly_done_is_finished_before_the_shutdown(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    async with make_world(bots=0) as world:
        world.api.add("api.demo.test")
        held = world.api.hold("monitor/list")
        async with bot_process(world, tmp_path / "bot.sqlite3") as running:
            await world.say("/ssl list")
            await held.reached.wait()
            running.send_signal(signal.SIGTERM)
            held.release()

            await world.card("1 monitor")

            async with asyncio.timeout(PROMPTLY * slowdown()):
                assert await running.wait() == 0


async def test_ctrl_c_shuts_the_bot_down_cleanly(make_world: MakeWorld, tmp_path: Path) -> None:
    async with (
        make_world(mode="socket", bots=0) as world,
        bot_process(world, tmp_path / "bot.sqlite3") as running,
    ):
        code, log = await ended(running, signal.SIGINT)

        assert (code, "Traceback" in log, "Warning" in log) == (0, False, False)
        await world.until(lambda: not world.playground.delivery.sockets)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_start_that_waits_for_slack_can_be_ended(
    make_world: MakeWorld, number: signal.Signals, tmp_path: Path
) -> None:
    async with make_world(bots=0) as world, silent_server() as silent:
        told = environment(world.playground, "http", tmp_path / "bot.sqlite3")
        told["SLACK_API_URL"] = f"http://127.0.0.1:{silent.port}/api/"
        async with forked("run", **told) as running:
            async with asyncio.timeout(60):
                await silent.asked.wait()

            code, log = await ended(running, number)

    assert (code, "Traceback" in log) == (0, False)


async def test_a_refused_app_token_ends_it_with_78(make_world: MakeWorld, tmp_path: Path) -> None:
    async with make_world(bots=0) as world:
        told = environment(world.playground, "socket", tmp_path / "bot.sqlite3")
        async with forked("run", **(told | {"SLACK_APP_TOKEN": "xapp-wrong"})) as running:
            _, log = await asyncio.wait_for(running.communicate(), 15)

    assert running.returncode == 78
    assert log.decode().splitlines()[-1] == "Stopped: Slack refuses SLACK_APP_TOKEN: invalid_auth."
    assert "Traceback" not in log.decode()


async def test_an_app_token_that_is_revoked_later_ends_the_bot_with_78(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    async with (
        make_world(mode="socket", bots=0) as world,
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


async def test_a_wrong_bot_token_is_reported_in_one_line(
    make_world: MakeWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with make_world(bots=0) as world:
        told = environment(world.playground, "http", tmp_path / "bot.sqlite3")
        told |= {"DIGEST_CHANNEL": CERTS, "SLACK_BOT_TOKEN": "xoxb-wrong"}
        only(monkeypatch, **told)

        assert await asyncio.to_thread(main, ["digest"]) == 1

    assert "invalid_auth" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_the_demo_answers_in_both_modes(mode: str) -> None:
    async with running_demo(mode=mode) as demo:
        await demo.playground.say(ANN, CERTS, "/ssl account")

        await demo.playground.wait_for(
            lambda slack: [m for m in slack.messages(CERTS, ANN) if "Free" in str(m.blocks)]
        )
        asked = demo.settings.scan_revocation, demo.settings.scan_caa, demo.settings.ari_directories
        assert not any(asked)  # a demo contacts nothing outside


async def test_sending_the_key_unencrypted_is_logged_at_the_start(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_world(SSLMONITOR_API_ALLOW_HTTP="1"):
        assert "the API key is sent unencrypted" in caplog.text


async def test_the_embedded_api_is_served_until_it_is_ended(tmp_path: Path) -> None:
    told = {
        "EMBEDDED_API_KEY": "a-key-that-is-long",
        "DATABASE_URL": f"sqlite:///{tmp_path}/embedded.sqlite3",
    }
    async with forked("embedded", "--port", "0", **told) as running:
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


async def test_a_hanging_name_lookup_does_not_delay_the_shutdown(tmp_path: Path) -> None:
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
    async with (
        process("embedded", "--port", "0", **environ) as running,
        ClientSession() as session,
    ):
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
