"""The house's plan of who may import whom, and what may be said where; checked in the source."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import bot

ROOT = Path(bot.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

#: The bot's own modules from the ground up: each may import from the floors below its own.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "target", "dates", "api.lenient"}),
    frozenset({"store.database", "api.models", "api.envelope", "blocks"}),
    frozenset({"config", "severity", "store.digests", "commands.arguments", "api.extras"}),
    frozenset({"api.client"}),
    frozenset({"cards.replies", "cards.monitor", "sighting", "cards.table"}),
    frozenset(
        {
            "store.monitors",
            "slack.web",
            "store.rechecks",
            "cards.recheck",
            "cards.lists",
            "cards.details",
        }
    ),
    frozenset({"recheck", "cards.home", "cards.add", "cards.history"}),
    frozenset({"cards.digest", "commands.router"}),
    frozenset({"slack.requests", "slack.tasks"}),
    frozenset({"commands.home", "digest", "slack.surfaces", "slack.transport", "slack.access"}),
    frozenset({"slack.answering"}),
    frozenset({"commands.lookup"}),
    frozenset({"commands.after_scan"}),
    frozenset(
        {
            "commands.show",
            "commands.change",
            "commands.thresholds",
            "commands.recheck",
            "commands.about",
            "commands.extras",
        }
    ),
    frozenset({"commands"}),
    frozenset({"slack.listeners"}),
    frozenset({"app"}),
    frozenset({"check"}),
    frozenset({"demo"}),
    frozenset({"__main__"}),
)
SLACK = frozenset({"slack.listeners", "slack.web", "slack.transport", "app", "check"})
#: Values in, a card out: nothing here waits for the outside.
PURE = frozenset(
    {
        "blocks",
        "cards.monitor",
        "cards.lists",
        "cards.details",
        "cards.digest",
        "cards.home",
        "cards.recheck",
    }
    | {"cards.table", "api.extras", "cards.history"}
    | {
        "cards.replies",
        "severity",
        "commands.arguments",
        "commands.router",
        "sighting",
        "slack.requests",
        "cards.add",
    }
)
COMMANDS = frozenset(
    {
        "commands",
        "commands.lookup",
        "commands.show",
        "commands.change",
        "commands.recheck",
        "commands.about",
    }
    | {"commands.after_scan", "commands.thresholds", "commands.extras"}
)
STARTERS = frozenset({"app", "demo", "check", "__main__"})
WIRE = re.compile(
    r"\b(ssl_(expire|valid|message|color|host_match|issuer)|html_title|meta_(description|keywords)"
    r"|monitor_(limit|used|available)|subject_cn|issuer_cn)"
)
WIRE_MODULES = frozenset({"api.models", "api.extras", "api.client", "api.envelope", "api.lenient"})


@dataclass(frozen=True)
class Import:
    """One import: of which module's, by which line."""

    path: Path
    line: int
    name: str

    @property
    def top(self) -> str:
        return self.name.split(".")[0]


