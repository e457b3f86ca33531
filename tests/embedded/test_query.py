"""The filter grammar against a simple model, and its SQL on both databases against Python."""

import asyncio
import contextlib
import fnmatch
import itertools
import operator
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import ScalarResult, Select, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.embedded.ca.facts import renewal_column
from bot.embedded.query import Filters, NumberFilter, Range
from bot.embedded.scan.result import Renewal
from bot.embedded.scan.verdict import Verdict
from bot.store.database import Database
from bot.store.tables import monitors
from tests.postgres import Cluster

from .fleet import DAY, NOW

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
PARAMETERS = ["host", "port", "ssl_valid", "ssl_expire_days"]
HOSTS = ["www.example.com", "a_b.example.com", "axb.example.com", "example.com", "10.0.0.1", "::1"]
PORTS = [100, 200, 443, 8443]
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
ENDS = [None, NOW - DAY, NOW - SECOND, NOW, NOW + 30 * DAY - SECOND, NOW + 30 * DAY, NOW + 31 * DAY]
ENDS.append(LAST)
VERDICTS = [Verdict.VALID, Verdict.EXPIRED, Verdict.REFUSED]
SCANS = [NOW, NOW - DAY, NOW - DAY - SECOND, NOW + SECOND, None]
WINDOWS = [None, NOW - DAY, NOW + 31 * DAY - MINUTE, NOW + 31 * DAY, NOW + 90 * DAY]

#: Host, port, verdict, expiry, the last scan, and when the CA's window begins.
Row = tuple[str, int, Verdict, datetime | None, datetime | None, datetime | None]
ROWS: dict[int, Row] = dict(
    enumerate(
        (
            (host, port + number, verdict, end, *scanned_and_window)
            for (host, port, (number, (verdict, end))), scanned_and_window in zip(
                itertools.product(HOSTS, PORTS, enumerate(itertools.product(VERDICTS, ENDS))),
                itertools.cycle(itertools.product(SCANS, WINDOWS)),
                strict=False,
            )
        ),
        start=1,
    )
)


@dataclass(frozen=True)
class Table:
    """The rows in a database, for synchronous tests, which hypothesis runs fastest."""

    runner: asyncio.Runner
    connection: AsyncConnection

    def find(self, filters: Filters) -> set[int]:
        query = select(monitors.c.id).where(*filters.conditions(NOW))
        return set(self.runner.run(self._numbers(query)))

    async def _numbers(self, query: Select[tuple[int]]) -> ScalarResult[int]:
        return await self.connection.scalars(query)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def table(
    request: pytest.FixtureRequest, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Table]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("query") / "filled.sqlite3"
        url = f"sqlite:///{shutil.copy(empty_database, path)}"
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        url = cluster.new_database("migrated")
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        database = Database(url)
        connection = runner.run(fill(database))
        yield Table(runner, connection)
        runner.run(connection.close())
        runner.run(database.close())


async def fill(database: Database) -> AsyncConnection:
    """Store the rows, and return a connection to read them with."""
    rows = [
        {
            "id": number,
            "host": host,
            "port": port,
            "verdict": verdict.value,
            "not_after": end,
            "created_at": NOW,
            "next_scan_at": NOW,
            "scanned_at": scanned,
            "renewal": window and renewal_column(Renewal("known", window, window + DAY)),
        }
        for number, (host, port, verdict, end, scanned, window) in ROWS.items()
    ]
    async with database.write() as connection:
        await connection.execute(insert(monitors), rows)
    return await database.read().__aenter__()


def matching(table: Table, **params: str) -> set[int]:
    """The IDs of the rows that SQL selects; asserts that Python selects the same."""
    filters = Filters.parse(params)
    ids = table.find(filters)
    assert ids == {number for number, row in ROWS.items() if matches(filters, row)}
    return ids


def matches(filters: Filters, row: Row) -> bool:
    """The rule of `Filters.conditions` in Python, for SQL to agree with."""
    host, port, verdict, not_after, *_ = row
    valid = verdict is Verdict.VALID and not_after is not None and not_after >= NOW
    days = None if not_after is None else (not_after - NOW).days
    return (
        (filters.host is None or matches_pattern(filters.host, host))
        and (filters.port is None or within(filters.port, port))
        and (filters.valid is None or valid is filters.valid)
        and (filters.days is None or (days is not None and within(filters.days, days)))
        and (filters.attention is None or not valid or needs_attention(filters.attention, row))
    )


def needs_attention(within_days: int, row: Row) -> bool:
    *_, not_after, scanned, window = row
    far = NOW + (within_days + 1) * DAY
    soon = any(moment is not None and moment < far for moment in (not_after, window))
    return soon or scanned is None or not NOW - DAY <= scanned <= NOW


def matches_pattern(pattern: str, host: str) -> bool:
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(".*".join(parts), host) is not None


def within(numbers: NumberFilter, value: int) -> bool:
    def inside(ranges: Iterable[Range]) -> bool:
        return any(
            (low is None or low <= value) and (high is None or value <= high)
            for low, high in ranges
        )

    return (not numbers.include or inside(numbers.include)) and not inside(numbers.exclude)


