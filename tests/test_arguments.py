"""What people type, from phones and keyboards, and what the bot reads in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.api.models import MonitorSummary
from bot.cards.monitor import argument
from bot.commands.arguments import Filter, api_filters
from bot.commands.lookup import Selector
from bot.errors import UsageError
from bot.slack.named_hosts import hosts_in
from bot.slack.requests import clean, split
from bot.target import Target

T = TypeVar("T")
#: The forms that the API's page shows for `port` and `ssl_expire_days`.
PORT_FORMS = re.compile(r"\d{1,5}(,\d{1,5})*|!\d{1,5}|\d{1,5}-\d{1,5}|>=\d{1,5}")
DAYS_FORMS = re.compile(r"=\d+|\d+-\d+|[<>]\d+")

few = settings(max_examples=150, deadline=None)
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


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("status example.com", "status example.com"),
        ("  status \t example.com \n", "status example.com"),
        ("status “example.com”", "status example.com"),
        ("status ‘example.com’", "status 'example.com'"),
        ("list port=100–200", "list port=100-200"),
        ("list port=100—200", "list port=100-200"),
        ("list expires=30−60", "list expires=30-60"),
        ("list expires≤30", "list expires<=30"),
        ("list port≥1000", "list port>=1000"),
        ("list port≠443", "list port!=443"),
        ("list expires&lt;30", "list expires<30"),
        ("list port&gt;=1000", "list port>=1000"),
        ("a&amp;b", "a&b"),
        ("&amp;lt;", "&lt;"),
        ("&amp;gt;", "&gt;"),
        ("status\u00a0example.com", "status example.com"),
        ("status\u202fexample.com", "status example.com"),
        ("status exa\u200bmple.com\ufeff", "status example.com"),
        ("status \u2068example.com\u2069", "status example.com"),
        ("status \u202eexample.com", "status example.com"),
        ("status exam\u00adple.com", "status example.com"),
        ("a.example.com\u2028b.example.com", "a.example.com b.example.com"),
        ("status <http://example.com|example.com>", "status http://example.com"),
        ("add <http://example.com:8443|example.com:8443>", "add http://example.com:8443"),
        ("status <https://example.com:8443/a?b=c>", "status https://example.com:8443/a?b=c"),
        ("status <HTTPS://Example.com|Example.com>", "status HTTPS://Example.com"),
        ("status <https://example.com/?a=1&amp;b=2|x>", "status https://example.com/?a=1&b=2"),
        ("status <mailto:me@example.com|me@example.com>", "status me@example.com"),
        ("status <mailto:me@example.com>", "status me@example.com"),
        ("status example.com 8443", "status example.com:8443"),
        ("add localhost 8443 example.com 443", "add localhost:8443 example.com:443"),
        ("add 10.0.0.1 8443", "add 10.0.0.1:8443"),
        ("scan 888", "scan 888"),
        ("list host=example.com 30", "list host=example.com 30"),
        ("", ""),
    ],
)
def test_what_phones_do_to_words_is_undone(typed: str, meant: str) -> None:
    assert clean(typed) == meant


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("add a.example.com, b.example.com; c.example.com", 4),
        ("add 'a.example.com'", 2),
        (" , ; ", 0),
        ("", 0),
    ],
)
def test_words_are_split_at_spaces_and_lose_stray_punctuation(typed: str, words: int) -> None:
    found = split(typed)
    assert len(found) == words
    assert all(word == word.strip(",;'") for word in found)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
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
    ],
)
def test_a_monitor_is_meant_by_number_host_address_or_pattern(text: str, meant: Selector) -> None:
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


@pytest.mark.parametrize(
    ("selector", "host", "port", "matches"),
    [
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
    ],
)
def test_a_row_is_meant_or_not(selector: str, host: str, port: int, matches: bool) -> None:
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


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
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
    ],
)
def test_a_filter_says_what_the_api_is_asked(text: str, key: str, value: object) -> None:
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
    ],
)
def test_a_filter_that_would_ask_for_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        Filter.parse(text)


@pytest.mark.parametrize("text", ["valid=false", "expires<30", "port=!443", "port=443", "host=a.b"])
def test_a_filter_is_shown_as_it_is_typed(text: str) -> None:
    assert str(Filter.parse(text)) == text


def test_filters_become_the_arguments_of_one_call() -> None:
    filters = [Filter.parse("expires<30"), Filter.parse("port=443")]
    assert api_filters(filters) == {"expires": "<30", "port": "443"}
    assert api_filters([]) == {}


def test_a_filter_given_twice_is_refused_rather_than_half_obeyed() -> None:
    with pytest.raises(UsageError, match="once only") as caught:
        api_filters([Filter.parse("expires<30"), Filter.parse("expires>10")])
    assert caught.value.param == "filters"


@given(nasty)
@few
def test_no_text_breaks_the_cleaning(text: str) -> None:
    cleaned = clean(text)
    assert "\n" not in cleaned
    assert not set(cleaned) & set("\u200b\u200e\u202e\u2066\ufeff\u00a0")
    assert all(word.strip() for word in split(text))


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


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("api.example.com is down", ["api.example.com:443"]),
        ("See <https://a.example.com:8443/x?y=1|the page>.", ["a.example.com:8443"]),
        ("<http://b.example.com|b.example.com>, b.example.com", ["b.example.com:443"]),
        ("ldaps://dir.example.com and (mail.example.com:993).", [
            "dir.example.com:636", "mail.example.com:993"
        ]),
        ("ask <mailto:ann@example.com|ann@example.com> or ben@example.org", []),
        ("report.pdf README.md run.sh main.py v1.2.3 1.2.3 10.0 e.g. i.e. 3.14", []),
        ("www.example.sh and docs.rust.rs", ["www.example.sh:443", "docs.rust.rs:443"]),
        ("<@U0ANN|ann.example.com> <#C0CERTS|x.example.com> <!channel>", []),
        ("the end.Then foo.bar() and path/to.file", ["end.then:443"]),
        ("bücher.example", ["xn--bcher-kva.example:443"]),
        ("-x.example.com-", []),
        ("`API.Example.COM`", ["api.example.com:443"]),
        ("https://user:secret@example.com/", []),
        ("a." * 5000, []),
        ("", []),
    ],
)  # fmt: skip
def test_hosts_are_found_in_any_message(text: str, hosts: list[str]) -> None:
    assert [str(target) for target in hosts_in([text])] == hosts


def test_a_host_is_found_once_in_all_texts() -> None:
    assert len(hosts_in(["a.example.com", "http://a.example.com and a.example.com:443"])) == 1
