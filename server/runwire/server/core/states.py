"""The states of threads: one for each checkpoint."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from runwire.server.core.assistants import resolve
from runwire.server.core.local import LocalRunner
from runwire.server.core.threads import get_thread
from runwire.server.core.turns import Turns
from runwire.server.graphs import state
from runwire.server.graphs.clock import seed_checkpoint_clock
from runwire.server.graphs.factories import Access
from runwire.server.graphs.registry import Graph, Registry
from runwire.server.model.attempts import StateUpdate, current_writer
from runwire.server.model.errors import (
    CheckpointNotFound,
    StateUpdateRefused,
    ThreadContended,
)
from runwire.server.model.requests import Page
from runwire.server.model.threads import (
    CheckpointRef,
    StateSnapshot,
    ThreadState,
)
from runwire.server.storage import checkpoints, claims, threads
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database

_MAX_TRIES = 30
"""How often a state update is tried while others change the thread's state."""

_TRY_SECONDS, _MAX_TRY_SECONDS = 0.01, 0.2
"""What the longest pause before a try grows by, and the longest one."""

_EMPTY = StateSnapshot(
    values="{}",
    next=(),
    tasks=(),
    metadata="{}",
    create_time=None,
    checkpoint=None,
    parent_checkpoint=None,
    interrupts=(),
)


class States:
    """What can be done with the states of threads."""

    def __init__(self, database: Database, registry: Registry, runner: LocalRunner) -> None:
        self._database = database
        self._registry = registry
        self._runner = runner
        self._updates = Turns()

    async def get(
        self, thread_id: str, checkpoint: CheckpointRef | None, *, include_subgraphs: bool
    ) -> StateSnapshot:
        """Return a thread's state at a checkpoint, the newest unless one is named, as the graph
        that wrote it shows it. Raises `ThreadNotFound`, `CheckpointNotFound`."""
        graph_id = await self._graph_of(thread_id, checkpoint)
        if graph_id is None:
            return _EMPTY

        async def read_state() -> StateSnapshot:
            async with self._open(graph_id, "threads.read", thread_id) as graph:
                return await state.get_state(
                    graph,
                    thread_id,
                    checkpoint or CheckpointRef(),
                    include_subgraphs=include_subgraphs,
                )

        return await self._runner.call(read_state)

    async def list(
        self,
        thread_id: str,
        *,
        checkpoint: CheckpointRef | None,
        before: CheckpointRef | None,
        metadata: dict[str, Any],
        limit: int,
        cursor: str | None,
    ) -> Page[StateSnapshot]:
        """Return a thread's states, newest first, a page at a time: those of a subgraph when
        `checkpoint` names its namespace, those older than `before`, those whose metadata holds
        `metadata`. Each is shown by the graph that wrote it."""
        wanted = checkpoint or CheckpointRef()
        start = CheckpointRef(checkpoint_id=cursor) if cursor else before

        def writers_of(connection: Connection) -> list[str]:
            get_thread(connection, thread_id)
            return checkpoints.graphs_of(connection, thread_id)

        writers = await self._database.read(writers_of)
        known = [graph_id for graph_id in writers if graph_id in self._registry.graph_ids]
        if not known:
            return Page([], None)

        async def read_states() -> list[StateSnapshot]:
            async with AsyncExitStack() as opened:
                graphs = {
                    graph_id: await opened.enter_async_context(
                        self._open(graph_id, "threads.read", thread_id)
                    )
                    for graph_id in known
                }
                return await state.list_states(
                    graphs[known[0]],
                    thread_id,
                    limit=limit + 1,
                    checkpoint=wanted,
                    before=start,
                    metadata=metadata,
                    others=graphs,
                )

        states = await self._runner.call(read_states)
        return _page(states, limit)

    async def update(
        self,
        thread_id: str,
        values: Any,
        *,
        as_node: str,
        checkpoint: CheckpointRef | None,
        assistant_id: str,
    ) -> CheckpointRef:
        """Change a thread's state as if `as_node` had returned `values`; return the checkpoint
        that this makes. `assistant_id` says which graph's nodes are meant on a thread that no
        graph has written to yet, or that another graph should write to.

        Raises `ThreadNotFound`, `AssistantNotFound`, `CheckpointNotFound`, `ThreadInUse`,
        `StateUpdateRefused`, `ThreadContended`.
        """
        wanted, graph_ids = checkpoint or CheckpointRef(), self._registry.graph_ids

        def begin(connection: Connection) -> StateUpdate:
            seed_checkpoint_clock(checkpoints.newest_id(connection, thread_id))
            return _begin_update(connection, thread_id, wanted, assistant_id, graph_ids)

        async def write_state() -> tuple[CheckpointRef, StateSnapshot]:
            writer = await self._database.read(begin)
            current_writer.set(writer)
            async with self._open(writer.graph_id, "threads.update", thread_id) as graph:
                made = await state.update_state(
                    graph,
                    thread_id,
                    wanted,
                    values=values,
                    as_node=as_node or None,
                    metadata={"graph_id": writer.graph_id},
                )
                return made, await state.get_output(graph, thread_id)

        # A caller that hangs up half way must not leave a thread that shows an older state than
        # it has.
        return await asyncio.shield(asyncio.create_task(self._write_state(thread_id, write_state)))

    async def _write_state(
        self,
        thread_id: str,
        write_state: Callable[[], Awaitable[tuple[CheckpointRef, StateSnapshot]]],
    ) -> CheckpointRef:
        # An update builds on the newest checkpoint, and of two at once one is done again. Those of
        # one server rather wait for each other; what other servers do cannot be waited for.
        async with self._updates.turn(thread_id):
            made, snapshot = await self._write_until_first(thread_id, write_state)
            await self._database.write(
                lambda connection: _leave_state(connection, thread_id, snapshot)
            )
        return made

    async def _write_until_first(
        self,
        thread_id: str,
        write_state: Callable[[], Awaitable[tuple[CheckpointRef, StateSnapshot]]],
    ) -> tuple[CheckpointRef, StateSnapshot]:
        """Do an update again as long as others come first. Raises `ThreadContended` in the end."""
        for tries in range(_MAX_TRIES):
            await asyncio.sleep(random.uniform(0, min(tries * _TRY_SECONDS, _MAX_TRY_SECONDS)))
            try:
                return await self._runner.call(write_state)
            except (checkpoints.CheckpointOutdated, checkpoints.CheckpointOutOfOrder):
                continue
        raise ThreadContended(thread_id)

    def _open(
        self, graph_id: str, access: Access, thread_id: str
    ) -> AbstractAsyncContextManager[Graph]:
        return self._registry.open(
            graph_id,
            access,
            config={"configurable": {"thread_id": thread_id}},
            context=None,
            checkpointed=True,
        )

    async def _graph_of(self, thread_id: str, checkpoint: CheckpointRef | None) -> str | None:
        """Return the graph that wrote the checkpoint (the newest one), None if there is none."""
        wanted = checkpoint or CheckpointRef()
        return await self._database.read(
            lambda connection: _graph_of(connection, thread_id, wanted)
        )


