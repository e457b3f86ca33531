"""`python -m bot run`: the bot, with the embedded API unless the settings name another."""

import logging

from bot.app.composition import running_bot
from bot.app.engine import own_api
from bot.config import Settings
from bot.process import ended_by_signals, forever
from bot.store.upgrade import open_database

log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Run the bot until SIGTERM or Ctrl-C.

    Raises BotError or OSError if it can't start, SocketModeEnded if it can't continue.
    """
    async with (
        ended_by_signals(),
        open_database(settings.database_url) as database,
        own_api(settings, database) as complete,
        running_bot(complete, database) as bot,
    ):
        log.info("The database is %r.", database.engine.url)
        log.info("The bot is ready (%s mode, port %d).", settings.slack_mode, bot.port)
        await forever(bot.sockets.ended if bot.sockets else None)
