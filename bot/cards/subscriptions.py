"""The replies when a channel's digest or notices are set up, paused or turned off."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bot.blocks import (
    Block,
    Form,
    Message,
    actions,
    bare,
    button,
    code,
    context,
    date,
    mention,
    safe,
    section,
    select_input,
    text_input,
)
from bot.cards.changes import OFFER
from bot.config.settings import PLACEHOLDER
from bot.dates import DIGEST, EVERY_DAY, Subscription, days_text

_NO_COPY = "The bot keeps no copy of the address; `/ssl calendar new` replaces it."
#: The answer to a change of notices while NOTICE_INTERVAL is 0.
_IDLE = "⚠️ Saved, but no notices are posted: the bot's operator has set `NOTICE_INTERVAL` to 0."
#: The most options of a select menu (docs.slack.dev, select menu element).
MAX_OPTIONS = 100
#: The answer where there is no channel to set up.
NOT_IN_CHANNEL = "Type this in the channel itself."
#: What a subscription is called, by kind.
_NAMES = {DIGEST: "the digest", "notices": "the notices"}
#: The most channels in a list: each is a block, of which a message has at most 50.
MOST_CHANNELS = 40


def digest_form(filled: Mapping[str, str], _learnt: Collection[str]) -> Form:
    """The form behind `/ssl digest here` without words."""
    inputs = [
        text_input("at", "Time", hint="HH:MM, for example 09:00."),
        text_input("zone", "Time zone", hint="A name such as Europe/Berlin or UTC."),
        text_input("days", "Days", hint="daily, weekdays, weekends, or a list like mon,wed,fri."),
        text_input(
            "about", "Hosts", hint="All, or only these: *.example.com port=443.", optional=True
        ),
    ]
    start = {"at": "09:00", "zone": "UTC", "days": "daily"} | dict(filled)
    for block in inputs:
        if text := start.get(block["block_id"]):
            block["element"]["initial_value"] = text
    return Form("digest_here", "Daily digest", "Set up", tuple(inputs))


def mention_form(_filled: Mapping[str, str], learnt: Collection[str]) -> Form:
    """The form behind [Mention a group]; it offers the `@handles` that the bot has read."""
    handles = sorted(each for each in learnt if each.startswith("@"))
    person = "The ID from a person's profile, such as U0123ABC."
    fields = [text_input("whom", "User group or person", hint=f"@oncall, for example. {person}")]
    if 0 < len(handles) < MAX_OPTIONS:
        offered = {each: each for each in handles} | {"nobody": "Nobody"}
        fields = [
            select_input("whom", "User group", offered),
            text_input("person", "Or a person", hint=person, optional=True),
        ]
    return Form("notices_mention", "Mention a group", "Save", tuple(fields))


def mentions(each: Subscription, whom: str, who: str) -> Message:
    """From now on, notices mention somebody when a host breaks."""
    line = f"{safe(who, 80)} chose whom new breakages mention in this channel."
    if each.idle:
        return _idle(line)
    return _said(f"✅ New breakages mention {mention(whom)} in this channel.", announce=line)


def _said(text: str, *more: Block, announce: str = "") -> Message:
    return Message(bare(text), (section(text), *more), announce=announce)


def _idle(line: str) -> Message:
    """A change of notices was saved, though none are posted."""
    return _said(_IDLE, announce=f"{line} `NOTICE_INTERVAL` is 0, so none are posted.")


def _only(each: Subscription) -> str:
    return f", only about {code(str(each.which), 200)}" if str(each.which) else ""


def _next(each: Subscription, following: datetime | None) -> str:
    return f"The next one is due {date(following)}{_rule(each)}." if following else ""


def _rule(each: Subscription) -> str:
    return "; while all is clear, only the week's first one is posted" if each.plan.rule else ""


def _lacks(unmatched: Sequence[str]) -> list[Block]:
    """A warning about filters that no monitor matches."""
    names = " or ".join(code(each, 100) for each in unmatched)
    return [context(f"⚠️ No monitor matches {names} yet.")] if unmatched else []


def digest_set(
    each: Subscription, following: datetime | None, who: str, unmatched: Sequence[str] = ()
) -> Message:
    """A channel gets a digest from now on; `unmatched` are filters that no monitor matches."""
    days = "every day" if each.days == EVERY_DAY else f"on {days_text(each.days)}"
    what = f"a digest in this channel {days} at {each.at:%H:%M} {each.zone}{_only(each)}"
    preview = button("Preview", "digest_preview", "", "below", about="Preview this digest")
    return _said(
        f"✅ The bot posts {what}. {_next(each, following)}".rstrip(),
        *_lacks(unmatched),
        actions(preview),
        announce=f"{safe(who, 80)} set up {what}{_rule(each)}.",
    )


def notices_set(each: Subscription, who: str, unmatched: Sequence[str] = ()) -> Message:
    """A channel gets notices from now on; `unmatched` are filters that no monitor matches."""
    line = f"{safe(who, 80)} set up notices in this channel{_only(each)}."
    if each.idle:
        return _idle(line)
    kinds = "what breaks, must be renewed now, is fixed, or has a new issuer"
    if each.everything:
        kinds += ", and what is renewed, added or removed, or has other names"
    whom = f" New breakages mention {mention(each.mention)}." if each.mention else ""
    small = "Nobody is mentioned. `/ssl notices here mention @oncall` changes that."
    more = [] if each.mention else [context(small)]
    return _said(
        f"✅ Between digests, the bot posts here {kinds}{_only(each)}.{whom}",
        *_lacks(unmatched),
        *more,
        announce=line,
    )


def shared(is_shared: bool | None, command: str, words: str) -> Message:
    """Ask before posting in a channel that people of other organizations can read."""
    known = "This channel is shared with other organizations: they will see host names."
    unknown = (
        "Slack does not say whether this channel is shared with other organizations, "
        "who would see host names."
    )
    value = f"{words} anyway".strip()
    yes = button("Post it here anyway", command, value, about="Post it here anyway", style="danger")
    return _said(f"⚠️ {known if is_shared else unknown} Nothing has been changed yet.", actions(yes))


def nothing_here(kind: str) -> Message:
    """There is nothing to pause or turn off."""
    return _said(_nothing_here(kind))


def _nothing_here(kind: str) -> str:
    return f"This channel gets {_no(kind)}. `/ssl {kind} here` sets {_it(kind)} up."


def _no(kind: str) -> str:
    return "no digest" if kind == DIGEST else "no notices"


def _it(kind: str) -> str:
    return "one" if kind == DIGEST else "them"


def runs_already(each: Subscription) -> Message:
    """There is nothing to resume."""
    verb = "is" if each.kind == DIGEST else "are"
    return _said(f"{_NAMES[each.kind].capitalize()} of this channel {verb} not paused.")


def paused(each: Subscription, until: datetime, who: str) -> Message:
    """The digest or the notices were paused."""
    kind = each.kind
    line = f"{safe(who, 80)} paused {_NAMES[kind]} of this channel until {date(until)}."
    if each.idle:
        return _idle(line)
    return _said(f"⏸️ {_NAMES[kind].capitalize()} of this channel {_are(kind)} paused until "
                 f"{date(until)}.", announce=line)  # fmt: skip


def _are(kind: str) -> str:
    return "is" if kind == DIGEST else "are"


def resumed(each: Subscription, following: datetime | None, who: str) -> Message:
    """The digest or the notices were resumed."""
    kind, line = each.kind, f"{safe(who, 80)} resumed {_NAMES[each.kind]} of this channel."
    if each.idle:
        return _idle(line)
    said = f"✅ {_NAMES[kind].capitalize()} of this channel {_are(kind)} on again."
    return _said(f"{said} {_next(each, following)}".rstrip(), announce=line)


def choose(kind: str, asked: str, others: Sequence[Subscription], *, here: bool) -> Message:
    """There is nothing to turn off in the channel `asked`, if any; others are listed."""
    name = "a digest" if kind == DIGEST else "notices"
    said = _nothing_here(kind) if here else f"{_channel(asked)} gets {_no(kind)}."
    if asked.startswith("#"):
        said = f"The bot doesn't know which channel {code(asked, 80)} is."
    if not others:
        return _said(said if asked else f"No channel gets {name}.")
    said = f"{said if asked else ''} These channels get {name}:".lstrip()
    left = len(others) - MOST_CHANNELS
    more = f"And {left:,} more. `/ssl {kind} off C0123ABC` turns one off by its ID."
    rows = [_listed(each) for each in others[:MOST_CHANNELS]]
    return _said(said, *rows, *([context(more)] if left > 0 else []))


def _listed(each: Subscription) -> Block:
    """A channel with a button that turns off what it gets; it may be archived, or private."""
    when = f" · {each.when}" if each.kind == DIGEST else ""
    off = button("Turn off", f"{each.kind}_off", each.channel, about=f"Turn off {each.channel}")
    text = f"{_channel(each.channel)} · {code(each.channel)}{when}{_only(each)}"
    return section(text, accessory=off)


def _channel(channel: str) -> str:
    return f"<#{channel}>"


def ended(kind: str, elsewhere: str, who: str) -> Message:
    """The digest or the notices were turned off, in this channel or `elsewhere`."""
    line = f"{safe(who, 80)} turned off {_NAMES[kind]} of this channel."
    of, there = (_channel(elsewhere), " there") if elsewhere else ("this channel", "")
    said = f"{_NAMES[kind].capitalize()} of {of} {_are(kind)} off."
    again = f"`/ssl {kind} resume`{there} turns {_them(kind)} on again."
    return replace(_said(f"{said} {again}", announce=line), announce_in=elsewhere)


def _them(kind: str) -> str:
    return "it" if kind == DIGEST else "them"


def overview(notices: Subscription | None, digest: Subscription | None, now: datetime) -> Message:
    """Which digest and notices a channel gets."""
    lines = [f"*Digest* · {_stands(digest, now)}", f"*Notices* · {_stands(notices, now)}"]
    return Message(bare("\n".join(lines)), (section("\n".join(lines)),))


def _stands(each: Subscription | None, now: datetime) -> str:
    if each is None or each.off:
        return "none in this channel"
    if each.idle:
        return "none: `NOTICE_INTERVAL` is 0"
    when = f"at {each.when}" if each.kind == DIGEST else "on"
    whom = f", mentioning {mention(each.mention)}" if each.mention else ""
    if each.paused_until and not each.runs(now):
        return f"paused until {date(each.paused_until)}"
    return f"{when}{_only(each)}{whom}"


def calendar(address: str) -> Message:
    """The calendar's address, shown once to its asker alone."""
    text = f"✅ Subscribe to this address in your calendar:\n{code(address, 400)}"
    small = f"Anyone who has it can see all host names. {_NO_COPY}"
    blocks = [section(text), context(small)]
    if PLACEHOLDER in address:
        where = f"PUBLIC_URL is not set: replace {PLACEHOLDER} with the bot's own address."
        blocks.append(context(where))
    return Message("The calendar has a new address.", tuple(blocks), secret=True)


def calendar_exists() -> Message:
    """The calendar has an address already, which is shown only once."""
    return _said(f"The calendar has an address already. {_NO_COPY}")


def calendar_not_served() -> Message:
    """Nobody could read the calendar."""
    return _said(
        "No calendar: the bot only listens on its own machine. Its operator can set `HOST` and "
        "`PUBLIC_URL`."
    )


def mention_gone(each: Subscription) -> Message:
    """The group or person that a channel's notices mention is deactivated or deleted."""
    who, off = ("user group", "disabled") if each.mention[0] == "S" else ("account", "deactivated")
    why = f"The {who} {code(each.mention)} is {off} or deleted"
    return _said(f"⚠️ {why}, so nobody is mentioned here when a host breaks.", actions(_choice()))


def _choice() -> Block:
    about = "Choose a user group or person to mention when a host breaks"
    return button("Mention a group", "form", "notices_mention", "below", about=about)


def offer(card: Message) -> Message:
    """The channel's first notice, with a button that chooses whom to mention."""
    said = "Nobody is mentioned when a host breaks."
    blocks = (context(said), f"{OFFER}said"), (actions(_choice()), f"{OFFER}button")
    return replace(card, blocks=(*card.blocks, *(b | {"block_id": name} for b, name in blocks)))
