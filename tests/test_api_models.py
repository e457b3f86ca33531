import gc
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from bot.api.models import (
    Account,
    Certificate,
    HTTPInfo,
    Monitor,
    MonitorSummary,
    Name,
    Ping,
    Proxy,
    SweepProgress,
    by_target,
    read_date,
    read_summary,
)
from bot.api.reading import read_account, read_monitor, read_ping
from bot.severity import days_left
from bot.target import Target

NO_OFFSET = timedelta()

# The API page's own examples, with the commas it forgot.
ROW: dict[str, Any] = {
    "id": 888,
    "host": "www.example.com",
    "port": 443,
    "ssl_valid": True,
    "ssl_message": "Valid",
    "ssl_color": "green",
    "ssl_expire_days": 127,
    "ssl_expire_date_start": "2026-01-01 00:00",
    "ssl_expire_date_end": "2026-12-12 23:59",
    "ssl_host_match": True,
    "ssl_issuer": "DigiCert Inc",
    "http_code": 200,
    "scan_date": "2026-01-05 20:25",
}
MONITOR: dict[str, Any] = {
    "id": 888,
    "host": "www.company.com",
    "port": 443,
    "scan_date": "2026-04-27 01:05",
    "ssl": {
        "date_start": "2026-01-01 00:00",
        "date_end": "2026-12-31 23:59",
        "expire_days": 127,
        "issuer_cn": "DigiCert EV RSA CA G2",
        "issuer_c": "US",
        "issuer_o": "DigiCert Inc",
        "subject_cn": "www.company.com",
        "subject_c": "US",
        "subject_o": "Company LLC",
        "alt_names": ["company.com", "cdn.company.com"],
    },
    "http": {
        "ip": "11.22.33.44",
        "ip_rev": "11-22-33-44.deploy.webhost.com",
        "ip_geo": "US-CA",
        "code": 200,
        "size": 1825210,
        "headers": [{"n": "Content-Type", "v": "text/html; charset=utf-8"}],
        "html_title": "A title",
        "meta_description": "A description",
        "meta_keywords": "some, words",
    },
}


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


@pytest.mark.parametrize("wrap", [raw, lambda value: value], ids=["undecoded", "decoded"])
def test_a_row_is_read_field_by_field(wrap: Any) -> None:
    assert read_summary(wrap(ROW), NO_OFFSET) == MonitorSummary(
        id=888,
        target=Target("www.example.com", 443),
        valid=True,
        message="Valid",
        not_before=datetime(2026, 1, 1, 0, 0, tzinfo=UTC),
        not_after=datetime(2026, 12, 12, 23, 59, tzinfo=UTC),
        host_match=True,
        issuer="DigiCert Inc",
        http_code=200,
        scanned_at=datetime(2026, 1, 5, 20, 25, tzinfo=UTC),
    )


@pytest.mark.parametrize("wrap", [raw, lambda value: value], ids=["undecoded", "decoded"])
def test_a_monitor_is_read_field_by_field(wrap: Any) -> None:
    assert read_monitor(wrap(MONITOR), NO_OFFSET) == Monitor(
        id=888,
        target=Target("www.company.com", 443),
        scanned_at=datetime(2026, 4, 27, 1, 5, tzinfo=UTC),
        certificate=Certificate(
            subject=Name("www.company.com", "Company LLC", "US"),
            issuer=Name("DigiCert EV RSA CA G2", "DigiCert Inc", "US"),
            alt_names=("company.com", "cdn.company.com"),
            not_before=datetime(2026, 1, 1, tzinfo=UTC),
            not_after=datetime(2026, 12, 31, 23, 59, tzinfo=UTC),
        ),
        http=HTTPInfo(
            ip="11.22.33.44",
            ip_rev="11-22-33-44.deploy.webhost.com",
            ip_geo="US-CA",
            code=200,
            size=1825210,
            headers=(("Content-Type", "text/html; charset=utf-8"),),
            title="A title",
            description="A description",
            keywords="some, words",
        ),
    )


def test_an_id_and_a_host_are_enough() -> None:
    row = read_summary(raw({"id": 1, "host": "a.example"}), NO_OFFSET)
    monitor = read_monitor(raw({"id": 1, "host": "a.example"}), NO_OFFSET)

    assert row.target == monitor.target == Target("a.example", 443)
    assert (row.valid, row.message, row.not_after) == (None, "", None)
    assert (monitor.certificate, monitor.http) == (None, HTTPInfo())


@pytest.mark.parametrize("name", [name for name in ROW if name not in {"id", "host", "port"}])
@pytest.mark.parametrize("value", [None, {}, [], [{"n": 1}]], ids=str)
def test_an_odd_field_of_a_row_costs_only_itself(name: str, value: object) -> None:
    odd = read_summary(raw(ROW | {name: value, "new_field": [1]}), NO_OFFSET)
    without = read_summary(raw({k: v for k, v in ROW.items() if k != name}), NO_OFFSET)

    assert odd == without


def test_numbers_and_truths_written_as_text_are_understood() -> None:
    odd = ROW | {"id": "888", "port": "443", "ssl_valid": 1, "ssl_host_match": "true"}

    assert read_summary(raw(odd), NO_OFFSET) == read_summary(raw(ROW), NO_OFFSET)


