"""The composition root: builds the programs, starts them, and ends them in good order.

Only here (and in `demo`) do the bot and the embedded API meet, and only by a URL.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy.exc import SQLAlchemyError

from bot.api.client import SSLMonitor
from bot.cards.home import settings_shown
from bot.commands import router
from bot.commands.home import Home
from bot.config import Secret, Settings
from bot.digest import Digest, Plan
from bot.embedded import Accounts, EmbeddedAPI, EmbeddedSettings, keys
from bot.errors import BotError, SlackRefused
from bot.process import ended_by_signals, forever
from bot.recheck import Watches
from bot.slack.access import People
from bot.slack.listeners import SlackBot, make_bolt
from bot.slack.tasks import Tasks
from bot.slack.transport import HTTPServer, Sockets
from bot.slack.web import SlackWeb, make_client
from bot.store.database import Database
from bot.store.digests import State
from bot.store.monitors import Memory
from bot.store.upgrade import upgrade

log = logging.getLogger(__name__)

#: How long unfinished work may go on after SIGTERM, before its askers are told to ask again.
DRAIN_SECONDS = 1.0
SLACK_SECONDS = 15.0
#: How often at least the bot looks which watches are due.
WATCH_TICK = timedelta(seconds=5)


def clock() -> datetime:
    """The one wall clock; everything else gets it, or a time, as an argument."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Bot:
    """A running bot: its parts that others ask for."""

    port: int
    api: SSLMonitor
    digest: Digest | None
    slack: SlackBot
    sockets: Sockets | None
    watches: Watches


def scan_settings(settings: Settings, key: str) -> EmbeddedSettings:
    """The embedded API's settings. Raises ValueError where they can't be used."""
    return EmbeddedSettings(
        key=key,
        scan_allow=settings.scan_allow,
        scan_deny=settings.scan_deny,
        ca_file=settings.scan_ca_file,
        scan_interval=settings.scan_interval,
        scan_rate_limit=settings.scan_rate_limit,
        secret_key=settings.secret_key.reveal(),
        geoip_file=settings.geoip_file,
        reverse_names=True,
    )


@asynccontextmanager
async def own_api(
    settings: Settings,
    database: Database,
    *,
    hosts: Mapping[str, str] | None = None,
    scan_seconds: float = 10.0,
    now: Callable[[], datetime] = clock,
) -> AsyncIterator[Settings]:
    """The settings with an API: where none is named, the embedded one is started on loopback.

    `hosts` is a static table of names for its scanner, `scan_seconds` the deadline of a scan.
    """
    if settings.api_url:
        yield settings
        return
    key = secrets.token_urlsafe(32)
    told = replace(scan_settings(settings, key), hosts=hosts or {}, scan_deadline=scan_seconds)
    embedded = EmbeddedAPI(told, database, clock=now)
    await embedded.start()
    try:
        log.info("No SSLmonitor API is set, so this process scans by itself.")
        yield replace(settings, api_url=embedded.url, api_key=Secret(key), api_write_method="POST")
    finally:
        await embedded.close()


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database with its schema up to date. Raises BotError where it can't be used."""
    try:
        await upgrade(settings.database_url)
    except SQLAlchemyError as fault:
        reason = getattr(fault, "orig", None) or fault
        raise BotError(f"The database can't be used: {reason}") from fault
    database = Database(settings.database_url)
    try:
        yield database
    finally:
        await database.close()


def make_api(
    settings: Settings, session: aiohttp.ClientSession, now: Callable[[], datetime] = clock
) -> SSLMonitor:
    """The client of the API that the settings name."""
    if settings.api_allow_http and settings.api_url.startswith("http:"):
        log.warning("SSLMONITOR_API_ALLOW_HTTP is set: the API key travels unencrypted.")
    return SSLMonitor(
        settings.api_url,
        settings.api_key.reveal(),
        session,
        clock=now,
        write_method=settings.api_write_method,
        allow_http=settings.api_allow_http,
    )


