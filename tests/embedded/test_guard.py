import ipaddress

import pytest

from bot.embedded.scan.guard import METADATA, Forbidden, Guard, ResolutionFailed, parse_allow
from bot.target import Target

ALLOWED = [
    "8.8.8.8",
    "2606:4700::1111",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.254",
    "fd12:3456::1",
    "::ffff:10.1.2.3",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",  # NAT64 of 8.8.8.8
    "2002:808:808::1",  # 6to4 of 8.8.8.8
]
REFUSED = [
    "127.0.0.1",
    "127.255.0.1",
    "0.0.0.0",
    "0.1.2.3",
    "169.254.1.1",
    "192.0.2.1",
    "192.0.0.8",
    "192.88.99.1",
    "198.18.0.1",
    "203.0.113.5",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "2001::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:101",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2002:a9fe:101::1",
    "3fff::1",
    "5f00::1",
]
WRAPPED_METADATA = [
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "::ffff:100.100.100.200",
    "64:ff9b::a83f:8110",  # 168.63.129.16
    "64:ff9b:1::a9fe:a9fe",
    "::169.254.169.254",
    "2001:0:a9fe:a9fe::",  # Teredo, by its server
    "2001::5601:5601",  # Teredo, by its client: all bits inverted
    "fd00::5efe:a9fe:a9fe",  # ISATAP
    "fd00::200:5efe:a9fe:a9fe",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fe80::a9fe:a9fe%lo",
]


def permits(address: str, allow: str = "", *, host: str = "host.test", port: int = 443) -> bool:
    return Guard(parse_allow(allow)).permits(host, ipaddress.ip_address(address), port)


def test_global_and_internal_addresses_are_permitted_by_default() -> None:
    for address in ALLOWED:
        assert permits(address)


def test_other_addresses_need_an_entry() -> None:
    for address in REFUSED:
        assert not permits(address)
        assert permits(address, "0.0.0.0/0,::/0")


def test_metadata_services_are_refused_whatever_is_allowed() -> None:
    for address in [*sorted(map(str, METADATA)), *WRAPPED_METADATA]:
        assert not permits(address)
        assert not permits(address, f"0.0.0.0/0,::/0,{address.partition('%')[0]},host.test")


def test_an_entry_permits_its_network_or_name_on_its_port() -> None:
    for allow, address, host, port, permitted in [
        ("127.0.0.1", "127.0.0.1", "x.test", 443, True),
        ("127.0.0.1", "127.0.0.2", "x.test", 443, False),
        ("127.0.0.0/8:8443", "127.9.9.9", "x.test", 8443, True),
        ("127.0.0.0/8:8443", "127.9.9.9", "x.test", 443, False),
        ("127.0.0.1", "::ffff:127.0.0.1", "x.test", 443, True),
        ("[::1]:443", "::1", "x.test", 443, True),
        ("[::1]:443", "::1", "x.test", 444, False),
        ("[fe80::/10]:443", "fe80::5", "x.test", 443, True),
        ("::1", "::1", "x.test", 9, True),
        ("::1/128", "::1", "x.test", 9, True),
        ("x.test", "127.0.0.1", "x.test", 443, True),
        ("X.Test.", "127.0.0.1", "x.test", 443, True),
        ("x.test", "127.0.0.1", "y.test", 443, False),
        ("x.test:8443", "127.0.0.1", "x.test", 443, False),
        (" 10.0.0.1 , x.test:443 ,", "127.0.0.1", "x.test", 443, True),
    ]:
        assert permits(address, allow, host=host, port=port) is permitted


