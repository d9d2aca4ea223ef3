"""The states of threads: one for each checkpoint."""

import asyncio
import builtins
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import orjson

from runwire.server.core.assistants import resolve
from runwire.server.core.local import LocalRunner
from runwire.server.core.setups import find_origin, find_setup, named_checkpoint, namespaces
from runwire.server.core.supersteps import remains_of
from runwire.server.core.threads import get_thread
from runwire.server.core.turns import Turns
from runwire.server.graphs import state
from runwire.server.graphs.clock import seed_checkpoint_clock
from runwire.server.graphs.registry import Graph, Registry
from runwire.server.graphs.setups import Setup, failures_told, open_setup
from runwire.server.model.attempts import StateUpdate, current_writer
from runwire.server.model.errors import (
    CheckpointNotFound,
    GraphNotFound,
    StateNotShown,
    StateUpdateRefused,
    ThreadContended,
)
from runwire.server.model.ids import time_of_checkpoint
from runwire.server.model.requests import Page
from runwire.server.model.threads import CheckpointRef, StateSnapshot, Thread
from runwire.server.storage import checkpoints, gone, threads
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.origins import Origin, Writer, list_origins

_MAX_TRIES = 30
"""How often a state update is tried while others change the thread's state."""

_TRY_SECONDS, _MAX_TRY_SECONDS = 0.01, 0.2
"""What the longest pause before a try grows by, and the longest one."""

PAGE_BYTES = 3 * 1024 * 1024
"""Before so many bytes of states a page of them ends: its answer is to fit into one message, and
the graphs that show them share a loop with those that run."""

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


class _Found(NamedTuple):
    """A checkpoint, and the graph that shows it."""

    origin: Origin
    setup: Setup


class _Beginning(NamedTuple):
    """What a state update begins with: who writes, through which graph, on top of what."""

    writer: StateUpdate
    setup: Setup
    checkpoint: CheckpointRef
    metadata: dict[str, Any]


EncodeUpdate = Callable[[str, CheckpointRef, StateSnapshot | None], bytes]
"""Serializes an update for readers of the thread: the thread, the checkpoint that the update made,
the thread's state if it made a new one of that."""


