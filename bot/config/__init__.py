"""The settings: what can be set, and how it is read from the environment.

To add a setting, add one field to `Settings`.
"""

from bot.config.environment import Program, UnknownVariable, read_settings, unknown_variables
from bot.config.readers import Secret
from bot.config.scopes import SCOPES
from bot.config.settings import HOSTED_API, SETTINGS, Settings

__all__ = [
    "HOSTED_API",
    "SCOPES",
    "SETTINGS",
    "Program",
    "Secret",
    "Settings",
    "UnknownVariable",
    "read_settings",
    "unknown_variables",
]
