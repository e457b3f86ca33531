"""Every setting, declared once: the table in docs/deploy.md and `check` are built from this."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import time, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from bot.config import readers
from bot.config.declaration import Setting, setting
from bot.config.readers import Secret
from bot.dates import DIGEST, NOTICES, Subscription
from bot.target import MAX_PORT

HOSTED_API = "https://api.sslmonitor.io/api/v1"
#: Stands for the unknown host in the calendar's address.
PLACEHOLDER = "YOUR-HOST"

Mode = Literal["socket", "http"]
Method = Literal["GET", "POST"]
LogFormat = Literal["text", "json"]
AllClear = Literal["daily", "weekly"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a program.

    `api_url` is empty if the bot starts the embedded API in its own process. Once that API runs,
    `api_is_own` is set: its address and key are new at every start, its monitors are not.
    """

    api_is_own: bool = field(default=False)

    slack_bot_token: Secret = setting(
        "SLACK_BOT_TOKEN",
        readers.token("xoxb-"),
        meaning="The bot token (`xoxb-…`), from “OAuth & Permissions”. Required.",
        secret=True,
    )
    slack_app_token: Secret = setting(
        "SLACK_APP_TOKEN",
        readers.token("xapp-"),
        meaning="The app-level token (`xapp-…`), from “Basic Information”. "
        "Required for Socket Mode.",
        secret=True,
    )
    slack_signing_secret: Secret = setting(
        "SLACK_SIGNING_SECRET",
        readers.token(),
        meaning="The signing secret, from “Basic Information”. Required for HTTP mode.",
        secret=True,
    )
    slack_mode: Mode = setting(
        "SLACK_MODE",
        readers.one_of("socket", "http"),
        "socket",
        meaning="`socket` or `http`. If unset: `http` if there is a signing secret but no "
        "app-level token.",
    )
    slack_api_url: str = setting(
        "SLACK_API_URL",
        readers.slack_api_url,
        "https://slack.com/api/",
        meaning="The base URL of Slack's Web API, with a trailing slash.",
    )
    api_url: str = setting(
        "SSLMONITOR_API_URL",
        readers.base_url,
        meaning="The base URL of the SSLmonitor API. If unset: the hosted API if there is a key, "
        "otherwise the embedded API.",
    )
    api_key: Secret = setting(
        "SSLMONITOR_API_KEY",
        readers.token(),
        meaning="The API key. It is only sent over HTTPS, or to this machine.",
        secret=True,
    )
    api_write_method: Method = setting(
        "SSLMONITOR_API_WRITE_METHOD",
        readers.one_of("GET", "POST"),
        "GET",
        meaning="`POST` sends add, scan and delete as form bodies, which keeps their parameters "
        "out of proxy logs.",
    )
    api_allow_http: bool = setting(
        "SSLMONITOR_API_ALLOW_HTTP",
        readers.switch,
        "0",
        meaning="`1` allows sending the API key unencrypted, for an API on a private network.",
    )
    api_ca_file: Path | None = setting(
        "SSLMONITOR_CA_FILE",
        readers.file,
        meaning="A PEM file of CA certificates to trust when connecting to the SSLmonitor API.",
    )
    admins: frozenset[str] = setting(
        "SSL_ADMINS",
        readers.admins,
        meaning="Who may change anything but claims and notes: IDs of users and user groups, "
        "such as `U0123ABCD,S0123ABCD`. If unset: every full member.",
    )
    user_scan_limit: int = setting(
        "USER_SCAN_LIMIT",
        readers.number(1, 100_000),
        "30",
        meaning="How many scans and checks each user may start in 10 minutes.",
    )
    user_add_limit: int = setting(
        "USER_ADD_LIMIT",
        readers.number(1, 100_000),
        "50",
        meaning="How many hosts each user may add in 10 minutes.",
    )
    digest_channel: str = setting(
        "DIGEST_CHANNEL",
        readers.channel,
        meaning="The ID of the channel for the daily digest, such as `C0123ABCD`. "
        "If unset: no digest.",
    )
    digest_time: time = setting(
        "DIGEST_TIME",
        readers.time_of_day,
        "09:00",
        meaning="When the digest is due. If it can't be posted then, it is posted later that day.",
    )
    digest_timezone: ZoneInfo = setting(
        "DIGEST_TIMEZONE",
        readers.timezone,
        "UTC",
        meaning="The time zone of `DIGEST_TIME`, such as `Europe/Berlin`, and of the days of "
        "notices in channels without a digest.",
    )
    digest_expire_days: int = setting(
        "DIGEST_EXPIRE_DAYS",
        readers.number(1, 3650),
        "30",
        meaning="The digest lists valid certificates that expire in fewer days than this.",
    )
    digest_all_clear: AllClear = setting(
        "DIGEST_ALL_CLEAR",
        readers.one_of("daily", "weekly"),
        "daily",
        meaning="`weekly`: if all is clear, only the week's first digest is posted.",
    )
    notice_interval: timedelta = setting(
        "NOTICE_INTERVAL",
        readers.interval_or_off,
        "15m",
        meaning="How often the bot compares the list of monitors between digests; every minute if "
        "it uses its own API. An API with monitor/changes is also asked for changes every 30 "
        "seconds. `0` turns notices off in all channels.",
    )
    notice_channel: str = setting(
        "NOTICE_CHANNEL",
        readers.channel,
        meaning="The ID of the channel for notices. If unset: `DIGEST_CHANNEL`.",
    )
    notice_mention: str = setting(
        "NOTICE_MENTION",
        readers.mention,
        meaning="The ID of a user or a user group, such as `S0123ABCD`, to be mentioned when a "
        "host breaks, and when nobody has taken it after two digests. If unset: nobody.",
    )
    database_url: str = setting(
        "DATABASE_URL",
        readers.database_url,
        "sqlite:///~/.sslmonitor-bot.sqlite3",
        meaning="`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/DATABASE`.",
        secret=True,
    )
    host: str = setting(
        "HOST",
        str,
        meaning="The address that the bot listens on, for `/healthz` and, in HTTP mode, "
        "`/slack/events`. If unset: `0.0.0.0` in HTTP mode, `127.0.0.1` in Socket Mode.",
    )
    port: int = setting(
        "PORT",
        readers.number(0, MAX_PORT),
        "3000",
        meaning="The port that the bot listens on.",
    )
    public_url: str = setting(
        "PUBLIC_URL",
        readers.base_url,
        meaning="The bot's address from outside, such as `https://bot.example.com`; it is used in "
        "the calendar's link.",
    )
    metrics_key: Secret = setting(
        "METRICS_KEY",
        readers.long_token,
        meaning="The bearer token that reads the bot's `/metrics` from another machine. If unset: "
        "only this machine can.",
        secret=True,
    )
    embedded_api_key: Secret = setting(
        "EMBEDDED_API_KEY",
        readers.long_token,
        meaning="The API key that clients of `python -m bot embedded` must send: at least "
        f"{readers.SECRET_KEY_LENGTH} characters.",
        secret=True,
    )
    scan_allow: str = setting(
        "SCAN_ALLOW",
        str,
        meaning="What the embedded API may scan apart from public addresses and private networks: "
        "`127.0.0.0/8:8443, [::1]:443, build.local`.",
    )
    scan_deny: str = setting(
        "SCAN_DENY",
        str,
        meaning="What the embedded API must never scan, in the same notation. "
        "It takes precedence over `SCAN_ALLOW`.",
    )
    scan_ca_file: Path | None = setting(
        "SCAN_CA_FILE",
        readers.file,
        meaning="A PEM file of CA certificates to trust in addition to the system's.",
    )
    scan_interval: timedelta = setting(
        "SCAN_INTERVAL",
        readers.duration("1m", "30d"),
        "12h",
        meaning="How often the embedded API scans each monitor.",
    )
    scan_revocation: bool = setting(
        "SCAN_REVOCATION",
        readers.switch,
        "1",
        meaning="`0`: the embedded API doesn't ask CAs whether they have revoked a certificate.",
    )
    scan_caa: bool = setting(
        "SCAN_CAA",
        readers.switch,
        "1",
        meaning="`0`: the embedded API doesn't ask whether CAA records permit a certificate's CA.",
    )
    ari_directories: Mapping[str, str] = setting(
        "ARI_DIRECTORIES",
        readers.directories,
        "Let's Encrypt=https://acme-v02.api.letsencrypt.org/directory, "
        "Google Trust Services=https://dv.acme-v02.api.pki.goog/directory, "
        "ZeroSSL=https://acme.zerossl.com/v2/DV90",
        meaning="The ACME directories of issuers, which the embedded API asks when certificates "
        "should be renewed (RFC 9773): `ISSUER=URL`, separated by commas. If empty: none is "
        "asked.",
        empty=True,
    )
    scan_rate_limit: int = setting(
        "SCAN_RATE_LIMIT",
        readers.number(0, 1_000_000),
        "120",
        meaning="How many on-demand scans per minute each API key may request; `0` for no limit.",
    )
    secret_key: Secret = setting(
        "SECRET_KEY",
        readers.secret_key,
        meaning=f"A random text of at least {readers.SECRET_KEY_LENGTH} characters that encrypts "
        "the proxies' passwords in the database.",
        secret=True,
    )
    geoip_file: Path | None = setting(
        "GEOIP_FILE",
        readers.file,
        meaning="A MaxMind database (`.mmdb`) that locates IP addresses.",
    )
    watch_interval: timedelta = setting(
        "WATCH_INTERVAL",
        readers.duration("1s", "1h"),
        "60s",
        meaning="How often Scan & watch scans. After five scans the interval grows, up to five "
        "times this.",
    )
    log_level: int = setting(
        "LOG_LEVEL",
        readers.log_level,
        "INFO",
        meaning="`DEBUG`, `INFO`, `WARNING` or `ERROR`.",
    )
    log_format: LogFormat = setting(
        "LOG_FORMAT",
        readers.one_of("text", "json"),
        "text",
        meaning="`text`, or `json` for one JSON object per line.",
    )

    @property
    def calendar_base(self) -> str | None:
        """How the calendar's address begins; None if the bot only listens on this machine."""
        if self.slack_mode != "http" and self.host in {"", "127.0.0.1"}:
            return None
        return self.public_url.rstrip("/") or f"https://{PLACEHOLDER}"

    @property
    def weekly(self) -> bool:
        """Whether digests are weekly while all is clear."""
        return self.digest_all_clear == "weekly"

    @property
    def subscriptions(self) -> list[Subscription]:
        """The environment's digest and notices; a channel's own subscription overrides them."""
        found, zone = [], self.digest_timezone.key
        if channel := self.digest_channel:
            at, weekly = self.digest_time, self.weekly
            found.append(Subscription(DIGEST, channel, at=at, zone=zone, weekly=weekly))
        if channel := self.notice_channel or self.digest_channel:
            whom, idle = self.notice_mention, not self.notice_interval
            found.append(Subscription(NOTICES, channel, zone=zone, mention=whom, idle=idle))
        return found


#: Every setting by the name of its field, in the order of the table in docs/deploy.md.
SETTINGS: dict[str, Setting] = {
    each.name: each.metadata["setting"] for each in fields(Settings) if each.metadata
}
