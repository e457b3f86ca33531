"""What a revocation list says of a certificate, whatever else is in it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bot.api.models import read_summary
from bot.embedded import EmbeddedAPI, EmbeddedSettings
from bot.embedded.ca import crl as crls
from bot.embedded.ca.crl import Place, Unreadable
from bot.embedded.ca.encoding import Field, content, field, fields
from bot.embedded.scan.verdict import Verdict
from bot.severity import Thresholds, state_of

from .authority import CA, DERS, HOURS, Scans, crl, issuing, points
from .fleet import DAY, NOW, Authority, Fleet, issue, name, new_key, serve, web_server

PLACE = Place("http://ca.test/a.crl", frozenset())
REVOKED = "2027-01-14 (key compromise)"
COMPROMISE = x509.ReasonFlags.key_compromise


def says(scans: Scans, body: bytes, *, by: Authority | None = None) -> str:
    """What a list says of the certificate, `good` if nothing."""
    try:
        read = crls.read(body, (by or issuing(scans)).certificate)
        return str(read.find(scans.certificate, PLACE, NOW) or "good")
    except Unreadable as fault:
        return f"unknown: {fault}"


def signed_again(body: bytes, by: Authority, change: Callable[[list[Field]], None]) -> bytes:
    (_, tbs), algorithm, _ = fields(content(body))
    parts = list(fields(tbs))
    change(parts)
    data = field(0x30, b"".join(field(*each) for each in parts))
    assert isinstance(by.key, ec.EllipticCurvePrivateKey)
    signature = b"\0" + by.key.sign(data, ec.ECDSA(hashes.SHA256()))
    return field(0x30, data + field(*algorithm) + field(3, signature))


def test_a_list_is_read_in_any_wrapping_with_known_critical_extensions(scans: Scans) -> None:
    scans.leaf()
    der = crl(issuing(scans), scans.certificate)
    pem = x509.load_der_x509_crl(der).public_bytes(serialization.Encoding.PEM)
    for body in (der, der + b"\n", pem, b"Version 2 (0x1)\n" + pem, b"\xef\xbb\xbf" + pem):
        assert says(scans, body) == REVOKED
    for body in (b"", b"\x30", der[:-1], der + b"x", b"<html>", pem[:200]):
        assert says(scans, body) == "unknown: the revocation list can't be read"

    by = issuing(scans)
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    key = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
    known = [(x509.CRLNumber(7), True), (key, True)]
    assert says(scans, crl(by, scans.certificate, extensions=known)) == REVOKED
    spoiled = crl(by, scans.certificate, extensions=[*known, (strange, True)])
    assert says(scans, spoiled) == "unknown: the revocation list has an unknown critical extension"

    by, since = issuing(scans), (NOW - 9 * DAY).replace(tzinfo=None)
    entry = x509.RevokedCertificateBuilder(scans.certificate.serial_number, NOW - DAY)
    for extension in (x509.InvalidityDate(since), x509.CRLReason(COMPROMISE)):
        entry = entry.add_extension(extension, critical=True)
    builder = x509.CertificateRevocationListBuilder(by.certificate.subject, NOW - HOURS, NOW + DAY)
    made = builder.add_revoked_certificate(entry.build()).sign(by.key, hashes.SHA256())
    assert says(scans, made.public_bytes(DERS)) == REVOKED


async def test_what_a_list_for_some_reasons_lacks_is_unknown(scans: Scans, ca: CA) -> None:
    """The list says so itself, or the certificate's distribution point (RFC 5280, 6.3.3)."""
    some = frozenset({COMPROMISE})
    scope = x509.IssuingDistributionPoint(None, None, False, False, some, False, False)
    for named, extensions in ((points(ca.url("a.crl")), [(scope, True)]),
                              (points(ca.url("a.crl"), reasons=some), [])):  # fmt: skip
        for is_listed in (True, False):
            path = scans.leaf(named)
            listed = [scans.certificate] if is_listed else []
            ca.documents["a.crl"] = crl(issuing(scans), *listed, extensions=extensions)
            found = await scans.scan(path)
            verdict = Verdict.REVOKED if is_listed else Verdict.VALID
            said = f"revoked {REVOKED}" if is_listed else "unknown: the revocation list covers some"
            assert found.verdict is verdict
            assert found.revocation.startswith(said)
            scans.clock.now += 7 * HOURS


