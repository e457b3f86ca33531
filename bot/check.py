"""`python -m bot check`: what is set and whether it works, one line each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp

from bot.app.engine import own_api
from bot.app.outside import clock, make_api, make_session, make_web, slack_session
from bot.blocks import counted
from bot.config import SCOPES, SETTINGS, Settings, unknown_variables
from bot.errors import BotError, SlackRefused
from bot.slack.answers import date_of
from bot.slack.web import SlackWeb
from bot.store.database import Database
from bot.store.subscriptions import Subscriptions
from bot.store.upgrade import open_database

if TYPE_CHECKING:
    from bot.dates import Subscription

#: Slack rejects signatures that are five minutes old; a clock that is wrong by half of that is a
#: fault.
CLOCK_TOLERANCE = timedelta(seconds=150)
_GONE = "is deactivated or doesn't exist"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `works` is None for mere information."""

    works: bool | None
    what: str
    text: str

    def __str__(self) -> str:
        mark = {True: "ok  ", False: "FAIL", None: "note"}[self.works]
        return f"{mark} {self.what}: {self.text}"


async def check(
    settings: Settings, environ: Mapping[str, str], say: Callable[[str], object]
) -> int:
    """Report on everything through `say`; returns the number of faults.

    `environ` is where the settings were read from.
    """
    faults = 0
    async for finding in _findings(settings, environ):
        say(str(finding))
        faults += finding.works is False
    say(f"{counted(faults, 'fault')} found." if faults else "No faults found.")
    return faults


