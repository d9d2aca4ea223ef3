"""The tables of the page for those who come from langgraph_sdk."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.sdk_surface import Found, our_client, parameters_by_place

PAGE = Path(__file__).parents[2] / "docs" / "migration.md"


def table(first_head: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this head, as their cells."""
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(f"| {first_head} |")
    assert found
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def words(cell: str) -> list[str]:
    """Return what stands in backquotes in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def differences_on_the_page() -> list[Found]:
    """Return the list of what is not as in langgraph_sdk, with no place left to guess."""
    rows = table("difference")
    assert all(reason for _, _, reason in rows)
    return [
        Found(kind, where)
        for kind, places, _ in rows
        for place in words(places)
        for where in _expanded(place)
    ]


def _expanded(place: str) -> Iterator[str]:
    if not place.startswith("*"):
        yield place
        return
    known = parameters_by_place(our_client("async"))
    yield from (where for where in known if where.endswith(place[1:]))
