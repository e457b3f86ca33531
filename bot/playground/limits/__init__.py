"""What Slack refuses in messages, views and blocks: one table, read by every method that posts."""

from bot.playground.limits.limit import HOME, MESSAGE, MODAL
from bot.playground.limits.violations import violations

__all__ = ["HOME", "MESSAGE", "MODAL", "violations"]
