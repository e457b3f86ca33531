"""Pages, read as the HTML standard says."""

import random
import time

import pytest
from selectolax.lexbor import LexborHTMLParser

from bot.embedded.scan.html import PageFacts, declared_encoding, is_html, read_page


def test_the_title_is_the_documents_own() -> None:
    for page, title in [
        ("<!-- <title>comment</title> --><title>own</title>", "own"),
        ("<script>var x = '<title>script</title>'</script><title>own</title>", "own"),
        ("<style>/* <title>style</title> */</style><title>own</title>", "own"),
        ("<svg><title>drawing</title></svg><title>own</title>", "own"),
        ("<svg><g><title>part</title></g></svg><title>own</title>", "own"),
        ("<svg><foreignObject><title>own</title></foreignObject></svg><title>later", "own"),
        ("<head><noscript><title>for others</title></noscript><title>own</title>", "own"),
        ("<math><title>formula<title></title></title><mi><title>own</title></mi></math>", "own"),
        ("<math><annotation-xml><title>note</title></annotation-xml></math><title>own", "own"),
        ("<math><annotation-xml encoding='Text/HTML'><title>own</title></annotation-xml>", "own"),
        ("<svg><mi><title>drawing</title></mi></svg><title>own</title>", "own"),
        ("<svg><title><title>own</title></title></svg><title>later</title>", "own"),
        ("<textarea><title>typed</title></textarea><title>own</title>", "own"),
        ("<template><title>template</title></template><title>own</title>", "own"),
        ("<title>a &lt;b&gt;\n c</title>", "a <b> c"),
        ("<p>a page without one", ""),
    ]:
        assert read_page(page.encode(), "text/html").title == title


def test_a_meta_tag_counts_whatever_other_attributes_it_has() -> None:
    for attributes in [
        "name=description content=told",
        "CONTENT='told' NAME='Description'",
        "hidden name=description data-2=x a_b.c:d=1 content=told",
        'itemprop name = "description" content = "told" /',
        "data-x='>' name=description content=told",
    ]:
        page = f"<meta name=description><meta {attributes}><meta name=description content=later>"
        assert read_page(page.encode(), "text/html").description == "told"


def test_only_what_the_prescan_accepts_declares_an_encoding() -> None:
    for start, encoding in [
        (b"<meta charset=koi8-r>", "koi8-r"),
        (b"<META data-x CHARSET = 'Latin1'>", "windows-1252"),
        (b"<meta http-equiv=content-type content='text/html; charset=shift_jis'>", "shift_jis"),
        (b"<meta charset=utf-16>", "utf-8"),
        (b"<meta charset='utf-16be'>", "utf-8"),
        (b"<meta charset=x-user-defined>", "windows-1252"),
        (b"<!-- <meta charset=koi8-r> --><meta charset=gbk>", "gbk"),
        (b"<p title='<meta charset=koi8-r>'><meta charset=gbk>", "gbk"),
        (b"<meta name=x content='charset=koi8-r'>", ""),
        (b"<meta http-equiv=refresh content='1; charset=koi8-r'>", ""),
        (b"<metal charset=koi8-r>", ""),
        (b"<meta charset=nonsense><meta charset=gbk>", "gbk"),
        (b"<meta charset=rot13>", ""),
        (b"charset=koi8-r", ""),
        (b"<?xml version='1.0' encoding=\"iso-8859-2\"?><html>", "iso-8859-2"),
        (b"<?xml version='1.0' encoding='koi8-r'?><meta charset=gbk>", "gbk"),
        (b"<?xml version='1.0'encoding='iso-8859-2'?><html>", "iso-8859-2"),
        ("<?xml version='1.0'?>".encode("utf-16-le"), "utf-16le"),
        ("<?xml version='1.0'?>".encode("utf-16-be"), "utf-16be"),
        (b"<!doctype html><meta charset=gbk", ""),
    ]:
        assert declared_encoding(start) == encoding


def test_a_declaration_after_the_first_kilobyte_is_none() -> None:
    page = b"<!--" + b"x" * 1100 + b"--><meta charset=koi8-r><title>\xc4</title>"
    assert read_page(page, "text/html").title == "\ufffd"


@pytest.mark.parametrize(
    ("body", "header", "title"),
    [
        (b"\xef\xbb\xbf<meta charset=koi8-r><title>\xc3\xbc</title>", "text/html", "ü"),
        (b"<meta charset=gbk><title>\xfc</title>", "text/html; charset=latin1", "ü"),
        (b"<meta charset=koi8-r><title>\xc4</title>", "text/html; charset=rot13", "д"),
    ],
    ids=["mark before tag", "header before tag", "a header that names no encoding"],
)
def test_a_mark_counts_before_header_and_page(body: bytes, header: str, title: str) -> None:
    assert read_page(body, header).title == title


def test_only_html_has_a_title() -> None:
    assert is_html("")
    assert is_html("Text/HTML; charset=utf-8")
    assert is_html("application/xhtml+xml")
    assert not is_html("application/json")
    assert not is_html("text/plain")
    assert read_page(b"", "") == PageFacts()


