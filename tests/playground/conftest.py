from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.playground import App, AppCommand, Completion, Playground, Shortcut


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    now: datetime = field(default_factory=lambda: datetime(2026, 11, 23, 12, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


SCOPES = frozenset(
    {
        "app_mentions:read",
        "channels:history",
        "channels:read",
        "chat:write",
        "commands",
        "files:write",
        "groups:history",
        "groups:read",
        "im:history",
        "im:read",
        "im:write",
        "usergroups:read",
        "users:read",
    }
)
APP = App(
    app_id="A0SSL",
    name="SSLBot",
    bot_token="xoxb-test-bot",
    app_token="xapp-test-app",
    signing_secret="signing-secret-of-tests",
    scopes=SCOPES,
    commands=(AppCommand("/ssl", (Completion("help", "help", "Show help"),)),),
    shortcuts=(Shortcut("scan_hosts", "Scan hosts"),),
    bot_events=frozenset({"app_mention", "message.im", "app_home_opened", "member_joined_channel"}),
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app() -> App:
    return APP


@pytest.fixture
async def playground(app: App, clock: Clock) -> AsyncIterator[Playground]:
    playground = Playground(app, clock=clock, ack_limit=2.0)
    await playground.start()
    yield playground
    await playground.close()


@pytest.fixture
def client(playground: Playground, session: aiohttp.ClientSession) -> AsyncWebClient:
    """The real SDK, configured only with where Slack is; it doesn't retry."""
    return AsyncWebClient(
        playground.app.bot_token, base_url=playground.api_url, session=session, retry_handlers=[]
    )


@contextmanager
def refused(error: str) -> Iterator[pytest.ExceptionInfo[SlackApiError]]:
    """The playground refuses a call with this error."""
    with pytest.raises(SlackApiError) as caught:
        yield caught
    assert caught.value.response["error"] == error
