"""The Web API's chat.* methods."""

from bot.playground.errors import SlackError
from bot.playground.objects import BOT_USER, TEAM_DOMAIN, Channel, Json, PostedMessage
from bot.playground.web_api import posting
from bot.playground.web_api.call import WebAPICall


def post_message(call: WebAPICall) -> Json:
    """chat.postMessage."""
    channel = call.posting_channel()
    message = posting.content(call.args)
    thread = posting.parent(call.workspace, channel.id, call.optional("thread_ts"))
    call.workspace.rates.message(channel.id)
    first, *_ = posting.post(call.workspace, channel.id, message, thread_ts=thread)
    posted = posting.for_api(call.workspace, first, metadata=True)
    reply: Json = {"channel": channel.id, "ts": first.ts, "message": posted}
    if len(message["text"]) > posting.MAX_TEXT:
        reply["response_metadata"] = {"warnings": ["message_truncated"]}
    return reply


def post_ephemeral(call: WebAPICall) -> Json:
    """chat.postEphemeral."""
    channel = call.posting_channel()
    user = call.user()
    if user.id not in channel.members:
        raise SlackError("user_not_in_channel")
    message = posting.content(call.args) | {"metadata": None}
    thread = posting.parent(call.workspace, channel.id, call.optional("thread_ts"))
    first, *_ = posting.post(
        call.workspace, channel.id, message, thread_ts=thread, ephemeral_for=user.id
    )
    return {"message_ts": first.ts}


def update(call: WebAPICall) -> Json:
    """chat.update: text without blocks removes the blocks; blocks alone keep the text."""
    message = _own(call, "cant_update_message")
    if len(str(call.args.get("text") or "")) > posting.MAX_UPDATE:
        raise SlackError("msg_too_long")
    new = posting.content(call.args)
    if "text" not in call.args:
        new["text"] = message.text
    posting.replace(call.workspace, message, new)
    posted = posting.for_api(call.workspace, message, metadata=True)
    return {"channel": message.channel, "ts": message.ts, "text": message.text, "message": posted}


def delete(call: WebAPICall) -> Json:
    """chat.delete."""
    message = _own(call, "cant_delete_message")
    call.workspace.remove(message)
    return {"channel": message.channel, "ts": message.ts}


def get_permalink(call: WebAPICall) -> Json:
    """chat.getPermalink."""
    channel = call.channel()
    message = _public(call, channel, call.text("message_ts", "message_not_found"))
    link = f"https://{TEAM_DOMAIN}.slack.com/archives/{channel.id}/p{message.ts.replace('.', '')}"
    return {"channel": channel.id, "permalink": link}


def _public(call: WebAPICall, channel: Channel, ts: str) -> PostedMessage:
    message = call.workspace.message(channel.id, ts)
    if message is None or message.ephemeral_for is not None:
        raise SlackError("message_not_found")
    return message


def _own(call: WebAPICall, error: str) -> PostedMessage:
    message = _public(call, call.channel(), call.text("ts", "message_not_found"))
    if message.user != BOT_USER:
        raise SlackError(error)
    return message
