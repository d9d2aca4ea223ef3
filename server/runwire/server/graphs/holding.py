"""A saver that writes nothing until it is told to."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from runwire.server.graphs.saver import Held, HeldCheckpoint, HeldWrites, RunwireSaver

Saver = BaseCheckpointSaver[Any]


class HoldingSaver(BaseCheckpointSaver[Any]):
    """Reads from another saver, and holds back what is to be written to it.

    LangGraph stores the writes of a state update before it applies them. If the graph then does
    not take them, they would stay, and every later look at the thread would fail on them. So they
    would if the checkpoint then is refused: what is held is written all or not at all.
    """

    def __init__(self, saver: Saver, held: list[Held] | None = None) -> None:
        super().__init__(serde=saver.serde)
        self._saver = saver
        self._held = [] if held is None else held

    async def write(self) -> None:
        """Write what is held, in order; in one transaction if the saver is the server's."""
        if self._held and isinstance(self._saver, RunwireSaver):
            await self._saver.aput_together(self._held)
        else:
            for put in self._held:
                saver = self._saver
                await (saver.aput if isinstance(put, HeldCheckpoint) else saver.aput_writes)(*put)
        self._held.clear()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Hold a checkpoint; return the config that will name it."""
        self._held.append(HeldCheckpoint(config, checkpoint, metadata, new_versions))
        place = config["configurable"]
        return {
            "configurable": {
                "thread_id": place["thread_id"],
                "checkpoint_ns": place.get("checkpoint_ns", ""),
                "checkpoint_id": checkpoint["id"],
            }
        }

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Hold a task's writes."""
        self._held.append(HeldWrites(config, list(writes), task_id, task_path))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint that is written."""
        return await self._saver.aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Give checkpoints that are written."""
        found = self._saver.alist(config, filter=filter, before=before, limit=limit)
        async for checkpoint in found:
            yield checkpoint

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return the written history of delta channels."""
        return await self._saver.aget_delta_channel_history(config=config, channels=channels)

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return the version that the saver itself would give."""
        return self._saver.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> "HoldingSaver":
        """Return the same over a saver that knows more types; what is held stays shared."""
        return HoldingSaver(self._saver.with_allowlist(extra_allowlist), self._held)
