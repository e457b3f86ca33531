"""A small Slack on this machine, with a web page: to try the bot, and to test it."""

from bot.playground.app import App, AppCommand, Completion, Shortcut
from bot.playground.errors import PlaygroundError
from bot.playground.playground import Playground
from bot.playground.workspace import Workspace

__all__ = [
    "App",
    "AppCommand",
    "Completion",
    "Playground",
    "PlaygroundError",
    "Shortcut",
    "Workspace",
]
