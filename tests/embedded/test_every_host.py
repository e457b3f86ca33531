"""Hosts that are right in an unusual way: odd anchors, odd names, odd encodings."""

import asyncio
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from bot.embedded.ca.anchors import reconsidered
from bot.embedded.ca.encoding import readable
from bot.embedded.scan.certificate import Leaf as Facts
from bot.embedded.scan.judge import judge
from bot.embedded.scan.tls import ChainFault, Trust
from bot.embedded.scan.verdict import Verdict

from . import fleet as fleets
from .fleet import DAY, NOW, Authority, Fleet, Leaf, Serving, issue, name, new_key, pem, private_pem
from .serving import scan

CA = x509.BasicConstraints(ca=True, path_length=None)
NO_CA = x509.BasicConstraints(ca=False, path_length=None)
NAMES = x509.SubjectAlternativeName([x509.DNSName("fleet.test")])


def authority(subject: x509.Name, issuer: Authority | None = None) -> Authority:
    key = new_key("ec")
    return Authority(issue(subject, key, issuer, NOW - 900 * DAY, NOW + 900 * DAY, CA), key)


def trusting(directory: Path, *anchors: Authority, newline: bytes = b"\n") -> Trust:
    file = directory / "anchors.pem"
    written = b"".join(pem(each.certificate) for each in anchors)
    file.write_bytes(written.replace(b"\n", newline))
    return Trust(file)


def serve(
    fleet: Fleet,
    directory: Path,
    by: Authority,
    *,
    subject: x509.Name | None = None,
    left: float = 90,
    sent: tuple[Authority, ...] = (),
    change: tuple[bytes, bytes] | None = None,
    extensions: tuple[x509.ExtensionType, ...] = (NO_CA, NAMES),
) -> Serving:
    """A server whose certificate `by` signed; `change` replaces bytes of its DER, unsigned."""
    key = new_key("ec")
    ends = NOW + left * DAY
    leaf = issue(subject or name("fleet.test"), key, by, NOW - DAY * 90, ends, *extensions)
    der = leaf.public_bytes(serialization.Encoding.DER)
    if change:
        assert der.count(change[0]) == 1
        der = der.replace(*change)
    path = directory / "server.pem"
    private = private_pem(key)
    chain = b"".join(pem(each.certificate) for each in sent)
    path.write_bytes(private + fleets.pem_of(der) + chain)
    return fleets.serve(fleets.web_server(), context=fleet.context(path))


@pytest.mark.parametrize("is_sent", [True, False])
async def test_an_issuing_ca_may_be_the_anchor(is_sent: bool, fleet: Fleet, tmp_path: Path) -> None:
    root = authority(name("Private Root"))
    issuing = authority(name("Private Issuing CA"), root)
    trust = trusting(tmp_path, issuing)
    sent = (issuing,) if is_sent else ()
    result = await scan(trust, serve(fleet, tmp_path, issuing, sent=sent))
    assert (result.verdict, result.message) == (Verdict.VALID, "Valid")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("signer", [0, 1])
async def test_anchors_that_share_a_name_are_told_apart_by_their_signatures(
    signer: int, newline: bytes, fleet: Fleet, tmp_path: Path
) -> None:
    twins = [authority(name("Twin Root")), authority(name("Twin Root"))]
    trust = trusting(tmp_path, *twins, newline=newline)
    result = await scan(trust, serve(fleet, tmp_path, twins[signer]))
    assert (result.verdict, result.message) == (Verdict.VALID, "Valid")


async def test_only_the_twin_that_signed_makes_a_chain_valid(fleet: Fleet, tmp_path: Path) -> None:
    twins = [authority(name("Twin Root")), authority(name("Twin Root"))]
    between = authority(name("Issuing CA"), twins[1])
    trust = trusting(tmp_path, *twins)
    result = await scan(trust, serve(fleet, tmp_path, between, sent=(between,)))
    assert result.message == "Valid"
    result = await scan(trust, serve(fleet, tmp_path, between, sent=(between,), left=-2))
    assert result.message == "Expired 2027-01-13"

    trusted, stranger = authority(name("Twin Root")), authority(name("Twin Root"))
    result = await scan(trusting(tmp_path, trusted), serve(fleet, tmp_path, stranger))
    assert result.verdict is not Verdict.VALID


