"""Every card: as it reads, as Slack's own models judge it, and against whatever servers send."""

import csv
import dataclasses
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block as SDKBlock
from slack_sdk.models.blocks import BlockElement
from syrupy.assertion import SnapshotAssertion

from bot.api.extras import History
from bot.blocks import Message
from bot.cards import details as detail_cards
from bot.cards import digest as digest_cards
from bot.cards import history as history_cards
from bot.cards import lists as list_cards
from bot.cards import monitor as monitor_cards
from bot.cards import replies
from bot.cards import table as table_cards
from bot.errors import NotMonitored, UsageError
from bot.playground.limits import HOME, MESSAGE, MODAL, violations
from bot.severity import OK, state_of
from bot.target import Target
from tests.card_cases import every_card, homes, hostile, past, views
from tests.card_values import ASKER, DAY, NOW, PLAIN, RULES, Json, Texts, many, monitor, row
from tests.digest_cases import gathered
from tests.long_runs import random_run

CARDS = every_card()
HOMES = homes()
VIEWS = views({name: CARDS[name] for name in ("working", "outsider", "details", "list: one")})
SHOWN = [name for name in CARDS if not re.search(r"hundreds|many old|1,000|: 50|fifty", name)]
DATE = re.compile(r"<!date\^-?\d+\^[^<>|^]+\|[^<>|]+>")
#: Whom the bot may mention: who asked for a watch, and who may change things.
OURS = re.compile(rf"<@({ASKER}|U0ADMIN\d*)>|<!subteam\^S0ADMINS>|<#C0DIGESTS>")
ENTITY = re.compile(r"&(?!amp;|lt;|gt;)")
HOST = re.compile(r"[a-z.]+\.example\.com")
CODE = re.compile(r"`[^`\n]*`")


def readable(message: Message) -> str:
    """A card as one reads it: its lock-screen line, then its blocks."""
    told: Json = {"text": message.text}
    if message.public:
        told["public"] = True
    if message.announce:
        told["announce"] = message.announce
    if message.metadata:
        told["metadata"] = message.metadata
    return dumped(told | {"blocks": list(message.blocks)})


def dumped(value: Any) -> str:
    return yaml.safe_dump(_brief(value), allow_unicode=True, sort_keys=False, width=1000)


def _brief(value: Any) -> Any:
    """Without what every text object says of itself."""
    if isinstance(value, dict):
        if value.get("type") in {"mrkdwn", "plain_text"} and "text" in value:
            assert value.get("verbatim") is True or value.get("emoji") is False
            return value["text"]
        return {key: _brief(each) for key, each in value.items()}
    return [_brief(each) for each in value] if isinstance(value, list | tuple) else value


def things(value: Any) -> list[Json]:
    """Every object in a card, in reading order."""
    found: list[Json] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            found.append(value)
            value = value.values()
        elif not isinstance(value, list | tuple):
            return
        for each in value:
            collect(each)

    collect(value)
    return found


def assert_reads_safely(message: Message) -> None:
    """Nothing in it pings, links, hides or turns; no markup is open, no entity cut."""
    every = things(message.blocks)
    marked = {message.announce, *(each["text"] for each in every if each.get("type") == "mrkdwn")}
    for text in marked:
        left = OURS.sub("", DATE.sub("", text))
        assert "<" not in left, text
        assert ">" not in left, text
        assert not ENTITY.search(left), text
        assert all(line.count("`") % 2 == 0 for line in text.split("\n")), text
        assert not re.search(r":[a-z_]+:", CODE.sub("", left)), text
    spoken = {
        str(each[key])
        for each in every
        for key in ("text", "accessibility_label")
        if isinstance(each.get(key), str)
    }
    for text in {*marked, message.text, *spoken}:
        if not text.replace("\n", "").isprintable():  # a quick check first
            hidden = {c for c in text if unicodedata.category(c)[0] == "C"} - {"\n"}
            assert not hidden, text


def assert_slack_takes(message: Message) -> None:
    payload = {"channel": "C1", "text": message.text or "-", "blocks": list(message.blocks)}
    assert violations(MESSAGE, payload) == []
    ids = [block["block_id"] for block in message.blocks if "block_id" in block]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", SHOWN)
def test_a_card_reads_as_agreed(name: str, snapshot: SnapshotAssertion) -> None:
    assert readable(CARDS[name]) == snapshot


