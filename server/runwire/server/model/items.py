"""Items of the store: what graphs and callers keep across threads, and the names they have."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

Namespace = tuple[str, ...]

Vector = tuple[float, ...]
"""What a text means."""

MAX_NAME_BYTES = 2_000
"""What a namespace, its labels joined by one byte, and a key take up at most: PostgreSQL has room
for 2704 in a row of an index."""

MAX_LABELS = 64
"""How deep a namespace is at most."""

MAX_VALUE_BYTES = 3 * 1024 * 1024
"""The largest value of an item, as JSON text: one that any client takes in an answer."""

MAX_PATH_BYTES = 400
"""The longest path to what of an item is found by its meaning. It stands in an index, too, together
with the item's name."""

MAX_TEXTS = 1000
"""How many texts of one item are found by their meaning."""

MAX_TEXT_CHARACTERS = 4 * MAX_VALUE_BYTES
"""How long those are together: paths can lead to the same place again and again."""

MAX_CONDITIONS = 64
"""How much one filter may ask for."""

LONGEST_TTL = timedelta(days=365)

ANY_LABEL = "*"
"""Stands for any one label where namespaces are looked for."""

OPERATORS = frozenset({"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"})
"""How a filter compares."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_CONTROL = re.compile("[\0-\x1f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What is stored under a key of a namespace. `expire_time`: from when on it is not there any
    more; None if it stays. `score`: how near it is to a query, 1 at most; None without one."""

    namespace: Namespace
    key: str
    value: dict[str, Any]
    create_time: datetime
    update_time: datetime
    expire_time: datetime | None = None
    score: float | None = None

    @property
    def place(self) -> "ItemPlace":
        """Where it is."""
        return ItemPlace(self.namespace, self.key)


class ItemPlace(NamedTuple):
    """Where an item is, or could be."""

    namespace: Namespace
    key: str


class Condition(NamedTuple):
    """What the entry at `path` of an item's value has to compare with: `operand` is JSON text."""

    path: tuple[str, ...]
    operator: str
    operand: str


class Match(NamedTuple):
    """Labels that a namespace begins with, or ends with; `ANY_LABEL` is each."""

    path: Namespace
    at_end: bool = False

    def holds(self, namespace: Namespace) -> bool:
        """Return whether it holds for a namespace."""
        if len(self.path) > len(namespace):
            return False
        begin = len(namespace) - len(self.path) if self.at_end else 0
        labels = namespace[begin : begin + len(self.path)]
        pairs = zip(self.path, labels, strict=True)
        return all(wanted in (ANY_LABEL, label) for wanted, label in pairs)


@dataclass(frozen=True, slots=True)
class StoreTtl:
    """For how long items are kept: `default` if nobody says (None: for ever), from when they were
    put or, with `refresh_on_read`, read last."""

    default: timedelta | None = None
    refresh_on_read: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreIndex:
    """How items are found by their meaning: `embed` names what makes vectors of `dims` numbers, and
    `fields` are the paths of a value that count if nobody says; "$" is all of it."""

    dims: int
    embed: str
    fields: tuple[str, ...] = ("$",)


class FilterError(ValueError):
    """A filter that means nothing. `path` leads to what is wrong with it."""

    def __init__(self, path: Sequence[str], description: str) -> None:
        self.path = tuple(path)
        self.description = description
        super().__init__(f"filter {'.'.join(path)!r} {description}")


class TextsError(ValueError):
    """What of an item is to be found by its meaning is no path, or too much."""


def wrong_label(label: str) -> str | None:
    """Return what keeps a text from being a label of a namespace; None if nothing does."""
    if not label:
        return "is empty"
    if "." in label:
        return "holds a period"
    if _CONTROL.search(label):
        return "holds a control character, or half a character"
    return None


def wrong_key(key: str) -> str | None:
    """Return what keeps a text from being an item's key; None if nothing does."""
    if not key:
        return "is empty"
    if _UNSTORABLE.search(key):
        return "holds the character U+0000, or half a character"
    return None


def wrong_path(path: str) -> str | None:
    """Return what keeps a text from being the path to what is found by its meaning; None if nothing
    does."""
    if _UNSTORABLE.search(path):
        return "holds the character U+0000, or half a character"
    size = len(path.encode())
    if size > MAX_PATH_BYTES:
        return f"has {size} bytes, at most {MAX_PATH_BYTES} are taken"
    return None


def wrong_size(namespace: Namespace, key: str = "") -> str | None:
    """Return what is too much about a namespace, or with a key about both; None if nothing is."""
    if len(namespace) > MAX_LABELS:
        return f"has {len(namespace)} labels, at most {MAX_LABELS} are taken"
    size = sum(len(label.encode()) + 1 for label in namespace) - 1 + len(key.encode())
    if size > MAX_NAME_BYTES:
        return f"has, with the key, {size} bytes, at most {MAX_NAME_BYTES} are taken"
    return None


def read_filter(wanted: Mapping[str, Any]) -> list[Condition]:
    """Return what a filter asks of an item's value.

    Each entry names one of the value and says what it is: itself, `{operator: operand}` with
    one or several of `OPERATORS`, or an object of which each entry is meant in the same way. Raises
    `FilterError`, also for what is not JSON.
    """
    conditions: list[Condition] = []
    _read_entries(wanted, (), conditions)
    return conditions


def _read_entries(
    wanted: Mapping[str, Any], path: tuple[str, ...], conditions: list[Condition]
) -> None:
    for name, value in wanted.items():
        place = (*path, name)
        if len(name) > 1 and name.startswith("$"):
            raise FilterError(place, "is no entry: operators are within one, {entry: {$eq: 1}}")
        if not isinstance(value, dict) or not value:
            conditions.append(_condition(place, "$eq", value))
        elif any(part.startswith("$") for part in value):
            conditions += [_condition(place, part, operand) for part, operand in value.items()]
        else:
            _read_entries(value, place, conditions)
        if len(conditions) > MAX_CONDITIONS:
            raise FilterError(place, f"is too much: at most {MAX_CONDITIONS} entries are compared")


def _condition(path: tuple[str, ...], operator: str, operand: Any) -> Condition:
    if operator not in OPERATORS:
        known = ", ".join(sorted(OPERATORS))
        raise FilterError((*path, operator), f"is an unknown operator; known: {known}")
    try:
        return Condition(path, operator, orjson.dumps(operand).decode())
    except TypeError as error:
        raise FilterError(path, f"is not JSON: {error}") from error
