"""What Slack refuses in messages, views and blocks: one table, read by every method that posts."""

from __future__ import annotations

from bot.playground.limits.violations import HOME, LIMITS, MESSAGE, MODAL, Fault, Limit, faults

__all__ = ["HOME", "LIMITS", "MESSAGE", "MODAL", "Fault", "Limit", "faults"]
