"""`python -m bot digest`: posts one digest, without importing what only the bot needs."""

from bot.app.engine import own_api
from bot.app.outside import clock, make_api, make_session, make_web, slack_session
from bot.app.parts import make_digest, make_records
from bot.config import Settings
from bot.errors import BotError, SlackRefused
from bot.store.upgrade import open_database


async def post_digest(settings: Settings, *, again: bool) -> str:
    """Post today's digest, unless it was posted; returns a sentence. Raises BotError."""
    async with (
        open_database(settings.database_url) as database,
        own_api(settings, database) as complete,
        slack_session(complete.slack_api_url) as session,
        make_session(complete.api_url) as to_api,
    ):
        api = make_api(complete, to_api)
        web = make_web(complete, session)
        await web.identify()
        await api.measure_clock()
        records = make_records(complete, database)
        await records.forget_others(api, clock())
        await records.refresh_rules()
        await records.forget_old(clock)
        digest = make_digest(complete, api, database, web, records, now=clock)
        try:
            if digest is None or await digest.post_now(again=again):
                return "Posted."
        except SlackRefused as fault:
            if not fault.may_not_post:
                raise
            raise BotError(f"The bot can't post in {complete.digest_channel}. {fault}.") from fault
        if await digest.needs_none():
            return "All clear: nothing to post until next week. (--again posts it anyway.)"
        return "Already posted today. (--again posts it once more.)"