def expected(condition: Callable[[Row], bool]) -> set[int]:
    return {number for number, row in ROWS.items() if condition(row)}


DATABASE = settings(max_examples=50)  # a database may be busy
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
    """A term as text, whether it excludes, and its meaning."""
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


def model(drawn_terms: Terms, value: int) -> bool:
    include = [meaning for _, excluding, meaning in drawn_terms if not excluding]
    exclude = [meaning for _, excluding, meaning in drawn_terms if excluding]
    return (not include or any(m(value) for m in include)) and not any(m(value) for m in exclude)


@DATABASE
@given(st.lists(terms(0, 9000), min_size=1, max_size=4))
def test_port_filters_agree_with_the_model(table: Table, drawn_terms: Terms) -> None:
    text = ", ".join(term for term, *_ in drawn_terms)
    assert matching(table, port=text) == expected(lambda row: model(drawn_terms, row[1]))


@DATABASE
@given(st.lists(terms(-40, 40), min_size=1, max_size=4))
def test_day_filters_agree_and_match_only_rows_with_dates(table: Table, drawn_terms: Terms) -> None:
    text = ",".join(term for term, *_ in drawn_terms)

    def condition(row: Row) -> bool:
        return row[3] is not None and model(drawn_terms, (row[3] - NOW) // DAY)

    assert matching(table, ssl_expire_days=text) == expected(condition)


@DATABASE
@given(st.text("ab_x.*%\\e-1:", max_size=12).filter(str.strip))
def test_host_filters_have_one_wildcard_only(table: Table, text: str) -> None:
    pattern = text.strip().removesuffix(".").replace("[", "[[]")
    rows = expected(lambda row: fnmatch.fnmatchcase(row[0], pattern))
    assert matching(table, host=text) == rows


PATTERNS = {
    "*": set(HOSTS),
    "*.example.com": {"www.example.com", "a_b.example.com", "axb.example.com"},
    "a_b.example.com": {"a_b.example.com"},
    "a_b.*": {"a_b.example.com"},
    "%": set(),
    "%.example.com": set(),
    "*%*": set(),
    "EXAMPLE.com.": {"example.com"},
    "*AMPLE.com": {"www.example.com", "a_b.example.com", "axb.example.com", "example.com"},
    "[::1]": {"::1"},
    "10.0.*": {"10.0.0.1"},
    "w?w.example.com": set(),
}


def test_host_patterns_match_these_hosts(table: Table) -> None:
    for pattern, hosts in PATTERNS.items():
        ids = {number for number, row in ROWS.items() if row[0] in hosts}
        assert matching(table, host=pattern) == ids, pattern


def test_filters_are_anded_and_valid_means_valid_now(table: Table) -> None:
    valid = matching(table, ssl_valid="true")
    assert valid == expected(lambda r: r[2] is Verdict.VALID and r[3] is not None and r[3] >= NOW)
    assert matching(table, ssl_valid="FALSE") == set(ROWS) - valid

    both = matching(table, host="example.com", port="443-460", ssl_valid="", ssl_expire_days=" ")
    assert both == expected(lambda r: r[0] == "example.com" and 443 <= r[1] <= 460)
    assert matching(table) == set(ROWS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("port", text) for text in ("x", "443,", ",", "4 4 3", "1-2-3", "!", "<", "443;8443")),
        *(("port", text) for text in ("999999", "٤٤٣", "70000-1", "1e3", "0x1", "443\0")),
        *(
            ("ssl_expire_days", text)
            for text in ("soon", "60-30", "1234567890", "3.5", "<>3", "--")
        ),
        *(("attention_days", text) for text in ("-1", "<30", "10000", "٣", "3.5")),
        *(("ssl_valid", text) for text in ("yes", "1", "truefalse")),
        *(("host", text) for text in ("a" * 254, "a\0b", "*\ud800", "x\ny")),
        ("port", ",".join(["1"] * 101)),
    ],
)
def test_an_invalid_filter_is_refused_with_a_sentence(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*\."):
        Filters.parse({name: text})


def test_attention_is_needed_by_what_is_invalid_or_near_or_has_no_recent_scan(table: Table) -> None:
    found = [matching(table, attention_days=str(days)) for days in (0, 29, 30, 31, 9999)]
    assert found == sorted(found, key=len)
    assert len({len(each) for each in found}) == 5
    assert found[-1] < set(ROWS)


def test_days_may_be_as_many_as_the_api_can_report(table: Table) -> None:
    """A certificate may expire in the year 9999, which is 2.9 million days away."""
    days = (LAST - NOW).days
    late = {number for number, row in ROWS.items() if row[3] == LAST}
    spellings = (f"={days}", f"2900000-{days}", f"{days}-2999999", f">{days - 1}", f">={days}")
    for text in spellings:
        assert matching(table, ssl_expire_days=text) == late
    for text in (f"={days + 1}", f">{days}", f"{days - 9}-{days - 1}", f">={days},!={days}"):
        assert matching(table, ssl_expire_days=text) == set()
    dated = matching(table, ssl_expire_days=">-999999999")
    assert matching(table, ssl_expire_days="<999999999") == dated
    assert dated


@DATABASE
@given(st.sampled_from([*PARAMETERS, "attention_days"]), st.text())
def test_any_text_is_accepted_or_refused(table: Table, name: str, text: str) -> None:
    with contextlib.suppress(ValueError):
        matching(table, **{name: text})


@given(st.integers(-99999, 99999), st.integers(-99999, 99999))
def test_negative_numbers_are_not_mistaken_for_ranges(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert NumberFilter.parse(f"{low}-{high}", "n").include == ((low, high),)
    assert NumberFilter.parse(f"{one}", "n").include == ((one, one),)


# Round trips: a value has many spellings that all parse to it, one of them canonical.


def spell(numbers: NumberFilter) -> str:
    """The canonical spelling: the included terms, then the excluded ones."""
    return ",".join([*map(term, numbers.include), *(f"!{term(each)}" for each in numbers.exclude)])


def term(ends: Range) -> str:
    low, high = ends
    if high is None:
        assert low is not None
        return f">{low - 1}"
    if low is None:
        return f"<{high + 1}"
    return str(low) if low == high else f"{low}-{high}"


def params_of(filters: Filters) -> dict[str, str]:
    """The parameters for these filters, in the canonical spelling."""
    return {
        "host": filters.host or "",
        "port": spell(filters.port) if filters.port else "",
        "ssl_valid": "" if filters.valid is None else str(filters.valid).lower(),
        "ssl_expire_days": spell(filters.days) if filters.days else "",
    }


MEANINGS: dict[str, Callable[[int], Range]] = {
    "": lambda number: (number, number),
    "=": lambda number: (number, number),
    "==": lambda number: (number, number),
    "<": lambda number: (None, number - 1),
    "<=": lambda number: (None, number),
    ">": lambda number: (number + 1, None),
    ">=": lambda number: (number, None),
}
FIVE_DIGITS = st.integers(-99998, 99998)
GAPS = st.sampled_from(["", " ", "  "])


@st.composite
def spelled_ranges(draw: st.DrawFn) -> tuple[str, Range]:
    gap, number = draw(GAPS), draw(FIVE_DIGITS)
    if draw(st.booleans()):
        other = draw(FIVE_DIGITS)
        low, high = min(number, other), max(number, other)
        return f"{gap}{low}{gap}-{gap}{high}{gap}", (low, high)
    sign = draw(st.sampled_from(sorted(MEANINGS)))
    return f"{gap}{sign}{gap}{number}{gap}", MEANINGS[sign](number)


@st.composite
def spelled_numbers(draw: st.DrawFn) -> tuple[str, NumberFilter | None]:
    drawn = draw(st.lists(st.tuples(st.booleans(), spelled_ranges()), max_size=5))
    text = ",".join(" !" * excluding + spelling for excluding, (spelling, _) in drawn)
    include = tuple(ends for excluding, (_, ends) in drawn if not excluding)
    exclude = tuple(ends for excluding, (_, ends) in drawn if excluding)
    return text, NumberFilter(include, exclude) if drawn else None


@st.composite
def spelled_hosts(draw: st.DrawFn) -> tuple[str, str | None]:
    patterns = st.from_regex(r"[a-z0-9_-]{0,9}\*([a-z0-9._-]{0,9}[a-z0-9*])?", fullmatch=True)
    value = draw(patterns.map(lambda text: re.sub(r"\*+", "*", text)) | st.sampled_from(HOSTS))
    gap = draw(GAPS)
    text = value.replace("*", draw(st.sampled_from(["*", "**"])))
    text = draw(st.sampled_from([text, text.upper(), text.title()]))
    return f"{gap}{text}{'.' * ('.' in value and draw(st.booleans()))}{gap}", value


WORDS = st.sampled_from(
    [("", None), (" ", None), ("true", True), ("TRUE ", True), ("false", False), (" False", False)]
)


@settings(max_examples=60)
@given(spelled_hosts() | st.just(("", None)), spelled_numbers(), WORDS, spelled_numbers())
def test_every_spelling_of_a_filter_parses_to_its_value(
    host: tuple[str, str | None],
    port: tuple[str, NumberFilter | None],
    valid: tuple[str, bool | None],
    days: tuple[str, NumberFilter | None],
) -> None:
    params = dict(zip(PARAMETERS, (host[0], port[0], valid[0], days[0]), strict=True))
    value = Filters(host[1], port[1], valid[1], days[1])
    assert Filters.parse(params) == value
    assert Filters.parse(params_of(value)) == value


@given(st.text("0159,!<>=- ", min_size=1, max_size=20))
@example("<=99998,>=-99998")
def test_every_accepted_number_filter_survives_a_round_trip(text: str) -> None:
    try:
        value = NumberFilter.parse(text, "port")
    except ValueError:
        return
    assert NumberFilter.parse(spell(value), "port") == value
