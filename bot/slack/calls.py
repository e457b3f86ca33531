"""Calls to Slack: retried where that is safe, and with simpler blocks if Slack refuses them.

A message whose blocks Slack refuses is sent again as plain text, so that an answer is never lost
to a block.
"""

import logging
import re
from asyncio import sleep
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from yarl import URL

from bot.blocks import Message, as_text, fallback_text, plain
from bot.errors import BotError, SlackLimited, SlackRefused, SlackUnreachable
from bot.slack.answers import BAD_BLOCKS, failure_of, failure_of_text
from bot.slack.metrics import Metrics

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Longer waits raise SlackLimited, and the asker is told in another way.
PATIENCE_SECONDS = 5.0
#: How long to wait after a limit whose Retry-After is missing or malformed.
USUAL_WAIT = 1.0
LIMITED_RETRIES = 2
#: How long to wait before retrying an idempotent request.
RETRY_WAITS = (0.5, 2.0)
#: How many uses a response URL has, how many of them progress leaves for the answer, and for how
#: many URLs the uses are counted.
RESPONSE_URL_USES, KEPT_FOR_ANSWER, RESPONSE_URLS_KEPT = 5, 3, 10_000
#: The most bytes of a reply: a page of the history has some megabytes, a response URL a few words.
MOST_BYTES, MOST_WORDS = 32 * 2**20, 64 * 2**10
#: Keeps Slack from adding previews of linked pages.
NO_PREVIEWS = {"unfurl_links": False, "unfurl_media": False}


def content(message: Message) -> dict[str, Any]:
    """A message's text and blocks, as arguments of the methods that show it."""
    return {"text": fallback_text(message), "blocks": list(message.blocks)}


def proxies_for(url: str) -> dict[str, str]:
    """The environment's proxies by scheme; none for this machine and for what NO_PROXY lists.

    NO_PROXY lists hosts (and so their subdomains) with or without a port, addresses, networks such
    as 10.0.0.0/8, and `*`. Neither urllib nor aiohttp reads networks, ports or `*.example.com`.
    """
    parts, found = urlsplit(url), getproxies()
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or (80 if parts.scheme in {"http", "ws"} else 443)
    listed = re.split(r"[\s,]+", f"localhost,127.0.0.0/8,::1,{found.pop('no', '')}".lower())
    return {} if any(_covers(entry, host, port) for entry in listed) else found


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY is about this host and port."""
    with suppress(ValueError):
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    name = entry.removesuffix(f":{port}").strip("[]").removeprefix("*").strip(".")
    return entry == "*" or (bool(name) and f".{host}".endswith(f".{name}"))


async def through_proxy(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request through the proxy for its host: response URLs and uploads have their own."""
    if proxy := proxies_for(str(request.url)).get(request.url.scheme):
        url, auth = aiohttp.helpers.strip_auth_from_url(URL(proxy))
        request.update_proxy(url, auth, None)
    return await handler(request)


