"""LangGraph's checkpoints in Runwire's database, written only by who has the right to.

What a stored value may turn into when it is read: plain data, the types that LangGraph lists as
safe (messages, dates, …), and the types that the graph's own schemas name, which LangGraph adds
when it compiles the graph (`with_allowlist`, a shallow copy of the saver). A dataclass, pydantic
model or enum that no schema names comes back as what it was made from, a dict or a value; so
state is best annotated with its real types, and not with `Any` or a bare `dict`. Nothing is ever
unpickled.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    EXCLUDED_METADATA_KEYS,
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
)
from langgraph.checkpoint.serde import _msgpack
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR

from runwire.server.graphs.deltas import DeltaWalk
from runwire.server.model.attempts import Attempt, StateUpdate, current_writer
from runwire.server.model.errors import CheckpointNotFound
from runwire.server.model.faults import fault
from runwire.server.storage import checkpoints, pruning
from runwire.server.storage.checkpoint_writes import Write
from runwire.server.storage.checkpoints import NewCheckpoint, Place, StoredCheckpoint
from runwire.server.storage.database import Connection, Database

_READABLE = frozenset({"null", "bytes", "bytearray", "msgpack"})
"""What the serializer writes. It would read more: old formats that can construct objects."""

_OURS = frozenset({"run_id", "graph_id", "assistant_id"})

if not _msgpack.STRICT_MSGPACK_ENABLED and (
    os.environ["LANGGRAPH_STRICT_MSGPACK"].lower() in ("1", "true", "yes")
):
    raise ImportError("LangGraph was imported before runwire.server.graphs could make it strict")


class HeldCheckpoint(NamedTuple):
    """What `aput` is given."""

    config: RunnableConfig
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    new_versions: ChannelVersions


class HeldWrites(NamedTuple):
    """What `aput_writes` is given."""

    config: RunnableConfig
    writes: Sequence[tuple[str, Any]]
    task_id: str
    task_path: str


Held = HeldCheckpoint | HeldWrites
"""What is to be stored later."""

Transaction = Callable[[Connection], None]
"""What stores something, all or nothing."""


class RunwireSaver(BaseCheckpointSaver[int]):
    """Checkpoints of every thread. Bound to no event loop: usable from any loop or thread.

    Every write shows on whose behalf it is made (`current_writer`), and the transaction that
    stores it checks that: it raises `AttemptLost` for an attempt that no longer owns its run and
    `ThreadInUse` for a caller while a run of the thread is in flight. Threads are deleted, copied
    and pruned by the server, which knows what else belongs to them, and not through this class.
    With `fenced=False` nothing is checked, and those methods work too.
    """

    def __init__(self, database: Database, *, fenced: bool = True) -> None:
        super().__init__(serde=JsonPlusSerializer(pickle_fallback=False))
        self._database = database
        self._fenced = fenced

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that `config` names, or the newest of its namespace."""
        return self._tuple(self._database.read_blocking(_getting(config)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Do as `get_tuple` does."""
        return self._tuple(await self._database.read(_getting(config)))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Return checkpoints, newest first, whose metadata contains `filter`."""
        found = self._database.read_blocking(_listing(config, filter, before, limit))
        return map(self._known_tuple, found)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Do as `list` does. Nothing is held open between one checkpoint and the next."""
        for stored in await self._database.read(_listing(config, filter, before, limit)):
            yield self._known_tuple(stored)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint and return the config that names it.

        Raises also `CheckpointOutOfOrder` for one that would stay hidden behind an older one, and
        `CheckpointOutdated` for a caller's update that would hide another one.
        """
        place, transaction = self._putting(config, checkpoint, metadata)
        self._database.write_blocking(transaction)
        fault("put.after_commit")
        return _config_of(place)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Do as `put` does."""
        place, transaction = self._putting(config, checkpoint, metadata)
        await self._database.write(transaction)
        fault("put.after_commit")
        return _config_of(place)

    def putting_together(self, puts: Sequence[Held]) -> Transaction:
        """Return the transaction that does as `aput` and `aput_writes` do, once for each of
        `puts`, in their order."""
        transactions = [
            self._putting(*put[:3])[1]
            if isinstance(put, HeldCheckpoint)
            else self._putting_writes(*put)
            for put in puts
        ]

        def put_all(connection: Connection) -> None:
            for transaction in transactions:
                transaction(connection)

        return put_all

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store what a task wrote before the checkpoint that will hold it."""
        self._database.write_blocking(self._putting_writes(config, writes, task_id, task_path))
        fault("put_writes.after_commit")

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Do as `put_writes` does."""
        await self._database.write(self._putting_writes(config, writes, task_id, task_path))
        fault("put_writes.after_commit")

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints."""
        self._database.write_blocking(self._deleting_thread(thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """Do as `delete_thread` does."""
        await self._database.write(self._deleting_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Take back what runs did."""
        self._database.write_blocking(self._deleting_runs(run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Do as `delete_for_runs` does."""
        await self._database.write(self._deleting_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread's checkpoints to a thread that has none."""
        self._database.write_blocking(self._copying(source_thread_id, target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Do as `copy_thread` does."""
        await self._database.write(self._copying(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete checkpoints: "keep_latest" all but each namespace's newest, "delete" all."""
        self._database.write_blocking(self._pruning(thread_ids, strategy))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Do as `prune` does."""
        await self._database.write(self._pruning(thread_ids, strategy))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what the channels are rebuilt from: a stored value and the writes since. Raises
        `CheckpointNotFound` if a part of that has been pruned."""
        start = self._database.read_blocking(_getting(config)) if channels else None
        if start is None:
            return _no_history(config, channels)
        walk = DeltaWalk(start, channels, self._load)
        while walk.take(self._database.read_blocking(walk.reading())):
            pass
        return walk.history()

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Do as `get_delta_channel_history` does."""
        start = await self._database.read(_getting(config)) if channels else None
        if start is None:
            return _no_history(config, channels)
        walk = DeltaWalk(start, channels, self._load)
        while walk.take(await self._database.read(walk.reading())):
            pass
        return walk.history()

    def _putting(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[Place, Callable[[Connection], None]]:
        writer = self._writer()
        kept = _metadata(config, metadata, writer)
        configurable = config["configurable"]
        place = Place(
            str(configurable["thread_id"]), configurable.get("checkpoint_ns", ""), checkpoint["id"]
        )
        new = NewCheckpoint(
            place,
            configurable.get("checkpoint_id"),
            kept.get("run_id", ""),
            kept.get("graph_id", ""),
            *self.serde.dumps_typed(checkpoint),
            kept,
            writer.configured_by if isinstance(writer, StateUpdate) else kept.get("run_id", ""),
        )
        fence = writer if self._fenced else None
        return place, partial(checkpoints.add_checkpoint, new=new, writer=fence)

    def _putting_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> Callable[[Connection], None]:
        writer = self._writer()
        configurable = config["configurable"]
        place = Place(
            str(configurable["thread_id"]),
            configurable.get("checkpoint_ns", ""),
            configurable["checkpoint_id"],
        )
        new = [
            Write(
                task_id,
                task_path,
                WRITES_IDX_MAP.get(channel, index),
                channel,
                *self.serde.dumps_typed(value),
            )
            for index, (channel, value) in enumerate(_whole(writes))
        ]
        return partial(
            checkpoints.add_writes,
            place=place,
            run_id=writer.run_id if isinstance(writer, Attempt) else "",
            new=new,
            writer=writer if self._fenced else None,
        )

    def _writer(self) -> Attempt | StateUpdate | None:
        writer = current_writer.get()
        if writer is None and self._fenced:
            raise RuntimeError(
                "checkpoints are written by runs and by state updates of the server: this code"
                " runs outside of both, or in a context of its own"
            )
        return writer

    def _deleting_thread(self, thread_id: str) -> Callable[[Connection], None]:
        self._refuse_if_fenced()
        return partial(checkpoints.delete_thread, thread_id=thread_id)

    def _deleting_runs(self, run_ids: Sequence[str]) -> Callable[[Connection], None]:
        self._refuse_if_fenced()

        def delete_runs(connection: Connection) -> None:
            for run_id in run_ids:
                checkpoints.delete_run(connection, run_id)

        return delete_runs

    def _copying(self, source: str, target: str) -> Callable[[Connection], None]:
        self._refuse_if_fenced()
        return partial(checkpoints.copy_thread, source=source, target=target)

    def _pruning(self, thread_ids: Sequence[str], strategy: str) -> Callable[[Connection], None]:
        self._refuse_if_fenced()
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"unknown strategy {strategy!r}: use 'keep_latest' or 'delete'")
        prune = pruning.prune_thread if strategy == "keep_latest" else checkpoints.delete_thread

        def prune_threads(connection: Connection) -> None:
            for thread_id in thread_ids:
                prune(connection, thread_id)

        return prune_threads

    def _refuse_if_fenced(self) -> None:
        if self._fenced:
            raise RuntimeError("threads are deleted, copied and pruned by the server alone")

    def _tuple(self, stored: StoredCheckpoint | None) -> CheckpointTuple | None:
        return None if stored is None else self._known_tuple(stored)

    def _known_tuple(self, stored: StoredCheckpoint) -> CheckpointTuple:
        parent = stored.parent_checkpoint_id
        return CheckpointTuple(
            config=_config_of(stored.place),
            checkpoint=self._load(stored.type, stored.checkpoint),
            metadata=cast(CheckpointMetadata, stored.metadata),
            parent_config=(
                _config_of(stored.place._replace(checkpoint_id=parent)) if parent else None
            ),
            pending_writes=[
                (write.task_id, write.channel, self._load(write.type, write.value))
                for write in stored.writes
            ],
        )

    def _load(self, kind: str, data: bytes) -> Any:
        if kind not in _READABLE:
            raise ValueError(f"a stored value is of kind {kind!r}, which Runwire never writes")
        return self.serde.loads_typed((kind, data))


def _whole(writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """Return what may be stored of a task's writes.

    A task that failed, or was cancelled, may have written to some channels and not yet to others:
    a node's result is there, and not where its edges lead. LangGraph hands all of it over, and
    would take it for what a finished task wrote when the thread goes on: the run would end there,
    as if nothing were left to do. The task has to execute again.
    """
    if any(channel == ERROR for channel, _ in writes):
        return [write for write in writes if write[0] in WRITES_IDX_MAP]
    return writes


def _config_of(place: Place) -> RunnableConfig:
    return {"configurable": place._asdict()}


def _getting(config: RunnableConfig) -> Callable[[Connection], StoredCheckpoint | None]:
    configurable = config["configurable"]
    return partial(
        checkpoints.get_checkpoint,
        thread_id=str(configurable["thread_id"]),
        checkpoint_ns=configurable.get("checkpoint_ns", ""),
        checkpoint_id=get_checkpoint_id(config) or None,
    )


def _no_history(
    config: RunnableConfig, channels: Sequence[str]
) -> Mapping[str, DeltaChannelHistory]:
    """Return the history of channels where there is no checkpoint. Raises `CheckpointNotFound` if
    one is named: whoever asks has just read it, so it was pruned since."""
    if channels and (checkpoint_id := get_checkpoint_id(config)):
        raise CheckpointNotFound(str(config["configurable"]["thread_id"]), checkpoint_id)
    return {channel: {"writes": []} for channel in channels}


def _listing(
    config: RunnableConfig | None,
    metadata: dict[str, Any] | None,
    before: RunnableConfig | None,
    limit: int | None,
) -> Callable[[Connection], Sequence[StoredCheckpoint]]:
    configurable = config["configurable"] if config is not None else {}
    thread_id = configurable.get("thread_id")
    return partial(
        checkpoints.list_checkpoints,
        thread_id=None if thread_id is None else str(thread_id),
        checkpoint_ns=configurable.get("checkpoint_ns"),
        checkpoint_id=configurable.get("checkpoint_id") or None,
        before=get_checkpoint_id(before) if before is not None else None,
        metadata=orjson.dumps(metadata, default=str).decode() if metadata else None,
        limit=limit,
    )


def _metadata(
    config: RunnableConfig, metadata: CheckpointMetadata, writer: Attempt | StateUpdate | None
) -> dict[str, Any]:
    """Return what is kept of a checkpoint's metadata.

    That is LangGraph's own, and the plain values of the run's. Configuration is not: it may hold
    secrets. LangChain copies it into the metadata of whatever runs below a node, so there a value
    that stands in both is left out.
    """
    configurable = config["configurable"]
    nested = bool(configurable.get("checkpoint_ns"))
    kept = {key: _storable(value) for key, value in metadata.items()}
    for key, value in (config.get("metadata") or {}).items():
        if key in kept or key in EXCLUDED_METADATA_KEYS or key.startswith("__"):
            continue
        copied = nested and key not in _OURS and configurable.get(key) == value
        if isinstance(value, str | int | float) and not copied:
            kept[key] = _storable(value)
    if isinstance(writer, Attempt):
        kept["run_id"] = writer.run_id
    elif writer is not None:
        kept.pop("run_id", None)
    if writer is not None:
        kept["graph_id"] = writer.graph_id
    return kept


def _storable(value: Any) -> Any:
    """Return a value that every database takes as JSON: no NUL, no half character, no number
    beyond 64 bits."""
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value
