"""The composition root: builds the programs, starts them and shuts them down."""

from bot.app.composition import Bot, make_notices, notice_interval, running_bot
from bot.app.engine import own_api
from bot.app.outside import clock, make_api, make_session, slack_session

__all__ = [
    "Bot",
    "clock",
    "make_api",
    "make_notices",
    "make_session",
    "notice_interval",
    "own_api",
    "running_bot",
    "slack_session",
]
