"""The page that compares Runwire with the Agent Server names tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/parity.md"
REFERENCE = re.compile(r"`(tests/[^`:]+\.py)::(\w+)`")
CELLS = 3


def rows() -> list[tuple[str, str, str]]:
    """The rows of all tables on the page, without their heads."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    tables = [line for line in lines if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in tables]
    assert {len(row) for row in cells} == {CELLS}
    stripped = [tuple(cell.strip() for cell in row) for row in cells]
    return [row for row in stripped if row[0] != "Agent Server" and set(row[0]) != {"-"}]  # type: ignore[misc]


@cache
def names_in(path: Path) -> set[str]:
    """What a test file calls its tests; the class of a state machine is given a name as well."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    functions = [n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    given = [
        t.id
        for n in tree.body
        if isinstance(n, ast.Assign)
        for t in n.targets
        if isinstance(t, ast.Name)
    ]
    return {name for name in [*functions, *given] if name.lower().startswith("test_")}


def what_is_wrong(row: tuple[str, str, str]) -> list[str]:
    reference, here, test = row
    shown = REFERENCE.findall(test)
    missing = [
        f"{path}::{name}"
        for path, name in shown
        if not (ROOT / path).exists() or name not in names_in(ROOT / path)
    ]
    return [
        *([] if here else [f"{reference}: nothing is said of Runwire"]),
        *([] if shown else [f"{reference}: no test shows it"]),
        *[f"{reference}: there is no {name}" for name in missing],
    ]


def test_every_row_says_what_is_here_and_names_tests_that_exist() -> None:
    assert rows()
    assert [wrong for row in rows() for wrong in what_is_wrong(row)] == []
