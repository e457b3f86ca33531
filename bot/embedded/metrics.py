"""Prometheus metrics: /metrics, without host names, and /metrics/certificates, with a key."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial

from msgspec import UnsetType
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from bot.embedded.ca.facts import RenewalFacts
from bot.embedded.monitors import Progress
from bot.embedded.wire import ListRow

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: Renewal is due when a third of the lifetime is left, at most 30 days: the bot's usual rule.
_MOST_DUE = 30 * 86_400
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


class _Certificates(Collector):
    """The data of monitor/list as metrics; two are named as in `ssl_exporter`."""

    def __init__(self, rows: Iterable[ListRow]) -> None:
        self._rows = rows

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Each metric once, with all monitors."""
        names = ["host", "port"]
        not_after = GaugeMetricFamily(
            "ssl_cert_not_after", "When the certificate expires, in seconds since 1970.",
            labels=[*names, "issuer"],
        )  # fmt: skip
        not_before = GaugeMetricFamily(
            "ssl_cert_not_before", "When its validity begins, in seconds since 1970.", labels=names
        )
        due = GaugeMetricFamily(
            "ssl_cert_renewal_due", "When renewal is due, in seconds since 1970.", labels=names
        )
        valid = GaugeMetricFamily(
            "sslmonitor_certificate_valid", "1 if the last scan found it valid, else 0.",
            labels=[*names, "message"],
        )  # fmt: skip
        scanned = GaugeMetricFamily(
            "sslmonitor_last_scan", "When it was last scanned, in seconds since 1970.", labels=names
        )
        for row in self._rows:
            where = [row.host, str(row.port)]
            if row.ssl_expire_date_end and row.ssl_expire_date_start:
                end, start = map(_seconds, (row.ssl_expire_date_end, row.ssl_expire_date_start))
                not_after.add_metric([*where, row.ssl_issuer or ""], end)
                not_before.add_metric(where, start)
                own = end - min((end - start) / 3 if start < end else _MOST_DUE, _MOST_DUE)
                due.add_metric(where, min(own, _window_start(row.renewal, end)))
            if row.scan_date:
                scanned.add_metric(where, _seconds(row.scan_date))
                valid.add_metric([*where, row.ssl_message], float(row.ssl_valid))
        yield from (not_after, not_before, due, valid, scanned)


def _window_start(renewal: RenewalFacts | UnsetType, end: float) -> float:
    """The start of the CA's window; one that lasts until the certificate expires is ignored."""
    if isinstance(renewal, UnsetType) or not renewal.start or not renewal.end:
        return end
    return end if _seconds(renewal.end) + 60 >= end else _seconds(renewal.start)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def certificates(rows: Iterable[ListRow]) -> bytes:
    """The metrics of an account's certificates, in Prometheus's text format.

    Slow for many monitors: call it in a thread.
    """
    registry = CollectorRegistry()
    registry.register(_Certificates(rows))
    return generate_latest(registry)
