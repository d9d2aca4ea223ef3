"""Identifiers: UUIDv7 for what the server creates, fixed ones for default assistants."""

import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_DEFAULT_ASSISTANTS = uuid.UUID("6f1c4c1e-52f7-5b0a-9a55-3d1f7a2f1d0e")

_GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)
"""Where the time of UUIDs of version 6 begins."""

_lock = threading.Lock()
_last: tuple[int, int] = (0, 0)


def new_id() -> str:
    """Return a new UUIDv7 (RFC 9562) as text.

    Ids made by one process sort in the order in which they were made: within a millisecond the
    twelve bits after the version count up, and a clock that steps back does not.
    """
    global _last
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last[0]:
            _last = (now, int.from_bytes(os.urandom(1)))
        elif _last[1] < 0xFFF:
            _last = (_last[0], _last[1] + 1)
        else:
            _last = (_last[0] + 1, 0)
        milliseconds, counter = _last
    tail = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    value = (milliseconds << 80) | (0x7 << 76) | (counter << 64) | (0b10 << 62) | tail
    return str(uuid.UUID(int=value))


def canonical_id(text: str) -> str | None:
    """Return a UUID in its canonical lower-case form, or None when `text` is not one.

    Only the 36-character form is taken: braces, `urn:` and missing hyphens, which `uuid.UUID`
    would accept, are not ids that this server ever printed.
    """
    if len(text) != 36:
        return None
    try:
        parsed = str(uuid.UUID(text))
    except ValueError:
        return None
    return parsed if parsed == text.lower() else None


@lru_cache(maxsize=1024)  # callers ask for whatever they like
def default_assistant_id(graph_id: str) -> str:
    """Return the id of a graph's default assistant: the same on every server and every start."""
    return str(uuid.uuid5(_DEFAULT_ASSISTANTS, graph_id))


def time_of_checkpoint(checkpoint_id: str | None) -> datetime | None:
    """Return when a checkpoint was made, by its id; None if the id does not tell, because it is no
    UUIDv6 as LangGraph makes them."""
    try:
        value = uuid.UUID(checkpoint_id or "")
    except ValueError:
        return None
    if value.version != 6:
        return None
    ticks = (value.int >> 80 << 12) | (value.int >> 64 & 0xFFF)
    return _GREGORIAN + timedelta(microseconds=ticks // 10)
