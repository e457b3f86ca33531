"""The bot's metrics for Prometheus. They contain no user, host or channel."""

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_ACK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 3)
_API_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one bot, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.commands = Counter(
            "sslmonitor_bot_commands",
            "Commands by name and outcome: answered, usage, failed, refused or broken.",
            ["command", "outcome"],
            registry=self.registry,
        )
        self.acks = Histogram(
            "sslmonitor_bot_ack_seconds",
            "Time from the arrival of a Slack request to its acknowledgement.",
            buckets=_ACK_SECONDS,
            registry=self.registry,
        )
        self.api = Histogram(
            "sslmonitor_bot_api_seconds",
            "Time that the SSLmonitor API takes, by endpoint and outcome: answered or unreachable.",
            ["endpoint", "outcome"],
            buckets=_API_SECONDS,
            registry=self.registry,
        )
        self.slack_calls = Counter(
            "sslmonitor_bot_slack_calls",
            "Slack Web API calls by method and kind of answer: done, refused, limited or "
            "unknown (it may have been done).",
            ["method", "answer"],
            registry=self.registry,
        )
        self.connections = Counter(
            "sslmonitor_bot_socket_connections",
            "Connections and reconnections of Socket Mode (two are kept open).",
            registry=self.registry,
        )
        self._digest_lag = Gauge(
            "sslmonitor_bot_digest_lag_seconds",
            "For how long today's digest has been overdue.",
            registry=self.registry,
        )

        self._tasks = Gauge(
            "sslmonitor_bot_tasks", "Tasks of the event loop.", registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def watch_digest(self, lag: Callable[[], float]) -> None:
        """Call this for the digest's lag, in seconds, whenever the metrics are read."""
        self._digest_lag.set_function(lag)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format. Needs a running event loop."""
        self._tasks.set(len(asyncio.all_tasks()))
        return generate_latest(self.registry)
