"""Certificates in encodings that OpenSSL reads: they hide no date, no name and no revocation."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import crypto

from bot.embedded.ca.encoding import Field, content, field, fields, readable
from bot.embedded.scan.certificate import Leaf
from bot.embedded.scan.judge import judge
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import ChainFault, Trust
from bot.embedded.scan.verdict import Verdict
from bot.target import Target

from . import fleet as fleets
from .authority import CA, DERS, NAMES, NO_CA, Scans, crl, issuing, points
from .fleet import DAY, NOW, Authority, issue, name, new_key, pem, private_pem
from .test_every_host import authority

Change = Callable[[list[Field]], None]
#: The parts of a certificate, by their place (RFC 5280, section 4.1).
VERSION, SERIAL, ALGORITHM, VALIDITY, SUBJECT, EXTENSIONS = 0, 1, 2, 4, 5, 7
UTC_TIME, TIME, PRINTABLE, SEQUENCE = 0x17, 0x18, 0x13, 0x30
ENDS = datetime(2027, 4, 15, 12, tzinfo=UTC)


def signed(leaf: x509.Certificate, by: Authority, change: Change) -> bytes:
    """The certificate in DER with a change, signed again."""
    (_, tbs), *_ = fields(content(leaf.public_bytes(DERS)))
    parts = list(fields(tbs))
    change(parts)
    whole, algorithm = field(SEQUENCE, b"".join(field(*each) for each in parts)), parts[ALGORITHM]
    assert isinstance(by.key, ec.EllipticCurvePrivateKey)
    signature = b"\0" + by.key.sign(whole, ec.ECDSA(hashes.SHA256()))
    return field(SEQUENCE, whole + field(*algorithm) + field(3, signature))


def version(number: int) -> Change:
    def change(parts: list[Field]) -> None:
        parts[VERSION] = (0xA0, bytes([2, 1, number]))

    return change


def until(tag: int, text: bytes) -> Change:
    def change(parts: list[Field]) -> None:
        begins, _ = fields(parts[VALIDITY][1])
        parts[VALIDITY] = (SEQUENCE, field(*begins) + field(tag, text))

    return change


def serial(number: bytes) -> Change:
    def change(parts: list[Field]) -> None:
        parts[SERIAL] = (2, number)

    return change


def since_year_zero(parts: list[Field]) -> None:
    _, ends = fields(parts[VALIDITY][1])
    parts[VALIDITY] = (SEQUENCE, field(TIME, b"00000101000000Z") + field(*ends))


def criticality(encoded: bytes) -> Change:
    """How the extensions that are not critical say so, or the opposite."""

    def change(parts: list[Field]) -> None:
        extensions = b""
        for tag, inside in fields(content(parts[EXTENSIONS][1])):
            oid, *_, value = fields(inside)
            extensions += field(tag, field(*oid) + encoded + field(*value))
        parts[EXTENSIONS] = (0xA3, field(SEQUENCE, extensions))

    return change


def organization(kind: int, encoded: bytes) -> Change:
    def change(parts: list[Field]) -> None:
        attribute = field(SEQUENCE, bytes.fromhex("060355040a") + field(kind, encoded))
        cn = field(SEQUENCE, bytes.fromhex("0603550403") + field(0x0C, b"fleet.test"))
        parts[SUBJECT] = (SEQUENCE, field(0x31, attribute) + field(0x31, cn))

    return change


def with_extension(oid: str, value: bytes) -> Change:
    """Put another extension in front of the others."""

    def change(parts: list[Field]) -> None:
        added = field(SEQUENCE, field(6, bytes.fromhex(oid)) + field(4, value))
        known = content(parts[EXTENSIONS][1])
        parts[EXTENSIONS] = (0xA3, field(SEQUENCE, added + known))

    return change


def null_parameter(parts: list[Field]) -> None:
    parts[ALGORITHM] = (SEQUENCE, parts[ALGORITHM][1] + b"\x05\x00")


CHANGES: dict[str, tuple[Change, Verdict]] = {
    "version 1 with extensions": (version(0), Verdict.VALID),
    "version 4": (version(3), Verdict.VALID),
    "critical is FALSE": (criticality(bytes.fromhex("010100")), Verdict.VALID),
    "ECDSA with a parameter": (null_parameter, Verdict.VALID),
    "critical is 1": (criticality(bytes.fromhex("010101")), Verdict.VALID),
    "a printable string that isn't": (organization(PRINTABLE, b"M_\xfcller"), Verdict.VALID),
    "begins in the year 0": (since_year_zero, Verdict.VALID),
    # OpenSSL reads these, and takes them for faults.
    "a time zone": (until(UTC_TIME, b"270415140000+0200"), Verdict.UNTRUSTED),
    "an hour of 60 minutes": (until(UTC_TIME, b"270415116000Z"), Verdict.UNTRUSTED),
    "a fraction of a second": (until(TIME, b"20270415120000.5Z"), Verdict.UNTRUSTED),
}


def serve(scans: Scans, change: Change, *extensions: x509.ExtensionType) -> tuple[Path, bytes]:
    """A PEM file for a server, and its certificate in DER."""
    by, key = issuing(scans), new_key("ec")
    leaf = issue(
        name("fleet.test"), key, by, NOW - 90 * DAY, NOW + 90 * DAY, NO_CA, NAMES, *extensions
    )
    scans.certificate = leaf
    der = signed(leaf, by, change)
    private = private_pem(key)
    path = scans.directory / "odd.pem"
    path.write_bytes(private + fleets.pem_of(der) + pem(by.certificate))
    return path, der


@pytest.mark.parametrize("odd", CHANGES)
async def test_an_odd_encoding_hides_no_names_dates_or_fingerprint(odd: str, scans: Scans) -> None:
    change, verdict = CHANGES[odd]
    path, der = serve(scans, change)
    found = await scans.scan(path)
    assert found.leaf is not None
    assert found.verdict is verdict
    assert (found.leaf.subject_cn, found.leaf.issuer_cn) == ("fleet.test", "Fleet Issuing CA")
    assert (found.leaf.alt_names, found.leaf.not_after) == (("fleet.test",), ENDS)
    assert found.chain[0].fingerprint == hashlib.sha256(der).hexdigest()
    assert found.handshake.serial == f"{scans.certificate.serial_number:x}"


@pytest.mark.parametrize(
    "change",
    [
        criticality(bytes.fromhex("010100")),
        with_extension("2b06010505070101", b"\xff\xff\xff"),  # authority information access
        organization(0x14, "Müller".encode("latin-1")),
        organization(0x03, b"\0x"),
    ],
    ids=["flag", "another extension", "T61String", "BIT STRING"],
)
async def test_an_odd_part_hides_no_revocation(change: Change, scans: Scans, ca: CA) -> None:
    path, _ = serve(scans, change, points(ca.url("a.crl")))
    ca.documents["a.crl"] = crl(issuing(scans), scans.certificate)
    found = await scans.scan(path)
    assert found.message == "Revoked 2027-01-14 (key compromise)"


@pytest.mark.parametrize("number", [14, 15, 17, 19, 30, 31, 35, 37])
def test_a_malformed_extension_is_wrong_and_not_the_chain(number: int, scans: Scans) -> None:
    """Python's servers refuse to send it, so what OpenSSL finds in it is judged alone."""
    root, key = scans.fleet.authorities["root"], new_key("ec")
    leaf = issue(name("fleet.test"), key, root, NOW - DAY, NOW + DAY, NAMES)
    change = with_extension(f"551d{number:02x}", b"\xff\xff\xff")
    odd = crypto.load_certificate(crypto.FILETYPE_ASN1, signed(leaf, root, change))
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(root.certificate))
    store.set_time(NOW)
    with pytest.raises(crypto.X509StoreContextError) as found:
        crypto.X509StoreContext(store, odd).verify_certificate()
    fault = ChainFault(found.value.errors[0], 0, odd)
    assert judge("fleet.test", Leaf.read(leaf), [fault], NOW, []) == (
        Verdict.UNTRUSTED,
        "Untrusted: an extension of “fleet.test” is malformed, so the chain can't be verified",
    )


