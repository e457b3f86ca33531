"""The Web API's methods about the app itself, people, places, user groups and files."""

from __future__ import annotations

from typing import Any

from bot.playground.objects import BOT_ID, BOT_USER, TEAM_DOMAIN, TEAM_ID, TEAM_NAME, Channel, Json
from bot.playground.tickets import SlackError
from bot.playground.web_api import posting
from bot.playground.web_api.call import Call


def auth_test(call: Call) -> Json:
    """auth.test."""
    return {
        "url": f"https://{TEAM_DOMAIN}.slack.com/",
        "team": TEAM_NAME,
        "user": call.app.name,
        "team_id": TEAM_ID,
        "user_id": BOT_USER,
        "bot_id": BOT_ID,
        "is_enterprise_install": False,
    }


def connections_open(call: Call) -> Json:
    """apps.connections.open: where a websocket can be opened, once."""
    address = call.url.replace("http", "ws", 1)
    return {"url": f"{address}link/?ticket={call.tickets.socket()}&app_id={call.app.app_id}"}


def conversations_info(call: Call) -> Json:
    """conversations.info."""
    channel = call.channel()
    _need(call, channel, "read")
    shown = channel.for_api()
    if call.flag("include_num_members"):
        shown["num_members"] = len(channel.members)
    return {"channel": shown}


def conversations_members(call: Call) -> Json:
    """conversations.members."""
    channel = call.channel()
    _need(call, channel, "read")
    return {"members": sorted(channel.members), "response_metadata": {"next_cursor": ""}}


def conversations_open(call: Call) -> Json:
    """conversations.open, with one person."""
    users = call.names("users")
    if not users:
        return {"channel": {"id": call.channel().id}}
    if len(users) > 1:
        raise SlackError("method_not_supported_for_channel_type")
    if users[0] not in call.workspace.users:
        raise SlackError("user_not_found")
    return {"channel": call.workspace.im(users[0]).for_api()}


def conversations_list(call: Call) -> Json:
    """conversations.list, of the `types` asked for."""
    types = call.names("types") or ["public_channel"]
    seen = [
        channel.for_api()
        for channel in call.workspace.channels.values()
        if _type(channel) in types and (not channel.is_private or BOT_USER in channel.members)
    ]
    return {"channels": seen, "response_metadata": {"next_cursor": ""}}


def users_info(call: Call) -> Json:
    """users.info."""
    return {"user": call.user().for_api()}


def users_list(call: Call) -> Json:
    """users.list."""
    members = [user.for_api() for user in call.workspace.users.values()]
    return {"members": members, "response_metadata": {"next_cursor": ""}}


def usergroups_list(call: Call) -> Json:
    """usergroups.list; a test fills `workspace.usergroups`."""
    withheld = set() if call.flag("include_users") else {"users"}
    groups = call.workspace.usergroups.values()
    return {"usergroups": [_without(group, withheld) for group in groups]}


def usergroups_users_list(call: Call) -> Json:
    """usergroups.users.list."""
    group = call.workspace.usergroups.get(call.text("usergroup"))
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": list(group.get("users", []))}


def get_upload_url(call: Call) -> Json:
    """files.getUploadURLExternal."""
    length = call.number("length", 0)
    if length < 1:
        raise SlackError("invalid_arguments")
    file_id = call.workspace.next_id("F")
    name = call.text("filename")
    call.workspace.files[file_id] = {"id": file_id, "name": name, "size": length, "content": None}
    return {"upload_url": f"{call.url}upload/{file_id}", "file_id": file_id}


def complete_upload(call: Call) -> Json:
    """files.completeUploadExternal: once for each file, shared in a channel or private."""
    named = call.args.get("files")
    if not isinstance(named, list) or not named:
        raise SlackError("invalid_arguments")
    files = [_uploaded(call, entry) for entry in named]
    channel = call.posting_channel("channel_id") if call.optional("channel_id") else None
    thread = call.optional("thread_ts")
    for file in files:
        file["completed"] = True
    shown = [_without(file, {"content", "completed"}) for file in files]
    if channel is not None:
        parent = posting.parent(call.workspace, channel.id, thread)
        comment = call.optional("initial_comment") or ""
        call.workspace.post(channel.id, BOT_USER, comment, files=shown, thread_ts=parent)
    return {"files": shown}


def _uploaded(call: Call, entry: Any) -> Json:
    file_id = entry.get("id") if isinstance(entry, dict) else None
    file = call.workspace.files.get(str(file_id))
    if file is None or file["content"] is None or file.get("completed"):
        raise SlackError("file_not_found")
    file["title"] = entry.get("title") or file["name"]
    return file


def _need(call: Call, channel: Channel, verb: str) -> None:
    kind = "im" if channel.is_im else "groups" if channel.is_private else "channels"
    call.need_scope(f"{kind}:{verb}")


def _type(channel: Channel) -> str:
    if channel.is_im:
        return "im"
    return "private_channel" if channel.is_private else "public_channel"


def _without(thing: Json, keys: set[str]) -> Json:
    return {key: value for key, value in thing.items() if key not in keys}