async def follow_nothing(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turn a redirect into an error: what is sent to Slack must not go to another host."""
    response = await handler(request)
    if response.status in {301, 302, 303, 307, 308}:
        response.close()
        raise aiohttp.ClientError("Slack sent a redirect")
    return response


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is, from auth.test; it only answers members of its own workspace.

    `date` is the time by Slack's clock (RFC 9110, section 6.6.1).
    """

    team_id: str = ""
    user_id: str = ""
    bot_id: str = ""
    scopes: frozenset[str] = frozenset()
    team: str = ""
    user: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """A user as Slack knows them: name, workspaces, and kind.

    In Enterprise Grid, a member can have several workspaces. A guest is restricted to some
    channels; a stranger belongs to another organization.
    """

    name: str
    teams: frozenset[str]
    guest: bool
    stranger: bool
    gone: bool = False
    """Whether the account is deactivated."""


class ShortReply(aiohttp.ClientResponse):
    """A reply that is read up to MOST_BYTES, as sent and decompressed."""

    async def read(self) -> bytes:
        """The whole body. Raises ClientPayloadError if it is too long."""
        if self._body is None:
            self._body = await read_up_to(MOST_BYTES, self.content)
        return await super().read()


async def read_up_to(most: int, body: aiohttp.StreamReader) -> bytes:
    """The whole body, decompressed. Raises ClientPayloadError if it is longer than `most` bytes."""
    found = bytearray()
    async for part in body.iter_any():
        found += part
        if max(len(found), body.total_raw_bytes) > most:
            raise aiohttp.ClientPayloadError("Slack's reply is too long")
    return bytes(found)


class SlackCalls:
    """Calls methods of the Web API, and response URLs, with typed errors and metrics.

    `token_fault` is Slack's reason for refusing the bot token; empty while the token works.
    """

    def __init__(
        self,
        client: AsyncWebClient,
        session: aiohttp.ClientSession,
        clock: Callable[[], datetime],
        metrics: Metrics | None = None,
    ) -> None:
        self.client, self._clock = client, clock
        self._answered: tuple[Mapping[str, str], datetime] = ({}, clock())
        self._metrics = metrics or Metrics()
        self._session = session
        self.token_fault = ""
        self._newest_edits: dict[tuple[str, ...], object] = {}
        self.pace: Callable[[str, str, float], Awaitable[object]] | None = None
        self._uses: dict[str, int] = {}

    async def respond(
        self, url: str, message: Message, *, replace: bool = False, progress: bool = False
    ) -> None:
        """Answer through a response URL: in place of its message, or privately.

        Slack accepts five answers per URL (docs.slack.dev, handling user interaction). Mere
        `progress` is skipped if it would leave too few for the answer and its retries.
        """
        if progress and self._uses.get(url, 0) >= RESPONSE_URL_USES - KEPT_FOR_ANSWER:
            return

        async def send(sent: Message) -> None:
            how = {"response_type": "ephemeral", "replace_original": replace, **NO_PREVIEWS}
            await self._respond(url, how | content(sent))

        if replace:
            await self._edit((url,), lambda: with_fallback(send, message))
        else:
            await patiently(lambda: with_fallback(send, message), idempotent=False)

    async def _respond(self, url: str, body: Mapping[str, Any]) -> None:
        # whoever knows the URL can use it, so no log line and no error may contain it
        if self._uses.get(url, 0) >= RESPONSE_URL_USES:
            raise SlackRefused("used_url")
        self._uses[url] = self._uses.get(url, 0) + 1
        if len(self._uses) > RESPONSE_URLS_KEPT:
            del self._uses[next(iter(self._uses))]
        try:
            async with self._session.post(url, json=body, allow_redirects=False) as answer:
                said = await read_up_to(MOST_WORDS, answer.content)
                text = said.decode("utf-8-sig", "replace").strip()
                ok = answer.status == 200 and text == "ok"
                fault = None if ok else failure_of_text(answer.status, text, answer.headers)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            self._count("response_url", SlackUnreachable(""))
            raise SlackUnreachable("Slack's response URL did not answer.") from None
        self._count("response_url", fault)
        if fault is not None:
            raise fault

    async def _once(
        self, method: Callable[..., Awaitable[AsyncSlackResponse]], **arguments: Any
    ) -> AsyncSlackResponse:
        """Call a method once, and note whether Slack still accepts the token."""
        name = method.__name__.replace("_", ".")
        try:
            answer = await asked(method, **arguments)
        except (SlackRefused, SlackUnreachable) as fault:
            self._count(name, fault)
            if isinstance(fault, SlackRefused) and fault.bad_token and "app_token" not in arguments:
                self.token_fault = fault.reason
            raise
        self._count(name)
        self._answered, self.token_fault = (answer.headers, self._clock()), ""
        return answer

    async def _write(
        self, method: Callable[..., Awaitable[AsyncSlackResponse]], **arguments: Any
    ) -> AsyncSlackResponse:
        """Call a method that must not take effect twice."""
        return await patiently(lambda: self._once(method, **arguments), idempotent=False)

    async def _read(
        self, method: Callable[..., Awaitable[AsyncSlackResponse]], **arguments: Any
    ) -> AsyncSlackResponse:
        """Call a method that can be repeated safely."""
        return await patiently(lambda: self._once(method, **arguments), idempotent=True)

    async def _edit(
        self,
        place: tuple[str, ...],
        send: Callable[[], Awaitable[object]],
        before: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Put something in a place; retry only until a newer edit of that place begins."""
        edit = self._newest_edits[place] = object()

        def is_newest() -> bool:
            return self._newest_edits.get(place) is edit

        try:
            if before is not None:
                await before()
            if is_newest():
                with suppress(Superseded):
                    await patiently(send, idempotent=True, wanted=is_newest)
        finally:
            if is_newest():
                del self._newest_edits[place]

    def _count(self, method: str, fault: BotError | None = None) -> None:
        """Count a call by its result: done, refused, limited, or unknown."""
        match fault:
            case None:
                answer = "done"
            case SlackLimited():
                answer = "limited"
            case SlackRefused():
                answer = "refused"
            case _:
                answer = "unknown"
        self._metrics.slack_calls.labels(method, answer).inc()


async def asked(
    method: Callable[..., Awaitable[AsyncSlackResponse]], **arguments: Any
) -> AsyncSlackResponse:
    """Call a method of the Web API once. Raises SlackRefused, SlackLimited or SlackUnreachable.

    The errors contain neither token nor body.
    """
    try:
        answer = await method(**arguments)
    except SlackApiError as fault:
        raise failure_of(fault.response, method.__name__) from None
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
        raise SlackUnreachable(f"Slack did not answer ({type(fault).__name__}).") from None
    except (AttributeError, RecursionError):  # the SDK takes any JSON for an object
        raise SlackUnreachable("Slack's answer could not be read.") from None
    if answer.get("ok") is not True:  # for slack_sdk, "false" is true
        raise failure_of(answer, method.__name__)
    return answer


class Superseded(Exception):
    """The request was not retried, because a newer one has replaced it."""


async def patiently(
    send: Callable[[], Awaitable[T]], *, idempotent: bool, wanted: Callable[[], bool] = lambda: True
) -> T:
    """Send a request; wait out short limits, and retry it twice if it is idempotent.

    Before each retry, `wanted` is asked whether it still makes sense; if not, Superseded is raised.
    """
    limits, waits = LIMITED_RETRIES, iter(RETRY_WAITS if idempotent else ())
    while True:
        try:
            return await send()
        except SlackLimited as fault:
            wait = USUAL_WAIT if fault.retry_after is None else fault.retry_after
            if wait > PATIENCE_SECONDS or limits == 0:
                raise
            limits -= 1
        except SlackUnreachable:
            later = next(waits, None)
            if later is None:
                raise
            wait = later
        await sleep(wait)
        if not wanted():
            raise Superseded


async def with_fallback(send: Callable[[Message], Awaitable[T]], message: Message) -> T:
    """Send a message; if Slack refuses its blocks, without the new ones, or as plain text."""
    try:
        return await send(message)
    except SlackRefused as fault:
        if fault.reason not in BAD_BLOCKS:
            raise
        text = plain(message.text, 80)
        log.error("Slack refused the blocks of “%s”; resending a simpler version", text)  # noqa: TRY400 - the refusal says no more than its name
    if message.fallback:
        try:
            return await send(replace(message, blocks=message.fallback))
        except SlackRefused as fault:
            if fault.reason not in BAD_BLOCKS:
                raise
    return await send(as_text(message))
