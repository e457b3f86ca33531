"""Variables that look like settings."""

from hypothesis import given
from hypothesis import strategies as st

from bot.config import unknown_variables
from bot.config.environment import _within
from tests.test_config import APP, BOT, LEAST, faults


def test_a_variable_that_looks_like_a_setting_is_reported() -> None:
    for name, text in [
        ("DIGEST_CHANEL", "DIGEST_CHANEL is not a setting; did you mean DIGEST_CHANNEL?"),
        ("SSL_ADMIN", "SSL_ADMIN is not a setting; did you mean SSL_ADMINS?"),
        ("LOGLEVEL", "LOGLEVEL is not a setting; did you mean LOG_LEVEL?"),
        ("DATABSE_URI", "DATABSE_URI is not a setting; did you mean DATABASE_URL?"),
        ("SCERET_KEY", "SCERET_KEY is not a setting; did you mean SECRET_KEY?"),
        ("digest_time", "digest_time is not a setting; did you mean DIGEST_TIME?"),
        (
            "SLACK_BOT_TOKEN_FIEL",
            "SLACK_BOT_TOKEN_FIEL is not a setting; did you mean SLACK_BOT_TOKEN_FILE?",
        ),
        ("SCAN_EVERYTHING", "SCAN_EVERYTHING is not a setting."),
        ("SSLMONITOR_KEY", "SSLMONITOR_KEY is not a setting."),
        ("SSLMONITOR_PORT", "SSLMONITOR_PORT is not a setting."),
    ]:
        assert [str(each) for each in unknown_variables(LEAST | {name: "443"})] == [text]


def test_variables_of_others_are_not_reported() -> None:
    others = {"HOME", "POST", "HOSTNAME", "HOSTS", "PATH", "LOGNAME", "PORTS", "SSLKEYLOGFILE"}
    # OpenSSL reads these, so they do have an effect on the bot.
    others |= {"SSL_CERT_FILE", "SSL_CERT_DIR"}
    # Django's, Rails' and libpq's names that resemble ours
    others |= {"SECRET_KEY_BASE", "DATABASE_HOST", "PGPORT", "LOG_FILE", "API_KEY"}
    # Kubernetes sets these for a Service named sslmonitor.
    others |= {"SSLMONITOR_SERVICE_HOST", "SSLMONITOR_SERVICE_PORT_HTTP"}
    others |= {"SSLMONITOR_PORT_3000_TCP", "SSLMONITOR_PORT_3000_TCP_ADDR"}
    environ = dict.fromkeys(others, "x") | {"SSLMONITOR_PORT": "tcp://10.0.0.1:3000"}
    assert unknown_variables(LEAST | environ | {"DIGEST_CHANEL": " "}) == []


def test_a_typo_is_a_fault_and_explains_the_one_it_causes() -> None:
    [typo] = unknown_variables({"DIGEST_CHANEL": "C0123ABCD"})
    assert typo.is_fault
    [typo] = unknown_variables({"DIGEST_CHANEL": "C0123ABCD", "DIGEST_CHANNEL": "C0123ABCD"})
    assert not typo.is_fault
    [other] = unknown_variables({"SLACK_WEBHOOK_URL": "https://hooks.slack.com/"})
    assert not other.is_fault

    environ = {"SLACK_BOT_TOKN": BOT, "SLACK_APP_TOKEN": APP, "SLACK_WEBHOOK_URL": "x"}
    missing, fault = faults(environ=environ)
    assert missing.startswith("SLACK_BOT_TOKEN is missing.")
    assert fault == "SLACK_BOT_TOKN is not a setting; did you mean SLACK_BOT_TOKEN?"


def distance(a: str, b: str) -> int:
    """The Damerau-Levenshtein distance (optimal string alignment), by the textbook's table."""
    rows = [[i + j if 0 in (i, j) else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (x != y))
            if i > 1 and j > 1 and a[i - 2 : i] == y + b[j - 2]:
                rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]


@given(st.text("ab_", max_size=6), st.text("ab_", max_size=6), st.integers(0, 2))
def test_the_distance_of_typos_matches_the_textbook(a: str, b: str, edits: int) -> None:
    assert _within(edits, a, b) == (distance(a, b) <= edits)