async def _findings(settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[Finding]:
    for finding in _settings(environ):
        yield finding
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(slack_session(settings.slack_api_url))
        web = make_web(settings, session)
        async for finding in _slack(settings, web):
            yield finding
        complete = settings
        try:
            database = await stack.enter_async_context(open_database(settings.database_url))
        except (BotError, OSError) as fault:
            why = str(fault).rstrip(".")
            advice = "" if "DATABASE_URL" in why else " Check DATABASE_URL."
            yield Finding(False, "Database", f"{why}.{advice}")
        else:
            yield _database(database)
            known = Subscriptions(
                database,
                settings.subscriptions,
                weekly=settings.weekly,
                notified=bool(settings.notice_interval),
            )
            async with database.quick_read() as connection:
                await known.refresh(connection)
            async for finding in _channels(web, known):
                yield finding
            async for finding in _woken(settings, known, web):
                yield finding
            complete = await stack.enter_async_context(own_api(settings, database))
        if complete.api_url:
            to_api = await stack.enter_async_context(make_session(complete.api_url))
            async for finding in _api(complete, to_api, own=not settings.api_url):
                yield finding


def _settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The settings that are not left at their defaults, then probable typos."""
    for setting in SETTINGS.values():
        for source in setting.sources(environ):
            text = "is set." if setting.secret else " ".join(environ[source].split())
            yield Finding(None, source, text)
    for unknown in unknown_variables(environ):
        yield Finding(False if unknown.is_fault else None, "Settings", str(unknown))


def _database(database: Database) -> Finding:
    if database.engine.dialect.name != "sqlite":
        return Finding(True, "Database", "PostgreSQL; its tables are up to date.")
    text = "an SQLite file; its tables are up to date. On an ephemeral filesystem, use PostgreSQL."
    return Finding(True, "Database", text)


async def _slack(settings: Settings, web: SlackWeb) -> AsyncIterator[Finding]:
    try:
        identity = await web.identify()
    except SlackRefused as fault:
        yield Finding(False, "Slack", f"Slack refuses SLACK_BOT_TOKEN: {fault.reason}.")
        return
    except BotError as fault:
        yield Finding(False, "Slack", str(fault))
        return
    yield Finding(True, "Slack", f"signed in to {identity.team} as {identity.user}.")
    for finding in _scopes(identity.scopes):
        yield finding
    for admin in sorted(settings.admins):
        if gone := await _admin(web, admin):
            yield gone
    if date := date_of({"Date": identity.date}):
        yield _clock("Slack", date)
    yield await _transport(settings, web)


def _scopes(granted: frozenset[str]) -> list[Finding]:
    if not granted:
        return [Finding(None, "Scopes", "Slack did not report the scopes of the token.")]
    findings = [
        Finding(
            False if scope.required else None,
            "Scopes",
            f"{name} is missing: {scope.without}. "
            "Add it in the Slack app's settings, then reinstall the app.",
        )
        for name, scope in SCOPES.items()
        if name not in granted
    ]
    return findings or [Finding(True, "Scopes", f"all {len(SCOPES)} are granted.")]


async def _admin(web: SlackWeb, admin: str) -> Finding | None:
    """What is wrong with a user or group in SSL_ADMINS; None if nothing is."""
    try:
        if await web.id_to_mention(admin) is not None:
            return None
    except BotError as fault:
        return Finding(None, "Admins", f"could not check that {admin} exists ({_why(fault)}).")
    return Finding(False, "Admins", f"{admin} {_GONE}. Correct SSL_ADMINS.")


def _why(fault: BotError) -> str:
    return fault.reason if isinstance(fault, SlackRefused) else str(fault).rstrip(".")


async def _transport(settings: Settings, web: SlackWeb) -> Finding:
    if settings.slack_mode == "http":
        text = f"HTTP mode: Slack must be able to reach /slack/events on port {settings.port}."
        return Finding(None, "Requests", text)
    try:
        await web.check_app_token(settings.slack_app_token.reveal())
    except BotError as fault:
        return Finding(False, "Requests", str(fault))
    return Finding(True, "Requests", "Socket Mode; SLACK_APP_TOKEN works.")


async def _channels(web: SlackWeb, known: Subscriptions) -> AsyncIterator[Finding]:
    """Whether the bot can post in the channels that get a digest or notices."""
    digests = {each.channel: each for each in known.digests()}
    notices = {each.channel: each for each in known.notices()}
    if not digests:
        text = "DIGEST_CHANNEL is not set or its digest is off, and no other channel gets one."
        yield Finding(None, "Digest", text)
    for each in (notices | digests).values() if web.identity.bot_id else ():
        yield await _channel(web, each)


async def _channel(web: SlackWeb, each: Subscription) -> Finding:
    what, off = each.kind.capitalize(), f"or type /ssl {each.kind} off {each.channel}."
    try:
        channel = await web.channel(each.channel)
    except SlackRefused as fault:
        if fault.reason == "missing_scope":
            text = f"could not check {each.channel}: the token lacks channels:read or groups:read."
            return Finding(None, what, text)
        text = f"the bot can't see {each.channel} ({fault.reason}). Invite it to the channel, {off}"
        return Finding(False, what, text)
    except BotError as fault:
        return Finding(False, what, str(fault))
    return _verdict(each, channel, web.identity.scopes, off)


async def _woken(settings: Settings, known: Subscriptions, web: SlackWeb) -> AsyncIterator[Finding]:
    """Where somebody is mentioned when a host breaks, and where nobody is."""
    found = known.notices() if settings.notice_interval else []
    for each in found:
        if each.runs(clock()):
            yield await _mention(web, each)
        else:
            until = f"{each.paused_until:%Y-%m-%d %H:%M} UTC"
            yield Finding(None, "Notices", f"notices are paused in {each.channel} until {until}.")
    if not found:
        why = "no channel gets notices" if settings.notice_interval else "NOTICE_INTERVAL is 0"
        yield Finding(None, "Notices", f"{why}, so nobody is told when a host breaks.")


async def _mention(web: SlackWeb, each: Subscription) -> Finding:
    """Who is mentioned in a channel, if Slack knows that user or group."""
    nobody, whom = f"nobody is mentioned in {each.channel} when a host breaks", each.mention
    advice = "Set NOTICE_MENTION, or type /ssl notices here mention @oncall there."
    if not whom:
        return Finding(None, "Notices", f"{nobody}. {advice}")
    text = f"new breakages mention {whom} in {each.channel}."
    try:
        if await web.id_to_mention(whom) is None:
            return Finding(False, "Notices", f"{nobody}: {whom} {_GONE}. {advice}")
    except BotError as fault:
        unsure = f"{text} Could not check that {whom} exists ({_why(fault)})."
        return Finding(None, "Notices", unsure)
    return Finding(True, "Notices", text)


def _verdict(
    each: Subscription, channel: Mapping[str, Any], scopes: frozenset[str], off: str
) -> Finding:
    """Whether the bot can post in this channel, as conversations.info returns it."""
    label, what = f"#{channel.get('name', each.channel)}", each.kind.capitalize()
    when = f"they are posted in {label}."
    if what == "Digest":
        when = f"it is posted in {label} at {each.when}."
    if channel.get("is_archived"):
        return Finding(False, what, f"{label} is archived. Unarchive it, {off}")
    outside = not channel.get("is_member")
    if outside and (channel.get("is_private") or "chat:write.public" not in scopes):
        return Finding(False, what, f"the bot is not in {label}. Invite it, {off}")
    if channel.get("is_ext_shared"):
        text = f"{label} is shared with other organizations; they will see host names."
        return Finding(None, what, text)
    if outside:
        text = f"{when} Invite the bot, so that it can find what it has posted."
        return Finding(None, what, text)
    return Finding(True, what, when)


async def _api(
    settings: Settings, session: aiohttp.ClientSession, *, own: bool
) -> AsyncIterator[Finding]:
    api = make_api(settings, session)
    label = "the embedded API" if own else settings.api_url
    try:
        reply = await api.ping()
        account = await api.account()
        offset = await api.measure_clock()
        lost = (await api.list()).unreadable
    except BotError as fault:
        yield Finding(False, "SSLmonitor", f"{label} does not work: {fault}")
        return
    number = "" if reply.apikey_id is None else f" (#{reply.apikey_id})"
    yield Finding(True, "SSLmonitor", f"{label} accepts the key{number}.")
    if lost:
        text = f"{counted(lost, 'monitor')} can't be read. Until all can, notices may be missing."
        yield Finding(False, "Monitors", text)
    if account.available is not None:
        text = f"{account.used} of {account.limit} monitors are used, {account.available} are free."
        yield Finding(account.available > 0 or None, "Account", text)
    if reply.date_time is not None:
        yield _clock("SSLmonitor", reply.date_time - offset)


def _clock(owner: str, at: datetime) -> Finding:
    difference = abs(clock() - at.astimezone(UTC))
    if difference > CLOCK_TOLERANCE:
        seconds = int(difference.total_seconds())
        text = f"this machine's clock is {seconds} s off {owner}'s. Synchronize it (NTP)."
        return Finding(False, "Clock", text)
    return Finding(True, "Clock", f"this machine's clock agrees with {owner}'s.")