def test_an_extension_that_openssl_reads_is_not_called_malformed(scans: Scans) -> None:
    """`cA` is FALSE by default, which DER leaves out; old software encodes it."""
    by, key = issuing(scans), new_key("ec")
    leaf = issue(name("fleet.test"), key, by, NOW - DAY, NOW + DAY, NAMES)
    der = signed(leaf, by, with_extension("551d13", bytes.fromhex("3003010100")))
    fault = ChainFault(20, 0, crypto.load_certificate(crypto.FILETYPE_ASN1, der))
    verdict, _ = judge("fleet.test", Leaf.read(leaf), [fault], NOW, [])
    assert verdict is Verdict.INCOMPLETE_CHAIN


def test_a_malformed_list_of_names_does_not_hide_another_one(scans: Scans) -> None:
    scans.leaf()
    der = signed(scans.certificate, issuing(scans), with_extension("551d11", b"\xff\xff\xff"))
    assert Leaf.read(readable(der)).alt_names == ("fleet.test",)


def whole(change: Change) -> Callable[[Scans], list[bytes]]:
    """A chain whose first certificate has a change."""

    def chain(scans: Scans) -> list[bytes]:
        by = issuing(scans)
        return [signed(scans.certificate, by, change), by.certificate.public_bytes(DERS)]

    return chain


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        (whole(organization(0x1A, b"Fleet")), "mstring wrong tag"),  # VisibleString
        (whole(organization(0x0C, b"Fl\xffet")), "invalid utf8string"),
        (whole(until(UTC_TIME, b"2704151200Z")), "utctime is too short"),
        (whole(serial(b"\0\0\x05")), "illegal padding"),
        (lambda scans: [scans.certificate.public_bytes(DERS), b"\x30\x03abc"], "too long"),
    ],
    ids=[
        "VisibleString",
        "not UTF-8",
        "no seconds",
        "zeros in front",
        "a garbled issuer",
    ],
)
@pytest.mark.parametrize("is_newer", [False, True])
async def test_certificates_that_openssl_can_not_read_are_shown_all_the_same(
    chain: Callable[[Scans], list[bytes]], said: str, is_newer: bool, scans: Scans
) -> None:
    """As far as a server sends them in clear, which it does before TLS 1.3."""
    scans.leaf()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_newer and b"\x03\x04\x03\x03" in await reader.read(65536):
            writer.write(b"\x16\x03\x03\x00\x05abcde")
            return
        sent = b"".join(len(der).to_bytes(3, "big") + der for der in chain(scans))
        hello = bytes.fromhex("0303") + bytes(32) + b"\0" + bytes.fromhex("c02b00")
        for kind, body in ((2, hello), (11, len(sent).to_bytes(3, "big") + sent), (14, b"")):
            message = bytes([kind]) + len(body).to_bytes(3, "big") + body
            writer.write(b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message)
        await reader.read()

    async with fleets.serve(talk) as port:
        scanner = Scanner(scans.guard, scans.trust, 5.0)
        found = await scanner.scan(Target("fleet.test", port), NOW)
    assert found.verdict is Verdict.HANDSHAKE_FAILED
    assert is_newer or found.message == f"The TLS handshake failed: {said}"
    assert found.leaf is not None
    assert (found.leaf.subject_cn, found.leaf.issuer_cn) == ("fleet.test", "Fleet Issuing CA")
    assert (found.leaf.alt_names, found.leaf.not_after) == (("fleet.test",), ENDS)


