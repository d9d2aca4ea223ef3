"""Figures of many."""

import math
from collections import defaultdict
from collections.abc import Sequence

from tests.chaos.history import Line, of_kind


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest of the values that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def executed_again(lines: Sequence[Line]) -> int:
    """Return how many supersteps were executed more than once."""
    begun: dict[tuple[str, int], int] = defaultdict(int)
    for note in of_kind(lines, "note"):
        if note["what"] == "begin":
            begun[note["run"], note["step"]] += 1
    return sum(count - 1 for count in begun.values())
