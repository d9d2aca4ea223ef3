"""The trace that a call belongs to, as the headers that carry it on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

_HEADERS = ("traceparent", "tracestate", "baggage", "langsmith-trace")
_LONGEST = 4096
"""Characters: gRPC takes 8 KiB of headers."""


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
    return found


def _fitting(entries: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers among some entries that can be sent."""
    return {
        key: value
        for key in _HEADERS
        if isinstance(value := entries.get(key), str)
        and 0 < len(value) <= _LONGEST
        and value.isascii()
        and value.isprintable()
    }
