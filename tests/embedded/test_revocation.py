"""Whether a CA has revoked a certificate, by its lists, and what may be wrong with them."""

import asyncio
import gzip
import ssl
from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from cryptography import x509

from bot.embedded.ca import crl as crl_module
from bot.embedded.ca.documents import MOST_BYTES, Document, Documents
from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.result import ASKED
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.verdict import Verdict, color
from bot.embedded.schedule import next_scan
from bot.target import Target

from .authority import CA, HOURS, Scans, crl, issuing, points
from .fleet import DAY, NOW, Authority, issue, name, new_key, serve, speak_only, web_server

#: A reason that RFC 5280 doesn't use.
NO_REASON = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.21"), b"\x0a\x01\x07")


async def test_a_revoked_certificate_is_broken_and_says_when_and_why(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), scans.certificate)
    found = await scans.scan(path)
    assert (found.verdict, found.message) == (
        Verdict.REVOKED, "Revoked 2027-01-14 (key compromise)",
    )  # fmt: skip
    assert found.revocation == "revoked 2027-01-14 (key compromise)"
    assert color(found.verdict, 90) == "red"

    found = await scans.scan(path, for_clients_with_certificates=True)
    assert found.message == "Revoked 2027-01-14 (key compromise)"


async def test_a_certificate_that_is_not_on_the_list_is_valid(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    other = scans.fleet.authorities["root"].certificate
    ca.documents["a.crl"] = crl(issuing(scans), other)
    found = await scans.scan(path)
    assert (found.verdict, found.message, found.revocation) == (Verdict.VALID, "Valid", "good")


@pytest.mark.parametrize(
    ("reason", "said"),
    [(None, "Revoked 2027-01-14"), (x509.ReasonFlags.certificate_hold, "(on hold)"),
     (x509.ReasonFlags.remove_from_crl, "Valid"), (NO_REASON, "Revoked 2027-01-14")],
)  # fmt: skip
async def test_each_revocation_reason_is_given_in_words(
    reason: x509.ReasonFlags | x509.UnrecognizedExtension | None, said: str, scans: Scans, ca: CA
) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), scans.certificate, reason=reason)
    assert (await scans.scan(path)).message.endswith(said)


async def test_a_revoked_intermediate_breaks_what_is_below_it(scans: Scans, ca: CA) -> None:
    root, key = scans.fleet.authorities["root"], new_key("ec")
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    between = issue(name("Fleet Second CA"), key, root, NOW - 90 * DAY, NOW + 900 * DAY,
                    constraints, points(ca.url("root.crl")))  # fmt: skip
    path = scans.leaf(by=Authority(between, key))
    ca.documents["root.crl"] = crl(root, between, reason=x509.ReasonFlags.ca_compromise)
    found = await scans.scan(path)
    assert found.message == "Revoked 2027-01-14 (CA compromise): “Fleet Second CA” in the chain"


async def test_a_certificate_named_like_its_issuer_is_revoked_too(scans: Scans, ca: CA) -> None:
    root, key = scans.fleet.authorities["root"], new_key("ec")
    between = issue(name("fleet.test"), key, root, NOW - 90 * DAY, NOW + 900 * DAY,
                    x509.BasicConstraints(ca=True, path_length=None))  # fmt: skip
    path = scans.leaf(points(ca.url("a.crl")), by=Authority(between, key))
    ca.documents["a.crl"] = crl(Authority(between, key), scans.certificate)
    assert (await scans.scan(path)).message == "Revoked 2027-01-14 (key compromise)"


