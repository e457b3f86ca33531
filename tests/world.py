"""The whole world of a test: the playground, the bot, and an API, joined by URLs alone.

Tests read as conversations: `await world.say("/ssl status api.demo.test")`, then
`card = await world.card("DUE")`, then `await world.press("Rescan", on=card)`.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from bot.app.composition import Bot, running_bot
from bot.app.engine import own_api
from bot.app.outside import clock as wall_clock
from bot.config import SETTINGS, Settings, read_settings
from bot.demo import playground_app
from bot.digest import Digest
from bot.playground import Playground
from bot.playground.hosts import SampleHosts
from bot.playground.objects import ANN, BEN, BOT_USER, CERTS, Json, OpenView, PostedMessage
from bot.playground.workspace import Workspace
from bot.slack.transport import EVENTS_PATH
from bot.store.database import Database
from bot.store.upgrade import open_database
from tests.stub_api import KEY, StubAPI

__all__ = [
    "ANN",
    "BEN",
    "CERTS",
    "Clock",
    "MakeWorld",
    "World",
    "digest_of",
    "labels",
    "new_world",
    "words",
]

T = TypeVar("T")
#: Makes a world in the directories of a test: the fixture `make_world`.
MakeWorld = Callable[..., AbstractAsyncContextManager["World"]]
#: With microseconds, as every real time has: the database keeps none.
MORNING = datetime(2026, 11, 23, 7, 30, 0, 123_456, tzinfo=UTC)


class Clock:
    """A wall clock that stands still until a test moves it."""

    def __init__(self, now: datetime = MORNING) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        """Let time pass: `minutes=5`."""
        self.now += timedelta(**by)


def digest_of(bot: Bot) -> Digest:
    """The digest of a bot that has one."""
    assert bot.digest is not None
    return bot.digest


def words(shown: PostedMessage | OpenView) -> str:
    """Everything that can be read in a message or view, buttons and fallback text included."""
    text = shown.text if isinstance(shown, PostedMessage) else str(shown.content.get("title", ""))
    return "\n".join([text, *_texts(shown.blocks)])


def _texts(thing: Any) -> Iterator[str]:
    if isinstance(thing, list):
        for item in thing:
            yield from _texts(item)
    elif isinstance(thing, dict):
        for key, value in thing.items():
            if key == "text" and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)


def labels(shown: PostedMessage | OpenView) -> list[str]:
    """The labels of the buttons and menu lines that can be pressed, in their order."""
    return [label for label, *_ in _presses(shown.blocks)]


def _presses(blocks: list[Json]) -> Iterator[tuple[str, Json, Json, str | None]]:
    """Each label that can be pressed, with its block, its element and its menu's option."""
    for block in blocks:
        for element in [*block.get("elements", []), block.get("accessory", {})]:
            if element.get("type") == "button":
                yield element["text"]["text"], block, element, None
            for option in element.get("options", []):
                yield option["text"]["text"], block, element, option["value"]


