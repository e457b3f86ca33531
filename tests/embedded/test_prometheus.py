"""The metrics of certificates, and the alerts that the docs build on them, judged by promtool."""

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml
from msgspec import structs

from bot.embedded import EmbeddedAPI, EmbeddedSettings
from bot.embedded.ca.facts import RenewalFacts
from bot.embedded.metrics import certificates
from bot.embedded.wire import ListRow
from bot.severity import limits
from bot.store.database import Database

from .fleet import NOW, Fleet

DOCS = Path(__file__).parents[2] / "docs" / "prometheus.md"
KEY = "k" * 16
promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian's prometheus)"
)


async def scraped(fleet: Fleet, database: Database, key: str = KEY) -> tuple[int, str]:
    """What Prometheus gets of a valid monitor, and of one with a wrong name."""
    told = EmbeddedSettings(
        key=KEY, scan_allow="127.0.0.1", ca_file=fleet.ca_file, hosts={"fleet.test": "127.0.0.1"}
    )
    api = EmbeddedAPI(told, database, clock=lambda: NOW)
    await api.start()
    try:
        async with (
            fleet.tls() as port,
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
        ):
            for host in ("fleet.test", "127.0.0.1"):
                await session.post(f"{api.url}/monitor/add", data={"host": host, "port": port})
            address = api.url.removesuffix("/api/v1")
            headers = {"Authorization": f"Bearer {key}"}
            async with session.get(f"{address}/metrics/certificates", headers=headers) as reply:
                return reply.status, await reply.text()
    finally:
        await api.close()


async def test_each_monitor_has_dates_and_validity(fleet: Fleet, database: Database) -> None:
    status, text = await scraped(fleet, database)
    assert status == 200
    ends = datetime(2027, 4, 15, 13, tzinfo=UTC).timestamp()
    found = re.search(
        r'ssl_cert_not_after{host="fleet.test",issuer="([^"]+)",port="\d+"} (\S+)', text
    )
    assert found
    assert (found[1], float(found[2])) == ("Fleet Trust", ends)
    assert re.search(r'certificate_valid{host="fleet.test",message="Valid",port="\d+"} 1.0', text)
    assert re.search(
        r'valid{host="127.0.0.1",message="Host name mismatch: [^"]+",port="\d+"} 0', text
    )
    assert 'sslmonitor_last_scan{host="fleet.test",' in text


async def test_renewal_is_due_when_the_bot_says_so(fleet: Fleet, database: Database) -> None:
    """The fleet's certificate lives for 180 days; the rule of shorter ones is a third."""
    _, text = await scraped(fleet, database)
    due = re.search(r'ssl_cert_renewal_due{host="fleet.test",port="\d+"} (\S+)', text)
    end = datetime(2027, 4, 15, 13, tzinfo=UTC)
    assert due
    assert float(due[1]) == (end - limits(timedelta(days=180)).due).timestamp()
    start, end = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 10, tzinfo=UTC)
    row = ListRow(1, "short.test", 443, True, "Valid", "orange", 8, f"{start:%F %H:%M}",
                  f"{end:%F %H:%M}", True, "CA", 200, None, None, False)  # fmt: skip
    own = end - limits(end - start).due
    assert renewal_due(row) == own.timestamp()
    backward = structs.replace(row, ssl_expire_date_start=row.ssl_expire_date_end)
    assert renewal_due(backward) == (end - limits(timedelta()).due).timestamp()
    for begins, ends, expected in ((3, 4, start + timedelta(days=2)), (9, 9, own), (3, 10, own)):
        row.renewal = RenewalFacts(
            "known", f"2027-01-{begins:02} 00:00", f"2027-01-{ends:02} 00:00"
        )
        assert renewal_due(row) == expected.timestamp()


def renewal_due(row: ListRow) -> float:
    found = re.search(r"renewal_due{.*?} (\S+)", certificates([row]).decode())
    assert found
    return float(found[1])


async def test_nobody_reads_host_names_without_a_key(fleet: Fleet, database: Database) -> None:
    status, text = await scraped(fleet, database, key="wrong")
    assert status == 401
    assert "fleet.test" not in text


@promtool
async def test_promtool_takes_the_metrics(fleet: Fleet, database: Database) -> None:
    _, text = await scraped(fleet, database)
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs meanwhile
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


DAY = 86_400
#: By host: the days until the end and of the lifetime, whether it is valid, the age of its scan in
#: hours, and the alerts that fire.
CASES: dict[str, tuple[int, int, int, int, set[str]]] = {
    "fine.test": (80, 90, 1, 1, set()),
    "due.test": (20, 90, 1, 1, {"CertificateShouldBeRenewed"}),
    "short.test": (5, 9, 1, 1, set()),
    "short-due.test": (2, 9, 1, 1, {"CertificateExpiresSoon", "CertificateShouldBeRenewed"}),
    "soon.test": (3, 90, 1, 1, {"CertificateExpiresSoon", "CertificateShouldBeRenewed"}),
    "broken.test": (80, 90, 0, 1, {"CertificateInvalid"}),
    "expired.test": (-2, 90, 0, 1, {"CertificateInvalid", "CertificateShouldBeRenewed"}),
    "old.test": (80, 90, 1, 40, {"CertificateNotScanned"}),
}


@promtool
def test_the_alerts_of_the_docs_fire_when_they_should(tmp_path: Path) -> None:
    rules = next(
        block
        for block in re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if "alert:" in block
    )
    (tmp_path / "rules.yml").write_text(rules)
    at = 10 * DAY
    names = re.findall(r"alert: (\w+)", rules)
    series = []
    for host, (left, lifetime, valid, age, _) in CASES.items():
        said, labels = "Valid" if valid else "Expired", f'host="{host}",port="443"'
        values = {
            f'ssl_cert_not_after{{{labels},issuer="CA"}}': at + left * DAY,
            f"ssl_cert_not_before{{{labels}}}": at + (left - lifetime) * DAY,
            f"ssl_cert_renewal_due{{{labels}}}": at + (left - min(lifetime / 3, 30)) * DAY,
            f'sslmonitor_certificate_valid{{{labels},message="{said}"}}': valid,
            f"sslmonitor_last_scan{{{labels}}}": at - age * 3600,
        }
        series += [{"series": name, "values": f"{value}x100"} for name, value in values.items()]
    # Invalid for another reason since a moment ago: the alert goes on.
    changing = 'sslmonitor_certificate_valid{host="broken.test",port="443",message="%s"}'
    series = [each for each in series if each["series"] != changing % "Expired"]
    series += [
        {"series": changing % "Reset", "values": "0x39 stale"},
        {"series": changing % "Timed out", "values": "_x40 0x60"},
    ]
    asked = [
        {
            "expr": f'count by (host) (ALERTS{{alertname="{name}",alertstate="firing"}})',
            "eval_time": "10d",
            "exp_samples": [
                {"labels": f'{{host="{host}"}}', "value": 1}
                for host, (*_, fires) in CASES.items()
                if name in fires
            ],
        }
        for name in names
    ]
    assert len(names) == 4
    told = [
        {"exp_labels": {"severity": "critical", "host": host, "port": "443"},
         "exp_annotations": {"summary": f"{host}:443: {message}"}}
        for host, message in (("broken.test", "Timed out"), ("expired.test", "Expired"))
    ]  # fmt: skip
    invalid = {"alertname": names[0], "eval_time": "10d", "exp_alerts": told}
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "6h",
        "tests": [
            {
                "interval": "6h",
                "input_series": series,
                "promql_expr_test": asked,
                "alert_rule_test": [invalid],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
