"""The demo: the bot, the embedded API and the playground in one process, connected by URLs only."""

import functools
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bot.app.composition import Bot, running_bot
from bot.app.engine import own_api
from bot.app.outside import clock, make_api, make_session
from bot.commands import router
from bot.config import SCOPES, Settings, read_settings
from bot.playground import App, AppCommand, Completion, Playground, Shortcut
from bot.playground.hosts import SampleHosts
from bot.slack.transport import EVENTS_PATH
from bot.store.upgrade import open_database
from bot.target import Target

CHANNEL = "C0CERTS"
#: With a scan's usual ten seconds, the silent sample host would delay the first digest.
SCAN_SECONDS = 3.0


@dataclass(slots=True)
class Demo:
    """A running demo."""

    playground: Playground
    hosts: SampleHosts
    settings: Settings
    bot: Bot


def playground_app() -> App:
    """The bot as configured in the playground; its commands come from the router."""
    completions = tuple(
        Completion(f"/ssl {command.name} ", f"/ssl {command.usage}", command.help)
        for command in router.typed()
    )
    demo = tuple(
        Completion(f"/demo {how} {host}", f"/demo {how} HOST", f"A sample host {text}.")
        for (how, text), host in zip(CHANGES.items(), ("intranet", "shop", "api"), strict=True)
    )
    return App(
        app_id="A0SSLDEMO",
        name="SSLmonitor",
        bot_token=f"xoxb-{secrets.token_hex(16)}",
        app_token=f"xapp-{secrets.token_hex(16)}",
        signing_secret=secrets.token_hex(16),
        scopes=frozenset(SCOPES),
        commands=(AppCommand("/ssl", completions + demo),),
        shortcuts=(Shortcut("check_hosts", "Check hosts in message"),),
        bot_events=frozenset({"app_home_opened", "app_mention", "message.im"}),
    )


#: What `/demo` can do to a sample host, and the words that confirm it.
CHANGES = {
    "renew": "has a new certificate that expires in 89 days",
    "break": "serves a certificate that expired an hour ago",
    "silence": "refuses every connection",
}


async def change_host(hosts: SampleHosts, now: Callable[[], datetime], line: str) -> str:
    """Carry out `renew intranet`, `break shop` or `silence api`, and confirm it in a sentence."""
    how, _, name = line.strip().lower().partition(" ")
    names = {each.partition(".")[0]: each for each in hosts.table}
    host = names.get(name.strip().partition(".")[0])
    if how not in CHANGES or host is None:
        return "Try /demo renew intranet, /demo break shop or /demo silence api."
    await hosts.change(host, how, now())
    wait = "a minute for the next scan"
    if how == "silence":
        wait = "three minutes: a host counts as down after three failed scans"
    return f"{host} now {CHANGES[how]}. Press Rescan, or wait {wait}."


def later_today(now: datetime) -> str:
    """The time of day in an hour: the demo posts the first digest itself, once it has monitors."""
    at = now + timedelta(hours=1)
    return f"{at:%H:%M}" if at.date() == now.date() else "23:59"


def demo_settings(
    playground: Playground,
    hosts: SampleHosts,
    directory: Path,
    *,
    mode: str,
    watch: str,
    now: datetime,
) -> Settings:
    """The settings that connect the three programs, read like any others."""
    app = playground.app
    return read_settings(
        {
            "SLACK_BOT_TOKEN": app.bot_token,
            "SLACK_APP_TOKEN": app.app_token,
            "SLACK_SIGNING_SECRET": app.signing_secret,
            "SLACK_MODE": mode,
            "SLACK_API_URL": playground.api_url,
            "DIGEST_CHANNEL": CHANNEL,
            "DIGEST_TIME": later_today(now),
            "DATABASE_URL": f"sqlite:///{directory / 'demo.sqlite3'}",
            "SCAN_ALLOW": hosts.allow,
            "SCAN_CA_FILE": str(hosts.ca_file),
            "WATCH_INTERVAL": watch,
            "SCAN_REVOCATION": "0",
            "SCAN_CAA": "0",
            "ARI_DIRECTORIES": "",
            "SCAN_INTERVAL": "1m",
            "HOST": "127.0.0.1",
            "PORT": "0",
        }
    )


@asynccontextmanager
async def running_demo(
    *, port: int = 0, mode: str = "http", watch: str = "15s"
) -> AsyncIterator[Demo]:
    """Run the three programs, the sample hosts and a fresh database; all are gone at the end.

    `watch` is the interval of Scan & watch. Raises OSError if the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="sslmonitor-demo-") as name:
        directory = Path(name)
        playground = Playground(playground_app(), clock=clock)
        hosts = SampleHosts(clock(), directory)
        await playground.start("127.0.0.1", port)
        await hosts.start()
        playground.demo = functools.partial(change_host, hosts, clock)
        try:
            settings = demo_settings(
                playground, hosts, directory, mode=mode, watch=watch, now=clock()
            )
            async with (
                open_database(settings.database_url) as database,
                own_api(
                    settings, database, hosts=hosts.table, scan_seconds=SCAN_SECONDS, now=clock
                ) as complete,
                running_bot(complete, database, now=clock) as bot,
            ):
                playground.events_url = f"http://127.0.0.1:{bot.port}{EVENTS_PATH}"
                yield Demo(playground, hosts, complete, bot)
        finally:
            await hosts.close()
            await playground.close()


async def first_digest(demo: Demo) -> None:
    """Add the sample hosts, then post the first digest.

    From then on, every change is announced, including a newcomer's first one.
    """
    async with make_session(demo.settings.api_url) as session:
        api = make_api(demo.settings, session)
        targets = [Target.parse(target) for target in demo.hosts.targets]
        for target in targets:  # one by one, so that `/ssl scan 1` always means the same
            await api.add(target)
    if demo.bot.digest is not None:
        await demo.bot.digest.post_now(again=True)
    if demo.bot.scheduler.notices is not None:
        await demo.bot.scheduler.notices.tick()
