"""Who may view, scan and change; every request is checked here.

Every full member may view and scan. Guests, and people of other organizations who share a channel
(Slack Connect), may not. Changes are for the users and user groups in SSL_ADMINS; if it is empty,
for every full member. Slack's answers are cached, and never awaited before an ack. Flags:
docs.slack.dev/reference/objects/user-object.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bot.blocks import Message
from bot.cards import replies
from bot.errors import SlackRefused, SlackUnreachable, TooOften
from bot.slack.calls import Person
from bot.slack.requests import Asker
from bot.slack.web import SlackWeb

if TYPE_CHECKING:
    from bot.slack.surfaces import Surface

log = logging.getLogger(__name__)

#: How long Slack's answers about users and groups are cached.
LIFETIME = timedelta(minutes=10)
KEPT = 2000
#: The period of the limits on scans and added hosts per user.
WINDOW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Known:
    at: datetime
    person: Person


def _named(link: re.Match[str]) -> str:
    """`#ops` for `<#C0123|ops>`, and `@oncall` for `<!subteam^S0123|@oncall>`."""
    return f"{link[1].replace('!', '@')}{link[2]}"


class Access:
    """What is known about the people who ask, and what they may do."""

    def __init__(
        self,
        web: SlackWeb,
        admins: frozenset[str],
        *,
        clock: Callable[[], datetime],
        limits: Mapping[str, int],
    ) -> None:
        self._web = web
        self._admins = admins
        self._clock = clock
        self._limits = limits
        self._spent: OrderedDict[tuple[str, str], deque[datetime]] = OrderedDict()
        self._people: OrderedDict[str, _Known] = OrderedDict()
        self._groups: dict[str, tuple[datetime, frozenset[str]]] = {}

    async def admits(self, surface: Surface, asker: Asker, *, changes: bool) -> bool:
        """Check whether somebody may do this; if not, tell them why. Every request passes here."""
        refusal = await self.refusal(asker, changes=changes)
        if refusal is not None:
            await surface.refuse(refusal)
        return refusal is None

    async def refusal(self, asker: Asker, *, changes: bool) -> Message | None:
        """Why somebody may not do this; None if they may. May ask Slack.

        If Slack can't be asked, those whose payload names this workspace may view and scan, and
        nobody may change anything.
        """
        person, fresh = await self._ask(asker.user)
        if person is None and not self._same_team(asker.team):
            return replies.outsider()
        if person is not None and (person.stranger or not self._is_member(person)):
            return replies.outsider()
        if person is not None and person.guest:
            return replies.guest()
        if not changes:
            return None
        if not fresh:
            return replies.unknown_person()
        return await self._no_admin(asker.user)

    async def _no_admin(self, user: str) -> Message | None:
        if not self._admins or user in self._admins:
            return None
        silent, gone = False, set[str]()
        for group in sorted(name for name in self._admins if name.startswith("S")):
            try:
                if user in await self._members(group):
                    return None
            except (SlackRefused, SlackUnreachable) as fault:
                log.warning("usergroups.users.list failed for %s: %s", group, fault)
                if isinstance(fault, SlackRefused) and fault.reason == "no_such_subteam":
                    gone.add(group)  # deleted or disabled, so nobody is in it
                else:
                    silent = True
        return replies.unknown_person() if silent else replies.no_admin(sorted(self._admins - gone))

    def refusal_known(self, asker: Asker) -> Message | None:
        """The refusal that is known without asking Slack, for what must happen at once."""
        known = self._people.get(asker.user)
        if known is None:
            ours = self._same_team(asker.team) or self._same_team(asker.workspace)
            return None if ours else replies.outsider()
        if known.person.stranger or not self._is_member(known.person):
            return replies.outsider()
        return replies.guest() if known.person.guest else None

    async def name_of(self, user: str, otherwise: str) -> str:
        """A user's name; `otherwise`, or else the ID, if Slack doesn't say."""
        person, _ = await self._ask(user)
        return (person.name if person else "") or otherwise or user

    async def with_names(self, text: str) -> str:
        """The text with `@Ben` for each `<@U0BEN>`, so that showing it notifies nobody."""
        text = re.sub(r"<([#!])[^<>|]*\|@?([^<>]+)>", _named, text)
        for found in re.finditer(r"<@([A-Z0-9]+)(?:\|([^<>]*))?>", text):
            name = await self.name_of(found[1], found[2] or found[1])
            text = text.replace(found[0], f"@{name}")
        return text

    def spend(self, user: str, what: str, number: int = 1) -> None:
        """Count a user's scans or added hosts. Raises TooOften, and then counts nothing."""
        most, now = self._limits[what], self._clock()
        spent = self._spent.setdefault((user, what), deque())
        while spent and abs(now - spent[0]) >= WINDOW:  # also if the clock was set back
            spent.popleft()
        if len(spent) + number > most:
            frees = len(spent) + number - most
            again = spent[min(frees, len(spent)) - 1] + WINDOW if spent else now + WINDOW
            raise TooOften(what, most, again)
        spent.extend([now] * number)
        self._spent.move_to_end((user, what))
        if len(self._spent) > KEPT:
            self._spent.popitem(last=False)

    async def is_member(self, user: str) -> bool:
        """Whether Slack says that this user belongs to the bot's workspace."""
        person, _ = await self._ask(user)
        return person is not None and self._is_member(person)

    def knows(self, user: str) -> bool:
        """Whether Slack has said who this user is."""
        return user in self._people

    def _is_member(self, person: Person) -> bool:
        return self._web.identity.team_id in person.teams

    def _same_team(self, team: str) -> bool:
        return bool(team) and team == self._web.identity.team_id

    async def _ask(self, user: str) -> tuple[Person | None, bool]:
        """Who this is, and whether Slack said so recently; an older answer is the fallback."""
        known, now = self._people.get(user), self._clock()
        if known and abs(now - known.at) < LIFETIME:
            return known.person, True
        try:
            person = await self._web.person(user)
        except (SlackRefused, SlackUnreachable) as fault:
            log.warning("users.info failed for %s: %s", user, fault)
            return (known.person if known else None), False
        self._people[user] = _Known(now, person)
        self._people.move_to_end(user)
        if len(self._people) > KEPT:
            self._people.popitem(last=False)
        return person, True

    async def _members(self, group: str) -> frozenset[str]:
        """The members of a user group. Raises SlackRefused or SlackUnreachable."""
        now = self._clock()
        if group in self._groups and abs(now - self._groups[group][0]) < LIFETIME:
            return self._groups[group][1]
        members = frozenset(await self._web.members_of_group(group))
        self._groups[group] = (now, members)
        return members
