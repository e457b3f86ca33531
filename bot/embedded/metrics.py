"""The numbers at /metrics for Prometheus; they contain no host names."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from bot.embedded.monitors import Progress

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one embedded API, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        gauge = partial(Gauge, registry=registry)
        self.scans = Counter(
            "sslmonitor_scans", "Scans by verdict.", ["verdict"], registry=registry
        )
        self.scan_seconds = Histogram(
            "sslmonitor_scan_seconds", "Duration of a scan.", buckets=_SECONDS, registry=registry
        )
        self.requests = Counter(
            "sslmonitor_requests", "Requests to the API by status.", ["status"], registry=registry
        )
        self.leased = gauge("sslmonitor_sweep_leased", "Monitors leased by this process.")
        self.running = gauge("sslmonitor_sweep_running", "Scans running in this process.")
        self._monitors = gauge("sslmonitor_monitors", "All monitors.")
        self._due = gauge("sslmonitor_sweep_due", "Monitors that are due and not leased.")
        self._lag = gauge(
            "sslmonitor_sweep_lag_seconds", "How late the longest overdue monitor is."
        )

    def text(self, progress: Progress) -> bytes:
        """All metrics in Prometheus's text format."""
        self._monitors.set(progress.monitors)
        self._due.set(progress.due)
        self._lag.set(progress.lag.total_seconds())
        return generate_latest(self._registry)
