"""Delta channels: values that are stored as writes and only now and then as a whole."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite

from runwire.server.model.errors import CheckpointNotFound
from runwire.server.storage import checkpoints
from runwire.server.storage.checkpoints import StoredCheckpoint
from runwire.server.storage.database import Connection

_STRIDE = 32
"""Ancestors read at once: more are read in vain when a whole value is near."""


class DeltaWalk:
    """Walks from a checkpoint through its ancestors, until each channel's whole value is found.

    The checkpoint's own writes do not count: they belong to the step that comes next.

    Pruning takes ancestors before their descendants, so that a walk from an older checkpoint may
    come to a gap: what it would rebuild then never was.
    """

    def __init__(
        self, start: StoredCheckpoint, channels: Sequence[str], load: Callable[[str, bytes], Any]
    ) -> None:
        self._start = self._last = start
        self._load = load
        self._missing = set(channels)
        self._walked: set[str] = set()
        self._seeds: dict[str, Any] = {}
        # Newest first, turned round at the end.
        self._writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}

    def reading(self) -> Callable[[Connection], Sequence[StoredCheckpoint]]:
        """Return the transaction that reads the next ancestors."""
        return partial(checkpoints.list_ancestors, place=self._last.place, limit=_STRIDE)

    def take(self, ancestors: Sequence[StoredCheckpoint]) -> bool:
        """Take in the next ancestors; return whether to go on. Raises `CheckpointNotFound` if one
        that is needed has gone."""
        for ancestor in ancestors:
            # A checkpoint stored again under a descendant would make the chain a loop.
            if not self._missing or ancestor.place.checkpoint_id in self._walked:
                return False
            self._walked.add(ancestor.place.checkpoint_id)
            self._take_one(ancestor)
            self._last = ancestor
        if self._missing and len(ancestors) == _STRIDE:
            return True
        self._refuse_gap()
        return False

    def _refuse_gap(self) -> None:
        # What a checkpoint counts the steps of since it was stored whole, it needs its parent for.
        counted = self._last.metadata.get("counters_since_delta_snapshot") or ()
        if self._last.parent_checkpoint_id and self._missing.intersection(counted):
            raise CheckpointNotFound(self._start.place.thread_id, self._start.place.checkpoint_id)

    def _take_one(self, ancestor: StoredCheckpoint) -> None:
        for write in reversed(ancestor.writes):
            if write.channel in self._missing:
                value = self._load(write.type, write.value)
                self._writes[write.channel].append((write.task_id, write.channel, value))
        values = self._load(ancestor.type, ancestor.checkpoint)["channel_values"]
        for channel in self._missing & values.keys():
            self._seeds[channel] = values[channel]
            self._missing.discard(channel)

    def history(self) -> Mapping[str, DeltaChannelHistory]:
        """Return each channel's writes, oldest first, and its whole value if there is one."""
        histories: dict[str, DeltaChannelHistory] = {}
        for channel, writes in self._writes.items():
            histories[channel] = {"writes": writes[::-1]}
            if channel in self._seeds:
                histories[channel]["seed"] = self._seeds[channel]
        return histories
