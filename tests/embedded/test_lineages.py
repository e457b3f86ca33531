"""Which monitors of an account serve an older certificate than another one does."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from bot.embedded import Accounts
from bot.embedded.ca.lineages import lineage
from bot.embedded.scan import certificate
from bot.store.database import Database

from .fleet import DAY, NOW, Fleet, Leaf
from .serving import KEY, Served, serving
from .test_accounts import call

NAMES = ("a.fleet.test", "b.fleet.test")
OLD, NEW = Leaf(NAMES, left=10 * DAY), Leaf(NAMES[::-1], left=80 * DAY)


@pytest_asyncio.fixture
async def served(fleet: Fleet, any_database: Database) -> AsyncIterator[Served]:
    async with serving(fleet, any_database) as served:
        yield served


async def renewed(served: Served, **filters: str) -> dict[str, object]:
    """What monitor/list says of it, by host."""
    rows = (await served.call("monitor/list", **filters)).body["list"]
    return {row["host"]: row["renewed"] for row in rows if "renewed" in row}


async def test_a_host_with_a_later_certificate_is_named(fleet: Fleet, served: Served) -> None:
    async with fleet.tls(OLD) as one, fleet.tls(NEW) as other:
        await served.add(one, "a.fleet.test")
        assert await renewed(served) == {}
        await served.add(other, "b.fleet.test")
        where = {"host": "b.fleet.test", "port": other, "date_end": "2027-04-05 12:00"}
        for filters in ({}, {"host": "a.*"}, {"limit": "1"}):
            assert await renewed(served, **filters) == {"a.fleet.test": where}
        served.now += 11 * DAY  # the old one has expired; the other is as it was
        assert await renewed(served, ssl_valid="false") == {"a.fleet.test": where}
        served.now += 80 * DAY  # both have
        assert await renewed(served) == {}


@pytest.mark.parametrize(
    "other",
    [
        Leaf(("b.fleet.test",), left=80 * DAY),
        Leaf((*NAMES, "c.fleet.test"), left=80 * DAY),
        Leaf(NAMES, left=80 * DAY, by="strange"),
        Leaf(NAMES, left=10 * DAY),
        Leaf(NAMES, left=9 * DAY),
    ],
    ids=["fewer names", "more names", "another issuer", "the same end", "an earlier end"],
)
async def test_nothing_is_said_of_a_certificate_that_may_be_another_one(
    fleet: Fleet, database: Database, other: Leaf
) -> None:
    async with serving(fleet, database) as served, fleet.tls(OLD) as one, fleet.tls(other) as two:
        await served.add(one, "a.fleet.test")
        await served.add(two, "b.fleet.test")
        assert (await renewed(served)).get("a.fleet.test") is None


async def test_nothing_is_said_where_it_would_not_help(fleet: Fleet, database: Database) -> None:
    fresh = Leaf(NAMES, left=70 * DAY, since=20 * DAY)
    async with (
        serving(fleet, database) as served,
        fleet.tls(fresh) as first,
        fleet.tls(OLD) as misnamed,
        fleet.tls(NEW) as newest,
    ):
        await served.add(first, "a.fleet.test")  # not half of its time is gone
        await served.add(misnamed, "fleet.test")  # the newer one isn't for this host either
        await served.add(newest, "b.fleet.test")
        assert await renewed(served) == {}
        served.now += 40 * DAY
        assert list(await renewed(served)) == ["a.fleet.test"]


@pytest.mark.slow
async def test_other_accounts_and_hosts_that_are_broken_prove_nothing(
    fleet: Fleet, served: Served, any_database: Database
) -> None:
    _, foreign = await Accounts(any_database).add("Ann", None, NOW)
    async with fleet.tls(OLD) as one, fleet.tls(NEW) as other:
        await served.add(one, "a.fleet.test")
        await served.add(other, "fleet.test")  # a wrong name
        await call(served, foreign, "monitor/add", host="b.fleet.test", port=str(other))
        assert await renewed(served) == {}
        assert foreign != KEY


def test_another_organization_that_issued_it_makes_another_lineage() -> None:
    names = ("", "", "", "R11", "Let's Encrypt", "US")
    one = certificate.Leaf(*names, alt_names=("a.test", "B.test"), not_before=NOW, not_after=NOW)
    assert lineage(one) == lineage(replace(one, issuer_cn="R12", alt_names=("b.test", "a.test")))
    assert lineage(one) != lineage(replace(one, issuer_o="Sectigo"))
    assert lineage(replace(one, alt_names=())) is None
