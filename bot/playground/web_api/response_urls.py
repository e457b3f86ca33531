"""What an app posts to a response URL, or with its ack of a slash command.

Rules: docs.slack.dev/interactivity/handling-user-interaction, "Message responses".
"""

from aiohttp import web

from bot.playground.errors import SlackError
from bot.playground.objects import Json
from bot.playground.tickets import GONE, ResponseUrl, Tickets
from bot.playground.web_api import posting
from bot.playground.web_api.call import parse_arguments, read_arguments
from bot.playground.workspace import Workspace


class ResponseUrls:
    """Serves /response/<secret>."""

    def __init__(self, workspace: Workspace, tickets: Tickets) -> None:
        self.workspace = workspace
        self.tickets = tickets

    async def handle(self, request: web.Request) -> web.Response:
        """Take one answer: `ok`, or a Slack error (404 for a URL that is used up or expired)."""
        args: Json = {}
        try:
            args = parse_arguments(await read_arguments(request))
            url = self.tickets.open_response_url(request.match_info["secret"])
            respond(self.workspace, url, args)
            url.uses += 1
        except SlackError as error:
            body = {"ok": False, "error": error.error} | error.extra
            self.workspace.record("in", "response_url", args, body)
            return web.json_response(body, status=404 if error.error in GONE else 400)
        self.workspace.record("in", "response_url", args, "ok")
        return web.Response(text="ok")


def respond(workspace: Workspace, url: ResponseUrl, args: Json) -> None:
    """Carry out an answer: replace or delete the button's message, or post a new one.

    A slash command has no message of its own, so all its answers are new messages. Who sees a
    message never changes.
    """
    edit = args.get("replace_original") or args.get("delete_original")
    source = workspace.message(url.channel, url.message_ts) if url.message_ts else None
    if url.message_ts and source is None and edit:
        raise SlackError("message_not_found")
    if source is not None and args.get("delete_original"):
        workspace.remove(source)
        return
    message = posting.content(args)
    if source is not None and args.get("replace_original"):
        posting.replace(workspace, source, message)
    elif args.get("response_type") == "in_channel":
        thread = posting.parent(workspace, url.channel, args.get("thread_ts"))
        posting.post(workspace, url.channel, message, thread_ts=thread)
    else:
        posting.post(workspace, url.channel, message | {"metadata": None}, ephemeral_for=url.user)
