"""A saver that holds back what is to be written, to be written at once."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_id,
)

from runwire.server.graphs.saver import (
    Held,
    HeldCheckpoint,
    HeldWrites,
    RunwireSaver,
    Transaction,
)


class HoldingSaver(BaseCheckpointSaver[Any]):
    """Reads from the server's saver, and from what it holds back itself.

    LangGraph stores the writes of a state update before it applies them. If the graph then does
    not take them, they would stay, and every later look at the thread would fail on them. So they
    would if the checkpoint then is refused: what is held is written all or not at all.
    """

    def __init__(self, saver: RunwireSaver, held: list[Held] | None = None) -> None:
        super().__init__(serde=saver.serde)
        self._saver = saver
        self._held = [] if held is None else held

    def writing(self) -> Transaction:
        """Return the transaction that writes what is held, in order."""
        return self._saver.putting_together(self._held)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Hold a checkpoint; return the config that will name it."""
        self._held.append(HeldCheckpoint(config, checkpoint, metadata, new_versions))
        return _config_of(config, checkpoint["id"])

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
        """Return a checkpoint, as it will be once what is held is written."""
        held = self._held_checkpoint(config)
        if held is not None:
            found: CheckpointTuple | None = self._as_read(held)
        else:
            found = await self._saver.aget_tuple(config)
        if found is None or not (writes := [*self._held_writes(found.config)]):
            return found
        return found._replace(pending_writes=[*(found.pending_writes or []), *writes])

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
        """Return what delta channels are rebuilt from."""
        if self._held_checkpoint(config) is None:
            return await self._saver.aget_delta_channel_history(config=config, channels=channels)
        # Checkpoint by checkpoint, which finds those that are held too.
        return await super().aget_delta_channel_history(config=config, channels=channels)

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return the version that the saver itself would give."""
        return self._saver.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> "HoldingSaver":
        """Return the same over a saver that knows more types; what is held stays shared."""
        saver = cast(RunwireSaver, self._saver.with_allowlist(extra_allowlist))
        return HoldingSaver(saver, self._held)

    def _held_checkpoint(self, config: RunnableConfig) -> HeldCheckpoint | None:
        """Return the checkpoint that `config` names if it is held; what is held of a namespace is
        newer than what is written."""
        wanted = get_checkpoint_id(config) or None
        for held in reversed(self._held):
            if (
                isinstance(held, HeldCheckpoint)
                and _namespace(held.config) == _namespace(config)
                and wanted in (None, held.checkpoint["id"])
            ):
                return held
        return None

    def _held_writes(self, config: RunnableConfig) -> Iterator[PendingWrite]:
        for held in self._held:
            if (
                isinstance(held, HeldWrites)
                and _namespace(held.config) == _namespace(config)
                and get_checkpoint_id(held.config) == get_checkpoint_id(config)
            ):
                for channel, value in held.writes:
                    yield held.task_id, channel, value

    def _as_read(self, held: HeldCheckpoint) -> CheckpointTuple:
        # Whoever reads a checkpoint changes it: what is held is to stay as it is.
        checkpoint = self.serde.loads_typed(self.serde.dumps_typed(held.checkpoint))
        parent = get_checkpoint_id(held.config)
        return CheckpointTuple(
            config=_config_of(held.config, held.checkpoint["id"]),
            checkpoint=checkpoint,
            metadata=held.metadata,
            parent_config=_config_of(held.config, parent) if parent else None,
            pending_writes=[],
        )


def _namespace(config: RunnableConfig) -> tuple[str, str]:
    configurable = config["configurable"]
    return str(configurable["thread_id"]), configurable.get("checkpoint_ns", "")


def _config_of(config: RunnableConfig, checkpoint_id: str) -> RunnableConfig:
    thread_id, checkpoint_ns = _namespace(config)
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint_id,
        }
    }