@pytest.mark.parametrize("name", [name for name in HOMES if "hundreds" not in name])
def test_home_reads_as_agreed(name: str, snapshot: SnapshotAssertion) -> None:
    assert dumped(HOMES[name]) == snapshot


def test_the_form_reads_as_agreed(snapshot: SnapshotAssertion) -> None:
    assert dumped(VIEWS["form: add"]) == snapshot


@pytest.mark.slow
def test_slacks_own_models_and_the_playground_take_every_card(subtests: pytest.Subtests) -> None:
    for name, card in CARDS.items():
        with subtests.test(name):
            for blocks in (card.blocks, card.fallback or card.blocks):
                assert_slack_takes(dataclasses.replace(card, blocks=blocks))
                judge(blocks)


def test_slacks_own_models_and_the_playground_take_every_home(subtests: pytest.Subtests) -> None:
    for name, blocks in HOMES.items():
        with subtests.test(name):
            assert violations(HOME, {"type": "home", "blocks": list(blocks)}) == []
            judge(blocks)


def test_slacks_own_models_and_the_playground_take_every_modal(subtests: pytest.Subtests) -> None:
    for name, view in VIEWS.items():
        with subtests.test(name):
            assert violations(MODAL, view) == []
            judge(view["blocks"])


def judge(blocks: Sequence[Json]) -> None:
    """Put blocks to slack_sdk: it knows each of them, keeps all that they say, finds no fault."""
    for block in blocks:
        if block["type"] in {"data_table", "data_visualization"}:  # slack_sdk has no models of them
            continue
        known = SDKBlock.parse(block)
        assert known is not None, block
        known.validate_json()
        assert known.to_dict() == block
        for each in things(block):
            if each.get("type") in {"button", "overflow", "plain_text_input"}:
                element = BlockElement.parse(each)
                assert element is not None
                element.validate_json()


def most_buttons(name: str) -> int:
    """How many buttons a row of this card may have: more on those that are a menu."""
    return 4 if name.startswith("menu") else 3 if name.startswith("hosts found") else 2


def test_a_card_has_at_most_two_buttons_in_a_row_and_one_menu() -> None:
    for name, message in CARDS.items():
        for one in (block["elements"] for block in message.blocks if block["type"] == "actions"):
            kinds = [each["type"] for each in one]
            assert kinds.count("button") <= most_buttons(name), name
            assert kinds.count("overflow") <= 1, name


def test_labels_fit_a_phone() -> None:
    for name, message in CARDS.items():
        labels = [
            each["text"]["text"]
            for each in things(message.blocks)
            if "action_id" in each and "text" in each and not HOST.fullmatch(each["text"]["text"])
        ]
        # These buttons have a line of their own.
        own = re.compile(r"Rescan (all broken|\d+ old ones?)|Mention a group")
        short = [label for label in labels if not own.fullmatch(label)]
        assert all(len(label) <= 13 for label in short), name


def test_sentences_are_calm_and_whole() -> None:
    for name, message in CARDS.items():
        told = [t["text"] for t in things(message.blocks) if t.get("type") == "mrkdwn"]
        for each in [message.text, *told]:
            text = CODE.sub("host", each)
            assert "!" not in OURS.sub("", DATE.sub("", text)), name
            assert ".." not in text, name
            assert "  " not in text, name
            assert not re.search(r"\b1 (days|hosts|monitors|bytes|others)\b", text), name
            assert "None" not in text, name


def test_verdict_host_date_days_issuer_and_age_come_in_this_order() -> None:
    card = monitor_cards.monitor(row(not_after=NOW + 12 * DAY), NOW, RULES)
    told = "\n".join(t["text"] for t in things(card.blocks) if t.get("type") == "mrkdwn")
    parts = ["🕒", "DUE", "api.example.com", "5 Dec 2026", "in 12 days", "Let's Encrypt", "2 h ago"]
    places = [told.index(part) for part in parts]
    assert places == sorted(places)


