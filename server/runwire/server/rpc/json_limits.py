"""What JSON the server takes: the check of it, and the search for what is wrong with it."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

MAX_DEPTH = 64
"""Levels of lists and objects. LangGraph's serializer and other JSON readers end soon after."""

SMALLEST, LARGEST = -(2**63), 2**64 - 1
"""The integers that are taken."""

_TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep"
_BIG = float(2**63)
_SURROGATE = re.compile("[\ud800-\udfff]")

Step = str | int
"""A step into a value: the name of a member, or an index."""


class Offence(Exception):
    """A JSON value that is not taken. `path` leads to it from the whole; empty for the whole."""

    def __init__(self, path: Iterable[Step], description: str) -> None:
        self.path = shown_path(path)
        self.description = description
        super().__init__(f"{self.path}: {description}")


def parse(text: str) -> Any:
    """Return the data that JSON text spells; raises `Offence` if it is not taken.

    Of several members of an object with the same name the last one counts.
    """
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _offence(text) or Offence((), f"is not JSON: {error}") from None
    if _is_suspicious(data):
        offence = _offence(text)
        if offence is not None:
            raise offence
    return data


def _is_suspicious(data: Any) -> bool:
    """Whether data that orjson took has to be looked at closely: it allows a thousand levels, and
    reads integers over 64 bits as floats."""
    level = [data]
    for _ in range(MAX_DEPTH):
        below = []
        for node in level:
            kind = type(node)
            if kind is dict:
                below.extend(node.values())
            elif kind is list:
                below.extend(node)
            elif kind is float and not -_BIG < node < _BIG:
                return True
        if not below:
            return False
        level = below
    return any(isinstance(node, dict | list | float) for node in level)


class _Refused:
    """Stands in parsed data for a value that is not taken."""

    def __init__(self, description: str) -> None:
        self.description = description


def _offence(text: str) -> Offence | None:
    """Return the first thing that is wrong with JSON text, by a slow and thorough reading; None
    if nothing is."""
    try:
        data = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_constant)
    except RecursionError:
        return Offence((), _TOO_DEEP)
    except json.JSONDecodeError as error:
        return Offence((), f"is not JSON: {error.msg} at character {error.pos}")
    return _first_offence(data)


def _integer(digits: str) -> int | _Refused:
    # Longer ones are not even converted: that takes quadratic time, and Python refuses in the end.
    if len(digits) > 20 or not SMALLEST <= int(digits) <= LARGEST:
        return _Refused("is an integer outside the 64-bit range")
    return int(digits)


def _float(digits: str) -> float | _Refused:
    value = float(digits)
    return value if math.isfinite(value) else _Refused("is a number too large for a double")


def _constant(name: str) -> _Refused:
    return _Refused(f"is {name}, which is not JSON")


def _first_offence(data: Any) -> Offence | None:
    path: list[Step] = []
    # One iterator for each value that encloses the present one; a path as long leads to the last.
    inside: list[Iterator[tuple[Step, Any]]] = [iter([("", data)])]
    while inside:
        for step, node in inside[-1]:
            if wrong := _wrong(node, len(inside)):
                return Offence([*path, step][1:], wrong)
            if isinstance(node, dict | list):
                path.append(step)
                inside.append(_members(node))
                break
        else:
            inside.pop()
            del path[-1:]
    return None


def _members(node: dict[str, Any] | list[Any]) -> Iterator[tuple[Step, Any]]:
    yield from node.items() if isinstance(node, dict) else enumerate(node)


def _wrong(node: Any, level: int) -> str | None:
    """Return what is wrong with one value, leaving aside what it holds."""
    if isinstance(node, str):
        return "holds a lone surrogate" if _SURROGATE.search(node) else None
    if isinstance(node, _Refused):
        return node.description
    if isinstance(node, dict) and any(map(_SURROGATE.search, node)):
        return "has a key with a lone surrogate"
    if isinstance(node, dict | list) and level > MAX_DEPTH:
        return _TOO_DEEP
    return None


def shown_path(path: Iterable[Step]) -> str:
    """Return a path within a value as text that follows the name of a field, such as
    `.messages[2].id`."""
    return "".join(_shown_step(step) for step in path)


def _shown_step(step: Step) -> str:
    if isinstance(step, str) and step.isidentifier():
        return f".{step}"
    return f"[{json.dumps(step)}]"
