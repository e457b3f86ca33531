"""Where the answer to a button goes, as its payload and the button's own id say."""

from __future__ import annotations

from bot.blocks import Address, bare
from bot.slack.requests import Body, asker_of, home_channel
from bot.slack.surfaces import Below, Here, Lists, Modal, Surface
from bot.slack.web import SlackWeb


def surface_of(body: Body, web: SlackWeb, lists: Lists) -> Surface:
    """The surface of a pressed button; the third part of its id decides."""
    container = body.get("container") or {}
    channel = str((body.get("channel") or {}).get("id", ""))
    if container.get("type") == "view":
        view, user = body["view"], asker_of(body).user
        return Modal(web, view_id=str(view["id"]), channel=home_channel(view), user=user)
    url, action = str(body.get("response_url", "")), body["actions"][0]
    ts, message = str(container.get("message_ts", "")), body.get("message") or {}
    private = bool(container.get("is_ephemeral"))
    if not str(action["action_id"]).endswith(":below"):
        own = None if private else Address(channel, ts, message.get("thread_ts"))
        return Here(web, lists, response_url=url, channel=channel, own=own)
    if private:
        shown = lists.private(str(action.get("block_id", "")))
    else:
        text, blocks = bare(str(message.get("text", ""))), message.get("blocks") or []
        shown = lists.public(channel, ts, text, blocks)
    return Below(
        web,
        lists,
        response_url=url,
        channel=channel,
        ts=ts,
        thread_ts=message.get("thread_ts"),
        ephemeral=private,
        shown=shown,
    )
