"""OCSP, for certificates without a revocation list; and malformed lists and responses."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from bot.embedded.ca import ocsp as ocsps
from bot.embedded.ca.crl import Unreadable
from bot.embedded.ca.crl import read as read_list
from bot.embedded.scan.verdict import Verdict

from .authority import (
    CA,
    DERS,
    HOURS,
    NAMES,
    NO_CA,
    Scans,
    crl,
    issuing,
    points,
)
from .fleet import DAY, NOW, Authority, Fleet, issue, name, new_key


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
    signer: Authority | None = None,
    since: datetime = NOW - HOURS,
    until: datetime | None = NOW + DAY,
) -> bytes:
    status = ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
    signer = signer or by
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf, by.certificate, hashes.SHA1(), status, since, until,
        NOW - DAY if revoked else None, x509.ReasonFlags.superseded if revoked else None,
    )  # fmt: skip
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(DERS)


@pytest.mark.parametrize("revoked", [True, False])
async def test_ocsp_is_asked_where_there_is_no_list(revoked: bool, scans: Scans, ca: CA) -> None:
    path = scans.leaf(responder(ca.url("ocsp")))
    ca.documents["ocsp"] = response(issuing(scans), scans.certificate, revoked=revoked)
    found = await scans.scan(path)
    said = "Revoked 2027-01-14 (superseded)" if revoked else "Valid"
    assert (found.message, len(ca.asked)) == (said, 1)


async def test_a_list_comes_before_ocsp(scans: Scans, ca: CA) -> None:
    path = scans.leaf(points(ca.url("a.crl")), responder(ca.url("ocsp")))
    ca.documents["a.crl"] = crl(issuing(scans))
    assert (await scans.scan(path)).revocation == "good"
    assert [path for path, _ in ca.asked] == ["/a.crl"]


async def test_a_response_that_names_no_next_one_counts_for_a_week(scans: Scans) -> None:
    scans.leaf()
    leaf, by = scans.certificate, issuing(scans)

    def read(days: int) -> object:
        said = response(by, leaf, revoked=False, since=NOW - days * DAY, until=None)
        return ocsps.read(said, leaf, by.certificate, NOW)[0]

    assert read(days=6) is None
    with pytest.raises(Unreadable, match="out of date"):
        read(days=8)


async def test_a_responder_whose_clock_is_a_little_ahead_is_believed(scans: Scans, ca: CA) -> None:
    path, soon = scans.leaf(responder(ca.url("ocsp"))), NOW + timedelta(minutes=1)
    said = response(issuing(scans), scans.certificate, revoked=False, since=soon)
    ca.documents["ocsp"] = said
    assert (await scans.scan(path)).revocation == "good"


async def test_an_ocsp_response_of_somebody_else_is_a_remark(scans: Scans, ca: CA) -> None:
    path = scans.leaf(responder(ca.url("ocsp")))
    stranger = scans.fleet.authorities["stranger"]
    ca.documents["ocsp"] = response(issuing(scans), scans.certificate, signer=stranger)
    found = await scans.scan(path)
    assert found.verdict is Verdict.VALID
    assert found.revocation == "unknown: the OCSP response can't be read"


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


def test_a_thousand_malformed_lists_and_responses_are_unreadable_or_say_the_truth(
    fleet: Fleet,
) -> None:
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
