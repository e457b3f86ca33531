"""The embedded API: started for a bot without an API, or served alone; and its keys.

Only here (and in `demo`) do the bot and the embedded API meet, and only by a URL.
"""

import argparse
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from bot.app.outside import clock
from bot.config import Secret, Settings
from bot.embedded import accounts
from bot.embedded.server import EmbeddedAPI, EmbeddedSettings
from bot.process import ended_by_signals, forever
from bot.store.database import Database
from bot.store.upgrade import open_database

log = logging.getLogger(__name__)


def scan_settings(settings: Settings, key: str) -> EmbeddedSettings:
    """The embedded API's settings. Raises ValueError if they can't be used."""
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
    """The settings with an API: if they name none, the embedded one is started on loopback.

    `hosts` maps names to addresses for its scanner; `scan_seconds` is the deadline of a scan.
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
        there = replace(settings, api_url=embedded.url, api_key=Secret(key), api_is_own=True)
        yield replace(there, api_write_method="POST")
    finally:
        await embedded.close()


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