def test_a_certificate_for_other_names_is_not_valid_for_its_host() -> None:
    row = read_summary(raw(ROW | {"ssl_host_match": False}), NO_OFFSET)

    assert (row.valid, row.host_match) == (False, False)
    assert row.message == "Host name mismatch: the certificate is for other names"


def test_a_certificate_that_begins_later_is_not_valid_yet_whatever_the_api_says() -> None:
    start, end = "2026-11-20 10:00", "2027-11-20 10:00"
    begins = datetime(2026, 11, 20, 10, tzinfo=UTC)
    minute = timedelta(minutes=1)
    for last, asked, valid in (
        (end, begins - 6 * minute, False),
        (end, begins - 5 * minute, True),  # its clock may be ahead of ours
        (end, begins + minute, True),
        (end, None, True),
        (start, begins - 6 * minute, True),  # dates that can't be true
        (None, begins - 6 * minute, False),
    ):
        dates = {"ssl_expire_date_start": start, "ssl_expire_date_end": last}
        row = read_summary(raw(ROW | dates), NO_OFFSET, asked)
        assert (row.valid, row.message == "Not yet valid") == (valid, not valid), (last, asked)


def test_an_odd_part_of_a_monitor_leaves_the_others_whole() -> None:
    odd = MONITOR | {"http": "none"}
    odd["ssl"] = MONITOR["ssl"] | {"alt_names": ["company.com", 7, None], "issuer_cn": ["?"]}
    monitor = read_monitor(raw(odd), NO_OFFSET)

    assert monitor.http == HTTPInfo()
    assert monitor.certificate is not None
    assert monitor.certificate.alt_names == ("company.com",)
    assert monitor.certificate.issuer == Name("", "DigiCert Inc", "US")
    assert monitor.certificate.not_after == datetime(2026, 12, 31, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("supported", "said"),
    [(True, ("X25519MLKEM768: yes",)), (False, ("X25519MLKEM768: no",)), (None, ()), ("odd", ())],
)
def test_a_handshake_is_read_as_far_as_it_is_told(supported: object, said: tuple[str, ...]) -> None:
    told = {"protocol": "TLSv1.3", "cipher": "", "serial": "4b", "fingerprint": "ab" * 32}
    raw = {"id": 1, "host": "a.test", "handshake": told | {"x25519mlkem768": supported}}
    known = ("TLSv1.3", *said, "serial 4b", f"SHA-256 {'ab' * 32}")
    assert read_monitor(raw, timedelta()).handshake == known


def test_a_row_may_say_that_caa_records_refuse_its_ca() -> None:
    rows = [{"id": 1, "host": "a.test", "caa_refuses": value} for value in (True, False, None, "x")]
    told = [read_summary(row, timedelta()).caa_refuses for row in rows]
    assert told == [True, False, False, False]


def test_an_odd_header_leaves_the_others_whole() -> None:
    headers = [{"n": "Server", "v": "a"}, "odd", {"n": "Age", "v": 7}, {}]
    monitor = read_monitor(raw(MONITOR | {"http": {"headers": headers, "code": 200}}), NO_OFFSET)

    assert monitor.http.headers == (("Server", "a"), ("Age", ""), ("", ""))
    assert monitor.http.code == 200


