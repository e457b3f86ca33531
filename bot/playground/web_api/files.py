"""Uploading a file: ask for a URL, send the bytes there, then share the file, once.

Source: docs.slack.dev/messaging/working-with-files.
"""

from typing import Any

from aiohttp import web

from bot.playground.errors import SlackError
from bot.playground.objects import BOT_USER, Json
from bot.playground.web_api import posting
from bot.playground.web_api.call import WebAPICall
from bot.playground.workspace import Workspace


def get_upload_url(call: WebAPICall) -> Json:
    """files.getUploadURLExternal."""
    length = call.number("length", 0)
    if length < 1:
        raise SlackError("invalid_arguments")
    file_id = call.workspace.next_id("F")
    name = call.text("filename")
    call.workspace.files[file_id] = {"id": file_id, "name": name, "size": length, "content": None}
    return {"upload_url": f"{call.url}upload/{file_id}", "file_id": file_id}


async def receive(workspace: Workspace, request: web.Request) -> web.Response:
    """Take a file's bytes, exactly as many as were announced."""
    file = workspace.files.get(request.match_info["file_id"])
    body = await request.read()
    if file is None or file["content"] is not None:
        return web.Response(status=404, text="not found")
    if len(body) != file["size"]:
        return web.Response(status=400, text="the length differs from the one announced")
    file["content"] = body
    return web.Response(text=f"OK - {len(body)}")


def complete_upload(call: WebAPICall) -> Json:
    """files.completeUploadExternal: with a channel the files are shared there, else private."""
    entries = call.args.get("files")
    if not isinstance(entries, list) or not entries:
        raise SlackError("invalid_arguments")
    uploads = [_uploaded(call, entry) for entry in entries]
    channel = call.posting_channel("channel_id") if call.optional("channel_id") else None
    for file in uploads:
        file["completed"] = True
    files = [{key: file[key] for key in ("id", "name", "size", "title")} for file in uploads]
    if channel is not None:
        parent = posting.parent(call.workspace, channel.id, call.optional("thread_ts"))
        comment = call.optional("initial_comment") or ""
        call.workspace.post(channel.id, BOT_USER, comment, files=files, thread_ts=parent)
    return {"files": files}


def _uploaded(call: WebAPICall, entry: Any) -> Json:
    file_id = entry.get("id") if isinstance(entry, dict) else None
    file = call.workspace.files.get(str(file_id))
    if file is None or file["content"] is None or file.get("completed"):
        raise SlackError("file_not_found")
    file["title"] = entry.get("title") or file["name"]
    return file
