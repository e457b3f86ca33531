"""The payloads that Slack sends to the app, and their signature.

Shapes: docs.slack.dev/reference/interaction-payloads, /interactivity/implementing-slash-commands
and /apis/events-api; signing: docs.slack.dev/authentication/verifying-requests-from-slack.
"""

import html
import json
import re
from urllib.parse import urlencode

from slack_sdk.signature import Clock, SignatureVerifier

from bot.playground.app import App
from bot.playground.objects import (
    BOT_USER,
    ENTERPRISE_ID,
    ENTERPRISE_NAME,
    TEAM_DOMAIN,
    TEAM_ID,
    Channel,
    Json,
    OpenView,
    PostedMessage,
    User,
)
from bot.playground.tickets import Tickets
from bot.playground.web_api import posting, views
from bot.playground.workspace import Workspace

VERIFICATION_TOKEN = "deprecated-verification-token"  # noqa: S105 - Slack's public field, no secret


class Payloads:
    """Builds what Slack would send for something that a person did."""

    def __init__(self, app: App, workspace: Workspace, tickets: Tickets) -> None:
        self.app = app
        self.workspace = workspace
        self.tickets = tickets
        self.url = ""

    def command(self, user: User, channel: Channel, command: str, text: str) -> Json:
        """Build a slash command's payload, which never names a thread."""
        enterprise = {"enterprise_id": ENTERPRISE_ID, "enterprise_name": ENTERPRISE_NAME}
        return {
            "token": VERIFICATION_TOKEN,
            "team_id": TEAM_ID,
            "team_domain": TEAM_DOMAIN,
            **(enterprise if user.workspaces else {}),
            "channel_id": channel.id,
            "channel_name": channel.payload_name,
            "user_id": user.id,
            "user_name": user.name.lower(),
            "command": command,
            "text": text,
            "api_app_id": self.app.app_id,
            "is_enterprise_install": "false",
            "response_url": self._response_url(user, channel),
            "trigger_id": self.tickets.trigger(user.id),
        }

    def message_press(
        self, user: User, message: PostedMessage, actions: list[Json], state: Json
    ) -> Json:
        """Build the block_actions payload of a press in a message.

        It contains the message unless that is ephemeral: Slack doesn't store those.
        """
        channel = self.workspace.channels[message.channel]
        ephemeral = message.ephemeral_for is not None
        source = {} if ephemeral else {"message": posting.for_api(self.workspace, message)}
        return {
            **self._interaction("block_actions", user),
            "container": _container(message),
            "channel": {"id": channel.id, "name": channel.payload_name},
            **source,
            "state": {"values": state},
            "response_url": self._response_url(user, channel, message.ts),
            "actions": actions,
        }

    def view_press(self, user: User, view: OpenView, actions: list[Json]) -> Json:
        """Build the block_actions payload of a press in a modal or in App Home."""
        return {
            **self._interaction("block_actions", user),
            "container": {"type": "view", "view_id": view.id},
            "view": views.for_api(self.workspace, view),
            "actions": actions,
        }

    def submission(self, user: User, view: OpenView) -> Json:
        """Build a view_submission payload."""
        return {
            **self._interaction("view_submission", user),
            "view": views.for_api(self.workspace, view),
            "response_urls": [],
        }

    def closed(self, user: User, view: OpenView) -> Json:
        """Build a view_closed payload, which has no trigger."""
        payload = self._interaction("view_closed", user)
        del payload["trigger_id"]
        return payload | {"view": views.for_api(self.workspace, view), "is_cleared": False}

    def message_shortcut(self, user: User, callback_id: str, message: PostedMessage) -> Json:
        """Build a message_action payload."""
        channel = self.workspace.channels[message.channel]
        return {
            **self._interaction("message_action", user),
            "callback_id": callback_id,
            "message_ts": message.ts,
            "action_ts": self.workspace.next_ts(),
            "channel": {"id": channel.id, "name": channel.payload_name},
            "message": posting.for_api(self.workspace, message),
            "response_url": self._response_url(user, channel),
        }

    def event(self, event: Json, channel: Channel | None = None) -> Json:
        """Wrap an event in its event_callback envelope."""
        return {
            "token": VERIFICATION_TOKEN,
            "team_id": TEAM_ID,
            "api_app_id": self.app.app_id,
            "event": event,
            "type": "event_callback",
            "event_id": self.workspace.next_id("Ev"),
            "event_time": int(self.workspace.clock().timestamp()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": TEAM_ID,
                    "user_id": BOT_USER,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": channel is not None and channel.is_ext_shared,
        }

    def message_event(self, kind: str, user: User, message: PostedMessage) -> Json:
        """Build the event of a message: `app_mention` or `message`."""
        channel = self.workspace.channels[message.channel]
        event = posting.for_api(self.workspace, message)
        event |= {"type": kind, "channel": channel.id, "event_ts": message.ts}
        if kind == "message":
            event["channel_type"] = channel.kind.removesuffix("s")
        if user.outsider:
            event |= {"user_team": user.team_id, "source_team": user.team_id}
        return self.event(event, channel)

    def home_opened(self, user: User) -> Json:
        """Build the app_home_opened event, with the view published before."""
        view = self.workspace.home(user.id)
        event: Json = {
            "type": "app_home_opened",
            "user": user.id,
            "channel": self.workspace.im(user.id).id,
            "event_ts": self.workspace.next_ts(),
            "tab": "home",
        }
        return self.event(event | ({"view": views.for_api(self.workspace, view)} if view else {}))

    def _interaction(self, kind: str, user: User) -> Json:
        enterprise = {"id": ENTERPRISE_ID, "name": ENTERPRISE_NAME} if user.workspaces else None
        return {
            "type": kind,
            "user": {
                "id": user.id,
                "username": user.name.lower(),
                "name": user.name.lower(),
                "team_id": user.team_id,
            },
            "team": {"id": TEAM_ID, "domain": TEAM_DOMAIN},
            "enterprise": enterprise,
            "is_enterprise_install": False,
            "api_app_id": self.app.app_id,
            "token": VERIFICATION_TOKEN,
            "trigger_id": self.tickets.trigger(user.id),
        }

    def _response_url(self, user: User, channel: Channel, ts: str | None = None) -> str:
        return f"{self.url}response/{self.tickets.response_url(user.id, channel.id, ts)}"


def typed_text(text: str, workspace: Workspace) -> str:
    """Turn what someone types into what Slack stores: escaped, with mentions and links marked."""
    for user in workspace.users.values():
        text = re.sub(rf"(?<!\w)@{re.escape(user.name)}(?!\w)", f"<@{user.id}>", text)
    return "".join(
        part if _MARKED.fullmatch(part) else _with_links(html.escape(part, quote=False))
        for part in _MARKED.split(text)
    )


def http_body(kind: str, payload: Json) -> tuple[bytes, str]:
    """Return a payload's body and content type: commands and interactions are forms."""
    if kind == "events_api":
        return json.dumps(payload).encode(), "application/json"
    fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
    return urlencode(fields).encode(), "application/x-www-form-urlencoded"


def signed_headers(secret: str, body: bytes) -> dict[str, str]:
    """Sign a body as Slack does.

    The timestamp comes from the machine's clock, not the playground's: the receiver compares it
    with its own.
    """
    timestamp = str(int(Clock().now()))
    signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature or ""}


_MARKED = re.compile(r"(<[@#!][^<>]+>|<(?:https?://|mailto:)[^<>]+>)")
_LINKS = re.compile(
    r"(?P<url>https?://[^\s<>]+[^\s<>.,;:!?)])"
    r"|(?<![\w@./-])(?P<host>(?:[a-z0-9-]+\.)+[a-z]{2,}(?::\d+)?(?![\w-]))",
    re.IGNORECASE,
)


def _with_links(text: str) -> str:
    def link(match: re.Match[str]) -> str:
        if match["url"]:
            return f"<{match['url']}>"
        return f"<http://{match['host']}|{match['host']}>"

    return _LINKS.sub(link, text)


def _container(message: PostedMessage) -> Json:
    thread = {"thread_ts": message.thread_ts} if message.thread_ts else {}
    return {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": message.channel,
        "is_ephemeral": message.ephemeral_for is not None,
    } | thread