@dataclass
class World:
    """A running world, and what people do in it (Ann in #certificates unless told)."""

    playground: Playground
    clock: Callable[[], datetime]
    settings: Settings
    mode: str
    stub: StubAPI | None = None
    hosts: SampleHosts | None = None
    bots: list[Bot] = field(default_factory=list)

    @property
    def bot(self) -> Bot:
        """The bot; with several, the one that started last."""
        return self.bots[-1]

    @property
    def api(self) -> StubAPI:
        """The stub API."""
        assert self.stub is not None
        return self.stub

    @property
    def slack(self) -> Workspace:
        """What everybody in the workspace sees."""
        return self.playground.workspace

    @property
    def digest(self) -> Digest:
        """The bot's digest."""
        return digest_of(self.bot)

    def later(self, **by: float) -> None:
        """Let time pass: `minutes=5`."""
        assert isinstance(self.clock, Clock)
        self.clock.move(**by)

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """The status and the JSON at a path of the bot's own server, such as `/healthz`."""
        url = f"http://127.0.0.1:{self.bot.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.json()

    @asynccontextmanager
    async def running_bot(self) -> AsyncIterator[Bot]:
        """One more bot on the same database; by HTTP, requests are its own from now on."""
        async with AsyncExitStack() as stack:
            database = Database(self.settings.database_url)
            stack.push_async_callback(database.close)
            starting = running_bot(self.settings, database, now=self.clock)
            bot = await stack.enter_async_context(starting)
            self.bots.append(bot)
            stack.callback(self.bots.remove, bot)
            if self.mode == "http":
                self.playground.events_url = f"http://127.0.0.1:{bot.port}{EVENTS_PATH}"
            yield bot

    async def say(
        self, text: str, *, by: str = ANN, to: str = CERTS, under: PostedMessage | None = None
    ) -> None:
        """Type into a channel, or in the thread `under` a message; the bot has acknowledged it."""
        await self.playground.say(by, to, text, under.ts if under else None)

    def said(self, text: str, *, to: str = CERTS) -> PostedMessage:
        """The newest message that says this, whoever wrote it."""
        return [m for m in self.slack.messages(to) if text in words(m)][-1]

    async def shortcut(self, on: PostedMessage, *, by: str = ANN) -> None:
        """Use “Check hosts in message” on a message."""
        await self.playground.shortcut(by, "check_hosts", on.channel, on.ts)

    def seen(self, *, by: str = ANN, to: str = CERTS) -> list[PostedMessage]:
        """What the bot said in a channel, oldest first, as somebody sees it."""
        return [m for m in self.slack.messages(to, by) if m.user == BOT_USER]

    async def card(
        self, *parts: str, by: str = ANN, to: str = CERTS, within: float = 30.0
    ) -> PostedMessage:
        """Wait for a message of the bot's that says all of this; the newest one."""

        def look(_: Workspace) -> PostedMessage | None:
            found = [m for m in self.seen(by=by, to=to) if all(p in words(m) for p in parts)]
            return found[-1] if found else None

        return await self.playground.wait_for(look, within)

    async def ask(
        self, text: str, *parts: str, by: str = ANN, to: str = CERTS, seen_by: str = ""
    ) -> PostedMessage:
        """Type this, and wait for a new message of the bot's that says all of these parts.

        Whoever asks has to see it, or `seen_by`.
        """
        before = {message.ts for message in self.seen(by=seen_by or by, to=to)}
        await self.say(text, by=by, to=to)

        def look(_: Workspace) -> PostedMessage | None:
            new = [m for m in self.seen(by=seen_by or by, to=to) if m.ts not in before]
            return next((m for m in new if all(part in words(m) for part in parts)), None)

        return await self.playground.wait_for(look)

    async def until(self, condition: Callable[[], T | None], within: float = 30.0) -> T:
        """Wait until this is true of the workspace."""
        return await self.playground.wait_for(lambda _: condition(), within)

    async def modal(self, *parts: str, by: str = ANN) -> OpenView:
        """Wait until the modal on top says all of this."""

        def look(slack: Workspace) -> OpenView | None:
            view = slack.modal(by)
            return view if view and all(part in words(view) for part in parts) else None

        return await self.playground.wait_for(look)

    async def home(self, *parts: str, by: str = ANN) -> OpenView:
        """Wait until the Home tab says all of this."""

        def look(slack: Workspace) -> OpenView | None:
            view = slack.home(by)
            return view if view and all(part in words(view) for part in parts) else None

        return await self.playground.wait_for(look)

    async def open_home(self, *parts: str, by: str = ANN) -> OpenView:
        """Open Home, and wait until it says all of this."""
        await self.playground.open_home(by)
        return await self.home(*parts, by=by)

    async def add_form(self) -> OpenView:
        """Open the form of `/ssl add`."""
        await self.say("/ssl add")
        return await self.modal("Add hosts")

    async def press(
        self, label: str, *, on: PostedMessage | OpenView, row: str = "", by: str = ANN
    ) -> None:
        """Press a button, or choose a line of a menu; `row` names the host of the one meant."""
        fits = [
            (block, element, option)
            for found, block, element, option in _presses(on.blocks)
            if found == label and row in (option or element.get("value", ""))
        ]
        assert len(fits) == 1, f"{len(fits)} of “{label}” {row}; there are {labels(on)}"
        block, element, option = fits[0]
        where: dict[str, Any]
        if isinstance(on, OpenView):
            where = {"view_id": on.id}
        else:
            where = {"channel": on.channel, "message_ts": on.ts}
        await self.playground.press(
            by,
            action_id=element["action_id"],
            block_id=block["block_id"],
            option=option,
            value=element.get("value"),
            **where,
        )

    async def submit(self, form: OpenView, by: str = ANN, **fields: str) -> dict[str, str]:
        """Fill in a form and send it; gives the faults of its fields."""
        return await self.playground.submit(by, form.id, dict(fields))

    async def settled(self) -> None:
        """Wait until no bot has anything left to do."""
        while running := {task for bot in self.bots for task in bot.slack.tasks._running}:
            await asyncio.wait(running)


