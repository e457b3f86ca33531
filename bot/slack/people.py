"""Who the bot is in Slack, and who its users are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is, from auth.test; it only answers members of its own workspace.

    `date` is the time by Slack's clock (RFC 9110, section 6.6.1).
    """

    team_id: str = ""
    user_id: str = ""
    bot_id: str = ""
    scopes: frozenset[str] = frozenset()
    team: str = ""
    user: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """A user as Slack knows them: name, workspaces, and kind.

    In Enterprise Grid, a member can have several workspaces. A guest is restricted to some
    channels; a stranger belongs to another organization.
    """

    name: str
    teams: frozenset[str]
    guest: bool
    stranger: bool
    gone: bool = False
    """Whether the account is deactivated."""
