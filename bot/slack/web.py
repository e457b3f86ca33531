"""The door to Slack: the Web API methods and response URLs that the bot uses, with typed errors.

Everything that the bot says leaves here. A message that Slack refuses for its blocks is sent again
as plain text, so that an answer is never lost to a block.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.http_retry.request import HttpRequest
from slack_sdk.http_retry.response import HttpResponse
from slack_sdk.http_retry.state import RetryState
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.blocks import (
    MAX_FALLBACK,
    Address,
    Block,
    Form,
    Message,
    packed,
    plain,
    plain_text,
    section,
)
from bot.errors import BotError, SlackRefused, SlackUnreachable

log = logging.getLogger(__name__)
T = TypeVar("T")

#: What Slack says of blocks that it does not take; of a modal's, `invalid_arguments`.
BAD_BLOCKS = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "invalid_arguments"}
)
#: Slack's Retry-After in seconds that the bot waits out before it says anything.
PATIENCE_SECONDS = 5.0
HISTORY_PAGE = 200
#: How far the bot's clock may be ahead of Slack's when it looks for what it posted.
CLOCK_MARGIN = timedelta(minutes=10)
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is, from auth.test: its own workspace decides whom it answers.

    `date` is Slack's clock as its answer showed it (RFC 9110, section 6.6.1).
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
    """A user as Slack knows them: the name they go by, their workspace, and their standing.

    A guest is restricted to some channels; a stranger belongs to another organisation.
    """

    name: str
    team_id: str
    guest: bool
    stranger: bool


class BriefRateLimits(AsyncRateLimitErrorRetryHandler):
    """Waits out a rate limit only where that is short: an asker is told sooner by another way."""

    async def _can_retry_async(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        limited = await super()._can_retry_async(
            state=state, request=request, response=response, error=error
        )
        headers = response.headers if response is not None else {}
        asked = next((v for k, v in headers.items() if k.lower() == "retry-after"), ["1"])
        wait = asked[0] if isinstance(asked, list) else asked
        return limited and float(wait) <= PATIENCE_SECONDS


def make_client(token: str, api_url: str, session: aiohttp.ClientSession) -> AsyncWebClient:
    """The SDK's client on a shared session.

    Only rate limits are retried: the SDK's usual handler sends a message twice when a connection
    drops after Slack took it.
    """
    return AsyncWebClient(
        token,
        base_url=api_url,
        session=session,
        retry_handlers=[BriefRateLimits(max_retry_count=2)],
    )


def _fallback(message: Message) -> str:
    """The lock-screen line: plain text in our hands, mrkdwn in Slack's."""
    return plain(message.text, MAX_FALLBACK).translate(_ENTITIES)


def _as_text(message: Message) -> Message:
    """The same words in plain sections, for when Slack does not take the blocks."""
    texts = [_fallback(message)]
    for block in message.blocks:
        held = [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]
        texts += [found["text"] for found in held if found and isinstance(found.get("text"), str)]
    return replace(message, blocks=tuple(packed(texts, section)))


def view_of(message: Message, channel: str = "") -> Block:
    """A modal that shows a message; it carries the channel where changes are announced."""
    return {
        "type": "modal",
        "title": plain_text("SSLmonitor"),
        "close": plain_text("Close"),
        "private_metadata": json.dumps({"channel": channel}),
        "blocks": list(message.blocks),
    }


def view_of_form(form: Form, channel: str) -> Block:
    """A modal that asks for a command's arguments, and knows the channel it was opened from."""
    return {
        "type": "modal",
        "callback_id": f"ssl:{form.command}",
        "title": plain_text(form.title),
        "submit": plain_text(form.submit),
        "close": plain_text("Cancel"),
        "private_metadata": json.dumps({"channel": channel}),
        "blocks": list(form.blocks),
    }


