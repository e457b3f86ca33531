"""The helpers that make blocks: escaping, clipping, and what they leave out."""

import itertools
import re
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.blocks import (
    MAX_TEXT,
    actions,
    ago,
    bare,
    button,
    clip,
    code,
    confirmation,
    context,
    counted,
    date,
    escaped,
    fields,
    header,
    menu,
    packed,
    plain,
    safe,
    section,
    since,
    text_input,
    utc,
)

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
few = settings(max_examples=120)
texts = st.text(max_size=80) | st.text(alphabet="<>&`*_~:|! \n\t\u200b\u202eab", max_size=80)


def test_third_party_text_is_no_markup() -> None:
    for text, shown in [
        ("plain", "plain"),
        ("<!channel>", "&lt;!channel&gt;"),
        ("a & b", "a &amp; b"),
        ("&lt;", "&amp;lt;"),
        ("*bold* _it_ ~no~ `code`", "∗bold∗ ˍitˍ ∼no∼ ʹcodeʹ"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("a\x00b\x1b[0m", "a b [0m"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\u2028b", "a b"),
        (":skull: and :+1:", "∶skull: and ∶+1:"),
        ("at 12:30 exactly", "at 12:30 exactly"),
        ("", ""),
        ("\u200b", ""),
    ]:
        assert safe(text) == shown


def test_code_is_always_one_closed_span() -> None:
    for text, shown in [
        ("*.example.com", "`*.example.com`"),
        ("a`b", "`aʹb`"),
        ("<x>&", "`&lt;x&gt;&amp;`"),
        ("", "`–`"),
        (" \u200b ", "`–`"),
    ]:
        assert code(text) == shown


@given(texts, st.integers(1, 60))
@few
def test_clipping_never_cuts_an_entity_and_keeps_the_limit(text: str, limit: int) -> None:
    assert len(plain(text, limit)) <= limit
    shown = safe(text, limit)
    assert not re.search(r"&(?!amp;|lt;|gt;)", shown)
    assert not set(shown) & set("<>*_~`\n\u200b\u202e")
    assert len(re.sub(r"&\w+;", "x", shown)) <= limit


@given(st.lists(st.sampled_from(["word", "`two words`", "&amp;", date(NOW), "\n"]), max_size=60))
@few
def test_finished_mrkdwn_is_cut_where_no_markup_is_open(parts: list[str]) -> None:
    text = " ".join(parts)
    cut = clip(text, 100)
    assert len(cut) <= 100
    assert cut.count("`") % 2 == 0
    assert cut.count("<") == cut.count(">") == cut.count("|")
    assert not re.search(r"&(?!amp;)", cut)
    assert cut == text or cut.endswith("…")


def test_our_own_words_are_escaped_and_cut_where_they_may_be() -> None:
    own = "`expires<30` & more"
    assert escaped(own) == "`expires&lt;30` &amp; more"
    assert bare(escaped(own)) == "expires<30 & more"
    assert bare("&amp;lt;") == "&lt;"

    assert clip("&amp;" * 1000) == "…"
    assert clip("x " + "&amp;" * 1000) == "x …"

    assert plain("x" * 10, 10) == "x" * 10
    assert plain("x" * 11, 10) == "x" * 9 + "…"


def test_a_date_is_local_with_a_fallback_in_utc() -> None:
    berlin = NOW.astimezone(UTC) + timedelta(seconds=0.9)
    assert date(berlin) == "<!date^1795420800^{date_short} {time}|23 Nov 2026 08:00 UTC>"
    assert date(NOW, "{date_short}") == "<!date^1795420800^{date_short}|23 Nov 2026 08:00 UTC>"
    assert utc(datetime(2026, 3, 1, 9, 5, tzinfo=UTC)) == "1 Mar 2026 09:05 UTC"


def test_elapsed_time_is_given_in_one_unit() -> None:
    for past, told in [
        (timedelta(seconds=-90), "just now"),
        (timedelta(), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=1), "1 h ago"),
        (timedelta(hours=47, minutes=59), "47 h ago"),
        (timedelta(hours=48), "2 days ago"),
        (timedelta(days=1200), "1,200 days ago"),
    ]:
        assert ago(NOW - past, NOW) == told
    now = f"<!date^{int(NOW.timestamp())}^{{ago}}|just now>"
    assert since(NOW + timedelta(hours=3), NOW) == now  # by a clock that was ahead


def test_things_are_counted_in_singular_and_plural() -> None:
    assert counted(0, "host") == "0 hosts"
    assert counted(1, "host") == "1 host"
    assert counted(1200, "host") == "1,200 hosts"
    assert counted(2, "entry", "entries") == "2 entries"


def test_lines_are_packed_in_order_and_none_is_cut() -> None:
    lines = [f"line {n} {'x' * (n % 90)}" for n in range(200)]
    blocks = packed(lines, section, 300)
    told = [block["text"]["text"] for block in blocks]
    assert "\n".join(told).split("\n") == lines
    assert all(len(text) <= 300 for text in told)
    assert all(len(a) + 1 + len(b.split("\n")[0]) > 300 for a, b in itertools.pairwise(told))
    assert packed([], section) == []


def test_buttons_menus_and_fields_are_commands_and_parameters() -> None:
    made = button("Rescan", "scan", "888 a.b:443", "below", about="Rescan a.b", style="primary")
    assert made == {
        "type": "button",
        "action_id": "ssl:scan:below",
        "text": {"type": "plain_text", "text": "Rescan", "emoji": False},
        "value": "888 a.b:443",
        "accessibility_label": "Rescan a.b",
        "style": "primary",
    }
    assert "value" not in button("Ping", "ping", "", about="Ping")
    assert len(button("x", "x", "y" * 3000, about="z" * 300)["value"]) == 2000

    made = menu([(f"Line {n}", "delete", str(n)) for n in range(7)], "below")
    assert made["action_id"] == "ssl:menu:below"
    assert [option["value"] for option in made["options"]] == [f"delete {n}" for n in range(5)]

    made = text_input("targets", "Hosts", hint="One or many.", lines=True)
    assert (made["block_id"], made["element"]["action_id"]) == ("targets", "targets")
    assert made["element"]["multiline"] is True
    assert made["optional"] is False
    assert "hint" not in text_input("targets", "Hosts")


def test_the_other_blocks_keep_their_limits_and_are_verbatim() -> None:
    words = "word " * 1000
    assert len(section(words)["text"]["text"]) <= MAX_TEXT
    assert len(context(words)["elements"][0]["text"]) <= MAX_TEXT
    assert len(header(words)["text"]["text"]) <= 150
    made = fields([(f"Label {n}", words) for n in range(12)])["fields"]
    assert len(made) == 10
    assert all(len(each["text"]) <= 2000 for each in made)
    asked = confirmation(words, words, words, words)
    assert [len(asked[key]["text"]) for key in ("title", "text", "confirm", "deny")] == [
        100, 300, 30, 30
    ]  # fmt: skip
    assert asked["style"] == "danger"

    made = [section("a")["text"], context("a")["elements"][0], fields([("a", "b")])["fields"][0]]
    assert all(text["verbatim"] is True for text in made)
    assert actions()["elements"] == []
