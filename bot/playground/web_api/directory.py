"""The Web API's methods about the app itself, users and user groups."""

from bot.playground.errors import SlackError
from bot.playground.objects import BOT_ID, BOT_USER, TEAM_DOMAIN, TEAM_ID, TEAM_NAME, Json
from bot.playground.web_api.call import WebAPICall


def auth_test(call: WebAPICall) -> Json:
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


def open_connection(call: WebAPICall) -> Json:
    """apps.connections.open: the URL of a websocket, valid once."""
    address = call.url.replace("http", "ws", 1)
    return {"url": f"{address}link/?ticket={call.tickets.socket()}&app_id={call.app.app_id}"}


def user_info(call: WebAPICall) -> Json:
    """users.info."""
    return {"user": call.user().for_api()}


def usergroups(call: WebAPICall) -> Json:
    """usergroups.list."""
    return {"usergroups": list(call.workspace.usergroups.values())}


def usergroup_users(call: WebAPICall) -> Json:
    """usergroups.users.list; tests fill `workspace.usergroups`."""
    group = call.workspace.usergroups.get(call.text("usergroup"))
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": list(group.get("users", []))}
