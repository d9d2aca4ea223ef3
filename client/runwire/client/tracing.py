"""The trace that a call belongs to, as the headers that carry it on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

_HEADERS = ("traceparent", "tracestate", "langsmith-trace", "baggage")
"""The most important first: what there is no room for is left out."""
_ROOM = 4096
"""Bytes of all of them: gRPC takes 8 KiB of headers, and others are among them."""
_EACH = 32
"""Bytes that HTTP/2 counts for a header besides its name and value."""
_LONGEST_STATE = 512
"""Characters of tracestate that everybody on the way must carry on."""


def trace_headers(configurable: Mapping[str, Any]) -> dict[str, str]:
    """Return the trace context of the code at hand: OpenTelemetry's, if the program has loaded
    that; and for what it does not say, the one that the node's run came with, which is in the
    node's `configurable`."""
    found = _fitting(configurable)
    if "opentelemetry.trace" in sys.modules:
        carrier: dict[str, Any] = {}
        import_module("opentelemetry.propagate").inject(carrier)
        current = _fitting(carrier)
        if "traceparent" in current:
            found.pop("tracestate", None)  # that of another span
        found |= current
    return _carried(found)


def _carried(found: Mapping[str, str]) -> dict[str, str]:
    """Return those headers that there is room for."""
    carried: dict[str, str] = {}
    room = _ROOM
    for key in _HEADERS:
        size = len(key) + len(found.get(key, "")) + _EACH
        if key in found and size <= room:
            carried[key] = found[key]
            room -= size
    return carried


def _fitting(entries: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers among some entries that can be sent."""
    return {
        key: value
        for key in _HEADERS
        if isinstance(value := entries.get(key), str)
        and 0 < len(value) <= (_LONGEST_STATE if key == "tracestate" else _ROOM)
        and value.isascii()
        and value.isprintable()
    }
