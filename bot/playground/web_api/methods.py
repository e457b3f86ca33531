"""The Web API: one table of methods, and how a request becomes a call and a reply.

GET and POST, forms and JSON are all served, for slack_sdk uses each of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bot.playground.app import App
from bot.playground.faults import come_back, let_go, rate_limited, refuse
from bot.playground.objects import Json
from bot.playground.rates import RateLimited
from bot.playground.tickets import SlackError, Tickets
from bot.playground.web_api import chat, directory, views
from bot.playground.web_api.call import Call, read_arguments
from bot.playground.workspace import Workspace


@dataclass(frozen=True)
class Method:
    """A method of the Web API; any one of `scopes` will do.

    `tier` is its rate (docs.slack.dev/apis/web-api/rate-limits); the methods that have a rate of
    their own there (auth.test, chat.postMessage, chat.getPermalink) are in the fourth.
    """

    run: Callable[[Call], Json]
    scopes: tuple[str, ...] = ()
    app_token: bool = False
    tier: int = 3


_READ = ("channels:read", "groups:read", "im:read", "mpim:read")

METHODS: dict[str, Method] = {
    "auth.test": Method(directory.auth_test, tier=4),
    "apps.connections.open": Method(directory.connections_open, app_token=True),
    "blocks.validate": Method(views.validate),
    "chat.postMessage": Method(chat.post_message, ("chat:write",), tier=4),
    "chat.postEphemeral": Method(chat.post_ephemeral, ("chat:write",), tier=4),
    "chat.update": Method(chat.update, ("chat:write",)),
    "chat.delete": Method(chat.delete, ("chat:write",)),
    "chat.getPermalink": Method(chat.get_permalink, tier=4),
    "conversations.history": Method(chat.history),
    "conversations.replies": Method(chat.replies),
    "conversations.info": Method(directory.conversations_info),
    "conversations.members": Method(directory.conversations_members, tier=4),
    "conversations.open": Method(directory.conversations_open, ("im:write",)),
    "conversations.list": Method(directory.conversations_list, _READ, tier=2),
    "users.info": Method(directory.users_info, ("users:read",), tier=4),
    "users.list": Method(directory.users_list, ("users:read",), tier=2),
    "usergroups.list": Method(directory.usergroups_list, ("usergroups:read",), tier=2),
    "usergroups.users.list": Method(directory.usergroups_users_list, ("usergroups:read",), tier=2),
    "views.open": Method(views.open_view),
    "views.push": Method(views.push),
    "views.update": Method(views.update),
    "views.publish": Method(views.publish),
    "files.getUploadURLExternal": Method(directory.get_upload_url, ("files:write",), tier=4),
    "files.completeUploadExternal": Method(directory.complete_upload, ("files:write",), tier=4),
}


class WebAPI:
    """Serves /api/<method>."""

    def __init__(self, app: App, workspace: Workspace, tickets: Tickets) -> None:
        self.app = app
        self.workspace = workspace
        self.tickets = tickets

    async def handle(self, request: web.Request) -> web.Response:
        """Carry out one call, unless a test wants it to go wrong."""
        name = request.match_info["method"]
        fault = self.workspace.take_fault(name)
        limited = rate_limited(fault)
        if limited is not None:
            self.workspace.record("in", name, {}, {"ok": False, "error": "ratelimited"})
            return limited
        args: Json = {}
        reply: Json
        try:
            args = await arguments(request)
            refuse(fault)
            reply = {"ok": True} | self._run(request, name, args)
        except RateLimited as error:
            self.workspace.record("in", name, args, {"ok": False, "error": error.error})
            return come_back(error.retry_after)
        except SlackError as error:
            reply = {"ok": False, "error": error.error} | error.extra
        self.workspace.record("in", name, args, reply)
        await let_go(fault, request)
        headers = {"x-oauth-scopes": ",".join(sorted(self.app.scopes))}
        return web.json_response(reply, headers=headers)

    def _run(self, request: web.Request, name: str, args: Json) -> Json:
        method = METHODS.get(name)
        if method is None:
            raise SlackError("unknown_method")
        self._check_token(_token(request, args), app_token=method.app_token)
        self.workspace.rates.call(name, method.tier)
        url = f"http://{request.host}/"
        call = Call(self.app, self.workspace, self.tickets, url, read_arguments(args))
        call.need_scope(*method.scopes)
        return method.run(call)

    def _check_token(self, token: str | None, *, app_token: bool) -> None:
        wanted, other = self.app.bot_token, self.app.app_token
        if app_token:
            wanted, other = other, wanted
        if not token:
            raise SlackError("not_authed")
        if token != wanted:
            raise SlackError("not_allowed_token_type" if token == other else "invalid_auth")


async def arguments(request: web.Request) -> Json:
    """Return the arguments of a request: query, then form or JSON body."""
    given: Json = dict(request.query)
    if request.method == "POST" and request.content_type == "application/json":
        body = _json(await request.text())
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        return given | {key: value for key, value in body.items() if value is not None}
    if request.method == "POST":
        return given | {str(key): value for key, value in (await request.post()).items()}
    return given


def _json(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise SlackError("invalid_json") from error


def _token(request: web.Request, args: Json) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token
    given = args.get("token")
    return str(given) if given else None
