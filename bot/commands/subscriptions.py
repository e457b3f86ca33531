"""The commands that set up, pause and turn off a channel's digest and notices."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Self

import msgspec

from bot import digest
from bot.blocks import Message
from bot.cards import digest as digest_cards
from bot.cards import subscriptions as cards
from bot.commands.arguments import Filter, apart, digest_words, notice_words
from bot.commands.lookup import router
from bot.commands.router import Call
from bot.commands.thresholds import unmatched
from bot.dates import (
    ALL,
    DAY,
    DIGEST,
    NOTICES,
    Selection,
    Subscription,
    days_text,
    parse_clock,
    parse_days,
    parse_length,
    parse_zone,
)
from bot.errors import SlackRefused, SlackUnreachable, UsageError

LONGEST_PAUSE = 90 * DAY
_MENTION = re.compile(r"(?:<@|<!subteam\^)?([USW][A-Z0-9]{2,20})(?:\|[^>]*)?>?")
_HANDLE = re.compile(r"@[\w.-]{1,80}")
_CHANNEL = re.compile(r"#?([CG][A-Z0-9]{4,20})(?:\|.*)?|(#.+)")
#: What people type before a channel, or for the one they are in.
_HERE = frozenset({"in", "for", "of", "here", "this", "the", "channel"})


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day; None keeps the current one, at first 09:00."""

    at: time | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `09:00`, or an empty text. Raises ValueError."""
        return cls(parse_clock(text.strip()) if text.strip() else None)

    def __str__(self) -> str:
        return f"{self.at:%H:%M}" if self.at else ""


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone's name; empty keeps the current one, at first UTC."""

    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `Europe/Berlin`, or an empty text. Raises ValueError."""
        return cls(parse_zone(text.strip()) if text.strip() else "")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Days:
    """Days of the week, Monday is 0; empty keeps the current ones, at first every day."""

    days: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `weekdays` or `mon,wed`, or an empty text. Raises ValueError."""
        return cls(parse_days(text.strip().replace(" ", "")) if text.strip() else ())

    def __str__(self) -> str:
        return days_text(self.days) if self.days else ""


