"""What people type, from phones and keyboards, and what the bot reads in it."""

import re
import time
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.api.models import MonitorSummary
from bot.cards.monitor import argument
from bot.commands.arguments import Filter, apart, api_filters, digest_words, joined
from bot.commands.lookup import Selector, clean, split
from bot.commands.named_hosts import hosts_in
from bot.dates import Selection
from bot.errors import UsageError
from bot.severity import Thresholds, runbook_of
from bot.sighting import Marks
from bot.target import Target

T = TypeVar("T")
#: The forms that the API's page shows for `port` and `ssl_expire_days`.
PORT_FORMS = re.compile(r"\d{1,5}(,\d{1,5})*|!\d{1,5}|\d{1,5}-\d{1,5}|>=\d{1,5}")
DAYS_FORMS = re.compile(r"=\d+|\d+-\d+|[<>]\d+")

few = settings(max_examples=150)
nasty = st.text(max_size=60) | st.text(
    alphabet="0189:.,<>=!*-#@/[]%&|aäß🙂\u200b\u202e\x00 ", max_size=40
)
hosts = st.sampled_from(["example.com", "xn--bcher-kva.de", "10.0.0.1", "::1", "odd host!", "*"])


def reading(read: Callable[[str], T], text: str) -> T | str:
    """What was read, or the sentence that refuses it; any other fault is not caught."""
    try:
        return read(text)
    except ValueError as fault:
        return str(fault)


def row(host: str = "api.example.com", port: int = 443, number: int = 888) -> MonitorSummary:
    return MonitorSummary(number, Target(host, port), None, "", None, None, None, "", None, None)


def test_a_port_after_a_colon_and_a_space_is_a_port() -> None:
    for host, meant in (
        ("a.test: 443", "a.test:443"),
        ("a.test:443", "a.test:443"),
        ("*.a.test:  8443", "*.a.test:8443"),
        ("localhost: 8443", "localhost:8443"),
        ("[::1]: 443", "[::1]:443"),
    ):
        assert split(f"status {host}") == ["status", meant]
        assert split(f"list {host}")[1:] == [meant]
    for field in ("a.test: 443", "a.test :443", "a.test 443", "<http://a.test|a.test>: 443"):
        assert apart(field) == ["a.test", "port=443"]  # in a form
    assert split("mute a.test: 14 days") == ["mute", "a.test", "14", "days"]


def test_each_example_in_the_fault_of_a_port_filter_is_one() -> None:
    for typed in ("port=0", "port=70000", "port>=x", "port=9-3"):
        with pytest.raises(ValueError, match="is not a port filter") as fault:
            Filter.parse(typed)
        examples = re.findall(r"port[^\s,]+(?:,\d+)?", str(fault.value).partition("Try ")[2])
        assert len(examples) == 4
        for example in examples:
            (word,) = joined([example.strip(".")])
            assert Filter.parse(word).key == "port"


def test_a_time_that_does_not_exist_is_no_host() -> None:
    for word in ("24:00", "9:60"):
        assert digest_words([word, "weekdays", "*.a.test"]) == [
            word,
            "",
            "weekdays",
            "*.a.test",
        ]


def test_characters_that_no_database_takes_are_left_out() -> None:
    assert split("note a.test ask\0 Ann\ud800 \x1b[1mnow") == [
        "note",
        "a.test",
        "ask",
        "Ann",
        "[1mnow",
    ]
    assert clean("a\x7f.test\tb") == "a.test b"


def test_a_monitor_is_meant_by_number_host_address_or_pattern() -> None:
    for text, meant in [
        ("888", Selector(888)),
        ("#888", Selector(888)),
        ("888 api.example.com:8443", Selector(888, "api.example.com", 8443)),
        ("888 [::1]:443", Selector(888, "::1", 443)),
        ("888 what the server calls it:443", Selector(888)),
        ("Example.COM.", Selector(None, "example.com")),
        ("example.com:8443", Selector(None, "example.com", 8443)),
        ("http://example.com/path", Selector(None, "example.com")),
        ("https://example.com:8443/path", Selector(None, "example.com", 8443)),
        ("bücher.de", Selector(None, "xn--bcher-kva.de")),
        ("10.0.0.1", Selector(None, "10.0.0.1")),
        ("*.example.com", Selector(None, "*.example.com")),
        ("API*", Selector(None, "api*")),
        ("*.bücher.de", Selector(None, "*.xn--bcher-kva.de")),
        ("*.example.com:8443", Selector(None, "*.example.com", 8443)),
        ("host=example.com", Selector(None, "example.com")),
        ("ID=888", Selector(888)),
    ]:
        assert Selector.parse(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.*",
        "***",
        "1" * 16,
        "a b",
        "a.b,c.d",
        "888,889",
        "me@example.com",
        "example.com:0",
        "*.a/b",
        "a..b",
        "%",
    ],
)
def test_what_names_no_monitor_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        Selector.parse(text)


