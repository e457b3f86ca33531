"""Slack's payloads, read into requests: what was typed, pressed and named."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.commands import router
from bot.commands.lookup import clean, split
from bot.commands.named_hosts import hosts_in
from bot.slack.requests import Origin, read_press

#: Every kind of button in messages that were posted by earlier versions: its id, its value, and the
#: command that it has to run for good. Digests and cards stay in channels for years.
PRESSES = [
    ("ssl:add:below", "new.example.com:443", "add"),
    ("ssl:add:here", "new.example.com:443", "add"),
    ("ssl:add_now:here", "a.example.com:443 b.example.com:443", "add_now"),
    ("ssl:check:here", "mail.example.com:25 smtp", "check"),
    ("ssl:csv:below", "expires<30 valid=false", "csv"),
    ("ssl:delete_now:here", "888 api.example.com:443", "delete_now"),
    ("ssl:details:below", "888 api.example.com:443", "details"),
    ("ssl:digest:below", "", "digest"),
    ("ssl:help:below", "", "help"),
    ("ssl:history:below", "888 api.example.com:443", "history"),
    ("ssl:list:below", "", "list"),
    ("ssl:ping:here", "", "ping"),
    ("ssl:scan:below", "888 api.example.com:443", "scan"),
    ("ssl:scan:here", "888", "scan"),
    ("ssl:status:below", "api.example.com", "status"),
    ("ssl:stop:here", "12", "stop"),
    ("ssl:watch:below", "888 api.example.com:443", "watch"),
    ("ssl:watch:here", "888 api.example.com:443", "watch"),
]


@pytest.mark.parametrize(
    ("hash_", "posted"),
    [
        ("1795419000.00a1b2c3", datetime(2026, 11, 23, 7, 30, 1, tzinfo=UTC)),
        ("156772938.1827394", None),
        ("W1pvb6PV", None),
        (None, None),
    ],
)
def test_when_home_was_shown_is_read_if_its_hash_says_so(
    hash_: str | None, posted: datetime | None
) -> None:
    view = {"id": "V1", "type": "home", "hash": hash_}
    assert read_press(press("ssl:scan:below", "888", view=view)).posted == posted


def press(action_id: str, value: str, **more: Any) -> dict[str, Any]:
    """A block_actions payload, as Slack sends it from a message in a channel."""
    return {
        "type": "block_actions",
        "user": {"id": "U1", "username": "ann", "team_id": "T1"},
        "team": {"id": "T1"},
        "channel": {"id": "C1"},
        "container": {"type": "message", "message_ts": "1.1", "is_ephemeral": False},
        "message": {"ts": "1.1", "text": "a &amp; b", "blocks": [{"type": "divider"}]},
        "trigger_id": "1.2.3",
        "response_url": "https://hooks.example.com/1",
        "actions": [{"action_id": action_id, "block_id": "row:888", "value": value}],
        **more,
    }


@pytest.mark.parametrize(("action_id", "value", "verb"), PRESSES, ids=[each[0] for each in PRESSES])
def test_buttons_of_earlier_versions_keep_working(action_id: str, value: str, verb: str) -> None:
    request = read_press(press(action_id, value))
    assert (request.verb, request.argument) == (verb, value)
    below = action_id.endswith(":below")
    assert request.origin is (Origin.ROW_BUTTON if below else Origin.CARD_BUTTON)
    command = router.find(verb, typed=False)
    assert command is not None
    command.bind_argument(request.argument)


def test_a_menu_names_its_command_in_the_value_of_the_chosen_item() -> None:
    body = press("ssl:menu:below", "")
    body["actions"][0] |= {"selected_option": {"value": "delete 888 api.example.com:443"}}
    request = read_press(body)
    assert (request.verb, request.argument) == ("delete", "888 api.example.com:443")


def test_a_form_button_brings_what_the_form_starts_with() -> None:
    request = read_press(press("ssl:form:here", 'add {"targets": "a.example.com"}'))
    assert (request.verb, request.argument) == ("add", "")
    assert request.draft == {"targets": "a.example.com"}
    assert read_press(press("ssl:form:here", "add")).draft == {}


def test_a_share_button_names_the_line_to_run_again() -> None:
    request = read_press(press("ssl:share:here", "status api.example.com"))
    assert (request.verb, request.argument, request.shares) == ("status", "api.example.com", True)


def test_a_press_tells_where_it_was_made_and_by_whom() -> None:
    request = read_press(press("ssl:scan:below", "888"))
    assert (request.asker.user, request.asker.team, request.channel) == ("U1", "T1", "C1")
    assert request.source is not None
    assert (request.source.ts, request.source.text) == ("1.1", "a & b")
    assert request.view is None
    view = {"id": "V1", "type": "home", "private_metadata": "3"}
    home = read_press(press("ssl:home:here", "4", view=view))
    assert (home.origin, home.view and home.view.page) == (Origin.HOME, 3)
    view = {"id": "V2", "type": "modal", "private_metadata": '{"channel": "C9"}'}
    modal = read_press(press("ssl:details:below", "888", view=view))
    assert (modal.origin, modal.channel, modal.stacks) == (Origin.MODAL, "C9", True)


def test_what_phones_do_to_words_is_undone() -> None:
    for typed, meant in [
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
        ("status <http://example.com|example.com>", "status example.com"),
        ("add <http://example.com:8443|example.com:8443>", "add example.com:8443"),
        ("status <http://example.com|evil.test>", "status http://example.com"),
        ("status «example.com» ‹x›", "status example.com x"),
        ("list expires＜３0，port：443", "list expires<３0,port:443"),
        ("status example.com port 8443", "status example.com:8443"),
        ("warn example.com 14 days", "warn example.com 14 days"),
        ("status <https://example.com:8443/a?b=c>", "status https://example.com:8443/a?b=c"),
        ("status <HTTPS://Example.com|Example.com>", "status HTTPS://Example.com"),
        ("status <https://example.com/?a=1&amp;b=2|x>", "status https://example.com/?a=1&b=2"),
        ("status <mailto:me@example.com|me@example.com>", "status me@example.com"),
        ("status <mailto:me@example.com>", "status me@example.com"),
        ("note example.com call <tel:+15550100|+1 555 0100>", "note example.com call +1 555 0100"),
        ("status example.com 8443", "status example.com:8443"),
        ("add localhost 8443 example.com 443", "add localhost:8443 example.com:443"),
        ("add 10.0.0.1 8443", "add 10.0.0.1:8443"),
        ("scan 888", "scan 888"),
        ("list host=example.com 30", "list host=example.com 30"),
        ("", ""),
    ]:
        assert clean(typed) == meant


def test_words_are_split_at_spaces_and_lose_stray_punctuation() -> None:
    for typed, words in [
        ("add a.example.com, b.example.com; c.example.com", 4),
        ("add 'a.example.com'", 2),
        (" , ; ", 0),
        ("", 0),
    ]:
        found = split(typed)
        assert len(found) == words
        assert all(word == word.strip(",;'") for word in found)


@given(st.text())
@settings(max_examples=50)
def test_no_text_breaks_the_cleaning(text: str) -> None:
    cleaned = clean(text)
    assert "\n" not in cleaned
    assert not set(cleaned) & set("\u200b\u200e\u202e\u2066\ufeff\u00a0")
    assert all(word.strip() for word in split(text))


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
        ("_it.example.com_ a_b.example.com", ["it.example.com:443", "a_b.example.com:443"]),
        ("not api.example[.]com alone", ["api.example.com:443"]),
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