async def test_who_is_named_like_its_issuer_is_told_apart(fleet: Fleet, tmp_path: Path) -> None:
    ca = authority(name("fleet.test"))
    trust = trusting(tmp_path, ca)
    result = await scan(trust, serve(fleet, tmp_path, ca, subject=name("fleet.test")))
    assert (result.verdict, result.message) == (Verdict.VALID, "Valid")
    expired = serve(fleet, tmp_path, ca, subject=name("fleet.test"), left=-1)
    assert (await scan(trust, expired)).verdict is Verdict.EXPIRED

    root = authority(name("Private CA"))
    between = authority(name("Private CA"), root)
    trust = trusting(tmp_path, root)
    result = await scan(trust, serve(fleet, tmp_path, between, sent=(between,)))
    assert (result.verdict, result.message) == (Verdict.VALID, "Valid")
    expired = serve(fleet, tmp_path, between, sent=(between,), left=-5)
    assert (await scan(trust, expired)).verdict is Verdict.EXPIRED


@pytest.mark.parametrize(
    "limit",
    [
        x509.NameConstraints(None, [x509.DNSName("fleet.test")]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
    ],
)
async def test_what_a_ca_may_not_issue_is_not_valid_though_it_is_named_alike(
    limit: x509.ExtensionType, fleet: Fleet, tmp_path: Path
) -> None:
    root, key, subject = authority(name("Private Root")), new_key("ec"), name("fleet.test")
    between = Authority(issue(subject, key, root, NOW - DAY, NOW + 90 * DAY, CA, limit), key)
    serving = serve(fleet, tmp_path, between, subject=subject, sent=(between,))
    assert (await scan(trusting(tmp_path, root), serving)).verdict is not Verdict.VALID


async def test_a_sent_issuer_is_not_missing(fleet: Fleet, trust: Trust, tmp_path: Path) -> None:
    """A CA that was renewed with another key, and the server sends the wrong certificate of it."""
    root, subject = fleet.authorities["root"], name("Renewed CA")
    keys = [new_key("ec") for _ in range(2)]
    ids = [x509.SubjectKeyIdentifier.from_public_key(each.public_key()) for each in keys]
    old, new = (
        Authority(issue(subject, key, root, NOW - DAY, NOW + 90 * DAY, CA, own), key)
        for key, own in zip(keys, ids, strict=True)
    )
    named = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ids[0])
    result = await scan(trust, serve(fleet, tmp_path, old, extensions=(NAMES, named), sent=(new,)))
    assert result.message == "Untrusted: the chain could not be verified at “fleet.test”"


async def test_self_signed_means_just_that(fleet: Fleet, trust: Trust, tmp_path: Path) -> None:
    result = await scan(trust, fleet.tls(Leaf(by="itself")))
    assert result.verdict is Verdict.SELF_SIGNED
    stranger = authority(name("fleet.test"))
    for sent, said in (((), "Incomplete chain: the server sends"), ((stranger,), "Untrusted: ")):
        serving = serve(fleet, tmp_path, stranger, subject=name("fleet.test"), sent=sent)
        assert (await scan(trust, serving)).message.startswith(said)


@pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")
async def test_an_old_digest_may_be_self_signed(fleet: Fleet, trust: Trust, tmp_path: Path) -> None:
    key, path = new_key("ec"), tmp_path / "server.pem"
    dated = issue(name("fleet.test"), key, None, NOW - DAY, NOW + DAY, NAMES)
    private, own = crypto.PKey.from_cryptography_key(key), crypto.X509.from_cryptography(dated)
    own.sign(private, "sha1")  # `cryptography` neither signs so nor checks it
    files = crypto.dump_privatekey(1, private), crypto.dump_certificate(1, own)
    path.write_bytes(b"".join(files))
    result = await scan(trust, fleets.serve(fleets.web_server(), context=fleet.context(path)))
    assert result.message.startswith("Self-signed")


async def test_an_extension_that_encodes_its_default_hides_neither_names_nor_dates(
    fleet: Fleet, trust: Trust, tmp_path: Path
) -> None:
    """`critical` is FALSE by default; DER leaves it out, and OpenSSL doesn't mind it."""
    by = fleet.authorities["intermediate"]
    original = bytes.fromhex("0603551d13") + b"\x01\x01\xff"  # basicConstraints, critical
    serving = serve(fleet, tmp_path, by, sent=(by,), change=(original, original[:-1] + b"\x00"))
    result = await scan(trust, serving)
    assert result.leaf is not None
    assert result.verdict is not Verdict.HANDSHAKE_FAILED
    assert result.leaf.alt_names == ("fleet.test",)
    assert result.leaf.not_after == NOW + 90 * DAY