def _wrong(kind: str, scans: Scans, url: str) -> bytes:
    by, leaf = issuing(scans), scans.certificate
    other = scans.fleet.authorities["stranger"]
    scope: dict[str, Any] = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False,
        "only_contains_ca_certs": False, "only_some_reasons": None, "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }  # fmt: skip
    elsewhere = [x509.UniformResourceIdentifier("http://ca.test/another-shard.crl")]

    def scoped(**more: Any) -> bytes:
        return crl(by, extensions=[(x509.IssuingDistributionPoint(**(scope | more)), True)])

    made: dict[str, Callable[[], bytes]] = {
        "forged": lambda: crl(Authority(by.certificate, other.key), leaf),
        "of another CA": lambda: crl(other, leaf),
        "expired": lambda: crl(by, since=NOW - 9 * DAY, until=NOW - DAY),
        "not begun": lambda: crl(by, since=NOW + DAY),
        "garbage": lambda: b"<html>moved</html>",
        "entries of another CA": lambda: crl(
            by, leaf, reason=x509.CertificateIssuer([x509.DirectoryName(other.certificate.subject)])
        ),
        "changes only": lambda: crl(by, extensions=[(x509.DeltaCRLIndicator(1), True)]),
        "indirect": lambda: scoped(indirect_crl=True),
        "for CAs": lambda: scoped(only_contains_ca_certs=True),
        "some reasons": lambda: scoped(
            only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})
        ),
        "another shard": lambda: scoped(full_name=elsewhere),
        "a shard with another kind of name": lambda: scoped(
            full_name=[x509.DirectoryName(name("Shard 2"))]
        ),
        "a shard with a relative name": lambda: scoped(
            relative_name=x509.RelativeDistinguishedName(name("Shard 2"))
        ),
        "unknown extension": lambda: crl(by, extensions=[
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
        ]),
    }  # fmt: skip
    return made[kind]()


@pytest.mark.parametrize(
    "kind",
    ["forged", "of another CA", "expired", "not begun", "garbage", "changes only", "indirect",
     "entries of another CA", "for CAs", "some reasons", "another shard",
     "a shard with another kind of name", "a shard with a relative name", "unknown extension"],
)  # fmt: skip
async def test_an_unusable_list_is_a_remark_and_no_verdict(kind: str, scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = _wrong(kind, scans, ca.url("a.crl"))
    found = await scans.scan(path)
    assert found.verdict is Verdict.VALID
    assert found.revocation.startswith("unknown: the revocation list ") or (
        kind == "forged" and found.revocation.startswith("unknown: the signature")
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [("ldap://ca.test/x", "no revocation list that can be used"),
     ("https://ca.test/x", "no revocation list"), ("http://nowhere.invalid/x", "resolved"),
     ("http://user:x@ca.test/x", "no usable URL"), ("http://169.254.169.254/x", "may not be")],
)  # fmt: skip
async def test_only_permitted_http_addresses_are_asked(url: str, said: str, scans: Scans) -> None:
    found = await scans.scan(scans.leaf(points(url)))
    assert found.verdict is Verdict.VALID
    assert said in found.revocation
    assert found.revocation.startswith("unknown: ")


async def test_a_list_may_have_any_name_of_its_distribution_point(scans: Scans, ca: CA) -> None:
    """RFC 5280, section 6.3.3 (b) (2); a name that can't be read hides no other."""
    own = [x509.UniformResourceIdentifier("ldap://ca.test/shard")]
    shard = x509.IssuingDistributionPoint(own, None, False, False, None, False, False)
    whole = points("ldap://ca.test/shard", ca.url("a.crl"))
    der = whole.public_bytes().replace(b"\x86\x14ldap://ca.test/shard", b"\xa3\x14" + bytes(20))
    unreadable = x509.UnrecognizedExtension(whole.oid, der)
    for named, scope in ((whole, [(shard, True)]), (unreadable, [])):
        path = scans.leaf(named)
        ca.documents["a.crl"] = crl(issuing(scans), scans.certificate, extensions=scope)
        assert (await scans.scan(path)).verdict is Verdict.REVOKED
        scans.clock.now += 7 * HOURS


async def test_an_empty_list_is_asked_for_again_after_ten_minutes(scans: Scans, ca: CA) -> None:
    """Be it no list, or one that has just become too old."""
    path, minutes = scans.leaf(points(ca.url("a.crl"))), timedelta(minutes=1)
    scans.clock.now += timedelta(milliseconds=500)  # the database stores whole seconds
    for useless in (b"<html>", crl(issuing(scans), until=scans.clock.now + 5 * minutes)):
        ca.documents["a.crl"] = useless
        await scans.scan(path)
        scans.clock.now += 9 * minutes
        assert (await scans.scan(path)).revocation.startswith("unknown: ")
        asked = len(ca.asked)
        ca.documents["a.crl"] = crl(issuing(scans), until=scans.clock.now + 30 * minutes)
        scans.clock.now += 2 * minutes
        assert (await scans.scan(path)).revocation == "good"
        assert len(ca.asked) == asked + 1
        scans.clock.now += 7 * HOURS


@pytest.mark.parametrize(
    ("addresses", "said"),
    [(["::1", "127.0.0.1"], "good"), (["127.0.0.1", "169.254.169.254"], "may not be asked")],
)
async def test_the_addresses_of_a_server_are_tried_in_turn_if_all_are_permitted(
    addresses: list[str], said: str, scans: Scans, ca: CA
) -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return addresses

    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans))
    hosts, allow = {"fleet.test": "127.0.0.1"}, parse_allow("127.0.0.1,::1")
    scans.guard = Guard(allow, hosts, look_up)
    scans.restart()
    assert said in (await scans.scan(path)).revocation


