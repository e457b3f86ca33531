"""The methods of the Web API that the bot uses, typed."""

import asyncio
import functools
import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.blocks import Address, Block, Form, Message, plain_text, section
from bot.errors import SlackRefused, SlackUnreachable, SocketModeEnded
from bot.slack.answers import date_of
from bot.slack.calls import NO_PREVIEWS, Identity, Person, SlackCalls, content, with_fallback

T = TypeVar("T")

HISTORY_PAGE = 200
#: The most pages to read: 10,000 messages.
HISTORY_PAGES = 50
#: How far the bot's clock may have been set since a post that it searches for.
CLOCK_MARGIN = timedelta(minutes=10)
#: A difference between the bot's clock and Slack's beyond this is not believed.
MOST_AHEAD = timedelta(days=365)


def make_client(token: str, api_url: str, session: aiohttp.ClientSession) -> AsyncWebClient:
    """The SDK's client on a shared session.

    It never retries, since the SDK's own handler sends a message twice if the connection drops
    after Slack accepted it; `calls.patiently` retries what is safe to repeat.
    """
    client = AsyncWebClient(token, base_url=api_url, session=session, retry_handlers=[])
    client.proxy = None  # the SDK ignores NO_PROXY; the session knows it
    return client


def view_of(message: Message, channel: str = "") -> Block:
    """A modal that shows a message, and knows the channel in which changes are announced."""
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


def _field(answer: Any, name: str, kind: type[T]) -> T:
    """A field of a reply. Raises SlackUnreachable if it is missing: the outcome is unknown."""
    value = answer.get(name) if isinstance(answer, Mapping | AsyncSlackResponse) else None
    if not isinstance(value, kind) or value == "":
        raise SlackUnreachable(f"Slack's answer has no “{name}”.")
    return value


def _object(found: Any) -> Mapping[str, Any]:
    """A part of a reply that should be an object; an empty one if it is something else."""
    return found if isinstance(found, Mapping) else {}


