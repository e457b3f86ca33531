"""OCSP, for certificates without a revocation list; and malformed lists and responses."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from bot.embedded.ca import ocsp as ocsps
from bot.embedded.ca.crl import Unreadable
from bot.embedded.ca.crl import read as read_list
from bot.embedded.ca.encoding import Field, content, field, fields
from bot.embedded.scan.verdict import Verdict

from .authority import CA, DERS, HOURS, NAMES, NO_CA, Scans, crl, issuing, points
from .fleet import DAY, NOW, Authority, Fleet, issue, name, new_key
from .test_encoding import Change


def responder(url: str) -> x509.AuthorityInformationAccess:
    place = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)]
    )


def response(
    by: Authority,
    leaf: x509.Certificate,
    *,
    revoked: bool = True,
    reason: x509.ReasonFlags = x509.ReasonFlags.superseded,
    signer: Authority | None = None,
    since: datetime = NOW - HOURS,
    until: datetime | None = NOW + DAY,
    sent: Sequence[x509.Certificate] = (),
) -> bytes:
    status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
    signer = signer or by
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf, by.certificate, hashes.SHA1(), status, since, until,
        NOW - DAY if revoked else None, reason if revoked else None,
    )  # fmt: skip
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    builder = builder.certificates(sent) if sent else builder
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(DERS)


@pytest.mark.parametrize("revoked", [True, False])
async def test_ocsp_is_asked_where_there_is_no_list(revoked: bool, scans: Scans, ca: CA) -> None:
    path = scans.leaf(responder(ca.url("ocsp")))
    ca.documents["ocsp"] = response(issuing(scans), scans.certificate, revoked=revoked)
    found = await scans.scan(path)
    said = "Revoked 2027-01-14 (superseded)" if revoked else "Valid"
    assert (found.message, len(ca.asked)) == (said, 1)


@pytest.mark.slow
@pytest.mark.parametrize("by_list", [True, False])
async def test_a_certificate_stays_revoked_while_its_ca_is_slow_to_say_so_again(
    by_list: bool, scans: Scans, ca: CA
) -> None:
    path = scans.leaf(points(ca.url("x")) if by_list else responder(ca.url("x")))
    by, leaf = issuing(scans), scans.certificate
    ca.documents["x"] = crl(by, leaf) if by_list else response(by, leaf)
    assert (await scans.scan(path)).verdict is Verdict.REVOKED
    scans.restart()
    scans.clock.now += 7 * HOURS
    ca.gate, scans.deadline = asyncio.Event(), 0.5
    assert (await scans.scan(path)).verdict is Verdict.REVOKED
    ca.gate.set()
    await asyncio.gather(*scans.documents._running.values())
    ca.documents["x"] = crl(by) if by_list else response(by, leaf, revoked=False)
    scans.clock.now += 7 * HOURS
    assert (await scans.scan(path)).verdict is Verdict.VALID


async def test_a_list_comes_before_ocsp(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")), responder(ca.url("ocsp")))
    ca.documents["a.crl"] = crl(issuing(scans))
    assert (await scans.scan(path)).revocation == "good"
    assert [path for path, _ in ca.asked] == ["/a.crl"]


async def test_a_response_without_a_next_one_or_too_long_is_judged(scans: Scans) -> None:
    scans.leaf()
    leaf, by = scans.certificate, issuing(scans)

    def read(days: int) -> object:
        said = response(by, leaf, revoked=False, since=NOW - days * DAY, until=None)
        return ocsps.read(said, leaf, by.certificate, NOW)[0]

    assert read(days=6) is None
    with pytest.raises(Unreadable, match="out of date"):
        read(days=8)

    by, leaf = issuing(scans), scans.certificate
    long = response(by, leaf, signer=scans.fleet.authorities["root"], sent=400 * [leaf])
    with pytest.raises(Unreadable, match="too long"):
        ocsps.read(long, leaf, by.certificate, NOW)

    leaf, by = scans.certificate, issuing(scans)
    only_crls = x509.KeyUsage(False, False, False, False, False, False, True, False, False)
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    delegate = certified(scans, by, purpose, only_crls)
    body = response(by, leaf, signer=delegate, sent=[delegate.certificate])
    with pytest.raises(Unreadable, match="somebody else"):
        ocsps.read(body, leaf, by.certificate, NOW)


async def test_a_responder_whose_clock_is_a_little_ahead_is_believed(scans: Scans, ca: CA) -> None:
    path, soon = scans.leaf(responder(ca.url("ocsp"))), NOW + timedelta(minutes=1)
    said = response(issuing(scans), scans.certificate, revoked=False, since=soon)
    ca.documents["ocsp"] = said
    assert (await scans.scan(path)).revocation == "good"


async def test_an_answer_of_or_about_somebody_else_is_a_remark(scans: Scans, ca: CA) -> None:
    path = scans.leaf(responder(ca.url("ocsp")))
    stranger = scans.fleet.authorities["stranger"]
    ca.documents["ocsp"] = response(issuing(scans), scans.certificate, signer=stranger)
    found = await scans.scan(path)
    assert found.verdict is Verdict.VALID
    assert found.revocation == "unknown: the OCSP response is signed by somebody else"

    scans.clock.now += timedelta(minutes=11)
    twin = Authority(scans.fleet.authorities["stranger"].certificate, issuing(scans).key)
    ca.documents["ocsp"] = response(twin, scans.certificate, signer=issuing(scans))
    said = (await scans.scan(path)).revocation
    assert said == "unknown: the OCSP response is about another certificate"

    scans.clock.now += timedelta(minutes=11)
    by, leaf = issuing(scans), scans.certificate
    good = response(by, leaf, revoked=False)
    stale = response(by, leaf, reason=x509.ReasonFlags.superseded, until=NOW - HOURS / 2)
    revoked = response(by, leaf, reason=x509.ReasonFlags.ca_compromise)
    ca.documents["ocsp"] = together(by, good, stale, revoked)
    assert (await scans.scan(path)).revocation == "revoked 2027-01-14 (CA compromise)"


def certified(
    scans: Scans, by: Authority, *usage: x509.ExtensionType, kind: str = "ec"
) -> Authority:
    """Somebody with a certificate by this authority, for this usage."""
    key = new_key(kind)
    return Authority(issue(name("Responder"), key, by, NOW - DAY, NOW + DAY, NO_CA, *usage), key)


@pytest.mark.parametrize(
    ("may_sign", "by_issuer", "said"),
    [(True, True, "revoked"), (False, True, "unknown"), (True, False, "unknown")],
)
async def test_a_responder_needs_a_certificate_of_the_issuer_for_that_purpose(
    may_sign: bool, by_issuer: bool, said: str, scans: Scans, ca: CA
) -> None:
    """Whatever other certificates come along."""
    path = scans.leaf(responder(ca.url("ocsp")))
    by = issuing(scans) if by_issuer else scans.fleet.authorities["root"]
    purpose = ExtendedKeyUsageOID.OCSP_SIGNING if may_sign else ExtendedKeyUsageOID.SERVER_AUTH
    delegate = certified(scans, by, x509.ExtendedKeyUsage([purpose]))
    others = [scans.fleet.authorities["root"].certificate, issuing(scans).certificate]
    ca.documents["ocsp"] = response(
        issuing(scans), scans.certificate, signer=delegate, sent=[*others, delegate.certificate]
    )
    assert (await scans.scan(path)).revocation.startswith(said)


def parts(response: bytes) -> list[Field]:
    """The fields of what a responder signs."""
    return list(fields(content(ocsp.load_der_ocsp_response(response).tbs_response_bytes)))


def sign(
    by: Authority, signed: list[Field], *, sent: Sequence[x509.Certificate] = (), pss: bool = False
) -> bytes:
    """A response with these fields; RSA keys sign with RSASSA-PSS (RFC 4055) if `pss`."""
    data = field(0x30, b"".join(field(*each) for each in signed))
    if pss:
        assert isinstance(by.key, rsa.RSAPrivateKey)
        algorithm, digest = bytes.fromhex(PSS_SHA256), hashes.SHA256()
        sealed = by.key.sign(data, padding.PSS(padding.MGF1(digest), 32), digest)
    else:
        assert isinstance(by.key, ec.EllipticCurvePrivateKey)
        algorithm = field(0x30, bytes.fromhex("06082a8648ce3d040302"))  # ecdsa-with-SHA256
        sealed = by.key.sign(data, ec.ECDSA(hashes.SHA256()))
    chain = field(0xA0, field(0x30, b"".join(each.public_bytes(DERS) for each in sent)))
    basic = field(0x30, data + algorithm + field(3, b"\0" + sealed) + (chain if sent else b""))
    kind = bytes.fromhex("06092b0601050507300101")  # id-pkix-ocsp-basic
    return field(0x30, b"\x0a\x01\0" + field(0xA0, field(0x30, kind + field(4, basic))))


PSS_SHA256 = (
    "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
)


def together(by: Authority, *responses: bytes) -> bytes:
    """One response with what several say."""
    responder_id, produced, *_ = parts(responses[0])
    singles = b"".join(parts(each)[2][1] for each in responses)
    return sign(by, [responder_id, produced, (0x30, singles)])


def critical(oid: str, *, single: bool) -> Change:
    """Add a critical extension to a response, or to its first answer."""
    extension = bytes.fromhex(oid) + b"\x01\x01\xff" + field(4, b"\x05\x00")
    added = (0xA1, field(0x30, field(0x30, extension)))

    def change(signed: list[Field]) -> None:
        if single:
            answer = content(signed[2][1])
            signed[2] = (0x30, field(0x30, answer + field(*added)))
        else:
            signed[3:] = [added]

    return change


@pytest.mark.parametrize("revoked", [True, False])
@pytest.mark.parametrize("single", [True, False])
async def test_a_response_with_an_unknown_critical_extension_says_nothing(
    single: bool, revoked: bool, scans: Scans, ca: CA
) -> None:
    """RFC 6960, section 4.4; a nonce is known, though nobody sent one."""
    path = scans.leaf(responder(ca.url("ocsp")))
    by, leaf = issuing(scans), scans.certificate
    told = "revoked 2027-01-14 (superseded)" if revoked else "good"
    strange = "unknown: the OCSP response has an unknown critical extension"
    for oid, said in (("06032a0304", strange), ("06092b0601050507300102", told)):
        signed = parts(response(by, leaf, revoked=revoked))
        critical(oid, single=single)(signed)
        ca.documents["ocsp"] = sign(by, signed)
        assert (await scans.scan(path)).revocation == said
        scans.clock.now += timedelta(minutes=11)


@pytest.mark.slow
def test_a_response_signed_with_pss_is_read(scans: Scans) -> None:
    scans.leaf()
    leaf, by = scans.certificate, issuing(scans)
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
    delegate = certified(scans, by, purpose, kind="rsa2048")
    sent, signed = [delegate.certificate], parts(response(by, leaf, signer=delegate))
    said, _ = ocsps.read(sign(delegate, signed, sent=sent, pss=True), leaf, by.certificate, NOW)
    assert str(said) == "2027-01-14 (superseded)"
    forged = sign(Authority(delegate.certificate, new_key("rsa2048")), signed, sent=sent, pss=True)
    with pytest.raises(Unreadable, match="somebody else"):
        ocsps.read(forged, leaf, by.certificate, NOW)


async def test_another_responder_is_asked_if_the_first_one_fails(scans: Scans, ca: CA) -> None:
    urls = (*responder(ca.url("down")), *responder(ca.url("ocsp")))
    path = scans.leaf(x509.AuthorityInformationAccess(urls))
    ca.documents["ocsp"] = response(issuing(scans), scans.certificate)
    assert (await scans.scan(path)).verdict is Verdict.REVOKED


async def test_a_busy_responder_is_asked_again_after_ten_minutes(scans: Scans, ca: CA) -> None:
    path = scans.leaf(responder(ca.url("ocsp")))
    busy = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    ca.documents["ocsp"] = busy.public_bytes(DERS)
    for _ in range(2):
        said = (await scans.scan(path)).revocation
        assert (said, len(ca.asked)) == ("unknown: the OCSP responder says try later", 1)
    ca.documents["ocsp"] = response(issuing(scans), scans.certificate)
    scans.clock.now += timedelta(minutes=11)
    assert (await scans.scan(path)).verdict is Verdict.REVOKED


def mutated(original: bytes, random: Random) -> bytes:
    """The bytes with a few replaced, removed or repeated."""
    data = bytearray(original)
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(data))
        match random.randrange(3):
            case 0:
                data[at] = random.randrange(256)
            case 1:
                del data[at : at + random.randint(1, 9)]
            case _:
                data[at:at] = data[at : at + random.randint(1, 9)]
        if not data:
            return b"\0"
    return bytes(data)


def test_malformed_lists_and_responses_are_unreadable_or_true(fleet: Fleet) -> None:
    random, by = Random(11), fleet.authorities["intermediate"]
    key = new_key("ec")
    leaf = issue(name("fleet.test"), key, by, NOW - DAY, NOW + DAY, NO_CA, NAMES)
    listed = crl(by, leaf, extensions=[(x509.CRLNumber(7), False)])
    said = response(by, leaf)
    for _ in range(500):
        with suppress(Unreadable):
            found = read_list(mutated(listed, random), by.certificate)
            assert leaf.serial_number in found.entries  # the signature still fits
        with suppress(Unreadable):
            answer, _until = ocsps.read(mutated(said, random), leaf, by.certificate, NOW)
            assert answer is not None
