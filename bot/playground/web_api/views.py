"""The Web API's views.* and blocks.validate."""

from __future__ import annotations

from bot.playground.limits import HOME, MESSAGE, MODAL, Fault, faults
from bot.playground.objects import BOT_ID, TEAM_ID, Json, View
from bot.playground.tickets import SlackError
from bot.playground.web_api import posting
from bot.playground.web_api.call import Call
from bot.playground.workspace import STACK_LIMIT, Workspace


def open_view(call: Call) -> Json:
    """views.open: a new stack of modals for whoever pulled the trigger."""
    content = checked(call.workspace, call.args.get("view"), MODAL)
    user = call.tickets.redeem_trigger(call.text("trigger_id"))
    call.workspace.clear_modals(user)
    return {"view": for_api(call.workspace, call.workspace.push_modal(user, content))}


def push(call: Call) -> Json:
    """views.push: one more modal on the stack, up to three."""
    content = checked(call.workspace, call.args.get("view"), MODAL)
    user = call.tickets.redeem_trigger(call.text("trigger_id"))
    return {"view": for_api(call.workspace, push_on(call.workspace, user, content))}


def push_on(workspace: Workspace, user: str, content: Json) -> View:
    """Push checked content, or raise `not_found` or `push_limit_reached`."""
    height = len(workspace.modals(user))
    if not height:
        raise SlackError("not_found")
    if height >= STACK_LIMIT:
        raise SlackError("push_limit_reached")
    return workspace.push_modal(user, content)


def update(call: Call) -> Json:
    """views.update, by view_id or external_id."""
    view = _named(call)
    if view is None:
        raise SlackError("not_found")
    surface = MODAL if view in call.workspace.modals(view.user) else HOME
    content = checked(call.workspace, call.args.get("view"), surface, of=view)
    _check_hash(call, view)
    call.workspace.update_view(view, content)
    return {"view": for_api(call.workspace, view)}


def publish(call: Call) -> Json:
    """views.publish: somebody's App Home."""
    user = call.user("user_id").id
    held = call.workspace.home(user)
    content = checked(call.workspace, call.args.get("view"), HOME, of=held)
    _check_hash(call, held)
    return {"view": for_api(call.workspace, call.workspace.publish_home(user, content))}


def validate(call: Call) -> Json:
    """blocks.validate: every fault of exactly one of `blocks`, `message` and `view`."""
    given = [name for name in ("blocks", "message", "view") if call.args.get(name) is not None]
    if len(given) != 1:
        raise SlackError("invalid_arguments")
    name, value = given[0], call.args[given[0]]
    payload = {"blocks": value} if name == "blocks" else value
    if not isinstance(payload, dict) or not isinstance(payload.get("blocks", []), list):
        raise SlackError("invalid_arguments")
    surface = payload.get("type", MODAL) if name == "view" else MESSAGE
    found = faults(surface, payload, call.app)
    if found:
        code = f"invalid_{name}"
        raise SlackError(code, errors=[_told(fault, code) for fault in found])
    return {}


def checked(workspace: Workspace, content: object, surface: str, of: View | None = None) -> Json:
    """Return a view's content, or raise as views.open does; `of` is the view it replaces."""
    if not isinstance(content, dict):
        raise SlackError("invalid_arguments")
    if content.get("type") != surface:
        words = f"[ERROR] type must be {surface} [json-pointer:/view/type]"
        raise SlackError("invalid_arguments", response_metadata={"messages": [words]})
    content = {key: value for key, value in content.items() if value is not None}
    posting.refuse_faulty(surface, content, workspace.app)
    external = content.get("external_id")
    held = workspace.view_by_external_id(external) if external else None
    if held is not None and held is not of:
        raise SlackError("duplicate_external_id")
    return content


def for_api(workspace: Workspace, view: View) -> Json:
    """Return a view as the Web API and payloads carry it."""
    return {
        "id": view.id,
        "team_id": TEAM_ID,
        "private_metadata": "",
        "callback_id": "",
        "external_id": "",
        "title": None,
        "submit": None,
        "close": None,
        "clear_on_close": False,
        "notify_on_close": False,
        **view.content,
        "state": {"values": view.values},
        "hash": view.hash,
        "root_view_id": view.root_id,
        "previous_view_id": view.previous_id,
        "app_id": workspace.app.app_id,
        "app_installed_team_id": TEAM_ID,
        "bot_id": BOT_ID,
    }


def _named(call: Call) -> View | None:
    view_id, external_id = call.optional("view_id"), call.optional("external_id")
    if view_id:
        return call.workspace.view(view_id)
    if external_id:
        return call.workspace.view_by_external_id(external_id)
    raise SlackError("invalid_arguments")


def _check_hash(call: Call, view: View | None) -> None:
    given = call.optional("hash")
    if given and view is not None and given != view.hash:
        raise SlackError("hash_conflict")


def _told(fault: Fault, code: str) -> Json:
    return {"pointer": fault.pointer, "code": code, "message": fault.message}