def test_a_row_is_meant_or_not() -> None:
    for selector, host, port, matches in [
        ("example.com", "example.com", 8443, True),
        ("example.com:443", "example.com", 8443, False),
        ("example.com", "www.example.com", 443, False),
        ("example.com", "exampleXcom", 443, False),
        ("*.example.com", "www.example.com", 443, True),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "www.example.com.evil", 443, False),
        ("a*m", "api.example.com", 443, True),
        ("888", "anything", 443, True),
        ("887", "anything", 443, False),
    ]:
        assert Selector.parse(selector).matches(row(host, port)) is matches


@pytest.mark.parametrize(
    ("text", "shown"),
    [("888", "#888"), ("example.com:443", "example.com"), ("a.b:8443", "a.b:8443"), ("*.a", "*.a")],
)
def test_a_selector_is_shown_as_one_would_say_it(text: str, shown: str) -> None:
    assert str(Selector.parse(text)) == shown


@given(host=hosts | st.text(min_size=1, max_size=253), port=st.integers(1, 65535))
@few
def test_a_buttons_argument_always_leads_back_to_its_monitor(host: str, port: int) -> None:
    held = row(host, port)
    text = argument(held)
    assert len(text) <= 120
    assert Selector.parse(text).matches(held)


def test_a_filter_says_what_the_api_is_asked() -> None:
    for text, key, value in [
        ("broken", "valid", False),
        ("Invalid", "valid", False),
        ("due", "expires", "<30"),
        ("valid=true", "valid", True),
        ("valid=No", "valid", False),
        ("valid!=false", "valid", True),
        ("valid:0", "valid", False),
        ("expires<30", "expires", "<30"),
        ("expires=<30", "expires", "<30"),
        ("expires<=30", "expires", "<31"),
        ("expires>30", "expires", ">30"),
        ("expires>=30", "expires", ">29"),
        ("expires>=0", "expires", "0-999999"),
        ("expires=30", "expires", "=30"),
        ("expires==30", "expires", "=30"),
        ("expires=30-60", "expires", "30-60"),
        ("days<7", "expires", "<7"),
        ("port=443", "port", "443"),
        ("port=443,8443", "port", "443,8443"),
        ("port=!443", "port", "!443"),
        ("port!=443", "port", "!443"),
        ("port=100-200", "port", "100-200"),
        ("port>=1000", "port", ">=1000"),
        ("port>1000", "port", ">=1001"),
        ("port<1000", "port", "1-999"),
        ("port<=1000", "port", "1-1000"),
        ("host=Example.com", "host", "example.com"),
        ("host=*.example.com", "host", "*.example.com"),
        ("example.com", "host", "example.com"),
        ("https://example.com/a", "host", "example.com"),
        ("*.example.com", "host", "*.example.com"),
    ]:
        assert Filter.parse(text) == Filter(key, value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "owner=me",
        "valid=maybe",
        "valid<true",
        "host!=example.com",
        "host<example.com",
        "expires=soon",
        "expires!=30",
        "expires=60-30",
        "expires<30-60",
        "port=0",
        "port<1",
        "port>65535",
        "port=70000",
        "port=443,70000",
        "port=200-100",
        "port=!100-200",
        "port=https",
        "*",
        "example.com:8443",
        "host=example.com:8443",
        "büch*",
    ],
)
def test_a_filter_that_would_ask_for_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        Filter.parse(text)


def test_a_filter_is_shown_as_typed_and_a_word_part_of_a_name() -> None:
    for text in ["valid=false", "expires<30", "port=!443", "port=443", "host=a.b"]:
        assert str(Filter.parse(text)) == text

    for text, meant in [("bücher", "*xn--bcher-kva*"), ("host=mail", "*mail*")]:
        assert Filter.parse(text) == Filter("host", meant)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("port != 443", "port!=443"),
        ("not port 443", "port!=443"),
        ("port !443", "port=!443"),
        ("port 443, 8443", "port=443,8443"),
        ("ports = 25 , 587, 465 expired", "port=25,587,465 expired"),
        ("port 25 587 465 993 8443", "port=25,587,465,993,8443"),
        ("port 25, 587, 465, 993, mail", "port=25,587,465,993 mail"),
        ("port 1 - 1000", "port=1-1000"),
        (":8443", "port=8443"),
        ("mail.demo.test:25", "mail.demo.test port=25"),
        ("*.demo.test:25 and expires > 10", "*.demo.test port=25 expires>10"),
        ("expires < 30 days", "expires<30"),
        ("expires in 2 weeks", "expires<14"),
        ("expires within 14 days", "expires<14"),
        ("expires > 2 months", "expires>60"),
        ("days left <= 3w", "expires<=21"),
        ("expiring soon", "expires<30"),
        ("expires between 30 and 60", "expires=30-60"),
        ("expiry: 30 to 60", "expires=30-60"),
        ("the expired ones", "expired"),
        ("state: expired or unreachable", "expired unreachable"),
        ("not valid && port:443", "valid=false port:443"),
        ("all monitors", ""),
        ("port 443 or 8443", "port=443,8443"),
        ("port in 443, 8443 and expired", "port=443,8443 expired"),
        ("port is not 443", "port!=443"),
        ("port <> 443", "port!=443"),
        ("expires between 30 and 60 days", "expires=30-60"),
        ("0-30 days", "expires=0-30"),
        ("expires within a month", "expires<30"),
        ("< 30 days", "expires<30"),
        ("10 < expires < 30", "expires>10 expires<30"),
        ("not yet valid", "not-yet-valid"),
        ("expires < two weeks", "expires<14"),
        ("expiring within a couple of months", "expires<60"),
        ("expiring this week", "expires<7"),
        ("expires next week", "expires<14"),
        ("expiring in the next month", "expires<30"),
        ("expires in the next 30 days", "expires<30"),
        ("expires tomorrow", "expires<2"),
        ("ssl_valid=false ssl_expire_days<30", "valid=false expires<30"),
        ("what is expired but not muted", "expired !muted"),
        ("self-signed or wrong name", "untrusted mismatch"),
    ],
)
def test_filters_are_read_as_people_write_them(typed: str, meant: str) -> None:
    found = joined(split(f"list {typed}")[1:])
    assert " ".join(found) == meant
    for each in found:
        Filter.parse(each)