class SlackWeb:
    """What the bot asks of Slack. Every method raises SlackRefused or SlackUnreachable."""

    def __init__(self, client: AsyncWebClient, session: aiohttp.ClientSession) -> None:
        self.client = client
        self._session = session
        self.identity = Identity()

    async def identify(self) -> Identity:
        """Ask Slack whose token this is, and remember it."""
        answer = await _asked(self.client.auth_test)
        headers: Mapping[str, Any] = {k.lower(): v for k, v in answer.headers.items()}
        scopes = str(headers.get("x-oauth-scopes", ""))
        self.identity = Identity(
            team_id=str(answer.get("team_id", "")),
            user_id=str(answer.get("user_id", "")),
            bot_id=str(answer.get("bot_id", "")),
            scopes=frozenset(scope.strip() for scope in scopes.split(",") if scope.strip()),
            team=str(answer.get("team", "")),
            user=str(answer.get("user", "")),
            date=str(headers.get("date", "")),
        )
        return self.identity

    async def check_app_token(self, token: str) -> None:
        """Ask for a Socket Mode address once: the SDK would try for ever, and not say why.

        Raises BotError where Slack does not take the token.
        """
        try:
            await _asked(self.client.apps_connections_open, app_token=token)
        except SlackRefused as fault:
            raise BotError(f"Slack refuses SLACK_APP_TOKEN: {fault.reason}.") from fault

    async def post(self, channel: str, message: Message, thread_ts: str | None = None) -> str:
        """Post a message; gives its ts."""
        return (await self.post_at(channel, message, thread_ts)).ts

    async def post_at(
        self, channel: str, message: Message, thread_ts: str | None = None
    ) -> Address:
        """Post a message to a channel, or to a user; gives where it stands."""

        async def send(sent: Message) -> Address:
            answer = await _asked(
                self.client.chat_postMessage,
                channel=channel,
                text=_fallback(sent),
                blocks=list(sent.blocks),
                thread_ts=thread_ts,
                metadata=sent.metadata,
                unfurl_links=False,
                unfurl_media=False,
            )
            return Address(str(answer["channel"]), str(answer["ts"]), thread_ts)

        return await _with_fallback(send, message)

    async def whisper(
        self, channel: str, user: str, message: Message, thread_ts: str | None = None
    ) -> None:
        """Post a message that one member of the channel sees (chat.postEphemeral)."""

        async def send(sent: Message) -> None:
            await _asked(
                self.client.chat_postEphemeral,
                channel=channel,
                user=user,
                text=_fallback(sent),
                blocks=list(sent.blocks),
                thread_ts=thread_ts,
            )

        await _with_fallback(send, message)

    async def update(self, channel: str, ts: str, message: Message) -> None:
        """Edit a message of ours."""

        async def send(sent: Message) -> None:
            await _asked(
                self.client.chat_update,
                channel=channel,
                ts=ts,
                text=_fallback(sent),
                blocks=list(sent.blocks),
            )

        await _with_fallback(send, message)

    async def respond(self, url: str, message: Message, *, replace: bool = False) -> None:
        """Answer by a response URL: in the place of the message it belongs to, or privately."""

        async def send(sent: Message) -> None:
            await self._respond(
                url,
                {
                    "response_type": "ephemeral",
                    "replace_original": replace,
                    "text": _fallback(sent),
                    "blocks": list(sent.blocks),
                    "unfurl_links": False,
                    "unfurl_media": False,
                },
            )

        await _with_fallback(send, message)

    async def _respond(self, url: str, body: Mapping[str, Any]) -> None:
        # The URL is a bearer capability: it never gets into a log line or an error.
        try:
            async with self._session.post(url, json=body, allow_redirects=False) as answer:
                text = (await answer.text())[:500].strip()
                status = answer.status
                retry_after = answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError):
            raise SlackUnreachable("Slack's response URL did not answer.") from None
        if status == 429:
            seconds = float(retry_after) if retry_after.isdecimal() else None
            raise SlackRefused("ratelimited", retry_after=seconds)
        reason = _reason(text)
        if status >= 300 or reason:
            raise SlackRefused(reason or f"http_{status}")

    async def open_view(self, trigger_id: str, view: Block) -> str:
        """Open a modal; gives its id."""
        answer = await _asked(self.client.views_open, trigger_id=trigger_id, view=view)
        return str(answer["view"]["id"])

    async def push_view(self, trigger_id: str, view: Block) -> str:
        """Put a modal on top of an open one; gives its id."""
        answer = await _asked(self.client.views_push, trigger_id=trigger_id, view=view)
        return str(answer["view"]["id"])

    async def replace_view(self, view_id: str, view: Block) -> None:
        """Show another view in an open modal."""
        await _asked(self.client.views_update, view_id=view_id, view=view)

    async def update_view(self, view_id: str, message: Message, channel: str = "") -> None:
        """Show a message in an open modal."""

        async def send(sent: Message) -> None:
            await self.replace_view(view_id, view_of(sent, channel))

        await _with_fallback(send, message)

    async def publish_home(self, user: str, blocks: Sequence[Block], page: int = 0) -> None:
        """Show a user's Home tab; the view keeps the number of its page."""
        view = {"type": "home", "blocks": list(blocks), "private_metadata": str(page)}
        await _asked(self.client.views_publish, user_id=user, view=view)

    async def person(self, user: str) -> Person:
        """Who a user is (users.info, scope users:read)."""
        answer = await _asked(self.client.users_info, user=user)
        found = answer.get("user") or {}
        profile = found.get("profile") or {}
        names = (profile.get("display_name"), profile.get("real_name"))
        name = next(filter(None, (*names, found.get("real_name"), found.get("name"))), "")
        return Person(
            name=str(name),
            team_id=str(found.get("team_id") or ""),
            guest=bool(found.get("is_restricted") or found.get("is_ultra_restricted")),
            stranger=bool(found.get("is_stranger")),
        )

    async def members_of_group(self, group: str) -> list[str]:
        """The user ids in a user group (usergroups.users.list, scope usergroups:read)."""
        answer = await _asked(self.client.usergroups_users_list, usergroup=group)
        return [str(user) for user in answer.get("users") or []]

    async def send_file(self, user: str, name: str, content: bytes, text: str) -> None:
        """Send somebody a file as a direct message; Slack refuses it without the scope files:write.

        The file is uploaded before anything is said, so that a refusal leaves nothing behind
        (docs.slack.dev, files.getUploadURLExternal and files.completeUploadExternal).
        """
        answer = await _asked(
            self.client.files_getUploadURLExternal, filename=name, length=len(content)
        )
        try:
            async with self._session.post(str(answer["upload_url"]), data=content) as uploaded:
                status = uploaded.status
        except (aiohttp.ClientError, TimeoutError):
            raise SlackUnreachable("Slack did not take the file.") from None
        if status >= 400:
            raise SlackRefused(f"upload_http_{status}")
        address = await self.post_at(user, Message(text, (section(text),)))
        files = [{"id": str(answer["file_id"]), "title": name}]
        await _asked(
            self.client.files_completeUploadExternal, files=files, channel_id=address.channel
        )

    async def find_posted(
        self, channel: str, message: Message, since: datetime, thread_ts: str | None
    ) -> str | None:
        """The ts of this message, known by its metadata, if the channel has it already.

        Without the scope to read the channel's history the answer is None, and the log says so.
        """
        read = self.client.conversations_replies if thread_ts else self.client.conversations_history
        arguments: dict[str, Any] = {
            "channel": channel,
            "oldest": f"{(since - CLOCK_MARGIN).timestamp():.6f}",
            "include_all_metadata": True,
            "limit": HISTORY_PAGE,
        }
        if thread_ts:
            arguments["ts"] = thread_ts
        try:
            answer = await _asked(read, **arguments)
        except SlackRefused as fault:
            log.warning("conversations.history failed, so a post may be repeated: %s", fault)
            return None
        for found in answer.get("messages") or []:
            ours = found.get("bot_id") == self.identity.bot_id
            if ours and _same_metadata(found.get("metadata"), message.metadata):
                return str(found["ts"])
        return None

    async def channel(self, channel: str) -> Mapping[str, Any]:
        """What conversations.info says of a channel."""
        answer = await _asked(self.client.conversations_info, channel=channel)
        return dict(answer["channel"])


