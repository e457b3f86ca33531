"""Settings: their defaults, every fault at once, and secrets that stay secret."""

from __future__ import annotations

import logging
import traceback
from datetime import time, timedelta
from pathlib import Path

import pytest

from bot.config import HOSTED_API, VARIABLES, Secret, Settings, read_settings
from bot.embedded import parse_allow
from bot.errors import ConfigError

BOT, APP, SIGNING, KEY = "xoxb-1-top", "xapp-1-top", "signing-top", "key-top"
LEAST = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}


def read(program: str = "run", **environ: str) -> Settings:
    return read_settings(LEAST | environ, program=program, scan_rules=parse_allow)


def faults(program: str = "run", environ: dict[str, str] | None = None, **more: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_settings(
            {**(LEAST if environ is None else environ), **more},
            program=program,
            scan_rules=parse_allow,
        )
    return caught.value.faults


def test_two_tokens_are_enough_and_all_else_has_its_default() -> None:
    found = read()
    assert found.slack_bot_token.reveal() == BOT
    assert found.slack_mode == "socket"
    assert found.slack_api_url == "https://slack.com/api/"
    assert (found.api_url, found.api_key.reveal()) == ("", "")
    assert (found.api_write_method, found.api_allow_http) == ("GET", False)
    assert (found.digest_channel, found.digest_time) == ("", time(9))
    assert (found.digest_timezone.key, found.digest_expire_days) == ("UTC", 30)
    assert found.database_url == "sqlite+aiosqlite:///sslmonitor-bot.sqlite3"
    assert found.port == 3000
    assert (found.scan_allow, found.scan_ca_file) == ("", None)
    assert found.scan_interval == timedelta(hours=12)
    assert found.log_level == logging.INFO


def test_a_variable_set_to_nothing_counts_as_not_set() -> None:
    assert read(**dict.fromkeys(set(VARIABLES) - set(LEAST), " ")) == read()


def test_spaces_around_a_value_are_dropped() -> None:
    assert read(DIGEST_CHANNEL=" C0123ABCD\n").digest_channel == "C0123ABCD"


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({"SLACK_APP_TOKEN": APP}, "socket"),
        ({"SLACK_SIGNING_SECRET": SIGNING}, "http"),
        ({"SLACK_APP_TOKEN": APP, "SLACK_SIGNING_SECRET": SIGNING}, "socket"),
        ({"SLACK_APP_TOKEN": APP, "SLACK_SIGNING_SECRET": SIGNING, "SLACK_MODE": "HTTP"}, "http"),
        (
            {"SLACK_APP_TOKEN": APP, "SLACK_SIGNING_SECRET": SIGNING, "SLACK_MODE": "socket"},
            "socket",
        ),
    ],
)
def test_the_credentials_decide_the_mode_where_none_is_named(
    given: dict[str, str], mode: str
) -> None:
    assert read_settings({"SLACK_BOT_TOKEN": BOT, **given}).slack_mode == mode


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"]),
        ({"SLACK_BOT_TOKEN": BOT}, ["SLACK_APP_TOKEN"]),
        ({"SLACK_APP_TOKEN": APP}, ["SLACK_BOT_TOKEN"]),
        ({"SLACK_SIGNING_SECRET": SIGNING}, ["SLACK_BOT_TOKEN"]),
        (LEAST | {"SLACK_MODE": "http"}, ["SLACK_MODE"]),
        (
            {"SLACK_BOT_TOKEN": BOT, "SLACK_SIGNING_SECRET": SIGNING, "SLACK_MODE": "socket"},
            ["SLACK_MODE"],
        ),
        (LEAST | {"SLACK_MODE": "carrier pigeon"}, ["SLACK_MODE"]),
        # Set and unusable is one fault: nothing is called missing as well.
        ({"SLACK_BOT_TOKEN": "xoxp-1", "SLACK_APP_TOKEN": APP}, ["SLACK_BOT_TOKEN"]),
        ({"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": "1 2"}, ["SLACK_APP_TOKEN"]),
        (
            {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": "1 2", "SLACK_MODE": "socket"},
            ["SLACK_APP_TOKEN"],
        ),
        ({"SLACK_BOT_TOKEN": BOT, "SLACK_SIGNING_SECRET": "1 2"}, ["SLACK_SIGNING_SECRET"]),
    ],
)
def test_each_missing_or_unusable_credential_is_named_once(
    given: dict[str, str], named: list[str]
) -> None:
    assert [fault.split()[0] for fault in faults(environ=given)] == named


