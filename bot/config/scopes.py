"""The OAuth scopes that the manifest requests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """Why the bot needs a scope, and what fails without it: a row of the table in docs/deploy.md.

    Without a `required` scope the bot is useless; without any other, one feature is missing.
    """

    purpose: str
    without: str
    required: bool = False


#: The scopes by name, in the order of the manifest.
SCOPES: dict[str, Scope] = {
    "commands": Scope("receive `/ssl`", "nothing works", required=True),
    "chat:write": Scope("post cards and the digest", "nothing is posted", required=True),
    "chat:write.public": Scope(
        "post in public channels without being invited",
        "replies are private in channels that the bot isn't in",
    ),
    "app_mentions:read": Scope("receive mentions", "mentions get no reply"),
    "im:history": Scope("receive direct messages", "direct messages get no reply"),
    "users:read": Scope(
        "tell full members from guests, and show names",
        "nobody may change anything, login names are shown, and Home stays empty",
    ),
    "usergroups:read": Scope(
        "read who is in the user groups of `SSL_ADMINS`, and find groups to mention",
        "only the users listed in `SSL_ADMINS` may change anything, and `@oncall` is not found",
    ),
    "files:write": Scope(
        "send a list as a file, also in the digest's thread", "there are no CSV files"
    ),
    "channels:read": Scope(
        "see whether the bot is in a channel, who shares it, and its name",
        "`check` can't tell whether the bot is in the digest's channel, and `/ssl digest here` "
        "asks for confirmation",
    ),
    "groups:read": Scope(
        "the same for private channels",
        "`check` can't tell whether the bot is in a private digest channel, and `/ssl digest here` "
        "asks for confirmation there",
    ),
    "channels:history": Scope(
        "look for a post that may be lost before repeating it; edit yesterday's “all clear”",
        "a crash at the wrong moment may repeat a digest or notice; each “all clear” is a new post",
    ),
    "groups:history": Scope(
        "the same in private channels",
        "a crash at the wrong moment may repeat a digest or notice in a private channel",
    ),
}
