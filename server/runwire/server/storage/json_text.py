r"""JSON as PostgreSQL takes it: all that JSON can say, except one character.

PostgreSQL has no U+0000 in its text, and refuses JSON that says \u0000 as soon as a query looks
into it. So that nothing is refused, U+0000 is kept as U+0001 twice, and U+0001, which is as good as
never used, as U+0001 and U+0002. Texts keep their order by that.
"""

import re
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


_PAIR = r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = r"u([dD][89a-fA-F][0-9a-fA-F]{2})"
_TO_ESCAPE = re.compile(rf"\\(?:u000([01])|{_PAIR}|{_LONE}|.)")
_ESCAPED = re.compile(r"\\(?:u0001\\u000(?:([12])|3([0-9a-fA-F]{4}))|.)")


def escape_json(text: str) -> str:
    """Return JSON text without what PostgreSQL refuses to look into: U+0000 and U+0001 as
    `dump_json` has them, and half characters, of which there are none in text either, as U+0001,
    U+0003 and their number."""
    return _TO_ESCAPE.sub(_escaped, text) if "\\u" in text else text


def _escaped(found: re.Match[str]) -> str:
    zero_or_one, lone = found.groups()
    if zero_or_one is not None:
        return "\\u0001\\u0001" if zero_or_one == "0" else "\\u0001\\u0002"
    return found[0] if lone is None else f"\\u0001\\u0003{lone}"


def unescape_json(text: str) -> str:
    """Return the text of which `escape_json` made this one."""
    return _ESCAPED.sub(_unescaped, text) if "\\u0001" in text else text


def _unescaped(found: re.Match[str]) -> str:
    one_or_two, lone = found.groups()
    if one_or_two is not None:
        return "\\u0000" if one_or_two == "1" else "\\u0001"
    return found[0] if lone is None else f"\\u{lone}"


class JsonText(TypeDecorator[str]):
    """JSON text that is compared with what is stored."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name != "postgresql":
            return value
        return dump_json(orjson.loads(value))


class SearchableText(TypeDecorator[str]):
    """JSON text that queries look into, and that comes back as it was, character by character."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name != "postgresql":
            return value
        return escape_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name != "postgresql":
            return value
        return unescape_json(value)


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
