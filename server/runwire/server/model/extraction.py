"""Paths to parts of a thread, such as `values.messages[-1].content`, and what they lead to."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runwire.server.model.runs import JsonText
from runwire.server.model.threads import Thread

ROOTS = ("values", "metadata", "interrupts")
"""Where a path may begin."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(-?[0-9]{1,9})\]")


@dataclass(frozen=True, slots=True)
class ValuePath:
    """A path: where it begins, and its steps, names of entries and numbers of items."""

    root: str
    steps: tuple[str | int, ...] = ()


def parse_path(text: str) -> ValuePath:
    """Return the path that a text says. Raises ValueError, with what is wrong with it."""
    root = re.split(r"[.\[]", text, maxsplit=1)[0]
    if root not in ROOTS:
        raise ValueError(f"must begin with one of {', '.join(ROOTS)}")
    steps: list[str | int] = []
    place = len(root)
    while place < len(text):
        step = _STEP.match(text, place)
        if step is None:
            raise ValueError(f"has neither .name nor [number] at {text[place:]!r}")
        name, number = step.groups()
        steps.append(name if number is None else int(number))
        place = step.end()
    return ValuePath(root, tuple(steps))


def extract(thread: Thread, paths: Mapping[str, ValuePath]) -> dict[str, JsonText]:
    """Return what paths lead to in a thread, by their names, as JSON text. What one does not lead
    to is left out."""
    roots = {root: _root(thread, root) for root in {path.root for path in paths.values()}}
    found = {}
    for name, path in paths.items():
        try:
            part = _follow(roots[path.root], path.steps)
        except LookupError:
            continue
        found[name] = json.dumps(part, separators=(",", ":"))
    return found


_NOTHING = object()


def _root(thread: Thread, root: str) -> Any:
    # Not orjson: integers of any size stay exact, and lone surrogates are taken.
    match root:
        case "values":
            return _NOTHING if thread.values is None else json.loads(thread.values)
        case "metadata":
            return thread.metadata
        case _:
            return [
                {"interrupt_id": interrupt.interrupt_id, "value": json.loads(interrupt.value)}
                for interrupt in thread.interrupts
            ]


def _follow(part: Any, steps: tuple[str | int, ...]) -> Any:
    """Return what steps lead to. Raises LookupError if that is nothing."""
    for step in steps:
        part = _step(part, step)
    if part is _NOTHING:
        raise LookupError
    return part


def _step(part: Any, step: str | int) -> Any:
    if isinstance(step, str) and isinstance(part, dict):
        return part[step]
    if isinstance(step, int) and isinstance(part, list):
        return part[step]
    raise LookupError(step)
