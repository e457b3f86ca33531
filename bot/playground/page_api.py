"""The page's side of the server: JSON over HTTP, and a stream of events."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from bot.playground.errors import PlaygroundError
from bot.playground.faults import Handler
from bot.playground.objects import BOT_USER, TEAM_ID, TEAM_NAME, Json
from bot.playground.people import People

PAGE = Path(__file__).parent / "page"
#: The page shows third-party text: it may load only its own files, and no frame may contain it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@web.middleware
async def loopback_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests for another host, or from another site's page.

    A foreign Host header is a sign of DNS rebinding, a foreign Origin of another site's script.
    """
    origin = request.headers.get("Origin")
    if urlsplit(f"//{request.host}").hostname not in LOOPBACK:
        return _refusal("only this machine may use the playground")
    if origin is not None and urlsplit(origin).netloc != request.host:
        return _refusal("only the playground's own page may use it")
    return await handler(request)


class PageAPI:
    """Serves the page, and carries out what people do on it."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._workspace = people.workspace
        self._closing = False

    def close(self) -> None:
        """End the event streams."""
        self._closing = True
        self._workspace.wake()

    def routes(self) -> list[web.RouteDef]:
        """Return the page's routes."""
        actions = {
            "say": self._say,
            "press": self._press,
            "submit": self._submit,
            "close": self._close_view,
            "home": self._open_home,
            "shortcut": self._shortcut,
        }
        return [
            web.get("/", _index),
            web.get(r"/page/{name:\w[\w-]*\.(?:js|css|svg)}", _file),
            web.get("/page/bootstrap", self._bootstrap),
            web.get("/page/events", self._events),
            web.get("/page/traffic", self._traffic),
            *(web.post(f"/page/{name}", _json_handler(action)) for name, action in actions.items()),
        ]

    async def _bootstrap(self, request: web.Request) -> web.Response:
        user = request.query.get("user", "")
        if user not in self._workspace.users:
            return web.json_response({"ok": False, "error": f"there is no user {user}"})
        return web.json_response({"ok": True} | self._workspace_as(user) | self._app())

    def _workspace_as(self, user: str) -> Json:
        """Return everything that this user may see, and the cursor to follow events from."""
        space = self._workspace
        channels, home = space.channels_of(user), space.home(user)
        return {
            "team": {"id": TEAM_ID, "name": TEAM_NAME},
            "me": space.users[user].for_page(),
            "users": [person.for_page() for person in space.users.values()],
            "channels": [channel.for_page() for channel in channels],
            "messages": {
                channel.id: [space.message_for_page(m) for m in space.messages(channel.id, user)]
                for channel in channels
            },
            "home": home.for_page() if home else None,
            "modals": [view.for_page() for view in space.modals(user)],
            "cursor": space.cursor,
        }

    def _app(self) -> Json:
        app = self._people.app
        completions = [
            {"command": c.command, "insert": line.insert, "usage": line.usage, "help": line.help}
            for c in app.commands
            for line in c.completions
        ]
        shortcuts = [{"callback_id": s.callback_id, "name": s.name} for s in app.shortcuts]
        return {
            "app": {"id": app.app_id, "name": app.name, "bot_user": BOT_USER},
            "completions": completions,
            "shortcuts": shortcuts,
        }

    async def _events(self, request: web.Request) -> web.StreamResponse:
        user, after = request.query.get("user", ""), request.query.get("after", "")
        if user not in self._workspace.users or not after.isdigit():
            return _refusal("user and after are required", status=400)
        stream = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await stream.prepare(request)
        event = asyncio.Event()
        unsubscribe = self._workspace.subscribe(event.set)
        try:
            await self._follow(stream, event, user, int(after))
        except ConnectionError:
            return stream
        finally:
            unsubscribe()
        return stream

    async def _follow(
        self, stream: web.StreamResponse, event: asyncio.Event, user: str, after: int
    ) -> None:
        space = self._workspace
        while not self._closing:
            event.clear()
            if not space.can_replay(after):
                await _send(stream, {"kind": "reload"})
                return
            for entry in space.events_after(after):
                after = entry.cursor
                if space.may_see(entry, user):
                    await _send(stream, entry.for_page())
            if after == space.cursor:
                await event.wait()

    async def _traffic(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "traffic": list(self._workspace.traffic)})

    async def _say(self, body: Json) -> Json:
        user, channel, text = (_string(body, key) for key in ("user", "channel", "text"))
        await self._people.say(user, channel, text, body.get("thread_ts") or None)
        return {}

    async def _press(self, body: Json) -> Json:
        await self._people.press(
            _string(body, "user"),
            action_id=_string(body, "action_id"),
            message_ts=body.get("ts"),
            channel=body.get("channel") if body.get("ts") else None,
            view_id=body.get("view_id"),
            block_id=body.get("block_id"),
            option=body.get("option"),
            value=body.get("value"),
            values=body.get("values"),
        )
        return {}

    async def _submit(self, body: Json) -> Json:
        user, view_id = _string(body, "user"), _string(body, "view_id")
        return {"errors": await self._people.submit(user, view_id, body.get("values") or {})}

    async def _close_view(self, body: Json) -> Json:
        await self._people.close_view(_string(body, "user"), _string(body, "view_id"))
        return {}

    async def _open_home(self, body: Json) -> Json:
        await self._people.open_home(_string(body, "user"))
        return {}

    async def _shortcut(self, body: Json) -> Json:
        keys = ("user", "callback_id", "channel", "ts")
        await self._people.shortcut(*(_string(body, key) for key in keys))
        return {}


def _json_handler(action: Callable[[Json], Awaitable[Json]]) -> Handler:
    """Make a handler that answers {"ok": true, …}, or {"ok": false, "error": …}."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            return _refusal("the body must be JSON", status=415)
        try:
            body = json.loads(await request.text())
            if not isinstance(body, dict):
                return _refusal("the body must be a JSON object", status=400)
            return web.json_response({"ok": True} | await action(body))
        except PlaygroundError as error:
            return web.json_response({"ok": False, "error": str(error)})
        except ValueError:
            return _refusal("the body is not valid JSON", status=400)

    return handle


def _string(body: Json, key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise PlaygroundError(f"{key} is missing")
    return value


def _refusal(error: str, status: int = 403) -> web.Response:
    return web.json_response({"ok": False, "error": error}, status=status)


async def _send(stream: web.StreamResponse, event: Json) -> None:
    await stream.write(f"data: {json.dumps(event)}\n\n".encode())


async def _index(_request: web.Request) -> web.StreamResponse:
    return _page_file("index.html")


async def _file(request: web.Request) -> web.StreamResponse:
    return _page_file(request.match_info["name"])


def _page_file(name: str) -> web.StreamResponse:
    path = PAGE / name
    if not path.is_file():
        return web.Response(status=404, text=f"there is no {name}")
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
    }
    return web.FileResponse(path, headers=headers)
