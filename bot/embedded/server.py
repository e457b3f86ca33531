"""The embedded API as a whole: settings, HTTP server and sweep."""

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from bot.connections import Server
from bot.embedded.accounts import MONITOR_LIMIT, Accounts
from bot.embedded.ca.ari import ACMEServers, Renewals, trusting
from bot.embedded.ca.caa import CAA
from bot.embedded.ca.documents import Documents
from bot.embedded.ca.revocation import Revocations
from bot.embedded.job import Vault
from bot.embedded.leases import Leases
from bot.embedded.metrics import Metrics
from bot.embedded.monitors import Monitors
from bot.embedded.routes import Routes
from bot.embedded.scan.dns import ReverseNames
from bot.embedded.scan.geo import GeoDatabase
from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust
from bot.embedded.sweep import Rescans, Sweep
from bot.embedded.turns import RateLimit
from bot.store.database import Database

_LOG = logging.getLogger(f"{__name__}.http")


def _redact_request(record: logging.LogRecord) -> bool:
    """Log the name of an exception only: aiohttp's messages quote the request with its query."""
    if record.exc_info and record.exc_info[0]:
        record.msg = f"{record.getMessage()} ({record.exc_info[0].__name__})"
        record.args, record.exc_info = None, None
    return True


_LOG.addFilter(_redact_request)


@dataclass(frozen=True)
class EmbeddedSettings:
    """The settings of an embedded API.

    - `key`: the bearer key.
    - `scan_allow`, `scan_deny`: as SCAN_ALLOW and SCAN_DENY are written.
    - `ca_file`: roots to trust in addition to the system's.
    - `scan_deadline`: the time limit of a whole scan, in seconds.
    - `scan_rate_limit`: scans on demand per minute and account; 0 means no limit.
    - `secret_key`: encrypts proxies' passwords.
    - `geoip_file`, `reverse_names`: sources for the location and name of addresses.
    - `ari_directories`: the ACME directories that are asked about renewals, by issuer.
    - `hosts`: maps names to addresses, consulted before DNS; the guard checks these as well.
    - `monitor_limit`: of accounts that have no limit of their own.

    Raises ValueError with a sentence for an invalid `key`, `scan_allow` or `scan_deny`.
    """

    key: str = field(repr=False)
    scan_allow: str = ""
    scan_deny: str = ""
    ca_file: Path | None = None
    scan_interval: timedelta = timedelta(hours=12)
    scan_deadline: float = 10.0
    scan_rate_limit: int = 120
    secret_key: str = field(default="", repr=False)
    geoip_file: Path | None = None
    reverse_names: bool = False
    revocation: bool = False
    caa: bool = False
    ari_directories: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    monitor_limit: int = MONITOR_LIMIT

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("The key of the embedded API is empty.")
        parse_allow(self.scan_allow)
        parse_allow(self.scan_deny)


class EmbeddedAPI:
    """The API and its sweep, on a database with the current schema.

    Raises ValueError with a sentence if the CA file, the GeoIP file or the secret key can't be
    used.
    """

    def __init__(
        self, settings: EmbeddedSettings, database: Database, *, clock: Callable[[], datetime]
    ) -> None:
        self._geo = GeoDatabase(settings.geoip_file) if settings.geoip_file else None
        vault = Vault(settings.secret_key) if settings.secret_key else None
        allow, deny = parse_allow(settings.scan_allow), parse_allow(settings.scan_deny)
        guard = Guard(allow, settings.hosts, deny=deny)
        self._documents = [Documents(database, guard, clock)]
        renewals = None
        if directories := settings.ari_directories:
            tls = trusting(settings.ca_file)
            servers = ACMEServers(database, guard, clock, tls, directories.values())
            self._documents.append(servers)
            renewals = Renewals(directories, servers)
        self._scanner = Scanner(
            guard,
            Trust(settings.ca_file),
            settings.scan_deadline,
            reverse=ReverseNames() if settings.reverse_names else None,
            locate=self._geo,
            revocations=Revocations(self._documents[0]) if settings.revocation else None,
            caa=CAA() if settings.caa else None,
            renewals=renewals,
        )
        metrics = Metrics()
        leases = Leases(database, settings.scan_interval, uuid.uuid4().hex)
        self.rescans = Rescans(self._scanner, leases, metrics, clock, vault)
        self.sweep = Sweep(self.rescans, leases, clock)
        self._routes = Routes(
            self._scanner,
            Monitors(database, settings.scan_interval),
            self.rescans,
            Accounts(database, settings.key, settings.monitor_limit),
            metrics,
            rate=RateLimit(database, settings.scan_rate_limit, clock),
            vault=vault,
            clock=clock,
        )
        self._server: Server | None = None
        self.url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Serve at `url` and start the sweep. Raises OSError if the port is taken."""
        # No access log: it would contain query strings.
        self._server = Server(self._routes.application(), logger=_LOG)
        try:
            address, port = await self._server.start(host, port)
        except OSError:
            await self.close()
            raise
        name = f"[{address}]" if ":" in address else address
        self.url = f"http://{name}:{port}/api/v1"
        self.sweep.start()

    async def close(self) -> None:
        """Stop the sweep and the server; running scans are aborted, stored results stay."""
        self.sweep.stop()
        self._scanner.close()
        for documents in self._documents:
            await documents.close()
        await self.rescans.close()
        await self.sweep.close()
        if self._server is not None:
            await self._server.close()
            await self._routes.drain()
            self._server = None
        if self._geo is not None:
            self._geo.close()
