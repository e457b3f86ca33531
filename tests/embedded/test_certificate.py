import ssl
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, mldsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from bot.embedded.scan.certificate import Leaf, read_certificate
from bot.embedded.scan.dns import is_address
from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.judge import judge
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict, color, printable, sentence
from bot.target import NO_HANDSHAKE, Target

from .fleet import (
    DAY,
    FIXTURES,
    NOW,
    Fleet,
    general_name,
    issue,
    name,
    new_key,
    pem,
    private_pem,
    serve,
    web_server,
)
from .fleet import Leaf as FleetLeaf


def leaf(*names: str, issuer_o: str = "O") -> Leaf:
    addresses = frozenset(name for name in names if is_address(name))
    return Leaf("cn.test", "", "", "CN", issuer_o, "", names, NOW, NOW + DAY, addresses)


def test_names_match_hosts_as_in_browsers() -> None:
    for pattern, host, covered in [
        ("example.com", "example.com", True),
        ("EXAMPLE.com", "example.com", True),
        ("example.com", "www.example.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("*.EXAMPLE.com", "www.example.com", True),
        ("*.com", "example.com", False),
        ("*", "localhost", False),
        ("w*.example.com", "www.example.com", False),
        ("www.*.com", "www.example.com", False),
        ("*.0.0.1", "10.0.0.1", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("::1", "::1", True),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", True),
    ]:
        assert leaf("other.test", pattern).covers(host) is covered


def test_a_certificate_whose_dates_contradict_each_other_is_not_said_to_become_valid() -> None:
    never = replace(leaf("a.test"), not_before=NOW + 2 * DAY)
    verdict, message = judge("a.test", never, [], NOW, [])
    assert (verdict, message.endswith("UTC, but expires before that")) == (
        Verdict.NOT_YET_VALID,
        True,
    )
    later = replace(never, not_after=NOW + 3 * DAY)
    assert judge("a.test", later, [], NOW, [])[1].endswith("valid from 2027-01-17 12:00 UTC")


def test_blank_names_are_no_names() -> None:
    for names, said in (((" ", ""), "lists no host names"), (("", "b.test"), "is for b.test")):
        message = judge("a.test", leaf(*names), [], NOW, [])[1]
        assert message == f"Host name mismatch: the certificate {said}"


def test_a_dns_name_that_looks_like_an_address_covers_no_address() -> None:
    key = new_key("ec")
    names = x509.SubjectAlternativeName([x509.DNSName("10.0.0.1"), general_name("10.0.0.2")])
    facts = Leaf.read(issue(name("cn.test"), key, None, NOW - DAY, NOW + DAY, names))
    assert facts.alt_names == ("10.0.0.1", "10.0.0.2")
    assert (facts.covers("10.0.0.1"), facts.covers("10.0.0.2")) == (False, True)


async def test_an_address_that_is_listed_as_a_name_is_called_that(fleet: Fleet) -> None:
    key, by = new_key("ec"), fleet.authorities["intermediate"]
    names = x509.SubjectAlternativeName([x509.DNSName("127.0.0.1")])
    leaf = issue(name("a"), key, by, NOW - DAY, NOW + DAY, names)
    path = fleet.directory / "listed.pem"
    path.write_bytes(private_pem(key) + pem(leaf) + pem(by.certificate))
    async with serve(web_server(), context=fleet.context(path)) as port:
        scanner = Scanner(Guard(parse_allow("127.0.0.1")), Trust(fleet.ca_file))
        result = await scanner.scan(Target("127.0.0.1", port), NOW)
    said = (
        "Host name mismatch: the certificate lists 127.0.0.1 as a host name, not as an IP address"
    )
    assert (result.message, result.host_match) == (said, False)


def test_the_common_name_covers_no_host() -> None:
    assert not leaf().covers("cn.test")


@pytest.mark.parametrize(
    "names",
    [
        b"garbage",
        bytes.fromhex("3004a3020500"),  # an X.400 address, which `cryptography` cannot parse
        bytes.fromhex("30038201ff"),  # a DNS name that is not ASCII
    ],
)
def test_undecodable_alternative_names_are_ignored(names: bytes) -> None:
    key = new_key("ec")
    raw = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names)
    facts = Leaf.read(issue(name("cn.test"), key, None, NOW - DAY, NOW + DAY, raw))
    assert (facts.subject_cn, facts.alt_names, facts.covers("cn.test")) == ("cn.test", (), False)


def test_the_issuer_is_the_organization_or_else_the_common_name() -> None:
    assert (leaf().issuer, leaf(issuer_o="").issuer) == ("O", "CN")


def test_the_color_follows_from_verdict_and_days_left() -> None:
    for verdict, days, expected in [
        (Verdict.VALID, 31, "green"),
        (Verdict.VALID, 30, "orange"),
        (Verdict.VALID, 0, "orange"),
        (Verdict.EXPIRED, -1, "red"),
        (Verdict.HOST_MISMATCH, 90, "red"),
        (Verdict.OLD_PROTOCOL, 90, "red"),
        (Verdict.TIMED_OUT, None, "grey"),
        (Verdict.FORBIDDEN, None, "grey"),
        (Verdict.NOT_TLS, None, "grey"),
    ]:
        assert color(verdict, days) == expected


def test_every_verdict_has_a_sentence_and_only_valid_is_one_word() -> None:
    sentences = {verdict: sentence(verdict, "x") for verdict in Verdict}
    assert sentences.pop(Verdict.VALID) == "Valid"
    for text in sentences.values():
        assert text[0].isupper()
        assert " " in text
        assert not text.endswith(".")


def test_the_bot_recognizes_each_failure_without_a_handshake_by_its_sentence() -> None:
    for verdict in Verdict:
        no_handshake = color(verdict, 90) == "grey" and verdict is not Verdict.FORBIDDEN
        assert sentence(verdict, "x").startswith(NO_HANDSHAKE) is no_handshake


def test_hostile_text_becomes_one_printable_line_of_bounded_length() -> None:
    assert printable("a\0b\u202ec\nd") == "a\ufffdb\ufffdc\ufffdd"
    assert len(printable("x" * 1000)) == 200


@pytest.mark.parametrize(
    ("kind", "key", "signature"),
    [("rsa2048", "RSA 2048", "ecdsa-with-SHA256"), ("ec", "ECDSA secp256r1", "ecdsa-with-SHA256"),
     ("ed25519", "Ed25519", "ecdsa-with-SHA256")],
)  # fmt: skip
async def test_a_scan_names_the_cipher(kind: str, key: str, signature: str, fleet: Fleet) -> None:
    guard = Guard(parse_allow("127.0.0.1"), {"fleet.test": "127.0.0.1"})
    async with fleet.tls(FleetLeaf(key=kind)) as port:
        scanner = Scanner(guard, Trust(fleet.ca_file))
        found = (await scanner.scan(Target("fleet.test", port), NOW)).handshake
    assert (found.protocol, found.key, found.signature) == ("TLSv1.3", key, signature)
    assert found.cipher.startswith("TLS_")
    assert int(found.serial, 16) > 0


def test_every_kind_of_key_and_signature_has_its_name() -> None:
    digest = hashes.SHA256()
    elliptic = ec.generate_private_key(ec.BrainpoolP256R1())
    kinds: list[tuple[Any, Any, str, str]] = [
        (dsa.generate_private_key(1024), digest, "DSA 1024", "dsa-with-sha256"),
        (mldsa.MLDSA65PrivateKey.generate(), None, "ML-DSA-65", "ML-DSA-65"),
        (ed448.Ed448PrivateKey.generate(), None, "Ed448", "ed448"),
        (elliptic, hashes.SHA3_256(), "ECDSA brainpoolP256r1", "ecdsa_with_SHA3-256"),
    ]
    for key, algorithm, named, signed in kinds:
        builder = x509.CertificateBuilder(name("x"), name("x"), key.public_key(), 1, NOW, NOW + DAY)
        der = builder.sign(key, algorithm).public_bytes(Encoding.DER)
        found = read_certificate(der).handshake("", "")
        assert (found.key, found.signature) == (named, signed)
    sm2 = (FIXTURES / "sm2-self-signed.pem").read_text()
    found = read_certificate(ssl.PEM_cert_to_DER_cert(sm2)).handshake("", "")
    assert (found.key, found.signature) == ("", "SM2-with-SM3")
