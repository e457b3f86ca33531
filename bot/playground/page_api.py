"""What the page asks for and sends: JSON over HTTP, and a stream of events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from bot.playground.app import PlaygroundError
from bot.playground.objects import BOT_USER, TEAM_ID, TEAM_NAME, Json
from bot.playground.people import People

PAGE = Path(__file__).parent / "page"
#: The page holds third-party text: it may load nothing but its own files, and no frame may hold it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' https: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in only callers that mean this very machine, and pages that came from here.

    A foreign Host header betrays DNS rebinding, a foreign Origin another site's script.
    """
    origin = request.headers.get("Origin")
    if urlsplit(f"//{request.host}").hostname not in LOOPBACK:
        return _refused("this is only for this machine")
    if origin is not None and urlsplit(origin).netloc != request.host:
        return _refused("this is only for the playground's own page")
    return await handler(request)


class PageAPI:
    """Serves the page, and does what people do on it."""

    def __init__(self, people: People) -> None:
        self._there = people
        self._closing = False

    def close(self) -> None:
        """End the event streams."""
        self._closing = True
        self._there.workspace.wake()

    def routes(self) -> list[web.RouteDef]:
        """Return the page's part of the server."""
        doings = {
            "say": self._say,
            "press": self._press,
            "submit": self._submit,
            "close": self._close_view,
            "home": self._home,
            "shortcut": self._shortcut,
        }
        return [
            web.get("/", _index),
            web.get(r"/page/{name:\w[\w-]*\.(?:html|js|css|svg|png|ico)}", _file),
            web.get("/page/bootstrap", self._bootstrap),
            web.get("/page/events", self._events),
            web.get("/page/traffic", self._traffic),
            *(web.post(f"/page/{name}", _answering(doing)) for name, doing in doings.items()),
        ]

    async def _bootstrap(self, request: web.Request) -> web.Response:
        user = request.query.get("user", "")
        if user not in self._there.workspace.users:
            return web.json_response({"ok": False, "error": f"there is no user {user}"})
        return web.json_response({"ok": True} | self._first_sight(user))

    def _first_sight(self, user: str) -> Json:
        space, app = self._there.workspace, self._there.app
        places, home = space.channels_of(user), space.home(user)
        completions = [
            {"command": c.command, "insert": done.insert, "usage": done.usage, "help": done.help}
            for c in app.commands
            for done in c.completions
        ]
        return {
            "team": {"id": TEAM_ID, "name": TEAM_NAME},
            "me": space.users[user].for_page(),
            "users": [person.for_page() for person in space.users.values()],
            "channels": [place.for_page() for place in places],
            "messages": {
                place.id: [space.message_for_page(m) for m in space.messages(place.id, user)]
                for place in places
            },
            "home": home.for_page() if home else None,
            "modals": [view.for_page() for view in space.modals(user)],
            "completions": completions,
            "shortcuts": [
                {"callback_id": s.callback_id, "name": s.name}
                for s in app.shortcuts
                if s.type == "message"
            ],
            "app": {"id": app.app_id, "name": app.name, "bot_user": BOT_USER},
            "cursor": space.cursor,
        }

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Stream what happens after the cursor `after` and concerns `user`."""
        user, after = request.query.get("user", ""), request.query.get("after", "")
        if user not in self._there.workspace.users or not after.isdigit():
            return _refused("user and after are needed", status=400)
        stream = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await stream.prepare(request)
        changed = asyncio.Event()
        unsubscribe = self._there.workspace.subscribe(changed.set)
        try:
            await self._follow(stream, changed, user, int(after))
        except ConnectionError:
            return stream
        finally:
            unsubscribe()
        return stream

    async def _follow(
        self, stream: web.StreamResponse, changed: asyncio.Event, user: str, after: int
    ) -> None:
        space = self._there.workspace
        while not self._closing:
            changed.clear()
            if not space.remembers(after):
                await _tell(stream, {"kind": "reload"})
                return
            for change in space.changes_after(after):
                after = change.cursor
                if space.may_see(change, user):
                    await _tell(stream, change.for_page())
            if after == space.cursor:
                await changed.wait()

    async def _traffic(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "traffic": list(self._there.workspace.traffic)})

    async def _say(self, body: Json) -> Json:
        user, channel, text = (_word(body, key) for key in ("user", "channel", "text"))
        await self._there.say(user, channel, text, body.get("thread_ts") or None)
        return {}

    async def _press(self, body: Json) -> Json:
        await self._there.press(
            _word(body, "user"),
            action_id=_word(body, "action_id"),
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
        user, view_id = _word(body, "user"), _word(body, "view_id")
        return {"errors": await self._there.submit(user, view_id, body.get("values") or {})}

    async def _close_view(self, body: Json) -> Json:
        await self._there.close_view(_word(body, "user"), _word(body, "view_id"))
        return {}

    async def _home(self, body: Json) -> Json:
        await self._there.open_home(_word(body, "user"))
        return {}

    async def _shortcut(self, body: Json) -> Json:
        user, callback_id = _word(body, "user"), _word(body, "callback_id")
        await self._there.shortcut(user, callback_id, body.get("channel"), body.get("ts"))
        return {}


def _answering(doing: Callable[[Json], Awaitable[Json]]) -> Handler:
    """Make a JSON handler: {"ok": true, …}, or {"ok": false, "error": …}."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            return _refused("send JSON", status=415)
        try:
            body = json.loads(await request.text())
            if not isinstance(body, dict):
                return _refused("send a JSON object", status=400)
            return web.json_response({"ok": True} | await doing(body))
        except PlaygroundError as error:
            return web.json_response({"ok": False, "error": str(error)})
        except ValueError:
            return _refused("this is not JSON", status=400)

    return handle


def _word(body: Json, key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise PlaygroundError(f"{key} is missing")
    return value


def _refused(error: str, status: int = 403) -> web.Response:
    return web.json_response({"ok": False, "error": error}, status=status)


async def _tell(stream: web.StreamResponse, event: Json) -> None:
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
