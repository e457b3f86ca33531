"""What the programs use of the outside world: the wall clock, connections, and the API's client."""

import functools
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp

from bot.api.client import SSLMonitor
from bot.config import Settings
from bot.errors import ConfigError
from bot.slack.calls import ShortReply, follow_nothing, proxies_for, through_proxy
from bot.slack.metrics import Metrics
from bot.slack.web import SlackWeb, make_client

log = logging.getLogger(__name__)

SLACK_SECONDS = 15.0
#: With aiohttp's 64 KiB, 33 MB of monitor/list take twice as long to arrive.
READ_AT_ONCE = 2**18

#: The only wall clock; all other code gets it, or a time, as an argument.
clock: Callable[[], datetime] = functools.partial(datetime.now, UTC)


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
        timing=(metrics or Metrics()).api.labels,
        name="embedded" if settings.api_is_own else "",
    )


def _trusting(file: Path) -> ssl.SSLContext:
    """The usual TLS context, which also trusts the CAs in a file. Raises ConfigError."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise ConfigError(["SSLMONITOR_CA_FILE contains no PEM certificate."]) from None
    return context


def make_session(url: str) -> aiohttp.ClientSession:
    """A session for the API at this URL, through the environment's proxies.

    Slack has its own, so that a hanging API can't use up the connections to Slack. `trust_env` is
    only on if there is a proxy, since it makes aiohttp read ~/.netrc for every request. Raises
    ConfigError for a proxy that can't be used.
    """
    return _session(trust_env=_needs_proxy(url))


def slack_session(url: str) -> aiohttp.ClientSession:
    """A session for Slack, whose Web API has this URL. Raises ConfigError.

    The SDK leaves its timeout to the session.
    """
    _needs_proxy(url)
    proxied = [through_proxy] if getproxies() else []
    return _session(middlewares=[follow_nothing, *proxied], response_class=ShortReply)


def _session(**more: Any) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=SLACK_SECONDS)
    return aiohttp.ClientSession(
        timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=READ_AT_ONCE, **more
    )


def _needs_proxy(url: str) -> bool:
    """Whether there is a proxy for this URL. Raises ConfigError if it can't be used."""
    found = proxies_for(url)
    proxies = {kind: found.get(kind, "") for kind in ("http", "https")}
    if faults := [fault for kind, proxy in proxies.items() if (fault := _fault(kind, proxy))]:
        raise ConfigError(faults)
    return any(proxies.values())


def _fault(kind: str, proxy: str) -> str:
    """What is wrong with a proxy's URL, which isn't repeated since it may contain a password."""
    try:
        parts = urlsplit(proxy)
        is_usable = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if is_usable or not proxy:
        return ""
    return (
        f"{kind.upper()}_PROXY is invalid. Use http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT "
        "with special characters as %XX."
    )


def make_web(
    settings: Settings,
    session: aiohttp.ClientSession,
    now: Callable[[], datetime] = clock,
    metrics: Metrics | None = None,
) -> SlackWeb:
    """The client of Slack's Web API, with the bot token of the settings."""
    client = make_client(settings.slack_bot_token.reveal(), settings.slack_api_url, session)
    return SlackWeb(client, session, now, metrics)
