"""CAA records: which CA may renew a certificate, and what is said if it is another one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from bot.embedded.ca.caa import CAA, Records, look_up, permitted
from bot.embedded.scan.certificate import Leaf

from .fleet import DAY, NOW

LEAF = Leaf(
    subject_cn="", subject_o="", subject_c="", issuer_cn="R11", issuer_o="Let's Encrypt",
    issuer_c="US", alt_names=("www.shop.example",), not_before=NOW, not_after=NOW + 90 * DAY,
)  # fmt: skip
WILDCARD = replace(LEAF, alt_names=("*.shop.example",))


class Zone:
    """Answers by name, and what was asked; None for a server that can't tell."""

    def __init__(self, **records: Records | None) -> None:
        self.records = {name.replace("_", "."): found for name, found in records.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Records:
        self.asked.append(name)
        found = self.records.get(name, ())
        if found is None:
            raise OSError("SERVFAIL")
        return found


def issue(*values: str, tag: str = "issue") -> Records:
    return [(tag, value) for value in values]


@pytest.mark.parametrize(
    ("records", "refused"),
    [
        (issue("letsencrypt.org"), False),
        (issue("digicert.com", "letsencrypt.org; accounturi=https://x/1"), False),
        (issue(" LetsEncrypt.Org\t; a = b;c="), False),
        (issue("letsencrypt.org;"), False),
        (issue("letsencrypt.org."), True),  # malformed, so it names nobody (RFC 8659, section 4.2)
        (issue("letsencrypt.org; dns-01"), True),
        (issue("letsencrypt.org; a=b;"), True),
        (issue("letsencrypt.org other"), True),
        (issue("https://letsencrypt.org"), True),
        (issue("letsencrypt.org.", "letsencrypt.org"), False),
        (issue("digicert.com"), True),
        (issue(";"), True),
        ([("iodef", "mailto:x@shop.example")], False),
        ([*issue("digicert.com", tag="issuewild")], False),
        ([*issue("letsencrypt.org"), ("!", "tbs")], True),
        ((), False),
    ],
)
async def test_a_ca_that_is_not_named_is_refused(records: Records, refused: bool) -> None:
    said = await CAA(Zone(www_shop_example=records)).refusal("www.shop.example", LEAF)
    assert bool(said) is refused


async def test_a_record_that_permits_nobody_says_why() -> None:
    for records, said in (
        (issue(";"), "permits no CA"),
        (issue("letsencrypt.org."), "permits no CA: “letsencrypt.org.” is malformed"),
        (issue("letsencrypt.org;x", "pki.goog", tag="issuewild"),
         "permits pki.goog, and not Let's Encrypt: “letsencrypt.org;x” is malformed"),
    ):  # fmt: skip
        found = await CAA(Zone(shop_example=records)).refusal("www.shop.example", WILDCARD)
        assert found == f"the CAA record of shop.example {said}"


async def test_a_ca_that_issues_for_another_is_named_like_it() -> None:
    zero = replace(LEAF, issuer_o="ZeroSSL")
    for name in ("sectigo.com", "comodoca.com"):
        assert await CAA(Zone(example=issue(name))).refusal("www.shop.example", zero) == ""


async def test_the_nearest_parent_with_records_decides() -> None:
    zone = Zone(shop_example=issue("pki.goog", "digicert.com"), example=issue("letsencrypt.org"))
    said = await CAA(zone).refusal("www.shop.example", LEAF)
    assert said == (
        "the CAA record of shop.example permits digicert.com, pki.goog, and not Let's Encrypt"
    )
    assert zone.asked == ["www.shop.example", "shop.example"]


async def test_a_wildcard_is_asked_about_as_one() -> None:
    records = [*issue("letsencrypt.org"), *issue("digicert.com", tag="issuewild")]
    assert permitted(records, wildcard=True) == {"digicert.com"}
    assert permitted(issue("letsencrypt.org"), wildcard=True) == {"letsencrypt.org"}
    zone = Zone(shop_example=records)
    said = await CAA(zone).refusal("www.shop.example", WILDCARD)
    assert "permits digicert.com" in said
    assert zone.asked == ["shop.example"]


async def test_an_unknown_ca_says_nothing() -> None:
    refusing = Zone(www_shop_example=issue(";"))
    stranger = replace(LEAF, issuer_o="A CA of our own")
    assert await CAA(refusing).refusal("www.shop.example", stranger) == ""
    assert await CAA(refusing).refusal("other.example", LEAF) == ""
    assert await CAA(refusing).refusal("192.0.2.1", LEAF) == ""


async def test_records_that_can_not_be_read_are_unknown_and_asked_for_again() -> None:
    zone = Zone(www_shop_example=None)
    caa, said = CAA(zone), "unknown: the CAA records can't be read"
    assert [await caa.refusal("www.shop.example", LEAF) for _ in range(2)] == [said, said]
    assert len(zone.asked) == 2


async def test_a_lookup_continues_when_its_scan_ends() -> None:
    asked, answers = [], asyncio.Event()

    async def slow(name: str) -> Records:
        asked.append(name)
        await answers.wait()
        return issue(";")

    caa = CAA(slow)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(caa.refusal("www.shop.example", LEAF), 0.01)
    answers.set()
    assert await caa.refusal("www.shop.example", LEAF)
    assert asked == ["www.shop.example"]


async def test_a_name_in_capital_letters_is_no_wildcard() -> None:
    zone = Zone(www_shop_example=issue("letsencrypt.org"), shop_example=issue(";"))
    shouted = replace(LEAF, alt_names=("WWW.Shop.example", "*.shop.example"))
    assert await CAA(zone).refusal("www.shop.example", shouted) == ""


async def test_names_in_a_record_are_shown_in_little_space() -> None:
    hostile = issue(*(f"\0{n}.example" for n in range(1000)))
    said = await CAA(Zone(www_shop_example=hostile)).refusal("www.shop.example", LEAF)
    assert said.isprintable()
    assert len(said) < 300


async def test_an_answer_counts_for_an_hour() -> None:
    zone = Zone(www_shop_example=issue(";"))
    caa = CAA(zone)
    for _ in range(3):
        assert await caa.refusal("www.shop.example", LEAF)
    assert zone.asked == ["www.shop.example"]


class _Server(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if name.to_text() == "www.shop.example.":
            reply.answer += [
                dns.rrset.from_text(name, 60, "IN", "CNAME", "alias.example."),
                dns.rrset.from_text("alias.example.", 60, "IN", "CAA", '0 issue "pki.goog"'),
            ]
        elif name.to_text() == "broken.example.":
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name.to_text() == "critical.example.":
            records = '128 issue "pki.goog"', '128 tbs "x"', '0 other "x"'
            reply.answer += [dns.rrset.from_text(name, 60, "IN", "CAA", *records)]
        elif name.to_text() != "empty.example.":
            reply.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(reply.to_wire(), address)


@pytest.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Server, local_addr=("127.0.0.1", 0))
    ours = dns.asyncresolver.Resolver(configure=False)
    ours.nameservers = ["127.0.0.1"]
    ours.port = transport.get_extra_info("sockname")[1]
    monkeypatch.setattr(dns.asyncresolver, "default_resolver", ours)
    yield
    transport.close()


async def test_records_are_read_from_a_real_resolver(resolver: None) -> None:
    assert list(await look_up("www.shop.example")) == [("issue", "pki.goog")]
    strange = [("!", "tbs"), ("issue", "pki.goog"), ("other", "x")]
    assert sorted(await look_up("critical.example")) == strange
    assert list(await look_up("empty.example")) == []
    assert list(await look_up("none.example")) == []
    with pytest.raises(OSError, match=r"broken\.example"):
        await look_up("broken.example")
