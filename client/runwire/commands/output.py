"""How answers look: JSON for programs, tables and lines for people.

On a terminal they have colours, unless NO_COLOR is set; elsewhere they are plain text.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Row = Sequence[tuple[str, Any]]
"""What a line of a table says, by the names of the columns."""

COLOURS = {
    "pending": "cyan",
    "running": "blue",
    "busy": "blue",
    "cancelling": "yellow",
    "interrupted": "yellow",
    "succeeded": "green",
    "failed": "red",
    "error": "red",
    "timed_out": "red",
    "cancelled": "magenta",
}

# What a terminal would take for a command, in text that a model or a stranger has written.
_CONTROLS = dict.fromkeys([*range(0x20), 0x7F, *range(0x80, 0xA0)])
for _kept in (0x09, 0x0A):
    del _CONTROLS[_kept]

# Those of them that JSON may have as they are; they stand in its strings alone.
_ESCAPED = {control: f"\\u{control:04x}" for control in (0x7F, *range(0x80, 0xA0))}


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON, in ASCII if standard output does not take every character."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    text = json.dumps(value, ensure_ascii=encoding != "utf8", indent=indent)
    return text.translate(_ESCAPED)


def print_json(value: Any) -> None:
    """Print an answer as one JSON document."""
    print(as_json(value, indent=2))


def print_json_line(value: Any) -> None:
    """Print one part of an answer as a line of JSON, at once."""
    print(as_json(value), flush=True)


def safe(text: str, out: TextIO) -> str:
    """Return a text as `out` may have it: a terminal gets no commands that stand in it."""
    return text.translate(_CONTROLS) if out.isatty() else text


def console(out: TextIO, *, width: int | None = None) -> "Console":
    """Return what writes to a terminal in colours, in lines of `width`; the terminal's by
    default."""
    from rich.console import Console

    return Console(file=out, width=width, highlight=False, markup=False, emoji=False)


ANY_WIDTH = 10_000
"""For tables that are as wide as what is in them: a terminal breaks longer lines, and loses
nothing."""


def print_answer(
    value: Mapping[str, Any], *, to_json: bool, skip: Iterable[str] = ("values",)
) -> None:
    """Print one thing: as JSON, or a line for each of its parts that says something."""
    if to_json:
        print_json(value)
        return
    shown = {key: item for key, item in value.items() if key not in skip and _says(item)}
    width = max(map(len, shown), default=0)
    for key, item in shown.items():
        print(safe(f"{key:<{width}}  {cell(item)}", sys.stdout))


def _says(item: Any) -> bool:
    return item is not None and item != {} and item != [] and item != ""


def print_list(
    items: Sequence[Mapping[str, Any]],
    row_of: Callable[[Mapping[str, Any]], Row],
    *,
    to_json: bool,
    nothing: str,
) -> None:
    """Print several things: as a JSON array, or as a table with a line for each.

    If there are none, people are told `nothing`.
    """
    if to_json:
        print_json(items)
    elif items:
        print_table([row_of(item) for item in items])
    else:
        print(nothing, file=sys.stderr)


def print_table(rows: Sequence[Row]) -> None:
    """Print a table, of which all rows have the same columns. There is at least one."""
    if sys.stdout.isatty():
        console(sys.stdout, width=ANY_WIDTH).print(table_of(rows))
        return
    for line in _plain_lines(rows):
        print(line)


def table_of(rows: Sequence[Row], title: str | None = None) -> "Table":
    """Return a table for a terminal, with a line for each row; one that is too long is cut."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name, _ in rows[0]:
        table.add_column(name, no_wrap=True)
    for row in rows:
        texts = [safe(cell(item), sys.stdout) for _, item in row]
        table.add_row(*(Text(text, COLOURS.get(text, "")) for text in texts))
    return table


def _plain_lines(rows: Sequence[Row]) -> list[str]:
    lines = [[name for name, _ in rows[0]], *([cell(item) for _, item in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def cell(item: Any) -> str:
    """Return a value as a table and a line have it."""
    match item:
        case None:
            return "-"
        case bool(yes):
            return "yes" if yes else "no"
        case str(text):
            return " ".join(text.split())
        case dict() | list():
            return as_json(item)
        case other:
            return str(other)


def moment(text: str | None) -> str | None:
    """Return a time of an answer to the second."""
    return None if text is None else text[:19].replace("T", " ") + "Z"
