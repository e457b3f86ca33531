"""Where TESTS_MUST_NOT_SKIP is set, a skipped test fails: CI has all that a test may need.

What CI itself finds to be missing it may name in TESTS_MAY_SKIP, by words of the reason.
"""

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("TESTS_MUST_NOT_SKIP"):
        config.pluginmanager.register(NoSkips(), "no-skips")


class NoSkips:
    """Turns what would be skipped into a failure that names the reason."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        return _failed((yield))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        return _failed((yield))


def _failed(report: Report) -> Report:
    """The report as it is, unless it is of a skip; an expected failure is none."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        excused = os.environ.get("TESTS_MAY_SKIP")
        if excused and excused in str(reason):
            return report
        report.outcome = "failed"
        report.longrepr = f"Skipped where nothing may be skipped. {reason}"
    return report