@pytest.mark.parametrize(
    ("deny", "address", "host", "port", "permitted"),
    [
        ("10.0.0.0/8", "10.1.2.3", "x.test", 443, False),
        ("10.0.0.0/8", "192.168.1.1", "x.test", 443, True),
        ("10.0.0.0/8:22", "10.1.2.3", "x.test", 22, False),
        ("10.0.0.0/8:22", "10.1.2.3", "x.test", 443, True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", "x.test", 443, False),
        ("10.0.0.0/8", "64:ff9b::a01:203", "x.test", 443, False),
        ("10.0.0.0/8", "2002:a01:203::", "x.test", 443, False),
        ("10.0.0.0/8", "fd00::5efe:10.1.2.3", "x.test", 443, False),
        ("8.8.8.8", "8.8.8.8", "x.test", 443, False),
        ("x.test", "8.8.8.8", "x.test", 443, False),
        ("x.test:22", "8.8.8.8", "x.test", 443, True),
        ("x.test", "8.8.8.8", "y.test", 443, True),
        ("::/0", "fd00::1", "x.test", 443, False),
    ],
)
def test_a_denied_address_or_name_is_refused_even_if_allowed(
    deny: str, address: str, host: str, port: int, permitted: bool
) -> None:
    for allow in ("", "0.0.0.0/0,::/0,x.test"):
        guard = Guard(parse_allow(allow), deny=parse_allow(deny))
        assert guard.permits(host, ipaddress.ip_address(address), port) is permitted


def test_a_denied_name_is_refused_without_resolving_it() -> None:
    guard = Guard(deny=parse_allow("x.test,y.test:22,10.0.0.1"))
    assert not guard.permits_literal(Target("x.test", 443))
    assert guard.permits_literal(Target("y.test", 443))
    assert not guard.permits_literal(Target("10.0.0.1", 443))


@pytest.mark.parametrize(
    "text",
    [
        "https://good.test@127.0.0.1/",
        "https://good.test:443@evil.test/",
        "https://u:p@good.test/",
        "http://[::1%25lo]/",
        "fe80::1%lo",
        "127。0。0。1x.1",
        "good.test@evil.test",
    ],
)
def test_odd_spellings_of_addresses_are_not_targets(text: str) -> None:
    with pytest.raises(ValueError, match=r"\."):
        Target.parse(text)


def test_all_accepted_spellings_of_an_address_are_checked() -> None:
    plain = ["[::ffff:127.0.0.1]:443", "１２７.0.0.1", "127。0。0。1", "0:0::1"]
    short = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.0x1", "0xa9fea9fe"]
    for text in plain + short:
        assert not Guard().permits_literal(Target.parse(text))
    denying = Guard(deny=parse_allow("0xa.1"))
    assert not denying.permits("x.test", ipaddress.ip_address("10.0.0.1"), 443)


@pytest.mark.parametrize(
    "allow",
    [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "x.test:0",
        "x.test:70000",
        "x.test:",
        "[::1",
        "[::1]443",
        "1.2.3",
        "a b",
        "x.test:https",
        "*.test",
        "::1::",
        "10.0.0.0/8:x",
    ],
)
def test_an_invalid_entry_is_named(allow: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ .*\."):
        parse_allow(f"127.0.0.1,{allow}")


@pytest.mark.parametrize("allow", ["10.0.0.0/8 b.test", "10.0.0.0/8;b.test", "b.test\nc.test"])
def test_entries_that_are_not_separated_by_commas_are_told_so(allow: str) -> None:
    with pytest.raises(ValueError, match="Separate entries with commas"):
        parse_allow(allow)


class Answers:
    """A resolver with prepared answers, the last of which repeats."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self._answers = [*answers]
        self.lookups: list[str] = []

    async def __call__(self, host: str, port: int) -> tuple[str, ...]:
        self.lookups.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def test_a_name_is_resolved_once_to_all_its_addresses() -> None:
    names = Answers(("10.0.0.1", "10.0.0.1", "fd00::1"))
    addresses = await Guard(look_up=names).resolve(Target("host.test", 443))
    assert [str(each) for each in addresses] == ["10.0.0.1", "fd00::1"]
    assert names.lookups == ["host.test"]


@pytest.mark.parametrize("answer", [("8.8.8.8", "127.0.0.1"), ("fe80::1%lo",)])
async def test_one_forbidden_address_forbids_the_name(answer: tuple[str, ...]) -> None:
    with pytest.raises(Forbidden):
        await Guard(look_up=Answers(answer)).resolve(Target("host.test", 443))


async def test_a_name_without_addresses_fails_to_resolve() -> None:
    with pytest.raises(ResolutionFailed):
        await Guard(look_up=Answers(())).resolve(Target("host.test", 443))

    with pytest.raises(ResolutionFailed):
        await Guard().resolve(Target("a..b", 443))


async def test_a_table_or_a_literal_address_is_checked_without_resolving() -> None:
    names = Answers(("8.8.8.8",))
    table = {"demo.test": "127.0.0.1"}
    with pytest.raises(Forbidden):
        await Guard((), table, names).resolve(Target("demo.test", 443))
    addresses = await Guard(parse_allow("127.0.0.1"), table, names).resolve(
        Target("demo.test", 443)
    )
    assert (str(addresses[0]), names.lookups) == ("127.0.0.1", [])

    guard = Guard(look_up=names)
    with pytest.raises(Forbidden):
        await guard.resolve(Target("127.0.0.1", 443))
    assert not guard.permits_literal(Target("::1", 443))
    assert guard.permits_literal(Target("10.0.0.1", 443))
    assert guard.permits_literal(Target("localhost", 443))  # a name is judged by its addresses
    assert names.lookups == []


async def test_the_systems_resolver_resolves_localhost() -> None:
    addresses = await Guard(parse_allow("127.0.0.0/8,::1")).resolve(Target("localhost", 443))
    assert {str(each) for each in addresses} <= {"127.0.0.1", "::1"}


def test_a_name_of_this_machine_is_asked_of_a_proxy_if_the_operator_names_it() -> None:
    assert not Guard().permits_proxied(Target("localhost", 8443))
    assert Guard(parse_allow("localhost:8443")).permits_proxied(Target("localhost", 8443))
    assert not Guard(parse_allow("localhost:8443")).permits_proxied(Target("localhost", 443))
    assert not Guard(parse_allow("metadata")).permits_proxied(Target("metadata", 80))
    assert Guard().permits_proxied(Target("intranet.example.com"))
