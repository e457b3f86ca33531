"""The filter grammar against a plain model, and its SQL against the same rules in Python."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import operator
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, insert, select

from bot.database import metadata, monitors
from bot.embedded.query import Filters, Numbers
from bot.embedded.verdict import Verdict

from .fleet import DAY, NOW

SECOND = timedelta(seconds=1)
HOSTS = ["www.example.com", "a_b.example.com", "axb.example.com", "example.com", "10.0.0.1", "::1"]
PORTS = [100, 200, 443, 8443]
ENDS = [None, NOW - DAY, NOW - SECOND, NOW, NOW + 30 * DAY - SECOND, NOW + 30 * DAY, NOW + 31 * DAY]
VERDICTS = [Verdict.VALID, Verdict.EXPIRED, Verdict.REFUSED]

Row = tuple[str, int, Verdict, datetime | None]
ROWS: dict[int, Row] = dict(
    enumerate(
        (
            (host, port + number, verdict, end)
            for host, port in itertools.product(HOSTS, PORTS)
            for number, (verdict, end) in enumerate(itertools.product(VERDICTS, ENDS))
        ),
        start=1,
    )
)


@pytest.fixture(scope="module")
def table() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        connection.execute(
            insert(monitors),
            [
                {
                    "id": number,
                    "host": host,
                    "port": port,
                    "verdict": verdict.value,
                    "not_after": end,
                    "created_at": NOW,
                    "next_scan_at": NOW,
                }
                for number, (host, port, verdict, end) in ROWS.items()
            ],
        )
        yield connection
    engine.dispose()


def found(table: Connection, **params: str) -> set[int]:
    """The numbers of the rows that SQL finds, which plain Python must find too."""
    filters = Filters.parse(params)
    query = select(monitors.c.id).where(*filters.conditions(NOW))
    numbers = set(table.scalars(query))
    assert numbers == {number for number, row in ROWS.items() if filters.match(*row, NOW)}
    return numbers


def expected(wanted: Callable[[Row], bool]) -> set[int]:
    return {number for number, row in ROWS.items() if wanted(row)}


OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "": operator.eq,
    "=": operator.eq,
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def terms(low: int, high: int) -> st.SearchStrategy[tuple[str, bool, Callable[[int], bool]]]:
    """A term as text, whether it shuts out, and what it means."""
    numbers = st.integers(low, high)
    compared = st.tuples(st.sampled_from(sorted(OPERATORS)), numbers).map(
        lambda t: (f"{t[0]}{t[1]}", lambda value: OPERATORS[t[0]](value, t[1]))
    )
    ranges = st.tuples(numbers, numbers).map(
        lambda t: (f"{min(t)}-{max(t)}", lambda value: min(t) <= value <= max(t))
    )
    return st.tuples(st.booleans(), compared | ranges).map(
        lambda t: ("!" * t[0] + t[1][0], t[0], t[1][1])
    )


Terms = list[tuple[str, bool, Callable[[int], bool]]]


def model(given_terms: Terms, value: int) -> bool:
    wanted = [means for _, barred, means in given_terms if not barred]
    shut_out = [means for _, barred, means in given_terms if barred]
    return (not wanted or any(m(value) for m in wanted)) and not any(m(value) for m in shut_out)


@given(st.lists(terms(0, 9000), min_size=1, max_size=4))
def test_ports_are_found_as_the_model_says(table: Connection, given_terms: Terms) -> None:
    text = ", ".join(term for term, *_ in given_terms)
    assert found(table, port=text) == expected(lambda row: model(given_terms, row[1]))


@given(st.lists(terms(-40, 40), min_size=1, max_size=4))
def test_days_are_found_as_the_model_says_and_rows_without_a_date_never(
    table: Connection, given_terms: Terms
) -> None:
    text = ",".join(term for term, *_ in given_terms)

    def wanted(row: Row) -> bool:
        return row[3] is not None and model(given_terms, (row[3] - NOW) // DAY)

    assert found(table, ssl_expire_days=text) == expected(wanted)


@given(st.text("ab_x.*%\\e-1:", max_size=12).filter(str.strip))
def test_hosts_are_found_with_one_wildcard_only(table: Connection, text: str) -> None:
    pattern = text.strip().removesuffix(".").replace("[", "[[]")
    plain = expected(lambda row: fnmatch.fnmatchcase(row[0], pattern))
    assert found(table, host=text) == plain


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("*", set(HOSTS)),
        ("*.example.com", {"www.example.com", "a_b.example.com", "axb.example.com"}),
        ("a_b.example.com", {"a_b.example.com"}),
        ("a_b.*", {"a_b.example.com"}),
        ("%", set()),
        ("%.example.com", set()),
        ("*%*", set()),
        ("EXAMPLE.com.", {"example.com"}),
        ("*AMPLE.com", {"www.example.com", "a_b.example.com", "axb.example.com", "example.com"}),
        ("[::1]", {"::1"}),
        ("10.0.*", {"10.0.0.1"}),
        ("w?w.example.com", set()),
    ],
)
def test_a_host_pattern_finds_these_hosts(table: Connection, pattern: str, hosts: set[str]) -> None:
    assert found(table, host=pattern) == expected(lambda row: row[0] in hosts)


def test_valid_means_valid_now_and_the_rest_is_invalid(table: Connection) -> None:
    valid = found(table, ssl_valid="true")
    assert valid == expected(lambda r: r[2] is Verdict.VALID and r[3] is not None and r[3] >= NOW)
    assert found(table, ssl_valid="FALSE") == set(ROWS) - valid


def test_filters_are_anded_and_empty_ones_are_none(table: Connection) -> None:
    both = found(table, host="example.com", port="443-460", ssl_valid="", ssl_expire_days=" ")
    assert both == expected(lambda r: r[0] == "example.com" and 443 <= r[1] <= 460)
    assert found(table) == set(ROWS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("port", text) for text in ("x", "443,", ",", "4 4 3", "1-2-3", "!", "<", "443;8443")),
        *(("port", text) for text in ("999999", "٤٤٣", "70000-1", "1e3", "0x1", "443\0")),
        *(("ssl_expire_days", text) for text in ("soon", "60-30", "123456", "3.5", "<>3", "--")),
        *(("ssl_valid", text) for text in ("yes", "1", "truefalse")),
        *(("host", text) for text in ("a" * 254, "a\0b", "*\ud800", "x\ny")),
        ("port", ",".join(["1"] * 101)),
    ],
)
def test_what_can_not_be_read_is_refused_with_a_sentence(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*\."):
        Filters.parse({name: text})


@given(st.sampled_from(["host", "port", "ssl_valid", "ssl_expire_days"]), st.text())
def test_any_text_is_understood_or_refused(table: Connection, name: str, text: str) -> None:
    with contextlib.suppress(ValueError):
        found(table, **{name: text})


@given(st.integers(-99999, 99999), st.integers(-99999, 99999))
def test_a_negative_number_is_no_range(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert Numbers.parse(f"{low}-{high}", "n").wanted == ((low, high),)
    assert Numbers.parse(f"{one}", "n").wanted == ((one, one),)