def test_text_in_a_foreign_encoding_is_read_as_far_as_it_goes() -> None:
    row = read_summary(msgspec.Raw(b'{"id":1,"host":"a.b","ssl_issuer":"Caf\xe9"}'), NO_OFFSET)

    assert row.issuer == "Caf\ufffd"


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"id": 1},
        {"host": "a.b"},
        {"id": "x", "host": "a.b"},
        *[{"id": 1, "host": odd} for odd in (" ", "a" * 300, "a\0b")],
        *[{"id": 1, "host": "a.b", "port": odd} for odd in (None, 0, 99999, {"n": 1}, "x", 1.5)],
        [],
        "x",
        1,
    ],
    ids=str,
)
def test_without_id_host_and_port_nothing_is_read(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_summary(raw(value), NO_OFFSET)
    with pytest.raises(ValueError, match=r"."):
        read_monitor(raw(value), NO_OFFSET)


def test_an_issuer_is_read_without_nul_which_postgresql_can_not_store() -> None:
    assert read_summary(raw(ROW | {"ssl_issuer": "Digi\0Cert"}), NO_OFFSET).issuer == "DigiCert"


def test_the_target_of_a_monitor_is_normalised() -> None:
    for host, port, target in [
        ("WWW.Example.com", 8443, Target("www.example.com", 8443)),
        ("bücher.de", "443", Target("xn--bcher-kva.de", 443)),
        ("not a host", 443, Target("not a host", 443)),
    ]:
        assert read_summary(raw({"id": 1, "host": host, "port": port}), NO_OFFSET).target == target


def test_dates_are_aware_and_utc() -> None:
    for text in [
        "2026-01-05 20:25",
        "2026-01-05 20:25:00",
        "2026-01-05T20:25",
        " 2026-01-05 20:25 ",
        "2026-01-05T20:25:00Z",
        "2026-01-05T22:25:00+02:00",
    ]:
        assert read_date(text) == datetime(2026, 1, 5, 20, 25, tzinfo=UTC)


def test_a_date_without_a_time_is_aware_too() -> None:
    assert read_date("2026-01-05") == datetime(2026, 1, 5, tzinfo=UTC)


def test_unreadable_dates_are_none() -> None:
    for text in [None, "", "soon", "0000-00-00 00:00", "2026-02-30 00:00"]:
        assert read_date(text) is None


def test_the_offset_is_taken_off_every_date_that_names_no_zone() -> None:
    offset = timedelta(hours=-5)
    row = read_summary(raw(ROW), offset)
    monitor = read_monitor(raw(MONITOR), offset)

    assert row.not_before == datetime(2026, 1, 1, 5, 0, tzinfo=UTC)
    assert row.not_after == datetime(2026, 12, 13, 4, 59, tzinfo=UTC)
    assert row.scanned_at == datetime(2026, 1, 6, 1, 25, tzinfo=UTC)
    assert monitor.scanned_at == datetime(2026, 4, 27, 6, 5, tzinfo=UTC)
    assert monitor.certificate is not None
    assert monitor.certificate.not_before == datetime(2026, 1, 1, 5, 0, tzinfo=UTC)
    assert monitor.certificate.not_after == datetime(2027, 1, 1, 4, 59, tzinfo=UTC)
    assert read_date("2026-01-05T20:25:00Z", offset) == datetime(2026, 1, 5, 20, 25, tzinfo=UTC)


def test_a_date_before_the_calendar_begins_is_none() -> None:
    assert read_date("0001-01-01 00:00", timedelta(hours=2)) is None


def test_ping_and_account_are_read_leniently() -> None:
    assert read_ping({"date_time": "2026-01-01 00:00", "apikey_id": 888}) == Ping(
        datetime(2026, 1, 1, tzinfo=UTC), 888
    )
    assert read_ping({"date_time": 5, "apikey_id": "x"}) == Ping(None, None)
    account = {"id": 888, "email": "john@example.com", "monitor_limit": 10}
    counts = {"monitor_used": 4, "monitor_available": 6}
    assert read_account(account | counts) == Account(888, "john@example.com", 10, 4, 6)
    assert read_account({"email": None}) == Account(None, "", None, None, None)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"monitors": 9, "due": 2, "lag_seconds": 61}, SweepProgress(2, timedelta(seconds=61), 9)),
        (
            {"monitors": "9", "due": "2", "lag_seconds": 0.5},
            SweepProgress(2, timedelta(seconds=0.5), 9),
        ),
        ({"due": 2, "lag_seconds": 0}, SweepProgress(2, timedelta())),
        ({"monitors": "many", "due": 2, "lag_seconds": 0}, SweepProgress(2, timedelta())),
        ({"monitors": 1, "due": 2, "lag_seconds": 0}, SweepProgress(2, timedelta())),
        ({"monitors": 10**30, "due": 2, "lag_seconds": 0}, SweepProgress(2, timedelta())),
        ({"monitors": 9, "due": 2}, None),
        ({"lag_seconds": 61}, None),
        ({"due": -1, "lag_seconds": 61}, None),
        ({"due": 10**30, "lag_seconds": 61}, None),
        ({"due": 2, "lag_seconds": -1}, None),
        ({"due": 2, "lag_seconds": 1e300}, None),
        ({"due": 2, "lag_seconds": "inf"}, None),
        ({"due": 2, "lag_seconds": "nan"}, None),
        ({"due": None, "lag_seconds": None}, None),
        ({}, None),
        (None, None),
        ([1, 2], None),
        ("late", None),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict | str) else None,
)
def test_a_pings_sweep_is_read_where_it_is_plausible(sent: Any, read: SweepProgress | None) -> None:
    assert read_ping({"apikey_id": 888, "sweep": sent}) == Ping(None, 888, read)


def test_days_left_are_rounded_down() -> None:
    for left, days in [
        (timedelta(days=30), 30),
        (timedelta(days=30, seconds=-1), 29),
        (timedelta(hours=23), 0),
        (timedelta(0), 0),
        (timedelta(seconds=-1), -1),
    ]:
        now = datetime(2026, 1, 1, tzinfo=UTC)

        assert days_left(now + left, now) == days


def test_rows_of_other_ports_and_hosts_are_left_out() -> None:
    rows = [
        read_summary(ROW | {"id": number, "host": host, "port": port}, NO_OFFSET)
        for number, (host, port) in enumerate([("a.b", 443), ("a.b", 8443), ("x.a.b", 443)])
    ]

    assert [row.id for row in by_target(rows, Target("a.b", 8443))] == [1]


def test_the_garbage_collector_has_no_work_with_rows() -> None:
    row = read_summary(raw(ROW), NO_OFFSET)

    assert not gc.is_tracked(row)
    assert not gc.is_tracked(row.target)


def test_a_proxy_never_shows_its_password() -> None:
    assert "hunter2" not in repr(Proxy("proxy.example", 3128, "me", "hunter2"))
