"""Builds the bot from its parts, starts it, and shuts it down in order."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bot.api.client import SSLMonitor
from bot.app.outside import clock, make_api, make_session, make_web, slack_session
from bot.app.parts import digest_maker, make_digest, make_records
from bot.commands import router
from bot.commands.home import Home
from bot.config import Settings
from bot.digest import Digest
from bot.recheck import Watches
from bot.slack.access import Access
from bot.slack.digests import Digests
from bot.slack.digests import calendar as made_calendar
from bot.slack.metrics import Metrics
from bot.slack.notices import Blindness, Notices
from bot.slack.row_buttons import RowLists
from bot.slack.rows import Boards
from bot.slack.scheduler import Scheduler
from bot.slack.web import SlackWeb
from bot.store.database import Database
from bot.store.digests import DigestStore
from bot.store.monitors import Records
from bot.store.notices import NoticeStore
from bot.store.scans import RunningScans

if TYPE_CHECKING:  # `python -m bot digest` works without Bolt, which the last two import
    from bot.slack.listeners import SlackBot
    from bot.slack.transport import Sockets

log = logging.getLogger(__name__)

#: How many seconds unfinished work may continue after SIGTERM.
DRAIN_SECONDS = 1.0
#: How often an API on this machine is asked for changes.
OWN_NOTICES = timedelta(minutes=1)


@dataclass(slots=True)
class Bot:
    """A running bot, with the parts that others need."""

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
        """Slack's reason for refusing the bot token; empty while it works."""
        return self.web.token_fault


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
    """The notices between digests; None if they are turned off."""
    if not settings.notice_interval:
        return None
    return Notices(
        api, NoticeStore(database), web, records, boards,
        interval=settings.notice_interval, clock=now,
    )  # fmt: skip


def notice_interval(settings: Settings) -> timedelta:
    """How often to look for changes; more often in an API on this machine."""
    here = urlsplit(settings.api_url).hostname in {"127.0.0.1", "::1", "localhost"}
    return min(settings.notice_interval, OWN_NOTICES) if here else settings.notice_interval


def make_access(settings: Settings, web: SlackWeb, now: Callable[[], datetime]) -> Access:
    """The guard that decides who may do what, and how often."""
    limits = {"scans": settings.user_scan_limit, "added hosts": settings.user_add_limit}
    return Access(web, settings.admins, clock=now, limits=limits)


@asynccontextmanager
async def running_bot(
    settings: Settings, database: Database, *, now: Callable[[], datetime] = clock
) -> AsyncIterator[Bot]:
    """Run the bot: it is ready when the body begins. Raises BotError, OSError.

    At the end, it stops accepting requests, lets work finish, then closes what that used.
    """
    from bot.slack.listeners import BoltApp, SlackBot  # noqa: PLC0415 - 0.1 s for Bolt

    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(slack_session(settings.slack_api_url))
        to_api, metrics = await stack.enter_async_context(make_session(settings.api_url)), Metrics()
        api = make_api(settings, to_api, now, metrics)
        web, api.turn = make_web(settings, session, now, metrics), RunningScans(database).turn
        await web.identify()
        stack.push_async_callback(api.close)
        records, state = make_records(settings, database), DigestStore(database)
        await records.refresh_rules()
        access, often = make_access(settings, web, now), settings.watch_interval
        watches = Watches(api, records, database, web, access.name_of, clock=now, interval=often)
        boards = Boards(state, web, records, RowLists(), clock=now)
        slack = SlackBot(
            BoltApp(web, settings.slack_signing_secret.reveal(), metrics.acks), web, router, api,
            home=Home(api, records, watches, state, clock=now, settings=settings), clock=now,
            records=records, access=access, watches=watches, boards=boards, metrics=metrics,
        )  # fmt: skip
        await slack.warm_up()
        digest = make_digest(settings, api, database, web, records, now=now)
        if digest is not None:
            await digest.start()
        make = digest_maker(api, database, web, records, now=now)
        digests = Digests(digest, records, make)
        metrics.watch_digest(digests.lag)
        blindness = Blindness(api, digests, state, web, clock=now)
        scheduler = Scheduler(slack, api, digests, boards, now=now)
        bot = Bot(
            0, api, digest, digests, slack, None, watches, web, database, scheduler, records, now
        )
        notices = make_notices(settings, api, database, web, records, boards=boards, now=now)
        scheduler.start(watches, records, blindness, notices, notice_interval(settings))
        stack.callback(scheduler.jobs.shutdown, wait=False)
        stack.push_async_callback(records.placeholders.close)
        stack.push_async_callback(slack.tasks.drain, DRAIN_SECONDS)
        stack.callback(scheduler.jobs.pause)
        await _listen(settings, bot, metrics, stack)
        yield bot


async def _listen(settings: Settings, bot: Bot, metrics: Metrics, stack: AsyncExitStack) -> None:
    """Take requests from Slack, by HTTP or by Socket Mode, and answer `/healthz`."""
    from bot.slack.transport import HTTPServer, Sockets  # noqa: PLC0415 - as in `running_bot`

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
        "notices": bot.scheduler.notices.fault if bot.scheduler.notices else "off",
        "digest": (digests.last_error or "ok") if digests.current() else "off",
    }