async def test_each_place_of_a_list_is_tried(scans: Scans, ca: CA) -> None:
    """Also one that names the issuer as the one who signs the list, which goes without saying."""
    own = [x509.DirectoryName(issuing(scans).certificate.subject)]
    down = points(ca.url("1"), ca.url("2"), "ldap://ca.test/3")
    path = scans.leaf(x509.CRLDistributionPoints([*down, *points(ca.url("4"), crl_issuer=own)]))
    ca.documents["4"] = crl(issuing(scans), scans.certificate)
    assert (await scans.scan(path)).verdict is Verdict.REVOKED


async def test_a_list_that_another_ca_signs_is_not_looked_for(scans: Scans, ca: CA) -> None:
    other = [x509.DirectoryName(name("Another CA"))]
    found = await scans.scan(scans.leaf(points(ca.url("a.crl"), crl_issuer=other)))
    assert (found.revocation[:7], ca.asked) == ("unknown", [])


@pytest.mark.parametrize(
    ("written", "is_same"), [("FLEET  issuing CA", True), ("Fleet Issuing CB", False)]
)
def test_issuers_are_compared_as_names_are(written: str, is_same: bool, scans: Scans) -> None:
    """By its letters, whatever their case and the type of string (RFC 5280, section 7.1)."""
    scans.leaf()
    by = issuing(scans)
    body = crl(by, scans.certificate)

    def rename(parts: list[Field]) -> None:
        old, new = (field(kind, text.encode())
                    for kind, text in ((0x0C, "Fleet Issuing CA"), (0x13, written)))  # fmt: skip
        attribute = bytes.fromhex("0603550403")
        relative, other = (field(0x31, field(0x30, attribute + each)) for each in (old, new))
        assert relative in parts[2][1]
        parts[2] = (0x30, parts[2][1].replace(relative, other))

    said = REVOKED if is_same else "unknown: the revocation list has another issuer"
    assert says(scans, signed_again(body, by, rename)) == said


def test_a_ca_that_may_not_sign_lists_is_named_as_the_reason(scans: Scans) -> None:
    key, root = new_key("ec"), scans.fleet.authorities["root"]
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    by = Authority(issue(name("CA"), key, root, NOW - DAY, NOW + DAY, constraints, usage), key)
    scans.leaf(by=by)
    said = "unknown: the revocation list is signed by a CA that may not sign any"
    assert says(scans, crl(by, scans.certificate), by=by) == said


async def test_an_empty_document_is_called_empty(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = b""
    found = await scans.scan(path)
    assert found.revocation == "unknown: ca.test answered with an empty document"


async def test_monitor_get_tells_of_it(scans: Scans, ca: CA, fleet: Fleet, tmp_path: Path) -> None:
    path = scans.leaf(points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), scans.certificate)
    hosts = {"fleet.test": "127.0.0.1", "ca.test": "127.0.0.1"}
    told = EmbeddedSettings(
        key="k" * 16, scan_allow="127.0.0.1", ca_file=fleet.ca_file, hosts=hosts, revocation=True
    )
    api = EmbeddedAPI(told, scans.database, clock=scans.clock)
    await api.start()
    headers = {"Authorization": f"Bearer {'k' * 16}"}
    try:
        async with (
            serve(web_server(), context=fleet.context(path)) as port,
            aiohttp.ClientSession(api.url + "/", headers=headers) as session,
        ):
            await session.post("monitor/add", data={"host": "fleet.test", "port": str(port)})
            got = await (await session.get("monitor/get?id=1")).json()
            row = (await (await session.get("monitor/list")).json())["list"][0]
            ca.documents.clear()
            scans.clock.now += 8 * DAY  # past the list's nextUpdate: nobody tells
            once = await (await session.get(f"checks?host=fleet.test&port={port}")).json()
    finally:
        await api.close()
    assert (once["check"]["verdict"], once["check"]["ssl_message"]) == (
        "revoked",
        row["ssl_message"],
    )
    assert once["check"]["revocation"].startswith("unknown: ")
    assert got["monitor"]["revocation"] == "revoked 2027-01-14 (key compromise)"
    assert got["monitor"]["verdict"] == "revoked"
    assert (row["ssl_valid"], row["ssl_color"]) == (False, "red")
    assert row["ssl_message"] == "Revoked 2027-01-14 (key compromise)"
    summary = read_summary(row, timedelta())
    assert state_of(summary, NOW, Thresholds()).word == "REVOKED"