@dataclass(frozen=True, slots=True)
class About:
    """Which monitors, whom to mention, and whether to post even though strangers can read it."""

    which: Selection = ALL
    confirmed: bool = False
    everything: bool = False
    mention: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read filters, `all`, `mention @oncall` and `anyway`. Raises ValueError."""
        words, hosts, ports = apart(text), list[str](), ""
        confirmed, everything, mention = False, False, None
        while words:
            word = words.pop(0)
            if word.lower() == "anyway":
                confirmed = True
            elif word.lower() == "all":
                everything = True
            elif word.lower() == "mention" and mention is not None:
                raise ValueError("Only one user group or person can be mentioned.")
            elif word.lower() == "mention":
                mention = _mention(words.pop(0) if words else "")
            else:
                if word.isdecimal():
                    raise ValueError(f"“{word}” isn't understood: write at 09:00, or port=443.")
                if re.fullmatch(r"[\w+'-]+", word):
                    raise ValueError(
                        f"“{word}” isn't understood here. Filter by a host, a pattern such as "
                        f"*{word.lower()}*, or port=443."
                    )
                each = Filter.parse(word)
                if each.key == "host":
                    hosts.append(str(each.value))
                elif each.key == "port" and re.fullmatch(r"[\d,]*|,[^,]*", f"{ports},{each.value}"):
                    ports = f"{ports},{each.value}".lstrip(",")
                else:
                    what = "combined with another port" if each.key == "port" else "used here"
                    raise ValueError(f"“{word}” can't be {what}. Filter by host or port.")
        return cls(Selection(tuple(hosts), ports), confirmed, everything, mention)

    def __str__(self) -> str:
        whom = "" if self.mention is None else f"mention {self.mention or 'nobody'}"
        return " ".join(filter(None, [str(self.which), "all" * self.everything, whom]))


def _mention(word: str) -> str:
    """The ID or handle of whom to mention, empty for nobody. Raises ValueError."""
    if word.lower() in {"nobody", "none", "off"}:
        return ""
    if not word:
        raise ValueError("Say whom to mention: a user group, such as @oncall, or nobody.")
    if _HANDLE.fullmatch(word.lower()):
        return word.lower()
    if not (found := _MENTION.fullmatch(word)):
        raise ValueError(
            f"“{word}” is neither a user group nor an ID. Use @oncall, or the ID from a profile, "
            "for example U0123ABC."
        )
    return found[1]


async def _whom(call: Call, given: str) -> str:
    """The ID of whom to mention, which must exist. Raises UsageError.

    An ID that the bot isn't allowed to look up is accepted.
    """
    if not given:
        return ""
    fault = f"There is no {'user group' if given[0] in '@S' else 'active person'} {given}"
    try:
        if found := await call.id_to_mention(given):
            return found
    except (SlackRefused, SlackUnreachable) as error:
        if not given.startswith("@"):
            return given
        fault = f"Slack doesn't let the bot look up {given}: {error}"
    hint = "Use the handle of a user group, or the ID from a profile, such as U0123ABC."
    raise UsageError(f"{fault.rstrip('.')}. {hint}", "about")


@router.command("digest_here", changes=True, form=cards.digest_form, rewrite=digest_words,
                example="digest here at 09:00 Europe/Berlin weekdays")  # fmt: skip
async def digest_here(
    call: Call,
    at: Annotated[Clock, "[at 09:00]"] = Clock(),
    zone: Annotated[Zone, "[ZONE]"] = Zone(),
    days: Annotated[Days, "[DAYS]"] = Days(),
    about: Annotated[About, "[…]"] = About(),
) -> Message:
    """Post a digest in this channel every day, or on some days of the week.

    Days are daily, weekdays, weekends, or a list like mon,wed,fri. Filters are hosts, such as
    *.example.com, and ports, such as port=443,8443. Omitted filters reset; an omitted
    time, zone or day stays as it is (at first 09:00 UTC, daily). Without words, a form opens.
    """
    now, weekly = call.now(), call.records.subscriptions.weekly
    was = _here(call, DIGEST) or Subscription(DIGEST, call.channel, weekly=weekly)
    if about.mention is not None:
        raise UsageError("A digest mentions nobody: /ssl notices here mention @oncall does.")
    if asks := await _question(call, about, "digest_here", at, zone, days):
        return asks
    set_up = msgspec.structs.replace(
        was, at=at.at or was.at, zone=zone.name or was.zone, days=days.days or was.days,
        which=about.which, since=now, paused_until=None, off=False, set_by=call.asker,
    )  # fmt: skip
    following = await _following(call, set_up, now)
    await call.records.subscriptions.put(set_up)
    lacks = await unmatched(call, set_up.which)
    card = cards.digest_set(set_up, following, await call.who(), lacks)
    return replace(card, changed=((call.channel, f"{set_up.when} {set_up.which}".strip()),))


async def _following(call: Call, set_up: Subscription, now: datetime) -> datetime | None:
    """When the next digest is due; one that was posted today is not posted again."""
    plan = set_up.plan
    following = plan.following(now)
    if following and await call.records.subscriptions.was_posted(
        plan.today(following), plan.channel
    ):
        following = plan.following(plan.hour(plan.today(following)) + timedelta(minutes=1))
    return following


def _here(call: Call, kind: str) -> Subscription | None:
    """The subscription of this channel. Raises UsageError outside of channels."""
    if not call.channel or call.channel.startswith("D"):
        raise UsageError(cards.NOT_IN_CHANNEL)
    return call.records.subscriptions.get(kind, call.channel)


async def _question(call: Call, about: About, command: str, *given: object) -> Message | None:
    """The question to confirm if strangers can read. Raises SlackRefused if the bot can't post."""
    if about.confirmed:
        return None
    shared = await call.is_shared()
    if shared is False:
        return None
    words = " ".join(filter(None, map(str, (*given, about))))
    return replace(cards.shared(shared, command, words), changed=())


@router.command("digest_preview")
async def digest_preview(call: Call) -> Message:
    """Show what this channel's digest would say now, only to you."""
    here, now = _here(call, DIGEST), call.now()
    until = here.plan.next_at_work(here.plan.today(now)) if here else None
    found = await digest.gather(call.api, now, call.rules, here.which if here else ALL, until)
    return digest_cards.preview(found, now)


