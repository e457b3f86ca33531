"""When a CA asks for a renewal (RFC 9773), and what its server may answer instead."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import aiohttp
import pytest
import pytest_asyncio
import trustme
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from bot.embedded import EmbeddedAPI, EmbeddedSettings
from bot.embedded.ca.ari import ACMEServers, Renewals, certificate_id, retry_after
from bot.embedded.ca.crl import Unreadable
from bot.embedded.ca.documents import Document
from bot.embedded.scan.result import ASKED, Renewal, Scan
from bot.embedded.scan.verdict import Verdict
from bot.store.database import Database

from .authority import CA, HOURS, NO_CA, Scans
from .fleet import DAY, NOW, issue, name, new_key, serve, web_server

MINUTE = timedelta(minutes=1)
ISSUER = "Fleet Trust"
KEY = x509.AuthorityKeyIdentifier(bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4"), None,
                                  None)  # fmt: skip
WINDOW = (NOW + 5 * DAY, NOW + 7 * DAY)


def answer(start: object, end: object, **more: object) -> bytes:
    dates = [each.isoformat() if isinstance(each, datetime) else each for each in (start, end)]
    return json.dumps({"suggestedWindow": dict(zip(("start", "end"), dates, strict=True)), **more}
                      ).encode()  # fmt: skip


class ACME:
    """The ACME server of the issuing CA, and a host whose certificate it knows."""

    def __init__(self, scans: Scans, ca: CA, *, directory: str = "") -> None:
        self.scans, self.ca = scans, ca
        self.directory = directory or ca.url("directory")
        ca.documents["directory"] = json.dumps({"renewalInfo": ca.url("info/")}).encode()
        self.processes: list[ACMEServers] = []
        self.issue()
        self.restart()

    def issue(self) -> None:
        """Let the host have a certificate that nobody has asked about."""
        self.path = self.scans.leaf(KEY)
        self.name = f"info/{certificate_id(self.scans.certificate)}"

    def restart(self) -> None:
        self.servers = self.process(self.scans.database)
        self.scans.renewals = Renewals({ISSUER: self.directory}, self.servers)

    def process(self, database: Database) -> ACMEServers:
        """What another process on this database asks with."""
        context, scans = ssl.create_default_context(), self.scans
        made = ACMEServers(database, scans.guard, scans.clock, context, [self.directory])
        self.processes.append(made)
        return made

    async def close(self) -> None:
        for each in self.processes:
            await each.close()

    def says(self, body: bytes, **headers: str) -> None:
        self.ca.documents[self.name] = body
        self.ca.headers = {each.replace("_", "-"): text for each, text in headers.items()}

    async def scan(self) -> Scan:
        return await self.scans.scan(self.path)

    async def renewal(self) -> Renewal:
        found = await self.scan()
        assert found.verdict is Verdict.VALID
        return found.renewal

    @property
    def asked(self) -> int:
        """How often it was asked about the certificate."""
        return len([path for path, _ in self.ca.asked if path == f"/{self.name}"])


@pytest_asyncio.fixture
async def acme(scans: Scans, ca: CA) -> AsyncIterator[ACME]:
    acme = ACME(scans, ca)
    yield acme
    await acme.close()


def test_a_certificate_is_named_as_in_the_rfcs_example() -> None:
    key = new_key("ec")
    builder = x509.CertificateBuilder(name("x"), name("x"), key.public_key(), 0x87654321, NOW,
                                      NOW + DAY)  # fmt: skip
    made = builder.add_extension(KEY, critical=False).sign(key, hashes.SHA256())
    assert certificate_id(made) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    with pytest.raises(Unreadable, match="does not name its issuer's key"):
        certificate_id(issue(name("x"), key, None, NOW, NOW + DAY, NO_CA))


async def test_the_window_and_its_explanation_are_reported(acme: ACME) -> None:
    acme.says(answer(*WINDOW, explanationURL="https://ca.example/why?a=1"))
    assert await acme.renewal() == Renewal("known", *WINDOW, "https://ca.example/why?a=1")
    assert [path for path, _ in acme.ca.asked] == ["/directory", f"/{acme.name}"]
    for _, headers in acme.ca.asked:  # RFC 8555, section 6.1
        assert headers["User-Agent"].startswith("sslmonitor-bot ")
        assert headers["Accept-Encoding"] == "identity"


@pytest.mark.slow
async def test_an_explanation_that_nobody_should_follow_is_left_out(acme: ACME) -> None:
    for url in (
        *("javascript:alert(1)", "https://a.example/<b>|c", "https://u:p@a.example/", "https://"),
        *("https://a.example/\u202ehtml", "https://a.example/" + 600 * "x", 5, None),
        ["https://a"],
    ):
        acme.issue()
        acme.says(answer(*WINDOW, explanationURL=url))
        assert await acme.renewal() == Renewal("known", *WINDOW), url


@pytest.mark.slow
async def test_garbage_is_unknown_and_never_a_verdict(acme: ACME) -> None:
    for body, said in (
        (b"<html>moved</html>", "can't be read"),
        (b"", "answered with an empty document"),
        (b"[" * 100_000, "can't be read"),
        (b'{"x":' * 5000, "can't be read"),
        (b'{"suggestedWindow": null}', "can't be read"),
        (answer("2027-01-20T00:00:00", "2027-01-21T00:00:00"), "can't be read"),
        (answer(1, 2), "can't be read"),
        (answer("99999-01-01T00:00:00Z", "99999-01-02T00:00:00Z"), "can't be read"),
        (answer("0001-01-01T00:00:00+05:00", "2027-01-21T00:00:00Z"), "makes no sense"),
        (answer("2027-01-20T00:00:00Z", "9999-12-31T23:59:59-05:00"), "makes no sense"),
        (answer(*reversed(WINDOW)), "makes no sense"),
        (answer(NOW, NOW), "makes no sense"),
        (bytes(2**20 + 1), "larger than 1 MB"),
    ):
        acme.issue()
        acme.says(body)
        found = await acme.renewal()
        assert found.status.startswith("unknown: "), body[:100]
        assert said in found.status, body[:100]
        assert (found.start, found.end) == (None, None)


@pytest.mark.parametrize(
    ("directory", "said"),
    [
        (b"{}", "the answer of ca.test can't be read"),
        (b'{"renewalInfo": "ftp://ca.test/x"}', "no usable URL"),
        (b'{"renewalInfo": "http://[::1"}', "no usable URL"),
        (b'{"renewalInfo": "http://ca.test/\\u0000"}', "no usable URL"),
        (b'{"renewalInfo": "http://169.254.169.254/latest"}', "169.254.169.254 may not be asked"),
        (b'{"renewalInfo": "http://nowhere.invalid/"}', "could not be resolved"),
        (b'{"renewalInfo": "http://ca.test:PORT/moved?"}', "answered with HTTP 302"),
    ],
)
async def test_a_directory_leads_only_where_it_may(directory: bytes, said: str, acme: ACME) -> None:
    acme.ca.documents["directory"] = directory.replace(b"PORT", str(acme.ca.port).encode())
    assert said in (await acme.renewal()).status


async def test_a_redirect_is_not_followed(scans: Scans, ca: CA) -> None:
    acme = ACME(scans, ca, directory=ca.url("moved"))
    assert (await acme.renewal()).status == "unknown: ca.test answered with HTTP 302"
    await acme.close()


async def test_other_issuers_are_not_asked_about(acme: ACME) -> None:
    acme.scans.renewals = Renewals({"Let's Encrypt": acme.directory}, acme.servers)
    assert await acme.renewal() == Renewal()
    assert acme.ca.asked == []


async def test_an_answer_counts_for_as_long_as_it_says(acme: ACME) -> None:
    acme.says(answer(*WINDOW), Retry_After="3600")
    for minutes, asked in ((0, 1), (59, 1), (61, 2)):
        acme.scans.clock.now = NOW + minutes * MINUTE
        assert (await acme.renewal()).status == "known"
        assert acme.asked == asked


async def test_without_retry_after_any_process_asks_again_after_six_hours(acme: ACME) -> None:
    acme.says(answer(*WINDOW))
    await asyncio.gather(acme.scan(), acme.scan())
    acme.restart()
    assert (await acme.renewal()).status == "known"
    assert acme.asked == 1
    acme.scans.clock.now = NOW + 6 * HOURS
    acme.says(answer(NOW - 2 * HOURS, NOW - HOURS))
    assert (await acme.renewal()).end == NOW - HOURS
    assert acme.asked == 2


@pytest.mark.slow
async def test_two_processes_ask_once(acme: ACME, any_database: Database) -> None:
    acme.says(answer(*WINDOW))
    both = [Renewals({ISSUER: acme.directory}, acme.process(any_database)) for _ in range(2)]

    async def look(renewals: Renewals) -> str:
        certificate = acme.scans.certificate
        return [each.status async for each in renewals.look(certificate, ISSUER, NOW)][-1]

    first = await asyncio.gather(*map(look, both))
    assert first == ["known", "known"]  # who may not ask waits for who may
    assert [path for path, _ in acme.ca.asked] == ["/directory", f"/{acme.name}"]


def header(value: str, **more: str) -> timedelta | None:
    return retry_after({"Retry-After": value, **more}, NOW)


def test_retry_after_is_read_within_limits() -> None:
    assert header("3600") == HOURS
    assert header("0") == MINUTE
    assert header("-5") is None
    assert header("9" * 400) == DAY
    assert header("Fri, 15 Jan 2027 14:00:00 GMT") == 2 * HOURS
    assert header("Fri, 15 Jan 2027 11:00:00 GMT") == MINUTE
    assert header("soon") is None
    assert header("Fri, 99 Jan 99999999999 11:00:00 GMT") is None
    assert header("") is None
    wait = header("Sun, 17 Jan 2027 15:00:00 GMT", Date="Sun, 17 Jan 2027 12:00:00 GMT")
    assert wait == 3 * HOURS  # by the server's own clock


async def test_a_certificate_that_the_ca_does_not_know_is_unknown_for_six_hours(acme: ACME) -> None:
    for minutes, asked in ((0, 1), (5 * 60, 1), (6 * 60, 2)):
        acme.scans.clock.now = NOW + minutes * MINUTE
        assert (await acme.renewal()).status == "unknown: ca.test answered with HTTP 404"
        assert acme.asked == asked


async def test_a_window_of_a_certificate_that_is_no_longer_known_is_forgotten(acme: ACME) -> None:
    acme.says(answer(*WINDOW))
    await acme.renewal()
    acme.ca.status = 410
    acme.scans.clock.now = NOW + 7 * HOURS
    assert (await acme.renewal()).status == "unknown: ca.test answered with HTTP 410"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [(500, b"down", "answered with HTTP 500"), (403, b"no", "answered with HTTP 403"),
     (200, b"<html>", "can't be read"), (200, answer(NOW, NOW), "makes no sense")],
)  # fmt: skip
async def test_the_last_answer_of_a_ca_that_gives_no_other_counts_for_three_days(
    acme: ACME, status: int, body: bytes, said: str
) -> None:
    acme.says(answer(*WINDOW))
    await acme.renewal()
    acme.ca.documents, acme.ca.status = dict.fromkeys(acme.ca.documents, body), status
    acme.scans.clock.now = NOW + 3 * DAY
    assert await acme.renewal() == Renewal("known", *WINDOW)
    acme.scans.clock.now = NOW + 3 * DAY + HOURS
    assert said in (await acme.renewal()).status


async def test_an_overloaded_ca_is_left_alone_for_as_long_as_it_says(acme: ACME) -> None:
    acme.says(b"later", Retry_After="7200")
    acme.ca.documents["directory"], directory = b"", acme.ca.documents["directory"]
    acme.ca.status = 503
    assert (await acme.renewal()).status == "unknown: ca.test answered with HTTP 503"
    acme.ca.status, acme.ca.documents["directory"] = 200, directory
    acme.says(answer(*WINDOW))
    acme.scans.clock.now = NOW + 119 * MINUTE
    assert (await acme.renewal()).status == "unknown: ca.test answered with HTTP 503"
    acme.scans.clock.now = NOW + 121 * MINUTE
    assert (await acme.renewal()).status == "known"


async def test_all_leave_an_overloaded_ca_alone_for_the_longest_time(acme: ACME) -> None:
    await acme.servers.get(acme.directory)
    acme.ca.status = 429
    acme.says(b"later", Retry_After="7200")
    await acme.renewal()
    soon = {"Retry-After": "60"}
    await acme.servers._refused(Document("x", b"", None), acme.ca.url("x"), 429, soon, NOW)
    acme.restart()
    acme.path, asked = acme.scans.leaf(KEY), len(acme.ca.asked)
    acme.scans.clock.now = NOW + 119 * MINUTE
    assert (await acme.renewal()).status == "unknown: ca.test answered with HTTP 429"
    assert len(acme.ca.asked) == asked


@pytest.mark.slow
async def test_a_silent_ca_holds_up_no_other(acme: ACME, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.embedded.ca.documents.SECONDS", 0.2)
    await acme.servers.get(acme.directory)
    acme.ca.gate = asyncio.Event()
    said = "unknown: ca.test did not answer"
    assert (await acme.renewal()).status == said
    asked = len(acme.ca.asked)
    acme.issue()
    assert (await acme.renewal()).status == said
    assert len(acme.ca.asked) == asked
    acme.ca.gate.set()


async def test_pending_requests_are_limited(acme: ACME, monkeypatch: pytest.MonkeyPatch) -> None:
    await acme.servers.get(acme.directory)
    monkeypatch.setattr("bot.embedded.ca.documents.MOST_AWAITED", 1)
    acme.ca.gate = asyncio.Event()
    first = asyncio.create_task(acme.servers.get(acme.ca.url("x")))
    await asyncio.sleep(0)
    assert (await acme.renewal()).status == "unknown: too many CA requests are pending"
    acme.ca.gate.set()
    with pytest.raises(Unreadable):
        await first


async def test_a_known_answer_counts_while_too_many_requests_are_pending(
    acme: ACME, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.says(answer(*WINDOW))
    await acme.renewal()
    acme.restart()
    acme.scans.clock.now = NOW + 7 * HOURS
    monkeypatch.setattr("bot.embedded.ca.documents.MOST_AWAITED", 0)
    assert await acme.renewal() == Renewal("known", *WINDOW)


@pytest.mark.slow
async def test_an_answer_that_comes_too_late_is_used_within_a_minute(acme: ACME) -> None:
    acme.says(answer(*WINDOW))
    await acme.servers.get(acme.directory)
    acme.ca.gate, acme.scans.deadline = asyncio.Event(), 0.5
    found = await acme.scan()
    assert (found.verdict, found.renewal, found.asked) == (Verdict.VALID, Renewal(ASKED), True)
    acme.ca.gate.set()
    await asyncio.gather(*acme.servers._running.values())
    assert (await acme.renewal()).status == "known"
    assert acme.asked == 1


@pytest.mark.slow
async def test_a_known_answer_counts_until_a_late_one_arrives(acme: ACME) -> None:
    acme.says(answer(*WINDOW))
    await acme.renewal()
    acme.restart()
    acme.scans.clock.now = NOW + 7 * HOURS
    acme.ca.gate, acme.scans.deadline = asyncio.Event(), 0.5
    assert await acme.renewal() == Renewal("known", *WINDOW)
    acme.ca.gate.set()


async def test_the_server_must_be_the_one_it_claims_to_be(scans: Scans) -> None:
    authority, strange = trustme.CA(), trustme.CA()
    cert = authority.issue_cert("ca.test")
    trusted, untrusted = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(trusted)
    strange.configure_trust(untrusted)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cert.configure_cert(server)

    async def directory(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"renewalInfo": "http://ca.test/"})

    runner = web.ServerRunner(web.Server(directory))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server).start()
    port = runner.addresses[0][1]
    asking: list[ACMEServers] = []
    for context, host, said in (
        (trusted, "ca.test", "the directory of ca.test names no https URL"),
        (trusted, "elsewhere.test", "the certificate of elsewhere.test is not trusted"),
        (untrusted, "ca.test", "the certificate of ca.test is not trusted"),
    ):
        url = f"https://{host}:{port}/{len(asking)}"
        servers = ACMEServers(scans.database, scans.guard, scans.clock, context, [url])
        asking.append(servers)
        scans.renewals = Renewals({ISSUER: url}, servers)
        assert (await scans.scan(scans.leaf(KEY))).renewal.status == f"unknown: {said}"
    await asyncio.gather(*(each.close() for each in asking))
    await runner.cleanup()


@asynccontextmanager
async def monitored(
    acme: ACME, database: Database, *, deadline: float = 5.0
) -> AsyncIterator[tuple[EmbeddedAPI, aiohttp.ClientSession]]:
    """An embedded API that has the host as its monitor 1, and a client of it."""
    hosts, fleet = {"fleet.test": "127.0.0.1", "ca.test": "127.0.0.1"}, acme.scans.fleet
    settings = EmbeddedSettings(
        key="k" * 16, scan_allow="127.0.0.1", ca_file=fleet.ca_file, hosts=hosts,
        ari_directories={ISSUER: acme.directory}, scan_deadline=deadline,
    )  # fmt: skip
    api = EmbeddedAPI(settings, database, clock=acme.scans.clock)
    await api.start()
    headers = {"Authorization": f"Bearer {'k' * 16}"}
    try:
        async with (
            serve(web_server(), context=fleet.context(acme.path)) as port,
            aiohttp.ClientSession(api.url + "/", headers=headers) as session,
        ):
            await session.post("monitor/add", data={"host": "fleet.test", "port": str(port)})
            yield api, session
    finally:
        await api.close()


@pytest.mark.slow
async def test_monitors_tell_when_the_ca_asks(acme: ACME, any_database: Database) -> None:
    acme.says(answer(*WINDOW, explanationURL="https://ca.example/why"))
    async with monitored(acme, any_database) as (_, session):
        begin = (await (await session.get("monitor/changes")).json())["next"]
        got = await (await session.get("monitor/get?id=1")).json()
        row = (await (await session.get("monitor/list")).json())["list"][0]
        acme.says(answer(NOW - HOURS, NOW))
        acme.scans.clock.now += 7 * HOURS
        await session.post("monitor/scan", data={"id": "1"})
        changes = await (await session.get(f"monitor/changes?since={begin}")).json()
    told = {
        "status": "known", "start": "2027-01-20 12:00", "end": "2027-01-22 12:00",
        "explanation_url": "https://ca.example/why",
    }  # fmt: skip
    assert got["monitor"]["renewal"] == told
    assert row["renewal"] == told
    assert [each["monitor"]["renewal"]["end"] for each in changes["list"]] == ["2027-01-15 12:00"]


@pytest.mark.slow
async def test_a_late_answer_is_evaluated_within_a_minute(acme: ACME, database: Database) -> None:
    acme.says(answer(*WINDOW))
    acme.ca.gate = asyncio.Event()
    async with monitored(acme, database, deadline=0.5) as (api, session):

        async def status() -> str:
            got = await (await session.get("monitor/get?id=1")).json()
            return str(got["monitor"]["renewal"]["status"])

        assert await status() == ASKED
        acme.ca.gate.set()
        acme.scans.clock.now += MINUTE
        await api.sweep.once()
        assert await status() == "known"