def latin(o: str) -> x509.Name:
    """A name whose O is of type T61String, in Latin-1."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, o),
            x509.NameAttribute(NameOID.COMMON_NAME, "Old Issuing CA"),
        ]
    )


@pytest.mark.parametrize(
    ("kind", "text", "encoded"),
    [
        (0x14, "Müller AG", "Müller AG".encode("latin-1")),
        (0x1E, "Zürich", "Zürich".encode("utf-16-be")),
        (0x16, "Plain Ltd", b"Plain Ltd"),
        (0x34, "Müller AG", b"\x14\x03M\xfcl\x14\x06ler AG"),
    ],
    ids=["T61String", "BMPString", "IA5String", "string in pieces"],
)
async def test_a_name_of_any_string_type_is_shown_and_hides_no_other(
    kind: int, text: str, encoded: bytes, *, fleet: Fleet, trust: Trust, tmp_path: Path
) -> None:
    plain = "X" * len(encoded)
    by = authority(latin(plain))
    was = bytes([0x0C, len(plain)]) + plain.encode()
    result = await scan(
        trust,
        serve(fleet, tmp_path, by, change=(was, bytes([kind, len(encoded)]) + encoded)),
    )
    assert result.leaf is not None
    leaf = result.leaf
    assert (leaf.issuer_cn, leaf.issuer_o, leaf.issuer_c) == ("Old Issuing CA", text, "DE")


async def test_a_server_that_wants_a_dot_takes_our_ehlo(fleet: Fleet, trust: Trust) -> None:
    context = fleet.context(fleet.file(Leaf()))

    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test ESMTP\r\n")
        word = (await reader.readline()).split()[1]
        if b"." not in word:
            writer.write(b"504 need a full name\r\n")
            return
        writer.write(b"250-mail.test\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go ahead\r\n")
        await fleets.shake_hands(context, reader, writer)

    result = await scan(trust, fleets.serve(smtp), "smtp")
    assert (result.verdict, result.message) == (Verdict.VALID, "Valid")


async def test_a_pinned_certificate_is_its_own_anchor(fleet: Fleet, tmp_path: Path) -> None:
    """Whoever signed it, and also beside its predecessor of the same name."""
    private = authority(name("Private CA"))
    serving = serve(fleet, tmp_path, private)
    leaf = x509.load_pem_x509_certificates((tmp_path / "server.pem").read_bytes())[0]
    twin = issue(name("fleet.test"), new_key("ec"), private, NOW - DAY, NOW + DAY, NO_CA, NAMES)
    pinned = [Authority(each, private.key) for each in (twin, leaf)]
    result = await scan(trusting(tmp_path, *pinned), serving)
    assert (result.verdict, result.message) == (Verdict.VALID, "Valid")


async def test_what_is_no_ca_issues_nothing_even_if_pinned(fleet: Fleet, tmp_path: Path) -> None:
    root, key = authority(name("Private CA")), new_key("ec")
    subject = name("Private CA")
    server = issue(subject, key, root, NOW - DAY, NOW + 90 * DAY, NO_CA, NAMES)
    thief = Authority(server, key)
    forged = serve(fleet, tmp_path, thief, subject=subject, sent=(thief,))
    assert (await scan(trusting(tmp_path, root), forged)).verdict is not Verdict.VALID

    key, subject = new_key("ec"), name("fleet.test")
    pinned = Authority(issue(subject, key, None, NOW - DAY, NOW + DAY, NO_CA, NAMES), key)
    serving = serve(fleet, tmp_path, pinned, subject=subject)
    assert (await scan(trusting(tmp_path, pinned), serving)).verdict is not Verdict.VALID


async def test_the_valid_one_of_two_renewed_anchors_counts(fleet: Fleet, tmp_path: Path) -> None:
    key, subject = new_key("ec"), name("Private CA")
    old, new = (
        Authority(issue(subject, key, None, NOW - 900 * DAY, NOW + days * DAY, CA), key)
        for days in (-10, 900)
    )
    result = await scan(trusting(tmp_path, old, new), serve(fleet, tmp_path, new))
    assert (result.verdict, result.message) == (Verdict.VALID, "Valid")


@pytest.mark.parametrize(
    ("purpose", "verdict"),
    [
        (ExtendedKeyUsageOID.SERVER_AUTH, Verdict.VALID),
        (ExtendedKeyUsageOID.CLIENT_AUTH, Verdict.EXPIRED),
    ],
)
async def test_an_expired_root_that_another_one_signed_anew_breaks_no_chain(
    purpose: x509.ObjectIdentifier, verdict: Verdict, fleet: Fleet, tmp_path: Path
) -> None:
    """Unless it was signed for another purpose."""
    newer, key, subject = authority(name("Newer Root")), new_key("ec"), name("Old Root")
    old = Authority(issue(subject, key, None, NOW - 900 * DAY, NOW - 9 * DAY, CA), key)
    usage = x509.ExtendedKeyUsage([purpose])
    again = Authority(issue(subject, key, newer, NOW - 90 * DAY, NOW + 90 * DAY, CA, usage), key)
    between = authority(name("Issuing CA"), old)
    trust = trusting(tmp_path, old, newer)
    result = await scan(trust, serve(fleet, tmp_path, between, sent=(between, again)))
    assert result.verdict is verdict


def test_a_signature_that_nobody_can_verify_does_not_make_a_chain_incomplete() -> None:
    """SM2 signs an ID too, which isn't in the certificate."""
    file = (fleets.FIXTURES / "sm2-self-signed.pem").read_bytes()
    odd = crypto.load_certificate(crypto.FILETYPE_PEM, file)
    leaf = readable(crypto.dump_certificate(crypto.FILETYPE_ASN1, odd))
    fault = ChainFault(SSL.X509VerificationCodes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT, 0, odd)
    now = leaf.not_valid_before_utc
    assert judge("fleet.test", Facts.read(leaf), [fault], now, [])[0] is Verdict.SELF_SIGNED


