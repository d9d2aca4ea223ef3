r"""JSON as PostgreSQL takes it: all that JSON can say, except one character.

PostgreSQL has no U+0000 in its text, and refuses JSON that says \u0000 as soon as a query looks
into it. So that nothing is refused, U+0000 is kept as U+0001 twice, and U+0001, which is as good as
never used, as U+0001 and U+0002. Texts keep their order by that.
"""

from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import Dialect, Text, TypeDecorator

_ZERO, _ONE = "\1\1", "\1\2"
_IN_JSON = ("\\u0000", "\\u0001")


def dump_json(value: Any) -> str:
    """Return a value as JSON text for PostgreSQL."""
    text = orjson.dumps(value).decode()
    if any(character in text for character in _IN_JSON):
        return orjson.dumps(_mapped(value, _escape)).decode()
    return text


def load_json(text: str | bytes) -> Any:
    """Return the value of which `dump_json` made the text."""
    if isinstance(text, str):
        text = text.encode()
    value = orjson.loads(text)
    return _mapped(value, _unescape) if b"\\u0001" in text else value


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
    return text.replace("\1", _ONE).replace("\0", _ZERO)


def _unescape(text: str) -> str:
    return text.replace(_ZERO, "\0").replace(_ONE, "\1")


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {_mapped(key, change): _mapped(item, change) for key, item in value.items()}
    return value