HOSTILE = (
    "",
    " ",
    "<!channel>",
    "<!here|x> <@U0ANN> <#C0CERTS>",
    "<http://evil.example|api.example.com>",
    "http://evil.example @channel",
    "*bold* _slanted_ ~struck~ `code` ```block```",
    "> quoted\n• listed",
    ":skull: :white_check_mark:",
    "&lt;!channel&gt; &amp; & &#60;",
    "\u202egnp.exe\u2066\u200f\u200b\ufeff",
    "a\x00b\x1b[31mc\x7f\r\n\td",
    "👩‍👩‍👧‍👦" * 40,
    "x" * 10_000,
    "&" * 10_000,
    "<" * 10_000,
    "`" * 10_000,
    "a b" * 4_000,
    "ünïcödé ﷽ " * 1_000,
)
nasty = (
    st.sampled_from(HOSTILE)
    | st.text(max_size=300)
    | st.text(alphabet="<>&`*_~:!@|\n ab", max_size=400)
)
nasty_texts = st.builds(
    Texts, **{field.name: nasty for field in dataclasses.fields(Texts) if field.name != "host"},
    host=nasty.map(lambda text: text[:253].strip() or "x"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_no_card_is_broken_by_hostile_text_in_all_its_fields(text: str) -> None:
    check_all(hostile(text))


@random_run(nasty_texts, examples=2)
@example(PLAIN)
def test_no_card_is_broken_by_mixed_hostile_text(texts: Texts) -> None:
    check_all(texts)


def check_all(texts: Texts) -> None:
    for message in every_card(texts).values():
        assert_reads_safely(message)
        assert_slack_takes(message)
    for blocks in homes(texts).values():
        assert_reads_safely(Message("-", blocks))
        assert violations(HOME, {"type": "home", "blocks": list(blocks)}) == []


@pytest.mark.slow
def test_a_hundred_thousand_monitors_make_one_list_that_slack_takes() -> None:
    kinds = many(100_000)
    message = list_cards.monitors(kinds, NOW, RULES)
    assert message.text.startswith("100,000 monitors: ")
    assert "99,800 more monitors not shown; the CSV has all." in readable(message)
    assert_slack_takes(message)
    classic = dataclasses.replace(message, blocks=message.fallback)
    rows = [block for block in classic.blocks if str(block.get("block_id", "")).startswith("row:")]
    shown = len(rows) + len(re.findall(r"#\d+\b", readable(classic)))
    assert f"{100_000 - shown:,} more monitors not shown." in readable(classic)
    assert shown > 20
    assert_slack_takes(classic)


@pytest.mark.parametrize("texts", [PLAIN, hostile("&" * 300)], ids=["plain", "hostile"])
def test_a_digest_of_five_hundred_loses_none(texts: Texts) -> None:
    found = gathered(many(500, texts), many(500, texts))
    messages = digest_cards.digest(found, NOW, day=NOW.date())
    told = "\n".join(
        t["text"] for m in messages for t in things(m.blocks) if t.get("type") == "mrkdwn"
    )
    assert len(messages) == 3
    blocks = [block for message in messages for block in message.blocks]
    heads = [block for block in blocks if re.fullmatch(r"row:\d+", str(block.get("block_id")))]
    [table] = [block for block in blocks if block["type"] == "data_table"]
    shown = len(heads) + len(table["rows"]) - 1
    hidden = re.search(r"([\d,]+) more in the CSV file", told)
    assert shown + (int(hidden[1].replace(",", "")) if hidden else 0) == len(found.rows)
    fine = sum(state_of(each, NOW, RULES) is OK for each in many(500, texts))
    assert len(found.rows) + len(found.scheduled) + fine == 500
    assert f"{len(found.scheduled)} certificates expire within 30 days" in told
    assert len({str(message.metadata) for message in messages}) == len(messages)
    for message in messages:
        assert_slack_takes(message)
        assert (
            sum(len(t["text"]) for t in things(message.blocks) if t.get("type") == "mrkdwn")
            < 40_000
        )


def test_a_monitor_that_the_api_lists_twice_is_shown_once() -> None:
    message = list_cards.monitors([row(), row()], NOW, RULES)
    assert message.text.startswith("1 monitor: ")
    assert_slack_takes(message)


def test_a_thousand_names_are_counted_and_thirty_are_shown() -> None:
    told = readable(detail_cards.details(monitor(names=1000), row(), NOW, RULES))
    assert "Names (1,000)" in told
    assert "`api.example.com29` and 970 more" in told
    assert "api.example.com30`" not in told


def test_thirty_names_of_eighty_letters_are_shown_whole() -> None:
    long = dataclasses.replace(PLAIN, name="n" * 77)
    told = readable(detail_cards.details(monitor(long, names=30), row(), NOW, RULES))
    assert told.count("n" * 77) >= 30
    assert "…" not in told


def test_a_long_history_shows_the_newest_twenty_and_says_of_how_many() -> None:
    lived = tuple(past() * 50)
    told = readable(history_cards.history(row(), History(lived, 999)))
    assert "Showing 20 of 999 entries, newest first." in told
    assert (
        told.count("left at the time") + told.count("Expired") + told.count("UNREACHABLE* ·") == 20
    )
    assert "First scan" not in told


def test_a_history_of_long_words_keeps_below_slacks_limit() -> None:
    texts = hostile("&" * 300)
    message = history_cards.history(row(texts), History(tuple(past(texts) * 4), 24))
    found = re.search(r"Showing (\d+) of 24 entries", readable(message))
    assert found is not None
    assert 5 < int(found[1]) < 20
    assert_slack_takes(message)


def test_a_certificate_that_comes_back_after_an_outage_is_not_a_new_one() -> None:
    fine = past()[-1]
    dead = dataclasses.replace(fine, at=fine.at + DAY, valid=False, not_after=None, issuer="")
    back = dataclasses.replace(fine, at=fine.at + 2 * DAY)
    told = readable(history_cards.history(row(), History((back, dead, fine), 3)))
    assert "*Was UNREACHABLE*" in told
    assert "new certificate" not in told
    assert told.count("Issuer:") == 1


@pytest.mark.slow
def test_a_table_has_the_worst_two_hundred_with_days_as_numbers() -> None:
    message = list_cards.monitors(many(300), NOW, RULES)
    [table] = [block for block in message.blocks if block["type"] == "data_table"]
    header, *cells = table["rows"]
    assert [cell["text"] for cell in header][2] == "Days left"
    assert len(cells) == 200
    assert table["page_size"] == 10
    assert table["caption"] == "200 monitors, worst first"
    assert {row[2]["type"] for row in cells} == {"raw_number"}
    assert [row[5]["value"] for row in cells] == [
        each.id for each in list_cards.ranked(many(300), NOW, RULES)[:200]
    ]
    assert "100 more monitors not shown; the CSV has all." in readable(message)


def test_a_table_of_long_names_keeps_below_slacks_limit_and_says_how_many_are_left_out() -> None:
    long = dataclasses.replace(PLAIN, host="h" * 240 + ".example", issuer="i" * 500)
    message = list_cards.monitors(many(200, long), NOW, RULES)
    [table] = [block for block in message.blocks if block["type"] == "data_table"]
    shown = len(table["rows"]) - 1
    assert 50 < shown < 100
    assert f"{200 - shown} more monitors not shown; the CSV has all." in readable(message)
    assert_slack_takes(message)


def test_a_csv_has_every_monitor_and_no_formula() -> None:
    evil = '=HYPERLINK("http://evil.example","x")'
    texts = dataclasses.replace(PLAIN, issuer=evil, message="-1+1,\n@SUM(A1)", host="+host.example")
    order = list_cards.ranked(many(40, texts), NOW, RULES)
    content = table_cards.as_csv(order, NOW, RULES)
    assert content.startswith(b"\xef\xbb\xbfid,host,port,state,days_left")
    rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    assert [int(each["id"]) for each in rows] == [each.id for each in order]
    assert {each["host"] for each in rows} == {"'+host.example"}
    assert {each["issuer"] for each in rows} == {f"'{evil}", ""}
    assert {each["message"] for each in rows} == {"'-1+1, @SUM(A1)", ""}
    assert {each["state"] for each in rows} >= {"EXPIRED", "ACT NOW", "OVERDUE", "ON SCHEDULE"}


@given(nasty)
def test_no_cell_of_a_csv_is_ever_a_formula(text: str) -> None:
    assert not table_cards.harmless(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert "\n" not in table_cards.harmless(text)


def test_no_part_of_a_cell_is_a_formula_where_semicolons_separate_cells() -> None:
    told = {"a;=1+1;b": "a;'=1+1;b", "; -1": ";' -1", "\uff1d1": "'\uff1d1", "a-b; c": "a-b; c"}
    assert {text: table_cards.harmless(text) for text in told} == told


def test_a_long_host_stays_whole_in_code() -> None:
    host = f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.example"
    assert f"`{host}`" in readable(monitor_cards.monitor(row(target=Target(host)), NOW, RULES))
    assert f"`{host}`" in readable(replies.not_monitored(NotMonitored(host, None, [])))


def test_a_lock_screen_line_is_plain_text() -> None:
    fault = UsageError("“a&b<c” is not a host name.", "which")
    text = replies.usage_error(fault, "status HOST").text
    assert text == "Not understood. “a&b<c” is not a host name."
    assert "`" not in replies.unknown_command("stauts", "status", runs=False).text
