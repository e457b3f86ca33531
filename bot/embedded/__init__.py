"""The embedded SSLmonitor API: the endpoints of the hosted one, with its own scanner."""

from bot.embedded.accounts import Accounts
from bot.embedded.scan.guard import parse_allow
from bot.embedded.server import EmbeddedAPI, EmbeddedSettings

__all__ = ["Accounts", "EmbeddedAPI", "EmbeddedSettings", "parse_allow"]