def test_xhtml_is_read_as_xml() -> None:
    for page, title, in_html in (
        ("<script src='a.js'/><style/><noframes/><title>own</title>", "own", ""),
        ("<title><![CDATA[a <b> &amp; c]]>\n&lt;d></title>", "a <b> &amp; c <d>",
         "<![CDATA[a <b> & c]]> <d>"),
        ("<title>a<!-- <title> -->b<?x </title>?></title>", "ab", "a<!-- <title> -->b<?x"),
        ("<script><![CDATA[</script><title>x</title>]]></script><title>own</title>", "own", "x"),
        ("<!-- <![CDATA[ --><title>own</title><!-- ]]> -->", "own", "own"),
        ("<title><![CDATA[cut", "cut", "<![CDATA[cut"),
    ):  # fmt: skip
        for kind, told in (("application/xhtml+xml; charset=utf-8", title), ("text/html", in_html)):
            assert read_page(page.encode(), kind).title == told


def test_the_charset_of_a_header_is_its_parameter() -> None:
    for header, title in (
        ('text/html; Charset="koi8-r"', "д"),
        ("text/html;a=b;charset=koi8-r ;x", "д"),
        ("text/html; charset=koi8-r; charset=latin1", "д"),
        ('text/html; a="\\"; charset=gbk"; charset=koi8-r', "д"),
        ("text/html; charset=koi8-r, text/html", "д"),
        ('text/html; charset="koi\\8-r"', "д"),
        ("text/html; x-charset=koi8-r", "Ä"),
        ("text/html; charset = koi8-r", "Ä"),
        ("charset=koi8-r", "Ä"),
    ):
        assert read_page(b"<meta charset=latin1><title>\xc4</title>", header).title == title


def test_only_its_declaration_says_how_xhtml_is_encoded() -> None:
    page = b"<?xml version='1.0' encoding='koi8-r'?><meta charset='gbk'/><title>\xc4</title>"
    assert read_page(page, "application/xhtml+xml").title == "д"
    undeclared = "<meta charset='gbk'/><title>ü</title>".encode()
    assert read_page(undeclared, "application/xhtml+xml").title == "ü"


@pytest.mark.parametrize(
    "piece", [b"<", b"<meta ", b"<a b='", b"<!--", b"<?", b"</", b"&#", b"<dl><dd>", b"<g>",
              b"<![CDATA[", b"<![CDATA[&]]>"]
)  # fmt: skip
def test_hostile_starts_end_soon(piece: bytes) -> None:
    start = time.process_time()
    declared_encoding(piece * 400)
    read_page(piece * 50_000, "text/html")
    read_page(piece * 20_000, "application/xhtml+xml")
    read_page(b"<svg>" + piece * 5_000 + b"<title/>" * 5_000, "text/html")
    assert time.process_time() - start < 1


ATTRIBUTES = [b"%x" % number for number in range(15_000)]


@pytest.mark.parametrize(
    "hostile",
    [
        b"<meta " + b" ".join(ATTRIBUTES) + b">",
        b"<i " + b"='>'/".join(ATTRIBUTES) + b">",
        b'<i a="<i b=c>"' + b'="\n"'.join(ATTRIBUTES) + b">",
        b"".join(
            b"<html %b>" % b" ".join(ATTRIBUTES[at : at + 300]) for at in range(0, 15_000, 300)
        ),
    ],
    ids=["names", "quoted", "unseparated", "collected"],
)
def test_attributes_without_end_take_little_time_and_hide_no_title(hostile: bytes) -> None:
    """Lexbor compares each attribute of an element with all others."""
    start = time.process_time()
    assert read_page(b"<title>own</title>" + hostile, "text/html").title == "own"
    assert time.process_time() - start < 0.1


def test_nothing_is_parsed_after_the_last_useful_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def parse(text: str, *, scripting: bool) -> LexborHTMLParser:
        parsed.append(text)
        return LexborHTMLParser(text, scripting=scripting)

    monkeypatch.setattr("bot.embedded.scan.html.LexborHTMLParser", parse)
    head = "<title>own</title><meta name=keywords content=a>"
    assert read_page(f"{head}{'<p>words' * 4000}".encode(), "text/html").keywords == "a"
    assert parsed == [head]
    assert read_page(b"<p>words" * 4000, "text/html") == PageFacts()
    assert parsed[1:] == [""]


PIECES = (
    *("<title>", "</title>", "<title>a</title>", "<TITLE>b</TITLE x='<meta>'>", "<svg>", "</svg>"),
    *("<meta name=description content=c>", "<META NAME='Keywords' CONTENT=\"<meta> d\">"),
    *("<meta name=description content='\"</title> e'>", "<meta name=keywords content", "='late'>"),
    *("<div a='<meta name=keywords content=no>' b>", "<img alt=\"a>b\" title='<meta'>"),
    *("<!--", "-->", "<script>'<meta>'", "</script>", "<frameset>", "<textarea>", "</textarea>"),
    *("<p>it's", '"', "'", ">", " ", "<table>", "</table>", "<b>", "</b>", "<template>"),
)  # fmt: skip


def test_what_is_not_parsed_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(11)
    pages = ["".join(chance.choices(PIECES, k=chance.randrange(1, 14))) for _ in range(1500)]
    pages.append("<b><meta name=keywords content=a><frameset>")  # which removes the body
    short = [read_page(page.encode(), "text/html") for page in pages]
    monkeypatch.setattr("bot.embedded.scan.html._up_to_facts", str)
    assert short == [read_page(page.encode(), "text/html") for page in pages]


def test_many_attributes_of_many_tags_hide_nothing() -> None:
    tags = b"".join(b"<p " + b" ".join(ATTRIBUTES[:900]) + b"></p>" for _ in range(20))
    page = read_page(tags + b"<title>own</title>", "text/html")
    assert page.title == "own"
