"""The title and the meta tags of a page, read as the HTML standard says.

Lexbor parses (through selectolax), and the labels of encodings are the Encoding standard's own
(through webencodings). The caller cuts the page to a few hundred kilobytes.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import islice

import webencodings
from selectolax.lexbor import LexborHTMLParser, LexborNode

_TEXT_CAP = 1000
#: How many bytes from the start a declaration of the encoding may be (html.spec.whatwg.org,
#: “determining the character encoding”).
_PRESCAN = 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16le"),
    (codecs.BOM_UTF16_BE, "utf-16be"),
)
_XHTML = "application/xhtml+xml"
_HTML_TYPES = frozenset({"", "text/html", _XHTML})
#: What HTML has no counterpart of, and would show as text; in a section of CDATA, all is text.
_XML_ONLY = re.compile(
    r"<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)|<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL
)
#: `<title/>` is a whole element in XML; in HTML, these elements stay open until they are closed.
_EMPTY = re.compile(
    r"<(script|style|title|textarea|iframe|noembed|noframes|noscript|plaintext|xmp)"
    r"((?:\s[^<>]*)?)/>"
)
#: Elements of drawings and of formulas in which HTML goes on.
_ANNOTATION = "annotation-xml"
_EMBEDDED_HTML = {
    "svg": frozenset({"foreignObject", "desc", "title"}),
    "math": frozenset({"mi", "mo", "mn", "ms", "mtext", _ANNOTATION}),
}
_ANNOTATED = frozenset({"text/html", _XHTML})
_DEEPEST = 100
#: Lexbor's time grows with the square of these; no page that people read has as many.
_MOST_TAGS, _MOST_ATTRIBUTES, _MOST_ROOTS = 5_000, 1_000, 6
#: How far such tags are read, in all; each place that looks like a tag counts.
_MOST_READ = 2_000_000
#: One of these is between two attributes.
_SEPARATORS, _FEW_SEPARATORS = b"\t\n\f\r /\"'", 4_000
_ATTRIBUTE = (
    r"""[\t\n\f\r /]*+[^\t\n\f\r />][^\t\n\f\r />=]*+[\t\n\f\r ]*+"""
    r"""(?:=[\t\n\f\r ]*+(?:"[^"]*+"|'[^']*+'|(?!["'])[^\t\n\f\r >]*+))?+"""
)
#: A tag up to its end, tokenized as the standard says, or with too many attributes.
_TAG = re.compile(
    rf"(?i)(?=(<[a-z][^\t\n\f\r />]*+(?:{_ATTRIBUTE}){{0,{_MOST_ATTRIBUTES}}}+)({_ATTRIBUTE})?)"
)
_REST_OF_TAG = re.compile(rf"(?:{_ATTRIBUTE}){{0,{_MOST_ATTRIBUTES}}}+[\t\n\f\r /]*+>")
#: What the facts depend on: a frameset may remove what precedes it.
_OF_FACTS = re.compile(r"<(?i:meta|frameset|(/?)title)")
#: Attributes of further tags of these kinds are added to the first one's.
_ROOT = re.compile(r"<(?:html|body)[\t\n\f\r />]", re.IGNORECASE)
_SPACE = b"\t\n\x0c\r "
_XML_DECLARATION = re.compile(
    rb"""<\?xml[^>]*?encoding[\0- ]*=[\0- ]*(?:"([^"\0- ]{1,40})"|'([^'\0- ]{1,40})')[^>]*>"""
)
#: How an XML declaration begins in UTF-16 without a mark.
_XML_IN_UTF_16 = (("<?x".encode("utf-16-le"), "utf-16le"), ("<?x".encode("utf-16-be"), "utf-16be"))
#: Each parameter of a Content-Type: its name, and its value with or without quotation marks.
_PARAMETER = re.compile(r';[\t\n\r ]*([^;=]*)(?:=(?:"((?:\\.|[^"\\])*+)"?[^;]*|([^;,]*)))?')
_CHARSET = re.compile(
    r"""charset[\t\n\x0c\r ]*=[\t\n\x0c\r ]*(?:"([^"]*)"|'([^']*)'|([^"'\s;][^\s;]*))""",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PageFacts:
    """The title, and the description and keywords of the meta tags; empty if missing."""

    title: str = ""
    description: str = ""
    keywords: str = ""


def is_html(content_type: str) -> bool:
    """Whether a Content-Type is HTML's; a missing one counts as HTML."""
    return _kind(content_type) in _HTML_TYPES


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def read_page(body: bytes, content_type: str) -> PageFacts:
    """Read the beginning of a page."""
    text = decoded(body, content_type)
    if _kind(content_type) == _XHTML:
        text = _XML_ONLY.sub(lambda found: escape(found[1] or "", quote=False), text)
        text = _EMPTY.sub(r"<\1\2></\1>", text)
    page = LexborHTMLParser(_beginning(_up_to_facts(text)), scripting=True)
    metas: dict[str, str] = {}
    for meta in page.tags("meta"):
        attributes = meta.attributes
        name = (attributes.get("name") or "").strip().lower()
        if (content := attributes.get("content")) is not None:
            metas.setdefault(name, _clean(content))
    title = next((_clean(each.text()) for each in page.tags("title") if not _is_foreign(each)), "")
    return PageFacts(title, metas.get("description", ""), metas.get("keywords", ""))


def _up_to_facts(page: str) -> str:
    """The page up to its last title, meta tag or frameset: parsing the rest is most of the work."""
    last, closes = -1, "/"
    for found in _OF_FACTS.finditer(page):
        last, closes = found.start(), closes if found[1] is None else found[1]
    if last < 0 or not closes:  # a title without an end is the rest of the page
        return page if last >= 0 else ""
    # It may also be in the value of another tag's attribute: cut where that would end.
    starts = (last + 1, page.find('"', last) + 1, page.find("'", last) + 1)
    ends = [_REST_OF_TAG.match(page, start) for start in starts if start]
    return page[: max(end.end() for end in ends if end)] if all(ends) else page


def _beginning(page: str) -> str:
    """The first tags of a page, up to what takes Lexbor too long."""
    if _is_simple(page):
        return page
    if page.count("<") >= _MOST_TAGS:
        page = "<".join(page.split("<", _MOST_TAGS)[:-1])
    further = islice(_ROOT.finditer(page), _MOST_ROOTS, None)
    ends = [each.start() for each in (_crowded(page), next(further, None)) if each]
    return page[: min(ends, default=len(page))]


def _is_simple(page: str) -> bool:
    """Whether a page can't have too many tags or attributes."""
    if len(page) < _FEW_SEPARATORS:
        return True
    encoded = page.encode()  # `bytes.translate` counts many characters in one pass
    return len(encoded) - len(encoded.translate(None, _SEPARATORS + b"<")) < _FEW_SEPARATORS


def _crowded(page: str) -> re.Match[str] | None:
    """The first tag with too many attributes, or the one where reading tags takes too long."""
    read = 0
    for tag in _TAG.finditer(page):
        read += len(tag[1])
        if tag[2] or read > _MOST_READ:
            return tag
    return None


def _is_foreign(node: LexborNode) -> bool:
    """Whether a title belongs to a drawing or a formula rather than to the document."""
    above, between = node.parent, set[str | None]()
    for _ in range(_DEEPEST):
        if above is None:
            return False
        if embedded := _EMBEDDED_HTML.get(above.tag or ""):
            return between.isdisjoint(embedded)
        if above.tag != _ANNOTATION or _is_annotated(above):
            between.add(above.tag)
        above = above.parent
    return False


def _is_annotated(node: LexborNode) -> bool:
    """Whether an annotation is HTML."""
    return (node.attributes.get("encoding") or "").lower() in _ANNOTATED


def _clean(text: str) -> str:
    return " ".join(text.split())[:_TEXT_CAP]


def decoded(body: bytes, content_type: str) -> str:
    """Decode a page by its byte order mark, else the header, else its own declaration, else UTF-8.

    The order is the standard's (html.spec.whatwg.org, "determining the character encoding").
    """
    for mark, label in _MARKS:
        if body.startswith(mark):
            return _decode(body[len(mark) :], label)
    label = _charset(content_type)
    if not (label and webencodings.lookup(label)):
        start, is_xml = body[:_PRESCAN], _kind(content_type) == _XHTML
        label = _of_declaration(start) if is_xml else declared_encoding(start)
    return _decode(body, label or "utf-8")


def _charset(content_type: str) -> str:
    """The charset of a Content-Type (mimesniff.spec.whatwg.org, “parsing a MIME type”)."""
    for name, quoted, plain in _PARAMETER.findall(content_type):
        if name.lower() == "charset":
            return str(quoted.replace("\\", "") or plain).strip()
    return ""


def _decode(body: bytes, label: str) -> str:
    encoding = webencodings.lookup(label) or webencodings.UTF8
    text, _ = encoding.codec_info.decode(body, "replace")
    return str(text)


def declared_encoding(start: bytes) -> str:
    """The encoding that a page declares at its start, by the standard's prescan; else empty.

    A meta tag outside comments counts first, then an XML declaration.
    """
    lower = start.lower()
    return (_prescan(start) if b"charset" in lower else "") or _of_declaration(start)


def _of_declaration(start: bytes) -> str:
    """The encoding that an XML declaration names; empty without one."""
    for beginning, name in _XML_IN_UTF_16:
        if start.startswith(beginning):
            return name
    found = _XML_DECLARATION.match(start)
    return _named((found[1] or found[2]).decode("latin-1")) if found else ""


def _prescan(start: bytes) -> str:
    at = 0
    while (at := start.find(b"<", at)) >= 0:
        if start.startswith(b"<!--", at):
            end = start.find(b"-->", at + 2)
            if end < 0:
                break
            at = end + 3
        elif re.match(rb"<meta[\t\n\x0c\r /]", start[at : at + 6], re.IGNORECASE):
            attributes, at = _attributes(start, at + 5)
            if name := _of_meta(attributes):
                return name
        elif re.match(rb"</?[a-z]", start[at : at + 3], re.IGNORECASE):
            name_end = re.compile(rb"[\t\n\x0c\r >]").search(start, at)
            _, at = _attributes(start, name_end.start() if name_end else len(start))
        elif start[at + 1 : at + 2] in {b"!", b"/", b"?"}:
            end_of_tag = start.find(b">", at)
            at = end_of_tag + 1 if end_of_tag >= 0 else len(start)
        else:
            at += 1
    return ""


def _of_meta(attributes: dict[str, str]) -> str:
    """The encoding that a meta tag's attributes declare, else empty."""
    if "charset" in attributes:
        return _named(attributes["charset"])
    if attributes.get("http-equiv", "").lower() != "content-type":
        return ""
    found = _CHARSET.search(attributes.get("content", ""))
    return _named(next(filter(None, found.groups()), "")) if found else ""


def _named(label: str) -> str:
    """The name of an encoding label; empty for one that the standard doesn't know."""
    encoding = webencodings.lookup(label)
    if encoding is None:
        return ""
    if encoding.name.startswith("utf-16"):
        return "utf-8"  # a page in UTF-16 could not have been read up to here
    return "windows-1252" if encoding.name == "x-user-defined" else str(encoding.name)


def _attributes(text: bytes, at: int) -> tuple[dict[str, str], int]:
    """The attributes of a tag (the first of each name counts), and where the tag ends.

    A tag that doesn't end has none.
    """
    found: dict[str, str] = {}
    pieces = _pieces(text, at)
    for name, value, end in pieces:
        at = end
        if name:
            found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return (found if text[at - 1 : at] == b">" else {}), at


def _pieces(text: bytes, at: int) -> Iterator[tuple[bytes, bytes, int]]:
    """Each attribute with where it ends, then nothing with where the tag ends."""
    while at < len(text):
        while at < len(text) and text[at] in _SPACE + b"/":
            at += 1
        if text[at : at + 1] in {b">", b""}:
            yield b"", b"", at + 1
            return
        begin = at
        while at < len(text) and (text[at] not in _SPACE + b"/>=" or at == begin):
            at += 1
        name = text[begin:at]
        while text[at : at + 1] and text[at] in _SPACE:
            at += 1
        value = b""
        if text[at : at + 1] == b"=":
            value, at = _value(text, at + 1)
        yield name, value, at


def _value(text: bytes, at: int) -> tuple[bytes, int]:
    """An attribute's value after its sign, and where it ends."""
    while text[at : at + 1] and text[at] in _SPACE:
        at += 1
    quote = text[at : at + 1]
    if quote in {b'"', b"'"}:
        end = text.find(quote, at + 1)
        return (text[at + 1 : end], end + 1) if end >= 0 else (b"", len(text))
    begin = at
    while at < len(text) and text[at] not in _SPACE + b">":
        at += 1
    return text[begin:at], at