async def _asked(
    method: Callable[..., Awaitable[AsyncSlackResponse]], **arguments: Any
) -> AsyncSlackResponse:
    """Call a Web API method; its errors become ours, without tokens or bodies."""
    try:
        return await method(**arguments)
    except SlackApiError as fault:
        response = fault.response
        reason = response.get("error") if hasattr(response, "get") else None
        retry_after = getattr(response, "headers", {}).get("Retry-After")
        raise SlackRefused(
            str(reason or "unknown"), retry_after=float(retry_after) if retry_after else None
        ) from None
    except (SlackClientError, aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as fault:
        raise SlackUnreachable(f"Slack did not answer ({type(fault).__name__}).") from None


async def _with_fallback(send: Callable[[Message], Awaitable[T]], message: Message) -> T:
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
    return await send(_as_text(message))


def _reason(text: str) -> str:
    """What a response URL's reply finds wrong: a bare word or JSON; empty where it says ok."""
    if found := re.search(r'"error"\s*:\s*"([a-z_]+)"', text):
        return found[1]
    return text if re.fullmatch(r"[a-z_]{3,60}", text) else ""


def _same_metadata(found: Any, wanted: Mapping[str, Any] | None) -> bool:
    if not isinstance(found, Mapping) or wanted is None:
        return False
    keys = ("event_type", "event_payload")
    return all(found.get(key) == wanted.get(key) for key in keys)
