"""The house's plan of who may import whom, and what may be said where; checked in the source."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import bot

ROOT = Path(bot.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

#: The rooms of the bot from the top: each imports only from the rows below its own.
ROWS = (
    ("__main__",),
    ("demo", "check"),
    ("app",),
    ("slack",),
    ("commands",),
    ("digest", "recheck"),
    ("cards",),
    ("store",),
    ("severity",),
    ("sighting",),
    ("api",),
    ("config", "process"),
    ("dates",),
    ("blocks", "connections", "target", "errors"),
)
LONG_FUNCTION = 60
STARTERS = frozenset({"app", "demo", "check", "__main__"})
#: What embedded may import of the bot; the scanner does without the store.
SHARED = frozenset({"connections", "target", "dates", "errors", "store"})
IO = ("aiohttp", "asyncio", "os", "socket", "sqlalchemy", "ssl", "subprocess", "urllib")
WIRE = re.compile(
    r"\b(ssl_(expire|valid|message|color|host_match|issuer)|html_title|meta_(description|keywords)"
    r"|monitor_(limit|used|available)|subject_cn|issuer_cn)"
)


@dataclass(frozen=True)
class Import:
    """One import: of which module's, by which line."""

    path: Path
    line: int
    name: str

    @property
    def top(self) -> str:
        return self.name.split(".")[0]


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of a file's source."""
    return tuple(ast.walk(ast.parse(path.read_text())))