class SlackWeb(SlackCalls):
    """Slack's methods, as the bot uses them. Each raises SlackRefused or SlackUnreachable."""

    identity: Identity = Identity()

    async def identify(self) -> Identity:
        """Ask Slack whose token this is, and remember it."""
        answer = await self._read(self.client.auth_test)
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
        """Request a Socket Mode address once: the SDK would retry forever, and not say why.

        Raises SocketModeEnded if Slack refuses the token.
        """
        try:
            await self._read(self.client.apps_connections_open, app_token=token)
        except SlackRefused as fault:
            if not fault.bad_app_token:
                raise
            raise SocketModeEnded(f"Slack refuses SLACK_APP_TOKEN: {fault.reason}.") from fault

    async def post(
        self, channel: str, message: Message, thread_ts: str | None = None, *, patient: bool = True
    ) -> str:
        """Post a message; returns its ts. See `post_at`."""
        return (await self.post_at(channel, message, thread_ts, patient=patient)).ts

    async def post_at(
        self, channel: str, message: Message, thread_ts: str | None = None, *, patient: bool = True
    ) -> Address:
        """Post a message to a channel, or to a user; returns its address.

        Without `patient`, a short rate limit is not waited out.
        """
        call = self._write if patient else self._once

        async def send(sent: Message) -> Address:
            answer = await call(
                self.client.chat_postMessage,
                channel=channel,
                thread_ts=thread_ts,
                metadata=sent.metadata,
                **content(sent),
                **NO_PREVIEWS,
            )
            return Address(_field(answer, "channel", str), _field(answer, "ts", str), thread_ts)

        return await with_fallback(send, message)

    async def whisper(
        self, channel: str, user: str, message: Message, thread_ts: str | None = None
    ) -> None:
        """Post a message that only one member of the channel sees (chat.postEphemeral)."""

        async def send(sent: Message) -> None:
            await self._write(
                self.client.chat_postEphemeral,
                channel=channel,
                user=user,
                thread_ts=thread_ts,
                **content(sent),
            )

        await with_fallback(send, message)

    async def update(
        self, channel: str, ts: str, message: Message, within: float | None = math.inf
    ) -> None:
        """Edit one of the bot's messages in its turn (`pace`), or at once if `within` is None.

        An edit that a newer one has overtaken isn't sent (again). Metadata that it lacks stays as
        it is. Raises EditsUsedUp if the wait would exceed `within` seconds.
        """

        async def send(sent: Message) -> None:
            shown = {"metadata": sent.metadata, **content(sent)}
            await self._once(self.client.chat_update, channel=channel, ts=ts, **shown)

        before = None
        if self.pace and within is not None:
            before = functools.partial(self.pace, channel, ts, within)
        await self._edit((channel, ts), lambda: with_fallback(send, message), before)

    async def delete(self, channel: str, ts: str) -> None:
        """Delete one of the bot's messages; if it is gone already, that is no error."""
        try:
            await self._read(self.client.chat_delete, channel=channel, ts=ts)
        except SlackRefused as fault:
            if fault.reason != "message_not_found":
                raise

    async def open_view(self, trigger_id: str, view: Block) -> str:
        """Open a modal; returns its ID."""
        answer = await self._write(self.client.views_open, trigger_id=trigger_id, view=view)
        return _field(answer.get("view"), "id", str)

    async def push_view(self, trigger_id: str, view: Block) -> str:
        """Open a modal on top of another; returns its ID."""
        answer = await self._write(self.client.views_push, trigger_id=trigger_id, view=view)
        return _field(answer.get("view"), "id", str)

    async def replace_view(self, view_id: str, view: Block) -> None:
        """Replace an open modal's view."""
        await self._edit(
            (view_id,), lambda: self._once(self.client.views_update, view_id=view_id, view=view)
        )

    async def update_view(self, view_id: str, message: Message, channel: str = "") -> None:
        """Show a message in an open modal."""

        async def send(sent: Message) -> None:
            await self._once(self.client.views_update, view_id=view_id, view=view_of(sent, channel))

        await self._edit((view_id,), lambda: with_fallback(send, message))

    async def publish_home(self, user: str, blocks: Sequence[Block], page: int = 0) -> None:
        """Show a user's Home tab; the view keeps its page number."""

        async def send(sent: Message) -> None:
            view = {"type": "home", "blocks": list(sent.blocks), "private_metadata": str(page)}
            await self._once(self.client.views_publish, user_id=user, view=view)

        shown = Message("SSLmonitor", tuple(blocks))
        await self._edit(("home", user), lambda: with_fallback(send, shown))

    async def person(self, user: str) -> Person:
        """Who a user is (users.info, scope users:read)."""
        answer = await self._read(self.client.users_info, user=user)
        found = _field(answer, "user", dict)
        profile, teams = _object(found.get("profile")), {str(found.get("team_id"))}
        names = (profile.get("display_name"), profile.get("real_name"))
        name = next(filter(None, (*names, found.get("real_name"), found.get("name"))), "")
        known = _object(found.get("enterprise_user")).get("teams")
        teams |= set(map(str, known)) if isinstance(known, list) else set()
        return Person(
            name=str(name),
            teams=frozenset(teams - {"None", ""}),
            guest=bool(found.get("is_restricted") or found.get("is_ultra_restricted")),
            stranger=bool(found.get("is_stranger")),
            gone=bool(found.get("deleted")),
        )

    async def groups(self) -> dict[str, str]:
        """The IDs of the user groups, by `@handle` (usergroups.list, scope usergroups:read)."""
        answer = await self._read(self.client.usergroups_list)
        return {
            f"@{each.get('handle')}": str(each["id"])
            for each in map(_object, _field(answer, "usergroups", list))
            if each.get("id")
        }

    async def id_to_mention(self, name: str) -> str | None:
        """The ID of the group `@handle`, or this ID itself; None if it doesn't exist (any more)."""
        if name[0] in "@S":
            groups = await self.groups()
            return groups.get(name) or (name if name in groups.values() else None)
        try:
            found = await self.person(name)
        except SlackRefused as fault:
            if fault.reason != "user_not_found":
                raise
            return None
        return None if found.gone else name

    async def members_of_group(self, group: str) -> list[str]:
        """The IDs of the users in a user group (usergroups.users.list, scope usergroups:read)."""
        answer = await self._read(self.client.usergroups_users_list, usergroup=group)
        return [str(user) for user in _field(answer, "users", list)]

    async def send_file(self, user: str, name: str, content: bytes, text: str, doubt: str) -> None:
        """Send somebody a file as a direct message; Slack refuses it without the scope files:write.

        The file is uploaded before anything is posted, so that a refusal leaves nothing behind. If
        Slack may lack the file, `doubt` replaces `text`.
        """
        file = await self._upload(name, content)
        address = await self.post_at(user, Message(text, (section(text),)))
        try:
            await self._write(
                self.client.files_completeUploadExternal, files=[file], channel_id=address.channel
            )
        except (SlackRefused, SlackUnreachable) as fault:
            with suppress(SlackRefused, SlackUnreachable):
                if isinstance(fault, SlackRefused):
                    await self.delete(address.channel, address.ts)
                else:
                    told = Message(doubt, (section(doubt),))
                    await self.update(address.channel, address.ts, told, None)
            raise

    async def share_file(self, channel: str, thread_ts: str, name: str, content: bytes) -> None:
        """Upload a file to a thread; Slack refuses it without the scope files:write."""
        await self._write(
            self.client.files_completeUploadExternal,
            files=[await self._upload(name, content)],
            channel_id=channel,
            thread_ts=thread_ts,
        )

    async def has_file(self, channel: str, thread_ts: str, name: str) -> bool:
        """Whether the bot has put a file of this name into a thread (among its first messages).

        Raises SlackRefused if the bot may not read the history.
        """
        answer = await self._read(
            self.client.conversations_replies, channel=channel, ts=thread_ts, limit=HISTORY_PAGE
        )
        return any(
            _object(file).get("title") == name
            for each in map(_object, _field(answer, "messages", list))
            if each.get("bot_id") == self.identity.bot_id and isinstance(each.get("files"), list)
            for file in each["files"]
        )

    async def _upload(self, name: str, content: bytes) -> Mapping[str, str]:
        """Upload a file, which nobody sees until it is shared; returns what shares it, once.

        See docs.slack.dev, files.getUploadURLExternal and files.completeUploadExternal.
        """
        answer = await self._read(
            self.client.files_getUploadURLExternal, filename=name, length=len(content)
        )
        try:
            url = _field(answer, "upload_url", str)
            async with self._session.post(url, data=content) as uploaded:
                status = uploaded.status
        except (aiohttp.ClientError, TimeoutError):
            raise SlackUnreachable("Slack did not take the file.") from None
        if status >= 400:
            raise SlackRefused(f"upload_http_{status}")
        return {"id": _field(answer, "file_id", str), "title": name}

    async def find_posts(
        self, channel: str, message: Message, since: datetime | None, thread_ts: str | None = None
    ) -> list[str]:
        """The ts of each post of this message since then, by its metadata; oldest first.

        Without `since`, the whole thread is searched, or the last minutes of the channel. Raises
        SlackRefused if the bot may not read the history (it must be in the channel).
        """
        arguments: dict[str, Any] = {"channel": channel, "include_all_metadata": True}
        if since or not thread_ts:
            arguments["oldest"], _ = self._around(since or self._clock())
        read = self._reader(thread_ts, arguments)
        posts = [
            str(each["ts"])
            async for each in self._listed(read, arguments)
            if each.get("bot_id") == self.identity.bot_id
            and _same_metadata(each.get("metadata"), message.metadata)
        ]
        return sorted(posts, key=float)

    async def find_block(self, place: Address, block_id: str, since: datetime) -> str | None:
        """The ts of a message that has this block, at this place, or posted about then if unknown.

        Raises SlackRefused if the bot may not read the history.
        """
        arguments: dict[str, Any] = {"channel": place.channel, "inclusive": True}
        oldest, latest = self._around(since)
        arguments |= {"oldest": place.ts or oldest, "latest": place.ts or latest}
        async for each in self._listed(self._reader(place.thread_ts, arguments), arguments):
            blocks = each.get("blocks")
            blocks = blocks if isinstance(blocks, list) else []
            if any(_object(block).get("block_id") == block_id for block in blocks):
                return str(each["ts"])
        return None

    def _around(self, at: datetime) -> tuple[str, str]:
        """A time by the bot's clock as one by Slack's, which makes the ts of messages: from and to.

        The difference is that of Slack's last answer; at `at`, there may have been none.
        """
        headers, here = self._answered
        ahead = max(-MOST_AHEAD, min(here - (date_of(headers) or here), MOST_AHEAD))
        first, last = min(at, at - ahead) - CLOCK_MARGIN, max(at, at - ahead) + CLOCK_MARGIN
        return f"{first.timestamp():.6f}", f"{last.timestamp():.6f}"

    def _reader(
        self, thread_ts: str | None, arguments: dict[str, Any]
    ) -> Callable[..., Awaitable[AsyncSlackResponse]]:
        """The method that reads a channel, or a thread of it."""
        if not thread_ts:
            return self.client.conversations_history
        arguments["ts"] = thread_ts
        return self.client.conversations_replies

    async def _listed(
        self,
        read: Callable[..., Awaitable[AsyncSlackResponse]],
        arguments: Mapping[str, Any],
    ) -> AsyncIterator[Mapping[str, Any]]:
        cursor: dict[str, str] = {}
        for _ in range(HISTORY_PAGES):
            answer = await self._read(read, limit=HISTORY_PAGE, **arguments, **cursor)
            for each in _field(answer, "messages", list):
                if re.fullmatch(r"\d+\.\d+", str(_object(each).get("ts"))):
                    yield each
            following = _object(answer.get("response_metadata")).get("next_cursor")
            if not following or not isinstance(following, str):
                return
            cursor = {"cursor": following}

    async def is_last(self, channel: str, ts: str) -> bool:
        """Whether this message is the channel's last one (threads don't count).

        Raises SlackRefused if the bot may not read the history.
        """
        answer = await self._read(self.client.conversations_history, channel=channel, limit=1)
        return [_object(each).get("ts") for each in _field(answer, "messages", list)] == [ts]

    async def channel(self, channel: str) -> Mapping[str, Any]:
        """A channel, as conversations.info returns it."""
        answer = await self._read(self.client.conversations_info, channel=channel)
        return _field(answer, "channel", dict)

    async def channel_named(self, name: str, among: Iterable[str]) -> str | None:
        """Which of these channels has a name such as `#ops`, if the bot may see it."""

        async def is_it(channel: str) -> bool:
            with suppress(SlackRefused, SlackUnreachable):
                return f"#{(await self.channel(channel)).get('name')}" == name.lower()
            return False

        channels = list(among)
        known = await asyncio.gather(*map(is_it, channels))
        found = [channel for channel, is_named in zip(channels, known, strict=True) if is_named]
        return found[0] if len(found) == 1 else None

    async def is_shared(self, channel: str) -> bool | None:
        """Whether people of other organizations are in a channel; None if Slack doesn't say."""
        try:
            found = await self.channel(channel)
        except SlackUnreachable:  # the asker is told
            return None
        except SlackRefused as fault:
            if fault.reason == "missing_scope":
                return None
            raise
        return bool(found.get("is_ext_shared") or found.get("is_pending_ext_shared"))


def _same_metadata(found: Any, wanted: Mapping[str, Any] | None) -> bool:
    if not isinstance(found, Mapping) or wanted is None:
        return False
    keys = ("event_type", "event_payload")
    return all(found.get(key) == wanted.get(key) for key in keys)