@functools.cache
def imports(path: Path) -> tuple[Import, ...]:
    """Every import in a file, wherever it stands; `from bot import x` imports `bot.x`."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text())):
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


def program(name: str) -> str:
    """Which of the three programs a module belongs to."""
    if name.startswith("bot.store.migrations"):
        return "migrations"
    part = name.removeprefix("bot.").split(".")[0]
    return part if part in {"embedded", "playground", "migrations"} else "bot"


def short(name: str) -> str:
    return name.removeprefix("bot.")


FOLDERS = {"bot.api", "bot.cards", "bot.slack", "bot.store"}
OWN = {
    short(name): path
    for name, path in MODULES.items()
    if program(name) == "bot" and name not in {"bot", *FOLDERS}
}


def broken(rule: str, wrong: Callable[[str, Import], bool]) -> list[str]:
    """The lines of all modules that break a rule about imports."""
    return [
        at(path, found.line, f"{rule} ({found.name})")
        for name, path in MODULES.items()
        for found in imports(path)
        if wrong(name, found)
    ]


def floor(name: str) -> int:
    return next(n for n, names in enumerate(FLOORS) if short(name) in names)


def test_the_plan_knows_every_module_and_no_other() -> None:
    assert set(OWN) == set().union(*FLOORS)
    assert sum(map(len, FLOORS)) == len(OWN)


def test_the_bots_modules_import_from_the_floors_below() -> None:
    def wrong(name: str, found: Import) -> bool:
        if short(name) not in OWN or short(found.name) not in OWN:
            return False
        return floor(found.name) >= floor(name)

    assert broken("import only from a floor below", wrong) == []


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


def is_of(*tops: str) -> Callable[[str], bool]:
    return lambda name: name.split(".")[0] in tops


def belongs_to(*programs: str) -> Callable[[str], bool]:
    return lambda name: name in MODULES and program(name) in programs


RULES = (
    Rule(
        "only Slack's side may import Slack's libraries",
        lambda name: program(name) != "playground" and short(name) not in SLACK,
        is_of("slack_bolt", "slack_sdk"),
    ),
    Rule(
        "the playground may import the SDK's signatures alone",
        lambda name: program(name) == "playground",
        lambda name: is_of("slack_bolt", "slack_sdk")(name) and name != "slack_sdk.signature",
    ),
    Rule(
        "pure modules know no network, database or environment",
        lambda name: short(name) in PURE | COMMANDS | {"digest"},
        is_of("aiohttp", "sqlalchemy", "os", "socket", "ssl", "urllib", "subprocess"),
    ),
    Rule(
        "commands and cards leave the database to others",
        lambda name: short(name) in PURE | COMMANDS | {"digest"},
        lambda name: name == "bot.store.database",
    ),
    Rule(
        "cards know no client, router or surface",
        lambda name: (
            short(name)
            in {"cards.monitor", "cards.replies", "cards.digest", "cards.add", "blocks", "severity"}
        ),
        lambda name: (
            short(name)
            in COMMANDS
            | {"api.client", "commands.router", "slack.surfaces", "store.digests", "store.monitors"}
        ),
    ),
    Rule(
        "the bot meets the other programs over HTTP; only what starts them imports them",
        lambda name: program(name) == "bot" and short(name) not in STARTERS,
        belongs_to("embedded", "playground"),
    ),
    Rule(
        "the embedded API shares targets, dates, errors and the database with the bot, and no more",
        lambda name: program(name) == "embedded",
        lambda name: (
            belongs_to("bot", "playground")(name)
            and short(name) not in {"target", "dates", "errors", "store.database", "bot"}
        ),
    ),
    Rule(
        "the playground imports nothing of the bot",
        lambda name: program(name) == "playground",
        belongs_to("bot", "embedded"),
    ),
    Rule(
        "the playground is started by the demo alone",
        lambda name: program(name) == "bot" and short(name) not in {"demo", "__main__"},
        belongs_to("playground"),
    ),
    Rule(
        "the environment is read by the command line alone",
        lambda name: short(name) not in {"config", "__main__"},
        lambda name: name == "os" or name.startswith("os.environ"),
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.sentence)
def test_nothing_is_imported_where_it_must_not_be(rule: Rule) -> None:
    assert any(rule.holds(name) for name in MODULES), "the rule is about nobody"
    assert broken(rule.sentence, lambda name, f: rule.holds(name) and rule.never(f.name)) == []


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def uses(path: Path, names: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Where a file uses one of these dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and names.search(dotted(node)):
            yield node.lineno, dotted(node)


CLOCKS = re.compile(
    r"(^|\.)((datetime|date)\.(now|today|utcnow)|time\.(time|time_ns|localtime|gmtime))$"
)
ENVIRONMENT = re.compile(r"(^|\.)os\.(environ|getenv|environb)\b")


def test_the_wall_clock_is_read_in_one_place() -> None:
    read = [
        at(path, line, f"the wall clock is an argument ({name})")
        for module, path in MODULES.items()
        for line, name in uses(path, CLOCKS)
        if module != "bot.app"
    ]
    assert read == []
    assert len(list(uses(MODULES["bot.app"], CLOCKS))) == 1


def test_no_module_takes_a_clock_by_its_bare_name() -> None:
    taken = [
        at(path, node.lineno, "the wall clock is an argument")
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
        if alias.name != "monotonic"
    ]
    assert taken == []


def test_the_environment_is_read_in_one_place() -> None:
    read = [
        at(path, line, f"settings come from bot.config ({name})")
        for module, path in MODULES.items()
        for line, name in uses(path, ENVIRONMENT)
        if short(module) not in {"config", "__main__"}
    ]
    assert read == []


def test_the_words_of_the_wire_stay_at_the_border() -> None:
    said = [
        at(path, number, "the wire's names stay in models, client and embedded")
        for name, path in OWN.items()
        if name not in WIRE_MODULES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if WIRE.search(line)
    ]
    assert said == []


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import os\nfrom slack_sdk.web import client\nfrom bot import embedded\n"
        "import datetime as d\nnow = d.datetime.now()\nx = os.environ['A']\n"
    )
    assert [found.name for found in imports(bad)] == [
        "os", "slack_sdk.web", "bot.embedded", "datetime"
    ]  # fmt: skip
    assert [line for line, _ in uses(bad, CLOCKS)] == [5]
    assert [line for line, _ in uses(bad, ENVIRONMENT)] == [6]