BAD = {
    "SLACK_BOT_TOKEN": "xoxp-secret-thing",
    "SLACK_APP_TOKEN": "xoxb-secret-thing",
    "SLACK_SIGNING_SECRET": "secret thing",
    "SLACK_MODE": "both",
    "SLACK_API_URL": "https://slack.com/api",
    "SSLMONITOR_API_URL": "sslmonitor.io",
    "SSLMONITOR_API_KEY": "secret\u00a0thing",
    "SSLMONITOR_API_WRITE_METHOD": "PUT",
    "SSLMONITOR_API_ALLOW_HTTP": "maybe",
    "DIGEST_CHANNEL": "#certs",
    "DIGEST_TIME": "9:00",
    "DIGEST_TIMEZONE": "Mars/Olympus",
    "DIGEST_EXPIRE_DAYS": "0",
    "DATABASE_URL": "mysql://me:secret-thing@db/x",
    "PORT": "65536",
    "EMBEDDED_API_KEY": "secret thing",
    "SCAN_ALLOW": "10.0.0.0/99",
    "SCAN_CA_FILE": "/no/such/file.pem",
    "SCAN_INTERVAL": "often",
    "WATCH_INTERVAL": "60",
    "LOG_LEVEL": "LOUD",
}


def test_all_faults_come_together_each_with_its_variable_and_no_secret() -> None:
    found = faults(environ=BAD)
    assert [fault.split()[0] for fault in found] == list(BAD)
    assert all(fault.endswith((".", ")")) and "can't be used: " in fault for fault in found)
    assert "secret" not in " ".join(found).replace("SLACK_SIGNING_SECRET", "")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DIGEST_TIME", "24:00"),
        ("DIGEST_TIME", "09:60"),
        ("DIGEST_TIME", "nine"),
        ("DIGEST_TIMEZONE", "../../etc/passwd"),
        ("DIGEST_TIMEZONE", "Europe"),
        ("DIGEST_EXPIRE_DAYS", "-1"),
        ("DIGEST_EXPIRE_DAYS", "3651"),
        ("DIGEST_EXPIRE_DAYS", "٣"),
        ("PORT", "http"),
        ("SCAN_INTERVAL", "12"),
        ("SCAN_INTERVAL", "0h"),
        ("SCAN_INTERVAL", "1.5h"),
        ("SCAN_INTERVAL", "12 h"),
        ("SLACK_API_URL", "ftp://slack.com/"),
        ("SLACK_API_URL", "https:///"),
        ("SLACK_API_URL", "https://slack.com:99999/"),
        ("SLACK_API_URL", "https://slack.com:0/"),
        ("SSLMONITOR_API_URL", "https://[::1"),
        ("DATABASE_URL", "nonsense"),
        ("DIGEST_CHANNEL", "certs"),
        ("SSL_ADMINS", "@ann"),
        ("SSL_ADMINS", "U0ANN C0CERTS"),
        ("SCAN_CA_FILE", "/"),
    ],
)
def test_a_value_that_can_not_be_used_is_one_fault(variable: str, text: str) -> None:
    more = {"SSLMONITOR_API_KEY": KEY} if variable == "SSLMONITOR_API_URL" else {}
    assert [fault.split()[0] for fault in faults(environ=LEAST | more | {variable: text})] == [
        variable
    ]


def test_durations_are_a_number_and_a_unit() -> None:
    found = [read(SCAN_INTERVAL=text).scan_interval for text in ("90s", "30m", "12h", "1d")]
    assert found == [
        timedelta(seconds=90),
        timedelta(minutes=30),
        timedelta(hours=12),
        timedelta(days=1),
    ]


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("postgres://me@db/ssl", "postgresql+asyncpg://me@db/ssl"),
        ("postgresql://me:pw@db:5433/ssl", "postgresql+asyncpg://me:pw@db:5433/ssl"),
        ("postgresql+asyncpg://db/ssl", "postgresql+asyncpg://db/ssl"),
        ("sqlite:////var/lib/bot.db", "sqlite+aiosqlite:////var/lib/bot.db"),
    ],
)
def test_a_database_is_named_as_hosters_name_it(url: str, used: str) -> None:
    assert read(DATABASE_URL=url).database_url == used


def test_a_key_alone_means_the_hosted_api() -> None:
    found = read(SSLMONITOR_API_KEY=KEY)
    assert (found.api_url, found.api_key.reveal()) == (HOSTED_API, KEY)


