"""SSLmonitor in Slack: the bot, an embedded SSLmonitor API, and a playground to try both."""

__version__ = "0.1.0"