@functools.cache
def imports(path: Path) -> tuple[Import, ...]:
    """Every import of a file that runs; `from bot import x` imports `bot.x`."""
    for_types = {
        id(node)
        for block in nodes(path)
        if isinstance(block, ast.If) and dotted(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    return tuple(_imports(path, [node for node in nodes(path) if id(node) not in for_types]))


def _imports(path: Path, nodes: list[ast.AST]) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written in full"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield Import(path, node.lineno, whole if whole in MODULES else str(node.module))


def at(path: Path, line: int, rule: str) -> str:
    return f"{path.relative_to(ROOT.parent)}:{line}: {rule}"


def room(name: str) -> str:
    """The room of a module: its folder below `bot`, or its own name; empty for a library's."""
    parts = name.split(".")
    return parts[1] if parts[0] == "bot" and len(parts) > 1 else ""


def is_in(*rooms: str) -> Callable[[str], bool]:
    return lambda name: room(name) in rooms


def is_of(*libraries: str) -> Callable[[str], bool]:
    return lambda name: name.split(".")[0] in libraries


def row(name: str) -> int:
    return next(number for number, rooms in enumerate(ROWS) if room(name) in rooms)


def test_every_room_has_its_place() -> None:
    rooms = {room(name) for name in MODULES} - {""}
    assert rooms == {each for rooms in ROWS for each in rooms} | {"embedded", "playground"}


def test_a_room_imports_only_from_the_rows_below() -> None:
    apart = is_in("", "embedded", "playground")
    assert [
        at(path, found.line, f"{room(name)} may not import {room(found.name)}")
        for name, path in MODULES.items()
        for found in imports(path)
        if not apart(name) and not apart(found.name) and room(name) != room(found.name)
        if row(found.name) <= row(name)
    ] == []


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        name: {f.name for f in imports(path) if f.name in MODULES} - {"bot"}
        for name, path in MODULES.items()
    }

    def reaches(start: str) -> set[str]:
        seen: set[str] = set()
        left = list(graph[start])
        while left:
            each = left.pop()
            if each not in seen:
                seen.add(each)
                left += graph[each]
        return seen

    # A package's __init__ gathers what its modules offer; they never import it back.
    assert [name for name in graph if name in reaches(name)] == []


@dataclass(frozen=True)
class Rule:
    """What modules of a kind must never import."""

    sentence: str
    holds: Callable[[str], bool]
    never: Callable[[str], bool]


RULES = (
    Rule(
        "Slack's libraries stay in slack; the playground has the SDK's signatures alone",
        lambda name: not is_in("slack")(name),
        lambda name: is_of("slack_bolt", "slack_sdk")(name) and name != "slack_sdk.signature",
    ),
    Rule(
        "commands do no I/O but through their call",
        is_in("commands"),
        lambda name: is_of("aiohttp", "os", "sqlalchemy")(name) or is_in("store")(name),
    ),
    Rule(
        "cards, blocks, severity and sightings are pure",
        is_in("cards", "blocks", "severity", "sighting", "dates", "target"),
        lambda name: is_of(*IO)(name) and name != "urllib.parse",
    ),
    Rule(
        "the bot meets the other programs over HTTP; only what starts them imports them",
        lambda name: not is_in("embedded", "playground", *STARTERS)(name),
        is_in("embedded", "playground"),
    ),
    Rule(
        "embedded shares targets, dates, errors and the store with the bot, and no more",
        is_in("embedded"),
        lambda name: room(name) not in {"", "embedded", *SHARED},
    ),
    Rule(
        "a scan needs no database",
        lambda name: name.startswith("bot.embedded.scan"),
        lambda name: is_in("store")(name) or is_of("sqlalchemy")(name),
    ),
    Rule(
        "the playground imports nothing of the bot",
        is_in("playground"),
        lambda name: room(name) not in {"", "playground"},
    ),
    Rule(
        "the environment is read by the command line alone",
        lambda name: not is_in("config", "__main__")(name),
        is_of("os"),
    ),
)


def test_nothing_is_imported_where_it_must_not_be() -> None:
    for rule in RULES:
        assert any(rule.holds(name) for name in MODULES), f"a rule about nobody: {rule.sentence}"
    assert [
        at(path, found.line, f"{rule.sentence} ({found.name})")
        for name, path in MODULES.items()
        for rule in RULES
        for found in imports(path)
        if rule.holds(name) and rule.never(found.name)
    ] == []


def uses(path: Path, names: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Where a file uses one of these dotted names."""
    return ((line, name) for line, name in attributes(path) if names.search(name))


@functools.cache
def attributes(path: Path) -> tuple[tuple[int, str], ...]:
    """Every dotted name of a file, with its line."""
    found = [each for each in nodes(path) if isinstance(each, ast.Attribute)]
    return tuple((each.lineno, dotted(each)) for each in found)


CLOCKS = re.compile(
    r"(^|\.)((datetime|date)\.(now|today|utcnow)|time\.(time|time_ns|localtime|gmtime))$"
)
ENVIRONMENT = re.compile(r"(^|\.)os\.(environ|getenv|environb)\b")


def test_functions_fit_a_screen() -> None:
    long = [
        at(path, node.lineno, node.name)
        for path in MODULES.values()
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONG_FUNCTION
    ]
    assert long == []


def test_the_wall_clock_is_read_in_one_place() -> None:
    read = [
        at(path, line, f"the wall clock is an argument ({name})")
        for module, path in MODULES.items()
        for line, name in uses(path, CLOCKS)
        if module != "bot.app.outside"
    ]
    assert read == []
    assert len(list(uses(MODULES["bot.app.outside"], CLOCKS))) == 1


def test_no_module_takes_a_clock_by_its_bare_name() -> None:
    taken = [
        at(path, number, "the wall clock is an argument")
        for path in MODULES.values()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.match(r"\s*from time import (?!monotonic$)", line)
    ]
    assert taken == []


def test_the_environment_is_read_in_one_place() -> None:
    read = [
        at(path, line, f"settings come from bot.config ({name})")
        for module, path in MODULES.items()
        for line, name in uses(path, ENVIRONMENT)
        if not is_in("config", "__main__")(module)
    ]
    assert read == []


def test_the_words_of_the_wire_stay_at_the_border() -> None:
    said = [
        at(path, number, "wire names stay in api and embedded")
        for name, path in MODULES.items()
        if not is_in("api", "embedded", "playground", "store")(name)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if WIRE.search(line)
    ]
    assert said == []


def reads(path: Path, *names: str) -> Iterator[int]:
    """The lines that look into one of these dictionaries, by `body[…]` or `body.get(…)`."""
    for node in nodes(path):
        if not isinstance(node, ast.Subscript | ast.Attribute) or dotted(node.value) not in names:
            continue
        if isinstance(node, ast.Subscript) or node.attr == "get":
            yield node.lineno


def test_a_payload_is_read_in_one_place() -> None:
    assert [
        at(path, line, "payloads are read in slack/requests.py")
        for name, path in MODULES.items()
        if room(name) in {each for rooms in ROWS for each in rooms}
        and name not in {"bot.slack.requests", "bot.commands.named_hosts"}
        for line in reads(path, "body", "payload", "event")
    ] == []
    assert list(reads(MODULES["bot.slack.requests"], "body"))


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import os\nfrom slack_sdk.web import client\nfrom bot import embedded\n"
        "if TYPE_CHECKING:\n    import aiohttp\n"
        "import datetime as d\nnow = d.datetime.now()\nx = os.environ['A']\n"
    )
    assert [found.name for found in imports(bad)] == [
        "os", "slack_sdk.web", "bot.embedded", "datetime"
    ]  # fmt: skip
    assert [line for line, _ in uses(bad, CLOCKS)] == [7]
    assert [line for line, _ in uses(bad, ENVIRONMENT)] == [8]