def _graph_of(connection: Connection, thread_id: str, wanted: CheckpointRef) -> str | None:
    get_thread(connection, thread_id)
    if wanted.checkpoint_id:
        graph_id = checkpoints.graph_of(
            connection, thread_id, wanted.checkpoint_id, wanted.checkpoint_ns
        )
    else:
        head = checkpoints.head(connection, thread_id, wanted.checkpoint_ns)
        graph_id = head.graph_id if head else None
    if graph_id is None and (wanted.checkpoint_id or wanted.checkpoint_ns):
        raise CheckpointNotFound(thread_id, wanted.checkpoint_id or wanted.checkpoint_ns)
    return graph_id


def _begin_update(
    connection: Connection,
    thread_id: str,
    wanted: CheckpointRef,
    assistant_id: str,
    graph_ids: Sequence[str],
) -> StateUpdate:
    """Return who will write: through which graph, and on top of what."""
    graph_id = _graph_of(connection, thread_id, wanted)
    if assistant_id:
        graph_id = resolve(connection, assistant_id, None, graph_ids).graph_id
    if graph_id is None:
        raise StateUpdateRefused(
            "no graph has run on this thread yet: assistant_id must name one",
            thread_id=thread_id,
        )
    if wanted.checkpoint_id:
        return StateUpdate(thread_id, graph_id)
    head = checkpoints.head(connection, thread_id, wanted.checkpoint_ns)
    return StateUpdate(thread_id, graph_id, newest=head.checkpoint_id if head else "")


def _page(states: list[StateSnapshot], limit: int) -> Page[StateSnapshot]:
    """Return the first `limit` of states; where the others begin is after the last one shown."""
    shown = states[:limit]
    last = shown[-1].checkpoint if len(states) > limit else None
    return Page(shown, last.checkpoint_id if last else None)


def _leave_state(connection: Connection, thread_id: str, snapshot: StateSnapshot) -> None:
    """Show on the thread what a state update left, unless something later has left more. A run
    that is in flight will show what it leaves instead."""
    if not threads.lock_queue(connection, thread_id):
        return
    in_flight = claims.has_in_flight(connection, thread_id=thread_id)
    newest = checkpoints.head(connection, thread_id)
    shown = snapshot.checkpoint.checkpoint_id if snapshot.checkpoint else ""
    if newest is None or (newest.checkpoint_id != shown and not in_flight):
        return
    now = current_time(connection)
    remains = threads.Remains(
        rest_state=ThreadState.INTERRUPTED if snapshot.interrupts else ThreadState.IDLE,
        values=snapshot.values,
        interrupts=snapshot.interrupts,
    )
    threads.leave(connection, thread_id, remains, now, busy=in_flight)
