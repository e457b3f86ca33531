"""Commands: how words and fields become arguments, and what is said where they can't."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import pytest

from bot import commands
from bot.api.models import Proxy
from bot.blocks import Form, Message
from bot.cards.add import add_form
from bot.commands.acting import For
from bot.commands.arguments import Filter
from bot.commands.lookup import Selector
from bot.commands.router import Call, Command, Router
from bot.commands.scan_target import ScanTarget
from bot.errors import APIUnreachable, UsageError
from bot.target import Port, Target

LOGGED: list[tuple[str, str, str]] = []


def form(filled: Mapping[str, str], learnt: Collection[str]) -> Form:
    return Form("watch", f"Watch {filled} {sorted(learnt)}", "Watch", ())


def check(*targets: Target, proxy_host: str = "", proxy_port: Port | None = None) -> None:
    if proxy_port and not proxy_host:
        raise UsageError("The proxy's host is missing.", "proxy_host")
    if len(targets) > 2:
        raise UsageError("Too many.", "targets")


@pytest.fixture
def router() -> Router:
    made = Router()

    @made.command("status")
    async def status(call: Call, which: Annotated[Selector, "HOST|ID"]) -> Message:
        """Show one host.

        Not this line.
        """
        return Message(str(which), ())

    @made.command("scan")
    async def scan(call: Call, which: Selector, times: int = 1) -> Message:
        """Scan it."""
        return Message(f"{which} {times}", ())

    @made.command("stop", changes=True)
    async def stop(call: Call) -> Message:
        """Stop."""
        raise APIUnreachable("Nobody is there.")

    @made.command("watch", changes=True, form=form, check=check)
    async def watch(
        call: Call,
        *targets: Annotated[Target, "TARGET…"],
        proxy_host: str = "",
        proxy_port: Port = Port(0),  # noqa: B008 - a constant, as in the bot's own command
    ) -> Message:
        """Watch them."""
        return Message(f"{targets} {proxy_host}", ())

    @made.command("ping")
    async def ping(call: Call) -> Message:
        """Ask it."""
        return Message("pong", ())

    @made.command("hidden", typed=False)
    async def hidden(call: Call, which: Selector) -> Message:
        """Run by buttons."""
        return Message(str(which), ())

    return made


def call() -> Call:
    async def who() -> str:
        return "Ann"

    async def show(message: Message) -> None:
        raise AssertionError(message)

    async def audit(command: str, target: str, result: str) -> bool:
        LOGGED.append((command, target, result))
        return True

    now = datetime(2026, 11, 23, 8, tzinfo=UTC)
    nothing = cast("Any", None)
    return Call(
        api=nothing,
        records=nothing,
        asker="U0ANN",
        channel="C0CERTS",
        now=lambda: now,
        who=who,
        show=show,
        post=nothing,
        send_file=nothing,
        watches=nothing,
        learnt=set(),
        is_shared=nothing,
        id_to_mention=nothing,
        channel_named=nothing,
        spend=lambda _what, _number: None,
        audit=audit,
        share="",
    )


def named(router: Router, name: str) -> Command:
    found = router.find(name, typed=False)
    assert found is not None
    return found


def words_of(message: Message) -> str:
    return f"{message.text} {message.blocks}"


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("status", "status"),
        ("sta", "status"),
        ("sc", "scan"),
        ("st", None),  # status or stop
        ("s", None),
        ("", None),
        ("statusx", None),
        ("hidden", None),
        ("hid", None),
    ],
)
def test_a_command_is_found_by_name_or_prefix(router: Router, word: str, found: str | None) -> None:
    command = router.find(word)
    assert (command.name if command else None) == found


def test_a_button_names_its_command_in_full(router: Router) -> None:
    assert named(router, "hidden").name == "hidden"
    assert router.find("hid", typed=False) is None
    assert [command.name for command in router.typed()] == [
        "status", "scan", "stop", "watch", "ping"
    ]  # fmt: skip


def test_usage_and_help_come_from_the_signature_and_docstring(router: Router) -> None:
    assert [command.usage for command in router.typed()] == [
        "status HOST|ID",
        "scan WHICH [TIMES]",
        "stop",
        "watch TARGET…",
        "ping",
    ]
    assert named(router, "status").help == "Show one host."


@pytest.mark.parametrize(
    ("name", "words", "arguments"),
    [
        ("status", ["888"], [Selector(888)]),
        ("scan", ["a.example.com", "3"], [Selector(None, "a.example.com"), 3]),
        ("scan", ["888"], [Selector(888)]),
        ("watch", ["a.example.com", "b.example.com:8443"],
         [Target("a.example.com"), Target("b.example.com", 8443)]),
        ("watch", [], []),
        ("ping", [], []),
    ],
)  # fmt: skip
def test_words_become_typed_arguments(
    router: Router, name: str, words: list[str], arguments: list[Any]
) -> None:
    assert named(router, name).bind_words(words) == (arguments, {})


@pytest.mark.parametrize(
    ("name", "words", "param", "said"),
    [
        ("status", [], "which", "needs a host or an ID"),
        ("status", ["a.b", "extra"], None, "“extra”"),
        ("status", ["not a host"], "which", "not a host"),
        ("scan", ["888", "often"], "times", "often"),
        ("watch", ["a.b", "c.d:0"], "targets", "not a port"),
        ("ping", ["pong"], None, "“pong”"),
    ],
)
def test_words_that_can_not_be_used_are_named(
    router: Router, name: str, words: list[str], param: str | None, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        named(router, name).bind_words(words)
    assert caught.value.param == param
    assert said in caught.value.message
    assert caught.value.message.endswith(".")


def test_a_form_opens_without_words_and_is_filled_in(router: Router) -> None:
    assert named(router, "watch").wants_form([])
    assert not named(router, "watch").wants_form(["a.b"])
    assert not named(router, "status").wants_form([])

    made = named(router, "watch").filled({"targets": "a.b"}, {"no proxies"})
    assert made.title == "Watch {'targets': 'a.b'} ['no proxies']"
    with pytest.raises(UsageError):
        named(router, "ping").filled({}, ())


def test_a_buttons_value_is_one_argument_or_many(router: Router) -> None:
    assert named(router, "status").bind_argument("888 a.b:443")[0] == [Selector(888, "a.b", 443)]
    assert named(router, "watch").bind_argument("a.b c.d:1")[0] == [Target("a.b"), Target("c.d", 1)]
    assert named(router, "ping").bind_argument("")[0] == []


def test_fields_become_arguments_and_only_filled_secrets_are_passed(router: Router) -> None:
    fields = {"targets": "a.example.com, b.example.com\nc.example.com:8443"}
    command = commands.router.find("add_now", typed=False)
    assert command is not None
    assert command.bind_fields(fields | {"proxy_host": " ", "proxy_password": ""}) == (
        [
            ScanTarget("a.example.com"),
            ScanTarget("b.example.com"),
            ScanTarget("c.example.com", 8443),
        ],
        {},
    )
    proxy = {"proxy_host": "proxy.local", "proxy_port": "3128"}
    login = {"proxy_username": "me", "proxy_password": " with spaces "}
    _, given = command.bind_fields(fields | proxy | login)
    assert given["proxy_port"] == 3128
    assert Proxy(*given.values()).host == "proxy.local"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "targets"),
        ({"targets": " , "}, "targets"),
        ({"targets": "a.example.com b..c"}, "targets"),
        ({"targets": "\n".join(f"h{n}.example.com" for n in range(51))}, "targets"),
        ({"targets": "a.b", "proxy_host": "p.local"}, "proxy_port"),
        ({"targets": "a.b", "proxy_host": "p.local", "proxy_port": "0"}, "proxy_port"),
        ({"targets": "a.b", "proxy_host": "p.local", "proxy_port": "web"}, "proxy_port"),
        ({"targets": "a.b", "proxy_port": "3128"}, "proxy_host"),
        ({"targets": "a.b", "proxy_username": "me"}, "proxy_host"),
        (
            {"targets": "a.b", "proxy_host": "p", "proxy_port": "1", "proxy_password": "x"},
            "proxy_username",
        ),
    ],
)
def test_each_fault_goes_to_a_field_of_the_form(fields: dict[str, str], param: str) -> None:
    command = commands.router.find("add_now", typed=False)
    assert command is not None
    with pytest.raises(UsageError) as caught:
        command.bind_fields(fields)
    assert caught.value.param == param
    assert param in {block["block_id"] for block in add_form({}, ()).blocks}
    assert "x" not in caught.value.message.split()


def test_a_password_is_taken_as_it_is() -> None:
    command = commands.router.find("add_now", typed=False)
    assert command is not None
    fields = {"targets": "a.b", "proxy_host": "p", "proxy_port": "1", "proxy_username": "me"}
    _, given = command.bind_fields(fields | {"proxy_password": " “quoted” "})
    assert given["proxy_password"] == " “quoted” "


async def test_a_command_runs_with_its_arguments_or_becomes_a_card(router: Router) -> None:
    command = named(router, "scan")
    message = await router.dispatch(call(), command, lambda: command.bind_words(["888", "2"]))
    assert message.text == "#888 2"

    status = named(router, "status")
    message = await router.dispatch(call(), status, lambda: status.bind_words([]))
    assert "`/ssl status`" in words_of(message)

    hidden = named(router, "hidden")
    message = await router.dispatch(call(), hidden, lambda: hidden.bind_words(["*"]))
    assert "/ssl hidden" not in words_of(message)
    assert "/ssl help" in words_of(message)

    message = await router.dispatch(call(), named(router, "stop"), lambda: ([], {}))
    assert "Nobody is there." in message.text

    def bind() -> tuple[list[Any], dict[str, Any]]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await router.dispatch(call(), named(router, "ping"), bind)


@pytest.mark.parametrize(
    ("word", "near", "runs"),
    [
        ("pign", "ping", True),
        ("stauts", "status", False),  # it needs a word
        ("stauts a.b", "status", True),
        ("stauts a..b", "status", False),
        ("sacn a.b 2", "scan", False),  # a button holds one argument
        ("wacth a.b", "watch", False),
        ("stpo", "stop", False),  # it changes something
        ("sttaus a.b", "status", True),
        ("is a.b ok", "status", True),
        ("unscan a.b", None, False),  # the opposite
        ("wave", None, False),
        ("what can you do", None, False),
        ("xyzzy", None, False),
        ("hiden", None, False),
        ("<!channel>" * 50, None, False),
    ],
)
def test_an_unknown_word_names_the_nearest_and_runs_it_where_that_is_harmless(
    router: Router, word: str, near: str | None, runs: bool
) -> None:
    message = router.unknown(word.split(maxsplit=1)[0], word.split()[1:])
    told = words_of(message)
    assert ("Did you mean" in told) is (near is not None)
    assert near is None or f"`{near}`" in told
    assert (f"ssl:{near}:here" in told) is runs
    assert ("actions" in told) is runs


def test_each_real_command_is_described_and_keeps_its_secrets() -> None:
    for command in commands.router.commands.values():
        assert command.help.endswith((".", "com."))
        assert command.help[0].isupper()
        assert len(command.usage) <= 40

    for command in commands.router.typed():
        secret = [p for p in command.parameters if "password" in p.name or "user" in p.name]
        assert all(parameter.form_only for parameter in secret)

    adding = commands.router.find("add_now", typed=False)
    assert adding is not None
    assert [block["block_id"] for block in add_form({}, ()).blocks] == [
        parameter.name for parameter in adding.parameters
    ]


def test_filters_are_read_by_the_list_command() -> None:
    command = commands.router.find("list")
    assert command is not None
    bound, _ = command.bind_words(["expires<30", "port=443"])
    assert bound == [Filter("expires", "<30"), Filter("port", "443")]


def test_what_a_change_was_asked_for_can_be_read_in_the_audit() -> None:
    recorded = [each for each in commands.router.commands.values() if each.recorded]
    read = [each.read for one in recorded for each in one.parameters if not each.form_only]
    kinds = {getattr(each, "__self__", each) for each in read}
    assert [kind for kind in kinds if getattr(kind, "__str__", None) is object.__str__] == []
    lengths = ["for=7d", "for=36h", "for=90m", ""]
    assert [str(For.parse(each or "for=")) for each in lengths] == lengths


def test_commands_that_change_things_say_so() -> None:
    changing = {name for name, each in commands.router.commands.items() if each.changes}
    assert changing == {
        "add",
        "add_and_watch",
        "add_now",
        "delete",
        "delete_all",
        "delete_now",
        "runbook",
        *("mute", "mute_certificate", "unmute", "unmute_certificate"),
        "warn",
        *("calendar", "calendar_new"),
        *("digest_here", "digest_pause", "digest_resume", "digest_resume_now", "digest_off"),
        *("notices_here", "notices_mention", "notices_pause", "notices_resume", "notices_off"),
        "notices_resume_now",
    }
