"""Commands and the three ways to run them: typed words, a button, a form.

A command is an async function of a `Call` and typed arguments; its signature is its grammar, and
the first line of its docstring its help. The router knows neither Slack nor HTTP.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from bot.blocks import Address, Form, Message
from bot.cards import monitor as monitor_cards
from bot.cards import replies
from bot.errors import BotError, NotAvailable, NotFound, NotMonitored, UsageError
from bot.severity import OTHER_STATES, STATES, Thresholds

if TYPE_CHECKING:  # only for type checking: commands open no connections of their own
    from bot.api.client import SSLMonitor
    from bot.api.models import MonitorList
    from bot.recheck import Watches
    from bot.store.monitors import Records


@dataclass(frozen=True, slots=True)
class Call:
    """What a command can use: the API, the bot's records, the clock, who asks, and more.

    `asker` is the user's ID, `who` returns the name. `channel` is where the answer goes. `show`
    shows a message there at once, and the answer then replaces it. `post` shows it as a message
    that can be edited later: there, near by, or as a direct message. `send_file` sends the asker a
    file (name, content, a sentence, and one in its place if Slack may lack the file) as a direct
    message. `learnt` is what the bot has found out about the API since it started. `is_shared` asks
    whether people of other organizations are in the channel (None if Slack doesn't say), and raises
    SlackRefused if the bot can't see it. `id_to_mention` returns the ID of a user group's
    `@handle`, or an ID that exists. `channel_named` returns which of some channels has a `#name`.
    `spend` counts `scans` or `added hosts` toward the asker's limit, and raises TooOften. `audit`
    records a change (command, target and result) and returns whether that worked. `share` is the
    line that runs this again, if the answer is private and can be shared. `posted` is when a
    pressed button was posted.
    """

    api: SSLMonitor
    records: Records
    asker: str
    channel: str
    now: Callable[[], datetime]
    who: Callable[[], Awaitable[str]]
    show: Callable[[Message], Awaitable[None]]
    post: Callable[[Message], Awaitable[Address]]
    send_file: Callable[[str, bytes, str, str], Awaitable[None]]
    learnt: set[str]
    is_shared: Callable[[], Awaitable[bool | None]]
    id_to_mention: Callable[[str], Awaitable[str | None]]
    channel_named: Callable[[str, Iterable[str]], Awaitable[str | None]]
    spend: Callable[[str, int], None]
    audit: Callable[[str, str, str], Awaitable[bool]]
    share: str
    watches: Watches
    posted: datetime | None = None

    async def listed(self) -> MonitorList:
        """All monitors, for a button with only IDs. Raises OtherAPI if the button is too old."""
        await self.records.check_ids(self.api, self.posted, self.now())
        return await self.api.list()

    @property
    def rules(self) -> Thresholds:
        """The team's thresholds and marks, as last read."""
        return self.records.rules


Run = Callable[..., Awaitable[Message]]
#: Makes a form from the initial values of its fields, and what the bot has learnt of the API.
FormMaker = Callable[[Mapping[str, str], Collection[str]], Form]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a command. `many` takes all remaining words; `form_only` can't be typed."""

    name: str
    read: Callable[[str], Any]
    usage: str
    many: bool
    optional: bool
    form_only: bool

    def convert(self, text: str) -> Any:
        """Convert the text to the parameter's type. Raises UsageError that names the parameter."""
        try:
            return self.read(text)
        except ValueError as fault:
            raise UsageError(str(fault), self.name) from None


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand of `/ssl`. One that isn't `typed` is only run by buttons.

    `example` is a line that works, without `/ssl`, shown with usage errors. `rewrite` converts
    typed words to what the parameters read. `details` is what `/ssl help COMMAND` adds to `help`.
    """

    name: str
    run: Run
    parameters: tuple[Parameter, ...]
    help: str
    typed: bool
    changes: bool
    recorded: bool
    shares: bool
    form: FormMaker | None
    check: Callable[..., None] | None
    example: str
    rewrite: Callable[[Sequence[str]], list[str]] | None
    details: str

    @property
    def words(self) -> str:
        """The name as it is typed: `digest pause` for `digest_pause`."""
        return self.name.replace("_", " ")

    @property
    def stands_alone(self) -> bool:
        """Whether it can be typed, as a single word."""
        return self.typed and "_" not in self.name

    @property
    def usage(self) -> str:
        """`status HOST[:PORT]|ID|PATTERN`, from the signature."""
        return " ".join([self.words, *(p.usage for p in self.parameters if not p.form_only)])

    def wants_form(self, words: Sequence[str]) -> bool:
        """Whether a form should ask for what these words leave out."""
        return self.form is not None and not words

    def bind_words(self, words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
        """The words as arguments. Raises UsageError."""
        if self.rewrite is None and not any(each.many for each in self.parameters):
            # `check example.com for me`
            plain = [word for word in words if word.lower() not in FILLERS]
            words = plain or list(words[:1])
        left, bound = self.rewrite(words) if self.rewrite else list(words), []
        for parameter in self.parameters:
            if parameter.form_only:
                continue
            if parameter.many:
                bound += [parameter.convert(word) for word in left]
                left = []
            elif left:
                bound.append(parameter.convert(left.pop(0)))
            elif not parameter.optional:
                needs = f"“{self.words}” needs {_spelled_out(parameter.usage)}."
                raise UsageError(needs, parameter.name)
        return self._bind_fewer(words, left) if left else (bound, {})

    def _bind_fewer(
        self, words: Sequence[str], left: Sequence[str]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Convert the words without filler words, if some are left over."""
        plain = [word for word in words if word.lower() not in FILLERS]
        if self.rewrite is None and len(plain) < len(words):
            return self.bind_words(plain)
        left = [word for word in left if word.lower() not in {"and", "&", "or", "+"}] or left
        several = re.fullmatch(r"#?\d+|[^-].*[.:].*", left[0]) and not words[0].startswith("-")
        if several and self.parameters:
            raise UsageError(f"“{self.words}” takes one at a time, or a pattern for several.")
        raise UsageError(f"“{left[0]}” isn't expected here.")

    def filled(self, fields: Mapping[str, str], learnt: Collection[str]) -> Form:
        """The command's form, filled in. Raises UsageError if it has none."""
        if self.form is None:
            raise UsageError(f"“{self.words}” has no form.")
        return self.form(fields, learnt)

    def bind_argument(self, argument: str) -> tuple[list[Any], dict[str, Any]]:
        """Convert a button's value to arguments: one, or several if the command takes many."""
        many = any(parameter.many for parameter in self.parameters)
        words = argument.split() if many else [argument] if argument else []
        return self.bind_words(words)

    def takes(self, argument: str) -> bool:
        """Whether the command can run with this button value."""
        try:
            self.bind_argument(argument)
        except UsageError:
            return False
        return True

    def bind_fields(self, fields: Mapping[str, str]) -> tuple[list[Any], dict[str, Any]]:
        """Convert a form's fields to arguments. Raises UsageError; its `param` is the field."""
        bound: list[Any] = []
        named: dict[str, Any] = {}
        for parameter in self.parameters:
            text = fields.get(parameter.name, "")
            if parameter.many:
                words = text.replace(",", " ").split()
                if not words:
                    raise UsageError("This field is required.", parameter.name)
                words = self.rewrite(words) if self.rewrite else words
                bound += [parameter.convert(word) for word in words]
            elif parameter.form_only:
                if text.strip():
                    named[parameter.name] = parameter.convert(text)
            else:
                bound.append(parameter.convert(text))
        if self.check:
            self.check(*bound, **named)
        return bound, named


#: What people say to a bot that isn't a command.
GREETINGS = frozenset(
    {
        *("hi", "hello", "hey", "thanks", "thank", "thx", "ty", "ok", "okay", "cool", "great"),
        *("good", "nice", "please", "yes", "no", "yo", "sorry", "cheers", "lol", "bye", "there"),
        *("danke", "hallo", "moin", "guten", "merci", "bonjour", "salut", "gracias", "hola", "np"),
        *("morning", "perfect", "awesome", "super", "prima", "folks", "team", "wow"),
    }
)
#: Filler words before a host.
FILLERS = frozenset(
    {
        *("of", "for", "the", "on", "at", "to", "me", "my", "host", "monitor", "now", "again"),
        *("id", "here", "with", "via", "over", "using", "about"),
        *("asap", "quick", "quickly", "urgently", "today", "immediately"),
    }
)
#: How people ask for a host's status, or for the hosts in a state.
QUESTIONS = ("is", "are", "what", "what's", "which", "how", "how's", "when", "why", "does", "where")
#: What people type for commands of ours, where a question is better than a guess.
MEANT = {
    **dict.fromkeys(("create", "new", "monitor", "register", "track"), "add"),
    **dict.fromkeys(("claim", "own", "ack", "acknowledge", "assign", "mine"), "take"),
    **dict.fromkeys(("unclaim", "untake", "unassign"), "release"),
    **dict.fromkeys(("snooze", "silence", "ignore"), "mute"),
    **dict.fromkeys(("unsnooze", "unsilence"), "unmute"),
    **dict.fromkeys(("test", "verify", "probe", "inspect"), "check"),
    **dict.fromkeys(("expiry", "expires", "expire", "expiration", "validity"), "status"),
    **dict.fromkeys(("details", "view", "open", "describe", *QUESTIONS), "status"),
    **dict.fromkeys(("export", "csv", "monitors", "certs", "certificates", "hosts"), "list"),
    **dict.fromkeys(("threshold", "thresholds", "warning", "settings", "config"), "warn"),
    **dict.fromkeys(("erase", "destroy", "kill"), "delete"),
    **dict.fromkeys(("man", "manual", "docs"), "help"),
}
#: Before a command's name, these reverse its meaning.
_NEGATIONS = ("un", "non", "no", "dis", "de", "dont", "don't", "not")
#: Habitual names for commands of ours.
ALIASES = {
    **dict.fromkeys(("rm", "remove", "del", "unmonitor"), "delete"),
    **dict.fromkeys(("ls", "all", "find", "search"), "list"),
    **dict.fromkeys(("show", "get", "info"), "status"),
    **dict.fromkeys(("rescan", "refresh"), "scan"),
    **dict.fromkeys(("log", "who"), "audit"),
    **dict.fromkeys(("commands", "usage"), "help"),
}


#: The same for the second word of a command.
SUBCOMMANDS = {
    **dict.fromkeys(("stop", "disable", "end", "delete", "remove"), "off"),
    **dict.fromkeys(("on", "start", "enable", "unpause", "continue", "unmute"), "resume"),
    **dict.fromkeys(("snooze", "mute", "silence"), "pause"),
}


class Router:
    """All commands by name: registers them, finds them, runs them."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}

    def command(
        self,
        name: str,
        *,
        typed: bool = True,
        changes: bool = False,
        recorded: bool | None = None,
        shares: bool = False,
        form: FormMaker | None = None,
        check: Callable[..., None] | None = None,
        example: str = "",
        rewrite: Callable[[Sequence[str]], list[str]] | None = None,
    ) -> Callable[[Run], Run]:
        """Register a function as a command. `check` judges a form's fields together, purely.

        A command that `changes` monitors is for SSL_ADMINS, one that is only `recorded` for every
        full member; both are audited, unless one is not `recorded` because it only asks. The
        private answer of one that `shares` has a button that posts it in the channel.
        """

        def register(run: Run) -> Run:
            first_line, _, details = (inspect.getdoc(run) or "").partition("\n")
            told = changes if recorded is None else recorded
            self.commands[name] = Command(
                name, run, _parameters(run), first_line, typed, changes, told,
                shares, form, check,
                example or (name.replace("_", " ") if typed else ""), rewrite,
                " ".join(details.split()),
            )  # fmt: skip
            return run

        return register

    def find(self, word: str, *, typed: bool = True) -> Command | None:
        """The command with this name, or the only one whose name begins like it."""
        names = [name for name, each in self.commands.items() if not typed or each.stands_alone]
        if typed:
            word = word.replace("-", "").lstrip("/")
            word = ALIASES.get(word, word)
        if word in names:
            return self.commands[word]
        shortens = typed and word and word not in GREETINGS
        starting = [name for name in names if shortens and name.startswith(word)]
        return self.commands[starting[0]] if len(starting) == 1 else None

    def subcommand(self, command: Command, words: Sequence[str]) -> Command | None:
        """`digest pause` for the command `digest` and the words `pause 3d`, if there is such."""
        word = words[0].lower() if words else ""
        found = self.commands.get(f"{command.name}_{SUBCOMMANDS.get(word, word)}")
        return found if found and found.typed else None

    def typed(self) -> list[Command]:
        """The commands that people can type, in the order of the help."""
        return [command for command in self.commands.values() if command.typed]

    def nearest(self, word: str) -> Command | None:
        """The typed command that this word was probably meant to be."""
        names = [command.name for command in self.typed() if command.stands_alone]
        close = difflib.get_close_matches(word, names, n=1, cutoff=0.75)
        close += [name for name in names if sorted(name) == sorted(word)]
        opposite = {f"{no}{name}" for no in _NEGATIONS for name in close[:1]}
        meant = MEANT.get(word) or (close[0] if close and word not in opposite else "")
        return self.commands.get(meant)

    async def dispatch(
        self, call: Call, command: Command, bind: Callable[[], tuple[list[Any], dict[str, Any]]]
    ) -> Message:
        """Convert the arguments and run a command; every expected fault becomes a card."""
        try:
            arguments, named = bind()
            if command.recorded:
                return await self._change(call, command, arguments, named)
            answer = await command.run(call, *arguments, **named)
        except UsageError as fault:
            return replace(replies.usage_error(fault, command.example), outcome="usage")
        except NotMonitored as fault:
            return replies.not_monitored(fault)
        except NotAvailable as fault:
            return replace(replies.not_available(fault), outcome="failed")
        except BotError as fault:
            of_one = isinstance(fault, NotFound) or re.match(r"[a-z ]+\[?HOST[|\[]", command.usage)
            about = arguments[:1] if of_one else ()
            host = "".join(re.sub(r"^(?=\d+$)", "#", str(each)) for each in about)
            return replace(replies.failure(fault, host=host), outcome="failed")
        return monitor_cards.shareable(answer, call.share) if command.shares else answer

    async def _change(
        self, call: Call, command: Command, arguments: list[Any], named: dict[str, Any]
    ) -> Message:
        """Run a command that changes things, and record the result, whatever happens.

        What was done is reported as done, even if it could not be recorded.
        """
        told = " ".join(filter(None, map(str, arguments)))
        results: tuple[tuple[str, str], ...] = ((told, "Interrupted"),)
        try:
            answer = await command.run(call, *arguments, **named)
        except (UsageError, NotMonitored):
            results = ()
            raise
        except BotError as fault:
            results = ((told, f"{'Unconfirmed' if fault.maybe_done else 'Failed'}: {fault}"),)
            raise
        else:
            results = ((told, answer.text),) if answer.changed is None else answer.changed
        finally:
            name = command.name.removesuffix("_now")
            recorded = [await call.audit(name, target, result) for target, result in results]
        return answer if all(recorded) else replies.unrecorded(answer)

    def unknown(self, word: str, words: Sequence[str] = ()) -> Message:
        """The answer to an unknown command; a button runs the nearest, if that is safe."""
        if word in GREETINGS:
            return replies.hello()
        watch = self.commands.get("watch")
        if watch and word in {"stop", "unwatch", "cancel"}:
            return replies.command_help(watch.usage, watch.help, watch.details, watch.example, ())
        near = self.nearest(word)
        hosts = [each for each in words if re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", each)]
        known = {*STATES, *OTHER_STATES, "muted", "taken", "free"}
        said = [each for each in (word, *words) if each.lower() in known]
        if len(hosts) == 1 and near and near.name == "status":
            words = hosts
        elif said and (word in QUESTIONS or word in said):
            near, words = self.commands.get("list"), said
        elif re.match(r"(expir\w*|days|ports?|valid)\b.*[<>=\d]", " ".join([word, *words])):
            near, words = self.commands.get("list"), [word, *words]
        elif word in QUESTIONS:
            near = None
        if near is None:
            return replies.unknown_command(word, part=not words and word not in QUESTIONS)
        argument = " ".join(words)
        runs = not near.changes and near.takes(argument)
        return replies.unknown_command(word, near.name, argument, runs=runs)


def _parameters(run: Run) -> tuple[Parameter, ...]:
    hints = get_type_hints(run, include_extras=True)
    signature = list(inspect.signature(run).parameters.values())[1:]
    return tuple(_parameter(each, hints[each.name]) for each in signature)


def _parameter(each: inspect.Parameter, hint: Any) -> Parameter:
    """A parameter from the signature; `Annotated[Type, "USAGE"]` says how to show it."""
    many = each.kind is inspect.Parameter.VAR_POSITIONAL
    optional = many or each.default is not inspect.Parameter.empty
    usage = f"[{each.name.upper()}]" if optional else each.name.upper()
    if get_origin(hint) is Annotated:
        hint, usage = get_args(hint)
    return Parameter(
        name=each.name,
        read=_whole_number if hint is int else getattr(hint, "parse", hint),
        usage=usage,
        many=many,
        optional=optional,
        form_only=each.kind is inspect.Parameter.KEYWORD_ONLY,
    )


def _spelled_out(usage: str) -> str:
    """`a host or an ID` for `ID|HOST[:PORT]`."""
    words = {"HOST": "a host", "TARGET": "a host", "ID": "an ID", "PATTERN": "a pattern"}
    words["3d"] = "a length, such as 3d"
    *most, last = (words.get(part.partition("[")[0].rstrip("…"), part) for part in usage.split("|"))
    return f"{', '.join(most)} or {last}" if most else last


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise ValueError(f"“{text}” is not a whole number.")
    return int(text)
