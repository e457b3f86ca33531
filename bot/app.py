"""The composition root: builds the programs, starts them and shuts them down.

Only here (and in `demo`) do the bot and the embedded API meet, and only by a URL.
"""

from __future__ import annotations

import argparse
import functools
import logging
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from bot.api.client import SSLMonitor
from bot.commands import router
from bot.commands.home import Home
from bot.config import Secret, Settings
from bot.digest import Digest
from bot.embedded import EmbeddedAPI, EmbeddedSettings, accounts
from bot.errors import BotError, ConfigError, SlackRefused
from bot.process import ended_by_signals, forever
from bot.recheck import Watches
from bot.slack.access import Access
from bot.slack.digests import Digests
from bot.slack.digests import calendar as made_calendar
from bot.slack.listeners import SlackBot, make_bolt
from bot.slack.metrics import Metrics
from bot.slack.notices import Blindness, Notices
from bot.slack.rows import Boards
from bot.slack.scheduler import Scheduler
from bot.slack.transport import HTTPServer, Sockets
from bot.slack.web import SlackWeb, make_client
from bot.store.database import Database
from bot.store.digests import DigestStore
from bot.store.monitors import Records
from bot.store.notices import NoticeStore
from bot.store.upgrade import open_database

if TYPE_CHECKING:
    from bot.dates import Plan

log = logging.getLogger(__name__)

#: How long unfinished work may go on after SIGTERM, before its askers are told to ask again.
DRAIN_SECONDS = 1.0
SLACK_SECONDS = 15.0
#: How often changes are looked for in an API on this machine.
OWN_NOTICES = timedelta(minutes=1)


#: The one wall clock; everything else gets it, or a time, as an argument.
clock: Callable[[], datetime] = functools.partial(datetime.now, UTC)


@dataclass(slots=True)
class Bot:
    """A running bot: its parts that others ask for."""

    port: int
    api: SSLMonitor
    digest: Digest | None
    digests: Digests
    slack: SlackBot
    sockets: Sockets | None
    watches: Watches
    web: SlackWeb
    database: Database
    scheduler: Scheduler
    records: Records
    now: Callable[[], datetime]

    @property
    def token_fault(self) -> str:
        """Slack's reason for refusing the bot token, empty while it works."""
        return self.web.token_fault


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
        revocation=settings.scan_revocation,
        caa=settings.scan_caa,
        ari_directories=settings.ari_directories,
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
        log.info("No SSLmonitor API is configured; using the embedded API.")
        yield replace(settings, api_url=embedded.url, api_key=Secret(key), api_write_method="POST")
    finally:
        await embedded.close()


def make_api(
    settings: Settings,
    session: aiohttp.ClientSession,
    now: Callable[[], datetime] = clock,
    metrics: Metrics | None = None,
) -> SSLMonitor:
    """The client of the API that the settings name."""
    if settings.api_allow_http and settings.api_url.startswith("http:"):
        log.warning("SSLMONITOR_API_ALLOW_HTTP is set; the API key is sent unencrypted.")
    return SSLMonitor(
        settings.api_url,
        settings.api_key.reveal(),
        session,
        clock=now,
        write_method=settings.api_write_method,
        allow_http=settings.api_allow_http,
        tls=_trusting(settings.api_ca_file) if settings.api_ca_file else None,
        observe=(metrics or Metrics()).api_call,
    )


