"""A pytest plugin: prints the table of faults at the end of a run, of one process or of several (pytest-xdist)."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.catalogue import FAULTS

FAULT = "fault"
_outcomes: dict[int, list[tuple[str, float]]] = defaultdict(list)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Write the numbers of its faults into each test's report: the process that prints may not be the one that ran."""
    outcome: Any = yield
    numbers = [number for mark in item.iter_markers(FAULT) for number in mark.args]
    for number in numbers:
        assert number in FAULTS, f"{item.nodeid}: no fault {number}"
    outcome.get_result().user_properties.extend((FAULT, number) for number in numbers)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how each test of a fault ended; a set-up that fails counts as the test's failure."""
    if report.when == "call" or report.outcome == "failed":
        for name, number in report.user_properties:
            if name == FAULT:
                _outcomes[int(str(number))].append((report.outcome, report.duration))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print number, fault, tests, seconds and verdict; faults that this run left out are named last."""
    if not _outcomes:
        return
    terminalreporter.section("faults")
    for number, name in FAULTS.items():
        if found := _outcomes.get(number):
            bad = sum(outcome != "passed" for outcome, _ in found)
            verdict = "passed" if not bad else f"FAILED ({bad} of {len(found)})"
            seconds = sum(duration for _, duration in found)
            terminalreporter.write_line(f"{number:>3}  {name:<42} {len(found):>2} tests {seconds:>6.1f} s  {verdict}")
    left = [str(number) for number in FAULTS if number not in _outcomes]
    if left:
        terminalreporter.write_line(f"not in this run: {', '.join(left)}")
