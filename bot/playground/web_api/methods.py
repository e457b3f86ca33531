"""The Web API: one table of methods, and how a request becomes a call and an answer.

Methods take GET and POST, forms and JSON: slack_sdk uses all of these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import format_datetime

from aiohttp import web

from bot.playground.app import App
from bot.playground.errors import SlackError, unsupported
from bot.playground.objects import Json
from bot.playground.rates import RateLimited, too_many_requests
from bot.playground.tickets import Tickets
from bot.playground.web_api import chat, conversations, directory, files, views
from bot.playground.web_api.call import WebAPICall, parse_arguments, read_arguments
from bot.playground.workspace import Workspace


@dataclass(frozen=True)
class Method:
    """A method of the Web API; the app needs one of `scopes`.

    `tier` is its rate (docs.slack.dev/apis/web-api/rate-limits). Methods with a rate of their own
    there (auth.test, chat.postMessage, chat.getPermalink) are in the fourth.
    """

    run: Callable[[WebAPICall], Json]
    scopes: tuple[str, ...] = ()
    app_token: bool = False
    tier: int = 3


METHODS: dict[str, Method] = {
    "auth.test": Method(directory.auth_test, tier=4),
    "apps.connections.open": Method(directory.open_connection, app_token=True),
    "chat.postMessage": Method(chat.post_message, ("chat:write",), tier=4),
    "chat.postEphemeral": Method(chat.post_ephemeral, ("chat:write",), tier=4),
    "chat.update": Method(chat.update, ("chat:write",)),
    "chat.delete": Method(chat.delete, ("chat:write",)),
    "chat.getPermalink": Method(chat.get_permalink, tier=4),
    "conversations.history": Method(conversations.history),
    "conversations.replies": Method(conversations.replies),
    "conversations.info": Method(conversations.info),
    "conversations.open": Method(conversations.open_im, ("im:write",)),
    "users.info": Method(directory.user_info, ("users:read",), tier=4),
    "usergroups.list": Method(directory.usergroups, ("usergroups:read",), tier=2),
    "usergroups.users.list": Method(directory.usergroup_users, ("usergroups:read",), tier=2),
    "views.open": Method(views.open_view),
    "views.push": Method(views.push),
    "views.update": Method(views.update),
    "views.publish": Method(views.publish),
    "files.getUploadURLExternal": Method(files.get_upload_url, ("files:write",), tier=4),
    "files.completeUploadExternal": Method(files.complete_upload, ("files:write",), tier=4),
}


class WebAPI:
    """Serves /api/<method>."""

    def __init__(self, app: App, workspace: Workspace, tickets: Tickets) -> None:
        self.app = app
        self.workspace = workspace
        self.tickets = tickets

    async def handle(self, request: web.Request) -> web.Response:
        """Carry out one call."""
        name = request.match_info["method"]
        args: Json = {}
        reply: Json
        retry_after = None
        try:
            args = await read_arguments(request)
            reply = {"ok": True} | self._run(request, name, args)
        except SlackError as error:
            reply = {"ok": False, "error": error.error} | error.extra
            retry_after = error.retry_after if isinstance(error, RateLimited) else None
        self.workspace.record("in", name, args, reply)
        if retry_after is not None:
            return too_many_requests(retry_after)
        date = format_datetime(self.workspace.clock(), usegmt=True)
        headers = {"x-oauth-scopes": ",".join(sorted(self.app.scopes)), "Date": date}
        return web.json_response(reply, headers=headers)

    def _run(self, request: web.Request, name: str, args: Json) -> Json:
        method = METHODS.get(name)
        if method is None:
            raise unsupported("unknown_method", f"method: {name}")
        self._check_token(_token(request, args), app_token=method.app_token)
        self.workspace.rates.call(name, method.tier)
        url = f"http://{request.host}/"
        call = WebAPICall(self.app, self.workspace, self.tickets, url, parse_arguments(args))
        call.need_scope(*method.scopes)
        return method.run(call)

    def _check_token(self, token: str | None, *, app_token: bool) -> None:
        expected, other = self.app.bot_token, self.app.app_token
        if app_token:
            expected, other = other, expected
        if not token:
            raise SlackError("not_authed")
        if token != expected:
            raise SlackError("not_allowed_token_type" if token == other else "invalid_auth")


def _token(request: web.Request, args: Json) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token
    argument = args.get("token")
    return str(argument) if argument else None