def make_session() -> aiohttp.ClientSession:
    """The one session for Slack and the API; the SDK leaves its timeout to it."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SLACK_SECONDS))


def make_digest(
    settings: Settings,
    api: SSLMonitor,
    database: Database,
    web: SlackWeb,
    memory: Memory,
    *,
    now: Callable[[], datetime],
) -> Digest | None:
    """The digest, where a channel is set for it."""
    if not settings.digest_channel:
        return None
    plan = Plan(
        channel=settings.digest_channel,
        at=settings.digest_time,
        timezone=settings.digest_timezone,
    )
    return Digest(plan, api, State(database), web, memory, clock=now)


@asynccontextmanager
async def running_bot(
    settings: Settings, database: Database, *, now: Callable[[], datetime] = clock
) -> AsyncIterator[Bot]:
    """The bot, ready: Slack can reach it, and the digest's clock ticks. Raises BotError, OSError.

    At the end it stops taking requests first, then lets the work end, then closes what that used.
    """
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(make_session())
        api = make_api(settings, session, now)
        client = make_client(settings.slack_bot_token.reveal(), settings.slack_api_url, session)
        web = SlackWeb(client, session)
        await web.identify()
        memory = Memory(database, settings.digest_expire_days)
        people = People(web, settings.admins, clock=now)
        often = settings.watch_interval
        watches = Watches(api, memory, database, web, people.name_of, clock=now, interval=often)
        slack = SlackBot(
            make_bolt(client, settings.slack_signing_secret.reveal()),
            web,
            router,
            api,
            memory=memory,
            people=people,
            watches=watches,
            home=Home(
                api, memory, watches, State(database), clock=now, settings=settings_shown(settings)
            ),
            clock=now,
        )
        await slack.warm_up()
        digest = make_digest(settings, api, database, web, memory, now=now)
        if digest is None:
            log.warning("DIGEST_CHANNEL is not set: there will be no daily digest.")
        else:
            await digest.start()
        scheduler = _start_clock(slack.tasks, api, digest, watches)
        stack.callback(scheduler.shutdown, wait=False)
        stack.push_async_callback(slack.tasks.drain, DRAIN_SECONDS)
        stack.callback(scheduler.pause)
        sockets = None
        if settings.slack_mode == "socket":
            await web.check_app_token(settings.slack_app_token.reveal())
            sockets = Sockets(slack.app, settings.slack_app_token.reveal())
        server = HTTPServer(
            lambda: _health(settings, sockets, digest), slack.app if sockets is None else None
        )
        port = await server.start(settings.host, settings.port)
        stack.push_async_callback(server.close)
        if sockets is not None:
            stack.push_async_callback(sockets.close)
            await sockets.start()
        yield Bot(port, api, digest, slack, sockets, watches)


def _start_clock(
    tasks: Tasks, api: SSLMonitor, digest: Digest | None, watches: Watches
) -> AsyncIOScheduler:
    """Start the scheduler: only a clock, for the database decides what is due.

    The work runs among the bot's tasks, so that it is ended with them, before what it uses. The
    digest waits for the API's clock to be measured: its dates mean nothing before.
    """
    scheduler = AsyncIOScheduler(timezone=UTC)
    often = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
    look = functools.partial(tasks.run, watches.tick)
    seconds = min(WATCH_TICK, watches.interval).total_seconds()
    scheduler.add_job(look, "interval", seconds=seconds, **often)
    measured = asyncio.Event()

    async def measure() -> None:
        try:
            await api.measure_clock()
            measured.set()
        except BotError as fault:
            log.warning("The API's clock could not be read: %s", fault)

    async def tick() -> None:
        if not measured.is_set():
            await measure()
        if digest is not None:
            await digest.tick(ready=measured.is_set())

    scheduler.add_job(functools.partial(tasks.run, measure), "interval", hours=1, **often)
    scheduler.add_job(functools.partial(tasks.run, tick), "interval", minutes=1, **often)
    scheduler.start()
    tasks.start(tick())
    tasks.start(watches.tick())
    return scheduler


def _health(settings: Settings, sockets: Sockets | None, digest: Digest | None) -> dict[str, Any]:
    return {
        "ok": sockets is None or sockets.connected > 0,
        "mode": settings.slack_mode,
        "sockets": sockets.connected if sockets else None,
        "digest": (digest.last_error or "ok") if digest else "off",
    }


async def run(settings: Settings) -> None:
    """Run the bot until SIGTERM or Ctrl-C. Raises BotError or OSError where it can't start."""
    async with (
        ended_by_signals(),
        open_database(settings) as database,
        own_api(settings, database) as complete,
        running_bot(complete, database) as bot,
    ):
        log.info("The bot is ready (%s mode, port %d).", settings.slack_mode, bot.port)
        await forever()


async def post_digest(settings: Settings, *, again: bool) -> bool:
    """Post today's digest and claim the day; False where that was done. Raises BotError."""
    async with (
        open_database(settings) as database,
        own_api(settings, database) as complete,
        make_session() as session,
    ):
        api = make_api(complete, session)
        client = make_client(complete.slack_bot_token.reveal(), complete.slack_api_url, session)
        web = SlackWeb(client, session)
        await web.identify()
        await api.measure_clock()
        memory = Memory(database, complete.digest_expire_days)
        digest = make_digest(complete, api, database, web, memory, now=clock)
        try:
            return digest is not None and await digest.post_now(again=again)
        except SlackRefused as fault:
            if not fault.may_not_post:
                raise
            raise BotError(
                f"The bot may not post in {complete.digest_channel} ({fault.reason}). "
                "Invite it there."
            ) from fault


async def serve_embedded(settings: Settings, host: str, port: int) -> None:
    """Serve the embedded API alone, until SIGTERM or Ctrl-C. Raises OSError, ValueError."""
    async with ended_by_signals(), open_database(settings) as database:
        key = settings.embedded_api_key.reveal()
        embedded = EmbeddedAPI(scan_settings(settings, key), database, clock=clock)
        await embedded.start(host, port)
        try:
            log.info("The embedded SSLmonitor API answers at %s.", embedded.url)
            await forever()
        finally:
            await embedded.close()


async def manage_keys(
    settings: Settings, given: argparse.Namespace, say: Callable[[str], None]
) -> int:
    """Add, list or revoke keys of the embedded API; returns the exit code. Raises BotError."""
    async with open_database(settings) as database:
        return await keys.manage_keys(
            Accounts(database),
            given,
            scan_interval=settings.scan_interval,
            now=clock(),
            say=say,
        )
