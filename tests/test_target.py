"""Hosts and ports in every notation, and where an API key may go."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.target import Target, address_fault, normal_host

LABEL = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
LAST_LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NAMES = st.builds(lambda front, last: ".".join([*front, last]), st.lists(LABEL), LAST_LABEL)
ADDRESSES = st.ip_addresses().map(str).filter(lambda text: "%" not in text)
HOSTS = NAMES.filter(lambda name: len(name) <= 253) | ADDRESSES


def test_every_usual_way_of_writing_a_target_is_read() -> None:
    for text, host, port in [
        ("example.com", "example.com", 443),
        ("example.com:8443", "example.com", 8443),
        ("  Example.COM. ", "example.com", 443),
        ("example.com,", "example.com", 443),
        ("example.com:443/", "example.com", 443),
        ("a_b.example", "a_b.example", 443),
        ("localhost", "localhost", 443),
        ("xn--bcher-kva.de", "xn--bcher-kva.de", 443),
        # URLs, as browsers give them
        ("https://example.com", "example.com", 443),
        ("HTTPS://Example.com:8443/path?query#part", "example.com", 8443),
        ("http://example.com/", "example.com", 443),
        ("http://example.com:80/", "example.com", 80),
        ("ldaps://directory.example.com", "directory.example.com", 636),
        ("imaps://mail.example.com", "mail.example.com", 993),
        # other scripts, and what phones slip in between
        ("bücher.de", "xn--bcher-kva.de", 443),
        ("BÜCHER.de:8443", "xn--bcher-kva.de", 8443),
        ("faß.de", "xn--fa-hia.de", 443),
        ("ΒΌΛΟΣ", "xn--nxasmq6b", 443),  # not “βόλος”, as words end
        ("https://ΒΌΛΟΣ.ΕΛΣ/", "xn--nxasmq6b.xn--qxamy", 443),
        ("https://日本。jp/", "xn--wgv71a.jp", 443),
        ("example.com。", "example.com", 443),
        # hyphens and symbols, as browsers accept them
        ("name-.example.com", "name-.example.com", 443),
        ("r3---sn-x.example", "r3---sn-x.example", 443),
        ("-bücher-.example", "xn---bcher--o2a.example", 443),
        ("☃.example", "xn--n3h.example", 443),
        ("https://i❤.example/", "xn--i-7iq.example", 443),
        ("exam\u200bple.com", "example.com", 443),
        ("https://%65xample.com/", "example.com", 443),
        ("https://b%C3%BCcher.de/", "xn--bcher-kva.de", 443),
        # addresses
        ("192.0.2.1", "192.0.2.1", 443),
        ("192.0.2.1:8443", "192.0.2.1", 8443),
        ("１９２.0.2.1", "192.0.2.1", 443),
        # their other spellings, as browsers read them
        ("127.1", "127.0.0.1", 443),
        ("0x7f.1:8443", "127.0.0.1", 8443),
        ("http://0x7f。1/", "127.0.0.1", 443),
        ("2130706433", "127.0.0.1", 443),
        ("0300.0250.513", "192.168.2.1", 443),
        ("10.0x", "10.0.0.0", 443),
        ("::1", "::1", 443),
        ("[::1]", "::1", 443),
        ("[2001:DB8:0::1]:8443", "2001:db8::1", 8443),
        ("https://[2001:db8::1]:8443/", "2001:db8::1", 8443),
    ]:
        assert Target.parse(text) == Target(host, port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing"),
        (":443", "missing"),
        (".", "missing"),
        ("https://", "missing"),
        ("[]", "missing"),
        ("*.example.com", "pattern"),
        ("exa mple.com", "not a host name"),
        ("a..b", "not a host name"),
        ("bü..de", "not a host name"),
        ("bü<cher.de", "not a host name"),
        ("a\u200db.net", "not a host name"),
        ("\u0301a.net", "not a host name"),
        ("é" * 60 + ".de", "not a host name"),
        ("a" * 64 + ".com", "not a host name"),
        ("a." * 130 + "com", "253"),
        ("someone@example.com", "not a host name"),
        ("<http://example.com|example.com>", "is not a valid URL"),  # `arguments` unwraps these
        ("<mailto:someone@example.com|someone@example.com>", "not a host name"),
        ("10.0.0.0/8", "not a host name"),
        ("example.com:", "not a port"),
        ("example.com:0", "“0” is not a port. Use a number from 1 to 65535"),
        ("example.com:65536", "not a port"),
        ("example.com:４４３", "not a port"),
        ("https://example.com:0/", "not a port"),
        ("https://example.com:99999/", "not a valid URL"),
        ("http://[::1", "not a valid URL"),
        ("https://user:word@example.com/", "user name"),
        ("https://user@example.com:99999999/", "user name"),
        ("postgresql://user:word@example.com/db", "user name"),
        ("user:word@example.com:8443", "user name"),
        ("ftp://example.com", "ftp:"),
        ("[::1]x", r"Try \[::1\]:443"),
        ("a:b:c", "not an IP address"),
        ("fe80::1%eth0", "zone ID is only valid on one machine"),
        # what ends in a number, but is no address for browsers either
        ("256.1", "not an IP address"),
        ("1.2.3.256", "not an IP address"),
        ("1.2.65536", "not an IP address"),
        ("1.2.3.4.5", "not an IP address"),
        ("08.1", "not an IP address"),
        ("0x7g.1", "not an IP address"),
        ("4294967296", "not an IP address"),
        ("1042", "not an IP address"),  # more likely an ID than 0.0.4.18
    ],
)
def test_what_is_no_target_is_refused_with_a_sentence(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Target.parse(text)


@given(host=HOSTS, port=st.integers(1, 65535))
@example(host="::ffff:192.0.2.1", port=443)
def test_a_target_reads_back_as_it_is_written(host: str, port: int) -> None:
    target = Target(normal_host(host), port)

    assert Target.parse(str(target)) == target
    assert Target.parse(target.short) == target


@given(st.text())
def test_any_text_is_a_target_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        target = Target.parse(text)
        assert Target.parse(str(target)) == target


def test_the_usual_port_is_left_out_of_the_short_form() -> None:
    assert Target("example.com", 443).short == "example.com"
    assert Target("example.com", 8443).short == "example.com:8443"
    assert Target("::1", 8443).short == "[::1]:8443"


def test_a_key_may_go_to_https_and_this_machine_alone() -> None:
    for url in [
        "https://api.sslmonitor.io/api/v1",
        "https://10.0.0.1:8443/",
        "http://127.0.0.1:8080/api/v1",
        "http://[::1]:8080",
        "http://localhost",
    ]:
        assert address_fault(url) is None

    for url, reason in [
        ("http://api.sslmonitor.io/api/v1", "unencrypted"),
        ("http://10.0.0.1", "unencrypted"),
        ("http://localhost.example.com", "unencrypted"),
        ("http://127.0.0.1.example.com", "unencrypted"),
        ("ftp://api.sslmonitor.io", "https://"),
        ("api.sslmonitor.io", "https://"),
        ("https://", "https://"),
        ("", "https://"),
        ("https://[::1", "valid URL"),
        ("https://a:99999", "valid URL"),
        ("https://me:secret@api.sslmonitor.io", "user name"),
        ("https://api.sslmonitor.io/?key=secret", "user name"),
    ]:
        fault = address_fault(url)
        assert fault is not None
        assert reason in fault
        assert "secret" not in fault

    assert address_fault("http://10.0.0.1", allow_http=True) is None
    assert address_fault("ftp://10.0.0.1", allow_http=True) is not None


def test_hyphens_are_accepted_where_browsers_accept_them() -> None:
    for host in ["name-.example.com", "-a.example.com", "a--b.example.com"]:
        assert normal_host(host) == host
