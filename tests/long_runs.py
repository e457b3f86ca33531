"""Random runs of a second and more: short in each run of the tests, long in the matrix."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy

#: How many times as many examples `-m matrix` tries.
LONGER = 20


def random_run(
    *strategies: SearchStrategy[Any], examples: int
) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """Hypothesis's `given`: so many examples, and LONGER times as many with `-m matrix`."""
    longer = pytest.param(LONGER * examples, marks=pytest.mark.matrix)

    def decorate(test: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.slow
        @pytest.mark.parametrize("number", [examples, longer])
        def run(number: int) -> None:
            settings(max_examples=number)(given(*strategies)(test))()

        return run

    return decorate