@router.command("notices")
async def notices(call: Call) -> Message:
    """Show which notices and digest this channel gets."""
    here = _here(call, NOTICES)
    return cards.overview(here, _here(call, DIGEST), call.now())


@router.command("notices_here", changes=True, rewrite=notice_words,
                example="notices here *.example.com")  # fmt: skip
async def notices_here(
    call: Call, about: Annotated[About, "[HOST…] [all] [mention WHO]"] = About()
) -> Message:
    """Post in this channel, between digests, what breaks, must be renewed, or is fixed.

    Filters are hosts (*.example.com) and ports (port=443). With all, also what is renewed, added or
    removed. With mention and a user group (@oncall) or an ID, new breakages mention it; mention
    nobody turns that off.
    """
    idle = not call.records.subscriptions.notified
    was = _here(call, NOTICES) or Subscription(NOTICES, call.channel, idle=idle)
    if asks := await _question(call, about, "notices_here"):
        return asks
    whom = was.mention if about.mention is None else await _whom(call, about.mention)
    set_up = msgspec.structs.replace(
        was, which=about.which, everything=about.everything, since=call.now(), paused_until=None,
        off=False, mention=whom, set_by=call.asker,
    )  # fmt: skip
    await call.records.subscriptions.put(set_up)
    card = cards.notices_set(set_up, await call.who(), await unmatched(call, set_up.which))
    return replace(card, changed=((call.channel, str(set_up.which) or "all hosts"),))


@dataclass(frozen=True, slots=True)
class Whom:
    """A user group or a person: an ID, or a group's handle; None if nothing was entered."""

    name: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `@oncall`, `U0123ABC` or nothing. Raises ValueError with a sentence for the user."""
        return cls(_mention(text.strip()) if text.strip() else None)

    def __str__(self) -> str:
        return self.name or ""


def _one_of(whom: Whom, person: Whom) -> None:
    if (whom.name is None) is (person.name is None):
        raise UsageError("Choose a user group or enter a person's ID, not both.", "whom")


@router.command("notices_mention", typed=False, changes=True, form=cards.mention_form,
                check=_one_of)  # fmt: skip
async def notices_mention(call: Call, whom: Whom, person: Whom = Whom(None)) -> Message:
    """Mention a user group or person when a host breaks; the notices stay as they are."""
    here = _here(call, NOTICES)
    if here is None or here.off:
        return replace(cards.nothing_here(NOTICES), changed=())
    found, who = await _whom(call, whom.name or person.name or ""), await call.who()
    set_up = msgspec.structs.replace(here, mention=found, set_by=call.asker)
    await call.records.subscriptions.put(set_up)
    card = cards.mentions(here, found, who) if found else cards.notices_set(set_up, who)
    return replace(card, changed=((call.channel, f"mention {found or 'nobody'}"),))


@dataclass(frozen=True, slots=True)
class Where:
    """A channel: its ID, or a name that Slack didn't replace by one; empty where it is typed."""

    channel: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `C0123ABC`, `<#C0123ABC|ops>` or `#ops`. Raises ValueError."""
        if found := _CHANNEL.fullmatch(text):
            return cls(found[1] or found[2])
        raise ValueError(f"“{text}” isn't a channel. Use its ID, such as C0123ABC.")

    def __str__(self) -> str:
        return self.channel


class Length(timedelta):
    """How long a pause lasts."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `3d`. Raises ValueError with a sentence for the user."""
        length = parse_length(text)
        if not timedelta(minutes=1) <= length <= LONGEST_PAUSE:
            raise ValueError("A pause lasts from 1m to 90d.")
        return cls(seconds=length.total_seconds())


def _one_text(words: Sequence[str]) -> list[str]:
    return [" ".join(words)] if words else []


async def _pause(call: Call, kind: str, length: Length) -> Message:
    here, now = _here(call, kind), call.now()
    if here is None or here.off:
        return replace(cards.nothing_here(kind), changed=())
    days, rest = divmod(length, DAY)  # local days: one may have 23 or 25 hours
    zone = call.records.subscriptions.zone_of(call.channel)
    until = (now.astimezone(zone) + days * DAY).astimezone(UTC) + rest
    await call.records.subscriptions.put(msgspec.structs.replace(here, paused_until=until))
    card = cards.paused(here, until, await call.who())
    return replace(card, changed=((call.channel, f"paused until {until:%Y-%m-%d %H:%M}"),))


