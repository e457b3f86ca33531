"""The fleet's hosts, judged by OpenSSL's `s_client` too; docs/embedded.md explains differences."""

import asyncio
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bot.embedded.scan.dns import is_address
from bot.embedded.scan.tls import Trust
from bot.embedded.scan.verdict import Verdict

from . import fleet as fleets
from .authority import CA, Scans, crl, issuing, points
from .fleet import DAY, NOW, Authority, Fleet, name, pem
from .test_every_host import authority, serve
from .test_scan import CASES, Case, scan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed"),
]
DOCS = Path(__file__).parents[2] / "docs" / "embedded.md"
#: The hosts on which we differ, by the row in the docs that explains it.
DIFFERENCES: dict[str, tuple[str, ...]] = {
    "common name only": ("cn-only",),
    "client certificate wanted": ("mtls-tls12",),
    "anchors of one name": ("second-twin", "named-like-its-ca"),
}


async def s_client(
    host: str,
    port: int,
    ca_file: Path,
    *more: str,
    address: str = "127.0.0.1",
    seconds: float = 20.0,
) -> tuple[bool, str]:
    """Whether OpenSSL takes a host for good, and what it says."""
    where = f"[{address}]" if ":" in address else address
    named = ("-verify_ip", host) if is_address(host) else ("-verify_hostname", host)
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"{where}:{port}", "-brief", "-partial_chain"),
        *("-CAfile", str(ca_file), "-no-CApath", "-verify_return_error", "-verify", "9"),
        *("-attime", str(int(NOW.timestamp())), "-purpose", "sslserver", *named, *more),
        *(() if is_address(host) else ("-servername", host)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds):
            said, _ = await process.communicate(b"GET / HTTP/1.0\r\n\r\n")
    except TimeoutError:
        process.kill()
        await process.wait()
        return False, "it did not end"
    text = said.decode(errors="replace")
    return "Verification: OK" in text, text


def told(name: str) -> str:
    """The name of the difference that the docs explain, empty where there must be none."""
    return next((each for each, hosts in DIFFERENCES.items() if name in hosts), "")


def agrees(name: str, ours: Verdict, theirs: tuple[bool, str]) -> None:
    """Both judges say the same, unless the docs say why they don't."""
    differs = (ours is Verdict.VALID) is not theirs[0]
    assert differs is bool(told(name)), f"{name}: {ours}, and OpenSSL: {theirs[1]}"


@pytest.mark.parametrize("name", CASES)
async def test_openssl_agrees_on_the_fleet(name: str, fleet: Fleet, trust: Trust) -> None:
    case: Case = CASES[name]
    silent = case.verdict is Verdict.TIMED_OUT
    deadline, seconds = (0.2, 1.0) if silent else (5.0, 20.0)
    async with case.serve(fleet) as port:
        ours = await scan(trust, case.host, port, address=case.address, deadline=deadline)
        theirs = await s_client(
            case.host, port, fleet.ca_file, address=case.address, seconds=seconds
        )
    agrees(name, ours.verdict, theirs)


@pytest.mark.parametrize("revoked", ["nothing", "leaf", "another", "too late"])
async def test_openssl_agrees_on_them(revoked: str, scans: Scans, ca: CA, tmp_path: Path) -> None:
    """It reads the list from a file; an outdated list is an error to it, and a remark to us."""
    path = scans.leaf(points(ca.url("a.crl")))
    other = scans.fleet.authorities["root"].certificate
    listed = {"leaf": [scans.certificate], "another": [other], "too late": [scans.certificate]}
    until = NOW - DAY if revoked == "too late" else NOW + DAY
    entries = listed.get(revoked, ())
    ca.documents["a.crl"] = crl(issuing(scans), *entries, since=NOW - 9 * DAY, until=until)
    file = tmp_path / "list.pem"
    loaded = x509.load_der_x509_crl(ca.documents["a.crl"])
    file.write_bytes(loaded.public_bytes(Encoding.PEM))
    ours = await scans.scan(path)
    async with fleets.serve(fleets.web_server(), context=scans.fleet.context(path)) as port:
        checked = ("-crl_check", "-CRL", str(file))
        good, text = await s_client("fleet.test", port, scans.fleet.ca_file, *checked)
    if revoked == "too late":
        assert (ours.verdict, good) == (Verdict.VALID, False)
        assert "CRL has expired" in text
        assert ours.revocation.startswith("unknown: ")
        return
    assert good is (ours.verdict is Verdict.VALID)
    assert ("certificate revoked" in text) is (ours.verdict is Verdict.REVOKED)


def _hosts() -> dict[str, tuple[Sequence[Authority], Authority, x509.Name, Sequence[Authority]]]:
    """Anchors, the signer of the host's certificate, its name, and what is sent with it."""
    root, twins = authority(name("Private Root")), [authority(name("Twin Root")) for _ in "12"]
    between, same = authority(name("Private CA"), root), authority(name("fleet.test"))
    plain = name("fleet.test")
    return {
        "issuing-ca": ([between], between, plain, [between]),
        "issuing-ca-not-sent": ([between], between, plain, []),
        "first-twin": (twins, twins[0], plain, []),
        "second-twin": (twins, twins[1], plain, []),
        "twin-that-is-no-anchor": (twins[:1], twins[1], plain, []),
        "named-like-its-ca": ([same], same, plain, []),
    }


@pytest.mark.parametrize("host", list(_hosts()))
async def test_openssl_agrees_on_private_anchors(host: str, fleet: Fleet, tmp_path: Path) -> None:
    anchors, signer, subject, sent = _hosts()[host]
    file = tmp_path / "anchors.pem"
    file.write_bytes(b"".join(pem(each.certificate) for each in anchors))
    serving = serve(fleet, tmp_path, signer, subject=subject, sent=tuple(sent))
    async with serving as port:
        ours = await scan(Trust(file), "fleet.test", port)
        theirs = await s_client("fleet.test", port, file)
    agrees(host, ours.verdict, theirs)


def test_the_docs_explain_each_difference() -> None:
    section = DOCS.read_text().partition("## Compared with OpenSSL")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \| [^|]+ \| [^|]+ \|$", section, re.MULTILINE)
    assert {*rows} >= {*DIFFERENCES, "outdated revocation list"}
