"""Slack: requests in, messages out, and who may do what."""
