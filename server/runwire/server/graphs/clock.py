"""LangGraph's checkpoint clock, kept ahead of what a thread already holds."""

import threading

from langgraph.checkpoint.base import id as checkpoint_ids

_LAST = "_last_v6_timestamp"
"""Where LangGraph keeps the time of the last id it made, in 100 ns; ids only go up from there."""

_lock = threading.Lock()


def seed_checkpoint_clock(head_checkpoint_id: str | None) -> None:
    """Make this process's next checkpoint id later than `head_checkpoint_id`.

    To be called before each run, and each state update, with the newest id of its thread. The
    newest checkpoint of a thread is the one with the greatest id, which holds the wall time of the
    server that wrote it: after a server whose clock is ahead, another's whole run would otherwise
    stay hidden behind the older state. An id that LangGraph did not make says nothing and is passed
    over.
    """
    if head_checkpoint_id is None:
        return
    try:
        head = checkpoint_ids.UUID(hex=head_checkpoint_id)
    except ValueError:
        return
    if head.version != 6:
        return
    with _lock:
        last: int | None = getattr(checkpoint_ids, _LAST)
        if last is None or last < head.time:
            setattr(checkpoint_ids, _LAST, head.time)
