"""What users read when Slack refuses, rate-limits or loses what the bot sends."""

from dataclasses import replace

from bot.blocks import Message, bare, code, context, plain, safe, section
from bot.errors import SlackLimited, SlackRefused, SlackUnreachable

#: Title and sentence for Slack's error codes.
_SENTENCES = {
    "is_archived": (
        "CHANNEL ARCHIVED",
        "Nobody can post in an archived channel, not even the bot.",
    ),
    "missing_scope": (
        "MISSING SCOPE",
        "The bot lacks a permission for this. Its operator can run `python -m bot check`.",
    ),
}


def failure(error: SlackRefused | SlackUnreachable) -> Message:
    """What Slack did not do, and what the asker can do about it."""
    if isinstance(error, SlackUnreachable):
        text = f"{str(error).rstrip('.')}. Part of the reply may be missing. Try again in a minute."
        return _card("⚠️", "SLACK IS HAVING PROBLEMS", text)
    if isinstance(error, SlackLimited):
        return busy()
    if error.too_slow:
        return _card("⚠️", "SLACK WAS SLOW", "Nothing was done. Press again.")
    if error.bad_token:
        text = (
            f"Slack refuses the bot's token ({code(error.reason)}). The bot's operator must "
            "install the app again and set `SLACK_BOT_TOKEN`."
        )
        return _card("⛔", "SLACK REFUSES THE BOT", text)
    if error.reason in _SENTENCES:
        return _card("⚠️", *_SENTENCES[error.reason])
    text = f"Its error: {code(error.reason)}. If this keeps happening, tell the bot's operator."
    return _card("⛔", "SLACK REFUSED THE REQUEST", text)


def not_shared(error: SlackRefused) -> Message:
    """For somebody who shares a card in a channel where the bot can't post."""
    if error.reason in {"not_in_channel", "channel_not_found"}:
        text = "The bot can't post in this channel. Invite it with `/invite`."
    else:
        text = f"The bot can't post in this channel. {bare(str(error))}."
    return _card("⛔", "NOT SHARED", text)


def busy() -> Message:
    """Slack limits how often the bot may post."""
    text = "Slack is limiting the bot, so a reply was delayed or dropped. Try again in a minute."
    return _card("⚠️", "RATE-LIMITED", text)


def answered_privately(message: Message, *, later: bool = True) -> Message:
    """An answer for the asker; the channel gets it too, `later`, if the limit does not last."""
    sees = "the channel will see this a little later" if later else "only you can see this"
    text = f"Slack is limiting the bot, so {sees}."
    return replace(
        message, blocks=(section(f"⚠️ *RATE-LIMITED*\n{text}"), *message.blocks), public=False
    )


def sent_directly() -> Message:
    """The reply in a channel to a request for a secret, which was sent as a direct message."""
    return Message(
        "The answer is in a direct message to you.",
        (section("📬 The answer is for you alone: the bot sent you a direct message."),),
    )


def _card(symbol: str, title: str, sentence: str) -> Message:
    return Message(
        plain(bare(f"{title.capitalize()}. {sentence}"), 600),
        (section(f"{symbol} *{title}*\n{sentence}"),),
    )


def restarting(doing: str = "", *, changes: bool = False) -> Message:
    """For those who are waiting when the bot stops; `doing` is what was in progress.

    A change may have been made all the same.
    """
    advice = "Try again in a minute."
    return _broken_off("The bot is restarting.", advice, f"Not finished: {doing}", changes)


def interrupted(doing: str, *, changes: bool) -> Message:
    """Replaces a message in progress whose process died, or which Slack didn't let it replace."""
    what = "The bot was interrupted before it could show the result here."
    return _broken_off(what, "Ask again.", f"Interrupted: {doing}", changes)


def _broken_off(what: str, advice: str, doing: str, changes: bool) -> Message:
    if changes:
        advice = "The change may have gone through; check before you retry."
    more = [] if doing.endswith(": ") else [context(safe(doing, 200))]
    return Message(f"{what} {advice}", (section(f"🔄 *{what} {advice}*"), *more))