async def test_an_answer_stored_far_ahead_is_asked_for_again(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    scans.clock.now = NOW + 300 * DAY
    ca.documents["a.crl"] = crl(issuing(scans), since=NOW, until=NOW + 400 * DAY)
    await scans.documents.get(ca.url("a.crl"))
    scans.clock.now, ca.documents["a.crl"] = NOW, crl(issuing(scans), scans.certificate)
    assert (await scans.scan(path)).verdict is Verdict.REVOKED


async def test_a_redirect_is_a_failure_kept_for_ten_minutes(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("moved")))
    for _ in range(2):
        assert (await scans.scan(path)).revocation == "unknown: ca.test answered with HTTP 302"
    assert len(ca.asked) == 1
    scans.clock.now = NOW + timedelta(minutes=11)
    await scans.scan(path)
    assert [path for path, _ in ca.asked] == ["/moved", "/moved"]


async def test_a_document_of_more_than_ten_megabytes_is_not_read(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("big.crl")))
    ca.documents["big.crl"] = bytes(MOST_BYTES + 1)
    found = await scans.scan(path)
    assert found.revocation == "unknown: the document of ca.test is larger than 10 MB"


@pytest.mark.slow
async def test_a_compressed_list_is_read_unless_it_is_too_large(scans: Scans, ca: CA) -> None:
    ca.headers = {"Content-Encoding": "gzip"}
    path = scans.leaf(points(ca.url("a.crl"), ca.url("bomb.crl")))
    ca.documents["bomb.crl"] = gzip.compress(bytes(MOST_BYTES + 1))
    found = await scans.scan(path)
    assert found.revocation == "unknown: the document of ca.test is larger than 10 MB"
    scans.clock.now = NOW + timedelta(minutes=11)
    ca.documents["a.crl"] = gzip.compress(crl(issuing(scans), scans.certificate))
    assert (await scans.scan(path)).verdict is Verdict.REVOKED


async def test_memory_is_bounded(scans: Scans, ca: CA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Documents, "most_kept", 2500)
    ca.documents = {f"{n}.crl": bytes(1000) for n in range(4)}
    for n in (0, 1, 0, 2, 3):
        assert (await scans.documents.get(ca.url(f"{n}.crl"))).body == bytes(1000)
    assert len(scans.documents._kept) == 2
    assert len(ca.asked) == 4
    await scans.documents.get(ca.url("0.crl"))  # the database has it
    assert len(ca.asked) == 4


async def test_a_list_is_fetched_once_for_all_every_six_hours(scans: Scans, ca: CA) -> None:
    first, second = scans.leaf(points(ca.url("a.crl"))), scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"], ca.etag = crl(issuing(scans), scans.certificate), '"1"'
    found = await asyncio.gather(scans.scan(first), scans.scan(second))
    assert [each.verdict for each in found] == [Verdict.VALID, Verdict.REVOKED]
    scans.restart()  # another process finds it in the database
    await scans.scan(first)
    assert len(ca.asked) == 1
    scans.clock.now = NOW + 7 * HOURS
    assert (await scans.scan(second)).verdict is Verdict.REVOKED
    assert len(ca.asked) == 2
    assert ca.asked[1][1]["If-None-Match"] == '"1"'


async def test_a_list_outlives_its_server_but_never_its_time(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), until=NOW + DAY)
    assert (await scans.scan(path)).revocation == "good"
    ca.documents.clear()
    scans.clock.now = NOW + 8 * HOURS
    assert (await scans.scan(path)).revocation == "good"
    scans.clock.now = NOW + 25 * HOURS
    found = await scans.scan(path)
    assert found.revocation == "unknown: the revocation list was valid until 2027-01-16"


