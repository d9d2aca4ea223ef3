"""Figures: how values become a table with a verdict."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.jobs import Measured

OURS = "runwire"


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table: a value of ours, such as "rate", in one case of a section.

    With `against`, the aim is for the ratio to that contender's value; without, for the value
    itself. Without an aim the figure is shown, not judged.
    """

    section: str
    case: str
    key: str
    against: str = ""
    aim: float | None = None
    lower_is_better: bool = False


class Results:
    """What was measured, a value per round."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)

    def add(self, section: str, case: str, contender: str, measured: Measured) -> None:
        """Keep what one job measured."""
        for key, value in measured.items():
            self._values[section, case, contender, key].append(value)

    def median(self, section: str, case: str, contender: str, key: str) -> float | None:
        """Return the median over the rounds, None if there was none."""
        found = self._values.get((section, case, contender, key))
        return statistics.median(found) if found else None


@dataclass(frozen=True, slots=True)
class Line:
    """A figure with its values. `cpu_us` and `other_cpu_us` are what one operation cost our server
    and the contender; `met` is None if nothing is judged."""

    figure: Figure
    value: float
    other: float | None
    ratio: float | None
    met: bool | None
    cpu_us: float | None
    other_cpu_us: float | None


def evaluate(figures: Iterable[Figure], results: Results) -> Iterator[Line]:
    """Yield a line for each figure that was measured."""
    for figure in figures:
        place = (figure.section, figure.case)
        value = results.median(*place, OURS, figure.key)
        if value is None:
            continue
        other = results.median(*place, figure.against, figure.key)
        ratio = value / other if other else None
        yield Line(
            figure,
            value,
            other,
            ratio,
            _met(figure, ratio if figure.against else value),
            results.median(*place, OURS, "cpu_us"),
            results.median(*place, figure.against, "cpu_us"),
        )


def _met(figure: Figure, judged: float | None) -> bool | None:
    if figure.aim is None or judged is None:
        return None
    return judged <= figure.aim if figure.lower_is_better else judged >= figure.aim


HEADINGS = ("", "runwire", "CPU µs", "against", "", "CPU µs", "ratio", "aim", "")
TO_THE_RIGHT = {1, 2, 4, 5, 6}


def render(lines: Iterable[Line]) -> str:
    """Return the lines as a table, a heading for each section."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    section = case = ""
    for line in lines:
        if line.figure.section != section:
            section = line.figure.section
            rows.append((section, *[""] * 8))
        again = line.figure.case == case
        case = line.figure.case
        rows.append(_row(line, again))
    # A heading may run into the columns beside it, which are empty.
    widths = [max(len(row[i]) for row in rows if i or any(row[1:])) for i in range(len(HEADINGS))]
    return "\n".join(_render_row(row, widths) for row in rows)


def _row(line: Line, again: bool) -> tuple[str, ...]:
    figure = line.figure
    sign = "≤" if figure.lower_is_better else "≥"
    return (
        "" if again else f"  {figure.case}",
        "" if again else _number(line.value),
        "" if again else _number(line.cpu_us),
        figure.against,
        _number(line.other),
        _number(line.other_cpu_us),
        f"{line.ratio:.2f}" if line.ratio is not None else "",
        f"{sign} {figure.aim:g}" if figure.aim is not None else "",
        {None: "", True: "PASS", False: "FAIL"}[line.met],
    )


def _render_row(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [
        cell.rjust(width) if i in TO_THE_RIGHT else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
