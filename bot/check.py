"""`python -m bot check`: what is configured and whether it works, a line for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from bot.app import clock, make_api, make_session, own_api
from bot.config import SCOPES, Settings
from bot.errors import BotError, SlackRefused
from bot.slack.web import SlackWeb, make_client
from bot.store.database import Database
from bot.store.upgrade import open_database

#: Slack refuses signatures that are five minutes old; half of that asks for attention.
CLOCK_TOLERANCE = timedelta(seconds=150)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `works` is None for what is not set, or only worth knowing."""

    works: bool | None
    what: str
    text: str

    def __str__(self) -> str:
        mark = {True: "ok  ", False: "FAIL", None: "note"}[self.works]
        return f"{mark} {self.what}: {self.text}"


async def check(settings: Settings, say: Callable[[str], object]) -> int:
    """Report on everything, by `say`; gives the number of faults."""
    faults = 0
    async for finding in _findings(settings):
        say(str(finding))
        faults += finding.works is False
    say("Everything that is set works." if not faults else f"Faults: {faults}.")
    return faults


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(make_session())
        async for finding in _slack(settings, session):
            yield finding
        complete = settings
        try:
            database = await stack.enter_async_context(open_database(settings.database_url))
        except (BotError, OSError) as fault:
            yield Finding(False, "Database", f"{str(fault).rstrip('.')}. Check DATABASE_URL.")
        else:
            yield _database(database)
            complete = await stack.enter_async_context(own_api(settings, database))
        if complete.api_url:
            async for finding in _api(complete, session, own=not settings.api_url):
                yield finding


def _database(database: Database) -> Finding:
    if database.engine.dialect.name != "sqlite":
        return Finding(True, "Database", "PostgreSQL, with its tables up to date.")
    text = "an SQLite file, with its tables up to date. On a disk that does not last, use "
    return Finding(True, "Database", f"{text}PostgreSQL.")


async def _slack(settings: Settings, session: aiohttp.ClientSession) -> AsyncIterator[Finding]:
    client = make_client(settings.slack_bot_token.reveal(), settings.slack_api_url, session)
    web = SlackWeb(client, session)
    try:
        identity = await web.identify()
    except SlackRefused as fault:
        yield Finding(False, "Slack", f"SLACK_BOT_TOKEN does not work: {fault.reason}.")
        return
    except BotError as fault:
        yield Finding(False, "Slack", str(fault))
        return
    yield Finding(True, "Slack", f"signed in to {identity.team} as {identity.user}.")
    for finding in _scopes(identity.scopes):
        yield finding
    if identity.date:
        yield _clock("Slack", parsedate_to_datetime(identity.date))
    yield await _transport(settings, web)
    yield await _channel(settings, web)


def _scopes(granted: frozenset[str]) -> list[Finding]:
    if not granted:
        return [Finding(None, "Scopes", "Slack did not say which the token has.")]
    findings = [
        Finding(
            not needed and None,
            "Scopes",
            f"{scope} is missing, which lets the bot {reason}. "
            "Add it in the app's settings, and install the app again.",
        )
        for scope, (needed, reason) in SCOPES.items()
        if scope not in granted
    ]
    return findings or [Finding(True, "Scopes", f"all {len(SCOPES)} are granted.")]


async def _transport(settings: Settings, web: SlackWeb) -> Finding:
    if settings.slack_mode == "http":
        text = f"HTTP mode: Slack must reach /slack/events on port {settings.port}."
        return Finding(None, "Requests", text)
    try:
        await web.check_app_token(settings.slack_app_token.reveal())
    except BotError as fault:
        return Finding(False, "Requests", str(fault))
    return Finding(True, "Requests", "Socket Mode, and SLACK_APP_TOKEN works.")


async def _channel(settings: Settings, web: SlackWeb) -> Finding:
    name = settings.digest_channel
    if not name:
        return Finding(None, "Digest", "DIGEST_CHANNEL is not set, so there is no daily digest.")
    try:
        channel = await web.channel(name)
    except SlackRefused as fault:
        if fault.reason == "missing_scope":
            text = f"the token may not look at {name} (scopes channels:read, groups:read)."
            return Finding(None, "Digest", text)
        return Finding(False, "Digest", f"{name} can't be seen: {fault.reason}. Invite the bot.")
    except BotError as fault:
        return Finding(False, "Digest", str(fault))
    return _judged(settings, channel, web.identity.scopes)


def _judged(settings: Settings, channel: Mapping[str, Any], scopes: frozenset[str]) -> Finding:
    """What is to be said of the digest's channel, from conversations.info."""
    label = f"#{channel.get('name', settings.digest_channel)}"
    at = f"{settings.digest_time:%H:%M} {settings.digest_timezone.key}"
    if channel.get("is_archived"):
        return Finding(False, "Digest", f"{label} is archived.")
    outside = not channel.get("is_member")
    if outside and (channel.get("is_private") or "chat:write.public" not in scopes):
        return Finding(False, "Digest", f"the bot is not in {label}. Invite it there.")
    if channel.get("is_ext_shared"):
        return Finding(None, "Digest", f"{label} is shared with others, who will see host names.")
    if outside:
        text = f"every day at {at} in {label}. Invite the bot, so that it can look what it posted."
        return Finding(None, "Digest", text)
    return Finding(True, "Digest", f"every day at {at} in {label}.")


async def _api(
    settings: Settings, session: aiohttp.ClientSession, *, own: bool
) -> AsyncIterator[Finding]:
    api = make_api(settings, session)
    which = "the embedded API of this process" if own else settings.api_url
    try:
        answer = await api.ping()
        account = await api.account()
        offset = await api.measure_clock()
    except BotError as fault:
        yield Finding(False, "SSLmonitor", f"{which} does not work: {fault}")
        return
    yield Finding(True, "SSLmonitor", f"{which} answers, and takes key #{answer.apikey_id}.")
    if account.available is not None:
        text = f"{account.used} of {account.limit} monitors are used, {account.available} are free."
        yield Finding(account.available > 0 or None, "Account", text)
    if answer.date_time is not None:
        yield _clock("SSLmonitor", answer.date_time - offset)


def _clock(whose: str, at: datetime) -> Finding:
    apart = abs(clock() - at.astimezone(UTC))
    if apart > CLOCK_TOLERANCE:
        text = f"this machine and {whose} are {int(apart.total_seconds())} s apart. Set its clock."
        return Finding(False, "Clock", text)
    return Finding(True, "Clock", f"this machine and {whose} agree.")