def _trusting(file: Path) -> ssl.SSLContext:
    """The usual TLS context, which also trusts the CAs in a file. Raises ConfigError."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise ConfigError(["SSLMONITOR_CA_FILE contains no PEM certificate."]) from None
    return context


def make_session() -> aiohttp.ClientSession:
    """A session for Slack or the API, through the proxies of the environment.

    Each has its own, so that an API that hangs can't use up the connections to Slack. The SDK
    leaves its timeout to the session.
    """
    timeout = aiohttp.ClientTimeout(total=SLACK_SECONDS)
    return aiohttp.ClientSession(timeout=timeout, trust_env=True)


def make_digest(
    settings: Settings,
    api: SSLMonitor,
    database: Database,
    web: SlackWeb,
    records: Records,
    *,
    now: Callable[[], datetime],
) -> Digest | None:
    """The digest of the environment, where a channel is set for it."""
    make = digest_maker(settings, api, database, web, records, now=now)
    return make(settings.subscriptions[0].plan) if settings.digest_channel else None


def digest_maker(
    settings: Settings,
    api: SSLMonitor,
    database: Database,
    web: SlackWeb,
    records: Records,
    *,
    now: Callable[[], datetime],
) -> Callable[[Plan], Digest]:
    """Makes the digest of a plan."""
    weekly, state = settings.digest_all_clear == "weekly", DigestStore(database)
    return lambda plan: Digest(plan, api, state, web, records, clock=now, weekly=weekly)


def make_notices(
    settings: Settings,
    api: SSLMonitor,
    database: Database,
    web: SlackWeb,
    records: Records,
    *,
    boards: Boards,
    now: Callable[[], datetime],
) -> Notices | None:
    """The notices between digests, unless they are turned off."""
    if not settings.notice_interval:
        return None
    return Notices(
        api,
        NoticeStore(database),
        web,
        records,
        boards,
        timezone=settings.digest_timezone,
        interval=settings.notice_interval,
        clock=now,
    )


def notice_interval(settings: Settings) -> timedelta:
    """How often changes are looked for: more often in an API on this machine."""
    here = urlsplit(settings.api_url).hostname in {"127.0.0.1", "::1", "localhost"}
    return min(settings.notice_interval, OWN_NOTICES) if here else settings.notice_interval


def make_access(settings: Settings, web: SlackWeb, now: Callable[[], datetime]) -> Access:
    """The guard that decides who may do what, and how often."""
    limits = {"scans": settings.user_scan_limit, "added hosts": settings.user_add_limit}
    return Access(web, settings.admins, clock=now, limits=limits)


def make_home(
    settings: Settings,
    api: SSLMonitor,
    records: Records,
    watches: Watches,
    database: Database,
    *,
    now: Callable[[], datetime],
) -> Home:
    """The Home tab, which shows the settings to everybody."""
    return Home(api, records, watches, DigestStore(database), clock=now, settings=settings)


def make_records(settings: Settings, database: Database) -> Records:
    """What the bot records, with what the environment says about digests and notices."""
    days, base = settings.digest_expire_days, settings.calendar_base
    return Records(database, days, settings.subscriptions, base)


@asynccontextmanager
async def running_bot(
    settings: Settings, database: Database, *, now: Callable[[], datetime] = clock
) -> AsyncIterator[Bot]:
    """The bot, ready: Slack can reach it, and the scheduler runs. Raises BotError, OSError.

    At the end it stops taking requests first, then lets the work end, then closes what that used.
    """
    async with AsyncExitStack() as stack:
        session, metrics = await stack.enter_async_context(make_session()), Metrics()
        api = make_api(settings, await stack.enter_async_context(make_session()), now, metrics)
        client = make_client(settings.slack_bot_token.reveal(), settings.slack_api_url, session)
        web = SlackWeb(client, session, metrics)
        await web.identify()
        records = make_records(settings, database)
        await records.refresh_rules()
        access = make_access(settings, web, now)
        often = settings.watch_interval
        watches = Watches(api, records, database, web, access.name_of, clock=now, interval=often)
        zone_of = records.subscriptions.zone_of
        boards = Boards(DigestStore(database), web, clock=now, zone_of=zone_of)
        slack = SlackBot(
            make_bolt(client, settings.slack_signing_secret.reveal(), lambda: web.identity),
            web,
            router,
            api,
            records=records,
            access=access,
            watches=watches,
            home=make_home(settings, api, records, watches, database, now=now),
            boards=boards,
            metrics=metrics,
            clock=now,
        )
        await slack.warm_up()
        digest = make_digest(settings, api, database, web, records, now=now)
        if digest is not None:
            await digest.start()
        make = digest_maker(settings, api, database, web, records, now=now)
        digests = Digests(digest, records, make)
        metrics.watch_digest(digests.lag)
        blindness = Blindness(api, digests, DigestStore(database), web, clock=now)
        scheduler = Scheduler(slack.tasks, api, digests, boards, now=now)
        bot = Bot(
            0, api, digest, digests, slack, None, watches, web, database, scheduler, records, now
        )
        notices = make_notices(settings, api, database, web, records, boards=boards, now=now)
        scheduler.start(watches, records, blindness, notices, notice_interval(settings))
        stack.callback(scheduler.jobs.shutdown, wait=False)
        stack.push_async_callback(slack.tasks.drain, DRAIN_SECONDS)
        stack.callback(scheduler.jobs.pause)
        await _listen(settings, bot, metrics, stack)
        yield bot


async def _listen(settings: Settings, bot: Bot, metrics: Metrics, stack: AsyncExitStack) -> None:
    """Take requests from Slack, by HTTP or by Socket Mode, and answer `/healthz`."""
    app, token = bot.slack.app, settings.slack_app_token.reveal()
    if settings.slack_mode == "socket":
        await bot.web.check_app_token(token)
        bot.sockets = Sockets(app, token, metrics=metrics)
    calendar = functools.partial(made_calendar, bot.api, bot.records, bot.now)
    server = HTTPServer(
        lambda: _health(settings, bot),
        None if bot.sockets else app,
        metrics=metrics,
        knows_key=settings.metrics_key.matches,
        calendar=calendar if settings.calendar_base else None,
    )
    bot.port = await server.start(settings.host, settings.port)
    stack.push_async_callback(server.close)
    if bot.sockets is not None:
        stack.push_async_callback(bot.sockets.close)
        await bot.sockets.start()


def _health(settings: Settings, bot: Bot) -> dict[str, Any]:
    sockets, digests = bot.sockets, bot.digests
    return {
        "ok": (sockets is None or sockets.connected > 0) and not bot.token_fault,
        "mode": settings.slack_mode,
        "sockets": sockets.connected if sockets else None,
        "slack": bot.token_fault or "ok",
        "database": bot.database.fault or "ok",
        "api": bot.api.fault or "ok",
        "scheduler": bot.scheduler.fault(),
        "digest": (digests.last_error or "ok") if digests.current() else "off",
    }


async def run(settings: Settings) -> None:
    """Run the bot until SIGTERM or Ctrl-C.

    Raises BotError or OSError if it can't start, SocketModeEnded if it can't go on.
    """
    async with (
        ended_by_signals(),
        open_database(settings.database_url) as database,
        own_api(settings, database) as complete,
        running_bot(complete, database) as bot,
    ):
        log.info("The database is %r.", database.engine.url)
        log.info("The bot is ready (%s mode, port %d).", settings.slack_mode, bot.port)
        await forever(bot.sockets.ended if bot.sockets else None)


async def post_digest(settings: Settings, *, again: bool) -> str:
    """Post today's digest, unless that was done; says what came of it. Raises BotError."""
    async with (
        open_database(settings.database_url) as database,
        own_api(settings, database) as complete,
        make_session() as session,
    ):
        api = make_api(complete, session)
        client = make_client(complete.slack_bot_token.reveal(), complete.slack_api_url, session)
        web = SlackWeb(client, session)
        await web.identify()
        await api.measure_clock()
        records = make_records(complete, database)
        await records.refresh_rules()
        digest = make_digest(complete, api, database, web, records, now=clock)
        try:
            if digest is None or await digest.post_now(again=again):
                return "Posted."
        except SlackRefused as fault:
            if not fault.may_not_post:
                raise
            raise BotError(
                f"The bot can't post in {complete.digest_channel} ({fault.reason}). Invite it."
            ) from fault
        if await digest.needs_none():
            return "All clear: nothing to post until next week. (--again posts it anyway.)"
        return "Already posted today. (--again posts it once more.)"


async def serve_embedded(settings: Settings, host: str, port: int) -> None:
    """Serve the embedded API alone, until SIGTERM or Ctrl-C. Raises OSError, ValueError."""
    async with ended_by_signals(), open_database(settings.database_url) as database:
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
    async with open_database(settings.database_url) as database:
        return await accounts.manage_keys(
            accounts.Accounts(database),
            given,
            scan_interval=settings.scan_interval,
            now=clock(),
            say=say,
        )
