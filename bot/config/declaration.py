"""How a setting is declared: `setting(…)` as the value of a dataclass field."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting:
    """The declaration of a setting.

    `read` converts the variable's text, without surrounding spaces, to the value; it raises
    ValueError with a sentence that tells the operator what to write instead, and never repeats a
    secret. `default` is the text that an unset or blank variable stands for. `meaning` is Markdown
    for the table in docs/deploy.md.

    The value of a `secret` setting is never shown, and the variable NAME_FILE can name a file that
    contains it, as container platforms provide secrets. With `empty`, a blank variable is a value
    and not the default.
    """

    variable: str
    read: Callable[[str], object]
    default: str
    meaning: str
    secret: bool
    empty: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that can set it."""
        return (self.variable, f"{self.variable}_FILE") if self.secret else (self.variable,)

    def sources(self, environ: Mapping[str, str]) -> list[str]:
        """The variables that do set it: at most one, unless the operator made a mistake."""
        there = [name for name in self.variables if name in environ]
        return [name for name in there if self.empty or environ[name].strip()]


def setting(
    variable: str,
    read: Callable[[str], T],
    default: str = "",
    *,
    meaning: str,
    secret: bool = False,
    empty: bool = False,
) -> T:
    """Declare a dataclass field as a setting; see `Setting`. `read` must accept the default."""
    value: T = field(
        default_factory=lambda: read(default),
        repr=not secret,
        metadata={"setting": Setting(variable, read, default, meaning, secret, empty)},
    )
    return value
