"""Figures: what a test measured, against its aim, printed together at the end."""

from collections.abc import Callable

import pytest

Figure = Callable[[str, object, str], None]


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """A function that takes what was measured, how much it was, and what it should be."""

    def record(what: str, value: object, aim: str) -> None:
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        record_property("figure", (what, shown, aim))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of all tests."""
    reports = [
        report
        for kind in ("passed", "failed")
        for report in terminalreporter.stats.get(kind, [])
        if report.when == "call"
    ]
    figures = [value for report in reports for name, value in report.user_properties]
    figures = [value for value in figures if isinstance(value, list | tuple) and len(value) == 3]
    if figures:
        terminalreporter.section("figures")
        for what, value, aim in figures:
            terminalreporter.write_line(f"{what:<72} {value:>24}   aim: {aim}")
