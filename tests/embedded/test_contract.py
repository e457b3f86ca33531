"""The bot's own client against the embedded API: every endpoint and error.

Schemathesis checks that the server conforms to its openapi.json.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any, Literal
from urllib.parse import quote_from_bytes

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from yarl import URL

from bot.api.client import SSLMonitor
from bot.api.models import Proxy, SweepProgress
from bot.cards import history as history_cards
from bot.errors import APIRefused, BadKey, NotFound
from bot.severity import NOT_ALLOWED, USUAL, state_of
from bot.store.database import Database
from bot.target import Target

from .fleet import DAY, HOUR, Fleet, Leaf
from .serving import KEY, Served, serving
from .test_routes import NOBODY, refused

pytestmark = pytest.mark.slow

Method = Literal["GET", "POST"]
METHODS: list[Method] = ["GET", "POST"]
FORM = "application/x-www-form-urlencoded"


SETTINGS: dict[str, Any] = {"secret_key": "a long random text", "scan_rate_limit": 0}


@pytest_asyncio.fixture
async def served(fleet: Fleet, database: Database) -> AsyncIterator[Served]:
    async with serving(fleet, database, **SETTINGS) as served:
        yield served


@pytest_asyncio.fixture
async def any_served(fleet: Fleet, any_database: Database) -> AsyncIterator[Served]:
    """A server on each kind of database."""
    async with serving(fleet, any_database, **SETTINGS) as served:
        yield served


def client_of(served: Served, method: Method = "GET", key: str = KEY) -> SSLMonitor:
    return SSLMonitor(
        served.api.url, key, served.session, clock=lambda: served.now, write_method=method
    )


@pytest.mark.parametrize("method", METHODS)
async def test_a_monitors_whole_life(fleet: Fleet, any_served: Served, method: Method) -> None:
    served, api = any_served, client_of(any_served, method)
    assert await api.measure_clock() == DAY * 0
    async with fleet.tls() as port:
        target = Target("fleet.test", port)
        added = await api.add(target)
        assert (added.id, added.target) == (1, target)
        assert added.certificate is not None
        assert added.certificate.not_after == served.now + 90 * DAY + HOUR
        (row,) = await api.list()
        assert (row.valid, row.message) == (True, "Valid")
        assert await api.get(1) == added
        served.now += HOUR
        assert (await api.scan(1)).scanned_at == served.now
    account = await api.account()
    assert (account.used, account.limit, account.available) == (1, 1000, 999)
    await api.delete(1)
    assert await api.list() == []
    for call in (api.get(1), api.scan(1), api.delete(1)):
        with pytest.raises(NotFound) as caught:
            await call
        assert (caught.value.code, caught.value.message) == (404, "monitor not found")
        assert caught.value.req_id


async def test_ping_reports_the_lag_of_the_sweep(served: Served) -> None:
    api = client_of(served)
    assert (await api.ping()).sweep == SweepProgress(0, 0 * HOUR, 0)
    await api.add(Target(NOBODY))
    await api.add(Target(NOBODY, 8443))
    assert (await api.ping()).sweep == SweepProgress(0, 0 * HOUR, 2)
    served.now += DAY
    late = (await api.ping()).sweep
    assert late is not None
    assert (late.monitors, late.due) == (2, 2)
    assert 11 * HOUR < late.lag < DAY


@pytest.mark.parametrize("method", METHODS)
async def test_a_target_can_be_a_url_or_behind_a_proxy(served: Served, method: Method) -> None:
    api = client_of(served, method)
    assert (await api.add(f"https://{NOBODY}:8443/x?y")).target == Target(NOBODY, 8443)
    proxy = Proxy("elsewhere.test", 3128, "ann", "hunter2")
    assert (await api.add(Target("inside.test"), proxy)).target == Target("inside.test")


async def test_each_filter_selects_what_it_says(fleet: Fleet, served: Served) -> None:
    api = client_of(served)
    async with fleet.tls() as good, fleet.tls(Leaf(left=10 * DAY + HOUR)) as soon:
        await api.add(Target("fleet.test", good))
        await api.add(Target("fleet.test", soon))
        await api.add(Target(NOBODY, 443))

    async def ids(**filters: object) -> set[int]:
        return {row.id for row in await api.list(**filters)}  # type: ignore[arg-type] # any filter

    assert await ids() == {1, 2, 3}
    assert await ids(host="*.test") == {1, 2, 3}
    assert await ids(host="FLEET.*") == {1, 2}
    assert await ids(port=443) == {3}
    assert await ids(port=f"{good},{soon}") == {1, 2}
    assert await ids(port="!443") == {1, 2}
    assert await ids(port="1-1000") == {3}
    assert await ids(port=">=1024") == {1, 2}
    assert await ids(valid=True) == {1, 2}
    assert await ids(valid=False) == {3}
    assert await ids(expires="<30") == {2}
    assert await ids(expires="=90") == {1}
    assert await ids(expires="10-90") == {1, 2}
    assert await ids(expires=">10", host="fleet.test", valid=True, port=good) == {1}


async def test_a_forbidden_host_is_not_allowed_rather_than_down(served: Served) -> None:
    api = client_of(served)
    monitor = await api.add(Target(NOBODY))
    (row,) = await api.list()
    assert state_of(row, served.now, USUAL) is NOT_ALLOWED
    assert (await api.get(monitor.id)).certificate is None
    check = await api.extras.check(Target(NOBODY))
    assert state_of(check.row, served.now, USUAL) is NOT_ALLOWED
    history = await api.extras.history(monitor.id, 20)
    assert "*NOT ALLOWED*" in str(history_cards.history(row, history).blocks)


async def test_each_api_error_becomes_the_clients_own(fleet: Fleet, served: Served) -> None:
    api = client_of(served)
    with pytest.raises(BadKey):
        await client_of(served, key="wrong").ping()
    await api.add(Target(NOBODY))
    for call in (
        api.add(Target(NOBODY)),
        api.add("ftp://x"),
        api.add(Target("127.0.0.2")),
        api.list(port="x"),
        api.list(expires="soon"),
        api.list(host="a\0b"),
    ):
        with pytest.raises(APIRefused) as caught:
            await call
        assert caught.value.code == 400
        assert caught.value.req_id


async def test_the_client_reports_rate_and_quota(fleet: Fleet, database: Database) -> None:
    async with serving(fleet, database, limit=1, scan_rate_limit=2) as served:
        api = client_of(served)
        await api.add(Target(NOBODY))
        with pytest.raises(APIRefused) as caught:
            await api.add(Target(NOBODY, 444))
        assert caught.value.code == 403
        await api.scan(1)
        with pytest.raises(APIRefused) as caught:
            await api.scan(1)
        assert (caught.value.code, caught.value.retry_after) == (429, 30)


FILTERS = ("host", "port", "ssl_valid", "ssl_expire_days", "attention_days", "limit", "offset")
HOSTILE = st.one_of(
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text("0123456789,!<>=-*.% \\'\"\0;&[]", max_size=40).map(str.encode),
    st.text("٣४9-", min_size=1, max_size=9).map(str.encode),
    st.sampled_from([b"", b" ", b"==1", b"=<1", b"<>1", b"9" * 400, b"1," * 200, b"*" * 300]),
    st.binary(max_size=40),
)
#: Multipart forms (with boundary x and a placeholder for the value) with unusual part headers.
PART = st.sampled_from(
    [
        b"--x\r\nContent-Disposition: form-data; name=port%s\r\n\r\n%%s\r\n--x--" % odd
        for odd in (
            b"",
            b"\r\nContent-Type: text/plain; charset=nope",
            b"\r\nContent-Transfer-Encoding: odd",
            b"\r\nContent-Encoding: gzip",
            b"\r\nContent-Type: multipart/mixed; boundary=y",
            b"\r\nno header",
            b"\r\n" + b"x" * 9000 + b": long",
        )
    ]
)
READ_ONLY = [HealthCheck.function_scoped_fixture]  # these requests change nothing on the server


@settings(max_examples=25, suppress_health_check=READ_ONLY)
@given(st.lists(st.tuples(st.sampled_from(FILTERS), HOSTILE), min_size=1, max_size=5))
async def test_no_filter_causes_a_500(any_served: Served, pairs: list[tuple[str, bytes]]) -> None:
    served = any_served
    query = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in pairs)
    url = f"{served.api.url}/monitor/list"
    by_get = await served.ask("GET", URL(f"{url}?{query}", encoded=True))
    by_post = await served.ask("POST", url, data=query.encode(), headers={"Content-Type": FORM})
    for answer in (by_get, by_post):
        assert answer.status == 200 or refused(answer, 400)
    assert by_get.status == by_post.status


MEANINGLESS = [
    f"{'0' * 12}{'9' * 40}",
    "\0",
    "1\0",
    "٣",
    "१२",
    "\u202e1",
    "=<1",
    "<>1",
    "9" * 400,
    "-",
    "1" + ",1" * 150,
]


async def test_each_filter_refuses_meaningless_values(served: Served) -> None:
    for name, value in itertools.product(FILTERS, MEANINGLESS):
        answer = await served.call("monitor/list", **{name: value})
        if name == "host" and value.isprintable() and len(value) < 254:
            assert (answer.status, answer.body["count"]) == (200, 0)  # no host has such a name
        else:
            assert name in refused(answer, 400)


@settings(max_examples=25, suppress_health_check=READ_ONLY)
@given(
    st.sampled_from([FORM, f"{FORM}; charset=", "multipart/form-data; boundary=", "text/plain"]),
    st.sampled_from(["", "x", "hex", "utf-16"]),
    st.binary(max_size=60) | st.tuples(PART, st.binary(max_size=20)).map(lambda t: t[0] % t[1]),
)
async def test_no_form_causes_a_500(served: Served, kind: str, value: str, body: bytes) -> None:
    url, headers = f"{served.api.url}/monitor/list", {"Content-Type": kind + value}
    answer = await served.ask("POST", url, data=body, headers=headers)
    assert answer.status == 200 or refused(answer, 400)


async def test_a_form_without_text_or_with_broken_parts_is_refused_with_400(served: Served) -> None:
    escapes = {"Content-Type": f"{FORM}; charset=unicode_escape"}
    parts = {"Content-Type": "multipart/form-data; boundary=x"}
    broken = b"--x\r\nContent-Disposition: form-data; name=id\r\nno header\r\n\r\n1\r\n--x--"
    for body, headers in ((rb"host=\ud800", escapes), (rb"\ud800=a", escapes), (broken, parts)):
        for endpoint in ("monitor/add", "monitor/list", "checks"):
            url = f"{served.api.url}/{endpoint}"
            answer = await served.ask("POST", url, data=body, headers=headers)
            assert "form" in refused(answer, 400)


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


async def test_the_server_conforms_to_its_document(fleet: Fleet, database: Database) -> None:
    async with serving(fleet, database, scan_rate_limit=0, deadline=0.1) as served:
        await served.add(443, NOBODY)
        url = served.api.url
        document = json.loads(await served.text("/api/v1/openapi.json"))
        _keep_inside(document)
        await asyncio.to_thread(_try_all, document, url)


async def test_a_wrong_document_is_detected(fleet: Fleet, database: Database) -> None:
    async with serving(fleet, database, scan_rate_limit=0) as served:
        document = json.loads(await served.text("/api/v1/openapi.json"))
        document["paths"] = {"/ping": {"get": document["paths"]["/ping"]["get"]}}
        document["components"]["schemas"]["PingReply"]["required"].append("something_else")
        with pytest.raises(FailureGroup, match="something_else"):
            await asyncio.to_thread(_try_all, document, served.api.url)


def _keep_inside(document: dict[str, Any]) -> None:
    """Limit hosts to ones that lead nowhere, so that no name is resolved outside."""
    for path in ("/monitor/add", "/checks"):
        get, post = document["paths"][path]["get"], document["paths"][path]["post"]
        (form,) = post["requestBody"]["content"].values()
        schemas = {each["name"]: each["schema"] for each in get["parameters"]}
        for named in (schemas, form["schema"]["properties"]):
            for name in ("host", "url", "proxy_host"):
                prefix = "https://" * (name == "url")
                named[name].clear()
                named[name]["enum"] = [f"{prefix}{NOBODY}", "a b", "127.0.0.2", ""]


def _try_all(document: dict[str, Any], url: str) -> None:
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @settings(
            max_examples=8,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy())
        def attempt(case: schemathesis.Case[Any]) -> None:
            headers = {"Authorization": f"Bearer {KEY}"}
            case.call_and_validate(base_url=url, headers=headers, checks=CHECKS)

        attempt()
