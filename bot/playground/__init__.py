"""A local stand-in for Slack, with a web page: to try the bot, and to test it for real."""

from __future__ import annotations

from bot.playground.app import App, Completion, PlaygroundError, Shortcut, SlashCommand
from bot.playground.playground import Playground
from bot.playground.workspace import Workspace

__all__ = [
    "App",
    "Completion",
    "Playground",
    "PlaygroundError",
    "Shortcut",
    "SlashCommand",
    "Workspace",
]
