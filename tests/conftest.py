"""Rules of the whole suite: under CI a skip is a failure; a soak runs with full counts and leaves a report.

CI: set by the machine that runs .ci/run. WAYPOST_SOAK: full counts. WAYPOST_SOAK_REPORT: the file of their report.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

CI = os.environ.get("CI", "") not in ("", "0", "false")
SOAK = bool(os.environ.get("WAYPOST_SOAK"))
SOAK_REPORT = os.environ.get("WAYPOST_SOAK_REPORT", "")
SOAK_FACTOR = 50
ALONE = (
    "tests/chaos/",
    "tests/integration/13-attacks/",
    "tests/integration/15-large/",
    "tests/integration/22-hostile-mail/",
    "tests/integration/28-slow-backend/",
    "tests/integration/50-workers/",
    "tests/integration/95-bench/",
)
"""Directories of tests that measure time, or load the machine."""

settings.register_profile("test", deadline=None, print_blob=True)
settings.register_profile(
    "soak",
    deadline=None,
    print_blob=True,
    max_examples=100 * SOAK_FACTOR,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("soak" if SOAK else "test")


@pytest.fixture(scope="session")
def full_count() -> Callable[[int], int]:
    """`full_count(n)`: n repetitions in `make test`, fifty times as many in `make soak`."""
    return lambda count: count * SOAK_FACTOR if SOAK else count


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(ALONE):
            item.add_marker(pytest.mark.alone)


def pytest_collection_finish() -> None:
    """A full garbage collection over thousands of collected tests takes 0.3 s, which tests of stalls would measure."""
    gc.collect()
    gc.freeze()


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"with CI set a skip is a failure: {reason.removeprefix('Skipped: ')}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


class _Soak:
    """Writes a report: the tests run, their times, and the failures."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._began = time.time()
        self._lines: list[str] = []
        self._figures: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._figures += [f"`{report.nodeid}`: {name} = {value}" for name, value in report.user_properties]
        if report.when == "call" or report.outcome != "passed":
            reason = f": {report.longrepr[2]}" if report.skipped and isinstance(report.longrepr, tuple) else ""
            self._lines.append(f"| `{report.nodeid}` | {report.outcome}{reason} | {report.duration:.1f} |")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if not self._lines:
            return
        began = datetime.fromtimestamp(self._began, UTC)
        seconds = time.time() - self._began
        head = (
            "# Last soak\n\n"
            f"`make soak` of {began:%Y-%m-%d %H:%M} UTC: {seconds:.0f} s, exit status {int(exitstatus)}. "
            f"Counts are {SOAK_FACTOR} times those of `make test`.\n\n"
            "| test | outcome | seconds |\n|---|---|---|\n"
        )
        self._report.write_text(head + "\n".join([*sorted(self._lines), "", *self._figures]).rstrip() + "\n")


def pytest_configure(config: pytest.Config) -> None:
    if CI:
        config.option.continue_on_collection_errors = True
    if SOAK_REPORT:
        config.pluginmanager.register(_Soak(Path(SOAK_REPORT).absolute()), "soak-report")