@pytest.mark.slow
async def test_an_answer_that_comes_too_late_is_used_within_a_minute(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), scans.certificate)
    ca.gate, scans.deadline = asyncio.Event(), 0.5
    found = await scans.scan(path)
    assert (found.verdict, found.revocation) == (Verdict.VALID, ASKED)
    again = next_scan(Target("fleet.test"), NOW, timedelta(hours=12), asked=True)
    assert again <= NOW + timedelta(minutes=1)
    ca.gate.set()
    await asyncio.gather(*scans.documents._running.values())
    assert (await scans.scan(path)).verdict is Verdict.REVOKED
    assert len(ca.asked) == 1


@pytest.mark.slow
async def test_a_list_is_read_once_for_all_also_if_that_takes_longer_than_a_scan(
    scans: Scans, ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read, go, count = scans.leaf(points(ca.url("a.crl"))), crl_module.read, Event(), []

    def slowly(body: bytes, issuer: x509.Certificate) -> crl_module.RevocationList:
        count.append(1)
        go.wait()
        return read(body, issuer)

    monkeypatch.setattr(crl_module, "read", slowly)
    ca.documents["a.crl"], scans.deadline = crl(issuing(scans), scans.certificate), 0.5
    try:
        found = await asyncio.gather(scans.scan(path), scans.scan(path))
    finally:
        go.set()
    assert [each.revocation for each in found] == [ASKED, ASKED]
    await asyncio.gather(*scans.revocations._reading.values())
    assert (await scans.scan(path)).verdict is Verdict.REVOKED
    assert len(count) == 1


async def test_a_newer_list_counts_while_an_older_one_is_read(scans: Scans) -> None:
    by, _ = issuing(scans), scans.leaf()
    read = scans.revocations._list
    old, new = Document("a", crl(by), NOW), Document("a", crl(by, scans.certificate), NOW + HOURS)
    about = read(old, by.certificate), read(new, by.certificate)
    assert [len(each.entries) for each in await asyncio.gather(*about)] == [0, 1]


async def test_an_expired_or_unlisted_certificate_is_not_asked_about(scans: Scans, ca: CA) -> None:
    found = await scans.scan(scans.leaf())
    assert (found.verdict, found.revocation) == (Verdict.VALID, "")
    assert ca.asked == []


async def test_a_good_ca_makes_no_unlisted_certificate_good(scans: Scans, ca: CA) -> None:
    root, key = scans.fleet.authorities["root"], new_key("ec")
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    between = issue(name("Fleet Third CA"), key, root, NOW - 90 * DAY, NOW + 900 * DAY,
                    constraints, points(ca.url("root.crl")))  # fmt: skip
    ca.documents["root.crl"] = crl(root)
    found = await scans.scan(scans.leaf(by=Authority(between, key)))
    assert (found.verdict, found.revocation, len(ca.asked)) == (Verdict.VALID, "", 1)


async def test_an_untrusted_certificate_makes_nobody_fetch_a_list(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")), by=scans.fleet.authorities["stranger"])
    context = scans.fleet.context(path)
    speak_only(context, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1)
    scanner = Scanner(scans.guard, scans.trust, 5.0, revocations=scans.revocations)
    async with serve(web_server(), context=context) as port:
        found = await scanner.scan(Target("fleet.test", port), NOW)
    assert (found.verdict, found.revocation, ca.asked) == (Verdict.OLD_PROTOCOL, "", [])


async def test_headers_that_are_not_text_do_not_spoil_the_list_or_the_scan(scans: Scans) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.0 200 OK\r\nETag: "\xff"\r\nLast-Modified: \xfe\r\n\r\n')
        writer.write(crl(issuing(scans)))

    async with serve(talk) as port:
        path = scans.leaf(points(f"http://ca.test:{port}/a.crl"))
        assert (await scans.scan(path)).revocation == "good"
        scans.clock.now += 12 * HOURS
        assert (await scans.scan(path)).revocation == "good"


@pytest.mark.slow
async def test_a_process_claims_a_document_only_once_it_can_ask(scans: Scans, ca: CA) -> None:
    ca.documents["a"], url = b"a", ca.url("a")
    one = Documents(scans.database, scans.guard, scans.clock, at_once=1)
    other = Documents(scans.database, scans.guard, scans.clock)
    async with one._turns:
        waiting = asyncio.create_task(one.get(url))
        await asyncio.wait({waiting}, timeout=0.2)
        assert (await other.get(url)).body == b"a"
    assert (await waiting).body == b"a"
    assert len(ca.asked) == 1
