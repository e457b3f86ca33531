"""Which addresses are reached through the environment's proxies, and with which proxies."""

import os
from urllib.parse import urlsplit

import pytest

from bot.app.outside import make_session, slack_session
from bot.errors import ConfigError
from bot.slack.calls import proxies_for
from tests.client_wire import Recorder
from tests.test_proxied import Proxy


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def test_no_proxy_lists_names_ports_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    for listed, url, direct in [
        ("", "https://a.test", False),
        ("", "http://127.0.0.1:8021/api", True),
        ("", "http://127.9.9.9", True),
        ("", "http://[::1]:8021", True),
        ("", "http://LOCALHOST:8021", True),
        ("*", "https://a.test", True),
        ("b.test, *", "https://a.test", True),
        ("A.test", "https://x.a.TEST", True),
        (".a.test", "wss://x.a.test", True),
        ("*.a.test", "https://x.a.test", True),
        ("a.test.", "https://a.test", True),
        ("a.test", "https://a.test./api", True),
        ("a.test", "https://aa.test", False),
        ("b.test a.test,", "https://a.test", True),
        ("a.test:443", "https://a.test", True),
        ("a.test:443", "https://a.test:8443", False),
        ("a.test:80", "http://a.test", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.1.2.3/8", "https://10.9.9.9:8443", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.1.2.3:8443", "https://10.1.2.3:8443", True),
        ("fd00::/8", "https://[fd00::1]:8443", True),
        ("[fd00::1]", "https://[fd00::1]", True),
        ("[fd00::1]:8443", "https://[fd00::1]:8443", True),
        ("[fd00::1]:8443", "https://[fd00::1]", False),
        ("10.0.0.0/99,/,:,[", "https://a.test", False),
    ]:
        for name in ("NO_PROXY", "no_proxy"):
            with monkeypatch.context() as each:
                each.setenv(name, listed)
                found = proxies_for(url)
            assert found == ({} if direct else {"https": "http://proxy.test:3128"}), (listed, url)


def test_a_proxy_that_can_not_be_used_is_a_fault_that_is_named_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for proxy in (
        "h:3128",
        "socks5://h:1",
        "https://h:1",
        "http://u:s3cret/x@h:1",
        "http://h:x",
        "h",
    ):
        monkeypatch.setenv("https_proxy", proxy)
        with pytest.raises(ConfigError, match=r"HTTPS_PROXY is invalid\. Use") as fault:
            make_session("https://slack.com/api/")
        assert "s3cret" not in str(fault.value)
        assert "socks5" not in str(fault.value)


async def test_each_host_of_slacks_has_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Response URLs and uploads have other hosts than the Web API."""
    server, proxy = Recorder(), Proxy()
    async with server.serving(), proxy.serving() as through:
        port = urlsplit(server.url).port or 0
        monkeypatch.setenv("HTTP_PROXY", through.replace("//", "//me:p%40ss@"))
        for base, host, listed, proxied in [
            ("slack.test", "hooks.slack.test", "", True),
            ("127.0.0.1", "hooks.slack.test", "", True),
            ("slack.test", "127.0.0.1", "", False),
            ("slack.test", "localhost", "10.0.0.0/8", False),
            ("slack.test", "files.slack.test", f"files.slack.test:{port + 1}", True),
        ]:
            monkeypatch.setenv("NO_PROXY", listed)
            proxy.asked.clear()
            async with slack_session(f"http://{base}:{port}/api/") as session:
                await session.post(f"http://{host}:{port}/x", data=b"file")
            assert proxy.asked == ([host] if proxied else []), (base, host)
    assert [method for method, *_ in server.seen] == ["POST"] * 5


async def test_cookies_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://not.used.test:1")  # for no address of this machine
    server = Recorder()
    async with server.serving(), make_session(server.url) as session:
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            session.cookie_jar.update_cookies({"track": "me"})
            await session.get(url)
    assert [headers.get("Cookie") for headers in server.headers] == [None, None]