async def test_what_is_wrong_with_a_chain_is_said(fleet: Fleet, tmp_path: Path) -> None:
    root = authority(name("Root"))
    foreign = x509.NameConstraints([x509.DNSName("other.test")], None)
    short = x509.BasicConstraints(ca=True, path_length=0)
    key = new_key("ec")
    dates = NOW - 900 * DAY, NOW + 900 * DAY
    limited = Authority(issue(name("Limited"), key, root, *dates, CA, foreign), key)
    lowest = Authority(issue(name("Lowest"), key, root, *dates, short), key)
    below = authority(name("Below"), lowest)
    garbled = (b"\x17\r270415120000Z", b"\x17\r270415126000Z")
    trust = trusting(tmp_path, root)
    for serving, why in (
        (serve(fleet, tmp_path, limited, sent=(limited,)), "a CA above it may not issue for its"),
        (serve(fleet, tmp_path, below, sent=(below, lowest)), "more CAs are below it than it"),
        (serve(fleet, tmp_path, root, change=garbled), "its signature is wrong"),
    ):
        found = await scan(trust, serving)
        assert found.verdict is Verdict.UNTRUSTED
        assert "could not be verified at “" in found.message
        assert why in found.message, found.message


def test_certificates_that_all_sign_each_other_take_little_time() -> None:
    key, subject = new_key("ec"), name("Endless CA")
    many = [issue(subject, key, None, NOW - DAY, NOW + n * DAY, CA) for n in range(1, 10)]
    ders = [each.public_bytes(serialization.Encoding.DER) for each in many]
    anchor = authority(name("Private CA")).certificate
    missing = ChainFault(
        SSL.X509VerificationCodes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        0,
        crypto.X509.from_cryptography(many[0]),
    )
    start = time.process_time()
    assert reconsidered(many[0], ders[1:], [missing], [anchor], NOW).faults == [missing]
    assert time.process_time() - start < 1


async def test_an_anchor_that_may_not_issue_is_named(fleet: Fleet, tmp_path: Path) -> None:
    key = new_key("ec")
    since, ends = NOW - 900 * DAY, NOW + 900 * DAY
    no_ca = Authority(issue(name("No CA"), key, None, since, ends), key)
    result = await scan(trusting(tmp_path, no_ca), serve(fleet, tmp_path, no_ca))
    assert result.message == "Untrusted: “No CA” may not issue certificates for TLS servers"
