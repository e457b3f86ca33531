"""A local stand-in for Slack, with a web page: to try the bot, and to test it against something real."""