async def empty_database(directory: Path) -> Path:
    """A database file with the schema, to be copied by each test."""
    file = directory / "empty.sqlite3"
    if not file.exists():
        async with open_database(f"sqlite:///{file}"):
            pass
    return file


def environment(playground: Playground, mode: str, file: Path) -> dict[str, str]:
    """The settings of a bot for this playground, as `python -m bot` reads them."""
    return {
        "SLACK_BOT_TOKEN": playground.app.bot_token,
        "SLACK_APP_TOKEN": playground.app.app_token,
        "SLACK_SIGNING_SECRET": playground.app.signing_secret,
        "SLACK_MODE": mode,
        "SLACK_API_URL": playground.api_url,
        "DATABASE_URL": f"sqlite:///{file}",
        "HOST": "127.0.0.1",
        "PORT": "0",
    }


@asynccontextmanager
async def new_world(
    directory: Path,
    empty: Path,
    *,
    mode: str = "http",
    scans: bool = False,
    real_time: bool = False,
    bots: int = 1,
    **environ: str,
) -> AsyncIterator[World]:
    """A world with the stub API; with `scans`, the embedded API and the sample hosts instead.

    Its clock stands still at MORNING, or is the machine's where it scans or is told so. `environ`
    is set beside what joins the programs.
    """
    clock: Callable[[], datetime] = wall_clock if scans or real_time else Clock()
    file = directory / "bot.sqlite3"
    shutil.copy(empty, file)
    async with AsyncExitStack() as stack:
        playground = Playground(playground_app(), clock=clock)
        await playground.start()
        session: Any = playground.delivery._session
        session.connector._force_close = False  # a connection for each payload takes a millisecond
        stack.push_async_callback(playground.close)
        told = environment(playground, mode, file)
        stub = hosts = None
        if scans:
            hosts = SampleHosts(clock(), directory)
            await hosts.start()
            stack.push_async_callback(hosts.close)
            told |= {"SCAN_ALLOW": hosts.allow, "SCAN_CA_FILE": str(hosts.ca_file)}
        else:
            stub = StubAPI(clock)
            await stub.start()
            stack.push_async_callback(stub.close)
            told |= {"SSLMONITOR_API_URL": stub.url, "SSLMONITOR_API_KEY": KEY}
        settings = read_settings(told | environ)
        if hosts:
            database = Database(settings.database_url)
            stack.push_async_callback(database.close)
            settings = await stack.enter_async_context(
                own_api(settings, database, hosts=hosts.table, now=clock)
            )
        world = World(playground, clock, settings, mode, stub, hosts)
        for _ in range(bots):
            await stack.enter_async_context(world.running_bot())
        await world.settled()
        yield world


def only(monkeypatch: pytest.MonkeyPatch, **environ: str) -> None:
    """Let these be all of the bot's settings."""
    for setting in SETTINGS.values():
        monkeypatch.delenv(setting.variable, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
