"""Settings: their defaults, all faults at once, secrets from files, and typos."""

import logging
import traceback
from collections.abc import Mapping
from datetime import time, timedelta
from pathlib import Path

import pytest

from bot.config import HOSTED_API, SETTINGS, Program, Secret, Settings, read_settings
from bot.embedded import parse_allow
from bot.errors import ConfigError

BOT, APP, SIGNING, KEY = "xoxb-1-top", "xapp-1-top", "signing-top", "key-top"
LEAST = {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP}


def read(**environ: str) -> Settings:
    return read_settings(LEAST | environ, scan_rules=parse_allow)


def faults(program: Program = "run", environ: Mapping[str, str] = LEAST, **more: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read_settings({**environ, **more}, program=program, scan_rules=parse_allow)
    return error.value.faults


def test_two_tokens_are_enough_and_all_else_has_its_default() -> None:
    settings = read()
    assert settings.slack_bot_token.reveal() == BOT
    assert settings.slack_mode == "socket"
    assert settings.slack_api_url == "https://slack.com/api/"
    assert (settings.api_url, settings.api_key.reveal()) == ("", "")
    assert (settings.api_write_method, settings.api_allow_http) == ("GET", False)
    assert settings.admins == frozenset()
    assert (settings.digest_channel, settings.digest_time) == ("", time(9))
    assert (settings.digest_timezone.key, settings.digest_expire_days) == ("UTC", 30)
    assert settings.database_url == "sqlite:///~/.sslmonitor-bot.sqlite3"
    assert settings.port == 3000
    assert (settings.scan_allow, settings.scan_ca_file) == ("", None)
    assert settings.scan_interval == timedelta(hours=12)
    assert settings.log_level == logging.INFO


def test_each_variable_is_declared_once_and_its_default_is_the_fields_default() -> None:
    variables = [name for each in SETTINGS.values() for name in each.variables]
    assert len(set(variables)) == len(variables)
    for name, setting in SETTINGS.items():
        assert getattr(Settings(), name) == setting.read(setting.default)


def test_a_variable_set_to_nothing_counts_as_not_set() -> None:
    settable = {each.variable for each in SETTINGS.values() if not each.empty}
    assert read(**dict.fromkeys(settable - set(LEAST), " ")) == read()


def test_spaces_around_a_value_are_dropped() -> None:
    assert read(DIGEST_CHANNEL=" C0123ABCD\n").digest_channel == "C0123ABCD"


def test_the_credentials_decide_the_mode_where_none_is_named() -> None:
    for credentials, mode in [
        ({"SLACK_APP_TOKEN": APP}, "socket"),
        ({"SLACK_SIGNING_SECRET": SIGNING}, "http"),
        ({"SLACK_APP_TOKEN": APP, "SLACK_SIGNING_SECRET": SIGNING}, "socket"),
        ({"SLACK_APP_TOKEN": APP, "SLACK_SIGNING_SECRET": SIGNING, "SLACK_MODE": "HTTP"}, "http"),
        (
            {"SLACK_APP_TOKEN": APP, "SLACK_SIGNING_SECRET": SIGNING, "SLACK_MODE": "socket"},
            "socket",
        ),
    ]:
        assert read_settings({"SLACK_BOT_TOKEN": BOT, **credentials}).slack_mode == mode


def test_each_missing_or_unusable_credential_is_named_once() -> None:
    for environ, variables in [
        ({}, ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"]),
        ({"SLACK_BOT_TOKEN": BOT}, ["SLACK_APP_TOKEN"]),
        ({"SLACK_APP_TOKEN": APP}, ["SLACK_BOT_TOKEN"]),
        ({"SLACK_SIGNING_SECRET": SIGNING}, ["SLACK_BOT_TOKEN"]),
        (LEAST | {"SLACK_MODE": "http"}, ["SLACK_MODE"]),
        (
            {"SLACK_BOT_TOKEN": BOT, "SLACK_SIGNING_SECRET": SIGNING, "SLACK_MODE": "socket"},
            ["SLACK_MODE"],
        ),
        (
            {"SLACK_BOT_TOKEN": BOT, "SLACK_SIGNING_SECRET": SIGNING, "SLACK_MODE": "?"},
            ["SLACK_MODE"],
        ),
        # Set and unusable is one fault: nothing is called missing as well.
        ({"SLACK_BOT_TOKEN": "xoxp-1", "SLACK_APP_TOKEN": APP}, ["SLACK_BOT_TOKEN"]),
        ({"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": "1 2"}, ["SLACK_APP_TOKEN"]),
        (
            {"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": "1 2", "SLACK_MODE": "socket"},
            ["SLACK_APP_TOKEN"],
        ),
        ({"SLACK_BOT_TOKEN": BOT, "SLACK_SIGNING_SECRET": "1 2"}, ["SLACK_SIGNING_SECRET"]),
    ]:
        assert [fault.split()[0] for fault in faults(environ=environ)] == variables


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
    "ARI_DIRECTORIES": "Let's Encrypt",
    "WATCH_INTERVAL": "60",
    "LOG_LEVEL": "LOUD",
}


def test_all_faults_come_together_each_with_its_variable_and_no_secret() -> None:
    sentences = faults(environ=BAD)
    assert [sentence.split(" is invalid. ")[0] for sentence in sentences] == list(BAD)
    assert all(sentence.endswith(".") for sentence in sentences)
    assert "secret" not in " ".join(sentences).replace("SLACK_SIGNING_SECRET", "")


def test_a_value_that_can_not_be_used_is_one_fault() -> None:
    for variable, text in [
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
        ("SCAN_INTERVAL", "59s"),
        ("SCAN_INTERVAL", "31d"),
        ("WATCH_INTERVAL", "0s"),
        ("WATCH_INTERVAL", "61m"),
        ("SLACK_API_URL", "ftp://slack.com/"),
        ("SLACK_API_URL", "https:///"),
        ("SLACK_API_URL", "https://slack.com:99999/"),
        ("SLACK_API_URL", "https://slack.com:0/"),
        ("SLACK_API_URL", "https://me:pw@slack.com/"),
        ("SSLMONITOR_API_URL", "https://[::1"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "postgresql://db:port/x"),
        ("DIGEST_CHANNEL", "certs"),
        ("SSL_ADMINS", "@ann"),
        ("SSL_ADMINS", "U0ANN C0CERTS"),
        ("SCAN_CA_FILE", "/"),
        ("SCAN_CA_FILE", "-----BEGIN CERTIFICATE-----\n" * 200),  # the content, not the path
    ]:
        more = {"SSLMONITOR_API_KEY": KEY} if variable == "SSLMONITOR_API_URL" else {}
        assert [fault.split()[0] for fault in faults(environ=LEAST | more | {variable: text})] == [
            variable
        ]


def test_a_key_alone_means_the_hosted_api() -> None:
    settings = read(SSLMONITOR_API_KEY=KEY)
    assert (settings.api_url, settings.api_key.reveal()) == (HOSTED_API, KEY)


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
    environ = {
        "SSLMONITOR_API_URL": url,
        "SSLMONITOR_API_KEY": KEY,
        "SSLMONITOR_API_ALLOW_HTTP": allowed,
    }
    if usable:
        assert read(**environ).api_url == url
    else:
        [fault] = faults(environ=LEAST | environ)
        assert fault.startswith("SSLMONITOR_API_URL is invalid. ")
        assert KEY not in fault


def test_the_remedy_for_a_private_network_is_named() -> None:
    [fault] = faults(SSLMONITOR_API_URL="http://api.internal/v1", SSLMONITOR_API_KEY=KEY)
    assert "SSLMONITOR_API_ALLOW_HTTP=1" in fault
    [fault] = faults(SSLMONITOR_API_URL="http://api.internal/?v=1", SSLMONITOR_API_KEY=KEY)
    assert "SSLMONITOR_API_ALLOW_HTTP=1" not in fault


def test_the_digest_program_needs_a_channel_and_no_way_for_requests_to_come_in() -> None:
    environ = {"SLACK_BOT_TOKEN": BOT, "DIGEST_CHANNEL": "C0123ABCD"}
    assert read_settings(environ, program="digest").digest_channel == "C0123ABCD"
    [fault] = faults("digest", {"SLACK_BOT_TOKEN": BOT})
    assert fault.startswith("DIGEST_CHANNEL is missing")


def test_the_embedded_program_needs_its_key_alone() -> None:
    assert read_settings({"EMBEDDED_API_KEY": KEY * 3}, program="embedded").embedded_api_key
    [fault] = faults("embedded", {})
    assert fault.startswith("EMBEDDED_API_KEY is missing")


def test_a_ca_file_that_exists_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("")
    assert read(SCAN_CA_FILE=str(file)).scan_ca_file == file


def test_the_scanners_own_rules_judge_scan_allow() -> None:
    assert read(SCAN_ALLOW="10.0.0.0/8").scan_allow == "10.0.0.0/8"
    assert faults(SCAN_ALLOW="10.0.0.0/99")[0].startswith("SCAN_ALLOW is invalid. “10.0.0.0/99”")


def test_the_directories_of_three_cas_are_the_default_and_none_if_it_is_empty() -> None:
    assert list(read().ari_directories) == ["Let's Encrypt", "Google Trust Services", "ZeroSSL"]
    assert all(url.startswith("https://") for url in read().ari_directories.values())
    for empty in ("", "  "):
        assert read(ARI_DIRECTORIES=empty).ari_directories == {}


def test_an_issuers_name_may_contain_commas() -> None:
    text = "GoDaddy.com, Inc.=https://a.example/dir?x=1, Sectigo Limited = http://b.example/d,"
    with pytest.raises(ConfigError):
        read(ARI_DIRECTORIES=text)
    assert read(ARI_DIRECTORIES=text.replace("?x=1", "")).ari_directories == {
        "GoDaddy.com, Inc.": "https://a.example/dir",
        "Sectigo Limited": "http://b.example/d",
    }


@pytest.mark.parametrize(
    "text",
    ["https://a.example", "=https://a.example", "A=", "A=a.example", "A=https://u:p@a.example",
     "A=https://a.example B=https://b.example", "A=https://a.example; B=https://b.example",
     "A=https://a.example, B", ",", "A=ftp://a.example", "A=https://a.example,,B=https://b.example",
     "A=https://a.example, a=https://b.example"],
)  # fmt: skip
def test_directories_that_make_no_sense_are_refused(text: str) -> None:
    (fault,) = faults(ARI_DIRECTORIES=text)
    assert fault.startswith("ARI_DIRECTORIES is invalid. Use ")


def test_a_secret_is_never_shown_but_compared_by_its_text() -> None:
    secret = Secret("top")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s" % secret, str([secret])]  # noqa: UP031 - the old way is a way out too
    assert not any("top" in text for text in shown)
    assert secret.reveal() == "top"
    assert not hasattr(secret, "__dict__")

    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret()
    assert Secret("a")


def test_settings_can_be_logged_without_a_secret() -> None:
    environ = {
        "SLACK_SIGNING_SECRET": SIGNING,
        "SSLMONITOR_API_KEY": KEY,
        "EMBEDDED_API_KEY": KEY * 3,
        "DATABASE_URL": "postgresql://me:pw-top@db/ssl",
    }
    settings = read(**environ)
    assert "top" not in repr(settings)
    assert "top" not in str(settings)
    assert "pw-top" in settings.database_url


def test_the_traceback_of_a_config_error_contains_no_secret() -> None:
    environ = {
        "SLACK_BOT_TOKEN": "xoxp-top",
        "SSLMONITOR_API_URL": "https://me:top\u2100@h/",
        "SSLMONITOR_API_KEY": "top top",
        "DATABASE_URL": "mysql://me:top@db/x",
    }
    with pytest.raises(ConfigError) as error:
        read_settings(environ)
    shown = "".join(traceback.format_exception(error.value))
    assert "DATABASE_URL" in shown
    assert "top" not in shown


def test_admins_are_ids_of_users_and_groups() -> None:
    for text in ["U0ANN,S0ADMINS", " U0ANN , S0ADMINS ", "U0ANN S0ADMINS,"]:
        assert read(SSL_ADMINS=text).admins == {"U0ANN", "S0ADMINS"}


@pytest.mark.parametrize("variable", ["SLACK_BOT_TOKEN", "SSLMONITOR_API_KEY", "DATABASE_URL"])
def test_a_secret_can_come_from_a_file(variable: str, tmp_path: Path) -> None:
    value = {"SLACK_BOT_TOKEN": BOT, "DATABASE_URL": "sqlite:///x"}.get(variable, KEY)
    file = tmp_path / "secret"
    file.write_text(f"\ufeff {value}\n")  # as editors on Windows write it
    others = {name: text for name, text in LEAST.items() if name != variable}
    settings = read_settings(others | {f"{variable}_FILE": str(file)})
    assert settings == read_settings(others | {variable: value})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "The file can't be read: No such file or directory."),
        (b"", "The file is empty."),
        (b"xapp-\xff", "The file is not UTF-8 text."),
        (b"xapp-" + b"1" * 100_000, "The file is too long."),
        (b"xoxb-secret", "It must start with xapp-"),
    ],
)
def test_an_unusable_file_is_one_fault(content: bytes | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    [fault] = faults(environ={"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN_FILE": str(file)})
    assert fault.startswith(f"SLACK_APP_TOKEN_FILE is invalid. {reason}")
    assert "secret" not in fault


def test_a_secret_and_its_file_are_not_both_set() -> None:
    assert faults(SLACK_APP_TOKEN_FILE="/run/secrets/x") == [
        "SLACK_APP_TOKEN and SLACK_APP_TOKEN_FILE are both set. Remove one of them."
    ]


def test_socket_mode_listens_on_loopback_unless_told_otherwise() -> None:
    for environ, host in [
        ({}, "127.0.0.1"),
        ({"SLACK_MODE": "http", "SLACK_SIGNING_SECRET": SIGNING}, "0.0.0.0"),
        ({"HOST": "10.0.0.7"}, "10.0.0.7"),
    ]:
        assert read(**environ).host == host


def test_a_short_key_of_the_embedded_api_is_refused() -> None:
    [fault] = faults("embedded", EMBEDDED_API_KEY="fifteen-letters")
    assert fault == "EMBEDDED_API_KEY is invalid. Use a random text of at least 16 characters."
