"""Figures: how what was measured becomes a table with verdicts."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from benchmarks.jobs import Measured

OURS = "runwire"


class Figure(NamedTuple):
    """A row of the table: a value of ours, such as "rate", in one case of a section.

    With `against`, the aim is for the ratio to that contender's value; without, for the value
    itself. Without an aim the figure is shown, not judged. `title` is a section of the table of
    its own, `ours` the server of ours that is meant.
    """

    section: str
    case: str
    key: str
    against: str = ""
    aim: float | None = None
    lower_is_better: bool = False
    title: str = ""
    ours: str = OURS

    @property
    def label(self) -> str:
        """What the row is called in its section."""
        parts = (self.case, "" if self.key in ("rate", "mb", "wall_s") else self.key)
        return ", ".join(part for part in parts if part) or self.ours


class Line(NamedTuple):
    """A figure with its values. `cpu_us` and `other_cpu_us` are what one operation cost our server
    and the contender; `met` is None if nothing is judged."""

    figure: Figure
    value: float
    cpu_us: float | None
    other: float | None
    other_cpu_us: float | None
    ratio: float | None
    met: bool | None


class Results:
    """What was measured, a value per round."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)

    def add(self, section: str, case: str, contender: str, measured: Measured) -> None:
        """Keep what one job measured."""
        for key, value in measured.items():
            self._values[section, case, contender, key].append(value)

    def lines(self, figures: Iterable[Figure]) -> Iterator[Line]:
        """Yield a line for each figure, with medians over the rounds."""
        for figure in figures:
            value, cpu_us = self._median(figure, figure.ours)
            other, other_cpu_us = self._median(figure, figure.against)
            if value is None:
                continue
            ratio = value / other if other else None
            met = _met(figure, ratio if figure.against else value)
            yield Line(figure, value, cpu_us, other, other_cpu_us, ratio, met)

    def _median(self, figure: Figure, contender: str) -> tuple[float | None, float | None]:
        keys = (figure.key, "cpu_us" if figure.key in ("rate", "wall_s") else "")
        values = (self._values.get((figure.section, figure.case, contender, key)) for key in keys)
        first, second = (statistics.median(found) if found else None for found in values)
        return first, second


def _met(figure: Figure, judged: float | None) -> bool | None:
    if figure.aim is None or judged is None:
        return None
    return judged <= figure.aim if figure.lower_is_better else judged >= figure.aim


HEADINGS = ("", "runwire", "CPU µs", "against", "", "CPU µs", "ratio", "aim", "")
TO_THE_RIGHT = {1, 2, 4, 5, 6}


def render(lines: Iterable[Line]) -> str:
    """Return the lines as a table, with a heading for each section."""
    rows: list[tuple[str, ...]] = []
    section = label = ""
    for line in lines:
        if (title := line.figure.title or line.figure.section) != section:
            section, label = title, ""
            rows.append((section,))
        rows.append(_row(line, again=line.figure.label == label))
        label = line.figure.label
    table = [HEADINGS, *(row for row in rows if len(row) > 1)]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEADINGS))]
    return "\n".join(_join(row, widths) for row in [HEADINGS, *rows])


def _row(line: Line, *, again: bool) -> tuple[str, ...]:
    figure = line.figure
    ours = (
        ("", "", "") if again else (f"  {figure.label}", _number(line.value), _number(line.cpu_us))
    )
    aim = f"{'≤' if figure.lower_is_better else '≥'} {figure.aim:g}" if figure.aim else ""
    verdict = {None: "", True: "PASS", False: "FAIL"}[line.met]
    other = (figure.against, _number(line.other), _number(line.other_cpu_us))
    return (*ours, *other, f"{line.ratio:.2f}" if line.ratio else "", aim, verdict)


def _join(row: tuple[str, ...], widths: list[int]) -> str:
    cells = (
        cell.rjust(widths[i]) if i in TO_THE_RIGHT else cell.ljust(widths[i])
        for i, cell in enumerate(row)
    )
    return "  ".join(cells).rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
