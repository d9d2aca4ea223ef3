r"""JSON as PostgreSQL takes it: all that JSON can say, except one character.

PostgreSQL has no U+0000 in its text, and refuses JSON that says \u0000 as soon as a query looks
into it. So that nothing is refused, it travels as two other characters, of which the first is one
that Unicode keeps out of all texts; where that stands all the same, it is doubled in the same way.
"""

from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import Dialect, Text, TypeDecorator

_MARK = "\ufdd0"
_MARK_BYTES = _MARK.encode()
_ZERO, _ITSELF = _MARK + "0", _MARK + "1"


def dump_json(value: Any) -> str:
    """Return a value as JSON text for PostgreSQL."""
    text = orjson.dumps(value).decode()
    if "\\u0000" in text or _MARK in text:
        return orjson.dumps(_mapped(value, _escape)).decode()
    return text


def load_json(text: str | bytes) -> Any:
    """Return the value of which `dump_json` made the text."""
    value = orjson.loads(text)
    marked = _MARK_BYTES in text if isinstance(text, bytes) else _MARK in text
    return _mapped(value, _unescape) if marked else value


class JsonText(TypeDecorator[str]):
    """JSON text that is compared with what is stored."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name != "postgresql":
            return value
        return dump_json(orjson.loads(value))


class JsonKey(TypeDecorator[str]):
    """The name of an entry of a JSON object that is stored."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value if value is None or dialect.name != "postgresql" else _escape(value)


def _escape(text: str) -> str:
    return text.replace(_MARK, _ITSELF).replace("\0", _ZERO)


def _unescape(text: str) -> str:
    return text.replace(_ZERO, "\0").replace(_ITSELF, _MARK)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {_mapped(key, change): _mapped(item, change) for key, item in value.items()}
    return value
