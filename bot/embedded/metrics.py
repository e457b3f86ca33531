"""What /metrics shows, for Prometheus: numbers only, no host names."""

from __future__ import annotations

from typing import TypedDict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from bot.embedded.monitors import Progress

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Own(TypedDict):
    registry: CollectorRegistry


class Metrics:
    """The numbers of one embedded API; each has a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._own: _Own = {"registry": self._registry}
        self.scans = Counter(
            "sslmonitor_scans", "Scans by what they found.", ["verdict"], **self._own
        )
        self.scan_seconds = Histogram(
            "sslmonitor_scan_seconds",
            "How long a scan took.",
            buckets=_SECONDS,
            **self._own,
        )
        self.requests = Counter(
            "sslmonitor_requests",
            "Requests to the API, by their status.",
            ["status"],
            **self._own,
        )
        self.leased = self._gauge("sweep_leased", "Monitors that this process has leased.")
        self.running = self._gauge("sweep_running", "Scans that run in this process.")
        self._monitors = self._gauge("monitors", "All monitors.")
        self._due = self._gauge("sweep_due", "Monitors that are due and leased by nobody.")
        self._lag = self._gauge("sweep_lag_seconds", "How late the longest overdue monitor is.")

    def _gauge(self, name: str, help_: str) -> Gauge:
        return Gauge(f"sslmonitor_{name}", help_, **self._own)

    def text(self, progress: Progress) -> bytes:
        """All numbers in Prometheus's text format."""
        self._monitors.set(progress.monitors)
        self._due.set(progress.due)
        self._lag.set(progress.lag.total_seconds())
        return generate_latest(self._registry)
