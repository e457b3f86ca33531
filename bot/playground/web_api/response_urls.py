"""What an app says by a response URL, or in its answer to a slash command.

Rules: docs.slack.dev/interactivity/handling-user-interaction, "Message responses".
"""

from __future__ import annotations

from aiohttp import web

from bot.playground.faults import let_go, rate_limited, refuse
from bot.playground.objects import Json
from bot.playground.tickets import ResponseUrl, SlackError, Tickets
from bot.playground.web_api import posting
from bot.playground.web_api.call import read_arguments
from bot.playground.web_api.methods import arguments
from bot.playground.workspace import Workspace


class ResponseUrls:
    """Serves /response/<word>."""

    def __init__(self, workspace: Workspace, tickets: Tickets) -> None:
        self.workspace = workspace
        self.tickets = tickets

    async def handle(self, request: web.Request) -> web.Response:
        """Take one answer: `ok`, or a Slack error (404 for a URL that is used up or too old)."""
        fault = self.workspace.take_fault("response_url")
        limited = rate_limited(fault)
        if limited is not None:
            self.workspace.record("in", "response_url", {}, {"ok": False, "error": "ratelimited"})
            return limited
        args: Json = {}
        error: Json | None = None
        try:
            args = read_arguments(await arguments(request))
            url = self.tickets.open_response_url(request.match_info["word"])
            refuse(fault)
            respond(self.workspace, url, args)
            url.uses += 1
        except SlackError as refused:
            error = {"ok": False, "error": refused.error} | refused.extra
        self.workspace.record("in", "response_url", args, error or "ok")
        await let_go(fault, request)
        if error is None:
            # Slack answers either way; an app must take both.
            if self.workspace.json_answers:
                return web.json_response({"ok": True})
            return web.Response(text="ok")
        gone = error["error"] in {"used_url", "expired_url"}
        return web.json_response(error, status=404 if gone else 400)


def respond(workspace: Workspace, url: ResponseUrl, args: Json) -> None:
    """Carry out an answer: replace or delete the button's message, or post a new one.

    A slash command has no message of its own, so its answers are always new ones; and a message's
    visibility never changes.
    """
    source = workspace.message(url.channel, url.message_ts) if url.message_ts else None
    if (
        url.message_ts
        and source is None
        and (args.get("replace_original") or args.get("delete_original"))
    ):
        raise SlackError("message_not_found")
    if source is not None and args.get("delete_original"):
        workspace.remove(source)
        return
    given = posting.content(args, workspace.app)
    if source is not None and args.get("replace_original"):
        posting.replace(workspace, source, given)
        return
    in_channel = args.get("response_type") == "in_channel"
    if in_channel:
        thread = posting.parent(workspace, url.channel, args.get("thread_ts"))
        posting.post(workspace, url.channel, given, thread_ts=thread)
    else:
        posting.post(workspace, url.channel, given | {"metadata": None}, ephemeral_for=url.user)
