"""Durations as an operator writes them: "500ms", "10s", "15m", "24h", "7d"."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _parse_duration(value: object) -> object:
    """Read "10s", "1.5h" or a plain number of seconds."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[smhd]?)", value.strip(), re.ASCII)
    if match is None:
        raise ValueError('must be a duration, such as "500ms", "10s", "15m", "24h" or "7d"')
    number, unit = match.groups()
    return timedelta(seconds=float(number) * _UNITS[unit or "s"])


def _between(lower: timedelta, upper: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if not lower <= value <= upper:
            limits = f"{format_duration(lower)} to {format_duration(upper)}"
            raise ValueError(f"must be from {limits}")
        return value

    return AfterValidator(check)


def format_duration(value: timedelta) -> str:
    """Return a duration as `Settings` reads it: "24h"."""
    seconds = value.total_seconds()
    for unit in ("h", "m", "s"):
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds / _UNITS['ms']:.0f}ms"


Grace = Annotated[
    timedelta, BeforeValidator(_parse_duration), _between(timedelta(0), timedelta(days=1))
]
Interval = Annotated[
    timedelta,
    BeforeValidator(_parse_duration),
    _between(timedelta(milliseconds=10), timedelta(hours=1)),
]
Retention = Annotated[
    timedelta, BeforeValidator(_parse_duration), _between(timedelta(0), timedelta(days=3650))
]