async def _resume(call: Call, kind: str, about: About = About()) -> Message:
    here, now = _here(call, kind), call.now()
    if here is None:
        return replace(cards.nothing_here(kind), changed=())
    if here.runs(now):
        return replace(cards.runs_already(here), changed=())
    if here.off and (asks := await _question(call, about, f"{kind}_resume_now", kind)):
        return asks
    again = msgspec.structs.replace(here, paused_until=None, off=False, since=now)
    following = await _following(call, again, now) if kind == DIGEST else None
    await call.records.subscriptions.put(again)
    card = cards.resumed(again, following, await call.who())
    return replace(card, changed=((call.channel, "resumed"),))


async def _off(call: Call, kind: str, where: Where) -> Message:
    known, channel = call.records.subscriptions, where.channel or call.channel
    others = known.digests() if kind == DIGEST else known.notices()
    if channel.startswith("#"):
        channel = await call.channel_named(channel, [o.channel for o in others]) or channel
    set_up, here = known.get(kind, channel), channel == call.channel
    if set_up is None or set_up.off:
        asked = "" if channel.startswith("D") else channel
        return replace(cards.choose(kind, asked, others, here=here), changed=())
    await known.put(msgspec.structs.replace(set_up, off=True))
    card = cards.ended(kind, "" if here else channel, await call.who())
    return replace(card, changed=((channel, "off"),))


def _channel_word(words: Sequence[str]) -> list[str]:
    return [word for word in words if word.lower() not in _HERE]


@router.command("digest_pause", changes=True, example="digest pause 3d", rewrite=_one_text)
async def digest_pause(call: Call, length: Annotated[Length, "3d"]) -> Message:
    """Pause this channel's digest for some hours or days."""
    return await _pause(call, DIGEST, length)


@router.command("digest_resume", changes=True)
async def digest_resume(call: Call) -> Message:
    """Resume this channel's digest after a pause, or turn it on again."""
    return await _resume(call, DIGEST)


@router.command("digest_resume_now", typed=False, changes=True)
@router.command("notices_resume_now", typed=False, changes=True)
async def resume_now(call: Call, kind: str) -> Message:
    """Resume this channel's digest or notices, although strangers can read them."""
    return await _resume(call, kind.removesuffix(" anyway"), About(confirmed=True))


@router.command("digest_off", changes=True, rewrite=_channel_word)
async def digest_off(call: Call, where: Annotated[Where, "[CHANNEL]"] = Where()) -> Message:
    """Turn off this channel's digest.

    With a channel's ID or #name, that of another one. Where there is none, the channels that have
    one are listed.
    """
    return await _off(call, DIGEST, where)


@router.command("notices_pause", changes=True, example="notices pause 3d", rewrite=_one_text)
async def notices_pause(call: Call, length: Annotated[Length, "3d"]) -> Message:
    """Pause this channel's notices for some hours or days."""
    return await _pause(call, NOTICES, length)


@router.command("notices_resume", changes=True)
async def notices_resume(call: Call) -> Message:
    """Resume this channel's notices."""
    return await _resume(call, NOTICES)


@router.command("notices_off", changes=True, rewrite=_channel_word)
async def notices_off(call: Call, where: Annotated[Where, "[CHANNEL]"] = Where()) -> Message:
    """Turn off this channel's notices.

    With a channel's ID or #name, that of another one. Where there is none, the channels that have
    one are listed.
    """
    return await _off(call, NOTICES, where)


@router.command("calendar", changes=True)
async def calendar(call: Call) -> Message:
    """Create a calendar of renewals; its address is shown once, to you alone."""
    if await call.records.subscriptions.has_calendar():
        return replace(cards.calendar_exists(), changed=())
    return await calendar_new(call)


@router.command("calendar_new", changes=True)
async def calendar_new(call: Call) -> Message:
    """Give the calendar a new address; the old one stops working."""
    base = call.records.subscriptions.calendar_base
    if base is None:
        return replace(cards.calendar_not_served(), changed=())
    secret = await call.records.subscriptions.new_calendar()
    return replace(cards.calendar(f"{base}/calendar/{secret}.ics"), changed=(("calendar", "new"),))
