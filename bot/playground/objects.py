"""What a workspace holds: users, channels, messages and views; and the sample ones."""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

TEAM_ID, TEAM_NAME, TEAM_DOMAIN = "T0LOCAL", "Playground", "playground"
OTHER_TEAM_ID = "T0OTHER"
ENTERPRISE_ID, ENTERPRISE_NAME = "E0LOCAL", "Playground Grid"
BOT_USER, BOT_ID = "U0BOT", "B0BOT"
ANN, BEN, GUS, OLGA = "U0ANN", "U0BEN", "U0GUS", "U0OLGA"
CERTS, PARTNERS, GENERAL, SECRET = "C0CERTS", "C0PARTNERS", "C0GENERAL", "G0SECRET"


@dataclass
class User:
    """Someone with an account; `team_id` is their home workspace.

    A member of an Enterprise Grid organization is a member of all its `workspaces`, of which the
    home workspace is one.
    """

    id: str
    name: str
    real_name: str
    team_id: str = TEAM_ID
    workspaces: tuple[str, ...] = ()
    is_bot: bool = False
    is_admin: bool = False
    is_restricted: bool = False
    is_stranger: bool = False
    is_deactivated: bool = False
    tz: str = "Europe/Berlin"

    @property
    def outsider(self) -> bool:
        """Whether this person isn't a member here (Slack Connect)."""
        return TEAM_ID not in (self.workspaces or (self.team_id,))

    def for_page(self) -> Json:
        """Return what the page shows of this person."""
        return {
            "id": self.id,
            "name": self.name,
            "real_name": self.real_name,
            "is_bot": self.is_bot,
            "guest": self.is_restricted,
            "outsider": self.outsider,
        }

    def for_api(self) -> Json:
        """Return the user object of users.info."""
        user: Json = {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "real_name": self.real_name,
            "deleted": self.is_deactivated,
            "tz": self.tz,
            "profile": {"real_name": self.real_name, "display_name": self.name},
            "is_admin": self.is_admin,
            "is_owner": False,
            "is_primary_owner": False,
            "is_restricted": self.is_restricted,
            "is_ultra_restricted": False,
            "is_stranger": self.is_stranger,
            "is_bot": self.is_bot,
            "is_app_user": False,
        }
        if self.workspaces:
            user["enterprise_user"] = {
                "id": self.id,
                "enterprise_id": ENTERPRISE_ID,
                "enterprise_name": ENTERPRISE_NAME,
                "is_admin": False,
                "is_owner": False,
                "teams": list(self.workspaces),
            }
        return user


@dataclass
class Channel:
    """A channel, or the direct messages between the bot and `user`."""

    id: str
    name: str
    members: set[str] = field(default_factory=set)
    is_private: bool = False
    is_ext_shared: bool = False
    is_archived: bool = False
    user: str | None = None

    @property
    def is_im(self) -> bool:
        """Whether these are direct messages."""
        return self.user is not None

    @property
    def kind(self) -> str:
        """The word for it in scopes and events: `channels`, `groups` or `im`."""
        return "im" if self.is_im else "groups" if self.is_private else "channels"

    @property
    def payload_name(self) -> str:
        """The name that payloads carry: Slack doesn't name private channels."""
        if self.is_im:
            return "directmessage"
        return "privategroup" if self.is_private else self.name

    def for_page(self) -> Json:
        """Return what the page shows; `is_member` says whether the bot is in it."""
        channel: Json = {
            "id": self.id,
            "name": self.name,
            "is_im": self.is_im,
            "is_private": self.is_private,
            "is_member": BOT_USER in self.members,
        }
        return channel | ({"user": self.user} if self.user else {})

    def for_api(self) -> Json:
        """Return the conversation object of conversations.info, as the bot sees it."""
        channel: Json = {
            "id": self.id,
            "is_channel": not self.is_im and not self.is_private,
            "is_group": self.is_private and not self.is_im,
            "is_im": self.is_im,
            "is_mpim": False,
            "is_private": self.is_private,
            "is_archived": self.is_archived,
            "is_general": self.id == GENERAL,
            "is_shared": self.is_ext_shared,
            "is_ext_shared": self.is_ext_shared,
            "is_org_shared": False,
            "is_pending_ext_shared": False,
            "context_team_id": TEAM_ID,
        }
        if self.is_im:
            return channel | {"user": self.user}
        return channel | {"name": self.name, "is_member": BOT_USER in self.members}


@dataclass(eq=False)
class PostedMessage:
    """A message in a channel; `ephemeral_for` names the only person who sees it."""

    ts: str
    channel: str
    user: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    thread_ts: str | None = None
    ephemeral_for: str | None = None
    metadata: Json | None = None
    files: list[Json] = field(default_factory=list)

    @property
    def in_thread(self) -> bool:
        """Whether this is a reply."""
        return self.thread_ts not in {None, self.ts}

    def visible_to(self, user: str | None) -> bool:
        """Whether `user` sees it; None asks about everyone."""
        return self.ephemeral_for in {None, user}


@dataclass(eq=False)
class OpenView:
    """A modal, or someone's App Home; `content` is what the app sent."""

    id: str
    user: str
    content: Json
    hash: str
    root_id: str
    previous_id: str | None = None
    values: Json = field(default_factory=dict)

    @property
    def blocks(self) -> list[Json]:
        """The blocks, each with its block_id."""
        blocks: list[Json] = self.content["blocks"]
        return blocks

    def for_page(self) -> Json:
        """Return what the page draws: the view without its private metadata."""
        content = {key: value for key, value in self.content.items() if key != "private_metadata"}
        return content | {"id": self.id, "hash": self.hash}


def sample_users(bot_name: str) -> list[User]:
    """Return Ann (admin), Ben, Gus (guest), Olga (of another team) and the bot."""
    return [
        User(ANN, "Ann", "Ann Admin", is_admin=True),
        User(BEN, "Ben", "Ben Baker"),
        User(GUS, "Gus", "Gus Guest", is_restricted=True),
        User(OLGA, "Olga", "Olga Outside", team_id=OTHER_TEAM_ID),
        User(BOT_USER, bot_name, bot_name, is_bot=True, tz="UTC"),
    ]


def sample_channels() -> list[Channel]:
    """Return four channels, and the bot's direct messages with each person."""
    team = {ANN, BEN, GUS}
    return [
        Channel(CERTS, "certificates", team | {BOT_USER}),
        Channel(GENERAL, "general", set(team)),
        Channel(PARTNERS, "partners", team | {OLGA, BOT_USER}, is_ext_shared=True),
        Channel(SECRET, "incident-room", {ANN, BEN}, is_private=True),
        *(im(user) for user in (ANN, BEN, GUS, OLGA)),
    ]


def im(user: str) -> Channel:
    """Return the direct messages between `user` and the bot (`D0ANN` for `U0ANN`)."""
    return Channel(f"D{user[1:]}", "directmessage", {user, BOT_USER}, is_private=True, user=user)