@pytest.mark.parametrize("typed", ["mail or shop", "expired or port=443", "expired or due"])
def test_filters_that_can_not_be_combined_are_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="Only states"):
        joined(typed.split())


def test_filters_become_the_arguments_of_one_call() -> None:
    filters = [Filter.parse("expires<30"), Filter.parse("port=443")]
    assert api_filters(filters) == {"expires": "<30", "port": "443"}
    assert api_filters([]) == {}

    for typed, meant in (
        ("expires>10 expires<30", "11-29"),
        ("expires<30 expires<20", "<20"),
        ("expires>=30 expires>10", ">29"),
        ("expires=30-60 expires<40", "30-39"),
    ):
        assert api_filters(map(Filter.parse, typed.split())) == {"expires": meant}
    with pytest.raises(UsageError, match="No number of days"):
        api_filters(map(Filter.parse, ("expires<10", "expires>30")))

    with pytest.raises(UsageError, match="only be used once") as caught:
        api_filters([Filter.parse("port=443"), Filter.parse("port>1000")])
    assert caught.value.param == "filters"


@given(nasty)
@few
def test_no_text_breaks_a_selector(text: str) -> None:
    found = reading(Selector.parse, text)
    if isinstance(found, str):
        assert found.endswith(".")
    else:
        assert found.id is not None or found.host
        assert str(found)


filters_typed = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["port", "expires", "days", "valid", "host", "due", ""]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":", "==", "=!", "=<", "=>=", ""]),
        st.sampled_from(["443", "0", "1", "65535", "65536", "100-200", "9-1", "443,8443", "", "*"])
        | nasty,
    ),
)


@given(filters_typed)
@few
def test_a_filter_asks_only_in_forms_that_the_apis_page_shows(text: str) -> None:
    found = reading(Filter.parse, text)
    if isinstance(found, str):
        assert found.endswith(".")
        return
    assert found.key in {"host", "port", "valid", "expires"}
    assert str(found)
    if found.key == "port":
        assert PORT_FORMS.fullmatch(found.value)
        assert all(1 <= int(number) <= 65535 for number in re.findall(r"\d+", found.value))
    elif found.key == "expires":
        assert DAYS_FORMS.fullmatch(found.value)
    elif found.key == "valid":
        assert found.value in {True, False}
    else:
        assert re.fullmatch(r"[^\s<>&]+", found.value)


@pytest.mark.slow
@pytest.mark.parametrize("read", [split, lambda text: hosts_in([text])])
def test_a_long_text_is_read_at_once(read: Callable[[str], object]) -> None:
    parts = ("ssl ", "please/", "<a@", "<a@b|", "a.", "a ", "1", "runbook   ", "*a b ", "a@", "._")
    texts = ["".join([part] * (20_000 // len(part))) for part in parts]
    odd = ["*a " + "b " * 9000, "runbook" + " " * 20_000, "runbook a://" + "!" * 20_000 + "x y"]
    for text in [*texts, *odd]:
        began = time.process_time()
        read(f"{text} 1")
        assert time.process_time() - began < 0.3, text[:20]


def test_a_pattern_of_many_stars_is_compared_at_once() -> None:
    hard, long = "*a" * 20 + "*b", row("a" * 60 + ".test")
    rules = Thresholds({hard: "9d"}, marks=Marks(runbooks={hard: "https://wiki.test"}))
    began = time.process_time()
    assert not Selector.parse(hard).matches(long)
    assert not Selection((hard,)).takes(long.target)
    assert rules.for_(long.target) is None
    assert not runbook_of(long, rules)
    assert time.process_time() - began < 0.3