class States:
    """What can be done with the states of threads."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        runner: LocalRunner,
        encode: EncodeUpdate,
    ) -> None:
        """`encode` serializes what readers of a thread are told of an update."""
        self._encode = encode
        self._database = database
        self._registry = registry
        self._runner = runner
        self._updates = Turns()

    async def get(
        self, thread_id: str, checkpoint: CheckpointRef | None, *, include_subgraphs: bool
    ) -> StateSnapshot:
        """Return a thread's state at a checkpoint, the newest unless one is named, as the graph
        that wrote it shows it, set up as it was then. Raises `ThreadNotFound`,
        `CheckpointNotFound`, `GraphNotFound`, `StateNotShown`."""
        wanted = checkpoint or CheckpointRef()

        def look(connection: Connection) -> _Found | None:
            get_thread(connection, thread_id)
            origin = find_origin(connection, thread_id, wanted)
            if origin is None:
                return None
            return _Found(origin, find_setup(connection, thread_id, origin.writer))

        found = await self._database.read(look)
        while found is not None:
            snapshot = await self._show(found, wanted, include_subgraphs=include_subgraphs)
            seen = snapshot.checkpoint
            if seen is None or seen.checkpoint_id == found.origin.place.checkpoint_id:
                return snapshot
            # There is a newer one by now. If another graph wrote it, or the same one set up
            # otherwise, then that is to show it.
            before, found = found, await self._database.read(look)
            if found is not None and found.setup == before.setup:
                return snapshot
        return _EMPTY

    async def _show(
        self, found: _Found, wanted: CheckpointRef, *, include_subgraphs: bool
    ) -> StateSnapshot:
        setup, namespace = found.setup, found.origin.place.checkpoint_ns
        # The newest shows also what its tasks have done since: by its id it would not.
        place = CheckpointRef(checkpoint_id=named_checkpoint(wanted), checkpoint_ns=namespace)

        async def read_state() -> StateSnapshot:
            async with open_setup(self._registry, setup, "threads.read") as graph:
                with failures_told(setup.graph_id):
                    return await state.get_state(
                        graph, setup.thread_id, place, include_subgraphs=include_subgraphs
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
        `metadata`. Each is shown by the graph that wrote it, set up as it was then; of one that
        its graph does not show there is all but that, and why. A page ends early where states are
        large. Raises `ThreadNotFound`."""
        wanted = checkpoint or CheckpointRef()
        ends = [cursor or "", named_checkpoint(before) if before is not None else ""]

        def look(connection: Connection) -> tuple[builtins.list[_Found], str | None]:
            get_thread(connection, thread_id)
            found: builtins.list[Origin] = []
            for checkpoint_ns in namespaces(wanted):
                found = found or list_origins(
                    connection,
                    thread_id,
                    checkpoint_ns,
                    checkpoint_id=named_checkpoint(wanted),
                    before=min(filter(None, ends), default=""),
                    metadata=metadata,
                    limit=limit + 1,
                )
            following = found[limit - 1].place.checkpoint_id if len(found) > limit else None
            writers = {origin.writer for origin in found[:limit]}
            setups = {writer: find_setup(connection, thread_id, writer) for writer in writers}
            return [_Found(origin, setups[origin.writer]) for origin in found[:limit]], following

        found, following = await self._database.read(look)

        async def read_states() -> _Shown:
            shown = _Shown()
            for setup, same in groupby(found, lambda one: one.setup):
                if shown.full:
                    break
                await self._show_all(setup, [one.origin for one in same], shown)
            return shown

        if not found:
            return Page([], None)
        shown = await self._runner.call(read_states)
        return Page(shown.states, shown.last if shown.full else following)

    async def _show_all(self, setup: Setup, origins: Sequence[Origin], shown: "_Shown") -> None:
        """Show the states of checkpoints that one writer wrote, as long as there is room. Those
        that have gone meanwhile are left out."""
        rest = iter(origins)
        try:
            async with open_setup(self._registry, setup, "threads.read") as graph:
                for origin in rest:
                    with suppress(CheckpointNotFound):
                        if not shown.add(origin, await _show_one(graph, setup, origin)):
                            return
        except (GraphNotFound, StateNotShown) as error:
            for origin in rest:
                shown.add(origin, _not_shown(origin, error.message))

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
        that this makes. `assistant_id` says which graph's nodes are meant, and how it is set up,
        on a thread that no graph has written to yet, or that another one should write to.

        Raises `ThreadNotFound`, `AssistantNotFound`, `CheckpointNotFound`, `GraphNotFound`,
        `ThreadInUse`, `StateUpdateRefused`, `StateNotShown`, `ThreadContended`.
        """
        wanted, graph_ids = checkpoint or CheckpointRef(), self._registry.graph_ids

        def begin(connection: Connection) -> _Beginning:
            seed_checkpoint_clock(checkpoints.newest_id(connection, thread_id))
            return _begin_update(connection, thread_id, wanted, assistant_id, graph_ids)

        async def write_state() -> CheckpointRef:
            beginning = await self._database.read(begin)
            current_writer.set(beginning.writer)
            async with open_setup(self._registry, beginning.setup, "threads.update") as graph:
                planned = await state.plan_update(
                    graph,
                    beginning.setup,
                    beginning.checkpoint,
                    values=values,
                    as_node=as_node or None,
                    metadata=beginning.metadata,
                )

            is_whole = planned.output.checkpoint == planned.made
            told = self._encode(thread_id, planned.made, planned.output if is_whole else None)

            def store(connection: Connection) -> None:
                planned.store(connection)
                _leave_state(connection, thread_id, planned.output)
                gone.note_state_update(connection, thread_id, told)

            await self._database.write(store)
            return planned.made

        # An update builds on the newest checkpoint, and of two at once one is done again. Those of
        # one server rather wait for each other; what other servers do cannot be waited for.
        async with self._updates.turn(thread_id):
            return await self._write_until_first(thread_id, write_state)

    async def _write_until_first(
        self, thread_id: str, write_state: Callable[[], Awaitable[CheckpointRef]]
    ) -> CheckpointRef:
        """Do an update again as long as others come first. Raises `ThreadContended` in the end."""
        for tries in range(_MAX_TRIES):
            await asyncio.sleep(random.uniform(0, min(tries * _TRY_SECONDS, _MAX_TRY_SECONDS)))
            try:
                return await self._runner.call(write_state)
            except (checkpoints.CheckpointOutdated, checkpoints.CheckpointOutOfOrder):
                continue
        raise ThreadContended(thread_id)


@dataclass(slots=True)
class _Shown:
    """The states of a page: as many as have room, one at least. `last` is the last one's id."""

    states: list[StateSnapshot] = field(default_factory=list)
    last: str = ""
    full: bool = False
    _bytes: int = 0

    def add(self, origin: Origin, state: StateSnapshot) -> bool:
        """Add a state if there is room; return whether there was. If not, the page is full."""
        self._bytes += _bytes_of(state)
        self.full = self.full or bool(self.states and self._bytes > PAGE_BYTES)
        if not self.full:
            self.states.append(state)
            self.last = origin.place.checkpoint_id
        return not self.full


