"""The Web API's views.* methods."""

from bot.playground.errors import SlackError
from bot.playground.limits import HOME, MODAL
from bot.playground.objects import BOT_ID, TEAM_ID, Json, OpenView
from bot.playground.web_api import posting
from bot.playground.web_api.call import WebAPICall
from bot.playground.workspace import MAX_MODALS, Workspace


def open_view(call: WebAPICall) -> Json:
    """views.open: a new stack of modals for the user whose trigger it is."""
    content = checked(call.args.get("view"), MODAL)
    user = call.tickets.redeem_trigger(call.text("trigger_id"))
    call.workspace.clear_modals(user)
    return {"view": for_api(call.workspace, call.workspace.push_modal(user, content))}


def push(call: WebAPICall) -> Json:
    """views.push: another modal on the stack, up to three."""
    content = checked(call.args.get("view"), MODAL)
    user = call.tickets.redeem_trigger(call.text("trigger_id"))
    return {"view": for_api(call.workspace, push_onto(call.workspace, user, content))}


def push_onto(workspace: Workspace, user: str, content: Json) -> OpenView:
    """Push checked content. Raises SlackError `not_found` or `push_limit_reached`."""
    height = len(workspace.modals(user))
    if not height:
        raise SlackError("not_found")
    if height >= MAX_MODALS:
        raise SlackError("push_limit_reached")
    return workspace.push_modal(user, content)


def update(call: WebAPICall) -> Json:
    """views.update, by view_id."""
    view = call.workspace.view(call.text("view_id"))
    if view is None:
        raise SlackError("not_found")
    surface = MODAL if view in call.workspace.modals(view.user) else HOME
    content = checked(call.args.get("view"), surface)
    _check_hash(call, view)
    call.workspace.update_view(view, content)
    return {"view": for_api(call.workspace, view)}


def publish(call: WebAPICall) -> Json:
    """views.publish: a user's App Home."""
    user = call.user("user_id").id
    content = checked(call.args.get("view"), HOME)
    _check_hash(call, call.workspace.home(user))
    return {"view": for_api(call.workspace, call.workspace.publish_home(user, content))}


def checked(content: object, surface: str) -> Json:
    """Return a view's content. Raises SlackError as views.open does."""
    if not isinstance(content, dict):
        raise SlackError("invalid_arguments")
    if content.get("type") != surface:
        message = f"[ERROR] type must be {surface} [json-pointer:/view/type]"
        raise SlackError("invalid_arguments", response_metadata={"messages": [message]})
    content = {key: value for key, value in content.items() if value is not None}
    posting.refuse_violations(surface, content)
    return content


#: Default values of a view's fields.
_UNSAID = {
    **dict.fromkeys(("private_metadata", "callback_id", "external_id"), ""),
    **dict.fromkeys(("title", "submit", "close")),
    **dict.fromkeys(("clear_on_close", "notify_on_close"), False),
}


def for_api(workspace: Workspace, view: OpenView) -> Json:
    """Return a view as the Web API and payloads contain it."""
    return {
        "id": view.id,
        "team_id": TEAM_ID,
        **_UNSAID,
        **view.content,
        "state": {"values": view.values},
        "hash": view.hash,
        "root_view_id": view.root_id,
        "previous_view_id": view.previous_id,
        "app_id": workspace.app.app_id,
        "app_installed_team_id": TEAM_ID,
        "bot_id": BOT_ID,
    }


def _check_hash(call: WebAPICall, view: OpenView | None) -> None:
    expected = call.optional("hash")
    if expected and view is not None and expected != view.hash:
        raise SlackError("hash_conflict")
