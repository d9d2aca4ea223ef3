"""Whether plain data is what an annotation says, as langgraph_sdk's users read them."""

import types
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

import typing_extensions

seen: set[str] = set()
"""The names of the typed dicts that values were held against."""


def misfits(value: Any, hint: Any, where: str) -> Iterator[str]:
    """Give the places where a value is not what it should be: `where` for itself, "Run.thread_id"
    for what is in a typed dict."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if all(any(misfits(value, one, where)) for one in arguments):
            yield where
    elif typing_extensions.is_typeddict(hint):
        yield from _of_typed_dict(value, hint, where)
    elif origin in (list, Sequence):
        if not isinstance(value, list):
            yield where
            return
        for item in value:
            yield from misfits(item, arguments[0], where)
    elif not _is_plain(value, hint, origin or hint, arguments):
        yield where


def _is_plain(value: Any, hint: Any, kind: Any, arguments: tuple[Any, ...]) -> bool:
    if hint is Any:
        return True
    if kind is Literal:
        return value in arguments
    if hint is datetime:  # which is its text, for their users too
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    if kind in (dict, Mapping) or getattr(hint, "_is_protocol", False):
        return isinstance(value, dict)
    if hint is type(None) or hint is None:
        return value is None
    return isinstance(value, kind) and not (hint is int and isinstance(value, bool))


def _of_typed_dict(value: Any, hint: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield where
        return
    seen.add(hint.__name__)
    for key, wanted in get_type_hints(hint, include_extras=True).items():
        may_lack = get_origin(wanted) in (NotRequired, typing_extensions.NotRequired)
        place = f"{hint.__name__}.{key}"
        if key in value:
            yield from misfits(value[key], get_args(wanted)[0] if may_lack else wanted, place)
        elif not may_lack and key in hint.__required_keys__:
            yield place
