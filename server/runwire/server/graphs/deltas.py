"""Delta channels: values that are stored as writes and only now and then as a whole."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite

from runwire.server.storage import checkpoints
from runwire.server.storage.checkpoints import Place, StoredCheckpoint
from runwire.server.storage.database import Connection

_STRIDE = 32
"""Ancestors read at once: more are read in vain when a whole value is near."""


class DeltaWalk:
    """Walks from a checkpoint through its ancestors, until each channel's whole value is found.

    The checkpoint's own writes do not count: they belong to the step that comes next.
    """

    def __init__(self, channels: Sequence[str], load: Callable[[str, bytes], Any]) -> None:
        self._load = load
        self._missing = set(channels)
        self._walked: set[str] = set()
        self._seeds: dict[str, Any] = {}
        # Newest first, turned round at the end.
        self._writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}

    def reading(self, place: Place) -> Callable[[Connection], Sequence[StoredCheckpoint]]:
        """Return the transaction that reads the next ancestors."""
        return partial(checkpoints.list_ancestors, place=place, limit=_STRIDE)

    def take(self, place: Place, ancestors: Sequence[StoredCheckpoint]) -> Place | None:
        """Take in the ancestors of the checkpoint at `place`; return from where to go on."""
        for ancestor in ancestors:
            # A checkpoint stored again under a descendant would make the chain a loop.
            if not self._missing or ancestor.place.checkpoint_id in self._walked:
                return None
            self._walked.add(ancestor.place.checkpoint_id)
            self._take_one(ancestor)
        whole = not self._missing or len(ancestors) < _STRIDE
        return None if whole else ancestors[-1].place

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