def test_an_address_without_a_key_is_a_fault() -> None:
    [fault] = faults(SSLMONITOR_API_URL="https://api.example.com/api/v1")
    assert fault.startswith("SSLMONITOR_API_KEY is missing")


@pytest.mark.parametrize(
    ("url", "allowed", "usable"),
    [
        ("https://api.example.com/v1", "0", True),
        ("http://127.0.0.1:8021/api/v1", "0", True),
        ("http://[::1]:8021/api/v1", "0", True),
        ("http://localhost:8021/api/v1", "0", True),
        ("http://api.internal/v1", "1", True),
        ("http://api.internal/v1", "yes", True),
        ("http://api.internal/v1", "0", False),
        ("http://127.0.0.1.example.com/", "0", False),
        ("https://me:pw@api.example.com/", "0", False),
    ],
)
def test_the_key_travels_encrypted_or_not_at_all(url: str, allowed: str, usable: bool) -> None:
    given = {
        "SSLMONITOR_API_URL": url,
        "SSLMONITOR_API_KEY": KEY,
        "SSLMONITOR_API_ALLOW_HTTP": allowed,
    }
    if usable:
        assert read(**given).api_url == url
    else:
        [fault] = faults(environ=LEAST | given)
        assert fault.startswith("SSLMONITOR_API_URL can't be used: ")
        assert KEY not in fault


def test_the_remedy_for_a_private_network_is_named() -> None:
    [fault] = faults(SSLMONITOR_API_URL="http://api.internal/v1", SSLMONITOR_API_KEY=KEY)
    assert "SSLMONITOR_API_ALLOW_HTTP=1" in fault


def test_the_digest_program_needs_a_channel_and_no_way_for_requests_to_come_in() -> None:
    given = {"SLACK_BOT_TOKEN": BOT, "DIGEST_CHANNEL": "C0123ABCD"}
    assert read_settings(given, program="digest").digest_channel == "C0123ABCD"
    [fault] = faults("digest", {"SLACK_BOT_TOKEN": BOT})
    assert fault.startswith("DIGEST_CHANNEL is missing")


def test_the_embedded_program_needs_its_key_alone() -> None:
    assert read_settings({"EMBEDDED_API_KEY": KEY}, program="embedded").embedded_api_key
    [fault] = faults("embedded", {})
    assert fault.startswith("EMBEDDED_API_KEY is missing")


def test_a_ca_file_that_exists_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("")
    assert read(SCAN_CA_FILE=str(file)).scan_ca_file == file


def test_the_scanners_own_rules_judge_scan_allow() -> None:
    assert read(SCAN_ALLOW="10.0.0.0/8").scan_allow == "10.0.0.0/8"
    assert faults(SCAN_ALLOW="10.0.0.0/99")[0].startswith("SCAN_ALLOW can't be used")


def test_a_secret_never_shows_itself() -> None:
    secret = Secret("top")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s" % secret, str([secret])]  # noqa: UP031 - the old way is a way out too
    assert not any("top" in text for text in shown)
    assert secret.reveal() == "top"
    assert not hasattr(secret, "__dict__")


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret()
    assert Secret("a")


def test_settings_can_be_logged_without_a_secret() -> None:
    given = {
        "SLACK_SIGNING_SECRET": SIGNING,
        "SSLMONITOR_API_KEY": KEY,
        "EMBEDDED_API_KEY": KEY,
        "DATABASE_URL": "postgresql://me:pw-top@db/ssl",
    }
    found = read(**given)
    assert "top" not in repr(found)
    assert "top" not in str(found)
    assert "pw-top" in found.database_url


def test_the_traceback_of_a_config_error_holds_no_secret() -> None:
    given = {
        "SLACK_BOT_TOKEN": "xoxp-top",
        "SSLMONITOR_API_URL": "https://me:top\u2100@h/",
        "SSLMONITOR_API_KEY": "top top",
        "DATABASE_URL": "mysql://me:top@db/x",
    }
    with pytest.raises(ConfigError) as caught:
        read_settings(given)
    told = "".join(traceback.format_exception(caught.value))
    assert "DATABASE_URL" in told
    assert "top" not in told


@pytest.mark.parametrize("text", ["U0ANN,S0ADMINS", " U0ANN , S0ADMINS ", "U0ANN S0ADMINS,"])
def test_admins_are_ids_of_users_and_groups(text: str) -> None:
    assert read(SSL_ADMINS=text).admins == {"U0ANN", "S0ADMINS"}


def test_without_admins_there_are_none() -> None:
    assert read().admins == frozenset()