async def test_nobody_is_asked_about_a_chain_that_can_not_be_decoded(
    scans: Scans, ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL may trust it all the same; that is told as unknown, and not as good."""

    def fail(_: bytes) -> NoReturn:
        raise ValueError("the certificate can't be decoded")

    monkeypatch.setattr("bot.embedded.scan.tls.read_certificate", fail)
    found = await scans.scan(scans.leaf(points(ca.url("a.crl"))))
    assert found.verdict is Verdict.VALID
    assert found.revocation == "unknown: the chain can't be decoded"
    assert ca.asked == []


async def test_an_issuer_that_only_openssl_can_read_may_have_expired(
    scans: Scans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> NoReturn:
        raise ValueError("the certificate can't be decoded")

    root, key = scans.fleet.authorities["root"], new_key("ec")
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    old = issue(name("Old CA"), key, root, NOW - 900 * DAY, NOW - 400 * DAY, constraints)
    path = scans.leaf(by=Authority(old, key))
    monkeypatch.setattr("bot.embedded.scan.tls.read_certificate", fail)
    assert (await scans.scan(path)).verdict is Verdict.EXPIRED


def test_what_is_no_certificate_at_all_is_refused() -> None:
    for der in (b"", b"\x30", b"\x30\x03\x02\x01\x05", bytes(50)):
        with pytest.raises(ValueError, match="can't be decoded"):
            readable(der)


async def test_a_revocation_is_found_on_the_path_to_the_right_one_of_two_twins(
    scans: Scans, ca: CA, tmp_path: Path
) -> None:
    twins = [authority(name("Twin Root")), authority(name("Twin Root"))]
    path = scans.leaf(points(ca.url("a.crl")), by=twins[1])
    ca.documents["a.crl"] = crl(twins[1], scans.certificate)
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(b"".join(pem(each.certificate) for each in twins))
    scanner = Scanner(scans.guard, Trust(anchors), 5.0, revocations=scans.revocations)
    context = scans.fleet.context(path)
    async with fleets.serve(fleets.web_server(), context=context) as port:
        found = await scanner.scan(Target("fleet.test", port), NOW)
    assert found.verdict is Verdict.REVOKED