def _bytes_of(state: StateSnapshot) -> int:
    """Return about how large a state is in an answer."""
    texts = [state.values, state.metadata]
    texts += (interrupt.value for interrupt in state.interrupts)
    for task in state.tasks:
        texts += (task.result or "", *(interrupt.value for interrupt in task.interrupts))
    return sum(len(text) if text.isascii() else len(text.encode()) for text in texts)


async def _show_one(graph: Graph, setup: Setup, origin: Origin) -> StateSnapshot:
    _, checkpoint_ns, checkpoint_id = origin.place
    place = CheckpointRef(checkpoint_ns=checkpoint_ns, checkpoint_id=checkpoint_id)
    try:
        with failures_told(setup.graph_id):
            return await state.get_state(graph, setup.thread_id, place)
    except StateNotShown as error:
        return _not_shown(origin, error.message)


def _not_shown(origin: Origin, reason: str) -> StateSnapshot:
    """Return what can be told of a checkpoint without its graph."""
    _, checkpoint_ns, checkpoint_id = origin.place
    place = CheckpointRef(checkpoint_ns=checkpoint_ns, checkpoint_id=checkpoint_id)
    parent = None
    if origin.parent_checkpoint_id:
        parent = CheckpointRef(
            checkpoint_ns=checkpoint_ns, checkpoint_id=origin.parent_checkpoint_id
        )
    return StateSnapshot(
        values="{}",
        next=(),
        tasks=(),
        metadata=orjson.dumps(origin.metadata).decode(),
        create_time=time_of_checkpoint(checkpoint_id),
        checkpoint=place,
        parent_checkpoint=parent,
        interrupts=(),
        not_shown=reason,
    )


def _begin_update(
    connection: Connection,
    thread_id: str,
    wanted: CheckpointRef,
    assistant_id: str,
    graph_ids: Sequence[str],
) -> _Beginning:
    thread = get_thread(connection, thread_id)
    origin = find_origin(connection, thread_id, wanted)
    if assistant_id or origin is None:
        writer = _named_writer(connection, thread, assistant_id, graph_ids)
    else:
        writer = origin.writer
    named = named_checkpoint(wanted)
    newest = origin.place.checkpoint_id if origin else ""
    namespace = origin.place.checkpoint_ns if origin else ""
    return _Beginning(
        StateUpdate(
            thread_id, writer.graph_id, writer.configured_by, newest=None if named else newest
        ),
        find_setup(connection, thread_id, writer),
        CheckpointRef(checkpoint_id=named, checkpoint_ns=namespace),
        {"assistant_id": writer.assistant_id, "assistant_version": writer.assistant_version},
    )


def _named_writer(
    connection: Connection, thread: Thread, assistant_id: str, graph_ids: Sequence[str]
) -> Writer:
    """Return the assistant that an update names; without one, the graph that the thread was made
    for, as its metadata say."""
    made_for = thread.metadata.get("graph_id")
    named = assistant_id or (made_for if made_for in graph_ids else "")
    if not named:
        raise StateUpdateRefused(
            "no graph has run on this thread yet: assistant_id must name one",
            thread_id=thread.thread_id,
        )
    assistant = resolve(connection, named, None, graph_ids)
    return Writer(assistant.graph_id, "", assistant.assistant_id, assistant.version)


def _leave_state(connection: Connection, thread_id: str, snapshot: StateSnapshot) -> None:
    """Show on the thread what a state update left. Raises `CheckpointOutdated` if that is no
    longer what there is: an update of a subgraph does not notice what happens to the graph."""
    newest = checkpoints.head(connection, thread_id)
    shown = snapshot.checkpoint.checkpoint_id if snapshot.checkpoint else ""
    if newest is None or newest.checkpoint_id != shown:
        raise checkpoints.CheckpointOutdated(shown, newest.checkpoint_id if newest else "")
    now = current_time(connection)
    threads.leave(connection, thread_id, remains_of(snapshot), now, busy=False)
